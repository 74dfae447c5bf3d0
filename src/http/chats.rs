//! What chats there are, what one is, who has a message; and what has been read.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use gateway::auth::Identity;
use gateway::http::Answer;
use gateway::json::timestamp;
use gateway::wire::Ask;
use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::{ChatId, UserId};
use schema::limits::{PAGE_CHATS, PAGE_CHATS_MAX, PAGE_MEMBERS};
use schema::wire::{self, ChatInfo, ChatInfoBytes, ChatKind};

use super::App;
use super::input::{Caller, Object, Places, Query, idempotency_key};
use super::messages::shown;
use super::model::chats::{After, Chat, ChatPage, ListedChat, Member, MessageStatus, Reached, ReadUpTo};
use super::problem::{Problem, ProblemBody};

/// What a chat is
///
/// And who is in it, a page at a time.
#[utoipa::path(
    get,
    path = "/api/chats/{chat_id}",
    operation_id = "chat",
    params(
        ("chat_id" = String, Path, description = "The chat", format = "uuid"),
        ("after_user" = Option<String>, Query, description = "Only members above this user id", pattern = "USER"),
        ("limit" = Option<u32>, Query, description = "Members at most; 1,000 by default", minimum = 1, maximum = 1000),
    ),
    responses(
        (status = 200, description = "The chat", body = Chat),
        (status = "default", description = "An error", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn chat(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    query: RawQuery,
) -> Result<Json<Chat>, Problem> {
    app.0.limits.read(from.user)?;
    let (chat, query) = (places.chat()?, Query::read(query)?);
    let after_user = query.optional_user("after_user")?.map_or(0, UserId::get);
    let limit = query.number("limit", 1, PAGE_MEMBERS.into())?.unwrap_or(PAGE_MEMBERS.into()) as u32;
    let frame = ask(&app, from, Ask::Chat { chat, after_user, limit }).await?;
    let root = frame_of(&frame)?.root();
    root.body_as_chat_info().and_then(one).map(Json).ok_or_else(unreadable)
}

/// The user's chats
///
/// Newest first: by when their last entries were stored.
#[utoipa::path(
    get,
    path = "/api/chats",
    operation_id = "chats",
    params(
        ("before" = Option<String>, Query, description = "Only chats whose last entry is older than this: `next.before` of the page before",
            pattern = "TIME"),
        ("before_chat" = Option<String>, Query, description = "With `before`: of the chats of that very moment, those behind this one; `next.before_chat`",
            format = "uuid"),
        ("limit" = Option<u32>, Query, description = "At most so many; 50 by default", minimum = 1, maximum = 100),
    ),
    responses(
        (status = 200, description = "A page", body = ChatPage),
        (status = "default", description = "An error", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn list(State(app): State<App>, Caller(from): Caller, query: RawQuery) -> Result<Json<ChatPage>, Problem> {
    app.0.limits.read(from.user)?;
    let query = Query::read(query)?;
    let before = match (query.time("before")?, query.optional_chat("before_chat")?) {
        (None, Some(_)) => return Err(Problem::field("before_chat needs before: next has both")),
        // No chat is below this one: none of the very moment.
        (Some(ms), None) => Some((ms, ChatId([0; 16]))),
        (ms, chat) => ms.zip(chat),
    };
    let limit = query.number("limit", 1, PAGE_CHATS_MAX.into())?.unwrap_or(PAGE_CHATS.into()) as u32;
    let frame = ask(&app, from, Ask::Chats { before, limit }).await?;
    let page = frame_of(&frame)?.root().body_as_chats().ok_or_else(unreadable)?;
    let chats = page.chats().into_iter().flatten().map(|chat| listed(&chat)).collect::<Result<Vec<_>, _>>()?;
    let last = chats.last().filter(|_| page.has_more());
    let next = last.map(|chat| After { before: chat.last.clone(), before_chat: chat.chat_id.clone() });
    Ok(Json(ChatPage { has_more: next.is_some(), next, chats }))
}

/// Who has a message
#[utoipa::path(
    get,
    path = "/api/chats/{chat_id}/messages/{message_id}/status",
    operation_id = "message_status",
    params(
        ("chat_id" = String, Path, description = "The chat", format = "uuid"),
        ("message_id" = String, Path, description = "The message", format = "uuid"),
    ),
    responses(
        (status = 200, description = "Who has it", body = MessageStatus),
        (status = "default", description = "An error", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn status(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
) -> Result<Json<MessageStatus>, Problem> {
    app.0.limits.read(from.user)?;
    let (chat, message) = (places.chat()?, places.message()?);
    let frame = ask(&app, from, Ask::Status { chat, message }).await?;
    let status = frame_of(&frame)?.root().body_as_message_status().ok_or_else(unreadable)?;
    let (total, delivered, read, seq) = (status.total(), status.delivered(), status.read(), status.seq());
    let reached = |member: &wire::Member| Reached {
        user_id: member.user_id().to_string(),
        status: gateway::json::reached(member, seq).to_owned(),
    };
    let members = status.members().into_iter().flatten().map(reached).collect();
    let pending = total.saturating_sub(delivered).saturating_sub(read);
    Ok(Json(MessageStatus { total, delivered, read, pending, members }))
}

/// Mark a chat as read
///
/// Up to a message, on the token's device. Marks only rise: an older message changes nothing, and neither does one that is
/// not there.
#[utoipa::path(
    post,
    path = "/api/chats/{chat_id}/read",
    operation_id = "mark_read",
    request_body = ReadUpTo,
    params(
        ("chat_id" = String, Path, description = "The chat", format = "uuid"),
        ("Idempotency-Key" = Option<String>, Header, description = "Accepted; a chat can be marked any number of times",
            pattern = "KEY"),
    ),
    responses(
        (status = 202, description = "It is on its way"),
        (status = "default", description = "An error", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn read(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    app.0.limits.send(from.user)?;
    idempotency_key(&headers)?;
    let (chat, message) = (places.chat()?, Object::read(&headers, body)?.message()?);
    app.0.office.read(from, chat, message).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Says that an owner's answer makes no sense.
pub fn unreadable() -> Problem {
    Problem::of(ErrorCode::Internal, "an answer cannot be shown")
}

/// An owner's answer to a question: its frame.
///
/// # Errors
/// Why there is none.
pub async fn ask(app: &App, from: Identity, ask: Ask) -> Result<Bytes, Problem> {
    match app.0.office.ask(from, ask).await? {
        Answer::Frame(frame) => Ok(frame),
        Answer::Sent { .. } | Answer::Queued { .. } | Answer::Page { .. } | Answer::Marked => {
            Err(Problem::new(ErrorCode::Internal))
        }
    }
}

fn frame_of(frame: &[u8]) -> Result<FrameRef<'_>, Problem> {
    FrameRef::verify_from_server(frame).map_err(|_| unreadable())
}

fn kind_of(info: &ChatInfo<'_>) -> String {
    info.kind().variant_name().unwrap_or("unknown").to_owned()
}

/// A group's name; direct chats have none.
fn name_of(info: &ChatInfo<'_>) -> Option<String> {
    let name = info.name().filter(|_| info.kind() == ChatKind::group)?;
    Some(String::from_utf8_lossy(name.bytes()).into_owned())
}

fn one(info: ChatInfo<'_>) -> Option<Chat> {
    let member = |member: &wire::Member| Member {
        user_id: member.user_id().to_string(),
        role: member.role().variant_name().unwrap_or("member").to_owned(),
        delivered_seq: member.delivered_seq(),
        read_seq: member.read_seq(),
    };
    let user = |user: u64| UserId::new(user).map(|user| user.to_string());
    Some(Chat {
        chat_id: ChatId::from(info.chat_id()?).to_string(),
        kind: kind_of(&info),
        name: name_of(&info),
        created_by: user(info.created_by()),
        members: info.members().into_iter().flatten().map(member).collect(),
        member_count: info.member_count(),
        next_user: user(info.next_user()),
        head_seq: info.head_seq(),
        last: timestamp(info.last_ms()),
        read_seq: info.read_seq(),
        unread: info.unread(),
        present: info.present(),
    })
}

fn listed(chat: &ChatInfoBytes<'_>) -> Result<ListedChat, Problem> {
    let frame = frame_of(chat.frame().ok_or_else(unreadable)?.bytes())?;
    let info = frame.root().body_as_chat_info().ok_or_else(unreadable)?;
    let last_message = info.last_entry().map(|entry| shown(&Bytes::copy_from_slice(entry.bytes()))).transpose()?;
    Ok(ListedChat {
        chat_id: ChatId::from(info.chat_id().ok_or_else(unreadable)?).to_string(),
        kind: kind_of(&info),
        name: name_of(&info),
        participants: info.members().into_iter().flatten().map(|member| member.user_id().to_string()).collect(),
        last_message,
        unread_count: info.unread(),
        member_count: info.member_count(),
        head_seq: info.head_seq(),
        read_seq: info.read_seq(),
        last: timestamp(info.last_ms()),
        present: info.present(),
        pinned: chat.pinned(),
        archived: chat.archived(),
        muted_until: Some(chat.muted_until_ms()).filter(|ms| *ms > 0).map(timestamp),
    })
}
