//! The same sessions over WebSocket.

use fabric::core::{Action, ConnId, Protocol};
use fabric::net::websocket::{self, Decoder, Kind, Message, Role};
use gateway::Limits;
use schema::envelope::{Body, Envelope};
use schema::ids::ChatId;

use super::harness::{Rig, config, message_id, target};

const CHAT: ChatId = ChatId([1; 16]);

fn open(rig: &mut Rig, extra: &str) -> ConnId {
    rig.shard.listening(&["127.0.0.1:7401".parse().unwrap()]);
    let conn = rig.accept(Protocol::WebSocket);
    let request = format!(
        "GET /ws?token=1:2 HTTP/1.1\r\nHost: localhost:7401\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    );
    let (first, rest) = request.as_bytes().split_at(40);
    rig.receive(conn, first);
    assert_eq!(rig.read_bytes(conn, usize::MAX), b"");
    rig.receive(conn, rest);
    let request = rig.register(conn);
    let answer = rig.read_bytes(conn, usize::MAX);
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    rig.answer(conn, request, Body::SyncPage { account: Default::default(), chats: Vec::new(), next: None });
    conn
}

/// Text messages, and the codes of close frames.
fn texts(mut bytes: &[u8]) -> (Vec<String>, Option<u16>) {
    let mut decoder = Decoder::new(Role::Client, 1 << 20);
    let (mut texts, mut scratch) = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        let decoded = decoder.decode(bytes, &mut scratch).unwrap();
        match decoded.message {
            Some(Message::Text(text)) => texts.push(text.to_owned()),
            Some(Message::Close { code, .. }) => return (texts, code),
            Some(other) => panic!("{other:?}"),
            None => break,
        }
        bytes = &bytes[decoded.taken..];
    }
    (texts, None)
}

fn read(rig: &mut Rig, conn: ConnId) -> (Vec<String>, Option<u16>) {
    texts(&rig.read_bytes(conn, usize::MAX))
}

fn client_frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    websocket::client_frame(kind, payload, [1, 2, 3, 4], &mut frame);
    frame
}

fn say(rig: &mut Rig, conn: ConnId, text: &str) {
    rig.receive(conn, &client_frame(Kind::Text, text.as_bytes()));
}

#[test]
fn json_sends_are_frames_behind_the_door() {
    let mut rig = Rig::new();
    let conn = open(&mut rig, "");
    read(&mut rig, conn);
    say(&mut rig, conn, r#"{"type":"message","to":"7","content":"hi","client_msg_id":"m1"}"#);
    let envelopes = rig.envelopes();
    let [Envelope { body: Body::Send { frame, chat, .. }, .. }] = &envelopes[..] else { panic!("{envelopes:?}") };
    assert_eq!(frame.root().body_as_send().unwrap().body().unwrap().bytes(), b"hi");
    rig.sent(conn, b"m1", *chat, 1);
    let (texts, _) = read(&mut rig, conn);
    assert!(texts.len() == 1 && texts[0].contains(r#""client_msg_id":"m1""#), "{texts:?}");
}

#[test]
fn the_last_pushed_messages_are_acknowledged_by_id_alone() {
    let mut rig = Rig::new();
    let conn = open(&mut rig, "");
    read(&mut rig, conn);
    for seq in 1..=65 {
        rig.deliver(CHAT, seq, &[target(conn, 0)]);
    }
    read(&mut rig, conn);
    let ack = |seq| format!(r#"{{"type":"ack","message_id":"{}","status":"read"}}"#, message_id(CHAT, seq));
    say(&mut rig, conn, &ack(65));
    assert!(matches!(rig.envelopes()[..], [Envelope { body: Body::Mark { chat: CHAT, seq: 65, .. }, .. }]));
    say(&mut rig, conn, &ack(1));
    let (texts, _) = read(&mut rig, conn);
    assert!(texts.len() == 1 && texts[0].contains("chat_id_required"), "{texts:?}");
    assert_eq!(rig.count("marks_unresolved"), 1);
}

#[test]
fn all_sessions_of_a_dialect_get_the_same_bytes_of_an_entry() {
    let mut rig = Rig::new();
    let (a, b) = (open(&mut rig, ""), open(&mut rig, ""));
    let native = open(&mut rig, "Sec-WebSocket-Protocol: flatbuffers\r\n");
    for conn in [a, b, native] {
        rig.read_bytes(conn, usize::MAX);
    }
    rig.deliver(CHAT, 1, &[target(a, 0), target(b, 0), target(native, 0)]);
    let [a, b, native] = [a, b, native].map(|conn| rig.read_bytes(conn, usize::MAX));
    assert!(!a.is_empty());
    assert_eq!(a, b);
    assert_ne!(a, native);
}

#[test]
fn broken_events_and_broken_streams_end_with_their_close_codes() {
    for (bytes, code) in [
        (client_frame(Kind::Text, b"{"), 1002),
        (client_frame(Kind::Text, b"\xff"), 1007),
        (vec![0x81, 0x02, b'h', b'i'], 1002),
        (client_frame(Kind::Text, &[b' '; 2_000]), 1009),
        (client_frame(Kind::Close, &[0x03, 0xe8]), 1000),
    ] {
        let mut rig = Rig::with(config(Limits { frame_limit_bytes: 1_024, ..Limits::default() }));
        let conn = open(&mut rig, "");
        read(&mut rig, conn);
        rig.receive(conn, &bytes);
        assert_eq!(read(&mut rig, conn).1, Some(code));
        assert!(rig.actions.iter().any(|action| matches!(action, Action::Close(_))));
    }
}

#[test]
fn unknown_types_are_answered_and_pings_too() {
    let mut rig = Rig::new();
    let conn = open(&mut rig, "");
    read(&mut rig, conn);
    say(&mut rig, conn, r#"{"type":"typing"}"#);
    say(&mut rig, conn, r#"{"type":"ping"}"#);
    let (texts, close) = read(&mut rig, conn);
    assert!(texts[0].contains("unsupported") && texts[1].contains("pong") && close.is_none(), "{texts:?}");
}

#[test]
fn a_session_whose_send_is_lost_on_its_way_is_told_to_try_again_later() {
    let mut rig = Rig::new();
    let conn = open(&mut rig, "");
    read(&mut rig, conn);
    say(&mut rig, conn, r#"{"type":"message","to":"7","content":"hi","client_msg_id":"m1"}"#);
    let envelopes = rig.envelopes();
    let [Envelope { header, body: Body::Send { .. } }] = &envelopes[..] else { panic!("{envelopes:?}") };
    rig.shard.owner_lost(rig.now, header.slot.partition(2), &mut rig.out);
    let (texts, close) = read(&mut rig, conn);
    assert!(texts.len() == 1 && texts[0].contains("storage_unavailable"), "{texts:?}");
    assert!(texts[0].contains("retry_after_ms"), "{texts:?}");
    assert_eq!(close, Some(1013));
}

#[test]
fn a_websocket_is_not_read_while_the_owners_node_is_started_anew() {
    let mut rig = Rig::new();
    let conn = open(&mut rig, "");
    read(&mut rig, conn);
    rig.shard.hold(rig.now);
    say(&mut rig, conn, r#"{"type":"message","to":"7","content":"hi","client_msg_id":"m1"}"#);
    rig.wait_ms(2_000);
    assert_eq!((read(&mut rig, conn), rig.envelopes().len()), ((vec![], None), 0));
    rig.shard.release(rig.now, &mut rig.out);
    assert!(matches!(rig.envelopes()[..], [Envelope { body: Body::Send { .. }, .. }]));
}
