//! What a step's report says of its rate.

use super::{Figures, Judged};
use crate::recorded::Recorded;

/// A rate is carried when this share of it is delivered within the steady phase.
const CARRIED: f64 = 0.98;
/// A host this busy gives nobody a core when it is wanted.
const HOST_BUSY: f64 = 0.97;

/// A step's figures.
pub fn figures(report: &Recorded) -> Figures {
    let number = |path: &str| report.number(path).unwrap_or(0.0);
    let busy = report.json().pointer("/generator/busy").and_then(|b| b.as_array());
    Figures {
        sent_per_second: number("throughput.sent_per_second"),
        delivered_per_second: number("throughput.delivered_per_second"),
        p50_us: number("latency_us.p50"),
        p99_us: number("latency_us.p99"),
        p999_us: number("latency_us.p999"),
        mean_us: number("latency_us.mean"),
        lag_mean_us: number("generator.pacing_lag_us.mean"),
        server_cores: report.number("server.cores_used"),
        generator_busy: busy.map_or(0.0, |b| b.iter().filter_map(|v| v.as_f64()).fold(0.0, f64::max)),
        in_flight: report.number("throughput.in_flight_mean"),
    }
}

/// Judges a run at a rate by the budget. A run that fails is the generator's when the generator was saturated, or when its own
/// lateness is more than half of the latency that is too long.
pub fn judge_open(report: &Recorded, rate: f64, budget_p99_us: u64) -> Judged {
    if let Some(early) = judge_any(report) {
        return early;
    }
    let figures = figures(report);
    let errors = report.sum("errors").unwrap_or(0.0);
    let why = if errors > 0.0 {
        format!("{errors} errors")
    } else if figures.delivered_per_second < CARRIED * rate {
        format!("{:.0} of {rate:.0} messages a second delivered", figures.delivered_per_second)
    } else if figures.p99_us > budget_p99_us as f64 {
        format!("p99 {:.0} µs, budget {budget_p99_us} µs", figures.p99_us)
    } else {
        return Judged::Holds;
    };
    let lag = report.number("generator.pacing_lag_us.p99").unwrap_or(0.0);
    if report.yes("generator.saturated") || lag * 2.0 > figures.p99_us {
        return Judged::Generator(format!("{why}; {}", own_limit(report, lag)));
    }
    Judged::Broken(why)
}

/// What ends the search, whatever the load was.
pub fn judge_any(report: &Recorded) -> Option<Judged> {
    let reason = || report.text("reason").unwrap_or_default().to_owned();
    match report.text("verdict") {
        Some("interrupted") => Some(Judged::Interrupted),
        Some("audit") => Some(Judged::Audit(reason())),
        _ if report.number("not_connected").is_some() => Some(Judged::Broken(reason())),
        _ => None,
    }
}

/// What the generator and its host were at.
fn own_limit(report: &Recorded, lag_us: f64) -> String {
    let busy = figures(report).generator_busy * 100.0;
    let mut said = format!("busiest worker {busy:.0} %, pacing lag p99 {lag_us:.0} µs");
    if let Some(host) = report.number("machine.busy").filter(|busy| *busy >= HOST_BUSY) {
        let cores = |path: &str| report.number(path).unwrap_or(0.0);
        let (server, own) = (cores("server.cores_used"), cores("generator.cores_used"));
        let others = (host * cores("machine.cores") - server - own).max(0.0);
        said = format!(
            "{said}; its host was full: {server:.2} cores the server, {own:.2} the generator, {others:.2} others"
        );
    }
    said
}
