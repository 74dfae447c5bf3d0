//! Requests in flight: a table with a bound and a deadline.

use std::sync::Arc;

use fabric::tier::Egress;
use fabric::time::Now;
use schema::encode::{Encoder, SendTarget};
use schema::envelope::{Address, Body, Class, Envelope, Header};
use schema::errors::{ErrorCode, Retry};
use schema::frame::VerifiedFrame;
use schema::ids::{ChatId, MessageId, UserId};
use schema::wire::MarkStatus;

use super::{Answer, DeskMetrics, PageAsk, Post, Refusal};
use crate::auth::Identity;
use crate::conn::io::forget_refusals;
use crate::rates::UserRates;
use crate::session::asks::question;
use crate::session::fields::{Target, checked};
use crate::wire::Ask;

/// What a [`Desk`] is told at its start.
#[derive(Clone, Debug)]
pub struct DeskConfig {
    /// Its number among the gateway shards, as in addresses.
    pub shard: u16,
    /// The gateway's incarnation, as in addresses.
    pub incarnation: u64,
    /// Owner partitions there are.
    pub partitions: u16,
    /// Sends it may have unanswered at each owner partition. At least 1.
    pub credits_per_partition: u32,
    /// Requests in flight.
    pub in_flight: u32,
    /// A request that has no answer after so long is given up, ms.
    pub deadline_ms: u32,
    /// Largest frame, size prefix included, bytes: as for sends of sessions.
    pub frame_limit_bytes: u32,
}

struct Place<W> {
    generation: u32,
    waiting: Option<(W, u64)>,
}

/// The requests in flight, each with a `W` that whoever asked waits with. Owned by HTTP's thread.
pub struct Desk<W> {
    config: DeskConfig,
    rates: Arc<UserRates>,
    metrics: DeskMetrics,
    places: Vec<Place<W>>,
    free: Vec<u32>,
    /// No request's deadline is earlier, ns; `None`: nothing is in flight.
    due_ns: Option<u64>,
    /// Free credits, by owner partition.
    credits: Vec<u32>,
    encoder: Encoder,
}

impl<W> Desk<W> {
    /// Nothing in flight. `rates`: shared with the sessions of the host.
    ///
    /// # Panics
    /// When `partitions` or `credits_per_partition` is 0.
    pub fn new(config: DeskConfig, rates: Arc<UserRates>, metrics: DeskMetrics) -> Self {
        assert!(config.partitions > 0 && config.credits_per_partition > 0, "a desk needs an owner to send to");
        Self {
            credits: vec![config.credits_per_partition; usize::from(config.partitions)],
            places: Vec::new(),
            free: Vec::new(),
            due_ns: None,
            encoder: Encoder::in_arena(),
            config,
            rates,
            metrics,
        }
    }

    /// What it was told at its start.
    pub const fn config(&self) -> &DeskConfig {
        &self.config
    }

    /// What it counts.
    pub const fn metrics(&self) -> &DeskMetrics {
        &self.metrics
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Passes a send to its chat's owner; the answer comes out of [`Self::handle`] or [`Self::expire`] with `waiter`.
    ///
    /// # Errors
    /// What is wrong with its fields, as for sends of sessions; `frame_too_large`, `rate_limited`, `overloaded`: nothing was sent.
    pub fn post(&mut self, now: Now, post: &Post<'_>, waiter: W, egress: &mut dyn Egress) -> Result<(), Refusal> {
        let send = &post.send;
        let limit = self.config.frame_limit_bytes as usize;
        if send.body.len() > limit {
            return Err(ErrorCode::FrameTooLarge.into());
        }
        let frame = send.frame(&mut self.encoder);
        let frame = VerifiedFrame::verify(frame).map_err(|_| ErrorCode::Internal)?;
        let target = checked(&frame.root().body_as_send().ok_or(ErrorCode::Internal)?)?;
        if frame.bytes().len() > limit {
            return Err(ErrorCode::FrameTooLarge.into());
        }
        let Identity { user, device, .. } = post.from;
        let (chat, to) = match target {
            Target::NewGroup => (ChatId::group(user, &send.client_msg_id), None),
            Target::Account => (ChatId::account(user), None),
            Target::To(SendTarget::Chat(chat)) => (chat, None),
            Target::To(SendTarget::User(to)) => (ChatId::direct(user, to), Some(to)),
        };
        let partition = usize::from(chat.slot().partition(self.config.partitions));
        self.check_room()?;
        if self.credits[partition] == 0 {
            self.metrics.refused_no_credit.inc();
            return Err(ErrorCode::Overloaded.into());
        }
        self.rates.take(&self.rates.of(user, now.mono_ns), now.mono_ns).map_err(|retry_after_ms| {
            self.metrics.refused_rate.inc();
            Refusal { code: ErrorCode::RateLimited, retry_after_ms }
        })?;
        self.credits[partition] -= 1;
        self.metrics.sends.inc();
        let body = Body::Send { frame, user, device, chat, to, retry: send.retry };
        self.forward(now, Class::Send, chat, body, waiter, egress);
        Ok(())
    }

    /// Asks a chat's owner for a page; the answer comes as for [`Self::post`].
    ///
    /// # Errors
    /// `overloaded`: nothing was asked.
    pub fn page(&mut self, now: Now, ask: PageAsk, waiter: W, egress: &mut dyn Egress) -> Result<(), Refusal> {
        self.check_room()?;
        self.metrics.pages.inc();
        let PageAsk { user, chat, after_seq, before_seq, newest, limit_entries, limit_bytes } = ask;
        let body = Body::PageRequest {
            blind: false,
            ticks: false,
            chat,
            user,
            after_seq,
            before_seq,
            newest,
            limit_entries,
            limit_bytes,
        };
        self.forward(now, Class::Sync, chat, body, waiter, egress);
        Ok(())
    }

    /// Asks an owner about a chat or a message; the answer comes as for [`Self::post`], a frame with `request_id` 0.
    ///
    /// # Errors
    /// `overloaded`: nothing was asked.
    pub fn ask(&mut self, now: Now, user: UserId, ask: Ask, waiter: W, egress: &mut dyn Egress) -> Result<(), Refusal> {
        self.check_room()?;
        self.metrics.asks.inc();
        let (chat, body) = question(ask, user, 0);
        self.forward(now, Class::Sync, chat, body, waiter, egress);
        Ok(())
    }

    /// Tells a chat's owner that a device has read everything up to `message`. Nothing comes back.
    pub fn read(&self, by: Identity, chat: ChatId, message: MessageId, egress: &mut dyn Egress) {
        self.metrics.marks.inc();
        let (Identity { user, device, .. }, status) = (by, MarkStatus::read);
        let body = Body::Mark { secret: false, chat, user, device, seq: 0, message: Some(message), status };
        let mut envelope = Envelope::new(Class::Ack, body);
        envelope.header.slot = chat.slot();
        egress.to_owner(chat.slot(), envelope);
    }

    fn check_room(&self) -> Result<(), Refusal> {
        if self.in_flight() < self.config.in_flight as usize {
            return Ok(());
        }
        self.metrics.refused_full.inc();
        Err(ErrorCode::Overloaded.into())
    }

    fn forward(&mut self, now: Now, class: Class, chat: ChatId, body: Body, waiter: W, egress: &mut dyn Egress) {
        let due_ns = now.mono_ns + u64::from(self.config.deadline_ms) * 1_000_000;
        let connection = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, waiting: None });
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[connection as usize];
        place.waiting = Some((waiter, due_ns));
        let DeskConfig { incarnation, shard, .. } = self.config;
        let reply = Address { incarnation, shard, connection, generation: place.generation };
        self.due_ns = Some(self.due_ns.map_or(due_ns, |earlier| earlier.min(due_ns)));
        self.metrics.in_flight.set(self.in_flight() as i64);
        let mut envelope = Envelope::new(class, body).reply_to(reply);
        envelope.header.slot = chat.slot();
        envelope.header.deadline_ns = due_ns;
        egress.to_owner(chat.slot(), envelope);
    }

    /// An envelope for HTTP. Whoever waits for it, and what they get.
    pub fn handle(&mut self, envelope: Envelope, egress: &mut dyn Egress) -> Option<(W, Result<Answer, Refusal>)> {
        let Envelope { header: Header { reply, .. }, body } = envelope;
        if (reply.incarnation, reply.shard) != (self.config.incarnation, self.config.shard) {
            self.metrics.foreign.inc();
            return None;
        }
        let answer = match body {
            Body::Sent { chat, message, seq, timestamp_ms, .. } => {
                self.return_credit(chat);
                Ok(Answer::Sent { chat, message, seq, timestamp_ms })
            }
            Body::Page { covers_first, covers_last, head_seq, entries, .. } => {
                Ok(Answer::Page { covers: (covers_first, covers_last), head_seq, entries })
            }
            Body::Answer { frame } => Ok(Answer::Frame(frame)),
            Body::Refused { client_msg_id, chat, code, retry_after_ms } => {
                self.metrics.refused_by_owner.inc();
                if !client_msg_id.is_empty() {
                    self.return_credit(chat);
                    // A request is a session of its own, and over: its owner need not wait for the same send.
                    if code.info().retry != Retry::Never {
                        forget_refusals(chat, reply, egress);
                    }
                }
                Err(Refusal { code, retry_after_ms })
            }
            _ => {
                self.metrics.foreign.inc();
                return None;
            }
        };
        let waiting = self.places.get_mut(reply.connection as usize).filter(|p| p.generation == reply.generation);
        if waiting.is_none_or(|place| place.waiting.is_none()) {
            self.metrics.late.inc();
            return None;
        }
        Some((self.release(reply.connection)?, answer))
    }

    fn return_credit(&mut self, chat: ChatId) {
        let credits = &mut self.credits[usize::from(chat.slot().partition(self.config.partitions))];
        debug_assert!(*credits < self.config.credits_per_partition, "a credit returns once");
        *credits = (*credits + 1).min(self.config.credits_per_partition);
    }

    fn release(&mut self, connection: u32) -> Option<W> {
        let place = &mut self.places[connection as usize];
        let (waiter, _) = place.waiting.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(connection);
        self.metrics.in_flight.set(self.in_flight() as i64);
        Some(waiter)
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
            let Some((_, due_ns)) = self.places[connection].waiting else { continue };
            if due_ns > now.mono_ns {
                self.due_ns = Some(self.due_ns.map_or(due_ns, |earlier| earlier.min(due_ns)));
            } else if let Some(waiter) = self.release(connection as u32) {
                self.metrics.expired.inc();
                expired.push((waiter, ErrorCode::Overloaded.into()));
            }
        }
        expired
    }

    /// When [`Self::expire`] must be called next, ns of the monotonic clock.
    pub const fn next_deadline_ns(&self) -> Option<u64> {
        self.due_ns
    }
}
