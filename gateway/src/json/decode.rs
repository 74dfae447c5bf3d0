//! A client's events.

mod account;
mod amend;
mod groups;

use std::borrow::Cow;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schema::encode::SendTarget;
use schema::errors::ErrorCode;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::limits::{CLIENT_MSG_ID_BYTES, MENTIONS_MAX};
use schema::wire::{EntryKind, MarkStatus};
use serde::de::IgnoredAny;

use super::fields::{Field, Fields, Value};
use super::text;
use crate::wire::{ClientEvent, EventError, Remembered, SendEvent};

/// Reads one event.
///
/// # Errors
/// `malformed_frame` when it is not JSON at all, else what is wrong with which field. The error has the event's
/// client_msg_id when that was readable.
pub fn decode(text: &str) -> Result<ClientEvent<'_>, EventError> {
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        return Err(match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => invalid("an event is a JSON object"),
            Err(_) => EventError::new(ErrorCode::MalformedFrame),
        });
    }
    let mut fields =
        serde_json::from_str::<Fields<'_>>(text).map_err(|_| EventError::new(ErrorCode::MalformedFrame))?;
    if fields.twice {
        return Err(about(&mut fields, invalid("a field is given twice")));
    }
    let kind = match fields.take(Field::Type) {
        Value::Text(kind) => kind,
        _ => return Err(about(&mut fields, invalid("type must be a string"))),
    };
    match &*kind {
        "message" => send(fields),
        "ack" => mark(&mut fields),
        "ping" => number(&mut fields, Field::Nonce, "nonce must be a number from 0 to 18446744073709551615")
            .map(|nonce| ClientEvent::Ping { nonce }),
        "pong" => Ok(ClientEvent::Pong),
        "auth" => auth(&mut fields),
        "history" => history(&mut fields),
        "chat" => groups::chat(&mut fields),
        "chats" => groups::chats(&mut fields),
        "status" => groups::status(&mut fields),
        "created" => groups::change(fields, EntryKind::created),
        "added" => groups::change(fields, EntryKind::added),
        "removed" => groups::change(fields, EntryKind::removed),
        "left" => groups::change(fields, EntryKind::left),
        "role" => groups::change(fields, EntryKind::role),
        "renamed" => groups::change(fields, EntryKind::renamed),
        "edited" => amend::edited(fields),
        "deleted" => amend::deleted(fields),
        "reacted" => amend::reacted(fields),
        "timer" => amend::timer(fields),
        "setting" => account::setting(fields),
        "hidden" => account::hidden(fields),
        "device" => account::device(fields),
        "revoked" => account::revoked(fields),
        "account" => account::account(&mut fields),
        _ => Ok(ClientEvent::Unknown { client_msg_id: readable_id(&mut fields) }),
    }
}

const fn invalid(text: &'static str) -> EventError {
    EventError { code: ErrorCode::InvalidField, text, client_msg_id: Bytes::new() }
}

/// `error`, with the event's client_msg_id.
fn about(fields: &mut Fields<'_>, error: EventError) -> EventError {
    EventError { client_msg_id: Bytes::copy_from_slice(&readable_id(fields)), ..error }
}

/// The client_msg_id, or empty bytes where there is no valid one.
fn readable_id<'a>(fields: &mut Fields<'a>) -> Cow<'a, [u8]> {
    match fields.take(Field::ClientMsgId) {
        Value::Text(id) if CLIENT_MSG_ID_BYTES.contains(&id.len()) => into_bytes(id),
        _ => Cow::Borrowed(&[]),
    }
}

fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn auth<'a>(fields: &mut Fields<'a>) -> Result<ClientEvent<'a>, EventError> {
    const SYNCED: &str = "synced must be a time like 2026-01-02T03:04:05.678Z: the server_time of the last synced";
    let synced_ms = match fields.take(Field::Synced) {
        Value::Absent => 0,
        Value::Text(time) => text::read_time(&time).ok_or_else(|| invalid(SYNCED))?,
        _ => return Err(invalid(SYNCED)),
    };
    const MARKS: &str = "marks must be a number from 0 to 4294967295: how many acks follow directly";
    let marks = u32::try_from(number(fields, Field::Marks, MARKS)?).map_err(|_| invalid(MARKS))?;
    let remembered = Remembered { synced_ms, me: me(fields)?, marks };
    match fields.take(Field::Token) {
        Value::Text(token) => Ok(ClientEvent::Auth { token: into_bytes(token), remembered }),
        _ => Err(invalid("token must be a string")),
    }
}

/// Who the client believes to be; `None` where it does not say.
fn me(fields: &mut Fields<'_>) -> Result<Option<(UserId, DeviceId)>, EventError> {
    let error = invalid("user_id, a string of decimal digits, goes with device_id, a number from 0 to 4294967295");
    match (fields.take(Field::UserId), fields.take(Field::DeviceId)) {
        (Value::Absent, Value::Absent) => Ok(None),
        (Value::Text(user), Value::Number(device)) => match (user.parse(), u32::try_from(device)) {
            (Ok(user), Ok(device)) => Ok(Some((user, DeviceId(device)))),
            _ => Err(error),
        },
        _ => Err(error),
    }
}

fn send(fields: Fields<'_>) -> Result<ClientEvent<'_>, EventError> {
    sending(fields, EntryKind::message, |fields| {
        let (target, body) = (Some(target(fields)?), body(fields)?);
        let refers_to = match fields.take(Field::RefersTo) {
            Value::Absent => None,
            given => Some(refers_to(&given)?),
        };
        const FORWARDED: &str = "forwarded must be a number from 0 to 255";
        let forwarded = number(fields, Field::Forwarded, FORWARDED)?;
        let forwarded = u8::try_from(forwarded).map_err(|_| invalid(FORWARDED))?;
        Ok(SendEvent { target, body, refers_to, forwarded, users: mentions(fields)?, ..SendEvent::default() })
    })
}

/// A send of `kind`: `read` reads what is the kind's own. Errors have the client_msg_id, once it is valid.
fn sending<'a>(
    mut fields: Fields<'a>,
    kind: EntryKind,
    read: impl FnOnce(&mut Fields<'a>) -> Result<SendEvent<'a>, EventError>,
) -> Result<ClientEvent<'a>, EventError> {
    match fields.get(Field::ClientMsgId) {
        Value::Text(id) if CLIENT_MSG_ID_BYTES.contains(&id.len()) => {}
        Value::Text(_) => return Err(EventError::new(ErrorCode::InvalidClientMsgId)),
        _ => return Err(invalid("client_msg_id must be a string of 1 to 64 bytes")),
    }
    let retry = match fields.take(Field::Retry) {
        Value::Absent => Ok(false),
        Value::Bool(retry) => Ok(retry),
        _ => Err(invalid("retry must be true or false")),
    };
    let send = retry.and_then(|retry| Ok((retry, after_seq(&mut fields)?, read(&mut fields)?)));
    match send {
        Ok((retry, after_seq, send)) => {
            let client_msg_id = readable_id(&mut fields);
            Ok(ClientEvent::Send(SendEvent { client_msg_id, kind, retry, after_seq, ..send }))
        }
        Err(error) => Err(about(&mut fields, error)),
    }
}

fn target(fields: &mut Fields<'_>) -> Result<SendTarget, EventError> {
    match (fields.take(Field::ChatId), fields.take(Field::To)) {
        (Value::Absent, Value::Absent) => Err(invalid("one of chat_id and to is required")),
        (Value::Absent, to) => user(&to).map(SendTarget::User),
        (chat, Value::Absent) => chat_id(&chat).map(SendTarget::Chat),
        _ => Err(invalid("only one of chat_id and to may be given")),
    }
}

/// `invalid_user` for what names no user, `invalid_field` for what is no user's text at all.
fn user(value: &Value<'_>) -> Result<UserId, EventError> {
    let no_user = EventError::new(ErrorCode::InvalidUser);
    match value {
        Value::Text(text) => text.parse().map_err(|_| no_user),
        Value::Number(0) | Value::OtherNumber => Err(no_user),
        _ => Err(invalid("to must be a string of decimal digits")),
    }
}

fn chat_id(value: &Value<'_>) -> Result<ChatId, EventError> {
    id(value, "chat_id must be a hyphenated UUID")
}

fn message_id(value: &Value<'_>) -> Result<MessageId, EventError> {
    id(value, "message_id must be a hyphenated UUID")
}

fn refers_to(value: &Value<'_>) -> Result<MessageId, EventError> {
    id(value, "refers_to must be a message_id: a hyphenated UUID")
}

fn id<T: FromStr>(value: &Value<'_>, text: &'static str) -> Result<T, EventError> {
    let id = if let Value::Text(id) = value { id.parse().ok() } else { None };
    id.ok_or_else(|| invalid(text))
}

/// Who is mentioned; nobody where the field is absent.
fn mentions(fields: &mut Fields<'_>) -> Result<Vec<UserId>, EventError> {
    const TEXT: &str = "mentions must be a list of at most 256 user ids, each a string of decimal digits";
    let users = user_list(&fields.take(Field::Mentions), TEXT)?;
    if users.len() > MENTIONS_MAX { Err(invalid(TEXT)) } else { Ok(users) }
}

/// A list of user ids; empty where it is absent. `text`: what is said of anything else.
fn user_list(value: &Value<'_>, text: &'static str) -> Result<Vec<UserId>, EventError> {
    let Value::Raw(raw) = value else { return Ok(Vec::new()) };
    let texts: Vec<Cow<'_, str>> = serde_json::from_str(raw).map_err(|_| invalid(text))?;
    let user = |text: &Cow<'_, str>| text.parse().map_err(|_| EventError::new(ErrorCode::InvalidUser));
    texts.iter().map(user).collect()
}

fn body<'a>(fields: &mut Fields<'a>) -> Result<Cow<'a, [u8]>, EventError> {
    match (fields.take(Field::Content), fields.take(Field::ContentBase64)) {
        (Value::Absent, Value::Absent) => Err(invalid("one of content and content_base64 is required")),
        (Value::Text(text), Value::Absent) => Ok(into_bytes(text)),
        (Value::Absent, Value::Text(base64)) => STANDARD
            .decode(base64.as_bytes())
            .map(Cow::Owned)
            .map_err(|_| invalid("content_base64 must be standard base64 with padding")),
        (_, Value::Absent) => Err(invalid("content must be a string")),
        (Value::Absent, _) => Err(invalid("content_base64 must be a string")),
        _ => Err(invalid("only one of content and content_base64 may be given")),
    }
}

fn mark<'a>(fields: &mut Fields<'a>) -> Result<ClientEvent<'a>, EventError> {
    let seq = number(fields, Field::Seq, "seq must be a number from 0 to 18446744073709551615")?;
    let message = match fields.take(Field::MessageId) {
        Value::Absent if seq > 0 => None,
        message => Some(message_id(&message)?),
    };
    let chat = match fields.take(Field::ChatId) {
        Value::Absent => None,
        chat => Some(chat_id(&chat)?),
    };
    let status = match fields.take(Field::Status) {
        Value::Text(status) if status == "delivered" => MarkStatus::delivered,
        Value::Text(status) if status == "read" => MarkStatus::read,
        _ => return Err(invalid("status must be \"delivered\" or \"read\"")),
    };
    Ok(ClientEvent::Mark { chat, seq, message, status })
}

fn history<'a>(fields: &mut Fields<'a>) -> Result<ClientEvent<'a>, EventError> {
    let chat = chat_id(&fields.take(Field::ChatId))?;
    let request_id = request_id(fields)?;
    let after_seq = after_seq(fields)?;
    Ok(ClientEvent::History { request_id, chat, after_seq, limit: limit(fields)? })
}

fn after_seq(fields: &mut Fields<'_>) -> Result<u64, EventError> {
    number(fields, Field::AfterSeq, "after_seq must be a number from 0 to 18446744073709551615")
}

fn request_id(fields: &mut Fields<'_>) -> Result<u64, EventError> {
    number(fields, Field::RequestId, "request_id must be a number from 0 to 18446744073709551615")
}

fn limit(fields: &mut Fields<'_>) -> Result<u32, EventError> {
    const TEXT: &str = "limit must be a number from 0 to 4294967295";
    u32::try_from(number(fields, Field::Limit, TEXT)?).map_err(|_| invalid(TEXT))
}

/// A number; 0 where it is absent.
fn number(fields: &mut Fields<'_>, field: Field, text: &'static str) -> Result<u64, EventError> {
    match fields.take(field) {
        Value::Absent => Ok(0),
        Value::Number(number) => Ok(number),
        _ => Err(invalid(text)),
    }
}
