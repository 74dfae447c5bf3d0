//! Identifiers of users, devices, chats, messages and slots.
//!
//! All are plain values, ordered and hashable, and displayed the way every interface shows them: users and devices as
//! decimal numbers, chats and messages as hyphenated UUIDs.

use core::fmt;
use core::num::NonZeroU64;
use core::str::FromStr;

use sha2::{Digest, Sha256};

/// Number of slots a cluster's chats are spread over. Fixed for the life of a data folder.
pub const SLOT_COUNT: u16 = 1_024;

/// A user, chosen by the operator's own account system. Never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(NonZeroU64);

/// One of a user's devices. Any u32, 0 included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DeviceId(pub u32);

/// A chat: 16 bytes, a UUIDv8 derived from whom it is for, or from what made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChatId(pub [u8; 16]);

/// A message id: a TIMEUUID (UUIDv1). Its order is [`crate::timeuuid::ordered_key`]'s, not the bytes'.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId(pub [u8; 16]);

/// A slot in `0..SLOT_COUNT`: the unit in which chats are given to owners.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Slot(u16);

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {expected}")]
pub struct InvalidId {
    /// Which id was asked for.
    pub what: &'static str,
    /// What would have been accepted.
    pub expected: &'static str,
}

impl UserId {
    /// `None` for 0, which no user has.
    pub const fn new(id: u64) -> Option<Self> {
        match NonZeroU64::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// What a chat id's first hashed byte says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ChatKind {
    /// Two users (or one, writing to themselves).
    Direct = 1,
    /// A user's account log.
    Account = 2,
    /// Many members.
    Group = 3,
}

impl ChatId {
    /// The direct chat of two users, the same whichever is named first: UUIDv8 of SHA-256(kind, min, max).
    pub fn direct(a: UserId, b: UserId) -> Self {
        Self::derived(ChatKind::Direct, a.min(b), a.max(b))
    }

    /// A user's account log (the `self` chat).
    pub fn account(user: UserId) -> Self {
        Self::derived(ChatKind::Account, user, user)
    }

    /// The group that a user's `created` with this client_msg_id makes, however often it is sent (docs/decisions/groups.md).
    pub fn group(creator: UserId, client_msg_id: &[u8]) -> Self {
        Self::hashed(&[&[ChatKind::Group as u8], &creator.get().to_be_bytes(), client_msg_id])
    }

    fn derived(kind: ChatKind, min: UserId, max: UserId) -> Self {
        Self::hashed(&[&[kind as u8], &min.get().to_be_bytes(), &max.get().to_be_bytes()])
    }

    fn hashed(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        let digest = hash.finalize();
        let mut id = [0u8; 16];
        id.copy_from_slice(&digest[..16]);
        id[6] = (id[6] & 0x0f) | 0x80; // version 8
        id[8] = (id[8] & 0x3f) | 0x80; // RFC 9562 variant
        Self(id)
    }

    /// The slot that owns this chat: the top 10 bits of XXH3-64 (seed 0) of the id.
    pub fn slot(self) -> Slot {
        Slot((xxhash_rust::xxh3::xxh3_64(&self.0) >> 54) as u16)
    }
}

impl Slot {
    /// `None` at or above [`SLOT_COUNT`].
    pub const fn new(slot: u16) -> Option<Self> {
        if slot < SLOT_COUNT { Some(Self(slot)) } else { None }
    }

    /// The number, below [`SLOT_COUNT`].
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The partition that holds this slot when `partitions` share all slots in equal ranges. `partitions` in `1..=SLOT_COUNT`.
    pub fn partition(self, partitions: u16) -> u16 {
        debug_assert!((1..=SLOT_COUNT).contains(&partitions));
        (u32::from(self.0) * u32::from(partitions) / u32::from(SLOT_COUNT)) as u16
    }
}

macro_rules! uuid_id {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&uuid::Uuid::from_bytes(self.0).hyphenated(), f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            /// Accepts the hyphenated form only.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let error = InvalidId { what: $what, expected: "a hyphenated UUID" };
                if text.len() != 36 {
                    return Err(error);
                }
                uuid::Uuid::try_parse(text).map(|uuid| Self(uuid.into_bytes())).map_err(|_| error)
            }
        }
        impl From<&crate::wire::Uuid> for $name {
            fn from(wire: &crate::wire::Uuid) -> Self {
                Self(wire.0)
            }
        }
        impl From<$name> for crate::wire::Uuid {
            fn from(id: $name) -> Self {
                Self(id.0)
            }
        }
    };
}
uuid_id!(ChatId, "chat_id");
uuid_id!(MessageId, "message_id");

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for UserId {
    type Err = InvalidId;
    /// Decimal digits only: no sign, no spaces.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let error = InvalidId { what: "user id", expected: "a decimal number from 1 to 18446744073709551615" };
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error);
        }
        text.parse::<u64>().ok().and_then(Self::new).ok_or(error)
    }
}
impl FromStr for DeviceId {
    type Err = InvalidId;
    /// Decimal digits only: no sign, no spaces.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let error = InvalidId { what: "device id", expected: "a decimal number from 0 to 4294967295" };
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error);
        }
        text.parse::<u32>().map(Self).map_err(|_| error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn user_ids_are_decimal_and_never_zero() {
        assert_eq!("18446744073709551615".parse::<UserId>().unwrap(), user(u64::MAX));
        for wrong in ["", "0", "-1", "+1", " 1", "1 ", "1.0", "0x7", "18446744073709551616", "seven"] {
            assert!(wrong.parse::<UserId>().is_err(), "{wrong:?}");
        }
        assert_eq!("0".parse::<DeviceId>().unwrap(), DeviceId(0));
        assert!("4294967296".parse::<DeviceId>().is_err());
    }

    #[test]
    fn a_direct_chat_is_the_same_from_both_sides_and_a_uuid_of_version_8() {
        let chat = ChatId::direct(user(7), user(9));
        assert_eq!(chat, ChatId::direct(user(9), user(7)));
        // Fixed for ever: other languages derive it too.
        assert_eq!(chat.to_string(), "39126436-089d-82c4-b798-05541412696a");
        assert_ne!(chat, ChatId::direct(user(7), user(8)));
        assert_ne!(ChatId::direct(user(7), user(7)), ChatId::account(user(7)));
        assert_eq!(uuid::Uuid::from_bytes(chat.0).get_version_num(), 8);
    }

    #[test]
    fn chat_and_message_ids_take_the_hyphenated_form_only() {
        let chat = ChatId::direct(user(1), user(2));
        assert_eq!(chat.to_string().parse::<ChatId>().unwrap(), chat);
        for wrong in ["", "39126436089d82c4b79805541412696a", "{39126436-089d-82c4-b798-05541412696a}", "not-a-uuid"] {
            assert!(wrong.parse::<ChatId>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn slots_spread_evenly_and_belong_to_one_partition() {
        let mut counts = [0u32; SLOT_COUNT as usize];
        for id in 1..=102_400 {
            counts[usize::from(ChatId::direct(user(id), user(id + 1)).slot().get())] += 1;
        }
        assert!(counts.iter().all(|&n| (50..200).contains(&n)), "about 100 each");
        for partitions in [1, 2, 3, 5, 1_000, SLOT_COUNT] {
            let of = |slot| Slot::new(slot).unwrap().partition(partitions);
            assert_eq!((of(0), of(SLOT_COUNT - 1)), (0, partitions - 1));
            assert!((1..SLOT_COUNT).all(|slot| of(slot) == of(slot - 1) || of(slot) == of(slot - 1) + 1));
        }
    }
}
