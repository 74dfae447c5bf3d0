//! Users who read what they got, some time after it came, all there is at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use client::Cx;
use fabric::hash::Map;
use schema::ids::ChatId;

use super::Worker;
use crate::draw::{Draw, Use};

/// Who is to read when.
pub(super) struct Reading {
    due: BinaryHeap<Reverse<(u64, u32)>>,
    /// By user: chats with something new, and up to where.
    unread: Map<u32, Vec<(ChatId, u64)>>,
}

impl Reading {
    pub(super) fn new(seed: u64) -> Self {
        Self { due: BinaryHeap::new(), unread: fabric::hash::map(seed) }
    }

    /// When somebody reads next, ns.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }
}

impl Worker {
    /// Something came: its receiver reads it after a while, with what comes until then.
    pub(super) fn read_later(&mut self, user: u32, chat: ChatId, seq: u64) {
        let Some(read) = &self.plan.load.read else { return };
        let unread = self.reading.unread.entry(user).or_default();
        if unread.is_empty() {
            let mut draw = Draw::of(self.plan.load.seed, Use::Read, u64::from(self.first + user), seq);
            self.reading.due.push(Reverse((self.now.mono_ns + read.draw_ns(&mut draw), user)));
        }
        match unread.iter_mut().find(|(of, _)| *of == chat) {
            Some((_, up_to)) => *up_to = seq.max(*up_to),
            None => unread.push((chat, seq)),
        }
    }

    /// Reads what is due.
    pub(super) fn read_due(&mut self) {
        while let Some(Reverse((at, user))) = self.reading.due.peek().copied()
            && at <= self.now.mono_ns
        {
            self.reading.due.pop();
            for (chat, seq) in self.reading.unread.remove(&user).unwrap_or_default() {
                let mut cx = Cx {
                    now: self.now,
                    encoder: &mut self.encoder,
                    entropy: &mut self.entropy,
                    counters: &mut self.outcome.counters,
                    out: &mut self.outputs,
                };
                self.users[user as usize].core.mark_read(&mut cx, chat, seq);
                self.act(user);
            }
        }
    }
}
