//! What amends a message or its chat.

use schema::encode::SendTarget;
use schema::errors::ErrorCode;
use schema::limits::{REACTION_BYTES, TTL_S};
use schema::wire::EntryKind;

use super::super::fields::{Field, Fields, Value};
use super::{body, chat_id, into_bytes, invalid, mentions, refers_to, sending};
use crate::wire::{ClientEvent, EventError, SendEvent};

/// What a message says from now on.
pub(super) fn edited(fields: Fields<'_>) -> Result<ClientEvent<'_>, EventError> {
    sending(fields, EntryKind::edited, |fields| {
        let of_message = of_message(fields)?;
        Ok(SendEvent { body: body(fields)?, users: mentions(fields)?, ..of_message })
    })
}

/// A message is gone for everyone.
pub(super) fn deleted(fields: Fields<'_>) -> Result<ClientEvent<'_>, EventError> {
    sending(fields, EntryKind::deleted, of_message)
}

/// What its sender feels about a message.
pub(super) fn reacted(fields: Fields<'_>) -> Result<ClientEvent<'_>, EventError> {
    sending(fields, EntryKind::reacted, |fields| {
        let of_message = of_message(fields)?;
        match fields.take(Field::Reaction) {
            Value::Text(reaction) if reaction.len() <= *REACTION_BYTES.end() => {
                Ok(SendEvent { body: into_bytes(reaction), ..of_message })
            }
            Value::Text(_) => Err(EventError::new(ErrorCode::InvalidReaction)),
            _ => Err(invalid("reaction must be a string of 1 to 64 bytes, or \"\", which takes it back")),
        }
    })
}

/// How long messages of a chat stay from now on.
pub(super) fn timer(fields: Fields<'_>) -> Result<ClientEvent<'_>, EventError> {
    sending(fields, EntryKind::timer, |fields| {
        let target = Some(SendTarget::Chat(chat_id(&fields.take(Field::ChatId))?));
        let ttl_s = match fields.take(Field::TtlS) {
            Value::Number(ttl_s) => ttl_s,
            Value::OtherNumber => u64::MAX,
            _ => return Err(invalid("ttl_s must be a number: 5 to 31536000 (s), or 0, which ends it")),
        };
        let ttl_s = u32::try_from(ttl_s).ok().filter(|ttl_s| *ttl_s == 0 || TTL_S.contains(ttl_s));
        let ttl_s = ttl_s.ok_or(EventError::new(ErrorCode::InvalidTimer))?;
        Ok(SendEvent { target, ttl_s, ..SendEvent::default() })
    })
}

/// Which message of which chat.
fn of_message<'a>(fields: &mut Fields<'a>) -> Result<SendEvent<'a>, EventError> {
    let target = Some(SendTarget::Chat(chat_id(&fields.take(Field::ChatId))?));
    let refers_to = Some(refers_to(&fields.take(Field::RefersTo))?);
    Ok(SendEvent { target, refers_to, ..SendEvent::default() })
}
