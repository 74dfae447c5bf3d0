//! The right to write to a partition, shared by the keeper, who prolongs or ends it, and the partition and its jobs, who
//! ask.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fabric::time::{Clock, SystemClock};

use super::Epoch;

/// One partition under one epoch. Any thread.
pub struct Tenure {
    partition: u16,
    epoch: Epoch,
    /// The writer's lease, ns of the monotonic clock; one for all of its partitions.
    until_ns: Arc<AtomicU64>,
    over: AtomicBool,
    clock: Arc<dyn Clock + Send + Sync>,
}

impl Tenure {
    /// Of a partition under an epoch, for as long as `until_ns` (ns of `clock`'s monotonic time) says.
    pub fn new(
        (partition, epoch): (u16, Epoch),
        until_ns: Arc<AtomicU64>,
        clock: Arc<dyn Clock + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(Self { partition, epoch, until_ns, over: AtomicBool::new(false), clock })
    }

    /// One that nobody else asks for: it lasts until it is ended.
    pub fn endless(partition: u16, epoch: Epoch) -> Arc<Self> {
        Self::new((partition, epoch), Arc::new(AtomicU64::new(u64::MAX)), Arc::new(SystemClock))
    }

    /// Which partition.
    pub const fn partition(&self) -> u16 {
        self.partition
    }

    /// Under which epoch.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether nobody else can have the partition at this moment. Asked before something is written, and again before a
    /// write's success is believed. False for a while when the lease could not be renewed in time.
    pub fn is_held(&self) -> bool {
        !self.is_over() && self.clock.now().mono_ns < self.until_ns.load(Ordering::Acquire)
    }

    /// Whether it will never be held again.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Ends it.
    pub fn end(&self) {
        self.over.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenure").field("partition", &self.partition).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
