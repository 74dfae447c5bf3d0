//! Which partition has which chat, as a gateway shard knows it, and a chat that gets another one.
//!
//! What must stay true: of one session, what was sent later to a chat overtakes nothing. So a chat changes its partition here
//! only while the one that it leaves owes this shard nothing that was sent to that chat: every such send is answered, or
//! waits on this shard and goes on in its order before anything new.

use fabric::core::ConnId;
use fabric::tier::Egress;
use fabric::time::Now;
use schema::envelope::{Body, Envelope};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, Slot};
use schema::places::Places;

use crate::session::partition_bit;
use crate::shard::Shard;

/// The request id of a send: how often the way to its partition was lost before, and the partition whose credit it took.
pub(crate) const fn send_request(generation: u64, partition: u16) -> u64 {
    (generation << 16) | partition as u64
}

/// The partition whose credit the send of such a request id took.
pub(crate) const fn partition_of_request(request: u64) -> u16 {
    request as u16
}

/// The same, if the way there was not lost since that send left; then its answer counts, and frees the credit.
pub(crate) fn owes_of_now(generations: &[u64], request: u64) -> Option<u16> {
    let partition = partition_of_request(request);
    let generation = generations.get(usize::from(partition))?;
    (send_request(*generation, partition) == request).then_some(partition)
}

impl Shard {
    /// The partition that has a chat.
    pub(crate) fn partition_of(&self, chat: ChatId) -> u16 {
        self.places.partition(chat, self.config.partitions)
    }

    /// The slot under which an envelope about a chat goes to the partition that has it.
    pub(crate) fn slot_of(&self, chat: ChatId) -> Slot {
        self.places.slot(chat, self.config.partitions)
    }

    /// To the partition that has a chat.
    pub(crate) fn to_chat(&self, chat: ChatId, mut envelope: Envelope, egress: &mut dyn Egress) {
        let slot = self.slot_of(chat);
        envelope.header.slot = slot;
        egress.to_owner(slot, envelope);
    }

    /// The chats' places as this shard uses them.
    pub const fn places(&self) -> &Places {
        &self.places
    }

    /// Chats have other partitions from now on. The ones that they leave owe nothing for them but what waits on this shard: call
    /// [`Self::moved`] for each of that, in its order, before anything else; answer those that cannot go on; then call
    /// [`Self::serve_moved`]. Sends that wait for a credit wait for one of the partition that has their chat now.
    pub fn set_places(&mut self, places: Places) {
        self.places = places;
        for from in 0..self.waiters.len() {
            for waiter in core::mem::take(&mut self.waiters[from]) {
                let Some(index) = self.conns.find(waiter.0.index, waiter.0.generation) else { continue };
                let Some(active) = self.conns[index].active.as_mut() else { continue };
                let Some(kept) = active.kept.as_mut().filter(|kept| kept.deadline_ns == waiter.1) else { continue };
                kept.partition = self.places.partition(kept.chat, self.config.partitions);
                self.waiters[usize::from(kept.partition)].push_back(waiter);
            }
        }
    }

    /// Something that waits on this shard and is no send goes to the partition that has its chat now.
    #[must_use]
    pub fn placed(&self, mut envelope: Envelope) -> Envelope {
        if let Body::ForgetRefusals { chat }
        | Body::Mark { chat, .. }
        | Body::PageRequest { chat, .. }
        | Body::ChatRequest { chat, .. }
        | Body::StatusRequest { chat, .. } = envelope.body
        {
            envelope.header.slot = self.slot_of(chat);
        }
        envelope
    }

    /// A send that waits on this shard goes to the partition that has its chat now: it gives its credit back to the one that it
    /// was meant for, and takes one there. False: there is none; refuse it.
    pub fn moved(&mut self, envelope: &mut Envelope, chat: ChatId) -> bool {
        let (from, to) = (partition_of_request(envelope.header.request_id), self.partition_of(chat));
        envelope.header.slot = self.slot_of(chat);
        if from == to {
            return true;
        }
        if self.credits[usize::from(to)] == 0 {
            return false;
        }
        self.credits[usize::from(to)] -= 1;
        self.credits[usize::from(from)] += 1;
        envelope.header.request_id = send_request(self.generations[usize::from(to)], to);
        let reply = envelope.header.reply;
        if let Some(index) = self.conns.find(reply.connection, reply.generation)
            && let Some(active) = &mut self.conns[index].active
        {
            active.sent_to |= partition_bit(to);
        }
        true
    }

    /// Whoever can goes on, but for those behind one that was refused meanwhile: the partition that has their chat now does not
    /// know of that.
    pub fn serve_moved(&mut self, now: Now, egress: &mut dyn Egress) {
        for partition in 0..self.waiters.len() {
            for waiter in core::mem::take(&mut self.waiters[partition]) {
                if !self.is_kept_behind_refused(waiter) {
                    self.waiters[partition].push_back(waiter);
                } else if let Some((index, kept)) = self.take_kept(waiter) {
                    let send = kept.frame.root().body_as_send();
                    let id = send.and_then(|send| send.client_msg_id()).map_or(&[][..], |id| id.bytes());
                    self.refuse(now, index, kept.chat, id, ErrorCode::AfterRefused, 0, egress);
                    self.resume_credit(now, index, egress);
                }
            }
        }
        (0..self.waiters.len()).for_each(|partition| self.serve_waiters(now, partition, egress));
    }

    fn is_kept_behind_refused(&self, (conn, deadline_ns): (ConnId, u64)) -> bool {
        let index = self.conns.find(conn.index, conn.generation);
        let Some(active) = index.and_then(|index| self.conns[index].active.as_ref()) else { return false };
        let kept = active.kept.as_ref().filter(|kept| kept.deadline_ns == deadline_ns);
        let Some((kept, blocked)) = kept.zip(active.blocked.as_ref()) else { return false };
        let id = kept.frame.root().body_as_send().and_then(|send| send.client_msg_id());
        id.is_some_and(|id| !blocked.passes(kept.chat, id.bytes()))
    }
}
