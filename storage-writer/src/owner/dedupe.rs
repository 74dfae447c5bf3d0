//! What changes were answered with, in memory: at least the last 15 minutes, and everything the store does not have.
//!
//! An entry is added when its send is ordered and forgotten if its block fails; only a commit makes it an answer. What
//! must stay true: a key leaves memory only after its entry is in the store, so that memory and store together always
//! know it.

use std::collections::VecDeque;

use fabric::memory::populate;
use schema::dedupe::DedupeKey;
use schema::ids::MessageId;
use schema::timeuuid;

use super::places::Places;

/// What a key was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub seq: u64,
    pub message: MessageId,
    /// The chat's number in its partition.
    pub chat: u32,
}

struct Answer {
    key: DedupeKey,
    message: MessageId,
    /// 0 = its block failed.
    seq: u64,
    chat: u32,
}

/// Answers that were committed at about the same time.
struct Stamp {
    /// The answers before this one, and behind those of the stamp before.
    end: u64,
    /// When they may go, ms of the monotonic clock: the first and the last of them.
    until_ms: (u64, u64),
    /// The memory table that has their entries; 0 = they are in the store.
    epoch: u32,
}

/// Answers in the order in which they were given, found by key. They are numbered; the committed ones leave in order.
pub(crate) struct DedupeMemory {
    places: Places,
    log: VecDeque<Vec<Answer>>,
    /// Number of the log's first answer.
    first: u64,
    /// Number of the first that has not left.
    next: u64,
    /// Number of the first that is not committed.
    committed: u64,
    /// Number of the next one.
    end: u64,
    stamps: VecDeque<Stamp>,
    keep_ms: u64,
    limit: usize,
    /// Messages older than this may have left memory, ms since 1970.
    covers_from_ms: u64,
}

/// Small enough that adding one never stops the shard for long.
const CHUNK: usize = 4_096;
/// Stamps in the time that answers are kept, about.
const STAMPS: u64 = 1_024;

// The key is a keyed hash already.
fn hash(key: &DedupeKey) -> u64 {
    let mut bytes = [0u8; 8];
    bytes.copy_from_slice(&key.0[..8]);
    u64::from_le_bytes(bytes)
}

impl DedupeMemory {
    /// `covers_from_ms`: everything younger will be added before the first send. `limit`: below 2^31.
    pub(crate) fn new(keep_ms: u64, limit: usize, covers_from_ms: u64) -> Self {
        Self {
            places: Places::new(),
            log: VecDeque::new(),
            first: 0,
            next: 0,
            committed: 0,
            end: 0,
            stamps: VecDeque::new(),
            keep_ms,
            limit,
            covers_from_ms,
        }
    }

    fn answer(&self, number: u64) -> Option<&Answer> {
        let at = number.checked_sub(self.first)? as usize;
        self.log.get(at / CHUNK)?.get(at % CHUNK)
    }

    /// The number of an answer from its lower half.
    fn number(&self, place: u32) -> u64 {
        self.first + u64::from(place.wrapping_sub(self.first as u32))
    }

    fn is_at(&self, key: &DedupeKey, place: u32) -> bool {
        self.answer(self.number(place)).is_some_and(|answer| answer.key == *key)
    }

    /// Says that [`Self::get`] will be asked soon.
    pub(crate) fn prefetch(&self, key: &DedupeKey) {
        self.places.prefetch(hash(key));
    }

    pub(crate) fn get(&self, key: &DedupeKey) -> Option<Known> {
        let place = self.places.find(hash(key), |place| self.is_at(key, place))?;
        let &Answer { seq, message, chat, .. } = self.answer(self.number(place))?;
        Some(Known { seq, message, chat })
    }

    /// A send was ordered.
    pub(crate) fn ordered(&mut self, key: DedupeKey, known: Known) {
        debug_assert!(self.get(&key).is_none());
        let Known { seq, message, chat } = known;
        if self.log.back().is_none_or(|chunk| chunk.len() == CHUNK) {
            let mut chunk = Vec::with_capacity(CHUNK);
            if !self.log.is_empty() {
                // The first may be all there ever is.
                populate(chunk.spare_capacity_mut());
            }
            self.log.push_back(chunk);
        }
        if let Some(chunk) = self.log.back_mut() {
            chunk.push(Answer { key, message, seq, chat });
        }
        self.places.insert(hash(&key), self.end as u32);
        self.end += 1;
    }

    /// Its block failed. Sooner or later all that is not committed is forgotten.
    pub(crate) fn forget(&mut self, key: &DedupeKey) {
        let Some(place) = self.places.find(hash(key), |place| self.is_at(key, place)) else { return };
        let number = self.number(place);
        debug_assert!(number >= self.committed, "a committed answer stays");
        self.places.remove(hash(key), |other| other == place);
        let at = (number - self.first) as usize;
        self.log[at / CHUNK][at % CHUNK].seq = 0;
        while self.end > self.committed && self.answer(self.end - 1).is_some_and(|answer| answer.seq == 0) {
            self.end -= 1;
            if let Some(chunk) = self.log.back_mut() {
                chunk.pop();
            }
            if self.log.back().is_some_and(Vec::is_empty) {
                self.log.pop_back();
            }
        }
    }

    /// The block of the oldest one that is not committed is durable; `epoch` names the memory table that has the entry (0:
    /// the store has it).
    pub(crate) fn committed(&mut self, now_ms: u64, key: DedupeKey, epoch: u32) {
        self.stamp(now_ms + self.keep_ms, key, epoch);
    }

    fn stamp(&mut self, until_ms: u64, key: DedupeKey, epoch: u32) {
        debug_assert!(self.answer(self.committed).is_some_and(|answer| answer.key == key), "commits keep the order");
        self.committed += 1;
        let span_ms = self.keep_ms / STAMPS;
        if let Some(last) = self.stamps.back_mut()
            && last.epoch == epoch
            && (last.until_ms.0..=last.until_ms.0 + span_ms).contains(&until_ms)
        {
            last.end = self.committed;
            last.until_ms.1 = last.until_ms.1.max(until_ms);
        } else {
            self.stamps.push_back(Stamp { end: self.committed, until_ms: (until_ms, until_ms), epoch });
        }
    }

    /// Adds an answer found at start, unless it is known. `age_ms`: how long ago it was given.
    pub(crate) fn recovered(&mut self, now_ms: u64, key: DedupeKey, known: Known, age_ms: u64, epoch: u32) {
        if self.get(&key).is_some() {
            return;
        }
        self.ordered(key, known);
        self.stamp(now_ms + self.keep_ms.saturating_sub(age_ms), key, epoch);
    }

    /// Drops what is old and in the store (its table's epoch is at most `flushed_epoch`), a bounded number a call.
    /// Returns how many went before their time for want of room.
    pub(crate) fn expire(&mut self, now_ms: u64, flushed_epoch: u32) -> u64 {
        let mut early = 0;
        for _ in 0..1_024 {
            let crowded = self.places.len() > self.limit;
            let Some(stamp) = self.stamps.front() else { break };
            let until_ms = stamp.until_ms.1;
            if stamp.epoch > flushed_epoch || !(crowded || until_ms <= now_ms) {
                break;
            }
            early += u64::from(until_ms > now_ms);
            let (end, number) = (stamp.end, self.next);
            let Some(&Answer { key, message, .. }) = self.answer(number) else { break };
            self.covers_from_ms = self.covers_from_ms.max(timeuuid::unix_ms(message) + 1);
            self.places.remove(hash(&key), |place| place == number as u32);
            self.next += 1;
            if self.next == end {
                self.stamps.pop_front();
            }
            if self.next - self.first == CHUNK as u64 {
                self.log.pop_front();
                self.first = self.next;
            }
        }
        early
    }

    /// No room, and nothing that may go.
    pub(crate) fn is_full(&self) -> bool {
        self.places.len() >= self.limit + self.limit / 8
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
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
            memory.committed(n, key(n), if n <= 5_000 { 1 } else { 2 });
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
        memory.committed(1, key(1), 3);
        memory.expire(100_000, 3);
        assert_eq!(memory.len(), 0);
    }

    #[test]
    fn is_bounded_and_says_what_went_early() {
        let mut memory = DedupeMemory::new(1_000_000, 100, 0);
        for n in 1..=150 {
            memory.ordered(key(n), known(n));
            memory.committed(0, key(n), 1);
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
