//! Sends while the store is away: they go into the spool instead of waiting for it, and their sessions are told `queued`.
//!
//! Also those go there that were ordered already and are not known to be stored: the block that they are in is written again
//! until it is, and whichever comes first, that block or the spool, settles them. What must stay true: what a session sent earlier
//! is in the spool, or stored, before what it sent later; nothing goes past the spool that belongs behind something in it.

use bytes::Bytes;
use fabric::core::JobQueue;
use fabric::tier::{Egress, Send as Sending};
use fabric::time::Now;
use schema::envelope::{Address, Body, Class, Envelope, Settled};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, UserId};
use schema::timeuuid;

use super::answers::{send_refused, send_sent};
use super::ask::Ask;
use super::batch::Item;
use crate::log::OwnedLog;
use crate::partition::{Outage, Partition, Work};
use crate::spool::{self, Ended, Found, Reserved, Ticket, Withdrawn, Written};

/// While blocks wait for an answer, it is looked so often whether the store is away, ns.
const LOOK_NS: u64 = 250_000_000;
/// After a write of the spool that failed, what is in blocks is not put there for so long, ns.
const FAILED_NS: u64 = 1_000_000_000;

/// A partition's way into the spool.
pub(crate) struct Spooling {
    outage: Option<Outage>,
    /// Reserved, in order; nobody writes them yet.
    waiting: Vec<u64>,
    writing: bool,
    /// Some of the sends in blocks may not be in the spool.
    outstanding: bool,
    looked_ns: u64,
    /// The spool could not be written: what is in blocks waits for them until then, ns.
    failed_until_ns: u64,
}

impl Spooling {
    pub(crate) const fn new(outage: Option<Outage>) -> Self {
        Self { outage, waiting: Vec::new(), writing: false, outstanding: false, looked_ns: 0, failed_until_ns: 0 }
    }

    /// Nothing is on its way.
    pub(crate) const fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.writing
    }
}

impl Drop for Spooling {
    /// Whose answers these were, the sessions have ended with the partition.
    fn drop(&mut self) {
        if let Some(outage) = self.outage.as_ref().filter(|_| !self.waiting.is_empty()) {
            outage.spool.withdraw(&self.waiting);
        }
    }
}

/// Tells a session that its send is queued.
fn send_queued(egress: &mut dyn Egress, (reply, request_id): (Address, u64), client_msg_id: Bytes, chat: ChatId) {
    let mut envelope = Envelope::new(Class::Ack, Body::Queued { client_msg_id, chat }).reply_to(reply);
    envelope.header.request_id = request_id;
    egress.to_gateway(reply, envelope);
}

/// Tells sessions what has become of a send that was queued.
pub fn send_settled(egress: &mut dyn Egress, ended: Ended) {
    let Ended { asker, untold, client_msg_id, chat, outcome } = ended;
    for &asker in &untold {
        send_queued(egress, asker, client_msg_id.clone(), chat);
    }
    for (reply, request_id) in asker.into_iter().chain(untold) {
        let body = Body::Settled { client_msg_id: client_msg_id.clone(), chat, outcome };
        let mut envelope = Envelope::new(Class::Ack, body).reply_to(reply);
        envelope.header.request_id = request_id;
        egress.to_gateway(reply, envelope);
    }
}

impl Partition {
    /// Whether sends go into the spool because the store does not answer.
    pub fn store_is_away(&self, now: Now) -> bool {
        let Some(outage) = &self.spooling.outage else { return false };
        let Some(log) = self.log.owned().filter(|log| !log.owner().tenure.is_over()) else { return false };
        outage.breaker.is_away(now.mono_ns, log.is_busy())
    }

    /// Whether a send belongs into the spool: the store is away, or something is in there that it must not overtake.
    pub(super) fn goes_to_spool(&self, now: Now, ask: &Ask<'_>) -> bool {
        let from_session = ask.reply.connection != spool::CONNECTION;
        self.follows_queued(ask) || from_session && self.store_is_away(now)
    }

    /// Whether a session's send has something of its user's and chat's before it in the spool.
    pub(super) fn follows_queued(&self, ask: &Ask<'_>) -> bool {
        let from_session = ask.reply.connection != spool::CONNECTION;
        let Some(outage) = self.spooling.outage.as_ref().filter(|_| from_session) else { return false };
        !self.log.is_poisoned() && self.log.owned().is_some() && outage.spool.has_lane(ask.user, ask.chat)
    }

    /// Whether the spool has a send, and it comes from a session.
    pub(super) fn is_kept(&self, ask: &Ask<'_>) -> bool {
        let from_session = ask.reply.connection != spool::CONNECTION;
        let outage = self.spooling.outage.as_ref().filter(|_| from_session);
        outage.is_some_and(|outage| outage.spool.has(ask.user, ask.chat, ask.client_msg_id))
    }

    /// Puts a send into the spool; its session is told once it is durable there.
    pub(super) fn spool_send(&mut self, now: Now, send: &Sending<'_>, ask: &Ask<'_>, egress: &mut dyn Egress) {
        let all_before = self.spool_before(now, ask, egress);
        let Some(outage) = &self.spooling.outage else { return };
        let reserved = if all_before { outage.spool.reserve(now, self.number, send) } else { None };
        let Some(reserved) = reserved else {
            // At once, not behind what waits for the store.
            self.refusals.remember(ask.reply, ask.chat, ask.key);
            self.metrics.refused(ErrorCode::StorageUnavailable);
            let id = Bytes::copy_from_slice(ask.client_msg_id);
            let to = (ask.reply, ask.request_id);
            return send_refused(egress, Class::Ack, to, id, ask.chat, ErrorCode::StorageUnavailable);
        };
        self.refusals.taken(ask.reply, ask.chat);
        match reserved {
            Reserved::New(id) => self.spooling.waiting.push(id),
            Reserved::Writing => {}
            Reserved::Kept => {
                let id = Bytes::copy_from_slice(ask.client_msg_id);
                send_queued(egress, (ask.reply, ask.request_id), id, ask.chat);
            }
        }
    }

    /// A send has become the last item of the filling block: it is kept as it came, in case the store is away.
    pub(super) fn keep_send(&mut self, send: &Sending<'_>) {
        let kept = self.copy_of(send);
        if let Some(item) = self.filling.items.last_mut() {
            item.send = kept;
        }
    }

    /// A session's send as it came, for an item of a block that may have to go into the spool. Those that repeat another go there
    /// too: that one may be in another writer's spool, and what the session sends next in this one.
    pub(super) fn copy_of(&mut self, send: &Sending<'_>) -> Option<Box<Envelope>> {
        let from_session = send.reply.connection != spool::CONNECTION;
        if self.spooling.outage.is_none() || self.log.owned().is_none() || !from_session {
            return None;
        }
        self.spooling.outstanding = true;
        Some(Box::new(send.to_envelope(|frame| frame.to_frame())))
    }

    /// Puts into the spool what its session sent before a send that goes there, and is in blocks. Whether all of it is there.
    fn spool_before(&mut self, now: Now, ask: &Ask<'_>, egress: &mut dyn Egress) -> bool {
        if self.store_is_away(now) {
            self.spool_outstanding(now, egress);
            return !self.spooling.outstanding;
        }
        let Some(index) = self.memory.chats.find(ask.chat) else { return true };
        let chat = self.memory.chats.get(index);
        chat.ordered.seq <= chat.head.seq || self.spool_blocks(now, Some((index, ask.user)), egress)
    }

    /// While the store is away, sends in blocks go into the spool, before any that come later. Those for which there is no room
    /// wait for their block.
    pub(crate) fn spool_outstanding(&mut self, now: Now, egress: &mut dyn Egress) {
        self.spooling.looked_ns = now.mono_ns;
        let failed = now.mono_ns < self.spooling.failed_until_ns;
        if self.spooling.outstanding && !failed && self.store_is_away(now) {
            self.spooling.outstanding = !self.spool_blocks(now, None, egress);
        }
    }

    /// Puts sends in blocks into the spool: all, or those of one user to one chat. Whether there was room for them.
    fn spool_blocks(&mut self, now: Now, of: Option<(u32, UserId)>, egress: &mut dyn Egress) -> bool {
        let Some(outage) = &self.spooling.outage else { return true };
        for item in self.in_flight.iter_mut().chain([&mut self.filling]).flat_map(|batch| &mut batch.items) {
            if item.spooled || of.is_some_and(|of| of != (item.chat, item.user)) {
                continue;
            }
            let Some(send) = item.send.as_ref().and_then(|envelope| Sending::of(envelope)) else { continue };
            match outage.spool.reserve(now, self.number, &send) {
                Some(Reserved::New(id)) => self.spooling.waiting.push(id),
                Some(Reserved::Writing) => {}
                Some(Reserved::Kept) => {
                    let id = Bytes::copy_from_slice(item.client_msg_id());
                    send_queued(egress, (item.reply, item.request_id), id, send.chat);
                }
                None => return false,
            }
            item.spooled = true;
        }
        true
    }

    /// The spool does not have these after all. Those that are in blocks wait for them, as if it had never been asked; the
    /// others are returned.
    fn unspool(&mut self, mut withdrawn: Vec<Withdrawn>) -> Vec<Withdrawn> {
        let chats = &self.memory.chats;
        for item in self.in_flight.iter_mut().chain([&mut self.filling]).flat_map(|batch| &mut batch.items) {
            if !item.spooled || withdrawn.is_empty() {
                continue;
            }
            let of_item = |one: &Withdrawn| {
                one.asker == (item.reply, item.request_id)
                    && one.client_msg_id == item.client_msg_id()
                    && one.chat == chats.get(item.chat).id
            };
            if let Some(at) = withdrawn.iter().position(of_item) {
                withdrawn.remove(at);
                item.spooled = false;
                self.spooling.outstanding = true;
            }
        }
        withdrawn
    }

    /// At the end of a turn: what is to be in the spool is written.
    pub(crate) fn start_spooling(&mut self) {
        let Spooling { outage: Some(outage), waiting, writing, .. } = &mut self.spooling else { return };
        if !waiting.is_empty()
            && let Some(ticket) = outage.spool.ticket(self.number)
        {
            *writing = true;
            let work = Work::Spool { ticket, ids: std::mem::take(waiting) };
            self.jobs.push_back((JobQueue::Spool, work));
        }
    }

    /// A write of the spool has ended. `own`: it was begun under this epoch; sessions of now may wait for others too.
    pub(crate) fn spooled(
        &mut self,
        now: Now,
        written: Written,
        (_ticket, own): (Ticket, bool),
        egress: &mut dyn Egress,
    ) {
        self.spooling.writing &= !own;
        let Some(outage) = self.spooling.outage.clone() else { return };
        match written {
            Written::Durable(ids) => {
                for (askers, client_msg_id, chat) in ids.iter().filter_map(|id| outage.spool.take_askers(*id)) {
                    askers.into_iter().for_each(|asker| send_queued(egress, asker, client_msg_id.clone(), chat));
                }
            }
            Written::Failed(mut withdrawn) => {
                withdrawn.extend(outage.spool.withdraw(&std::mem::take(&mut self.spooling.waiting)));
                self.failures += 1;
                self.spooling.failed_until_ns = now.mono_ns + FAILED_NS;
                for Withdrawn { asker, user, chat, client_msg_id } in self.unspool(withdrawn) {
                    let key = self.keys.key(chat, user, &client_msg_id);
                    let first = self.refusals.remember_first(asker.0, chat, key, self.failures);
                    let code = if first { ErrorCode::StorageUnavailable } else { ErrorCode::AfterRefused };
                    self.metrics.refused(code);
                    send_refused(egress, Class::Ack, asker, client_msg_id, chat, code);
                }
            }
        }
    }

    /// The block of a send is durable that the spool has too. Whether somebody gets it as their first answer.
    pub(super) fn answer_spooled(&self, item: &Item, chat: ChatId, egress: &mut dyn Egress) -> bool {
        let Some(outage) = self.spooling.outage.as_ref().filter(|_| item.what.is_entry()) else { return false };
        let timestamp_ms = timeuuid::unix_ms(item.message);
        let stored = Settled { message: item.message, seq: item.seq, timestamp_ms };
        match outage.spool.stored(item.user, chat, item.client_msg_id(), stored) {
            Found::Queued(ended) => send_settled(egress, ended),
            Found::Untold(askers) => {
                for asker in askers {
                    let at = (item.seq, item.message);
                    send_sent(egress, asker, (item.client_msg_id(), &item.frame), chat, at, item.trace.as_deref());
                }
                return true;
            }
            Found::Gone => {}
        }
        false
    }

    /// When it has to be looked whether the store is away, ns.
    pub(crate) fn spooling_due_ns(&self) -> Option<u64> {
        let waits = self.spooling.outage.is_some() && self.log.owned().is_some_and(OwnedLog::is_busy);
        waits.then_some(self.spooling.looked_ns + LOOK_NS)
    }
}
