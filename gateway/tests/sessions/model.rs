//! The model: an owner of every chat that never loses anything, lanes that lose what they may lose, and a client that
//! checks what it is given.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fabric::core::ConnId;
use schema::envelope::{Body, ChangedChat, Envelope};
use schema::ids::{ChatId, DeviceId, UserId};

use super::harness::Got;

/// A small generator: the whole run follows from its seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

#[derive(Default, Clone)]
pub struct Log {
    pub head: u64,
    pub expired: BTreeSet<u64>,
    /// client_msg_id -> seq of the device's own sends.
    pub own: BTreeMap<Vec<u8>, u64>,
    pub acked: u64,
    own_ahead: BTreeSet<u64>,
}

impl Log {
    /// Stores the device's own send, or finds it.
    pub fn store_own(&mut self, id: &[u8]) -> u64 {
        if let Some(&seq) = self.own.get(id) {
            return seq;
        }
        self.head += 1;
        self.own.insert(id.to_vec(), self.head);
        self.own_ahead.insert(self.head);
        self.ack(self.acked);
        self.head
    }

    pub fn ack(&mut self, seq: u64) {
        assert!(seq <= self.head, "a mark above head");
        self.acked = self.acked.max(seq);
        while self.own_ahead.remove(&(self.acked + 1)) {
            self.acked += 1;
        }
    }

    fn is_own(&self, seq: u64) -> bool {
        self.own.values().any(|&own| own == seq)
    }
}

#[derive(Default)]
pub struct Client {
    pub has: BTreeMap<ChatId, u64>,
    own_ahead: BTreeMap<ChatId, BTreeSet<u64>>,
    /// Sent and not acknowledged, in order.
    pub outbox: VecDeque<(ChatId, Vec<u8>)>,
    pub synced: u64,
}

impl Client {
    /// Takes one frame; panics when a seq is skipped that is neither expired nor an own send whose ack is under way.
    pub fn take(&mut self, got: &Got, logs: &BTreeMap<ChatId, Log>) {
        match got {
            Got::Sent { id, chat, seq } => {
                self.outbox.retain(|(_, other)| other != id);
                self.own_ahead.entry(*chat).or_default().insert(*seq);
                self.absorb(*chat);
            }
            Got::Entry { chat, seq } => {
                let has = self.has.get(chat).copied().unwrap_or(0);
                for hole in has + 1..*seq {
                    assert!(logs[chat].is_own(hole), "{chat} {seq} after {has}: {hole} is missing");
                }
                self.has.insert(*chat, has.max(*seq));
                self.absorb(*chat);
            }
            Got::Covered { chat, first, last } => {
                let has = self.has.get(chat).copied().unwrap_or(0);
                for seq in (*first).max(has + 1)..=*last {
                    let log = &logs[chat];
                    assert!(log.expired.contains(&seq) || log.is_own(seq), "{chat} {seq} is said to have expired");
                }
                assert!((has + 1..*first).all(|hole| logs[chat].is_own(hole)), "covered {first} after {has}");
                self.has.insert(*chat, has.max(*last));
                self.absorb(*chat);
            }
            Got::Synced => self.synced += 1,
            _ => {}
        }
    }

    fn absorb(&mut self, chat: ChatId) {
        let has = self.has.entry(chat).or_default();
        let own = self.own_ahead.entry(chat).or_default();
        while own.remove(&(*has + 1)) {
            *has += 1;
        }
    }
}

/// The owner's answers, made when they are asked for.
pub fn answer(logs: &mut BTreeMap<ChatId, Log>, body: &Body) -> Option<(u64, u64, u64, Vec<u64>)> {
    let Body::PageRequest { chat, after_seq, limit_entries, .. } = body else { return None };
    let log = &logs[chat];
    let last = (after_seq + u64::from(*limit_entries).min(7)).min(log.head);
    let seqs = (after_seq + 1..=last).filter(|seq| !log.expired.contains(seq)).collect();
    Some((after_seq + 1, last, log.head, seqs))
}

/// A listing's page: at most three chats, newest (here: highest id) first.
pub fn listing(logs: &BTreeMap<ChatId, Log>, body: &Body) -> Option<Body> {
    let Body::SyncRequest { before, .. } = body else { return None };
    let behind = logs.iter().rev().filter(|(_, log)| log.head > log.acked);
    let older = behind.filter(|(chat, _)| before.is_none_or(|cursor| **chat < cursor.chat));
    let changed = older.map(|(&chat, log)| ChangedChat {
        ticked: false,
        chat,
        head_seq: log.head,
        acked_seq: log.acked,
        last_ms: 1,
    });
    let mut chats: Vec<_> = changed.take(4).collect();
    let next = (chats.len() == 4).then(|| {
        chats.pop();
        schema::envelope::SyncCursor { last_ms: 1, chat: chats[2].chat }
    });
    Some(Body::SyncPage { account: Default::default(), chats, next })
}

/// What is under way to the owner or back.
pub struct Net {
    pub to_owner: VecDeque<(ConnId, Envelope)>,
    /// (connection, request id, answer)
    pub acks: VecDeque<(ConnId, u64, Body)>,
    /// (chat, seq, acked, connection at the time)
    pub live: Vec<(ChatId, u64, u64, ConnId)>,
}

pub const USER: u64 = 1;
pub const DEVICE: DeviceId = DeviceId(9);

pub fn chats(count: u64) -> Vec<ChatId> {
    (0..count).map(|i| ChatId::direct(UserId::new(USER).unwrap(), UserId::new(100 + i).unwrap())).collect()
}
