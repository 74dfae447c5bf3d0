//! The desk: bounds, deadlines, credits, and whose answer is whose.

use std::sync::Arc;

use bytes::Bytes;
use fabric::tier::Egress;
use fabric::time::Now;
use schema::encode::{Encoder, SendTarget};
use schema::envelope::{Address, Body, Class, Envelope};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, DeviceId, MessageId, Slot, UserId};
use schema::wire::{EntryKind, MarkStatus};

use super::{Answer, Desk, DeskConfig, DeskMetrics, PageAsk, Post, Refusal};
use crate::auth::Identity;
use crate::rates::UserRates;
use crate::wire::{Ask, SendEvent};

mod account;
mod hold;
mod lost;
mod places;
mod traced;

#[derive(Default)]
struct Owners(Vec<Envelope>);

impl Egress for Owners {
    fn to_owner(&mut self, slot: Slot, envelope: Envelope) {
        assert_eq!(slot, envelope.header.slot);
        self.0.push(envelope);
    }
    fn to_partition(&mut self, _: u16, _: Envelope) {
        unreachable!("a gateway knows no partitions");
    }
    fn to_router(&mut self, _: UserId, _: Envelope) {
        unreachable!("HTTP registers nobody");
    }
    fn to_gateway(&mut self, _: Address, _: Envelope) {
        unreachable!("nothing goes to sessions");
    }
    fn to_all_gateways(&mut self, _: Envelope) {
        unreachable!("nothing goes to sessions");
    }
}

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

fn at(ms: u64) -> Now {
    Now { mono_ns: ms * 1_000_000, wall_ticks: 0 }
}

fn desk(in_flight: u32, credits: u32) -> Desk<u32> {
    let config = DeskConfig {
        shard: 4,
        incarnation: 77,
        partitions: 2,
        credits_per_partition: credits,
        in_flight,
        deadline_ms: 5_000,
        hold_ms: 8_000,
        frame_limit_bytes: 1_024,
        traces: None,
    };
    Desk::new(config, Arc::new(UserRates::new(0, 0, 1)), DeskMetrics::default())
}

fn post<'a>(body: &'a [u8], id: &'a [u8]) -> Post<'a> {
    let send = SendEvent {
        client_msg_id: id.into(),
        target: Some(SendTarget::User(user(9))),
        kind: EntryKind::message,
        body: body.into(),
        retry: true,
        ..SendEvent::default()
    };
    Post { from: seven(), send, caller: None }
}

fn seven() -> Identity {
    Identity::of(user(7), DeviceId(1))
}

fn page() -> PageAsk {
    let chat = ChatId::direct(user(7), user(9));
    let (after_seq, before_seq, newest) = (0, 0, true);
    PageAsk { from: seven(), chat, after_seq, before_seq, newest, limit_entries: 50, limit_bytes: 1 << 20 }
}

/// The account's answer to `asked`: this frame.
fn known(asked: &Envelope, frame: Bytes) -> Envelope {
    assert!(matches!(asked.body, Body::AccountRequest { client_request: 0, .. }), "the account first: {asked:?}");
    assert_eq!(asked.header.slot, ChatId::account(user(7)).slot());
    Envelope::new(Class::Sync, Body::Answer { frame }).reply_to(asked.header.reply)
}

/// The accounts of all that was asked have nothing in them; what goes out then takes the questions' places.
fn pass(desk: &mut Desk<u32>, owners: &mut Owners) {
    for asked in core::mem::take(&mut owners.0) {
        if !matches!(asked.body, Body::AccountRequest { .. }) {
            owners.0.push(asked);
            continue;
        }
        let frame = Encoder::new().account(0, &[], &[], &[]);
        assert_eq!(desk.handle(at(0), known(&asked, frame), owners), None, "what was asked for is still to come");
    }
}

fn refusal(code: ErrorCode) -> Refusal {
    code.into()
}

/// The answer to `asked`, a send.
fn sent(asked: &Envelope) -> Envelope {
    let Body::Send { frame, chat, .. } = &asked.body else { panic!("{asked:?}") };
    let client_msg_id = frame.share(frame.root().body_as_send().unwrap().client_msg_id().unwrap().bytes());
    let body = Body::Sent { client_msg_id, chat: *chat, message: MessageId([3; 16]), seq: 5, timestamp_ms: 6 };
    let mut envelope = Envelope::new(Class::Ack, body).reply_to(asked.header.reply);
    envelope.header.request_id = asked.header.request_id;
    envelope
}

fn refused(asked: &Envelope, code: ErrorCode) -> Envelope {
    let (client_msg_id, chat) = match &asked.body {
        Body::Send { chat, .. } => (Bytes::from_static(b"id"), *chat),
        Body::PageRequest { chat, .. } => (Bytes::new(), *chat),
        other => panic!("{other:?}"),
    };
    let body = Body::Refused { client_msg_id, chat, code, retry_after_ms: 250 };
    let mut envelope = Envelope::new(Class::Ack, body).reply_to(asked.header.reply);
    envelope.header.request_id = asked.header.request_id;
    envelope
}

#[test]
fn an_answer_finds_the_request_it_is_for() {
    let (mut desk, mut owners) = (desk(10, 10), Owners::default());
    desk.post(at(0), &post(b"hello", b"a"), 1, &mut owners).unwrap();
    desk.page(at(0), page(), 2, &mut owners).unwrap();
    desk.post(at(0), &post(b"again", b"b"), 3, &mut owners).unwrap();
    pass(&mut desk, &mut owners);
    let [first, asked, second] = &owners.0[..] else { panic!("{owners:?}", owners = owners.0) };
    let Body::Send { frame, retry: true, to: Some(to), .. } = &first.body else { panic!("{first:?}") };
    assert_eq!((*to, frame.root().body_as_send().unwrap().body().unwrap().bytes()), (user(9), &b"hello"[..]));
    assert!(matches!(asked.body, Body::PageRequest { newest: true, limit_entries: 50, .. }));
    assert_eq!(first.header.deadline_ns, 5_000_000_000);
    let (second, asked, first) = (sent(second), refused(asked, ErrorCode::UnknownChat), sent(first));
    let mut none = Owners::default();
    let chat = ChatId::direct(user(7), user(9));
    let answer = Answer::Sent { chat, message: MessageId([3; 16]), seq: 5, timestamp_ms: 6 };
    assert_eq!(desk.handle(at(0), second, &mut none), Some((3, Ok(answer.clone()))));
    let unknown = Refusal { code: ErrorCode::UnknownChat, retry_after_ms: 250 };
    assert_eq!(desk.handle(at(0), asked, &mut none), Some((2, Err(unknown))));
    assert_eq!(desk.handle(at(0), first.clone(), &mut none), Some((1, Ok(answer))));
    assert_eq!((desk.in_flight(), none.0.len()), (0, 0));
    // A place that is used again is another request's.
    desk.page(at(1), page(), 9, &mut owners).unwrap();
    let mut again = first;
    again.body = Body::Page { ticks: None, chat, covers_first: 1, covers_last: 0, head_seq: 0, entries: Vec::new() };
    assert_eq!(desk.handle(at(0), again, &mut none), None);
    assert_eq!((desk.metrics().late.get(), desk.in_flight()), (1, 1));
}

#[test]
fn requests_in_flight_are_bounded() {
    let (mut desk, mut owners) = (desk(3, 2), Owners::default());
    desk.post(at(0), &post(b"x", b"a"), 1, &mut owners).unwrap();
    desk.post(at(0), &post(b"x", b"b"), 2, &mut owners).unwrap();
    assert_eq!(desk.post(at(0), &post(b"x", b"c"), 3, &mut owners), Err(refusal(ErrorCode::Overloaded)));
    assert_eq!(desk.metrics().refused_no_credit.get(), 1);
    desk.page(at(0), page(), 4, &mut owners).unwrap();
    assert_eq!(desk.page(at(0), page(), 5, &mut owners), Err(refusal(ErrorCode::Overloaded)));
    assert_eq!((desk.metrics().refused_full.get(), owners.0.len()), (1, 3));
    pass(&mut desk, &mut owners);
    let answer = sent(&owners.0[0]);
    assert!(desk.handle(at(0), answer, &mut owners).is_some());
    desk.post(at(0), &post(b"x", b"c"), 6, &mut owners).unwrap();
}

#[test]
fn what_is_not_answered_in_time_is_given_up_and_its_credit_comes_back_later() {
    let (mut desk, mut owners) = (desk(10, 1), Owners::default());
    desk.post(at(0), &post(b"x", b"a"), 1, &mut owners).unwrap();
    pass(&mut desk, &mut owners);
    desk.page(at(1_000), page(), 2, &mut owners).unwrap();
    assert_eq!(desk.next_deadline_ns(), Some(5_000_000_000));
    assert_eq!(desk.expire(at(4_999)), []);
    assert_eq!(desk.expire(at(5_000)), [(1, refusal(ErrorCode::Overloaded))]);
    assert_eq!(desk.next_deadline_ns(), Some(6_000_000_000));
    assert_eq!(desk.post(at(5_000), &post(b"x", b"a"), 3, &mut owners), Err(refusal(ErrorCode::Overloaded)));
    let late = sent(&owners.0[0]);
    assert_eq!(desk.handle(at(0), late, &mut owners), None);
    assert_eq!((desk.metrics().late.get(), desk.metrics().expired.get()), (1, 1));
    desk.post(at(5_001), &post(b"x", b"a"), 4, &mut owners).unwrap();
    assert_eq!(desk.expire(at(60_000)).len(), 2);
    assert_eq!((desk.next_deadline_ns(), desk.in_flight()), (None, 0));
}

#[test]
fn an_owner_forgets_what_it_refused() {
    let (mut desk, mut owners) = (desk(10, 1), Owners::default());
    for (code, told) in [(ErrorCode::StorageUnavailable, 1), (ErrorCode::InvalidField, 0)] {
        desk.post(at(0), &post(b"x", b"a"), 1, &mut owners).unwrap();
        pass(&mut desk, &mut owners);
        let answer = refused(&owners.0.pop().unwrap(), code);
        let reply = answer.header.reply;
        let got = desk.handle(at(0), answer, &mut owners);
        assert_eq!(got, Some((1, Err(Refusal { code, retry_after_ms: 250 }))));
        assert_eq!(owners.0.len(), told, "{code}");
        if let Some(Envelope { header, body }) = owners.0.pop() {
            assert_eq!((header.reply, body), (reply, Body::ForgetRefusals { chat: ChatId::direct(user(7), user(9)) }));
        }
    }
}

#[test]
fn what_cannot_be_a_message_is_refused_here() {
    let (mut desk, mut owners) = (desk(10, 1), Owners::default());
    let mut post = |body: &[u8], id: &[u8]| desk.post(at(0), &post(body, id), 1, &mut owners);
    assert_eq!(post(b"x", b""), Err(refusal(ErrorCode::InvalidClientMsgId)));
    assert_eq!(post(b"x", &[b'x'; 65]), Err(refusal(ErrorCode::InvalidClientMsgId)));
    assert_eq!(post(&[b'x'; 1_024], b"id"), Err(refusal(ErrorCode::FrameTooLarge)));
    assert_eq!(post(&[b'x'; 2_000], b"id"), Err(refusal(ErrorCode::FrameTooLarge)));
    assert_eq!(post(&[b'x'; 800], &[b'x'; 64]), Ok(()));
}

fn change(kind: EntryKind, name: &str, users: Vec<UserId>) -> Post<'_> {
    let chat = ChatId::group(user(7), b"first");
    let target = (kind != EntryKind::created).then_some(SendTarget::Chat(chat));
    let Post { from, send, caller } = post(name.as_bytes(), b"g");
    Post { from, send: SendEvent { target, kind, users, ..send }, caller }
}

#[test]
fn a_change_goes_to_the_owner_of_its_group() {
    let (mut desk, mut owners) = (desk(10, 10), Owners::default());
    let (made, given) = (ChatId::group(user(7), b"g"), ChatId::group(user(7), b"first"));
    for (post, chat) in [
        (change(EntryKind::created, "Hiking", vec![user(9)]), made),
        (change(EntryKind::created, "Alone", Vec::new()), made),
        (change(EntryKind::added, "", vec![user(11), user(12)]), given),
        (change(EntryKind::left, "", Vec::new()), given),
        (change(EntryKind::renamed, "Climbing", Vec::new()), given),
    ] {
        desk.post(at(0), &post, 1, &mut owners).unwrap();
        pass(&mut desk, &mut owners);
        let asked = owners.0.pop().unwrap();
        let Body::Send { frame, chat: to, to: None, .. } = &asked.body else { panic!("{asked:?}") };
        let send = frame.root().body_as_send().unwrap();
        assert_eq!((*to, send.kind(), send.chat_id().is_some()), (chat, post.send.kind, chat == given));
        assert_eq!(send.body().unwrap().bytes(), &*post.send.body);
        assert_eq!(send.users().map_or(0, |users| users.len()), post.send.users.len());
    }
}

#[test]
fn what_cannot_be_a_change_is_refused_here() {
    let (mut desk, mut owners) = (desk(10, 1), Owners::default());
    let long = "n".repeat(257);
    for (post, code) in [
        (change(EntryKind::created, "", Vec::new()), ErrorCode::InvalidName),
        (change(EntryKind::renamed, &long, Vec::new()), ErrorCode::InvalidName),
        (change(EntryKind::added, "", Vec::new()), ErrorCode::InvalidField),
        (change(EntryKind::removed, "name", vec![user(9)]), ErrorCode::InvalidField),
        (change(EntryKind::left, "", vec![user(9)]), ErrorCode::InvalidField),
        (change(EntryKind(99), "", Vec::new()), ErrorCode::Unsupported),
        (change(EntryKind::added, "", (1..=200).map(user).collect()), ErrorCode::FrameTooLarge),
    ] {
        assert_eq!(desk.post(at(0), &post, 1, &mut owners), Err(refusal(code)), "{:?}", post.send.kind);
    }
    assert_eq!((owners.0.len(), desk.in_flight()), (0, 0));
}

#[test]
fn a_question_is_answered_with_a_frame_and_a_mark_with_nothing() {
    let (mut desk, mut owners) = (desk(2, 1), Owners::default());
    let (chat, message) = (ChatId::group(user(7), b"g"), MessageId([3; 16]));
    desk.ask(at(0), seven(), Ask::Chats { before: Some((5, chat)), limit: 3 }, 1, &mut owners).unwrap();
    desk.ask(at(0), seven(), Ask::Status { chat, message }, 2, &mut owners).unwrap();
    let full = desk.ask(at(0), seven(), Ask::Chat { chat, after_user: 0, limit: 0 }, 3, &mut owners);
    assert_eq!(full, Err(refusal(ErrorCode::Overloaded)));
    pass(&mut desk, &mut owners);
    let [list, status] = &owners.0[..] else { panic!("{owners:?}", owners = owners.0) };
    assert_eq!(list.header.slot, ChatId::account(user(7)).slot(), "lists are asked of the user's own owner");
    assert!(matches!(list.body, Body::ChatsRequest { before: Some(at), limit: 3, .. } if at.last_ms == 5));
    assert!(matches!(status.body, Body::StatusRequest { message: MessageId([3, ..]), client_request: 0, .. }));
    let frame = Bytes::from_static(b"frame");
    let answer = |asked: &Envelope| {
        Envelope::new(Class::Sync, Body::Answer { frame: frame.clone() }).reply_to(asked.header.reply)
    };
    let (list, status) = (answer(list), answer(status));
    assert_eq!(desk.handle(at(0), status, &mut owners), Some((2, Ok(Answer::Frame(frame.clone())))));
    assert_eq!(desk.handle(at(0), list, &mut owners), Some((1, Ok(Answer::Frame(frame.clone())))));
    owners.0.clear();
    desk.read(at(0), seven(), (chat, message), 3, &mut owners).unwrap();
    let asked = owners.0.pop().unwrap();
    let nothing = Encoder::new().account(0, &[], &[], &[]);
    assert_eq!(desk.handle(at(0), known(&asked, nothing), &mut owners), Some((3, Ok(Answer::Marked))));
    let [Envelope { header, body }] = &owners.0[..] else { panic!("{owners:?}", owners = owners.0) };
    assert_eq!((header.reply, desk.in_flight()), (Address::NOBODY, 0));
    let read = (user(7), DeviceId(1), MarkStatus::read);
    let Body::Mark { user, device, seq: 0, message: Some(marked), status, secret: false, .. } = *body else {
        panic!("{body:?}")
    };
    assert_eq!(((user, device, status), marked), (read, message));
}

#[test]
fn a_user_is_held_to_one_rate_with_their_sessions() {
    let config = DeskConfig { in_flight: 100, ..desk(1, 100).config().clone() };
    let rates = Arc::new(UserRates::new(10, 2, 1));
    let mut desk = Desk::new(config, Arc::clone(&rates), DeskMetrics::default());
    let mut owners = Owners::default();
    rates.take(&rates.of(user(7), 0), 0).unwrap();
    desk.post(at(0), &post(b"x", b"a"), 1, &mut owners).unwrap();
    let refused = desk.post(at(0), &post(b"x", b"b"), 2, &mut owners).unwrap_err();
    assert_eq!(refused.code, ErrorCode::RateLimited);
    assert!((1..=100).contains(&refused.retry_after_ms), "{refused:?}");
}

#[test]
fn strangers_mail_is_counted_and_dropped() {
    let (mut desk, mut owners) = (desk(10, 1), Owners::default());
    desk.page(at(0), page(), 1, &mut owners).unwrap();
    pass(&mut desk, &mut owners);
    let mut other = refused(&owners.0[0], ErrorCode::UnknownChat);
    other.header.reply.incarnation += 1;
    assert_eq!(desk.handle(at(0), other, &mut owners), None);
    let mut unfit = refused(&owners.0[0], ErrorCode::UnknownChat);
    unfit.body = Body::Registered { epoch: 1 };
    assert_eq!(desk.handle(at(0), unfit, &mut owners), None);
    assert_eq!((desk.metrics().foreign.get(), desk.in_flight()), (2, 1));
}
