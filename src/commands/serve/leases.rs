//! The table of leases, whose silence tells that the store is away also while nothing is written there.
//!
//! It is not behind the breaker: leases have to be renewed as soon as it answers. And its answers do not close the breaker: whether
//! blocks can be written only blocks tell.

use std::sync::Arc;

use fabric::time::{Clock as _, SystemClock};
use storage_writer::lease::{Epoch, LeaseTable, PartitionRow, TableView, WriterId};
use storage_writer::store::StoreError;
use storage_writer::store::breaker::{Breaker, BreakerState, Outcome};

/// See the module.
pub(super) struct Watched {
    pub(super) table: Arc<dyn LeaseTable>,
    pub(super) breaker: Arc<Breaker>,
}

impl Watched {
    fn heard<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let now_ns = SystemClock.now().mono_ns;
        if matches!(result, Err(StoreError::Away { .. }))
            && self.breaker.state() == BreakerState::Closed
            && let Some(pass) = self.breaker.admit(now_ns)
        {
            self.breaker.done(now_ns, pass, Outcome::Away);
        }
        result
    }
}

impl LeaseTable for Watched {
    fn read(&self) -> Result<TableView, StoreError> {
        self.heard(self.table.read())
    }
    fn enter(&self, writer: &WriterId) -> Result<bool, StoreError> {
        self.heard(self.table.enter(writer))
    }
    fn renew(&self, writer: &WriterId, beat: u64, leaving: bool) -> Result<bool, StoreError> {
        self.heard(self.table.renew(writer, beat, leaving))
    }
    fn bury(&self, writer: &WriterId, beat: u64) -> Result<bool, StoreError> {
        self.heard(self.table.bury(writer, beat))
    }
    fn remove(&self, writer: &WriterId) -> Result<(), StoreError> {
        self.heard(self.table.remove(writer))
    }
    fn take(&self, seen: &PartitionRow, writer: &WriterId) -> Result<bool, StoreError> {
        self.heard(self.table.take(seen, writer))
    }
    fn release(&self, partition: u16, epoch: Epoch, writer: &WriterId) -> Result<bool, StoreError> {
        self.heard(self.table.release(partition, epoch, writer))
    }
}
