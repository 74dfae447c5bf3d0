//! The rules, one at a time.

mod amendments;
mod resume;

use schema::encode::{EntryFields, SendTarget};
use schema::errors::ErrorCode;
use schema::frame::VerifiedFrame;
use schema::ids::MessageId;
use schema::wire::{self, Body, EntryKind};

use super::*;

struct Dice;
impl Entropy for Dice {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(7);
    }
}

struct Bench {
    core: Core,
    now: Now,
    encoder: schema::encode::Encoder,
    counters: Counters,
    out: Vec<Output>,
}

fn chat(n: u8) -> ChatId {
    ChatId([n; 16])
}

fn message(n: u64) -> MessageId {
    schema::timeuuid::from_parts(n, [0x80, 0, 1, 0, 0, 0, 0, 0])
}

impl Bench {
    fn new(config: Config) -> Self {
        let core = Core::new(Arc::new(config), Image::default());
        let now = Now { mono_ns: 1_000_000_000, wall_ticks: 1 };
        let (encoder, counters) = (schema::encode::Encoder::new(), Counters::default());
        Self { core, now, encoder, counters, out: Vec::new() }
    }

    fn tell<T>(&mut self, then: impl FnOnce(&mut Core, &mut Cx<'_>) -> T) -> T {
        self.out.clear();
        let Self { core, now, encoder, counters, out } = self;
        then(core, &mut Cx { now: *now, encoder, entropy: &mut Dice, counters, out })
    }

    fn ready(config: Config, window: u32) -> Self {
        let mut bench = Self::new(config);
        bench.tell(|core, cx| core.handle(cx, Input::Start));
        bench.join(window);
        bench
    }

    fn join(&mut self, window: u32) {
        self.tell(|core, cx| core.handle(cx, Input::Connected { token: b"t" }));
        assert_eq!(self.written()[0], Body::Hello);
        self.welcome(window);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.tell(|core, cx| core.handle(cx, Input::Bytes(bytes)));
    }

    fn entry(&mut self, chat: ChatId, seq: u64, kind: u8) -> Bytes {
        self.encoder.entry(&EntryFields {
            chat,
            message: message(seq),
            seq,
            sender: UserId::new(2).unwrap(),
            device: DeviceId(1),
            kind: EntryKind(kind),
            content_type: 0,
            body: b"b",
            client_msg_id: b"x",
            refers_to: None,
            after_seq: 0,
            timestamp_ms: 1,
        })
    }

    fn send(&mut self, id: &'static str, to: ChatId) -> Result<ChatId, SendError> {
        let send = NewSend::message(Bytes::from_static(id.as_bytes()), SendTarget::Chat(to), Bytes::new());
        self.tell(|core, cx| core.send(cx, send))
    }

    fn refuse(&mut self, code: ErrorCode, id: &str) {
        let frame = self.encoder.error(code, "", 0, id.as_bytes());
        self.bytes(&frame);
    }

    fn frames(&self) -> Vec<VerifiedFrame> {
        let writes = self.out.iter().filter_map(|o| if let Output::Write(frame) = o { Some(frame) } else { None });
        writes.map(|frame| VerifiedFrame::verify(frame.clone()).unwrap()).collect()
    }

    fn written(&self) -> Vec<Body> {
        self.frames().iter().map(|frame| frame.root().body_type()).collect()
    }

    /// Ids and retry flags of the sends written.
    fn sends(&self) -> Vec<(String, bool)> {
        let frames = self.frames();
        let sends = frames.iter().filter_map(|frame| frame.root().body_as_send());
        sends.map(|s| (String::from_utf8(s.client_msg_id().unwrap().bytes().to_vec()).unwrap(), s.retry())).collect()
    }

    fn seqs(&self) -> Vec<u64> {
        let entry = |o: &Output| if let Output::Event(Event::Entry(entry)) = o { Some(entry.seq()) } else { None };
        self.out.iter().filter_map(entry).collect()
    }

    fn tick_due(&mut self) {
        self.now.mono_ns = self.core.next_deadline_ns().unwrap();
        self.tell(|core, cx| core.handle(cx, Input::Tick));
    }
}

fn owned(sends: &[(&str, bool)]) -> Vec<(String, bool)> {
    sends.iter().map(|&(id, retry)| (id.to_owned(), retry)).collect()
}

#[test]
fn a_batch_gives_one_cumulative_mark_per_chat_after_the_position_is_stored() {
    let mut bench = Bench::ready(Config { handling: Handling::OnDelivery, ..Config::default() }, 10);
    let mut batch = Vec::new();
    for seq in 1..=5 {
        batch.extend_from_slice(&bench.entry(chat(1), seq, 0));
        batch.extend_from_slice(&bench.entry(chat(2), seq + 7, 200));
    }
    for byte in &batch[..batch.len() - 1] {
        assert!(bench.core.partial.len() < 4_096);
        bench.tell(|core, cx| core.handle(cx, Input::Bytes(&[*byte])));
    }
    assert_eq!(bench.core.cursor(chat(1)), Some(5));
    let mut bench = Bench::ready(Config { handling: Handling::OnDelivery, ..Config::default() }, 10);
    bench.bytes(&batch);
    assert_eq!(bench.seqs(), [1, 8, 2, 9, 3, 10, 4, 11, 5, 12], "unknown kinds too");
    assert_eq!(bench.written(), [Body::Mark, Body::Mark]);
    let stored = bench.out.iter().position(|o| matches!(o, Output::Persist(Change::Handled { seq: 5, .. }))).unwrap();
    assert!(stored < bench.out.iter().position(|o| matches!(o, Output::Write(_))).unwrap());
}

#[test]
fn explicit_handling_marks_nothing_before_the_application_says_so() {
    let mut bench = Bench::ready(Config::default(), 10);
    let entry = bench.entry(chat(1), 1, 0);
    bench.bytes(&entry);
    assert_eq!((bench.seqs(), bench.written()), (vec![1], vec![]));
    bench.tell(|core, cx| core.handled(cx, chat(1), 1));
    assert_eq!(bench.written(), [Body::Mark]);
    bench.bytes(&entry);
    assert_eq!((bench.seqs(), bench.written()), (vec![], vec![Body::Mark]), "repeated: the server is behind");
}

#[test]
fn a_refused_chat_waits_for_all_answers_then_resends_in_order_while_others_go_on() {
    let mut bench = Bench::ready(Config::default(), 10);
    for id in ["a", "b", "c"] {
        bench.send(id, chat(1)).unwrap();
    }
    bench.refuse(ErrorCode::Overloaded, "a");
    bench.send("d", chat(1)).unwrap();
    assert_eq!(bench.sends(), []);
    bench.send("other", chat(2)).unwrap();
    assert_eq!(bench.sends(), owned(&[("other", false)]));
    bench.refuse(ErrorCode::AfterRefused, "b");
    let before_ns = bench.now.mono_ns;
    bench.refuse(ErrorCode::AfterRefused, "c");
    bench.tick_due();
    assert!(bench.now.mono_ns - before_ns >= 1_000_000_000, "as long as the server asked for");
    assert_eq!(bench.sends(), owned(&[("a", true), ("b", true), ("c", true), ("d", false)]));
}

#[test]
fn never_fails_the_send_and_blocks_nothing() {
    let mut bench = Bench::ready(Config::default(), 10);
    bench.send("a", chat(1)).unwrap();
    bench.refuse(ErrorCode::Forbidden, "a");
    assert!(matches!(bench.out[0], Output::Event(Event::Failed { .. })));
    bench.send("b", chat(1)).unwrap();
    assert_eq!(bench.sends(), owned(&[("b", false)]));
}

#[test]
fn the_window_is_kept_and_an_ack_makes_room() {
    let mut bench = Bench::ready(Config { outbox_sends: 3, ..Config::default() }, 2);
    for id in ["a", "b", "c"] {
        bench.send(id, chat(1)).unwrap();
    }
    assert_eq!(bench.sends(), []);
    assert!(matches!(bench.send("d", chat(1)), Err(SendError::OutboxFull { sends: 3, .. })));
    assert_eq!(bench.send("c", chat(1)), Err(SendError::DuplicateId));
    let ack = bench.encoder.sent(b"a", chat(1), message(1), 1, 1);
    bench.bytes(&ack);
    assert_eq!(bench.sends(), owned(&[("c", false)]));
}

#[test]
fn a_broken_connection_resends_everything_unanswered_in_order() {
    let mut bench = Bench::ready(Config::default(), 10);
    for id in ["a", "b"] {
        bench.send(id, chat(1)).unwrap();
    }
    bench.tell(|core, cx| core.handle(cx, Input::Disconnected));
    assert!(bench.out.iter().any(|o| matches!(o, Output::Connect { after_ms: 100..=300 })));
    bench.join(10);
    assert_eq!(bench.sends(), owned(&[("a", true), ("b", true)]));
}

#[test]
fn a_gap_is_asked_for_and_filled_in_order() {
    let mut bench = Bench::ready(Config::default(), 10);
    let entries: Vec<_> = (1..=6).map(|seq| bench.entry(chat(1), seq, 0)).collect();
    bench.bytes(&entries[0]);
    bench.bytes(&entries[5]);
    assert_eq!(bench.seqs(), []);
    bench.tick_due();
    let ask = bench.frames().remove(0);
    let ask = ask.root().body_as_history_request().unwrap().request_id();
    // 3 has expired.
    let page = [&entries[1][..], &entries[3], &entries[4]].into_iter();
    let page = bench.encoder.history_page(ask, chat(1), (2, 5), 6, page);
    bench.bytes(&page);
    assert_eq!(bench.seqs(), [2, 4, 5, 6]);
}

#[test]
fn silence_and_goodbyes_reconnect_but_a_newer_session_ends_it() {
    let mut bench = Bench::ready(Config::default(), 10);
    bench.tick_due();
    assert_eq!(bench.written(), [Body::Ping]);
    bench.tick_due();
    assert!(matches!(bench.out[0], Output::Close), "{:?}", bench.out);
    bench.join(10);
    let goodbye = bench.encoder.goodbye(ErrorCode::GoingAway, "", 5_000);
    bench.bytes(&goodbye);
    assert!(bench.out.iter().any(|o| matches!(o, Output::Connect { after_ms: 5_000..=7_500 })));
    bench.join(10);
    let goodbye = bench.encoder.goodbye(ErrorCode::SessionReplaced, "", 0);
    bench.bytes(&goodbye);
    assert!(matches!(bench.out[..], [Output::Close, Output::Event(Event::Ended(End::Server(_)))]));
    assert_eq!(bench.core.next_deadline_ns(), None);
    assert_eq!(bench.send("a", chat(1)), Err(SendError::Ended));
}

#[test]
fn an_idle_core_with_one_chat_is_small() {
    let bytes = size_of::<Core>() + size_of::<Chat>() + 3 * size_of::<u64>();
    assert!(bytes <= 500, "{bytes} bytes: core {} chat {}", size_of::<Core>(), size_of::<Chat>());
}

#[test]
fn the_largest_body_fits_a_frame() {
    let mut bench = Bench::ready(Config::default(), 10);
    let body = Bytes::from(vec![0; BODY_BYTES]);
    let target = SendTarget::Chat(chat(1));
    let mut send = NewSend::message(Bytes::from(vec![b'i'; 64]), target, body);
    send.refers_to = Some(message(1));
    bench.tell(|core, cx| core.send(cx, send)).unwrap();
    assert_eq!(bench.written(), [Body::Send]);
}

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

#[test]
fn a_new_group_is_known_before_its_answer_and_is_the_same_when_it_is_sent_again() {
    let create = || GroupChange::Created { name: Bytes::from_static(b"Hiking"), users: vec![user(2), user(3)] };
    let mut bench = Bench::new(Config::default());
    bench.tell(|core, cx| core.handle(cx, Input::Start));
    let unknown = bench.tell(|core, cx| core.change(cx, Bytes::from_static(b"g"), create()));
    assert_eq!(unknown, Err(SendError::NoIdentity), "the id follows from the own user");
    bench.join(10);
    let group = bench.tell(|core, cx| core.change(cx, Bytes::from_static(b"g"), create())).unwrap();
    assert_eq!(group, ChatId::group(user(1), b"g"));
    bench.send("first", group).unwrap();
    bench.tell(|core, cx| core.handle(cx, Input::Disconnected));
    bench.join(10);
    assert_eq!(bench.sends(), owned(&[("g", true), ("first", true)]), "in order with the sends to it");
    let frames = bench.frames();
    let made = frames[0].root().body_as_send().unwrap();
    assert_eq!((made.kind(), made.chat_id(), made.to()), (EntryKind::created, None, 0));
    assert_eq!(made.body().unwrap().bytes(), b"Hiking");
    assert_eq!(made.users().unwrap().iter().collect::<Vec<_>>(), [2, 3]);
    let ack = bench.encoder.sent(b"g", group, message(1), 1, 1);
    bench.bytes(&ack);
    assert!(matches!(bench.out[0], Output::Event(Event::Sent { seq: 1, .. })), "{:?}", bench.out);
    assert_eq!(bench.core.cursor(group), Some(1));
}

#[test]
fn a_change_says_whom_it_concerns_and_a_send_does_not_pass_for_one() {
    let mut bench = Bench::ready(Config::default(), 10);
    let change = GroupChange::Role { group: chat(1), users: vec![user(9)], role: wire::Role::admin };
    bench.tell(|core, cx| core.change(cx, Bytes::from_static(b"r"), change)).unwrap();
    let frames = bench.frames();
    let made = frames[0].root().body_as_send().unwrap();
    assert_eq!((made.kind(), made.role(), made.users().unwrap().len()), (EntryKind::role, wire::Role::admin, 1));
    assert_eq!(made.chat_id().map(ChatId::from), Some(chat(1)));
    bench.refuse(ErrorCode::NotAnAdmin, "r");
    assert!(matches!(bench.out[0], Output::Event(Event::Failed { .. })));
    let target = SendTarget::Chat(chat(1));
    let mut left = NewSend::message(Bytes::from_static(b"l"), target, Bytes::new());
    left.kind = EntryKind::left;
    assert_eq!(bench.tell(|core, cx| core.send(cx, left)), Err(SendError::NotPlain(19)));
    let users = vec![user(9); 9_000];
    let many = GroupChange::Added { group: chat(1), users };
    let refused = bench.tell(|core, cx| core.change(cx, Bytes::from_static(b"m"), many));
    assert!(matches!(refused, Err(SendError::TooLarge { body_bytes: 72_000, .. })), "{refused:?}");
}

#[test]
fn a_mark_that_may_have_been_refused_is_said_again_after_a_while() {
    let mut bench = Bench::ready(Config::default(), 10);
    let entry = bench.entry(chat(1), 1, 0);
    bench.bytes(&entry);
    bench.tell(|core, cx| core.mark_read(cx, chat(1), 1));
    assert_eq!(bench.written(), [Body::Mark]);
    let frame = bench.encoder.error(ErrorCode::Overloaded, "", 300, b"");
    bench.bytes(&frame);
    assert_eq!(bench.written(), [], "not at once");
    assert_eq!(bench.core.next_deadline_ns(), Some(bench.now.mono_ns + 300_000_000));
    bench.now.mono_ns += 300_000_000;
    bench.tell(|core, cx| core.handle(cx, Input::Tick));
    let mark = bench.frames()[0].root().body_as_mark().map(|mark| (mark.seq(), mark.status()));
    assert_eq!(mark, Some((1, MarkStatus::read)));
    bench.refuse(ErrorCode::UnknownChat, "");
    assert_eq!(bench.core.next_deadline_ns().map(|at| at > bench.now.mono_ns + 1_000_000_000), Some(true), "for good");
}

#[test]
fn questions_are_asked_in_turn_and_each_gets_its_own_answer() {
    let mut bench = Bench::ready(Config::default(), 10);
    let of = bench.tell(|core, cx| core.ask(cx, Question::Chat { chat: chat(1), after_user: None, limit: 7 })).unwrap();
    let asked = bench.frames()[0].root().body_as_chat_request().map(|ask| (ask.request_id(), ask.limit()));
    assert_eq!(asked, Some((of, 7)));
    let list = bench.tell(|core, cx| core.ask(cx, Question::Chats { before: Some((5, chat(3))), limit: 0 })).unwrap();
    assert_eq!(bench.written(), [], "one at a time");
    let member = Member { user: user(2), delivered_seq: 4, read_seq: 3, role: wire::Role::admin };
    let last = bench.entry(chat(1), 4, 0);
    let fields = schema::encode::ChatInfoFields {
        request_id: of,
        chat: chat(1),
        kind: wire::ChatKind::group,
        name: b"Hiking",
        created_by: 2,
        members: &[member],
        member_count: 1,
        next_user: 0,
        head_seq: 4,
        last_ms: 1,
        read_seq: 3,
        unread: 1,
        present: true,
        last_entry: Some(&last),
    };
    let info = bench.encoder.chat_info(&fields);
    bench.bytes(&info);
    let [Output::Event(Event::Chat(told)), Output::Write(_)] = &bench.out[..] else { panic!("{:?}", bench.out) };
    assert_eq!((told.request, &told.members[..], &told.name[..]), (of, &[member][..], &b"Hiking"[..]));
    assert_eq!(told.last_entry.as_ref().map(Entry::seq), Some(4));
    assert_eq!(bench.written(), [Body::ChatsRequest]);
    bench.bytes(&info);
    assert!(bench.out.is_empty(), "an answer nobody waits for");
    let listed = bench.encoder.chat_info(&schema::encode::ChatInfoFields { request_id: 0, ..fields });
    let page = bench.encoder.chats(list, [(&listed[..], Default::default())].into_iter(), true);
    bench.bytes(&page);
    let [Output::Event(Event::Chats(page))] = &bench.out[..] else { panic!("{:?}", bench.out) };
    assert_eq!((page.chats.len(), page.has_more), (1, true));
    let status = Question::Status { chat: chat(1), message: message(4) };
    let request = bench.tell(|core, cx| core.ask(cx, status)).unwrap();
    bench.refuse(ErrorCode::UnknownMessage, "");
    let [Output::Event(Event::AskFailed { request: failed, failure: AskFailure::Refused(_) })] = bench.out[..] else {
        panic!("{:?}", bench.out)
    };
    assert_eq!(failed, request);
}
