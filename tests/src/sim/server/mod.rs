//! One life of the simulated server process: the real shard cores behind a simulated skin.
//!
//! The skin does what `fabric::shard` does: turns once after inputs, actions in order, jobs on background threads, one
//! write a connection in flight. What must stay true: nothing of a life touches the next but disk and store.

mod background;
mod conn;
mod skin;

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::core::{ConnId, Core, JobQueue};
use fabric::entropy::Entropy;
use fabric::sim::{DiskCompletion, StreamId};
use fabric::wake::Waker;
use gateway::auth::TokenVerifier;
use prometheus_client::registry::Registry;
use shardwire::node::{Board, EdgeConfig, NodeConfig, ShardCore, ShardParts, Topology, assemble, lanes};
use storage_writer::partition::{OpenConfig, OpenError, PartitionStatus, StorageMetrics, open};

use self::background::Background;
use self::conn::SkinConn;
use super::env::Env;
use super::plan::{Lie, Plan};
use super::tokens::SimTokens;

/// Something of the server that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// A shard's turn.
    Turn(usize),
    /// A background thread's step.
    Job(usize),
    /// A socket takes what was written to it.
    Written(usize, ConnId),
    /// A paused connection is read again.
    Resume(usize, ConnId),
    /// A closing connection has taken too long.
    Linger(usize, ConnId),
}

struct ShardSim {
    core: ShardCore,
    waker: Waker,
    due_ns: u64,
    conns: BTreeMap<ConnId, SkinConn>,
    told_to_stop: bool,
    /// The thread does not run before, ns.
    stalled_ns: u64,
}

/// See the module.
pub struct Server {
    /// Rises with every life.
    pub life: u64,
    /// Its metrics.
    pub registry: Registry,
    shards: Vec<ShardSim>,
    streams: BTreeMap<StreamId, (usize, ConnId)>,
    /// By [`JobQueue`]: apply; reads and commits.
    background: [Background; 2],
    stopping: bool,
}

impl Server {
    /// Opens what disk and store hold and starts shards over it.
    ///
    /// # Errors
    /// What opening says.
    pub fn start(env: &mut Env, plan: &Plan, topology: Topology, life: u64) -> Result<Self, OpenError> {
        let mut registry = Registry::default();
        let mut entropy = env.rng.fork();
        let metrics: Vec<StorageMetrics> = (0..topology.partitions).map(|_| StorageMetrics::new()).collect();
        let config =
            OpenConfig { partitions: topology.partitions, partition: plan.partition.clone(), dedupe_secret: [7; 16] };
        let mut metrics_of = |number: u16| metrics[usize::from(number)].clone();
        let now = env.now();
        let opened = open(&config, &*env.store, &env.disk, &mut entropy, now, &mut metrics_of)?;
        let found = &opened.recovery;
        env.counts.add("recovery_torn", found.torn);
        env.counts.add("recovery_superseded", found.superseded);
        env.counts.add("recovery_records", found.records);
        env.counts.add("recovery_skipped", found.skipped);
        env.counts.add("recovery_dedupe", found.dedupe);
        env.note("opened", [u64::from(topology.shards), u64::from(topology.partitions), found.records]);
        for (number, metrics) in metrics.iter().enumerate() {
            metrics.register(registry.sub_registry_with_label(("partition".into(), number.to_string().into())));
        }
        let node = NodeConfig {
            topology,
            limits: plan.limits.clone(),
            allowed_hosts: Vec::new(),
            capacities: plan.capacities(),
            credits_per_partition: plan.credits,
            traces: None,
            edge: EdgeConfig::default(),
            cluster: None,
            directory: None,
        };
        let ports = lanes(&node, entropy.next_u64() | 1).expect("eventfds");
        let auth: Arc<dyn TokenVerifier> = Arc::new(SimTokens);
        let board = Board::default();
        // HTTP needs a runtime of its own; its port stays unused here.
        let (parts, _) = assemble(&node, opened.partitions, ports, &auth, &mut entropy, &board, &mut registry);
        let due_ns = env.ns();
        let shard = |parts: ShardParts| ShardSim {
            waker: parts.waker(),
            core: parts.into_core(),
            due_ns,
            conns: BTreeMap::new(),
            told_to_stop: false,
            stalled_ns: 0,
        };
        let slow = if plan.case.lie == Lie::None && env.rng.one_in(3) { 30_000_000 } else { 2_000_000 };
        Ok(Self {
            life,
            registry,
            shards: parts.into_iter().map(shard).collect(),
            streams: BTreeMap::new(),
            background: [Background::new(slow), Background::new(slow / 4)],
            stopping: false,
        })
    }

    /// Tells `look` everything that is to come and when, ns.
    pub fn due(&self, env: &Env, mut look: impl FnMut(u64, Due)) {
        for (number, shard) in self.shards.iter().enumerate() {
            look(shard.due_ns.max(shard.stalled_ns), Due::Turn(number));
            for (&id, conn) in &shard.conns {
                if let Some((at_ns, _)) = conn.writing {
                    look(at_ns.max(env.stalled_until(conn.stream)), Due::Written(number, id));
                }
                if let Some(at_ns) = conn.resume_ns {
                    look(at_ns, Due::Resume(number, id));
                }
                if let Some(at_ns) = conn.closing {
                    look(at_ns, Due::Linger(number, id));
                }
            }
        }
        for (number, thread) in self.background.iter().enumerate() {
            if let Some(at_ns) = thread.next_ns() {
                look(at_ns, Due::Job(number));
            }
        }
    }

    /// Does what is due.
    pub fn step(&mut self, env: &mut Env, due: Due) {
        match due {
            Due::Turn(shard) => self.turn(env, shard),
            Due::Job(thread) => {
                if let Some((shard, done)) = self.background[thread].step(env) {
                    env.note("job done", [shard as u64, thread as u64, 0]);
                    self.shards[shard].core.job_done(env.now(), done);
                    self.touch(env, shard);
                }
            }
            Due::Written(shard, conn) => self.written(env, shard, conn),
            Due::Resume(shard, conn) => self.resume(env, shard, conn),
            Due::Linger(shard, conn) => self.drop_conn(env, shard, conn),
        }
    }

    /// A journal write ended.
    pub fn write_done(&mut self, env: &mut Env, done: DiskCompletion) {
        let DiskCompletion { owner, ticket, result } = done;
        let (life, shard, journal) = (owner >> 32, (owner >> 16 & 0xffff) as usize, (owner & 0xffff) as u16);
        assert_eq!(life, self.life, "a write of a life that is over");
        env.note("write done", [shard as u64, u64::from(journal), u64::from(result.is_ok())]);
        self.shards[shard].core.write_done(env.now(), journal, ticket, result);
        self.touch(env, shard);
    }

    fn touch(&mut self, env: &mut Env, shard: usize) {
        let soon = env.later(200, 30_000);
        let due = &mut self.shards[shard].due_ns;
        *due = (*due).min(soon);
    }

    fn turn(&mut self, env: &mut Env, number: usize) {
        let now = env.now();
        let shard = &mut self.shards[number];
        shard.waker.begin_turn();
        if self.stopping && !shard.told_to_stop {
            shard.told_to_stop = true;
            shard.core.stop(now);
        }
        shard.core.turn(now);
        self.actions(env, number);
        while let Some((queue, job)) = self.shards[number].core.next_job() {
            let thread = usize::from(queue != JobQueue::Apply);
            self.background[thread].push(env, number, job);
        }
        self.shards[number].due_ns = match self.shards[number].core.next_deadline_ns() {
            Some(at_ns) => at_ns.max(env.later(1_000, 20_000)),
            None => u64::MAX,
        };
        for shard in 0..self.shards.len() {
            if self.notified(shard) {
                self.touch(env, shard);
            }
        }
    }

    /// Whether somebody woke a shard since its last turn.
    fn notified(&self, shard: usize) -> bool {
        let waker = &self.shards[shard].waker;
        let sleeps = waker.try_sleep();
        if sleeps {
            // It does not really sleep: nobody has to write to its eventfd.
            waker.begin_turn();
        }
        !sleeps
    }

    /// Lets one shard's thread wait, at least and at most so long, ns. (What its skin brings to the core goes on: that is only inputs that came before.)
    pub fn stall(&mut self, env: &mut Env, (least_ns, most_ns): (u64, u64)) {
        let shard = env.rng.below(self.shards.len() as u64) as usize;
        self.shards[shard].stalled_ns = env.later(least_ns, most_ns);
    }

    /// Tells every shard to stop.
    pub fn stop(&mut self, env: &mut Env) {
        self.stopping = true;
        (0..self.shards.len()).for_each(|shard| self.touch(env, shard));
    }

    /// It was told to stop.
    pub const fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Every shard has stopped.
    pub fn stopped(&self) -> bool {
        self.stopping && self.shards.iter().all(|shard| shard.core.stopped())
    }

    /// Where every partition stands.
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        let partitions = self.shards.iter().flat_map(|shard| shard.core.partitions());
        partitions.map(storage_writer::partition::Partition::status).collect()
    }

    /// Connections the skin holds.
    pub fn connections(&self) -> usize {
        self.streams.len()
    }

    /// No background thread has anything to do.
    pub fn is_background_idle(&self) -> bool {
        self.background.iter().all(Background::is_idle)
    }
}
