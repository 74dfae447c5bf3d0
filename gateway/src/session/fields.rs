//! The fields of a send, before anybody else looks at it.
//!
//! What must stay true: a send that passes has every field that its kind needs, within its bounds, and none that its kind
//! does not know; whether it may be done, its owner says.

use schema::encode::SendTarget;
use schema::errors::ErrorCode;
use schema::ids::UserId;
use schema::limits::{
    CLIENT_MSG_ID_BYTES, DEVICE_NAME_BYTES, GROUP_MEMBERS_MAX, GROUP_NAME_BYTES, MENTIONS_MAX, REACTION_BYTES,
    SETTING_KEY_BYTES, SETTING_VALUE_BYTES, TTL_S,
};
use schema::wire::{EntryKind, Send};

/// Where a send goes, if its fields are right.
pub(crate) enum Target {
    To(SendTarget),
    /// To the group that it makes.
    NewGroup,
    /// To the sender's account log.
    Account,
}

/// The fields that a send's frame must have right.
pub(crate) fn checked(send: &Send<'_>) -> Result<Target, ErrorCode> {
    let id_bytes = send.client_msg_id().map_or(0, |id| id.len());
    if !CLIENT_MSG_ID_BYTES.contains(&id_bytes) {
        return Err(ErrorCode::InvalidClientMsgId);
    }
    let kind = send.kind();
    match kind {
        EntryKind::message => mentions(send)?,
        EntryKind::edited | EntryKind::deleted | EntryKind::reacted | EntryKind::timer => amendment(send)?,
        EntryKind::setting | EntryKind::hidden | EntryKind::device | EntryKind::revoked => account(send)?,
        _ => change(send)?,
    }
    match (send.chat_id(), UserId::new(send.to())) {
        (None, None) if kind == EntryKind::created => Ok(Target::NewGroup),
        (None, None) if kind.0 >= EntryKind::setting.0 => Ok(Target::Account),
        (Some(_), None) if kind == EntryKind::created => Err(ErrorCode::InvalidField),
        (Some(chat), None) => Ok(Target::To(SendTarget::Chat(chat.into()))),
        (None, Some(user)) if kind == EntryKind::message => Ok(Target::To(SendTarget::User(user))),
        (None, None) => Err(ErrorCode::InvalidUser),
        _ => Err(ErrorCode::InvalidField),
    }
}

fn body<'a>(send: &Send<'a>) -> &'a [u8] {
    send.body().map_or(&[][..], |body| body.bytes())
}

fn require(met: bool, otherwise: ErrorCode) -> Result<(), ErrorCode> {
    if met { Ok(()) } else { Err(otherwise) }
}

fn is_text(bytes: &[u8], lengths: core::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&bytes.len()) && core::str::from_utf8(bytes).is_ok()
}

/// Who a message mentions.
fn mentions(send: &Send<'_>) -> Result<(), ErrorCode> {
    let Some(users) = send.users() else { return Ok(()) };
    require(users.len() <= MENTIONS_MAX, ErrorCode::InvalidField)?;
    require(users.iter().all(|user| user != 0), ErrorCode::InvalidUser)
}

/// What amends a message or its chat.
fn amendment(send: &Send<'_>) -> Result<(), ErrorCode> {
    let kind = send.kind();
    if kind == EntryKind::timer {
        require(send.ttl_s() == 0 || TTL_S.contains(&send.ttl_s()), ErrorCode::InvalidTimer)?;
    } else {
        require(send.refers_to().is_some(), ErrorCode::InvalidField)?;
    }
    match kind {
        EntryKind::edited => return mentions(send),
        EntryKind::reacted => {
            require(is_text(body(send), 0..=*REACTION_BYTES.end()), ErrorCode::InvalidReaction)?;
        }
        _ => require(body(send).is_empty(), ErrorCode::InvalidField)?,
    }
    require(send.users().is_none(), ErrorCode::InvalidField)
}

/// What is the user's own.
fn account(send: &Send<'_>) -> Result<(), ErrorCode> {
    let key = send.key().map_or(&[][..], |key| key.bytes());
    match send.kind() {
        EntryKind::setting => {
            let fits = is_text(key, SETTING_KEY_BYTES) && body(send).len() <= SETTING_VALUE_BYTES;
            require(fits, ErrorCode::InvalidSetting)?;
        }
        EntryKind::hidden => {
            require(send.subject().is_some() && send.refers_to().is_some(), ErrorCode::InvalidField)?;
        }
        EntryKind::device => require(is_text(body(send), 1..=DEVICE_NAME_BYTES), ErrorCode::InvalidField)?,
        _ => {}
    }
    require(send.users().is_none(), ErrorCode::InvalidField)
}

/// The fields of a send that changes a group.
fn change(send: &Send<'_>) -> Result<(), ErrorCode> {
    let (named, concerns) = match send.kind() {
        EntryKind::created => (true, None),
        EntryKind::renamed => (true, Some(false)),
        EntryKind::left => (false, Some(false)),
        EntryKind::added | EntryKind::removed | EntryKind::role => (false, Some(true)),
        _ => return Err(ErrorCode::Unsupported),
    };
    let users = send.users().map_or(0, |users| users.len());
    if concerns.is_some_and(|concerns| concerns != (users > 0)) || send.role().variant_name().is_none() {
        return Err(ErrorCode::InvalidField);
    }
    if users > GROUP_MEMBERS_MAX as usize {
        return Err(ErrorCode::TooManyMembers);
    }
    if send.users().is_some_and(|users| users.iter().any(|user| user == 0)) {
        return Err(ErrorCode::InvalidUser);
    }
    let name = body(send);
    match named {
        true if !is_text(name, 1..=GROUP_NAME_BYTES) => Err(ErrorCode::InvalidName),
        false if !name.is_empty() => Err(ErrorCode::InvalidField),
        _ => Ok(()),
    }
}
