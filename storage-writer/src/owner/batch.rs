//! What waits for a journal block: sends in the order they were given, and positions.

use bytes::Bytes;
use schema::dedupe::DedupeKey;
use schema::envelope::{Address, Envelope, Trace};
use schema::errors::ErrorCode;
use schema::ids::{DeviceId, MessageId, UserId};
use schema::timeuuid;
use schema::wire::MarkStatus;

/// What happens to an item once its block is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A new entry: it is applied, answered and pushed.
    Entry,
    /// As `Entry`, and it does something to others of its chat, or to the chat.
    Acting,
    /// A resend of an entry of this block or the one before: it gets the same answer.
    Duplicate,
    /// Refused; its answer keeps its place behind what its session sent before.
    Refusal(ErrorCode),
}

impl What {
    /// A new entry.
    pub(crate) const fn is_entry(self) -> bool {
        matches!(self, Self::Entry | Self::Acting)
    }
}

/// One send.
#[derive(Debug)]
pub(crate) struct Item {
    pub what: What,
    pub chat: u32,
    pub seq: u64,
    pub message: MessageId,
    /// The Entry frame; only the client_msg_id unless `what` is an entry.
    pub frame: Bytes,
    /// Where the client_msg_id begins in `frame`, and its length.
    pub client_msg_id: (u32, u32),
    pub key: DedupeKey,
    pub user: UserId,
    pub device: DeviceId,
    pub reply: Address,
    pub request_id: u64,
    /// Only of a sampled send.
    pub trace: Option<Box<Trace>>,
    /// As it came, where it goes into the spool when the store is away.
    pub send: Option<Box<Envelope>>,
    /// The spool has it, and tells whoever asks.
    pub spooled: bool,
}

impl Item {
    /// As sent.
    pub(crate) fn client_msg_id(&self) -> &[u8] {
        let (from, len) = self.client_msg_id;
        &self.frame[from as usize..(from + len) as usize]
    }
}

/// A device's position on its way into a block, coalesced: the highest of each kind, with its message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingPosition {
    pub chat: u32,
    pub user: UserId,
    pub device: DeviceId,
    /// seq 0 = none. A message that has expired has no id, and its receipt is left out.
    pub delivered: (u64, Option<MessageId>),
    pub read: (u64, Option<MessageId>),
    /// Read, but others are not told.
    pub secret: (u64, Option<MessageId>),
}

impl PendingPosition {
    /// What it says of each mark: which, whether others are not told, and how far (0 = nothing).
    pub(crate) const fn parts(&self) -> [(MarkStatus, bool, (u64, Option<MessageId>)); 3] {
        [
            (MarkStatus::delivered, false, self.delivered),
            (MarkStatus::read, false, self.read),
            (MarkStatus::read, true, self.secret),
        ]
    }
}

/// What one block holds.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// 1, 2, 3… so that a device's note of its pending position can name one.
    pub number: u32,
    pub items: Vec<Item>,
    pub positions: Vec<PendingPosition>,
    /// Entries among the items.
    pub entries: usize,
    /// Time of the last id given in it, ticks; 0 = none.
    pub last_ticks: u64,
}

impl Batch {
    /// Nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0 && self.positions.is_empty()
    }

    /// Whether it holds the entry of this id, or one that was given later.
    pub(crate) fn reaches(&self, message: MessageId) -> bool {
        self.last_ticks >= timeuuid::ticks(message)
    }
}
