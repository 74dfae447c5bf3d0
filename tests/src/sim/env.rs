//! What every part of a world uses: time, randomness, network, disk, store, counters.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::sim::{SeededEntropy, SimClock, SimDisk, SimNet, StreamId};
use fabric::time::{Clock, Now};

use super::counts::Counts;
use super::store::SimStore;
use super::trace::Trace;

/// See the module.
pub struct Env {
    /// Every decision comes from here.
    pub rng: SeededEntropy,
    /// The world's clock.
    pub clock: SimClock,
    /// Streams between clients and server.
    pub net: SimNet,
    /// The server's journals.
    pub disk: SimDisk,
    /// The server's store.
    pub store: Arc<SimStore>,
    /// What happened.
    pub trace: Trace,
    /// How often.
    pub counts: Counts,
    /// Streams whose client does not read, and until when, ns.
    pub stalls: BTreeMap<StreamId, u64>,
}

impl Env {
    /// The clock.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The monotonic clock, ns.
    pub fn ns(&self) -> u64 {
        self.clock.now().mono_ns
    }

    /// A time from `low` to `high` ns from now.
    pub fn later(&mut self, low: u64, high: u64) -> u64 {
        self.ns() + self.rng.between(low, high)
    }

    /// Notes an event.
    pub fn note(&self, what: &'static str, numbers: [u64; 3]) {
        self.trace.note(self.ns(), what, numbers);
    }

    /// Counts and notes a fault.
    pub fn fault(&mut self, name: &'static str, number: u64) {
        self.counts.add(name, 1);
        self.counts.add("faults", 1);
        self.note(name, [number, 0, 0]);
    }

    /// When `stream` is read again; 0 = it is.
    pub fn stalled_until(&self, stream: StreamId) -> u64 {
        self.stalls.get(&stream).copied().unwrap_or(0)
    }
}
