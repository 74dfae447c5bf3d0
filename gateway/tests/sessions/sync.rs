//! Cursors, sync sets, slow readers, gaps, nudges: one rule at a time.

use fabric::core::{Action, Protocol};
use gateway::Limits;
use schema::envelope::{Body, ChangedChat, Class, Envelope, GapScope, SyncCursor};
use schema::errors::ErrorCode;
use schema::ids::ChatId;
use schema::wire::MarkStatus;
use smallvec::smallvec;

use super::harness::{Got, Rig, config, message_id, target, user};

const A: ChatId = ChatId([1; 16]);
const B: ChatId = ChatId([2; 16]);

fn changed(chat: ChatId, acked_seq: u64, head_seq: u64) -> ChangedChat {
    ChangedChat { ticked: false, chat, head_seq, acked_seq, last_ms: 5 }
}

const fn entry(chat: ChatId, seq: u64) -> Got {
    Got::Entry { chat, seq }
}

/// The one page request that left: its id, chat and start.
fn page_request(rig: &mut Rig) -> (u64, ChatId, u64) {
    let envelopes = rig.envelopes();
    let [Envelope { header, body: Body::PageRequest { chat, after_seq, .. } }] = &envelopes[..] else {
        panic!("one page request: {envelopes:?}")
    };
    (header.request_id, *chat, *after_seq)
}

#[test]
fn live_entries_are_written_only_as_the_next() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    rig.deliver(A, 5, &[target(conn, 4)]);
    rig.deliver(A, 6, &[target(conn, 4)]);
    rig.deliver(A, 6, &[target(conn, 4)]);
    rig.deliver(A, 8, &[target(conn, 4)]);
    assert_eq!(rig.read(conn), [entry(A, 5), entry(A, 6)]);
    assert_eq!((rig.count("entries_duplicate"), rig.count("entries_missed")), (1, 1));
    let (request, chat, after) = page_request(&mut rig);
    assert_eq!((chat, after), (A, 6));
    // The late one comes while the page is under way, then one more.
    rig.deliver(A, 7, &[target(conn, 4)]);
    rig.deliver(A, 9, &[target(conn, 4)]);
    rig.page(conn, request, A, (7, 8), 8, &[7, 8]);
    assert_eq!(rig.read(conn), [entry(A, 7), entry(A, 8)]);
    let (request, _, after) = page_request(&mut rig);
    assert_eq!(after, 8, "9 was missed after the page was asked for");
    rig.page(conn, request, A, (9, 9), 9, &[9]);
    assert_eq!(rig.read(conn), [entry(A, 9)], "and nobody was promised a `synced`");
    assert!(rig.envelopes().is_empty());
}

#[test]
fn own_sends_are_not_pushed_and_leave_no_hole() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    for id in [b"x", b"y"] {
        rig.send(conn, id, A);
    }
    rig.envelopes();
    // The owner stored another's 1 and 3 between the session's 2 and 4; its acks come first.
    rig.sent(conn, b"x", A, 2);
    rig.sent(conn, b"y", A, 4);
    rig.deliver(A, 1, &[target(conn, 0)]);
    rig.deliver(A, 3, &[target(conn, 0)]);
    rig.deliver(A, 5, &[target(conn, 0)]);
    rig.read(conn);
    assert_eq!(rig.count("entries_live"), 3);
    assert!(rig.envelopes().is_empty(), "nothing had to be read again");
}

#[test]
fn what_was_missed_comes_page_by_page_newest_chats_first_then_synced() {
    let mut rig = Rig::new();
    let (conn, request) = rig.session(1, 1);
    // A push before the sync's answer: its chat is behind, and it is not known whether the session may have it.
    rig.deliver(B, 9, &[target(conn, 7)]);
    assert!(rig.envelopes().is_empty());
    let next = Some(SyncCursor { last_ms: 5, chat: A });
    rig.answer(conn, request, Body::SyncPage { account: Default::default(), chats: vec![changed(A, 0, 2)], next });
    let (page, chat, after) = page_request(&mut rig);
    assert_eq!((chat, after), (B, 7), "one page at a time");
    rig.page(conn, page, B, (8, 9), 9, &[8, 9]);
    assert_eq!(rig.read(conn), [Got::Welcome, entry(B, 8), entry(B, 9)]);
    let (page, chat, after) = page_request(&mut rig);
    assert_eq!((chat, after), (A, 0));
    rig.page(conn, page, A, (1, 2), 2, &[2]);
    assert_eq!(rig.read(conn), [Got::Covered { chat: A, first: 1, last: 1 }, entry(A, 2)]);
    let envelopes = rig.envelopes();
    let [Envelope { header, body: Body::SyncRequest { before, .. } }] = &envelopes[..] else { panic!("{envelopes:?}") };
    assert_eq!(*before, next);
    let request = header.request_id;
    rig.answer(
        conn,
        request,
        Body::SyncPage { account: Default::default(), chats: vec![changed(B, 7, 9)], next: None },
    );
    assert_eq!(rig.read(conn), [Got::Synced], "B was given meanwhile");
    assert_eq!(rig.count("syncs_completed"), 1);
}

#[test]
fn after_a_gap_is_told_what_ticked_since_the_sync_before() {
    let mut rig = Rig::new();
    let began_s = rig.now.wall_ms() / 1_000;
    let conn = rig.synced(1, 1);
    rig.wait_ms(5_000);
    rig.envelopes();
    rig.handle(Envelope::new(Class::Control, Body::Gap(GapScope::Sessions(vec![(conn.index, conn.generation)]))));
    rig.wait_ms(1);
    let envelopes = rig.envelopes();
    let [Envelope { body: Body::SyncRequest { since_ms, .. }, .. }] = &envelopes[..] else {
        panic!("a listing: {envelopes:?}")
    };
    assert_eq!(*since_ms, 1_000 * began_s, "receipts are lost in a gap too");
}

#[test]
fn a_gap_lists_again_and_one_during_a_listing_lists_after_it() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    let gap = |scope| Envelope::new(Class::Control, Body::Gap(scope));
    rig.handle(gap(GapScope::Sessions(vec![(conn.index, conn.generation), (conn.index, conn.generation + 1)])));
    rig.wait_ms(1);
    let first = rig.envelopes()[0].header.request_id;
    rig.handle(gap(GapScope::All));
    rig.wait_ms(10);
    assert!(rig.envelopes().is_empty());
    rig.answer(conn, first, Body::SyncPage { account: Default::default(), chats: Vec::new(), next: None });
    assert_eq!(rig.read(conn), [], "what the second gap lost has not been listed");
    let second = rig.envelopes()[0].header.request_id;
    rig.answer(conn, first, Body::SyncPage { account: Default::default(), chats: Vec::new(), next: None });
    assert_eq!((rig.read(conn), rig.count("pages_stale")), (vec![], 1));
    rig.answer(conn, second, Body::SyncPage { account: Default::default(), chats: Vec::new(), next: None });
    assert_eq!(rig.read(conn), [Got::Synced]);
    assert_eq!((rig.count("gaps"), rig.count("stale_addresses")), (2, 1));
}

#[test]
fn gaps_of_many_sessions_are_worked_off_at_a_limited_rate() {
    let mut rig = Rig::new();
    let conns: Vec<_> = (1..=100).map(|user| rig.synced(user, 1)).collect();
    rig.handle(Envelope::new(Class::Control, Body::Gap(GapScope::All)));
    rig.wait_ms(0);
    assert!(rig.envelopes().len() <= 10);
    rig.wait_ms(10);
    assert!(rig.envelopes().len() <= 10);
    for _ in 0..10 {
        assert!(rig.shard.next_deadline_ns().unwrap() <= rig.now.mono_ns + 10_000_000 || rig.count("gaps") == 100);
        rig.wait_ms(10);
    }
    assert_eq!(rig.count("gaps"), conns.len() as u64);
}

#[test]
fn nudges_concern_only_what_was_not_given() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    rig.deliver(A, 1, &[target(conn, 0)]);
    let nudge = |head_seq| {
        let targets = [target(conn, 0)].as_slice().into();
        Envelope::new(Class::Control, Body::DeliverNudge { chat: A, head_seq, targets })
    };
    rig.handle(nudge(1));
    assert!(rig.envelopes().is_empty(), "it is on its way");
    rig.handle(nudge(3));
    rig.handle(nudge(3));
    let (request, _, after) = page_request(&mut rig);
    assert_eq!(after, 1);
    rig.page(conn, request, A, (2, 3), 3, &[2, 3]);
    assert_eq!(rig.read(conn), [entry(A, 1), entry(A, 2), entry(A, 3)]);
}

#[test]
fn a_slow_reader_is_pushed_nothing_and_gets_all_when_it_reads() {
    let mut rig = Rig::with(config(Limits { out_buffer_bytes: 2_048, ..Limits::default() }));
    let (slow, other) = (rig.synced(1, 1), rig.synced(2, 1));
    for seq in 1..=100 {
        rig.deliver(A, seq, &[target(slow, 0), target(other, 0)]);
        assert_eq!(rig.read(other), [entry(A, seq)], "it waits for nobody");
    }
    let written = rig.count("entries_live") - 100;
    assert!(written < 30 && rig.count("entries_held_back") == 100 - written);
    assert!(rig.envelopes().is_empty(), "no page while it does not read");
    let got = rig.read(slow);
    assert_eq!(got.len() as u64, written);
    let (request, _, after) = page_request(&mut rig);
    assert_eq!(after, written);
    let rest: Vec<u64> = (written + 1..=100).collect();
    rig.page(slow, request, A, (written + 1, 100), 100, &rest);
    assert_eq!(rig.read(slow).len() as u64, 100 - written);
    assert!(rig.envelopes().is_empty());
    assert_eq!(rig.count("slow_readers"), 2, "the page filled it once more");
}

#[test]
fn a_receipt_that_a_slow_reader_was_not_told_is_asked_for_when_it_reads() {
    let mut rig = Rig::with(config(Limits { out_buffer_bytes: 2_048, ..Limits::default() }));
    let slow = rig.synced(1, 1);
    (1..=100).for_each(|seq| rig.deliver(A, seq, &[target(slow, 0)]));
    let receipt = rig.encoder.receipt(A, message_id(A, 1), 1, user(2), MarkStatus::read);
    let notice = Body::DeliverNotice { frame: receipt, targets: smallvec![(slow.index, slow.generation)] };
    rig.handle(Envelope::new(Class::Live, notice));
    assert_eq!(rig.count("receipts_dropped"), 1);
    let written = rig.read(slow).len() as u64;
    let (request, ..) = page_request(&mut rig);
    let rest: Vec<u64> = (written + 1..=100).collect();
    rig.page(slow, request, A, (written + 1, 100), 100, &rest);
    rig.read(slow);
    let asked = rig.envelopes();
    let [Envelope { body: Body::SyncRequest { since_ms, .. }, .. }] = &asked[..] else { panic!("{asked:?}") };
    assert!(*since_ms > 0 && *since_ms < rig.now.wall_ms(), "what ticked before it was dropped");
}

#[test]
fn who_reads_not_even_answers_is_read_no_further_and_ends_when_stuck() {
    let mut rig = Rig::with(config(Limits { out_buffer_bytes: 1_024, ..Limits::default() }));
    let conn = rig.synced(1, 1);
    let ping = rig.encoder.ping(1);
    for _ in 0..200 {
        rig.receive(conn, &ping);
    }
    assert_eq!(rig.count("reads_paused"), 1);
    rig.shard.take_output(conn, 10, &mut Vec::new());
    rig.wait_ms(75_100);
    rig.drain_actions();
    assert!(rig.actions.iter().any(|action| matches!(action, Action::Close(_))));
    assert_eq!(rig.count("stuck_readers"), 1);
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::IdleTimeout)], "the rest is thrown away");
}

#[test]
fn paused_reads_go_on_when_the_reader_reads() {
    let mut rig = Rig::with(config(Limits { out_buffer_bytes: 1_024, ..Limits::default() }));
    let conn = rig.synced(1, 1);
    let ping = rig.encoder.ping(1);
    for _ in 0..200 {
        rig.receive(conn, &ping);
    }
    assert_eq!(rig.read(conn).len(), 200);
    let resumed = rig.actions.iter().filter(|action| matches!(action, Action::Resume(_))).count();
    assert!(resumed > 0);
}

#[test]
fn lost_and_refused_answers_are_asked_for_again() {
    let mut rig = Rig::new();
    let (conn, _) = rig.session(1, 1);
    rig.wait_ms(10_100);
    let again = rig.envelopes();
    assert!(matches!(again[..], [Envelope { body: Body::SyncRequest { .. }, .. }]), "{again:?}");
    let request = again[0].header.request_id;
    rig.answer(
        conn,
        request,
        Body::SyncPage { account: Default::default(), chats: vec![changed(A, 0, 1), changed(B, 0, 1)], next: None },
    );
    let (request, chat, _) = page_request(&mut rig);
    assert_eq!(chat, A);
    let refused = |chat, code| Body::Refused { client_msg_id: bytes::Bytes::new(), chat, code, retry_after_ms: 0 };
    rig.answer(conn, request, refused(A, ErrorCode::UnknownChat));
    rig.wait_ms(100);
    let (request, chat, _) = page_request(&mut rig);
    assert_eq!(chat, B, "a chat that cannot be read is let go");
    rig.answer(conn, request, refused(B, ErrorCode::StorageUnavailable));
    assert!(rig.envelopes().is_empty(), "not at once");
    rig.wait_ms(1_100);
    let (request, ..) = page_request(&mut rig);
    rig.page(conn, request, B, (1, 1), 1, &[1]);
    assert_eq!(rig.read(conn), [Got::Welcome, entry(B, 1), Got::Synced]);
    assert_eq!(rig.count("sync_retries"), 3);
}

#[test]
fn a_page_that_brings_nothing_is_not_asked_for_in_a_loop() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 1);
    rig.deliver(A, 3, &[target(conn, 0)]);
    let (request, ..) = page_request(&mut rig);
    rig.page(conn, request, A, (1, 0), 3, &[]);
    assert!(rig.envelopes().is_empty());
    rig.wait_ms(1_100);
    assert_eq!(page_request(&mut rig).2, 0);
}

#[test]
fn an_upgraded_connection_waits_for_its_upgrade() {
    let mut rig = Rig::new();
    let conn = rig.accept(Protocol::WebSocket);
    rig.receive(conn, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = rig.read_bytes(conn, usize::MAX);
    assert!(answer.starts_with(b"HTTP/1.1 404"));
    assert_eq!(rig.count("upgrade_failures"), 1);
}
