//! Sends on their way: one lane a chat, in order, and the outbox that holds them all.
//!
//! A lane's queue is a run of sends that were written on this connection (`sent` of them) and a run that were not. Must stay
//! true: a send is written only when everything before it in its lane was, and nothing of the lane was refused since.

use std::collections::VecDeque;

use bytes::Bytes;
use fabric::hash::{self, Map};
use schema::encode::{Encoder, Extras, SendFields};
use schema::ids::{ChatId, DeviceId};
use schema::wire::{EntryKind, Role};

use super::is_of_account;
use crate::store::{StoredExtras, StoredSend};

/// Where a send is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Not written on this connection.
    Waiting,
    /// Written, not answered.
    InFlight,
    /// Refused for now.
    Refused,
    /// In the server's spool.
    Spooled,
}

/// One send.
#[derive(Debug)]
pub(super) struct Pending {
    pub send: StoredSend,
    pub state: State,
    /// It may have been written before.
    pub retry: bool,
}

/// One chat's sends.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Places in the outbox, in order.
    pub queue: VecDeque<u32>,
    /// The first so many were written on this connection.
    pub sent: usize,
    /// Written and unanswered.
    pub outstanding: usize,
    /// One was refused: nothing more is written until all are answered and the wait is over.
    pub refused: bool,
    /// The wait the refusals asked for, ms.
    pub wait_ms: u32,
    /// In the outbox's ready list.
    pub listed: bool,
    /// Refusals in a row.
    pub attempt: u8,
}

impl Lane {
    /// Whether its next send may be written.
    pub fn is_ready(&self) -> bool {
        !self.refused && self.sent < self.queue.len()
    }
}

/// All sends without outcome.
#[derive(Debug)]
pub(super) struct Outbox {
    slots: Vec<Option<Pending>>,
    free: Vec<u32>,
    index: Map<Bytes, u32>,
    /// Chats whose next send may be written, in turn.
    pub ready: VecDeque<ChatId>,
    /// Chats that wait after a refusal: until when, ns.
    pub waiting: Vec<(u64, ChatId)>,
    /// Bytes of bodies.
    pub bytes: usize,
    /// Written and unanswered.
    pub in_flight: u32,
    /// Nothing is written before, ns.
    pub pause_until_ns: u64,
    /// The last answer, or the first write after none was due, ns.
    pub last_answer_ns: u64,
}

impl Outbox {
    pub fn new(hash_seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: hash::map(hash_seed),
            ready: VecDeque::new(),
            waiting: Vec::new(),
            bytes: 0,
            in_flight: 0,
            pause_until_ns: 0,
            last_answer_ns: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn contains(&self, client_msg_id: &[u8]) -> bool {
        self.index.contains_key(client_msg_id)
    }

    pub fn find(&self, client_msg_id: &[u8]) -> Option<u32> {
        self.index.get(client_msg_id).copied()
    }

    pub fn get(&mut self, at: u32) -> &mut Pending {
        self.slots[at as usize].as_mut().expect("a place in use")
    }

    /// All sends, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.slots.iter().flatten()
    }

    pub fn insert(&mut self, pending: Pending) -> u32 {
        self.bytes += pending.send.bytes();
        let id = pending.send.client_msg_id.clone();
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = Some(pending);
                at
            }
            None => {
                self.slots.push(Some(pending));
                (self.slots.len() - 1) as u32
            }
        };
        let before = self.index.insert(id, at);
        debug_assert!(before.is_none());
        at
    }

    /// Takes a send out of the outbox and its lane.
    pub fn remove(&mut self, lane: &mut Lane, at: u32) -> Pending {
        let pending = self.slots[at as usize].take().expect("a place in use");
        self.free.push(at);
        self.index.remove(&pending.send.client_msg_id);
        self.bytes -= pending.send.bytes();
        let place = lane.queue.iter().position(|&queued| queued == at).expect("a send is in its lane");
        lane.queue.remove(place);
        if place < lane.sent {
            lane.sent -= 1;
        }
        if pending.state == State::InFlight {
            lane.outstanding -= 1;
            self.in_flight -= 1;
        }
        pending
    }

    /// A written send was answered without an outcome.
    pub fn answered(&mut self, lane: &mut Lane, at: u32, state: State) {
        let pending = self.get(at);
        if pending.state == State::InFlight {
            pending.state = state;
            lane.outstanding -= 1;
            self.in_flight -= 1;
        }
    }

    /// Makes all of a lane's sends wait to be written again, in order.
    pub fn rewind(&mut self, lane: &mut Lane) {
        for &at in lane.queue.iter().take(lane.sent) {
            let pending = self.slots[at as usize].as_mut().expect("a place in use");
            if pending.state == State::InFlight {
                self.in_flight -= 1;
            }
            pending.state = State::Waiting;
            pending.retry = true;
        }
        lane.sent = 0;
        lane.outstanding = 0;
        lane.refused = false;
        lane.wait_ms = 0;
    }

    /// Puts the chat into the ready list if its lane may be written.
    pub fn list(&mut self, chat: ChatId, lane: &mut Lane) {
        if lane.is_ready() && !lane.listed {
            lane.listed = true;
            self.ready.push_back(chat);
        }
    }
}

/// A generic cell rate limiter: at most a burst at once and a rate in the long run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    interval_ns: u64,
    slack_ns: u64,
    next_ns: u64,
}

impl Pace {
    /// From what Welcome grants; 0 a second = unlimited. A tenth of the burst is left to the network's jitter.
    pub fn grant(&mut self, per_second: u32, burst: u32) {
        self.interval_ns = if per_second == 0 { 0 } else { 1_000_000_000 / u64::from(per_second) };
        let burst = if burst == 0 { u64::from(per_second) } else { u64::from(burst) };
        self.slack_ns = (burst * 9 / 10).saturating_sub(1) * self.interval_ns;
    }

    /// When the next send may be written, ns.
    pub const fn ready_at_ns(&self) -> u64 {
        if self.interval_ns == 0 { 0 } else { self.next_ns.saturating_sub(self.slack_ns) }
    }

    /// One was written.
    pub fn spend(&mut self, now_ns: u64) {
        if self.interval_ns > 0 {
            self.next_ns = self.next_ns.max(now_ns) + self.interval_ns;
        }
    }
}

/// A send as its frame.
pub(super) fn frame(encoder: &mut Encoder, send: &StoredSend, retry: bool) -> Bytes {
    let kind = EntryKind(send.kind);
    // Where these go follows from who sends them.
    let target = (kind != EntryKind::created && !is_of_account(kind)).then_some(send.target);
    let fields = SendFields {
        client_msg_id: &send.client_msg_id,
        target: send.target,
        kind,
        content_type: send.content_type,
        body: &send.body,
        refers_to: send.refers_to,
        after_seq: send.after_seq,
        retry,
    };
    let none = StoredExtras::default();
    let StoredExtras { ttl_s, forwarded, subject, key, device } = send.extras.as_deref().unwrap_or(&none);
    let extras = Extras {
        users: &send.users,
        role: Role(send.role),
        ttl_s: *ttl_s,
        forwarded: *forwarded,
        subject: *subject,
        key,
        device: DeviceId(*device),
        ..Extras::default()
    };
    encoder.send_with(&fields, target, &extras)
}

/// What a send's frame needs beside its body and client_msg_id, at most, bytes.
pub(super) const SEND_OVERHEAD_BYTES: usize = 192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_allows_nine_tenths_of_the_burst_then_the_rate() {
        let mut pace = Pace::default();
        pace.grant(100, 50);
        let now = 1_000_000_000_000;
        let mut written = 0;
        while pace.ready_at_ns() <= now {
            pace.spend(now);
            written += 1;
        }
        assert_eq!(written, 45);
        assert_eq!(pace.ready_at_ns(), now + 10_000_000);
    }

    #[test]
    fn no_rate_means_unlimited() {
        let mut pace = Pace::default();
        pace.grant(0, 0);
        pace.spend(5);
        assert_eq!(pace.ready_at_ns(), 0);
    }
}
