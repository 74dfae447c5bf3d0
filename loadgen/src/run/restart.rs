//! Restarts of the throwaway server, by the controller: one step a look, never a wait.
//!
//! Everything is done on the controller's thread, for a server started by way of the load generator ends with the thread that
//! started it.

use crate::behave::Restart;
use crate::behave::happened::ServerReturn;
use crate::behave::restart::Signal;
use crate::plan::{Phases, Plan};
use crate::server::Server;

/// A server that has not ended so long after SIGTERM is killed, ns.
const STOP_WITHIN_NS: u64 = 30_000_000_000;

/// Where one restart stands. Times are ns of the monotonic clock.
enum Step {
    Waiting,
    Stopping { since: u64 },
    Down { until: u64 },
    Starting,
    Over,
}

/// The restarts of a run.
pub struct Restarts {
    all: Vec<(usize, Restart, Step, ServerReturn)>,
}

impl Restarts {
    /// Those of the plan, none begun.
    pub fn new(plan: &Plan) -> Self {
        let of = |(index, behaviour): (usize, &dyn crate::behave::Behaviour)| {
            Some((index, behaviour.restart()?.clone(), Step::Waiting, ServerReturn::default()))
        };
        Self { all: plan.behaviours.restarts().filter_map(of).collect() }
    }

    /// Does the next step of the one whose time it is.
    pub fn look(&mut self, now: u64, phases: &Phases, server: &mut Server) {
        let Some(start) = phases.started() else { return };
        let sending_ends = if phases.is_cut() { 0 } else { phases.end().unwrap_or(0) };
        if let Some((_, restart, step, seen)) = self.all.iter_mut().find(|one| !matches!(one.2, Step::Over)) {
            let due = now >= start + restart.at && (now < sending_ends || !matches!(step, Step::Waiting));
            if due {
                let at_s = now.saturating_sub(start) as f64 / 1e9;
                *step = next(step, restart, seen, (now, at_s), server);
            }
        }
    }

    /// What became of those that were begun, by their place among the behaviours.
    pub fn done(self) -> Vec<(usize, ServerReturn)> {
        let begun = self.all.into_iter().filter(|(.., step, _)| !matches!(step, Step::Waiting));
        begun.map(|(index, _, _, seen)| (index, seen)).collect()
    }
}

fn next(step: &Step, restart: &Restart, seen: &mut ServerReturn, (now, at_s): (u64, f64), server: &mut Server) -> Step {
    match *step {
        Step::Waiting => {
            seen.stopped_s = at_s;
            server.signal(restart.signal == Signal::Kill);
            Step::Stopping { since: now }
        }
        Step::Stopping { since } => match server.ended() {
            Some(status) => {
                seen.ended_s = Some(at_s);
                seen.status = Some(status.to_string());
                Step::Down { until: now + restart.down }
            }
            None => {
                if now > since + STOP_WITHIN_NS {
                    server.signal(true);
                }
                Step::Stopping { since }
            }
        },
        Step::Down { until } if now < until => Step::Down { until },
        Step::Down { .. } => match server.start_again() {
            Ok(()) => {
                seen.started_s = Some(at_s);
                Step::Starting
            }
            Err(failure) => {
                seen.failed = Some(failure.to_string());
                Step::Over
            }
        },
        Step::Starting => match server.is_ready() {
            None => Step::Starting,
            Some(Ok(())) => {
                seen.ready_s = Some(at_s);
                Step::Over
            }
            Some(Err(failure)) => {
                seen.failed = Some(failure.to_string());
                Step::Over
            }
        },
        Step::Over => Step::Over,
    }
}
