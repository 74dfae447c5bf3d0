//! When each send of an open load is due, whatever the server does.
//!
//! The rate rises linearly from nothing over the ramp and then stays, or goes from step to step. Each due time is computed from the send's number,
//! not from the one before: being late never lowers the rate, and the lateness is part of the latency.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::plan::ns;
use crate::scenario::{Arrivals, Load};

/// The rate over time: pieces one after the other, in each of which it changes linearly.
#[derive(Clone, Debug)]
pub struct Profile {
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Since the start, ns.
    at_ns: f64,
    /// The last one goes on for ever.
    len_ns: f64,
    /// Sends a ns at its begin and at its end.
    from: f64,
    to: f64,
    /// Sends before it.
    before: f64,
}

impl Piece {
    /// When so many sends of the piece have been due, ns since its begin.
    fn when(&self, sends: f64) -> f64 {
        if sends <= 0.0 {
            return 0.0;
        }
        let slope = if self.len_ns.is_finite() { (self.to - self.from) / self.len_ns } else { 0.0 };
        let under_root = (self.from * self.from + 2.0 * slope * sends).max(0.0);
        2.0 * sends / (self.from + under_root.sqrt())
    }

    /// Sends due in its first `ns`.
    fn sends(&self, ns: f64) -> f64 {
        let slope = if self.len_ns.is_finite() { (self.to - self.from) / self.len_ns } else { 0.0 };
        self.from * ns + slope * ns * ns / 2.0
    }
}

impl Profile {
    /// From nothing to `rate` (a second) over the ramp, then always so.
    pub fn constant(rate: f64, ramp_ns: u64) -> Self {
        let mut profile = Self { pieces: Vec::new() };
        profile.add(0.0, rate, ramp_ns as f64);
        profile.add(rate, rate, f64::INFINITY);
        profile
    }

    /// An open load's, or `part` of it: the ramp, then its one rate or its steps; the last rate stays.
    pub fn of(load: &Load, part: f64) -> Self {
        let Some(first) = load.steps.first() else {
            return Self::constant(load.rate.unwrap_or(0.0) * part, ns(load.ramp_s));
        };
        let mut profile = Self { pieces: Vec::new() };
        profile.add(0.0, first.rate * part, ns(load.ramp_s) as f64);
        let mut rate = first.rate * part;
        for step in &load.steps {
            profile.add(rate, step.rate * part, ns(step.ramp_s) as f64);
            rate = step.rate * part;
            profile.add(rate, rate, ns(step.for_s) as f64);
        }
        profile.add(rate, rate, f64::INFINITY);
        profile
    }

    fn add(&mut self, from: f64, to: f64, len_ns: f64) {
        let (at_ns, before) = self
            .pieces
            .last()
            .map_or((0.0, 0.0), |last| (last.at_ns + last.len_ns, last.before + last.sends(last.len_ns)));
        if len_ns > 0.0 {
            self.pieces.push(Piece { at_ns, len_ns, from: from / 1e9, to: to / 1e9, before });
        }
    }

    /// Sends due within the first `until_ns`.
    pub fn sends(&self, until_ns: u64) -> f64 {
        let until = until_ns as f64;
        let piece = self.pieces.iter().rev().find(|piece| piece.at_ns <= until);
        piece.map_or(0.0, |piece| piece.before + piece.sends(until - piece.at_ns))
    }
}

/// The due times of one worker's share.
#[derive(Debug)]
pub struct Pacer {
    profile: Profile,
    /// The piece the next send is in.
    piece: usize,
    start_ns: u64,
    /// The next send's place in the load, in sends since the start.
    units: f64,
    arrivals: Arrivals,
    random: SmallRng,
}

impl Pacer {
    /// `profile`: this worker's share. `share`: which of how many workers, so that their sends interleave.
    pub fn new(profile: Profile, start_ns: u64, arrivals: Arrivals, share: (u16, u16), seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed ^ u64::from(share.0).rotate_left(17));
        let units = match arrivals {
            Arrivals::Even => f64::from(share.0) / f64::from(share.1.max(1)),
            Arrivals::Poisson => exponential(&mut random),
        };
        let mut pacer = Self { profile, piece: 0, start_ns, units, arrivals, random };
        pacer.find_piece();
        pacer
    }

    fn find_piece(&mut self) {
        while self.profile.pieces.get(self.piece + 1).is_some_and(|next| next.before <= self.units) {
            self.piece += 1;
        }
    }

    /// When the next send is due, ns of the monotonic clock.
    pub fn due_ns(&self) -> u64 {
        let piece = &self.profile.pieces[self.piece];
        self.start_ns + (piece.at_ns + piece.when(self.units - piece.before)).round() as u64
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
        self.find_piece();
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
        let mut pacer = Pacer::new(Profile::constant(1_000.0, 0), 5 * SECOND, Arrivals::Even, (0, 1), 1);
        let due = all(&mut pacer, 6 * SECOND - 1);
        assert_eq!(due.len(), 1_000);
        assert!(due.windows(2).all(|w| (999_990..=1_000_010).contains(&(w[1] - w[0]))));
        assert_eq!(due[0], 5 * SECOND);
    }

    #[test]
    fn a_ramp_carries_half_its_load() {
        let mut pacer = Pacer::new(Profile::constant(1_000.0, 2 * SECOND), SECOND, Arrivals::Even, (0, 1), 1);
        let due = all(&mut pacer, 4 * SECOND);
        let ramp = due.iter().filter(|t| **t < 3 * SECOND).count();
        assert!((999..=1_001).contains(&ramp), "{ramp} sends in the ramp");
        assert!((1_999..=2_001).contains(&due.len()), "{} sends", due.len());
        assert!(due.is_sorted());
    }

    #[test]
    fn steps_follow_each_other_each_with_its_own_rate_and_ramp() {
        let text = "[load]\nusers = 2\nmode = \"open\"\nramp_s = 1.0\nsteps = [{ rate = 100.0, for_s = 2.0 }, { rate = 300.0, for_s = 1.0, ramp_s = 1.0 }, { rate = 50.0, for_s = 2.0 }]\n";
        let load = crate::scenario::Scenario::parse(text).unwrap().load;
        assert_eq!((load.steady_s, load.peak_rate()), (6.0, 300.0));
        let profile = Profile::of(&load, 1.0);
        let mut pacer = Pacer::new(profile.clone(), 0, Arrivals::Even, (0, 1), 1);
        let due = all(&mut pacer, 8 * SECOND - 1);
        let each: Vec<usize> = (0..8).map(|second| due.iter().filter(|ns| **ns / SECOND == second).count()).collect();
        for (second, wanted) in [50, 100, 100, 200, 300, 50, 50, 50].into_iter().enumerate() {
            assert!(each[second].abs_diff(wanted) <= 1, "second {second}: {each:?}");
        }
        assert!(due.is_sorted());
        assert!((profile.sends(8 * SECOND) - 900.0).abs() < 1e-6, "{}", profile.sends(8 * SECOND));
        assert!((Profile::of(&load, 0.25).sends(8 * SECOND) - 225.0).abs() < 1e-6);
    }

    #[test]
    fn being_late_does_not_lower_the_rate() {
        let mut pacer = Pacer::new(Profile::constant(1_000.0, 0), 0, Arrivals::Even, (0, 1), 1);
        assert_eq!(all(&mut pacer, SECOND / 2 - 1).len(), 500);
        assert_eq!(all(&mut pacer, 10 * SECOND - 1).len(), 9_500);
    }

    #[test]
    fn workers_interleave() {
        let due = |share| Pacer::new(Profile::constant(1.0, 0), 0, Arrivals::Even, (share, 4), 1).due_ns();
        assert_eq!([due(0), due(1), due(2), due(3)], [0, SECOND / 4, SECOND / 2, SECOND * 3 / 4]);
    }

    #[test]
    fn poisson_keeps_the_mean_and_replays_from_its_seed() {
        let run =
            |seed| all(&mut Pacer::new(Profile::constant(10_000.0, 0), 0, Arrivals::Poisson, (0, 1), seed), SECOND);
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
