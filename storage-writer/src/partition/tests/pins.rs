//! Chats that get another partition while everybody talks, with owners that are stopped before any of their writes and go on
//! when the next one has opened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fabric::sim::SeededEntropy;
use fabric::time::Now;
use schema::dedupe::DedupeKey;
use schema::encode::ChangeFields;
use schema::envelope::{Address, Body};
use schema::errors::ErrorCode;
use schema::ids::ChatId;
use schema::wire::{EntryKind, Role};

use super::groups::message;
use super::life::{Model, audit, step};
use super::world::{World, small, user};
use crate::lease::{Epoch, Tenure};
use crate::lsn::{JournalId, Lsn};
use crate::partition::{Partition, PartitionConfig, StorageMetrics, open_owned};
use crate::pins::Pins;
use crate::store::{
    ChatState, DedupeHit, FlushReport, FlushRun, HistoryRange, LoggedBlock, MemoryStore, SharedStore, Sharing,
    Standing, Store, StoreError, StoreStats, StoredEntry, Takeover,
};

const PARTITIONS: u16 = 3;

type Meanwhile = Box<dyn FnOnce() + Send>;

/// The store as an owner has it who is stopped before the n-th of its writes. Something happens; then it goes on.
struct Stops {
    store: Arc<MemoryStore>,
    writes: AtomicU64,
    at: u64,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl Stops {
    fn write(&self) {
        if self.writes.fetch_add(1, Ordering::Relaxed) == self.at
            && let Some(meanwhile) = self.meanwhile.lock().expect("nobody panics with it").take()
        {
            meanwhile();
        }
    }
}

impl Store for Stops {
    fn flush(&self, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        self.store.flush(run)
    }
    fn history(&self, chat: ChatId, range: HistoryRange) -> Result<Vec<StoredEntry>, StoreError> {
        self.store.history(chat, range)
    }
    fn find_message(&self, chat: ChatId, message: schema::ids::MessageId) -> Result<Option<u64>, StoreError> {
        self.store.find_message(chat, message)
    }
    fn dedupe(&self, key: DedupeKey) -> Result<Option<DedupeHit>, StoreError> {
        self.store.dedupe(key)
    }
    fn dedupe_since(&self, wall_ms: u64, each: &mut dyn FnMut(DedupeKey, DedupeHit)) -> Result<(), StoreError> {
        self.store.dedupe_since(wall_ms, each)
    }
    fn load_chats(&self, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
        self.store.load_chats(each)
    }
    fn applied(&self) -> Result<Vec<(JournalId, Lsn)>, StoreError> {
        self.store.applied()
    }
    fn forget_journals(&self, journals: &[JournalId]) -> Result<(), StoreError> {
        self.store.forget_journals(journals)
    }
    fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        self.store.expire(now_ms)
    }
    fn stats(&self) -> StoreStats {
        self.store.stats()
    }
}

impl SharedStore for Stops {
    fn sharing(&self) -> Sharing {
        self.store.sharing()
    }
    fn standing(&self, partition: u16) -> Result<Standing, StoreError> {
        self.store.standing(partition)
    }
    fn adopt(&self, partition: u16) -> Result<Standing, StoreError> {
        self.store.adopt(partition)
    }
    fn load_chats_of(&self, partition: u16, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
        self.store.load_chats_of(partition, each)
    }
    fn dedupe_since_of(
        &self,
        partition: u16,
        wall_ms: u64,
        each: &mut dyn FnMut(DedupeKey, DedupeHit),
    ) -> Result<(), StoreError> {
        // Answers are read last of all: what is behind an owner by then is behind it for good.
        self.write();
        self.store.dedupe_since_of(partition, wall_ms, each)
    }
    fn load_chat(&self, chat: ChatId) -> Result<Option<ChatState>, StoreError> {
        self.store.load_chat(chat)
    }
    fn blocks_above(&self, partition: u16, after: u64) -> Result<Vec<LoggedBlock>, StoreError> {
        self.write();
        self.store.blocks_above(partition, after)
    }
    fn take_over(&self, partition: u16, takeover: Takeover) -> Result<(), StoreError> {
        self.write();
        self.store.take_over(partition, takeover)
    }
    fn append(&self, partition: u16, epoch: Epoch, block: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.append(partition, epoch, block, bytes)
    }
    fn flush_owned(&self, tenure: &Tenure, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        self.write();
        let stamp = self.store.note_stamp(tenure.partition());
        if !tenure.is_held() {
            return Err(StoreError::not_owned(tenure));
        }
        // It has asked, and stops.
        self.write();
        self.store.flush_with(stamp, run)
    }
    fn trim(&self, partition: u16, applied: u64) -> Result<(), StoreError> {
        self.store.trim(partition, applied)
    }
    fn stamp(&self, partition: u16) -> i64 {
        self.store.stamp(partition)
    }
    fn raise_stamp(&self, partition: u16, stamp: i64) {
        self.store.raise_stamp(partition, stamp);
    }
    fn pins(&self, latest: bool) -> Result<Pins, StoreError> {
        self.store.pins(latest)
    }
    fn change_pins(&self, next: &Pins) -> Result<bool, StoreError> {
        self.write();
        self.store.change_pins(next)
    }
}

/// What happened in all lives.
#[derive(Default)]
struct Counts {
    pins: u64,
    arrived: u64,
    home: u64,
    stopped: u64,
    /// Nobody pins anything.
    calm: bool,
}

/// Takes a tenure of a partition; whoever had it has lost it.
fn tenure(world: &mut World, partition: u16) -> Arc<Tenure> {
    let tenures = world.tenures.as_mut().expect("owned");
    tenures.iter().filter(|tenure| tenure.partition() == partition).for_each(|tenure| tenure.end());
    let tenure = Tenure::endless(partition, Epoch(tenures.len() as u64 + 1));
    tenures.push(Arc::clone(&tenure));
    tenure
}

/// What opens a partition.
#[derive(Clone)]
struct Opening {
    of: PartitionConfig,
    metrics: StorageMetrics,
    now: Now,
    seed: u64,
    store: Arc<MemoryStore>,
    /// Somebody pins a chat of its own when it has opened: whoever was stopped before it may find the row.
    late: bool,
    opened: Arc<Mutex<Option<Partition>>>,
}

impl Opening {
    fn open(self, tenure: Arc<Tenure>) {
        let (store, partition): (Arc<dyn SharedStore>, u16) = (self.store, tenure.partition());
        let mut entropy = SeededEntropy::new(self.seed);
        let found = open_owned(tenure, None, &self.of, &store, (&mut entropy, self.now), self.metrics).expect("opens");
        *self.opened.lock().expect("nobody panics with it") = Some(found);
        let pins = store.pins(true).expect("read");
        let mut pairs = (1..=4).flat_map(|a| (1..=4).map(move |b| ChatId::direct(user(a), user(b))));
        let here = pairs.find(|chat| self.late && pins.place(*chat, PARTITIONS) == partition);
        let next = here.and_then(|chat| pins.with(chat, (partition + 1) % PARTITIONS, PARTITIONS).ok());
        next.iter().for_each(|next| assert!(store.change_pins(next).expect("changed")));
    }
}

/// Another owner has a partition from now on. Before it there may be one who is stopped while it opens it, and goes on when
/// this one has, or never does.
fn reopen(world: &mut World, partition: u16, counts: &mut Counts) {
    world.store.set_append_fault(crate::store::AppendFault::None);
    world.store.set_full(false);
    let ahead = world.ahead.iter().position(|ahead| ahead.partition() == partition);
    let ahead = ahead.map(|ahead| world.ahead.swap_remove(ahead));
    let (stops, dies) = (world.random(2) == 0, world.random(2) == 0);
    let first = stops.then(|| tenure(world, partition));
    let seed = world.random(u64::MAX);
    let opening = Opening {
        of: world.config.partition.clone(),
        metrics: world.metrics.clone(),
        now: world.now,
        seed,
        store: world.store.clone(),
        late: !counts.calm && world.random(2) == 0,
        opened: Arc::default(),
    };
    let open = {
        // The first has it until the second begins.
        let number = world.tenures.as_ref().expect("owned").len() as u64 + 1;
        let next = Tenure::endless(partition, Epoch(number));
        world.tenures.as_mut().expect("owned").push(Arc::clone(&next));
        let (first, opening) = (first.clone(), opening.clone());
        move || {
            first.iter().for_each(|first| first.end());
            opening.open(next);
        }
    };
    let old = world.tenures.as_ref().expect("owned");
    let (last, before) = (old.len() - 1, first.as_ref());
    old[..last]
        .iter()
        .filter(|one| one.partition() == partition && before.is_none_or(|before| !Arc::ptr_eq(before, one)))
        .for_each(|one| one.end());
    match first {
        None => open(),
        Some(first) => {
            let nth = world.random(9);
            let stopping = Stops {
                store: world.store.clone(),
                writes: AtomicU64::new(0),
                at: nth,
                meanwhile: Mutex::new(Some(if dies { Box::new(|| {}) } else { Box::new(open.clone()) })),
            };
            let stopping = Arc::new(stopping);
            let store: Arc<dyn SharedStore> = stopping.clone();
            let mut entropy = SeededEntropy::new(seed + 1);
            let end = Arc::clone(&first);
            if dies {
                *stopping.meanwhile.lock().expect("ours") = Some(Box::new(move || end.end()));
            }
            let was = open_owned(first, ahead, &opening.of, &store, (&mut entropy, opening.now), opening.metrics);
            counts.stopped += u64::from(stopping.writes.load(Ordering::Relaxed) > nth);
            drop(was);
            if opening.opened.lock().expect("ours").is_none() {
                open();
            }
        }
    }
    let next = opening.opened.lock().expect("ours").take().expect("opened");
    world.partitions[usize::from(partition)] = next;
}

/// The chats are where the table says, for those who ask as for those who own.
fn come_to_rest(world: &mut World, counts: &mut Counts) {
    counts.calm = true;
    for _ in 0..20 {
        let pins = world.store.pins(true).expect("read");
        let misses = |partition: &u16| {
            let here = world.partitions[usize::from(*partition)].residents();
            pins.leaves(*partition) || *here != pins.residents(*partition, PARTITIONS)
        };
        match (0..PARTITIONS).find(misses) {
            Some(partition) => reopen(world, partition, counts),
            None => {
                (world.known, counts.calm) = (pins, false);
                return;
            }
        }
    }
    panic!("chats do not come to rest");
}

fn pin_something(world: &mut World, counts: &mut Counts) {
    let chat = ChatId::direct(user(1 + world.random(4)), user(1 + world.random(4)));
    let pins = world.store.pins(true).expect("read");
    let home = chat.slot().partition(PARTITIONS);
    let to = if world.random(2) == 0 { home } else { world.random(PARTITIONS.into()) as u16 };
    if let Ok(next) = pins.with(chat, to, PARTITIONS) {
        assert!(world.store.change_pins(&next).expect("changed"));
        counts.pins += 1;
    }
}

fn live(seed: u64, steps: usize, counts: &mut Counts) {
    println!("seed {seed}");
    let mut world = World::owned(seed, PARTITIONS, small());
    let mut model = Model::default();
    for _ in 0..steps {
        match world.random(60) {
            0..2 => pin_something(&mut world, counts),
            2..4 => {
                let partition = world.random(PARTITIONS.into()) as u16;
                if world.random(3) == 0 {
                    world.read_ahead();
                }
                let before = world.store.pins(true).expect("read");
                reopen(&mut world, partition, counts);
                let pins = world.store.pins(true).expect("read");
                counts.arrived += u64::from(world.partitions[usize::from(partition)].residents().guests().count() > 0);
                counts.home += u64::from(pins.rows.len() < before.rows.len());
                if world.random(4) > 0 {
                    world.known = pins;
                }
                model.reconnect();
            }
            _ => step(&mut world, &mut model),
        }
        model.look(&mut world);
    }
    for _ in 0..2 {
        come_to_rest(&mut world, counts);
        model.reconnect();
        audit(&mut world, &mut model);
        model.landed += world.store.land();
        world.crash(PARTITIONS);
        model.reconnect();
        pin_something(&mut world, counts);
    }
}

#[test]
fn nothing_is_lost_doubled_reordered_or_taken_back_where_chats_change_their_partitions() {
    let mut counts = Counts::default();
    for seed in 200..248 {
        live(seed, 2_500, &mut counts);
    }
    let Counts { pins, arrived, home, stopped, .. } = counts;
    let fired = BTreeMap::from([("pins", pins), ("arrived", arrived), ("home", home), ("stopped", stopped)]);
    assert!(fired.values().all(|&count| count > 5), "everything happens: {fired:?}");
}

/// What the group's maker is answered: the seq of a message, or why not.
fn say(world: &mut World, chat: ChatId, id: &str) -> Result<u64, ErrorCode> {
    world.out.gateway.clear();
    world.say_in(user(1), chat, |encoder| message(encoder, chat, id));
    answer(world)
}

fn answer(world: &mut World) -> Result<u64, ErrorCode> {
    world.settle();
    let mut answers = world.out.gateway.drain(..).map(|(_, envelope)| envelope.body);
    let answer = answers.find_map(|body| match body {
        Body::Sent { seq, .. } => Some(Ok(seq)),
        Body::Page { head_seq, .. } => Some(Ok(head_seq)),
        Body::Refused { code, .. } => Some(Err(code)),
        _ => None,
    });
    answer.expect("answered")
}

fn ask_page(world: &mut World, chat: ChatId) -> Result<u64, ErrorCode> {
    world.out.gateway.clear();
    let body = Body::PageRequest {
        blind: false,
        ticks: false,
        chat,
        user: user(1),
        after_seq: 0,
        before_seq: 0,
        newest: false,
        limit_entries: 10,
        limit_bytes: 1 << 20,
    };
    world.chat(chat, Address { incarnation: 9, ..Address::default() }, body);
    answer(world)
}

#[test]
fn what_is_asked_of_a_partition_without_the_group_is_to_be_asked_again() {
    let mut world = World::owned(3, PARTITIONS, small());
    let chat = ChatId::group(user(1), b"make");
    let (home, to) = (chat.slot().partition(PARTITIONS), (chat.slot().partition(PARTITIONS) + 1) % PARTITIONS);
    world.say_in(user(1), chat, |encoder| {
        encoder.change(&ChangeFields {
            client_msg_id: b"make",
            chat: None,
            kind: EntryKind::created,
            name: b"Hiking",
            users: &[user(1), user(2)],
            role: Role::member,
            retry: true,
        })
    });
    assert_eq!(answer(&mut world), Ok(1));
    assert_eq!(say(&mut world, chat, "one"), Ok(2));
    let pins = world.store.pins(true).expect("read").with(chat, to, PARTITIONS).expect("pinned");
    assert!(world.store.change_pins(&pins).expect("changed"));
    assert_eq!(say(&mut world, chat, "two"), Ok(3), "it is there until its partition is opened anew");
    let mut counts = Counts { calm: true, ..Counts::default() };
    let unavailable = Err(ErrorCode::StorageUnavailable);
    // It has left, and gateways do not know; then they do, and it has not come.
    reopen(&mut world, home, &mut counts);
    for known in [Pins::default(), world.store.pins(true).expect("read")] {
        world.known = known;
        assert_eq!(say(&mut world, chat, "three"), unavailable);
        assert_eq!(ask_page(&mut world, chat), unavailable);
    }
    come_to_rest(&mut world, &mut counts);
    assert_eq!(world.known.place(chat, PARTITIONS), to);
    assert_eq!(say(&mut world, chat, "one"), Ok(2), "answers have come along");
    assert_eq!(say(&mut world, chat, "three"), Ok(4));
    assert_eq!(ask_page(&mut world, chat), Ok(4));
    let pins = world.known.with(chat, home, PARTITIONS).expect("unpinned");
    assert!(world.store.change_pins(&pins).expect("changed"));
    come_to_rest(&mut world, &mut counts);
    assert!(world.known.rows.is_empty());
    assert_eq!(say(&mut world, chat, "three"), Ok(4));
    assert_eq!(say(&mut world, chat, "four"), Ok(5));
}
