//! The owners' node is started anew on purpose: what clients ask of it meanwhile is held, not refused.
//!
//! From the time it says that it goes until it is back, sessions are read no further than to the first frame that is not a
//! ping; WebSockets are not read at all. So nothing overtakes, nothing is stored here, and what is under way is answered
//! before the node stops. What must stay true: nobody is held for longer than [`Limits::hold_ms`](crate::Limits); who is then
//! let go on is refused, as after any other loss of the owners.

use fabric::tier::Egress;
use fabric::time::Now;

use crate::conn::{Conn, PAUSE_OWNERS, Phase};
use crate::shard::Shard;

impl Shard {
    /// From now on nothing is taken from sessions that an owner would have to answer, until [`Self::release`], or until
    /// [`Limits::hold_ms`](crate::Limits) have passed; 0 of them: nothing is held.
    pub fn hold(&mut self, now: Now) {
        let hold_ns = u64::from(self.config.limits.hold_ms) * 1_000_000;
        if hold_ns > 0 && self.held_until_ns == 0 {
            self.metrics.holds.inc();
            self.held_until_ns = now.mono_ns + hold_ns;
        }
    }

    /// Whether sessions are held.
    pub const fn is_holding(&self) -> bool {
        self.held_until_ns > 0
    }

    /// Goes on with what was held.
    pub fn release(&mut self, now: Now, egress: &mut dyn Egress) {
        if core::mem::take(&mut self.held_until_ns) == 0 {
            return;
        }
        for index in 0..self.conns.places() {
            if self.conns[index].paused & PAUSE_OWNERS != 0 {
                self.unpause(now, index, PAUSE_OWNERS);
                self.resume_input(now, index, egress);
            }
        }
        for partition in 0..self.waiters.len() {
            self.serve_waiters(now, partition, egress);
        }
    }

    /// Once a turn: the owners' node has not come back in time.
    pub(crate) fn end_hold(&mut self, now: Now, egress: &mut dyn Egress) {
        if self.held_until_ns > 0 && self.held_until_ns <= now.mono_ns {
            self.metrics.holds_overdue.inc();
            self.release(now, egress);
        }
    }

    /// When [`Self::end_hold`] is due, ns.
    pub(crate) fn hold_deadline_ns(&self) -> Option<u64> {
        (self.held_until_ns > 0).then_some(self.held_until_ns)
    }

    /// Whether a session is held here: it is then read no further.
    pub(crate) fn holds(&mut self, index: u32) -> bool {
        if self.held_until_ns == 0 || self.conns[index].phase != Phase::Ready {
            return false;
        }
        self.metrics.held.inc();
        self.pause(index, PAUSE_OWNERS);
        true
    }

    /// Whether a client waits for an owner's answer to a send or a question. Looks at every connection.
    pub fn waits_for_owners(&self) -> bool {
        let waits = |conn: &Conn| {
            let active = conn.active.as_ref().filter(|_| conn.phase == Phase::Ready);
            active.is_some_and(|active| active.in_flight > 0 || !active.history.is_empty())
        };
        (0..self.conns.places()).any(|index| waits(&self.conns[index]))
    }
}
