//! What a user's client tells: counted, measured, audited.

use std::sync::atomic::Ordering;

use client::core::{Cause, End, Failure};
use client::{Entry, Event};
use schema::ids::{ChatId, MessageId, UserId};
use schema::wire::MarkStatus;

use super::Worker;
use super::message::{Bodies, Origin};
use crate::groups::GROUP;
use crate::scenario::Mode;

impl Worker {
    pub(super) fn event(&mut self, user: u32, event: Event) {
        match event {
            Event::Entry(entry) => self.delivered(user, &entry),
            Event::Sent { client_msg_id, chat, message, seq, .. } => {
                if let Some(origin) = self.of_this_run(&client_msg_id) {
                    self.sent(user, origin, chat, message, seq);
                }
            }
            Event::Failed { client_msg_id, failure } => {
                self.error(&match failure {
                    Failure::Refused(refusal) => format!("refused: {refusal}"),
                    Failure::TooLarge(_) => "failed: too large".to_owned(),
                    Failure::Expired => "failed: expired".to_owned(),
                });
                if let Some(origin) = self.of_this_run(&client_msg_id) {
                    self.refused(user, origin);
                }
            }
            Event::Welcome(_) => self.welcomed(user),
            Event::Receipt { chat, user: receiver, seq, status, .. } => {
                self.receipt(user, chat, (receiver, status), seq);
            }
            Event::Ticks { chat, members } => self.ticks(user, chat, &members),
            Event::Synced { .. } => {
                self.note_settled(user);
                self.told_again(user);
            }
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
        // Where it was is no good now: the next attempt goes to the next target.
        let moves = &mut self.users[user as usize].moves;
        *moves = moves.wrapping_add(1);
        let name = match cause {
            Cause::ConnectFailed => return, // counted where it failed, with its reason
            Cause::Lost => "disconnected: lost".to_owned(),
            Cause::Silent => "disconnected: the server was silent".to_owned(),
            Cause::BadFrame => "disconnected: bad frame".to_owned(),
            Cause::Server(refusal) => format!("disconnected: {refusal}"),
        };
        self.error(&name);
    }

    fn of_this_run(&self, client_msg_id: &[u8]) -> Option<Origin> {
        Origin::parse(client_msg_id).filter(|origin| origin.run == self.plan.run)
    }

    /// Whether a message is a group's.
    fn is_groups(&self, origin: Origin) -> bool {
        origin.stream & GROUP != 0 && !self.plan.groups.is_empty()
    }

    fn sent(&mut self, user: u32, origin: Origin, chat: ChatId, message: MessageId, seq: u64) {
        if self.is_groups(origin) {
            return self.group_sent(user, origin, seq, message);
        }
        let Some(at) = self.own(origin) else { return };
        if self.outcome.sent[at].ack(u64::from(origin.number), seq, message) {
            self.expect_receipt(at, u64::from(origin.number), chat, seq);
            self.shown.acked.fetch_add(1, Ordering::Relaxed);
        }
        self.settled(user);
    }

    fn refused(&mut self, user: u32, origin: Origin) {
        if self.is_groups(origin) {
            return self.group_failed(user, origin);
        }
        let Some(at) = self.own(origin) else { return };
        self.outcome.sent[at].fail(u64::from(origin.number));
        self.shown.wanted.fetch_sub(1, Ordering::Relaxed);
        self.shown.refused.fetch_add(1, Ordering::Relaxed);
        self.settled(user);
    }

    /// Where the sender's side of one of this worker's messages is.
    fn own(&self, origin: Origin) -> Option<usize> {
        let at = origin.stream.checked_sub(self.outcome.first_stream)? as usize;
        (at < self.outcome.sent.len()).then_some(at)
    }

    fn delivered(&mut self, user: u32, entry: &Entry) {
        let peers = self.plan.load.peers;
        let ours = self.of_this_run(entry.client_msg_id());
        if let Some(origin) = ours.filter(|origin| self.is_groups(*origin)) {
            return self.group_entry(user, entry, origin);
        }
        let ours = ours.filter(|origin| {
            let (sender, peer) = (origin.stream / peers, origin.stream % peers);
            sender < self.plan.load.users
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
        self.read_later(user, entry.chat(), entry.seq());
        self.measure(origin.stream / peers, user, entry.body());
    }

    /// A message has come: when it was to be sent, how long it took, and whether sender or receiver was away meanwhile.
    pub(super) fn measure(&mut self, sender: u32, user: u32, body: &[u8]) -> Option<(u64, u64, bool)> {
        let (carried, sender_away) = Bodies::intended(body)?;
        let intended = carried.wrapping_add_signed(self.plan.clock_shift_ns.wrapping_neg());
        let latency = self.now.mono_ns.saturating_sub(intended);
        let apart = self.is_apart(sender, user, intended, sender_away);
        if !apart {
            self.recent.record_ns(latency);
        }
        if self.steady.contains(&intended) {
            let latencies = if apart { &mut self.outcome.latencies_away } else { &mut self.outcome.latencies };
            latencies.record_ns(latency);
            if !apart {
                let late = self.read_late_ns();
                self.outcome.reading.record_ns(late);
            }
            if !apart && self.absences.any_away() {
                self.outcome.latencies_meanwhile.record_ns(latency);
            }
        }
        Some((intended, latency, apart))
    }

    /// A message is durable: its receiver's mark is to come back.
    fn expect_receipt(&mut self, at: usize, number: u64, chat: ChatId, seq: u64) {
        if self.plan.load.audits_receipts() {
            let side = &mut self.outcome.sent[at];
            side.chat = Some(chat);
            self.receipts_due += u64::from(side.receipts.expect(number, seq));
            if self.plan.load.read.is_some() {
                self.receipts_due += u64::from(side.reads.expect(number, seq));
            }
            self.shown.receipts_due.store(self.receipts_due, Ordering::Release);
        }
    }

    /// `receiver` has everything of a chat up to `seq`, or has read it.
    pub(super) fn receipt(&mut self, user: u32, chat: ChatId, (receiver, status): (UserId, MarkStatus), seq: u64) {
        if let Some(at) = self.plan.groups.find(chat) {
            return self.group_receipt(user, at, receiver, (seq, status));
        }
        let load = &self.plan.load;
        let place = receiver.get().checked_sub(load.first_user).and_then(|place| u32::try_from(place).ok());
        let peer = place.and_then(|place| self.plan.pairing.peer(self.first + user, place, load.peers));
        let Some(peer) = peer.filter(|_| load.audits_receipts()) else { return };
        let side = &mut self.outcome.sent[(user * load.peers + peer) as usize];
        if side.chat.is_none_or(|known| known == chat) {
            self.receipts_due -= side.receipts.receipt(seq);
            if status == MarkStatus::read {
                self.receipts_due -= side.reads.receipt(seq);
            }
            self.shown.receipts_due.store(self.receipts_due, Ordering::Release);
        }
    }
}
