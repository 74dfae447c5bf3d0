//! Both ways of the translation, with events as docs/PROTOCOL.md shows them.

use fabric::entropy::OsEntropy;
use fabric::net::websocket::server_frame;
use schema::encode::{SendFields, SendTarget};
use schema::errors::ErrorCode;
use schema::frame::frame_len;
use schema::ids::{ChatId, UserId};
use schema::wire::{Body, EntryKind, MarkStatus};
use serde_json::{Value, json};

use super::*;

const CHAT: &str = "11111111-2222-8333-8444-555555555555";
const MESSAGE: &str = "66666666-7777-1888-8999-aaaaaaaaaaaa";
const ALLOWED: Allowed = Allowed {
    frame_bytes: 65_536,
    in_flight_per_session: 16,
    sends_per_second_per_user: 5,
    burst_per_user: 50,
    ping_interval_ms: 20_000,
    idle_timeout_ms: 75_000,
};

/// A connection whose upgrade has been answered.
struct Open {
    speech: Speech,
    encoder: Encoder,
    scratch: Scratch,
    websocket: WebSocket,
    frames: Vec<u8>,
    out: Vec<u8>,
}

impl Open {
    fn new(encoding: Encoding) -> Self {
        let speech = Speech { encoding, allowed: ALLOWED };
        let (encoder, scratch, websocket) = (Encoder::new(), Scratch::default(), WebSocket::default());
        let mut open = Self { speech, encoder, scratch, websocket, frames: Vec::new(), out: Vec::new() };
        let hello = Encoder::new().hello(b"to.ke.n", b"", 0);
        open.say(&hello).unwrap();
        let request = String::from_utf8(core::mem::take(&mut open.out)).unwrap();
        assert!(request.starts_with("GET /ws HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("Host: localhost:7401\r\n"), "{request}");
        assert!(request.contains("Authorization: Bearer to.ke.n\r\n"), "{request}");
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let subprotocol = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: ")).unwrap();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n",
            fabric::net::websocket::accept_key(key.as_bytes())
        );
        let (first, rest) = answer.as_bytes().split_at(40);
        open.hear(first).unwrap();
        open.hear(rest).unwrap();
        open
    }

    fn say(&mut self, frame: &[u8]) -> Result<(), WireError> {
        let mut tools = Tools {
            speech: &self.speech,
            host: "localhost:7401",
            encoder: &mut self.encoder,
            entropy: &mut OsEntropy,
            scratch: &mut self.scratch,
        };
        self.websocket.say(&mut tools, frame, &mut self.out)
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let mut tools = Tools {
            speech: &self.speech,
            host: "localhost:7401",
            encoder: &mut self.encoder,
            entropy: &mut OsEntropy,
            scratch: &mut self.scratch,
        };
        self.websocket.hear(&mut tools, bytes, &mut self.frames, &mut self.out)
    }

    fn event(&mut self, event: &Value) -> Result<(), WireError> {
        self.hear(&server_frame(Kind::Text, event.to_string().as_bytes()))
    }

    /// The first frame heard and not yet taken.
    fn frame(&mut self) -> Vec<u8> {
        let len = frame_len(&self.frames, 1 << 20).unwrap().unwrap();
        self.frames.drain(..len).collect()
    }

    /// The first message said and not yet taken.
    fn said(&mut self) -> Value {
        let mut unmasked = Vec::new();
        let mut decoder = Decoder::new(Role::Server, MESSAGE_BYTES);
        let decoded = decoder.decode(&self.out, &mut unmasked).unwrap();
        let taken = decoded.taken;
        let Some(Message::Text(text)) = decoded.message else { panic!("{decoded:?}") };
        let event = serde_json::from_str(text).unwrap();
        self.out.drain(..taken);
        event
    }
}

fn message(seq: u64) -> Value {
    json!({"type": "message", "chat_id": CHAT, "message_id": MESSAGE, "seq": seq, "sender_id": "9",
           "content": "a \"quote\" and ü", "client_msg_id": "a1", "timestamp": "2026-01-02T03:04:05.678Z", "newer": [1]})
}

#[test]
fn ready_is_a_welcome_with_the_limits_known_beforehand() {
    let mut open = Open::new(Encoding::Json);
    open.event(&json!({"type": "ready", "user_id": "7", "device_id": 1, "server_time": "x"})).unwrap();
    let frame = open.frame();
    let welcome = FrameRef::verify_from_server(&frame).unwrap();
    let welcome = welcome.root().body_as_welcome().unwrap();
    assert_eq!((welcome.user_id(), welcome.device_id(), welcome.window()), (7, 1, 16));
    assert_eq!((welcome.sends_per_second(), welcome.burst(), welcome.frame_limit_bytes()), (5, 50, 65_536));
}

#[test]
fn a_message_in_two_parts_is_an_entry() {
    let mut open = Open::new(Encoding::Json);
    let bytes = server_frame(Kind::Text, message(12).to_string().as_bytes());
    open.hear(&bytes[..9]).unwrap();
    assert!(open.frames.is_empty());
    open.hear(&bytes[9..]).unwrap();
    let frame = open.frame();
    let entry = FrameRef::verify_from_server(&frame).unwrap();
    let entry = entry.root().body_as_entry().unwrap();
    assert_eq!((entry.seq(), entry.sender_id(), entry.kind()), (12, 9, EntryKind::message));
    assert_eq!(entry.body().unwrap().bytes(), "a \"quote\" and ü".as_bytes());
    assert_eq!(entry.client_msg_id().unwrap().bytes(), b"a1");
    assert_eq!(ChatId::from(entry.chat_id().unwrap()).to_string(), CHAT);
}

#[test]
fn other_entries_move_the_cursor_and_bytes_come_in_base64() {
    let mut open = Open::new(Encoding::Json);
    let mut event = message(1);
    event["type"] = json!("entry");
    event["kind"] = json!(7);
    open.event(&event).unwrap();
    let frame = open.frame();
    let entry = FrameRef::verify_from_server(&frame).unwrap().root().body_as_entry().unwrap();
    assert_ne!(entry.kind(), EntryKind::message);
    let mut event = message(2);
    event.as_object_mut().unwrap().remove("content");
    event["content_base64"] = json!("AP8=");
    open.event(&event).unwrap();
    let frame = open.frame();
    let entry = FrameRef::verify_from_server(&frame).unwrap().root().body_as_entry().unwrap();
    assert_eq!(entry.body().unwrap().bytes(), [0, 255]);
}

#[test]
fn acks_errors_and_the_rest_have_their_frames() {
    let mut open = Open::new(Encoding::Json);
    let ack = json!({"type": "ack", "client_msg_id": "b1", "chat_id": CHAT, "message_id": MESSAGE, "seq": 14, "status": "sent"});
    let receipt =
        json!({"type": "ack", "chat_id": CHAT, "message_id": MESSAGE, "seq": 3, "user_id": "9", "status": "read"});
    for event in [
        ack,
        json!({"type": "error", "code": "rate_limited", "text": "", "client_msg_id": "b2", "retry_after_ms": 1000}),
        receipt,
        json!({"type": "covered", "chat_id": CHAT, "first_seq": 4, "last_seq": 6}),
        json!({"type": "synced"}),
        json!({"type": "ack", "client_msg_id": "b3", "status": "queued"}),
        json!({"type": "from a newer server"}),
        json!({"type": "pong"}),
    ] {
        open.event(&event).unwrap();
    }
    let frame = open.frame();
    let ack = FrameRef::verify_from_server(&frame).unwrap().root().body_as_send_ack().unwrap();
    assert_eq!((ack.client_msg_id().unwrap().bytes(), ack.seq()), (&b"b1"[..], 14));
    let frame = open.frame();
    let error = FrameRef::verify_from_server(&frame).unwrap().root().body_as_error().unwrap();
    assert_eq!((error.code(), error.retry_after_ms()), (ErrorCode::RateLimited as u16, 1_000));
    assert_eq!(error.client_msg_id().unwrap().bytes(), b"b2");
    for expected in [Body::Receipt, Body::Covered, Body::Synced, Body::Pong] {
        let frame = open.frame();
        assert_eq!(FrameRef::verify_from_server(&frame).unwrap().root().body_type(), expected);
    }
    assert!(open.frames.is_empty());
}

#[test]
fn what_cannot_be_read_is_an_error_with_a_name() {
    for (event, expected) in [
        (json!({"type": "message", "chat_id": CHAT, "message_id": MESSAGE, "sender_id": "9", "content": ""}), "seq"),
        (json!({"type": "message", "chat_id": "c", "message_id": MESSAGE, "seq": 1}), "content"),
        (json!({"type": "ack", "chat_id": "c", "message_id": MESSAGE, "seq": 1}), "chat_id"),
        (json!({"type": "error", "code": "no_such_code"}), "error table"),
        (json!(["type"]), "cannot be read"),
    ] {
        let error = Open::new(Encoding::Json).event(&event).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} should name {expected}");
    }
    let mut open = Open::new(Encoding::Json);
    assert!(open.hear(&server_frame(Kind::Binary, b"x")).unwrap_err().to_string().contains("binary"));
    let mut open = Open::new(Encoding::Json);
    let closed = open.hear(&fabric::net::websocket::close_frame(4001, "bye")).unwrap_err();
    assert!(matches!(closed, WireError::Closed(Some(4001))), "{closed}");
}

#[test]
fn sends_and_pings_are_said_as_events() {
    let mut open = Open::new(Encoding::Json);
    let send = SendFields {
        client_msg_id: b"c1",
        target: SendTarget::User(UserId::new(9).unwrap()),
        kind: EntryKind::message,
        content_type: 0,
        body: b"hello",
        refers_to: None,
        after_seq: 0,
        retry: false,
    };
    open.say(&Encoder::new().send(&send)).unwrap();
    assert_eq!(open.said(), json!({"type": "message", "to": "9", "content": "hello", "client_msg_id": "c1"}));
    let target = SendTarget::Chat(CHAT.parse().unwrap());
    open.say(&Encoder::new().send(&SendFields { target, body: &[0, 255], retry: true, ..send })).unwrap();
    assert_eq!(
        open.said(),
        json!({"type": "message", "chat_id": CHAT, "content_base64": "AP8=", "client_msg_id": "c1", "retry": true})
    );
    open.say(&Encoder::new().ping(5)).unwrap();
    assert_eq!(open.said(), json!({"type": "ping"}));
}

#[test]
fn a_mark_names_the_message_at_its_seq() {
    let mut open = Open::new(Encoding::Json);
    let chat: ChatId = CHAT.parse().unwrap();
    open.say(&Encoder::new().mark(chat, 2, None, MarkStatus::delivered)).unwrap();
    assert!(open.out.is_empty(), "nothing was seen");
    for seq in 1..=3 {
        let mut event = message(seq);
        event["message_id"] = json!(MESSAGE.replace('6', &seq.to_string()));
        open.event(&event).unwrap();
    }
    for (seq, seen) in [(2, "2"), (9, "3")] {
        open.say(&Encoder::new().mark(chat, seq, None, MarkStatus::delivered)).unwrap();
        let id = MESSAGE.replace('6', seen);
        assert_eq!(open.said(), json!({"type": "ack", "chat_id": CHAT, "message_id": id, "status": "delivered"}));
    }
}

#[test]
fn flatbuffers_go_both_ways_as_they_are() {
    let mut open = Open::new(Encoding::FlatBuffers);
    let synced = Encoder::new().synced(1);
    open.hear(&server_frame(Kind::Binary, &synced)).unwrap();
    assert_eq!(open.frame(), synced);
    let ping = Encoder::new().ping(1);
    open.say(&ping).unwrap();
    let mut unmasked = Vec::new();
    let decoded = Decoder::new(Role::Server, MESSAGE_BYTES).decode(&open.out, &mut unmasked).unwrap().message;
    assert_eq!(decoded, Some(Message::Binary(&ping)));
}

#[test]
fn a_refused_upgrade_says_its_status() {
    let speech = Speech { encoding: Encoding::Json, allowed: ALLOWED };
    let (mut encoder, mut scratch, mut out) = (Encoder::new(), Scratch::default(), Vec::new());
    let mut tools =
        Tools { speech: &speech, host: "h", encoder: &mut encoder, entropy: &mut OsEntropy, scratch: &mut scratch };
    let mut websocket = WebSocket::default();
    websocket.say(&mut tools, &Encoder::new().hello(b"t", b"", 0), &mut out).unwrap();
    let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let error = websocket.hear(&mut tools, answer, &mut Vec::new(), &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("403"), "{error}");
}
