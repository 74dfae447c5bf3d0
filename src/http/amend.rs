//! Amendments: a message is edited, deleted or reacted to, messages are given a time. Each is an entry of the chat's log.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use gateway::wire::SendEvent;
use schema::encode::SendTarget;
use schema::wire::EntryKind;

use super::App;
use super::input::{Caller, Object, Places, Query};
use super::messages::store;
use super::model::Queued;
use super::model::amend::{EditedMessage, NewReaction, NewTimer};
use super::model::chats::Stored;
use super::problem::{Problem, ProblemBody};

/// What amends the message of the path.
fn of_message(places: &Places, kind: EntryKind) -> Result<SendEvent<'static>, Problem> {
    let (target, refers_to) = (Some(SendTarget::Chat(places.chat()?)), Some(places.message()?));
    Ok(SendEvent { kind, target, refers_to, ..SendEvent::default() })
}

/// Edit a message
///
/// Its sender may, for `limits.edit_window_s` after it was sent (15 minutes by default).
#[utoipa::path(
    put,
    path = "/api/chats/{chat_id}/messages/{message_id}",
    operation_id = "edit_message",
    request_body = EditedMessage,
    params(
        ("chat_id" = String, Path, description = "The chat", format = "uuid"),
        ("message_id" = String, Path, description = "The message", format = "uuid"),
        ("Idempotency-Key" = Option<String>, Header, description = "The edit's client_msg_id", pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "It is edited: the edit's own place", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "It is not", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn edit(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Stored>, Problem> {
    app.0.limits.send(from.user)?;
    let of_message = of_message(&places, EntryKind::edited)?;
    let object = Object::read(&headers, body)?;
    let (body, users) = (object.text("message")?.as_bytes().into(), object.mentions()?);
    store(&app, from, &headers, None, SendEvent { body, users, ..of_message }).await.map(Json)
}

/// Delete a message
///
/// For everyone: its sender may, for `limits.delete_window_s` after it was sent (2 days by default), and an admin of a group at
/// any time; its body is gone wherever the server kept it. Or for the token's user alone, on all their devices.
#[utoipa::path(
    delete,
    path = "/api/chats/{chat_id}/messages/{message_id}",
    operation_id = "delete_message",
    params(
        ("chat_id" = String, Path, description = "The chat", format = "uuid"),
        ("message_id" = String, Path, description = "The message", format = "uuid"),
        ("for" = Option<String>, Query, description = "`everyone`, the default, or `me`", pattern = "^(everyone|me)$"),
        ("Idempotency-Key" = Option<String>, Header, description = "The deletion's client_msg_id", pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "It is deleted: the deletion's own place, for `me` in the account log", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "It is not", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn delete(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Json<Stored>, Problem> {
    app.0.limits.send(from.user)?;
    let send = if Query::read(query)?.is("for", "me", "everyone")? {
        let (subject, refers_to) = (Some(places.chat()?), Some(places.message()?));
        SendEvent { kind: EntryKind::hidden, subject, refers_to, ..SendEvent::default() }
    } else {
        of_message(&places, EntryKind::deleted)?
    };
    store(&app, from, &headers, None, send).await.map(Json)
}

/// React to a message
///
/// Any member may. A user has one reaction to a message: a new one takes the place of the one before.
#[utoipa::path(
    put,
    path = "/api/chats/{chat_id}/messages/{message_id}/reaction",
    operation_id = "react",
    request_body = NewReaction,
    params(
        ("chat_id" = String, Path, description = "The chat", format = "uuid"),
        ("message_id" = String, Path, description = "The message", format = "uuid"),
        ("Idempotency-Key" = Option<String>, Header, description = "The reaction's client_msg_id", pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "It is there: its own place", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "It is not", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn react(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Stored>, Problem> {
    app.0.limits.send(from.user)?;
    let of_message = of_message(&places, EntryKind::reacted)?;
    let object = Object::read(&headers, body)?;
    let reaction = object.text("reaction")?;
    if reaction.is_empty() {
        return Err(Problem::field("reaction is empty; DELETE takes one back"));
    }
    let send = SendEvent { body: reaction.as_bytes().into(), ..of_message };
    store(&app, from, &headers, None, send).await.map(Json)
}

/// Take a reaction back
#[utoipa::path(
    delete,
    path = "/api/chats/{chat_id}/messages/{message_id}/reaction",
    operation_id = "unreact",
    params(
        ("chat_id" = String, Path, description = "The chat", format = "uuid"),
        ("message_id" = String, Path, description = "The message", format = "uuid"),
        ("Idempotency-Key" = Option<String>, Header, description = "Its client_msg_id", pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "The user has no reaction to the message", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "Nothing changed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn unreact(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
) -> Result<Json<Stored>, Problem> {
    app.0.limits.send(from.user)?;
    store(&app, from, &headers, None, of_message(&places, EntryKind::reacted)?).await.map(Json)
}

/// Let messages disappear
///
/// Those sent from now on, so long after they were sent. Either of a direct chat may, and admins of a group.
#[utoipa::path(
    put,
    path = "/api/chats/{chat_id}/timer",
    operation_id = "set_timer",
    request_body = NewTimer,
    params(
        ("chat_id" = String, Path, description = "The chat", format = "uuid"),
        ("Idempotency-Key" = Option<String>, Header, description = "The change's client_msg_id", pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "It is set: the change's own place", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "It is not", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn set_timer(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Stored>, Problem> {
    app.0.limits.send(from.user)?;
    let target = Some(SendTarget::Chat(places.chat()?));
    let ttl_s = Object::read(&headers, body)?.number("ttl_s", u32::MAX.into())? as u32;
    let send = SendEvent { kind: EntryKind::timer, target, ttl_s, ..SendEvent::default() };
    store(&app, from, &headers, None, send).await.map(Json)
}
