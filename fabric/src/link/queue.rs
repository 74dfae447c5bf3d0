//! What waits for a link, by class, with the policies of lanes ([`FullPolicy`]).
//!
//! What must stay true: order within a class is kept; envelopes and bytes are bounded; acks go first, then every class gets
//! a share of what is taken, so none starves; live traffic cannot take the room of acks.

use std::collections::VecDeque;

use schema::envelope::{CLASS_COUNT, Class, Envelope};

use super::To;
use super::weight::weight;
use crate::lane::{Capacities, DRAIN_ORDER, FullPolicy};

/// Entries whose memory an empty class keeps.
const KEEP: usize = 1_024;

#[derive(Debug)]
struct Queued {
    to: To,
    weight: usize,
    envelope: Envelope,
}

/// What became of a pushed envelope.
#[derive(Debug)]
pub(super) enum Pushed {
    Queued,
    /// By its class's policy.
    Dropped,
    /// It comes back.
    Full(To, Box<Envelope>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    classes: [VecDeque<Queued>; CLASS_COUNT],
    room: [usize; CLASS_COUNT],
    /// Sum of the weights.
    bytes: usize,
    bytes_max: usize,
}

impl Queue {
    pub(super) fn new(capacities: &Capacities, bytes_max: usize) -> Self {
        let room = |class| capacities.ring[class] + capacities.overflow[class];
        Self { classes: Default::default(), room: std::array::from_fn(room), bytes: 0, bytes_max }
    }

    pub(super) fn push(&mut self, to: To, envelope: Envelope) -> Pushed {
        let class = envelope.header.class;
        let weight = weight(&envelope);
        let queue = &mut self.classes[class as usize];
        // The last quarter is for what others wait for.
        let bytes_max = match class {
            Class::Ack | Class::Control | Class::Send => self.bytes_max,
            Class::Live | Class::Sync | Class::Ephemeral => self.bytes_max / 4 * 3,
        };
        // An envelope beyond all bounds still passes an empty queue: pages must not be stuck for good.
        let fits = self.bytes == 0 || self.bytes + weight <= bytes_max;
        if fits && queue.len() < self.room[class as usize] {
            self.bytes += weight;
            queue.push_back(Queued { to, weight, envelope });
            return Pushed::Queued;
        }
        match FullPolicy::of(class) {
            FullPolicy::Drop => Pushed::Dropped,
            FullPolicy::Reserved | FullPolicy::Wait | FullPolicy::Gap => Pushed::Full(to, Box::new(envelope)),
        }
    }

    /// Hands over what waits, about `max_bytes` of it; `write` says how many bytes it has become. Acks that wait go before
    /// any push, whatever they are: no push overtakes the answer to what came before it.
    pub(super) fn take(&mut self, max_bytes: usize, mut write: impl FnMut(To, &Envelope) -> usize) {
        let share = (max_bytes / CLASS_COUNT).max(1);
        let acks = max_bytes.saturating_sub((CLASS_COUNT - 1) * share);
        let mut left = max_bytes - self.take_class(Class::Ack, acks, &mut write).min(max_bytes);
        for class in DRAIN_ORDER.into_iter().skip(1) {
            left = left.saturating_sub(self.take_class(class, share.min(left), &mut write));
        }
        for class in DRAIN_ORDER {
            left = left.saturating_sub(self.take_class(class, left, &mut write));
        }
        for queue in &mut self.classes {
            if queue.is_empty() && queue.capacity() > KEEP {
                queue.shrink_to(KEEP);
            }
        }
    }

    fn take_class(&mut self, class: Class, budget: usize, write: &mut impl FnMut(To, &Envelope) -> usize) -> usize {
        if class == Class::Live && budget > 0 && !self.classes[Class::Live as usize].is_empty() {
            self.take_class(Class::Ack, usize::MAX, write);
        }
        let mut taken = 0;
        while taken < budget
            && let Some(queued) = self.classes[class as usize].pop_front()
        {
            self.bytes -= queued.weight;
            taken += write(queued.to, &queued.envelope);
        }
        taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.classes.iter().all(VecDeque::is_empty)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops all of it; how many envelopes that were, by class.
    pub(super) fn clear(&mut self) -> [usize; CLASS_COUNT] {
        let lost = std::array::from_fn(|class| self.classes[class].len());
        self.classes = Default::default();
        self.bytes = 0;
        lost
    }
}
