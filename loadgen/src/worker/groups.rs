//! Groups of a worker's users: made, joined, written to, and what comes of it.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use client::core::GroupChange;
use client::{Cx, Entry, NewSend};
use schema::encode::SendTarget;
use schema::ids::MessageId;

use super::Worker;
use super::message::Origin;
use crate::audit::{Asked, MemberSide};
use crate::draw::{Draw, Use};
use crate::groups::{CHANGE, GROUP, Group};
use crate::spread::Sender;

impl Worker {
    /// Before anything: what each membership of this worker's users begins with, and who makes which groups.
    pub(super) fn plan_groups(&mut self) {
        let own = self.first..self.first + self.users.len() as u32;
        for (at, group) in self.plan.groups.iter() {
            if group.here(&own) == 0 {
                continue;
            }
            if own.contains(&group.start) {
                self.creates.entry(group.start - self.first).or_default().push(at);
            }
            for member in 0..group.members {
                let place = group.place(member);
                if own.contains(&place) {
                    let side = MemberSide::new(u64::from(group.step_of(member)) + 1);
                    self.outcome.members.insert((at, place), side);
                    self.group_receipts.member_of(place - own.start, at);
                }
            }
        }
    }

    /// A user's first session stands: it makes the groups it is the first member of.
    pub(super) fn make_groups(&mut self, user: u32) {
        for at in self.creates.remove(&user).unwrap_or_default() {
            let Some(group) = self.plan.groups.get(at).copied() else { continue };
            for step in 0..group.steps() {
                let users = group.joins(step).map(|member| self.plan.groups.user(group.place(member))).collect();
                let change = match step {
                    0 => GroupChange::Created { name: Bytes::from(format!("group {at}")), users },
                    _ => GroupChange::Added { group: group.chat, users },
                };
                let origin = Origin { run: self.plan.run, stream: GROUP | CHANGE | at, number: step };
                let mut cx = Cx {
                    now: self.now,
                    encoder: &mut self.encoder,
                    entropy: &mut self.entropy,
                    counters: &mut self.outcome.counters,
                    out: &mut self.outputs,
                };
                let taken = self.users[user as usize].core.change(&mut cx, origin.client_msg_id(), change);
                if let Err(error) = taken {
                    self.error(&format!("a group was not made: {error}"));
                }
                self.act(user);
            }
        }
    }

    /// One message of a user to a group.
    pub(super) fn send_to_group(&mut self, user: u32, at: u32, intended_ns: u64) {
        let place = self.first + user;
        let Some(group) = self.plan.groups.get(at).copied() else { return };
        let Some(side) = self.outcome.members.get_mut(&(at, place)) else { return };
        let origin = Origin { run: self.plan.run, stream: GROUP | at, number: side.sent as u32 };
        let mut draw =
            Draw::of(self.plan.load.seed, Use::Size, u64::from(origin.stream) << 32 | u64::from(place), side.sent);
        let carried_ns = intended_ns.wrapping_add_signed(self.plan.clock_shift_ns);
        let away = self.absences.is_away(user);
        let body = self.bodies.make(carried_ns, away, self.sizes.draw(&mut draw));
        let send = NewSend::message(origin.client_msg_id(), SendTarget::Chat(group.chat), body);
        let mut cx = Cx {
            now: self.now,
            encoder: &mut self.encoder,
            entropy: &mut self.entropy,
            counters: &mut self.outcome.counters,
            out: &mut self.outputs,
        };
        match self.users[user as usize].core.send(&mut cx, send) {
            Ok(_) => {
                side.send(Asked { intended: intended_ns, away });
                self.follow_receipts(at, place, &group);
                self.shown.wanted.fetch_add(u64::from(group.members - 1), Ordering::Relaxed);
                self.shown.sent.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.not_sent(error),
        }
        self.act(user);
    }

    /// An own change or message is durable.
    pub(super) fn group_sent(&mut self, user: u32, origin: Origin, seq: u64, message: MessageId) {
        let place = self.first + user;
        let Some((at, group)) = self.group_of(origin) else { return };
        let Some(side) = self.outcome.members.get_mut(&(at, place)) else { return };
        if origin.stream & CHANGE != 0 {
            side.change(seq);
            if origin.number + 1 == group.steps() {
                self.member_joined(at, place);
            }
            return;
        }
        let Some(Asked { intended, away }) = side.ack(place, u64::from(origin.number), seq, message) else { return };
        self.expect_group_receipts((at, place), u64::from(origin.number), seq);
        self.shown.acked.fetch_add(1, Ordering::Relaxed);
        if self.steady.contains(&intended) && !away && !self.was_away(user, intended) {
            let ns = self.now.mono_ns.saturating_sub(intended);
            self.follower.spread.kinds[group.kind].ack.record_ns(ns);
            let late = self.read_late_ns();
            self.outcome.reading_acks.record_ns(late);
        }
    }

    /// A message was refused for good; a refused change leaves its group unmade, which the controller sees.
    pub(super) fn group_failed(&mut self, user: u32, origin: Origin) {
        let Some((at, group)) = self.group_of(origin).filter(|_| origin.stream & CHANGE == 0) else { return };
        if let Some(side) = self.outcome.members.get_mut(&(at, self.first + user)) {
            side.fail(u64::from(origin.number));
            self.shown.wanted.fetch_sub(u64::from(group.members - 1), Ordering::Relaxed);
            self.shown.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn group_of(&self, origin: Origin) -> Option<(u32, Group)> {
        let at = origin.stream & !(GROUP | CHANGE);
        self.plan.groups.get(at).map(|group| (at, *group))
    }

    /// An entry of a group of this run.
    pub(super) fn group_entry(&mut self, user: u32, entry: &Entry, origin: Origin) {
        let place = self.first + user;
        let Some((at, group)) = self.group_of(origin) else {
            self.outcome.foreign += 1;
            return;
        };
        let (Some(side), Some(own)) = (self.outcome.members.get_mut(&(at, place)), group.member(place)) else {
            self.outcome.misdelivered += 1;
            return;
        };
        let sender = self.plan.groups.place(entry.sender()).filter(|sender| group.member(*sender).is_some());
        let Some(sender) = sender.filter(|_| entry.chat() == group.chat) else { return side.strange() };
        if sender == place {
            // An own one, which came before its acknowledgement: that counts.
            return;
        }
        if origin.stream & CHANGE != 0 {
            side.change(entry.seq());
            if origin.number == group.step_of(own) {
                self.member_joined(at, place);
            }
            return;
        }
        if !side.deliver(sender, u64::from(origin.number), entry.seq(), entry.message()) {
            return;
        }
        self.shown.delivered.fetch_add(1, Ordering::Relaxed);
        self.read_later(user, entry.chat(), entry.seq());
        let Some((intended, latency, apart)) = self.measure(sender, user, entry.body()) else { return };
        if self.steady.contains(&intended) {
            let own = self.first..self.first + self.users.len() as u32;
            let sender = Sender::of(&self.plan, &group, sender, &own);
            self.follower.delivered((at, entry.seq()), group.kind, latency, apart, sender);
        }
    }

    fn member_joined(&mut self, at: u32, place: u32) {
        if let Some(side) = self.outcome.members.get_mut(&(at, place))
            && !core::mem::replace(&mut side.joined, true)
        {
            self.shown.joined.fetch_add(1, Ordering::Release);
        }
    }
}
