//! A circuit breaker in a writer's way to its store: while the store does not answer, nobody waits for it to say so again.
//!
//! Closed, everything passes. After [`FAILURES`] failures in a row, or when blocks get no answer at all for [`SILENCE_NS`], it
//! opens: calls fail at once. After [`OPEN_NS`] one call may try, and how that goes closes it or keeps it open. What must stay
//! true: open or not, whoever goes on trying is let through in the end; and one success is enough to close it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use fabric::mutex::lock;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// So many failures in a row open it: fewer happen while a node of a cluster restarts.
pub const FAILURES: u32 = 3;
/// Blocks that have had no answer for so long open it, ns; the driver waits longer for each before it gives up.
pub const SILENCE_NS: u64 = 3_000_000_000;
/// It stays open for so long before one call tries, ns.
pub const OPEN_NS: u64 = 1_000_000_000;
/// A call that tries and does not end for so long does not keep others from trying, ns.
pub const PROBE_NS: u64 = 15_000_000_000;

/// Where a breaker stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum BreakerState {
    /// The store answers.
    #[default]
    Closed = 0,
    /// One call tries.
    HalfOpen = 1,
    /// It does not answer; calls fail at once.
    Open = 2,
}

impl BreakerState {
    /// For people and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// How a call went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The store has answered.
    Answered,
    /// It has not, or said that it cannot.
    Away,
    /// The call says nothing about that.
    Unknown,
}

/// A call that was let through; [`Machine::done`] takes it back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pass {
    probes: bool,
}

/// The breaker itself, sans-IO.
#[derive(Debug, Default)]
pub struct Machine {
    state: BreakerState,
    failures: u32,
    /// Open: one call may try then. Half-open: another one may. ns.
    until_ns: u64,
}

impl Machine {
    /// Where it stands.
    pub const fn state(&self) -> BreakerState {
        self.state
    }

    /// Open: when a call may try, ns.
    pub const fn until_ns(&self) -> u64 {
        self.until_ns
    }

    /// Whether a call may go to the store.
    pub const fn admit(&mut self, now_ns: u64) -> Option<Pass> {
        match self.state {
            BreakerState::Closed => Some(Pass { probes: false }),
            BreakerState::Open | BreakerState::HalfOpen if self.until_ns <= now_ns => {
                (self.state, self.until_ns) = (BreakerState::HalfOpen, now_ns + PROBE_NS);
                Some(Pass { probes: true })
            }
            BreakerState::Open | BreakerState::HalfOpen => None,
        }
    }

    /// A call has ended.
    pub const fn done(&mut self, now_ns: u64, pass: Pass, outcome: Outcome) {
        match (outcome, self.state) {
            // Also of one that was let through long ago.
            (Outcome::Answered, _) => (self.state, self.failures) = (BreakerState::Closed, 0),
            (Outcome::Away, BreakerState::Closed) => {
                self.failures += 1;
                if self.failures >= FAILURES {
                    self.trip(now_ns);
                }
            }
            (Outcome::Away, BreakerState::HalfOpen) if pass.probes => self.trip(now_ns),
            (Outcome::Unknown, BreakerState::HalfOpen) if pass.probes => {
                (self.state, self.until_ns) = (BreakerState::Open, now_ns);
            }
            _ => {}
        }
    }

    /// The store is known not to answer.
    pub const fn trip(&mut self, now_ns: u64) {
        (self.state, self.until_ns, self.failures) = (BreakerState::Open, now_ns + OPEN_NS, 0);
    }
}

/// A breaker that all partitions of a writer share. Any thread; the lock is held for a few instructions.
#[derive(Debug, Default)]
pub struct Breaker {
    machine: Mutex<Machine>,
    /// The machine's, so that a look costs no lock.
    state: AtomicU8,
    until_ns: AtomicU64,
    /// Blocks on their way, and since when none has had an answer, ns.
    blocks: Mutex<(u32, u64)>,
    /// As in `blocks`; 0 = none is on its way.
    silent_since_ns: AtomicU64,
    gauge: Gauge,
    opened: Counter,
    rejected: Counter,
}

impl Breaker {
    /// Makes it visible in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "The way to the store: 0 closed, 1 half-open, 2 open (sends are queued)";
        registry.register("store_breaker", help, self.gauge.clone());
        registry.register("store_breaker_opened", "Times the way to the store was opened", self.opened.clone());
        let help = "Calls of the store that failed at once, because it does not answer";
        registry.register("store_breaker_rejected", help, self.rejected.clone());
    }

    /// Where it stands.
    pub fn state(&self) -> BreakerState {
        match self.state.load(Ordering::Acquire) {
            0 => BreakerState::Closed,
            1 => BreakerState::HalfOpen,
            _ => BreakerState::Open,
        }
    }

    /// Whether the store is away as far as anybody knows: what needs it would wait or fail. `tries`: whoever asks has something
    /// under way that will try it anyhow; else it is for them to try when it is time.
    pub fn is_away(&self, now_ns: u64, tries: bool) -> bool {
        match self.state() {
            BreakerState::Closed => {
                let since_ns = self.silent_since_ns.load(Ordering::Acquire);
                let silent = since_ns > 0 && now_ns.saturating_sub(since_ns) >= SILENCE_NS;
                if silent {
                    self.change(|machine| machine.trip(now_ns));
                }
                silent
            }
            BreakerState::HalfOpen => true,
            BreakerState::Open => tries || now_ns < self.until_ns.load(Ordering::Acquire),
        }
    }

    /// When whoever has nothing under way may try, ns; `None` while nobody has to wait for that.
    pub fn tries_at_ns(&self) -> Option<u64> {
        (self.state() == BreakerState::Open).then(|| self.until_ns.load(Ordering::Acquire))
    }

    /// Whether a call may go to the store; then [`Self::done`] has to follow.
    pub fn admit(&self, now_ns: u64) -> Option<Pass> {
        if self.state() == BreakerState::Closed {
            return Some(Pass { probes: false });
        }
        let pass = self.change(|machine| machine.admit(now_ns));
        if pass.is_none() {
            self.rejected.inc();
        }
        pass
    }

    /// A call has ended.
    pub fn done(&self, now_ns: u64, pass: Pass, outcome: Outcome) {
        self.change(|machine| machine.done(now_ns, pass, outcome));
    }

    /// A block is on its way.
    pub fn block_begins(&self, now_ns: u64) {
        let mut blocks = lock(&self.blocks);
        if blocks.0 == 0 {
            blocks.1 = now_ns.max(1);
        }
        blocks.0 += 1;
        self.silent_since_ns.store(blocks.1, Ordering::Release);
    }

    /// It is not any more.
    pub fn block_ends(&self, now_ns: u64) {
        let mut blocks = lock(&self.blocks);
        *blocks = (blocks.0.saturating_sub(1), now_ns.max(1));
        self.silent_since_ns.store(if blocks.0 == 0 { 0 } else { blocks.1 }, Ordering::Release);
    }

    fn change<T>(&self, act: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = lock(&self.machine);
        let before = machine.state();
        let done = act(&mut machine);
        let after = machine.state();
        self.until_ns.store(machine.until_ns(), Ordering::Release);
        if before != after {
            self.state.store(after as u8, Ordering::Release);
            self.gauge.set(after as i64);
            match (before, after) {
                (BreakerState::Closed, BreakerState::Open) => {
                    self.opened.inc();
                    tracing::warn!("the store does not answer; it is tried once a second until it does");
                }
                (_, BreakerState::Closed) => tracing::info!("the store answers again"),
                _ => {}
            }
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const S: u64 = 1_000_000_000;

    fn fail(machine: &mut Machine, now_ns: u64) -> bool {
        machine.admit(now_ns).map(|pass| machine.done(now_ns, pass, Outcome::Away)).is_some()
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only_and_lets_one_call_try() {
        let mut machine = Machine::default();
        for _ in 0..4 {
            assert!(fail(&mut machine, S) && fail(&mut machine, S));
            let pass = machine.admit(S).expect("closed");
            machine.done(S, pass, Outcome::Answered);
        }
        assert!((0..FAILURES).all(|_| fail(&mut machine, S)));
        assert_eq!(machine.state(), BreakerState::Open);
        assert!(!fail(&mut machine, S + OPEN_NS - 1));
        let probe = machine.admit(S + OPEN_NS).expect("it is time");
        assert_eq!((machine.state(), machine.admit(S + OPEN_NS)), (BreakerState::HalfOpen, None), "one at a time");
        machine.done(2 * S, probe, Outcome::Away);
        assert_eq!(machine.admit(2 * S), None);
        let probe = machine.admit(2 * S + OPEN_NS).expect("it is time again");
        machine.done(4 * S, probe, Outcome::Answered);
        assert_eq!(machine.state(), BreakerState::Closed);
    }

    #[test]
    fn a_probe_that_says_nothing_or_never_ends_does_not_keep_it_open() {
        let mut machine = Machine::default();
        machine.trip(0);
        let probe = machine.admit(OPEN_NS).expect("it is time");
        machine.done(OPEN_NS, probe, Outcome::Unknown);
        machine.admit(OPEN_NS).expect("the next one at once");
        assert_eq!(machine.admit(OPEN_NS + PROBE_NS - 1), None);
        assert!(machine.admit(OPEN_NS + PROBE_NS).is_some());
    }

    #[test]
    fn blocks_without_an_answer_open_it_before_they_fail() {
        let breaker = Breaker::default();
        breaker.block_begins(S);
        breaker.block_begins(2 * S);
        breaker.block_ends(3 * S);
        assert!(!breaker.is_away(3 * S + SILENCE_NS - 1, true), "one had an answer");
        assert!(breaker.is_away(3 * S + SILENCE_NS, true));
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker.block_ends(8 * S);
        let pass = breaker.admit(8 * S).expect("it is time");
        breaker.done(8 * S, pass, Outcome::Answered);
        assert!(!breaker.is_away(100 * S, true), "nothing is on its way");
    }

    proptest! {
        /// However calls overlap and end: nothing passes while it is open and it is not time, and once the store answers,
        /// whoever goes on trying closes it.
        #[test]
        fn whoever_goes_on_trying_is_let_through(
            steps in vec((0u64..3 * S, any::<prop::sample::Index>(), 0u8..3, any::<bool>()), 1..200)
        ) {
            let (mut machine, mut now_ns, mut passes) = (Machine::default(), 1, Vec::new());
            for (wait_ns, which, outcome, begins) in steps {
                now_ns += wait_ns;
                if begins || passes.is_empty() {
                    let (state, until_ns) = (machine.state(), machine.until_ns());
                    let pass = machine.admit(now_ns);
                    prop_assert_eq!(pass.is_some(), state == BreakerState::Closed || until_ns <= now_ns);
                    passes.extend(pass);
                } else {
                    let pass = passes.swap_remove(which.index(passes.len()));
                    machine.done(now_ns, pass, [Outcome::Answered, Outcome::Away, Outcome::Unknown][usize::from(outcome)]);
                }
            }
            let pass = machine.admit(now_ns + PROBE_NS).expect("nobody is kept out for longer");
            machine.done(now_ns + PROBE_NS, pass, Outcome::Answered);
            prop_assert_eq!(machine.state(), BreakerState::Closed);
        }
    }
}
