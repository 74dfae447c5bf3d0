//! Frames about chats: group changes, and what clients ask of a chat.

use bytes::Bytes;

use super::{ChatSettings, Encoder, EntryFields, client_msg_id_at, create_entry};
use crate::ids::{ChatId, MessageId, UserId};
use crate::wire::{self, Body, ChatKind, EntryKind, Role};

/// The fields of a send frame that changes a group.
#[derive(Clone, Copy, Debug)]
pub struct ChangeFields<'a> {
    /// 1 to 64 bytes.
    pub client_msg_id: &'a [u8],
    /// Which group; `None` exactly for kind `created`.
    pub chat: Option<ChatId>,
    /// One of the kinds from `created` on.
    pub kind: EntryKind,
    /// Kinds created and renamed; else empty.
    pub name: &'a [u8],
    /// Kinds created, added, removed and role: whom it concerns.
    pub users: &'a [UserId],
    /// Kind role.
    pub role: Role,
    /// A resend.
    pub retry: bool,
}

/// A member, as frames name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberFields {
    /// Who.
    pub user: UserId,
    /// Their devices have everything up to here.
    pub delivered_seq: u64,
    /// They have read up to here.
    pub read_seq: u64,
    /// What they may do.
    pub role: Role,
}

/// The fields of a ChatInfo frame; as in client.fbs.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the fields are documented in client.fbs
pub struct ChatInfoFields<'a> {
    pub request_id: u64,
    pub chat: ChatId,
    pub kind: ChatKind,
    pub name: &'a [u8],
    /// 0 = unknown.
    pub created_by: u64,
    pub members: &'a [MemberFields],
    pub member_count: u32,
    pub next_user: u64,
    pub head_seq: u64,
    pub last_ms: u64,
    pub read_seq: u64,
    pub unread: u32,
    pub present: bool,
    pub last_entry: Option<&'a [u8]>,
}

/// The fields of a MessageStatus frame; as in client.fbs.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the fields are documented in client.fbs
pub struct StatusFields<'a> {
    pub request_id: u64,
    pub chat: ChatId,
    pub message: MessageId,
    pub seq: u64,
    pub total: u32,
    pub delivered: u32,
    pub read: u32,
    pub members: &'a [MemberFields],
}

pub(super) fn numbers(users: &[UserId]) -> Vec<u64> {
    users.iter().map(|user| user.get()).collect()
}

pub(super) fn table(members: &[MemberFields]) -> Vec<wire::Member> {
    let member = |m: &MemberFields| wire::Member::new(m.user.get(), m.delivered_seq, m.read_seq, m.role);
    members.iter().map(member).collect()
}

impl Encoder {
    /// A Send frame that changes a group.
    pub fn change(&mut self, c: &ChangeFields<'_>) -> Bytes {
        let name = self.fbb.create_vector(c.name);
        let client_msg_id = self.fbb.create_vector(c.client_msg_id);
        let users = (!c.users.is_empty()).then(|| self.fbb.create_vector(&numbers(c.users)));
        let chat_id = c.chat.map(wire::Uuid::from);
        let fields = wire::SendArgs {
            client_msg_id: Some(client_msg_id),
            chat_id: chat_id.as_ref(),
            kind: c.kind,
            body: Some(name),
            retry: c.retry,
            users,
            role: c.role,
            ..wire::SendArgs::default()
        };
        let send = wire::Send::create(&mut self.fbb, &fields);
        self.finish(Body::Send, send.as_union_value())
    }

    /// An Entry frame of a group change, with where its client_msg_id begins in it.
    pub fn changed_with_id(&mut self, e: &EntryFields<'_>, users: &[UserId], role: Role) -> (Bytes, usize) {
        let bytes = self.changed(e, users, role);
        let at = client_msg_id_at(&bytes);
        (bytes, at)
    }

    /// An Entry frame of a group change.
    pub fn changed(&mut self, e: &EntryFields<'_>, users: &[UserId], role: Role) -> Bytes {
        let body = self.fbb.create_vector(e.body);
        let users = (!users.is_empty()).then(|| self.fbb.create_vector(&numbers(users)));
        let entry = create_entry(&mut self.fbb, e, body, (users, role));
        self.finish(Body::Entry, entry.as_union_value())
    }

    /// A ChatRequest frame.
    pub fn chat_request(&mut self, request_id: u64, chat: ChatId, after_user: u64, limit: u32) -> Bytes {
        let fields = wire::ChatRequestArgs { request_id, chat_id: Some(&chat.into()), after_user, limit };
        let request = wire::ChatRequest::create(&mut self.fbb, &fields);
        self.finish(Body::ChatRequest, request.as_union_value())
    }

    /// A ChatInfo frame.
    pub fn chat_info(&mut self, c: &ChatInfoFields<'_>) -> Bytes {
        let name = (!c.name.is_empty()).then(|| self.fbb.create_vector(c.name));
        let members = self.fbb.create_vector(&table(c.members));
        let last_entry = c.last_entry.map(|frame| self.fbb.create_vector(frame));
        let fields = wire::ChatInfoArgs {
            request_id: c.request_id,
            chat_id: Some(&c.chat.into()),
            kind: c.kind,
            name,
            created_by: c.created_by,
            members: Some(members),
            member_count: c.member_count,
            next_user: c.next_user,
            head_seq: c.head_seq,
            last_ms: c.last_ms,
            read_seq: c.read_seq,
            unread: c.unread,
            present: c.present,
            last_entry,
        };
        let info = wire::ChatInfo::create(&mut self.fbb, &fields);
        self.finish(Body::ChatInfo, info.as_union_value())
    }

    /// A ChatsRequest frame. `before`: last_ms and chat of the page before.
    pub fn chats_request(&mut self, request_id: u64, before: Option<(u64, ChatId)>, limit: u32) -> Bytes {
        let chat = before.map(|(_, chat)| wire::Uuid::from(chat));
        let before_ms = before.map_or(0, |(ms, _)| ms);
        let fields = wire::ChatsRequestArgs { request_id, before_ms, before_chat: chat.as_ref(), limit };
        let request = wire::ChatsRequest::create(&mut self.fbb, &fields);
        self.finish(Body::ChatsRequest, request.as_union_value())
    }

    /// A Chats frame; `chats` are whole ChatInfo frames, newest first, with what the user has set for each.
    pub fn chats<'e>(
        &mut self,
        request_id: u64,
        chats: impl Iterator<Item = (&'e [u8], ChatSettings)>,
        has_more: bool,
    ) -> Bytes {
        let mut offsets = Vec::new();
        for (frame, set) in chats {
            let frame = Some(self.fbb.create_vector(frame));
            let ChatSettings { pinned, archived, muted_until_ms } = set;
            let fields = wire::ChatInfoBytesArgs { frame, pinned, archived, muted_until_ms };
            offsets.push(wire::ChatInfoBytes::create(&mut self.fbb, &fields));
        }
        let chats = Some(self.fbb.create_vector(&offsets));
        let page = wire::Chats::create(&mut self.fbb, &wire::ChatsArgs { request_id, chats, has_more });
        self.finish(Body::Chats, page.as_union_value())
    }

    /// A StatusRequest frame.
    pub fn status_request(&mut self, request_id: u64, chat: ChatId, message: MessageId) -> Bytes {
        let (chat, message) = (wire::Uuid::from(chat), wire::Uuid::from(message));
        let fields = wire::StatusRequestArgs { request_id, chat_id: Some(&chat), message_id: Some(&message) };
        let request = wire::StatusRequest::create(&mut self.fbb, &fields);
        self.finish(Body::StatusRequest, request.as_union_value())
    }

    /// A MessageStatus frame.
    pub fn message_status(&mut self, s: &StatusFields<'_>) -> Bytes {
        let members = self.fbb.create_vector(&table(s.members));
        let fields = wire::MessageStatusArgs {
            request_id: s.request_id,
            chat_id: Some(&s.chat.into()),
            message_id: Some(&s.message.into()),
            seq: s.seq,
            total: s.total,
            delivered: s.delivered,
            read: s.read,
            members: Some(members),
        };
        let status = wire::MessageStatus::create(&mut self.fbb, &fields);
        self.finish(Body::MessageStatus, status.as_union_value())
    }
}
