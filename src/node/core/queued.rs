//! Queued sends on their way from the spool to whoever holds their partitions, as a session's would be.
//!
//! What must stay true: they wait in the spool and nowhere else, so whoever cannot take one now gives it back at once; an answer to
//! one goes to the spool, and what it says of that to the session.

use std::sync::Arc;

use fabric::core::JobQueue;
use fabric::time::Now;
use schema::envelope::{Address, Body, Envelope, Settled};
use storage_writer::owner::send_settled;
use storage_writer::partition::{Job, Partition};
use storage_writer::spool::{self, Next, Spool};

use super::ShardCore;

/// While something is queued, it is looked so often whether it can go, ns.
const LOOK_NS: u64 = 20_000_000;

/// A shard's part in the spool of its process: the partitions that would be its own.
#[derive(Default)]
pub(super) struct Queued {
    pub(super) spool: Option<Arc<Spool>>,
    tidy: Option<Job>,
    /// The shard that tidies it.
    tidies: bool,
}

/// Whether something is for a spool, or comes from one.
pub(in crate::node) const fn is_spools(address: Address) -> bool {
    address.connection == spool::CONNECTION
}

/// Whether an envelope for a gateway answers a send of the spool's. What a stored one is pushed with names its sender too.
pub(super) const fn answers_spool(envelope: &Envelope) -> bool {
    is_spools(envelope.header.reply) && matches!(envelope.body, Body::Sent { .. } | Body::Refused { .. })
}

impl Queued {
    pub(super) fn take_job(&mut self) -> Option<(JobQueue, Job)> {
        self.tidy.take().map(|job| (JobQueue::Spool, job))
    }

    /// When there is something to look at, ns.
    pub(super) fn next_ns(&self, now: Now) -> Option<u64> {
        let spool = self.spool.as_ref()?;
        let look = (spool.waiting() > 0).then_some(now.mono_ns + LOOK_NS);
        look.into_iter().chain(self.tidies.then(|| spool.tidy_due_ns().max(now.mono_ns + LOOK_NS))).min()
    }
}

impl ShardCore {
    /// Once a turn: what is queued goes, as far as somebody takes it.
    pub(super) fn work_on_queued(&mut self, now: Now) {
        let Some(spool) = self.queued.spool.clone() else { return };
        self.queued.tidies = self.hub.shard() == 0;
        if self.queued.tidies && self.queued.tidy.is_none() && spool.begin_tidy(now) {
            self.queued.tidy = Some(Job::tidy_spool(Arc::clone(&spool), now));
        }
        for partition in spool.partitions() {
            if self.hub.partition_shard(partition) == self.hub.shard() {
                self.drain_queued(now, partition, &spool);
            }
        }
    }

    fn drain_queued(&mut self, now: Now, partition: u16, spool: &Spool) {
        while self.can_take(now, partition) {
            match spool.next(now, partition, self.hub.own_address()) {
                Next::Nothing => return,
                Next::Dead(ended) => send_settled(&mut self.hub, ended),
                Next::Send(send) => self.hand_queued(now, partition, *send),
            }
            self.settle(now);
        }
    }

    /// Whether somebody can be given sends of a partition.
    fn can_take(&mut self, now: Now, partition: u16) -> bool {
        let mut here = self.partitions.iter().chain(&self.owned.leaving);
        match here.find(|one| one.number() == partition) {
            Some(here) => !here.store_is_away(now) && !here.is_lost(),
            None => self.hub.away().is_some_and(|away| away.is_elsewhere(partition)),
        }
    }

    fn hand_queued(&mut self, now: Now, partition: u16, send: Envelope) {
        let place = |all: &[Partition]| all.iter().position(|one| one.number() == partition);
        let id = send.header.request_id;
        if let Some(place) = place(&self.partitions) {
            self.with_owner(now, place, |owner, way| owner.handle(now, send, way));
        } else if let Some(place) = place(&self.owned.leaving) {
            self.with_leaving(now, place, |owner, way| owner.handle(now, send, way));
        } else if self.hub.away().is_none_or(|away| away.push_to_writer(partition, send).is_err()) {
            self.not_taken(id);
        }
    }

    /// Nobody took one: it goes again later.
    pub(super) fn not_taken(&self, id: u64) {
        if let Some(spool) = &self.queued.spool {
            spool.postpone(self.now, id);
        }
    }

    /// Who had a partition, or the way there, is lost: nobody may answer what is on its way.
    pub(super) fn queued_lost(&self, partition: u16) {
        if let Some(spool) = &self.queued.spool {
            spool.lost(partition);
        }
    }

    /// An owner has answered one.
    pub(super) fn spool_answered(&mut self, now: Now, envelope: Envelope) {
        let Some(spool) = &self.queued.spool else { return };
        let outcome = match envelope.body {
            Body::Sent { message, seq, timestamp_ms, .. } => Ok(Settled { message, seq, timestamp_ms }),
            Body::Refused { code, .. } => Err(code),
            _ => return,
        };
        if let Some(ended) = spool.answered(now, envelope.header.request_id, outcome) {
            send_settled(&mut self.hub, ended);
        }
    }
}
