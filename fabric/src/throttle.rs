//! What is worth a line in the log, but not a flood of them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Now;

/// One line a second at most, ns.
const EVERY_NS: u64 = 1_000_000_000;

/// Lets one through a second. Any thread.
#[derive(Debug, Default)]
pub struct Throttle {
    /// When the next may be said, ns of the monotonic clock.
    due_ns: AtomicU64,
    unsaid: AtomicU64,
}

impl Throttle {
    /// `Some` when this is to be said, with how many before it were not.
    pub fn next(&self, now: Now) -> Option<u64> {
        let due_ns = self.due_ns.load(Ordering::Relaxed);
        let next_ns = now.mono_ns + EVERY_NS;
        let mine = now.mono_ns >= due_ns
            && self.due_ns.compare_exchange(due_ns, next_ns, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            return Some(self.unsaid.swap(0, Ordering::Relaxed));
        }
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_is_said_and_the_others_are_counted() {
        let throttle = Throttle::default();
        let next = |ms: u64| throttle.next(Now { mono_ns: 1 + ms * 1_000_000, wall_ticks: 0 });
        assert_eq!(next(0), Some(0));
        assert_eq!((next(1), next(999)), (None, None));
        assert_eq!(next(1_000), Some(2));
        assert_eq!(next(5_000), Some(0));
    }
}
