//! The user's own: settings, hidden messages, devices; and what they are now.

use schema::encode::SendTarget;
use schema::errors::ErrorCode;
use schema::ids::{ChatId, DeviceId};
use schema::limits::{DEVICE_NAME_BYTES, SETTING_KEY_BYTES, SETTING_VALUE_BYTES};
use schema::wire::EntryKind;

use super::super::fields::{Field, Fields, Value};
use super::{chat_id, id, into_bytes, invalid, number, refers_to, request_id, sending};
use crate::wire::{Ask, ClientEvent, EventError, SendEvent};

/// A setting, of the user or for a chat.
pub(super) fn setting(fields: Fields<'_>) -> Result<ClientEvent<'_>, EventError> {
    sending(fields, EntryKind::setting, |fields| {
        let to_account = to_account(fields)?;
        let key = match fields.take(Field::Key) {
            Value::Text(key) if SETTING_KEY_BYTES.contains(&key.len()) => into_bytes(key),
            Value::Text(_) => return Err(EventError::new(ErrorCode::InvalidSetting)),
            _ => return Err(invalid("key must be a string of 1 to 64 bytes")),
        };
        let body = match fields.take(Field::Value) {
            Value::Text(value) if value.len() <= SETTING_VALUE_BYTES => into_bytes(value),
            Value::Text(_) => return Err(EventError::new(ErrorCode::InvalidSetting)),
            _ => return Err(invalid("value must be a string of at most 1,024 bytes; \"\" is the default again")),
        };
        let subject = match fields.take(Field::Subject) {
            Value::Absent => None,
            given => Some(subject(&given)?),
        };
        Ok(SendEvent { key, body, subject, ..to_account })
    })
}

/// A message that is not shown to the user any more.
pub(super) fn hidden(fields: Fields<'_>) -> Result<ClientEvent<'_>, EventError> {
    sending(fields, EntryKind::hidden, |fields| {
        let to_account = to_account(fields)?;
        let subject = Some(subject(&fields.take(Field::Subject))?);
        let refers_to = Some(refers_to(&fields.take(Field::RefersTo))?);
        Ok(SendEvent { subject, refers_to, ..to_account })
    })
}

/// What a device is called.
pub(super) fn device(fields: Fields<'_>) -> Result<ClientEvent<'_>, EventError> {
    sending(fields, EntryKind::device, |fields| {
        let to_account = to_account(fields)?;
        let device = device_id(fields)?;
        match fields.take(Field::Name) {
            Value::Text(name) if (1..=DEVICE_NAME_BYTES).contains(&name.len()) => {
                Ok(SendEvent { device, body: into_bytes(name), ..to_account })
            }
            _ => Err(invalid("name must be a string of 1 to 128 bytes")),
        }
    })
}

/// A device that may not come again with a token of before.
pub(super) fn revoked(fields: Fields<'_>) -> Result<ClientEvent<'_>, EventError> {
    sending(fields, EntryKind::revoked, |fields| {
        let to_account = to_account(fields)?;
        Ok(SendEvent { device: device_id(fields)?, ..to_account })
    })
}

/// What the account is now.
pub(super) fn account<'a>(fields: &mut Fields<'a>) -> Result<ClientEvent<'a>, EventError> {
    let chat = match fields.take(Field::ChatId) {
        Value::Absent => None,
        chat => Some(chat_id(&chat)?),
    };
    Ok(ClientEvent::Ask { request_id: request_id(fields)?, ask: Ask::Account { chat } })
}

/// A send to the account log: it needs no chat_id.
fn to_account<'a>(fields: &mut Fields<'a>) -> Result<SendEvent<'a>, EventError> {
    let target = match (fields.take(Field::ChatId), fields.take(Field::To)) {
        (Value::Absent, Value::Absent) => None,
        (chat, Value::Absent) => Some(SendTarget::Chat(chat_id(&chat)?)),
        _ => return Err(invalid("to cannot be given: this goes to the user's own account log")),
    };
    Ok(SendEvent { target, ..SendEvent::default() })
}

fn subject(value: &Value<'_>) -> Result<ChatId, EventError> {
    id(value, "subject must be a chat_id: a hyphenated UUID")
}

fn device_id(fields: &mut Fields<'_>) -> Result<DeviceId, EventError> {
    const TEXT: &str = "device_id must be a number from 0 to 4294967295";
    if matches!(fields.get(Field::DeviceId), Value::Absent) {
        return Err(invalid(TEXT));
    }
    let device = number(fields, Field::DeviceId, TEXT)?;
    u32::try_from(device).map(DeviceId).map_err(|_| invalid(TEXT))
}
