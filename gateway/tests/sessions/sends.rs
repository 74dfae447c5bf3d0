//! Sends: window, rate, credits, blocked chats; marks and history.

use fabric::core::Action;
use gateway::Limits;
use schema::encode::{ChangeFields, SendTarget};
use schema::envelope::{Body, Class, Envelope};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, MessageId};
use schema::wire::{EntryKind, MarkStatus, Role};

use super::harness::{Got, Rig, config, message_id, target, user};

const CHAT: ChatId = ChatId([1; 16]);
const OTHER: ChatId = ChatId([2; 16]);

fn refusal(code: ErrorCode, id: &[u8]) -> Got {
    Got::Error { code, id: id.to_vec() }
}

/// client_msg_ids of the sends that left for owners.
fn sends(rig: &mut Rig) -> Vec<Vec<u8>> {
    let id = |envelope: Envelope| match envelope.body {
        Body::Send { frame, .. } => Some(frame.root().body_as_send()?.client_msg_id()?.bytes().to_vec()),
        _ => None,
    };
    rig.envelopes().into_iter().filter_map(id).collect()
}

#[test]
fn a_send_goes_to_its_owner_and_its_ack_to_the_client() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 2);
    let frame = rig.send_frame(b"m1", SendTarget::User(user(7)), false);
    rig.receive(conn, &frame);
    let envelopes = rig.envelopes();
    let [Envelope { body: Body::Send { chat, to, retry, user: sender, .. }, .. }] = &envelopes[..] else {
        panic!("{envelopes:?}")
    };
    assert_eq!((*chat, *to, *sender), (ChatId::direct(user(1), user(7)), Some(user(7)), user(1)));
    assert!(*retry, "in a session's first minute every send may be a resend");
    let chat = *chat;
    rig.sent(conn, b"m1", chat, 1);
    assert_eq!(rig.read(conn), [Got::Sent { id: b"m1".to_vec(), chat, seq: 1 }]);
    rig.wait_ms(60_000);
    rig.receive(conn, &frame);
    assert!(matches!(rig.envelopes()[..], [Envelope { body: Body::Send { retry: false, .. }, .. }]));
}

#[test]
fn fields_are_checked_and_block_nothing() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 2);
    for (id, target, code) in [
        (vec![], SendTarget::Chat(CHAT), ErrorCode::InvalidClientMsgId),
        (vec![b'x'; 65], SendTarget::Chat(CHAT), ErrorCode::InvalidClientMsgId),
    ] {
        let frame = rig.send_frame(&id, target, false);
        rig.receive(conn, &frame);
        assert_eq!(rig.read(conn), [refusal(code, b"")]);
    }
    rig.send(conn, b"ok", CHAT);
    assert_eq!(sends(&mut rig), [b"ok"]);
}

#[test]
fn group_changes_are_checked_and_a_new_groups_id_follows_from_who_makes_it() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 2);
    let some = [user(7), user(8)];
    let made = ChangeFields {
        client_msg_id: b"g",
        chat: None,
        kind: EntryKind::created,
        name: b"Hiking",
        users: &some,
        role: Role::member,
        retry: false,
    };
    let change = |kind, users, name| ChangeFields { chat: Some(CHAT), kind, users, name, ..made };
    for (fields, code) in [
        (ChangeFields { name: b"", ..made }, ErrorCode::InvalidName),
        (ChangeFields { name: &[0xff], ..made }, ErrorCode::InvalidName),
        (ChangeFields { name: &[b'x'; 257], ..made }, ErrorCode::InvalidName),
        (ChangeFields { chat: Some(CHAT), ..made }, ErrorCode::InvalidField),
        (change(EntryKind::renamed, &[], b""), ErrorCode::InvalidName),
        (change(EntryKind::renamed, &some, b"x"), ErrorCode::InvalidField),
        (change(EntryKind::added, &[], b""), ErrorCode::InvalidField),
        (change(EntryKind::added, &some, b"x"), ErrorCode::InvalidField),
        (change(EntryKind::removed, &[], b""), ErrorCode::InvalidField),
        (change(EntryKind::left, &some, b""), ErrorCode::InvalidField),
        (ChangeFields { role: Role(9), ..change(EntryKind::role, &some, b"") }, ErrorCode::InvalidField),
        (ChangeFields { chat: None, ..change(EntryKind::added, &some, b"") }, ErrorCode::InvalidUser),
        (change(EntryKind(99), &some, b""), ErrorCode::Unsupported),
    ] {
        let frame = rig.encoder.change(&fields);
        rig.receive(conn, &frame);
        assert_eq!(rig.read(conn), [refusal(code, b"g")], "{:?} {:?}", fields.kind, fields.name);
    }
    assert!(sends(&mut rig).is_empty());
    let frame = rig.encoder.change(&made);
    rig.receive(conn, &frame);
    let envelopes = rig.envelopes();
    let [Envelope { body: Body::Send { chat, to: None, .. }, .. }] = &envelopes[..] else { panic!("{envelopes:?}") };
    assert_eq!(*chat, ChatId::group(user(1), b"g"));
}

#[test]
fn questions_go_to_their_owners_a_few_at_a_time_and_answers_come_back_as_they_are() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 2);
    for number in 0..5 {
        let frame = match number {
            0 => rig.encoder.chats_request(number, None, 0),
            1 => rig.encoder.status_request(number, CHAT, MessageId([3; 16])),
            _ => rig.encoder.chat_request(number, CHAT, 0, 0),
        };
        rig.receive(conn, &frame);
    }
    assert_eq!(rig.read(conn), [refusal(ErrorCode::WindowExceeded, b"")], "four may be unanswered");
    let asked = rig.envelopes();
    let slots: Vec<_> = asked.iter().map(|envelope| envelope.header.slot).collect();
    assert_eq!(slots, [ChatId::account(user(1)).slot(), CHAT.slot(), CHAT.slot(), CHAT.slot()]);
    assert!(matches!(asked[0].body, Body::ChatsRequest { client_request: 0, before: None, .. }), "{:?}", asked[0]);
    assert!(matches!(asked[1].body, Body::StatusRequest { client_request: 1, .. }), "{:?}", asked[1]);
    let frame = rig.encoder.pong(42); // any frame: what the owner wrote is not looked into
    let mut answer = Envelope::new(Class::Sync, Body::Answer { frame });
    answer.header.reply = asked[2].header.reply;
    answer.header.request_id = asked[2].header.request_id;
    rig.shard.handle(rig.now, answer.clone(), &mut rig.out);
    rig.shard.handle(rig.now, answer, &mut rig.out);
    assert_eq!(rig.read(conn), [Got::Pong(42)], "once");
}

#[test]
fn the_window_refuses_and_blocks_until_the_same_send_comes_again() {
    let mut rig = Rig::with(config(Limits { in_flight_per_session: 2, ..Limits::default() }));
    let conn = rig.synced(1, 2);
    for id in [b"a", b"b", b"c", b"d"] {
        rig.send(conn, id, CHAT);
    }
    assert_eq!(sends(&mut rig), [b"a", b"b"]);
    assert_eq!(rig.read(conn), [refusal(ErrorCode::WindowExceeded, b"c"), refusal(ErrorCode::AfterRefused, b"d")]);
    rig.sent(conn, b"a", CHAT, 1);
    rig.read(conn);
    rig.send(conn, b"d", CHAT);
    assert_eq!(rig.read(conn), [refusal(ErrorCode::AfterRefused, b"d")]);
    rig.send(conn, b"x", OTHER);
    assert_eq!(sends(&mut rig), [b"x"], "another chat is not blocked");
    rig.sent(conn, b"b", CHAT, 2);
    rig.sent(conn, b"x", OTHER, 1);
    rig.read(conn);
    rig.send(conn, b"c", CHAT);
    rig.send(conn, b"d", CHAT);
    assert_eq!(sends(&mut rig), [b"c", b"d"]);
    assert_eq!(rig.count("refused_window"), 1);
    assert_eq!(rig.count("refused_after_refused"), 2);
}

#[test]
fn the_rate_is_the_users_over_all_their_sessions() {
    let limits = Limits { sends_per_second_per_user: 10, burst_per_user: 2, ..Limits::default() };
    let mut rig = Rig::with(config(limits));
    let (a, b) = (rig.synced(1, 1), rig.synced(1, 2));
    let other = rig.synced(2, 1);
    rig.send(a, b"1", CHAT);
    rig.send(b, b"2", CHAT);
    rig.send(b, b"3", CHAT);
    rig.send(other, b"4", CHAT);
    assert_eq!(sends(&mut rig), [b"1", b"2", b"4"]);
    assert_eq!(rig.read(b), [refusal(ErrorCode::RateLimited, b"3")]);
    rig.wait_ms(100);
    rig.send(b, b"3", CHAT);
    assert_eq!(sends(&mut rig), [b"3"]);
    assert_eq!(rig.count("refused_rate"), 1);
}

#[test]
fn without_a_credit_the_connection_waits_and_nothing_overtakes() {
    let mut config = config(Limits::default());
    (config.credits_per_partition, config.partitions) = (1, 1);
    let mut rig = Rig::with(config);
    let (a, b) = (rig.synced(1, 1), rig.synced(2, 1));
    let mut bytes = Vec::new();
    for id in [&b"a1"[..], b"a2", b"a3"] {
        bytes.extend_from_slice(&rig.send_frame(id, SendTarget::Chat(CHAT), false));
    }
    rig.receive(a, &bytes);
    rig.send(b, b"b1", OTHER);
    assert_eq!(sends(&mut rig), [b"a1"]);
    rig.drain_actions();
    let paused = rig.actions.iter().filter(|action| matches!(action, Action::Pause(_))).count();
    assert_eq!((paused, rig.count("credit_waits")), (2, 2));
    rig.sent(a, b"a1", CHAT, 1);
    assert_eq!(sends(&mut rig), [b"a2"]);
    rig.sent(a, b"a2", CHAT, 2);
    assert_eq!(sends(&mut rig), [b"b1"], "one after the other");
    rig.sent(b, b"b1", OTHER, 1);
    assert_eq!(sends(&mut rig), [b"a3"]);
    rig.drain_actions();
    let resumed = rig.actions.iter().filter(|action| matches!(action, Action::Resume(_))).count();
    assert_eq!(resumed, 3);
}

#[test]
fn a_send_that_waits_a_second_is_refused_as_overloaded() {
    let mut config = config(Limits::default());
    (config.credits_per_partition, config.partitions) = (1, 1);
    let mut rig = Rig::with(config);
    let (a, b) = (rig.synced(1, 1), rig.synced(2, 1));
    rig.send(a, b"a1", CHAT);
    rig.send(b, b"b1", CHAT);
    rig.send(b, b"b2", CHAT);
    rig.wait_ms(999);
    assert_eq!(rig.read(b), []);
    assert!(rig.shard.next_deadline_ns().unwrap() <= rig.now.mono_ns + 1_000_000);
    rig.wait_ms(1);
    assert_eq!(rig.read(b), [refusal(ErrorCode::Overloaded, b"b1"), refusal(ErrorCode::AfterRefused, b"b2")]);
    assert_eq!(rig.count("refused_no_credit"), 1);
    rig.sent(a, b"a1", CHAT, 1);
    rig.envelopes();
    rig.send(b, b"b1", CHAT);
    assert_eq!(sends(&mut rig), [b"b1"]);
}

#[test]
fn a_waiting_connection_that_closes_gives_its_place_up_and_credits_outlive_sessions() {
    let mut config = config(Limits::default());
    (config.credits_per_partition, config.partitions) = (1, 1);
    let mut rig = Rig::with(config);
    let (a, b, c) = (rig.synced(1, 1), rig.synced(2, 1), rig.synced(3, 1));
    rig.send(a, b"a1", CHAT);
    rig.send(b, b"b1", CHAT);
    rig.send(c, b"c1", CHAT);
    for conn in [a, b] {
        rig.shard.closed(rig.now, conn, &mut rig.out);
    }
    rig.envelopes();
    rig.sent(a, b"a1", CHAT, 1);
    assert_eq!(sends(&mut rig), [b"c1"], "the credit came back although its session is gone");
    assert_eq!(rig.count("stale_addresses"), 1);
}

#[test]
fn the_owners_refusal_blocks_before_the_gateways_and_is_forgotten_with_the_session() {
    let mut rig = Rig::with(config(Limits { in_flight_per_session: 2, ..Limits::default() }));
    let conn = rig.synced(1, 1);
    for id in [b"a", b"b", b"c"] {
        rig.send(conn, id, CHAT);
    }
    rig.refused(conn, b"a", CHAT, ErrorCode::StorageUnavailable);
    rig.refused(conn, b"b", CHAT, ErrorCode::AfterRefused);
    rig.read(conn);
    assert_eq!(sends(&mut rig), [b"a", b"b"]);
    rig.send(conn, b"c", CHAT);
    rig.send(conn, b"b", CHAT);
    assert_eq!(rig.read(conn), [refusal(ErrorCode::AfterRefused, b"c"), refusal(ErrorCode::AfterRefused, b"b")]);
    rig.send(conn, b"a", CHAT);
    assert_eq!(sends(&mut rig), [b"a"]);
    rig.shard.closed(rig.now, conn, &mut rig.out);
    let told = rig.envelopes().iter().any(|envelope| envelope.body == Body::ForgetRefusals { chat: CHAT });
    assert!(told);
    // One that is refused when the session is gone would block a session that can never come back.
    rig.refused(conn, b"a", CHAT, ErrorCode::StorageUnavailable);
    assert!(rig.envelopes().iter().any(|envelope| envelope.body == Body::ForgetRefusals { chat: CHAT }));
    assert_eq!(rig.count("refusals_forgotten"), 2);
}

#[test]
fn a_refusal_for_good_blocks_nothing() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    rig.send(conn, b"a", CHAT);
    rig.refused(conn, b"a", CHAT, ErrorCode::UnknownChat);
    rig.send(conn, b"b", CHAT);
    assert_eq!(sends(&mut rig), [b"a", b"b"]);
    assert_eq!(rig.read(conn), [refusal(ErrorCode::UnknownChat, b"a")]);
}

#[test]
fn marks_never_pass_what_was_given() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    rig.deliver(CHAT, 4, &[target(conn, 3)]);
    for (seq, message, expected) in [(4, None, 4), (9, None, 4), (0, Some(MessageId([8; 16])), 0)] {
        let frame = rig.encoder.mark(CHAT, seq, message, MarkStatus::read);
        rig.receive(conn, &frame);
        let envelopes = rig.envelopes();
        let [Envelope { body: Body::Mark { seq, .. }, .. }] = &envelopes[..] else { panic!("{envelopes:?}") };
        assert_eq!(*seq, expected);
    }
    assert_eq!(rig.count("marks_clamped"), 1);
    let beyond = Got::Error { code: ErrorCode::MarkBeyondHead, id: Vec::new() };
    assert_eq!(rig.read(conn).last(), Some(&beyond));
    // A chat not given in this session: the owner judges.
    let frame = rig.encoder.mark(OTHER, 9, None, MarkStatus::delivered);
    rig.receive(conn, &frame);
    assert!(matches!(rig.envelopes()[..], [Envelope { body: Body::Mark { seq: 9, .. }, .. }]));
    let unknown = Body::Refused {
        client_msg_id: bytes::Bytes::new(),
        chat: OTHER,
        code: ErrorCode::UnknownChat,
        retry_after_ms: 0,
    };
    rig.read(conn);
    rig.answer(conn, 0, unknown);
    assert_eq!(rig.read(conn), [refusal(ErrorCode::UnknownChat, b"")]);
    let _ = message_id(CHAT, 1);
}

#[test]
fn history_comes_in_frames_within_the_limit_and_a_few_at_a_time() {
    let mut rig = Rig::with(config(Limits { frame_limit_bytes: 1_024, ..Limits::default() }));
    let conn = rig.synced(1, 1);
    for request in 1..=5 {
        let frame = rig.encoder.history_request(request, CHAT, 0, 0);
        rig.receive(conn, &frame);
    }
    assert_eq!(rig.read(conn), [refusal(ErrorCode::WindowExceeded, b"")]);
    let requests: Vec<u64> = rig.envelopes().iter().map(|envelope| envelope.header.request_id).collect();
    assert_eq!(requests.len(), 4);
    rig.page(conn, requests[1], CHAT, (1, 10), 10, &[1, 2, 3, 5, 6, 7, 8, 9]);
    let pages = rig.read(conn);
    assert!(pages.len() > 1, "{pages:?}");
    let (mut next, mut all) = (1, Vec::new());
    for page in &pages {
        let Got::History { request: 2, covers, seqs } = page else { panic!("{page:?}") };
        assert_eq!(covers.0, next);
        next = covers.1 + 1;
        all.extend_from_slice(seqs);
    }
    assert_eq!((next, all), (11, vec![1, 2, 3, 5, 6, 7, 8, 9]));
    rig.page(conn, requests[2], CHAT, (11, 10), 10, &[]);
    assert_eq!(rig.read(conn), [Got::History { request: 3, covers: (11, 10), seqs: vec![] }]);
    let refused = Body::Refused {
        client_msg_id: bytes::Bytes::new(),
        chat: CHAT,
        code: ErrorCode::UnknownChat,
        retry_after_ms: 0,
    };
    rig.answer(conn, requests[0], refused);
    assert_eq!(rig.read(conn), [refusal(ErrorCode::UnknownChat, b"")]);
    rig.wait_ms(10_100);
    assert_eq!(rig.read(conn), [refusal(ErrorCode::Overloaded, b"")], "the fourth was never answered");
}

#[test]
fn owners_are_told_what_comes_next_where_its_chat_is_known() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 2);
    let to_user = SendTarget::User(user(7));
    let targets = [SendTarget::Chat(CHAT), SendTarget::Chat(OTHER), to_user, to_user, to_user];
    let frames: Vec<_> = (0..).zip(targets).map(|(n, target)| rig.send_frame(&[b'a' + n], target, false)).collect();
    rig.receive(conn, &frames.concat());
    // The first is handled at once. Which chat is meant by a user takes a hash to say, until one such send was handled.
    assert_eq!(rig.out.1, [b"b", b"e"]);
    assert_eq!(sends(&mut rig), [b"a", b"b", b"c", b"d", b"e"]);
    let mut cut = frames[0].to_vec();
    cut.extend_from_slice(&frames[1][..20]);
    rig.receive(conn, &cut);
    assert_eq!(rig.out.1.len(), 2, "half a frame says nothing");
    rig.receive(conn, &frames[1][20..]);
    assert_eq!(sends(&mut rig), [b"a", b"b"]);
}
