//! A client core against a model server that loses connections, repeats, skips, refuses and forgets, while the client itself
//! crashes: the application sees every entry once and in order, every send has one outcome and one place.

mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use client::core::{Cause, Failure, new_client_msg_id};
use client::store::{ClientStore, FileStore, MemoryStore};
use client::{Config, Core, Counters, Cx, Event, Input, NewSend, Output};
use fabric::entropy::Entropy;
use fabric::time::Now;
use model::{ME, Random, Server};
use schema::encode::{Encoder, SendTarget};
use schema::ids::{ChatId, UserId};

const PEERS: [u64; 3] = [20, 21, 22];

fn chat_with(peer: u64) -> ChatId {
    ChatId::direct(UserId::new(ME).unwrap(), UserId::new(peer).unwrap())
}

/// What the application knows; it survives the client's crashes.
#[derive(Default)]
struct App {
    /// Every entry it was ever handed.
    seen: BTreeMap<ChatId, BTreeSet<u64>>,
    /// The last entry of this run.
    last: BTreeMap<ChatId, u64>,
    /// Handed over in this run, not yet confirmed.
    unconfirmed: Vec<(ChatId, u64)>,
    /// Every send in order, by chat.
    sends: Vec<(ChatId, Bytes)>,
    sent: BTreeMap<Bytes, u64>,
    failed: BTreeSet<Bytes>,
    /// Outcomes of this run.
    outcomes: BTreeSet<Bytes>,
}

struct World {
    random: Random,
    now: Now,
    encoder: Encoder,
    counters: Counters,
    store: Box<dyn TestStore>,
    config: Arc<Config>,
    core: Core,
    server: Server,
    app: App,
    connect_at: Option<u64>,
    calm: bool,
    crashes: u32,
}

/// A store that can crash.
trait TestStore {
    fn store(&mut self) -> &mut dyn ClientStore;
    fn crash(&mut self, random: &mut Random);
}

impl TestStore for MemoryStore {
    fn store(&mut self) -> &mut dyn ClientStore {
        self
    }
    fn crash(&mut self, random: &mut Random) {
        let kept = random.below(self.volatile_len() as u64 + 1) as usize;
        MemoryStore::crash(self, kept);
    }
}

struct Folder(tempfile::TempDir, Option<FileStore>);

impl TestStore for Folder {
    fn store(&mut self) -> &mut dyn ClientStore {
        self.1.get_or_insert_with(|| FileStore::open(self.0.path()).unwrap())
    }
    fn crash(&mut self, _: &mut Random) {
        self.1 = None;
    }
}

impl World {
    fn new(seed: u64, mut store: Box<dyn TestStore>) -> Self {
        let config = Arc::new(Config { backoff_ms: (20, 500), hash_seed: seed, held_entries: 8, ..Config::default() });
        let core = Core::new(config.clone(), store.store().load().unwrap());
        let mut world = Self {
            random: Random(seed),
            now: Now { mono_ns: 1, wall_ticks: 17_000_000_000_000_000 },
            encoder: Encoder::new(),
            counters: Counters::default(),
            store,
            config,
            core,
            server: Server::default(),
            app: App::default(),
            connect_at: None,
            calm: false,
            crashes: 0,
        };
        world.tell(|core, cx| core.handle(cx, Input::Start));
        world
    }

    fn tell<T>(&mut self, then: impl FnOnce(&mut Core, &mut Cx<'_>) -> T) -> T {
        let mut out = Vec::new();
        let mut cx = Cx {
            now: self.now,
            encoder: &mut self.encoder,
            entropy: &mut self.random,
            counters: &mut self.counters,
            out: &mut out,
        };
        let answer = then(&mut self.core, &mut cx);
        for output in out {
            if !self.calm && self.random.one_in(400) {
                self.crash();
                break;
            }
            self.perform(output);
        }
        answer
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Connect { after_ms } => {
                assert!(self.connect_at.is_none(), "one connection at a time");
                self.connect_at = Some(self.now.mono_ns + u64::from(after_ms) * 1_000_000);
            }
            Output::Write(frame) => {
                self.store.store().sync().unwrap();
                self.server.inbox.push_back(frame);
            }
            Output::Close => self.server.disconnect(),
            Output::Persist(change) => self.store.store().append(&change).unwrap(),
            Output::Event(event) => self.event(event),
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Entry(entry) => {
                let (chat, seq) = (entry.chat(), entry.seq());
                assert_ne!(entry.sender().get(), ME, "own sends come as outcomes");
                let last = self.app.last.insert(chat, seq).unwrap_or(0);
                assert!(seq > last, "in order and once: {seq} after {last}");
                let skipped = last + 1..seq;
                if last > 0 {
                    assert!(skipped.clone().all(|seq| self.server.needs_no_handling(chat, seq)), "missed {skipped:?}");
                }
                self.app.seen.entry(chat).or_default().insert(seq);
                self.app.unconfirmed.push((chat, seq));
            }
            Event::Sent { client_msg_id, chat, seq, .. } => {
                assert!(self.app.outcomes.insert(client_msg_id.clone()), "one outcome");
                assert_eq!(self.server.place(chat, &client_msg_id), Some(seq));
                let before = self.app.sent.insert(client_msg_id, seq);
                assert!(before.is_none_or(|before| before == seq));
            }
            Event::Failed { client_msg_id, failure } => {
                assert!(self.app.outcomes.insert(client_msg_id.clone()), "one outcome");
                assert!(matches!(failure, Failure::Refused(_)));
                self.app.failed.insert(client_msg_id);
            }
            Event::Disconnected { cause, .. } => assert_ne!(cause, Cause::BadFrame),
            Event::Ended(end) => panic!("ended: {end}"),
            _ => {}
        }
    }

    fn crash(&mut self) {
        self.crashes += 1;
        self.store.crash(&mut self.random);
        let image = self.store.store().load().unwrap();
        self.server.disconnect();
        self.connect_at = Some(self.now.mono_ns);
        // What was taken and not stored is gone with the crash, and never reached the server.
        let kept: BTreeSet<_> = image.outbox.iter().map(|send| send.client_msg_id.clone()).collect();
        let app = &mut self.app;
        app.sends.retain(|(_, id)| kept.contains(id) || app.sent.contains_key(id) || app.failed.contains(id));
        app.outcomes.clear();
        app.unconfirmed.clear();
        app.last.clear();
        for (&chat, stored) in &image.chats {
            app.last.insert(chat, stored.handled.unwrap_or(0));
        }
        self.core = Core::new(self.config.clone(), image);
        let mut out = Vec::new();
        let mut cx = Cx {
            now: self.now,
            encoder: &mut self.encoder,
            entropy: &mut self.random,
            counters: &mut self.counters,
            out: &mut out,
        };
        self.core.handle(&mut cx, Input::Start);
    }

    fn step(&mut self) {
        self.now.mono_ns += 1_000_000 * (1 + self.random.below(20));
        self.now.wall_ticks += 200_000;
        if self.connect_at.is_some_and(|at| at <= self.now.mono_ns) {
            self.connect_at = None;
            if !self.calm && self.random.one_in(5) {
                self.tell(|core, cx| core.handle(cx, Input::ConnectFailed));
            } else {
                self.server.connect();
                self.tell(|core, cx| core.handle(cx, Input::Connected { token: b"token" }));
            }
        }
        if self.core.next_deadline_ns().is_some_and(|at| at <= self.now.mono_ns) {
            self.tell(|core, cx| core.handle(cx, Input::Tick));
        }
        match self.random.below(if self.calm { 4 } else { 8 }) {
            0 | 1 => self.server.work(&mut self.random, &mut self.encoder, self.calm),
            2 => self.deliver(),
            3 => self.confirm(),
            4 | 5 => self.send(),
            6 => {
                let peer = PEERS[self.random.below(3) as usize];
                self.server.append(chat_with(peer), peer, self.now.wall_ticks.to_string().into());
            }
            _ if self.random.one_in(10) && self.server.connected => {
                self.server.disconnect();
                self.tell(|core, cx| core.handle(cx, Input::Disconnected));
            }
            _ if self.random.one_in(60) => self.crash(),
            _ => {}
        }
    }

    /// Some bytes reach the client, cut anywhere.
    fn deliver(&mut self) {
        let bytes = self.server.take_output(&mut self.random);
        if !bytes.is_empty() {
            self.tell(|core, cx| core.handle(cx, Input::Bytes(&bytes)));
        }
    }

    fn confirm(&mut self) {
        let count = self.random.below(self.app.unconfirmed.len() as u64 + 1) as usize;
        let confirmed: Vec<_> = self.app.unconfirmed.drain(..count).collect();
        for (chat, seq) in confirmed {
            let read = self.random.one_in(4);
            let crashes = self.crashes;
            self.tell(|core, cx| if read { core.mark_read(cx, chat, seq) } else { core.handled(cx, chat, seq) });
            if self.crashes != crashes {
                break;
            }
        }
    }

    fn send(&mut self) {
        let id = new_client_msg_id(&mut self.random);
        let peer = PEERS[self.random.below(3) as usize];
        let target = if self.core.identity().is_some() && self.random.one_in(2) {
            SendTarget::User(UserId::new(peer).unwrap())
        } else if self.server.knows(chat_with(peer)) {
            SendTarget::Chat(chat_with(peer))
        } else {
            return;
        };
        self.app.sends.push((chat_with(peer), id.clone()));
        let chat = self.tell(|core, cx| core.send(cx, NewSend::message(id, target, Bytes::from_static(b"hello"))));
        assert_eq!(chat.unwrap(), chat_with(peer));
    }

    fn settle(&mut self) {
        self.calm = true;
        for _ in 0..20_000 {
            self.step();
            if self.core.outbox_len() == 0 && self.app.unconfirmed.is_empty() && self.server.all_acked() {
                return self.audit();
            }
        }
        panic!("not settled: {} sends wait; {}", self.core.outbox_len(), self.server.state());
    }

    fn audit(&self) {
        for (chat, log) in &self.server.logs {
            let seen = self.app.seen.get(chat);
            for (n, entry) in log.iter().enumerate() {
                let had = seen.is_some_and(|seen| seen.contains(&(n as u64 + 1)));
                assert_eq!(had, entry.sender != ME && !entry.expired, "entry {}", n + 1);
            }
            let places = self.app.sends.iter().filter(|(to, _)| to == chat).filter_map(|(_, id)| self.app.sent.get(id));
            assert!(places.clone().is_sorted_by(|a, b| a < b), "sends keep their order");
            let own = log.iter().filter(|entry| entry.sender == ME).count();
            assert_eq!(own, places.count(), "one place a send");
        }
        for (_, id) in &self.app.sends {
            assert_ne!(self.app.sent.contains_key(id), self.app.failed.contains(id), "an outcome, and one");
        }
    }
}

fn run(seeds: std::ops::Range<u64>, steps: u32, mut store: impl FnMut() -> Box<dyn TestStore>) -> (Counters, u32) {
    let (mut sum, mut crashes) = (Counters::default(), 0);
    for seed in seeds {
        eprintln!("seed {seed}");
        let mut world = World::new(seed, store());
        (0..steps).for_each(|_| world.step());
        world.settle();
        crashes += world.crashes;
        let c = &world.counters;
        sum.entries += c.entries;
        sum.duplicates += c.duplicates;
        sum.held += c.held;
        sum.held_dropped += c.held_dropped;
        sum.gap_fills += c.gap_fills;
        sum.resends_written += c.resends_written;
        sum.postponed += c.postponed;
        sum.failed += c.failed;
        sum.disconnects += c.disconnects;
    }
    (sum, crashes)
}

#[test]
fn over_drops_repeats_skips_refusals_and_crashes_with_the_memory_store() {
    let (sum, crashes) = run(1..151, 1_000, || Box::new(MemoryStore::new()));
    eprintln!("{sum:?}, {crashes} crashes");
    // Every guard fired.
    for count in [sum.duplicates, sum.held, sum.held_dropped, sum.gap_fills, sum.resends_written] {
        assert!(count > 0, "{sum:?}");
    }
    assert!(sum.postponed > 0 && sum.failed > 0 && sum.disconnects > 0 && crashes > 0, "{sum:?}");
}

#[test]
fn over_drops_repeats_skips_refusals_and_crashes_with_the_file_store() {
    let (sum, crashes) = run(1_000..1_005, 400, || Box::new(Folder(tempfile::tempdir().unwrap(), None)));
    assert!(sum.entries > 0 && crashes > 0, "{sum:?}");
}

impl Random {
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound.max(1)
    }
}
