//! Each event as text, both ways; whatever is wrong is named.

use bytes::Bytes;
use schema::encode::{Encoder, EntryFields, SendTarget, WelcomeFields};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire::{EntryKind, MarkStatus};

use super::{decode, encode};
use crate::wire::{ClientEvent, EventError, Remembered, ServerEvent};

mod amend;
mod groups;
mod properties;

const CHAT: ChatId = ChatId([0x11; 16]);
const CHAT_TEXT: &str = "11111111-1111-1111-1111-111111111111";
const MESSAGE: MessageId = MessageId([0x22; 16]);
const MESSAGE_TEXT: &str = "22222222-2222-2222-2222-222222222222";
/// 2026-11-22T06:46:01.007Z
const TIME_MS: u64 = 1_795_329_961_007;

fn user(id: u64) -> UserId {
    UserId::new(id).expect("not 0")
}

fn json(event: &ServerEvent<'_>) -> String {
    let mut out = Vec::new();
    encode(event, &mut out).expect("encodable");
    let text = String::from_utf8(out).expect("UTF-8");
    serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    text
}

fn entry(kind: EntryKind, body: &[u8], client_msg_id: &[u8], refers_to: Option<MessageId>) -> Bytes {
    Encoder::new().entry(&EntryFields {
        chat: CHAT,
        message: MESSAGE,
        seq: 41,
        sender: user(7),
        device: DeviceId(2),
        kind,
        content_type: 0,
        body,
        client_msg_id,
        refers_to,
        after_seq: 0,
        timestamp_ms: TIME_MS,
    })
}

fn refusal(text: &str) -> EventError {
    decode(text).expect_err("accepted")
}

#[test]
fn ready() {
    let welcome = WelcomeFields {
        version: 1,
        features: 0,
        session_id: 9,
        server_incarnation: 8,
        user: user(18_446_744_073_709_551_615),
        device: DeviceId(3),
        server_time_ms: TIME_MS,
        frame_limit_bytes: 65_536,
        window: 4_096,
        sends_per_second: 1_000,
        burst: 5_000,
        ping_interval_ms: 20_000,
        idle_timeout_ms: 75_000,
    };
    assert_eq!(
        json(&ServerEvent::Welcome(welcome)),
        r#"{"type":"ready","user_id":"18446744073709551615","device_id":3,"server_time":"2026-11-22T06:46:01.007Z"}"#
    );
}

#[test]
fn the_ack_of_a_send() {
    let event =
        ServerEvent::Sent { client_msg_id: b"m\"1", chat: CHAT, message: MESSAGE, seq: 5, timestamp_ms: TIME_MS };
    assert_eq!(
        json(&event),
        format!(
            r#"{{"type":"ack","client_msg_id":"m\"1","chat_id":"{CHAT_TEXT}","message_id":"{MESSAGE_TEXT}","seq":5,"status":"sent","timestamp":"2026-11-22T06:46:01.007Z"}}"#
        )
    );
}

#[test]
fn a_message_delivered() {
    let place = format!(r#""chat_id":"{CHAT_TEXT}","message_id":"{MESSAGE_TEXT}","seq":41,"sender_id":"7""#);
    let frame = entry(EntryKind::message, "héllo\n".as_bytes(), b"c1", None);
    assert_eq!(
        json(&ServerEvent::Entry { frame: &frame }),
        format!(
            r#"{{"type":"message",{place},"content":"héllo\n","client_msg_id":"c1","timestamp":"2026-11-22T06:46:01.007Z"}}"#
        )
    );
    let frame = entry(EntryKind::message, b"\xff\x00", b"\xfe", Some(MESSAGE));
    assert_eq!(
        json(&ServerEvent::Entry { frame: &frame }),
        format!(
            r#"{{"type":"message",{place},"refers_to":"{MESSAGE_TEXT}","content_base64":"/wA=","client_msg_id_base64":"/g==","timestamp":"2026-11-22T06:46:01.007Z"}}"#
        )
    );
}

#[test]
fn an_entry_of_a_kind_this_build_does_not_know() {
    let frame = entry(EntryKind(77), b"x", b"c1", None);
    assert_eq!(
        json(&ServerEvent::Entry { frame: &frame }),
        format!(
            r#"{{"type":"entry","kind":"kind_77","chat_id":"{CHAT_TEXT}","message_id":"{MESSAGE_TEXT}","seq":41,"sender_id":"7","body":"x","client_msg_id":"c1","timestamp":"2026-11-22T06:46:01.007Z"}}"#
        )
    );
}

#[test]
fn a_receipt() {
    for (status, name) in [(MarkStatus::delivered, "delivered"), (MarkStatus::read, "read")] {
        let frame = Encoder::new().receipt(CHAT, MESSAGE, 9, user(8), status);
        assert_eq!(
            json(&ServerEvent::Receipt { frame: &frame }),
            format!(
                r#"{{"type":"ack","chat_id":"{CHAT_TEXT}","message_id":"{MESSAGE_TEXT}","seq":9,"status":"{name}","user_id":"8"}}"#
            )
        );
    }
}

#[test]
fn the_small_events() {
    for (event, text) in [
        (
            ServerEvent::Synced { server_time_ms: TIME_MS },
            r#"{"type":"synced","server_time":"2026-11-22T06:46:01.007Z"}"#.to_owned(),
        ),
        (
            ServerEvent::Covered { chat: CHAT, first_seq: 1, last_seq: 9 },
            format!(r#"{{"type":"covered","chat_id":"{CHAT_TEXT}","first_seq":1,"last_seq":9}}"#),
        ),
        (ServerEvent::Pong { nonce: 0 }, r#"{"type":"pong"}"#.to_owned()),
        (ServerEvent::Pong { nonce: 6 }, r#"{"type":"pong","nonce":6}"#.to_owned()),
        (ServerEvent::Window { window: 64 }, r#"{"type":"window","window":64}"#.to_owned()),
        (
            ServerEvent::Error {
                code: ErrorCode::InvalidField,
                text: "status must be \"delivered\" or \"read\"",
                client_msg_id: b"",
                retry_after_ms: 0,
            },
            r#"{"type":"error","code":"invalid_field","text":"status must be \"delivered\" or \"read\""}"#.to_owned(),
        ),
        (
            ServerEvent::Error { code: ErrorCode::RateLimited, text: "", client_msg_id: b"a", retry_after_ms: 20 },
            r#"{"type":"error","code":"rate_limited","text":"too many sends; slow down","client_msg_id":"a","retry_after_ms":20}"#
                .to_owned(),
        ),
        (
            ServerEvent::Goodbye { code: ErrorCode::GoingAway, text: "", retry_after_ms: 0 },
            r#"{"type":"error","code":"going_away","text":"the server is going away; come back","retry_after_ms":1000}"#
                .to_owned(),
        ),
    ] {
        assert_eq!(json(&event), text);
    }
}

#[test]
fn a_history_page_holds_its_entries_as_they_are_delivered() {
    let frame = entry(EntryKind::message, b"x", b"c1", None);
    let one = json(&ServerEvent::Entry { frame: &frame });
    let entries = [(41, frame.clone()), (42, frame)];
    let page =
        ServerEvent::HistoryPage { request_id: 3, chat: CHAT, covers: (41, 42), head_seq: 50, entries: &entries };
    assert_eq!(
        json(&page),
        format!(
            r#"{{"type":"history","request_id":3,"chat_id":"{CHAT_TEXT}","covers_first_seq":41,"covers_last_seq":42,"head_seq":50,"entries":[{one},{one}]}}"#
        )
    );
}

#[test]
fn what_is_no_entry_frame_appends_nothing() {
    let receipt = Encoder::new().receipt(CHAT, MESSAGE, 9, user(8), MarkStatus::read);
    for frame in [receipt, Bytes::from_static(b"rubbish"), Bytes::new()] {
        let mut out = b"kept".to_vec();
        assert!(encode(&ServerEvent::Entry { frame: &frame }, &mut out).is_err());
        assert!(
            encode(
                &ServerEvent::HistoryPage {
                    request_id: 1,
                    chat: CHAT,
                    covers: (1, 1),
                    head_seq: 1,
                    entries: &[(1, frame)]
                },
                &mut out
            )
            .is_err()
        );
        assert_eq!(out, b"kept");
    }
}

#[test]
fn times_are_right_at_their_edges() {
    for (ms, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_399_999, "2000-02-28T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (u64::MAX, "9999-12-31T23:59:59.999Z"),
    ] {
        let mut out = Vec::new();
        super::text::time(&mut out, ms);
        assert_eq!(String::from_utf8(out).expect("text"), text);
    }
}

#[test]
fn a_send_by_user_or_by_chat() {
    let Ok(ClientEvent::Send(send)) = decode(
        r#" {"type":"message","to":"18446744073709551615","content":"hi \u00e9\n","client_msg_id":"m1","later":{"a":[1]}}"#,
    ) else {
        panic!("not a send");
    };
    assert_eq!(send.target, Some(SendTarget::User(user(u64::MAX))));
    assert_eq!((send.kind, send.users.len()), (EntryKind::message, 0));
    assert_eq!((&*send.body, &*send.client_msg_id, send.retry), ("hi é\n".as_bytes(), &b"m1"[..], false));
    let text = format!(
        r#"{{"content_base64":"/wA=","client_msg_id":"ü","retry":true,"chat_id":"{CHAT_TEXT}","to":null,"type":"message"}}"#
    );
    let Ok(ClientEvent::Send(send)) = decode(&text) else { panic!("not a send") };
    assert_eq!(send.target, Some(SendTarget::Chat(CHAT)));
    assert_eq!((&*send.body, &*send.client_msg_id, send.retry), (&b"\xff\x00"[..], "ü".as_bytes(), true));
}

#[test]
fn plain_contents_are_borrowed() {
    let text = r#"{"type":"message","to":"1","content":"hi","client_msg_id":"m1"}"#;
    let Ok(ClientEvent::Send(send)) = decode(text) else { panic!("not a send") };
    assert!(matches!(send.body, std::borrow::Cow::Borrowed(_)));
    assert!(matches!(send.client_msg_id, std::borrow::Cow::Borrowed(_)));
}

#[test]
fn an_ack_needs_no_chat() {
    let text = format!(r#"{{"type":"ack","message_id":"{MESSAGE_TEXT}","status":"read"}}"#);
    assert!(matches!(
        decode(&text),
        Ok(ClientEvent::Mark { chat: None, seq: 0, message: Some(MESSAGE), status: MarkStatus::read })
    ));
    let text =
        format!(r#"{{"type":"ack","message_id":"{MESSAGE_TEXT}","status":"delivered","chat_id":"{CHAT_TEXT}"}}"#);
    assert!(matches!(
        decode(&text),
        Ok(ClientEvent::Mark { chat: Some(CHAT), seq: 0, message: Some(MESSAGE), status: MarkStatus::delivered })
    ));
}

#[test]
fn an_ack_may_say_its_seq_beside_its_message_or_in_place_of_it() {
    for (message, said) in [(format!(r#","message_id":"{MESSAGE_TEXT}""#), Some(MESSAGE)), (String::new(), None)] {
        let text = format!(r#"{{"type":"ack","chat_id":"{CHAT_TEXT}","seq":7,"status":"read"{message}}}"#);
        let Ok(ClientEvent::Mark { chat: Some(CHAT), seq: 7, message, status: MarkStatus::read }) = decode(&text)
        else {
            panic!("{text}");
        };
        assert_eq!(message, said);
    }
    for (seq, text) in [("0", "message_id must"), ("-1", "seq must"), ("\"7\"", "seq must")] {
        let error = refusal(&format!(r#"{{"type":"ack","chat_id":"{CHAT_TEXT}","seq":{seq},"status":"read"}}"#));
        assert!(error.text.starts_with(text), "{seq}: {}", error.text);
    }
}

#[test]
fn the_other_events_of_a_client() {
    assert!(matches!(decode(r#"{"type":"ping"}"#), Ok(ClientEvent::Ping { nonce: 0 })));
    assert!(matches!(decode(r#"{"type":"ping","nonce":7}"#), Ok(ClientEvent::Ping { nonce: 7 })));
    assert!(matches!(decode(r#"{"type":"pong"}"#), Ok(ClientEvent::Pong)));
    let Ok(ClientEvent::Auth { token, remembered }) = decode(r#"{"type":"auth","token":"a.b.c"}"#) else {
        panic!("not auth");
    };
    assert_eq!((&*token, remembered), (&b"a.b.c"[..], Remembered::default()));
    let text = format!(r#"{{"type":"history","request_id":1,"chat_id":"{CHAT_TEXT}","after_seq":2,"limit":3}}"#);
    assert!(matches!(decode(&text), Ok(ClientEvent::History { request_id: 1, chat: CHAT, after_seq: 2, limit: 3 })));
    let Ok(ClientEvent::Unknown { client_msg_id }) = decode(r#"{"type":"dance","client_msg_id":"x","to":[]}"#) else {
        panic!("known");
    };
    assert_eq!(&*client_msg_id, b"x");
}

#[test]
fn what_is_not_json_is_malformed() {
    let nested = "[".repeat(60_000);
    let inside = format!(r#"{{"type":"ping","x":{nested}"#);
    for text in ["", "{", "{\"type\"", "nonsense", "{\"type\":\"ping\"} x", "[1,", &nested, &inside] {
        assert_eq!(refusal(text).code, ErrorCode::MalformedFrame);
    }
}

#[test]
fn depth_costs_no_stack() {
    let deep = format!(r#"{{"type":"ping","x":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
    assert!(matches!(decode(&deep), Ok(ClientEvent::Ping { .. })));
    let deep = format!(r#"{{"type":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(refusal(&deep).text, "type must be a string");
}

#[test]
fn a_wrong_field_is_named_and_the_client_msg_id_comes_back() {
    let m = |rest: &str| format!(r#"{{"type":"message","client_msg_id":"c9",{rest}}}"#);
    for (text, field) in [
        (m(r#""to":"1""#), "one of content and content_base64"),
        (m(r#""to":"1","content":"a","content_base64":"YQ==""#), "only one of content and content_base64"),
        (m(r#""to":"1","content":5"#), "content must"),
        (m(r#""to":"1","content":["a"]"#), "content must"),
        (m(r#""to":"1","content_base64":"%""#), "content_base64 must"),
        (m(r#""to":"1","content_base64":false"#), "content_base64 must"),
        (m(r#""content":"a""#), "one of chat_id and to"),
        (
            format!(r#"{{"type":"message","client_msg_id":"c9","to":"1","chat_id":"{CHAT_TEXT}","content":"a"}}"#),
            "only one of chat_id",
        ),
        (m(r#""to":7,"content":"a""#), "to must"),
        (m(r#""to":{},"content":"a""#), "to must"),
        (m(r#""chat_id":"11111111111111111111111111111111","content":"a""#), "chat_id must"),
        (m(r#""chat_id":3,"content":"a""#), "chat_id must"),
        (m(r#""to":"1","content":"a","retry":1"#), "retry must"),
        (m(r#""to":"1","to":"2","content":"a""#), "a field is given twice"),
    ] {
        let error = refusal(&text);
        assert_eq!(error.code, ErrorCode::InvalidField, "{text}");
        assert!(error.text.starts_with(field), "{text}: {}", error.text);
        assert_eq!(error.client_msg_id, &b"c9"[..], "{text}");
    }
    let ack = |rest: &str| format!(r#"{{"type":"ack"{rest}}}"#);
    for (text, field) in [
        ("{}".to_owned(), "type must"),
        (r#"{"type":1}"#.to_owned(), "type must"),
        ("[]".to_owned(), "an event is"),
        ("7".to_owned(), "an event is"),
        (r#"{"type":"auth","token":1}"#.to_owned(), "token must"),
        (r#"{"type":"ping","nonce":-1}"#.to_owned(), "nonce must"),
        (r#"{"type":"message","to":"1","content":"a"}"#.to_owned(), "client_msg_id must"),
        (r#"{"type":"message","to":"1","content":"a","client_msg_id":5}"#.to_owned(), "client_msg_id must"),
        (ack(r#","status":"read""#), "message_id must"),
        (ack(r#","message_id":5,"status":"read""#), "message_id must"),
        (ack(&format!(r#","message_id":"{MESSAGE_TEXT}""#)), "status must"),
        (ack(&format!(r#","message_id":"{MESSAGE_TEXT}","status":"sent""#)), "status must"),
        (ack(&format!(r#","message_id":"{MESSAGE_TEXT}","status":"read","chat_id":"x""#)), "chat_id must"),
        (r#"{"type":"history"}"#.to_owned(), "chat_id must"),
    ] {
        let error = refusal(&text);
        assert_eq!(error.code, ErrorCode::InvalidField, "{text}");
        assert!(error.text.starts_with(field), "{text}: {}", error.text);
    }
}

#[test]
fn a_user_is_a_decimal_u64_above_0() {
    for to in
        [r#""0""#, r#""""#, r#""-1""#, r#""+1""#, r#"" 1""#, r#""1e3""#, r#""18446744073709551616""#, "0", "-1", "1.5"]
    {
        let error = refusal(&format!(r#"{{"type":"message","client_msg_id":"c","to":{to},"content":"a"}}"#));
        assert_eq!(error.code, ErrorCode::InvalidUser, "{to}");
        assert_eq!(error.client_msg_id, &b"c"[..]);
    }
}

#[test]
fn a_client_msg_id_has_1_to_64_bytes() {
    let send = |id: &str| format!(r#"{{"type":"message","client_msg_id":"{id}","to":"1","content":""}}"#);
    for id in ["x".to_owned(), "ü".repeat(32), "\\\"".repeat(64)] {
        assert!(matches!(decode(&send(&id)), Ok(ClientEvent::Send(_))), "{id}");
    }
    for id in [String::new(), "ü".repeat(33), "x".repeat(65)] {
        assert_eq!(refusal(&send(&id)).code, ErrorCode::InvalidClientMsgId, "{id}");
    }
}
