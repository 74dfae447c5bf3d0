//! A shard's stop, in the order of a message's way: the gateway sends its sessions away, the others learn to do without this
//! node's router and owners, partitions seal their journals, links end.
//!
//! The shards of a process go from step to step together where one needs what another has: any gateway may send to any owner,
//! and what comes by any shard's link may be for any owner. What must stay true: a step begins when nothing of the one before
//! is under way, or when it has had its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fabric::time::Now;
use gateway::Next;
use storage_writer::partition::Partition;

use super::super::holdings::Holdings;
use super::ShardCore;

/// How often a stopping shard looks whether the others have come as far.
pub(super) const STOP_POLL_NS: u64 = 5_000_000;

/// What the shards of a process have still to do in a stop. Clones share it.
#[derive(Clone, Debug)]
pub struct Stops(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Gateways that have not stopped yet.
    gateways: AtomicUsize,
    /// Shards that another node may still need.
    needed: AtomicUsize,
    /// Other nodes are waited for so long, and for each partition that goes to one of them anew, ns.
    patience_ns: u64,
}

impl Stops {
    /// Of so many shards, which wait for other nodes for `patience_ms`, and as long again after each partition they have taken.
    pub fn new(shards: u16, patience_ms: u32) -> Self {
        let all = || AtomicUsize::new(usize::from(shards));
        let patience_ns = u64::from(patience_ms) * 1_000_000;
        Self(Arc::new(Inner { gateways: all(), needed: all(), patience_ns }))
    }
}

/// How far a stop has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stopping {
    No,
    /// The gateway's sessions go.
    Gateway,
    /// Other shards' do.
    Gateways,
    /// The other nodes learn to do without this one, until then, ns; so many partitions of the node's are still to go.
    HandOver(u64, usize),
    /// Other shards hand over.
    HandOvers,
    /// Journals are sealed.
    Partitions,
    /// Links say goodbye.
    Links,
}

impl ShardCore {
    pub(super) fn begin_stop(&mut self, now: Now) {
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Gateway;
            let elsewhere = self.hub.away().is_some_and(|away| away.has_other_gateways());
            let next = if elsewhere { Next::Elsewhere } else { Next::Here };
            self.with_gateway(now, |gateway, way| gateway.stop(now, next, way));
            self.settle(now);
        }
    }

    pub(super) fn work_on_stop(&mut self, now: Now) {
        while let Some(next) = self.next_step(now) {
            self.stopping = next;
        }
    }

    /// Does what ends a step, if it is over; the next one.
    fn next_step(&mut self, now: Now) -> Option<Stopping> {
        let none_left = |count: &AtomicUsize| count.load(Ordering::SeqCst) == 0;
        match self.stopping {
            Stopping::Gateway if self.gateway.stopped() => {
                self.stops.0.gateways.fetch_sub(1, Ordering::SeqCst);
                Some(Stopping::Gateways)
            }
            Stopping::Gateways if none_left(&self.stops.0.gateways) && !self.more => {
                if let Some(away) = self.hub.away() {
                    away.leave();
                }
                self.owned.holdings.iter().for_each(Holdings::leave);
                Some(self.hand_over(now))
            }
            // Each that has gone gives the next one as long again: how many there are, and so how long it takes, is no fault.
            Stopping::HandOver(_, left) if self.partitions_left() < left => Some(self.hand_over(now)),
            Stopping::HandOver(until_ns, _)
                if now.mono_ns >= until_ns
                    || self.partitions_left() == 0 && self.hub.away().is_none_or(|away| away.may_go()) =>
            {
                self.stops.0.needed.fetch_sub(1, Ordering::SeqCst);
                Some(Stopping::HandOvers)
            }
            Stopping::HandOvers if none_left(&self.stops.0.needed) && !self.more => {
                // Where they move, these are those that nobody took in time.
                self.partitions.iter_mut().for_each(|partition| partition.stop(now));
                Some(Stopping::Partitions)
            }
            // A peer that takes nothing is given up by its link before long.
            Stopping::Partitions if self.is_sealed() && self.hub.links_are_quiet() => {
                self.hub.away()?.stop(now);
                Some(Stopping::Links)
            }
            _ => None,
        }
    }

    fn is_sealed(&self) -> bool {
        self.partitions.iter().chain(&self.owned.leaving).all(Partition::stopped)
    }

    fn hand_over(&self, now: Now) -> Stopping {
        Stopping::HandOver(now.mono_ns + self.stops.0.patience_ns, self.partitions_left())
    }

    /// Partitions that shards of the node have and could move.
    fn partitions_left(&self) -> usize {
        self.owned.holdings.as_ref().map_or(0, Holdings::served)
    }

    pub(super) fn has_stopped(&self) -> bool {
        match self.stopping {
            Stopping::Partitions => !self.hub.has_links() && self.is_sealed(),
            Stopping::Links => self.hub.links_are_closed(),
            _ => false,
        }
    }

    /// Other nodes that stop: they are let go once nothing here waits for them, and what was held for the owners' goes on when it
    /// is back.
    pub(super) fn work_on_leaving(&mut self, now: Now) {
        let Self { gateway, hub, http, inboxes, .. } = self;
        let Some(away) = hub.away() else { return };
        away.let_go(|| gateway.is_moving(), || http.waits() || gateway.waits_for_owners());
        if let (Some(serves), Some(inbox)) = (http.release(|| away.owners_serve()), inboxes.last()) {
            inbox.put(serves);
        }
        if gateway.is_holding() && away.owners_serve() {
            self.with_gateway(now, |gateway, way| gateway.release(now, way));
            self.settle(now);
        }
    }
}
