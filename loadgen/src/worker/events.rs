//! What a user's client tells: counted, measured, audited.

use std::sync::atomic::Ordering;

use client::core::{Cause, End, Failure};
use client::{Entry, Event};

use super::Worker;
use super::message::{Bodies, Origin};
use crate::scenario::Mode;

impl Worker {
    pub(super) fn event(&mut self, user: u32, event: Event) {
        match event {
            Event::Entry(entry) => self.delivered(user, &entry),
            Event::Sent { client_msg_id, message, seq, .. } => {
                if let Some(at) = self.own(&client_msg_id) {
                    let origin = Origin::parse(&client_msg_id).expect("`own` has parsed it");
                    if self.outcome.sent[at].ack(u64::from(origin.number), seq, message) {
                        self.shown.acked.fetch_add(1, Ordering::Relaxed);
                    }
                    self.settled(user);
                }
            }
            Event::Failed { client_msg_id, failure } => {
                self.outcome.errors.add(&match failure {
                    Failure::Refused(refusal) => format!("refused: {refusal}"),
                    Failure::TooLarge(_) => "failed: too large".to_owned(),
                    Failure::Expired => "failed: expired".to_owned(),
                });
                if let (Some(at), Some(origin)) = (self.own(&client_msg_id), Origin::parse(&client_msg_id)) {
                    self.outcome.sent[at].fail(u64::from(origin.number));
                    self.shown.refused.fetch_add(1, Ordering::Relaxed);
                    self.settled(user);
                }
            }
            Event::Welcome(_) => self.welcomed(user),
            Event::Disconnected { cause, .. } => self.disconnected(user, cause),
            Event::Postponed { refusal, .. } => self.outcome.errors.add(&format!("postponed: {refusal}")),
            Event::Complaint(refusal) => self.outcome.errors.add(&format!("complaint: {refusal}")),
            Event::Ended(end) => {
                self.outcome.errors.add(&match end {
                    End::Server(refusal) => format!("ended: {refusal}"),
                    End::TokenExpired => "ended: token expired".to_owned(),
                    End::Version(_) => "ended: no common protocol version".to_owned(),
                    End::WrongStore(..) => "ended: the server took the token for another user or device".to_owned(),
                    End::Closed => "ended".to_owned(),
                });
                self.close(user);
            }
            _ => {}
        }
    }

    fn disconnected(&mut self, user: u32, cause: Cause) {
        self.set_authenticated(user, false);
        let cut = core::mem::take(&mut self.users[user as usize].cut);
        if cut || self.plan.load.mode == Mode::Connect && cause == Cause::Lost {
            return;
        }
        let name = match cause {
            Cause::ConnectFailed => return, // counted where it failed, with its reason
            Cause::Lost => "disconnected: lost".to_owned(),
            Cause::Silent => "disconnected: the server was silent".to_owned(),
            Cause::BadFrame => "disconnected: bad frame".to_owned(),
            Cause::Server(refusal) => format!("disconnected: {refusal}"),
        };
        self.outcome.errors.add(&name);
    }

    /// Where the sender's side of one of this worker's messages is.
    fn own(&self, client_msg_id: &[u8]) -> Option<usize> {
        let origin = Origin::parse(client_msg_id).filter(|o| o.run == self.plan.run)?;
        let at = origin.stream.checked_sub(self.outcome.first_stream)? as usize;
        (at < self.outcome.sent.len()).then_some(at)
    }

    fn delivered(&mut self, user: u32, entry: &Entry) {
        let peers = self.plan.load.peers;
        let ours = Origin::parse(entry.client_msg_id()).filter(|origin| {
            let (sender, peer) = (origin.stream / peers, origin.stream % peers);
            origin.run == self.plan.run
                && sender < self.plan.load.users
                && entry.sender().get() == self.plan.load.first_user + u64::from(sender)
                && self.plan.pairing.receiver(sender, peer) == self.first + user
        });
        let Some(origin) = ours else {
            self.outcome.foreign += 1;
            return;
        };
        let got = self.outcome.got.entry(origin.stream).or_default();
        if !got.deliver(u64::from(origin.number), entry.seq(), entry.message()) {
            return;
        }
        self.shown.delivered.fetch_add(1, Ordering::Relaxed);
        if let Some(carried) = Bodies::intended_ns(entry.body()) {
            let intended = carried.wrapping_add_signed(self.plan.clock_shift_ns.wrapping_neg());
            let latency = self.now.mono_ns.saturating_sub(intended);
            self.recent.record_ns(latency);
            if self.steady.contains(&intended) {
                self.outcome.latencies.record_ns(latency);
            }
        }
    }
}
