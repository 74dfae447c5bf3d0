//! Where shards post how their partitions stand, and where HTTP and the admin socket read it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fabric::mutex::lock;
use storage_writer::partition::PartitionStatus;

/// The latest status of every partition. Posted once a second by each shard; the lock is held for a copy only.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<BTreeMap<u16, PartitionStatus>>>);

impl Board {
    /// Replaces a partition's status.
    pub fn post(&self, status: PartitionStatus) {
        lock(&self.0).insert(status.partition, status);
    }

    /// A partition is not here any more.
    pub fn forget(&self, partition: u16) {
        lock(&self.0).remove(&partition);
    }

    /// All of them, by number.
    pub fn read(&self) -> Vec<PartitionStatus> {
        lock(&self.0).values().cloned().collect()
    }
}
