//! The parts of a report.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::measure::Latencies;
use crate::remote::RemoteHost;

/// A distribution, µs.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Percentiles {
    /// How many.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: u64,
    /// 90 of 100 are at most this.
    pub p90: u64,
    /// 99 of 100 are at most this.
    pub p99: u64,
    /// 999 of 1,000 are at most this.
    pub p999: u64,
    /// 9,999 of 10,000 are at most this.
    pub p9999: u64,
    /// The longest.
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

/// A point of a percentile curve: `percentile` (0 to 100) of all are at most `us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CurvePoint {
    /// 0 to 100.
    pub percentile: f64,
    /// Latency, µs.
    pub us: u64,
}

/// The connections of a run.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Throughput {
    /// How long it was, s.
    pub steady_s: f64,
    /// Messages delivered in it.
    pub delivered: u64,
    /// Sends a second.
    pub sent_per_second: f64,
    /// Deliveries a second.
    pub delivered_per_second: f64,
    /// Messages sent and neither delivered nor refused yet: mean of what was seen, 50 times a second.
    pub in_flight_mean: Option<f64>,
}

/// The server's process over the steady phase.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
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

/// What a connection costs in memory, bytes, from the server's ready to the begin of the steady phase.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct MemoryPerConnection {
    /// Resident memory of the server's process.
    pub server_rss: Amount,
    /// Of that, what is neither a file's nor shared (anonymous, private).
    pub server_private: Amount,
    /// The kernel, for one end of a connection: buffers and objects, on this host.
    pub kernel: Amount,
    /// The kernel's part by what it is for: `buffers`, and its caches by name.
    pub kernel_parts: BTreeMap<String, f64>,
    /// State of TLS in the server's process.
    pub tls: Amount,
}

/// A figure, or why there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Amount {
    /// Bytes; absent when unknown.
    pub bytes: Option<f64>,
    /// Why it is unknown; absent when it is known.
    pub unknown: Option<String>,
}

impl From<Result<f64, String>> for Amount {
    fn from(amount: Result<f64, String>) -> Self {
        match amount {
            Ok(bytes) => Self { bytes: Some(bytes), unknown: None },
            Err(why) => Self { bytes: None, unknown: Some(why) },
        }
    }
}

/// The load generator's own figures over the steady phase.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Generator {
    /// Worker threads.
    pub workers: u16,
    /// CPU of each worker as a share of its core.
    pub busy: Vec<f64>,
    /// Part of the time each worker was ready to run and waited for a core.
    pub waiting: Vec<f64>,
    /// CPU of this process, all threads, cores.
    pub cores_used: Option<f64>,
    /// Actual less intended send times (open loads).
    pub pacing_lag_us: Percentiles,
    /// From when a worker learned that a socket had something to the delivery it read from there: at least so much of the
    /// latency is the generator's own.
    #[serde(default)]
    pub reading_lag_us: Percentiles,
    /// Sockets that this host, not the server, refused: no address, port, descriptor or memory left. Whole run.
    pub socket_errors: u64,
    /// It was the limit.
    pub saturated: bool,
    /// Remote workers; empty when all ran in this process.
    pub remote: Vec<RemoteHost>,
    /// Latencies between users of different processes are known to so much, µs.
    pub clock_error_us: u64,
}

impl Generator {
    /// The busiest worker's part of the time at work or waiting for a core.
    pub fn never_idle(&self) -> f64 {
        let waiting = self.waiting.iter().copied().chain(core::iter::repeat(0.0));
        self.busy.iter().zip(waiting).map(|(busy, waiting)| busy + waiting).fold(0.0, f64::max)
    }
}

/// What the client cores counted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
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

/// What a behaviour of the scenario did.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Behaviour {
    /// Its name in the scenario.
    pub name: String,
    /// What happened, in one line.
    pub said: String,
    /// Its figures by name; a unit is part of the name.
    pub figures: BTreeMap<String, Value>,
}

/// A threshold and what was measured.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
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
    /// Whether `limit` is the least that is allowed; the most otherwise.
    pub at_least: bool,
}

impl core::fmt::Display for Judged {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.measured {
            Some(measured) => write!(f, "{} is {measured}, threshold {}", self.key, self.limit),
            None => write!(f, "{} was not measured, threshold {}", self.key, self.limit),
        }
    }
}
