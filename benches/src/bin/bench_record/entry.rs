//! What an entry of the history says.

use std::collections::BTreeMap;

use serde::Serialize;

/// Grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// One entry.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What changed, in a word.
    pub label: String,
    /// UTC, YYYY-MM-DD.
    pub date: String,
    /// The commit, with `+` when the tree had changes; absent outside a repository.
    pub commit: Option<String>,
    /// Where it was measured.
    pub machine: Machine,
    /// Runs of each shape.
    pub runs: u32,
    /// By scenario.
    pub shapes: BTreeMap<String, Shape>,
    /// Medians of the criterion benches measured shortly before, ns an iteration.
    pub criterion_ns: BTreeMap<String, f64>,
    /// Instructions of the benches counted shortly before.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub instructions: BTreeMap<String, u64>,
}

/// A host.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// As the scheduler has them.
    pub cores: usize,
    /// CPU model.
    pub cpu: String,
    /// Kernel release.
    pub kernel: String,
    /// Memory, bytes.
    pub memory_bytes: u64,
}

/// One load shape.
#[derive(Debug, Default, Serialize)]
pub struct Shape {
    /// The product.
    pub server: Side,
    /// The raw limit under the same load, in the same run.
    pub limit: Side,
    /// CPU a message, the product's without the engine's apply by the limit's, run by run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ratio_without_apply: Option<Spread>,
    /// The same with all threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ratio: Option<Spread>,
}

/// One server's figures over the runs.
#[derive(Debug, Default, Serialize)]
pub struct Side {
    /// How each run was judged by the scenario's own thresholds.
    pub verdicts: Vec<String>,
    /// By name; only what the shape is about.
    #[serde(flatten)]
    pub figures: BTreeMap<&'static str, Spread>,
}

/// One figure over the runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one (of an even number: the mean of the middle two).
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { median: round(low.midpoint(high)), min: round(min), max: round(max) })
    }
}

/// Four significant digits, so that an entry shows no more than was measured.
pub fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_and_the_ends() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
    }

    #[test]
    fn figures_keep_four_digits() {
        assert_eq!(round(0.123_456), 0.1235);
        assert_eq!(round(19_116.7), 19_120.0);
        assert_eq!(round(0.0), 0.0);
    }
}
