//! One gateway shard, sans-IO: the connections and sessions of one thread.
//!
//! Bytes and envelopes come in, bytes, actions and envelopes go out; time is passed in. The rest of its methods live with
//! what they are about: `conn` (input, output), `session` (hello, sends, marks, resync, timers), `deliver`. What must stay
//! true: nothing here waits, every queue is bounded, and what one connection does touches no other.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use fabric::core::{Action, ConnId, Protocol};
use fabric::hash::{Map, map};
use fabric::tier::{Egress, Push, Sent};
use fabric::time::Now;
use fabric::trace::Step;
use schema::arena::Arena;
use schema::encode::Encoder;
use schema::envelope::{Address, Body, Envelope, Header, Trace};
use schema::errors::Retry;
use schema::frame::Verifier;
use schema::places::Places;

use crate::auth::TokenVerifier;
use crate::config::ShardConfig;
use crate::conn::io::forget_refusals;
use crate::conn::output::Output;
use crate::conn::table::Table;
use crate::conn::wheel::{Wheel, tick_of, ticks};
use crate::conn::{Conn, FLAG_FLUSH, Phase};
use crate::deliver::gaps::Gaps;
use crate::deliver::is_of_account;
use crate::drain::Drain;
use crate::metrics::GatewayMetrics;
use crate::rates::UserRates;
use crate::session::hello::Logins;
use crate::session::queued::Queued;
use crate::session::resync::Page;
use crate::ways::{Rejoins, owes_of_now};
use crate::websocket::Hosts;
use crate::wire::{Dialect, ServerEvent};

/// One gateway shard. Owned by its shard's thread.
pub struct Shard {
    pub(crate) config: ShardConfig,
    pub(crate) auth: Arc<dyn TokenVerifier>,
    pub(crate) rates: Arc<UserRates>,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) hosts: Hosts,
    pub(crate) conns: Table,
    /// Whose each connection is that has not authenticated.
    pub(crate) clients: Map<u32, IpAddr>,
    pub(crate) wheel: Wheel,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) encoder: Encoder,
    pub(crate) verifier: Verifier,
    /// Where sends' frames are copied to from the read buffer.
    pub(crate) arena: Arena,
    /// Where WebSocket messages are unmasked.
    pub(crate) scratch: Vec<u8>,
    /// Where JSON is written.
    pub(crate) text: Vec<u8>,
    /// Output queues without a connection.
    #[allow(clippy::vec_box)] // a connection takes the box as it is
    pub(crate) spare: Vec<Box<Output>>,
    /// Bytes waiting to be written.
    pub(crate) output_bytes: usize,
    /// Free credits, by owner partition.
    pub(crate) credits: Vec<u32>,
    /// Sends of sessions that are queued and not settled, by partition, and by the place of the session's connection.
    pub(crate) queued: Vec<u32>,
    pub(crate) settling: Map<u32, Queued>,
    /// How often the way to a partition was lost: the request id of sends there.
    /// How often the way to a partition was lost: a part of the request ids of sends there (`send_request`).
    pub(crate) generations: Vec<u64>,
    /// Connections whose send waits for a credit, with their deadline, by owner partition. At most one a connection.
    pub(crate) waiters: Vec<VecDeque<(ConnId, u64)>>,
    /// What waits for a credit of a partition waits at least so long, ns; 0 = as long as any.
    pub(crate) unowned_until_ns: Vec<u64>,
    /// Which partition has which chat.
    pub(crate) places: Places,
    pub(crate) gaps: Gaps,
    pub(crate) logins: Logins,
    pub(crate) rejoins: Rejoins,
    pub(crate) sampled: u32,
    /// Messages that were timed.
    pub(crate) timed: u64,
    /// Sessions are held until then, ns; 0 = they are not.
    pub(crate) held_until_ns: u64,
    /// Set once the shard has been told to stop.
    pub(crate) drain: Option<Drain>,
    last_request: u64,
}

impl Shard {
    /// A shard without connections. `rates` is shared by all shards of the host; `metrics` is this shard's own.
    ///
    /// # Panics
    /// When `partitions` or `credits_per_partition` is 0.
    pub fn new(
        config: ShardConfig,
        auth: Arc<dyn TokenVerifier>,
        rates: Arc<UserRates>,
        metrics: GatewayMetrics,
    ) -> Self {
        assert!(config.partitions > 0 && config.credits_per_partition > 0, "a shard needs an owner to send to");
        let partitions = usize::from(config.partitions);
        Self {
            auth,
            rates,
            metrics,
            hosts: Hosts::new(&config.listeners, &config.allowed_hosts),
            conns: Table::default(),
            clients: map(config.hash_seed),
            wheel: Wheel::new(),
            actions: VecDeque::new(),
            encoder: Encoder::in_arena(),
            verifier: Verifier::default(),
            arena: Arena::default(),
            scratch: Vec::new(),
            text: Vec::new(),
            spare: Vec::new(),
            output_bytes: 0,
            credits: vec![config.credits_per_partition; partitions],
            queued: vec![0; partitions],
            settling: map(config.hash_seed),
            generations: vec![0; partitions],
            waiters: (0..partitions).map(|_| VecDeque::new()).collect(),
            unowned_until_ns: vec![0; partitions],
            places: Places::default(),
            gaps: Gaps::default(),
            logins: Logins::default(),
            rejoins: Rejoins::default(),
            sampled: 0,
            timed: 0,
            held_until_ns: 0,
            drain: None,
            last_request: 0,
            config,
        }
    }

    /// The addresses the WebSocket listener turned out to be bound to: its names are theirs.
    pub fn listening(&mut self, listeners: &[SocketAddr]) {
        self.config.listeners = listeners.to_vec();
        self.hosts = Hosts::new(listeners, &self.config.allowed_hosts);
    }

    /// See [`fabric::core::Core::accepted`].
    pub fn accepted(&mut self, now: Now, protocol: Protocol, peer: SocketAddr) -> Option<ConnId> {
        if self.drain.is_some() || self.conns.len() >= self.config.limits.max_connections as usize {
            self.metrics.connections_refused.inc();
            return None;
        }
        let conn = match protocol {
            Protocol::Native => Conn::new(Dialect::Native, Phase::Hello, tick_of(now)),
            Protocol::WebSocket => Conn::new(Dialect::Json, Phase::Upgrade, tick_of(now)),
            // Nodes are no clients: whoever drives this keeps their connections elsewhere.
            Protocol::Link => return None,
        };
        let id = self.conns.insert(conn);
        self.clients.insert(id.index, peer.ip());
        self.metrics.connections_accepted.inc();
        self.metrics.connections.inc();
        self.schedule(id.index, tick_of(now) + ticks(self.config.limits.auth_timeout_ms));
        Some(id)
    }

    /// See [`fabric::core::Core::proxied`].
    pub fn proxied(&mut self, conn: ConnId, client: SocketAddr) {
        if let Some(index) = self.conns.find(conn.index, conn.generation) {
            self.clients.insert(index, client.ip());
        }
    }

    /// Who a connection's client is, while it has not authenticated.
    pub(crate) fn client(&self, index: u32) -> IpAddr {
        self.clients.get(&index).copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// See [`fabric::core::Core::closed`].
    pub fn closed(&mut self, _now: Now, conn: ConnId, egress: &mut dyn Egress) {
        let Some(index) = self.conns.find(conn.index, conn.generation) else { return };
        self.end_session(index, false, egress);
        self.clients.remove(&index);
        let gone = self.conns.remove(index);
        self.output_bytes -= gone.pending();
        self.metrics.connections_closed.inc();
        self.metrics.connections.dec();
    }

    /// An envelope for this shard: from an owner or a router, or a gap.
    pub fn handle(&mut self, now: Now, envelope: Envelope, egress: &mut dyn Egress) {
        let Envelope { header, body } = envelope;
        match body {
            Body::Deliver { chat, seq, frame, targets } => {
                let (account, trace) = (is_of_account(&frame), header.trace.as_deref());
                let push = Push { sender: header.reply, chat, seq, account, frame: &frame, trace };
                self.deliver(now, &push, &targets, egress);
            }
            Body::DeliverNotice { frame, targets } => self.notice(now, frame, &targets),
            Body::DeliverNudge { chat, head_seq, targets } => self.nudge(now, chat, head_seq, &targets, egress),
            Body::Gap(scope) => self.gap(&scope),
            body => self.answer(now, &header, body, egress),
        }
    }

    /// An envelope for one session. What concerns the shard itself happens also when the session is gone.
    fn answer(&mut self, now: Now, header: &Header, body: Body, egress: &mut dyn Egress) {
        let reply = header.reply;
        let Some(ready) = self.session_at(reply) else { return };
        match body {
            Body::Sent { client_msg_id, chat, message, seq, timestamp_ms } => {
                let event = ServerEvent::Sent { client_msg_id: &client_msg_id, chat, message, seq, timestamp_ms };
                self.stored(now, (ready, header.request_id), &event, header.trace.as_deref(), egress);
            }
            Body::Queued { client_msg_id, chat } => {
                if let Some(partition) = self.is_of_now(header.request_id) {
                    if let Some(index) = ready {
                        self.send_queued(now, index, partition, (chat, &client_msg_id));
                    }
                    self.return_credit(now, partition, egress);
                }
            }
            Body::Settled { client_msg_id, chat, outcome } => {
                if let Some(index) = ready.filter(|_| self.is_of_now(header.request_id).is_some()) {
                    self.send_settled(now, index, (chat, &client_msg_id), outcome, egress);
                }
            }
            Body::Refused { client_msg_id, chat, code, retry_after_ms } if !client_msg_id.is_empty() => {
                match ready {
                    Some(index) => self.send_refused(now, index, chat, &client_msg_id, code, retry_after_ms, egress),
                    // The owner remembers a refusal of a session that can never send it again.
                    None if code.info().retry != Retry::Never => {
                        self.metrics.refusals_forgotten.inc();
                        forget_refusals(self.slot_of(chat), chat, reply, egress);
                    }
                    None => {}
                }
                if let Some(partition) = self.is_of_now(header.request_id) {
                    self.return_credit(now, partition, egress);
                }
            }
            body => {
                if let Some(index) = ready {
                    self.session_answer(now, index, header.request_id, body, egress);
                }
            }
        }
    }

    /// The session of an address, if it is still there; `None` when the address is not of this shard.
    fn session_at(&self, reply: Address) -> Option<Option<u32>> {
        if reply.incarnation != self.config.incarnation || reply.shard != self.config.shard {
            self.metrics.foreign_addresses.inc();
            return None;
        }
        let found = self.conns.find(reply.connection, reply.generation);
        let ready = found.filter(|&index| matches!(self.conns[index].phase, Phase::Registering | Phase::Ready));
        if ready.is_none() {
            self.metrics.stale_addresses.inc();
        }
        Some(ready)
    }

    /// An owner of this shard has stored a send: as an envelope with [`Body::Sent`], without one.
    pub fn sent_here(&mut self, now: Now, sent: &Sent<'_>, egress: &mut dyn Egress) {
        let Some(ready) = self.session_at(sent.reply) else { return };
        let &Sent { chat, message, seq, timestamp_ms, trace, .. } = sent;
        let event = ServerEvent::Sent { client_msg_id: sent.client_msg_id, chat, message, seq, timestamp_ms };
        self.stored(now, (ready, sent.request_id), &event, trace, egress);
    }

    /// Of an answer to a send that this shard still waits for, the partition whose credit the send took; the way there may have
    /// been lost since, and then its session has ended and its credit is free.
    fn is_of_now(&self, request: u64) -> Option<usize> {
        let of_now = owes_of_now(&self.generations, request);
        if of_now.is_none() {
            self.metrics.answers_of_before.inc();
        }
        of_now.map(usize::from)
    }

    fn stored(
        &mut self,
        now: Now,
        (session, request): (Option<u32>, u64),
        event: &ServerEvent<'_>,
        trace: Option<&Trace>,
        egress: &mut dyn Egress,
    ) {
        let Some(partition) = self.is_of_now(request) else { return };
        if let Some(index) = session {
            self.sent(now, index, event, egress);
            if let Some(trace) = trace {
                let took_ns = now.mono_ns.saturating_sub(trace.stages.accepted);
                self.metrics.ack_seconds.observe(took_ns as f64 / 1e9);
                self.record(now, trace, Step::Send, trace.stages.accepted);
            }
        }
        self.return_credit(now, partition, egress);
    }

    /// A step of a traced message ends now.
    pub(crate) fn record(&self, now: Now, trace: &Trace, step: Step, from_ns: u64) {
        if let Some(traces) = &self.config.traces {
            traces.spans.record(now, trace, step, from_ns);
        }
    }

    fn session_answer(&mut self, now: Now, index: u32, request: u64, body: Body, egress: &mut dyn Egress) {
        match body {
            Body::Registered { epoch } => self.registered(now, index, (epoch, request), egress),
            Body::Superseded { epoch } => self.superseded(now, index, epoch, egress),
            Body::SyncPage { chats, next, account } => {
                self.sync_page(now, index, request, (&chats, next, &account), egress);
            }
            Body::Page { chat, covers_first, covers_last, head_seq, entries, ticks } => {
                let page = Page { chat, covers_first, covers_last, head_seq, entries, ticks };
                self.page(now, index, request, &page, egress);
            }
            Body::Answer { frame } => self.answered(now, index, request, &frame),
            Body::Refused { chat, code, retry_after_ms, .. } => {
                if request == 0 {
                    self.error(now, index, code, &[], retry_after_ms); // a mark
                } else if !self.page_refused(now, index, (request, chat, code, retry_after_ms), egress) {
                    self.metrics.pages_stale.inc();
                }
            }
            _ => {
                debug_assert!(false, "an envelope that no gateway gets");
                self.metrics.foreign_addresses.inc();
            }
        }
    }

    /// Fires the timers that are due and starts the resyncs whose turn it is. Call it once a turn.
    pub fn tick(&mut self, now: Now, egress: &mut dyn Egress) {
        self.log_in_waiting(now, egress);
        self.rejoin(now, egress);
        self.wake_due(now, egress);
        self.end_hold(now, egress);
        self.expire_waiters(now, egress);
        self.resync_gaps(now, egress);
        self.drain_due(now, egress);
        self.metrics.output_bytes.set(self.output_bytes as i64);
    }

    /// When [`Self::tick`] must be called next, ns of the monotonic clock.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let first = |(waiters, until_ns): (&VecDeque<(ConnId, u64)>, &u64)| Some(waiters.front()?.1.max(*until_ns));
        let waiter = self.waiters.iter().zip(&self.unowned_until_ns).filter_map(first).min();
        let logins = self.logins.is_due().then_some(1);
        let stops = [self.drain_deadline_ns(), self.hold_deadline_ns()];
        let others = [waiter, self.gaps.next_ns(), self.rejoins.next_ns(), logins];
        others.into_iter().chain(stops).chain([self.wheel.next_ns()]).flatten().min()
    }

    /// `Flush`, `Pause`, `Resume` or `Close`, in the order in which they were decided.
    pub fn next_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front()?;
        if let Action::Flush(conn) = &action
            && let Some(index) = self.conns.find(conn.index, conn.generation)
        {
            self.conns[index].flags &= !FLAG_FLUSH;
        }
        Some(action)
    }

    /// Connections there are.
    pub const fn connections(&self) -> usize {
        self.conns.len()
    }

    pub(crate) const fn next_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }
}
