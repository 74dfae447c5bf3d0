//! Whatever is dropped, doubled, delayed or overtaken: the client sees every chat in seq order, without holes, and in the
//! end all of it.

use std::collections::{BTreeMap, VecDeque};

use fabric::core::{Action, ConnId};
use gateway::Limits;
use schema::encode::SendTarget;
use schema::envelope::{Body, Class, Envelope, GapScope};
use schema::ids::{ChatId, UserId};
use schema::wire::MarkStatus;

use super::harness::{Got, Rig, config, target};
use super::model::{Client, DEVICE, Log, Net, Random, USER, answer, chats, listing};

struct Run {
    rig: Rig,
    random: Random,
    logs: BTreeMap<ChatId, Log>,
    chats: Vec<ChatId>,
    client: Client,
    net: Net,
    conn: ConnId,
    next_id: u64,
    /// `synced` is owed since a connect or a gap.
    owed: bool,
    /// Heads when the listing was last answered from its start, or at a gap after it.
    listed: BTreeMap<ChatId, u64>,
    lossy: bool,
    /// The client does not read.
    stalled: bool,
    /// Changes of routers.
    /// Marks that are under way behind Hello.
    marks: VecDeque<(ChatId, u64)>,
    /// What the client has no answer for is to be sent again.
    resends: bool,
    changes: u64,
    /// The session's new router has not answered it yet.
    moved: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let limits = Limits {
            out_buffer_bytes: 2_048,
            cursors_per_session: 16,
            sends_per_second_per_user: 0,
            ..Limits::default()
        };
        let rig = Rig::with(config(limits));
        let chats = chats(20);
        let logs = chats.iter().map(|&chat| (chat, Log::default())).collect();
        let net = Net { to_owner: VecDeque::new(), acks: VecDeque::new(), live: Vec::new() };
        let conn = ConnId { index: 0, generation: 0 };
        let mut run = Self {
            rig,
            random: Random(seed),
            logs,
            chats,
            client: Client::default(),
            net,
            conn,
            next_id: 0,
            owed: false,
            listed: BTreeMap::new(),
            lossy: true,
            stalled: false,
            marks: VecDeque::new(),
            resends: false,
            changes: 0,
            moved: false,
        };
        run.connect();
        run
    }

    fn connect(&mut self) {
        self.conn = self.rig.accept(fabric::core::Protocol::Native);
        let marks = if self.random.one_in(2) { self.say_again() } else { VecDeque::new() };
        let me = (!marks.is_empty()).then(|| (UserId::new(USER).unwrap(), DEVICE, marks.len() as u32));
        let token = format!("{USER}:{}", DEVICE.0);
        let hello = self.rig.encoder.hello_again(token.as_bytes(), b"test", 0, 0, me);
        self.rig.receive(self.conn, &hello);
        (self.marks, self.resends) = (marks, true);
        let envelopes = self.rig.envelopes();
        let register = envelopes.iter().find_map(|envelope| match envelope.body {
            Body::Register { epoch, .. } => Some(epoch),
            _ => None,
        });
        let at_once = self.random.below(16) as usize;
        self.say(at_once);
        self.rig.answer(self.conn, 0, Body::Registered { epoch: register.expect("it registers") });
        self.owed = true;
        self.collect();
    }

    /// What the device has, whether the owner has heard of it or not: marks of some chats.
    fn say_again(&mut self) -> VecDeque<(ChatId, u64)> {
        let mut marks = VecDeque::new();
        for (&chat, &has) in self.client.has.iter().filter(|&(_, &has)| has > 0) {
            if !self.random.one_in(4) {
                marks.push_back((chat, has));
            }
        }
        marks
    }

    /// So many of the marks that were to follow Hello come, and behind the last what the client has no answer for, in order.
    fn say(&mut self, marks: usize) {
        for (chat, has) in self.marks.drain(..marks.min(self.marks.len())) {
            let mark = self.rig.encoder.mark(chat, has, None, MarkStatus::delivered);
            self.rig.receive(self.conn, &mark);
        }
        if self.marks.is_empty() && core::mem::take(&mut self.resends) {
            for (chat, id) in &self.client.outbox {
                let frame = self.rig.send_frame(id, SendTarget::Chat(*chat), true);
                self.rig.receive(self.conn, &frame);
            }
        }
        self.collect();
    }

    fn reconnect(&mut self) {
        // What was written is lost with the socket unless it was read.
        self.rig.shard.closed(self.rig.now, self.conn, &mut self.rig.out);
        self.collect();
        self.moved = false;
        self.connect();
    }

    /// Moves what the shard sent to where it goes.
    fn collect(&mut self) {
        for envelope in self.rig.envelopes() {
            self.net.to_owner.push_back((self.conn, envelope));
        }
    }

    fn commit(&mut self) {
        let chat = self.pick();
        let expires = self.random.one_in(12);
        let conn = self.conn;
        let log = self.logs.get_mut(&chat).unwrap();
        log.head += 1;
        let (seq, acked) = (log.head, log.acked);
        if expires {
            log.expired.insert(seq);
        } else if !(self.lossy && self.random.one_in(8)) {
            self.net.live.push((chat, seq, acked, conn));
        }
    }

    fn pick(&mut self) -> ChatId {
        // A few busy chats, many quiet ones.
        let bound = if self.random.one_in(3) { self.chats.len() as u64 } else { 3 };
        self.chats[self.random.below(bound) as usize]
    }

    fn deliver(&mut self) {
        if self.net.live.is_empty() {
            return;
        }
        let at = match self.random.below(3) {
            0 => self.random.below(self.net.live.len() as u64) as usize,
            _ => 0,
        };
        let (chat, seq, acked, conn) = self.net.live[at];
        if !self.random.one_in(10) {
            self.net.live.remove(at);
        }
        self.rig.deliver(chat, seq, &[target(conn, acked)]);
        self.collect();
    }

    fn owner(&mut self) {
        let Some((conn, envelope)) = self.net.to_owner.pop_front() else { return };
        let request = envelope.header.request_id;
        match &envelope.body {
            Body::Send { chat, frame, .. } => {
                let id = frame.root().body_as_send().unwrap().client_msg_id().unwrap().bytes().to_vec();
                let seq = self.logs.get_mut(chat).unwrap().store_own(&id);
                self.net.acks.push_back((conn, request, sent(*chat, &id, seq)));
            }
            Body::Mark { chat, seq, .. } => self.logs.get_mut(chat).unwrap().ack(*seq),
            Body::PageRequest { chat, .. } => {
                if self.lossy && self.random.one_in(20) {
                    return;
                }
                let (first, last, head, seqs) = answer(&mut self.logs, &envelope.body).unwrap();
                self.rig.page(conn, request, *chat, (first, last), head, &seqs);
            }
            Body::SyncRequest { before, .. } => {
                if self.lossy && self.random.one_in(20) {
                    return;
                }
                if before.is_none() && conn == self.conn {
                    self.listed = self.logs.iter().map(|(&chat, log)| (chat, log.head)).collect();
                }
                let page = listing(&self.logs, &envelope.body).unwrap();
                self.rig.answer(conn, request, page);
            }
            &Body::Register { epoch, .. } => {
                if self.lossy && self.random.one_in(3) {
                    return;
                }
                self.registered(conn, request, epoch);
            }
            Body::Unregister { .. } | Body::ForgetRefusals { .. } => {}
            other => panic!("{other:?}"),
        }
        self.collect();
    }

    fn ack(&mut self) {
        if let Some((conn, request, body)) = self.net.acks.pop_front() {
            self.rig.answer(conn, request, body);
            self.collect();
        }
    }

    fn read(&mut self, max_bytes: usize) {
        let bytes = self.rig.read_bytes(self.conn, max_bytes);
        for got in super::harness::parse(&bytes) {
            self.client.take(&got, &self.logs);
            if got == Got::Synced {
                assert!(self.owed, "nobody was promised a `synced`");
                self.owed = false;
                for (chat, &head) in &self.listed {
                    let has = self.client.has.get(chat).copied().unwrap_or(0);
                    let own = |seq| self.logs[chat].own.values().any(|&own| own == seq);
                    assert!((has + 1..=head).all(own), "synced with {chat} at {has} of {head}");
                }
            }
            assert!(!matches!(got, Got::Goodbye(_)), "{got:?}");
        }
        self.collect();
        self.rig.actions.retain(|action| matches!(action, Action::Close(_)));
        assert!(self.rig.actions.is_empty());
    }

    fn mark(&mut self) {
        self.say(usize::MAX);
        let chat = self.pick();
        let Some(&has) = self.client.has.get(&chat).filter(|&&has| has > 0) else { return };
        // One that is lost with its connection: the device has more than its owner hears of.
        if self.lossy && self.random.one_in(6) {
            return self.reconnect();
        }
        let frame = self.rig.encoder.mark(chat, has, None, MarkStatus::delivered);
        self.rig.receive(self.conn, &frame);
        self.collect();
    }

    fn send(&mut self) {
        self.say(usize::MAX);
        let chat = self.pick();
        self.next_id += 1;
        let id = self.next_id.to_be_bytes().to_vec();
        self.client.outbox.push_back((chat, id.clone()));
        self.rig.send(self.conn, &id, chat);
        self.collect();
    }

    fn gap(&mut self) {
        let conn = (self.conn.index, self.conn.generation);
        let scope = if self.random.one_in(2) { GapScope::All } else { GapScope::Sessions(vec![conn]) };
        // One that registers again lists when that stands.
        if !self.moved {
            self.must_list();
        }
        self.rig.handle(Envelope::new(Class::Control, Body::Gap(scope)));
        self.rig.wait_ms(20);
        self.collect();
    }

    /// Whatever is stored by now must have come when the next `synced` does.
    fn must_list(&mut self) {
        self.listed = self.logs.iter().map(|(&chat, log)| (chat, log.head)).collect();
        self.owed = true;
    }

    /// The way to the owners breaks, with what is on it: of what was sent there the end, of what came back all or nothing.
    fn owner_lost(&mut self) {
        let kept = self.random.below(self.net.to_owner.len() as u64 + 1) as usize;
        self.net.to_owner.truncate(kept);
        if self.random.one_in(2) {
            self.net.acks.clear();
        }
        self.net.live.clear();
        for partition in 0..2 {
            self.rig.shard.owner_lost(self.rig.now, partition, &mut self.rig.out);
        }
        self.collect();
        self.rig.drain_actions();
        let ends = |action: &Action| matches!(action, Action::Close(conn) if *conn == self.conn);
        if self.rig.actions.iter().any(ends) {
            self.rig.actions.clear();
            self.reconnect();
        } else {
            self.gap();
        }
    }

    fn routers_changed(&mut self) {
        self.changes += 1;
        self.moved = true;
        self.rig.shard.routers_changed(self.rig.now, |_| true, &mut self.rig.out);
        self.collect();
    }

    /// The new router's answer.
    fn registered(&mut self, conn: ConnId, request: u64, epoch: u64) {
        let counts = self.moved && conn == self.conn && request == self.changes;
        if counts {
            self.read(usize::MAX);
            self.read(usize::MAX);
            self.moved = false;
            self.must_list();
        }
        self.rig.answer(conn, request, Body::Registered { epoch });
        self.rig.wait_ms(20);
    }

    fn nudge(&mut self) {
        let chat = self.pick();
        let log = &self.logs[&chat];
        if log.head > log.acked {
            let targets = [target(self.conn, log.acked)].as_slice().into();
            let body = Body::DeliverNudge { chat, head_seq: log.head, targets };
            self.rig.handle(Envelope::new(Class::Control, body));
            self.collect();
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..25 => self.commit(),
            25..45 => self.deliver(),
            45..62 => self.owner(),
            62..70 => self.ack(),
            70..80 if self.stalled => self.stalled = !self.random.one_in(8),
            70..80 => {
                self.stalled = self.random.one_in(30);
                let max = self.random.below(3_000) as usize;
                self.read(max);
            }
            80..86 => self.mark(),
            86..93 => self.send(),
            93 => self.nudge(),
            94 if self.random.one_in(4) => {
                // A `synced` that is under way is the last promise's: read it first.
                self.read(usize::MAX);
                self.read(usize::MAX);
                self.gap();
            }
            95 if self.random.one_in(6) => self.reconnect(),
            96 if self.random.one_in(4) => {
                self.read(usize::MAX);
                self.read(usize::MAX);
                self.owner_lost();
            }
            97 if self.random.one_in(4) => self.routers_changed(),
            97 => self.say(2),
            _ => {
                let ms = self.random.below(400);
                self.rig.wait_ms(ms);
                let ping = self.rig.encoder.ping(1);
                self.rig.receive(self.conn, &ping);
                self.collect();
            }
        }
    }

    /// No more losses: everything must arrive, and a nudge finds what nothing else told.
    fn settle(&mut self) {
        self.lossy = false;
        self.say(usize::MAX);
        for round in 0..200 {
            for _ in 0..400 {
                self.owner();
                self.ack();
                self.deliver();
                self.read(usize::MAX);
            }
            self.rig.wait_ms(1_100);
            let ping = self.rig.encoder.ping(1);
            self.rig.receive(self.conn, &ping);
            self.collect();
            let behind: Vec<ChatId> = self.chats.iter().copied().filter(|chat| self.behind(*chat)).collect();
            if behind.is_empty() && !self.owed && self.client.outbox.is_empty() {
                return;
            }
            assert!(round < 150, "behind in {behind:?}, owed {}, outbox {}", self.owed, self.client.outbox.len());
            for chat in behind {
                let log = &self.logs[&chat];
                let targets = [target(self.conn, log.acked)].as_slice().into();
                let body = Body::DeliverNudge { chat, head_seq: log.head, targets };
                self.rig.handle(Envelope::new(Class::Control, body));
                self.collect();
            }
        }
    }

    fn behind(&self, chat: ChatId) -> bool {
        self.client.has.get(&chat).copied().unwrap_or(0) < self.logs[&chat].head
    }
}

fn sent(chat: ChatId, id: &[u8], seq: u64) -> Body {
    let message = super::harness::message_id(chat, seq);
    Body::Sent { client_msg_id: bytes::Bytes::copy_from_slice(id), chat, message, seq, timestamp_ms: 1 }
}

#[test]
fn every_chat_arrives_in_order_without_holes_whatever_is_lost() {
    let first: u64 = std::env::var("GATEWAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let seeds = if std::env::var("GATEWAY_SEED").is_ok() { 1 } else { 60 };
    let mut fired: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in first..first + seeds {
        println!("seed {seed}: GATEWAY_SEED={seed} runs it alone");
        let mut run = Run::new(seed);
        for _ in 0..1_500 {
            run.step();
        }
        run.settle();
        for (name, count) in run.rig.metrics.counts() {
            *fired.entry(name).or_default() += count;
        }
    }
    if seeds > 1 {
        for guard in GUARDS {
            assert!(fired[guard] > 0, "{guard} never fired");
        }
    }
}

/// What the runs above must have met, or they prove nothing.
const GUARDS: [&str; 19] = [
    "entries_live",
    "entries_synced",
    "entries_own",
    "entries_duplicate",
    "entries_missed",
    "entries_held_back",
    "entries_expired",
    "marks_ahead",
    "marks_behind",
    "slow_readers",
    "cursors_evicted",
    "nudges",
    "gaps",
    "sync_retries",
    "stale_addresses",
    "sent_back",
    "answers_of_before",
    "router_changes",
    "registered_again",
];
