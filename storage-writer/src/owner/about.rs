//! Answers to questions about one chat or message, as the frames that clients get.
//!
//! What must stay true: only what is committed is told, and only to who is or was in the chat, as far as they may see.

use bytes::Bytes;
use fabric::tier::Egress;
use fabric::time::Now;
use schema::encode::{ChatInfoFields, MemberFields, StatusFields};
use schema::envelope::{Address, Body, Class, Envelope, Header};
use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::{ChatId, MessageId, UserId};
use schema::limits::PAGE_MEMBERS;
use schema::wire::{self, EntryKind};

use super::amend::is_expired;
use super::chats::Chat;
use super::memory::sender_of;
use super::ticks::Asker;
use crate::partition::{Partition, PendingRead, ReadWork};
use crate::store::{StoreError, StoredEntry};

/// Members that an answer in a list names.
const LISTED_MEMBERS: usize = 8;
/// Largest last entry that an answer in a list has, bytes.
const LAST_ENTRY_BYTES: usize = 16 * 1024;
/// Entries looked at to count what is unread.
const UNREAD_LOOKED_AT: u64 = 1_000;

/// A message's state that waits for the store to say where the message is, or who wrote it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingStatus {
    chat: u32,
    asker: Asker,
    reply: (Address, u64),
    client_request: u64,
    message: MessageId,
}

/// What is known of the message: where it is, and its entry where the store had to say.
pub(crate) type Placed = Option<(u64, Option<StoredEntry>)>;

/// Which of a chat's members are told.
enum Told<'a> {
    /// A page of them: above this user, at most so many.
    Page(u64, usize),
    /// The first few, and the last entry.
    Listed(Option<&'a [u8]>),
}

fn kind_of(chat: &Chat) -> wire::ChatKind {
    wire::ChatKind(chat.kind as u8)
}

impl Partition {
    /// What a chat is, and a page of its members.
    pub(crate) fn handle_chat(
        &mut self,
        header: &Header,
        (chat, asker): (ChatId, Asker),
        client_request: u64,
        (after_user, limit): (u64, u32),
        egress: &mut dyn Egress,
    ) {
        let reply = (header.reply, header.request_id);
        let limit = if limit == 0 { PAGE_MEMBERS } else { limit.min(PAGE_MEMBERS) };
        match self.find_for(chat, asker.user) {
            Ok(index) => {
                let frame = self.chat_info(index, asker, client_request, &Told::Page(after_user, limit as usize));
                self.answer_with(reply, frame, egress);
            }
            Err(code) => self.refuse_read(Class::Sync, reply, chat, code, egress),
        }
    }

    /// A chat as a list names it.
    pub(super) fn listed_chat(&mut self, now: Now, index: u32, asker: Asker, stored: Option<&[u8]>) -> Bytes {
        let head = self.memory.chats.get(index).visible_head(asker.user);
        let last = self.memory.frame_at(index, head).or_else(|| stored.map(<[u8]>::to_vec));
        let last = last.map(|frame| match self.memory.amended(index, head, &frame, &mut self.encoder) {
            Some(amended) => amended,
            None => Bytes::from(frame),
        });
        let last = last.filter(|frame| frame.len() <= LAST_ENTRY_BYTES && !is_expired(frame, now.wall_ms()));
        self.chat_info(index, asker, 0, &Told::Listed(last.as_deref()))
    }

    fn chat_info(&mut self, index: u32, asker: Asker, request_id: u64, told: &Told<'_>) -> Bytes {
        let user = asker.user;
        let unread = self.unread(index, user);
        let listed = matches!(told, Told::Listed(_));
        let last_entry = match *told {
            Told::Page(..) => None,
            Told::Listed(last) => last,
        };
        let chat = self.memory.chats.get(index);
        // Who has left is told of nobody: who is in it now is no business of theirs.
        let belongs = chat.group.as_ref().is_none_or(|group| group.state.is_present(user));
        let present = (0..chat.members.len()).filter(|&at| belongs && chat.is_there(at)).map(|at| chat.told(at, asker));
        let (after, limit) = match *told {
            Told::Page(after, limit) => (after, limit),
            Told::Listed(_) => (0, LISTED_MEMBERS),
        };
        let mut members: Vec<MemberFields> = present.clone().filter(|member| member.user.get() > after).collect();
        members.sort_unstable_by_key(|member| member.user);
        let more = members.len() > limit;
        members.truncate(limit);
        let group = chat.group.as_ref().map(|group| &group.state);
        let info = ChatInfoFields {
            request_id,
            chat: chat.id,
            kind: kind_of(chat),
            name: group.map_or(&[], |group| &group.name),
            created_by: group.and_then(|group| group.created_by).map_or(0, UserId::get),
            member_count: present.count() as u32,
            next_user: members.last().filter(|_| more && !listed).map_or(0, |member| member.user.get()),
            members: &members,
            head_seq: chat.visible_head(user),
            last_ms: chat.last_ms(),
            read_seq: chat.member(user).map_or(0, |at| chat.members[at].read),
            unread,
            present: belongs,
            last_entry,
        };
        self.encoder.chat_info(&info)
    }

    /// Messages of others above what `user` has read. What memory does not have, or lies further back than
    /// [`UNREAD_LOOKED_AT`], counts as theirs.
    fn unread(&mut self, index: u32, user: UserId) -> u32 {
        let chat = self.memory.chats.get(index);
        let head = chat.visible_head(user);
        let read = chat.member(user).map_or(head, |at| chat.members[at].read.min(head));
        let lowest = self.memory.lowest(index, true).unwrap_or(head + 1);
        let from = read.max(head.saturating_sub(UNREAD_LOOKED_AT)).max(lowest.saturating_sub(1)).min(head);
        let chat = self.memory.chats.get(index);
        let mut unread = (read + 1..=from).filter(|&seq| chat.sees(user, seq)).count() as u32;
        let mut others = Vec::new();
        if from < head {
            self.memory.entries_above(index, from, |seq, frame| {
                if seq <= head && is_message_of_another(frame, user) {
                    others.push(seq);
                }
                seq < head
            });
        }
        let chat = self.memory.chats.get(index);
        unread += others.into_iter().filter(|&seq| chat.sees(user, seq)).count() as u32;
        unread
    }

    /// Who has a message.
    pub(crate) fn handle_status(
        &mut self,
        header: &Header,
        (chat, asker): (ChatId, Asker),
        client_request: u64,
        message: MessageId,
        egress: &mut dyn Egress,
    ) {
        let reply = (header.reply, header.request_id);
        let index = match self.find_for(chat, asker.user) {
            Ok(index) => index,
            Err(code) => return self.refuse_read(Class::Sync, reply, chat, code, egress),
        };
        let pending = PendingStatus { chat: index, asker, reply, client_request, message };
        if let Some(seq) = self.memory.seq_of(index, message) {
            return self.status_found(pending, Ok(Some((seq, None))), egress);
        }
        if self.start_read(PendingRead::Status(pending), ReadWork::FindMessage { chat, message }).is_none() {
            self.refuse_read(Class::Sync, reply, chat, ErrorCode::Overloaded, egress);
        }
    }

    /// Where the message of a pending question is.
    pub(crate) fn status_found(
        &mut self,
        pending: PendingStatus,
        placed: Result<Placed, StoreError>,
        egress: &mut dyn Egress,
    ) {
        let PendingStatus { chat: index, asker, reply, .. } = pending;
        let chat = self.memory.chats.get(index);
        let (id, sees) = (chat.id, |&(seq, _): &(u64, Option<StoredEntry>)| chat.sees(asker.user, seq));
        let (seq, entry) = match placed.map(|placed| placed.filter(sees)) {
            Ok(Some(placed)) => placed,
            Ok(None) => return self.refuse_read(Class::Sync, reply, id, ErrorCode::UnknownMessage, egress),
            Err(_) => return self.refuse_read(Class::Sync, reply, id, ErrorCode::StorageUnavailable, egress),
        };
        let stored = entry.as_ref().and_then(|entry| sender_of(&entry.frame));
        match stored.or_else(|| self.memory.sender_at(index, seq)) {
            Some(sender) => self.tell_status(&pending, seq, sender, egress),
            None => {
                let read = ReadWork::AtSeq { chat: id, seq };
                if entry.is_some() || self.start_read(PendingRead::Status(pending), read).is_none() {
                    self.refuse_read(Class::Sync, reply, id, ErrorCode::Overloaded, egress);
                }
            }
        }
    }

    fn tell_status(&mut self, pending: &PendingStatus, seq: u64, sender: UserId, egress: &mut dyn Egress) {
        let &PendingStatus { chat: index, asker, reply, client_request: request_id, message } = pending;
        let chat = self.memory.chats.get(index);
        let (mut total, mut delivered, mut read) = (0, 0, 0);
        let mut members = Vec::new();
        for (at, member) in chat.concerned(seq, 0).filter(|(_, member)| member.user != sender) {
            let told = chat.told(at, asker);
            debug_assert_eq!(told.user, member.user);
            total += 1;
            read += u32::from(told.read_seq >= seq);
            delivered += u32::from(told.delivered_seq >= seq && told.read_seq < seq);
            members.push(told);
        }
        members.sort_unstable_by_key(|member| member.user);
        members.truncate(PAGE_MEMBERS as usize);
        let chat = chat.id;
        let members = &members[..];
        let status = StatusFields { request_id, chat, message, seq, total, delivered, read, members };
        let frame = self.encoder.message_status(&status);
        self.answer_with(reply, frame, egress);
    }

    pub(super) fn answer_with(&self, (reply, request_id): (Address, u64), frame: Bytes, egress: &mut dyn Egress) {
        self.metrics.answers.inc();
        let mut envelope = Envelope::new(Class::Sync, Body::Answer { frame });
        envelope.header.reply = reply;
        envelope.header.request_id = request_id;
        egress.to_gateway(reply, envelope);
    }
}

fn is_message_of_another(frame: &[u8], user: UserId) -> bool {
    let frame = FrameRef::verify(frame).ok();
    let entry = frame.as_ref().and_then(|frame| frame.root().body_as_entry());
    entry.is_some_and(|entry| entry.kind() == EntryKind::message && entry.sender_id() != user.get())
}
