//! Spans of traced messages, on their way from the shards to whoever sends them away.
//!
//! A message that is traced carries its trace's id in its envelope; each process tells what it did with it, by its own clock.
//! What must stay true: a shard never waits for whoever takes spans, what has no room is counted and gone, and nothing in a
//! span is a user's: no id of a user, chat or message, no content.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use schema::envelope::Trace;

use crate::time::Now;

/// Spans that may wait; 64 bytes each.
const WAITING: usize = 8_192;

/// What a process did with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Step {
    /// A gateway had it from its arrival until its acknowledgement: the whole of its trace's time that the sender sees.
    Send,
    /// Its owner had ordered it, until it was durable.
    Commit,
    /// A router found its recipients.
    Route,
    /// A gateway gave it to a receiver's connection.
    Deliver,
}

impl Step {
    /// Its span's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "gateway send",
            Self::Commit => "storage-writer commit",
            Self::Route => "router route",
            Self::Deliver => "gateway deliver",
        }
    }
}

/// One step of one traced message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The trace's id, not 0.
    pub trace: u128,
    /// Its own id, not 0.
    pub id: u64,
    /// The span that caused it; 0 = none.
    pub parent: u64,
    /// What was done.
    pub step: Step,
    /// Wall clock, ns since 1970.
    pub start_ns: u64,
    /// Wall clock, ns since 1970; not before `start_ns`.
    pub end_ns: u64,
}

#[derive(Debug)]
struct Inner {
    waiting: ArrayQueue<Span>,
    /// Of this process: its spans' ids are its own.
    seed: u64,
    recorded: Counter,
    dropped: Counter,
}

/// Where shards leave spans. Clones share it; any thread.
#[derive(Clone, Debug)]
pub struct Spans(Arc<Inner>);

/// A number that depends on all bits of both, and is not 0.
const fn mix(one: u64, other: u64) -> u64 {
    // splitmix64's finish.
    let mut z = one ^ other.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    if z == 0 { 1 } else { z }
}

/// The id of the one span of its step of a message: whoever is caused by it knows it without being told. A trace that somebody
/// else began may have several messages: when each was accepted tells them apart.
const fn only(trace: &Trace, step: Step) -> u64 {
    mix((trace.id >> 64) as u64 ^ trace.id as u64 ^ trace.stages.accepted.rotate_left(32), step as u64 + 1)
}

/// A trace's id from two numbers that nobody else has together; not 0.
pub const fn trace_id(seed: u64, number: u64) -> u128 {
    ((mix(seed, number) as u128) << 64) | mix(number, seed.rotate_left(32)) as u128
}

impl Spans {
    /// None yet. `seed`: drawn at the process's start.
    pub fn new(seed: u64) -> Self {
        let (recorded, dropped) = (Counter::default(), Counter::default());
        Self(Arc::new(Inner { waiting: ArrayQueue::new(WAITING), seed, recorded, dropped }))
    }

    /// A step of a traced message ends now; it began at `from_ns` of the monotonic clock of this process. Never waits. Does
    /// nothing with a message that is only timed.
    pub fn record(&self, now: Now, trace: &Trace, step: Step, from_ns: u64) {
        self.record_under(now, trace, step, from_ns, 0);
    }

    /// As [`Self::record`]; a [`Step::Send`] was caused by the span `caller` of somebody else, 0 = nobody's.
    pub fn record_under(&self, now: Now, trace: &Trace, step: Step, from_ns: u64, caller: u64) {
        if trace.id == 0 {
            return;
        }
        let number = self.0.recorded.inc();
        let end_ns = now.wall_ticks * 100;
        let (send, commit) = (only(trace, Step::Send), only(trace, Step::Commit));
        let (id, parent) = match step {
            Step::Send => (send, caller),
            Step::Commit => (commit, send),
            // There may be several, at several nodes.
            Step::Route | Step::Deliver => (mix(self.0.seed, number), commit),
        };
        let start_ns = end_ns - now.mono_ns.saturating_sub(from_ns).min(end_ns);
        let span = Span { trace: trace.id, id, parent, step, start_ns, end_ns };
        if self.0.waiting.push(span).is_err() {
            self.0.dropped.inc();
        }
    }

    /// Takes at most so many that wait, the oldest first.
    pub fn take(&self, most: usize) -> Vec<Span> {
        std::iter::from_fn(|| self.0.waiting.pop()).take(most).collect()
    }

    /// Counts spans that were taken and could not be sent away.
    pub fn lost(&self, spans: usize) {
        self.0.dropped.inc_by(spans as u64);
    }

    /// Names what is counted in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("trace_spans", "Spans of traced messages", self.0.recorded.clone());
        let help = "Spans that were dropped: no room, or nobody took them";
        registry.register("trace_spans_dropped", help, self.0.dropped.clone());
    }
}

#[cfg(test)]
mod tests {
    use schema::envelope::Stages;

    use super::*;

    fn now(ms: u64) -> Now {
        Now { mono_ns: ms * 1_000_000, wall_ticks: (1_000_000 + ms) * 10_000 }
    }

    fn trace(id: u128) -> Trace {
        Trace { id, stages: Stages::default() }
    }

    #[test]
    fn spans_of_several_processes_hang_together() {
        let (gateway, writer, router) = (Spans::new(1), Spans::new(2), Spans::new(3));
        let traced = trace(trace_id(7, 1));
        gateway.record(now(30), &traced, Step::Send, 10_000_000);
        writer.record(now(500), &traced, Step::Commit, 490_000_000);
        router.record(now(9), &traced, Step::Route, 9_000_000);
        gateway.record(now(40), &traced, Step::Deliver, 40_000_000);
        let spans: Vec<Span> = [&gateway, &writer, &router].iter().flat_map(|spans| spans.take(10)).collect();
        let [send, deliver, commit, route] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((send.parent, send.end_ns - send.start_ns), (0, 20_000_000));
        assert_eq!((commit.parent, commit.end_ns - commit.start_ns), (send.id, 10_000_000));
        assert_eq!((route.parent, deliver.parent), (commit.id, commit.id));
        assert_ne!(route.id, deliver.id);
        assert!(spans.iter().all(|span| span.trace == traced.id && span.id != 0));
        assert_eq!(send.end_ns, 1_000_030 * 1_000_000);
    }

    #[test]
    fn two_messages_of_one_trace_of_somebody_else_are_told_apart() {
        let (spans, mut one) = (Spans::new(1), trace(9));
        one.stages.accepted = 10_000_000;
        let mut other = one;
        other.stages.accepted = 11_000_000;
        for message in [&one, &other] {
            spans.record_under(now(30), message, Step::Send, message.stages.accepted, 77);
            spans.record(now(30), message, Step::Commit, 20_000_000);
        }
        let spans = spans.take(10);
        let [send, commit, later, committed] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((send.parent, later.parent), (77, 77));
        assert_eq!((commit.parent, committed.parent), (send.id, later.id));
        assert_ne!((send.id, commit.id), (later.id, committed.id));
    }

    #[test]
    fn what_is_only_timed_leaves_nothing_and_what_has_no_room_is_counted() {
        let spans = Spans::new(1);
        spans.record(now(1), &trace(0), Step::Send, 0);
        assert!(spans.take(1).is_empty());
        (0..WAITING + 3).for_each(|_| spans.record(now(1), &trace(5), Step::Route, 0));
        assert_eq!((spans.take(usize::MAX).len(), spans.0.dropped.get()), (WAITING, 3));
        spans.lost(2);
        assert_eq!(spans.0.dropped.get(), 5);
    }

    #[test]
    fn a_step_that_began_before_the_clock_did_begins_with_it() {
        let spans = Spans::new(1);
        spans.record(Now { mono_ns: 5_000, wall_ticks: 10 }, &trace(5), Step::Send, 0);
        assert_eq!(spans.take(1)[0].start_ns, 0);
    }

    #[test]
    fn ids_of_traces_differ() {
        let mut ids: Vec<u128> = (0..10_000).flat_map(|n| [trace_id(1, n), trace_id(2, n)]).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((ids.len(), ids[0] == 0), (20_000, false));
    }
}
