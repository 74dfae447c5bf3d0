//! Partitions that come and go while the shard runs, and envelopes for those that are not here.
//!
//! What must stay true: a partition that is being given up gets no more sends, but everything that it has is committed and
//! answered before it goes; a send that it does not get goes back to its gateway, in order, and nothing else does.

use std::collections::{BTreeMap, BTreeSet};

use fabric::tier::Egress as _;
use fabric::time::Now;
use schema::envelope::{Body, Class, Envelope, GapScope, Holding};
use schema::errors::ErrorCode;
use schema::places::Places;
use storage_writer::partition::Partition;

use super::super::changes::{MoveWord, ShardChange};
use super::super::cluster::Step;
use super::super::holdings::Holdings;
use super::super::topology::Part;
use super::ShardCore;
use super::queued::is_spools;

/// What a shard has of the node's partitions where they move.
#[derive(Default)]
pub(super) struct Owned {
    pub(super) holdings: Option<Holdings>,
    /// Rising by number; they get no more sends.
    pub(super) leaving: Vec<Partition>,
    /// Of those in this shard, by number.
    epochs: BTreeMap<u16, u64>,
    /// They are to be given up as soon as they come.
    unwanted: BTreeSet<u16>,
    /// The change of the holdings that others were last told of.
    told: u64,
}

impl ShardCore {
    /// An envelope is for a partition that this shard does not serve.
    pub(super) fn not_here(&mut self, partition: u16, mut envelope: Envelope) {
        let Some(away) = self.hub.away() else {
            debug_assert!(false, "partition {partition} is not on this shard");
            return;
        };
        let (has_map, header) = (away.has_map(), &envelope.header);
        if is_spools(header.reply)
            && self.hub.is_own_gateway(header.reply)
            && matches!(envelope.body, Body::Send { .. })
        {
            return self.not_taken(envelope.header.request_id);
        }
        // HTTP has no links: what it has for an owner goes by this shard's.
        let is_new = header.slot_epoch == 0 && !header.passed_on && self.hub.is_http(header.reply);
        if !has_map || is_new {
            return self.hub.to_owner(header.slot, envelope);
        }
        let is_send = matches!(envelope.body, Body::Send { .. });
        if is_send && self.hub.is_own_gateway(header.reply) {
            // One of before is nobody's: its session has ended.
            if self.gateway.counts(partition, header.request_id) {
                envelope.header.passed_on = false;
                self.hub.came_back(partition, envelope);
            }
        } else if is_send && !self.hub.is_http(header.reply) {
            self.hub.give_back(envelope);
        } else if is_send || !std::mem::replace(&mut envelope.header.passed_on, true) {
            envelope.header.passed_on &= !is_send;
            self.hub.came_back(partition, envelope);
        } else {
            self.hub.refuse(envelope);
        }
    }

    /// What is for a partition that is being given up, but for sends and questions: it finishes what it has.
    pub(super) fn leaving_place(&self, partition: u16, envelope: &Envelope) -> Option<usize> {
        let finishes = matches!(
            envelope.body,
            Body::SyncPart { .. } | Body::ChatsPart { .. } | Body::SyncProbe { .. } | Body::ChatsProbe { .. }
        );
        let found = self.owned.leaving.iter().position(|leaving| leaving.number() == partition);
        found.filter(|_| finishes)
    }

    /// Looks what has become of partitions that others hold: what waits for one goes on, is refused, or is lost.
    pub(super) fn work_on_owners(&mut self, now: Now) {
        let mut healed = false;
        loop {
            let Self { gateway, hub, .. } = self;
            let step = hub.away().and_then(|away| away.owners_step(|partition| gateway.unanswered(partition)));
            match step {
                None => break,
                Some(Step::Lost(partition)) => self.partitions_lost(now, &[partition]),
                Some(Step::Places(places, envelopes)) => self.places_changed(now, &places, envelopes),
                Some(Step::Refuse(envelopes)) => envelopes.into_iter().for_each(|envelope| self.hub.refuse(envelope)),
                Some(Step::Release { partition, envelopes, healed: missed }) => {
                    healed |= missed;
                    self.gateway.unowned_until(partition, 0);
                    self.release(envelopes);
                }
            }
            self.settle(now);
        }
        if healed {
            self.dispatch(now, Part::Gateway, Envelope::new(Class::Control, Body::Gap(GapScope::All)));
            self.settle(now);
        }
        let held = self.hub.away().map(|away| away.held()).unwrap_or_default();
        for (partition, until_ns) in held.into_iter().filter(|&(_, until_ns)| until_ns > 0) {
            self.gateway.unowned_until(partition, until_ns);
        }
    }

    /// What waited goes out, but for what was sent after something that was refused meanwhile, or by a session that is over.
    pub(super) fn release(&mut self, envelopes: Vec<Envelope>) {
        let mut refused = Vec::new();
        for envelope in envelopes {
            let reply = envelope.header.reply;
            if let Body::Send { frame, chat, .. } = &envelope.body
                && self.hub.is_own_gateway(reply)
                && let Some(id) = frame.root().body_as_send().and_then(|send| send.client_msg_id())
                && !self.gateway.may_go(reply, *chat, id.bytes())
            {
                let client_msg_id = bytes::Bytes::copy_from_slice(id.bytes());
                let (code, retry_after_ms) = (ErrorCode::AfterRefused, 0);
                let body = Body::Refused { client_msg_id, chat: *chat, code, retry_after_ms };
                let mut answer = Envelope::new(Class::Ack, body).reply_to(reply);
                answer.header.request_id = envelope.header.request_id;
                refused.push((reply, answer));
            } else {
                self.hub.to_owner(envelope.header.slot, envelope);
            }
        }
        // After all that left: an answer may let another send go.
        refused.into_iter().for_each(|(reply, answer)| self.hub.to_gateway(reply, answer));
    }

    /// What was on its way to these partitions, or back, may be lost.
    pub(super) fn partitions_lost(&mut self, now: Now, partitions: &[u16]) {
        for &partition in partitions {
            self.queued_lost(partition);
            if let Some(away) = self.hub.away() {
                away.partition_lost(partition);
            }
            self.with_gateway(now, |gateway, way| gateway.owner_lost(now, partition, way));
        }
        // HTTP's way to a partition is this shard's where it would be here.
        let shard = self.hub.shard();
        let of_http = partitions.iter().copied().filter(|&partition| self.hub.partition_shard(partition) == shard);
        let of_http: Vec<u16> = of_http.collect();
        if !of_http.is_empty()
            && let Some(http) = self.inboxes.last()
        {
            http.put(ShardChange::OwnersLost(of_http.into()));
        }
    }

    /// A writer is lost, on the way there or back.
    pub(super) fn writer_lost(&mut self, now: Now, peer: u16) {
        let partitions = self.hub.away().map(|away| away.partitions_of(peer)).unwrap_or_default();
        self.partitions_lost(now, &partitions);
    }

    /// A writer says what it holds.
    pub(super) fn owners_heard(&mut self, node: &str, partitions: u16, holdings: &[Holding], places: &Places) {
        let freed = self.hub.away().is_some_and(|away| away.owners_heard(node, partitions, holdings, places));
        if let Some(holdings) = self.owned.holdings.as_ref().filter(|_| freed) {
            holdings.poke();
        }
    }

    /// Tells another writer of a partition that moves.
    pub(super) fn say(&mut self, word: &MoveWord) {
        if let Some(away) = self.hub.away() {
            away.say(word);
        }
    }

    /// Another writer says something of a partition that moves. Every shard gets it; one passes it on.
    pub(super) fn move_heard(&mut self, word: MoveWord) {
        let is_here = self.hub.partition_shard(word.partition) == self.hub.shard();
        if let Some(holdings) = self.owned.holdings.as_ref().filter(|_| is_here) {
            holdings.heard(word);
        }
    }

    /// Others are told what this node holds: when that has changed, or their link came up.
    pub(super) fn tell_holdings(&mut self) {
        let Some(holdings) = &self.owned.holdings else { return };
        let Some(away) = self.hub.away() else { return };
        let changes = holdings.changes();
        let anew = std::mem::replace(&mut self.owned.told, changes) != changes;
        if anew || away.has_to_tell() {
            let (all, places) = (holdings.all(), holdings.places());
            away.holds(&all, &places);
            away.tell_holdings(anew, &all, &places);
        }
    }

    /// Partitions that have come are served from now on.
    pub(super) fn take_partitions(&mut self, now: Now) {
        let Some(holdings) = self.owned.holdings.clone() else { return };
        for (partition, epoch) in holdings.take_arriving(self.hub.shard()) {
            let number = partition.number();
            let place = self.partitions.partition_point(|other| other.number() < number);
            self.partitions.insert(place, partition);
            self.owned.epochs.insert(number, epoch);
            if self.owned.unwanted.remove(&number) {
                self.give_up(now, number);
            } else {
                holdings.note(Holding { partition: number, epoch, held: true });
            }
        }
    }

    /// A partition is given up in order: it finishes what it has.
    pub(super) fn give_up(&mut self, now: Now, partition: u16) {
        let Some(place) = self.partitions.iter().position(|one| one.number() == partition) else {
            self.owned.unwanted.insert(partition);
            return;
        };
        let mut leaving = self.partitions.remove(place);
        leaving.stop(now);
        self.owned.leaving.push(leaving);
    }

    /// A partition is another's: what it has is forgotten.
    pub(super) fn drop_partition(&mut self, partition: u16) {
        self.owned.unwanted.remove(&partition);
        let found = |partitions: &mut Vec<Partition>| {
            let place = partitions.iter().position(|one| one.number() == partition)?;
            Some(partitions.remove(place))
        };
        let Some(gone) = found(&mut self.partitions).or_else(|| found(&mut self.owned.leaving)) else { return };
        self.board.forget(partition);
        self.queued_lost(partition);
        let epoch = self.owned.epochs.remove(&partition).unwrap_or_default();
        let in_order = gone.stopped();
        gone.leave();
        if let Some(holdings) = &self.owned.holdings {
            holdings.note(Holding { partition, epoch, held: false });
            holdings.dropped(partition, in_order);
        }
    }

    /// Once a turn: drops what was given up and is done.
    pub(super) fn work_on_partitions(&mut self, now: Now) {
        for place in 0..self.owned.leaving.len() {
            self.with_leaving(now, place, |owner, way| owner.turn(now, way));
            self.settle(now);
        }
        let done = self.owned.leaving.iter().filter(|leaving| leaving.stopped());
        let done: Vec<u16> = done.map(Partition::number).collect();
        done.into_iter().for_each(|partition| self.drop_partition(partition));
        self.tell_holdings();
    }
}
