//! Groups: each change is stored as an entry of the group's log, and answered as a message is.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use gateway::wire::SendEvent;
use schema::encode::SendTarget;
use schema::wire::EntryKind;

use super::App;
use super::input::{Caller, Object, Places};
use super::messages::store;
use super::model::Queued;
use super::model::chats::{NewGroup, NewMembers, NewName, NewRole, Stored};
use super::problem::{Problem, ProblemBody};

/// Make a group
///
/// It has all its members when this answers, or it does not exist.
#[utoipa::path(
    post,
    path = "/api/groups",
    operation_id = "create_group",
    request_body = NewGroup,
    params(("Idempotency-Key" = Option<String>, Header, description = "Stands for client_msg_id",
        pattern = "KEY")),
    responses(
        (status = 201, description = "It exists", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "It does not", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn create(
    State(app): State<App>,
    Caller(from): Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Stored>), Problem> {
    app.0.limits.send(from.user)?;
    let object = Object::read(&headers, body)?;
    let (kind, body) = (EntryKind::created, object.text("name")?.as_bytes().into());
    let users = object.users("participants")?;
    let send = SendEvent { kind, body, users, ..SendEvent::default() };
    let stored = store(&app, from, &headers, object.optional_text("client_msg_id")?, send).await?;
    Ok((StatusCode::CREATED, Json(stored)))
}

/// Add members
///
/// Admins may. Who is a member already stays one; `no_change` where that is everybody.
#[utoipa::path(
    post,
    path = "/api/chats/{chat_id}/members",
    operation_id = "add_members",
    request_body = NewMembers,
    params(
        ("chat_id" = String, Path, description = "The group", format = "uuid"),
        ("Idempotency-Key" = Option<String>, Header, description = "The change's client_msg_id", pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "They are members", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "They are not", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn add(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Stored>, Problem> {
    app.0.limits.send(from.user)?;
    let target = Some(SendTarget::Chat(places.chat()?));
    let users = Object::read(&headers, body)?.users("users")?;
    if users.is_empty() {
        return Err(Problem::field("users must name one user or more"));
    }
    let send = SendEvent { target, kind: EntryKind::added, users, ..SendEvent::default() };
    store(&app, from, &headers, None, send).await.map(Json)
}

/// Remove a member, or leave
///
/// Admins may remove others; whoever names themselves leaves.
#[utoipa::path(
    delete,
    path = "/api/chats/{chat_id}/members/{user_id}",
    operation_id = "remove_member",
    params(
        ("chat_id" = String, Path, description = "The group", format = "uuid"),
        ("user_id" = String, Path, description = "Who goes", pattern = "USER"),
        ("Idempotency-Key" = Option<String>, Header, description = "The change's client_msg_id", pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "They are no member", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "Nothing changed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn remove(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
) -> Result<Json<Stored>, Problem> {
    app.0.limits.send(from.user)?;
    let target = Some(SendTarget::Chat(places.chat()?));
    let user = places.user()?;
    let send = if user == from.user {
        SendEvent { target, kind: EntryKind::left, ..SendEvent::default() }
    } else {
        SendEvent { target, kind: EntryKind::removed, users: vec![user], ..SendEvent::default() }
    };
    store(&app, from, &headers, None, send).await.map(Json)
}

/// Give a member a role
///
/// Admins may. A group always has an admin: when the last one goes, whoever has been a member longest becomes one.
#[utoipa::path(
    put,
    path = "/api/chats/{chat_id}/members/{user_id}/role",
    operation_id = "set_role",
    request_body = NewRole,
    params(
        ("chat_id" = String, Path, description = "The group", format = "uuid"),
        ("user_id" = String, Path, description = "Whose", pattern = "USER"),
        ("Idempotency-Key" = Option<String>, Header, description = "The change's client_msg_id", pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "They have it", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "Nothing changed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn set_role(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Stored>, Problem> {
    app.0.limits.send(from.user)?;
    let target = Some(SendTarget::Chat(places.chat()?));
    let users = vec![places.user()?];
    let role = Object::read(&headers, body)?.role()?;
    let send = SendEvent { target, kind: EntryKind::role, users, role, ..SendEvent::default() };
    store(&app, from, &headers, None, send).await.map(Json)
}

/// Rename a group
///
/// Admins may.
#[utoipa::path(
    put,
    path = "/api/chats/{chat_id}/name",
    operation_id = "rename_group",
    request_body = NewName,
    params(
        ("chat_id" = String, Path, description = "The group", format = "uuid"),
        ("Idempotency-Key" = Option<String>, Header, description = "The change's client_msg_id", pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "It has the name", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "Nothing changed", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn rename(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Stored>, Problem> {
    app.0.limits.send(from.user)?;
    let target = Some(SendTarget::Chat(places.chat()?));
    let object = Object::read(&headers, body)?;
    let send = SendEvent {
        target,
        kind: EntryKind::renamed,
        body: object.text("name")?.as_bytes().into(),
        ..SendEvent::default()
    };
    store(&app, from, &headers, None, send).await.map(Json)
}
