//! A request goes on once its user's account is known, and as that says.

use schema::encode::{DeviceFields, EntryFields, Extras};

use super::*;

const HIDDEN: MessageId = MessageId([8; 16]);

fn account(settings: &[(&[u8], &[u8])], devices: &[DeviceFields<'_>], hidden: &[MessageId]) -> Bytes {
    Encoder::new().account(0, settings, devices, hidden)
}

fn device(id: u32, revoked_ms: u64) -> DeviceFields<'static> {
    DeviceFields { device: DeviceId(id), name: b"phone", named_ms: 1, revoked_ms }
}

/// Everything that can be asked.
fn asks() -> [fn(&mut Desk<u32>, Identity, &mut Owners); 6] {
    const CHAT: ChatId = ChatId([1; 16]);
    [
        |desk, from, owners| desk.post(at(0), &Post { from, ..post(b"x", b"a") }, 1, owners).unwrap(),
        |desk, from, owners| desk.page(at(0), PageAsk { from, ..page() }, 1, owners).unwrap(),
        |desk, from, owners| desk.ask(at(0), from, Ask::Chats { before: None, limit: 0 }, 1, owners).unwrap(),
        |desk, from, owners| desk.ask(at(0), from, Ask::Status { chat: CHAT, message: HIDDEN }, 1, owners).unwrap(),
        |desk, from, owners| desk.ask(at(0), from, Ask::Account { chat: None }, 1, owners).unwrap(),
        |desk, from, owners| desk.read(at(0), from, (CHAT, HIDDEN), 1, owners).unwrap(),
    ]
}

#[test]
fn a_revoked_device_comes_in_with_a_newer_token_only() {
    let devices = [device(1, 10_500), device(2, 0)];
    for (id, issued_s, lets_in) in [
        (1, None, false),
        (1, Some(9), false),
        (1, Some(10), false),
        (1, Some(11), true),
        (2, None, true),
        (3, None, true),
    ] {
        for ask in asks() {
            let (mut desk, mut owners) = (desk(10, 1), Owners::default());
            ask(&mut desk, Identity { issued_s, ..Identity::of(user(7), DeviceId(id)) }, &mut owners);
            let asked = owners.0.pop().unwrap();
            let answer = desk.handle(at(0), known(&asked, account(&[], &devices, &[])), &mut owners);
            if lets_in {
                assert!(!matches!(answer, Some((_, Err(_)))), "{id} {issued_s:?}: {answer:?}");
            } else {
                assert_eq!(answer, Some((1, Err(refusal(ErrorCode::TokenRevoked)))), "{id} {issued_s:?}");
                assert_eq!((owners.0.len(), desk.in_flight()), (0, 0), "nothing went out");
                desk.post(at(0), &post(b"x", b"b"), 2, &mut owners).expect("its credit is there again");
            }
        }
    }
}

#[test]
fn a_request_whose_account_does_not_answer_goes_no_further() {
    for ask in asks() {
        let (mut desk, mut owners) = (desk(10, 1), Owners::default());
        ask(&mut desk, seven(), &mut owners);
        let asked = owners.0.pop().unwrap();
        let chat = ChatId::account(user(7));
        let code = ErrorCode::StorageUnavailable;
        let body = Body::Refused { client_msg_id: Bytes::new(), chat, code, retry_after_ms: 250 };
        let refused = Envelope::new(Class::Sync, body).reply_to(asked.header.reply);
        let answer = desk.handle(at(0), refused, &mut owners);
        assert_eq!(answer, Some((1, Err(Refusal { code, retry_after_ms: 250 }))));
        assert_eq!((owners.0.len(), desk.in_flight()), (0, 0));
        // Neither does one that is answered with something else, or given up.
        ask(&mut desk, seven(), &mut owners);
        let asked = owners.0.pop().unwrap();
        let answer = desk.handle(at(0), known(&asked, Bytes::from_static(b"no frame")), &mut owners);
        assert_eq!(answer, Some((1, Err(refusal(ErrorCode::Internal)))));
        ask(&mut desk, seven(), &mut owners);
        assert_eq!(desk.expire(at(5_000)), [(1, refusal(ErrorCode::Overloaded))]);
        let asked = owners.0.pop().unwrap();
        assert_eq!(desk.handle(at(0), known(&asked, account(&[], &[], &[])), &mut owners), None);
        assert_eq!((owners.0.len(), desk.metrics().late.get()), (0, 1));
        desk.post(at(5_000), &post(b"x", b"b"), 2, &mut owners).expect("its credit is there again");
    }
}

#[test]
fn who_tells_nobody_what_they_read_sees_it_of_nobody() {
    for (value, off) in [(&b"off"[..], true), (b"on", false)] {
        let settings = [(&b"app.x"[..], &b"off"[..]), (b"read_receipts", value)];
        let (mut desk, mut owners) = (desk(10, 1), Owners::default());
        let chat = ChatId([1; 16]);
        desk.read(at(0), seven(), (chat, HIDDEN), 1, &mut owners).unwrap();
        desk.ask(at(0), seven(), Ask::Chat { chat, after_user: 0, limit: 0 }, 2, &mut owners).unwrap();
        desk.ask(at(0), seven(), Ask::Status { chat, message: HIDDEN }, 3, &mut owners).unwrap();
        for asked in core::mem::take(&mut owners.0) {
            desk.handle(at(0), known(&asked, account(&settings, &[], &[])), &mut owners);
        }
        let [mark, info, status] = &owners.0[..] else { panic!("{:?}", owners.0) };
        assert!(matches!(mark.body, Body::Mark { secret, .. } if secret == off));
        assert!(matches!(info.body, Body::ChatRequest { blind, .. } if blind == off));
        assert!(matches!(status.body, Body::StatusRequest { blind, .. } if blind == off));
    }
}

fn entry(message: MessageId, kind: EntryKind, refers_to: Option<MessageId>) -> Bytes {
    let fields = EntryFields {
        chat: page().chat,
        message,
        seq: 1,
        sender: user(9),
        device: DeviceId(1),
        kind,
        content_type: 0,
        body: b"secret",
        client_msg_id: b"c",
        refers_to,
        after_seq: 0,
        timestamp_ms: 1,
    };
    Encoder::new().entry_with(&fields, &Extras::default())
}

#[test]
fn a_page_is_without_what_its_user_has_hidden() {
    let other = |n: u8| MessageId([n; 16]);
    let entries: Vec<(u64, Bytes)> = [
        entry(other(1), EntryKind::message, None),
        entry(HIDDEN, EntryKind::message, None),
        entry(other(3), EntryKind::edited, Some(HIDDEN)),
        entry(other(4), EntryKind::reacted, Some(HIDDEN)),
        entry(other(5), EntryKind::deleted, Some(HIDDEN)),
        entry(other(6), EntryKind::message, Some(HIDDEN)),
        entry(other(7), EntryKind::edited, Some(other(1))),
    ]
    .into_iter()
    .zip(1..)
    .map(|(frame, seq)| (seq, frame))
    .collect();
    for (hidden, seen) in [
        (&[][..], &[1, 2, 3, 4, 5, 6, 7][..]),
        (&[other(99)], &[1, 2, 3, 4, 5, 6, 7]),
        (&[other(99), HIDDEN, other(2)], &[1, 6, 7]),
    ] {
        let (mut desk, mut owners) = (desk(10, 1), Owners::default());
        desk.page(at(0), page(), 1, &mut owners).unwrap();
        let asked = owners.0.pop().unwrap();
        assert!(matches!(asked.body, Body::AccountRequest { chat: Some(chat), .. } if chat == page().chat));
        desk.handle(at(0), known(&asked, account(&[], &[], hidden)), &mut owners);
        let asked = owners.0.pop().unwrap();
        let (chat, entries) = (page().chat, entries.clone());
        let body = Body::Page { ticks: None, chat, covers_first: 1, covers_last: 7, head_seq: 7, entries };
        let answer = desk.handle(at(0), Envelope::new(Class::Sync, body).reply_to(asked.header.reply), &mut owners);
        let Some((1, Ok(Answer::Page { covers: (1, 7), head_seq: 7, entries }))) = answer else { panic!("{answer:?}") };
        assert_eq!(entries.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), seen);
    }
}

#[test]
fn a_page_that_cannot_be_looked_through_is_none() {
    let (mut desk, mut owners) = (desk(10, 1), Owners::default());
    desk.page(at(0), page(), 1, &mut owners).unwrap();
    let asked = owners.0.pop().unwrap();
    desk.handle(at(0), known(&asked, account(&[], &[], &[HIDDEN])), &mut owners);
    let asked = owners.0.pop().unwrap();
    let entries = vec![(1, Bytes::from_static(b"no frame"))];
    let body = Body::Page { ticks: None, chat: page().chat, covers_first: 1, covers_last: 1, head_seq: 1, entries };
    let answer = desk.handle(at(0), Envelope::new(Class::Sync, body).reply_to(asked.header.reply), &mut owners);
    assert_eq!(answer, Some((1, Err(refusal(ErrorCode::Internal)))));
}

#[test]
fn an_account_is_answered_as_its_owner_says() {
    let (mut desk, mut owners) = (desk(10, 1), Owners::default());
    desk.ask(at(0), seven(), Ask::Account { chat: None }, 1, &mut owners).unwrap();
    let asked = owners.0.pop().unwrap();
    let frame = account(&[(b"app.x", b"1")], &[device(1, 0)], &[]);
    let answer = desk.handle(at(0), known(&asked, frame.clone()), &mut owners);
    assert_eq!(answer, Some((1, Ok(Answer::Frame(frame)))));
    assert_eq!((owners.0.len(), desk.in_flight()), (0, 0));
}
