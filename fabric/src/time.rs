//! Time: one reading a turn, passed down to everything that needs it.

use core::time::Duration;

/// One clock reading. Taken once a turn of a shard's loop and passed down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Monotonic, ns since some start. Timeouts, leases and rates use this.
    pub mono_ns: u64,
    /// Wall clock, 100 ns ticks since 1970. May step. Only message ids and what people see use this.
    pub wall_ticks: u64,
}

impl Now {
    /// Wall clock, ms since 1970.
    pub const fn wall_ms(self) -> u64 {
        self.wall_ticks / 10_000
    }

    /// Monotonic, ms.
    pub const fn mono_ms(self) -> u64 {
        self.mono_ns / 1_000_000
    }

    /// The monotonic time `after` later, ns.
    pub const fn plus(self, after: Duration) -> u64 {
        self.mono_ns + after.as_nanos() as u64
    }
}

/// Where time comes from.
pub trait Clock {
    /// The time now.
    fn now(&self) -> Now;
}

/// The host's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place that reads the host's clocks
    fn now(&self) -> Now {
        use std::sync::OnceLock;
        use std::time::{Instant, SystemTime, UNIX_EPOCH};
        static START: OnceLock<Instant> = OnceLock::new();
        let start = *START.get_or_init(Instant::now);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            // Never 0: 0 means "unset" in stage times and deadlines.
            mono_ns: start.elapsed().as_nanos() as u64 + 1,
            wall_ticks: (wall.as_nanos() / 100) as u64,
        }
    }
}
