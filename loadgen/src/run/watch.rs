//! The controller: starts the phases, shows the live line, looks at the server, sees the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fabric::time::{Clock as _, SystemClock};

use super::waits_for_all;
use crate::live::{Line, Live};
use crate::measure::{Latencies, Shown};
use crate::plan::{Plan, ns};
use crate::server::proc;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const SECOND_NS: u64 = 1_000_000_000;
/// Workers get ready for the ramp within so long, ns.
const LEAD_NS: u64 = 50_000_000;

/// One look at everything.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    /// When, ns of the monotonic clock.
    pub at_ns: u64,
    /// Sums over the workers.
    pub sums: Sums,
    /// CPU of each worker, ns.
    pub workers_cpu_ns: Vec<u64>,
    /// How long each was ready and waited for a core, ns.
    pub workers_waited_ns: Vec<u64>,
    /// The server's process.
    pub server: Option<proc::Look>,
}

/// Counters summed over the workers.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // as in `Shown`
pub struct Sums {
    pub sent: u64,
    pub acked: u64,
    pub delivered: u64,
    pub refused: u64,
    pub errors: u64,
    pub authenticated: u64,
    pub connects: u64,
}

/// What the controller saw.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// At the begin of the steady phase; absent when it was never reached.
    pub steady_start: Option<Mark>,
    /// At its end.
    pub steady_end: Option<Mark>,
    /// The fewest authenticated in any second of it.
    pub held: Option<u64>,
    /// Ctrl-C.
    pub interrupted: bool,
    /// Not everybody was authenticated in time.
    pub not_connected: Option<u64>,
}

/// Watches a run.
pub struct Watch<'a> {
    plan: &'a Plan,
    shown: &'a [Arc<Shown>],
    pid: Option<u32>,
    interrupted: &'a AtomicBool,
    live: Live,
    watched: Watched,
    latencies: Latencies,
    next_line_ns: u64,
    last: Sums,
    begun_ns: u64,
    drain_until_ns: Option<u64>,
}

impl<'a> Watch<'a> {
    /// Nothing seen yet.
    pub fn new(plan: &'a Plan, shown: &'a [Arc<Shown>], pid: Option<u32>, interrupted: &'a AtomicBool) -> Self {
        let now = SystemClock.now().mono_ns;
        Self {
            plan,
            shown,
            pid,
            interrupted,
            live: Live::default(),
            watched: Watched::default(),
            latencies: Latencies::default(),
            next_line_ns: now + SECOND_NS,
            last: Sums::default(),
            begun_ns: now,
            drain_until_ns: None,
        }
    }

    /// Until everything is sent and has arrived, or time is up; workers are told to leave.
    pub fn until_the_end(mut self) -> Watched {
        loop {
            std::thread::sleep(LOOK_EVERY);
            let now = SystemClock.now().mono_ns;
            if self.interrupted.swap(false, Ordering::AcqRel) {
                if self.watched.interrupted {
                    break; // the second Ctrl-C: not even the drain
                }
                self.watched.interrupted = true;
                self.plan.phases.cut();
            }
            let sums = self.sums();
            let ended = match self.plan.phases.started() {
                None => self.connecting(now, sums),
                Some(_) => self.loaded(now, sums),
            };
            if now >= self.next_line_ns {
                self.line(now, sums);
            }
            if ended {
                break;
            }
        }
        self.plan.phases.stop();
        self.live.end();
        self.watched
    }

    /// Starts the ramp once everybody is there. `true`: it is over.
    fn connecting(&mut self, now: u64, sums: Sums) -> bool {
        let wanted = u64::from(self.plan.load.users);
        if self.watched.interrupted {
            return true;
        }
        if !waits_for_all(self.plan.load.mode) || sums.authenticated >= wanted {
            self.plan.phases.start(now + LEAD_NS);
        } else if now > self.begun_ns + ns(self.plan.load.connect_timeout_s) {
            self.watched.not_connected = Some(wanted - sums.authenticated);
            return true;
        }
        false
    }

    /// Ramp, steady, cool-down, drain. `true`: it is over.
    fn loaded(&mut self, now: u64, sums: Sums) -> bool {
        let phases = &self.plan.phases;
        let (Some(steady), Some(end)) = (phases.steady(), phases.end()) else { return false };
        let exhausted = self.shown.iter().all(|s| s.exhausted.load(Ordering::Acquire));
        if now >= steady.start && self.watched.steady_start.is_none() {
            self.watched.steady_start = Some(self.mark(now, sums));
            for shown in self.shown {
                shown.take_authenticated_min();
            }
        }
        if self.watched.steady_start.is_some() && self.watched.steady_end.is_none() {
            let fewest = self.shown.iter().map(|s| s.take_authenticated_min()).sum();
            self.watched.held = Some(self.watched.held.map_or(fewest, |held| held.min(fewest)));
            if now >= steady.end || exhausted || phases.is_cut() {
                self.watched.steady_end = Some(self.mark(now, sums));
            }
        }
        if now < end && !exhausted && !phases.is_cut() {
            return false;
        }
        let until = *self.drain_until_ns.get_or_insert(now + ns(self.plan.load.drain_s));
        // A worker sends its last message before it says that it is exhausted, so the sums are final then.
        let settled = !self.plan.load.sends()
            || (exhausted || phases.is_cut())
                && sums.acked + sums.refused == sums.sent
                && sums.delivered + sums.refused >= sums.sent;
        settled || now >= until
    }

    fn sums(&self) -> Sums {
        let sum = |of: fn(&Shown) -> u64| self.shown.iter().map(|shown| of(shown)).sum();
        // Delivered before acked before sent: each is at most the next.
        Sums {
            delivered: sum(|s| s.delivered.load(Ordering::Acquire)),
            acked: sum(|s| s.acked.load(Ordering::Acquire)),
            refused: sum(|s| s.refused.load(Ordering::Acquire)),
            sent: sum(|s| s.sent.load(Ordering::Acquire)),
            errors: sum(|s| s.errors.load(Ordering::Relaxed)),
            authenticated: sum(|s| s.authenticated.load(Ordering::Relaxed)),
            connects: sum(|s| s.connects.load(Ordering::Relaxed)),
        }
    }

    fn mark(&self, at_ns: u64, sums: Sums) -> Mark {
        Mark {
            at_ns,
            sums,
            workers_cpu_ns: self.shown.iter().map(|s| s.cpu_ns.load(Ordering::Relaxed)).collect(),
            workers_waited_ns: self.shown.iter().map(|s| s.waited_ns.load(Ordering::Relaxed)).collect(),
            server: self.pid.and_then(proc::look),
        }
    }

    fn line(&mut self, now: u64, sums: Sums) {
        self.next_line_ns += SECOND_NS;
        self.latencies.clear();
        for shown in self.shown {
            shown.take_latencies(&mut self.latencies);
        }
        let phases = &self.plan.phases;
        let phase = match (phases.steady(), phases.end()) {
            _ if self.drain_until_ns.is_some() => "drain",
            (Some(steady), _) if now < steady.start => "ramp",
            (Some(steady), _) if now < steady.end => "steady",
            (Some(_), _) => "cool-down",
            _ => "connecting",
        };
        let until = self.drain_until_ns.or(phases.end()).unwrap_or(now);
        let rate = if self.plan.load.sends() {
            sums.delivered - self.last.delivered
        } else {
            sums.connects - self.last.connects
        };
        let line = Line {
            phase,
            authenticated: (sums.authenticated, u64::from(self.plan.load.users)),
            rate,
            sent: sums.sent,
            acked: sums.acked,
            delivered: sums.delivered,
            errors: sums.errors,
            left_s: until.saturating_sub(now) / SECOND_NS,
        };
        self.last = sums;
        self.live.show(&line, &self.latencies);
    }
}
