//! A block's end: what it held becomes visible, is answered and pushed; or all of it is refused.
//!
//! What must stay true: state first, then answers, then pushes, then receipts, so that whoever hears of an entry can read
//! it; a failed block leaves nothing behind.

use bytes::Bytes;
use fabric::tier::Egress;
use fabric::time::Now;
use fabric::trace::Step;
use schema::envelope::{Body, Class, Envelope, Recipient, Recipients};
use schema::errors::{ErrorCode, Retry};
use schema::ids::{MessageId, UserId};
use schema::wire::MarkStatus;
use smallvec::{SmallVec, smallvec};

use super::answers::{send_refused, send_sent};
use super::batch::{Batch, Item, PendingPosition, What};
use super::chats::Member;
use super::memory::Raised;
use crate::memtable::NewEntry;
use crate::partition::Partition;

/// Entries settled at once: few enough that they, their chats and their envelopes stay in the cache.
const SETTLED_AT_ONCE: usize = 64;

/// Who hears of a mark.
#[derive(Clone, Copy)]
struct To {
    /// The senders of what is marked.
    others: bool,
    /// The user's own devices.
    own: bool,
}

/// Adds a member to a push's recipients.
pub(super) fn add_recipient(recipients: &mut Recipients, member: &Member) {
    let user = member.user;
    for device in &member.devices {
        recipients.push(Recipient { user, device: Some(device.id), acked_seq: device.acked });
    }
    if member.devices.is_empty() {
        recipients.push(Recipient { user, device: None, acked_seq: 0 });
    }
}

impl Partition {
    /// The block is durable. Its entries are settled some at a time, so that what one step touches is still at hand in the
    /// next.
    pub(crate) fn commit(&mut self, now: Now, mut batch: Batch, egress: &mut dyn Egress) {
        let (mut absorbed, mut acks) = (0, 0);
        // They point at what was committed before; the pushes name them.
        let receipts = self.commit_positions(now, &batch.positions);
        for items in batch.items.chunks_mut(SETTLED_AT_ONCE) {
            for item in items.iter().filter(|item| item.what.is_entry()) {
                let expires_s = self.memory.expires_s(item.chat, &item.frame);
                let (seq, message, key) = (item.seq, item.message, item.key);
                let entry = NewEntry { seq, message, frame: &item.frame, key, expires_s };
                absorbed += u64::from(self.memory.commit_entry(now, item.chat, (item.user, item.device), entry));
                if item.what == What::Acting {
                    self.settle_act(item.chat, item.seq, &item.frame);
                }
                self.schedule_nudge(now, item.chat);
            }
            for item in &*items {
                acks += u64::from(self.answer(item, egress));
            }
            for item in items.iter_mut().filter(|item| item.what.is_entry()) {
                if let Some(trace) = &mut item.trace {
                    trace.stages.committed = now.mono_ns;
                    if let Some(spans) = &self.config.spans {
                        spans.record(now, trace, Step::Commit, trace.stages.ordered);
                    }
                }
                self.push(item.chat, (item.seq, &item.frame), (item.reply, item.trace.as_deref()), egress);
            }
        }
        for (user, envelope) in receipts {
            egress.to_router(user, envelope);
        }
        self.metrics.acks.inc_by(acks);
        self.metrics.own_absorbed.inc_by(absorbed);
        self.recycle(batch);
    }

    /// Whether it was an answer to something durable, not a refusal.
    fn answer(&self, item: &Item, egress: &mut dyn Egress) -> bool {
        let chat = self.memory.chats.get(item.chat).id;
        let reply = (item.reply, item.request_id);
        if item.spooled {
            return self.answer_spooled(item, chat, egress);
        }
        match item.what {
            What::Entry | What::Acting | What::Duplicate => {
                let (at, trace) = ((item.seq, item.message), item.trace.as_deref());
                send_sent(egress, reply, (item.client_msg_id(), &item.frame), chat, at, trace);
                true
            }
            What::Refusal(code) => {
                let client_msg_id = item.frame.slice_ref(item.client_msg_id());
                send_refused(egress, Class::Ack, reply, client_msg_id, chat, code);
                false
            }
        }
    }

    /// Applies positions; returns the receipts that leave once everything else has.
    fn commit_positions(&mut self, now: Now, positions: &[PendingPosition]) -> Vec<(UserId, Envelope)> {
        let mut receipts = Vec::new();
        for position in positions {
            let who = (position.user, position.device);
            let mut raised = [Raised::default(); 3];
            for (raised, (status, secret, (seq, _))) in raised.iter_mut().zip(position.parts()) {
                if seq > 0 {
                    *raised = self.memory.commit_position(now, position.chat, who, seq, (status, secret));
                }
            }
            let [delivered, read, secret] = raised;
            // Of what is read in secret the others hear that it is delivered.
            let (told, before) = match secret.delivered {
                true if delivered.delivered => (position.secret, delivered.before.0),
                true => (position.secret, secret.before.0),
                false => (position.delivered, delivered.before.0),
            };
            if (delivered.delivered || secret.delivered) && (!read.shown || told.0 > position.read.0) {
                let to = To { others: true, own: false };
                self.receipts(position, (before, told), (MarkStatus::delivered, to), &mut receipts);
            }
            if read.shown {
                let to = To { others: true, own: read.read };
                self.receipts(position, (read.before.1, position.read), (MarkStatus::read, to), &mut receipts);
            }
            if secret.read {
                let to = To { others: false, own: true };
                self.receipts(position, (0, position.secret), (MarkStatus::read, to), &mut receipts);
            }
        }
        receipts
    }

    fn receipts(
        &mut self,
        position: &PendingPosition,
        (before, (seq, message)): (u64, (u64, Option<MessageId>)),
        (status, to): (MarkStatus, To),
        out: &mut Vec<(UserId, Envelope)>,
    ) {
        let Some(message) = message else { return };
        let mut senders = match to.others {
            true => self.memory.senders_up_to(position.chat, (before, seq), position.user),
            false => SmallVec::new(),
        };
        if to.own {
            senders.push(position.user); // their other devices show it as read too
        }
        if senders.is_empty() {
            return;
        }
        let chat = self.memory.chats.get(position.chat).id;
        let frame = self.encoder.receipt(chat, message, seq, position.user, status);
        for user in senders {
            let users: SmallVec<[UserId; 2]> = smallvec![user];
            out.push((user, Envelope::new(Class::Live, Body::Notify { frame: frame.clone(), users })));
            self.metrics.receipts.inc();
        }
    }

    /// The journal is poisoned: nothing of the failed block, nor of what was ordered behind it, was ever anywhere.
    pub(crate) fn discard(&mut self, now: Now, egress: &mut dyn Egress) {
        self.metrics.poisonings.inc();
        self.metrics.poisoned.set(1);
        self.failures += 1;
        self.amending.forget();
        let failed = self.in_flight.take();
        let next = self.filling.number + 1;
        let filling = core::mem::replace(&mut self.filling, Batch { number: next, ..Batch::default() });
        (self.filling_bytes, self.positions_appended) = (0, 0);
        let batches: Vec<Batch> = failed.into_iter().chain([filling]).collect();
        for item in batches.iter().flat_map(|batch| &batch.items) {
            if item.what.is_entry() {
                self.memory.dedupe.forget(&item.key);
            }
            self.memory.chats.get_mut(item.chat).forget_ordered();
        }
        for batch in batches {
            for item in batch.items {
                self.refuse_failed(item, egress);
            }
            // Positions point at what is committed, so they are as right as before.
            for position in batch.positions {
                self.keep_position(position);
            }
        }
        self.refuse_waiting(ErrorCode::StorageUnavailable, egress);
        self.retry_at(now);
    }

    fn refuse_failed(&mut self, item: Item, egress: &mut dyn Egress) {
        let chat = self.memory.chats.get(item.chat).id;
        let code = match item.what {
            What::Refusal(code) => code,
            What::Entry | What::Acting | What::Duplicate => ErrorCode::StorageUnavailable,
        };
        debug_assert!(code.info().retry != Retry::Never);
        let first = self.refusals.remember_first(item.reply, chat, item.key, self.failures);
        let code = if first { code } else { ErrorCode::AfterRefused };
        self.metrics.refused(code);
        let client_msg_id = item.frame.slice_ref(item.client_msg_id());
        send_refused(egress, Class::Ack, (item.reply, item.request_id), client_msg_id, chat, code);
    }

    /// Keeps a batch's memory for the next one.
    fn recycle(&mut self, mut batch: Batch) {
        batch.items.clear();
        batch.positions.clear();
        // A burst's memory is not kept for good.
        batch.items.shrink_to(4_096);
        batch.positions.shrink_to(4_096);
        self.spare = Some(Batch { items: batch.items, positions: batch.positions, ..Batch::default() });
    }

    /// Refuses something that is not a send.
    pub(super) fn refuse_read(
        &mut self,
        class: Class,
        reply: (schema::envelope::Address, u64),
        chat: schema::ids::ChatId,
        code: ErrorCode,
        egress: &mut dyn Egress,
    ) {
        self.metrics.refused(code);
        send_refused(egress, class, reply, Bytes::new(), chat, code);
    }
}
