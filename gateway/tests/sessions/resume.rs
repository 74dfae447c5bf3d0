//! A device that comes back says who it believes to be and what it has, before it is welcomed.

use fabric::core::{ConnId, Protocol};
use fabric::net::websocket::{self, Kind};
use schema::envelope::{Body, ChangedChat, Envelope};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, DeviceId};
use schema::wire::MarkStatus;

use super::harness::{Got, Rig, message_id, target, user};

const A: ChatId = ChatId([1; 16]);
const B: ChatId = ChatId([2; 16]);

fn changed(chat: ChatId, acked_seq: u64, head_seq: u64) -> ChangedChat {
    ChangedChat { ticked: false, chat, head_seq, acked_seq, last_ms: 5 }
}

/// User 1's device 7 says hello and, in the same bytes, how far it is; returns its `SyncRequest`'s id.
fn come_back(rig: &mut Rig, marks: &[(ChatId, u64)]) -> (ConnId, u64) {
    come_back_to_say(rig, marks, marks.len() as u32)
}

/// As [`come_back`], saying that so many marks follow.
fn come_back_to_say(rig: &mut Rig, marks: &[(ChatId, u64)], follow: u32) -> (ConnId, u64) {
    let conn = rig.accept(Protocol::Native);
    let mut bytes = rig.encoder.hello_again(b"1:7", b"test", 0, 0, Some((user(1), DeviceId(7), follow))).to_vec();
    for &(chat, seq) in marks {
        bytes.extend_from_slice(&rig.encoder.mark(chat, seq, None, MarkStatus::delivered));
    }
    rig.receive(conn, &bytes);
    let request = rig.register(conn);
    (conn, request)
}

fn mark(rig: &mut Rig, conn: ConnId, chat: ChatId, seq: u64) {
    let frame = rig.encoder.mark(chat, seq, None, MarkStatus::delivered);
    rig.receive(conn, &frame);
}

fn listed(rig: &mut Rig, conn: ConnId, request: u64, chats: Vec<ChangedChat>) {
    rig.answer(conn, request, Body::SyncPage { account: Default::default(), chats, next: None });
}

/// A page that was asked for: its id, chat and start.
type Asked = (u64, ChatId, u64);

/// What left for owners: marks as (chat, seq), then the page that was asked for, if one was.
fn asked(rig: &mut Rig) -> (Vec<(ChatId, u64)>, Option<Asked>) {
    let (mut marks, mut page) = (Vec::new(), None);
    for Envelope { header, body } in rig.envelopes() {
        match body {
            Body::Mark { chat, seq, .. } if page.is_none() => marks.push((chat, seq)),
            Body::PageRequest { chat, after_seq, .. } if page.is_none() => {
                page = Some((header.request_id, chat, after_seq));
            }
            other => panic!("{other:?}"),
        }
    }
    (marks, page)
}

#[test]
fn what_is_marked_behind_hello_is_not_sent_again() {
    let mut rig = Rig::new();
    let (conn, request) = come_back(&mut rig, &[(A, 90), (B, 5)]);
    assert_eq!(rig.read(conn), [], "nothing is taken in before the account is known");
    // The owners have heard of none of it.
    listed(&mut rig, conn, request, vec![changed(A, 10, 92), changed(B, 0, 5)]);
    let (marks, page) = asked(&mut rig);
    assert_eq!(marks, [(A, 90), (B, 5)], "their owners hear it in their order, before they are asked for anything");
    let Some((page, A, 90)) = page else { panic!("{page:?}") };
    rig.page(conn, page, A, (91, 92), 92, &[91, 92]);
    assert_eq!(
        rig.read(conn),
        [Got::Welcome, Got::Entry { chat: A, seq: 91 }, Got::Entry { chat: A, seq: 92 }, Got::Synced]
    );
    // The owners' pushes may still speak of before.
    rig.deliver(A, 93, &[target(conn, 10)]);
    rig.deliver(B, 6, &[target(conn, 0)]);
    assert_eq!(rig.read(conn), [Got::Entry { chat: A, seq: 93 }, Got::Entry { chat: B, seq: 6 }]);
    assert_eq!((rig.count("marks_ahead"), rig.count("marks_clamped")), (2, 0));
    assert!(rig.envelopes().is_empty());
}

#[test]
fn marks_that_are_to_follow_are_waited_for_but_not_for_long() {
    let mut rig = Rig::new();
    let (conn, request) = come_back_to_say(&mut rig, &[(A, 8)], 2);
    listed(&mut rig, conn, request, vec![changed(A, 0, 9), changed(B, 0, 9)]);
    // Of what is pushed meanwhile it is not known whether it is the next.
    rig.deliver(A, 10, &[target(conn, 9)]);
    assert_eq!((rig.read(conn), asked(&mut rig)), (vec![Got::Welcome], (vec![(A, 8)], None)));
    mark(&mut rig, conn, B, 9);
    let (marks, page) = asked(&mut rig);
    assert_eq!(marks, [(B, 9)]);
    let Some((page, A, 8)) = page else { panic!("{page:?}") };
    rig.page(conn, page, A, (9, 10), 10, &[9, 10]);
    assert_eq!(rig.read(conn), [Got::Entry { chat: A, seq: 9 }, Got::Entry { chat: A, seq: 10 }, Got::Synced]);

    let mut rig = Rig::new();
    let (conn, request) = come_back_to_say(&mut rig, &[], u32::MAX);
    listed(&mut rig, conn, request, vec![changed(A, 3, 9)]);
    assert_eq!(asked(&mut rig), (vec![], None));
    rig.wait_ms(2_100);
    assert!(matches!(asked(&mut rig), (_, Some((_, A, 3)))));
}

#[test]
fn a_device_is_told_its_own_sends_whose_answers_were_lost_in_their_places() {
    let mut rig = Rig::new();
    // 57 is its own: the owner takes it for acknowledged, the device has not heard of it. 80 it has read, 90 it has.
    let (conn, request) = come_back(&mut rig, &[(A, 56), (B, 90), (B, 80)]);
    listed(&mut rig, conn, request, vec![changed(A, 57, 58), changed(B, 85, 91)]);
    let (_, Some((page, A, 56))) = asked(&mut rig) else { panic!("from where the device is") };
    rig.deliver(A, 59, &[target(conn, 57)]);
    rig.page(conn, page, A, (57, 59), 59, &[57, 58, 59]);
    let entry = |chat, seq| Got::Entry { chat, seq };
    assert_eq!(rig.read(conn), [Got::Welcome, entry(A, 57), entry(A, 58), entry(A, 59)]);
    let (_, Some((_, B, 90))) = asked(&mut rig) else { panic!("of two marks the higher") };
    assert_eq!((rig.count("marks_behind"), rig.count("marks_ahead")), (2, 1));

    // Later it says no more than that: a mark is no place to go back to.
    let conn = Rig::synced(&mut rig, 1, 8);
    rig.deliver(A, 60, &[target(conn, 59)]);
    mark(&mut rig, conn, A, 20);
    rig.deliver(A, 61, &[target(conn, 59)]);
    assert_eq!(rig.read(conn), [entry(A, 60), entry(A, 61)]);
}

#[test]
fn what_is_said_of_a_chat_counts_when_it_is_listed_later() {
    let mut rig = Rig::new();
    let (conn, request) = come_back(&mut rig, &[(B, 8), (B, 7)]);
    let next = Some(schema::envelope::SyncCursor { last_ms: 5, chat: A });
    rig.answer(conn, request, Body::SyncPage { account: Default::default(), chats: Vec::new(), next });
    let left = rig.envelopes();
    let Some(Envelope { header, body: Body::SyncRequest { .. } }) = left.last() else { panic!("{left:?}") };
    listed(&mut rig, conn, header.request_id, vec![changed(B, 2, 9)]);
    assert!(matches!(asked(&mut rig), (_, Some((_, B, 8)))));
}

#[test]
fn a_page_under_way_skips_what_is_marked_meanwhile() {
    let mut rig = Rig::new();
    let (conn, request) = come_back(&mut rig, &[]);
    listed(&mut rig, conn, request, vec![changed(A, 0, 9)]);
    let (_, Some((page, A, 0))) = asked(&mut rig) else { panic!("a page of A") };
    mark(&mut rig, conn, A, 6);
    assert_eq!(asked(&mut rig), (vec![(A, 6)], None));
    rig.page(conn, page, A, (1, 4), 9, &[1, 2, 3, 4]);
    // It brought nothing, and the next one is asked for at once: it begins elsewhere.
    let (_, Some((page, A, 6))) = asked(&mut rig) else { panic!("the rest of A") };
    rig.page(conn, page, A, (7, 9), 9, &[7, 8, 9]);
    let entry = |seq| Got::Entry { chat: A, seq };
    assert_eq!(rig.read(conn), [Got::Welcome, entry(7), entry(8), entry(9), Got::Synced]);
    assert_eq!(rig.count("sync_retries"), 0);
}

#[test]
fn a_mark_above_the_head_counts_up_to_the_head() {
    let mut rig = Rig::new();
    let (conn, request) = come_back(&mut rig, &[(A, 1_000), (B, 1_000)]);
    listed(&mut rig, conn, request, vec![changed(A, 0, 9)]);
    assert_eq!(asked(&mut rig), (vec![(A, 9), (B, 1_000)], None), "of B nothing is known here: its owner judges");
    assert_eq!(rig.read(conn), [Got::Welcome, Got::Synced]);
    rig.deliver(A, 10, &[target(conn, 9)]);
    rig.deliver(B, 4, &[target(conn, 3)]);
    assert_eq!(rig.read(conn), [Got::Entry { chat: A, seq: 10 }, Got::Entry { chat: B, seq: 4 }]);
    assert_eq!((rig.count("marks_ahead"), rig.count("marks_clamped")), (1, 1));
}

#[test]
fn a_mark_by_message_alone_shortens_nothing() {
    let mut rig = Rig::new();
    let (conn, request) = come_back(&mut rig, &[]);
    let mark = rig.encoder.mark(A, 0, Some(message_id(A, 6)), MarkStatus::delivered);
    rig.receive(conn, &mark);
    listed(&mut rig, conn, request, vec![changed(A, 2, 9)]);
    let (marks, page) = asked(&mut rig);
    assert_eq!(marks, [(A, 0)]);
    assert!(matches!(page, Some((_, A, 2))), "its owner knows which seq that is, the gateway does not: {page:?}");
}

#[test]
fn a_session_that_ends_in_what_it_said_first_asks_for_nothing() {
    let mut rig = Rig::new();
    let (conn, request) = come_back_to_say(&mut rig, &[(A, 3)], 2);
    rig.receive(conn, &[8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    listed(&mut rig, conn, request, vec![changed(A, 0, 9)]);
    assert_eq!(rig.read(conn), [Got::Welcome, Got::Goodbye(ErrorCode::MalformedFrame)]);
    let left = rig.envelopes();
    assert!(
        matches!(left[..], [Envelope { body: Body::Mark { .. }, .. }, Envelope { body: Body::Unregister { .. }, .. }]),
        "{left:?}"
    );
}

#[test]
fn a_token_of_another_ends_the_session_before_anything_else_counts() {
    let wrong = |user_id: u64, device: u32| Some((user(user_id), DeviceId(device), 1));
    for (me, refused) in
        [(wrong(2, 7), true), (wrong(1, 8), true), (wrong(1, 0), true), (wrong(1, 7), false), (None, false)]
    {
        let mut rig = Rig::new();
        let conn = rig.accept(Protocol::Native);
        let mut bytes = rig.encoder.hello_again(b"1:7", b"test", 0, 0, me).to_vec();
        bytes.extend_from_slice(&rig.encoder.mark(A, 3, None, MarkStatus::read));
        rig.receive(conn, &bytes);
        let left = rig.envelopes();
        if refused {
            assert!(left.is_empty(), "{me:?}: no session takes another's place, no mark is passed on: {left:?}");
            assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::WrongIdentity)], "{me:?}");
        } else {
            assert!(matches!(left[..], [Envelope { body: Body::Register { .. }, .. }]), "{me:?}: {left:?}");
        }
        assert_eq!(rig.count("wrong_identities"), u64::from(refused), "{me:?}");
    }
}

/// A WebSocket that is opened with this query and says this at once.
fn open(query: &str, events: &[&str]) -> (Rig, ConnId) {
    let mut rig = Rig::new();
    rig.shard.listening(&["127.0.0.1:7401".parse().unwrap()]);
    let conn = rig.accept(Protocol::WebSocket);
    let upgrade = format!(
        "GET /ws{query} HTTP/1.1\r\nHost: localhost:7401\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut bytes = upgrade.into_bytes();
    for event in events {
        websocket::client_frame(Kind::Text, event.as_bytes(), [1, 2, 3, 4], &mut bytes);
    }
    rig.receive(conn, &bytes);
    (rig, conn)
}

#[test]
fn a_websocket_says_it_in_its_first_event_or_with_its_upgrade() {
    let auth = |user: u64| format!(r#"{{"type":"auth","token":"1:7","user_id":"{user}","device_id":7}}"#);
    let ack = format!(r#"{{"type":"ack","chat_id":"{A}","seq":8,"status":"delivered"}}"#);
    for (mut rig, conn) in
        [open("", &[&auth(1), &ack]), open("?token=1:7&user_id=1&device_id=7", &[&ack]), open("?token=1:7", &[&ack])]
    {
        let request = rig.register(conn);
        listed(&mut rig, conn, request, vec![changed(A, 0, 9)]);
        let (marks, page) = asked(&mut rig);
        assert_eq!(marks, [(A, 8)]);
        assert!(matches!(page, Some((_, A, 8))), "{page:?}");
    }
    for (mut rig, conn) in [open("", &[&auth(2), &ack]), open("?token=1:7&user_id=1&device_id=1", &[&ack])] {
        let said = String::from_utf8_lossy(&rig.read_bytes(conn, usize::MAX)).into_owned();
        assert!(said.contains(r#""code":"wrong_identity""#), "{said}");
        assert!(rig.envelopes().is_empty());
    }
}
