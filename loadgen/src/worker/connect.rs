//! Connections of a worker's users: made, lost, cut, made again.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use client::store::Image;
use client::{Config, Core, Handling, Input};
use schema::ids::{DeviceId, UserId};

use super::Worker;
use super::socket::Socket;
use super::user::Link;
use crate::plan::Plan;
use crate::scenario::Mode;

/// Connects in progress up to their Welcome, at most, of all workers: within any server's listen queue, and few enough that
/// each is answered before its client gives it up.
const CONNECTING_MAX: u32 = 2_048;
/// Of one worker.
const CONNECTING_MAX_EACH: u32 = 256;
/// A paced connect that is late by more than this is not made up for, ns: after a stall comes no storm.
const CATCH_UP_NS: u64 = 100_000_000;

/// A new device's client. Its user is known, so that it may send before its first session.
pub fn new_core(config: &Arc<Config>, user: u64) -> Core {
    let identity = UserId::new(user).map(|user| (user, DeviceId(1)));
    Core::new(Arc::clone(config), Image { identity, ..Image::default() })
}

pub(super) fn client_config(plan: &Plan) -> Config {
    let load = &plan.load;
    Config {
        agent: concat!("shardwire-loadgen/", env!("CARGO_PKG_VERSION")).to_owned(),
        handling: Handling::OnDelivery,
        durable: false,
        // Marks that are off are held back for longer than any run.
        mark_interval_ms: if load.acks { load.mark_interval_ms } else { u32::MAX },
        token_renewable: true,
        hash_seed: load.seed,
        outbox_sends: match load.mode {
            Mode::Closed => load.in_flight.unwrap_or(1) as usize + 1,
            _ => 100_000,
        },
        outbox_bytes: 1 << 30,
        // Receipts of large groups come from thousands: what is forgotten is only told once more.
        watermarks_per_chat: 64,
        ..Config::default()
    }
}

/// A socket's error, for the counts: kinds only, never an address.
fn kind_of(error: &std::io::Error) -> String {
    format!("connect: {}", error.kind())
}

impl Worker {
    pub(super) fn may_connect(&self) -> bool {
        self.connecting < (CONNECTING_MAX / u32::from(self.plan.workers)).clamp(8, CONNECTING_MAX_EACH)
    }

    /// Begins the connects that are due, as far as rate and listen queue allow.
    pub(super) fn connect_due(&mut self) {
        let rate = self.plan.load.connects_per_second / f64::from(self.plan.workers);
        while self.may_connect() && self.next_connect_ns <= self.now.mono_ns {
            match self.connects.peek().copied() {
                Some(Reverse((at, user))) if at <= self.now.mono_ns => {
                    self.connects.pop();
                    let held_until = self.absences.held_until(user);
                    if held_until > self.now.mono_ns {
                        self.connects.push(Reverse((held_until, user)));
                        continue;
                    }
                    if rate > 0.0 {
                        let oldest = self.now.mono_ns.saturating_sub(CATCH_UP_NS);
                        self.next_connect_ns = self.next_connect_ns.max(oldest) + (1e9 / rate) as u64;
                    }
                    self.connect(user);
                }
                _ => break,
            }
        }
    }

    fn connect(&mut self, user: u32) {
        let place = self.first + user;
        let state = &mut self.users[user as usize];
        state.generation = state.generation.wrapping_add(1);
        state.connect_ns = self.now.mono_ns;
        let key = u64::from(state.generation) << 32 | u64::from(user);
        let source = self.plan.source(place, state.generation / 2); // it rises at the begin and at the end of each
        let target = self.plan.targets.of(place, state.moves);
        match Socket::connect(target.address, source, target.secure.as_ref(), &self.epoll, key) {
            Ok(socket) => {
                if let Some(bytes) = self.plan.behaviours.receive_buffer(place) {
                    socket.limit_receive_buffer(bytes);
                }
                if self.plan.resets() {
                    socket.reset_at_end();
                }
                state.socket = Some(socket);
                state.link = Link::Connecting;
                if self.plan.speech.is_some() {
                    state.websocket.get_or_insert_default();
                }
                state.joining = true;
                self.connecting += 1;
            }
            Err(error) => {
                self.error(&kind_of(&error));
                self.tell(user, Input::ConnectFailed);
            }
        }
    }

    /// A connect has come to its end, good or bad.
    pub(super) fn connected(&mut self, user: u32) {
        let state = &mut self.users[user as usize];
        let result = state.socket.as_ref().map_or(Ok(()), Socket::connected);
        match result {
            Ok(()) => {
                state.link = Link::Up;
                self.mark_dirty(user);
                match self.tokens.token(user) {
                    Ok(token) => self.tell(user, Input::Connected { token: token.as_bytes() }),
                    Err(error) => {
                        self.error(&error.to_string());
                        self.forget(user);
                        self.tell(user, Input::ConnectFailed);
                    }
                }
            }
            Err(error) => {
                state.link = Link::Down;
                state.socket = None;
                self.error(&kind_of(&error));
                self.joined(user);
                self.tell(user, Input::ConnectFailed);
            }
        }
    }

    /// A user's connect is no longer in progress.
    fn joined(&mut self, user: u32) {
        if core::mem::take(&mut self.users[user as usize].joining) {
            self.connecting -= 1;
        }
    }

    /// A connection has ended by itself.
    pub(super) fn ended(&mut self, user: u32) {
        self.forget(user);
        self.tell(user, Input::Disconnected);
    }

    /// The client wants its connection closed.
    pub(super) fn close(&mut self, user: u32) {
        if let Some(socket) = &mut self.users[user as usize].socket {
            // What was written before should go out; a connection that cannot take it ends all the same.
            let _ = socket.close(&self.epoll);
        }
        self.forget(user);
    }

    pub(super) fn forget(&mut self, user: u32) {
        self.joined(user);
        let state = &mut self.users[user as usize];
        state.socket = None;
        state.link = Link::Down;
        state.generation = state.generation.wrapping_add(1);
        self.set_authenticated(user, false);
    }

    pub(super) fn set_authenticated(&mut self, user: u32, authenticated: bool) {
        let state = &mut self.users[user as usize];
        if state.authenticated != authenticated {
            state.authenticated = authenticated;
            if authenticated {
                self.authenticated += 1;
            } else {
                self.authenticated -= 1;
            }
            self.shown.set_authenticated(self.authenticated);
        }
    }

    /// A session stands: in a load of connects it is left again at once, by a new device of the same user.
    pub(super) fn welcomed(&mut self, user: u32) {
        self.joined(user);
        let state = &mut self.users[user as usize];
        state.cut = false;
        (state.welcomed_ns, state.returned) = (self.now.mono_ns, state.synced);
        self.outcome.connects.record_ns(self.now.mono_ns - state.connect_ns);
        self.shown.connects.fetch_add(1, Ordering::Relaxed);
        self.set_authenticated(user, true);
        self.note_back(user);
        self.make_groups(user);
        if self.plan.load.mode == Mode::Connect {
            self.forget(user);
            let id = self.plan.load.first_user + u64::from(self.first + user);
            let state = &mut self.users[user as usize];
            state.timer_ns = u64::MAX;
            state.core = new_core(&self.config, id);
            self.tell(user, Input::Start);
        }
    }
}
