//! The newest flushed entries of hot chats, so that a device that was away for a moment does not cost a read.

use std::collections::VecDeque;

use fabric::hash::{self, Map};

use bytes::Bytes;
use schema::encode::Encoder;
use schema::ids::MessageId;

use super::{Amendment, Frames, MemEntry};

/// A flushed entry that is kept: a copy, since its table goes.
#[derive(Clone, Debug)]
pub(crate) struct HotEntry {
    pub seq: u64,
    pub message: MessageId,
    pub frame: Bytes,
}

impl HotEntry {
    /// What it costs to keep, bytes.
    fn cost(&self) -> usize {
        self.frame.len() + size_of::<Self>() + 32
    }
}

struct Tail {
    /// Ascending, without holes, ending just below the chat's oldest entry in a table.
    entries: VecDeque<HotEntry>,
    bytes: usize,
    stamp: u64,
}

/// Tails by chat, the least recently used evicted first. Bounded by bytes.
pub(crate) struct HotTails {
    tails: Map<u32, Tail>,
    /// (stamp, chat); an entry whose stamp is not its tail's is stale.
    order: VecDeque<(u64, u32)>,
    stamp: u64,
    bytes: usize,
    limit_bytes: usize,
    limit_entries: usize,
}

impl HotTails {
    pub(crate) fn new(seed: u64, limit_bytes: usize, limit_entries: usize) -> Self {
        Self { tails: hash::map(seed), order: VecDeque::new(), stamp: 0, bytes: 0, limit_bytes, limit_entries }
    }

    fn touch(&mut self, chat: u32) {
        self.stamp += 1;
        if let Some(tail) = self.tails.get_mut(&chat) {
            tail.stamp = self.stamp;
            self.order.push_back((self.stamp, chat));
        }
        if self.order.len() > 2 * self.tails.len() + 1_024 {
            let tails = &self.tails;
            self.order.retain(|&(stamp, chat)| tails.get(&chat).is_some_and(|tail| tail.stamp == stamp));
        }
    }

    /// Takes a chat's entries of a table that is now in the store. Returns how many tails were evicted to make room.
    pub(crate) fn extend(&mut self, chat: u32, entries: &[MemEntry], frames: &Frames) -> u64 {
        let Some(first) = entries.first() else { return 0 };
        if self.limit_entries == 0 || self.limit_bytes == 0 {
            return 0;
        }
        let tail = self.tails.entry(chat).or_insert_with(|| Tail { entries: VecDeque::new(), bytes: 0, stamp: 0 });
        if tail.entries.back().is_some_and(|last| last.seq + 1 != first.seq) {
            self.bytes -= tail.bytes;
            tail.bytes = 0;
            tail.entries.clear();
        }
        for entry in &entries[entries.len().saturating_sub(self.limit_entries)..] {
            // A gap between what was kept and this: the skipped ones would be a hole.
            if tail.entries.back().is_some_and(|last| last.seq + 1 != entry.seq) {
                self.bytes -= tail.bytes;
                tail.bytes = 0;
                tail.entries.clear();
            }
            let frame = Bytes::copy_from_slice(frames.get(entry.frame));
            let kept = HotEntry { seq: entry.seq, message: entry.message, frame };
            tail.bytes += kept.cost();
            self.bytes += kept.cost();
            tail.entries.push_back(kept);
            if tail.entries.len() > self.limit_entries
                && let Some(oldest) = tail.entries.pop_front()
            {
                tail.bytes -= oldest.cost();
                self.bytes -= oldest.cost();
            }
        }
        self.touch(chat);
        self.evict()
    }

    /// Lays an amendment over an entry that is kept, if it is.
    pub(crate) fn amend(&mut self, chat: u32, seq: u64, amendment: &Amendment, encoder: &mut Encoder) {
        let Some(tail) = self.tails.get_mut(&chat) else { return };
        let Some(first) = tail.entries.front().map(|entry| entry.seq) else { return };
        let place = seq.checked_sub(first).and_then(|at| usize::try_from(at).ok());
        let Some(kept) = place.and_then(|at| tail.entries.get_mut(at)) else { return };
        let before = kept.cost();
        kept.frame = amendment.apply(&kept.frame, encoder);
        let after = kept.cost();
        tail.bytes = tail.bytes + after - before;
        self.bytes = self.bytes + after - before;
    }

    /// Drops a chat's tail: entries above it went to the store and were not kept.
    pub(crate) fn forget(&mut self, chat: u32) {
        if let Some(tail) = self.tails.remove(&chat) {
            self.bytes -= tail.bytes;
        }
    }

    fn evict(&mut self) -> u64 {
        let mut evicted = 0;
        while self.bytes > self.limit_bytes
            && let Some((stamp, chat)) = self.order.pop_front()
        {
            if self.tails.get(&chat).is_some_and(|tail| tail.stamp == stamp)
                && let Some(tail) = self.tails.remove(&chat)
            {
                self.bytes -= tail.bytes;
                evicted += 1;
            }
        }
        evicted
    }

    /// A chat's tail, made the most recently used.
    pub(crate) fn get(&mut self, chat: u32) -> Option<&VecDeque<HotEntry>> {
        if self.tails.is_empty() || !self.tails.contains_key(&chat) {
            return None;
        }
        self.touch(chat);
        self.tails.get(&chat).map(|tail| &tail.entries)
    }

    /// Bytes kept at most.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Bytes kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use schema::dedupe::DedupeKey;
    use schema::timeuuid;

    use super::*;

    fn entries(frames: &mut Frames, seqs: core::ops::RangeInclusive<u64>) -> Vec<MemEntry> {
        seqs.map(|seq| MemEntry {
            seq,
            message: timeuuid::from_parts(seq, [0x80; 8]),
            frame: frames.push(&[seq as u8; 100]),
            key: DedupeKey([seq as u8; 16]),
            expires_s: 0,
        })
        .collect()
    }

    fn extend(tails: &mut HotTails, chat: u32, seqs: core::ops::RangeInclusive<u64>) -> u64 {
        let mut frames = Frames::default();
        let entries = entries(&mut frames, seqs);
        tails.extend(chat, &entries, &frames)
    }

    fn seqs(tails: &mut HotTails, chat: u32) -> Vec<u64> {
        tails.get(chat).map_or(Vec::new(), |tail| tail.iter().map(|e| e.seq).collect())
    }

    #[test]
    fn keeps_the_newest_of_each_chat() {
        let mut tails = HotTails::new(1, 1 << 20, 5);
        extend(&mut tails, 1, 1..=3);
        extend(&mut tails, 1, 4..=7);
        assert_eq!(seqs(&mut tails, 1), [3, 4, 5, 6, 7]);
        assert!(tails.get(1).is_some_and(|tail| tail.iter().all(|e| e.frame[..] == [e.seq as u8; 100])));
        extend(&mut tails, 1, 8..=20);
        assert_eq!(seqs(&mut tails, 1), [16, 17, 18, 19, 20]);
        assert_eq!(seqs(&mut tails, 2), []);
    }

    #[test]
    fn never_keeps_a_hole() {
        let mut tails = HotTails::new(1, 1 << 20, 50);
        extend(&mut tails, 1, 1..=3);
        extend(&mut tails, 1, 6..=7);
        assert_eq!(seqs(&mut tails, 1), [6, 7]);
    }

    #[test]
    fn forgets_what_would_end_below_a_hole() {
        let mut tails = HotTails::new(1, 1 << 20, 50);
        extend(&mut tails, 1, 1..=3);
        extend(&mut tails, 2, 1..=1);
        tails.forget(1);
        tails.forget(3);
        assert_eq!((seqs(&mut tails, 1), seqs(&mut tails, 2)), (vec![], vec![1]));
        extend(&mut tails, 1, 7..=7);
        tails.forget(2);
        tails.forget(1);
        assert_eq!(tails.bytes(), 0);
    }

    #[test]
    fn evicts_the_least_recently_used_first() {
        let mut tails = HotTails::new(1, usize::MAX, 50);
        extend(&mut tails, 1, 1..=1);
        let one = tails.bytes();
        let mut tails = HotTails::new(1, 2 * one, 50);
        assert_eq!(extend(&mut tails, 1, 1..=1), 0);
        assert_eq!(extend(&mut tails, 2, 1..=1), 0);
        assert_eq!(seqs(&mut tails, 1), [1]);
        assert_eq!(extend(&mut tails, 3, 1..=1), 1);
        assert_eq!(seqs(&mut tails, 2), []);
        assert_eq!(seqs(&mut tails, 1), [1]);
        assert_eq!(tails.bytes(), 2 * one);
    }
}
