//! Bounded waiting, and randomness that a failure can be repeated with.

use std::time::Duration;

use fabric::entropy::{Entropy, OsEntropy};
use fabric::time::{Clock as _, SystemClock};

/// A point in time after which a test gives up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at_ms: u64,
}

impl Deadline {
    /// So many seconds from now.
    pub fn after_s(seconds: u64) -> Self {
        Self { at_ms: SystemClock.now().mono_ms() + seconds * 1_000 }
    }

    /// What is left; zero when it has passed.
    pub fn left(self) -> Duration {
        Duration::from_millis(self.at_ms.saturating_sub(SystemClock.now().mono_ms()))
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// Waits until `holds`, looking every 10 ms; whether it did in time.
    pub fn wait_until(self, mut holds: impl FnMut() -> bool) -> bool {
        loop {
            if holds() {
                return true;
            }
            if self.has_passed() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Random numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From `SHARDWIRE_TEST_SEED`, else from the system; prints the seed, which a failing test shows.
    ///
    /// # Panics
    /// When the variable is no number.
    pub fn seeded() -> Self {
        let seed = std::env::var("SHARDWIRE_TEST_SEED").map_or_else(
            |_| OsEntropy.next_u64(),
            |text| text.parse().expect("SHARDWIRE_TEST_SEED is a decimal number"),
        );
        println!("SHARDWIRE_TEST_SEED={seed}");
        Self(seed)
    }

    /// From a seed that is known.
    pub const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Others, for another thread.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self(self.any())
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.any() % bound
    }
}
