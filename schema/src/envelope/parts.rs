//! What bodies are made of.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::ids::{ChatId, DeviceId, MessageId, UserId};

/// When a sampled message passed each stage, in ns of the host's monotonic clock; 0 = not yet, or not sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stages {
    /// The gateway read the frame.
    pub accepted: u64,
    /// The owner gave it its seq.
    pub ordered: u64,
    /// The journal (or the store) has it.
    pub committed: u64,
    /// The router found its recipients.
    pub routed: u64,
    /// The receiving gateway wrote it to a socket.
    pub written: u64,
}

/// What a sampled message carries along.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trace {
    /// 0 = its stages are timed, but it is not traced.
    pub id: u128,
    /// See [`Stages`].
    pub stages: Stages,
}

/// A user a push is for and how far one of their devices has acknowledged the chat. A user has one for each device the
/// owner knows, one after the other, or a single one without a device. A device that is not listed is at 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recipient {
    /// Whose sessions get it.
    pub user: UserId,
    /// `None` = the owner knows no device of theirs.
    pub device: Option<DeviceId>,
    /// Everything up to here is on the device. 0 = nothing.
    pub acked_seq: u64,
}

/// What a push or nudge is for; two users with a device each stay in place.
pub type Recipients = SmallVec<[Recipient; 2]>;

/// One session a push is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// The connection's place in the shard's table.
    pub connection: u32,
    /// How often that place has been used before.
    pub generation: u32,
    /// What the owner knew of the session's device: acknowledged up to here.
    pub acked_seq: u64,
}

/// Where a send is that was queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// Its id.
    pub message: MessageId,
    /// Its place in its chat.
    pub seq: u64,
    /// Wall time of the message, ms since 1970.
    pub timestamp_ms: u64,
}

/// A chat that has more than a device has acknowledged, as a sync page names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChangedChat {
    /// Which chat.
    pub chat: ChatId,
    /// Its committed head.
    pub head_seq: u64,
    /// What the asking device has acknowledged.
    pub acked_seq: u64,
    /// Wall time of the head, ms since 1970: pages come newest first.
    pub last_ms: u64,
    /// Others have got or read more of it since the device was last synced.
    pub ticked: bool,
}

/// How far a partition is on its way from one writer to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveStage {
    /// Said by its owner, to the next one: what can be read of it is to be read ahead.
    ReadAhead,
    /// Said by the next one: that is done.
    Read,
    /// Said by its owner until now: the table of leases has it as the other's.
    Yours,
}

/// A partition as a writer holds it, or has given it up. An epoch that was given up does not come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holding {
    /// Its number.
    pub partition: u16,
    /// Rises whenever it gets another owner, or the same one anew.
    pub epoch: u64,
    /// Or given up.
    pub held: bool,
}

/// What a session must know of its user's account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccountFacts {
    /// The user tells nobody what they have read, and is told of nobody.
    pub read_receipts_off: bool,
    /// Devices that may not come with a token of before: which, and wall time, ms since 1970.
    pub revoked: Vec<(DeviceId, u64)>,
}

/// Where a sync page ended: the next page holds chats strictly older than this, in (last_ms, chat) order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct SyncCursor {
    /// `last_ms` of the page's last chat.
    pub last_ms: u64,
    /// The page's last chat.
    pub chat: ChatId,
}

/// A chat as a page of chats names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedChat {
    /// Its place among the user's chats.
    pub at: SyncCursor,
    /// Its ChatInfo frame.
    pub frame: Bytes,
}

/// Which sessions a gap concerns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GapScope {
    /// Every session of the receiving gateway shard (or of all, when a router gets it).
    All,
    /// The sessions of these users (owner -> router).
    Users(Vec<UserId>),
    /// These sessions: (connection, generation) (router -> gateway shard).
    Sessions(Vec<(u32, u32)>),
}
