//! Sending: at the pacer's times, or into the window's room.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use client::Cx;
use client::NewSend;
use client::core::SendError;
use schema::encode::SendTarget;
use schema::ids::UserId;

use super::Worker;
use super::message::Origin;
use super::route::DIRECT;
use crate::draw::{Draw, Use};
use crate::pace::{Pacer, Profile, window};
use crate::scenario::Mode;

impl Worker {
    /// Once the start is known: sets up what depends on it.
    pub(super) fn begin_load(&mut self) {
        let phases = &self.plan.phases;
        let (Some(start), Some(steady)) = (phases.started(), phases.steady()) else { return };
        if self.steady == steady {
            return;
        }
        self.steady = steady;
        let load = &self.plan.load;
        let share = (self.index, self.plan.workers);
        let part = self.routes.part();
        if load.mode == Mode::Open && part > 0.0 {
            self.pacer = Some(Pacer::new(Profile::of(load, part), start, load.arrivals, share, load.seed));
        }
        self.plan_acts(start);
    }

    /// Whether load is being made now.
    pub(super) fn sending(&self) -> bool {
        let phases = &self.plan.phases;
        self.quota != Some(0)
            && !phases.is_cut()
            && phases.started().is_some_and(|start| start <= self.now.mono_ns)
            && phases.end().is_some_and(|end| self.now.mono_ns < end)
    }

    /// Sends what is due.
    pub(super) fn send_due(&mut self) {
        if !self.plan.load.sends() {
            return;
        }
        if !self.sending() {
            if self.plan.phases.started().is_some_and(|start| start <= self.now.mono_ns) {
                self.shown.exhausted.store(true, Ordering::Release);
            }
            return;
        }
        match self.plan.load.mode {
            Mode::Open => self.send_paced(),
            Mode::Closed => {
                self.open_windows();
                self.pauses_over();
            }
            _ => {}
        }
    }

    /// Windows open over the ramp: at each step everybody has room.
    fn open_windows(&mut self) {
        let since = self.now.mono_ns.saturating_sub(self.plan.phases.started().unwrap_or(u64::MAX));
        let open = window(self.plan.load.in_flight.unwrap_or(0), self.plan.phases.ramp_ns(), since);
        if open != self.open_window {
            let new = open - self.open_window;
            self.open_window = open;
            if self.plan.load.think.is_some() {
                for user in 0..self.users.len() as u32 {
                    (0..new).for_each(|_| self.pause(user));
                }
                return;
            }
            for user in 0..self.users.len() as u32 {
                self.note_room(user);
            }
            self.refill();
        }
    }

    fn send_paced(&mut self) {
        while self.quota != Some(0) {
            let Some(intended) = self.pacer.as_mut().and_then(|pacer| pacer.take(self.now.mono_ns)) else { break };
            let Some((user, group)) = self.routes.next() else { break };
            if self.steady.contains(&intended) {
                self.outcome.lag.record_ns(self.now.mono_ns - intended);
            }
            if group == DIRECT {
                self.send(user, intended);
            } else {
                self.send_to_group(user, group, intended);
            }
        }
    }

    /// A send has its outcome: in a closed load the next may go, after a pause where the scenario says so.
    pub(super) fn settled(&mut self, user: u32) {
        let state = &mut self.users[user as usize];
        state.outstanding = state.outstanding.saturating_sub(1);
        if self.plan.load.think.is_some() { self.pause(user) } else { self.note_room(user) }
    }

    /// A user's next pause begins.
    fn pause(&mut self, user: u32) {
        let Some(think) = &self.plan.load.think else { return };
        let state = &mut self.users[user as usize];
        let nth = state.pauses;
        state.pauses += 1;
        let mut draw = Draw::of(self.plan.load.seed, Use::Think, u64::from(self.first + user), u64::from(nth));
        self.pauses.push(Reverse((self.now.mono_ns + think.draw_ns(&mut draw), user)));
    }

    /// Sends of those whose pause is over; due at its end, however late that is seen.
    fn pauses_over(&mut self) {
        while let Some(Reverse((due, user))) = self.pauses.peek().copied()
            && due <= self.now.mono_ns
            && self.quota != Some(0)
        {
            self.pauses.pop();
            if self.steady.contains(&due) {
                self.outcome.lag.record_ns(self.now.mono_ns - due);
            }
            if !self.send(user, due) {
                self.pause(user);
            }
        }
    }

    fn note_room(&mut self, user: u32) {
        if self.plan.load.mode == Mode::Closed && !self.users[user as usize].refill {
            self.users[user as usize].refill = true;
            self.refill.push(user);
        }
    }

    /// Closed load: fills the windows that have room.
    pub(super) fn refill(&mut self) {
        while let Some(user) = self.refill.pop() {
            self.users[user as usize].refill = false;
            while self.users[user as usize].outstanding < self.open_window && self.sending() {
                if !self.send(user, self.now.mono_ns) {
                    break;
                }
            }
        }
    }

    /// One message of a user to the receiver whose turn it is. `false`: the client did not take it.
    fn send(&mut self, user: u32, intended_ns: u64) -> bool {
        let peers = self.plan.load.peers;
        let state = &mut self.users[user as usize];
        let peer = state.next_peer;
        state.next_peer = (peer + 1) % peers;
        let place = self.first + user;
        let receiver = self.plan.load.first_user + u64::from(self.plan.pairing.receiver(place, peer));
        let side = &mut self.outcome.sent[(user * peers + peer) as usize];
        let origin = Origin { run: self.plan.run, stream: place * peers + peer, number: side.sent as u32 };
        let carried_ns = intended_ns.wrapping_add_signed(self.plan.clock_shift_ns);
        let target = SendTarget::User(UserId::new(receiver).expect("user ids begin at 1"));
        let away = self.absences.is_away(user);
        let mut draw = Draw::of(self.plan.load.seed, Use::Size, u64::from(origin.stream), side.sent);
        let body = self.bodies.make(carried_ns, away, self.sizes.draw(&mut draw));
        let send = NewSend::message(origin.client_msg_id(), target, body);
        let mut cx = Cx {
            now: self.now,
            encoder: &mut self.encoder,
            entropy: &mut self.entropy,
            counters: &mut self.outcome.counters,
            out: &mut self.outputs,
        };
        let taken = state.core.send(&mut cx, send);
        match taken {
            Ok(_) => {
                side.send();
                state.outstanding += 1;
                self.quota = self.quota.map(|left| left - 1);
                self.shown.wanted.fetch_add(1, Ordering::Relaxed);
                self.shown.sent.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.not_sent(error),
        }
        self.act(user);
        taken.is_ok()
    }

    /// A client did not take a message.
    pub(super) fn not_sent(&mut self, error: SendError) {
        self.error(match error {
            SendError::OutboxFull { .. } => "not sent: outbox full",
            SendError::TooLarge { .. } => "not sent: too large",
            SendError::Ended => "not sent: client ended",
            _ => "not sent",
        });
    }
}
