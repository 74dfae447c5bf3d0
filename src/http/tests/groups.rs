//! Chats and groups: what is wrong is named, before any owner is asked.

use super::*;

pub(super) const CHAT: &str = "/api/chats/39126436-089d-82c4-b798-05541412696a";

/// Method, path, body; status, code and what the detail names.
pub(super) type Case<'a> = (&'a str, &'a str, &'a str, u16, &'a str, &'a str);

pub(super) async fn all_refused(cases: &[Case<'_>]) {
    let app = app(true);
    let bearer = format!("Bearer {}", token(7));
    for &(method, path, body, status, code, names) in cases {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let (got_status, got_code, detail) = problem(&app, (method, path), &headers, body).await;
        assert_eq!((got_status, got_code.as_str()), (status, code), "{method} {path} {body}: {detail}");
        assert!(detail.contains(names) && !detail.contains("secret"), "{method} {path} {body}: {detail}");
    }
}

#[tokio::test]
async fn a_bad_group_names_the_field_and_not_its_content() {
    let long = format!(r#"{{"name":"{}","participants":[]}}"#, "n".repeat(257));
    let path = "/api/groups";
    let list = "participants must be a list";
    all_refused(&[
        ("POST", path, "{}", 400, "invalid_field", "name is missing"),
        ("POST", path, r#"{"name":7,"participants":[]}"#, 400, "invalid_field", "name must be a string"),
        ("POST", path, r#"{"name":"n"}"#, 400, "invalid_field", list),
        ("POST", path, r#"{"name":"n","participants":"9"}"#, 400, "invalid_field", list),
        ("POST", path, r#"{"name":"n","participants":[9]}"#, 400, "invalid_field", list),
        ("POST", path, r#"{"name":"n","participants":["secret"]}"#, 400, "invalid_user", "participants must be"),
        ("POST", path, r#"{"name":"","participants":["9"]}"#, 422, "invalid_name", "1 to 256 bytes"),
        ("POST", path, &long, 422, "invalid_name", "1 to 256 bytes"),
        ("POST", path, r#"{"name":"n","participants":[],"client_msg_id":""}"#, 400, "invalid_client_msg_id", "1 to 64"),
    ])
    .await;
}

#[tokio::test]
async fn a_bad_change_names_the_field_and_not_its_content() {
    let (members, name, read) = (format!("{CHAT}/members"), format!("{CHAT}/name"), format!("{CHAT}/read"));
    let (messages, role) = (format!("{CHAT}/messages"), format!("{CHAT}/members/9/role"));
    let (odd, nobody) = (format!("{CHAT}/members/09/role"), format!("{CHAT}/members/x"));
    let many = format!(r#"{{"users":[{}"9"]}}"#, "\"9\",".repeat(200));
    all_refused(&[
        ("POST", &members, "{}", 400, "invalid_field", "users must be a list"),
        ("POST", &members, r#"{"users":[]}"#, 400, "invalid_field", "users must name one"),
        ("POST", &members, r#"{"users":["0"]}"#, 400, "invalid_user", "users must be"),
        ("POST", &members, &many, 413, "frame_too_large", "frame"),
        ("POST", "/api/chats/7/members", r#"{"users":["9"]}"#, 400, "invalid_field", "chat_id must be"),
        ("POST", "/api/chats/%FF/members", r#"{"users":["9"]}"#, 400, "invalid_field", "UTF-8"),
        ("PUT", &role, "{}", 400, "invalid_field", "role is missing"),
        ("PUT", &role, r#"{"role":"secret"}"#, 400, "invalid_field", "role must be"),
        ("PUT", &odd, r#"{"role":"admin"}"#, 400, "invalid_user", "user_id must be"),
        ("PUT", &name, r#"{"name":""}"#, 422, "invalid_name", "1 to 256 bytes"),
        ("DELETE", &nobody, "", 400, "invalid_user", "user_id must be"),
        ("POST", &messages, "{}", 400, "invalid_field", "message is missing"),
        ("POST", &messages, r#"{"message":["secret"]}"#, 400, "invalid_field", "message must be a string"),
        ("POST", &read, "{}", 400, "invalid_field", "message_id is missing"),
        ("POST", &read, r#"{"message_id":"secret"}"#, 400, "invalid_field", "message_id must be"),
    ])
    .await;
}

#[tokio::test]
async fn a_change_needs_a_token_a_content_type_and_a_valid_key() {
    let app = app(true);
    let bearer = format!("Bearer {}", token(7));
    let (members, role) = (format!("{CHAT}/members"), format!("{CHAT}/members/9/role"));
    let (name, read) = (format!("{CHAT}/name"), format!("{CHAT}/read"));
    let body = r#"{"name":"n","participants":[],"users":["9"],"role":"admin"}"#;
    let json = ("content-type", "application/json");
    for what in [("POST", "/api/groups"), ("POST", &members), ("PUT", &role), ("PUT", &name), ("POST", &read)] {
        let token = ("authorization", bearer.as_str());
        assert_eq!(problem(&app, what, &[token], body).await.0, 415, "{what:?}");
        assert_eq!(problem(&app, what, &[json], body).await.0, 401, "{what:?}");
        let (status, code, _) = problem(&app, what, &[token, json, ("idempotency-key", "\"\"")], body).await;
        assert_eq!((status, code.as_str()), (400, "invalid_client_msg_id"), "{what:?}");
    }
}

#[tokio::test]
async fn a_bad_question_names_the_parameter() {
    let app = app(true);
    let bearer = format!("Bearer {}", token(7));
    let uuid = "39126436-089d-82c4-b798-05541412696a";
    for (path, names) in [
        ("/api/chats/7".to_owned(), "chat_id must be"),
        (format!("{CHAT}?after_user=x"), "after_user must be"),
        (format!("{CHAT}?limit=0"), "limit must be a number from 1 to 1000"),
        (format!("{CHAT}?limit=1001"), "limit must be"),
        ("/api/chats?limit=101".to_owned(), "limit must be a number from 1 to 100"),
        ("/api/chats?before=yesterday".to_owned(), "before must be a time like 2026"),
        ("/api/chats?before=2026-01-02T03:04:05Z".to_owned(), "before must be a time"),
        (format!("/api/chats?before_chat={uuid}"), "before_chat needs before"),
        ("/api/chats?before=2026-01-02T03:04:05.678Z&before_chat=7".to_owned(), "before_chat must be"),
        (format!("{CHAT}/messages/7/status"), "message_id must be"),
        (format!("/api/chats/7/messages/{uuid}/status"), "chat_id must be"),
    ] {
        let (status, code, detail) = problem(&app, ("GET", &path), &[("authorization", &bearer)], "").await;
        assert_eq!((status, code.starts_with("invalid_")), (400, true), "{path}: {detail}");
        assert!(detail.contains(names), "{path}: {detail}");
    }
}

#[tokio::test]
async fn a_mark_waits_until_it_is_known_whether_it_is_a_secret() {
    let app = app(true);
    let bearer = format!("Bearer {}", token(7));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = r#"{"message_id":"0192f0c1-2c3d-1e4f-8a9b-0c1d2e3f4a5b"}"#;
    let path = format!("{CHAT}/read");
    let marked = ask(&app, ("POST", &path), &headers, body);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(1), marked).await.is_err());
    assert_eq!(app.0.office.in_flight(), 1);
}
