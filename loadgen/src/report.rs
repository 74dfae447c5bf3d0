//! The report: what `DIR/report.json` says, and the verdict.

mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::audit::Audit;
use crate::measure::Latencies;
use crate::probe::Allowed;
use crate::scenario::{Load, Mode, Scenario};

/// The report's file.
pub const FILE: &str = "report.json";
/// Grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// A run, reported.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// How it ended.
    pub verdict: Verdict,
    /// Why, in one line.
    pub reason: String,
    /// What the process ends with.
    pub exit_code: u8,
    /// The scenario's name.
    pub name: String,
    /// When the run began, wall time, ms since 1970.
    pub started_ms: u64,
    /// From its begin to the end of the drain, s.
    pub took_s: f64,
    /// Why no load was made although all was started: users that were not authenticated in time.
    pub not_connected: Option<u64>,
    /// Whether Ctrl-C ended it.
    pub interrupted: bool,
    /// Every message.
    pub audit: Audit,
    /// Intended send time → frame at the receiving client, steady phase.
    pub latency_us: Percentiles,
    /// Begin of a connect → Welcome, whole run.
    pub connect_us: Percentiles,
    /// The connections.
    pub connections: Connections,
    /// Rates of the steady phase.
    pub throughput: Throughput,
    /// The server, where its process can be looked at.
    pub server: ServerReport,
    /// The load generator itself.
    pub generator: Generator,
    /// Errors by name, whole run.
    pub errors: BTreeMap<String, u64>,
    /// What the clients counted.
    pub clients: Clients,
    /// What was judged.
    pub thresholds: Vec<Judged>,
    /// What the server allows.
    pub limits: Option<Allowed>,
    /// The scenario as it was run, defaults filled in.
    pub scenario: Scenario,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The audit is clean and every threshold holds.
    Pass,
    /// A threshold does not hold.
    Threshold,
    /// The audit is not clean.
    Audit,
    /// The load generator was the limit: no verdict on the server.
    Saturated,
    /// Ended by Ctrl-C, clean so far.
    Interrupted,
}

impl Verdict {
    /// What the process ends with.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Threshold => 3,
            Self::Audit => 4,
            Self::Saturated => 5,
            Self::Interrupted => 130,
        }
    }
}

/// A distribution, µs.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[allow(missing_docs)] // each says itself
pub struct Percentiles {
    pub count: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub p9999: u64,
    pub max: u64,
}

impl From<&Latencies> for Percentiles {
    fn from(latencies: &Latencies) -> Self {
        Self {
            count: latencies.count(),
            mean: latencies.mean_us(),
            p50: latencies.us(50.0),
            p90: latencies.us(90.0),
            p99: latencies.us(99.0),
            p999: latencies.us(99.9),
            p9999: latencies.us(99.99),
            max: latencies.max_us(),
        }
    }
}

/// The connections of a run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Connections {
    /// Users of the scenario.
    pub wanted: u64,
    /// The fewest authenticated in any second of the steady phase.
    pub held: u64,
    /// Connects with authentication, whole run.
    pub connects: u64,
    /// The same a second of the steady phase.
    pub connects_per_second: f64,
    /// Cut on purpose.
    pub dropped: u64,
}

/// Rates of the steady phase.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Throughput {
    /// How long it was, s.
    pub steady_s: f64,
    /// Messages delivered in it.
    pub delivered: u64,
    /// Sends a second.
    pub sent_per_second: f64,
    /// Deliveries a second.
    pub delivered_per_second: f64,
}

/// The server's process over the steady phase.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ServerReport {
    /// Its ready line; empty for a target.
    pub ready: String,
    /// Its process, if known.
    pub pid: Option<u32>,
    /// CPU, all threads, s.
    pub cpu_s: Option<f64>,
    /// CPU by thread name, s.
    pub cpu_s_by_thread: BTreeMap<String, f64>,
    /// CPU of all threads for a million delivered messages, s.
    pub cpu_s_per_million: Option<f64>,
    /// The same without the threads that apply to the engine, s.
    pub cpu_s_per_million_without_apply: Option<f64>,
    /// CPU of all threads for a thousand connects, s (load.mode = "connect").
    pub cpu_s_per_thousand_connects: Option<f64>,
    /// Share of one core.
    pub cores_used: Option<f64>,
    /// Resident memory when it got ready.
    pub rss_at_ready_bytes: Option<u64>,
    /// Resident memory at the begin of the steady phase.
    pub rss_at_steady_bytes: Option<u64>,
    /// Resident memory at the end of the steady phase.
    pub rss_at_end_bytes: Option<u64>,
    /// RSS at steady start less RSS at ready, by `connections.held`.
    pub rss_bytes_per_connection: Option<f64>,
    /// How it ended after SIGTERM.
    pub ended: Option<String>,
}

/// The load generator's own figures over the steady phase.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Generator {
    /// Worker threads.
    pub workers: u16,
    /// CPU of each worker as a share of its core.
    pub busy: Vec<f64>,
    /// Part of the time each worker was ready to run and waited for a core.
    pub waiting: Vec<f64>,
    /// Actual less intended send times (open loads).
    pub pacing_lag_us: Percentiles,
    /// It was the limit.
    pub saturated: bool,
}

impl Generator {
    /// The busiest worker's part of the time at work or waiting for a core.
    pub fn never_idle(&self) -> f64 {
        let waiting = self.waiting.iter().copied().chain(core::iter::repeat(0.0));
        self.busy.iter().zip(waiting).map(|(busy, waiting)| busy + waiting).fold(0.0, f64::max)
    }
}

/// What the client cores counted.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[allow(missing_docs)] // the names are client::Counters'
pub struct Clients {
    pub frames_in: u64,
    pub entries: u64,
    pub duplicates: u64,
    pub held: u64,
    pub held_dropped: u64,
    pub gap_fills: u64,
    pub sends_written: u64,
    pub resends_written: u64,
    pub marks_written: u64,
    pub pings: u64,
    pub connects: u64,
    pub disconnects: u64,
}

/// A threshold and what was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// The scenario's key.
    pub key: String,
    /// What it allows.
    pub limit: f64,
    /// What was measured; absent when it could not be.
    pub measured: Option<f64>,
    /// Whether it holds.
    pub holds: bool,
    /// Whether the generator's own speed is part of what was measured.
    pub of_speed: bool,
}

impl Report {
    /// Writes the report, whole or not at all.
    ///
    /// # Errors
    /// The folder cannot take it.
    pub fn write(&self, out: &Path) -> io::Result<()> {
        let part = out.join(format!("{FILE}.part"));
        let mut file = fs::File::create(&part)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        fs::rename(part, out.join(FILE))
    }
}

impl core::fmt::Display for Judged {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.measured {
            Some(measured) => write!(f, "{} is {measured}, threshold {}", self.key, self.limit),
            None => write!(f, "{} was not measured, threshold {}", self.key, self.limit),
        }
    }
}

/// Makes the report's folder and proves that a report can be written there.
///
/// # Errors
/// It cannot.
pub fn prepare(out: &Path) -> io::Result<()> {
    fs::create_dir_all(out)?;
    let part = out.join(format!("{FILE}.part"));
    fs::write(&part, b"{}\n")?;
    fs::remove_file(part)
}

/// The scenario's load, for people: one line.
pub fn describe(load: &Load) -> String {
    let how = match load.mode {
        Mode::Open => format!("{} msg/s", load.rate.unwrap_or(0.0)),
        Mode::Closed => format!("{} in flight each", load.in_flight.unwrap_or(0)),
        Mode::Idle => "silent".to_owned(),
        Mode::Connect => "connecting again and again".to_owned(),
    };
    format!("{} users, {how}, {} s", load.users, load.steady_s)
}

#[cfg(test)]
mod tests;
