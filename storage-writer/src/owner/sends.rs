//! A send's way into a block: refusals, chat, dedupe, id, record.
//!
//! What must stay true: a session's sends to one chat are ordered, and answered with refusals, in the order they came.

use bytes::Bytes;
use fabric::count::Tally as _;
use fabric::tier::{Egress, Send as Sending};
use fabric::time::Now;
use schema::envelope::{Class, Envelope};
use schema::errors::{ErrorCode, Retry};
use schema::ids::{ChatId, ChatKind, MessageId, UserId};
use schema::wire::{EntryKind, Send};

use super::account::is_account;
use super::amend::{Lookup, Original, is_amendment};
use super::answers::{send_refused, send_sent};
use super::append::{Judged, what_of};
use super::ask::Ask;
use super::batch::{Item, What};
use super::dedupe::Known;
use super::parking::Looked;
use super::roster::{Change, is_change};
use crate::partition::{Partition, ReadWork};
use crate::store::GroupState;

impl Partition {
    /// Takes a send, or lets it wait for a block with room.
    pub fn take_send(&mut self, now: Now, send: &Sending<'_>, egress: &mut dyn Egress) {
        self.metrics.sends.one();
        if self.lacks(send.chat) {
            return self.refuse_send_of_stranger(send, egress);
        }
        if self.inbox.is_empty() && (self.has_room() || self.store_is_away(now)) {
            return self.order_send(now, send, egress, Looked::Not);
        }
        let crowded = self.waiting_sends() >= self.config.waiting_sends;
        self.inbox.push_back(send.to_envelope(|frame| frame.to_frame()));
        if crowded {
            self.refuse_waiting(ErrorCode::Overloaded, egress);
        } else {
            self.metrics.queued.inc();
        }
    }

    /// Fetches what the next send's look-up will read: in a table of millions it is in no cache.
    pub fn expect_send(&mut self, chat: ChatId, user: UserId, client_msg_id: &[u8]) {
        self.memory.dedupe.prefetch(&self.keys.ahead(chat, user, client_msg_id));
    }

    /// The filling block takes one more send, and the positions that go in last.
    pub(super) fn has_room(&self) -> bool {
        self.log.is_poisoned()
            || self.stopping
            || (self.filling_bytes < self.config.block_bytes && self.filling.items.len() < self.config.waiting_sends)
    }

    /// All kinds.
    pub(crate) fn waiting_sends(&self) -> usize {
        self.inbox.len() + self.parked_sends
    }

    /// Orders what waited for room.
    pub(crate) fn drain_inbox(&mut self, now: Now, egress: &mut dyn Egress) {
        while (self.has_room() || self.store_is_away(now))
            && let Some(envelope) = self.inbox.pop_front()
        {
            self.order_envelope(now, &envelope, egress);
        }
    }

    pub(super) fn order_envelope(&mut self, now: Now, envelope: &Envelope, egress: &mut dyn Egress) {
        match Sending::of(envelope) {
            Some(send) => self.order_send(now, &send, egress, Looked::Not),
            None => debug_assert!(false, "only sends wait"),
        }
    }

    /// Answers, parks, refuses or orders a send. `looked`: what the store has said of it.
    pub(super) fn order_send(&mut self, now: Now, sending: &Sending<'_>, egress: &mut dyn Egress, looked: Looked) {
        let Some((ask, send)) = Ask::of(sending, &self.keys) else {
            self.metrics.misrouted.inc();
            return;
        };
        self.memory.dedupe.prefetch(&ask.key);
        let &Sending { to, retry, .. } = sending;
        if !self.refusals.admits(ask.reply, ask.chat, &ask.key) {
            return self.refuse_send(&ask, ErrorCode::AfterRefused, egress);
        }
        let index = match self.admit(&ask, to, send.kind()) {
            Ok(index) => index,
            // What makes the chat, or them a member of it, may be queued itself.
            Err(ErrorCode::UnknownChat | ErrorCode::NotAMember) if self.follows_queued(&ask) => {
                return self.spool_send(now, sending, &ask, egress);
            }
            Err(code) => return self.refuse_send(&ask, code, egress),
        };
        if let Some(index) = index {
            if let Some(known) = self.memory.dedupe.get(&ask.key) {
                let is_durable = known.seq <= self.memory.chats.get(index).head.seq;
                return match !is_durable && self.is_kept(&ask) {
                    true => self.spool_send(now, sending, &ask, egress),
                    false => self.answer_resend((index, known), sending, &ask, egress),
                };
            }
            // Behind others of its chat even if it will be refused: refusals keep the order too.
            if self.parked.contains_key(&index) {
                return self.park(index, &ask, sending, None, egress);
            }
        }
        if self.goes_to_spool(now, &ask) {
            return self.spool_send(now, sending, &ask, egress);
        }
        if let Some(code) = self.closed_for() {
            return self.refuse_send(&ask, code, egress);
        }
        if let Some(index) = index
            && retry
            && matches!(looked, Looked::Not)
            && self.may_be_older(index)
        {
            return self.park(index, &ask, sending, Some(ReadWork::Dedupe { chat: ask.chat, key: ask.key }), egress);
        }
        let original = match self.original(index, &send, looked) {
            Ok(original) => original,
            Err(message) => {
                let what = ReadWork::Original { chat: ask.chat, message };
                return self.park(index.unwrap_or_default(), &ask, sending, Some(what), egress);
            }
        };
        // After the answers to resends: whoever has left since gets the answer of then.
        let appended = match self.judge(now, (index, to), &ask, &send, original) {
            Ok(judged) => self.append_judged(now, &ask, index.ok_or(to), &send, judged),
            Err(code) => Err(code),
        };
        match appended {
            Ok((index, head, frame)) => {
                self.entry_ordered(now, (index, head), &ask, frame, what_of(send.kind()));
                self.keep_send(sending);
            }
            Err(code) => self.refuse_send(&ask, code, egress),
        }
    }

    /// What an amendment refers to, if it is one; the id to ask the store for where memory cannot say.
    fn original(&mut self, index: Option<u32>, send: &Send<'_>, looked: Looked) -> Result<Option<Original>, MessageId> {
        let (Some(index), Some(refers_to)) = (index, send.refers_to()) else { return Ok(None) };
        if !is_amendment(send.kind()) {
            return Ok(None);
        }
        let message = refers_to.into();
        let found = match looked {
            Looked::Original(entry) => self.stored_original(index, entry.as_ref()),
            Looked::Not | Looked::NotSentBefore => self.find_original(index, message),
        };
        match found {
            Lookup::Known(original) => Ok(Some(original)),
            Lookup::Unknown => Ok(None),
            Lookup::AskStore => Err(message),
        }
    }

    /// Finds the chat and checks that the sender may write there. `None`: a direct chat that its first message makes.
    fn admit(&mut self, ask: &Ask<'_>, to: Option<UserId>, kind: EntryKind) -> Result<Option<u32>, ErrorCode> {
        let Some(index) = self.memory.chats.find(ask.chat) else {
            let derived = match to {
                _ if kind == EntryKind::created => ChatId::group(ask.user, ask.client_msg_id),
                Some(to) if !is_change(kind) && !is_account(kind) => ChatId::direct(ask.user, to),
                None if ask.chat == ChatId::account(ask.user) && is_account(kind) => ask.chat,
                None if ask.chat == ChatId::account(ask.user) => return Err(ErrorCode::Unsupported),
                _ => return Err(ErrorCode::UnknownChat),
            };
            if ask.chat != derived {
                return Err(ErrorCode::InvalidField);
            }
            if !self.residents.has(ask.chat) {
                self.metrics.misrouted.inc();
                return Err(ErrorCode::Internal);
            }
            return Ok(None);
        };
        let chat = self.memory.chats.get(index);
        if let Some(group) = &chat.group {
            if is_account(kind) {
                return Err(ErrorCode::Unsupported);
            }
            return match group.current().seat(ask.user) {
                Some(_) if to.is_none() => Ok(Some(index)),
                None if kind == EntryKind::created && ask.chat == ChatId::group(ask.user, ask.client_msg_id) => {
                    Ok(Some(index)) // what was to make it failed
                }
                None => Err(ErrorCode::NotAMember),
                Some(_) => Err(ErrorCode::InvalidField),
            };
        }
        if chat.kind == ChatKind::Account && chat.member(ask.user).is_none() {
            return Err(ErrorCode::UnknownChat);
        }
        if is_change(kind) || is_account(kind) != (chat.kind == ChatKind::Account) {
            return Err(ErrorCode::Unsupported);
        }
        let member = chat.member(ask.user).is_some();
        match to {
            // The id is derived from the two, so both being members is the same as deriving it again.
            Some(to) if member && chat.kind == ChatKind::Direct && chat.member(to).is_some() => Ok(Some(index)),
            Some(_) => Err(ErrorCode::InvalidField),
            // What was to make it may have failed: an account log is there for its user all the same.
            None if member && (chat.ordered.seq > 0 || chat.kind == ChatKind::Account) => Ok(Some(index)),
            None => Err(ErrorCode::UnknownChat),
        }
    }

    /// Whether the sender may write this now, and what it changes.
    fn judge(
        &self,
        now: Now,
        (index, to): (Option<u32>, Option<UserId>),
        ask: &Ask<'_>,
        send: &Send<'_>,
        original: Option<Original>,
    ) -> Result<Judged, ErrorCode> {
        let nobody = GroupState::default();
        let group = index.and_then(|index| self.memory.chats.get(index).group.as_ref());
        let roster = group.map_or(&nobody, |group| group.current());
        let kind = send.kind();
        if is_change(kind) {
            return roster.judge(Change::of_send(ask.user, send), self.config.group_members).map(Judged::Change);
        }
        if let (Some(_), Some(index)) = (group, index) {
            if !roster.is_present(ask.user) {
                return Err(ErrorCode::NotAMember);
            }
            if !self.audience.admits(now, index, ask.user) {
                return Err(ErrorCode::RateLimited);
            }
        }
        match (kind, index) {
            (kind, index) if is_account(kind) => self.judge_account(index, ask, send).map(Judged::Account),
            (EntryKind::message, _) => {
                self.judge_mentions(index, ask, to, send)?;
                Ok(Judged::Plain)
            }
            (EntryKind::timer, Some(index)) => self.judge_timer(index, ask, send).map(Judged::Acting),
            (kind, Some(index)) if is_amendment(kind) => {
                let original = original.ok_or(ErrorCode::UnknownMessage)?;
                let amends = self.judge_amendment(now, index, ask, kind, &original)?;
                self.judge_mentions(Some(index), ask, to, send)?;
                Ok(Judged::Acting(amends))
            }
            _ => Err(ErrorCode::Unsupported),
        }
    }

    /// Why no new entry can be taken at the moment.
    fn closed_for(&self) -> Option<ErrorCode> {
        if self.stopping {
            Some(ErrorCode::GoingAway)
        } else if self.log.is_poisoned() {
            Some(ErrorCode::StorageUnavailable)
        } else if self.is_full() {
            Some(ErrorCode::Overloaded)
        } else {
            None
        }
    }

    /// A resend of something ordered or committed.
    fn answer_resend(
        &mut self,
        (index, known): (u32, Known),
        sending: &Sending<'_>,
        ask: &Ask<'_>,
        egress: &mut dyn Egress,
    ) {
        debug_assert_eq!(known.chat, index, "a key names its chat");
        if known.chat != index {
            return self.refuse_send(ask, ErrorCode::InvalidClientMsgId, egress);
        }
        self.refusals.taken(ask.reply, ask.chat);
        if known.seq <= self.memory.chats.get(index).head.seq {
            self.metrics.dedupe_memory_hits.inc();
            return self.answer_stored(ask, (known.seq, known.message), egress);
        }
        self.metrics.dedupe_overlay_hits.inc();
        let answer = ask.answer(What::Duplicate, index, (known.seq, known.message));
        let send = self.copy_of(sending);
        self.defer(Item { send, ..answer });
    }

    /// Answers a resend of something durable.
    pub(super) fn answer_stored(&self, ask: &Ask<'_>, at: (u64, MessageId), egress: &mut dyn Egress) {
        self.metrics.acks.inc();
        let id = Bytes::copy_from_slice(ask.client_msg_id);
        send_sent(egress, (ask.reply, ask.request_id), (&id, &id), ask.chat, at, None);
    }

    /// Puts an answer behind the newest entry of its chat that is not durable yet.
    fn defer(&mut self, answer: Item) {
        let newest = self.memory.chats.get(answer.chat).ordered.message;
        let batch = match &mut self.in_flight {
            Some(in_flight) if in_flight.reaches(newest) => in_flight,
            _ => &mut self.filling,
        };
        debug_assert!(batch.reaches(newest), "an entry that is not committed is in one of the two blocks");
        batch.items.push(answer);
    }

    /// Whether the store may hold an answer that memory does not: what memory covers is complete from there on.
    fn may_be_older(&self, index: u32) -> bool {
        let chat = self.memory.chats.get(index);
        chat.head.seq > 0 && chat.first_ms < self.memory.dedupe.covers_from_ms()
    }

    /// Refuses a send, and remembers it if its session will try again.
    pub(super) fn refuse_send(&mut self, ask: &Ask<'_>, code: ErrorCode, egress: &mut dyn Egress) {
        self.metrics.refused(code);
        let session = ask.reply;
        if code.info().retry == Retry::Never {
            // Blocks nothing; and if it is what was refused before, nothing waits for it any more.
            if self.refusals.admits(session, ask.chat, &ask.key) {
                self.refusals.taken(session, ask.chat);
            }
        } else if code != ErrorCode::AfterRefused {
            self.refusals.remember(session, ask.chat, ask.key);
            if let Some(index) = self.memory.chats.find(ask.chat) {
                let chat = self.memory.chats.get(index);
                if chat.ordered.seq > chat.head.seq && self.filling.items.len() < 2 * self.config.waiting_sends {
                    return self.defer(ask.answer(What::Refusal(code), index, (0, MessageId([0; 16]))));
                }
            }
        }
        let client_msg_id = Bytes::copy_from_slice(ask.client_msg_id);
        send_refused(egress, Class::Ack, (session, ask.request_id), client_msg_id, ask.chat, code);
    }

    /// Refuses a send before it was looked at.
    pub(crate) fn refuse_now(&mut self, send: &Sending<'_>, code: ErrorCode, egress: &mut dyn Egress) {
        let Some((ask, _)) = Ask::of(send, &self.keys) else { return };
        let admitted = self.refusals.admits(ask.reply, ask.chat, &ask.key);
        self.refuse_send(&ask, if admitted { code } else { ErrorCode::AfterRefused }, egress);
    }

    /// Refuses every send that waits, in the order they came.
    pub(crate) fn refuse_waiting(&mut self, code: ErrorCode, egress: &mut dyn Egress) {
        let mut waiting: Vec<Envelope> = Vec::with_capacity(self.waiting_sends());
        for (_, parked) in self.parked.drain() {
            waiting.extend(parked.sends);
        }
        self.parked_sends = 0;
        waiting.extend(self.inbox.drain(..));
        for envelope in waiting {
            let Some(sending) = Sending::of(&envelope) else { continue };
            self.refuse_now(&sending, code, egress);
        }
    }
}
