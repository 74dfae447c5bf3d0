//! A user's account log: what its entries make of it, and what they may say.
//!
//! [`AccountState`] is the fold of the log's entries, and nothing else: an owner that replays them has the same. What must
//! stay true: it never holds more than its limits, so that an answer with all of it fits a frame; a device that revokes
//! another is not the one that it revokes.

use std::collections::VecDeque;

use schema::encode::{ChatSettings, DeviceFields, Encoder, Extras};
use schema::envelope::AccountFacts;
use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::{ChatId, DeviceId, MessageId};
use schema::limits::{APP_SETTINGS_BYTES, APP_SETTINGS_MAX, CHAT_SETTINGS_MAX, DEVICES_MAX, HIDDEN_IN_ALL, HIDDEN_MAX};
use schema::wire::{EntryKind, Send};

use crate::store::{AccountState, OwnDevice};

const READ_RECEIPTS: &[u8] = b"read_receipts";
const APP: &[u8] = b"app.";

/// Whether entries of this kind belong in an account log, and nowhere else.
pub(crate) const fn is_account(kind: EntryKind) -> bool {
    kind.0 >= EntryKind::setting.0 && kind.0 <= EntryKind::revoked.0
}

/// What one entry changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AccountChange {
    Setting { key: Vec<u8>, subject: Option<ChatId>, value: Vec<u8> },
    Hidden { subject: ChatId, message: MessageId },
    Device { device: DeviceId, name: Vec<u8> },
    Revoked { device: DeviceId },
}

/// The fields that sends and entries have in common.
struct Fields<'a> {
    kind: EntryKind,
    key: &'a [u8],
    subject: Option<ChatId>,
    body: &'a [u8],
    message: Option<MessageId>,
    device: DeviceId,
}

macro_rules! fields {
    ($of:expr) => {
        Fields {
            kind: $of.kind(),
            key: $of.key().map_or(&[][..], |key| key.bytes()),
            subject: $of.subject().map(ChatId::from),
            body: $of.body().map_or(&[][..], |body| body.bytes()),
            message: $of.refers_to().map(MessageId::from),
            device: DeviceId($of.device()),
        }
    };
}

impl AccountChange {
    fn of(fields: &Fields<'_>) -> Option<Self> {
        let &Fields { kind, key, subject, body, message, device } = fields;
        Some(match kind {
            EntryKind::setting => Self::Setting { key: key.to_vec(), subject, value: body.to_vec() },
            EntryKind::hidden => Self::Hidden { subject: subject?, message: message? },
            EntryKind::device => Self::Device { device, name: body.to_vec() },
            EntryKind::revoked => Self::Revoked { device },
            _ => return None,
        })
    }

    /// What a send asks for; `None` when it lacks what its kind needs.
    pub(crate) fn of_send(send: &Send<'_>) -> Option<Self> {
        Self::of(&fields!(send))
    }

    /// What an entry's frame says; `None` when it is none.
    pub(crate) fn of_entry(frame: &[u8]) -> Option<Self> {
        let frame = FrameRef::verify(frame).ok()?;
        Self::of(&fields!(frame.root().body_as_entry()?))
    }
}

/// What the entry of a send to an account log has besides what all entries have.
pub(super) fn account_extras<'a>(send: &Send<'a>) -> Extras<'a> {
    let Fields { key, subject, device, .. } = fields!(send);
    Extras { key, subject, device, ..Extras::default() }
}

/// A setting of a chat, with this value; `None`: there is none such.
fn set(mut before: ChatSettings, key: &[u8], value: &[u8]) -> Option<ChatSettings> {
    let on = match value {
        b"on" => Some(true),
        b"off" | b"" => Some(false),
        _ => None,
    };
    match key {
        b"pinned" => before.pinned = on?,
        b"archived" => before.archived = on?,
        b"muted_until" if value.is_empty() => before.muted_until_ms = 0,
        b"muted_until" if value.iter().all(u8::is_ascii_digit) => {
            before.muted_until_ms = core::str::from_utf8(value).ok()?.parse().ok()?;
        }
        _ => return None,
    }
    Some(before)
}

fn fits(holds: bool) -> Result<(), ErrorCode> {
    if holds { Ok(()) } else { Err(ErrorCode::AccountFull) }
}

impl AccountState {
    /// Whether `change` may be made by a device.
    pub(crate) fn judge(&self, change: &AccountChange, by: DeviceId) -> Result<(), ErrorCode> {
        match change {
            AccountChange::Setting { key, subject: None, value } => self.judge_setting(key, value),
            AccountChange::Setting { key, subject: Some(chat), value } => {
                let before = self.chat(*chat);
                let after = set(before, key, value).ok_or(ErrorCode::InvalidSetting)?;
                let more = before == ChatSettings::default() && after != before;
                fits(!more || self.chats.len() < CHAT_SETTINGS_MAX)
            }
            AccountChange::Hidden { subject, message } => {
                let of_chat = self.hidden.get(subject).map_or(&[][..], Vec::as_slice);
                if of_chat.contains(message) {
                    return Err(ErrorCode::NoChange);
                }
                let in_all: usize = self.hidden.values().map(Vec::len).sum();
                fits(of_chat.len() < HIDDEN_MAX && in_all < HIDDEN_IN_ALL)
            }
            AccountChange::Revoked { device } if *device == by => Err(ErrorCode::Forbidden),
            AccountChange::Device { device, .. } | AccountChange::Revoked { device } => {
                fits(self.devices.contains_key(device) || self.devices.len() < DEVICES_MAX)
            }
        }
    }

    fn judge_setting(&self, key: &[u8], value: &[u8]) -> Result<(), ErrorCode> {
        if key == READ_RECEIPTS {
            return if matches!(value, b"on" | b"off" | b"") { Ok(()) } else { Err(ErrorCode::InvalidSetting) };
        }
        if !key.starts_with(APP) || key.len() == APP.len() {
            return Err(ErrorCode::InvalidSetting);
        }
        if value.is_empty() {
            return Ok(());
        }
        let others = self.settings.iter().filter(|(other, _)| other.starts_with(APP) && other.as_slice() != key);
        let (count, bytes) = others.fold((0, 0), |(count, bytes), (k, v)| (count + 1, bytes + k.len() + v.len()));
        fits(count < APP_SETTINGS_MAX && bytes + key.len() + value.len() <= APP_SETTINGS_BYTES)
    }

    /// Makes a judged change, whose entry was given at `at_ms`.
    pub(crate) fn apply(&mut self, at_ms: u64, change: &AccountChange) {
        match change {
            AccountChange::Setting { key, subject: None, value } if value.is_empty() => {
                self.settings.remove(key);
            }
            AccountChange::Setting { key, subject: None, value } => {
                self.settings.insert(key.clone(), value.clone());
            }
            AccountChange::Setting { key, subject: Some(chat), value } => match set(self.chat(*chat), key, value) {
                Some(after) if after == ChatSettings::default() => {
                    self.chats.remove(chat);
                }
                Some(after) => {
                    self.chats.insert(*chat, after);
                }
                None => {}
            },
            AccountChange::Hidden { subject, message } => self.hidden.entry(*subject).or_default().push(*message),
            AccountChange::Device { device, name } => {
                let known = self.devices.entry(*device).or_default();
                (known.name, known.named_ms) = (name.clone(), at_ms);
            }
            AccountChange::Revoked { device } => {
                let known = self.devices.entry(*device).or_default();
                known.revoked_ms = known.revoked_ms.max(at_ms);
            }
        }
    }

    /// What is set for a chat.
    pub(crate) fn chat(&self, chat: ChatId) -> ChatSettings {
        self.chats.get(&chat).copied().unwrap_or_default()
    }

    /// What sessions of the user must know.
    pub(crate) fn facts(&self) -> AccountFacts {
        let revoked = self.devices.iter().filter(|(_, known)| known.revoked_ms > 0);
        AccountFacts {
            read_receipts_off: self.settings.get(READ_RECEIPTS).is_some_and(|value| value == b"off"),
            revoked: revoked.map(|(&device, known)| (device, known.revoked_ms)).collect(),
        }
    }

    /// The Account frame that says all of it; of what is hidden, a chat's.
    pub(crate) fn frame(&self, encoder: &mut Encoder, request_id: u64, chat: Option<ChatId>) -> bytes::Bytes {
        let settings: Vec<(&[u8], &[u8])> =
            self.settings.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
        let mut devices = Vec::with_capacity(self.devices.len());
        for (&device, OwnDevice { name, named_ms, revoked_ms }) in &self.devices {
            devices.push(DeviceFields { device, name, named_ms: *named_ms, revoked_ms: *revoked_ms });
        }
        let hidden = chat.and_then(|chat| self.hidden.get(&chat)).map_or(&[][..], Vec::as_slice);
        encoder.account(request_id, &settings, &devices, hidden)
    }
}

/// An account log: what is durable of it, and what is ordered behind that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// Committed.
    pub state: AccountState,
    /// As of the last entry given out, while that is not durable.
    ordered: Option<Box<AccountState>>,
    pending: VecDeque<(u64, u64, AccountChange)>,
}

impl Account {
    pub(crate) fn new(state: AccountState) -> Self {
        Self { state, ..Self::default() }
    }

    /// What counts for whatever is ordered next.
    pub(crate) fn current(&self) -> &AccountState {
        self.ordered.as_deref().unwrap_or(&self.state)
    }

    /// A change was given this seq, at this wall time.
    pub(crate) fn order(&mut self, seq: u64, at_ms: u64, change: AccountChange) {
        let mut ordered = self.ordered.take().unwrap_or_else(|| Box::new(self.state.clone()));
        ordered.apply(at_ms, &change);
        self.ordered = Some(ordered);
        self.pending.push_back((seq, at_ms, change));
    }

    /// The entry of this seq is durable.
    pub(crate) fn settle(&mut self, seq: u64) {
        if self.pending.front().is_some_and(|(pending, ..)| *pending == seq)
            && let Some((_, at_ms, change)) = self.pending.pop_front()
        {
            self.state.apply(at_ms, &change);
        }
        if self.pending.is_empty() {
            self.ordered = None;
        }
    }

    /// What was ordered but is not durable was never anywhere.
    pub(crate) fn forget(&mut self) {
        self.ordered = None;
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests;
