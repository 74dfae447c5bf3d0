//! A clock that goes only when told to, and whose wall time may step.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::time::{Clock, Now};

/// Wall time a simulation begins at: 2026-01-01, 100 ns ticks since 1970.
const WALL_START_TICKS: u64 = 17_672_256_000_000_000;

/// See the module. Shared by reference.
#[derive(Debug)]
pub struct SimClock {
    mono_ns: AtomicU64,
    wall_offset_ticks: AtomicI64,
    steps: AtomicU64,
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl SimClock {
    /// At its start.
    pub const fn new() -> Self {
        // Never 0: 0 means "unset" in stage times and deadlines.
        Self { mono_ns: AtomicU64::new(1), wall_offset_ticks: AtomicI64::new(0), steps: AtomicU64::new(0) }
    }

    /// Lets time pass, ns.
    pub fn advance(&self, ns: u64) {
        self.mono_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Lets time pass up to a monotonic time; nothing if that has passed.
    pub fn advance_to(&self, mono_ns: u64) {
        self.mono_ns.fetch_max(mono_ns, Ordering::Relaxed);
    }

    /// Steps the wall clock, ms, back or forth. The monotonic clock does not notice.
    pub fn step_wall(&self, ms: i64) {
        self.wall_offset_ticks.fetch_add(ms * 10_000, Ordering::Relaxed);
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the wall clock stepped.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let mono_ns = self.mono_ns.load(Ordering::Relaxed);
        let wall = WALL_START_TICKS + mono_ns / 100;
        Now { mono_ns, wall_ticks: wall.saturating_add_signed(self.wall_offset_ticks.load(Ordering::Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wall_clock_steps() {
        let clock = SimClock::new();
        let before = clock.now();
        clock.advance(5_000_000);
        clock.step_wall(-60_000);
        let after = clock.now();
        assert_eq!(after.mono_ns - before.mono_ns, 5_000_000);
        assert_eq!(before.wall_ms() - after.wall_ms(), 60_000 - 5);
        clock.advance_to(1);
        assert_eq!(clock.now(), after);
        assert_eq!(clock.steps(), 1);
    }
}
