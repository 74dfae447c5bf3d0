//! Watermarks: find what is marked, clamp it, and let it ride in the next block.

use fabric::tier::Egress;
use schema::envelope::{Address, Class, Header};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire::MarkStatus;

use super::batch::PendingPosition;
use crate::journal::{PositionRecord, Record};
use crate::partition::{Partition, PendingRead, ReadWork};
use crate::store::{StoreError, StoredEntry};

/// A watermark whose other half the store must say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingMark {
    pub chat: u32,
    pub user: UserId,
    pub device: DeviceId,
    pub status: MarkStatus,
    /// Others are not told that it is read.
    pub secret: bool,
    pub reply: (Address, u64),
}

/// What the store said about a mark: its seq, or the entry at its seq.
pub(crate) enum MarkAnswer {
    Seq(Option<u64>, Option<MessageId>),
    Entry(u64, Option<StoredEntry>),
}

impl Partition {
    /// Takes a watermark. `seq` 0: by `message`.
    pub(crate) fn handle_mark(
        &mut self,
        header: &Header,
        chat: ChatId,
        who: (UserId, DeviceId),
        mark: (u64, Option<MessageId>, MarkStatus, bool),
        egress: &mut dyn Egress,
    ) {
        self.metrics.marks.inc();
        let reply = (header.reply, header.request_id);
        let index = match self.find_for(chat, who.0) {
            Ok(index) => index,
            Err(code) => return self.refuse_read(Class::Ack, reply, chat, code, egress),
        };
        let (.., status, secret) = mark;
        let pending = PendingMark { chat: index, user: who.0, device: who.1, status, secret, reply };
        let head = self.memory.chats.get(index).visible_head(who.0);
        let read = match mark {
            (0, None, ..) => return self.refuse_read(Class::Ack, reply, chat, ErrorCode::UnknownMessage, egress),
            (0, Some(message), ..) => match self.memory.seq_of(index, message) {
                Some(seq) => return self.raise(pending, seq, Some(message), egress),
                None => ReadWork::FindMessage { chat, message },
            },
            (seq, ..) => {
                if seq > head {
                    self.metrics.marks_clamped.inc();
                    self.refuse_read(Class::Ack, reply, chat, ErrorCode::MarkBeyondHead, egress);
                }
                let seq = seq.min(head);
                if self.is_stale(&pending, seq) {
                    self.metrics.marks_stale.inc();
                    return;
                }
                match self.memory.message_at(index, seq) {
                    Some(message) => return self.raise(pending, seq, Some(message), egress),
                    None => ReadWork::AtSeq { chat, seq },
                }
            }
        };
        if self.start_read(PendingRead::Mark(pending), read).is_none() {
            return self.refuse_read(Class::Ack, reply, chat, ErrorCode::Overloaded, egress);
        }
        self.metrics.marks_looked_up.inc();
    }

    /// The chat that a user asks about: they must be, or have been, in it.
    pub(crate) fn find_for(&self, chat: ChatId, user: UserId) -> Result<u32, ErrorCode> {
        let index = self.memory.chats.find(chat).ok_or(ErrorCode::UnknownChat)?;
        let chat = self.memory.chats.get(index);
        match chat.member(user) {
            Some(_) if chat.head.seq > 0 => Ok(index),
            None if chat.group.is_some() && chat.head.seq > 0 => Err(ErrorCode::NotAMember),
            _ => Err(ErrorCode::UnknownChat),
        }
    }

    fn is_stale(&self, mark: &PendingMark, seq: u64) -> bool {
        let chat = self.memory.chats.get(mark.chat);
        let Some(at) = chat.member(mark.user) else { return true };
        let member = &chat.members[at];
        let read = if mark.secret { member.read } else { chat.shown(at) };
        seq <= member.acked(mark.device) && seq <= member.delivered && (mark.status != MarkStatus::read || seq <= read)
    }

    /// The store's answer to a mark.
    pub(crate) fn mark_answered(
        &mut self,
        mark: PendingMark,
        answer: Result<MarkAnswer, StoreError>,
        egress: &mut dyn Egress,
    ) {
        let chat = self.memory.chats.get(mark.chat).id;
        match answer {
            Ok(MarkAnswer::Seq(Some(seq), message)) => self.raise(mark, seq, message, egress),
            Ok(MarkAnswer::Seq(None, _)) => {
                self.refuse_read(Class::Ack, mark.reply, chat, ErrorCode::UnknownMessage, egress);
            }
            // Expired: the position counts, but there is no id to tell others.
            Ok(MarkAnswer::Entry(seq, entry)) => self.raise(mark, seq, entry.map(|e| e.message), egress),
            Err(_) => {
                self.metrics.read_failures.inc();
                self.refuse_read(Class::Ack, mark.reply, chat, ErrorCode::StorageUnavailable, egress);
            }
        }
    }

    fn raise(&mut self, mark: PendingMark, seq: u64, message: Option<MessageId>, egress: &mut dyn Egress) {
        let seq = seq.min(self.memory.chats.get(mark.chat).visible_head(mark.user));
        if self.is_stale(&mark, seq) {
            self.metrics.marks_stale.inc();
            return;
        }
        if self.stopping {
            return; // the device says it again to whoever comes next
        }
        let raised = (seq, message);
        let PendingMark { chat, user, device, status, secret, .. } = mark;
        let none = (0, None);
        let mut position = PendingPosition { chat, user, device, delivered: none, read: none, secret: none };
        match (status, secret) {
            (MarkStatus::read, false) => position.read = raised,
            (MarkStatus::read, true) => position.secret = raised,
            _ => position.delivered = raised,
        }
        if !self.keep_position(position) {
            let chat = self.memory.chats.get(mark.chat).id;
            self.refuse_read(Class::Ack, mark.reply, chat, ErrorCode::Overloaded, egress);
        }
    }

    /// Puts a position into the filling batch, together with what is there of the same device. False: too many wait.
    pub(crate) fn keep_position(&mut self, position: PendingPosition) -> bool {
        let batch = &mut self.filling;
        let chat = self.memory.chats.get_mut(position.chat);
        let Some(at) = chat.member(position.user) else { return true };
        let device = chat.members[at].device_mut(position.device);
        let (number, place) = device.pending;
        if number == batch.number
            && place as usize >= self.positions_appended
            && let Some(waiting) = batch.positions.get_mut(place as usize)
        {
            debug_assert_eq!((waiting.chat, waiting.device), (position.chat, position.device));
            if position.delivered.0 > waiting.delivered.0 {
                waiting.delivered = position.delivered;
            }
            if position.read.0 > waiting.read.0 {
                waiting.read = position.read;
            }
            if position.secret.0 > waiting.secret.0 {
                waiting.secret = position.secret;
            }
            return true;
        }
        if batch.positions.len() >= self.config.waiting_marks {
            return false;
        }
        device.pending = (batch.number, batch.positions.len() as u32);
        batch.positions.push(position);
        true
    }

    /// Appends the waiting positions to the journal's filling block, as many as it takes.
    pub(crate) fn append_positions(&mut self) {
        while let Some(position) = self.filling.positions.get(self.positions_appended).copied() {
            for (status, secret, (seq, message)) in position.parts() {
                if seq == 0 {
                    continue;
                }
                let record = Record::Position(PositionRecord {
                    chat: self.memory.chats.get(position.chat).id,
                    user: position.user,
                    device: position.device,
                    seq,
                    message: message.unwrap_or(MessageId([0; 16])),
                    status,
                    secret,
                });
                // Full between the parts of one: the next block has all of them again.
                if self.log.append(&record).is_err() {
                    return;
                }
            }
            self.positions_appended += 1;
        }
    }
}
