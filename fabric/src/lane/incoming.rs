//! The receiving ends of a shard's lanes.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use rtrb::Consumer;
use schema::envelope::{CLASS_COUNT, Class, Envelope};

use super::{DRAIN_ORDER, Wants};
use crate::wake::Waker;

/// Slots that become free for the producer together, while the rest of what waits is still being handed over.
const FREED_AT_ONCE: usize = 128;

#[derive(Debug)]
pub(super) struct InLanes {
    pub(super) rings: [Consumer<Envelope>; CLASS_COUNT],
    pub(super) wants: Arc<Wants>,
}

impl InLanes {
    /// Hands over `count` envelopes, which wait, and tells the producer if it waits for the room this makes.
    fn hand_over(&mut self, class: Class, count: usize, producer: &Waker, take: &mut impl FnMut(Envelope)) {
        let ring = &mut self.rings[class as usize];
        let mut left = count;
        while left > 0 {
            let part = left.min(FREED_AT_ONCE);
            let Ok(chunk) = ring.read_chunk(part) else { unreachable!("so many slots are readable") };
            chunk.into_iter().for_each(&mut *take);
            left -= part;
        }
        // Orders the new read position before the look at the flag; pairs with the producer's fence.
        fence(Ordering::SeqCst);
        let want = &self.wants.0[class as usize];
        if want.load(Ordering::SeqCst) && want.swap(false, Ordering::SeqCst) {
            producer.wake();
        }
    }
}

/// What [`Incoming::drain`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drained {
    /// Envelopes handed over.
    pub envelopes: usize,
    /// The budget ended before the lanes did: drain again, at the latest in the next turn.
    pub more: bool,
}

/// One other shard, as where envelopes come from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) lanes: Option<InLanes>,
    /// Told when there is room that it waited for.
    pub(super) waker: Waker,
}

/// The receiving ends of a port's lanes. Apart from it while what they bring is handed over, so that whoever takes an
/// envelope may answer it through the port at once.
#[derive(Debug, Default)]
pub struct Incoming {
    pub(super) sources: Vec<Source>,
    pub(super) first_source: usize,
    /// Envelopes handed over and not yet counted, by class.
    pub(super) drained: [u64; CLASS_COUNT],
}

impl Incoming {
    /// Hands over at most `budget` envelopes as (source, envelope): acks first, so that no push overtakes the answer to what
    /// came before it; then control; but every class gets a share of the budget, and sources take turns. Wakes producers
    /// that waited for the room this makes.
    pub fn drain(&mut self, budget: usize, mut take: impl FnMut(u16, Envelope)) -> Drained {
        let share = (budget / CLASS_COUNT).max(1);
        let mut left = budget;
        left -= self.drain_class(Class::Ack, left.saturating_sub((CLASS_COUNT - 1) * share), &mut take);
        for class in DRAIN_ORDER.into_iter().skip(1) {
            left -= self.drain_class(class, share.min(left), &mut take);
        }
        for class in DRAIN_ORDER {
            if left > 0 {
                left -= self.drain_class(class, left, &mut take);
            }
        }
        self.first_source = (self.first_source + 1) % self.sources.len().max(1);
        Drained { envelopes: budget - left, more: left == 0 && !self.is_empty() }
    }

    /// Nothing waits in any ring.
    pub fn is_empty(&self) -> bool {
        let mut lanes = self.sources.iter().filter_map(|source| source.lanes.as_ref());
        lanes.all(|lanes| lanes.rings.iter().all(Consumer::is_empty))
    }

    fn drain_class(&mut self, class: Class, budget: usize, take: &mut impl FnMut(u16, Envelope)) -> usize {
        let sources = self.sources.len();
        let mut done = 0;
        for step in 0..sources {
            let number = (self.first_source + step) % sources;
            let source = &mut self.sources[number];
            let Some(lanes) = &mut source.lanes else { continue };
            // What comes meanwhile is left to the next time.
            let count = lanes.rings[class as usize].slots().min(budget - done);
            if count == 0 {
                continue;
            }
            if class == Class::Live {
                // An answer is in its ring before the pushes that came after it: whoever sees them sees it.
                let answers = lanes.rings[Class::Ack as usize].slots();
                lanes.hand_over(Class::Ack, answers, &source.waker, &mut |envelope| take(number as u16, envelope));
                self.drained[Class::Ack as usize] += answers as u64;
            }
            lanes.hand_over(class, count, &source.waker, &mut |envelope| take(number as u16, envelope));
            done += count;
        }
        self.drained[class as usize] += done as u64;
        done
    }
}
