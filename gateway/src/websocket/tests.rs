//! Upgrades, right and wrong, cut anywhere.

use std::net::IpAddr;

use fabric::net::proxy::Trusted;
use proptest::prelude::*;
use schema::errors::ErrorCode;

use super::*;
use schema::ids::{DeviceId, UserId};

use crate::wire::{Dialect, Remembered};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const USUAL: &[&str] = &[
    "Host: localhost:7401",
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    "Sec-WebSocket-Version: 13",
    KEY,
];

fn hosts() -> Hosts {
    let allowed = ["Chat.Example.com".to_owned(), "edge.example.com:8443".to_owned(), "[2001:db8::1]".to_owned()];
    Hosts::new(&["127.0.0.1:7401".parse().expect("address")], &allowed)
}

fn peer(trusted: &Trusted) -> (IpAddr, &Trusted) {
    (IpAddr::from([10, 0, 0, 1]), trusted)
}

fn request(line: &str, headers: &[&str], more: &[&str]) -> String {
    let mut text = format!("{line}\r\n");
    for header in headers.iter().chain(more) {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text
}

fn usual(path: &str, more: &[&str]) -> String {
    request(&format!("GET {path} HTTP/1.1"), USUAL, more)
}

fn accepted(text: &str) -> Accepted {
    match upgrade(text.as_bytes(), &hosts(), peer(&Trusted::default())) {
        Upgrade::Accepted(accepted) => accepted,
        other => panic!("{other:?}"),
    }
}

fn refused(text: &str) -> (u16, ErrorCode, String) {
    match upgrade(text.as_bytes(), &hosts(), peer(&Trusted::default())) {
        Upgrade::Refused(refused) => {
            let response = String::from_utf8(refused.response.to_vec()).expect("text");
            assert!(response.starts_with(&format!("HTTP/1.1 {} ", refused.status)));
            let (head, body) = response.split_once("\r\n\r\n").expect("a head");
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            let problem: serde_json::Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(problem["status"], refused.status);
            assert_eq!(problem["code"], refused.code.info().name);
            (refused.status, refused.code, response)
        }
        other => panic!("{other:?}"),
    }
}

/// `USUAL` with one header replaced or, with an empty text, left out.
fn with(name: &str, header: &str) -> String {
    let kept: Vec<&str> = USUAL.iter().copied().filter(|usual| !usual.starts_with(name)).collect();
    let more: &[&str] = if header.is_empty() { &[] } else { &[header] };
    request("GET /ws HTTP/1.1", &kept, more)
}

#[test]
fn an_upgrade_is_answered_as_rfc_6455_says() {
    let accepted = accepted(&usual("/ws", &[]));
    assert_eq!(
        accepted.response,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    assert_eq!((accepted.dialect, accepted.token), (Dialect::Json, None));
}

#[test]
fn the_first_subprotocol_that_is_spoken_here_is_taken() {
    for (offer, dialect, named) in [
        ("json", Dialect::Json, "json"),
        ("flatbuffers", Dialect::WebSocketNative, "flatbuffers"),
        ("v9, flatbuffers, json", Dialect::WebSocketNative, "flatbuffers"),
        ("json,flatbuffers", Dialect::Json, "json"),
    ] {
        let accepted = accepted(&usual("/ws", &[&format!("Sec-WebSocket-Protocol: {offer}")]));
        assert_eq!(accepted.dialect, dialect);
        let response = String::from_utf8(accepted.response.to_vec()).expect("text");
        assert!(response.ends_with(&format!("Sec-WebSocket-Protocol: {named}\r\n\r\n")));
    }
    let two = usual("/ws", &["Sec-WebSocket-Protocol: v9", "sec-websocket-protocol: flatbuffers"]);
    assert_eq!(accepted(&two).dialect, Dialect::WebSocketNative);
    assert_eq!(refused(&usual("/ws", &["Sec-WebSocket-Protocol: graphql-ws"])).0, 400);
}

#[test]
fn a_token_comes_by_header_or_query_and_is_never_shown() {
    let token = |text: &str| accepted(text).token.map(|token| token.0.into_vec());
    assert_eq!(token(&usual("/ws", &["Authorization: bearer  a.b.c"])), Some(b"a.b.c".to_vec()));
    assert_eq!(token(&usual("/ws?x=1&token=a.b%2Ec%", &[])), Some(b"a.b.c%".to_vec()));
    assert_eq!(token(&usual("/ws?token=q", &["Authorization: Bearer h"])), Some(b"h".to_vec()));
    assert_eq!(token(&usual("/ws?token=q", &["Authorization: Basic eA=="])), Some(b"q".to_vec()));
    assert_eq!(token(&usual("/ws?tokens=q&atoken=r", &[])), None);
    let shown =
        format!("{:?}", upgrade(usual("/ws?token=secret", &[]).as_bytes(), &hosts(), peer(&Trusted::default())));
    assert!(!shown.contains("secret"));
}

#[test]
fn a_device_may_say_when_it_was_synced() {
    assert_eq!(accepted(&usual("/ws?token=q", &[])).remembered, Remembered::default());
    for time in ["1970-01-01T00:00:05.678Z", "1970-01-01T00%3A00%3A05.678Z"] {
        assert_eq!(accepted(&usual(&format!("/ws?synced={time}&token=q"), &[])).remembered.synced_ms, 5_678, "{time}");
    }
    for time in ["", "5678", "1970-01-01T00:00:05Z", "%FF"] {
        let (status, code, response) = refused(&usual(&format!("/ws?synced={time}"), &[]));
        assert_eq!((status, code), (400, ErrorCode::BadUpgrade), "{time}");
        assert!(response.contains("synced must be a time"), "{response}");
    }
}

#[test]
fn a_device_may_say_who_it_believes_to_be() {
    let me = Some((UserId::new(7).unwrap(), DeviceId(2)));
    assert_eq!(accepted(&usual("/ws?token=q&user_id=7&device_id=2", &[])).remembered.me, me);
    for wrong in
        ["user_id=7", "device_id=2", "user_id=0&device_id=2", "user_id=7&device_id=-2", "user_id=%FF&device_id=2"]
    {
        let (status, code, response) = refused(&usual(&format!("/ws?{wrong}"), &[]));
        assert_eq!((status, code), (400, ErrorCode::BadUpgrade), "{wrong}");
        assert!(response.contains("user_id, a number"), "{response}");
    }
}

#[test]
fn what_follows_the_head_is_left() {
    let head = usual("/ws", &[]);
    let with_frames = format!("{head}frames");
    assert_eq!(accepted(&with_frames).taken, head.len());
    for cut in 0..head.len() {
        assert!(
            matches!(upgrade(&head.as_bytes()[..cut], &hosts(), peer(&Trusted::default())), Upgrade::Incomplete),
            "{cut}"
        );
    }
}

#[test]
fn wrong_upgrades_are_told_what_is_wrong() {
    for (status, text) in [
        (404, usual("/", &[])),
        (404, usual("/ws/", &[])),
        (405, request("POST /ws HTTP/1.1", USUAL, &[])),
        (400, request("GET /ws HTTP/1.0", USUAL, &[])),
        (400, with("Host", "")),
        (400, usual("/ws", &["Host: localhost:7401"])),
        (426, with("Upgrade", "")),
        (426, with("Upgrade", "Upgrade: h2c")),
        (426, with("Connection", "Connection: close")),
        (426, with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8")),
        (426, with("Sec-WebSocket-Version", "")),
        (400, with("Sec-WebSocket-Key", "")),
        (400, with("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ=")),
        (400, with("Sec-WebSocket-Key", "Sec-WebSocket-Key: !!!!")),
        (400, usual("/ws", &[KEY])),
        (400, usual("/ws", &["Content-Length: 3"])),
        (400, usual("/ws", &["Transfer-Encoding: chunked"])),
        (400, "\x16\x03\x01\x02\x00TLS".to_owned()),
        (400, "SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned()),
    ] {
        let (got, code, _) = refused(&text);
        assert_eq!((got, code), (status, ErrorCode::BadUpgrade), "{text}");
    }
    assert!(refused(&request("PUT /ws HTTP/1.1", USUAL, &[])).2.contains("\r\nAllow: GET\r\n"));
    assert!(refused(&with("Upgrade", "")).2.contains("\r\nSec-WebSocket-Version: 13\r\n"));
    assert_eq!(accepted(&usual("/ws", &["Content-Length: 0"])).dialect, Dialect::Json);
}

#[test]
fn a_head_is_bounded_whether_or_not_it_ends() {
    let endless = format!("GET /ws?token={} HTTP/1.1\r\n", "x".repeat(HEAD_BYTES));
    assert_eq!(refused(&endless).0, 431);
    assert!(matches!(
        upgrade(&endless.as_bytes()[..HEAD_BYTES], &hosts(), peer(&Trusted::default())),
        Upgrade::Incomplete
    ));
    let padding = |bytes: usize| usual("/ws", &[&format!("X: {}", "x".repeat(bytes))]);
    let fits = padding(HEAD_BYTES - padding(0).len());
    assert_eq!(accepted(&fits).taken, HEAD_BYTES);
    assert_eq!(accepted(&format!("{fits}frames and more frames")).taken, HEAD_BYTES);
    assert_eq!(refused(&padding(HEAD_BYTES + 1 - padding(0).len())).0, 431);
    assert_eq!(refused(&usual("/ws", &["X: y"; 65])).0, 431);
}

#[test]
fn host_must_be_one_of_ours() {
    for host in [
        "localhost:7401",
        "LOCALHOST:7401",
        "localhost.:7401",
        "127.0.0.1:7401",
        "[::1]:7401",
        "[0:0:0:0:0:0:0:1]:7401",
        "chat.example.com",
        "chat.example.com:443",
        "CHAT.example.com.",
        "edge.example.com:8443",
        "[2001:DB8::1]:9",
    ] {
        assert!(hosts().allows_host(host), "{host}");
    }
    for host in [
        "",
        "localhost",
        "localhost:80",
        "localhost:7402",
        "127.0.0.2:7401",
        "edge.example.com",
        "evil.com",
        "chat.example.com.evil.com",
        "xchat.example.com",
        "localhost:",
        "localhost:x",
        "localhost:7401:7401",
        "localhost:+7401",
        "user@localhost:7401",
        "[::1",
        "[::1]7401",
        "[localhost]:7401",
        "localhost:65536",
    ] {
        assert!(!hosts().allows_host(host), "{host}");
    }
    let (status, code, _) = refused(&with("Host", "Host: evil.com:7401"));
    assert_eq!((status, code), (403, ErrorCode::ForeignOrigin));
}

#[test]
fn origin_is_absent_or_one_of_ours_on_any_port() {
    for origin in
        ["http://localhost:3000", "https://chat.example.com", "http://127.0.0.1", "https://edge.example.com:1"]
    {
        assert_eq!(accepted(&usual("/ws", &[&format!("Origin: {origin}")])).dialect, Dialect::Json, "{origin}");
    }
    for origin in [
        "null",
        "",
        "http://evil.com",
        "http://localhost.evil.com",
        "file://localhost",
        "localhost:7401",
        "http://localhost@evil.com",
        "http://localhost:3000/x",
        "http://",
    ] {
        let (status, code, _) = refused(&usual("/ws", &[&format!("Origin: {origin}")]));
        assert_eq!((status, code), (403, ErrorCode::ForeignOrigin), "{origin}");
    }
}

#[test]
fn a_listener_on_an_address_of_its_own_goes_by_it() {
    let hosts = Hosts::new(&["10.1.2.3:80".parse().expect("address"), "0.0.0.0:90".parse().expect("address")], &[]);
    assert!(hosts.allows_host("10.1.2.3") && hosts.allows_host("10.1.2.3:80") && hosts.allows_host("localhost:90"));
    assert!(!hosts.allows_host("10.1.2.3:90") && !hosts.allows_host("0.0.0.0:90"));
}

#[test]
fn frame_errors_have_a_row_in_the_table() {
    for (error, code) in [
        (WebSocketError::InvalidUtf8, ErrorCode::MalformedFrame),
        (WebSocketError::Protocol("x"), ErrorCode::MalformedFrame),
        (WebSocketError::TooLarge { limit_bytes: 1 }, ErrorCode::FrameTooLarge),
    ] {
        assert_eq!(error_code(error), code);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_incomplete_or_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let accepted = matches!(upgrade(&bytes, &hosts(), peer(&Trusted::default())), Upgrade::Accepted(_));
        prop_assert!(!accepted);
    }

    #[test]
    fn a_garbled_request_never_opens_a_socket_for_a_foreign_page(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = usual("/ws?token=t", &["Origin: http://evil.example"]).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Upgrade::Accepted(accepted) = upgrade(&bytes, &hosts(), peer(&Trusted::default())) {
            // Only a header that is not Origin any more can get past.
            prop_assert!(!String::from_utf8_lossy(&bytes[..accepted.taken]).contains("\r\nOrigin: http://evil.example\r\n"));
        }
    }
}

#[test]
fn the_client_is_who_a_trusted_proxy_forwards_for() {
    let trusted = Trusted::new(["10.0.0.0/8"]).expect("a network");
    let client =
        |trusted: &Trusted, more: &[&str]| match upgrade(usual("/ws", more).as_bytes(), &hosts(), peer(trusted)) {
            Upgrade::Accepted(accepted) => accepted.client.to_string(),
            other => panic!("{other:?}"),
        };
    let forwarded = ["X-Forwarded-For: 6.6.6.6, 198.51.100.1", "x-forwarded-for: 10.0.0.9"];
    assert_eq!(client(&trusted, &forwarded), "198.51.100.1");
    assert_eq!(client(&trusted, &[]), "10.0.0.1");
    assert_eq!(client(&Trusted::default(), &forwarded), "10.0.0.1", "nobody is trusted");
}
