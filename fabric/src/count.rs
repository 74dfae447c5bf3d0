//! Counting without a locked instruction.
//!
//! A counter that only one thread raises needs none: others only read it. On the way of a message a locked instruction costs
//! more than itself, because it waits for everything written before it.

use std::sync::atomic::Ordering;

use prometheus_client::metrics::counter::Counter;

/// Raises a counter that no other thread raises. With two of them one may be lost.
pub trait Tally {
    /// Adds `by`.
    fn add(&self, by: u64);

    /// Adds one.
    fn one(&self) {
        self.add(1);
    }
}

impl Tally for Counter {
    fn add(&self, by: u64) {
        if by > 0 {
            let count = self.inner();
            count.store(count.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_a_count() {
        let counter = Counter::default();
        (0..5).for_each(|by| counter.add(by));
        counter.one();
        assert_eq!(counter.clone().get(), 11, "clones share it");
    }
}
