//! What is kept of a chat besides its entries: members, watermarks, device positions and the head.

use std::collections::BTreeMap;

use schema::encode::ChatSettings;
use schema::ids::{ChatId, ChatKind, DeviceId, MessageId, UserId};
use schema::wire::Role;
use smallvec::SmallVec;

use super::{StoreError, codec};

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
    /// Of an account log: what its entries have made of it.
    pub account: Option<Box<AccountState>>,
    /// Members whose others are told of an older read mark than theirs, and which; usually none.
    pub shown: Vec<(UserId, u64)>,
    /// When a mark that others are told of last rose, ms since 1970; 0 = never.
    pub ticked_ms: u64,
}

impl ChatState {
    /// A direct chat without anything in it.
    pub fn empty(chat: ChatId) -> Self {
        Self {
            chat,
            kind: ChatKind::Direct,
            head_seq: 0,
            head_message: None,
            last_ms: 0,
            members: SmallVec::new(),
            group: None,
            ttl_s: None,
            account: None,
            shown: Vec::new(),
            ticked_ms: 0,
        }
    }

    /// Everything but the chat's id, as bytes of a versioned encoding.
    pub fn to_row(&self) -> Vec<u8> {
        let mut row = Vec::new();
        codec::put_state(&mut row, self);
        row
    }

    /// The state of `chat` that [`Self::to_row`] made `row` of, in this version or one before.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it made no such bytes.
    pub fn from_row(chat: ChatId, row: &[u8]) -> Result<Self, StoreError> {
        codec::state(chat, row).map_err(|codec::BadRow(what)| {
            let what = format!("the state of chat {chat}: {what}");
            StoreError::Damaged { doing: "reading chat states", what }
        })
    }
}

/// What a user's account log says by now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccountState {
    /// About no chat: key and value, as they were set.
    pub settings: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of chats; those of which nothing is set have none.
    pub chats: BTreeMap<ChatId, ChatSettings>,
    /// Devices that were named or revoked.
    pub devices: BTreeMap<DeviceId, OwnDevice>,
    /// What is not shown of a chat, in the order in which it was hidden.
    pub hidden: BTreeMap<ChatId, Vec<MessageId>>,
}

/// One of a user's devices, as their account log knows it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnDevice {
    /// UTF-8; empty = it was never named.
    pub name: Vec<u8>,
    /// When it was named, ms since 1970; 0 = never.
    pub named_ms: u64,
    /// When it was last revoked, ms since 1970; 0 = never.
    pub revoked_ms: u64,
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
