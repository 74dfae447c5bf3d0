//! The figures that are compared: where each stands in a report, and which way is worse.

use crate::recorded::Recorded;

/// How a figure is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A measured quantity; more is worse.
    LessIsBetter,
    /// A measured quantity; less is worse.
    MoreIsBetter,
    /// A count of errors, whole run.
    Errors,
    /// A count of what must never happen.
    Faults,
}

/// A figure of a report.
#[derive(Debug)]
pub struct Figure {
    /// What `--metric` calls it.
    pub name: &'static str,
    /// Its unit, for people.
    pub unit: &'static str,
    /// How it is tested.
    pub kind: Kind,
    /// Whether the load generator's own speed is part of it.
    pub of_speed: bool,
    paths: &'static [&'static str],
}

const fn speed(name: &'static str, kind: Kind, paths: &'static [&'static str], unit: &'static str) -> Figure {
    Figure { name, unit, kind, of_speed: true, paths }
}

const fn server(name: &'static str, kind: Kind, paths: &'static [&'static str], unit: &'static str) -> Figure {
    Figure { name, unit, kind, of_speed: false, paths }
}

/// All of them.
pub const FIGURES: [Figure; 13] = [
    speed("p50_us", Kind::LessIsBetter, &["latency_us.p50"], "µs"),
    speed("p90_us", Kind::LessIsBetter, &["latency_us.p90"], "µs"),
    speed("p99_us", Kind::LessIsBetter, &["latency_us.p99"], "µs"),
    speed("p999_us", Kind::LessIsBetter, &["latency_us.p999"], "µs"),
    speed("connect_p99_us", Kind::LessIsBetter, &["connect_us.p99"], "µs"),
    speed("delivered_per_second", Kind::MoreIsBetter, &["throughput.delivered_per_second"], "/s"),
    speed("connects_per_second", Kind::MoreIsBetter, &["connections.connects_per_second"], "/s"),
    server("cpu_s_per_million", Kind::LessIsBetter, &["server.cpu_s_per_million"], "s"),
    server("cpu_s_per_thousand_connects", Kind::LessIsBetter, &["server.cpu_s_per_thousand_connects"], "s"),
    server("bytes_per_connection", Kind::LessIsBetter, &["server.rss_bytes_per_connection"], "B"),
    server("rss_at_end_bytes", Kind::LessIsBetter, &["server.rss_at_end_bytes"], "B"),
    server("errors", Kind::Errors, &["errors"], ""),
    server(
        "audit_faults",
        Kind::Faults,
        &["audit.lost", "audit.doubled", "audit.reordered", "audit.acked_but_missing", "audit.foreign"],
        "",
    ),
];

impl Figure {
    /// Its value in a report. A latency of nothing and a rate of nothing are not there: the load was of another kind.
    pub fn value(&self, run: &Recorded) -> Option<f64> {
        match self.kind {
            Kind::Errors => run.sum(self.paths[0]),
            Kind::Faults => {
                let found: Vec<f64> = self.paths.iter().filter_map(|path| run.number(path)).collect();
                (!found.is_empty()).then(|| found.iter().sum())
            }
            Kind::LessIsBetter | Kind::MoreIsBetter => run.number(self.paths[0]).filter(|v| !self.of_speed || *v > 0.0),
        }
    }
}
