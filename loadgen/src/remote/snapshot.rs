//! Where a remote worker's thread stands, as it is told to the leader.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use crate::measure::{Latencies, Shown};

/// One thread's [`Shown`], for the time since the last one.
#[derive(Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)] // as in `Shown`
pub struct Snapshot {
    pub sent: u64,
    pub acked: u64,
    pub delivered: u64,
    pub refused: u64,
    pub wanted: u64,
    pub joined: u64,
    pub errors: u64,
    pub authenticated: u64,
    pub authenticated_min: u64,
    pub connects: u64,
    pub receipts_due: u64,
    pub group_receipts_due: u64,
    pub away: u64,
    pub cpu_ns: u64,
    pub waited_ns: u64,
    pub exhausted: bool,
    pub latencies: Latencies,
}

impl Snapshot {
    /// Of a thread; what it shows of the time since the last call is taken.
    pub fn take(shown: &Shown) -> Self {
        // `exhausted` first: what was sent is final when it is set.
        let exhausted = shown.exhausted.load(Ordering::Acquire);
        let mut latencies = Latencies::default();
        shown.take_latencies(&mut latencies);
        Self {
            exhausted,
            delivered: shown.delivered.load(Ordering::Acquire),
            acked: shown.acked.load(Ordering::Acquire),
            refused: shown.refused.load(Ordering::Acquire),
            wanted: shown.wanted.load(Ordering::Acquire),
            joined: shown.joined.load(Ordering::Acquire),
            sent: shown.sent.load(Ordering::Acquire),
            errors: shown.errors.load(Ordering::Relaxed),
            authenticated_min: shown.take_authenticated_min(),
            authenticated: shown.authenticated.load(Ordering::Relaxed),
            connects: shown.connects.load(Ordering::Relaxed),
            receipts_due: shown.receipts_due.load(Ordering::Acquire),
            group_receipts_due: shown.group_receipts_due.load(Ordering::Acquire),
            away: shown.away.load(Ordering::Acquire),
            cpu_ns: shown.cpu_ns.load(Ordering::Relaxed),
            waited_ns: shown.waited_ns.load(Ordering::Relaxed),
            latencies,
        }
    }

    /// Shows it to the leader's controller as a thread of its own would.
    pub fn show(&self, shown: &Shown) {
        shown.errors.store(self.errors, Ordering::Relaxed);
        shown.connects.store(self.connects, Ordering::Relaxed);
        shown.receipts_due.store(self.receipts_due, Ordering::Release);
        shown.group_receipts_due.store(self.group_receipts_due, Ordering::Release);
        shown.away.store(self.away, Ordering::Release);
        shown.cpu_ns.store(self.cpu_ns, Ordering::Relaxed);
        shown.waited_ns.store(self.waited_ns, Ordering::Relaxed);
        shown.set_authenticated(self.authenticated);
        shown.authenticated_min.fetch_min(self.authenticated_min, Ordering::Relaxed);
        shown.latencies.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(&self.latencies);
        shown.sent.store(self.sent, Ordering::Release);
        shown.wanted.store(self.wanted, Ordering::Release);
        shown.joined.store(self.joined, Ordering::Release);
        shown.refused.store(self.refused, Ordering::Release);
        shown.acked.store(self.acked, Ordering::Release);
        shown.delivered.store(self.delivered, Ordering::Release);
        if self.exhausted {
            shown.exhausted.store(true, Ordering::Release);
        }
    }
}
