//! A world for partitions: a store, a disk that can lose power, envelopes that are kept for a look.

use std::collections::VecDeque;
use std::sync::Arc;

use fabric::entropy::Entropy;
use fabric::sim::{SeededEntropy, SimClock, SimDisk};
use fabric::tier::Egress;
use fabric::time::Now;
use schema::encode::{Encoder, SendFields, SendTarget};
use schema::envelope::{Address, Body, Class, Envelope};
use schema::frame::VerifiedFrame;
use schema::ids::{ChatId, DeviceId, Slot, UserId};
use schema::wire::EntryKind;

use crate::lease::{Epoch, Tenure};
use crate::partition::{
    Ahead, Job, OpenConfig, OpenError, Outage, Partition, PartitionConfig, StorageMetrics, Work, open, open_owned,
    read_ahead, run_job,
};
use crate::pins::Pins;
use crate::store::{AppendFault, Guarded, MemoryStore, SharedStore};

/// What partitions said.
#[derive(Default)]
pub(super) struct Out {
    pub gateway: Vec<(Address, Envelope)>,
    pub router: Vec<(UserId, Envelope)>,
    owners: VecDeque<(u16, Envelope)>,
    partitions: u16,
}

impl Egress for Out {
    fn to_owner(&mut self, slot: Slot, envelope: Envelope) {
        self.owners.push_back((slot.partition(self.partitions), envelope));
    }
    fn to_partition(&mut self, partition: u16, envelope: Envelope) {
        self.owners.push_back((partition, envelope));
    }
    fn to_router(&mut self, user: UserId, envelope: Envelope) {
        self.router.push((user, envelope));
    }
    fn to_gateway(&mut self, address: Address, envelope: Envelope) {
        self.gateway.push((address, envelope));
    }
    fn to_all_gateways(&mut self, _: Envelope) {}
}

pub(super) struct World {
    pub store: Arc<MemoryStore>,
    pub disk: SimDisk,
    pub entropy: SeededEntropy,
    pub partitions: Vec<Partition>,
    pub metrics: StorageMetrics,
    pub now: Now,
    pub jobs: VecDeque<Job>,
    /// Partitions whose part of what older journals left is not flushed for now.
    pub held: Vec<u16>,
    pub out: Out,
    pub config: OpenConfig,
    /// Where partitions are owned: the tenures there have been, the last of each partition last.
    pub tenures: Option<Vec<Arc<Tenure>>>,
    /// What the next owners have read while these own.
    pub ahead: Vec<Ahead>,
    /// A guarded store's.
    clock: Arc<SimClock>,
    /// The table of pinned chats as gateways know it.
    pub known: Pins,
    encoder: Encoder,
}

pub(super) fn user(id: u64) -> UserId {
    UserId::new(id).expect("not 0")
}

/// Small enough that everything happens within a few hundred operations.
pub(super) fn small() -> PartitionConfig {
    PartitionConfig {
        freeze_bytes: 6_000,
        freeze_idle_ms: 400,
        freeze_age_ms: 5_000,
        hot_tail_bytes: 4_000,
        hot_tail_entries: 6,
        nudge_after_ms: 1_000,
        dedupe_memory_ms: 1_500,
        waiting_sends: 24,
        block_bytes: 2_000,
        max_block_bytes: 8_192,
        segment_bytes: 32_768,
        max_segments: 6,
        ..PartitionConfig::default()
    }
}

fn is_held(job: &Job, held: &[u16]) -> bool {
    matches!(job.work, Work::FlushRecovered { .. }) && held.contains(&job.partition)
}

impl World {
    pub(super) fn new(seed: u64, partitions: u16, config: PartitionConfig) -> Self {
        Self::with(seed, partitions, config, None)
    }

    /// One whose partitions are owned, and commit in the store.
    pub(super) fn owned(seed: u64, partitions: u16, config: PartitionConfig) -> Self {
        Self::with(seed, partitions, config, Some(Vec::new()))
    }

    fn with(seed: u64, partitions: u16, config: PartitionConfig, tenures: Option<Vec<Arc<Tenure>>>) -> Self {
        let mut world = Self {
            tenures,
            ahead: Vec::new(),
            store: Arc::new(MemoryStore::shared(partitions)),
            disk: SimDisk::new(seed),
            entropy: SeededEntropy::new(seed),
            partitions: Vec::new(),
            metrics: StorageMetrics::new(),
            now: Now { mono_ns: 1_000_000, wall_ticks: 17_000_000_000_000_000 },
            jobs: VecDeque::new(),
            held: Vec::new(),
            out: Out::default(),
            config: OpenConfig { partitions, partition: config, dedupe_secret: [7; 16] },
            clock: Arc::new(SimClock::new()),
            known: Pins::default(),
            encoder: Encoder::in_arena(),
        };
        world.open(partitions).expect("a new world opens");
        world
    }

    pub(super) fn open(&mut self, partitions: u16) -> Result<crate::partition::RecoverySummary, OpenError> {
        self.config.partitions = partitions;
        self.out.partitions = partitions;
        if self.tenures.is_some() {
            self.take_over(partitions);
            return Ok(crate::partition::RecoverySummary::default());
        }
        let metrics = self.metrics.clone();
        let opened =
            open(&self.config, &self.store, &self.disk, &mut self.entropy, self.now, &mut |_| metrics.clone())?;
        self.partitions = opened.partitions;
        Ok(opened.recovery)
    }

    /// Whoever owns them next reads ahead, where partitions are owned and the store does not fail.
    pub(super) fn read_ahead(&mut self) {
        let of = &self.config.partition;
        let partitions = self.tenures.as_ref().map_or(0, |_| self.config.partitions);
        let read = (0..partitions).map(|one| read_ahead(one, of, &*self.store, &mut self.entropy, self.now));
        self.ahead = read.filter_map(Result::ok).collect();
    }

    /// Others own all partitions from now on, as they find them in the store. Whoever tries while it fails is followed by
    /// another.
    fn take_over(&mut self, partitions: u16) {
        self.partitions.clear();
        for partition in 0..partitions {
            let opened = self.take_over_one(partition);
            self.partitions.push(opened);
        }
    }

    /// Another one owns this partition from now on.
    pub(super) fn reopen(&mut self, partition: u16) {
        self.partitions[usize::from(partition)] = self.take_over_one(partition);
    }

    fn take_over_one(&mut self, partition: u16) -> Partition {
        let store: Arc<dyn SharedStore> = match &self.config.partition.outage {
            Some(Outage { breaker, .. }) => {
                Arc::new(Guarded::new(self.store.clone(), breaker.clone(), self.clock.clone()))
            }
            None => self.store.clone(),
        };
        let at = self.ahead.iter().position(|ahead| ahead.partition() == partition);
        let mut ahead = at.map(|at| self.ahead.swap_remove(at));
        let opened = (0..100).find_map(|tries| {
            if tries == 3 {
                self.store.set_append_fault(AppendFault::None);
                self.store.set_full(false); // chats that leave are written to the tables first
            }
            let tenures = self.tenures.as_mut()?;
            tenures.iter().for_each(|tenure| {
                if tenure.partition() == partition {
                    tenure.end()
                }
            });
            let tenure = Tenure::endless(partition, Epoch(tenures.len() as u64 + 1));
            tenures.push(Arc::clone(&tenure));
            let of = &self.config.partition;
            let when = (&mut self.entropy as &mut dyn Entropy, self.now);
            open_owned(tenure, ahead.take(), of, &store, when, self.metrics.clone()).ok()
        });
        opened.expect("it opens once the store is there")
    }

    /// Power goes: what was not durable may be gone, jobs are cut off.
    pub(super) fn crash(&mut self, partitions: u16) -> crate::partition::RecoverySummary {
        self.partitions.clear();
        self.jobs.clear();
        self.disk.crash();
        self.out = Out::default();
        self.open(partitions).expect("opens after a crash")
    }

    pub(super) fn advance(&mut self, ms: u64) {
        self.now.mono_ns += ms * 1_000_000;
        self.clock.advance_to(self.now.mono_ns);
        self.now.wall_ticks += ms * 10_000;
    }

    pub(super) fn handle(&mut self, partition: u16, envelope: Envelope) {
        self.out.owners.push_back((partition, envelope));
        self.route();
    }

    pub(super) fn route(&mut self) {
        while let Some((partition, envelope)) = self.out.owners.pop_front() {
            self.partitions[usize::from(partition)].handle(self.now, envelope, &mut self.out);
        }
    }

    pub(super) fn chat(&mut self, chat: ChatId, reply: Address, body: Body) {
        let partition = self.known.place(chat, self.config.partitions);
        self.handle(partition, Envelope::new(Class::Send, body).reply_to(reply));
    }

    pub(super) fn send(&mut self, reply: Address, from: UserId, to: UserId, id: &str, retry: bool) {
        self.send_sized(reply, from, to, id, (retry, 40));
    }

    pub(super) fn send_sized(
        &mut self,
        reply: Address,
        from: UserId,
        to: UserId,
        id: &str,
        (retry, len): (bool, usize),
    ) {
        let frame = self.encoder.send(&SendFields {
            client_msg_id: id.as_bytes(),
            target: SendTarget::User(to),
            kind: EntryKind::message,
            content_type: 0,
            body: &vec![b'x'; len],
            refers_to: None,
            after_seq: 0,
            retry,
        });
        let frame = VerifiedFrame::verify(frame).expect("valid");
        let chat = ChatId::direct(from, to);
        let device = DeviceId(1);
        self.chat(chat, reply, Body::Send { frame, user: from, device, chat, to: Some(to), retry });
    }

    /// A message with this text to a user.
    pub(super) fn send_text(&mut self, from: UserId, to: UserId, id: &str, text: &str) {
        let frame = self.encoder.send(&SendFields {
            client_msg_id: id.as_bytes(),
            target: SendTarget::User(to),
            kind: EntryKind::message,
            content_type: 0,
            body: text.as_bytes(),
            refers_to: None,
            after_seq: 0,
            retry: false,
        });
        let frame = VerifiedFrame::verify(frame).expect("valid");
        let (chat, device) = (ChatId::direct(from, to), DeviceId(1));
        let reply = Address { incarnation: 9, shard: 0, connection: from.get() as u32, generation: 1 };
        self.chat(chat, reply, Body::Send { frame, user: from, device, chat, to: Some(to), retry: false });
    }

    /// A frame said in a chat that is there, or that it makes.
    pub(super) fn say_in(&mut self, from: UserId, chat: ChatId, frame: impl FnOnce(&mut Encoder) -> bytes::Bytes) {
        let frame = VerifiedFrame::verify(frame(&mut self.encoder)).expect("valid");
        let retry = frame.root().body_as_send().is_some_and(|send| send.retry());
        let reply = Address { incarnation: 9, shard: 0, connection: from.get() as u32, generation: 1 };
        self.chat(chat, reply, Body::Send { frame, user: from, device: DeviceId(1), chat, to: None, retry });
    }

    /// A turn of every partition: writes are submitted, jobs are kept.
    pub(super) fn turn(&mut self) {
        for number in 0..self.partitions.len() {
            let partition = &mut self.partitions[number];
            partition.turn(self.now, &mut self.out);
            while let Some((_, job)) = partition.take_job() {
                self.jobs.push_back(job);
            }
            if let Some(write) = partition.take_write() {
                self.disk.submit(self.now.mono_ns, number as u64, write);
            }
        }
        self.route();
    }

    /// Ends writes that are due by now.
    pub(super) fn complete(&mut self) {
        for done in self.disk.completions(self.now.mono_ns) {
            let partition = &mut self.partitions[done.owner as usize];
            partition.write_done(self.now, done.ticket, done.result, &mut self.out);
        }
        self.turn();
    }

    /// Whether something waits because it is held.
    pub(super) fn is_holding(&self) -> bool {
        self.jobs.iter().any(|job| is_held(job, &self.held))
    }

    pub(super) fn run_jobs(&mut self, at_most: usize) {
        for _ in 0..at_most {
            let Some(at) = self.jobs.iter().position(|job| !is_held(job, &self.held)) else { return };
            let Some(job) = self.jobs.remove(at) else { return };
            let done = run_job(job, &self.store, &self.disk);
            self.partitions[usize::from(done.partition)].job_done(self.now, done, &mut self.out);
            self.turn();
        }
    }

    /// Until nothing is on its way.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            self.advance(1);
            self.turn();
            self.complete();
            self.run_jobs(100);
        }
    }

    pub(super) fn random(&mut self, bound: u64) -> u64 {
        self.entropy.next_u64() % bound
    }
}
