//! Writes frames of the client protocol: one function a frame, size prefix included.
//!
//! An [`Encoder`] keeps its builder's memory; each thread has its own. What [`Encoder::new`] returns is an exact copy, so
//! that a frame kept for long does not keep a larger buffer alive.

mod chats;
mod extras;
mod template;

use bytes::{Bytes, BytesMut};
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, Vector, WIPOffset};
use template::{Acks, Entries};

pub use chats::{ChangeFields, ChatInfoFields, MemberFields, StatusFields};
pub use extras::{Amended, ChatSettings, DeviceFields, Extras, entry_fields};

use crate::arena::Arena;
use crate::errors::ErrorCode;
use crate::frame::{FILE_IDENTIFIER, FrameRef};
use crate::ids::{ChatId, DeviceId, MessageId, UserId};
use crate::wire::{self, Body, EntryKind, MarkStatus, Role, SendStatus};

/// The fields of an entry frame.
#[derive(Clone, Copy, Debug)]
pub struct EntryFields<'a> {
    /// Its chat.
    pub chat: ChatId,
    /// Its id.
    pub message: MessageId,
    /// Its place.
    pub seq: u64,
    /// Who wrote it.
    pub sender: UserId,
    /// On which device.
    pub device: DeviceId,
    /// What it is.
    pub kind: EntryKind,
    /// The client's own.
    pub content_type: u8,
    /// The payload.
    pub body: &'a [u8],
    /// The sender's id for it.
    pub client_msg_id: &'a [u8],
    /// What it amends or answers.
    pub refers_to: Option<MessageId>,
    /// What the sender had seen.
    pub after_seq: u64,
    /// Wall time, ms since 1970.
    pub timestamp_ms: u64,
}

/// The fields of a send frame.
#[derive(Clone, Copy, Debug)]
pub struct SendFields<'a> {
    /// 1 to 64 bytes.
    pub client_msg_id: &'a [u8],
    /// Where to.
    pub target: SendTarget,
    /// What it is.
    pub kind: EntryKind,
    /// The client's own.
    pub content_type: u8,
    /// The payload.
    pub body: &'a [u8],
    /// What it amends or answers.
    pub refers_to: Option<MessageId>,
    /// The highest seq of the chat the sender had seen.
    pub after_seq: u64,
    /// A resend.
    pub retry: bool,
}

/// Where a send goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendTarget {
    /// To a chat that exists.
    Chat(ChatId),
    /// To a user: their direct chat, made by its first message.
    User(UserId),
}

/// The fields of a welcome frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are documented in client.fbs
pub struct WelcomeFields {
    pub version: u16,
    pub features: u64,
    pub session_id: u64,
    pub server_incarnation: u64,
    pub user: UserId,
    pub device: DeviceId,
    pub server_time_ms: u64,
    pub frame_limit_bytes: u32,
    pub window: u32,
    pub sends_per_second: u32,
    pub burst: u32,
    pub ping_interval_ms: u32,
    pub idle_timeout_ms: u32,
}

/// Writes frames; keeps its memory between them.
pub struct Encoder {
    fbb: FlatBufferBuilder<'static>,
    entries: Entries,
    acks: Acks,
    arena: Option<Arena>,
}

impl Default for Encoder {
    fn default() -> Self {
        let fbb = FlatBufferBuilder::with_capacity(1_024);
        Self { fbb, entries: Entries::default(), acks: Acks::default(), arena: None }
    }
}

/// A frame of `len_bytes` that `write` writes, in the arena where there is one.
fn put_together(arena: &mut Option<Arena>, len_bytes: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    if let Some(arena) = arena {
        return arena.write(len_bytes, write);
    }
    let mut out = BytesMut::with_capacity(len_bytes);
    write(&mut out);
    debug_assert_eq!(out.len(), len_bytes, "a frame's length is known before it is written");
    out.freeze()
}

/// An entry that changes no group.
const NO_CHANGE: (Option<WIPOffset<Vector<'static, u64>>>, Role) = (None, Role::member);

/// An entry's table, before a `body` that is there already.
fn create_entry<'b>(
    fbb: &mut FlatBufferBuilder<'b>,
    e: &EntryFields<'_>,
    body: WIPOffset<Vector<'b, u8>>,
    (users, role): (Option<WIPOffset<Vector<'b, u64>>>, Role),
) -> WIPOffset<wire::Entry<'b>> {
    let client_msg_id = fbb.create_vector(e.client_msg_id);
    let refers_to = e.refers_to.map(wire::Uuid::from);
    let fields = wire::EntryArgs {
        chat_id: Some(&e.chat.into()),
        message_id: Some(&e.message.into()),
        seq: e.seq,
        sender_id: e.sender.get(),
        sender_device: e.device.0,
        kind: e.kind,
        content_type: e.content_type,
        body: Some(body),
        client_msg_id: Some(client_msg_id),
        refers_to: refers_to.as_ref(),
        after_seq: e.after_seq,
        timestamp_ms: e.timestamp_ms,
        users,
        role,
        ..wire::EntryArgs::default()
    };
    wire::Entry::create(fbb, &fields)
}

/// An ack's table.
fn create_ack<'b>(
    fbb: &mut FlatBufferBuilder<'b>,
    client_msg_id: &[u8],
    (chat, message): (ChatId, MessageId),
    seq: u64,
    timestamp_ms: u64,
) -> WIPOffset<wire::SendAck<'b>> {
    let client_msg_id = fbb.create_vector(client_msg_id);
    let fields = wire::SendAckArgs {
        client_msg_id: Some(client_msg_id),
        chat_id: Some(&chat.into()),
        message_id: Some(&message.into()),
        seq,
        status: SendStatus::sent,
        timestamp_ms,
    };
    wire::SendAck::create(fbb, &fields)
}

/// Where the client_msg_id of an Entry frame begins.
fn client_msg_id_at(bytes: &[u8]) -> usize {
    let frame = FrameRef::verify(bytes).expect("what the encoder wrote is a frame");
    let id = frame.root().body_as_entry().and_then(|entry| entry.client_msg_id());
    id.map_or(0, |id| id.bytes().as_ptr() as usize - bytes.as_ptr() as usize)
}

impl Encoder {
    /// An encoder with its own buffer of 1 KiB, growing as needed.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`Self::new`], for frames that do not live long: they share allocations.
    pub fn in_arena() -> Self {
        Self { arena: Some(Arena::default()), ..Self::default() }
    }

    fn finish(&mut self, kind: Body, body: WIPOffset<UnionWIPOffset>) -> Bytes {
        let frame = wire::Frame::create(&mut self.fbb, &wire::FrameArgs { body_type: kind, body: Some(body) });
        self.fbb.finish_size_prefixed(frame, Some(FILE_IDENTIFIER));
        let frame = self.fbb.finished_data();
        let bytes = match &mut self.arena {
            Some(arena) => arena.copy(frame),
            None => Bytes::copy_from_slice(frame),
        };
        self.fbb.reset();
        bytes
    }

    /// An Entry frame.
    pub fn entry(&mut self, e: &EntryFields<'_>) -> Bytes {
        match self.entries.frame(e) {
            Some(frame) => put_together(&mut self.arena, frame.len(), |out| frame.write(out)),
            None => {
                let body = self.fbb.create_vector(e.body);
                let entry = create_entry(&mut self.fbb, e, body, NO_CHANGE);
                self.finish(Body::Entry, entry.as_union_value())
            }
        }
    }

    /// An Entry frame, with where its client_msg_id begins in it.
    ///
    /// # Panics
    /// Never: what the encoder wrote is a frame.
    pub fn entry_with_id(&mut self, e: &EntryFields<'_>) -> (Bytes, usize) {
        if let Some(frame) = self.entries.frame(e) {
            let at = frame.client_msg_id_at();
            return (put_together(&mut self.arena, frame.len(), |out| frame.write(out)), at);
        }
        let bytes = self.entry(e);
        let at = client_msg_id_at(&bytes);
        (bytes, at)
    }

    /// A Send frame.
    pub fn send(&mut self, s: &SendFields<'_>) -> Bytes {
        let body = self.fbb.create_vector(s.body);
        let client_msg_id = self.fbb.create_vector(s.client_msg_id);
        let refers_to = s.refers_to.map(wire::Uuid::from);
        let (chat_id, to) = match s.target {
            SendTarget::Chat(chat) => (Some(wire::Uuid::from(chat)), 0),
            SendTarget::User(user) => (None, user.get()),
        };
        let send = wire::Send::create(
            &mut self.fbb,
            &wire::SendArgs {
                client_msg_id: Some(client_msg_id),
                chat_id: chat_id.as_ref(),
                to,
                kind: s.kind,
                content_type: s.content_type,
                body: Some(body),
                refers_to: refers_to.as_ref(),
                after_seq: s.after_seq,
                retry: s.retry,
                ..wire::SendArgs::default()
            },
        );
        self.finish(Body::Send, send.as_union_value())
    }

    /// A SendAck frame of a message that is durable.
    pub fn sent(
        &mut self,
        client_msg_id: &[u8],
        chat: ChatId,
        message: MessageId,
        seq: u64,
        timestamp_ms: u64,
    ) -> Bytes {
        match self.acks.frame(client_msg_id, (chat, message), seq, timestamp_ms) {
            Some(frame) => put_together(&mut self.arena, frame.len(), |out| frame.write(out)),
            None => {
                let ack = create_ack(&mut self.fbb, client_msg_id, (chat, message), seq, timestamp_ms);
                self.finish(Body::SendAck, ack.as_union_value())
            }
        }
    }

    /// A SendAck frame of a message that is kept for later: it has neither id nor place.
    pub fn queued(&mut self, client_msg_id: &[u8], chat: ChatId) -> Bytes {
        let client_msg_id = Some(self.fbb.create_vector(client_msg_id));
        let chat_id = chat.into();
        let status = SendStatus::queued;
        let fields =
            wire::SendAckArgs { client_msg_id, chat_id: Some(&chat_id), status, ..wire::SendAckArgs::default() };
        let ack = wire::SendAck::create(&mut self.fbb, &fields);
        self.finish(Body::SendAck, ack.as_union_value())
    }

    /// As [`Self::sent`], appended to `out`.
    pub fn sent_into(
        &mut self,
        client_msg_id: &[u8],
        ids: (ChatId, MessageId),
        seq: u64,
        timestamp_ms: u64,
        out: &mut Vec<u8>,
    ) {
        match self.acks.frame(client_msg_id, ids, seq, timestamp_ms) {
            Some(frame) => frame.write(out),
            None => out.extend_from_slice(&self.sent(client_msg_id, ids.0, ids.1, seq, timestamp_ms)),
        }
    }

    /// A Hello frame.
    pub fn hello(&mut self, token: &[u8], agent: &[u8], features: u64) -> Bytes {
        self.hello_again(token, agent, features, 0, None)
    }

    /// A Welcome frame.
    pub fn welcome(&mut self, w: &WelcomeFields) -> Bytes {
        let welcome = wire::Welcome::create(
            &mut self.fbb,
            &wire::WelcomeArgs {
                version: w.version,
                features: w.features,
                session_id: w.session_id,
                server_incarnation: w.server_incarnation,
                user_id: w.user.get(),
                device_id: w.device.0,
                server_time_ms: w.server_time_ms,
                frame_limit_bytes: w.frame_limit_bytes,
                window: w.window,
                sends_per_second: w.sends_per_second,
                burst: w.burst,
                ping_interval_ms: w.ping_interval_ms,
                idle_timeout_ms: w.idle_timeout_ms,
            },
        );
        self.finish(Body::Welcome, welcome.as_union_value())
    }

    /// A Mark frame. `seq` 0 means: by `message`.
    pub fn mark(&mut self, chat: ChatId, seq: u64, message: Option<MessageId>, status: MarkStatus) -> Bytes {
        let message = message.map(wire::Uuid::from);
        let mark = wire::Mark::create(
            &mut self.fbb,
            &wire::MarkArgs { chat_id: Some(&chat.into()), message_id: message.as_ref(), seq, status },
        );
        self.finish(Body::Mark, mark.as_union_value())
    }

    /// A Receipt frame.
    pub fn receipt(&mut self, chat: ChatId, message: MessageId, seq: u64, user: UserId, status: MarkStatus) -> Bytes {
        let receipt = wire::Receipt::create(
            &mut self.fbb,
            &wire::ReceiptArgs {
                chat_id: Some(&chat.into()),
                message_id: Some(&message.into()),
                seq,
                user_id: user.get(),
                status,
            },
        );
        self.finish(Body::Receipt, receipt.as_union_value())
    }

    /// A Synced frame.
    pub fn synced(&mut self, server_time_ms: u64) -> Bytes {
        let synced = wire::Synced::create(&mut self.fbb, &wire::SyncedArgs { server_time_ms });
        self.finish(Body::Synced, synced.as_union_value())
    }

    /// A Covered frame.
    pub fn covered(&mut self, chat: ChatId, first_seq: u64, last_seq: u64) -> Bytes {
        let covered = wire::Covered::create(
            &mut self.fbb,
            &wire::CoveredArgs { chat_id: Some(&chat.into()), first_seq, last_seq },
        );
        self.finish(Body::Covered, covered.as_union_value())
    }

    /// A Ping frame.
    pub fn ping(&mut self, nonce: u64) -> Bytes {
        let ping = wire::Ping::create(&mut self.fbb, &wire::PingArgs { nonce });
        self.finish(Body::Ping, ping.as_union_value())
    }

    /// A Pong frame.
    pub fn pong(&mut self, nonce: u64) -> Bytes {
        let pong = wire::Pong::create(&mut self.fbb, &wire::PongArgs { nonce });
        self.finish(Body::Pong, pong.as_union_value())
    }

    /// An Error frame. `text` empty = the table's; `retry_after_ms` 0 = the table's. Never put content into `text`.
    pub fn error(&mut self, code: ErrorCode, text: &str, retry_after_ms: u32, client_msg_id: &[u8]) -> Bytes {
        let info = code.info();
        let text = if text.is_empty() { info.text } else { text };
        let text = self.fbb.create_vector(text.as_bytes());
        let client_msg_id = (!client_msg_id.is_empty()).then(|| self.fbb.create_vector(client_msg_id));
        let error = wire::Error::create(
            &mut self.fbb,
            &wire::ErrorArgs {
                code: code as u16,
                fault: info.fault as u8,
                retry: info.retry as u8,
                scope: info.scope as u8,
                retry_after_ms: if retry_after_ms == 0 { info.retry_after_ms } else { retry_after_ms },
                text: Some(text),
                client_msg_id,
            },
        );
        self.finish(Body::Error, error.as_union_value())
    }

    /// A Goodbye frame: the session's last.
    pub fn goodbye(&mut self, code: ErrorCode, text: &str, retry_after_ms: u32) -> Bytes {
        let info = code.info();
        let text = if text.is_empty() { info.text } else { text };
        let text = self.fbb.create_vector(text.as_bytes());
        let goodbye = wire::Goodbye::create(
            &mut self.fbb,
            &wire::GoodbyeArgs {
                code: code as u16,
                close_code: info.close_code,
                retry: info.retry as u8,
                retry_after_ms: if retry_after_ms == 0 { info.retry_after_ms } else { retry_after_ms },
                text: Some(text),
            },
        );
        self.finish(Body::Goodbye, goodbye.as_union_value())
    }

    /// A Window frame.
    pub fn window(&mut self, window: u32) -> Bytes {
        let window = wire::Window::create(&mut self.fbb, &wire::WindowArgs { window });
        self.finish(Body::Window, window.as_union_value())
    }

    /// A HistoryRequest frame.
    pub fn history_request(&mut self, request_id: u64, chat: ChatId, after_seq: u64, limit: u32) -> Bytes {
        let request = wire::HistoryRequest::create(
            &mut self.fbb,
            &wire::HistoryRequestArgs { request_id, chat_id: Some(&chat.into()), after_seq, limit },
        );
        self.finish(Body::HistoryRequest, request.as_union_value())
    }

    /// A HistoryPage frame; `entries` are whole Entry frames, ascending.
    pub fn history_page<'e>(
        &mut self,
        request_id: u64,
        chat: ChatId,
        covers: (u64, u64),
        head_seq: u64,
        entries: impl Iterator<Item = &'e [u8]>,
    ) -> Bytes {
        let mut offsets = Vec::new();
        for frame in entries {
            let frame = self.fbb.create_vector(frame);
            offsets.push(wire::EntryBytes::create(&mut self.fbb, &wire::EntryBytesArgs { frame: Some(frame) }));
        }
        let entries = self.fbb.create_vector(&offsets);
        let page = wire::HistoryPage::create(
            &mut self.fbb,
            &wire::HistoryPageArgs {
                request_id,
                chat_id: Some(&chat.into()),
                covers_first_seq: covers.0,
                covers_last_seq: covers.1,
                head_seq,
                entries: Some(entries),
            },
        );
        self.finish(Body::HistoryPage, page.as_union_value())
    }
}
