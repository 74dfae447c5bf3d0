//! What changes were answered with, in memory: at least the last 15 minutes, and everything the store does not have.
//!
//! An entry is added when its send is ordered and forgotten if its block fails; only a commit makes it an answer. What
//! must stay true: a key leaves memory only after its entry is in the store, so that memory and store together always
//! know it.

use std::collections::VecDeque;

use schema::dedupe::DedupeKey;
use schema::ids::MessageId;
use schema::timeuuid;

use super::sharded::Sharded;

/// What a key was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub seq: u64,
    pub message: MessageId,
    /// The chat's number in its partition.
    pub chat: u32,
}

struct Committed {
    key: DedupeKey,
    /// Wall time of its message, ms.
    wall_ms: u64,
    /// When it may go, ms of the monotonic clock.
    until_ms: u64,
    /// The memory table that has its entry; 0 = it is in the store.
    epoch: u32,
}

/// Keys by hash, and the order in which the committed ones leave.
pub(crate) struct DedupeMemory {
    known: Sharded<(DedupeKey, Known)>,
    order: VecDeque<Box<[Committed]>>,
    filling: Vec<Committed>,
    /// Next to leave, in `order`'s first chunk (or `filling` when there is none).
    next: usize,
    keep_ms: u64,
    limit: usize,
    /// Messages older than this may have left memory, ms since 1970.
    covers_from_ms: u64,
}

/// Small enough that adding one never stops the shard for long.
const CHUNK: usize = 4_096;

// The key is a keyed hash already.
fn hash(key: &DedupeKey) -> u64 {
    let mut bytes = [0u8; 8];
    bytes.copy_from_slice(&key.0[..8]);
    u64::from_le_bytes(bytes)
}

impl DedupeMemory {
    /// `covers_from_ms`: everything younger will be added before the first send.
    pub(crate) fn new(keep_ms: u64, limit: usize, covers_from_ms: u64) -> Self {
        Self {
            known: Sharded::new(),
            order: VecDeque::new(),
            filling: Vec::new(),
            next: 0,
            keep_ms,
            limit,
            covers_from_ms,
        }
    }

    pub(crate) fn get(&self, key: &DedupeKey) -> Option<Known> {
        self.known.find(hash(key), |(k, _)| k == key).map(|&(_, known)| known)
    }

    /// A send was ordered.
    pub(crate) fn ordered(&mut self, key: DedupeKey, known: Known) {
        debug_assert!(self.get(&key).is_none());
        self.known.insert(hash(&key), (key, known), |(k, _)| hash(k));
    }

    /// Its block failed.
    pub(crate) fn forget(&mut self, key: &DedupeKey) {
        self.known.remove(hash(key), |(k, _)| k == key);
    }

    /// Its block is durable; `epoch` names the memory table that has the entry (0: the store has it).
    pub(crate) fn committed(&mut self, now_ms: u64, key: DedupeKey, message: MessageId, epoch: u32) {
        let wall_ms = timeuuid::unix_ms(message);
        self.filling.push(Committed { key, wall_ms, until_ms: now_ms + self.keep_ms, epoch });
        if self.filling.len() == CHUNK {
            let full = core::mem::replace(&mut self.filling, Vec::with_capacity(CHUNK));
            self.order.push_back(full.into_boxed_slice());
        }
    }

    /// Adds an answer found at start, unless it is known. `age_ms`: how long ago it was given.
    pub(crate) fn recovered(&mut self, now_ms: u64, key: DedupeKey, known: Known, age_ms: u64, epoch: u32) {
        if self.get(&key).is_some() {
            return;
        }
        self.ordered(key, known);
        let keep_ms = self.keep_ms;
        self.keep_ms = keep_ms.saturating_sub(age_ms);
        self.committed(now_ms, key, known.message, epoch);
        self.keep_ms = keep_ms;
    }

    fn front(&self) -> Option<&Committed> {
        match self.order.front() {
            Some(chunk) => chunk.get(self.next),
            None => self.filling.get(self.next),
        }
    }

    /// Drops what is old and in the store (its table's epoch is at most `flushed_epoch`), a bounded number a call.
    /// Returns how many went before their time for want of room.
    pub(crate) fn expire(&mut self, now_ms: u64, flushed_epoch: u32) -> u64 {
        let mut early = 0;
        for _ in 0..1_024 {
            let crowded = self.known.len() > self.limit;
            let Some(front) = self.front() else { break };
            if front.epoch > flushed_epoch || !(crowded || front.until_ms <= now_ms) {
                break;
            }
            early += u64::from(front.until_ms > now_ms);
            let (key, wall_ms) = (front.key, front.wall_ms);
            self.covers_from_ms = self.covers_from_ms.max(wall_ms + 1);
            self.forget(&key);
            self.next += 1;
            self.drop_worked_off();
        }
        early
    }

    fn drop_worked_off(&mut self) {
        if let Some(chunk) = self.order.front() {
            if self.next == chunk.len() {
                self.order.pop_front();
                self.next = 0;
            }
        } else if self.next == self.filling.len() {
            self.filling.clear();
            self.next = 0;
        }
    }

    /// No room, and nothing that may go.
    pub(crate) fn is_full(&self) -> bool {
        self.known.len() >= self.limit + self.limit / 8
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Every key of a message given at or after this is in memory, ms since 1970.
    pub(crate) fn covers_from_ms(&self) -> u64 {
        self.covers_from_ms
    }
}

#[cfg(test)]
mod tests {
    use schema::timeuuid::{UNIX_EPOCH_TICKS, from_parts};

    use super::*;

    fn key(n: u64) -> DedupeKey {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        DedupeKey(bytes)
    }

    fn known(n: u64) -> Known {
        Known { seq: n, message: from_parts(UNIX_EPOCH_TICKS + n * 10_000, [0x80; 8]), chat: 1 }
    }

    #[test]
    fn leaves_memory_only_when_old_and_in_the_store() {
        let mut memory = DedupeMemory::new(1_000, 1 << 20, 0);
        for n in 1..=10_000 {
            memory.ordered(key(n), known(n));
            memory.committed(n, key(n), known(n).message, if n <= 5_000 { 1 } else { 2 });
        }
        for _ in 0..20 {
            assert_eq!(memory.expire(100_000, 0), 0);
        }
        assert_eq!(memory.len(), 10_000, "nothing is in the store yet");
        for _ in 0..20 {
            memory.expire(3_000, 1);
        }
        assert_eq!(memory.len(), 8_000);
        assert_eq!(memory.get(&key(2_000)), None);
        assert_eq!(memory.get(&key(2_001)), Some(known(2_001)));
        assert_eq!(memory.covers_from_ms(), 2_001);
        for _ in 0..20 {
            memory.expire(100_000, 1);
        }
        assert_eq!(memory.len(), 5_000);
        for _ in 0..20 {
            memory.expire(100_000, 2);
        }
        assert_eq!(memory.len(), 0);
        memory.ordered(key(1), known(1));
        memory.committed(1, key(1), known(1).message, 3);
        memory.expire(100_000, 3);
        assert_eq!(memory.len(), 0);
    }

    #[test]
    fn is_bounded_and_says_what_went_early() {
        let mut memory = DedupeMemory::new(1_000_000, 100, 0);
        for n in 1..=150 {
            memory.ordered(key(n), known(n));
            memory.committed(0, key(n), known(n).message, 1);
        }
        assert_eq!(memory.expire(0, 0), 0);
        assert!(memory.is_full());
        assert_eq!(memory.expire(0, 1), 50);
        assert_eq!(memory.len(), 100);
        assert!(!memory.is_full());
        assert_eq!(memory.covers_from_ms(), 51);
    }

    #[test]
    fn a_failed_block_leaves_nothing() {
        let mut memory = DedupeMemory::new(1_000, 100, 0);
        memory.ordered(key(1), known(1));
        assert_eq!(memory.get(&key(1)), Some(known(1)));
        memory.forget(&key(1));
        assert_eq!(memory.get(&key(1)), None);
        assert_eq!(memory.len(), 0);
    }
}
