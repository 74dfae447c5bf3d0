//! What HTTP brings to the desk, and what it takes away.

use bytes::Bytes;
use schema::errors::ErrorCode;
use schema::ids::{ChatId, MessageId};

use super::TraceParent;
use crate::auth::Identity;
use crate::wire::SendEvent;

/// A message, or whatever else is stored as one, to send.
pub struct Post<'a> {
    /// Whose.
    pub from: Identity,
    /// What.
    pub send: SendEvent<'a>,
    /// The caller's trace, if it has one.
    pub caller: Option<TraceParent>,
}

/// A page of a chat's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageAsk {
    /// Who asks; must be a member.
    pub from: Identity,
    /// Which chat.
    pub chat: ChatId,
    /// Entries above this,
    pub after_seq: u64,
    /// and below this; 0 = up to the head.
    pub before_seq: u64,
    /// When not all of them fit: the newest, not the oldest.
    pub newest: bool,
    /// At most so many. 1 to [`schema::limits::PAGE_ENTRIES_MAX`].
    pub limit_entries: u32,
    /// At most so many bytes of entries (one always fits).
    pub limit_bytes: u32,
}

/// What an owner answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The message, or the change, is durable.
    Sent {
        /// Its chat.
        chat: ChatId,
        /// Its id.
        message: MessageId,
        /// Its place.
        seq: u64,
        /// Wall time, ms since 1970.
        timestamp_ms: u64,
    },
    /// The store is away: the message, or the change, is durable at a writer and is stored later.
    Queued {
        /// Its chat.
        chat: ChatId,
    },
    /// A page.
    Page {
        /// First and last seq it speaks for; last below first when it is empty.
        covers: (u64, u64),
        /// The chat's head.
        head_seq: u64,
        /// (seq, Entry frame), ascending.
        entries: Vec<(u64, Bytes)>,
    },
    /// What an [`crate::wire::Ask`] asked: a ChatInfo, Chats, MessageStatus or Account frame.
    Frame(Bytes),
    /// A mark is on its way.
    Marked,
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The error table's row.
    pub code: ErrorCode,
    /// When to come back, ms; 0 = the row's default.
    pub retry_after_ms: u32,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, retry_after_ms: 0 }
    }
}
