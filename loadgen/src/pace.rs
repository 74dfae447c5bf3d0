//! When each send of an open load is due, whatever the server does.
//!
//! The rate rises linearly from nothing over the ramp and then stays. Each due time is computed from the send's number,
//! not from the one before: being late never lowers the rate, and the lateness is part of the latency.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::scenario::Arrivals;

/// The due times of one worker's share.
#[derive(Debug)]
pub struct Pacer {
    rate_per_ns: f64,
    ramp_ns: f64,
    start_ns: u64,
    /// The next send's place in the load, in sends since the start.
    units: f64,
    arrivals: Arrivals,
    random: SmallRng,
}

impl Pacer {
    /// `rate`: this worker's share, a second. `share`: which of how many workers, so that their sends interleave.
    pub fn new(rate: f64, ramp_ns: u64, start_ns: u64, arrivals: Arrivals, share: (u16, u16), seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed ^ u64::from(share.0).rotate_left(17));
        let units = match arrivals {
            Arrivals::Even => f64::from(share.0) / f64::from(share.1.max(1)),
            Arrivals::Poisson => exponential(&mut random),
        };
        Self { rate_per_ns: rate / 1e9, ramp_ns: ramp_ns as f64, start_ns, units, arrivals, random }
    }

    /// When the next send is due, ns of the monotonic clock.
    pub fn due_ns(&self) -> u64 {
        let in_ramp = self.rate_per_ns * self.ramp_ns / 2.0;
        let after = if self.units < in_ramp {
            (2.0 * self.units * self.ramp_ns / self.rate_per_ns).sqrt()
        } else {
            self.ramp_ns + (self.units - in_ramp) / self.rate_per_ns
        };
        self.start_ns + after.round() as u64
    }

    /// Takes the next send if it is due; its intended time.
    pub fn take(&mut self, now_ns: u64) -> Option<u64> {
        let due = self.due_ns();
        if due > now_ns {
            return None;
        }
        self.units += match self.arrivals {
            Arrivals::Even => 1.0,
            Arrivals::Poisson => exponential(&mut self.random),
        };
        Some(due)
    }
}

fn exponential(random: &mut SmallRng) -> f64 {
    -(1.0 - random.random::<f64>()).ln()
}

/// The part of a closed load's window that is open: it opens step by step over the ramp, at least one.
pub fn window(in_flight: u32, ramp_ns: u64, since_start_ns: u64) -> u32 {
    if since_start_ns >= ramp_ns {
        return in_flight;
    }
    ((f64::from(in_flight) * since_start_ns as f64 / ramp_ns as f64).ceil() as u32).clamp(1, in_flight)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn all(pacer: &mut Pacer, until: u64) -> Vec<u64> {
        std::iter::from_fn(|| pacer.take(until)).collect()
    }

    #[test]
    fn even_sends_are_evenly_spaced() {
        let mut pacer = Pacer::new(1_000.0, 0, 5 * SECOND, Arrivals::Even, (0, 1), 1);
        let due = all(&mut pacer, 6 * SECOND - 1);
        assert_eq!(due.len(), 1_000);
        assert!(due.windows(2).all(|w| (999_990..=1_000_010).contains(&(w[1] - w[0]))));
        assert_eq!(due[0], 5 * SECOND);
    }

    #[test]
    fn a_ramp_carries_half_its_load() {
        let mut pacer = Pacer::new(1_000.0, 2 * SECOND, SECOND, Arrivals::Even, (0, 1), 1);
        let due = all(&mut pacer, 4 * SECOND);
        let ramp = due.iter().filter(|t| **t < 3 * SECOND).count();
        assert!((999..=1_001).contains(&ramp), "{ramp} sends in the ramp");
        assert!((1_999..=2_001).contains(&due.len()), "{} sends", due.len());
        assert!(due.is_sorted());
    }

    #[test]
    fn being_late_does_not_lower_the_rate() {
        let mut pacer = Pacer::new(1_000.0, 0, 0, Arrivals::Even, (0, 1), 1);
        assert_eq!(all(&mut pacer, SECOND / 2 - 1).len(), 500);
        assert_eq!(all(&mut pacer, 10 * SECOND - 1).len(), 9_500);
    }

    #[test]
    fn workers_interleave() {
        let due = |share| Pacer::new(1.0, 0, 0, Arrivals::Even, (share, 4), 1).due_ns();
        assert_eq!([due(0), due(1), due(2), due(3)], [0, SECOND / 4, SECOND / 2, SECOND * 3 / 4]);
    }

    #[test]
    fn poisson_keeps_the_mean_and_replays_from_its_seed() {
        let run = |seed| all(&mut Pacer::new(10_000.0, 0, 0, Arrivals::Poisson, (0, 1), seed), SECOND);
        let due = run(7);
        assert!((9_500..=10_500).contains(&due.len()), "{} sends", due.len());
        assert_eq!(due, run(7));
        assert_ne!(due, run(8));
    }

    #[test]
    fn a_window_opens_over_the_ramp() {
        assert_eq!(window(16, 1_000, 0), 1);
        assert_eq!(window(16, 1_000, 500), 8);
        assert_eq!(window(16, 1_000, 1_000), 16);
        assert_eq!(window(1, 0, 0), 1);
    }
}
