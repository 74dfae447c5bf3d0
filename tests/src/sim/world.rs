//! One world: a server, its disk and store, clients and the network between them, moved one event at a time.
//!
//! What must stay true: everything follows from the seed. Of the events that are due at one moment any may come first.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use client::core::{Config, Counters, Input};
use fabric::sim::{NetEvent, NetFaults, SeededEntropy, Side, SimClock, SimDisk, SimNet, StreamId};
use schema::encode::Encoder;
use schema::ids::{ChatId, UserId};

use super::case::Case;
use super::counts::Counts;
use super::device::Device;
use super::env::Env;
use super::faults::Window;
use super::model::Model;
use super::plan::{Plan, topology};
use super::server::{Due, Server};
use super::store::SimStore;
use super::strangers::Flood;
use super::talk::Rules;
use super::ticking::Marked;
use super::told::Told;
use super::trace::Trace;

/// Something that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Net,
    Disk,
    Server(Due),
    Tick(usize),
    Connect(usize),
    Start(usize),
    CopyEnds(usize),
    Restart,
    Operation,
    Fault,
    WindowEnds,
    Flood,
}

/// See the module.
pub struct World {
    /// Time, randomness, network, disk, store.
    pub env: Env,
    /// What the seed decided.
    pub plan: Plan,
    /// The process, while it lives.
    pub server: Option<Server>,
    /// When it starts again, ns.
    pub restart_ns: Option<u64>,
    /// Lives so far.
    pub lives: u64,
    /// Clients, dead copies included.
    pub devices: Vec<Device>,
    /// Whose stream.
    pub streams: BTreeMap<StreamId, usize>,
    /// What is known to be true.
    pub model: Model,
    /// What devices were told of chats.
    pub told: Told,
    /// The highest receipt anybody got, of any kind.
    pub watermarks: BTreeMap<(ChatId, UserId), u64>,
    /// When users' devices marked what first.
    pub marked: Marked,
    /// Old client_msg_ids that were sent again by the application.
    pub resent: BTreeSet<Bytes>,
    /// No more faults.
    pub calm: bool,
    /// Operations done.
    pub operations: u64,
    /// Client_msg_ids made.
    pub ids: u64,
    /// Faults that end by themselves, and when, ns.
    pub windows: Vec<(u64, Window)>,
    /// Floods to come.
    pub floods: Vec<Flood>,
    /// How far the wall clock was stepped in sum, and at most, ms.
    pub wall: (i64, i64),
    /// Blocking calls cut off so far.
    pub interrupted: u64,
    /// What the cores count.
    pub client_counters: Counters,
    /// Writes the cores' frames.
    pub encoder: Encoder,
    /// The cores' randomness.
    pub client_entropy: SeededEntropy,
    /// Operations' randomness, and faults'.
    apart: (SeededEntropy, SeededEntropy),
    operation_ns: u64,
    fault_ns: u64,
    due: Vec<(u64, Next)>,
}

/// Devices' settings: everything small, so that bounds are met.
pub fn client_config(seed: u64) -> Arc<Config> {
    Arc::new(Config {
        backoff_ms: (20, 1_000),
        hash_seed: seed,
        held_entries: 8,
        gap_patience_ms: 300,
        answer_timeout_ms: 1_500,
        token_renewable: true,
        ..Config::default()
    })
}

fn devices_users(plan: &Plan) -> BTreeSet<UserId> {
    plan.devices.iter().map(|&(user, _)| user).collect()
}

impl World {
    /// A world at its beginning: nothing runs yet.
    pub fn new(case: &Case, trace: Trace) -> Self {
        let (seed, lie) = (case.seed, case.lie);
        let mut rng = SeededEntropy::new(seed);
        let plan = Plan::draw(&mut rng.fork(), case);
        let disk = SimDisk::new(seed ^ 1);
        disk.set_faults(plan.disk);
        let mut net = SimNet::new(seed ^ 2);
        net.set_faults(plan.net);
        let config = client_config(seed);
        let devices = plan.devices.iter();
        let devices =
            devices.map(|&(user, device)| Device::new(user, device, config.clone(), rng.between(1, 50_000_000)));
        let devices = devices.collect();
        let mut model = Model::default();
        plan.pairs.iter().for_each(|&(a, b)| model.add_chat(a, b));
        devices_users(&plan).into_iter().for_each(|user| model.add_account(user));
        model.rules = Rules {
            edit_ms: 1_000 * u64::from(plan.partition.edit_window_s),
            delete_ms: 1_000 * u64::from(plan.partition.delete_window_s),
            ahead_ms: 0,
        };
        let (client_entropy, apart) = (rng.fork(), (rng.fork(), rng.fork()));
        let env = Env {
            rng,
            clock: SimClock::new(),
            net,
            disk,
            store: SimStore::new(lie),
            trace,
            counts: Counts::default(),
            stalls: BTreeMap::new(),
        };
        Self {
            env,
            plan,
            server: None,
            restart_ns: Some(1),
            lives: 0,
            devices,
            streams: BTreeMap::new(),
            model,
            told: Told::default(),
            watermarks: BTreeMap::new(),
            marked: Marked::default(),
            resent: BTreeSet::new(),
            calm: false,
            operations: 0,
            ids: 0,
            windows: Vec::new(),
            floods: Vec::new(),
            wall: (0, 0),
            interrupted: 0,
            client_counters: Counters::default(),
            encoder: Encoder::new(),
            client_entropy,
            apart,
            operation_ns: 10_000_000,
            fault_ns: 50_000_000,
            due: Vec::new(),
        }
    }

    /// Operations and faults until there were enough of both.
    pub fn live(&mut self, operations: &Cell<u64>) {
        let few = |world: &Self| world.plan.case.is_whole() && world.env.counts.get("faults") < 12;
        let enough = self.plan.case.operations.unwrap_or(u64::MAX).min(self.plan.operations);
        while self.operations < enough || few(self) {
            self.step();
            operations.set(self.operations);
        }
    }

    /// No more faults: the network is whole, the disk has room, the clock is right, everybody is up.
    pub fn heal(&mut self) {
        self.env.note("heal", [0; 3]);
        self.calm = true;
        if self.plan.limits.max_connections < 64 {
            self.plan.limits.max_connections = 64;
            self.crash_server();
        }
        let (now, most) = self.wall;
        self.env.clock.step_wall(most - now);
        self.windows.clear();
        self.floods.clear();
        self.env.store.set_full(false);
        self.env.store.set_failing_reads(false);
        self.env.stalls.clear();
        self.env.net.set_faults(NetFaults { break_one_in: 0, stall_one_in: 0, ..self.plan.net });
        let mut disk = self.plan.disk;
        disk.slow_one_in = 0;
        self.env.disk.set_faults(disk);
        for at in 0..self.devices.len() {
            self.devices[at].crash_in = None;
            if self.devices[at].is_copy() {
                self.end_copy(at);
            } else if self.devices[at].start_ns.is_some() {
                self.devices[at].start_ns = Some(self.env.later(1_000, 1_000_000));
            }
        }
    }

    /// Moves the world to its next event.
    pub fn step(&mut self) {
        let mut due = core::mem::take(&mut self.due);
        due.clear();
        self.collect(&mut due);
        let first = due.iter().map(|&(at_ns, _)| at_ns).min().expect("something always is to come");
        self.env.clock.advance_to(first);
        let now_ns = self.env.ns();
        due.retain(|&(at_ns, _)| at_ns <= now_ns);
        let choice = if due.len() > 1 { self.env.rng.below(due.len() as u64) as usize } else { 0 };
        let (_, next) = due[choice];
        self.due = due;
        self.happen(next);
    }

    fn collect(&self, due: &mut Vec<(u64, Next)>) {
        let mut look = |at_ns: Option<u64>, what: Next| due.extend(at_ns.map(|at_ns| (at_ns, what)));
        look(self.env.net.next_event_ns(), Next::Net);
        look(self.env.disk.next_completion_ns(), Next::Disk);
        look(self.restart_ns, Next::Restart);
        look((!self.calm).then_some(self.operation_ns), Next::Operation);
        look((!self.calm).then_some(self.fault_ns), Next::Fault);
        look(self.windows.iter().map(|&(at_ns, _)| at_ns).min(), Next::WindowEnds);
        look(self.floods.iter().map(|flood| flood.at_ns).min(), Next::Flood);
        for (at, device) in self.devices.iter().enumerate() {
            look(device.start_ns.filter(|&at_ns| at_ns < u64::MAX), Next::Start(at));
            if let Some(core) = &device.core {
                look(device.connect_ns, Next::Connect(at));
                look(core.next_deadline_ns(), Next::Tick(at));
                look(device.copy_until_ns, Next::CopyEnds(at));
            }
        }
        if let Some(server) = &self.server {
            server
                .due(&self.env, |at_ns, what| look(Some(at_ns).filter(|&at_ns| at_ns < u64::MAX), Next::Server(what)));
        }
    }

    fn happen(&mut self, next: Next) {
        match next {
            Next::Net => self.net_event(),
            Next::Disk => self.disk_event(),
            Next::Server(due) => self.server_event(due),
            Next::Tick(at) => drop(self.tell(at, |core, cx| core.handle(cx, Input::Tick))),
            Next::Connect(at) => self.connect_device(at),
            Next::Start(at) => self.start_device(at),
            Next::CopyEnds(at) => self.end_copy(at),
            Next::Restart => self.start_server(),
            Next::Operation => {
                let own = self.apart.0.fork();
                let common = core::mem::replace(&mut self.env.rng, own);
                self.operation_ns = self.env.later(1, 2 * self.plan.operation_ns);
                self.operate();
                self.env.rng = common;
            }
            Next::Fault => {
                let own = self.apart.1.fork();
                let common = core::mem::replace(&mut self.env.rng, own);
                let mean_ns = self.plan.fault_ns.min(self.plan.operation_ns * self.plan.operations / 20);
                self.fault_ns = self.env.later(mean_ns / 2, mean_ns * 3 / 2);
                self.make_fault();
                self.env.rng = common;
            }
            Next::WindowEnds => self.end_windows(),
            Next::Flood => self.flood(),
        }
    }

    fn net_event(&mut self) {
        let now_ns = self.env.ns();
        let Some(event) = self.env.net.poll(now_ns) else { return };
        match event {
            NetEvent::Opened { stream } => match &mut self.server {
                Some(server) if !server.is_stopping() => server.opened(&mut self.env, stream),
                _ => self.env.net.close(now_ns, stream, Side::Server),
            },
            NetEvent::Connected { .. } => unreachable!("nobody dials an address here"),
            NetEvent::Received { stream, side: Side::Server, bytes } => {
                self.env.note("server gets", [stream.0, bytes.len() as u64, 0]);
                if let Some(server) = &mut self.server {
                    server.received(&mut self.env, stream, bytes);
                }
            }
            NetEvent::Received { stream, side: Side::Client, bytes } => {
                self.env.note("client gets", [stream.0, bytes.len() as u64, super::trace::hash_of(&bytes)]);
                self.client_received(stream, &bytes);
            }
            NetEvent::Closed { stream, side: Side::Server } => {
                if let Some(server) = &mut self.server {
                    server.ended(&mut self.env, stream);
                }
            }
            NetEvent::Closed { stream, side: Side::Client } => self.client_closed(stream),
        }
    }

    fn disk_event(&mut self) {
        let now_ns = self.env.ns();
        for done in self.env.disk.completions(now_ns) {
            let server = self.server.as_mut().expect("a dead server has no writes in flight");
            server.write_done(&mut self.env, done);
        }
    }

    fn server_event(&mut self, due: Due) {
        let Some(server) = &mut self.server else { return };
        server.step(&mut self.env, due);
        if server.stopped() {
            self.stopped_server();
        } else if self.env.store.take_crashed() | self.lost_power() {
            self.crash_server();
        }
    }

    /// Starts the server with another layout.
    fn start_server(&mut self) {
        self.restart_ns = None;
        self.lives += 1;
        let layout = topology(&mut self.env.rng);
        match Server::start(&mut self.env, &self.plan, layout, self.lives) {
            Ok(server) => self.server = Some(server),
            Err(error) => {
                let excused = self.lost_power() | self.env.store.take_failed() || !self.windows.is_empty();
                assert!(excused, "invariant opens: the server does not start: {error}");
                self.env.fault("fault_failed_start", self.lives);
                self.env.disk.crash();
                self.restart_ns = Some(self.env.later(1_000_000, 50_000_000));
            }
        }
    }
}
