//! The controller: starts the phases, samples every second, shows progress, looks at the server, sees the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fabric::time::{Clock as _, SystemClock};

use super::sample::Sampler;
use super::waits_for_all;
use crate::live::{Live, View};
use crate::measure::Shown;
use crate::observe::host::Ticks;
use crate::observe::kernel::Kernel;
use crate::observe::stages::{self, Scrape};
use crate::plan::{Plan, ns};
use crate::report::{Phase, PhaseSpan, Sample};
use crate::server::proc;

/// Receipts of groups may not all be owed: none that has come for so long is waited for longer, ns. Marks that were dropped on
/// their way are asked for again within 10 s.
const RECEIPTS_QUIET_NS: u64 = 15_000_000_000;
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

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
    /// This process: CPU of all its threads, s.
    pub own_cpu_s: Option<f64>,
    /// This host's cores.
    pub host: Option<Ticks>,
    /// This host's memory for sockets.
    pub kernel: Option<Kernel>,
}

/// A question for the server's stages that may be under way.
type Asked = JoinHandle<Result<Scrape, String>>;

/// Counters summed over the workers.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // as in `Shown`
pub struct Sums {
    pub sent: u64,
    pub acked: u64,
    pub delivered: u64,
    pub wanted: u64,
    pub joined: u64,
    pub refused: u64,
    pub errors: u64,
    pub authenticated: u64,
    pub connects: u64,
}

/// What the controller saw.
#[derive(Debug, Default)]
pub struct Watched {
    /// At the begin of the steady phase; absent when it was never reached.
    pub steady_start: Option<Mark>,
    /// At its end.
    pub steady_end: Option<Mark>,
    /// The fewest authenticated in any second of it.
    pub held: Option<u64>,
    /// Messages on their way, added up over the looks of the steady phase; how many looks.
    pub in_flight: (u64, u64),
    /// Ctrl-C.
    pub interrupted: bool,
    /// Not everybody was authenticated in time.
    pub not_connected: Option<u64>,
    /// Not every membership of a group had begun in time.
    pub not_joined: Option<u64>,
    /// When each phase was.
    pub phases: Vec<PhaseSpan>,
    /// Second by second.
    pub series: Vec<Sample>,
    /// The server's stages at both ends of the steady phase; an error says why there are none.
    pub stages: Option<Result<(Scrape, Scrape), String>>,
}

/// What a run is watched by.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The server's processes.
    pub pids: Vec<u32>,
    /// Where they tell their metrics.
    pub https: Vec<SocketAddr>,
    /// Show no progress.
    pub quiet: bool,
}

/// Watches a run.
pub struct Watch<'a> {
    plan: &'a Plan,
    shown: &'a [Arc<Shown>],
    sight: Sight,
    interrupted: &'a AtomicBool,
    live: Live,
    watched: Watched,
    sampler: Sampler,
    asked: [Option<Asked>; 2],
    begun_ns: u64,
    drain_from_ns: Option<u64>,
    drain_until_ns: Option<u64>,
    /// Receipts of groups that are to come, and since when so many.
    group_receipts: (u64, u64),
}

impl<'a> Watch<'a> {
    /// Nothing seen yet.
    pub fn new(plan: &'a Plan, shown: &'a [Arc<Shown>], sight: Sight, interrupted: &'a AtomicBool) -> Self {
        let now = SystemClock.now().mono_ns;
        Self {
            plan,
            shown,
            interrupted,
            live: if sight.quiet { Live::silent() } else { Live::on_stderr() },
            watched: Watched::default(),
            sampler: Sampler::new(now, &sight.pids),
            sight,
            asked: [None, None],
            begun_ns: now,
            drain_from_ns: None,
            drain_until_ns: None,
            group_receipts: (0, now),
        }
    }

    /// Until everything is sent and has arrived, or time is up; workers are told to leave. `server` is called with every
    /// look and the time, ns of the monotonic clock; it sees to the server and keeps its processes' ids right.
    pub fn until_the_end(mut self, mut server: impl FnMut(u64, &mut [u32])) -> Watched {
        loop {
            std::thread::sleep(LOOK_EVERY);
            let now = SystemClock.now().mono_ns;
            server(now, &mut self.sight.pids);
            self.sampler.follow(&self.sight.pids);
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
            if self.sampler.is_due(now) {
                let sample = self.sample(now, sums);
                self.sampler.series.push(sample);
            }
            if ended || self.plan.phases.broken().is_some() {
                break;
            }
        }
        let now = SystemClock.now().mono_ns;
        let rest = self.sample(now, self.sums());
        self.sampler.series.push_rest(rest);
        self.finish(now);
        self.watched
    }

    /// Workers are told to leave; what is still asked for is waited for.
    fn finish(&mut self, now: u64) {
        self.plan.phases.stop();
        self.live.end();
        self.watched.phases = self.spans(now);
        self.watched.series = core::mem::take(&mut self.sampler.series).into_samples();
        if let [Some(begin), Some(end)] = core::mem::take(&mut self.asked) {
            let answer = |asked: Asked| asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            self.watched.stages = Some(answer(begin).and_then(|begin| Ok((begin, answer(end)?))));
        }
    }

    /// Starts the ramp once everybody is there. `true`: it is over.
    fn connecting(&mut self, now: u64, sums: Sums) -> bool {
        let wanted = u64::from(self.plan.load.users);
        if self.watched.interrupted {
            return true;
        }
        let (there, joined) = (sums.authenticated >= wanted, sums.joined >= self.plan.groups.memberships());
        if !waits_for_all(self.plan) || there && joined {
            self.plan.phases.start(now + self.plan.phases.lead_ns());
        } else if now > self.begun_ns + ns(self.plan.load.connect_timeout_s) {
            if there {
                self.watched.not_joined = Some(self.plan.groups.memberships() - sums.joined);
            } else {
                self.watched.not_connected = Some(wanted - sums.authenticated);
            }
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
            self.asked[0] = self.ask_stages();
            for shown in self.shown {
                shown.take_authenticated_min();
            }
        }
        if self.watched.steady_start.is_some() && self.watched.steady_end.is_none() {
            let fewest = self.shown.iter().map(|s| s.take_authenticated_min()).sum();
            self.watched.held = Some(self.watched.held.map_or(fewest, |held| held.min(fewest)));
            self.watched.in_flight.0 += sums.wanted.saturating_sub(sums.delivered);
            self.watched.in_flight.1 += 1;
            if now >= steady.end || exhausted || phases.is_cut() {
                self.watched.steady_end = Some(self.mark(now, sums));
                self.asked[1] = self.ask_stages();
            }
        }
        if now < end && !exhausted && !phases.is_cut() {
            return false;
        }
        self.drain_from_ns.get_or_insert(now);
        let until = *self.drain_until_ns.get_or_insert(now + ns(self.plan.load.drain_s));
        // A worker sends its last message before it says that it is exhausted, so the sums are final then.
        let settled = !self.plan.load.sends()
            || exhausted && sums.acked + sums.refused == sums.sent && sums.delivered >= sums.wanted;
        // A receipt is due before its message counts as acknowledged.
        let waiting = |of: fn(&Shown) -> &AtomicU64| self.shown.iter().any(|s| of(s).load(Ordering::Acquire) > 0);
        let back = self.watched.interrupted || !waiting(|s| &s.away);
        let told = !waiting(|s| &s.receipts_due) && self.groups_are_told(now);
        settled && back && told || now >= until
    }

    /// Whether all receipts of groups have come, or no more come.
    fn groups_are_told(&mut self, now: u64) -> bool {
        let due = self.shown.iter().map(|s| s.group_receipts_due.load(Ordering::Acquire)).sum();
        if due != self.group_receipts.0 {
            self.group_receipts = (due, now);
        }
        due == 0 || now >= self.group_receipts.1 + RECEIPTS_QUIET_NS
    }

    /// Asks for the server's stages, when it is known where.
    fn ask_stages(&self) -> Option<Asked> {
        let places = self.sight.https.iter().enumerate();
        // Where a listener's certificate is for a name, it is that of the target named in the same place.
        let places = places.map(|(place, http)| (*http, self.plan.targets.at(place).secure.clone()));
        (!self.sight.https.is_empty()).then(|| stages::ask(places.collect()))
    }

    fn sums(&self) -> Sums {
        let sum = |of: fn(&Shown) -> u64| self.shown.iter().map(|shown| of(shown)).sum();
        // Delivered before acked before sent: each is at most the next.
        Sums {
            delivered: sum(|s| s.delivered.load(Ordering::Acquire)),
            acked: sum(|s| s.acked.load(Ordering::Acquire)),
            refused: sum(|s| s.refused.load(Ordering::Acquire)),
            sent: sum(|s| s.sent.load(Ordering::Acquire)),
            wanted: sum(|s| s.wanted.load(Ordering::Acquire)),
            joined: sum(|s| s.joined.load(Ordering::Acquire)),
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
            server: proc::look_all(&self.sight.pids),
            own_cpu_s: proc::glance(std::process::id()).map(|(cpu_s, _)| cpu_s),
            host: Ticks::now(),
            kernel: Kernel::now(),
        }
    }

    fn phase(&self, now: u64) -> Phase {
        match self.plan.phases.steady() {
            _ if self.drain_from_ns.is_some() => Phase::Drain,
            Some(steady) if now < steady.start => Phase::Ramp,
            Some(steady) if now < steady.end => Phase::Steady,
            Some(_) => Phase::CoolDown,
            None => Phase::Connecting,
        }
    }

    /// When each phase was, s since the begin; one that took no time is left out.
    fn spans(&self, now: u64) -> Vec<PhaseSpan> {
        let (phases, end) = (&self.plan.phases, self.drain_from_ns.unwrap_or(now));
        let steady = phases.steady().unwrap_or(now..now);
        let begins = [
            (Phase::Connecting, self.begun_ns),
            (Phase::Ramp, phases.started().unwrap_or(now)),
            (Phase::Steady, steady.start),
            (Phase::CoolDown, steady.end),
            (Phase::Drain, end),
        ];
        let ends = begins.iter().skip(1).map(|begin| begin.1).chain([now]);
        let since_begin = |at: u64| at.min(now).saturating_sub(self.begun_ns) as f64 / 1e9;
        let cut = |phase: Phase, at: u64| if phase == Phase::Drain { at } else { at.min(end) };
        let spans = begins.into_iter().zip(ends).map(|((phase, from), to)| PhaseSpan {
            phase,
            from_s: since_begin(cut(phase, from)),
            to_s: since_begin(cut(phase, to)),
        });
        spans.filter(|span| span.to_s > span.from_s).collect()
    }

    /// Takes the second that has passed, and shows it.
    fn sample(&mut self, now: u64, sums: Sums) -> Sample {
        let phase = self.phase(now);
        let sample = self.sampler.take(now, phase, sums, self.shown);
        let until = self.drain_until_ns.or(self.plan.phases.end());
        let view = View {
            sample: &sample,
            load: &self.plan.load,
            sums,
            left_s: until.map(|until| until.saturating_sub(now) as f64 / 1e9),
            since_begin_s: now.saturating_sub(self.begun_ns) as f64 / 1e9,
        };
        self.live.show(&view);
        sample
    }
}
