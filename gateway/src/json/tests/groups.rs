//! Groups: changes both ways, questions and their answers.

use schema::encode::{ChatInfoFields, ChatSettings, MemberFields, StatusFields};
use schema::wire::{ChatKind, Role};

use super::*;
use crate::wire::{Ask, SendEvent};

const TIME: &str = "2026-11-22T06:46:01.007Z";

fn sent(text: &str) -> SendEvent<'_> {
    match decode(text) {
        Ok(ClientEvent::Send(send)) => send,
        other => panic!("{text}: {other:?}"),
    }
}

fn asked(text: &str) -> (u64, Ask) {
    match decode(text) {
        Ok(ClientEvent::Ask { request_id, ask }) => (request_id, ask),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_change_is_a_send_of_its_kind() {
    let send = sent(r#"{"type":"created","name":"H\u00efking","users":["9","11"],"client_msg_id":"g1","retry":true}"#);
    assert_eq!((send.kind, send.target, &*send.body), (EntryKind::created, None, "Hïking".as_bytes()));
    assert_eq!((&send.users[..], &*send.client_msg_id, send.retry), (&[user(9), user(11)][..], &b"g1"[..], true));
    let alone = sent(r#"{"type":"created","name":"Notes","client_msg_id":"g1","users":null}"#);
    assert!(alone.users.is_empty());
    let change =
        |kind: &str, rest: &str| format!(r#"{{"type":"{kind}","chat_id":"{CHAT_TEXT}","client_msg_id":"g2"{rest}}}"#);
    for (text, kind, name, users, role) in [
        (change("added", r#","users":["12"]"#), EntryKind::added, "", &[user(12)][..], Role::member),
        (change("removed", r#","users":["12","9"]"#), EntryKind::removed, "", &[user(12), user(9)], Role::member),
        (change("left", ""), EntryKind::left, "", &[], Role::member),
        (change("role", r#","users":["9"],"role":"admin""#), EntryKind::role, "", &[user(9)], Role::admin),
        (change("role", r#","users":["9"],"role":"member""#), EntryKind::role, "", &[user(9)], Role::member),
        (change("renamed", r#","name":"Climbing""#), EntryKind::renamed, "Climbing", &[], Role::member),
    ] {
        let send = sent(&text);
        assert_eq!((send.kind, send.target), (kind, Some(SendTarget::Chat(CHAT))), "{text}");
        assert_eq!((&*send.body, &send.users[..], send.role), (name.as_bytes(), users, role), "{text}");
        let frame = send.frame(&mut Encoder::new());
        let frame = schema::frame::FrameRef::verify(&frame).expect("a frame");
        let frame = frame.root().body_as_send().expect("a send");
        assert_eq!((frame.kind(), frame.role(), frame.to()), (kind, role, 0));
        assert_eq!(frame.chat_id().map(ChatId::from), Some(CHAT));
        let in_frame: Vec<u64> = frame.users().into_iter().flatten().collect();
        assert_eq!(in_frame, users.iter().map(|user| user.get()).collect::<Vec<_>>());
    }
}

#[test]
fn a_wrong_change_is_named_and_its_client_msg_id_comes_back() {
    let m = |kind: &str, rest: &str| format!(r#"{{"type":"{kind}","client_msg_id":"c9"{rest}}}"#);
    let c = |kind: &str, rest: &str| m(kind, &format!(r#","chat_id":"{CHAT_TEXT}"{rest}"#));
    let deep = format!(r#","users":{}{}"#, "[".repeat(20_000), "]".repeat(20_000));
    let (field, long) = (ErrorCode::InvalidField, "x".repeat(257));
    for (text, code, starts) in [
        (m("created", ""), field, "name must"),
        (m("created", r#","name":7"#), field, "name must"),
        (m("created", r#","name":"""#), ErrorCode::InvalidName, ""),
        (m("created", &format!(r#","name":"{long}""#)), ErrorCode::InvalidName, ""),
        (c("created", r#","name":"a""#), field, "a group is created without chat_id"),
        (m("created", r#","name":"a","to":"9""#), field, "a group is created without chat_id"),
        (m("created", r#","name":"a","users":"9""#), field, "users must be a list"),
        (m("created", r#","name":"a","users":{"9":1}"#), field, "users must be a list"),
        (m("created", r#","name":"a","users":[9]"#), field, "users must be a list"),
        (m("created", r#","name":"a","users":["9",null]"#), field, "users must be a list"),
        (m("created", &format!(r#","name":"a"{deep}"#)), field, "users must be a list"),
        (m("created", r#","name":"a","users":["0"]"#), ErrorCode::InvalidUser, ""),
        (m("created", r#","name":"a","users":["9","x"]"#), ErrorCode::InvalidUser, ""),
        (m("created", r#","name":"a","users":[],"users":[]"#), field, "a field is given twice"),
        (m("added", r#","users":["9"]"#), field, "chat_id must"),
        (c("added", ""), field, "users must name"),
        (c("removed", r#","users":[]"#), field, "users must name"),
        (m("left", r#","chat_id":7"#), field, "chat_id must"),
        (c("role", r#","role":"admin""#), field, "users must name"),
        (c("role", r#","users":["9"]"#), field, "role must"),
        (c("role", r#","users":["9"],"role":"owner""#), field, "role must"),
        (c("role", r#","users":["9"],"role":1"#), field, "role must"),
        (c("renamed", ""), field, "name must"),
        (c("renamed", r#","name":"a","retry":1"#), field, "retry must"),
    ] {
        let error = refusal(&text);
        let shown = &text[..text.len().min(120)];
        assert_eq!((error.code, &error.client_msg_id[..]), (code, &b"c9"[..]), "{shown}: {}", error.text);
        assert!(error.text.starts_with(starts), "{shown}: {}", error.text);
    }
    let error = refusal(r#"{"type":"created","name":"a","users":[]}"#);
    assert!(error.text.starts_with("client_msg_id must"), "{}", error.text);
}

#[test]
fn questions() {
    let chat = |rest: &str| format!(r#"{{"type":"chat","chat_id":"{CHAT_TEXT}"{rest}}}"#);
    assert_eq!(asked(&chat("")), (0, Ask::Chat { chat: CHAT, after_user: 0, limit: 0 }));
    let text = chat(r#","request_id":1,"after_user":"0","limit":100"#);
    assert_eq!(asked(&text), (1, Ask::Chat { chat: CHAT, after_user: 0, limit: 100 }));
    let text = chat(r#","after_user":"18446744073709551615""#);
    assert_eq!(asked(&text), (0, Ask::Chat { chat: CHAT, after_user: u64::MAX, limit: 0 }));
    assert_eq!(asked(r#"{"type":"chats"}"#), (0, Ask::Chats { before: None, limit: 0 }));
    let before = format!(r#"{{"last":"{TIME}","chat_id":"{CHAT_TEXT}","more":[[]]}}"#);
    let text = format!(r#"{{"type":"chats","request_id":2,"before":{before},"limit":50}}"#);
    assert_eq!(asked(&text), (2, Ask::Chats { before: Some((TIME_MS, CHAT)), limit: 50 }));
    let text = format!(r#"{{"type":"status","request_id":3,"chat_id":"{CHAT_TEXT}","message_id":"{MESSAGE_TEXT}"}}"#);
    assert_eq!(asked(&text), (3, Ask::Status { chat: CHAT, message: MESSAGE }));
}

#[test]
fn a_wrong_question_is_named() {
    let chat = |rest: &str| format!(r#"{{"type":"chat","chat_id":"{CHAT_TEXT}"{rest}}}"#);
    let chats = |rest: &str| format!(r#"{{"type":"chats"{rest}}}"#);
    for (text, starts) in [
        (r#"{"type":"chat"}"#.to_owned(), "chat_id must"),
        (chat(r#","after_user":7"#), "after_user must"),
        (chat(r#","after_user":"x""#), "after_user must"),
        (chat(r#","limit":-1"#), "limit must"),
        (chat(r#","limit":4294967296"#), "limit must"),
        (chat(r#","request_id":"1""#), "request_id must"),
        (chats(r#","before":"2026""#), "before must hold"),
        (chats(r#","before":{}"#), "before must hold"),
        (chats(&format!(r#","before":{{"last":"{TIME}"}}"#)), "before must hold"),
        (chats(&format!(r#","before":{{"last":"yesterday","chat_id":"{CHAT_TEXT}"}}"#)), "before must hold"),
        (chats(r#","limit":"all""#), "limit must"),
        (r#"{"type":"status"}"#.to_owned(), "chat_id must"),
        (format!(r#"{{"type":"status","chat_id":"{CHAT_TEXT}"}}"#), "message_id must"),
    ] {
        let error = refusal(&text);
        assert_eq!(error.code, ErrorCode::InvalidField, "{text}");
        assert!(error.text.starts_with(starts), "{text}: {}", error.text);
    }
}

#[test]
fn only_a_time_as_it_is_written_is_read() {
    for (text, ms) in [
        ("1970-01-01T00:00:00.000Z", Some(0)),
        (TIME, Some(TIME_MS)),
        ("2000-02-29T00:00:00.000Z", Some(951_782_400_000)),
        ("2001-02-29T00:00:00.000Z", crate::json::read_timestamp("2001-03-01T00:00:00.000Z")),
        ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
        ("1969-12-31T23:59:59.999Z", None),
        ("2026-13-01T00:00:00.000Z", None),
        ("2026-00-01T00:00:00.000Z", None),
        ("2026-01-32T00:00:00.000Z", None),
        ("2026-01-01T24:00:00.000Z", None),
        ("2026-01-01T00:60:00.000Z", None),
        ("2026-01-01T00:00:60.000Z", None),
        ("2026-01-01T00:00:00Z", None),
        ("2026-01-01 00:00:00.000Z", None),
        ("2026-01-01T00:00:00.000+", None),
        ("2026-01-01T00:00:00.0é", None),
        ("", None),
    ] {
        assert_eq!(crate::json::read_timestamp(text), ms, "{text}");
    }
}

#[test]
fn an_entry_of_a_change_names_what_it_changes() {
    let head = |kind: &str| {
        format!(
            r#"{{"type":"entry","kind":"{kind}","chat_id":"{CHAT_TEXT}","message_id":"{MESSAGE_TEXT}","seq":41,"sender_id":"7""#
        )
    };
    let tail = format!(r#","client_msg_id":"g","timestamp":"{TIME}"}}"#);
    let both = [user(9), user(11)];
    for (kind, name, users, role, shown) in [
        (EntryKind::created, "Hi\"king", &both[..], Role::member, r#","name":"Hi\"king","users":["9","11"]"#),
        (EntryKind::added, "", &both[..1], Role::member, r#","users":["9"]"#),
        (EntryKind::removed, "", &both[1..], Role::member, r#","users":["11"]"#),
        (EntryKind::left, "", &[], Role::member, ""),
        (EntryKind::role, "", &both[..1], Role::admin, r#","users":["9"],"role":"admin""#),
        (EntryKind::role, "", &both[..1], Role::member, r#","users":["9"],"role":"member""#),
        (EntryKind::renamed, "Climbing", &[], Role::member, r#","name":"Climbing""#),
    ] {
        let fields = EntryFields {
            chat: CHAT,
            message: MESSAGE,
            seq: 41,
            sender: user(7),
            device: DeviceId(2),
            kind,
            content_type: 0,
            body: name.as_bytes(),
            client_msg_id: b"g",
            refers_to: None,
            after_seq: 0,
            timestamp_ms: TIME_MS,
        };
        let frame = Encoder::new().changed(&fields, users, role);
        let name = kind.variant_name().expect("a name");
        assert_eq!(json(&ServerEvent::Entry { frame: &frame }), format!("{}{shown}{tail}", head(name)));
    }
}

const MEMBERS: [MemberFields; 3] = [
    MemberFields { user: UserId::new(7).unwrap(), delivered_seq: 41, read_seq: 41, role: Role::admin },
    MemberFields { user: UserId::new(9).unwrap(), delivered_seq: 41, read_seq: 40, role: Role::member },
    MemberFields { user: UserId::new(11).unwrap(), delivered_seq: 40, read_seq: 0, role: Role::member },
];

fn info<'a>(members: &'a [MemberFields], last_entry: Option<&'a [u8]>) -> ChatInfoFields<'a> {
    ChatInfoFields {
        request_id: 4,
        chat: CHAT,
        kind: ChatKind::group,
        name: b"Hiking",
        created_by: 7,
        members,
        member_count: 3,
        next_user: 9,
        head_seq: 41,
        last_ms: TIME_MS,
        read_seq: 40,
        unread: 1,
        present: true,
        last_entry,
    }
}

#[test]
fn what_a_chat_is() {
    let frame = Encoder::new().chat_info(&info(&MEMBERS[..2], None));
    assert_eq!(
        json(&ServerEvent::Answer { frame: &frame }),
        format!(
            r#"{{"type":"chat","request_id":4,"chat_id":"{CHAT_TEXT}","kind":"group","name":"Hiking","created_by":"7","members":[{{"user_id":"7","role":"admin","delivered_seq":41,"read_seq":41}},{{"user_id":"9","role":"member","delivered_seq":41,"read_seq":40}}],"member_count":3,"next_user":"9","head_seq":41,"last":"{TIME}","read_seq":40,"unread":1,"present":true}}"#
        )
    );
    let direct = ChatInfoFields {
        kind: ChatKind::direct,
        name: b"",
        created_by: 0,
        next_user: 0,
        present: false,
        ..info(&[], None)
    };
    assert_eq!(
        json(&ServerEvent::Answer { frame: &Encoder::new().chat_info(&direct) }),
        format!(
            r#"{{"type":"chat","request_id":4,"chat_id":"{CHAT_TEXT}","kind":"direct","members":[],"member_count":3,"next_user":"0","head_seq":41,"last":"{TIME}","read_seq":40,"unread":1,"present":false}}"#
        )
    );
}

#[test]
fn the_users_chats_with_their_last_entries() {
    let last = entry(EntryKind::message, b"x", b"c1", None);
    let last_shown = json(&ServerEvent::Entry { frame: &last });
    let mut encoder = Encoder::new();
    let frames = [encoder.chat_info(&info(&MEMBERS[..1], Some(&last))), encoder.chat_info(&info(&[], None))];
    let shown = frames.each_ref().map(|frame| {
        let event = json(&ServerEvent::Answer { frame });
        event.replacen(r#""type":"chat","request_id":4,"#, "", 1)
    });
    assert!(shown[0].ends_with(&format!(r#","last_entry":{last_shown}}}"#)), "{}", shown[0]);
    let set = [
        ChatSettings { pinned: true, archived: false, muted_until_ms: TIME_MS },
        ChatSettings { pinned: false, archived: true, muted_until_ms: 0 },
    ];
    let page = encoder.chats(5, frames.iter().map(|frame| &frame[..]).zip(set), true);
    let set = [
        format!(r#""pinned":true,"archived":false,"muted_until":"{TIME}""#),
        r#""pinned":false,"archived":true,"muted_until":null"#.to_owned(),
    ];
    let shown = shown.each_ref().map(|chat| chat.strip_suffix('}').expect("an object"));
    let chats = format!("{},{}}},{},{}}}", shown[0], set[0], shown[1], set[1]);
    let expected = format!(r#"{{"type":"chats","request_id":5,"chats":[{chats}],"has_more":true}}"#);
    assert_eq!(json(&ServerEvent::Answer { frame: &page }), expected);
    let empty = encoder.chats(5, core::iter::empty(), false);
    let expected = r#"{"type":"chats","request_id":5,"chats":[],"has_more":false}"#;
    assert_eq!(json(&ServerEvent::Answer { frame: &empty }), expected);
}

#[test]
fn who_has_a_message() {
    let fields = StatusFields {
        request_id: 6,
        chat: CHAT,
        message: MESSAGE,
        seq: 41,
        total: 4,
        delivered: 1,
        read: 1,
        members: &MEMBERS,
    };
    assert_eq!(
        json(&ServerEvent::Answer { frame: &Encoder::new().message_status(&fields) }),
        format!(
            r#"{{"type":"status","request_id":6,"chat_id":"{CHAT_TEXT}","message_id":"{MESSAGE_TEXT}","seq":41,"total":4,"delivered":1,"read":1,"pending":2,"members":[{{"user_id":"7","status":"read"}},{{"user_id":"9","status":"delivered"}},{{"user_id":"11","status":"pending"}}]}}"#
        )
    );
}

#[test]
fn what_is_no_answer_appends_nothing() {
    let receipt = Encoder::new().receipt(CHAT, MESSAGE, 9, user(8), MarkStatus::read);
    let nested = Encoder::new().chats(1, [(&receipt[..], Default::default())].into_iter(), false);
    let with_rubbish = Encoder::new().chat_info(&info(&[], Some(b"rubbish")));
    for frame in [receipt, nested, with_rubbish, Bytes::from_static(b"rubbish")] {
        let mut out = b"kept".to_vec();
        assert!(encode(&ServerEvent::Answer { frame: &frame }, &mut out).is_err());
        assert_eq!(out, b"kept");
    }
}
