//! Answers find their requests; what nobody answers is given up.

use fabric::tier::Egress;
use fabric::time::Now;
use schema::envelope::{Address, Body, Envelope, Header};
use schema::errors::{ErrorCode, Retry};

use super::super::account::Account;
use super::super::{Answer, Refusal};
use super::{Desk, Next, Step, Waiting};
use crate::auth::Identity;
use crate::conn::io::forget_refusals;
use crate::ways::{owes_of_now, partition_of_request};

impl<W> Desk<W> {
    /// An envelope for HTTP. Whoever waits for it, and what they get; nobody yet where it was about the account.
    pub fn handle(
        &mut self,
        now: Now,
        envelope: Envelope,
        egress: &mut dyn Egress,
    ) -> Option<(W, Result<Answer, Refusal>)> {
        let Envelope { header: Header { reply, request_id, trace, .. }, body } = envelope;
        if (reply.incarnation, reply.shard) != (self.config.incarnation, self.config.shard) {
            self.metrics.foreign.inc();
            return None;
        }
        let answer = self.answer((reply, request_id), body, egress)?;
        if self.is_held(reply.connection) {
            self.metrics.late.inc();
            return None;
        }
        let waiting = self.places.get_mut(reply.connection as usize).filter(|p| p.generation == reply.generation);
        let Some(waiting) = waiting.and_then(|place| place.waiting.as_mut()) else {
            self.metrics.late.inc();
            return None;
        };
        let due_ns = waiting.due_ns;
        let answer = match core::mem::replace(&mut waiting.step, Step::NONE) {
            Step::Account { from, next } => {
                self.with_account(&from, answer, next, (reply.connection, due_ns), egress)?
            }
            Step::Held { .. } => return None,
            Step::Chat { account, caller } => {
                if let Some(trace) = trace.filter(|_| matches!(answer, Ok(Answer::Sent { .. }))) {
                    self.traced(now, &trace, caller);
                }
                answer.and_then(|answer| account.shown(answer))
            }
        };
        Some((self.vacate(reply.connection)?, answer))
    }

    /// What an owner's envelope answers; `None`: nothing, it is not for HTTP.
    fn answer(
        &mut self,
        (reply, request): (Address, u64),
        body: Body,
        egress: &mut dyn Egress,
    ) -> Option<Result<Answer, Refusal>> {
        Some(match body {
            Body::Sent { chat, message, seq, timestamp_ms, .. } => {
                self.answered(request);
                Ok(Answer::Sent { chat, message, seq, timestamp_ms })
            }
            Body::Queued { chat, .. } => {
                self.answered(request);
                Ok(Answer::Queued { chat })
            }
            // The request has been answered.
            Body::Settled { .. } => return None,
            Body::Page { covers_first, covers_last, head_seq, entries, .. } => {
                Ok(Answer::Page { covers: (covers_first, covers_last), head_seq, entries })
            }
            Body::Answer { frame } => Ok(Answer::Frame(frame)),
            Body::Refused { client_msg_id, chat, code, retry_after_ms } => {
                self.metrics.refused_by_owner.inc();
                if !client_msg_id.is_empty() {
                    self.answered(request);
                    // A request is a session of its own, and over: its owner need not wait for the same send.
                    if code.info().retry != Retry::Never {
                        forget_refusals(self.slot_in(chat, partition_of_request(request)), chat, reply, egress);
                    }
                }
                Err(Refusal { code, retry_after_ms })
            }
            _ => {
                self.metrics.foreign.inc();
                return None;
            }
        })
    }

    /// The account has answered: what the request waited for goes out, or it is over.
    fn with_account(
        &mut self,
        from: &Identity,
        answer: Result<Answer, Refusal>,
        next: Option<Next>,
        (connection, due_ns): (u32, u64),
        egress: &mut dyn Egress,
    ) -> Option<Result<Answer, Refusal>> {
        let read = answer.and_then(|answer| match answer {
            Answer::Frame(frame) => Ok((Account::read(&frame, from)?, frame)),
            _ => Err(ErrorCode::Internal.into()),
        });
        let (account, mut next) = match (read, next) {
            (Ok((account, _)), Some(next)) => (account, next),
            (Ok((_, frame)), None) => return Some(Ok(Answer::Frame(frame))),
            (Err(refusal), next) => {
                self.metrics.refused_by_account.inc();
                self.give_back(next.as_ref());
                return Some(Err(refusal));
            }
        };
        let off = account.read_receipts_off;
        match &mut next.body {
            Body::ChatRequest { blind, .. } | Body::StatusRequest { blind, .. } => *blind = off,
            Body::Mark { secret, .. } => {
                *secret = off;
                let Next { class, chat, partition, body, .. } = next;
                let slot = self.slot_in(chat, partition);
                let mut envelope = Envelope::new(class, body);
                envelope.header.slot = slot;
                egress.to_owner(slot, envelope);
                return Some(Ok(Answer::Marked));
            }
            _ => {}
        }
        let partition = next.partition;
        let caller = next.trace.map_or(0, |(_, caller)| caller);
        self.forward(connection, due_ns, next, egress);
        if let Some(waiting) = &mut self.places[connection as usize].waiting {
            waiting.partition = partition;
            waiting.step = Step::Chat { account, caller };
        }
        None
    }

    /// An owner has answered a send: its credit is free, unless the way there was lost since and all were.
    fn answered(&mut self, request: u64) {
        if let Some(partition) = owes_of_now(&self.generations, request) {
            self.return_credit(partition);
        }
    }

    /// The credit of a send that its owner never saw.
    fn give_back(&mut self, next: Option<&Next>) {
        if let Some(Next { partition, body: Body::Send { .. }, .. }) = next {
            self.return_credit(*partition);
        }
    }

    fn return_credit(&mut self, partition: u16) {
        let credits = &mut self.credits[usize::from(partition)];
        debug_assert!(*credits < self.config.credits_per_partition, "a credit returns once");
        *credits = (*credits + 1).min(self.config.credits_per_partition);
    }

    pub(super) fn vacate(&mut self, connection: u32) -> Option<W> {
        let place = &mut self.places[connection as usize];
        let Waiting { waiter, step, .. } = place.waiting.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(connection);
        self.metrics.in_flight.set(self.in_flight() as i64);
        if let Step::Account { next, .. } | Step::Held { next, .. } = step {
            self.give_back(next.as_ref());
        }
        Some(waiter)
    }

    /// The way to `partition` was lost, or who holds it came back as another: requests that wait for an answer from there are
    /// refused with `storage_unavailable`, and answers to sends of before give no credit back. What was sent may be stored all
    /// the same: its client sends it again under the same client_msg_id.
    pub fn owner_lost(&mut self, partition: u16) -> Vec<(W, Refusal)> {
        let pool = usize::from(partition);
        let Some(generation) = self.generations.get_mut(pool) else {
            debug_assert!(false, "there is no partition {partition}");
            return Vec::new();
        };
        *generation += 1;
        let (mut refused, mut to_come) = (Vec::new(), 0);
        for connection in 0..self.places.len() {
            let Some(waiting) = &self.places[connection].waiting else { continue };
            if waiting.partition != partition || matches!(waiting.step, Step::Held { .. }) {
                // One whose account is elsewhere, and has not answered yet, keeps its credit; one that is held does too.
                to_come += u32::from(waiting.step.will_send_to() == Some(partition));
            } else if let Some(waiter) = self.vacate(connection as u32) {
                self.metrics.lost.inc();
                refused.push((waiter, ErrorCode::StorageUnavailable.into()));
            }
        }
        self.credits[pool] = self.config.credits_per_partition.saturating_sub(to_come);
        refused
    }

    /// Gives up the requests whose deadline has passed: `overloaded`. A send that was given up may yet be stored: its
    /// client sends it again under the same client_msg_id.
    pub fn expire(&mut self, now: Now) -> Vec<(W, Refusal)> {
        if self.due_ns.is_none_or(|due_ns| due_ns > now.mono_ns) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        self.due_ns = None;
        for connection in 0..self.places.len() {
            let Some(due_ns) = self.places[connection].waiting.as_ref().map(|waiting| waiting.due_ns) else { continue };
            if due_ns == u64::MAX {
                // It is held: its time has not begun.
            } else if due_ns > now.mono_ns {
                self.due_ns = Some(self.due_ns.map_or(due_ns, |earlier| earlier.min(due_ns)));
            } else if let Some(waiter) = self.vacate(connection as u32) {
                self.metrics.expired.inc();
                expired.push((waiter, ErrorCode::Overloaded.into()));
            }
        }
        expired
    }

    /// When [`Self::expire`] and [`Self::end_hold`] must be called next, ns of the monotonic clock.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        [self.due_ns, self.hold_deadline_ns()].into_iter().flatten().min()
    }
}
