//! Changes of groups, and questions about chats.

use std::borrow::Cow;

use schema::encode::SendTarget;
use schema::errors::ErrorCode;
use schema::ids::{ChatId, UserId};
use schema::limits::GROUP_NAME_BYTES;
use schema::wire::{EntryKind, Role};
use serde::Deserialize;

use super::super::fields::{Field, Fields, Value};
use super::super::text;
use super::{chat_id, into_bytes, invalid, limit, message_id, request_id, sending, user_list};
use crate::wire::{Ask, ClientEvent, EventError, SendEvent};

/// A send of one of the kinds from `created` on.
pub(super) fn change(fields: Fields<'_>, kind: EntryKind) -> Result<ClientEvent<'_>, EventError> {
    sending(fields, kind, |fields| {
        let target = match kind {
            EntryKind::created => no_target(fields)?,
            _ => Some(SendTarget::Chat(chat_id(&fields.take(Field::ChatId))?)),
        };
        let body = match kind {
            EntryKind::created | EntryKind::renamed => name(fields)?,
            _ => Cow::Borrowed(&[][..]),
        };
        let users = match kind {
            EntryKind::left | EntryKind::renamed => Vec::new(),
            _ => users(&fields.take(Field::Users), kind == EntryKind::created)?,
        };
        let role = if kind == EntryKind::role { role(fields)? } else { Role::member };
        Ok(SendEvent { target, body, users, role, ..SendEvent::default() })
    })
}

fn no_target(fields: &mut Fields<'_>) -> Result<Option<SendTarget>, EventError> {
    match (fields.take(Field::ChatId), fields.take(Field::To)) {
        (Value::Absent, Value::Absent) => Ok(None),
        _ => Err(invalid("a group is created without chat_id and to; its ack says the chat_id")),
    }
}

fn name<'a>(fields: &mut Fields<'a>) -> Result<Cow<'a, [u8]>, EventError> {
    match fields.take(Field::Name) {
        Value::Text(name) if (1..=GROUP_NAME_BYTES).contains(&name.len()) => Ok(into_bytes(name)),
        Value::Text(_) => Err(EventError::new(ErrorCode::InvalidName)),
        _ => Err(invalid("name must be a string of 1 to 256 bytes")),
    }
}

fn users(value: &Value<'_>, may_be_empty: bool) -> Result<Vec<UserId>, EventError> {
    let users = user_list(value, "users must be a list of user ids, each a string of decimal digits")?;
    if users.is_empty() && !may_be_empty {
        return Err(invalid("users must name one user or more"));
    }
    Ok(users)
}

fn role(fields: &mut Fields<'_>) -> Result<Role, EventError> {
    match fields.take(Field::Role) {
        Value::Text(role) if role == "member" => Ok(Role::member),
        Value::Text(role) if role == "admin" => Ok(Role::admin),
        _ => Err(invalid("role must be \"member\" or \"admin\"")),
    }
}

/// What a chat is.
pub(super) fn chat<'a>(fields: &mut Fields<'a>) -> Result<ClientEvent<'a>, EventError> {
    let chat = chat_id(&fields.take(Field::ChatId))?;
    let after_user = match fields.take(Field::AfterUser) {
        Value::Absent => 0,
        Value::Text(text) if text == "0" => 0,
        Value::Text(text) => {
            text.parse::<UserId>().map_err(|_| invalid("after_user must be a user id, or \"0\""))?.get()
        }
        _ => return Err(invalid("after_user must be a string of decimal digits")),
    };
    let ask = Ask::Chat { chat, after_user, limit: limit(fields)? };
    Ok(ClientEvent::Ask { request_id: request_id(fields)?, ask })
}

/// A page of the user's chats.
pub(super) fn chats<'a>(fields: &mut Fields<'a>) -> Result<ClientEvent<'a>, EventError> {
    let before = match fields.take(Field::Before) {
        Value::Raw(raw) => Some(before(raw).ok_or_else(|| {
            invalid("before must hold last and chat_id, as the last chat of the page before has them")
        })?),
        _ => None,
    };
    let ask = Ask::Chats { before, limit: limit(fields)? };
    Ok(ClientEvent::Ask { request_id: request_id(fields)?, ask })
}

fn before(raw: &str) -> Option<(u64, ChatId)> {
    #[derive(Deserialize)]
    struct Before<'a> {
        #[serde(borrow)]
        last: Cow<'a, str>,
        #[serde(borrow)]
        chat_id: Cow<'a, str>,
    }
    let before: Before<'_> = serde_json::from_str(raw).ok()?;
    Some((text::read_time(&before.last)?, before.chat_id.parse().ok()?))
}

/// Who has a message.
pub(super) fn status<'a>(fields: &mut Fields<'a>) -> Result<ClientEvent<'a>, EventError> {
    let chat = chat_id(&fields.take(Field::ChatId))?;
    let message = message_id(&fields.take(Field::MessageId))?;
    Ok(ClientEvent::Ask { request_id: request_id(fields)?, ask: Ask::Status { chat, message } })
}
