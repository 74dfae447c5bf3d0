//! Messages: one in, pages out; and whatever else is stored as one is stored here.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use fabric::entropy::{Entropy as _, OsEntropy};
use gateway::auth::Identity;
use gateway::http::{Answer, PageAsk, Post, TraceParent};
use gateway::wire::{SendEvent, ServerEvent};
use schema::encode::SendTarget;
use schema::errors::ErrorCode;
use schema::ids::ChatId;
use serde_json::value::RawValue;

use super::input::{Caller, Object, Places, Query, SEQ_MAX, client_msg_id};
use super::model::chats::{ChatMessage, Stored};
use super::model::{Covered, NewMessage, Page, Queued, SentMessage};
use super::problem::{Problem, ProblemBody};
use super::{App, PAGE_BYTES};

/// Whose trace a request is part of.
const TRACEPARENT: &str = "traceparent";
/// Entries of a page when no limit is given, and at most.
const LIMIT: u64 = 50;
const LIMIT_MAX: u64 = 100;

/// Send a message
///
/// Answers once it is durable. With a `client_msg_id` or an `Idempotency-Key` the request may be repeated: the same id gets
/// the same answer, for 24 hours.
#[utoipa::path(
    post,
    path = "/api/v1/messages",
    operation_id = "send_message",
    request_body = NewMessage,
    params(("Idempotency-Key" = Option<String>, Header, description = "Stands for client_msg_id",
        pattern = "KEY")),
    responses(
        (status = 200, description = "It is durable", body = SentMessage),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "It is not", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn send(
    State(app): State<App>,
    Caller(from): Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SentMessage>, Problem> {
    app.0.limits.send(from.user)?;
    let object = Object::read(&headers, body)?;
    if object.user("senderId")? != from.user {
        return Err(Problem::of(ErrorCode::Forbidden, "senderId is not the token's user"));
    }
    let to = object.user("receiverId")?;
    let send = SendEvent { target: Some(SendTarget::User(to)), ..message(&object)? };
    let Stored { chat_id, message_id, seq, client_msg_id, timestamp } =
        store(&app, from, &headers, object.optional_text("client_msg_id")?, send).await?;
    Ok(Json(SentMessage { status: "sent".to_owned(), chat_id, message_id, seq, client_msg_id, timestamp }))
}

/// Send a message to a chat
///
/// Answers once it is durable. With a `client_msg_id` or an `Idempotency-Key` the request may be repeated: the same id gets
/// the same answer, for 24 hours.
#[utoipa::path(
    post,
    path = "/api/chats/{chat_id}/messages",
    operation_id = "send_chat_message",
    request_body = ChatMessage,
    params(
        ("chat_id" = String, Path, description = "The chat", format = "uuid"),
        ("Idempotency-Key" = Option<String>, Header, description = "Stands for client_msg_id", pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "It is durable", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "It is not", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn send_to_chat(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Stored>, Problem> {
    app.0.limits.send(from.user)?;
    let target = Some(SendTarget::Chat(places.chat()?));
    let object = Object::read(&headers, body)?;
    let send = SendEvent { target, ..message(&object)? };
    store(&app, from, &headers, object.optional_text("client_msg_id")?, send).await.map(Json)
}

/// A message as a body has it, to nobody yet.
fn message(object: &Object) -> Result<SendEvent<'_>, Problem> {
    Ok(SendEvent {
        body: object.text("message")?.as_bytes().into(),
        refers_to: object.refers_to()?,
        users: object.mentions()?,
        forwarded: object.optional_number("forwarded", u8::MAX.into())? as u8,
        ..SendEvent::default()
    })
}

/// Sends it under the client_msg_id of the body or the header, or one of its own, and waits until it is durable.
///
/// # Errors
/// Why it is not.
pub async fn store(
    app: &App,
    from: Identity,
    headers: &HeaderMap,
    id_in_body: Option<&str>,
    send: SendEvent<'_>,
) -> Result<Stored, Problem> {
    store_as(app, from, headers, client_msg_id(headers, id_in_body)?, send).await
}

/// As [`store`], under a client_msg_id that was `given`, or one of its own. Part of its caller's trace, if `headers` name one.
///
/// # Errors
/// Why it is not durable.
pub async fn store_as(
    app: &App,
    from: Identity,
    headers: &HeaderMap,
    given: Option<String>,
    send: SendEvent<'_>,
) -> Result<Stored, Problem> {
    let retry = given.is_some();
    let id = given.unwrap_or_else(|| format!("http-{:016x}{:016x}", OsEntropy.next_u64(), OsEntropy.next_u64()));
    let caller = headers.get(TRACEPARENT).and_then(|value| TraceParent::read(value.as_bytes()));
    let post = Post { from, send: SendEvent { client_msg_id: id.as_bytes().into(), retry, ..send }, caller };
    match app.0.office.post(post).await? {
        Answer::Sent { chat, message, seq, timestamp_ms } => Ok(Stored {
            chat_id: chat.to_string(),
            message_id: message.to_string(),
            seq,
            client_msg_id: id,
            timestamp: gateway::json::timestamp(timestamp_ms),
        }),
        Answer::Queued { chat } => {
            let (status, chat_id) = ("queued".to_owned(), chat.to_string());
            Err(Problem::queued(Queued { status, chat_id, client_msg_id: id }))
        }
        Answer::Page { .. } | Answer::Frame(_) | Answer::Marked => Err(Problem::new(ErrorCode::Internal)),
    }
}

/// The messages of two users
///
/// The newest ones, or those below `before`, or those above `after`. A chat without messages is empty.
#[utoipa::path(
    get,
    path = "/api/v1/messages",
    operation_id = "direct_messages",
    params(
        ("user1" = String, Query, description = "One of them", pattern = "USER"),
        ("user2" = String, Query, description = "The other; the token's user must be one of the two", pattern = "USER"),
        ("before" = Option<u64>, Query, description = "Only seqs below this", minimum = 1, maximum = 9007199254740991_i64),
        ("after" = Option<u64>, Query, description = "Only seqs above this, the oldest first", minimum = 0,
            maximum = 9007199254740991_i64),
        ("limit" = Option<u32>, Query, description = "At most so many; 50 by default", minimum = 1, maximum = 100),
    ),
    responses(
        (status = 200, description = "A page", body = Page),
        (status = "default", description = "An error", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn direct(State(app): State<App>, Caller(from): Caller, query: RawQuery) -> Result<Json<Page>, Problem> {
    app.0.limits.read(from.user)?;
    let query = Query::read(query)?;
    let (one, other) = (query.user("user1")?, query.user("user2")?);
    if from.user != one && from.user != other {
        return Err(Problem::of(ErrorCode::Forbidden, "the token's user is neither user1 nor user2"));
    }
    let window = Window::read(&query)?;
    let chat = ChatId::direct(one, other);
    match page(&app, from, chat, &window).await {
        // Two users have a chat from the first message on; before it, there is nothing in it.
        Err(problem) if problem.code() == ErrorCode::UnknownChat => {
            let covered = Covered { first_seq: 1, last_seq: 0 };
            let chat_id = chat.to_string();
            Ok(Json(Page { chat_id, messages: Vec::new(), has_more: false, covered, head_seq: 0 }))
        }
        answer => answer,
    }
}

/// The messages of a chat
///
/// The newest ones, or those below `before`, or those above `after`.
#[utoipa::path(
    get,
    path = "/api/chats/{chat_id}/messages",
    operation_id = "chat_messages",
    params(
        ("chat_id" = String, Path, description = "A chat of the token's user", format = "uuid"),
        ("before" = Option<u64>, Query, description = "Only seqs below this", minimum = 1, maximum = 9007199254740991_i64),
        ("after" = Option<u64>, Query, description = "Only seqs above this, the oldest first", minimum = 0,
            maximum = 9007199254740991_i64),
        ("limit" = Option<u32>, Query, description = "At most so many; 50 by default", minimum = 1, maximum = 100),
    ),
    responses(
        (status = 200, description = "A page", body = Page),
        (status = "default", description = "An error", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn chat(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    query: RawQuery,
) -> Result<Json<Page>, Problem> {
    app.0.limits.read(from.user)?;
    page(&app, from, places.chat()?, &Window::read(&Query::read(query)?)?).await
}

/// Which part of a chat is asked for.
struct Window {
    before: Option<u64>,
    after: Option<u64>,
    limit: u64,
}

impl Window {
    fn read(query: &Query) -> Result<Self, Problem> {
        Ok(Self {
            before: query.number("before", 1, SEQ_MAX)?,
            after: query.number("after", 0, SEQ_MAX)?,
            limit: query.number("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT),
        })
    }
}

async fn page(app: &App, from: Identity, chat: ChatId, window: &Window) -> Result<Json<Page>, Problem> {
    let newest = window.after.is_none();
    let ask = PageAsk {
        from,
        chat,
        after_seq: window.after.unwrap_or(0),
        before_seq: window.before.unwrap_or(0),
        newest,
        limit_entries: window.limit as u32,
        limit_bytes: PAGE_BYTES,
    };
    let Answer::Page { covers: (first_seq, last_seq), head_seq, entries } = app.0.office.page(ask).await? else {
        return Err(Problem::new(ErrorCode::Internal));
    };
    let end = window.before.map_or(head_seq, |before| head_seq.min(before - 1));
    let has_more = if newest { first_seq > 1 && last_seq >= first_seq } else { last_seq < end };
    let messages = entries.iter().map(|(_, frame)| shown(frame)).collect::<Result<_, _>>()?;
    Ok(Json(Page { chat_id: chat.to_string(), messages, has_more, covered: Covered { first_seq, last_seq }, head_seq }))
}

/// An entry as JSON, as WebSocket clients get it.
///
/// # Errors
/// `internal` when it is none.
pub fn shown(frame: &Bytes) -> Result<Box<RawValue>, Problem> {
    let unreadable = || Problem::of(ErrorCode::Internal, "an entry cannot be shown");
    let mut text = Vec::new();
    gateway::json::encode(&ServerEvent::Entry { frame }, &mut text).map_err(|_| unreadable())?;
    let text = String::from_utf8(text).map_err(|_| unreadable())?;
    RawValue::from_string(text).map_err(|_| unreadable())
}

#[cfg(test)]
mod tests {
    use schema::encode::{Encoder, EntryFields};
    use schema::ids::{DeviceId, MessageId, UserId};
    use schema::wire::{EntryKind, Role};

    use super::*;
    use crate::http::model::Entry;

    #[test]
    fn an_entry_is_shown_as_it_is_described() {
        let user = UserId::new(7).unwrap();
        for kind in [EntryKind::message, EntryKind(99)] {
            for body in [&b"text"[..], b"\xff\x00"] {
                let frame = Encoder::new().entry(&EntryFields {
                    chat: ChatId::direct(user, user),
                    message: MessageId([1; 16]),
                    seq: 3,
                    sender: user,
                    device: DeviceId(1),
                    kind,
                    content_type: 0,
                    body,
                    client_msg_id: body,
                    refers_to: (kind != EntryKind::message).then_some(MessageId([2; 16])),
                    after_seq: 0,
                    timestamp_ms: 1,
                });
                let text = shown(&frame).unwrap();
                let entry: Entry = serde_json::from_str(text.get()).unwrap();
                assert_eq!((entry.seq, entry.sender_id.as_str()), (3, "7"), "{text}");
                assert_eq!(entry.kind.is_some(), kind != EntryKind::message);
            }
        }
        assert!(shown(&Bytes::from_static(b"no frame")).is_err());
    }

    #[test]
    fn a_change_is_shown_as_it_is_described() {
        let user = UserId::new(7).unwrap();
        for (kind, body) in [(EntryKind::created, "Hiking"), (EntryKind::role, ""), (EntryKind::left, "")] {
            let fields = EntryFields {
                chat: ChatId::group(user, b"g"),
                message: MessageId([1; 16]),
                seq: 3,
                sender: user,
                device: DeviceId(1),
                kind,
                content_type: 0,
                body: body.as_bytes(),
                client_msg_id: b"g",
                refers_to: None,
                after_seq: 0,
                timestamp_ms: 1,
            };
            let users = if kind == EntryKind::left { &[][..] } else { &[user] };
            let text = shown(&Encoder::new().changed(&fields, users, Role::admin)).unwrap();
            let entry: Entry = serde_json::from_str(text.get()).unwrap();
            assert_eq!(entry.kind.as_deref(), kind.variant_name());
            assert_eq!(entry.name.as_deref(), (kind == EntryKind::created).then_some("Hiking"));
            assert_eq!(entry.users.is_some(), kind != EntryKind::left);
            assert_eq!(entry.role.as_deref(), (kind == EntryKind::role).then_some("admin"));
        }
    }
}
