//! The load: random direct chats, text-like frames, states and dedupe answers as an owner partition flushes them.

use std::collections::HashMap;

use bytes::Bytes;
use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, ChatKind, DeviceId, MessageId, UserId};
use schema::timeuuid::{UNIX_EPOCH_TICKS, from_parts};
use smallvec::smallvec;
use storage_writer::lsn::{JournalId, Lsn};
use storage_writer::store::{ChatState, DedupeHit, DeviceState, FlushRun, MemberState, StoredEntry};

/// Bytes a memory table counts for a message besides its frame.
const OVERHEAD: u64 = 64;
pub const START_MS: u64 = 1_790_000_000_000;

pub struct Load {
    random: u64,
    body: usize,
    pub heads: Vec<u64>,
    ticks: u64,
    words: Vec<u8>,
    states: bool,
    dedupe: bool,
}

impl Load {
    /// Frames of `body` bytes in `chats` chats.
    pub fn new(body: usize, chats: usize, states: bool, dedupe: bool) -> Self {
        let heads = vec![0; chats];
        let mut load = Self { random: 0x9E37_79B9_7F4A_7C15, body, heads, ticks: 0, words: Vec::new(), states, dedupe };
        load.words = (0..2_010 * 8).map(|_| b"etaoinshrdlucmfwypvbgkjqxz"[(load.next() % 26) as usize]).collect();
        load
    }

    pub fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn chat(index: usize) -> ChatId {
        let user = |id| UserId::new(id).expect("not 0");
        ChatId::direct(user(2 * index as u64 + 1), user(2 * index as u64 + 2))
    }

    /// A third random bytes, as ids and offsets are, the rest words.
    fn frame(&mut self) -> Bytes {
        let mut out = Vec::with_capacity(self.body + 16);
        while out.len() < self.body / 3 {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        while out.len() < self.body {
            let at = (self.next() % 2_000) as usize * 8;
            let len = 3 + (self.next() % 5) as usize;
            out.extend_from_slice(&self.words[at..at + len]);
            out.push(b' ');
        }
        out.truncate(self.body);
        Bytes::from(out)
    }

    fn state(index: usize, head_seq: u64, message: MessageId, ms: u64) -> ChatState {
        let member = |user| MemberState {
            user: UserId::new(user).expect("not 0"),
            delivered: head_seq,
            read: head_seq - 1,
            devices: smallvec![DeviceState { device: DeviceId(1), acked: head_seq, own: Vec::new() }],
        };
        ChatState {
            chat: Self::chat(index),
            kind: ChatKind::Direct,
            head_seq,
            head_message: Some(message),
            last_ms: ms,
            members: smallvec![member(2 * index as u64 + 1), member(2 * index as u64 + 2)],
        }
    }

    pub fn run(&mut self, table_bytes: u64, most: u64, lsn: &mut u64) -> FlushRun {
        let mut chats: HashMap<usize, Vec<StoredEntry>> = HashMap::new();
        let mut run = FlushRun::default();
        let (mut bytes, mut count) = (0, 0);
        while bytes < table_bytes && count < most {
            let index = (self.next() % self.heads.len() as u64) as usize;
            self.heads[index] += 1;
            self.ticks += 10;
            *lsn += 1;
            let seq = self.heads[index];
            let message = from_parts(UNIX_EPOCH_TICKS + START_MS * 10_000 + self.ticks, [0x83; 8]);
            let frame = self.frame();
            bytes += frame.len() as u64 + OVERHEAD;
            count += 1;
            if self.dedupe {
                let mut key = [0; 16];
                key[..8].copy_from_slice(&self.next().to_le_bytes());
                key[8..].copy_from_slice(&self.next().to_le_bytes());
                let wall_ms = START_MS + self.ticks / 10_000;
                run.dedupe.push((DedupeKey(key), DedupeHit { chat: Self::chat(index), seq, message, wall_ms }));
            }
            chats.entry(index).or_default().push(StoredEntry { seq, message, frame });
        }
        for (index, entries) in chats {
            if self.states {
                let last = entries.last().expect("not empty");
                run.states.push(Self::state(index, last.seq, last.message, START_MS + self.ticks / 10_000));
            }
            run.entries.push((Self::chat(index), entries));
        }
        run.applied.push((JournalId(0), Lsn(*lsn)));
        run
    }
}
