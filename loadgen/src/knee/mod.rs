//! The highest rate within a latency budget, found by itself; and how throughput scales with concurrency.
//!
//! [`mod@search`] decides which rates are tried and knows nothing of servers: it asks a [`Rig`]. [`rig`] is the real one, each
//! step a whole run of the scenario against a fresh server. [`usl`] fits Gunther's universal scalability law to closed steps,
//! whose concurrency is given, not observed. What must stay true: a limit of the load generator is never called the server's.

mod judge;
pub mod page;
pub mod rig;
mod search;
pub mod show;
pub mod usl;

use serde::{Deserialize, Serialize};

pub use judge::{figures, judge_open};
pub use search::search;

/// The knee's files in the folder asked for.
pub const FILE: &str = "knee.json";

/// What is searched for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// The first rate tried, messages a second.
    pub from: f64,
    /// The highest rate tried.
    pub to: f64,
    /// p99 from intended send to receipt, µs at most.
    pub budget_p99_us: u64,
    /// Rates rise by this factor until one is too high.
    pub factor: f64,
    /// The search ends when too high and not too high are this close, as a share.
    pub resolution: f64,
    /// A rate is too high when it fails so often: one stall of a busy host is not a limit.
    pub tries: u32,
}

impl Limits {
    /// Refuses what cannot be searched.
    ///
    /// # Errors
    /// The option, its value, what is expected.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: f64, low: f64, high: f64| {
            if value.is_finite() && value >= low && value <= high {
                Ok(())
            } else {
                Err(format!("{name} {value}: expected {low} to {high}"))
            }
        };
        within("--from", self.from, 0.1, 10e6)?;
        within("--to", self.to, 0.1, 10e6)?;
        if self.to < self.from {
            return Err(format!("--to {} is below --from {}", self.to, self.from));
        }
        within("--budget-p99-us", self.budget_p99_us as f64, 1.0, 3.6e9)?;
        within("--factor", self.factor, 1.05, 100.0)?;
        within("--resolution", self.resolution, 0.001, 1.0)?;
        within("--tries", f64::from(self.tries), 1.0, 10.0)
    }
}

/// What a step says of its rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "reason")]
pub enum Judged {
    /// Within the budget.
    Holds,
    /// The server does not carry it.
    Broken(String),
    /// The load generator does not carry it.
    Generator(String),
    /// The audit is not clean: nothing else matters.
    Audit(String),
    /// Ctrl-C.
    Interrupted,
}

/// A step's figures, over its steady phase.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Sends a second.
    pub sent_per_second: f64,
    /// Deliveries a second.
    pub delivered_per_second: f64,
    /// Median latency, µs.
    pub p50_us: f64,
    /// 99th percentile, µs.
    pub p99_us: f64,
    /// 99.9th percentile, µs.
    pub p999_us: f64,
    /// Mean latency from the intended send time, µs.
    pub mean_us: f64,
    /// Mean lateness of the generator itself, µs.
    pub lag_mean_us: f64,
    /// CPU of the server, cores.
    pub server_cores: Option<f64>,
    /// Busiest worker of the generator, share of a core.
    pub generator_busy: f64,
    /// Messages sent and not yet delivered, mean of what was seen.
    pub in_flight: Option<f64>,
}

impl Figures {
    /// Little's law, L = λ·W: messages in flight that rate and latency imply. W is without the generator's lateness, since
    /// what is not sent yet is not in flight.
    pub fn in_flight_by_little(&self) -> f64 {
        self.delivered_per_second * (self.mean_us - self.lag_mean_us).max(0.0) / 1e6
    }

    /// By how much what was seen in flight differs from Little's law, as a share; absent where nothing was seen.
    pub fn little_deviation(&self) -> Option<f64> {
        let expected = self.in_flight_by_little();
        self.in_flight.filter(|_| expected > 0.0).map(|seen| seen / expected - 1.0)
    }
}

/// How a step was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// An open load at a rate, messages a second.
    Rate(f64),
    /// A closed load with so many messages in flight, all users together.
    Concurrency(u64),
}

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Its load.
    pub asked: Asked,
    /// What it says.
    #[serde(flatten)]
    pub judged: Judged,
    /// What was measured.
    pub figures: Figures,
    /// Its folder, relative to the knee's.
    pub folder: String,
}

/// Something that carries out steps.
pub trait Rig {
    /// Why a step could not be made at all.
    type Error;

    /// Loads at a rate and judges it by the budget.
    ///
    /// # Errors
    /// The step could not be made.
    fn open(&mut self, rate: f64) -> Result<Step, Self::Error>;

    /// Keeps so many messages in flight.
    ///
    /// # Errors
    /// The step could not be made.
    fn closed(&mut self, concurrency: u64) -> Result<Step, Self::Error>;
}

/// What bounds the knee from above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The server breaks the budget at the next rate.
    Server,
    /// The load generator cannot make the next rate: the server may carry more.
    Generator,
    /// The highest rate asked for holds.
    NotReached,
    /// Not even the lowest rate tried holds.
    BelowAll,
    /// The audit was not clean.
    Audit,
    /// Ended by Ctrl-C.
    Interrupted,
}

impl Bound {
    /// What the process ends with.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Server | Self::NotReached => 0,
            Self::BelowAll => 3,
            Self::Audit => 4,
            Self::Generator => 5,
            Self::Interrupted => 130,
        }
    }
}

/// What the search found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    /// The highest rate that held.
    pub rate: Option<f64>,
    /// The lowest rate above it that did not.
    pub too_high: Option<f64>,
    /// Why it is no higher.
    pub bound: Bound,
    /// Each step, in order.
    pub steps: Vec<Step>,
}

/// Everything, as knee.json has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Knee {
    /// Grows when a field changes its meaning or goes away.
    pub schema: u32,
    /// The scenario's name.
    pub name: String,
    /// When it began, wall time, ms since 1970.
    pub started_ms: u64,
    /// What was searched for.
    pub limits: Limits,
    /// What was found.
    pub found: Found,
    /// Closed steps, lowest concurrency first.
    pub closed: Vec<Step>,
    /// The law fitted to them; absent with too few.
    pub scaling: Option<usl::Fit>,
    /// The verdict in one line.
    pub reason: String,
    /// What the process ends with.
    pub exit_code: u8,
}

#[cfg(test)]
mod tests;
