//! What a journal's records say, and their fixed encoding.
//!
//! What must stay true: decoding is total (any bytes give a record or an error), and a type or format this build does not
//! know is an error, never skipped.

use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, ChatKind, DeviceId, MessageId, UserId};
use schema::wire::{EntryKind, MarkStatus};

/// One record. Borrowed: what is large in it is an entry's frame, copied once into the block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record<'a> {
    /// An entry of a chat's log.
    Append(AppendRecord<'a>),
    /// How far a device, and with it its user, has come in a chat.
    Position(PositionRecord),
}

/// An entry of a chat's log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AppendRecord<'a> {
    /// Which chat.
    pub chat: ChatId,
    /// The chat's kind.
    pub chat_kind: ChatKind,
    /// What the entry is.
    pub entry_kind: EntryKind,
    /// Who wrote it.
    pub sender: UserId,
    /// On which device.
    pub device: DeviceId,
    /// What a resend of it would be found by.
    pub dedupe: DedupeKey,
    /// The chat's first entry names both members of a direct chat.
    pub members: Option<[UserId; 2]>,
    /// Its place in the chat.
    pub seq: u64,
    /// Its id.
    pub message: MessageId,
    /// The entry frame, as it is delivered.
    pub frame: &'a [u8],
}

/// A device's position in a chat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PositionRecord {
    /// Which chat.
    pub chat: ChatId,
    /// Whose.
    pub user: UserId,
    /// On which device.
    pub device: DeviceId,
    /// Up to here.
    pub seq: u64,
    /// The message at `seq`.
    pub message: MessageId,
    /// Delivered or read.
    pub status: MarkStatus,
    /// Others are not told that it is read.
    pub secret: bool,
}

/// A record's bytes are not what its type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a later version.
    #[error("record type {kind} format {format} is unknown to this version")]
    Unknown {
        /// The type byte.
        kind: u8,
        /// The format byte.
        format: u8,
    },
    /// Encrypted under a key this version cannot use.
    #[error("record is encrypted (key {0}), which this version does not support")]
    Encrypted(u32),
    /// A valid checksum over an impossible payload.
    #[error("record's {0} is impossible")]
    Invalid(&'static str),
}

const APPEND: u8 = 1;
const POSITION: u8 = 2;
/// Format of both types.
const FORMAT: u8 = 1;
/// Format of a position that others are not told of.
const SECRET_FORMAT: u8 = 2;
const APPEND_FIXED: usize = 72;
const MEMBERS: usize = 16;
const POSITION_LEN: usize = 56;
const HAS_MEMBERS: u8 = 1;

impl<'a> Record<'a> {
    /// (type byte, format byte).
    pub(crate) const fn kind(&self) -> (u8, u8) {
        match self {
            Self::Append(_) => (APPEND, FORMAT),
            Self::Position(position) if position.secret => (POSITION, SECRET_FORMAT),
            Self::Position(_) => (POSITION, FORMAT),
        }
    }

    /// Length of its payload, bytes.
    pub const fn encoded_len(&self) -> usize {
        match self {
            Self::Append(append) => {
                APPEND_FIXED + if append.members.is_some() { MEMBERS } else { 0 } + append.frame.len()
            }
            Self::Position(_) => POSITION_LEN,
        }
    }

    /// Writes the payload into `out`, which has exactly [`Self::encoded_len`] bytes.
    pub(crate) fn encode(&self, out: &mut [u8]) {
        match self {
            Self::Append(append) => append.encode(out),
            Self::Position(position) => position.encode(out),
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`DecodeError`] for a type, format or payload that this version would not have written.
    pub fn decode(kind: u8, format: u8, payload: &'a [u8]) -> Result<Self, DecodeError> {
        match (kind, format) {
            (APPEND, FORMAT) => AppendRecord::decode(payload).map(Self::Append),
            (POSITION, FORMAT | SECRET_FORMAT) => {
                PositionRecord::decode(payload, format == SECRET_FORMAT).map(Self::Position)
            }
            _ => Err(DecodeError::Unknown { kind, format }),
        }
    }
}

impl<'a> AppendRecord<'a> {
    fn encode(&self, out: &mut [u8]) {
        let (fixed, rest) = out.split_at_mut(APPEND_FIXED);
        fixed[..16].copy_from_slice(&self.chat.0);
        fixed[16..32].copy_from_slice(&self.message.0);
        fixed[32..48].copy_from_slice(&self.dedupe.0);
        fixed[48..56].copy_from_slice(&self.seq.to_le_bytes());
        fixed[56..64].copy_from_slice(&self.sender.get().to_le_bytes());
        fixed[64..68].copy_from_slice(&self.device.0.to_le_bytes());
        fixed[68] = self.chat_kind as u8;
        fixed[69] = self.entry_kind.0;
        fixed[70] = if self.members.is_some() { HAS_MEMBERS } else { 0 };
        fixed[71] = 0;
        let frame = match self.members {
            Some([a, b]) => {
                rest[..8].copy_from_slice(&a.get().to_le_bytes());
                rest[8..16].copy_from_slice(&b.get().to_le_bytes());
                &mut rest[MEMBERS..]
            }
            None => rest,
        };
        frame.copy_from_slice(self.frame);
    }

    fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader(payload);
        let chat = ChatId(reader.take("chat")?);
        let message = MessageId(reader.take("message id")?);
        let dedupe = DedupeKey(reader.take("dedupe key")?);
        let seq = reader.seq()?;
        let sender = reader.user("sender")?;
        let device = DeviceId(u32::from_le_bytes(reader.take("device")?));
        let [chat_kind, entry_kind, flags, zero] = reader.take("kind")?;
        let chat_kind = match chat_kind {
            1 => ChatKind::Direct,
            2 => ChatKind::Account,
            3 => ChatKind::Group,
            _ => return Err(DecodeError::Invalid("chat kind")),
        };
        if flags & !HAS_MEMBERS != 0 || zero != 0 {
            return Err(DecodeError::Invalid("flags"));
        }
        let members = match flags {
            HAS_MEMBERS => Some([reader.user("member")?, reader.user("member")?]),
            _ => None,
        };
        let entry_kind = EntryKind(entry_kind);
        Ok(Self { chat, chat_kind, entry_kind, sender, device, dedupe, members, seq, message, frame: reader.0 })
    }
}

impl PositionRecord {
    fn encode(&self, out: &mut [u8]) {
        out[..16].copy_from_slice(&self.chat.0);
        out[16..32].copy_from_slice(&self.message.0);
        out[32..40].copy_from_slice(&self.user.get().to_le_bytes());
        out[40..48].copy_from_slice(&self.seq.to_le_bytes());
        out[48..52].copy_from_slice(&self.device.0.to_le_bytes());
        out[52..56].copy_from_slice(&[self.status.0, 0, 0, 0]);
    }

    fn decode(payload: &[u8], secret: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader(payload);
        let chat = ChatId(reader.take("chat")?);
        let message = MessageId(reader.take("message id")?);
        let user = reader.user("user")?;
        let seq = reader.seq()?;
        let device = DeviceId(u32::from_le_bytes(reader.take("device")?));
        let [status, zeros @ ..] = reader.take::<4>("status")?;
        if zeros != [0; 3] || !reader.0.is_empty() {
            return Err(DecodeError::Invalid("length"));
        }
        let status = MarkStatus(status);
        if status != MarkStatus::delivered && status != MarkStatus::read {
            return Err(DecodeError::Invalid("status"));
        }
        Ok(Self { chat, user, device, seq, message, status, secret })
    }
}

impl std::fmt::Debug for AppendRecord<'_> {
    /// Without the frame: it holds what people write.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppendRecord")
            .field("chat", &self.chat)
            .field("seq", &self.seq)
            .field("message", &self.message)
            .field("sender", &self.sender)
            .field("frame_bytes", &self.frame.len())
            .finish_non_exhaustive()
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Invalid(what))?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn user(&mut self, what: &'static str) -> Result<UserId, DecodeError> {
        UserId::new(u64::from_le_bytes(self.take(what)?)).ok_or(DecodeError::Invalid(what))
    }

    fn seq(&mut self) -> Result<u64, DecodeError> {
        match u64::from_le_bytes(self.take("seq")?) {
            0 => Err(DecodeError::Invalid("seq")),
            seq => Ok(seq),
        }
    }
}
