//! Malformed, oversized, cut and unauthenticated input: a typed answer to its sender, counted, and nobody else notices.

use std::io::{Read as _, Write as _};
use std::path::Path;

use schema::errors::ErrorCode;
use schema::ids::UserId;
use schema::wire::Body;
use shardwire_tests::process::{Answer, Native, Options, Server, python};

/// Another session that must not notice.
struct Bystander {
    native: Native,
    sent: u32,
}

impl Bystander {
    fn new(server: &Server) -> Self {
        Self { native: Native::login(server.native(), &server.token(50, 1)).unwrap(), sent: 0 }
    }

    fn goes_on(&mut self) {
        self.sent += 1;
        let (_, seq) = self.native.send(&format!("b{}", self.sent), UserId::new(51).unwrap(), b"still here").unwrap();
        assert_eq!(seq, u64::from(self.sent));
    }
}

fn counted(server: &Server, name: &str) -> u64 {
    server.metric(&format!("gateway_{name}_total"))
}

/// The code of the goodbye (after an error or none), with which the server ends the connection.
fn goodbye(native: &mut Native, what: &str) -> u16 {
    loop {
        let got = native.next(30).unwrap_or_else(|error| panic!("{what}: {error}"));
        let got = got.unwrap_or_else(|| panic!("{what}: the server says why it ends the session"));
        if got.kind() == Body::Goodbye {
            let code = got.code().unwrap();
            assert!(native.is_ended_within(30), "and ends it");
            return code;
        }
        assert!(matches!(got.kind(), Body::Error | Body::Synced | Body::Welcome | Body::SendAck), "{:?}", got.kind());
    }
}

fn hostile_vectors() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema/vectors");
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).expect("the conformance vectors");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let refused = manifest["frames"].as_array().unwrap().iter().filter(|entry| entry["verdict"] == "refused");
    let refused = refused.map(|entry| entry["file"].as_str().unwrap().to_owned());
    refused.map(|file| (file.clone(), std::fs::read(folder.join(file)).unwrap())).collect()
}

#[test]
fn every_hostile_frame_ends_its_own_session_with_a_typed_error_and_no_other() {
    let server = Server::start(Options::default());
    let mut bystander = Bystander::new(&server);
    let token = server.token(1, 1);
    let (mut malformed, mut oversized) = (0, 0);
    for (file, bytes) in hostile_vectors() {
        let announced = bytes.first_chunk().map(|prefix| u32::from_le_bytes(*prefix) as usize + 4);
        let mut native = Native::login(server.native(), &token).unwrap();
        native.write(&bytes).unwrap();
        match announced {
            Some(len) if len > 65_536 => {
                assert_eq!(goodbye(&mut native, &file), ErrorCode::FrameTooLarge as u16, "{file}");
                oversized += 1;
            }
            Some(len) if len == bytes.len() || len < 12 => {
                assert_eq!(goodbye(&mut native, &file), ErrorCode::MalformedFrame as u16, "{file}");
                malformed += 1;
            }
            // Its rest never comes, or it is a frame and the beginning of another: the connection just ends.
            _ => {
                native.end_writing().unwrap();
                assert!(native.is_ended_within(30), "{file}");
            }
        }
        bystander.goes_on();
    }
    assert!(malformed > 25 && oversized >= 1, "{malformed} malformed, {oversized} oversized");
    // What follows a whole frame may count once more.
    let count = counted(&server, "malformed_frames");
    assert!((malformed..=malformed + 2).contains(&count), "{count} counted, {malformed} sent");
    assert_eq!(counted(&server, "oversized_frames"), oversized);
}

#[test]
fn native_sends_that_cannot_be_are_answered_and_the_session_goes_on() {
    let server = Server::start(Options::default());
    let mut bystander = Bystander::new(&server);
    let mut native = Native::login(server.native(), &server.token(1, 1)).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema/vectors");
    for (file, code) in [
        ("valid_send_minimal", ErrorCode::InvalidClientMsgId),
        ("valid_send_empty_client_msg_id", ErrorCode::InvalidClientMsgId),
        ("valid_send_full", ErrorCode::Unsupported),
        ("valid_mark_minimal", ErrorCode::InvalidField),
        ("valid_history_request_minimal", ErrorCode::InvalidField),
        ("valid_later_body_kind", ErrorCode::Unsupported),
        ("valid_welcome_full", ErrorCode::Unsupported),
        ("valid_hello_full", ErrorCode::Unsupported),
    ] {
        native.write(&std::fs::read(folder.join(format!("{file}.bin"))).unwrap()).unwrap();
        let got = loop {
            let got = native.next(30).unwrap().expect("an answer");
            if got.kind() != Body::Synced {
                break got;
            }
        };
        assert_eq!((got.kind(), got.code()), (Body::Error, Some(code as u16)), "{file}");
        bystander.goes_on();
    }
    // A later field is ignored; the largest frame is taken.
    native.write(&std::fs::read(folder.join("valid_ping_with_a_later_field.bin")).unwrap()).unwrap();
    assert_eq!(native.next(30).unwrap().map(|got| got.kind()), Some(Body::Pong));
    let largest = vec![1; 65_536 - 128];
    native.send("largest", UserId::new(2).unwrap(), &largest).unwrap();
    assert!(counted(&server, "unsupported_events") >= 3 && counted(&server, "invalid_events") >= 2);
}

#[test]
fn who_does_not_authenticate_is_told_so_and_closed() {
    let server = Server::start(Options::default());
    let mut bystander = Bystander::new(&server);
    let first = |frame: &dyn Fn(&mut Native) -> Vec<u8>| {
        let mut native = Native::connect(server.native()).unwrap();
        let frame = frame(&mut native);
        native.write(&frame).unwrap();
        goodbye(&mut native, "the first frame")
    };
    let send = first(&|native| native.message("x", UserId::new(2).unwrap(), b"x", false));
    assert_eq!(send, ErrorCode::Unauthenticated as u16);
    let bad = first(&|native| native.encoder.hello(b"no.token.this", b"", 0).to_vec());
    assert_eq!(bad, ErrorCode::BadToken as u16);
    let token = server.token(1, 1);
    let mut forged = token.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let forged = first(&|native| native.encoder.hello(&forged, b"", 0).to_vec());
    assert_eq!(forged, ErrorCode::BadToken as u16);
    let expired = expired_token(&server);
    let expired = first(&|native| native.encoder.hello(expired.as_bytes(), b"", 0).to_vec());
    assert_eq!(expired, ErrorCode::TokenExpired as u16);
    bystander.goes_on();
    assert!(counted(&server, "auth_failures") >= 3 && counted(&server, "unauthenticated") >= 1);
    assert!(!server.log().contains(&token), "no token reaches the log");
}

/// A token of one second, that second later.
fn expired_token(server: &Server) -> String {
    let ids = ["--user", "1", "--device", "1", "--ttl", "1s"].map(str::to_owned);
    let printed = server.cli("token", &ids);
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    String::from_utf8(printed.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn wrong_json_tokens_and_upgrades_get_the_documented_answers() {
    let server = Server::start(Options::default());
    let url = format!("ws://{}/ws", server.ws());
    let expired = expired_token(&server);
    let printed = python("bad_input.py", &[&url, &server.token(7, 1), &server.token(8, 1), &expired]);
    assert_eq!(printed, "ok\n");
    for (name, least) in [
        ("malformed_frames", 1),
        ("oversized_frames", 1),
        ("invalid_events", 15),
        ("unsupported_events", 2),
        ("auth_failures", 12),
        ("unauthenticated", 3),
        ("upgrade_failures", 4),
    ] {
        assert!(counted(&server, name) >= least, "{name} is {}", counted(&server, name));
    }
    assert!(!server.log().contains(&expired), "no token reaches the log");
}

#[test]
fn foreign_hosts_and_wrong_upgrades_are_refused_in_http() {
    let server = Server::start(Options::default());
    let ask = |host: &str, extra: &str| {
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\n{extra}\r\n"
        );
        Answer::ask(server.ws(), request.as_bytes()).unwrap().status
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let own = server.ws().to_string();
    assert_eq!(ask("evil.example", key), 403, "rebound name");
    assert_eq!(ask(&format!("evil.example:{}", server.ws().port()), key), 403);
    assert_eq!(ask(&own, &format!("{key}Origin: http://evil.example\r\n")), 403);
    assert_eq!(ask(&own, ""), 400, "no key");
    assert_eq!(ask(&own, "Sec-WebSocket-Key: short\r\n"), 400);
    let plain = format!("GET /ws HTTP/1.1\r\nHost: {own}\r\n\r\n");
    assert_eq!(Answer::ask(server.ws(), plain.as_bytes()).unwrap().status, 426);
    let post = format!("POST /ws HTTP/1.1\r\nHost: {own}\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(Answer::ask(server.ws(), post.as_bytes()).unwrap().status, 405);
    assert_eq!(Answer::ask(server.ws(), b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").unwrap().status, 400, "not HTTP");
    let long = format!("GET /ws HTTP/1.1\r\nHost: {own}\r\nX: {}\r\n\r\n", "x".repeat(9_000));
    assert_eq!(Answer::ask(server.ws(), long.as_bytes()).unwrap().status, 431);
    assert_eq!(counted(&server, "upgrade_failures"), 9);
}

#[test]
fn a_name_of_ones_own_can_be_allowed() {
    let config = "[http]\nallowed_hosts = [\"chat.example\"]\n".to_owned();
    let server = Server::start(Options { config, ..Options::default() });
    let mut stream = std::net::TcpStream::connect(server.ws()).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: chat.example\r\nOrigin: https://chat.example\r\nUpgrade: websocket\r\n\
                   Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
}
