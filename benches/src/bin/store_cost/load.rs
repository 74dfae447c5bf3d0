//! The load: random direct chats, text-like frames, states and dedupe answers as an owner partition flushes them.

use std::borrow::Cow;
use std::ops::Range;

use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, ChatKind, DeviceId, MessageId, UserId};
use schema::timeuuid::{UNIX_EPOCH_TICKS, from_parts};
use smallvec::smallvec;
use storage_writer::lsn::{JournalId, Lsn};
use storage_writer::store::{ChatState, DedupeHit, DeviceState, FlushEntry, FlushRun, MemberState};

/// Bytes a memory table counts for a message besides its frame.
const OVERHEAD: u64 = 64;
pub const START_MS: u64 = 1_790_000_000_000;

pub struct Load {
    random: u64,
    body: usize,
    pub heads: Vec<u64>,
    pub chats: Vec<ChatId>,
    ticks: u64,
    words: Vec<u8>,
    states: bool,
    dedupe: bool,
    /// The frames of the run before last, one behind the other.
    frames: Vec<u8>,
}

struct Sent {
    chat: ChatId,
    seq: u64,
    index: usize,
    message: MessageId,
    frame: Range<usize>,
}

impl Load {
    /// Frames of `body` bytes in `chats` chats.
    pub fn new(body: usize, chats: usize, states: bool, dedupe: bool) -> Self {
        let (heads, chats) = (vec![0; chats], (0..chats).map(Self::chat).collect());
        let (words, frames) = (Vec::new(), Vec::new());
        let mut load =
            Self { random: 0x9E37_79B9_7F4A_7C15, body, heads, chats, ticks: 0, words, states, dedupe, frames };
        load.words = (0..2_010 * 8).map(|_| b"etaoinshrdlucmfwypvbgkjqxz"[(load.next() % 26) as usize]).collect();
        load
    }

    pub fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn chat(index: usize) -> ChatId {
        let user = |id| UserId::new(id).expect("not 0");
        ChatId::direct(user(2 * index as u64 + 1), user(2 * index as u64 + 2))
    }

    /// Adds a frame: a third random bytes, as ids and offsets are, the rest words. Returns where it is.
    fn frame(&mut self) -> Range<usize> {
        let start = self.frames.len();
        while self.frames.len() < start + self.body / 3 {
            let bytes = self.next().to_le_bytes();
            self.frames.extend_from_slice(&bytes);
        }
        while self.frames.len() < start + self.body {
            let at = (self.next() % 2_000) as usize * 8;
            let len = 3 + (self.next() % 5) as usize;
            self.frames.extend_from_slice(&self.words[at..at + len]);
            self.frames.push(b' ');
        }
        self.frames.truncate(start + self.body);
        start..start + self.body
    }

    fn state(&self, index: usize, head_seq: u64, message: MessageId, ms: u64) -> ChatState {
        let member = |user| MemberState {
            user: UserId::new(user).expect("not 0"),
            delivered: head_seq,
            read: head_seq - 1,
            devices: smallvec![DeviceState { device: DeviceId(1), acked: head_seq, own: Vec::new() }],
        };
        ChatState {
            chat: self.chats[index],
            kind: ChatKind::Direct,
            head_seq,
            head_message: Some(message),
            last_ms: ms,
            members: smallvec![member(2 * index as u64 + 1), member(2 * index as u64 + 2)],
            ..ChatState::empty(self.chats[index])
        }
    }

    /// Messages for one memory table, as it hands them over: in chat order, the frames borrowed.
    pub fn run(&mut self, table_bytes: u64, most: u64, lsn: &mut u64) -> FlushRun<'_> {
        self.frames.clear();
        let mut sent = Vec::new();
        let mut run = FlushRun::default();
        let (mut bytes, mut count) = (0, 0);
        while bytes < table_bytes && count < most {
            let index = (self.next() % self.heads.len() as u64) as usize;
            self.heads[index] += 1;
            self.ticks += 10;
            *lsn += 1;
            let (chat, seq) = (self.chats[index], self.heads[index]);
            let message = from_parts(UNIX_EPOCH_TICKS + START_MS * 10_000 + self.ticks, [0x83; 8]);
            let frame = self.frame();
            bytes += frame.len() as u64 + OVERHEAD;
            count += 1;
            sent.push(Sent { chat, seq, index, message, frame });
        }
        sent.sort_unstable_by_key(|sent| (sent.chat, sent.seq));
        for at in 0..sent.len() {
            let &Sent { chat, seq, index, message, .. } = &sent[at];
            let wall_ms = schema::timeuuid::unix_ms(message);
            if self.dedupe {
                let mut key = [0; 16];
                key[..8].copy_from_slice(&self.next().to_le_bytes());
                key[8..].copy_from_slice(&self.next().to_le_bytes());
                run.dedupe.push((DedupeKey(key), DedupeHit { chat, seq, message, wall_ms }));
            }
            if self.states && sent.get(at + 1).is_none_or(|next| next.chat != chat) {
                run.states.push(self.state(index, seq, message, wall_ms));
            }
        }
        let frames = &self.frames;
        let entry = |Sent { chat, seq, message, frame, .. }: Sent| FlushEntry {
            expires_s: 0,
            chat,
            seq,
            message,
            frame: Cow::Borrowed(&frames[frame]),
        };
        run.entries = sent.into_iter().map(entry).collect();
        run.applied.push((JournalId(0), Lsn(*lsn)));
        run
    }
}
