//! The report: what `DIR/report.json` says, and the verdict.

mod groups;
pub mod junit;
pub mod outputs;
mod parts;
pub mod prometheus;
pub mod schema;
pub mod series;
pub mod summary;
mod verdict;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::Audit;
use crate::observe::host::Machine;
use crate::observe::stages::Stages;
use crate::probe::Allowed;
use crate::scenario::{Load, Mode, Scenario};

pub use groups::{GroupFigures, GroupKind};
pub use parts::{
    Amount, Behaviour, Clients, Connections, CurvePoint, Generator, Judged, MemoryPerConnection, Percentiles,
    ServerReport, Throughput,
};
pub use series::{Phase, PhaseSpan, Sample};

/// Grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 2;

/// A run, reported.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "Shardwire load report")]
pub struct Report {
    /// The version of this format; it grows when a field changes its meaning or goes away.
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
    /// Why no load was made although all were there: memberships of groups that had not begun in time.
    pub not_joined: Option<u64>,
    /// Whether Ctrl-C ended it.
    pub interrupted: bool,
    /// Every message.
    pub audit: Audit,
    /// Intended send time → frame at the receiving client, steady phase, between users who were online.
    pub latency_us: Percentiles,
    /// The same where the sender or the receiver was away on purpose at some time in between: not in `latency_us`.
    pub latency_away_us: Percentiles,
    /// Those of `latency_us` while others were away on purpose (of the same worker's users).
    #[serde(default)]
    pub latency_meanwhile_us: Percentiles,
    /// `latency_us`, whole: every step of the histogram that differs, coarser towards the median.
    pub latency_curve: Vec<CurvePoint>,
    /// Begin of a connect → Welcome, whole run.
    pub connect_us: Percentiles,
    /// The same, whole.
    pub connect_curve: Vec<CurvePoint>,
    /// The connections.
    pub connections: Connections,
    /// Rates of the steady phase.
    pub throughput: Throughput,
    /// How messages spread in groups; absent without groups.
    pub groups: Option<GroupFigures>,
    /// When each phase was.
    pub phases: Vec<PhaseSpan>,
    /// The run second by second; at most 3,600 samples.
    pub series: Vec<Sample>,
    /// The server, where its process can be looked at.
    pub server: ServerReport,
    /// What a connection costs in memory, and where.
    pub memory_per_connection: MemoryPerConnection,
    /// How long sampled messages stayed in each stage of the server, steady phase; absent when unknown.
    pub stages: Option<Stages>,
    /// Why `stages` is absent.
    pub stages_unknown: Option<String>,
    /// The load generator itself.
    pub generator: Generator,
    /// Errors by name, whole run.
    pub errors: BTreeMap<String, u64>,
    /// Errors that a restart's scenario tolerates, by name; not in `errors`.
    pub errors_tolerated: BTreeMap<String, u64>,
    /// What the clients counted.
    pub clients: Clients,
    /// What came of the scenario's behaviours, in its order.
    pub behaviours: Vec<Behaviour>,
    /// What was judged.
    pub thresholds: Vec<Judged>,
    /// What the server allows.
    pub limits: Option<Allowed>,
    /// Where the load generator ran.
    pub machine: Machine,
    /// The scenario as it was run, defaults filled in; its keys are those of a scenario's file.
    pub scenario: Scenario,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

impl Report {
    /// A report of nothing yet.
    pub fn of(scenario: Scenario) -> Self {
        Self {
            schema: SCHEMA,
            verdict: Verdict::Pass,
            reason: String::new(),
            exit_code: 0,
            name: scenario.name.clone(),
            started_ms: 0,
            took_s: 0.0,
            not_connected: None,
            not_joined: None,
            interrupted: false,
            audit: Audit::default(),
            latency_us: Percentiles::default(),
            latency_away_us: Percentiles::default(),
            latency_meanwhile_us: Percentiles::default(),
            latency_curve: Vec::new(),
            connect_us: Percentiles::default(),
            connect_curve: Vec::new(),
            connections: Connections::default(),
            throughput: Throughput::default(),
            groups: None,
            phases: Vec::new(),
            series: Vec::new(),
            server: ServerReport::default(),
            memory_per_connection: MemoryPerConnection::default(),
            stages: None,
            stages_unknown: None,
            generator: Generator::default(),
            errors: BTreeMap::new(),
            errors_tolerated: BTreeMap::new(),
            clients: Clients::default(),
            behaviours: Vec::new(),
            thresholds: Vec::new(),
            limits: None,
            machine: Machine::default(),
            scenario,
        }
    }
}

/// The scenario's load, for people: one line.
pub fn describe(load: &Load) -> String {
    let how = match load.mode {
        Mode::Open => match load.steps.len() {
            0 => format!("{} msg/s", load.peak_rate()),
            steps => format!("{steps} steps, up to {:.1} msg/s", load.peak_rate()),
        },
        Mode::Closed => format!("{} in flight each", load.in_flight.unwrap_or(0)),
        Mode::Idle => "silent".to_owned(),
        Mode::Connect => "connecting again and again".to_owned(),
    };
    format!("{} users, {how}, {} s", load.users, load.steady_s)
}

#[cfg(test)]
pub(crate) mod tests;
