//! Sends that wait for what the store knows: of an earlier one under the same client_msg_id, or of what they amend.
//!
//! What must stay true: a chat's sends stay in their order, so all of them wait behind the first that does.

use std::collections::VecDeque;

use fabric::tier::{Egress, Send as Sending};
use fabric::time::Now;
use schema::envelope::Envelope;
use schema::errors::ErrorCode;

use super::ask::Ask;
use crate::partition::{Partition, PendingRead, ReadWork};
use crate::store::{DedupeHit, StoreError, StoredEntry};

/// Sends of a chat that wait for what the store knows of the first of them.
pub(crate) struct Parked {
    /// The read that ends the wait.
    pub read: u64,
    pub sends: VecDeque<Envelope>,
}

/// What the store has said of a send so far.
pub(crate) enum Looked {
    /// It was not asked.
    Not,
    /// Nothing was sent under this client_msg_id before.
    NotSentBefore,
    /// That, and what it amends.
    Original(Option<StoredEntry>),
}

/// What the store said of the first of some parked sends.
pub(crate) enum Found {
    Dedupe(Option<DedupeHit>),
    Original(Option<StoredEntry>),
}

impl Partition {
    /// Lets a send wait for `what`, or behind those of its chat that do.
    pub(super) fn park(
        &mut self,
        index: u32,
        ask: &Ask<'_>,
        sending: &Sending<'_>,
        what: Option<ReadWork>,
        egress: &mut dyn Egress,
    ) {
        let envelope = sending.to_envelope(|frame| frame.to_frame());
        if let Some(parked) = self.parked.get_mut(&index) {
            parked.sends.push_back(envelope);
        } else {
            let read = what.and_then(|what| self.start_read(PendingRead::Parked { chat: index }, what));
            let Some(read) = read else { return self.refuse_send(ask, ErrorCode::Overloaded, egress) };
            self.metrics.dedupe_store_lookups.inc();
            self.parked.insert(index, Parked { read, sends: VecDeque::from([envelope]) });
        }
        // It has come again: what follows it waits behind it, and is judged after it.
        self.refusals.taken(ask.reply, ask.chat);
        self.metrics.parked.inc();
        self.parked_sends += 1;
        if self.waiting_sends() > self.config.waiting_sends {
            self.refuse_waiting(ErrorCode::Overloaded, egress);
        }
    }

    /// What the store says about the first send parked behind `read`.
    pub(crate) fn parked_answered(
        &mut self,
        now: Now,
        (read, index): (u64, u32),
        found: Result<Found, StoreError>,
        egress: &mut dyn Egress,
    ) {
        if self.parked.get(&index).is_none_or(|parked| parked.read != read) {
            return; // refused meanwhile
        }
        let Some(mut parked) = self.parked.remove(&index) else { return };
        self.parked_sends -= parked.sends.len();
        if let Some(first) = parked.sends.pop_front() {
            self.lookup_ended(now, &first, found, egress);
        }
        while let Some(envelope) = parked.sends.pop_front() {
            if !self.has_room() {
                // Older than anything of this chat that waits for room.
                self.inbox.push_front(envelope);
                while let Some(envelope) = parked.sends.pop_back() {
                    self.inbox.insert(1, envelope);
                }
                return;
            }
            self.order_envelope(now, &envelope, egress);
        }
    }

    fn lookup_ended(
        &mut self,
        now: Now,
        envelope: &Envelope,
        found: Result<Found, StoreError>,
        egress: &mut dyn Egress,
    ) {
        let Some(sending) = Sending::of(envelope) else { return };
        let Some((ask, _)) = Ask::of(&sending, &self.keys) else { return };
        match found {
            Ok(Found::Dedupe(Some(hit))) if hit.chat == ask.chat => {
                self.metrics.dedupe_store_hits.inc();
                self.refusals.taken(ask.reply, ask.chat);
                self.answer_stored(&ask, (hit.seq, hit.message), egress);
            }
            Ok(Found::Dedupe(_)) => self.order_send(now, &sending, egress, Looked::NotSentBefore),
            Ok(Found::Original(entry)) => self.order_send(now, &sending, egress, Looked::Original(entry)),
            Err(_) if self.goes_to_spool(now, &ask) => self.spool_send(now, &sending, &ask, egress),
            Err(_) => self.refuse_send(&ask, ErrorCode::StorageUnavailable, egress),
        }
    }
}
