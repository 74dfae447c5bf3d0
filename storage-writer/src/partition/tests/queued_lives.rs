//! Random lives of writers whose store comes and goes, with clients that do as the protocol says: whatever happens, of each
//! user and chat everything is stored once, in the order it was sent, and answered.
//!
//! A writer is a partition and its spool. It is killed or gives way to another in the middle of anything; what is in its spool
//! goes through whoever is the owner then, next to what the sessions send again.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::sim::SimDisk;
use schema::envelope::{Address, Body, Envelope, Settled};
use schema::errors::Retry;
use schema::ids::ChatId;

use super::world::{World, small, user};
use crate::owner::send_settled;
use crate::partition::{Outage, PartitionConfig, Work};
use crate::spool::{self, Ended, Next, Spool, SpoolConfig, Ticket};
use crate::store::AppendFault;
use crate::store::breaker::Breaker;

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
    /// The first is the owner's.
    writers: Vec<Writer>,
    lanes: Vec<Lane>,
    /// Of each user.
    generations: BTreeMap<u64, u32>,
    incarnations: u64,
}

fn bounds() -> SpoolConfig {
    SpoolConfig { limit_bytes: 256 << 10, segment_bytes: 32 << 10 }
}

fn number(id: &[u8]) -> u32 {
    std::str::from_utf8(id).ok().and_then(|id| id.rsplit('-').next()?.parse().ok()).expect("a number")
}

impl Lives {
    fn new(seed: u64) -> Self {
        let now = World::owned(seed, 1, small()).now;
        let writer = |incarnation| {
            let disk = SimDisk::new(seed + incarnation);
            let spool = Arc::new(Spool::open(disk.clone(), bounds(), 1, now).expect("an empty folder"));
            Writer { disk, spool, incarnation }
        };
        let writers = vec![writer(100), writer(101)];
        let outage = Outage { breaker: Arc::new(Breaker::default()), spool: Arc::clone(&writers[0].spool) };
        let world = World::owned(seed, 1, PartitionConfig { outage: Some(outage), waiting_sends: WAITING, ..small() });
        let lanes = LANES.iter().map(|_| Lane::default()).collect();
        Self { seed, world, writers, lanes, generations: BTreeMap::new(), incarnations: 101 }
    }

    fn session(&self, from: u64) -> Address {
        let generation = self.generations.get(&from).copied().unwrap_or_default();
        Address { incarnation: 1, shard: 0, connection: from as u32, generation }
    }

    fn say(&mut self, lane: usize, at: usize, retry: bool) {
        let (from, to) = LANES[lane];
        let (session, (id, state)) = (self.session(from), &mut self.lanes[lane].outbox[at]);
        *state = State::InFlight;
        let id = id.clone();
        self.world.send(session, user(from), user(to), &id, retry);
        self.hear();
    }

    fn say_new(&mut self, lane: usize) {
        let one = &mut self.lanes[lane];
        if one.outbox.len() > 12 || one.outbox.iter().any(|(_, state)| *state == State::Refused) {
            return;
        }
        one.outbox.push((format!("{lane}-{}", one.sent), State::InFlight));
        one.sent += 1;
        let at = one.outbox.len() - 1;
        self.say(lane, at, false);
    }

    /// Everything without a final answer is sent once more, in order.
    fn say_again(&mut self, lane: usize) {
        let ids: Vec<String> = self.lanes[lane].outbox.iter().map(|(id, _)| id.clone()).collect();
        self.lanes[lane].outbox.iter_mut().for_each(|(_, state)| *state = State::InFlight);
        for id in ids {
            // Answers may come in between.
            if let Some(at) = self.lanes[lane].outbox.iter().position(|(one, _)| *one == id) {
                self.say(lane, at, true);
            }
        }
    }

    /// A user's session ends; the next one sends what has no final answer.
    fn come_back(&mut self, from: u64) {
        *self.generations.entry(from).or_default() += 1;
        let lanes = (0..LANES.len()).filter(|lane| LANES[*lane].0 == from);
        lanes.collect::<Vec<_>>().into_iter().for_each(|lane| self.say_again(lane));
    }

    /// Answers go where they belong.
    fn hear(&mut self) {
        while !self.world.out.gateway.is_empty() {
            for (address, envelope) in std::mem::take(&mut self.world.out.gateway) {
                if address.connection == spool::CONNECTION {
                    self.spool_hears(address, &envelope);
                } else if let Some(lane) = self.lane_of(address, &envelope) {
                    self.client_hears(lane, envelope.body);
                }
            }
        }
    }

    fn spool_hears(&mut self, address: Address, answer: &Envelope) {
        let outcome = match answer.body {
            Body::Sent { message, seq, timestamp_ms, .. } => Ok(Settled { message, seq, timestamp_ms }),
            Body::Refused { code, .. } => Err(code),
            _ => return,
        };
        // What an earlier start had asked is nobody's.
        let Some(writer) = self.writers.iter().find(|writer| writer.incarnation == address.incarnation) else { return };
        if let Some(ended) = writer.spool.answered(self.world.now, answer.header.request_id, outcome) {
            self.settled(ended);
        }
    }

    fn settled(&mut self, ended: Ended) {
        send_settled(&mut self.world.out, ended);
    }

    /// Whose answer it is, if their session still is.
    fn lane_of(&self, address: Address, envelope: &Envelope) -> Option<usize> {
        let chat = match &envelope.body {
            Body::Sent { chat, .. }
            | Body::Queued { chat, .. }
            | Body::Settled { chat, .. }
            | Body::Refused { chat, .. } => *chat,
            _ => return None,
        };
        let of =
            |&(from, to): &(u64, u64)| chat == ChatId::direct(user(from), user(to)) && address == self.session(from);
        LANES.iter().position(of)
    }

    fn client_hears(&mut self, lane: usize, answer: Body) {
        let seed = self.seed;
        let (id, state) = match answer {
            Body::Sent { client_msg_id, seq, .. } => (client_msg_id, Ok(seq)),
            Body::Settled { client_msg_id, outcome: Ok(Settled { seq, .. }), .. } => (client_msg_id, Ok(seq)),
            Body::Queued { client_msg_id, .. } => (client_msg_id, Err(State::Spooled)),
            Body::Refused { client_msg_id, code, .. } => {
                assert_ne!(code.info().retry, Retry::Never, "seed {seed}: {code}");
                (client_msg_id, Err(State::Refused))
            }
            other => panic!("seed {seed}: {other:?}"),
        };
        let lane = &mut self.lanes[lane];
        let place = lane.outbox.iter().position(|(one, _)| one.as_bytes() == &id[..]);
        match (place, state) {
            (Some(place), Ok(seq)) => {
                lane.outbox.remove(place);
                lane.seqs.insert(number(&id), seq);
            }
            (Some(place), Err(state)) => lane.outbox[place].1 = state,
            (None, Ok(seq)) => assert_eq!(lane.seqs.get(&number(&id)), Some(&seq), "seed {seed}: it has one place"),
            (None, Err(_)) => {}
        }
    }

    /// Spools send what may go, at most so much each; the owner's only while its store answers.
    fn drain(&mut self, at_most: u64) {
        for place in 0..self.writers.len() {
            for _ in 0..at_most {
                let away = self.world.partitions[0].store_is_away(self.world.now);
                if place == 0 && away {
                    break;
                }
                let (spool, incarnation) = (Arc::clone(&self.writers[place].spool), self.writers[place].incarnation);
                let from = Address { incarnation, shard: 0, connection: 0, generation: 0 };
                match spool.next(self.world.now, 0, from) {
                    Next::Nothing => break,
                    Next::Dead(ended) => panic!("seed {}: {ended:?} is not old", self.seed),
                    Next::Send(send) => self.world.handle(0, *send),
                }
                self.hear();
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

    /// Another one is the owner from now on: the other writer, or the same one once more. `killed`: its process, whose spool is
    /// opened anew.
    fn change_owner(&mut self, killed: bool) {
        self.world.partitions.clear();
        self.world.out.gateway.clear();
        // What a process has begun ends, unless it is killed.
        if killed {
            let of_other = |ticket: &Ticket| !Arc::ptr_eq(ticket.spool(), &self.writers[0].spool);
            self.world.jobs.retain(|job| matches!(&job.work, Work::Spool { ticket, .. } if of_other(ticket)));
            let Writer { disk, spool, incarnation } = &mut self.writers[0];
            disk.crash();
            self.incarnations += 1;
            *incarnation = self.incarnations;
            let opened = Spool::open(disk.clone(), bounds(), 1, self.world.now);
            *spool = Arc::new(opened.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed)));
        }
        if self.world.random(2) == 0 {
            self.writers.swap(0, 1);
        }
        let outage = Outage { breaker: Arc::new(Breaker::default()), spool: Arc::clone(&self.writers[0].spool) };
        self.world.config.partition.outage = Some(outage);
        self.world.open(1).expect("another owner");
        if self.world.random(2) == 0 {
            self.writers.iter().for_each(|writer| writer.spool.lost(0));
        }
        let drained = self.world.random(6);
        self.drain(drained);
        let users = if self.world.random(2) == 0 { [1, 2] } else { [2, 1] };
        for one in users {
            self.come_back(one);
            let drained = self.world.random(3);
            self.drain(drained);
        }
    }

    fn step(&mut self) {
        match self.world.random(41) {
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
            37 => self.writers.iter().for_each(|writer| writer.spool.tidy(1, self.world.now)),
            38 => self.change_owner(true),
            39 => self.change_owner(false),
            // What fails until its writer is started anew.
            _ => {
                let calls = self.world.random(4);
                self.writers[0].disk.lose_power_after(calls);
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
            let memory = &self.world.partitions[0].memory.chats;
            let index = memory.find(chat).unwrap_or_else(|| panic!("seed {seed}: a chat is missing"));
            assert_eq!(memory.get(index).head.seq, sent, "seed {seed}: each once");
        }
    }
}

fn live(seed: u64) {
    let mut lives = Lives::new(seed);
    for _ in 0..STEPS {
        lives.step();
    }
    lives.come_to_rest();
    lives.check();
}

#[test]
fn whatever_happens_everything_is_stored_once_and_in_the_order_it_was_sent() {
    (0..600).for_each(live);
}
