//! Connections of a worker's users: made, lost, cut, made again.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use client::store::Image;
use client::{Config, Core, Input};
use schema::ids::{DeviceId, UserId};

use super::socket::{self, Socket};
use super::user::Link;
use super::{Worker, kind_of};
use crate::scenario::Mode;

/// Connects of one worker in progress, at most: within any server's listen queue.
const CONNECTING_MAX: u32 = 256;

/// A new device's client. Its user is known, so that it may send before its first session.
pub fn new_core(config: &Arc<Config>, user: u64) -> Core {
    let identity = UserId::new(user).map(|user| (user, DeviceId(1)));
    Core::new(Arc::clone(config), Image { identity, ..Image::default() })
}

impl Worker {
    pub(super) fn may_connect(&self) -> bool {
        self.connecting < CONNECTING_MAX
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
                        self.next_connect_ns = self.next_connect_ns.max(self.now.mono_ns) + (1e9 / rate) as u64;
                    }
                    self.connect(user);
                }
                _ => break,
            }
        }
    }

    fn connect(&mut self, user: u32) {
        let place = self.first + user;
        // Short-lived connections use up ports: they take turns over source addresses.
        let nth = match self.plan.load.mode {
            Mode::Connect => (self.outcome.counters.connects % 8) as u32 * socket::CONNECTIONS_PER_SOURCE,
            _ => place,
        };
        let state = &mut self.users[user as usize];
        state.generation = state.generation.wrapping_add(1);
        state.connect_ns = self.now.mono_ns;
        let key = u64::from(state.generation) << 32 | u64::from(user);
        match Socket::connect(self.plan.target, socket::source(self.plan.target, nth), &self.epoll, key) {
            Ok(socket) => {
                if let Some(bytes) = self.plan.behaviours.receive_buffer(place) {
                    socket.limit_receive_buffer(bytes);
                }
                state.socket = Some(socket);
                state.link = Link::Connecting;
                if self.plan.speech.is_some() {
                    state.websocket.get_or_insert_default();
                }
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
        self.connecting -= 1;
        let state = &mut self.users[user as usize];
        let result = state.socket.as_ref().map_or(Ok(()), Socket::connected);
        match result {
            Ok(()) => {
                state.link = Link::Up;
                let token = state.token.clone();
                self.mark_dirty(user);
                self.tell(user, Input::Connected { token: token.as_bytes() });
            }
            Err(error) => {
                state.link = Link::Down;
                state.socket = None;
                self.error(&kind_of(&error));
                self.tell(user, Input::ConnectFailed);
            }
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
            let _ = socket.flush(&self.epoll);
        }
        self.forget(user);
    }

    pub(super) fn forget(&mut self, user: u32) {
        let state = &mut self.users[user as usize];
        if state.link == Link::Connecting {
            self.connecting -= 1;
        }
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
        let state = &mut self.users[user as usize];
        state.cut = false;
        self.outcome.connects.record_ns(self.now.mono_ns - state.connect_ns);
        self.shown.connects.fetch_add(1, Ordering::Relaxed);
        self.set_authenticated(user, true);
        self.note_back(user);
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
