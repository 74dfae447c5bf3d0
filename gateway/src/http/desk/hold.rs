//! The owners' node is started anew on purpose: requests that come meanwhile keep their places and go out when it is back.
//!
//! What was asked before that is answered before the node stops. What must stay true: those that wait are among the
//! requests in flight, and bounded with them; they go out in the order in which they came; none waits for longer than
//! [`DeskConfig::hold_ms`](super::DeskConfig), and then it is refused as after any other loss of the owners.

use std::collections::VecDeque;

use fabric::tier::Egress;
use fabric::time::Now;

use super::{Desk, Step};
use crate::http::Refusal;
use schema::errors::ErrorCode;

/// What waits for the owners' node.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Until then at most, ns; 0 = nothing is held.
    until_ns: u64,
    /// Places, in the order in which they were taken.
    places: VecDeque<u32>,
}

impl<W> Desk<W> {
    /// From now on requests wait here, until [`Self::release`], or until [`DeskConfig::hold_ms`](super::DeskConfig) have
    /// passed; 0 of them: nothing is held.
    pub fn hold(&mut self, now: Now) {
        let hold_ns = u64::from(self.config.hold_ms) * 1_000_000;
        if hold_ns > 0 && self.held.until_ns == 0 {
            self.metrics.holds.inc();
            self.held.until_ns = now.mono_ns + hold_ns;
        }
    }

    /// Sends what was held, each with a deadline of its own from now on.
    pub fn release(&mut self, now: Now, egress: &mut dyn Egress) {
        let Held { places, .. } = core::mem::take(&mut self.held);
        for connection in places {
            self.ask_account(now, connection, egress);
        }
    }

    /// Once a turn: the owners' node has not come back in time.
    pub fn end_hold(&mut self, now: Now, egress: &mut dyn Egress) {
        if self.is_holding() && self.held.until_ns <= now.mono_ns {
            self.metrics.holds_overdue.inc();
            self.release(now, egress);
        }
    }

    /// Requests that an owner has, or will have without [`Self::release`].
    pub fn at_owners(&self) -> usize {
        self.in_flight() - self.held.places.len()
    }

    /// Nothing is held any more, for this process stops: who waits is told to come again (`going_away`).
    pub fn give_up_held(&mut self) -> Vec<(W, Refusal)> {
        let Held { places, .. } = core::mem::take(&mut self.held);
        let waiters = places.into_iter().filter_map(|connection| self.vacate(connection));
        waiters.map(|waiter| (waiter, ErrorCode::GoingAway.into())).collect()
    }

    pub(super) const fn is_holding(&self) -> bool {
        self.held.until_ns > 0
    }

    /// When [`Self::end_hold`] is due, ns.
    pub(super) const fn hold_deadline_ns(&self) -> Option<u64> {
        if self.is_holding() { Some(self.held.until_ns) } else { None }
    }

    /// The request in this place waits for the owners' node.
    pub(super) fn keep(&mut self, connection: u32) {
        self.metrics.held.inc();
        self.held.places.push_back(connection);
    }

    /// Whether the request in this place waits here.
    pub(super) fn is_held(&self, connection: u32) -> bool {
        let waiting = self.places.get(connection as usize).and_then(|place| place.waiting.as_ref());
        waiting.is_some_and(|waiting| matches!(waiting.step, Step::Held { .. }))
    }
}
