//! Random lives of writers whose store comes and goes, with clients that do as the protocol says: whatever happens, of each
//! user and chat everything is stored once, in the order it was sent, and answered.
//!
//! A writer is its partitions and their spool. It is killed or gives way to another in the middle of anything; what is in its
//! spool goes through whoever is the owner then, next to what the sessions send again. In other lives chats go to and fro between
//! two partitions meanwhile.

mod clients;

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::sim::SimDisk;
use schema::envelope::Address;
use schema::ids::ChatId;
use schema::places::Places;

use super::world::{World, small, user};
use crate::partition::{Outage, PartitionConfig, Work};
use crate::pins::Pins;
use crate::spool::{Next, Spool, SpoolConfig, Ticket};
use crate::store::breaker::Breaker;
use crate::store::{AppendFault, SharedStore as _};

/// Who sends to whom: two lanes share a chat, two a session.
const LANES: [(u64, u64); 3] = [(1, 2), (2, 1), (1, 3)];
const STEPS: u64 = 250;
/// Sends that may wait: more than all clients have, who send all of it again at once.
const WAITING: usize = 64;
/// Turns in which all has to come to rest in the end.
const PATIENCE: u32 = 3_000;

/// Where one of a client's sends is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    InFlight,
    Spooled,
    Refused,
}

/// What a client has not had a final answer to, to one chat, in order.
#[derive(Default)]
struct Lane {
    outbox: Vec<(String, State)>,
    sent: u32,
    /// The places of those that were answered finally, in the order they were sent.
    seqs: BTreeMap<u32, u64>,
}

impl Lane {
    /// Something was refused and nothing is on its way: all goes again.
    fn starts_over(&self) -> bool {
        let is = |state| self.outbox.iter().any(|(_, one)| *one == state);
        is(State::Refused) && !is(State::InFlight)
    }
}

/// One writer's files, and what has them open.
struct Writer {
    disk: SimDisk,
    spool: Arc<Spool>,
    /// Another one with each start.
    incarnation: u64,
}

struct Lives {
    seed: u64,
    world: World,
    writers: Vec<Writer>,
    /// Which writer has each partition.
    owners: Vec<usize>,
    /// Which writer had which one, by epoch.
    epochs: BTreeMap<(u16, u64), usize>,
    lanes: Vec<Lane>,
    /// Of each user.
    generations: BTreeMap<u64, u32>,
    incarnations: u64,
    counts: Counts,
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// A chat was given another partition.
    pins: u64,
    /// One that has queued sends was.
    with_queued: u64,
    /// A queued send was refused where its chat is not.
    strangers: u64,
    /// Sessions went on in another partition.
    went_on: u64,
}

fn bounds() -> SpoolConfig {
    SpoolConfig { limit_bytes: 256 << 10, segment_bytes: 32 << 10 }
}

impl Lives {
    fn new(seed: u64, partitions: u16) -> Self {
        let now = World::owned(seed, partitions, small()).now;
        let writer = |incarnation| {
            let disk = SimDisk::new(seed + incarnation);
            let spool = Arc::new(Spool::open(disk.clone(), bounds(), partitions, now).expect("an empty folder"));
            Writer { disk, spool, incarnation }
        };
        let writers = vec![writer(100), writer(101)];
        let outage = Outage { breaker: Arc::new(Breaker::default()), spool: Arc::clone(&writers[0].spool) };
        let config = PartitionConfig { outage: Some(outage), waiting_sends: WAITING, ..small() };
        let world = World::owned(seed, partitions, config);
        let lanes = LANES.iter().map(|_| Lane::default()).collect();
        let owners = vec![0; usize::from(partitions)];
        let epochs = (0..partitions).map(|one| ((one, u64::from(one) + 1), 0)).collect();
        let (generations, counts) = (BTreeMap::new(), Counts::default());
        Self { seed, world, writers, owners, epochs, lanes, generations, incarnations: 101, counts }
    }

    fn partitions(&self) -> u16 {
        self.owners.len() as u16
    }

    /// Spools send what may go, at most so much each; to a partition of its own a writer only while its store answers.
    fn drain(&mut self, at_most: u64) {
        for place in 0..self.writers.len() {
            for partition in 0..self.partitions() {
                for _ in 0..at_most {
                    let away = self.world.partitions[usize::from(partition)].store_is_away(self.world.now);
                    if self.owners[usize::from(partition)] == place && away {
                        break;
                    }
                    let Writer { spool, incarnation, .. } = &self.writers[place];
                    let from = Address { incarnation: *incarnation, shard: 0, connection: 0, generation: 0 };
                    match spool.next(self.world.now, partition, from) {
                        Next::Nothing => break,
                        Next::Dead(ended) => panic!("seed {}: {ended:?} is not old", self.seed),
                        Next::Send(send) => self.world.handle(send.header.slot.partition(self.partitions()), *send),
                    }
                    self.hear();
                }
            }
        }
    }

    fn work(&mut self, jobs: u64) {
        let ms = 1 + self.world.random(60);
        self.world.advance(ms);
        self.world.turn();
        self.hear();
        self.world.run_jobs(jobs as usize);
        self.hear();
    }

    /// Another one has a partition from now on: the other writer, or the same one once more.
    fn reopen(&mut self, partition: u16) {
        let owner = self.world.random(self.writers.len() as u64) as usize;
        let outage = Outage { breaker: Arc::new(Breaker::default()), spool: Arc::clone(&self.writers[owner].spool) };
        self.world.config.partition.outage = Some(outage);
        self.world.reopen(partition);
        self.owners[usize::from(partition)] = owner;
        let epoch = self.world.tenures.as_ref().and_then(|tenures| tenures.last()).expect("owned").epoch();
        self.epochs.insert((partition, epoch.0), owner);
        if self.world.random(2) == 0 {
            self.writers.iter().for_each(|writer| writer.spool.lost(partition));
        }
    }

    /// A process is killed, and started anew with what is in its files; it knows no table of pinned chats.
    fn kill(&mut self, place: usize) {
        let Self { world, writers, epochs, .. } = self;
        // What a process has begun ends, unless it is killed.
        let of_other = |ticket: &Ticket| !Arc::ptr_eq(ticket.spool(), &writers[place].spool);
        world.jobs.retain(|job| match &job.work {
            Work::Spool { ticket, .. } => of_other(ticket),
            _ => epochs.get(&(job.partition, job.epoch.0)).is_some_and(|owner| *owner != place),
        });
        let Writer { disk, spool, incarnation } = &mut self.writers[place];
        disk.crash();
        self.incarnations += 1;
        *incarnation = self.incarnations;
        let opened = Spool::open(disk.clone(), bounds(), self.owners.len() as u16, self.world.now);
        *spool = Arc::new(opened.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed)));
    }

    /// Another one has one of the partitions, or all that a writer had who was `killed`. Sessions end.
    fn change_owner(&mut self, killed: bool) {
        let (first, count) = (self.world.random(self.partitions().into()) as u16, self.partitions());
        let owner = self.owners[usize::from(first)];
        let lost = (0..count).filter(|one| *one == first || killed && self.owners[usize::from(*one)] == owner);
        let lost: Vec<u16> = lost.collect();
        self.world.out.gateway.clear();
        // Whoever was killed writes nothing more, and has nothing taken back.
        if killed {
            self.kill(owner);
        }
        lost.into_iter().for_each(|partition| self.reopen(partition));
        if self.world.random(3) > 0 {
            self.world.known = self.pins();
        }
        self.sessions_end();
    }

    fn sessions_end(&mut self) {
        let drained = self.world.random(6);
        self.drain(drained);
        let users = if self.world.random(2) == 0 { [1, 2] } else { [2, 1] };
        for one in users {
            self.come_back(one);
            let drained = self.world.random(3);
            self.drain(drained);
        }
    }

    fn pins(&self) -> Pins {
        self.world.store.pins(true).expect("read")
    }

    fn pin_something(&mut self) {
        let (from, to) = LANES[self.world.random(LANES.len() as u64) as usize];
        let (chat, partition) = (ChatId::direct(user(from), user(to)), self.world.random(self.partitions().into()));
        let Ok(next) = self.pins().with(chat, partition as u16, self.partitions()) else { return };
        assert!(self.world.store.change_pins(&next).expect("changed"));
        self.counts.pins += 1;
        let queued = self.writers.iter().any(|writer| (1..=3).any(|one| writer.spool.has_lane(user(one), chat)));
        self.counts.with_queued += u64::from(queued);
    }

    /// A partition that does not have the chats that it is to have.
    fn misplaced(&self) -> Option<u16> {
        let pins = self.pins();
        (0..self.partitions()).find(|partition| {
            let here = self.world.partitions[usize::from(*partition)].residents();
            pins.leaves(*partition) || *here != pins.residents(*partition, self.partitions())
        })
    }

    /// The gateway hears of the table. Sessions go on in another partition if the one before owes them nothing; else they end.
    fn hear_places(&mut self) {
        let (pins, count) = (self.pins(), self.partitions());
        let moved = |of: &(u64, u64)| {
            let chat = ChatId::direct(user(of.0), user(of.1));
            pins.place(chat, count) != self.world.known.place(chat, count)
        };
        let moved: Vec<usize> = (0..LANES.len()).filter(|lane| moved(&LANES[*lane])).collect();
        let owed = |lane: &usize| self.lanes[*lane].outbox.iter().any(|(_, state)| *state != State::Refused);
        let owes = moved.iter().any(owed);
        self.counts.went_on += u64::from(!owes && !moved.is_empty());
        if !owes || self.world.random(2) == 0 {
            self.world.known = pins;
            if owes {
                self.sessions_end();
            }
        }
    }

    fn step(&mut self) {
        match self.world.random(if self.partitions() > 1 { 50 } else { 41 }) {
            0..14 => {
                let lane = self.world.random(LANES.len() as u64) as usize;
                self.say_new(lane);
            }
            14..28 => {
                let jobs = self.world.random(4);
                self.work(jobs);
            }
            28..33 => {
                let at_most = 1 + self.world.random(3);
                self.drain(at_most);
            }
            33 => {
                let ms = self.world.random(4_000);
                self.world.advance(ms);
            }
            34 => {
                let faults = [AppendFault::Refused, AppendFault::Unheard, AppendFault::Late];
                let fault = faults[self.world.random(3) as usize];
                self.world.store.set_append_fault(fault);
            }
            35 => self.world.store.set_append_fault(AppendFault::None),
            36 => {
                let from = 1 + self.world.random(2);
                self.come_back(from);
            }
            37 => self.writers.iter().for_each(|writer| writer.spool.tidy(self.world.now)),
            38 => self.change_owner(true),
            39 => self.change_owner(false),
            // What fails until its writer is started anew.
            40 => {
                let calls = self.world.random(4);
                self.writers[self.owners[0]].disk.lose_power_after(calls);
            }
            41..43 => self.pin_something(),
            43..46 => {
                let (pins, place) = (self.pins(), self.world.random(2) as usize);
                self.writers[place].spool.set_places(&places(&pins, self.partitions()));
            }
            46..48 => self.hear_places(),
            // A keeper finds that a partition does not have the chats that it is to have.
            _ => {
                if let Some(partition) = self.misplaced() {
                    self.world.out.gateway.clear();
                    self.reopen(partition);
                    self.sessions_end();
                }
            }
        }
        for lane in 0..LANES.len() {
            if self.lanes[lane].starts_over() {
                self.say_again(lane);
            }
        }
    }

    fn is_at_rest(&self) -> bool {
        let spooled: usize = self.writers.iter().map(|writer| writer.spool.waiting()).sum();
        spooled == 0 && self.lanes.iter().all(|lane| lane.outbox.is_empty())
    }

    /// The store is there, nobody sends anything new, and no session ends.
    fn come_to_rest(&mut self) {
        self.world.store.set_append_fault(AppendFault::None);
        // A pin takes two openings.
        for _ in 0..20 {
            let Some(partition) = self.misplaced() else { break };
            self.world.out.gateway.clear();
            self.reopen(partition);
        }
        assert_eq!(self.misplaced(), None, "seed {}: chats come to rest", self.seed);
        self.world.known = self.pins();
        let places = places(&self.world.known, self.partitions());
        self.writers.iter().for_each(|writer| writer.spool.set_places(&places));
        if self.partitions() > 1 {
            self.sessions_end();
        }
        for _ in 0..PATIENCE {
            if self.is_at_rest() {
                return;
            }
            self.work(10);
            self.drain(10);
            for lane in 0..LANES.len() {
                if self.lanes[lane].starts_over() {
                    self.say_again(lane);
                }
            }
        }
        let left: Vec<_> = self.lanes.iter().map(|lane| &lane.outbox).collect();
        let spooled: Vec<_> = self.writers.iter().map(|writer| writer.spool.waiting()).collect();
        panic!("seed {}: no final answer to {left:?}; {spooled:?} are queued", self.seed);
    }

    /// Everything has one place, in its order, and there is nothing else.
    fn check(&self) {
        let seed = self.seed;
        for lane in &self.lanes {
            assert_eq!(lane.seqs.len() as u32, lane.sent, "seed {seed}");
            assert!(lane.seqs.values().is_sorted_by(|a, b| a < b), "seed {seed}: out of order: {:?}", lane.seqs);
        }
        let chats: BTreeMap<ChatId, u64> =
            self.lanes.iter().zip(LANES).fold(BTreeMap::new(), |mut chats, (lane, of)| {
                *chats.entry(ChatId::direct(user(of.0), user(of.1))).or_default() += u64::from(lane.sent);
                chats
            });
        for (chat, sent) in chats.into_iter().filter(|(_, sent)| *sent > 0) {
            let partition = self.world.known.place(chat, self.partitions());
            let memory = &self.world.partitions[usize::from(partition)].memory.chats;
            let index = memory.find(chat).unwrap_or_else(|| panic!("seed {seed}: a chat is missing"));
            assert_eq!(memory.get(index).head.seq, sent, "seed {seed}: each once");
        }
    }
}

/// As gateways and spools know a table.
fn places(pins: &Pins, partitions: u16) -> Places {
    Places::new(pins.version, pins.away(partitions).collect())
}

fn live(seed: u64, partitions: u16) -> Counts {
    let mut lives = Lives::new(seed, partitions);
    for _ in 0..STEPS {
        lives.step();
    }
    lives.come_to_rest();
    lives.check();
    lives.counts
}

#[test]
fn whatever_happens_everything_is_stored_once_and_in_the_order_it_was_sent() {
    for seed in 0..600 {
        live(seed, 1);
    }
}

#[test]
fn so_it_is_where_chats_change_their_partitions_meanwhile() {
    let mut all = Counts::default();
    for seed in 1_000..1_200 {
        let Counts { pins, with_queued, strangers, went_on } = live(seed, 2);
        all.pins += pins;
        all.with_queued += with_queued;
        all.strangers += strangers;
        all.went_on += went_on;
    }
    println!("{all:?}");
    let Counts { pins, with_queued, strangers, went_on } = all;
    assert!([pins, with_queued, strangers, went_on].into_iter().all(|count| count > 20), "everything happens: {all:?}");
}
