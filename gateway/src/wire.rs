//! What clients and the gateway say to each other, whatever the protocol on the socket.
//!
//! Native frames and JSON events are decoded into [`ClientEvent`]; sessions answer with [`ServerEvent`], which each
//! protocol encodes. What must stay true: everything behind this file is the same for both protocols, and no `Debug`
//! here prints content or tokens.
//!
//! JSON is [`crate::json`]'s; WebSocket's upgrade [`crate::websocket`]'s, its frames [`fabric::net::websocket`]'s.

use core::fmt;
use std::borrow::Cow;

use bytes::Bytes;
use schema::encode::{Encoder, Extras, SendFields, SendTarget, WelcomeFields};
use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire::{EntryKind, MarkStatus, Role};

/// What one connection speaks. Chosen by its listener and, on WebSocket, by the subprotocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Dialect {
    /// Size-prefixed FlatBuffers on a TCP stream.
    Native,
    /// JSON text messages over WebSocket.
    Json,
    /// Size-prefixed FlatBuffers, one a binary WebSocket message.
    WebSocketNative,
}

/// One event from a client.
pub enum ClientEvent<'a> {
    /// The native first frame.
    Hello {
        /// Lowest protocol version the client speaks.
        version_min: u16,
        /// Highest protocol version the client speaks.
        version_max: u16,
        /// Feature bits the client knows.
        features: u64,
        /// The JWT; empty when it came with the upgrade.
        token: &'a [u8],
        /// What the device says of itself.
        remembered: Remembered,
    },
    /// JSON's `auth` event (also used for a token that came with the upgrade).
    Auth {
        /// The JWT.
        token: Cow<'a, [u8]>,
        /// As of `Hello`.
        remembered: Remembered,
    },
    /// A send that came as a verified frame whose body is a `Send`. Its fields are not checked yet.
    SendFrame(FrameRef<'a>),
    /// A send that came as JSON; becomes a frame at the door.
    Send(SendEvent<'a>),
    /// A watermark (JSON's `ack`).
    Mark {
        /// Which chat; `None` only from JSON.
        chat: Option<ChatId>,
        /// Up to here; 0 = by `message`.
        seq: u64,
        /// The message marked.
        message: Option<MessageId>,
        /// Which watermark.
        status: MarkStatus,
    },
    /// Answered by a pong with the same nonce.
    Ping {
        /// The client's own; 0 when JSON gave none.
        nonce: u64,
    },
    /// A sign of life.
    Pong,
    /// A page of a chat's log.
    History {
        /// The client's own; comes back with the page.
        request_id: u64,
        /// Which chat.
        chat: ChatId,
        /// Entries above this.
        after_seq: u64,
        /// At most so many; 0 = the default.
        limit: u32,
    },
    /// A question to an owner.
    Ask {
        /// The client's own; comes back with the answer.
        request_id: u64,
        /// What is asked.
        ask: Ask,
    },
    /// An event of a type this server does not know: answered `unsupported`, the session goes on.
    Unknown {
        /// Its client_msg_id, if it had a readable one; else empty.
        client_msg_id: Cow<'a, [u8]>,
    },
}

/// What a client may ask besides pages of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// What a chat is and who is in it.
    Chat {
        /// Which.
        chat: ChatId,
        /// Members above this user; 0 = from the first.
        after_user: u64,
        /// Members at most; 0 = the default.
        limit: u32,
    },
    /// The user's chats, newest first.
    Chats {
        /// Where the page before ended: its last chat's time, ms since 1970, and id.
        before: Option<(u64, ChatId)>,
        /// At most; 0 = the default.
        limit: u32,
    },
    /// Who has a message.
    Status {
        /// Its chat.
        chat: ChatId,
        /// Which.
        message: MessageId,
    },
    /// The user's settings and devices.
    Account {
        /// Tell what is hidden of this chat.
        chat: Option<ChatId>,
    },
}

/// A send that did not come as a frame; what its kind does not know stays at its default.
#[derive(Default)]
pub struct SendEvent<'a> {
    /// As given; 1 to 64 bytes is checked by the session.
    pub client_msg_id: Cow<'a, [u8]>,
    /// Where to; `None` with kind `created`, whose group follows from its sender and client_msg_id, and to the sender's
    /// account log.
    pub target: Option<SendTarget>,
    /// What it is.
    pub kind: EntryKind,
    /// A message's payload or what an edit makes of it, a group's or a device's name, a reaction, a setting's value.
    pub body: Cow<'a, [u8]>,
    /// Whom a change concerns, or a message mentions.
    pub users: Vec<UserId>,
    /// Kind `role`.
    pub role: Role,
    /// The client says that it may have sent this before.
    pub retry: bool,
    /// What is amended, answered or hidden.
    pub refers_to: Option<MessageId>,
    /// The highest seq of the chat that the sender had seen; 0 = not said.
    pub after_seq: u64,
    /// Kind `timer`: how long messages stay, s; 0 = for good.
    pub ttl_s: u32,
    /// Kind `message`: how often it has been passed on.
    pub forwarded: u8,
    /// Kinds `setting` and `hidden`: the chat that it is about.
    pub subject: Option<ChatId>,
    /// Kind `setting`: which.
    pub key: Cow<'a, [u8]>,
    /// Kinds `device` and `revoked`: which.
    pub device: DeviceId,
}

impl SendEvent<'_> {
    /// Its frame, size prefix included. Its fields are not checked.
    pub(crate) fn frame(&self, encoder: &mut Encoder) -> Bytes {
        let &Self { ref client_msg_id, kind, ref body, refers_to, after_seq, retry, .. } = self;
        // With extras the target is told apart, and this one is not looked at.
        let target = self.target.unwrap_or(SendTarget::Chat(ChatId([0; 16])));
        let content_type = 0;
        let fields = SendFields { client_msg_id, target, kind, content_type, body, refers_to, after_seq, retry };
        if kind == EntryKind::message && self.target.is_some() && self.users.is_empty() && self.forwarded == 0 {
            return encoder.send(&fields);
        }
        let &Self { ref users, role, ttl_s, forwarded, subject, ref key, device, .. } = self;
        let extras = Extras { users, role, ttl_s, forwarded, subject, key, device, ..Extras::default() };
        encoder.send_with(&fields, self.target, &extras)
    }
}

/// Why an event could not be decoded. The error table's scope says whether the session ends.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event is refused: {code}")]
pub struct EventError {
    /// What the client is told.
    pub code: ErrorCode,
    /// Which field, and what it must be; empty = the table's text. Never holds content.
    pub text: &'static str,
    /// The event's client_msg_id where it was readable; else empty.
    pub client_msg_id: Bytes,
}

impl EventError {
    /// An error of an event without a readable client_msg_id.
    pub const fn new(code: ErrorCode) -> Self {
        Self { code, text: "", client_msg_id: Bytes::new() }
    }
}

/// One event to a client. Both encoders accept all of them.
pub enum ServerEvent<'a> {
    /// The session begins (JSON: `ready`).
    Welcome(WelcomeFields),
    /// A send is durable.
    Sent {
        /// As sent.
        client_msg_id: &'a [u8],
        /// Its chat.
        chat: ChatId,
        /// Its id.
        message: MessageId,
        /// Its place.
        seq: u64,
        /// Wall time, ms since 1970.
        timestamp_ms: u64,
    },
    /// A send is kept for later; `Sent` or `Error` follows.
    Queued {
        /// As sent.
        client_msg_id: &'a [u8],
        /// Its chat.
        chat: ChatId,
    },
    /// An entry of a chat's log: an Entry frame as the owner encoded it.
    Entry {
        /// Size prefix included.
        frame: &'a Bytes,
    },
    /// Another user's watermark rose: a Receipt frame as the owner encoded it.
    Receipt {
        /// Size prefix included.
        frame: &'a Bytes,
    },
    /// What was missed has been delivered.
    Synced {
        /// Wall time, ms since 1970.
        server_time_ms: u64,
    },
    /// Every seq of this range that was not delivered has expired.
    Covered {
        /// Which chat.
        chat: ChatId,
        /// First of the range.
        first_seq: u64,
        /// Last of the range.
        last_seq: u64,
    },
    /// Answers a ping.
    Pong {
        /// The ping's.
        nonce: u64,
    },
    /// A request is refused.
    Error {
        /// What.
        code: ErrorCode,
        /// Empty = the table's text.
        text: &'static str,
        /// Empty when it was not about a send.
        client_msg_id: &'a [u8],
        /// 0 = the table's.
        retry_after_ms: u32,
    },
    /// The session's last event. Natively a Goodbye frame; over JSON an `error` event before the close frame that the
    /// connection sends with the table's close code.
    Goodbye {
        /// Why.
        code: ErrorCode,
        /// Empty = the table's text.
        text: &'static str,
        /// 0 = the table's.
        retry_after_ms: u32,
    },
    /// A page of a chat's log.
    HistoryPage {
        /// As asked.
        request_id: u64,
        /// Which chat.
        chat: ChatId,
        /// First and last seq the page speaks for; empty page: last < first.
        covers: (u64, u64),
        /// The chat's committed head.
        head_seq: u64,
        /// (seq, Entry frame), ascending.
        entries: &'a [(u64, Bytes)],
    },
    /// How far others are, where that rose while the device was away: a Ticks frame as the owner encoded it.
    Ticks {
        /// Size prefix included.
        frame: &'a Bytes,
    },
    /// An answer to an [`Ask`], as the owner encoded it: a ChatInfo, Chats, MessageStatus or Account frame.
    Answer {
        /// Size prefix included.
        frame: &'a Bytes,
    },
    /// The send window from now on.
    Window {
        /// Sends that may be unanswered.
        window: u32,
    },
}

/// What a device says of itself beside its token: what it remembers of earlier sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Remembered {
    /// `server_time_ms` of the last Synced that it had; 0 = none.
    pub synced_ms: u64,
    /// Who it believes to be; `None` = it does not say.
    pub me: Option<(UserId, DeviceId)>,
    /// How many marks follow directly. Only with `me`.
    pub marks: u32,
}

impl fmt::Debug for ClientEvent<'_> {
    /// Names the event only (invariant 11).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello { .. } => "Hello",
            Self::Auth { .. } => "Auth",
            Self::SendFrame(_) => "SendFrame",
            Self::Send(_) => "Send",
            Self::Mark { .. } => "Mark",
            Self::Ping { .. } => "Ping",
            Self::Pong => "Pong",
            Self::History { .. } => "History",
            Self::Ask { .. } => "Ask",
            Self::Unknown { .. } => "Unknown",
        })
    }
}

impl fmt::Debug for EventError {
    /// Never prints the client_msg_id (invariant 11).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventError({})", self.code)
    }
}
