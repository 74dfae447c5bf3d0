//! The table in memory, for tests and for writers that a simulation runs in one process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use fabric::mutex::lock;

use super::{Epoch, LeaseTable, PartitionRow, TableView, WriterId, WriterRow};
use crate::store::StoreError;

/// See the module.
pub struct MemoryLeases(Mutex<Rows>);

struct Rows {
    writers: BTreeMap<WriterId, WriterRow>,
    partitions: Vec<PartitionRow>,
}

impl MemoryLeases {
    /// Of so many partitions that nobody owns.
    pub fn new(partitions: u16) -> Self {
        let free = |partition| PartitionRow { partition, epoch: Epoch::default(), owner: None };
        Self(Mutex::new(Rows { writers: BTreeMap::new(), partitions: (0..partitions).map(free).collect() }))
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        // A panic of another thread leaves whole rows.
        lock(&self.0)
    }
}

impl LeaseTable for MemoryLeases {
    fn read(&self) -> Result<TableView, StoreError> {
        let rows = self.lock();
        Ok(TableView { writers: rows.writers.values().cloned().collect(), partitions: rows.partitions.clone() })
    }

    fn enter(&self, writer: &WriterId) -> Result<bool, StoreError> {
        let mut rows = self.lock();
        if rows.writers.contains_key(writer) {
            return Ok(false);
        }
        let row = WriterRow { writer: writer.clone(), beat: 1, buried: false, leaving: false };
        rows.writers.insert(writer.clone(), row);
        Ok(true)
    }

    fn renew(&self, writer: &WriterId, beat: u64, leaving: bool) -> Result<bool, StoreError> {
        let mut rows = self.lock();
        let found = rows.writers.get_mut(writer).filter(|row| row.beat == beat && !row.buried);
        let renewed = found.is_some();
        if let Some(row) = found {
            (row.beat, row.leaving) = (beat + 1, leaving);
        }
        Ok(renewed)
    }

    fn bury(&self, writer: &WriterId, beat: u64) -> Result<bool, StoreError> {
        let mut rows = self.lock();
        let found = rows.writers.get_mut(writer).filter(|row| row.beat == beat && !row.buried);
        let buried = found.is_some();
        if let Some(row) = found {
            row.buried = true;
        }
        Ok(buried)
    }

    fn remove(&self, writer: &WriterId) -> Result<(), StoreError> {
        self.lock().writers.remove(writer);
        Ok(())
    }

    fn take(&self, seen: &PartitionRow, writer: &WriterId) -> Result<bool, StoreError> {
        let mut rows = self.lock();
        let found = rows.partitions.get_mut(usize::from(seen.partition)).filter(|row| *row == seen);
        let taken = found.is_some();
        if let Some(row) = found {
            (row.epoch, row.owner) = (Epoch(seen.epoch.0 + 1), Some(writer.clone()));
        }
        Ok(taken)
    }

    fn release(&self, partition: u16, epoch: Epoch, writer: &WriterId) -> Result<bool, StoreError> {
        let mut rows = self.lock();
        let is_theirs = |row: &&mut PartitionRow| row.epoch == epoch && row.owner.as_ref() == Some(writer);
        let found = rows.partitions.get_mut(usize::from(partition)).filter(is_theirs);
        let released = found.is_some();
        if let Some(row) = found {
            row.owner = None;
        }
        Ok(released)
    }
}
