//! What a user's client tells: counted, measured, audited.

use std::sync::atomic::Ordering;

use client::core::{Cause, End, Failure};
use client::{Entry, Event};
use schema::ids::{ChatId, UserId};

use super::Worker;
use super::message::{Bodies, Origin};
use crate::scenario::Mode;

impl Worker {
    pub(super) fn event(&mut self, user: u32, event: Event) {
        match event {
            Event::Entry(entry) => self.delivered(user, &entry),
            Event::Sent { client_msg_id, chat, message, seq, .. } => {
                if let Some(at) = self.own(&client_msg_id) {
                    let origin = Origin::parse(&client_msg_id).expect("`own` has parsed it");
                    if self.outcome.sent[at].ack(u64::from(origin.number), seq, message) {
                        self.expect_receipt(at, u64::from(origin.number), chat, seq);
                        self.shown.acked.fetch_add(1, Ordering::Relaxed);
                    }
                    self.settled(user);
                }
            }
            Event::Failed { client_msg_id, failure } => {
                self.error(&match failure {
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
            Event::Receipt { chat, user: receiver, seq, .. } => self.receipt(user, chat, receiver, seq),
            Event::Synced { .. } => self.note_settled(user),
            Event::Disconnected { cause, .. } => self.disconnected(user, cause),
            Event::Postponed { refusal, .. } => self.error(&format!("postponed: {refusal}")),
            Event::Complaint(refusal) => self.error(&format!("complaint: {refusal}")),
            Event::Ended(end) => {
                self.error(&match end {
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
        self.note_gone(user);
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
        self.error(&name);
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
        if let Some((carried, sender_away)) = Bodies::intended(entry.body()) {
            let intended = carried.wrapping_add_signed(self.plan.clock_shift_ns.wrapping_neg());
            let latency = self.now.mono_ns.saturating_sub(intended);
            let apart = self.is_apart(origin.stream / peers, user, intended, sender_away);
            if !apart {
                self.recent.record_ns(latency);
            }
            if self.steady.contains(&intended) {
                let latencies = if apart { &mut self.outcome.latencies_away } else { &mut self.outcome.latencies };
                latencies.record_ns(latency);
            }
        }
    }

    /// A message is durable: its receiver's mark is to come back.
    fn expect_receipt(&mut self, at: usize, number: u64, chat: ChatId, seq: u64) {
        if self.plan.load.audits_receipts() {
            let side = &mut self.outcome.sent[at];
            side.chat = Some(chat);
            self.receipts_due += u64::from(side.receipts.expect(number, seq));
            self.shown.receipts_due.store(self.receipts_due, Ordering::Release);
        }
    }

    /// `receiver` has everything of a chat up to `seq`.
    fn receipt(&mut self, user: u32, chat: ChatId, receiver: UserId, seq: u64) {
        let load = &self.plan.load;
        let place = receiver.get().checked_sub(load.first_user).and_then(|place| u32::try_from(place).ok());
        let peer = place.and_then(|place| self.plan.pairing.peer(self.first + user, place, load.peers));
        let Some(peer) = peer.filter(|_| load.audits_receipts()) else { return };
        let side = &mut self.outcome.sent[(user * load.peers + peer) as usize];
        if side.chat.is_none_or(|known| known == chat) {
            self.receipts_due -= side.receipts.receipt(seq);
            self.shown.receipts_due.store(self.receipts_due, Ordering::Release);
        }
    }
}
