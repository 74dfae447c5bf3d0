//! Ways to owners and routers that break: who comes back and sends again, what is asked again, who registers again.

use fabric::core::{ConnId, Protocol};
use gateway::{Limits, Next, ShardConfig};
use schema::encode::SendTarget;
use schema::envelope::{Body, ChangedChat, Class, Envelope, GapScope};
use schema::errors::ErrorCode;
use schema::frame::{FrameRef, frame_len};
use schema::ids::ChatId;

use super::harness::{Got, PARTITIONS, Rig, To, config, message_id, request};

/// A chat whose owner has this partition.
pub fn chat_of(partition: u16, other: u8) -> ChatId {
    let chats = (0..=u8::MAX).map(|n| ChatId([n, other, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    chats.into_iter().find(|chat| chat.slot().partition(PARTITIONS) == partition).unwrap()
}

/// A user whose account's owner has this partition.
fn user_of(partition: u16) -> u64 {
    let of = |&id: &u64| ChatId::account(super::harness::user(id)).slot().partition(PARTITIONS) == partition;
    (1..).find(of).unwrap()
}

pub fn lose(rig: &mut Rig, partition: u16) {
    rig.shard.owner_lost(rig.now, partition, &mut rig.out);
}

fn change(rig: &mut Rig, moved: impl Fn(u64) -> bool) {
    rig.shard.routers_changed(rig.now, |user| moved(user.get()), &mut rig.out);
}

fn sent(rig: &mut Rig, conn: ConnId, lost: u64, id: &'static [u8], chat: ChatId) {
    let client_msg_id = bytes::Bytes::from_static(id);
    rig.answer(
        conn,
        request(lost, chat.slot().partition(PARTITIONS)),
        Body::Sent { client_msg_id, chat, message: message_id(chat, 1), seq: 1, timestamp_ms: 1 },
    );
}

/// The sends that left, each with its request id.
pub fn sends(rig: &mut Rig) -> Vec<(Vec<u8>, u64)> {
    let id = |envelope: Envelope| match &envelope.body {
        Body::Send { frame, .. } => {
            let send = frame.root().body_as_send()?;
            Some((send.client_msg_id()?.bytes().to_vec(), envelope.header.request_id))
        }
        _ => None,
    };
    rig.envelopes().into_iter().filter_map(id).collect()
}

/// What a connection's last frame, a Goodbye, asks for: code, close code, wait in ms.
fn goodbye(rig: &mut Rig, conn: ConnId) -> (ErrorCode, u16, u32) {
    let bytes = rig.read_bytes(conn, usize::MAX);
    let frame = &bytes[..frame_len(&bytes, 1 << 20).unwrap().expect("a goodbye")];
    let frame = FrameRef::verify_from_server(frame).unwrap();
    let goodbye = frame.root().body_as_goodbye().expect("a goodbye");
    (ErrorCode::from_code(goodbye.code()).unwrap(), goodbye.close_code(), goodbye.retry_after_ms())
}

/// What went to routers: (epoch, request id) of each Register, and to how many others an Unregister went.
fn registers(rig: &mut Rig) -> (Vec<(u64, u64)>, usize) {
    let (mut registers, mut others) = (Vec::new(), 0);
    for (to, envelope) in rig.out.0.drain(..) {
        match envelope.body {
            Body::Register { epoch, .. } => registers.push((epoch, envelope.header.request_id)),
            Body::Unregister { .. } => others += usize::from(to == To::OtherRouters),
            _ => {}
        }
    }
    (registers, others)
}

/// A connection that has said hello; its Register's (epoch, request id).
fn registering(rig: &mut Rig) -> (ConnId, (u64, u64)) {
    let conn = rig.accept(Protocol::Native);
    let hello = rig.encoder.hello(b"1:1", b"", 0);
    rig.receive(conn, &hello);
    let (sent, _) = registers(rig);
    (conn, sent[0])
}

#[test]
fn a_session_stays_whose_sends_went_to_other_partitions_only() {
    let mut rig = Rig::new();
    let conn = rig.synced(7, 1);
    let [here, there] = [chat_of(0, 1), chat_of(1, 2)];
    rig.send(conn, b"1", here);
    assert_eq!((rig.shard.unanswered(0), rig.shard.unanswered(1)), (1, 0));
    lose(&mut rig, 1);
    rig.send(conn, b"2", there);
    sent(&mut rig, conn, 0, b"1", here);
    sent(&mut rig, conn, 1, b"2", there);
    assert_eq!(rig.count("sent_back"), 0);
    assert!(
        rig.shard.counts(0, request(0, 0)) && rig.shard.counts(1, request(1, 1)) && !rig.shard.counts(1, request(0, 1))
    );
    rig.send(conn, b"3", here);
    lose(&mut rig, 0);
    assert_eq!(rig.count("sent_back"), 1, "that one went there");
    assert_eq!(rig.shard.unanswered(0), 0);
}

#[test]
fn a_session_ends_for_its_own_partitions_however_many_there_are() {
    const MANY: u16 = 128;
    let chats = (0..=u16::MAX).map(|n| ChatId([n as u8, (n >> 8) as u8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    let first = chats.into_iter().find(|chat| chat.slot().partition(MANY) == 1).unwrap();
    let mut rig = Rig::with(ShardConfig { partitions: MANY, ..config(Limits::default()) });
    let conn = rig.synced(7, 1);
    rig.send(conn, b"1", first);
    (0..MANY).filter(|&partition| partition != 1).for_each(|partition| lose(&mut rig, partition));
    assert_eq!(rig.count("sent_back"), 0, "it sent nothing to any of them");
    lose(&mut rig, 1);
    assert_eq!(rig.count("sent_back"), 1);
}

#[test]
fn what_was_sent_after_a_refused_send_does_not_go_out_again() {
    let mut rig = Rig::new();
    let conn = rig.synced(7, 1);
    let chat = chat_of(0, 1);
    rig.envelopes();
    rig.send(conn, b"1", chat);
    rig.send(conn, b"2", chat);
    let session = rig.envelopes()[0].header.reply;
    assert!(rig.shard.may_go(session, chat, b"2"));
    let (client_msg_id, code) = (bytes::Bytes::from_static(b"1"), ErrorCode::RateLimited);
    rig.answer(conn, 0, Body::Refused { client_msg_id, chat, code, retry_after_ms: 0 });
    assert!(!rig.shard.may_go(session, chat, b"2") && rig.shard.may_go(session, chat, b"1"));
    assert!(rig.shard.may_go(session, chat_of(0, 2), b"2"));
}

/// What it has queued at the former holder is owed to nobody any more, so the next one would get what was sent later first.
#[test]
fn what_waited_for_a_holder_does_not_go_out_once_its_session_is_over() {
    let mut rig = Rig::new();
    let conn = rig.synced(7, 1);
    let chat = chat_of(0, 1);
    rig.envelopes();
    rig.send(conn, b"1", chat);
    let session = rig.envelopes()[0].header.reply;
    rig.answer(conn, request(0, 0), Body::Queued { client_msg_id: bytes::Bytes::from_static(b"1"), chat });
    rig.send(conn, b"2", chat);
    assert_eq!(rig.shard.unanswered(0), 2);
    assert!(rig.shard.may_go(session, chat, b"2"));
    lose(&mut rig, 1);
    assert!(rig.shard.may_go(session, chat, b"2"), "it sent nothing there");
    rig.shard.closed(rig.now, conn, &mut rig.out);
    assert_eq!(rig.shard.unanswered(0), 1, "the send that waits");
    assert!(!rig.shard.may_go(session, chat, b"2"));
    let (client_msg_id, code) = (bytes::Bytes::from_static(b"2"), ErrorCode::AfterRefused);
    rig.answer(conn, request(0, 0), Body::Refused { client_msg_id, chat, code, retry_after_ms: 0 });
    assert_eq!(rig.shard.unanswered(0), 0, "its credit is free");
    rig.envelopes();

    let conn = rig.synced(8, 1);
    rig.envelopes();
    rig.send(conn, b"3", chat);
    let session = rig.envelopes()[0].header.reply;
    assert!(rig.shard.may_go(session, chat, b"3"));
    lose(&mut rig, 0);
    assert!(!rig.shard.may_go(session, chat, b"3"), "it has been told to come back");
}

#[test]
fn who_has_sends_without_an_answer_comes_back_and_the_others_stay() {
    let mut rig = Rig::new();
    let conns: Vec<ConnId> = (1..=100).map(|id| rig.synced(id, 1)).collect();
    let (idle, answered) = (rig.synced(200, 1), rig.synced(201, 1));
    conns.iter().for_each(|&conn| rig.send(conn, b"a", chat_of(1, 0)));
    rig.send(answered, b"b", chat_of(1, 0));
    sent(&mut rig, answered, 0, b"b", chat_of(1, 0));
    assert_eq!(rig.read(answered).len(), 1);
    rig.envelopes();
    lose(&mut rig, 1);
    let mut waits: Vec<u32> = Vec::new();
    for &conn in &conns {
        let (code, close, wait_ms) = goodbye(&mut rig, conn);
        assert_eq!((code, close), (ErrorCode::StorageUnavailable, 1013), "try again later");
        waits.push(wait_ms);
    }
    assert!(waits.iter().all(|wait_ms| (250..=1_000).contains(wait_ms)), "{waits:?}");
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 50, "they are spread: {waits:?}");
    assert_eq!(rig.envelopes().len(), 100, "each is unregistered");
    assert_eq!((rig.read(idle), rig.read(answered)), (vec![], vec![]));
    assert_eq!((rig.count("sent_back"), rig.count("owners_lost")), (100, 1));
    rig.send(idle, b"c", chat_of(1, 0));
    rig.send(idle, b"d", chat_of(0, 0));
    assert_eq!(
        sends(&mut rig),
        [(b"c".to_vec(), request(1, 1)), (b"d".to_vec(), request(0, 0))],
        "a send names how often its way was lost"
    );
}

#[test]
fn credits_begin_anew_and_an_answer_of_before_brings_none_back() {
    let mut rig = Rig::with(ShardConfig { credits_per_partition: 1, ..config(Limits::default()) });
    let chat = chat_of(0, 0);
    let (a, b, c) = (rig.synced(1, 1), rig.synced(2, 1), rig.synced(3, 1));
    rig.send(a, b"a", chat);
    rig.send(b, b"b", chat);
    assert_eq!(sends(&mut rig), [(b"a".to_vec(), request(0, 0))]);
    lose(&mut rig, 0);
    assert_eq!(sends(&mut rig), [(b"b".to_vec(), request(1, 0))], "who waited goes on with a credit of now");
    rig.send(c, b"c", chat);
    sent(&mut rig, a, 0, b"a", chat);
    let refused = Body::Refused {
        client_msg_id: bytes::Bytes::from_static(b"a"),
        chat,
        code: ErrorCode::StorageUnavailable,
        retry_after_ms: 0,
    };
    rig.answer(a, 0, refused);
    let envelopes = rig.envelopes();
    assert!(matches!(envelopes[..], [Envelope { body: Body::ForgetRefusals { .. }, .. }]), "{envelopes:?}");
    assert_eq!(rig.count("answers_of_before"), 2);
    sent(&mut rig, b, 1, b"b", chat);
    assert_eq!(sends(&mut rig), [(b"c".to_vec(), request(1, 0))], "the answer of now brings one back");
}

#[test]
fn a_stopping_shard_sends_them_away_for_good() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    rig.send(conn, b"a", chat_of(0, 0));
    rig.shard.stop(rig.now, Next::Here, &mut rig.out);
    assert_eq!(rig.read(conn), []);
    lose(&mut rig, 0);
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::GoingAway)]);
}

#[test]
fn what_a_sync_asked_there_is_asked_again_soon() {
    let mut rig = Rig::new();
    let (conn, listing) = rig.session(user_of(0), 1);
    lose(&mut rig, 1);
    rig.wait_ms(1_400);
    assert!(rig.envelopes().is_empty(), "another partition has the account");
    lose(&mut rig, 0);
    assert!(rig.envelopes().is_empty(), "not at once");
    let changed = |chat| ChangedChat { ticked: false, chat, head_seq: 1, acked_seq: 0, last_ms: 1 };
    let chats = vec![changed(chat_of(1, 0)), changed(chat_of(0, 0))];
    let page = || Body::SyncPage { account: Default::default(), chats: chats.clone(), next: None };
    rig.answer(conn, listing, page());
    assert_eq!((rig.read(conn), rig.count("pages_stale")), (vec![], 1));
    rig.wait_ms(1_400);
    let asked = rig.envelopes();
    let [Envelope { header, body: Body::SyncRequest { before: None, .. } }] = &asked[..] else { panic!("{asked:?}") };
    rig.answer(conn, header.request_id, page());
    assert_eq!(rig.read(conn), [Got::Welcome]);
    let asked = rig.envelopes();
    assert!(matches!(asked[..], [Envelope { body: Body::PageRequest { chat, .. }, .. }] if chat == chat_of(1, 0)));
    lose(&mut rig, 1);
    rig.wait_ms(1_400);
    let again = rig.envelopes();
    let [Envelope { header, body: Body::PageRequest { chat, .. } }] = &again[..] else { panic!("{again:?}") };
    assert!(*chat == chat_of(1, 0) && header.request_id != asked[0].header.request_id);
    assert_eq!(rig.count("sync_retries"), 2);
}

#[test]
fn a_clients_question_there_is_refused_and_comes_again() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    for (request, chat) in [(1, chat_of(0, 0)), (2, chat_of(1, 0))] {
        let frame = rig.encoder.history_request(request, chat, 0, 10);
        rig.receive(conn, &frame);
    }
    let asked = rig.envelopes();
    lose(&mut rig, 0);
    assert_eq!(rig.read(conn), [Got::Error { code: ErrorCode::StorageUnavailable, id: Vec::new() }]);
    rig.page(conn, asked[0].header.request_id, chat_of(0, 0), (1, 1), 1, &[1]);
    assert_eq!(rig.read(conn), [], "it has been answered");
    rig.page(conn, asked[1].header.request_id, chat_of(1, 0), (1, 1), 1, &[1]);
    assert_eq!(rig.read(conn), [Got::History { request: 2, covers: (1, 1), seqs: vec![1] }]);
}

#[test]
fn a_session_registers_at_its_new_router_and_lists_when_that_stands() {
    let mut rig = Rig::new();
    let (first, other) = (rig.synced(1, 1), rig.synced(2, 1));
    change(&mut rig, |user| user == 1);
    let (sent, others) = registers(&mut rig);
    let [(epoch, request)] = sent[..] else { panic!("one registers: {sent:?}") };
    assert_eq!(others, 1, "routers of before forget it");
    rig.handle(Envelope::new(Class::Control, Body::Gap(GapScope::All)));
    rig.wait_ms(20);
    rig.wait_ms(20);
    let listed = rig.envelopes();
    assert!(
        matches!(&listed[..], [Envelope { header, body: Body::SyncRequest { .. } }] if header.reply == super::harness::address(other)),
        "a listing before it is registered would miss what comes in between: {listed:?}"
    );
    rig.answer(first, request - 1, Body::Registered { epoch });
    rig.wait_ms(20);
    assert!(rig.envelopes().is_empty(), "the answer of a router of before");
    rig.answer(first, request, Body::Registered { epoch });
    rig.wait_ms(20);
    let listed = rig.envelopes();
    let [Envelope { header, body: Body::SyncRequest { .. } }] = &listed[..] else { panic!("{listed:?}") };
    rig.answer(first, header.request_id, Body::SyncPage { account: Default::default(), chats: Vec::new(), next: None });
    assert_eq!(rig.read(first), [Got::Synced]);
    rig.answer(first, request, Body::Registered { epoch });
    rig.wait_ms(20);
    assert!(rig.envelopes().is_empty(), "once");
}

#[test]
fn some_register_a_turn_and_whoever_is_not_answered_does_so_again() {
    const SESSIONS: u64 = 4_500;
    let mut rig = Rig::new();
    let conns: Vec<ConnId> = (1..=SESSIONS).map(|id| rig.synced(id, 1)).collect();
    change(&mut rig, |_| true);
    let mut turns = vec![registers(&mut rig).0];
    while rig.shard.next_deadline_ns() == Some(1) {
        rig.wait_ms(1);
        turns.push(registers(&mut rig).0);
    }
    assert_eq!(turns.iter().map(Vec::len).collect::<Vec<_>>(), [2_000, 2_000, 500]);
    // All but ten are answered.
    for (&conn, (epoch, request)) in conns.iter().zip(turns.into_iter().flatten()).skip(10) {
        rig.answer(conn, request, Body::Registered { epoch });
    }
    rig.shard.closed(rig.now, conns[0], &mut rig.out);
    let mut unregistered = rig.out.0.drain(..);
    assert!(
        unregistered.any(|(to, envelope)| to == To::OtherRouters && matches!(envelope.body, Body::Unregister { .. }))
    );
    drop(unregistered);
    rig.wait_ms(4_900);
    assert_eq!(registers(&mut rig).0.len(), 0);
    rig.wait_ms(200);
    assert_eq!(registers(&mut rig).0.len(), 9);
    assert_eq!(rig.count("registered_again"), SESSIONS + 9);
}

#[test]
fn a_registration_that_was_lost_is_made_again_and_has_its_time_anew() {
    let mut rig = Rig::new();
    let (conn, (epoch, _)) = registering(&mut rig);
    rig.wait_ms(1_100);
    assert_eq!(registers(&mut rig).0, [(epoch, 0)], "every second");
    rig.wait_ms(7_900);
    registers(&mut rig);
    change(&mut rig, |_| true);
    let again = registers(&mut rig).0;
    assert_eq!(again[0].0, epoch);
    rig.wait_ms(9_000);
    let again = registers(&mut rig).0;
    assert!(!again.is_empty() && rig.read(conn).is_empty(), "it is asked for once more, and has not timed out");
    rig.answer(conn, again[0].1, Body::Registered { epoch });
    let began = rig.envelopes();
    assert!(matches!(began[..], [Envelope { body: Body::SyncRequest { .. }, .. }]), "{began:?}");
    rig.wait_ms(20);
    assert!(rig.envelopes().is_empty(), "its first sync is all it needs");
}

#[test]
fn a_late_answer_of_a_router_of_before_begins_the_session_and_the_new_ones_makes_it_list() {
    let mut rig = Rig::new();
    let (conn, (epoch, before)) = registering(&mut rig);
    change(&mut rig, |_| true);
    let (_, request) = registers(&mut rig).0[0];
    rig.answer(conn, before, Body::Registered { epoch });
    let began = rig.envelopes();
    assert!(matches!(began[..], [Envelope { body: Body::SyncRequest { .. }, .. }]), "{began:?}");
    rig.answer(
        conn,
        began[0].header.request_id,
        Body::SyncPage { account: Default::default(), chats: Vec::new(), next: None },
    );
    assert_eq!(rig.read(conn), [Got::Welcome, Got::Synced]);
    rig.answer(conn, request, Body::Registered { epoch });
    rig.wait_ms(20);
    let listed = rig.envelopes();
    assert!(matches!(listed[..], [Envelope { body: Body::SyncRequest { .. }, .. }]), "{listed:?}");
}

#[test]
fn the_newest_connection_wins_though_another_gateways_clock_is_ahead() {
    let mut rig = Rig::new();
    let (conn, (epoch, _)) = registering(&mut rig);
    let ahead = epoch + (3_000 << 20);
    rig.answer(conn, 0, Body::Superseded { epoch: ahead });
    let (again, _) = registers(&mut rig);
    assert_eq!(again, [(ahead + 1, 0)]);
    assert_eq!(registering(&mut rig).1.0, ahead + 2, "who comes later here is newer still");
    rig.answer(conn, 0, Body::Superseded { epoch: ahead + 9 });
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::SessionReplaced)], "once");
    assert_eq!((rig.count("epochs_raised"), rig.count("sessions_replaced")), (1, 1));
}

#[test]
fn who_is_told_late_of_a_newer_session_does_not_take_its_place() {
    let mut rig = Rig::new();
    let (conn, (epoch, _)) = registering(&mut rig);
    rig.wait_ms(1_100);
    registers(&mut rig);
    rig.answer(conn, 0, Body::Superseded { epoch: epoch + 1 });
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::Overloaded)], "its client, if it still waits, comes back");
    assert_eq!((registers(&mut rig).0.len(), rig.count("epochs_raised")), (0, 0));
}

#[test]
fn a_session_that_has_begun_is_replaced_also_while_it_registers_again() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    change(&mut rig, |_| true);
    let (epoch, _) = registers(&mut rig).0[0];
    rig.answer(conn, 1, Body::Superseded { epoch: epoch + 1 });
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::SessionReplaced)]);
}

#[test]
fn a_send_that_could_not_leave_is_refused_and_its_credit_comes_back() {
    let mut rig = Rig::with(ShardConfig { credits_per_partition: 1, ..config(Limits::default()) });
    let (conn, chat) = (rig.synced(1, 1), chat_of(0, 0));
    lose(&mut rig, 0);
    let frame = rig.send_frame(b"a", SendTarget::Chat(chat), false);
    rig.receive(conn, &frame);
    let [(_, request)] = sends(&mut rig)[..] else { panic!("one send") };
    let refused = |id: &'static [u8]| Body::Refused {
        client_msg_id: bytes::Bytes::from_static(id),
        chat,
        code: ErrorCode::StorageUnavailable,
        retry_after_ms: 0,
    };
    rig.answer(conn, request, refused(b"a"));
    assert_eq!(rig.read(conn), [Got::Error { code: ErrorCode::StorageUnavailable, id: b"a".to_vec() }]);
    rig.receive(conn, &frame);
    assert_eq!(sends(&mut rig).len(), 1);
}
