//! Amendments, the own account, and what happened while the device was away.

use schema::encode::{DeviceFields, Encoder};
use schema::wire::Role;

use super::*;

fn owned(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn amendments_wait_their_turn_and_say_what_their_sender_had_seen() {
    let mut bench = Bench::ready(Config::default(), 1);
    for seq in 1..=4 {
        let entry = bench.entry(chat(1), seq, 0);
        bench.bytes(&entry);
    }
    bench.send("m", chat(1)).unwrap();
    let (chat_id, about) = (chat(1), message(2));
    let edit = Amendment::Edited {
        chat: chat_id,
        message: about,
        content_type: 3,
        body: owned("new"),
        mentions: vec![user(2)],
    };
    bench.tell(|core, cx| core.amend(cx, owned("e"), edit)).unwrap();
    assert!(bench.written().is_empty(), "the window is one");
    bench.tell(|core, cx| core.amend(cx, owned("t"), Amendment::Timer { chat: chat_id, ttl_s: 60 })).unwrap();
    let ack = bench.encoder.sent(b"m", chat_id, message(5), 5, 1);
    bench.bytes(&ack);
    let frames = bench.frames();
    let edit = frames[0].root().body_as_send().unwrap();
    assert_eq!((edit.kind(), edit.content_type(), edit.after_seq()), (EntryKind::edited, 3, 4));
    assert_eq!(edit.refers_to().map(MessageId::from), Some(about));
    assert_eq!((edit.body().unwrap().bytes(), edit.users().unwrap().get(0)), (&b"new"[..], 2));
    bench.refuse(ErrorCode::TooLate, "e");
    assert!(matches!(bench.out[0], Output::Event(Event::Failed { .. })), "{:?}", bench.out);
    let frames = bench.frames();
    let timer = frames[0].root().body_as_send().unwrap();
    assert_eq!((timer.kind(), timer.ttl_s(), timer.refers_to()), (EntryKind::timer, 60, None));
}

#[test]
fn a_message_carries_what_it_answers_whom_it_mentions_and_how_often_it_was_passed_on() {
    let mut bench = Bench::ready(Config::default(), 10);
    let send = NewSend::message(owned("a"), SendTarget::Chat(chat(1)), owned("hello"));
    let send = send.reply_to(message(9)).mentioning([user(4), user(5)]).forwarded(255);
    bench.tell(|core, cx| core.send(cx, send)).unwrap();
    let frames = bench.frames();
    let said = frames[0].root().body_as_send().unwrap();
    assert_eq!((said.forwarded(), said.refers_to().map(MessageId::from)), (255, Some(message(9))));
    assert_eq!(said.users().unwrap().iter().collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn what_is_the_users_own_goes_to_the_account_log_over_a_reconnect() {
    let mut bench = Bench::new(Config::default());
    let pin = || AccountChange::Setting { key: owned("pinned"), value: owned("on"), subject: Some(chat(1)) };
    bench.tell(|core, cx| core.handle(cx, Input::Start));
    let early = bench.tell(|core, cx| core.change_account(cx, owned("s"), pin()));
    assert_eq!(early, Err(SendError::NoIdentity), "whose log it is, the first session says");
    bench.join(10);
    let account = bench.tell(|core, cx| core.change_account(cx, owned("s"), pin())).unwrap();
    assert_eq!(account, ChatId::account(user(1)));
    let revoke = AccountChange::Revoked { device: DeviceId(7) };
    bench.tell(|core, cx| core.change_account(cx, owned("r"), revoke)).unwrap();
    bench.tell(|core, cx| core.handle(cx, Input::Disconnected));
    bench.join(10);
    let frames = bench.frames();
    let sends: Vec<_> = frames.iter().filter_map(|frame| frame.root().body_as_send()).collect();
    assert_eq!(
        (sends[0].kind(), sends[0].chat_id(), sends[0].to(), sends[0].retry()),
        (EntryKind::setting, None, 0, true)
    );
    assert_eq!(sends[0].key().unwrap().bytes(), b"pinned");
    assert_eq!(sends[0].subject().map(ChatId::from), Some(chat(1)));
    assert_eq!((sends[1].kind(), sends[1].device()), (EntryKind::revoked, 7));
    let ack = bench.encoder.sent(b"s", account, message(1), 1, 1);
    bench.bytes(&ack);
    assert!(matches!(bench.out[0], Output::Event(Event::Sent { seq: 1, .. })), "{:?}", bench.out);
    let kinds = [EntryKind::edited, EntryKind::timer, EntryKind::setting, EntryKind::revoked];
    for kind in kinds {
        let send = NewSend { kind, ..NewSend::message(owned("k"), SendTarget::Chat(chat(1)), Bytes::new()) };
        assert_eq!(bench.tell(|core, cx| core.send(cx, send)), Err(SendError::NotPlain(kind.0)));
    }
}

#[test]
fn an_account_is_told_to_whom_asked() {
    let mut bench = Bench::ready(Config::default(), 10);
    let request = bench.tell(|core, cx| core.ask(cx, Question::Account { chat: Some(chat(1)) })).unwrap();
    let asked = bench.frames()[0].root().body_as_account_request().map(|ask| ask.request_id());
    assert_eq!(asked, Some(request));
    let phone = DeviceFields { device: DeviceId(2), name: b"phone", named_ms: 5, revoked_ms: 0 };
    let frame = bench.encoder.account(request, &[(b"read_receipts", b"off")], &[phone], &[message(3)]);
    bench.bytes(&frame);
    let [Output::Event(Event::Account(account))] = &bench.out[..] else { panic!("{:?}", bench.out) };
    assert_eq!(account.settings, [(owned("read_receipts"), owned("off"))]);
    let device = AccountDevice { device: DeviceId(2), name: owned("phone"), named_ms: 5, revoked_ms: 0 };
    assert_eq!((&account.devices[..], &account.hidden[..]), (&[device][..], &[message(3)][..]));
    bench.bytes(&frame);
    assert!(bench.out.is_empty(), "an answer nobody waits for");
}

#[test]
fn the_server_is_told_when_the_device_was_last_synced_and_tells_what_rose_since() {
    let hello = |bench: &Bench| bench.frames()[0].root().body_as_hello().map(|hello| hello.synced_ms());
    let mut bench = Bench::new(Config::default());
    bench.tell(|core, cx| core.handle(cx, Input::Start));
    bench.tell(|core, cx| core.handle(cx, Input::Connected { token: b"t" }));
    assert_eq!(hello(&bench), Some(0), "never");
    bench.tell(|core, cx| core.handle(cx, Input::Disconnected));
    bench.join(10);
    let synced = Encoder::new().synced(1_234);
    bench.bytes(&synced);
    let kept = Output::Persist(Change::Synced { server_time_ms: 1_234 });
    assert_eq!(format!("{:?}", bench.out[1]), format!("{kept:?}"), "{:?}", bench.out);
    bench.tell(|core, cx| core.handle(cx, Input::Disconnected));
    bench.tell(|core, cx| core.handle(cx, Input::Connected { token: b"t" }));
    assert_eq!(hello(&bench), Some(1_234));
    let image = Image { synced_ms: 77, ..Image::default() };
    let mut bench = Bench { core: Core::new(Arc::new(Config::default()), image), ..Bench::new(Config::default()) };
    bench.tell(|core, cx| core.handle(cx, Input::Start));
    bench.tell(|core, cx| core.handle(cx, Input::Connected { token: b"t" }));
    assert_eq!(hello(&bench), Some(77), "over a restart");
}

#[test]
fn ticks_are_told_where_they_rise() {
    let mut bench = Bench::ready(Config::default(), 10);
    let member = |n, delivered_seq, read_seq| Member { user: user(n), delivered_seq, read_seq, role: Role::member };
    let ticks = |bench: &mut Bench, members: &[Member]| {
        let frame = Encoder::new().ticks(chat(1), members);
        bench.bytes(&frame);
        match &bench.out[..] {
            [] => Vec::new(),
            [Output::Event(Event::Ticks { chat: told, members })] if *told == chat(1) => members.clone(),
            other => panic!("{other:?}"),
        }
    };
    let first = [member(2, 5, 3), member(3, 4, 0)];
    assert_eq!(ticks(&mut bench, &first), first);
    assert_eq!(ticks(&mut bench, &[member(2, 5, 3), member(3, 4, 1)]), [member(3, 4, 1)]);
    assert_eq!(ticks(&mut bench, &[member(2, 4, 2)]), [], "a tick is never lowered");
}
