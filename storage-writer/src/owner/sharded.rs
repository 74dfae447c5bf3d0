//! A hash table in 64 parts, so that growing one never stops the shard for long.

use hashbrown::HashTable;

const PARTS: usize = 64;

/// Entries found by their hash. The caller hashes and compares.
pub(crate) struct Sharded<T> {
    parts: Box<[HashTable<T>]>,
    len: usize,
}

impl<T> Sharded<T> {
    pub(crate) fn new() -> Self {
        Self { parts: (0..PARTS).map(|_| HashTable::new()).collect(), len: 0 }
    }

    // The tables use the top seven bits and the low ones; these are neither.
    const fn part(hash: u64) -> usize {
        (hash >> 48) as usize % PARTS
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn find(&self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<&T> {
        self.parts[Self::part(hash)].find(hash, same)
    }

    pub(crate) fn find_mut(&mut self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<&mut T> {
        self.parts[Self::part(hash)].find_mut(hash, same)
    }

    /// Adds an entry that is not there yet. `rehash` gives any entry's hash again.
    pub(crate) fn insert(&mut self, hash: u64, entry: T, rehash: impl Fn(&T) -> u64) {
        self.parts[Self::part(hash)].insert_unique(hash, entry, rehash);
        self.len += 1;
    }
}
