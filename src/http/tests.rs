//! The routes without owners: who is let in, what is refused, and how.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use fabric::lane::Capacities;
use fabric::sim::SeededEntropy;
use fabric::time::{Clock as _, SystemClock};
use gateway::auth::revoked::Revoked;
use gateway::auth::{KeyKind, Keys, Minter, TokenVerifier, Trust, Trusted};
use prometheus_client::registry::Registry;
use schema::ids::{DeviceId, UserId};
use serde_json::Value;
use tower::ServiceExt as _;

use super::accept::Peer;
use super::*;
use crate::config::{Layer, load};
use crate::node::{Board, EdgeConfig, NodeConfig, Topology, assemble, lanes};
use crate::state::{Addresses, Parts, Phase};

mod amend;
mod groups;

const SECRET: [u8; 32] = [7; 32];

fn minter() -> Minter {
    Minter::hs256(&SECRET, None).unwrap()
}

/// A server's HTTP whose owners never answer.
fn app(development: bool) -> App {
    let config = load(None, <Layer as confique::Layer>::empty()).unwrap();
    let node = NodeConfig {
        topology: Topology::new(1, 1, 1),
        limits: gateway::Limits { frame_limit_bytes: 1_024, ..gateway::Limits::default() },
        allowed_hosts: Vec::new(),
        capacities: Capacities::default(),
        credits_per_partition: 4,
        traces: None,
        edge: EdgeConfig::default(),
        cluster: None,
        directory: None,
    };
    let mut keys = Keys::new();
    keys.add(KeyKind::Hs256, None, &SECRET).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let revoked = Revoked::open(folder.path()).unwrap();
    let trust = Arc::new(Trust::new(Trusted { keys, development }, revoked));
    let auth: Arc<dyn TokenVerifier> = trust.clone();
    let (board, mut registry) = (Board::default(), Registry::default());
    let (_, http) =
        assemble(&node, Vec::new(), lanes(&node, 1).unwrap(), &auth, &mut SeededEntropy::new(1), &board, &mut registry);
    let address = |port: u16| ([127, 0, 0, 1], port).into();
    let addresses = Addresses { native: address(7400), ws: address(7401), http: address(7480) };
    let (gateways, partitions) = (Vec::new(), Vec::new());
    let state = ServerState::new(Parts {
        shards: 1,
        driver: "none",
        addresses,
        registry,
        gateways,
        partitions,
        board,
        certificates: None,
        cluster: None,
        holdings: None,
        store_way: None,
    });
    state.set_phase(Phase::Serving);
    let dev = Dev::new((minter(), minter().for_admins(true)), &[addresses.http]);
    let parts = super::Parts { state, office: Office::new(http), trust, names: Arc::default() };
    App::new(&config, parts, dev)
}

fn token(user: u64) -> String {
    let now_ms = SystemClock.now().wall_ms();
    let hour = std::time::Duration::from_secs(3_600);
    minter().mint(UserId::new(user).unwrap(), DeviceId(1), now_ms, hour).unwrap()
}

async fn ask(app: &App, what: (&str, &str), headers: &[(&str, &str)], body: &str) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().method(what.0).uri(what.1);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "127.0.0.1:7480");
    }
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::from(body.to_owned())).unwrap();
    request.extensions_mut().insert(Peer(IpAddr::from([127, 0, 0, 1])));
    let response = routes(app, 1_024).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
}

/// Status, code and detail of a problem.
async fn problem(app: &App, what: (&str, &str), headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
    let (status, headers, text) = ask(app, what, headers, body).await;
    assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{status} {text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["status"], status.as_u16());
    let text = |key: &str| body[key].as_str().unwrap().to_owned();
    (status.as_u16(), text("code"), text("detail"))
}

#[tokio::test]
async fn a_description_names_every_route_and_no_other() {
    let app = app(true);
    let (_, _, text) = ask(&app, ("GET", "/openapi.json"), &[], "").await;
    let description: Value = serde_json::from_str(&text).unwrap();
    for (path, methods) in description["paths"].as_object().unwrap() {
        let uuid = "39126436-089d-82c4-b798-05541412696a";
        let path = path.replace("{chat_id}", uuid).replace("{message_id}", uuid).replace("{user_id}", "9");
        let path = path.replace("{device_id}", "2").replace("{key}", "app.x");
        for method in ["get", "post", "put", "delete", "patch"] {
            let (status, headers, _) = ask(&app, (&method.to_uppercase(), &path), &[], "").await;
            let there = status != StatusCode::METHOD_NOT_ALLOWED && status != StatusCode::NOT_FOUND;
            assert_eq!(there, methods.get(method).is_some(), "{method} {path}: {status}");
            assert_eq!(headers.contains_key(header::ALLOW), !there, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_foreign_site_gets_nothing() {
    let app = app(true);
    for path in ["/", "/console", "/assets/base.css", "/openapi.json", "/api/v1/info", "/api/v1/messages", "/nothing"] {
        for headers in [
            &[("host", "evil.example")][..],
            &[("host", "evil.example:7480")],
            &[("host", "127.0.0.1:7481")],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
        ] {
            let (status, code, _) = problem(&app, ("GET", path), headers, "").await;
            assert_eq!((status, code.as_str()), (403, "foreign_origin"), "{path} {headers:?}");
        }
        let (status, _, detail) = problem(&app, ("GET", path), &[("host", "")], "").await;
        assert_eq!((status, detail.as_str()), (400, "the Host header is missing"));
        let (status, headers, _) = ask(&app, ("GET", path), &[("origin", "http://localhost:7480")], "").await;
        assert_ne!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
}

#[tokio::test]
async fn only_a_valid_token_lets_in() {
    let app = app(true);
    let good = token(7);
    for path in ["/api/v1/messages?user1=7&user2=9", "/api/chats/39126436-089d-82c4-b798-05541412696a/messages"] {
        for (authorization, expected) in [
            ("", "unauthenticated"),
            ("Basic Nzo3", "unauthenticated"),
            ("Bearer", "unauthenticated"),
            ("Bearer ", "unauthenticated"),
            ("Bearer x.y.z", "bad_token"),
            (&format!("Bearer {good}x"), "bad_token"),
        ] {
            let (status, code, detail) = problem(&app, ("GET", path), &[("authorization", authorization)], "").await;
            assert_eq!((status, code.as_str()), (401, expected), "{authorization}");
            assert!(!detail.contains(&good), "no token is shown");
        }
        let with_token = format!("{}?token={good}", path.split('?').next().unwrap());
        let (status, ..) = ask(&app, ("GET", &with_token), &[], "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "not from a URL");
    }
    for _ in 0..100 {
        let _ = ask(&app, ("GET", "/api/v1/messages"), &[("authorization", "Bearer x")], "").await;
    }
    let (status, code, _) = problem(&app, ("GET", "/api/v1/messages"), &[("authorization", "Bearer x")], "").await;
    assert_eq!((status, code.as_str()), (429, "rate_limited"), "guessing is slowed down");
    let bearer = format!("Bearer {good}");
    let (status, ..) = problem(&app, ("GET", "/api/v1/messages"), &[("authorization", &bearer)], "").await;
    assert_eq!(status, 400, "whoever has a token is not");
}

#[tokio::test]
async fn a_bad_message_names_the_field_and_not_its_content() {
    let app = app(true);
    let bearer = format!("Bearer {}", token(7));
    let long = "x".repeat(2_000);
    let longer = "y".repeat(20_000);
    for (body, status, code, names) in [
        ("", 400, "malformed_frame", "line 1"),
        ("{", 400, "malformed_frame", "line 1"),
        ("[]", 400, "invalid_field", "JSON object"),
        ("\"secret\"", 400, "invalid_field", "JSON object"),
        ("{}", 400, "invalid_field", "senderId is missing"),
        (r#"{"senderId":7,"receiverId":"9","message":"m"}"#, 400, "invalid_field", "senderId must be a string"),
        (r#"{"senderId":"x","receiverId":"9","message":"m"}"#, 400, "invalid_user", "senderId must be a decimal"),
        (r#"{"senderId":"07","receiverId":"9","message":"m"}"#, 400, "invalid_user", "senderId"),
        (r#"{"senderId":"8","receiverId":"9","message":"m"}"#, 403, "forbidden", "senderId"),
        (r#"{"senderId":"7","message":"m"}"#, 400, "invalid_field", "receiverId is missing"),
        (r#"{"senderId":"7","receiverId":null,"message":"m"}"#, 400, "invalid_field", "receiverId"),
        (r#"{"senderId":"7","receiverId":"0","message":"m"}"#, 400, "invalid_user", "receiverId"),
        (r#"{"senderId":"7","receiverId":"18446744073709551616","message":"m"}"#, 400, "invalid_user", "receiverId"),
        (r#"{"senderId":"7","receiverId":"9"}"#, 400, "invalid_field", "message is missing"),
        (r#"{"senderId":"7","receiverId":"9","message":["secret"]}"#, 400, "invalid_field", "message must be a string"),
        (
            r#"{"senderId":"7","receiverId":"9","message":"m","client_msg_id":""}"#,
            400,
            "invalid_client_msg_id",
            "1 to 64",
        ),
        (
            r#"{"senderId":"7","receiverId":"9","message":"m","client_msg_id":"é"}"#,
            400,
            "invalid_client_msg_id",
            "ASCII",
        ),
        (r#"{"senderId":"7","receiverId":"9","message":"m","client_msg_id":9}"#, 400, "invalid_field", "client_msg_id"),
        (&format!(r#"{{"senderId":"7","receiverId":"9","message":"{long}"}}"#), 413, "frame_too_large", "frame"),
        (&longer, 413, "frame_too_large", "body is too long"),
    ] {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json; charset=utf-8")];
        let (got_status, got_code, detail) = problem(&app, ("POST", "/api/v1/messages"), &headers, body).await;
        assert_eq!((got_status, got_code.as_str()), (status, code), "{body}: {detail}");
        assert!(detail.contains(names) && !detail.contains("secret"), "{body}: {detail}");
    }
    for content_type in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
        let headers = [("authorization", bearer.as_str()), ("content-type", content_type)];
        let (status, ..) = problem(&app, ("POST", "/api/v1/messages"), &headers, "{}").await;
        assert_eq!(status, 415, "{content_type}: a page of another site could send it without being asked");
    }
}

#[tokio::test]
async fn an_idempotency_key_is_checked_and_agrees_with_the_body() {
    let app = app(true);
    let bearer = format!("Bearer {}", token(7));
    let body = r#"{"senderId":"7","receiverId":"9","message":"m","client_msg_id":"a"}"#;
    let long = "k".repeat(65);
    for (key, expected) in [("\"\"", 400), ("b", 409), (long.as_str(), 400), ("\"a", 409)] {
        let headers =
            [("authorization", bearer.as_str()), ("content-type", "application/json"), ("idempotency-key", key)];
        let (status, code, _) = problem(&app, ("POST", "/api/v1/messages"), &headers, body).await;
        assert_eq!((status, code.as_str()), (expected, "invalid_client_msg_id"), "{key}");
    }
}

#[tokio::test]
async fn a_bad_query_names_the_parameter() {
    let app = app(true);
    let bearer = format!("Bearer {}", token(7));
    let chat = "/api/chats/39126436-089d-82c4-b798-05541412696a/messages";
    for (path, status, names) in [
        ("/api/v1/messages".to_owned(), 400, "user1 is missing"),
        ("/api/v1/messages?user1=7".to_owned(), 400, "user2 is missing"),
        ("/api/v1/messages?user1=7&user2=x".to_owned(), 400, "user2 must be"),
        ("/api/v1/messages?user1=7&user1=7&user2=9".to_owned(), 400, "twice"),
        ("/api/v1/messages?user1=8&user2=9".to_owned(), 403, "neither"),
        ("/api/v1/messages?user1=7&user2=9&limit=0".to_owned(), 400, "limit must be a number from 1 to 100"),
        (format!("{chat}?limit=101"), 400, "limit must be a number from 1 to 100"),
        (format!("{chat}?limit=99999999999999999999999"), 400, "limit"),
        (format!("{chat}?limit="), 400, "limit"),
        (format!("{chat}?before=0"), 400, "before must be"),
        (format!("{chat}?before=-1"), 400, "before"),
        (format!("{chat}?before=39126436-089d-82c4-b798-05541412696a"), 400, "before"),
        (format!("{chat}?after=1.5"), 400, "after must be"),
        (format!("{chat}?after=9007199254740992"), 400, "after"),
        ("/api/chats/7/messages".to_owned(), 400, "chat_id must be a hyphenated UUID"),
        ("/api/chats/%00/messages".to_owned(), 400, "chat_id"),
    ] {
        let (got, _, detail) = problem(&app, ("GET", &path), &[("authorization", &bearer)], "").await;
        assert_eq!(got, status, "{path}: {detail}");
        assert!(detail.contains(names), "{path}: {detail}");
    }
}

#[tokio::test]
async fn a_development_token_is_a_token_and_only_while_there_is_no_key() {
    let app = app(true);
    let json = ("content-type", "application/json");
    let what = ("POST", "/api/v1/dev/token");
    for (body, names) in [
        (r#"{"device_id":1}"#, "user_id is missing"),
        (r#"{"user_id":"7"}"#, "device_id must be"),
        (r#"{"user_id":"7","device_id":-1}"#, "device_id must be"),
        (r#"{"user_id":"7","device_id":4294967296}"#, "device_id must be"),
        (r#"{"user_id":"7","device_id":1,"admin":1}"#, "admin must be"),
    ] {
        let (status, _, detail) = problem(&app, what, &[json], body).await;
        assert!(status == 400 && detail.contains(names), "{detail}");
    }
    let (status, headers, text) = ask(&app, what, &[json], r#"{"user_id":"7","device_id":4294967295}"#).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert_eq!(headers[header::CACHE_CONTROL], "no-store", "a token is kept nowhere on the way");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let bearer = format!("Bearer {}", answer["token"].as_str().unwrap());
    let (status, ..) = problem(&app, ("GET", "/api/v1/messages"), &[("authorization", &bearer)], "").await;
    assert_eq!(status, 400, "it lets in");
    let (_, _, info) = ask(&app, ("GET", "/api/v1/info"), &[("host", "localhost:7480")], "").await;
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!((&info["development"], &info["ws_url"]), (&true.into(), &"ws://localhost:7401/ws".into()));
    let mut keys = Keys::new();
    keys.add(KeyKind::Hs256, None, &SECRET).unwrap();
    app.0.trust.replace(Trusted { keys, development: false });
    let (status, ..) = problem(&app, what, &[json], r#"{"user_id":"7","device_id":1}"#).await;
    assert_eq!(status, 404, "a key came by a reload");
}

#[tokio::test]
async fn pages_are_served_with_what_keeps_them_safe() {
    let app = app(true);
    for (path, kind) in [("/", "text/html"), ("/console", "text/html"), ("/assets/base.css", "text/css")] {
        let (status, headers, _) = ask(&app, ("GET", path), &[("host", "[::1]:7480")], "").await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(headers[header::CONTENT_TYPE].to_str().unwrap().starts_with(kind), "{path}");
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("connect-src 'self' ws://[::1]:7401;"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        let tag = headers[header::ETAG].to_str().unwrap().to_owned();
        let (status, headers, body) = ask(&app, ("GET", path), &[("if-none-match", &tag)], "").await;
        assert_eq!((status, body.len(), headers[header::ETAG].to_str().unwrap()), (StatusCode::NOT_MODIFIED, 0, &*tag));
    }
    for path in ["/assets/nothing.js", "/assets/..%2findex.html", "/assets/", "/index.html", "/web/index.html"] {
        assert_eq!(problem(&app, ("GET", path), &[], "").await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn nothing_new_is_taken_while_stopping() {
    let app = app(true);
    app.0.state.set_phase(Phase::Stopping);
    let (status, headers, _) = ask(&app, ("GET", "/"), &[], "").await;
    assert_eq!((status, headers.contains_key(header::RETRY_AFTER)), (StatusCode::SERVICE_UNAVAILABLE, true));
}

#[tokio::test]
async fn a_request_is_answered_even_when_no_owner_does() {
    let app = app(true);
    let bearer = format!("Bearer {}", token(7));
    let body = r#"{"senderId":"7","receiverId":"9","message":"m"}"#;
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    for _ in 0..4 {
        // Taken, and then nobody waits for it.
        let sent = ask(&app, ("POST", "/api/v1/messages"), &headers, body);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), sent).await.is_err());
    }
    let (status, code, _) = problem(&app, ("POST", "/api/v1/messages"), &headers, body).await;
    assert_eq!((status, code.as_str()), (503, "overloaded"), "its owner's partition has no credit left");
}
