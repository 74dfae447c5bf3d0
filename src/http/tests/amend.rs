//! Amendments and the account: what is wrong is named, before any owner is asked.

use super::groups::{CHAT, all_refused};
use super::*;

const MESSAGE: &str = "0192f0c1-2c3d-1e4f-8a9b-0c1d2e3f4a5b";

#[tokio::test]
async fn a_bad_message_names_what_it_answers_whom_it_mentions_and_where_it_comes_from() {
    let messages = format!("{CHAT}/messages");
    let many = format!(r#"{{"message":"m","mentions":[{}"9"]}}"#, "\"9\",".repeat(256));
    for (body, code, names) in [
        (r#"{"message":"m","refers_to":"secret"}"#, "invalid_field", "refers_to must be a hyphenated UUID"),
        (r#"{"message":"m","refers_to":7}"#, "invalid_field", "refers_to must be a string"),
        (r#"{"message":"m","mentions":"secret"}"#, "invalid_field", "mentions must be a list"),
        (r#"{"message":"m","mentions":[9]}"#, "invalid_field", "mentions must be a list"),
        (r#"{"message":"m","mentions":["0"]}"#, "invalid_user", "mentions must be"),
        (&many, "invalid_field", "mentions must be at most 256"),
        (r#"{"message":"m","forwarded":256}"#, "invalid_field", "forwarded must be a whole number from 0 to 255"),
        (r#"{"message":"m","forwarded":"1"}"#, "invalid_field", "forwarded must be"),
    ] {
        all_refused(&[("POST", &messages, body, 400, code, names)]).await;
        let direct = body.replacen('{', r#"{"senderId":"7","receiverId":"9","#, 1);
        all_refused(&[("POST", "/api/v1/messages", &direct, 400, code, names)]).await;
    }
}

#[tokio::test]
async fn a_bad_amendment_names_the_field_and_not_its_content() {
    let message = format!("{CHAT}/messages/{MESSAGE}");
    let (reaction, timer) = (format!("{message}/reaction"), format!("{CHAT}/timer"));
    let (odd, nowhere) = (format!("{CHAT}/messages/secret"), format!("/api/chats/7/messages/{MESSAGE}"));
    let (twice, whom) = (format!("{message}?for=me&for=me"), format!("{message}?for=secret"));
    let long = format!(r#"{{"reaction":"{}"}}"#, "r".repeat(65));
    let field = "invalid_field";
    all_refused(&[
        ("PUT", &message, "{}", 400, field, "message is missing"),
        ("PUT", &message, r#"{"message":7}"#, 400, field, "message must be a string"),
        ("PUT", &message, r#"{"message":"m","mentions":{}}"#, 400, field, "mentions must be a list"),
        ("PUT", &odd, r#"{"message":"m"}"#, 400, field, "message_id must be"),
        ("PUT", &nowhere, r#"{"message":"m"}"#, 400, field, "chat_id must be"),
        ("DELETE", &odd, "", 400, field, "message_id must be"),
        ("DELETE", &nowhere, "", 400, field, "chat_id must be"),
        ("DELETE", &whom, "", 400, field, "for must be everyone or me"),
        ("DELETE", &twice, "", 400, field, "given twice"),
        ("PUT", &reaction, "{}", 400, field, "reaction is missing"),
        ("PUT", &reaction, r#"{"reaction":""}"#, 400, field, "DELETE takes one back"),
        ("PUT", &reaction, &long, 422, "invalid_reaction", "1 to 64 bytes"),
        ("PUT", &timer, "{}", 400, field, "ttl_s must be a whole number"),
        ("PUT", &timer, r#"{"ttl_s":-1}"#, 400, field, "ttl_s must be a whole number"),
        ("PUT", &timer, r#"{"ttl_s":4}"#, 422, "invalid_timer", "5 to 31536000"),
        ("PUT", &timer, r#"{"ttl_s":31536001}"#, 422, "invalid_timer", "5 to 31536000"),
    ])
    .await;
}

#[tokio::test]
async fn a_bad_change_of_an_account_names_the_field_and_not_its_content() {
    let settings = format!("{CHAT}/settings");
    let (device, odd, beyond) =
        ("/api/account/devices/2", "/api/account/devices/secret", "/api/account/devices/4294967296");
    let (app_setting, long_key) = ("/api/account/settings/app.x", format!("/api/account/settings/{}", "k".repeat(65)));
    let (long, name) =
        (format!(r#"{{"value":"{}"}}"#, "v".repeat(1_025)), format!(r#"{{"name":"{}"}}"#, "n".repeat(129)));
    let field = "invalid_field";
    all_refused(&[
        ("PUT", &settings, "{}", 400, field, "one of pinned, archived and muted_until"),
        ("PUT", &settings, r#"{"pinned":true,"secret":1}"#, 400, field, "another field than pinned, archived"),
        ("PUT", &settings, r#"{"pinned":null}"#, 400, field, "pinned must be true or false"),
        ("PUT", &settings, r#"{"archived":"on"}"#, 400, field, "archived must be true or false"),
        ("PUT", &settings, r#"{"muted_until":5}"#, 400, field, "muted_until must be a time like 2026"),
        ("PUT", &settings, r#"{"pinned":true,"muted_until":"secret"}"#, 400, field, "muted_until must be a time"),
        ("PUT", "/api/chats/7/settings", r#"{"pinned":true}"#, 400, field, "chat_id must be"),
        ("PUT", app_setting, "{}", 400, field, "value is missing"),
        ("PUT", app_setting, r#"{"value":true}"#, 400, field, "value must be a string"),
        ("PUT", &long_key, r#"{"value":"1"}"#, 422, "invalid_setting", "no such setting"),
        ("PUT", app_setting, &long, 413, "frame_too_large", "frame"),
        ("PUT", device, "{}", 400, field, "name is missing"),
        ("PUT", device, r#"{"name":""}"#, 400, field, "name must have 1 to 128 bytes"),
        ("PUT", device, &name, 400, field, "name must have 1 to 128 bytes"),
        ("PUT", odd, r#"{"name":"n"}"#, 400, field, "device_id must be"),
        ("DELETE", odd, "", 400, field, "device_id must be"),
        ("DELETE", beyond, "", 400, field, "device_id must be"),
    ])
    .await;
}

#[tokio::test]
async fn a_change_needs_a_token_a_content_type_and_a_valid_key() {
    let app = app(true);
    let bearer = format!("Bearer {}", token(7));
    let message = format!("{CHAT}/messages/{MESSAGE}");
    let (reaction, timer, settings) =
        (format!("{message}/reaction"), format!("{CHAT}/timer"), format!("{CHAT}/settings"));
    let body = r#"{"message":"m","reaction":"r","ttl_s":5,"pinned":true,"value":"1","name":"n"}"#;
    let json = ("content-type", "application/json");
    let token = ("authorization", bearer.as_str());
    for path in [&*message, &reaction, &timer, &settings, "/api/account/settings/app.x", "/api/account/devices/2"] {
        assert_eq!(problem(&app, ("PUT", path), &[token], body).await.0, 415, "{path}");
    }
    for (method, path) in [
        ("PUT", &*message),
        ("PUT", &reaction),
        ("PUT", &timer),
        ("PUT", &settings),
        ("PUT", "/api/account/settings/app.x"),
        ("PUT", "/api/account/devices/2"),
        ("DELETE", &message),
        ("DELETE", &reaction),
        ("DELETE", "/api/account/devices/2"),
    ] {
        assert_eq!(problem(&app, (method, path), &[json], body).await.0, 401, "{method} {path}");
        let (status, code, _) = problem(&app, (method, path), &[token, json, ("idempotency-key", "\"\"")], body).await;
        assert_eq!((status, code.as_str()), (400, "invalid_client_msg_id"), "{method} {path}");
    }
    assert_eq!(problem(&app, ("GET", "/api/account"), &[], "").await.0, 401);
}
