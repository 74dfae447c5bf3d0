//! What a session knows of its user's account: revoked devices, and who is told what is read.

use fabric::core::ConnId;
use schema::encode::{EntryFields, Extras, SendFields, SendTarget};
use schema::envelope::{AccountFacts, Body, ChangedChat, Class, Envelope};
use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::{ChatId, DeviceId};
use schema::wire::{EntryKind, MarkStatus};

use super::harness::{Got, Rig, message_id, target, user};

const CHAT: ChatId = ChatId([1; 16]);
/// The world's clock at the start, s since 1970.
const NOW_S: u64 = 1_700_000_000;

fn off() -> AccountFacts {
    AccountFacts { read_receipts_off: true, ..AccountFacts::default() }
}

fn page(rig: &mut Rig, conn: ConnId, request: u64, account: AccountFacts, chats: Vec<ChangedChat>) {
    rig.answer(conn, request, Body::SyncPage { chats, next: None, account });
}

/// An entry of user 1's account log, pushed.
fn own_entry(rig: &mut Rig, conn: ConnId, seq: u64, kind: EntryKind, at_ms: u64, body: &[u8], extras: &Extras<'_>) {
    let chat = ChatId::account(user(1));
    let fields = EntryFields {
        chat,
        message: message_id(chat, seq),
        seq,
        sender: user(1),
        device: DeviceId(9),
        kind,
        content_type: 0,
        body,
        client_msg_id: b"x",
        refers_to: None,
        after_seq: 0,
        timestamp_ms: at_ms,
    };
    let frame = rig.encoder.entry_with(&fields, extras);
    let targets = [target(conn, seq - 1)].as_slice().into();
    rig.handle(Envelope::new(Class::Live, Body::Deliver { chat, seq, frame, targets }));
}

fn setting(rig: &mut Rig, conn: ConnId, seq: u64, value: &[u8]) {
    let extras = Extras { key: b"read_receipts", ..Extras::default() };
    own_entry(rig, conn, seq, EntryKind::setting, 1, value, &extras);
}

/// Marks, and says whether the mark that left is a secret one.
fn marks_in_secret(rig: &mut Rig, conn: ConnId) -> bool {
    rig.envelopes();
    let frame = rig.encoder.mark(CHAT, 3, None, MarkStatus::read);
    rig.receive(conn, &frame);
    let envelopes = rig.envelopes();
    let [Envelope { body: Body::Mark { secret, .. }, .. }] = &envelopes[..] else { panic!("one mark: {envelopes:?}") };
    *secret
}

fn receipt(rig: &mut Rig, conn: ConnId, of: u64) {
    let frame = rig.encoder.receipt(CHAT, message_id(CHAT, 2), 2, user(of), MarkStatus::read);
    let targets = [(conn.index, conn.generation)].as_slice().into();
    rig.handle(Envelope::new(Class::Live, Body::DeliverNotice { frame, targets }));
}

/// The statuses of the receipts that a client got.
fn receipts(rig: &mut Rig, conn: ConnId) -> Vec<MarkStatus> {
    let bytes = rig.read_bytes(conn, usize::MAX);
    let (mut rest, mut got) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let len = schema::frame::frame_len(rest, 1 << 20).unwrap().unwrap();
        let frame = FrameRef::verify_from_server(&rest[..len]).unwrap();
        got.extend(frame.root().body_as_receipt().map(|receipt| receipt.status()));
        rest = &rest[len..];
    }
    got
}

#[test]
fn a_revoked_device_is_given_nothing_and_a_later_token_lets_it_in() {
    let at_ms = NOW_S * 1_000 + 500;
    for (token, revoked) in [
        ("1:7".to_owned(), true),
        (format!("1:7@{}", NOW_S - 1), true),
        (format!("1:7@{NOW_S}"), true),
        (format!("1:7@{}", NOW_S + 1), false),
        ("1:8".to_owned(), false),
    ] {
        let mut rig = Rig::new();
        let (conn, request) = rig.session_with(&token);
        rig.deliver(CHAT, 1, &[target(conn, 0)]);
        receipt(&mut rig, conn, 2);
        let ping = rig.encoder.ping(1);
        rig.receive(conn, &ping);
        assert_eq!(rig.read(conn), [], "{token}: nothing before it is known who it is");
        let account = AccountFacts { revoked: vec![(DeviceId(7), at_ms)], ..AccountFacts::default() };
        page(&mut rig, conn, request, account, Vec::new());
        let got = rig.read(conn);
        if revoked {
            assert_eq!(got, [Got::Goodbye(ErrorCode::TokenRevoked)], "{token}");
        } else {
            assert_eq!(
                got,
                [Got::Welcome, Got::Receipt, Got::Pong(1)],
                "{token}: what was held comes now, the entry by a page"
            );
        }
        assert_eq!(rig.count("sessions_revoked"), u64::from(revoked));
    }
}

#[test]
fn a_session_about_which_nothing_comes_ends() {
    let mut rig = Rig::new();
    let (conn, _) = rig.session(1, 7);
    let mut asked = 0;
    for _ in 0..29 {
        rig.wait_ms(1_000);
        asked += rig.envelopes().iter().filter(|sent| matches!(sent.body, Body::SyncRequest { .. })).count();
        assert_eq!(rig.read(conn), []);
    }
    assert_eq!(asked, 2, "it is asked for again");
    rig.wait_ms(2_000);
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::Overloaded)]);
    assert_eq!(rig.count("account_timeouts"), 1);
}

#[test]
fn a_live_session_ends_when_its_device_is_revoked_and_only_then() {
    let mut rig = Rig::new();
    let conn = rig.synced_with(&format!("1:7@{NOW_S}"));
    let device = |device| Extras { device: DeviceId(device), ..Extras::default() };
    own_entry(&mut rig, conn, 1, EntryKind::revoked, NOW_S * 1_000 + 1, b"", &device(8));
    own_entry(&mut rig, conn, 2, EntryKind::revoked, NOW_S * 1_000 - 1, b"", &device(7));
    assert_eq!(rig.read(conn).len(), 2, "another device, and a token of before this one");
    // Even where the entry is not the next one.
    own_entry(&mut rig, conn, 9, EntryKind::revoked, NOW_S * 1_000, b"", &device(7));
    assert_eq!(rig.read(conn), [Got::Goodbye(ErrorCode::TokenRevoked)]);
}

#[test]
fn who_tells_nobody_marks_in_secret_and_asks_blindly() {
    let mut rig = Rig::new();
    let (conn, request) = rig.session(1, 7);
    page(&mut rig, conn, request, off(), Vec::new());
    assert!(marks_in_secret(&mut rig, conn));
    let frame = rig.encoder.chat_request(1, CHAT, 0, 0);
    rig.receive(conn, &frame);
    let status = rig.encoder.status_request(2, CHAT, message_id(CHAT, 1));
    rig.receive(conn, &status);
    let blind = rig.envelopes().iter().all(|envelope| {
        matches!(envelope.body, Body::ChatRequest { blind: true, .. } | Body::StatusRequest { blind: true, .. })
    });
    assert!(blind);
    setting(&mut rig, conn, 1, b"on");
    assert!(!marks_in_secret(&mut rig, conn), "another device has changed it");
    setting(&mut rig, conn, 2, b"off");
    assert!(marks_in_secret(&mut rig, conn));
}

#[test]
fn what_others_read_is_delivered_to_who_tells_nobody() {
    let mut rig = Rig::new();
    let (private, request) = rig.session(1, 7);
    receipt(&mut rig, private, 2);
    page(&mut rig, private, request, off(), Vec::new());
    assert_eq!(receipts(&mut rig, private), [MarkStatus::delivered], "held until it was known");
    receipt(&mut rig, private, 2);
    receipt(&mut rig, private, 1);
    assert_eq!(receipts(&mut rig, private), [MarkStatus::delivered, MarkStatus::read], "their own is as it was");
    let open = rig.synced(3, 1);
    receipt(&mut rig, open, 2);
    assert_eq!(receipts(&mut rig, open), [MarkStatus::read]);
}

#[test]
fn ticks_that_were_asked_for_before_are_asked_for_again_by_who_tells_nobody() {
    let mut rig = Rig::new();
    let (conn, request) = rig.session(1, 7);
    let changed = ChangedChat { chat: CHAT, head_seq: 3, acked_seq: 3, last_ms: 5, ticked: true };
    page(&mut rig, conn, request, AccountFacts::default(), vec![changed]);
    let ticks = rig.encoder.ticks(CHAT, &[]);
    setting(&mut rig, conn, 1, b"off");
    for (round, said) in [(false, vec![Got::Welcome]), (true, vec![Got::Ticks])] {
        let asked = rig.envelopes();
        let page = asked.iter().find_map(|sent| match sent.body {
            Body::PageRequest { ticks: true, blind, .. } => Some((sent.header.request_id, blind)),
            _ => None,
        });
        let (request, blind) = page.unwrap_or_else(|| panic!("{asked:?}"));
        assert_eq!(blind, round);
        let body = Body::Page {
            chat: CHAT,
            covers_first: 4,
            covers_last: 3,
            head_seq: 3,
            entries: vec![],
            ticks: Some(ticks.clone()),
        };
        rig.answer(conn, request, body);
        let got: Vec<Got> = rig.read(conn).into_iter().filter(|got| !matches!(got, Got::Entry { .. })).collect();
        assert_eq!(got, said, "asked blind: {blind}");
    }
}

#[test]
fn a_sessions_own_setting_counts_from_its_send_on_or_from_its_answer() {
    let mut rig = Rig::new();
    let conn = rig.synced(1, 7);
    let account = ChatId::account(user(1));
    let send = |rig: &mut Rig, id: &[u8], value: &[u8]| {
        let (target, kind, content_type) = (SendTarget::Chat(account), EntryKind::setting, 0);
        let (refers_to, after_seq, retry) = (None, 0, false);
        let fields =
            SendFields { client_msg_id: id, target, kind, content_type, body: value, refers_to, after_seq, retry };
        let extras = Extras { key: b"read_receipts", ..Extras::default() };
        let frame = rig.encoder.send_with(&fields, None, &extras);
        rig.receive(conn, &frame);
    };
    send(&mut rig, b"a", b"off");
    assert!(marks_in_secret(&mut rig, conn), "at once");
    rig.sent(conn, b"a", account, 1);
    let asked = rig.envelopes();
    let [Envelope { header, body: Body::SyncRequest { .. } }] = &asked[..] else { panic!("{asked:?}") };
    page(&mut rig, conn, header.request_id, off(), Vec::new());
    send(&mut rig, b"b", b"on");
    assert!(marks_in_secret(&mut rig, conn), "not before it is stored");
    rig.sent(conn, b"b", account, 2);
    let request = rig.envelopes()[0].header.request_id;
    assert!(!marks_in_secret(&mut rig, conn));
    page(&mut rig, conn, request, AccountFacts::default(), Vec::new());
    // Refused: what counts is asked for.
    send(&mut rig, b"c", b"off");
    rig.envelopes();
    rig.refused(conn, b"c", account, ErrorCode::AccountFull);
    let request = rig.envelopes()[0].header.request_id;
    assert!(marks_in_secret(&mut rig, conn));
    page(&mut rig, conn, request, AccountFacts::default(), Vec::new());
    assert!(!marks_in_secret(&mut rig, conn));
}

#[test]
fn chats_that_ticked_are_asked_for_one_at_a_time_and_told() {
    let mut rig = Rig::new();
    let conn = rig.accept(fabric::core::Protocol::Native);
    let hello = rig.encoder.hello_again(b"1:7", b"test", 0, 77, None);
    rig.receive(conn, &hello);
    let epoch = match &rig.envelopes()[..] {
        [Envelope { body: Body::Register { epoch, .. }, .. }] => *epoch,
        other => panic!("{other:?}"),
    };
    rig.answer(conn, 0, Body::Registered { epoch });
    let asked = rig.envelopes();
    let [Envelope { header, body: Body::SyncRequest { since_ms: 77, .. } }] = &asked[..] else { panic!("{asked:?}") };
    let changed =
        |id, head_seq, acked_seq| ChangedChat { chat: ChatId([id; 16]), head_seq, acked_seq, last_ms: 5, ticked: true };
    page(&mut rig, conn, header.request_id, off(), vec![changed(1, 3, 3), changed(2, 5, 4)]);
    let ticks = rig.encoder.ticks(CHAT, &[]);
    for (chat, after, entries, said) in [
        (1, 3, vec![], vec![Got::Welcome, Got::Ticks]),
        (2, 4, vec![5], vec![Got::Entry { chat: ChatId([2; 16]), seq: 5 }]),
    ] {
        let chat = ChatId([chat; 16]);
        let asked = rig.envelopes();
        let [Envelope { header, body: Body::PageRequest { chat: of, after_seq, ticks: true, blind: true, .. } }] =
            &asked[..]
        else {
            panic!("{asked:?}")
        };
        assert_eq!((*of, *after_seq), (chat, after));
        let entries: Vec<_> = entries.into_iter().map(|seq| (seq, rig.entry(chat, seq, b"x"))).collect();
        let (covers_first, covers_last) = (after + 1, after + entries.len() as u64);
        let ticks = (chat == CHAT).then(|| ticks.clone());
        let body = Body::Page { chat, covers_first, covers_last, head_seq: covers_last, entries, ticks };
        rig.answer(conn, header.request_id, body);
        let got = rig.read(conn);
        assert_eq!(got[..said.len()], said);
    }
    assert!(rig.envelopes().is_empty(), "each once");
    assert_eq!(rig.count("syncs_completed"), 1);
}
