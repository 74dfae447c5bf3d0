//! Comparisons of reports: what is called worse, what is not, and what is refused.

use super::*;
use crate::recorded::Recorded;

/// Reports of one scenario, each with a p99 and a CPU figure.
fn runs(p99: &[f64], cpu: &[f64]) -> Vec<Recorded> {
    let folder = tempfile::tempdir().unwrap();
    let write = |(index, (p99, cpu)): (usize, (&f64, &f64))| {
        let text = format!(
            r#"{{"schema": 1, "verdict": "pass", "interrupted": false, "latency_us": {{"p99": {p99}}},
                "server": {{"cpu_s_per_million": {cpu}}}, "errors": {{}}, "audit": {{"lost": 0, "doubled": 0}},
                "generator": {{"saturated": false}}, "scenario": {{"load": {{"users": 10, "rate": 5}}}}}}"#
        );
        let path = folder.path().join(format!("{index}.json"));
        std::fs::write(&path, text).unwrap();
        Recorded::read(&path).unwrap()
    };
    p99.iter().zip(cpu).enumerate().map(write).collect()
}

/// The same reports with something else in them.
fn with(runs: &[Recorded], from: &str, to: &str) -> Vec<Recorded> {
    let folder = tempfile::tempdir().unwrap();
    let change = |(index, run): (usize, &Recorded)| {
        let text = run.json().to_string();
        assert!(text.contains(from), "{from} in {text}");
        let path = folder.path().join(format!("{index}.json"));
        std::fs::write(&path, text.replace(from, to)).unwrap();
        Recorded::read(&path).unwrap()
    };
    runs.iter().enumerate().map(change).collect()
}

fn asked() -> Asked {
    Asked { metrics: Vec::new(), alpha: 0.05, tolerance: 0.05 }
}

fn found(comparison: &Comparison, metric: &str) -> Finding {
    comparison.rows.iter().find(|r| r.metric == metric).unwrap().finding
}

const STEADY: [f64; 5] = [100.0, 101.0, 99.0, 100.5, 99.5];

#[test]
fn a_clear_rise_is_a_regression_and_a_clear_fall_is_not() {
    let (a, b) = (runs(&STEADY, &STEADY), runs(&STEADY.map(|v| v * 1.3), &STEADY.map(|v| v * 0.7)));
    let said = compare(&a, &b, &asked()).unwrap();
    assert_eq!((said.exit_code, said.verdict), (3, Finding::Regression));
    assert_eq!(found(&said, "p99_us"), Finding::Regression);
    assert_eq!(found(&said, "cpu_s_per_million"), Finding::Improvement);
    assert_eq!(said.reason, "worse: p99_us");
}

#[test]
fn a_certain_difference_within_the_tolerance_is_none() {
    let said = compare(&runs(&STEADY, &STEADY), &runs(&STEADY.map(|v| v * 1.03), &STEADY), &asked()).unwrap();
    assert_eq!((said.exit_code, found(&said, "p99_us")), (0, Finding::Same));
    let strict = Asked { tolerance: 0.01, ..asked() };
    let said = compare(&runs(&STEADY, &STEADY), &runs(&STEADY.map(|v| v * 1.03), &STEADY), &strict).unwrap();
    assert_eq!(said.exit_code, 3);
}

#[test]
fn noise_is_no_regression_but_neither_is_it_called_the_same() {
    let (a, b) = (runs(&[100.0, 160.0, 70.0], &[1.0; 3]), runs(&[130.0, 90.0, 170.0], &[1.0; 3]));
    let said = compare(&a, &b, &asked()).unwrap();
    assert_eq!((said.exit_code, found(&said, "p99_us")), (0, Finding::Unclear));
    assert!(said.reason.contains("not ruled out for want of runs: p99_us"), "{}", said.reason);
    assert_eq!(found(&said, "cpu_s_per_million"), Finding::Same);
}

#[test]
fn two_runs_a_side_give_no_verdict() {
    let said = compare(&runs(&[100.0, 101.0], &[1.0, 1.0]), &runs(&[200.0, 201.0], &[1.0, 1.0]), &asked()).unwrap();
    assert_eq!((said.exit_code, said.verdict), (5, Finding::NoVerdict));
    assert!(said.rows.iter().all(|r| r.p.is_none() && r.interval.is_none()));
    assert!(show::text(&said).ends_with("no verdict (5): 2 and 2 runs; 3 a side at least"), "{}", show::text(&said));
}

#[test]
fn a_lost_message_is_a_regression_even_in_one_run() {
    let b = with(&runs(&[100.0], &[1.0]), "\"lost\":0", "\"lost\":1");
    let said = compare(&runs(&[100.0], &[1.0]), &b, &asked()).unwrap();
    assert_eq!((said.exit_code, said.reason.as_str()), (3, "worse: audit_faults"));
}

#[test]
fn errors_are_judged_as_counts() {
    let (a, calm) = (runs(&STEADY, &STEADY), runs(&STEADY, &STEADY));
    let some = with(&calm, "\"errors\":{}", "\"errors\":{\"overloaded\":4}");
    assert_eq!(found(&compare(&a, &some, &asked()).unwrap(), "errors"), Finding::Regression);
    let mut one = calm;
    one[0] = with(&one[..1], "\"errors\":{}", "\"errors\":{\"reset\":1}").remove(0);
    assert_eq!(found(&compare(&a, &one, &asked()).unwrap(), "errors"), Finding::Unclear);
}

#[test]
fn the_generators_own_limit_is_not_the_servers_latency() {
    let b = with(&runs(&STEADY.map(|v| v * 3.0), &STEADY), "\"saturated\":false", "\"saturated\":true");
    let said = compare(&runs(&STEADY, &STEADY), &b, &asked()).unwrap();
    assert_eq!((found(&said, "p99_us"), found(&said, "cpu_s_per_million")), (Finding::NoVerdict, Finding::Same));
    assert!(show::text(&said).contains("the load generator was the limit in 5 of 10 runs"));
}

#[test]
fn other_scenarios_are_refused_with_the_keys_that_differ() {
    let b = with(&runs(&STEADY, &STEADY), "\"users\":10", "\"users\":20,\"size_bytes\":64");
    let refusal = compare(&runs(&STEADY, &STEADY), &b, &asked()).unwrap_err().to_string();
    assert!(refusal.contains("load.users: 10 in ") && refusal.contains(", 20 in "), "{refusal}");
    assert!(refusal.contains("load.size_bytes: absent in "), "{refusal}");
}

#[test]
fn impossible_bounds_and_unknown_figures_are_named() {
    let side = runs(&STEADY, &STEADY);
    for (asked, word) in [
        (Asked { alpha: 0.0, ..asked() }, "--alpha 0"),
        (Asked { alpha: f64::NAN, ..asked() }, "--alpha NaN"),
        (Asked { tolerance: -0.1, ..asked() }, "--tolerance -10 %"),
        (Asked { metrics: vec!["p98".to_owned()], ..asked() }, "--metric p98"),
    ] {
        let refusal = compare(&side, &side, &asked).unwrap_err().to_string();
        assert!(refusal.contains(word), "{refusal}");
    }
    let interrupted = with(&side, "\"interrupted\":false", "\"interrupted\":true");
    assert!(compare(&side, &interrupted, &asked()).unwrap_err().to_string().contains("was interrupted"));
}

#[test]
fn one_figure_asked_for_needs_no_correction() {
    let only = Asked { metrics: vec!["p99_us".to_owned()], ..asked() };
    let said = compare(&runs(&STEADY, &STEADY), &runs(&STEADY.map(|v| v * 1.3), &STEADY), &only).unwrap();
    assert_eq!(said.rows.len(), 1);
    assert_eq!(said.rows[0].p, said.rows[0].p_corrected);
}
