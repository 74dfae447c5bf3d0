//! Amendments, answers, timers and the account log, both ways.

use schema::encode::{DeviceFields, Extras, MemberFields};
use schema::wire::Role;

use super::*;
use crate::wire::{Ask, SendEvent};

const OTHER: ChatId = ChatId([0x33; 16]);
const OTHER_TEXT: &str = "33333333-3333-3333-3333-333333333333";
const TIME: &str = "2026-11-22T06:46:01.007Z";

fn sent(text: &str) -> SendEvent<'_> {
    match decode(text) {
        Ok(ClientEvent::Send(send)) => send,
        other => panic!("{text}: {other:?}"),
    }
}

/// A send's frame, with what its events' fields are in it.
fn framed(text: &str, look: impl FnOnce(schema::wire::Send<'_>)) {
    let frame = sent(text).frame(&mut Encoder::new());
    let frame = schema::frame::FrameRef::verify(&frame).expect("a frame");
    let send = frame.root().body_as_send().expect("a send");
    assert_eq!(crate::session::fields::checked(&send).map(|_| ()), Ok(()), "{text}");
    look(send);
}

fn event(kind: &str, rest: &str) -> String {
    format!(r#"{{"type":"{kind}","client_msg_id":"c9"{rest}}}"#)
}

/// An amendment of MESSAGE in CHAT.
fn amends(kind: &str, rest: &str) -> String {
    event(kind, &format!(r#","chat_id":"{CHAT_TEXT}","refers_to":"{MESSAGE_TEXT}"{rest}"#))
}

#[test]
fn a_message_may_answer_mention_and_be_passed_on() {
    let text = format!(
        r#"{{"type":"message","to":"9","content":"see","refers_to":"{MESSAGE_TEXT}","mentions":["9","11"],"forwarded":255,"after_seq":12,"client_msg_id":"m1"}}"#
    );
    let send = sent(&text);
    assert_eq!((send.refers_to, send.forwarded, send.after_seq), (Some(MESSAGE), 255, 12));
    assert_eq!((&send.users[..], send.target), (&[user(9), user(11)][..], Some(SendTarget::User(user(9)))));
    framed(&text, |send| {
        assert_eq!((send.to(), send.forwarded(), send.after_seq()), (9, 255, 12));
        assert_eq!(send.users().into_iter().flatten().collect::<Vec<_>>(), [9, 11]);
        assert_eq!(send.refers_to().map(MessageId::from), Some(MESSAGE));
    });
    // Nothing but an answer: still a plain send.
    let plain = format!(
        r#"{{"type":"message","to":"9","content":"see","refers_to":"{MESSAGE_TEXT}","mentions":[],"after_seq":3,"client_msg_id":"m1"}}"#
    );
    framed(&plain, |send| {
        assert_eq!((send.users().is_none(), send.after_seq()), (true, 3));
        assert_eq!(send.refers_to().map(MessageId::from), Some(MESSAGE));
    });
}

#[test]
fn an_amendment_is_a_send_of_its_kind() {
    for (text, kind, body) in [
        (amends("edited", r#","content":"better","mentions":["9"],"after_seq":7"#), EntryKind::edited, &b"better"[..]),
        (
            amends("edited", r#","content_base64":"/wA=","mentions":["9"],"after_seq":7"#),
            EntryKind::edited,
            b"\xff\x00",
        ),
        (amends("deleted", r#","after_seq":7"#), EntryKind::deleted, b""),
        (amends("reacted", r#","reaction":"\ud83d\udc4d","after_seq":7"#), EntryKind::reacted, "👍".as_bytes()),
        (amends("reacted", r#","reaction":"","after_seq":7"#), EntryKind::reacted, b""),
    ] {
        framed(&text, |send| {
            assert_eq!((send.kind(), send.after_seq(), send.to()), (kind, 7, 0), "{text}");
            assert_eq!(send.body().map_or(&[][..], |body| body.bytes()), body, "{text}");
            assert_eq!(send.chat_id().map(ChatId::from), Some(CHAT));
            assert_eq!(send.refers_to().map(MessageId::from), Some(MESSAGE));
            assert_eq!(send.users().is_some(), kind == EntryKind::edited);
        });
    }
    for ttl_s in [0, 5, 31_536_000] {
        framed(&event("timer", &format!(r#","chat_id":"{CHAT_TEXT}","ttl_s":{ttl_s}"#)), |send| {
            assert_eq!((send.kind(), send.ttl_s(), send.refers_to().is_none()), (EntryKind::timer, ttl_s, true));
        });
    }
}

#[test]
fn what_is_the_users_own_goes_to_their_account_log() {
    let account = format!(r#","chat_id":"{OTHER_TEXT}""#);
    for (place, to) in [("", None), (&account[..], Some(OTHER))] {
        let text = |kind: &str, rest: &str| event(kind, &format!("{place}{rest}"));
        framed(&text("setting", &format!(r#","key":"pinned","value":"on","subject":"{CHAT_TEXT}""#)), |send| {
            assert_eq!((send.kind(), send.chat_id().map(ChatId::from)), (EntryKind::setting, to));
            assert_eq!((send.key().unwrap().bytes(), send.body().unwrap().bytes()), (&b"pinned"[..], &b"on"[..]));
            assert_eq!(send.subject().map(ChatId::from), Some(CHAT));
        });
        framed(&text("setting", r#","key":"app.colour","value":"""#), |send| {
            assert_eq!((send.subject().is_none(), send.body().unwrap().len()), (true, 0));
        });
        let hidden = format!(r#","subject":"{CHAT_TEXT}","refers_to":"{MESSAGE_TEXT}""#);
        framed(&text("hidden", &hidden), |send| {
            assert_eq!((send.kind(), send.chat_id().map(ChatId::from)), (EntryKind::hidden, to));
            assert_eq!(send.refers_to().map(MessageId::from), Some(MESSAGE));
            assert_eq!(send.subject().map(ChatId::from), Some(CHAT));
        });
        framed(&text("device", r#","device_id":4294967295,"name":"Ada's ph\u00f6ne""#), |send| {
            assert_eq!((send.kind(), send.device()), (EntryKind::device, u32::MAX));
            assert_eq!(send.body().unwrap().bytes(), "Ada's phöne".as_bytes());
        });
        framed(&text("revoked", r#","device_id":0"#), |send| {
            assert_eq!((send.kind(), send.device()), (EntryKind::revoked, 0));
        });
    }
}

#[test]
fn a_wrong_amendment_is_named_and_its_client_msg_id_comes_back() {
    let field = ErrorCode::InvalidField;
    let message = |rest: &str| event("message", &format!(r#","to":"9","content":"a"{rest}"#));
    let many = format!(r#","mentions":[{}"9"]"#, "\"9\",".repeat(256));
    let timer = |rest: &str| event("timer", &format!(r#","chat_id":"{CHAT_TEXT}"{rest}"#));
    let long = format!(r#","reaction":"{}""#, "x".repeat(65));
    for (text, code, starts) in [
        (message(r#","refers_to":7"#), field, "refers_to must"),
        (message(r#","refers_to":"7""#), field, "refers_to must"),
        (message(r#","mentions":"9""#), field, "mentions must"),
        (message(r#","mentions":[9]"#), field, "mentions must"),
        (message(&many), field, "mentions must"),
        (message(r#","mentions":["0"]"#), ErrorCode::InvalidUser, ""),
        (message(r#","forwarded":256"#), field, "forwarded must"),
        (message(r#","forwarded":"1""#), field, "forwarded must"),
        (message(r#","forwarded":-1"#), field, "forwarded must"),
        (message(r#","after_seq":-1"#), field, "after_seq must"),
        (event("edited", &format!(r#","refers_to":"{MESSAGE_TEXT}","content":"a""#)), field, "chat_id must"),
        (event("edited", &format!(r#","chat_id":"{CHAT_TEXT}","content":"a""#)), field, "refers_to must"),
        (amends("edited", ""), field, "one of content and content_base64"),
        (amends("edited", &format!(r#","content":"a"{many}"#)), field, "mentions must"),
        (amends("deleted", r#","after_seq":"1""#), field, "after_seq must"),
        (event("deleted", &format!(r#","chat_id":"{CHAT_TEXT}","refers_to":[]"#)), field, "refers_to must"),
        (amends("reacted", ""), field, "reaction must"),
        (amends("reacted", r#","reaction":1"#), field, "reaction must"),
        (amends("reacted", &long), ErrorCode::InvalidReaction, ""),
        (timer(""), field, "ttl_s must"),
        (timer(r#","ttl_s":"5""#), field, "ttl_s must"),
        (timer(r#","ttl_s":4"#), ErrorCode::InvalidTimer, ""),
        (timer(r#","ttl_s":-1"#), ErrorCode::InvalidTimer, ""),
        (timer(r#","ttl_s":31536001"#), ErrorCode::InvalidTimer, ""),
        (event("timer", r#","ttl_s":5"#), field, "chat_id must"),
    ] {
        wrong(&text, code, starts);
    }
}

#[test]
fn a_wrong_change_of_an_account_is_named_and_its_client_msg_id_comes_back() {
    let field = ErrorCode::InvalidField;
    let (key, value) = ("k".repeat(65), "v".repeat(1_025));
    for (text, code, starts) in [
        (event("setting", r#","value":"on""#), field, "key must"),
        (event("setting", r#","key":"","value":"on""#), ErrorCode::InvalidSetting, ""),
        (event("setting", &format!(r#","key":"{key}","value":"on""#)), ErrorCode::InvalidSetting, ""),
        (event("setting", r#","key":"app.a""#), field, "value must"),
        (event("setting", r#","key":"app.a","value":true"#), field, "value must"),
        (event("setting", &format!(r#","key":"app.a","value":"{value}""#)), ErrorCode::InvalidSetting, ""),
        (event("setting", r#","key":"pinned","value":"on","subject":"x""#), field, "subject must"),
        (event("setting", r#","key":"app.a","value":"1","to":"9""#), field, "to cannot be given"),
        (event("setting", r#","key":"app.a","value":"1","chat_id":"x""#), field, "chat_id must"),
        (event("hidden", &format!(r#","refers_to":"{MESSAGE_TEXT}""#)), field, "subject must"),
        (event("hidden", &format!(r#","subject":"{CHAT_TEXT}""#)), field, "refers_to must"),
        (event("device", r#","name":"a""#), field, "device_id must"),
        (event("device", r#","device_id":"2","name":"a""#), field, "device_id must"),
        (event("device", r#","device_id":4294967296,"name":"a""#), field, "device_id must"),
        (event("device", r#","device_id":2"#), field, "name must"),
        (event("device", r#","device_id":2,"name":"""#), field, "name must"),
        (event("device", &format!(r#","device_id":2,"name":"{}""#, "n".repeat(129))), field, "name must"),
        (event("revoked", ""), field, "device_id must"),
        (event("revoked", r#","device_id":-1"#), field, "device_id must"),
    ] {
        wrong(&text, code, starts);
    }
}

fn wrong(text: &str, code: ErrorCode, starts: &str) {
    let error = refusal(text);
    let shown = &text[..text.len().min(140)];
    assert_eq!((error.code, &error.client_msg_id[..]), (code, &b"c9"[..]), "{shown}: {}", error.text);
    assert!(error.text.starts_with(starts), "{shown}: {}", error.text);
}

#[test]
fn a_device_says_who_it_believes_to_be() {
    let text = r#"{"type":"auth","token":"t","user_id":"18446744073709551615","device_id":0,"marks":3}"#;
    let Ok(ClientEvent::Auth { remembered, .. }) = decode(text) else { panic!("not auth") };
    assert_eq!((remembered.me, remembered.marks), (Some((UserId::new(u64::MAX).unwrap(), DeviceId(0))), 3));
    assert!(refusal(r#"{"type":"auth","token":"t","marks":4294967296}"#).text.starts_with("marks must be"));
    for wrong in [
        r#""user_id":"7""#,
        r#""device_id":1"#,
        r#""user_id":7,"device_id":1"#,
        r#""user_id":"0","device_id":1"#,
        r#""user_id":"7","device_id":"1""#,
        r#""user_id":"7","device_id":4294967296"#,
    ] {
        let error = refusal(&format!(r#"{{"type":"auth","token":"t",{wrong}}}"#));
        assert!(error.text.starts_with("user_id, a string"), "{wrong}: {}", error.text);
    }
}

#[test]
fn a_device_says_when_it_was_synced_and_asks_for_its_account() {
    let text = format!(r#"{{"type":"auth","token":"t","synced":"{TIME}"}}"#);
    let Ok(ClientEvent::Auth { token, remembered }) = decode(&text) else { panic!("not auth") };
    assert_eq!((&*token, remembered), (&b"t"[..], Remembered { synced_ms: TIME_MS, ..Remembered::default() }));
    for synced in ["\"2026\"", "5", "[]", "\"\""] {
        let error = refusal(&format!(r#"{{"type":"auth","token":"t","synced":{synced}}}"#));
        assert!(error.text.starts_with("synced must be a time"), "{synced}: {}", error.text);
    }
    let asked = |text: &str| match decode(text) {
        Ok(ClientEvent::Ask { request_id, ask }) => (request_id, ask),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(asked(r#"{"type":"account","request_id":4}"#), (4, Ask::Account { chat: None }));
    let text = format!(r#"{{"type":"account","chat_id":"{CHAT_TEXT}"}}"#);
    assert_eq!(asked(&text), (0, Ask::Account { chat: Some(CHAT) }));
    assert!(refusal(r#"{"type":"account","chat_id":"x"}"#).text.starts_with("chat_id must"));
}

/// An entry's event without what every entry has.
fn shown(kind: EntryKind, body: &[u8], refers_to: Option<MessageId>, after_seq: u64, extras: &Extras<'_>) -> String {
    let frame = Encoder::new().entry_with(
        &EntryFields {
            chat: CHAT,
            message: MESSAGE,
            seq: 41,
            sender: user(7),
            device: DeviceId(2),
            kind,
            content_type: 0,
            body,
            client_msg_id: b"g",
            refers_to,
            after_seq,
            timestamp_ms: TIME_MS,
        },
        extras,
    );
    let text = json(&ServerEvent::Entry { frame: &frame });
    let head = match kind {
        EntryKind::message => r#"{"type":"message""#.to_owned(),
        kind => format!(r#"{{"type":"entry","kind":"{}""#, kind.variant_name().expect("a name")),
    };
    let place = format!(r#","chat_id":"{CHAT_TEXT}","message_id":"{MESSAGE_TEXT}","seq":41,"sender_id":"7""#);
    let tail = format!(r#","client_msg_id":"g","timestamp":"{TIME}"}}"#);
    let rest = text.strip_prefix(&format!("{head}{place}")).and_then(|rest| rest.strip_suffix(&tail));
    rest.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_message_is_shown_as_it_is_now() {
    let plain = Extras::default();
    let refers = format!(r#","refers_to":"{MESSAGE_TEXT}""#);
    assert_eq!(shown(EntryKind::message, b"a", None, 0, &plain), r#","content":"a""#);
    let users = [user(9), user(11)];
    let all = Extras { users: &users, forwarded: 1, ttl_s: 86_400, edited_seq: 14, edited_ms: TIME_MS, ..plain };
    assert_eq!(
        shown(EntryKind::message, b"better", Some(MESSAGE), 12, &all),
        format!(
            r#"{refers},"content":"better","mentions":["9","11"],"forwarded":1,"after_seq":12,"ttl_s":86400,"edited_seq":14,"edited_at":"{TIME}""#
        )
    );
    let gone = Extras { deleted_ms: TIME_MS, ..plain };
    assert_eq!(shown(EntryKind::message, b"", None, 0, &gone), format!(r#","content":"","deleted_at":"{TIME}""#));
}

#[test]
fn an_entry_of_an_amendment_names_what_it_amends() {
    let refers = format!(r#","refers_to":"{MESSAGE_TEXT}""#);
    let plain = Extras::default();
    let edit = Extras { refers_seq: 12, replaces_seq: 13, ..plain };
    let users = [user(9)];
    for (kind, body, extras, rest) in [
        (EntryKind::edited, "better", edit, r#","content":"better","refers_seq":12,"replaces_seq":13"#.to_owned()),
        (
            EntryKind::edited,
            "b",
            Extras { users: &users, ..edit },
            r#","content":"b","mentions":["9"],"refers_seq":12,"replaces_seq":13"#.to_owned(),
        ),
        (
            EntryKind::edited,
            "",
            Extras { refers_seq: 12, deleted_ms: TIME_MS, ..plain },
            format!(r#","content":"","refers_seq":12,"deleted_at":"{TIME}""#),
        ),
        (EntryKind::deleted, "", edit, r#","refers_seq":12,"replaces_seq":13"#.to_owned()),
        (
            EntryKind::reacted,
            "👍",
            Extras { refers_seq: 12, ..plain },
            r#","reaction":"👍","refers_seq":12"#.to_owned(),
        ),
        (EntryKind::reacted, "", Extras { refers_seq: 12, ..plain }, r#","reaction":"","refers_seq":12"#.to_owned()),
    ] {
        assert_eq!(shown(kind, body.as_bytes(), Some(MESSAGE), 0, &extras), format!("{refers}{rest}"));
    }
    assert_eq!(shown(EntryKind::timer, b"", None, 7, &Extras { ttl_s: 5, ..plain }), r#","ttl_s":5,"after_seq":7"#);
    assert_eq!(shown(EntryKind::timer, b"", None, 0, &plain), r#","ttl_s":0"#);
}

#[test]
fn an_entry_of_the_account_log_says_what_is_the_users_own() {
    let plain = Extras::default();
    let (refers, subject) = (format!(r#","refers_to":"{MESSAGE_TEXT}""#), format!(r#","subject":"{OTHER_TEXT}""#));
    let pinned = Extras { key: b"pinned", subject: Some(OTHER), ..plain };
    assert_eq!(shown(EntryKind::setting, b"on", None, 0, &pinned), format!(r#","key":"pinned","value":"on"{subject}"#));
    let odd = Extras { key: b"app.x", ..plain };
    assert_eq!(shown(EntryKind::setting, b"\xff\x00", None, 0, &odd), r#","key":"app.x","value_base64":"/wA=""#);
    let hidden = Extras { subject: Some(OTHER), ..plain };
    assert_eq!(shown(EntryKind::hidden, b"", Some(MESSAGE), 0, &hidden), format!("{refers}{subject}"));
    let device = Extras { device: DeviceId(2), ..plain };
    assert_eq!(shown(EntryKind::device, b"Ada's", None, 0, &device), r#","device_id":2,"name":"Ada's""#);
    assert_eq!(shown(EntryKind::revoked, b"", None, 0, &plain), r#","device_id":0"#);
}

#[test]
fn how_far_others_are() {
    let member =
        |id, delivered_seq, read_seq| MemberFields { user: user(id), delivered_seq, read_seq, role: Role::admin };
    let frame = Encoder::new().ticks(CHAT, &[member(9, 14, 12), member(11, 3, 0)]);
    assert_eq!(
        json(&ServerEvent::Ticks { frame: &frame }),
        format!(
            r#"{{"type":"ticks","chat_id":"{CHAT_TEXT}","members":[{{"user_id":"9","delivered_seq":14,"read_seq":12}},{{"user_id":"11","delivered_seq":3,"read_seq":0}}]}}"#
        )
    );
    let mut out = b"kept".to_vec();
    assert!(encode(&ServerEvent::Ticks { frame: &entry(EntryKind::message, b"", b"c", None) }, &mut out).is_err());
    assert_eq!(out, b"kept");
}

#[test]
fn what_an_account_is() {
    let device =
        |device, name, named_ms, revoked_ms| DeviceFields { device: DeviceId(device), name, named_ms, revoked_ms };
    let devices = [device(2, &b"Ada's \"phone\""[..], TIME_MS, 0), device(3, b"", 0, TIME_MS)];
    let settings = [(&b"read_receipts"[..], &b"off"[..]), (b"app.x", b"\xff")];
    let frame = Encoder::new().account(4, &settings, &devices, &[MESSAGE, MESSAGE]);
    assert_eq!(
        json(&ServerEvent::Answer { frame: &frame }),
        format!(
            r#"{{"type":"account","request_id":4,"settings":[{{"key":"read_receipts","value":"off"}},{{"key":"app.x","value_base64":"/w=="}}],"devices":[{{"device_id":2,"name":"Ada's \"phone\"","named_at":"{TIME}","revoked_at":null}},{{"device_id":3,"name":"","named_at":null,"revoked_at":"{TIME}"}}],"hidden":["{MESSAGE_TEXT}","{MESSAGE_TEXT}"]}}"#
        )
    );
    let frame = Encoder::new().account(0, &[], &[], &[]);
    assert_eq!(
        json(&ServerEvent::Answer { frame: &frame }),
        r#"{"type":"account","request_id":0,"settings":[],"devices":[],"hidden":[]}"#
    );
}
