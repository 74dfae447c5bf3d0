//! Scales of a chart's axes: from values to places, with ticks at round values.

use crate::words;

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Evenly, `low` to `high`.
    Linear {
        /// The least.
        low: f64,
        /// The most; above `low`.
        high: f64,
    },
    /// By their logarithm, `low` to `high`, both above 0.
    Log {
        /// The least.
        low: f64,
        /// The most; above `low`.
        high: f64,
    },
    /// Percentiles (0 to 100), each nine as wide as the one before, `nines` of them.
    Nines {
        /// 1: up to 90 %, 2: up to 99 %, …
        nines: f64,
    },
}

impl Scale {
    /// From 0 to a round value at or above the highest of `values`.
    pub fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let most = values.filter(|v| v.is_finite()).fold(0.0, f64::max);
        if most <= 0.0 {
            return Self::Linear { low: 0.0, high: 1.0 };
        }
        let step = step(most, 5.0);
        Self::Linear { low: 0.0, high: (most / step - 1e-9).ceil() * step }
    }

    /// From a round value at or below the lowest to one at or above the highest; values are above 0.
    pub fn log(values: impl Iterator<Item = f64> + Clone) -> Self {
        let values = values.filter(|v| v.is_finite() && *v > 0.0);
        let (least, most) = values.fold((f64::MAX, 0.0_f64), |(least, most), v| (least.min(v), most.max(v)));
        if most <= 0.0 {
            return Self::Log { low: 1.0, high: 10.0 };
        }
        let (low, high) = (round_down(least), round_up(most));
        Self::Log { low, high: if high > low * 1.5 { high } else { low * 10.0 } }
    }

    /// Where a value is, 0 to 1; values outside stay at the ends.
    pub fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { low, high } => (value - low) / (high - low),
            Self::Log { low, high } => (value.max(low) / low).ln() / (high / low).ln(),
            Self::Nines { nines } => -(1.0 - value / 100.0).max(1e-12).log10() / nines,
        };
        place.clamp(0.0, 1.0)
    }

    /// Round values along the axis.
    pub fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { low, high } => {
                let step = step(high - low, 5.0);
                let first = (low / step).ceil() as i64;
                (first..).map(|n| n as f64 * step).take_while(|v| *v <= high + step * 1e-6).collect()
            }
            Self::Log { low, high } => {
                let decades = (high / low).log10();
                let within: &[f64] = if decades > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
                let every = if decades > 7.0 { 2 } else { 1 };
                let powers = powers.filter(|power| power % every == 0);
                let all = powers.flat_map(|power| within.iter().map(move |m| m * 10f64.powi(power)));
                all.filter(|v| *v >= low * 0.999 && *v <= high * 1.001).collect()
            }
            Self::Nines { nines } => {
                let whole = (1..=nines.floor() as i32).map(|n| 100.0 - 100.0 / 10f64.powi(n));
                core::iter::once(50.0).chain(whole).collect()
            }
        }
    }
}

/// A round step (1, 2 or 5 times a power of ten) that cuts `length` into about `parts`.
fn step(length: f64, parts: f64) -> f64 {
    round_up((length / parts).max(f64::MIN_POSITIVE))
}

/// 1, 2 or 5 times a power of ten, at or below a value above 0.
fn round_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let factor = value / power;
    power
        * if factor >= 5.0 {
            5.0
        } else if factor >= 2.0 {
            2.0
        } else {
            1.0
        }
}

/// The same at or above it.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let factor = value / power;
    power
        * if factor <= 1.0 {
            1.0
        } else if factor <= 2.0 {
            2.0
        } else if factor <= 5.0 {
            5.0
        } else {
            10.0
        }
}

/// A percentile as its tick says it: 50 %, 99.9 %.
pub fn percentile(percentile: f64) -> String {
    let text = format!("{percentile:.6}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Seconds on a time axis: 30, or 2:30 in a long run.
pub fn clock(seconds: f64) -> String {
    if seconds < 60.0 {
        return words::short(seconds);
    }
    let whole = seconds.round() as u64;
    if whole < 3_600 {
        format!("{}:{:02}", whole / 60, whole % 60)
    } else {
        format!("{}:{:02}:{:02}", whole / 3_600, whole / 60 % 60, whole % 60)
    }
}

/// What [`clock`] says up to `end`, s.
pub const fn clock_unit(end: f64) -> &'static str {
    if end < 60.0 {
        "s"
    } else if end < 3_600.0 {
        "min:s"
    } else {
        "h:min:s"
    }
}

/// Ticks of a time axis that ends at `end`, s: whole seconds, minutes or hours.
pub fn time_ticks(end: f64) -> Vec<f64> {
    const STEPS: [f64; 14] =
        [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0];
    let step =
        STEPS.into_iter().find(|step| end / step <= 7.0).unwrap_or_else(|| (end / 7.0 / 3_600.0).ceil() * 3_600.0);
    (0..).map(|n| f64::from(n) * step).take_while(|at| *at <= end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_values_and_hold_all_of_them() {
        let linear = Scale::from_zero([3.0, 47.0].into_iter());
        assert_eq!(linear, Scale::Linear { low: 0.0, high: 50.0 });
        assert_eq!(linear.ticks(), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!((linear.place(25.0), linear.place(60.0)), (0.5, 1.0));
        let log = Scale::log([230.0, 18_000.0].into_iter());
        assert_eq!(log, Scale::Log { low: 200.0, high: 20_000.0 });
        assert_eq!(log.ticks(), [200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 20_000.0]);
        assert!((log.place(2_000.0) - 0.5).abs() < 1e-9);
        assert_eq!(Scale::from_zero([].into_iter()), Scale::Linear { low: 0.0, high: 1.0 });
        assert_eq!(Scale::log([].into_iter()), Scale::Log { low: 1.0, high: 10.0 });
        assert_eq!(Scale::log([100.0].into_iter()), Scale::Log { low: 100.0, high: 1_000.0 });
    }

    #[test]
    fn each_nine_is_as_wide_as_the_one_before() {
        let nines = Scale::Nines { nines: 3.0 };
        let places = [0.0, 90.0, 99.0, 99.9, 100.0].map(|p| (nines.place(p) * 3.0 * 1e6).round() / 1e6);
        assert_eq!(places, [0.0, 1.0, 2.0, 3.0, 3.0]);
        assert_eq!(nines.ticks().into_iter().map(percentile).collect::<Vec<_>>(), ["50 %", "90 %", "99 %", "99.9 %"]);
    }

    #[test]
    fn time_is_told_in_seconds_then_minutes() {
        assert_eq!(time_ticks(6.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(time_ticks(310.0).len(), 6);
        assert_eq!([30.0, 90.0, 3_725.0].map(clock), ["30", "1:30", "1:02:05"]);
        assert_eq!([30.0, 90.0, 3_725.0].map(clock_unit), ["s", "min:s", "h:min:s"]);
    }
}
