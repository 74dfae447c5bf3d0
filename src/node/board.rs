//! Where shards post how their partitions stand, and where HTTP and the admin socket read it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use storage_writer::partition::PartitionStatus;

/// The latest status of every partition. Posted once a second by each shard; the lock is held for a copy only.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<BTreeMap<u16, PartitionStatus>>>);

impl Board {
    /// Replaces a partition's status.
    pub fn post(&self, status: PartitionStatus) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(status.partition, status);
    }

    /// A partition is not here any more.
    pub fn forget(&self, partition: u16) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
    }

    /// All of them, by number.
    pub fn read(&self) -> Vec<PartitionStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
