//! A knee for people, as text.

use std::fmt::Write as _;

use super::{Asked, Bound, Found, Judged, Knee, Limits, Step, usl};

/// One line a step.
pub fn step(step: &Step) -> String {
    let asked = match step.asked {
        Asked::Rate(rate) => format!("{rate:>9.0} msg/s    "),
        Asked::Concurrency(n) => format!("{n:>9} in flight"),
    };
    let figures = &step.figures;
    let little = figures.little_deviation().map_or_else(String::new, |d| format!(", Little {:+.0} %", d * 100.0));
    let judged = match &step.judged {
        Judged::Holds if matches!(step.asked, Asked::Concurrency(_)) => String::new(),
        Judged::Holds => "  holds".to_owned(),
        Judged::Broken(why) => format!("  too high: {why}"),
        Judged::Generator(why) => format!("  too high for the generator: {why}"),
        Judged::Audit(why) => format!("  audit: {why}"),
        Judged::Interrupted => "  interrupted".to_owned(),
    };
    format!(
        "{asked}  delivered {:>9.0}/s  p50 {:>7.0} µs  p99 {:>8.0} µs  in flight {:>8.1}{little}{judged}",
        figures.delivered_per_second,
        figures.p50_us,
        figures.p99_us,
        figures.in_flight.unwrap_or_else(|| figures.in_flight_by_little()),
    )
}

/// The verdict in one line.
pub fn reason(found: &Found, limits: &Limits) -> String {
    let budget = limits.budget_p99_us;
    let last = || found.steps.last().map(|s| step(s).trim().to_owned()).unwrap_or_default();
    match (found.bound, found.rate, found.too_high) {
        (Bound::Server, Some(rate), Some(high)) => {
            format!("{rate:.0} messages a second hold p99 ≤ {budget} µs, {high:.0} do not")
        }
        (Bound::Generator, rate, _) => {
            let holds = rate.map_or_else(
                || "no rate held".to_owned(),
                |r| format!("{r:.0} messages a second hold p99 ≤ {budget} µs"),
            );
            let next = |step: &&Step| step.asked == Asked::Rate(found.too_high.unwrap_or(0.0));
            let above = found.steps.iter().rev().find(next).map(|s| step(s).trim().to_owned()).unwrap_or_default();
            format!("the load generator or its host was the limit, not the server alone: {holds}; above: {above}")
        }
        (Bound::NotReached, Some(rate), _) => {
            format!("{rate:.0} messages a second, the highest asked for, hold p99 ≤ {budget} µs: raise --to")
        }
        (Bound::Audit, ..) => format!("the audit is not clean: {}", last()),
        (Bound::Interrupted, Some(rate), _) => format!("interrupted; {rate:.0} messages a second held so far"),
        (Bound::Interrupted, None, _) => "interrupted before any rate held".to_owned(),
        _ => format!("no rate tried holds p99 ≤ {budget} µs"),
    }
}

/// Everything, the verdict last.
pub fn text(knee: &Knee) -> String {
    let mut text = String::new();
    if let Some(fit) = &knee.scaling {
        let _ = writeln!(text, "\n{}", scaling(fit));
    }
    let verdict = match knee.found.bound {
        Bound::Server | Bound::NotReached => "knee",
        _ => "no knee",
    };
    let _ = write!(text, "{verdict} ({}): {}", knee.exit_code, knee.reason);
    text
}

/// The law in words.
fn scaling(fit: &usl::Fit) -> String {
    let interval = |of: Option<crate::stats::bootstrap::Interval>| {
        of.map_or_else(String::new, |i| format!(" ({} to {})", small(i.low), small(i.high)))
    };
    let law = &fit.law;
    let peak = match (fit.peak_concurrency, fit.peak_throughput) {
        (Some(n), Some(x)) => format!("highest throughput {x:.0}/s{} at {n:.0} in flight", interval(fit.peak)),
        (None, Some(x)) => format!("throughput rises towards {x:.0}/s{}", interval(fit.peak)),
        _ => "throughput rises with concurrency as far as was measured".to_owned(),
    };
    format!(
        "scaling     X(N) = λN / (1 + σ(N−1) + κN(N−1)), 95 % intervals: λ {}{}, σ {}{}, κ {}{}\n            R² {:.3}, worst point {:.0} % off; {peak}",
        small(law.lambda),
        interval(fit.lambda),
        small(law.sigma),
        interval(fit.sigma),
        small(law.kappa),
        interval(fit.kappa),
        fit.r_squared,
        fit.worst_error * 100.0
    )
}

/// Three significant digits, also of very small numbers.
pub fn small(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 0.01 => {
            let digits = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
            format!("{value:.digits$}")
        }
        _ => format!("{value:.2e}"),
    }
}
