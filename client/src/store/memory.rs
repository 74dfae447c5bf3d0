//! A store in memory: for clients that keep nothing, and for simulation, where it can crash.

use super::{Change, ClientStore, Image, StoreError};

/// Keeps changes in memory. A clone is a snapshot.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    durable: Image,
    /// Appended, not synced.
    volatile: Vec<Change>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a crash surely leaves.
    pub const fn durable(&self) -> &Image {
        &self.durable
    }

    /// Changes a crash may lose.
    pub fn volatile_len(&self) -> usize {
        self.volatile.len()
    }

    /// Loses what was not synced, but for its first `kept` changes.
    pub fn crash(&mut self, kept: usize) {
        self.volatile.truncate(kept);
        self.harden();
    }

    fn harden(&mut self) {
        for change in self.volatile.drain(..) {
            self.durable.apply(&change);
        }
    }
}

impl ClientStore for MemoryStore {
    fn load(&mut self) -> Result<Image, StoreError> {
        let mut image = self.durable.clone();
        self.volatile.iter().for_each(|change| image.apply(change));
        Ok(image)
    }

    fn append(&mut self, change: &Change) -> Result<(), StoreError> {
        self.volatile.push(change.clone());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.harden();
        Ok(())
    }
}
