//! Requests in flight: a table with a bound and a deadline.

mod answers;
mod hold;
mod traced;

use std::sync::Arc;

use fabric::tier::Egress;
use fabric::time::Now;
use schema::encode::{Encoder, SendTarget};
use schema::envelope::{Address, Body, Class, Envelope, Trace};
use schema::errors::ErrorCode;
use schema::frame::VerifiedFrame;
use schema::ids::{ChatId, MessageId, Slot};
use schema::places::{Places, first_slot};
use schema::wire::MarkStatus;

use self::hold::Held;
use super::account::Account;
use super::{DeskMetrics, PageAsk, Post, Refusal};
use crate::auth::Identity;
use crate::config::Traces;
use crate::rates::UserRates;
use crate::session::asks::question;
use crate::session::fields::{Target, checked};
use crate::ways::send_request;
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
    /// While the owners' node is started anew, a request waits for it so long at most before that, ms.
    pub hold_ms: u32,
    /// Largest frame, size prefix included, bytes: as for sends of sessions.
    pub frame_limit_bytes: u32,
    /// Which sends are traced; `None`: none.
    pub traces: Option<Traces>,
}

struct Place<W> {
    generation: u32,
    waiting: Option<Waiting<W>>,
}

struct Waiting<W> {
    waiter: W,
    due_ns: u64,
    /// The partition whose answer it waits for.
    partition: u16,
    step: Step,
}

/// Whose answer a request waits for.
enum Step {
    /// Nobody's yet: it waits here while the owners' node is started anew. `hidden_of` and `next`: as of [`Desk::begin`].
    Held { from: Identity, hidden_of: Option<ChatId>, next: Option<Next> },
    /// The owner's of its user's account log. Then `next` goes out, if it may; `None`: that answer is what was asked.
    Account { from: Identity, next: Option<Next> },
    /// The chat's owner's. `caller`: of a traced send, the span that caused it, or 0.
    Chat { account: Account, caller: u64 },
}

impl Step {
    /// Instead of one that is looked at.
    const NONE: Self = Self::Chat { account: Account::NONE, caller: 0 };

    /// The partition whose credit a send has which waits for its user's account.
    fn will_send_to(&self) -> Option<u16> {
        match self {
            Self::Account { next: Some(next), .. } | Self::Held { next: Some(next), .. } => {
                matches!(next.body, Body::Send { .. }).then_some(next.partition)
            }
            _ => None,
        }
    }
}

/// What goes to a chat's owner once the account is known.
struct Next {
    class: Class,
    chat: ChatId,
    /// The one that has the chat; of a send, whose credit it took.
    partition: u16,
    body: Body,
    /// Of a send that is traced: its trace, and the caller's span or 0.
    trace: Option<(Trace, u64)>,
}

impl Next {
    const fn new(class: Class, (chat, partition): (ChatId, u16), body: Body) -> Self {
        Self { class, chat, partition, body, trace: None }
    }
}

/// The requests in flight, each with a `W` that whoever asked waits with. Owned by HTTP's thread.
///
/// Each asks the user's account first (a look into its owner's memory), as sessions do when they begin: whether the device
/// was revoked, whether the user tells and sees what is read, what they have hidden. A request whose account does not answer
/// fails.
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
    /// How often the way to a partition was lost: a part of the request ids of sends there.
    generations: Vec<u64>,
    /// Which partition has which chat.
    chats: Places,
    held: Held,
    /// Sends whose callers said nothing of a trace.
    untraced: u64,
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
            generations: vec![0; usize::from(config.partitions)],
            places: Vec::new(),
            free: Vec::new(),
            due_ns: None,
            chats: Places::default(),
            held: Held::default(),
            untraced: 0,
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
        let partition = usize::from(self.partition_of(chat));
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
        let caller = post.caller.map_or(0, |caller| caller.span);
        let trace = self.trace(now, post.caller).map(|trace| (trace, caller));
        let next = Next { trace, ..Next::new(Class::Send, (chat, partition as u16), body) };
        self.begin(now, post.from, None, Some(next), waiter, egress);
        Ok(())
    }

    /// Asks a chat's owner for a page; the answer comes as for [`Self::post`], without what its user has hidden.
    ///
    /// # Errors
    /// `overloaded`: nothing was asked.
    pub fn page(&mut self, now: Now, ask: PageAsk, waiter: W, egress: &mut dyn Egress) -> Result<(), Refusal> {
        self.check_room()?;
        self.metrics.pages.inc();
        let PageAsk { from, chat, after_seq, before_seq, newest, limit_entries, limit_bytes } = ask;
        let body = Body::PageRequest {
            blind: false,
            ticks: false,
            chat,
            user: from.user,
            after_seq,
            before_seq,
            newest,
            limit_entries,
            limit_bytes,
        };
        let next = Next::new(Class::Sync, (chat, self.partition_of(chat)), body);
        self.begin(now, from, Some(chat), Some(next), waiter, egress);
        Ok(())
    }

    /// Asks an owner about a chat, a message or the account; the answer comes as for [`Self::post`], a frame with
    /// `request_id` 0.
    ///
    /// # Errors
    /// `overloaded`: nothing was asked.
    pub fn ask(
        &mut self,
        now: Now,
        from: Identity,
        ask: Ask,
        waiter: W,
        egress: &mut dyn Egress,
    ) -> Result<(), Refusal> {
        self.check_room()?;
        self.metrics.asks.inc();
        if let Ask::Account { chat } = ask {
            self.begin(now, from, chat, None, waiter, egress);
            return Ok(());
        }
        let (chat, body) = question(ask, from.user, 0, false);
        self.begin(
            now,
            from,
            None,
            Some(Next::new(Class::Sync, (chat, self.partition_of(chat)), body)),
            waiter,
            egress,
        );
        Ok(())
    }

    /// Tells a chat's owner that a device has read everything up to `message`: [`super::Answer::Marked`] when that is on its way.
    ///
    /// # Errors
    /// `overloaded`: nothing is marked.
    pub fn read(
        &mut self,
        now: Now,
        by: Identity,
        (chat, message): (ChatId, MessageId),
        waiter: W,
        egress: &mut dyn Egress,
    ) -> Result<(), Refusal> {
        self.check_room()?;
        self.metrics.marks.inc();
        let (Identity { user, device, .. }, status) = (by, MarkStatus::read);
        let body = Body::Mark { secret: false, chat, user, device, seq: 0, message: Some(message), status };
        self.begin(now, by, None, Some(Next::new(Class::Ack, (chat, self.partition_of(chat)), body)), waiter, egress);
        Ok(())
    }

    fn check_room(&self) -> Result<(), Refusal> {
        if self.in_flight() < self.config.in_flight as usize {
            return Ok(());
        }
        self.metrics.refused_full.inc();
        Err(ErrorCode::Overloaded.into())
    }

    /// Takes a place and asks the account, now or when the owners' node is back; `hidden_of`: what is hidden of this chat is
    /// wanted too.
    fn begin(
        &mut self,
        now: Now,
        from: Identity,
        hidden_of: Option<ChatId>,
        next: Option<Next>,
        waiter: W,
        egress: &mut dyn Egress,
    ) {
        let connection = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, waiting: None });
            self.places.len() as u32 - 1
        });
        self.metrics.in_flight.set(self.in_flight() as i64);
        let partition = self.partition_of(ChatId::account(from.user));
        let step = Step::Held { from, hidden_of, next };
        self.places[connection as usize].waiting = Some(Waiting { waiter, due_ns: u64::MAX, partition, step });
        if self.is_holding() {
            self.keep(connection);
        } else {
            self.ask_account(now, connection, egress);
        }
    }

    /// Asks the account of the request in this place; its time begins.
    fn ask_account(&mut self, now: Now, connection: u32, egress: &mut dyn Egress) {
        let due_ns = now.mono_ns + u64::from(self.config.deadline_ms) * 1_000_000;
        let Some(waiting) = &mut self.places[connection as usize].waiting else { return };
        let (user, chat) = match core::mem::replace(&mut waiting.step, Step::NONE) {
            Step::Held { from, hidden_of, next } => {
                waiting.step = Step::Account { from, next };
                (from.user, hidden_of)
            }
            other => {
                waiting.step = other;
                return;
            }
        };
        waiting.due_ns = due_ns;
        self.due_ns = Some(self.due_ns.map_or(due_ns, |earlier| earlier.min(due_ns)));
        let body = Body::AccountRequest { user, client_request: 0, chat };
        let account = ChatId::account(user);
        let next = Next::new(Class::Sync, (account, self.partition_of(account)), body);
        self.forward(connection, due_ns, next, egress);
    }

    fn partition_of(&self, chat: ChatId) -> u16 {
        self.chats.partition(chat, self.config.partitions)
    }

    /// Chats have other partitions from now on. What is on its way to one that has lost its chat is refused there.
    pub fn set_places(&mut self, places: Places) {
        self.chats = places;
    }

    /// The slot under which something about a chat goes to a partition: its own at home, else that one's first.
    fn slot_in(&self, chat: ChatId, partition: u16) -> Slot {
        let own = chat.slot();
        let is_home = own.partition(self.config.partitions) == partition;
        if is_home { own } else { first_slot(partition, self.config.partitions) }
    }

    /// To a chat's owner, for the request in this place.
    fn forward(&self, connection: u32, due_ns: u64, next: Next, egress: &mut dyn Egress) {
        let Next { class, chat, partition, body, trace } = next;
        let DeskConfig { incarnation, shard, .. } = self.config;
        let generation = self.places[connection as usize].generation;
        let mut envelope = Envelope::new(class, body).reply_to(Address { incarnation, shard, connection, generation });
        let slot = self.slot_in(chat, partition);
        envelope.header.slot = slot;
        envelope.header.deadline_ns = due_ns;
        envelope.header.trace = trace.map(|(trace, _)| Box::new(trace));
        if matches!(envelope.body, Body::Send { .. }) {
            envelope.header.request_id = send_request(self.generations[usize::from(partition)], partition);
        }
        egress.to_owner(slot, envelope);
    }
}
