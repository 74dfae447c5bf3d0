//! Gaps: something live was lost on the way, so the sessions in scope list again what changed, at a limited rate.

use std::collections::VecDeque;

use fabric::core::ConnId;
use fabric::tier::Egress;
use fabric::time::Now;
use schema::envelope::GapScope;

use crate::conn::{FLAG_GAP, FLAG_MOVED, Phase};
use crate::shard::Shard;

/// Time between two sessions' resyncs after gaps, ns: 1,000 a second and shard.
const PACE_NS: u64 = 1_000_000;
/// They start in groups: the timer is not armed for each.
const GROUP: u64 = 10;

/// Sessions that wait for their resync.
#[derive(Default)]
pub(crate) struct Gaps {
    queue: VecDeque<ConnId>,
    /// A gap of all: the next place to look at, and how many are left.
    sweep_at: u32,
    sweep_left: u32,
    /// The next resync may start now, ns of the monotonic clock.
    next_ns: u64,
}

impl Gaps {
    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.sweep_left == 0
    }

    pub(crate) fn next_ns(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.next_ns)
    }
}

impl Shard {
    /// A gap: its sessions are queued.
    pub(crate) fn gap(&mut self, scope: &GapScope) {
        match scope {
            GapScope::All => self.gaps.sweep_left = self.conns.places(),
            GapScope::Sessions(sessions) => {
                for &(connection, generation) in sessions {
                    let Some(index) = self.conns.find(connection, generation) else {
                        self.metrics.stale_addresses.inc();
                        continue;
                    };
                    self.queue_gap(index);
                }
            }
            // Only a router knows where users are.
            GapScope::Users(_) => {
                self.metrics.foreign_addresses.inc();
            }
        }
    }

    /// A session is queued, unless it is already.
    pub(crate) fn queue_gap(&mut self, index: u32) {
        let place = &mut self.conns[index];
        if place.phase == Phase::Ready && !place.has(FLAG_GAP) {
            place.flags |= FLAG_GAP;
            self.gaps.queue.push_back(ConnId { index, generation: place.generation });
        }
    }

    /// Starts the resyncs whose turn it is.
    pub(crate) fn resync_gaps(&mut self, now: Now, egress: &mut dyn Egress) {
        if self.gaps.is_empty() {
            return;
        }
        if self.gaps.next_ns > now.mono_ns {
            return;
        }
        let mut started = 0;
        while started < GROUP
            && let Some(index) = self.next_gap()
        {
            started += 1;
            self.metrics.gaps.inc();
            self.resync(now, index, true, egress);
        }
        self.gaps.next_ns = now.mono_ns + started * PACE_NS;
    }

    /// The next session in need of a resync; `None` when the queues are empty. One that registers again is queued once that
    /// stands.
    fn next_gap(&mut self) -> Option<u32> {
        while let Some(id) = self.gaps.queue.pop_front() {
            if let Some(index) = self.conns.find(id.index, id.generation)
                && self.conns[index].phase == Phase::Ready
            {
                self.conns[index].flags &= !FLAG_GAP;
                if !self.conns[index].has(FLAG_MOVED) {
                    return Some(index);
                }
            }
        }
        while self.gaps.sweep_left > 0 {
            self.gaps.sweep_left -= 1;
            let index = self.gaps.sweep_at % self.conns.places().max(1);
            self.gaps.sweep_at = index + 1;
            if index < self.conns.places()
                && self.conns[index].phase == Phase::Ready
                && !self.conns[index].has(FLAG_MOVED)
            {
                return Some(index);
            }
        }
        None
    }
}
