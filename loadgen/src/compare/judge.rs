//! What is said of each figure, and of all.

use super::{Asked, Comparison, FIGURES, Figure, Finding, Kind, RUNS_MIN, Row};
use crate::recorded::Recorded;
use crate::stats::{bootstrap, counts, holm, mean, median, permutation, welch};

/// Confidence of the intervals.
const LEVEL: f64 = 0.95;
/// Three significant digits are known of a figure.
const RESOLUTION: f64 = 1e-3;
const SEED: u64 = 0x5eed;

fn values(figure: &Figure, runs: &[Recorded]) -> Option<Vec<f64>> {
    runs.iter().map(|run| figure.value(run)).collect()
}

/// A figure's medians and tests; `None` when a run does not have it.
pub fn measure(figure: &'static Figure, a: &[Recorded], b: &[Recorded]) -> Option<Row> {
    let (va, vb) = (values(figure, a)?, values(figure, b)?);
    let counted = matches!(figure.kind, Kind::Errors | Kind::Faults);
    // One bad run of three must not vanish in a median.
    let middle = if counted { mean } else { median };
    let (ma, mb) = (middle(&va), middle(&vb));
    let (test, p) = test(figure.kind, &va, &vb);
    let enough = a.len() >= RUNS_MIN && b.len() >= RUNS_MIN;
    Some(Row {
        metric: figure.name,
        unit: figure.unit,
        a: ma,
        b: mb,
        ratio: (ma != 0.0).then(|| mb / ma),
        interval: if enough && !counted { bootstrap::ratio_of_medians(&va, &vb, LEVEL, SEED) } else { None },
        test,
        p: if enough { p } else { None },
        p_corrected: None,
        p_permutation: enough.then(|| permutation::p(&va, &vb, SEED)),
        finding: Finding::NoVerdict,
        note: None,
    })
}

/// Noise multiplies, so logarithms are compared where there are any.
fn test(kind: Kind, a: &[f64], b: &[f64]) -> (&'static str, Option<f64>) {
    match kind {
        Kind::Faults => ("any", None),
        Kind::Errors => {
            let sum = |values: &[f64]| values.iter().sum::<f64>() as u64;
            let share = b.len() as f64 / (a.len() + b.len()) as f64;
            ("rate of counts", Some(counts::p(sum(a), sum(b), share)))
        }
        Kind::LessIsBetter | Kind::MoreIsBetter if a.iter().chain(b).all(|v| *v > 0.0) => {
            let log = |values: &[f64]| values.iter().map(|v| v.ln()).collect::<Vec<_>>();
            ("welch on log", welch::welch(&log(a), &log(b), RESOLUTION).map(|w| w.p))
        }
        Kind::LessIsBetter | Kind::MoreIsBetter => {
            let largest = a.iter().chain(b).fold(0.0_f64, |most, v| most.max(v.abs()));
            ("welch", welch::welch(a, b, RESOLUTION * largest).map(|w| w.p))
        }
    }
}

/// Fills in the findings.
pub fn judge(rows: &mut [Row], a: &[Recorded], b: &[Recorded], asked: &Asked) {
    let saturated = a.iter().chain(b).filter(|run| run.yes("generator.saturated")).count();
    let few = a.len() < RUNS_MIN || b.len() < RUNS_MIN;
    for row in rows.iter_mut() {
        let figure = of(row);
        if figure.kind != Kind::Faults && few {
            row.note = Some(format!("{} and {} runs; {RUNS_MIN} a side at least", a.len(), b.len()));
        } else if figure.of_speed && saturated > 0 {
            row.note = Some(format!("the load generator was the limit in {saturated} of {} runs", a.len() + b.len()));
            row.p = None;
        }
    }
    // Only what is judged by chance shares the correction.
    let tested: Vec<usize> = (0..rows.len()).filter(|i| rows[*i].note.is_none() && rows[*i].p.is_some()).collect();
    let p: Vec<f64> = tested.iter().filter_map(|i| rows[*i].p).collect();
    for (index, corrected) in tested.iter().zip(holm::adjust(&p)) {
        rows[*index].p_corrected = Some(corrected);
    }
    for row in rows.iter_mut() {
        row.finding = finding(row, asked);
    }
}

fn of(row: &Row) -> &'static Figure {
    FIGURES.iter().find(|f| f.name == row.metric).expect("rows are made of figures")
}

fn finding(row: &Row, asked: &Asked) -> Finding {
    let kind = of(row).kind;
    if kind == Kind::Faults {
        return match (row.a > 0.0, row.b > 0.0) {
            (false, true) => Finding::Regression,
            (true, false) => Finding::Improvement,
            (false, false) => Finding::Same,
            (true, true) => Finding::Unclear,
        };
    }
    if row.note.is_some() {
        return Finding::NoVerdict;
    }
    let change =
        row.ratio.map_or_else(|| (row.b - row.a).signum() * f64::INFINITY, |ratio| (ratio - 1.0) * row.a.signum());
    let matters = row.a != row.b && change.abs() > asked.tolerance;
    if row.p_corrected.is_some_and(|p| p < asked.alpha) && (matters || kind == Kind::Errors) {
        let worse = if kind == Kind::MoreIsBetter { row.b < row.a } else { row.b > row.a };
        return if worse { Finding::Regression } else { Finding::Improvement };
    }
    let within = |i: bootstrap::Interval| i.low >= 1.0 - asked.tolerance && i.high <= 1.0 + asked.tolerance;
    if row.interval.is_some_and(within) || (row.a == row.b && kind == Kind::Errors) {
        Finding::Same
    } else {
        Finding::Unclear
    }
}

/// The whole comparison's verdict: a regression if there is one.
pub fn conclude(rows: Vec<Row>, runs: [usize; 2], asked: &Asked) -> Comparison {
    let named = |finding: Finding| rows.iter().filter(|r| r.finding == finding).map(|r| r.metric).collect::<Vec<_>>();
    let worse = named(Finding::Regression);
    let judged = rows.iter().any(|r| r.finding != Finding::NoVerdict && of(r).kind != Kind::Faults);
    let (verdict, exit_code, reason) = if !worse.is_empty() {
        (Finding::Regression, 3, format!("worse: {}", worse.join(", ")))
    } else if !judged {
        let why = rows.iter().find_map(|r| r.note.clone()).unwrap_or_else(|| "no figure is in all reports".to_owned());
        (Finding::NoVerdict, 5, why)
    } else {
        let better = named(Finding::Improvement);
        let unclear = named(Finding::Unclear);
        let mut said = vec!["no significant regression".to_owned()];
        if !better.is_empty() {
            said.push(format!("better: {}", better.join(", ")));
        }
        if !unclear.is_empty() {
            said.push(format!("not ruled out for want of runs: {}", unclear.join(", ")));
        }
        let verdict = match (better.is_empty(), unclear.is_empty()) {
            (false, _) => Finding::Improvement,
            (true, true) => Finding::Same,
            (true, false) => Finding::Unclear,
        };
        (verdict, 0, said.join("; "))
    };
    Comparison { runs, alpha: asked.alpha, tolerance: asked.tolerance, rows, verdict, reason, exit_code }
}
