//! The real rig: each step is a run of the scenario, with its rate (or concurrency) in place of the scenario's own.
//!
//! A throwaway server is started anew for every step, so that no step inherits a backlog, a full memory table or a merge from
//! the step before; a target is used as it stands. Every step's scenario and report stay in a folder of their own, to be read
//! or run again.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::judge::judge_any;
use super::{Asked, Judged, Rig, Step, figures, judge_open};
use crate::fail::Failure;
use crate::recorded::{Recorded, Unread};
use crate::report::outputs::{self, Outputs};
use crate::run::{self, Options};
use crate::scenario::{Mode, Scenario, Thresholds};

/// A step's ramp is no longer than this, s.
const RAMP_S: f64 = 1.0;
/// What a step leaves outstanding is waited for no longer than this, s.
const DRAIN_S: f64 = 20.0;
/// Unanswered sends a session may have, unless the scenario says.
const IN_FLIGHT: u32 = 4_096;

/// Why a step could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The run could not begin.
    #[error("{0}")]
    Run(#[from] Failure),
    /// Its scenario cannot be kept.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its scenario is impossible.
    #[error("{0}")]
    Scenario(String),
    /// Its report cannot be read.
    #[error("{0}")]
    Report(#[from] Unread),
}

/// Runs steps.
pub struct RealRig<'a> {
    /// The scenario whose rate is varied.
    pub scenario: Scenario,
    /// Length of a step's steady phase, s.
    pub step_s: f64,
    /// The latency budget, µs.
    pub budget_p99_us: u64,
    /// Server or target of every step.
    pub options: Options,
    /// Where the steps' folders go.
    pub out: PathBuf,
    /// Ctrl-C.
    pub interrupted: &'a Arc<AtomicBool>,
    /// Told after each step.
    pub told: fn(&Step),
    /// Steps made.
    pub made: usize,
}

/// A scenario with a step's load, which has been checked.
///
/// # Errors
/// What is impossible, by its key.
pub fn scenario_of(base: &Scenario, asked: Asked, step_s: f64) -> Result<Scenario, String> {
    let mut step = base.clone();
    let load = &mut step.load;
    if !load.sends() {
        return Err("the scenario sends no messages: a knee needs load.mode = \"open\" or \"closed\"".to_owned());
    }
    if !step.behaviours.is_empty() {
        return Err("the scenario has [[behaviour]]s: a knee is of a steady load, leave them out".to_owned());
    }
    load.steps.clear();
    load.think = None;
    load.steady_s = step_s;
    load.ramp_s = load.ramp_s.min(RAMP_S);
    load.cool_down_s = 0.0;
    load.drain_s = load.drain_s.min(DRAIN_S);
    load.messages = None;
    match asked {
        Asked::Rate(rate) => (load.mode, load.rate, load.in_flight) = (Mode::Open, Some(rate), None),
        Asked::Concurrency(concurrency) => {
            let users = concurrency.clamp(2, u64::from(load.users)) as u32 / 2 * 2;
            load.users = users;
            load.peers = load.peers.min(users - 1);
            let in_flight = u32::try_from(concurrency / u64::from(users)).unwrap_or(u32::MAX).max(1);
            (load.mode, load.rate, load.in_flight) = (Mode::Closed, None, Some(in_flight));
        }
    }
    step.thresholds = Thresholds::default();
    let limits = &mut step.server.limits;
    limits.in_flight_per_session.get_or_insert(IN_FLIGHT);
    limits.sends_per_second_per_user.get_or_insert(0);
    limits.burst_per_user.get_or_insert(0);
    let text = toml::to_string(&step).map_err(|error| error.to_string())?;
    Scenario::parse(&text)
}

/// The concurrency a closed scenario holds.
fn concurrency(scenario: &Scenario) -> u64 {
    u64::from(scenario.load.users) * u64::from(scenario.load.in_flight.unwrap_or(1))
}

impl RealRig<'_> {
    fn run(&mut self, asked: Asked, judge: impl Fn(&Recorded) -> Judged) -> Result<Step, StepError> {
        let scenario = scenario_of(&self.scenario, asked, self.step_s).map_err(StepError::Scenario)?;
        self.made += 1;
        let (asked, load) = match asked {
            Asked::Rate(rate) => (asked, format!("open-{rate:.0}")),
            Asked::Concurrency(_) => {
                let held = concurrency(&scenario);
                (Asked::Concurrency(held), format!("closed-{held}"))
            }
        };
        let folder = format!("steps/{:02}-{load}", self.made);
        let out = self.out.join(&folder);
        let path = out.join("scenario.toml");
        let text = toml::to_string(&scenario).map_err(|error| StepError::Scenario(error.to_string()))?;
        let write = |source| StepError::Write { path: path.clone(), source };
        fs::create_dir_all(&out).map_err(write)?;
        fs::write(&path, text).map_err(write)?;
        let outputs = Outputs { folder: out.clone(), ..Outputs::default() };
        run::run(&Options { scenario: path.clone(), outputs, ..self.options.clone() }, self.interrupted)?;
        let report = Recorded::read(&out.join(outputs::JSON))?;
        let step = Step { asked, judged: judge(&report), figures: figures(&report), folder };
        (self.told)(&step);
        Ok(step)
    }
}

impl Rig for RealRig<'_> {
    type Error = StepError;

    fn open(&mut self, rate: f64) -> Result<Step, StepError> {
        let budget = self.budget_p99_us;
        self.run(Asked::Rate(rate), |report| judge_open(report, rate, budget))
    }

    fn closed(&mut self, concurrency: u64) -> Result<Step, StepError> {
        // A closed load is never too fast: a busy generator only lowers the throughput, which the figures say.
        self.run(Asked::Concurrency(concurrency), |report| judge_any(report).unwrap_or(Judged::Holds))
    }
}
