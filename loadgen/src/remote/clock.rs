//! How far the clock of another host is from this one's, and how well that is known.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Round trips of one measurement.
pub const ROUNDS: usize = 32;

/// Another host's monotonic clock less this one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Offset {
    /// ns.
    pub ns: i64,
    /// At most so far from the truth, ns.
    pub error_ns: u64,
}

impl Offset {
    /// From one round trip: asked, what the other said, answered; all ns. The answer was made somewhere between.
    pub fn of(asked: u64, there: u64, answered: u64) -> Self {
        let half = answered.saturating_sub(asked) / 2;
        Self { ns: there.wrapping_sub(asked + half).cast_signed(), error_ns: half + 1 }
    }

    /// The better known of two.
    pub fn better(self, other: Self) -> Self {
        if other.error_ns < self.error_ns { other } else { self }
    }

    /// The first of two measurements of one clock, with what it may be wrong by until the second.
    pub fn over_time(self, later: Self) -> Self {
        Self { ns: self.ns, error_ns: self.error_ns.max(later.error_ns) + self.ns.abs_diff(later.ns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_round_trip_knows_best() {
        // The other clock is 1,000 ahead; the answers took 10 there and 30 back, then 4 and 4.
        let (slow, fast) = (Offset::of(100, 1_110, 140), Offset::of(200, 1_204, 208));
        assert!((slow.ns - 1_000).unsigned_abs() <= slow.error_ns, "{slow:?}");
        assert_eq!(slow.better(fast), fast);
        assert_eq!((fast.ns, fast.error_ns), (1_000, 5));
        assert_eq!(Offset::of(5_000, 4_000, 5_000).ns, -1_000);
    }

    #[test]
    fn a_drift_is_part_of_the_error() {
        let (begin, end) = (Offset { ns: 1_000, error_ns: 5 }, Offset { ns: 900, error_ns: 7 });
        assert_eq!(begin.over_time(end), Offset { ns: 1_000, error_ns: 107 });
    }
}
