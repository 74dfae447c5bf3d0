//! Account logs, secret marks and ticks in one owner's hands: what they do, who hears of it, and what a crash leaves.

use bytes::Bytes;
use fabric::sim::DiskFaults;
use schema::encode::{Encoder, Extras, SendFields, SendTarget};
use schema::envelope::{AccountFacts, Address, Body, ChangedChat};
use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::{ChatId, DeviceId, MessageId};
use schema::wire::{EntryKind, MarkStatus};

use super::world::{World, small, user};

const ASKER: Address = Address { incarnation: 9, shard: 0, connection: 99, generation: 1 };
const CHAT: ChatId = ChatId([5; 16]);

fn fields<'a>(id: &'a str, kind: EntryKind, body: &'a [u8], refers_to: Option<MessageId>) -> SendFields<'a> {
    let target = SendTarget::Chat(ChatId([0; 16]));
    let (client_msg_id, content_type, after_seq, retry) = (id.as_bytes(), 0, 0, true);
    SendFields { client_msg_id, target, kind, content_type, body, refers_to, after_seq, retry }
}

struct Rig {
    world: World,
    sends: u64,
}

impl Rig {
    fn new() -> Self {
        Self { world: World::new(7, 2, small()), sends: 0 }
    }

    /// Sends a frame to a chat and waits for its answer: its seq, or why not.
    fn say(&mut self, by: u64, chat: ChatId, frame: impl FnOnce(&mut Encoder) -> Bytes) -> Result<u64, ErrorCode> {
        self.world.out.gateway.clear();
        self.world.say_in(user(by), chat, frame);
        self.world.settle();
        let mut answers = self.world.out.gateway.drain(..).map(|(_, envelope)| envelope.body);
        let answer = answers.find_map(|body| match body {
            Body::Sent { seq, .. } => Some(Ok(seq)),
            Body::Refused { code, .. } => Some(Err(code)),
            _ => None,
        });
        answer.expect("answered")
    }

    fn own(&mut self, by: u64, kind: EntryKind, body: &str, extras: &Extras<'_>) -> Result<u64, ErrorCode> {
        self.sends += 1;
        let id = format!("s{}", self.sends);
        self.say(by, ChatId::account(user(by)), |encoder| {
            let refers_to = (kind == EntryKind::hidden).then_some(MessageId([8; 16]));
            encoder.send_with(&fields(&id, kind, body.as_bytes(), refers_to), None, extras)
        })
    }

    fn set(&mut self, by: u64, key: &str, subject: Option<ChatId>, value: &str) -> Result<u64, ErrorCode> {
        self.own(by, EntryKind::setting, value, &Extras { key: key.as_bytes(), subject, ..Extras::default() })
    }

    fn revoke(&mut self, by: u64, device: u32) -> Result<u64, ErrorCode> {
        self.own(by, EntryKind::revoked, "", &Extras { device: DeviceId(device), ..Extras::default() })
    }

    fn ask(&mut self, chat: ChatId, body: Body) -> Body {
        self.world.out.gateway.clear();
        self.world.chat(chat, ASKER, body);
        self.world.settle();
        let answers = self.world.out.gateway.drain(..);
        answers.map(|(_, envelope)| envelope.body).next_back().expect("answered")
    }

    fn sync(&mut self, of: u64, device: u32, since_ms: u64) -> (Vec<ChangedChat>, AccountFacts) {
        let body = Body::SyncRequest { user: user(of), device: DeviceId(device), before: None, since_ms };
        match self.ask(ChatId::account(user(of)), body) {
            Body::SyncPage { chats, account, .. } => (chats, account),
            other => panic!("{other:?}"),
        }
    }

    /// The answer to an AccountRequest, in words.
    fn account(&mut self, of: u64) -> String {
        let body = Body::AccountRequest { user: user(of), client_request: 4, chat: Some(CHAT) };
        let Body::Answer { frame } = self.ask(ChatId::account(user(of)), body) else { panic!("no answer") };
        let frame = FrameRef::verify_from_server(&frame).expect("a frame");
        let account = frame.root().body_as_account().expect("an account");
        assert_eq!(account.request_id(), 4);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let (mut settings, mut devices) = (Vec::new(), Vec::new());
        for set in account.settings().expect("settings") {
            let (key, value) = (set.key().expect("a key"), set.value().expect("a value"));
            settings.push(format!("{}={}", text(key.bytes()), text(value.bytes())));
        }
        for known in account.devices().expect("devices") {
            let (named, revoked) = (known.named_ms() > 0, known.revoked_ms() > 0);
            let name = text(known.name().expect("a name").bytes());
            devices.push(format!("{} {name} {named} {revoked}", known.device()));
        }
        format!("{settings:?} {devices:?} {}", account.hidden().expect("hidden").len())
    }

    fn mark(&mut self, who: u64, chat: ChatId, seq: u64, status: MarkStatus, secret: bool) {
        let (user, device) = (user(who), DeviceId(1));
        self.world.chat(chat, ASKER, Body::Mark { chat, user, device, seq, message: None, status, secret });
        self.world.settle();
    }

    /// Who was told what of whom since the last call: (told, of whom, seq, read).
    fn told(&mut self) -> Vec<(u64, u64, u64, bool)> {
        let mut told = Vec::new();
        for (_, envelope) in self.world.out.router.drain(..) {
            let Body::Notify { frame, users } = &envelope.body else { continue };
            let frame = FrameRef::verify(frame).expect("a frame");
            let receipt = frame.root().body_as_receipt().expect("a receipt");
            let read = receipt.status() == MarkStatus::read;
            told.extend(users.iter().map(|user| (user.get(), receipt.user_id(), receipt.seq(), read)));
        }
        told.sort_unstable();
        told
    }

    /// What `asker` is told of `of`: delivered and read.
    fn info(&mut self, chat: ChatId, asker: u64, blind: bool, of: u64) -> (u64, u64) {
        let (client_request, after_user, limit) = (1, 0, 0);
        let body = Body::ChatRequest { chat, user: user(asker), client_request, after_user, limit, blind };
        let Body::Answer { frame } = self.ask(chat, body) else { panic!("no answer") };
        let frame = FrameRef::verify_from_server(&frame).expect("a frame");
        let info = frame.root().body_as_chat_info().expect("a chat");
        let member = info.members().expect("members").iter().find(|member| member.user_id() == of).copied();
        member.map(|member| (member.delivered_seq(), member.read_seq())).expect("a member")
    }

    /// How far others are, as a page tells a user.
    fn ticks(&mut self, chat: ChatId, of: u64, blind: bool) -> Vec<(u64, u64, u64)> {
        let body = Body::PageRequest {
            chat,
            user: user(of),
            after_seq: 1_000,
            before_seq: 0,
            newest: false,
            limit_entries: 0,
            limit_bytes: 1 << 20,
            ticks: true,
            blind,
        };
        let Body::Page { ticks, .. } = self.ask(chat, body) else { panic!("no page") };
        let Some(frame) = ticks else { return Vec::new() };
        let frame = FrameRef::verify_from_server(&frame).expect("a frame");
        let ticks = frame.root().body_as_ticks().expect("ticks");
        let members = ticks.members().expect("members");
        members.iter().map(|m| (m.user_id(), m.delivered_seq(), m.read_seq())).collect()
    }

    fn flush(&mut self) {
        for _ in 0..8 {
            self.world.advance(2_000);
            self.world.settle();
        }
    }

    fn now_ms(&self) -> u64 {
        self.world.now.wall_ms()
    }

    /// Two users with some messages from the first to the second.
    fn talk(&mut self, messages: u64) -> ChatId {
        for n in 0..messages {
            self.world.send(ASKER, user(1), user(2), &format!("m{n}"), false);
            self.world.settle();
        }
        self.told();
        ChatId::direct(user(1), user(2))
    }
}

#[test]
fn an_account_is_what_its_log_says_before_and_after_a_crash_and_a_flush() {
    let mut rig = Rig::new();
    assert_eq!(rig.account(7), "[] [] 0", "nobody has made it yet");
    assert_eq!(rig.set(7, "read_receipts", None, "off"), Ok(1));
    assert_eq!(rig.set(7, "app.theme", None, "dark"), Ok(2));
    assert_eq!(rig.set(7, "app.old", None, "x"), Ok(3));
    assert_eq!(rig.set(7, "app.old", None, ""), Ok(4));
    let named = Extras { device: DeviceId(2), ..Extras::default() };
    assert_eq!(rig.own(7, EntryKind::device, "Ada's phone", &named), Ok(5));
    assert_eq!(rig.revoke(7, 3), Ok(6));
    let revoked_ms = rig.now_ms();
    let hidden = Extras { subject: Some(CHAT), ..Extras::default() };
    assert_eq!(rig.own(7, EntryKind::hidden, "", &hidden), Ok(7));
    for round in 0..4 {
        let said = "[\"app.theme=dark\", \"read_receipts=off\"] [\"2 Ada's phone true false\", \"3  false true\"] 1";
        assert_eq!(rig.account(7), said, "round {round}");
        let (chats, facts) = rig.sync(7, 9, 0);
        assert_eq!((chats.len(), chats[0].chat, chats[0].head_seq), (1, ChatId::account(user(7)), 7));
        assert!(facts.read_receipts_off);
        assert_eq!(facts.revoked.len(), 1);
        assert!(facts.revoked[0].0 == DeviceId(3) && facts.revoked[0].1.abs_diff(revoked_ms) < 1_000);
        assert_eq!(rig.own(7, EntryKind::hidden, "", &hidden), Err(ErrorCode::NoChange));
        match round {
            0 => drop(rig.world.crash(2)),
            1 => rig.flush(),
            _ => drop(rig.world.crash(1 + round)),
        }
    }
    assert_eq!(rig.sync(8, 1, 0), (Vec::new(), AccountFacts::default()), "another's is another's");
}

#[test]
fn only_its_user_writes_to_it_and_only_what_belongs_there() {
    let mut rig = Rig::new();
    let mine = ChatId::account(user(7));
    let direct = rig.talk(1);
    for made in [false, true] {
        let message = |encoder: &mut Encoder| {
            let target = Some(SendTarget::Chat(ChatId([0; 16])));
            encoder.send_with(&fields("m", EntryKind::message, b"hello", None), target, &Extras::default())
        };
        assert_eq!(rig.say(7, mine, message), Err(ErrorCode::Unsupported), "made: {made}");
        assert_eq!(rig.say(8, mine, message), Err(ErrorCode::UnknownChat), "made: {made}");
        let setting = |encoder: &mut Encoder| {
            let extras = Extras { key: b"app.x", ..Extras::default() };
            encoder.send_with(&fields("s", EntryKind::setting, b"1", None), None, &extras)
        };
        assert_eq!(rig.say(8, mine, setting), Err(ErrorCode::UnknownChat), "made: {made}");
        assert_eq!(rig.say(1, direct, setting), Err(ErrorCode::Unsupported), "made: {made}");
        assert_eq!(rig.revoke(7, 1), Err(ErrorCode::Forbidden), "made: {made}");
        assert_eq!(rig.set(7, "volume", None, "11"), Err(ErrorCode::InvalidSetting), "made: {made}");
        assert_eq!(rig.set(7, "app.volume", None, "11"), Ok(1 + u64::from(made)));
    }
    let Body::Answer { frame } =
        rig.ask(mine, Body::ChatsRequest { user: user(7), client_request: 1, before: None, limit: 0 })
    else {
        panic!("no answer")
    };
    let frame = FrameRef::verify_from_server(&frame).expect("a frame");
    let chats = frame.root().body_as_chats().expect("chats").chats().expect("a list");
    assert_eq!(chats.len(), 0, "it is no chat to show in a list");
}

#[test]
fn what_a_failed_write_takes_with_it_was_never_set() {
    let mut rig = Rig::new();
    let well = rig.world.disk.faults();
    for (first, key, value) in [(true, "app.x", "1"), (false, "read_receipts", "off")] {
        rig.world.disk.set_faults(DiskFaults { fail_one_in: 1, ..well });
        assert_eq!(rig.set(7, key, None, value), Err(ErrorCode::StorageUnavailable), "{key}");
        rig.world.disk.set_faults(well);
        rig.world.advance(3_000);
        rig.world.settle();
        let (chats, facts) = rig.sync(7, 2, 0);
        assert_eq!((chats.len(), facts), (usize::from(!first), AccountFacts::default()), "{key}");
        assert_eq!(rig.account(7), if first { "[] [] 0" } else { "[\"app.x=1\"] [] 0" });
        rig.sends -= 1; // the same again
        assert_eq!(
            rig.set(7, key, None, value),
            Ok(if first { 1 } else { 2 }),
            "a failed first send makes the log after all"
        );
    }
    assert_eq!(rig.account(7), "[\"app.x=1\", \"read_receipts=off\"] [] 0");
}

#[test]
fn a_list_of_chats_says_what_is_set_for_each() {
    let mut rig = Rig::new();
    let chat = rig.talk(1);
    rig.set(1, "pinned", Some(chat), "on").expect("stored");
    rig.set(1, "muted_until", Some(chat), "99").expect("stored");
    rig.flush();
    rig.world.crash(2);
    for (of, pinned, muted) in [(1, true, 99), (2, false, 0)] {
        let body = Body::ChatsRequest { user: user(of), client_request: 1, before: None, limit: 0 };
        let Body::Answer { frame } = rig.ask(ChatId::account(user(of)), body) else { panic!("no answer") };
        let frame = FrameRef::verify_from_server(&frame).expect("a frame");
        let chats = frame.root().body_as_chats().expect("chats").chats().expect("a list");
        assert_eq!(chats.len(), 1);
        assert_eq!(
            (chats.get(0).pinned(), chats.get(0).archived(), chats.get(0).muted_until_ms()),
            (pinned, false, muted)
        );
    }
}

#[test]
fn what_is_read_in_secret_is_delivered_to_others_and_read_to_oneself() {
    let mut rig = Rig::new();
    let chat = rig.talk(5);
    rig.mark(2, chat, 2, MarkStatus::read, false);
    assert_eq!(rig.told(), [(1, 2, 2, true), (2, 2, 2, true)]);
    rig.mark(2, chat, 4, MarkStatus::read, true);
    assert_eq!(rig.told(), [(1, 2, 4, false), (2, 2, 4, true)]);
    for round in 0..4 {
        assert_eq!(rig.info(chat, 1, false, 2), (4, 2), "round {round}");
        assert_eq!(rig.info(chat, 1, true, 2), (4, 0), "a blind asker, round {round}");
        assert_eq!(rig.info(chat, 2, true, 2), (4, 4), "oneself, round {round}");
        assert_eq!(rig.ticks(chat, 1, false), [(2, 4, 2)], "round {round}");
        assert_eq!(rig.ticks(chat, 1, true), [(2, 4, 0)], "round {round}");
        match round {
            0 => drop(rig.world.crash(2)),
            1 => rig.flush(),
            _ => drop(rig.world.crash(2)),
        }
    }
    rig.told();
    rig.mark(2, chat, 3, MarkStatus::read, false);
    assert_eq!(rig.told(), [(1, 2, 3, true)], "told now, though it was read before");
    assert_eq!(rig.info(chat, 1, false, 2), (4, 3));
    rig.mark(2, chat, 5, MarkStatus::read, false);
    assert_eq!(rig.told(), [(1, 2, 5, true), (2, 2, 5, true)]);
    assert_eq!(rig.info(chat, 1, false, 2), (5, 5));
}

#[test]
fn a_mark_above_the_head_marks_the_head_and_is_answered() {
    let mut rig = Rig::new();
    let chat = rig.talk(3);
    rig.world.out.gateway.clear();
    rig.mark(2, chat, 99, MarkStatus::delivered, false);
    let answers: Vec<Body> = rig.world.out.gateway.drain(..).map(|(_, envelope)| envelope.body).collect();
    assert!(
        matches!(&answers[..], [Body::Refused { code: ErrorCode::MarkBeyondHead, client_msg_id, .. }] if client_msg_id.is_empty()),
        "{answers:?}"
    );
    assert_eq!(rig.told(), [(1, 2, 3, false)]);
}

#[test]
fn who_was_away_is_told_which_chats_ticked_since_then() {
    let mut rig = Rig::new();
    let chat = rig.talk(3);
    rig.mark(1, chat, 3, MarkStatus::delivered, false);
    let ticked = |rig: &mut Rig, of: u64, since_ms: u64| -> Vec<(ChatId, bool)> {
        rig.sync(of, 1, since_ms).0.iter().map(|changed| (changed.chat, changed.ticked)).collect()
    };
    let before = rig.now_ms();
    assert_eq!(ticked(&mut rig, 1, 1), [], "there is nobody else's mark");
    rig.mark(2, chat, 2, MarkStatus::delivered, false);
    let after = rig.now_ms() + 1;
    for round in 0..3 {
        assert_eq!(ticked(&mut rig, 1, before), [(chat, true)], "the head is acknowledged; round {round}");
        assert_eq!(ticked(&mut rig, 1, 0), [], "who does not ask is not told; round {round}");
        if round == 0 {
            assert_eq!(ticked(&mut rig, 1, after), []);
            rig.flush();
        } else {
            rig.world.crash(2);
        }
    }
    assert_eq!(rig.ticks(chat, 1, false), [(2, 2, 0)]);
    assert_eq!(rig.ticks(ChatId::direct(user(1), user(2)), 2, false), [(1, 3, 0)], "each is told of the other");
}
