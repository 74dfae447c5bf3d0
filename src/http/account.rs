//! What is the user's own: settings, devices, and what is set for a chat. Each change is an entry of the account log.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use gateway::wire::{Ask, SendEvent, ServerEvent};
use schema::wire::EntryKind;
use xxhash_rust::xxh3::xxh3_128;

use super::App;
use super::chats::{ask, unreadable};
use super::input::{Caller, Object, Places, idempotency_key};
use super::messages::{store, store_as};
use super::model::Queued;
use super::model::account::{Account, ChatSettings, DeviceName, SettingValue, SettingsOf};
use super::model::chats::Stored;
use super::problem::{Problem, ProblemBody};

/// What the account is
///
/// The user's settings that are about no chat, and the devices that were named or revoked.
#[utoipa::path(
    get,
    path = "/api/account",
    operation_id = "account",
    responses(
        (status = 200, description = "As it is now", body = Account),
        (status = "default", description = "An error", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn account(State(app): State<App>, Caller(from): Caller) -> Result<Json<Account>, Problem> {
    app.0.limits.read(from.user)?;
    let frame = ask(&app, from, Ask::Account { chat: None }).await?;
    let mut event = Vec::new();
    gateway::json::encode(&ServerEvent::Answer { frame: &frame }, &mut event).map_err(|_| unreadable())?;
    serde_json::from_slice(&event).map(Json).map_err(|_| unreadable())
}

/// Change a setting
///
/// `read_receipts` (`on` or `off`), or `app.` and a name of your own; an empty value is the default again.
#[utoipa::path(
    put,
    path = "/api/account/settings/{key}",
    operation_id = "set_setting",
    request_body = SettingValue,
    params(
        ("key" = String, Path, description = "Which: at most 64 bytes", min_length = 1, max_length = 64),
        ("Idempotency-Key" = Option<String>, Header, description = "The change's client_msg_id", pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "It is set: the change's place in the account log", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "It is not", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn set_setting(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Stored>, Problem> {
    app.0.limits.send(from.user)?;
    let object = Object::read(&headers, body)?;
    let (key, body) = (places.key().as_bytes().into(), object.text("value")?.as_bytes().into());
    let send = SendEvent { kind: EntryKind::setting, key, body, ..SendEvent::default() };
    store(&app, from, &headers, None, send).await.map(Json)
}

/// Name a device
///
/// One of the user's, for their own eyes.
#[utoipa::path(
    put,
    path = "/api/account/devices/{device_id}",
    operation_id = "name_device",
    request_body = DeviceName,
    params(
        ("device_id" = u32, Path, description = "Which", format = Int64, minimum = 0, maximum = 4294967295_i64),
        ("Idempotency-Key" = Option<String>, Header, description = "The change's client_msg_id", pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "It is named: the change's place in the account log", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "It is not", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn name_device(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Stored>, Problem> {
    app.0.limits.send(from.user)?;
    let device = places.device()?;
    let object = Object::read(&headers, body)?;
    let name = object.text("name")?;
    if !(1..=schema::limits::DEVICE_NAME_BYTES).contains(&name.len()) {
        return Err(Problem::field("name must have 1 to 128 bytes"));
    }
    let send = SendEvent { kind: EntryKind::device, device, body: name.as_bytes().into(), ..SendEvent::default() };
    store(&app, from, &headers, None, send).await.map(Json)
}

/// Revoke a device
///
/// Its session ends, and no token of it that was issued before lets it in again. A device cannot revoke itself.
#[utoipa::path(
    delete,
    path = "/api/account/devices/{device_id}",
    operation_id = "revoke_device",
    params(
        ("device_id" = u32, Path, description = "Which", format = Int64, minimum = 0, maximum = 4294967295_i64),
        ("Idempotency-Key" = Option<String>, Header, description = "The change's client_msg_id", pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "It is revoked: the change's place in the account log", body = Stored),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "It is not", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn revoke_device(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
) -> Result<Json<Stored>, Problem> {
    app.0.limits.send(from.user)?;
    let send = SendEvent { kind: EntryKind::revoked, device: places.device()?, ..SendEvent::default() };
    store(&app, from, &headers, None, send).await.map(Json)
}

/// Pin, archive or mute a chat
///
/// For the token's user, on all their devices; what is not named stays as it is. Several are set one after the other: an error
/// says which of them was not set, and which were.
#[utoipa::path(
    put,
    path = "/api/chats/{chat_id}/settings",
    operation_id = "set_chat_settings",
    request_body = ChatSettings,
    params(
        ("chat_id" = String, Path, description = "The chat", format = "uuid"),
        ("Idempotency-Key" = Option<String>, Header, description = "What the changes' client_msg_ids are made of",
            pattern = "KEY"),
    ),
    responses(
        (status = 200, description = "All of them are set", body = SettingsOf),
        (status = 202, description = "The store is away: it is kept, and stored later", body = Queued),
        (status = "default", description = "They are not", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub async fn set_for_chat(
    State(app): State<App>,
    Caller(from): Caller,
    places: Places,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SettingsOf>, Problem> {
    app.0.limits.send(from.user)?;
    let (chat, object, given) = (places.chat()?, Object::read(&headers, body)?, idempotency_key(&headers)?);
    object.only(&["pinned", "archived", "muted_until"])?;
    let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
    let wanted = [
        ("pinned", object.switch("pinned")?.map(switch)),
        ("archived", object.switch("archived")?.map(switch)),
        ("muted_until", object.time("muted_until")?.map(muted)),
    ];
    let wanted: Vec<_> = wanted.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    if wanted.is_empty() {
        return Err(Problem::field("one of pinned, archived and muted_until must be given"));
    }
    let (mut set, mut queued) = (Vec::new(), None);
    for (key, value) in &wanted {
        let id = given.as_deref().map(|given| id_of(given, key));
        let (subject, body) = (Some(chat), value.as_bytes().into());
        let send =
            SendEvent { kind: EntryKind::setting, subject, key: key.as_bytes().into(), body, ..SendEvent::default() };
        match store_as(&app, from, &headers, id, send).await {
            Ok(_) => set.push(*key),
            Err(problem) if problem.is_queued() => queued = Some(problem),
            Err(problem) => return Err(not_set(problem, key, &set)),
        }
    }
    if let Some(queued) = queued {
        return Err(queued);
    }
    Ok(Json(SettingsOf { chat_id: chat.to_string() }))
}

/// The setting's value. The last time that can be shown stands for all that are later: for good.
fn muted(until_ms: u64) -> String {
    let last_ms = gateway::json::read_timestamp(&gateway::json::timestamp(u64::MAX));
    if Some(until_ms) == last_ms { u64::MAX.to_string() } else { until_ms.to_string() }
}

/// The client_msg_id of one of the changes of a request: the same for the same request, and no other's.
fn id_of(given: &str, key: &str) -> String {
    format!("settings-{:032x}", xxh3_128(format!("{key}\0{given}").as_bytes()))
}

fn not_set(problem: Problem, key: &str, set: &[&str]) -> Problem {
    let others = if set.is_empty() { String::new() } else { format!("; set before it: {}", set.join(", ")) };
    let detail = format!("{key} is not set: {}{others}", problem.detail());
    problem.saying(detail)
}

#[cfg(test)]
mod tests {
    use schema::errors::ErrorCode;

    use super::*;

    #[test]
    fn a_request_sent_again_makes_the_same_changes_and_each_is_one_of_its_own() {
        let long = "k".repeat(64);
        let ids = [("a", "pinned"), ("a", "archived"), ("b", "pinned"), (&long, "muted_until")];
        for (at, (given, key)) in ids.iter().enumerate() {
            let id = id_of(given, key);
            assert_eq!(id, id_of(given, key));
            assert!(id.len() <= 64 && id.is_ascii(), "{id}");
            assert!(ids[..at].iter().all(|(given, key)| id_of(given, key) != id));
        }
    }

    #[test]
    fn muted_for_good_is_muted_for_good() {
        assert_eq!(muted(0), "0");
        assert_eq!(muted(1_795_329_961_007), "1795329961007");
        assert_eq!(muted(253_402_300_799_999), "18446744073709551615");
        assert_eq!(muted(253_402_300_799_998), "253402300799998");
    }

    #[test]
    fn what_was_set_before_a_failure_is_said() {
        let refused = || Problem::new(ErrorCode::AccountFull);
        let first = not_set(refused(), "pinned", &[]);
        assert!(first.detail().starts_with("pinned is not set: the account holds"), "{first:?}");
        let third = not_set(refused(), "muted_until", &["pinned", "archived"]);
        assert_eq!(third.code(), ErrorCode::AccountFull);
        assert!(third.detail().ends_with("; set before it: pinned, archived"), "{third:?}");
    }
}
