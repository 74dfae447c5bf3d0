//! What a request must know of its user's account before it goes on: as a session knows it from its sync.

use bytes::Bytes;
use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::MessageId;
use schema::wire::{Entry, EntryKind};

use super::{Answer, Refusal};
use crate::auth::Identity;

/// The user's setting that decides whether others are told what they read.
const READ_RECEIPTS: &[u8] = b"read_receipts";

/// What an Account frame says about a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Account {
    /// The user tells nobody what they read, and is told of nobody.
    pub read_receipts_off: bool,
    /// What the user does not want to see of the chat asked about, ascending by bytes.
    hidden: Vec<[u8; 16]>,
}

impl Account {
    /// Nothing is set.
    pub const NONE: Self = Self { read_receipts_off: false, hidden: Vec::new() };

    /// Reads the frame that the account's owner answered a request of `from` with.
    ///
    /// # Errors
    /// `token_revoked` when one of the user's other devices has revoked this one since the token was issued; `internal` when
    /// it is no such frame.
    pub fn read(frame: &[u8], from: &Identity) -> Result<Self, ErrorCode> {
        let frame = FrameRef::verify_from_server(frame).map_err(|_| ErrorCode::Internal)?;
        let account = frame.root().body_as_account().ok_or(ErrorCode::Internal)?;
        let mut devices = account.devices().into_iter().flatten();
        let revoked_ms = devices.find(|device| device.device() == from.device.0).map_or(0, |own| own.revoked_ms());
        // A token names the second only: one of the very second is refused too.
        let before = from.issued_s.is_none_or(|issued_s| issued_s.saturating_mul(1_000) <= revoked_ms);
        if revoked_ms > 0 && before {
            return Err(ErrorCode::TokenRevoked);
        }
        let settings = account.settings().into_iter().flatten();
        let mut receipts = settings.filter(|setting| setting.key().is_some_and(|key| key.bytes() == READ_RECEIPTS));
        let read_receipts_off = receipts.any(|setting| setting.value().is_some_and(|value| value.bytes() == b"off"));
        let mut hidden: Vec<[u8; 16]> = account.hidden().into_iter().flatten().map(|message| message.0).collect();
        hidden.sort_unstable();
        Ok(Self { read_receipts_off, hidden })
    }

    /// An answer as the user wants to see it.
    ///
    /// # Errors
    /// As [`Self::without_hidden`].
    pub fn shown(&self, answer: Answer) -> Result<Answer, Refusal> {
        Ok(match answer {
            Answer::Page { covers, head_seq, entries } => {
                Answer::Page { covers, head_seq, entries: self.without_hidden(entries)? }
            }
            other => other,
        })
    }

    /// Leaves only what the user wants to see: neither a hidden message nor what amends it.
    ///
    /// # Errors
    /// `internal` when one cannot be read: better no page than one that shows too much.
    pub fn without_hidden(&self, entries: Vec<(u64, Bytes)>) -> Result<Vec<(u64, Bytes)>, ErrorCode> {
        if self.hidden.is_empty() {
            return Ok(entries);
        }
        let mut shown = Vec::with_capacity(entries.len());
        for (seq, bytes) in entries {
            let frame = FrameRef::verify_from_server(&bytes).map_err(|_| ErrorCode::Internal)?;
            let entry = frame.root().body_as_entry().ok_or(ErrorCode::Internal)?;
            if !self.hides(&entry) {
                shown.push((seq, bytes));
            }
        }
        Ok(shown)
    }

    fn hides(&self, entry: &Entry<'_>) -> bool {
        let hidden = |id: MessageId| self.hidden.binary_search(&id.0).is_ok();
        let amends = matches!(entry.kind(), EntryKind::edited | EntryKind::deleted | EntryKind::reacted);
        let about = entry.refers_to().filter(|_| amends).map(MessageId::from);
        entry.message_id().map(MessageId::from).is_some_and(hidden) || about.is_some_and(hidden)
    }
}
