//! Draws for exact replay: each depends on the scenario's seed and on what it is for, never on what was drawn before.
//!
//! So a user's sizes, pauses and mishaps are the same on any number of workers and hosts.

/// What a draw is for; every use has a number of its own, so that no two uses share a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Use {
    /// A message's size, by stream and number.
    Size = 1,
    /// A pause of a closed load, by user and its count.
    Think = 2,
    /// Whom a behaviour concerns, by the behaviour's number and user.
    Share = 3,
    /// When something happens to a user, by the behaviour's number, user and count.
    When = 4,
    /// How long until something is read, by user and seq.
    Read = 5,
    /// Which way the next message goes, by worker and count.
    Route = 6,
}

/// A short sequence of draws (SplitMix64).
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The sequence for one use and its two coordinates.
    pub const fn of(seed: u64, what: Use, a: u64, b: u64) -> Self {
        let mixed = mix(seed ^ mix((what as u64) << 56 ^ a));
        Self(mix(mixed ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Above 0 and below 1, evenly.
    pub const fn unit(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    /// From the exponential distribution with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -self.unit().ln()
    }

    /// From the standard normal distribution.
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (core::f64::consts::TAU * self.unit()).cos()
    }
}

/// SplitMix64's last step: every bit of `x` moves half of the result's.
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A lognormal distribution, given as people know it.
#[derive(Clone, Copy, Debug)]
pub struct Lognormal {
    /// Half of all are below.
    pub median: f64,
    /// Of a hundred, 99 are below.
    pub p99: f64,
    /// None is above.
    pub max: f64,
}

impl Lognormal {
    /// The 99th percentile of the standard normal distribution.
    const Z99: f64 = 2.326_347_874;

    fn sigma(self) -> f64 {
        (self.p99 / self.median).ln() / Self::Z99
    }

    /// One value.
    pub fn draw(self, draw: &mut Draw) -> f64 {
        (self.median * (self.sigma() * draw.normal()).exp()).min(self.max)
    }

    /// The mean, without regard to `max`.
    pub fn mean(self) -> f64 {
        self.median * (self.sigma().powi(2) / 2.0).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_every_coordinate_and_on_nothing_else() {
        let first = |seed, what, a, b| Draw::of(seed, what, a, b).bits();
        let all = [
            first(1, Use::Size, 5, 6),
            first(2, Use::Size, 5, 6),
            first(1, Use::Think, 5, 6),
            first(1, Use::Size, 6, 6),
            first(1, Use::Size, 5, 7),
            first(1, Use::Size, 6, 5),
        ];
        assert_eq!(all[0], first(1, Use::Size, 5, 6));
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "draw {at} repeats an earlier one");
        }
    }

    #[test]
    fn a_lognormal_has_the_median_and_the_percentile_asked_for() {
        let shape = Lognormal { median: 100.0, p99: 2_000.0, max: 5_000.0 };
        let mut all: Vec<f64> = (0..20_000).map(|n| shape.draw(&mut Draw::of(1, Use::Size, n, 0))).collect();
        all.sort_by(f64::total_cmp);
        let (median, p99) = (all[10_000], all[19_800]);
        assert!((95.0..105.0).contains(&median), "median {median}");
        assert!((1_700.0..2_350.0).contains(&p99), "p99 {p99}");
        assert!(all[19_999] <= 5_000.0 && all[0] > 0.0);
    }

    #[test]
    fn units_are_even_and_exponentials_have_mean_one() {
        let mean = |of: fn(&mut Draw) -> f64| {
            (0..50_000).map(|n| of(&mut Draw::of(9, Use::When, n, 1))).sum::<f64>() / 50_000.0
        };
        assert!((0.49..0.51).contains(&mean(Draw::unit)));
        assert!((0.97..1.03).contains(&mean(Draw::exponential)));
    }
}
