//! Percentile bootstrap: how far a figure could be off, seen by drawing the same values again and again. (B. Efron, Annals
//! of Statistics 7, 1979.) With three values a side it is rough; it says so by being wide.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::{median, quantile};

/// How often values are drawn.
pub const DRAWS: usize = 4_000;

/// An interval that covers the figure with a given confidence.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// What covers the middle `level` (0.95) of what was drawn; draws that are not finite are left out. `None` without any.
    pub fn of(mut drawn: Vec<f64>, level: f64) -> Option<Self> {
        drawn.retain(|v| v.is_finite());
        drawn.sort_by(f64::total_cmp);
        let tail = (1.0 - level) / 2.0;
        (!drawn.is_empty()).then(|| Self { low: quantile(&drawn, tail), high: quantile(&drawn, 1.0 - tail) })
    }
}

/// The same number of values, drawn with repetition.
pub fn draw(values: &[f64], random: &mut SmallRng) -> Vec<f64> {
    values.iter().map(|_| values[random.random_range(0..values.len())]).collect()
}

/// Confidence interval of median(b) / median(a); `None` when it cannot be said (no values, all zero).
pub fn ratio_of_medians(a: &[f64], b: &[f64], level: f64, seed: u64) -> Option<Interval> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut once = |_| {
        let below = median(&draw(a, &mut random));
        median(&draw(b, &mut random)) / below
    };
    Interval::of((0..DRAWS).map(&mut once).collect(), level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_lies_within_its_interval() {
        let (a, b) = ([10.0, 10.5, 9.5, 10.2, 9.8], [12.0, 12.4, 11.6, 12.1, 11.9]);
        let found = ratio_of_medians(&a, &b, 0.95, 1).unwrap();
        assert!(found.low > 1.1 && found.low <= 1.2 && (1.2..1.31).contains(&found.high), "{found:?}");
        assert_eq!(Some(found), ratio_of_medians(&a, &b, 0.95, 1), "the same seed says the same");
    }

    #[test]
    fn more_runs_make_it_narrower() {
        let (a, b) = ([9.0, 10.0, 11.0], [9.0, 10.0, 11.0]);
        let width = |n| {
            let found = ratio_of_medians(&a.repeat(n), &b.repeat(n), 0.95, 1).unwrap();
            found.high - found.low
        };
        assert!(width(9) < width(1));
    }

    #[test]
    fn nothing_to_divide_by_is_no_interval() {
        assert_eq!(ratio_of_medians(&[0.0, 0.0], &[0.0, 0.0], 0.95, 1), None);
        assert_eq!(ratio_of_medians(&[], &[], 0.95, 1), None);
    }
}
