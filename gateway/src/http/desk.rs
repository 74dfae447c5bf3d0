//! Requests in flight: a table with a bound and a deadline.

use std::sync::Arc;

use bytes::Bytes;
use fabric::tier::Egress;
use fabric::time::Now;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use schema::encode::{Encoder, SendFields, SendTarget};
use schema::envelope::{Address, Body, Class, Envelope, Header};
use schema::errors::{ErrorCode, Retry};
use schema::frame::VerifiedFrame;
use schema::ids::{ChatId, MessageId, UserId};
use schema::limits::CLIENT_MSG_ID_BYTES;
use schema::wire::EntryKind;

use crate::auth::Identity;
use crate::conn::io::forget_refusals;
use crate::rates::UserRates;

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

/// A message to send.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    /// Whose.
    pub from: Identity,
    /// To whom.
    pub to: UserId,
    /// The payload.
    pub body: &'a [u8],
    /// 1 to 64 bytes.
    pub client_msg_id: &'a [u8],
    /// It may have been sent before.
    pub retry: bool,
}

/// A page of a chat's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageAsk {
    /// Who asks; must be a member.
    pub user: UserId,
    /// Which chat.
    pub chat: ChatId,
    /// Entries above this,
    pub after_seq: u64,
    /// and below this; 0 = up to the head.
    pub before_seq: u64,
    /// When not all of them fit: the newest, not the oldest.
    pub newest: bool,
    /// At most so many. 1 to [`schema::limits::PAGE_ENTRIES_MAX`].
    pub limit_entries: u32,
    /// At most so many bytes of entries (one always fits).
    pub limit_bytes: u32,
}

/// What an owner answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The message is durable.
    Sent {
        /// Its chat.
        chat: ChatId,
        /// Its id.
        message: MessageId,
        /// Its place.
        seq: u64,
        /// Wall time, ms since 1970.
        timestamp_ms: u64,
    },
    /// A page.
    Page {
        /// First and last seq it speaks for; last below first when it is empty.
        covers: (u64, u64),
        /// The chat's head.
        head_seq: u64,
        /// (seq, Entry frame), ascending.
        entries: Vec<(u64, Bytes)>,
    },
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The error table's row.
    pub code: ErrorCode,
    /// When to come back, ms; 0 = the row's default.
    pub retry_after_ms: u32,
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, retry_after_ms: 0 }
    }
}

/// What a desk counts. Clones share their numbers.
#[derive(Clone, Debug, Default)]
pub struct DeskMetrics {
    /// Sends passed to owners.
    pub sends: Counter,
    /// Pages asked for.
    pub pages: Counter,
    /// Requests refused by owners.
    pub refused_by_owner: Counter,
    /// Requests refused because as many are in flight as may be.
    pub refused_full: Counter,
    /// Sends refused because a partition had no credit.
    pub refused_no_credit: Counter,
    /// Sends refused because the user's rate was exceeded.
    pub refused_rate: Counter,
    /// Requests given up at their deadline.
    pub expired: Counter,
    /// Answers to requests that were given up.
    pub late: Counter,
    /// Envelopes that no desk gets, or of another incarnation.
    pub foreign: Counter,
    /// Requests in flight now.
    pub in_flight: Gauge,
}

impl DeskMetrics {
    /// Adds them to `registry` as `http_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("http");
        let mut counter = |name, help, counter: &Counter| registry.register(name, help, counter.clone());
        counter("sends", "Sends passed to owners", &self.sends);
        counter("pages", "Pages asked for", &self.pages);
        counter("refused_by_owner", "Requests refused by owners", &self.refused_by_owner);
        counter("refused_full", "Requests refused because too many are in flight", &self.refused_full);
        counter("refused_no_credit", "Sends refused because a partition had no credit", &self.refused_no_credit);
        counter("refused_rate", "Sends refused because the user's rate was exceeded", &self.refused_rate);
        counter("expired", "Requests given up at their deadline", &self.expired);
        counter("late", "Answers to requests that were given up", &self.late);
        counter("foreign", "Envelopes that were not for HTTP", &self.foreign);
        registry.register("in_flight", "Requests in flight", self.in_flight.clone());
    }
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

    /// Passes a message to its chat's owner; the answer comes out of [`Self::handle`] or [`Self::expire`] with `waiter`.
    ///
    /// # Errors
    /// `invalid_client_msg_id`, `frame_too_large`, `rate_limited`, `overloaded`: nothing was sent.
    pub fn post(&mut self, now: Now, post: &Post<'_>, waiter: W, egress: &mut dyn Egress) -> Result<(), Refusal> {
        if !CLIENT_MSG_ID_BYTES.contains(&post.client_msg_id.len()) {
            return Err(ErrorCode::InvalidClientMsgId.into());
        }
        let limit = self.config.frame_limit_bytes as usize;
        if post.body.len() > limit {
            return Err(ErrorCode::FrameTooLarge.into());
        }
        let frame = self.encoder.send(&SendFields {
            client_msg_id: post.client_msg_id,
            target: SendTarget::User(post.to),
            kind: EntryKind::message,
            content_type: 0,
            body: post.body,
            refers_to: None,
            after_seq: 0,
            retry: post.retry,
        });
        if frame.len() > limit {
            return Err(ErrorCode::FrameTooLarge.into());
        }
        let frame = VerifiedFrame::verify(frame).map_err(|_| ErrorCode::Internal)?;
        let Identity { user, device, .. } = post.from;
        let chat = ChatId::direct(user, post.to);
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
        let body = Body::Send { frame, user, device, chat, to: Some(post.to), retry: post.retry };
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
        let body = Body::PageRequest { chat, user, after_seq, before_seq, newest, limit_entries, limit_bytes };
        self.forward(now, Class::Sync, chat, body, waiter, egress);
        Ok(())
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
