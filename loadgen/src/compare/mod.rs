//! Two sets of runs of one scenario: is the second worse?
//!
//! What must stay true: chance alone is seldom called a regression (Welch's test on logarithms, corrected by Holm for the
//! number of figures), a difference too small to matter never is (`tolerance`), and too few runs give no verdict at all. What
//! the audit finds is no matter of chance: a fault in B and none in A is a regression, whatever the number of runs.

mod figures;
mod judge;
pub mod show;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::recorded::Recorded;
use crate::stats::bootstrap::Interval;
pub use figures::{FIGURES, Figure, Kind};

/// Fewer runs a side prove nothing.
pub const RUNS_MIN: usize = 3;

/// What a comparison is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Only these figures, by name; all when empty.
    pub metrics: Vec<String>,
    /// Chance of calling equal servers different, over all figures together.
    pub alpha: f64,
    /// Differences of medians up to this share do not matter.
    pub tolerance: f64,
}

/// Why two sets are not compared.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The scenarios differ.
    #[error("these runs are of different scenarios, their figures do not compare:\n{}", .0.iter().map(|d| format!("  {d}")).collect::<Vec<_>>().join("\n"))]
    Scenarios(Vec<String>),
    /// A run that did not end by itself.
    #[error("{0}: the run was interrupted, its figures are of another load")]
    Interrupted(String),
    /// A figure that is not known.
    #[error("--metric {0} is not known; there are: {1}")]
    Metric(String, String),
    /// An impossible bound.
    #[error("{0}")]
    Bound(String),
}

/// What is said of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Worse than chance and tolerance explain.
    Regression,
    /// Better than chance and tolerance explain.
    Improvement,
    /// Its interval lies within the tolerance.
    Same,
    /// No difference is shown, and none that matters is ruled out.
    Unclear,
    /// Too few runs, or the figure is not the server's.
    NoVerdict,
}

/// One figure, compared.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub metric: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Median over A; the mean of counts.
    pub a: f64,
    /// Median over B; the mean of counts.
    pub b: f64,
    /// b / a; absent when a is 0.
    pub ratio: Option<f64>,
    /// 95 % interval of the ratio, by bootstrap.
    pub interval: Option<Interval>,
    /// Which test gave `p`.
    pub test: &'static str,
    /// How likely so large a difference is by chance.
    pub p: Option<f64>,
    /// The same, corrected by Holm for the number of figures.
    pub p_corrected: Option<f64>,
    /// By permutation: assumes nothing, shows what so few runs can prove.
    pub p_permutation: Option<f64>,
    /// What is said of it.
    pub finding: Finding,
    /// Why there is no verdict.
    pub note: Option<String>,
}

/// Everything compared.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Runs of A and B.
    pub runs: [usize; 2],
    /// As asked.
    pub alpha: f64,
    /// As asked.
    pub tolerance: f64,
    /// Each figure that both sides have.
    pub rows: Vec<Row>,
    /// All of them: the worst that was found.
    pub verdict: Finding,
    /// The same in one line.
    pub reason: String,
    /// What the process ends with.
    pub exit_code: u8,
}

/// Compares two sets of runs.
///
/// # Errors
/// [`Refused`]: they do not compare.
pub fn compare(a: &[Recorded], b: &[Recorded], asked: &Asked) -> Result<Comparison, Refused> {
    bounds(asked)?;
    if let Some(run) = a.iter().chain(b).find(|run| run.yes("interrupted")) {
        return Err(Refused::Interrupted(run.path.display().to_string()));
    }
    same_scenario(a, b)?;
    let wanted = wanted(asked)?;
    let mut rows: Vec<Row> = wanted.into_iter().filter_map(|figure| judge::measure(figure, a, b)).collect();
    judge::judge(&mut rows, a, b, asked);
    Ok(judge::conclude(rows, [a.len(), b.len()], asked))
}

fn bounds(asked: &Asked) -> Result<(), Refused> {
    let within = |value: f64, low: f64, high: f64| value.is_finite() && value > low && value < high;
    if !within(asked.alpha, 0.0, 1.0) {
        return Err(Refused::Bound(format!("--alpha {}: expected more than 0 and less than 1", asked.alpha)));
    }
    if asked.tolerance != 0.0 && !within(asked.tolerance, 0.0, 10.0) {
        return Err(Refused::Bound(format!("--tolerance {} %: expected 0 to 1000 %", asked.tolerance * 100.0)));
    }
    Ok(())
}

fn wanted(asked: &Asked) -> Result<Vec<&'static Figure>, Refused> {
    if asked.metrics.is_empty() {
        return Ok(FIGURES.iter().collect());
    }
    let find = |name: &String| {
        let all = || FIGURES.iter().map(|f| f.name).collect::<Vec<_>>().join(", ");
        FIGURES.iter().find(|f| f.name == name).ok_or_else(|| Refused::Metric(name.clone(), all()))
    };
    asked.metrics.iter().map(find).collect()
}

/// Every run must be of one scenario; the keys that differ are named.
fn same_scenario(a: &[Recorded], b: &[Recorded]) -> Result<(), Refused> {
    let Some(first) = a.first() else { return Ok(()) };
    let reference = first.scenario();
    let mut differ = BTreeMap::new();
    for run in a.iter().chain(b) {
        let other = run.scenario();
        for key in reference.keys().chain(other.keys()) {
            let (here, there) = (reference.get(key), other.get(key));
            if here != there {
                let said = |v: Option<&String>| v.map_or("absent", String::as_str).to_owned();
                let line = format!(
                    "{key}: {} in {}, {} in {}",
                    said(here),
                    first.path.display(),
                    said(there),
                    run.path.display()
                );
                differ.entry(key.clone()).or_insert(line);
            }
        }
    }
    if differ.is_empty() { Ok(()) } else { Err(Refused::Scenarios(differ.into_values().collect())) }
}

#[cfg(test)]
mod tests;
