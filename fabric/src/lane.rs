//! Lanes: bounded one-way rings between shards, one per (source, destination, class). They never make a tier wait.
//!
//! A lane's class says what happens when it is full, and is part of its type ([`LaneClass`]): sends and acks have their room
//! reserved by credits; control and sync envelopes wait in a bounded overflow that the producer keeps, and the consumer
//! wakes the producer once it has drained; live pushes come back to the caller, which makes a gap of them; ephemeral
//! ones are dropped and counted. What must stay true: order within a lane is kept, nobody spins on a full lane, and memory
//! is bounded by [`Capacities`].

mod incoming;
mod port;

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rtrb::{Producer, PushError};
use schema::envelope::{CLASS_COUNT, Class, Envelope};

pub use incoming::{Drained, Incoming};
pub use port::{LaneMetrics, Mesh, Port};

mod sealed {
    pub trait Sealed {}
}

/// What a full lane does with one more envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FullPolicy {
    /// Room is reserved by credits, so this does not happen; if it does the envelope waits in the overflow and is counted.
    Reserved,
    /// It waits in the producer's overflow; the consumer wakes the producer when there is room.
    Wait,
    /// It comes back as [`Full`]: the caller makes a gap of it.
    Gap,
    /// It is dropped and counted.
    Drop,
}

impl FullPolicy {
    /// The policy of a class.
    pub const fn of(class: Class) -> Self {
        match class {
            Class::Send => Send::FULL,
            Class::Ack => Ack::FULL,
            Class::Control => Control::FULL,
            Class::Live => Live::FULL,
            Class::Sync => Sync::FULL,
            Class::Ephemeral => Ephemeral::FULL,
        }
    }
}

/// Order in which classes are drained: what frees others first.
pub(crate) const DRAIN_ORDER: [Class; CLASS_COUNT] =
    [Class::Ack, Class::Control, Class::Send, Class::Live, Class::Sync, Class::Ephemeral];
/// Labels of metrics, by class.
pub(crate) const CLASS_NAMES: [&str; CLASS_COUNT] = ["send", "ack", "control", "live", "sync", "ephemeral"];

/// A class of envelopes as a type. Sealed: the classes are the contract's.
pub trait LaneClass: sealed::Sealed {
    /// The class in a header.
    const CLASS: Class;
    /// What a full lane does.
    const FULL: FullPolicy;
}

macro_rules! lane_class {
    ($(#[$doc:meta] $name:ident => $policy:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Clone, Copy, Debug)]
        pub struct $name;
        impl sealed::Sealed for $name {}
        impl LaneClass for $name {
            const CLASS: Class = Class::$name;
            const FULL: FullPolicy = FullPolicy::$policy;
        }
    )+};
}
lane_class! {
    /// Clients' sends.
    Send => Reserved,
    /// Answers to sends, and marks.
    Ack => Reserved,
    /// Registrations, nudges, gaps.
    Control => Wait,
    /// Pushes to online sessions.
    Live => Gap,
    /// Sync and history pages.
    Sync => Wait,
    /// Typing, presence.
    Ephemeral => Drop,
}

/// A lane (and its overflow, where it has one) had no room. The caller decides: a gap, a refusal, a later try.
#[derive(Debug, thiserror::Error)]
#[error("a lane is full")]
pub struct Full(pub Box<Envelope>);

/// Room by class, in envelopes, indexed by [`Class`] as a number. A ring's memory is touched as it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacities {
    /// Slots of each ring; at least 1.
    pub ring: [usize; CLASS_COUNT],
    /// Most envelopes in each overflow (unused by live and ephemeral).
    pub overflow: [usize; CLASS_COUNT],
}

impl Default for Capacities {
    fn default() -> Self {
        Self {
            // A commit answers and pushes a whole block's entries in one turn. Live rings hold several blocks, or every burst is
            // a gap; ack rings as many, or answers would be overtaken by the pushes of what came after them.
            ring: [1_024, 16_384, 512, 16_384, 256, 256],
            //     send    ack     control live sync   ephemeral
            overflow: [16_384, 16_384, 65_536, 0, 16_384, 0],
        }
    }
}

impl Capacities {
    /// The same number of slots in every ring, default overflows.
    pub fn uniform(slots: usize) -> Self {
        Self { ring: [slots; CLASS_COUNT], ..Self::default() }
    }
}

/// Set by a producer that waits for room, by class; taken by the consumer.
#[derive(Debug, Default)]
struct Wants([AtomicBool; CLASS_COUNT]);

/// The producing end of one lane.
#[derive(Debug)]
struct Lane<C: LaneClass> {
    ring: Producer<Envelope>,
    wants: Arc<Wants>,
    overflow: VecDeque<Envelope>,
    overflow_limit: usize,
    class: PhantomData<C>,
}

/// What became of a pushed envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pushed {
    Ring,
    Overflow,
    Dropped,
}

impl<C: LaneClass> Lane<C> {
    fn new(ring: Producer<Envelope>, wants: Arc<Wants>, overflow_limit: usize) -> Self {
        Self { ring, wants, overflow: VecDeque::new(), overflow_limit, class: PhantomData }
    }

    fn push(&mut self, envelope: Envelope) -> Result<Pushed, Full> {
        debug_assert_eq!(envelope.header.class, C::CLASS);
        if self.overflow.is_empty() {
            return match self.ring.push(envelope) {
                Ok(()) => Ok(Pushed::Ring),
                Err(PushError::Full(envelope)) => self.full(envelope),
            };
        }
        self.full(envelope)
    }

    #[cold]
    fn full(&mut self, envelope: Envelope) -> Result<Pushed, Full> {
        match C::FULL {
            FullPolicy::Drop => Ok(Pushed::Dropped),
            FullPolicy::Gap => Err(Full(Box::new(envelope))),
            FullPolicy::Reserved | FullPolicy::Wait => {
                if self.overflow.len() >= self.overflow_limit {
                    return Err(Full(Box::new(envelope)));
                }
                self.overflow.push_back(envelope);
                self.refill();
                Ok(Pushed::Overflow)
            }
        }
    }

    /// Moves overflow into the ring. If some stays, the want flag is set and the ring was full after that: the consumer
    /// takes at least one more envelope from it and then sees the flag.
    fn refill(&mut self) -> usize {
        let mut moved = 0;
        loop {
            let before = moved;
            while let Some(envelope) = self.overflow.pop_front() {
                if let Err(PushError::Full(envelope)) = self.ring.push(envelope) {
                    self.overflow.push_front(envelope);
                    break;
                }
                moved += 1;
            }
            let want = &self.wants.0[C::CLASS as usize];
            if self.overflow.is_empty() {
                self.overflow.shrink_to(64);
                return moved;
            }
            if want.load(Ordering::Relaxed) && moved == before {
                return moved;
            }
            want.store(true, Ordering::SeqCst);
            // Orders the flag before the next look at the ring's read position; pairs with the consumer's fence.
            fence(Ordering::SeqCst);
        }
    }
}
