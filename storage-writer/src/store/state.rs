//! What is kept of a chat besides its entries: members, watermarks, device positions and the head.

use schema::ids::{ChatId, ChatKind, DeviceId, MessageId, UserId};
use schema::wire::Role;
use smallvec::SmallVec;

/// A chat's state as of a flush. The latest one of a chat replaces the ones before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChatState {
    /// Which chat.
    pub chat: ChatId,
    /// What it is.
    pub kind: ChatKind,
    /// Last seq; 0 = no entry yet.
    pub head_seq: u64,
    /// The last entry's id; `None` exactly when `head_seq` is 0.
    pub head_message: Option<MessageId>,
    /// Wall time of the last entry, ms since 1970.
    pub last_ms: u64,
    /// Who is in it, in the owner's order.
    pub members: SmallVec<[MemberState; 2]>,
    /// Of a group: its name, and who is in it when.
    pub group: Option<Box<GroupState>>,
    /// How long messages stay, s; 0 = for good now; `None` = for good always.
    pub ttl_s: Option<u32>,
}

/// What a group's changes have made of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupState {
    /// Its name, UTF-8, at most [`schema::limits::GROUP_NAME_BYTES`].
    pub name: Vec<u8>,
    /// Who made it; `None` before its first entry.
    pub created_by: Option<UserId>,
    /// Everybody who is or was in it, ascending by user.
    pub seats: Vec<SeatState>,
}

/// One user's place in a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeatState {
    /// Whose.
    pub user: UserId,
    /// What they may do, or might while they were in it.
    pub role: Role,
    /// First and last seq of each time they were in it, ascending; the last ends at `u64::MAX` while they are.
    pub spans: SmallVec<[(u64, u64); 1]>,
}

/// One member of a chat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberState {
    /// Who.
    pub user: UserId,
    /// Highest seq delivered to any of the user's devices; at least `read`.
    pub delivered: u64,
    /// Highest seq read.
    pub read: u64,
    /// The devices that have acknowledged anything.
    pub devices: SmallVec<[DeviceState; 1]>,
}

/// One device of a member.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeviceState {
    /// Which.
    pub device: DeviceId,
    /// Everything up to here is on the device.
    pub acked: u64,
    /// Seqs above `acked` that this device sent itself, ascending; usually none.
    pub own: Vec<u64>,
}
