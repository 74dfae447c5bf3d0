//! What goes into a core and what comes out of it.

use bytes::Bytes;
use fabric::entropy::Entropy;
use fabric::time::Now;
use schema::encode::{Encoder, SendTarget, WelcomeFields};
use schema::errors::{ErrorCode, Retry};
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire::{EntryKind, MarkStatus};

use super::Entry;
use super::amendments::Account;
use super::groups::{ChatInfo, ChatsPage, Member, MessageStatus};
use crate::store::Change;

/// What every call of a core needs. One per thread, shared by all its cores.
pub struct Cx<'a> {
    /// The time, read once a turn.
    pub now: Now,
    /// Writes frames.
    pub encoder: &'a mut Encoder,
    /// Jitter.
    pub entropy: &'a mut dyn Entropy,
    /// What happened, summed over the thread's cores.
    pub counters: &'a mut Counters,
    /// Where outputs are appended, in order.
    pub out: &'a mut Vec<Output>,
}

/// What a driver tells a core.
#[derive(Debug)]
pub enum Input<'a> {
    /// Begin: asks for the first connection. Once.
    Start,
    /// The connection asked for by [`Output::Connect`] stands. `token`: the JWT to present, fresh each time.
    Connected {
        /// The JWT's text.
        token: &'a [u8],
    },
    /// The connection asked for by [`Output::Connect`] could not be made.
    ConnectFailed,
    /// Bytes came. Any cut is fine; one call is one batch for marks.
    Bytes(&'a [u8]),
    /// The connection ended. Ignored when the core has closed it itself ([`Output::Close`]).
    Disconnected,
    /// [`Core::next_deadline_ns`](super::Core::next_deadline_ns) has passed. Early or extra ticks are harmless.
    Tick,
}

/// What a core wants done, in order.
///
/// **The one rule**: before the driver performs any [`Output::Write`] of a batch of outputs, every [`Output::Persist`]
/// before it must be durable in the store. Store errors end the client: the core must be dropped with its connection.
#[derive(Clone, Debug)]
pub enum Output {
    /// Connect after so many ms, then say [`Input::Connected`] or [`Input::ConnectFailed`]. Never more than one at a time.
    Connect {
        /// How long to wait first.
        after_ms: u32,
    },
    /// Write one frame to the connection (over WebSocket: one binary message).
    Write(Bytes),
    /// Close the connection after what was written before. Nothing is said about it to the core afterwards.
    Close,
    /// Append to the store.
    Persist(Change),
    /// For the application.
    Event(Event),
}

/// What the application is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// A session stands; waiting sends go out now, and what was missed is on its way.
    Welcome(Box<WelcomeFields>),
    /// An entry of a chat's log: per chat in order of seq, each once a run of the client. Own sends of this device
    /// come as [`Event::Sent`] instead.
    Entry(Entry),
    /// A send is durable at the server. Its one outcome.
    Sent {
        /// Its id.
        client_msg_id: Bytes,
        /// The chat.
        chat: ChatId,
        /// The message.
        message: MessageId,
        /// Its place.
        seq: u64,
        /// Wall time of the server, ms since 1970.
        timestamp_ms: u64,
    },
    /// A send will never be stored. Its one outcome.
    Failed {
        /// Its id.
        client_msg_id: Bytes,
        /// Why.
        failure: Failure,
    },
    /// A send was refused for now and will be sent again by itself. No outcome.
    Postponed {
        /// Its id.
        client_msg_id: Bytes,
        /// What the server said.
        refusal: Refusal,
    },
    /// The server keeps a send in a spool; [`Event::Sent`] follows. No outcome.
    Spooled {
        /// Its id.
        client_msg_id: Bytes,
    },
    /// `user` has everything of the chat up to `seq`. Per (chat, user, status) it only rises within a run.
    Receipt {
        /// The chat.
        chat: ChatId,
        /// Who.
        user: UserId,
        /// Up to here.
        seq: u64,
        /// That message, when the server named it.
        message: Option<MessageId>,
        /// Delivered or read; read implies delivered.
        status: MarkStatus,
    },
    /// These seqs have expired: there is nothing to wait for.
    Covered {
        /// The chat.
        chat: ChatId,
        /// First.
        first_seq: u64,
        /// Last.
        last_seq: u64,
    },
    /// How far members of a chat are who got further while this device was away. As receipts: the numbers only rise.
    Ticks {
        /// The chat.
        chat: ChatId,
        /// Members of it; those of whom nothing is news are left out.
        members: Vec<Member>,
    },
    /// What was missed has been delivered.
    Synced {
        /// Wall time of the server, ms since 1970.
        server_time_ms: u64,
    },
    /// A page asked for with [`Core::history`](super::Core::history). A request may be answered by several pages; ask on
    /// after `covers.1` while it is below `head_seq`.
    History(Box<HistoryPage>),
    /// What a chat is and who is in it, asked for with [`Core::ask`](super::Core::ask).
    Chat(Box<ChatInfo>),
    /// A page of the own chats, asked for with [`Core::ask`](super::Core::ask).
    Chats(Box<ChatsPage>),
    /// Who has a message, asked for with [`Core::ask`](super::Core::ask).
    Status(Box<MessageStatus>),
    /// The own settings and devices, asked for with [`Core::ask`](super::Core::ask).
    Account(Box<Account>),
    /// A request failed.
    AskFailed {
        /// What [`Core::ask`](super::Core::ask) returned.
        request: u64,
        /// Why.
        failure: AskFailure,
    },
    /// The server complains about something that was neither a send nor a request.
    Complaint(Refusal),
    /// The session ended; the core reconnects by itself.
    Disconnected {
        /// Why.
        cause: Cause,
        /// When the next attempt is made, ms from now.
        retry_in_ms: u32,
    },
    /// The client has ended for good. Nothing more comes; sends without outcome stay in the store.
    Ended(End),
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// No connection could be made.
    ConnectFailed,
    /// The connection broke.
    Lost,
    /// The server was silent for too long.
    Silent,
    /// The server sent something that is not the protocol.
    BadFrame,
    /// The server said so.
    Server(Refusal),
}

/// Why a client ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum End {
    /// [`Core::close`](super::Core::close) was called.
    #[error("closed by the application")]
    Closed,
    /// The server said never to come back.
    #[error("the server ended the session for good: {0}")]
    Server(Refusal),
    /// The token has expired and no new one can be had.
    #[error("the token has expired")]
    TokenExpired,
    /// The server chose a protocol version this client did not offer.
    #[error("the server chose protocol version {0}, which this client does not speak")]
    Version(u16),
    /// The store belongs to another user or device than the token.
    #[error("the store belongs to user {0} device {1}, the token to another")]
    WrongStore(UserId, DeviceId),
}

/// Why a send failed for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The server refused it, retry = never.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Its frame is larger than the server's limit, bytes.
    #[error("its frame exceeds the server's limit of {0} bytes")]
    TooLarge(u32),
    /// It waited longer than [`Config::send_expiry_ms`](super::Config::send_expiry_ms). If it had been written before, it may
    /// or may not have been stored.
    #[error("it waited too long to be retried safely")]
    Expired,
}

/// Why a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AskFailure {
    /// The server refused.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// No answer came in time.
    #[error("no answer came in time")]
    Timeout,
}

/// Why a send was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// The outbox is full. Wait for outcomes.
    #[error("the outbox is full ({sends} sends, {bytes} bytes wait)")]
    OutboxFull {
        /// Sends waiting.
        sends: usize,
        /// Their bodies' bytes.
        bytes: usize,
    },
    /// A client_msg_id has 1 to 64 bytes.
    #[error("a client_msg_id has 1 to 64 bytes, not {0}")]
    InvalidId(usize),
    /// This client_msg_id waits already.
    #[error("a send with this client_msg_id waits already")]
    DuplicateId,
    /// Larger than the frame limit allows, bytes (the users of a change count 8 bytes each).
    #[error("a body of {body_bytes} bytes does not fit a frame of {limit_bytes} bytes")]
    TooLarge {
        /// The body's bytes.
        body_bytes: usize,
        /// The limit for the whole frame.
        limit_bytes: usize,
    },
    /// Sends to a user and new groups need this client's own user id, known from the store or the first Welcome.
    #[error("the own user id is not known before the first session: send by chat id, or wait for it")]
    NoIdentity,
    /// Kinds that change a group or an account, or amend, have calls of their own.
    #[error("kind {0} is no message: make it a change or an amendment, not a send")]
    NotPlain(u8),
    /// The client has ended.
    #[error("the client has ended")]
    Ended,
}

/// Why a request was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AskError {
    /// Too many wait.
    #[error("{0} requests wait already")]
    TooMany(usize),
    /// The client has ended.
    #[error("the client has ended")]
    Ended,
}

/// What a server refused and what its table says about retrying.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The stable code; [`Self::known`] names it.
    pub code: u16,
    /// The server's rule.
    pub retry: Retry,
    /// ms; 0 = unsaid.
    pub retry_after_ms: u32,
}

impl Refusal {
    /// The code, when this build knows it.
    pub fn known(&self) -> Option<ErrorCode> {
        ErrorCode::from_code(self.code)
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.known() {
            Some(code) => write!(f, "{code}"),
            None => write!(f, "error {}", self.code),
        }
    }
}

/// A page of a chat's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// What [`Core::history`](super::Core::history) returned.
    pub request: u64,
    /// The chat.
    pub chat: ChatId,
    /// First and last seq this page speaks for; a seq inside without an entry has expired.
    pub covers: (u64, u64),
    /// The chat's last seq.
    pub head_seq: u64,
    /// Ascending.
    pub entries: Vec<Entry>,
}

/// What to send.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSend {
    /// 1 to 64 bytes, UTF-8 if receivers use JSON; unique per sender and chat for 24 h
    /// ([`new_client_msg_id`](super::new_client_msg_id) makes one).
    pub client_msg_id: Bytes,
    /// Where to.
    pub target: SendTarget,
    /// What it is.
    pub kind: EntryKind,
    /// The application's own.
    pub content_type: u8,
    /// The payload.
    pub body: Bytes,
    /// What it answers.
    pub refers_to: Option<MessageId>,
    /// Who is mentioned, at most 256: members of the group, or the other of the direct chat.
    pub mentions: Vec<UserId>,
    /// How often it has been passed on; of what is passed on now, the original's plus one.
    pub forwarded: u8,
}

impl NewSend {
    /// A plain message.
    pub fn message(client_msg_id: Bytes, target: SendTarget, body: Bytes) -> Self {
        Self {
            client_msg_id,
            target,
            kind: EntryKind::message,
            content_type: 0,
            body,
            refers_to: None,
            mentions: Vec::new(),
            forwarded: 0,
        }
    }

    /// The same as an answer to a message.
    #[must_use]
    pub fn reply_to(self, message: MessageId) -> Self {
        Self { refers_to: Some(message), ..self }
    }

    /// The same with users mentioned.
    #[must_use]
    pub fn mentioning(self, users: impl Into<Vec<UserId>>) -> Self {
        Self { mentions: users.into(), ..self }
    }

    /// The same as something passed on, for the `times`th time.
    #[must_use]
    pub fn forwarded(self, times: u8) -> Self {
        Self { forwarded: times, ..self }
    }
}

impl core::fmt::Debug for NewSend {
    /// Never prints content.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "NewSend({:?}, {} bytes)", self.target, self.body.len())
    }
}

/// What happened, for tests, metrics and the load generator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // each says itself
pub struct Counters {
    pub frames_in: u64,
    pub bad_frames: u64,
    pub unknown_frames: u64,
    pub entries: u64,
    pub duplicates: u64,
    /// Entries that came above a gap and were kept / dropped for want of room.
    pub held: u64,
    pub held_dropped: u64,
    /// History requests made to fill a gap.
    pub gap_fills: u64,
    pub sends_written: u64,
    pub resends_written: u64,
    pub acks: u64,
    pub postponed: u64,
    pub failed: u64,
    pub marks_written: u64,
    pub pings: u64,
    pub connects: u64,
    pub disconnects: u64,
}
