//! A worker: one thread, one epoll instance, many users.
//!
//! A turn: wait for sockets or the next due time, hand what came to the users' client cores, send what is due, write what
//! waits, once a connection. The clock is read after every wait and every receive, so that a delivery's time is when its
//! bytes were there. Nothing here waits for another worker.
mod absence;
mod connect;
mod events;
mod groups;
mod host;
pub mod message;
mod outcome;
mod read;
mod receipts;
mod route;
mod send;
pub mod socket;
mod speak;
mod threads;
mod user;
mod wait;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use client::{Config, Cx, Input, Output};
use fabric::entropy::Entropy;
use fabric::hash::Map;
use fabric::time::{Clock, Now, SystemClock};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use rustix::event::epoll;
use schema::encode::Encoder;

use crate::fail::Failure;
use crate::measure::{Latencies, Shown};
use crate::pace::Pacer;
use crate::plan::Plan;
use crate::scenario::{Mode, Size};
use crate::spread::Follower;
use crate::tokens::{Source, Tokens};
use crate::wire::Scratch;
use absence::Absences;
use message::Bodies;
use read::Reading;
use receipts::GroupReceipts;
use route::Routes;
use user::{Link, User};
use wait::EVENTS;

pub use host::raise_open_files;
pub use outcome::Outcome;
pub use threads::Threads;

/// One receive takes at most so much.
const RECEIVE_BYTES: usize = 256 << 10;
/// A turn comes at least so often, ns: phases and signs of life are looked at then.
const TURN_NS: u64 = 50_000_000;
/// Members brought home of whom a sender knows too little, at most.
const OPEN_MAX: usize = 1 << 20;
/// The controller is shown latencies and CPU this often, ns.
const SHOW_NS: u64 = 200_000_000;

/// Randomness of the clients' jitter, from the scenario's seed.
struct Seeded(SmallRng);

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

/// One worker. Made and run on its own thread.
pub struct Worker {
    plan: Arc<Plan>,
    shown: Arc<Shown>,
    index: u16,
    config: Arc<Config>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    /// When the last wait ended, ns.
    woken_ns: u64,
    /// Place of the first user in the scenario.
    first: u32,
    users: Vec<User>,
    tokens: Tokens,
    now: Now,
    encoder: Encoder,
    entropy: Seeded,
    outputs: Vec<Output>,
    buffer: Vec<u8>,
    /// Native frames of what a WebSocket brought.
    heard: Vec<u8>,
    scratch: Scratch,
    bodies: Bodies,
    sizes: Size,
    timers: BinaryHeap<Reverse<(u64, u32)>>,
    /// Users to connect, by when.
    connects: BinaryHeap<Reverse<(u64, u32)>>,
    connecting: u32,
    next_connect_ns: u64,
    dirty: Vec<u32>,
    refill: Vec<u32>,
    pacer: Option<Pacer>,
    /// Closed load: users whose pause ends then.
    pauses: BinaryHeap<Reverse<(u64, u32)>>,
    absences: Absences,
    /// Acknowledged messages that wait for a receipt.
    receipts_due: u64,
    group_receipts: GroupReceipts,
    routes: Routes,
    follower: Follower,
    reading: Reading,
    /// Groups that users make with their first sessions.
    creates: Map<u32, Vec<u32>>,
    /// Closed load: sends a user may have unanswered now.
    open_window: u32,
    quota: Option<u64>,
    authenticated: u64,
    /// Latencies since they were last shown.
    recent: Latencies,
    next_show_ns: u64,
    steady: core::ops::Range<u64>,
    outcome: Outcome,
}

impl Worker {
    /// On its own thread: pins it, gives it its own descriptors, makes its users.
    ///
    /// # Errors
    /// The host gives no epoll instance.
    pub fn new(plan: Arc<Plan>, shown: Arc<Shown>, index: u16, tokens: Source) -> Result<Self, Failure> {
        host::pin(index);
        host::own_descriptors()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| Failure::Host(format!("epoll: {e}")))?;
        let now = SystemClock.now();
        let places = plan.users_of(index);
        let config = Arc::new(connect::client_config(&plan));
        let id = |place: u32| plan.load.first_user + u64::from(place);
        let users = places.clone().map(|place| User::new(connect::new_core(&config, id(place)))).collect();
        // Connects are measured as first ones unless the scenario says else: a server that knows a token does not verify it.
        let again = plan.load.keep_tokens || plan.load.mode != Mode::Connect;
        let tokens = Tokens::new(tokens, id(places.start), places.len(), now.wall_ms(), again);
        let seed = plan.load.seed ^ (u64::from(index) << 48);
        let streams = if plan.load.sends() { places.len() * plan.load.peers as usize } else { 0 };
        let outcome = Outcome::new(places.start * plan.load.peers, streams, plan.behaviours.len(), seed);
        let mut worker = Self {
            quota: plan.messages_of(index),
            routes: Routes::new(&plan, index, seed),
            follower: Follower::new(&plan, index),
            reading: Reading::new(seed),
            creates: fabric::hash::map(seed),
            bodies: Bodies::new(plan.load.size_bytes),
            sizes: plan.load.sizes(),
            first: places.start,
            users,
            tokens,
            config,
            epoll,
            events: Vec::with_capacity(EVENTS),
            woken_ns: now.mono_ns,
            now,
            encoder: Encoder::new(),
            entropy: Seeded(SmallRng::seed_from_u64(seed)),
            outputs: Vec::new(),
            buffer: vec![0; RECEIVE_BYTES],
            heard: Vec::new(),
            scratch: Scratch::default(),
            timers: BinaryHeap::new(),
            connects: BinaryHeap::new(),
            connecting: 0,
            next_connect_ns: 0,
            dirty: Vec::new(),
            refill: Vec::new(),
            pacer: None,
            pauses: BinaryHeap::new(),
            absences: Absences::new(seed),
            receipts_due: 0,
            group_receipts: GroupReceipts::new(seed),
            open_window: 0,
            authenticated: 0,
            recent: Latencies::default(),
            next_show_ns: 0,
            steady: u64::MAX..u64::MAX,
            outcome,
            plan,
            shown,
            index,
        };
        worker.plan_groups();
        Ok(worker)
    }

    /// Runs until the controller says stop; what it brings home.
    pub fn run(mut self) -> Outcome {
        if !self.plan.behaviours.delay_logins() {
            for user in 0..self.users.len() as u32 {
                self.tell(user, Input::Start);
            }
        }
        while !self.plan.phases.is_stopped() {
            self.turn();
        }
        self.show(true);
        self.close_receipts();
        self.outcome.spread = self.follower.spread;
        self.outcome
    }

    fn turn(&mut self) {
        self.wait();
        self.begin_load();
        self.connect_due();
        self.send_due();
        self.act_due();
        self.read_due();
        self.fire_timers();
        self.flush();
        self.show(false);
    }

    fn next_due_ns(&self) -> u64 {
        let mut due = self.now.mono_ns + TURN_NS;
        if let Some(Reverse((at, _))) = self.timers.peek() {
            due = due.min(*at);
        }
        if let Some(Reverse((at, _))) = self.connects.peek()
            && self.may_connect()
        {
            due = due.min((*at).max(self.next_connect_ns));
        }
        if self.sending() {
            let pacer = self.pacer.as_ref().map(Pacer::due_ns);
            let pause = self.pauses.peek().map(|Reverse((at, _))| *at);
            due = pacer.into_iter().chain(pause).fold(due, u64::min);
        }
        self.absences.next_due_ns().into_iter().chain(self.reading.next_due_ns()).fold(due, u64::min)
    }

    /// Tells a user's client something and does what it wants done.
    fn tell(&mut self, user: u32, input: Input<'_>) {
        let mut cx = Cx {
            now: self.now,
            encoder: &mut self.encoder,
            entropy: &mut self.entropy,
            counters: &mut self.outcome.counters,
            out: &mut self.outputs,
        };
        self.users[user as usize].core.handle(&mut cx, input);
        self.act(user);
    }

    /// Does what a user's client wants done, then notes when it wants to be called.
    fn act(&mut self, user: u32) {
        let mut outputs = core::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Write(frame) => {
                    self.note_mark(user, &frame);
                    self.say(user, &frame);
                }
                Output::Event(event) => self.event(user, event),
                Output::Connect { after_ms } => {
                    self.connects.push(Reverse((self.now.mono_ns + u64::from(after_ms) * 1_000_000, user)));
                }
                Output::Close => self.close(user),
                Output::Persist(_) => {}
            }
        }
        if self.outputs.is_empty() {
            self.outputs = outputs;
        }
        self.note_timer(user);
    }

    fn note_timer(&mut self, user: u32) {
        let place = user;
        let user = &mut self.users[user as usize];
        if let Some(at) = user.core.next_deadline_ns()
            && at < user.timer_ns
        {
            user.timer_ns = at;
            self.timers.push(Reverse((at, place)));
        }
    }

    fn fire_timers(&mut self) {
        while let Some(Reverse((at, user))) = self.timers.peek().copied() {
            if at > self.now.mono_ns {
                break;
            }
            self.timers.pop();
            let state = &mut self.users[user as usize];
            if state.timer_ns != at {
                continue; // an earlier entry took its place
            }
            state.timer_ns = u64::MAX;
            if state.core.next_deadline_ns().is_some_and(|due| due <= self.now.mono_ns) {
                self.tell(user, Input::Tick);
            } else {
                self.note_timer(user);
            }
        }
        self.refill();
    }

    fn mark_dirty(&mut self, user: u32) {
        if !self.users[user as usize].dirty {
            self.users[user as usize].dirty = true;
            self.dirty.push(user);
        }
    }

    fn flush(&mut self) {
        while let Some(user) = self.dirty.pop() {
            let state = &mut self.users[user as usize];
            state.dirty = false;
            let failed = state.link == Link::Up
                && state.socket.as_mut().is_some_and(|socket| socket.flush(&self.epoll).is_err());
            if failed {
                self.ended(user);
            }
        }
    }

    /// Shows the controller where this worker stands.
    fn show(&mut self, all: bool) {
        self.shown.errors.store(self.outcome.errors.total(), Ordering::Relaxed);
        if self.now.mono_ns < self.next_show_ns && !all {
            return;
        }
        self.next_show_ns = self.now.mono_ns + SHOW_NS;
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        self.shown.cpu_ns.store(cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64, Ordering::Relaxed);
        self.shown.waited_ns.store(host::waited_ns(), Ordering::Relaxed);
        let mut latencies = self.shown.latencies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        latencies.add(&self.recent);
        self.recent.clear();
    }
}
