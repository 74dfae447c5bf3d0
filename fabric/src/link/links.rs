//! All links of one shard.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use schema::envelope::{Class, Envelope, EnvelopeWriter};

use super::conn::{Conn, Due, Stage, Times};
use super::handshake::{Key, VERSIONS};
use super::metrics::{Ending, LinkMetrics};
use super::names::Names;
use super::queue::{Pushed, Queue};
use super::wire::{self, Word};
use super::{LinkConfig, LinkEvent, Peer, To, Undelivered, Why};
use crate::core::{Action, ConnId};
use crate::count::Tally as _;
use crate::entropy::Entropy;
use crate::lane::FullPolicy;
use crate::time::Now;

/// Connections a peer may have to this shard: one a shard of its, and some that are on their way out.
const ACCEPTED_PER_PEER: usize = 64;
/// Connections to a peer: one, and some that are on their way out.
const DIALED_PER_PEER: usize = 4;
/// Connections of which nobody knows yet whose they are.
const STRANGERS: usize = 64;

/// A peer, and the link to it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) peer: Peer,
    /// It is in the list. A number of one that went stays until it is given again.
    pub(super) listed: bool,
    /// The connection that is or becomes the link; its place.
    pub(super) conn: Option<u32>,
    /// The link stands.
    pub(super) up: bool,
    /// A link that stood has broken.
    pub(super) lost: bool,
    pub(super) dial_at_ns: u64,
    pub(super) backoff_ms: u32,
    /// What was told as refused last.
    pub(super) refused: Option<super::RefusalCode>,
    /// It is told that it may go ([`Links::let_go`]).
    pub(super) let_go: bool,
    pub(super) queue: Queue,
}

/// See the module above. Owned by one shard's thread; its connections are those with an index below [`Self::places`].
pub struct Links {
    pub(super) config: LinkConfig,
    pub(super) versions: (u16, u16),
    pub(super) times: Times,
    pub(super) key: Key,
    pub(super) names: Arc<Names>,
    pub(super) nodes: Vec<Node>,
    /// Peers there may be.
    pub(super) room: usize,
    pub(super) entropy: Box<dyn Entropy + Send>,
    pub(super) conns: Vec<Option<Conn>>,
    generations: Vec<u32>,
    free: Vec<u32>,
    pub(super) accepted: usize,
    pub(super) dialed: usize,
    pub(super) actions: VecDeque<Action>,
    pub(super) events: VecDeque<LinkEvent>,
    writer: EnvelopeWriter,
    pub(super) metrics: LinkMetrics,
    /// When [`Self::tick`] has something to do.
    pub(super) due_ns: u64,
    /// When a refusal of a stranger may be told again.
    pub(super) tell_at_ns: u64,
    pub(super) stopped: bool,
    /// This node stops soon, and says so.
    pub(super) leaving: bool,
    /// Whom it hears, and says so.
    pub(super) hears: Option<Vec<u64>>,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links")
            .field("identity", &self.config.identity)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

impl Links {
    /// Nothing is dialed before the first [`Self::tick`]. `peers`: every other node of the list, at most 65,535.
    ///
    /// # Panics
    /// With more peers.
    pub fn new(config: LinkConfig, peers: Vec<Peer>, entropy: Box<dyn Entropy + Send>) -> Self {
        assert!(peers.len() < usize::from(u16::MAX), "too many peers");
        let ns = |ms: u32| u64::from(ms) * 1_000_000;
        let node = |peer| Node::new(peer, &config);
        Self {
            room: peers.len(),
            versions: VERSIONS,
            times: Times {
                heartbeat_ns: ns(config.heartbeat_ms),
                silent_ns: ns(config.silent_ms),
                handshake_ns: 2 * ns(config.silent_ms),
            },
            key: Key::new(&config.secret),
            names: Arc::default(),
            nodes: peers.into_iter().map(node).collect(),
            config,
            entropy,
            conns: Vec::new(),
            generations: Vec::new(),
            free: Vec::new(),
            accepted: 0,
            dialed: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            writer: EnvelopeWriter::default(),
            metrics: LinkMetrics::default(),
            due_ns: 0,
            tell_at_ns: 0,
            stopped: false,
            leaving: false,
            hears: None,
        }
    }

    /// Shares what is known of living nodes with the other shards of the process; without this each knows only its own
    /// links, and two nodes of one name may each find a shard that takes them.
    #[must_use]
    pub fn with_names(mut self, names: Arc<Names>) -> Self {
        self.names = names;
        self
    }

    /// Speaks these versions of the link protocol, lowest and highest, instead of [`VERSIONS`]; for tests of upgrades.
    #[must_use]
    pub const fn with_versions(mut self, versions: (u16, u16)) -> Self {
        self.versions = versions;
        self
    }

    /// Connections with an index below this are links'. Fixed from the beginning.
    pub fn places(&self) -> u32 {
        (self.room * (ACCEPTED_PER_PEER + DIALED_PER_PEER) + STRANGERS) as u32
    }

    /// Somebody connected to the link listener. `None`: there are too many already; close it.
    pub fn accepted(&mut self, now: Now, from: SocketAddr) -> Option<ConnId> {
        if self.stopped || self.accepted >= self.nodes.len() * ACCEPTED_PER_PEER + STRANGERS {
            return None;
        }
        let stranger = |conn: &&Conn| matches!(conn.stage, Stage::AwaitHello { .. } | Stage::AwaitProof(_));
        if self.conns.iter().flatten().filter(stranger).count() >= STRANGERS {
            return None;
        }
        self.accepted += 1;
        Some(self.open(now, Stage::AwaitHello { from }))
    }

    /// A connection asked for with `Connect` stands.
    pub fn connected(&mut self, now: Now, conn: ConnId) {
        if let Some(index) = self.find(conn) {
            self.say_hello(now, index);
        }
    }

    /// The connection is gone, or could not be made.
    pub fn closed(&mut self, now: Now, conn: ConnId) {
        let Some(index) = self.find(conn) else { return };
        self.give_up(now, index, Ending::Peer, &"the connection has ended, or could not be made");
        if let Some(conn) = self.conns[index].take() {
            let count = if conn.dialed { &mut self.dialed } else { &mut self.accepted };
            *count -= 1;
            self.free.push(conn.id.index);
        }
    }

    /// Appends a connection's output: what keeps the link first, then parcels by class, about `max_bytes`.
    pub fn take_output(&mut self, conn: ConnId, max_bytes: usize, out: &mut Vec<u8>) {
        let Some(index) = self.find(conn) else { return };
        let Self { conns, nodes, writer, metrics, .. } = self;
        let Some(conn) = &mut conns[index] else { return };
        let before = out.len();
        conn.flush_asked = false;
        conn.take_control(out);
        let mut oversize = false;
        if let Stage::Dialed { peer, count, .. } = &mut conn.stage {
            let queue = &mut nodes[usize::from(*peer)].queue;
            if !queue.is_empty() {
                queue.take(max_bytes.saturating_sub(out.len() - before), |to, envelope| {
                    let start = out.len();
                    oversize |= !wire::put_parcel(out, writer, *count, to, envelope);
                    // One that does not fit must not be lost quietly: the link ends.
                    *count = count.wrapping_add(1);
                    out.len() - start
                });
            }
        }
        conn.taken += (out.len() - before) as u64;
        metrics.bytes_out.add((out.len() - before) as u64);
        if oversize {
            conn.faulty = true;
            self.due_ns = 0;
            metrics.oversize.one();
            tracing::error!(limit = wire::PARCEL_BYTES_MAX, "an envelope is too large for a link: the link will break");
        }
    }

    /// So many bytes of what was taken reached the kernel.
    pub fn written(&mut self, _now: Now, conn: ConnId, bytes: usize) {
        let Some(index) = self.find(conn) else { return };
        let Some(conn) = &mut self.conns[index] else { return };
        conn.written += bytes as u64;
        let waits = match conn.stage {
            Stage::Dialed { peer, .. } => !self.nodes[usize::from(peer)].queue.is_empty(),
            _ => false,
        };
        if waits {
            self.flush(index);
        }
    }

    /// Beats, ends what is silent and dials what is due. At [`Self::next_deadline_ns`]; earlier calls cost nothing.
    pub fn tick(&mut self, now: Now) {
        if now.mono_ns < self.due_ns {
            return;
        }
        let mut next = u64::MAX;
        for index in 0..self.conns.len() {
            let Some(conn) = &mut self.conns[index] else { continue };
            let lets_go = match conn.stage {
                // All that was pushed before has left before this heartbeat.
                Stage::Dialed { peer, .. } => {
                    let node = &self.nodes[usize::from(peer)];
                    node.let_go && node.queue.is_empty()
                }
                _ => false,
            };
            let word = Word::new(self.leaving, lets_go);
            let (due, flush) = conn.look(now.mono_ns, self.times, word, self.hears.as_deref());
            match due {
                Due::At(at_ns) => next = next.min(at_ns),
                Due::End(why) => self.end(now, index, why, &"its time is over"),
            }
            if flush {
                self.flush(index);
            }
        }
        for peer in 0..self.nodes.len() {
            let node = &self.nodes[peer];
            if !node.peer.dial || node.conn.is_some() || self.stopped {
                continue;
            }
            if node.dial_at_ns <= now.mono_ns {
                self.dial(now, peer);
            }
            let node = &self.nodes[peer];
            next = next.min(if node.conn.is_some() { now.mono_ns + self.times.handshake_ns } else { node.dial_at_ns });
        }
        self.metrics.queued_bytes.set(self.nodes.iter().map(|node| node.queue.bytes() as i64).sum());
        self.due_ns = next;
    }

    /// When [`Self::tick`] must be called next, ns of the monotonic clock.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        (self.due_ns != u64::MAX).then_some(self.due_ns)
    }

    /// `Connect`, `Flush` or `Close`; until `None`, once a turn.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What was heard; until `None`, after each input.
    pub fn next_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// Queues an envelope for a peer, by the policy of its class.
    ///
    /// # Errors
    /// [`Undelivered`] gives it back: no link stands, or its queue is full (then the link breaks, unless it is a live one that
    /// becomes a gap). An ephemeral one is dropped and counted instead.
    ///
    /// # Panics
    /// If there is no such peer.
    pub fn push(&mut self, peer: u16, to: To, envelope: Envelope) -> Result<(), Undelivered> {
        let class = envelope.header.class;
        let metrics = self.metrics.class(class);
        let node = &mut self.nodes[usize::from(peer)];
        let Some(index) = node.conn.filter(|_| node.up) else {
            if class == Class::Ephemeral {
                metrics.dropped.one();
                return Ok(());
            }
            metrics.down.one();
            return Err(Undelivered { to, envelope: Box::new(envelope), why: Why::Down });
        };
        match node.queue.push(to, envelope) {
            Pushed::Queued => {
                metrics.pushed.one();
                self.flush(index as usize);
                Ok(())
            }
            Pushed::Dropped => {
                metrics.dropped.one();
                Ok(())
            }
            Pushed::Full(to, envelope) => {
                metrics.full.one();
                // Somebody waits for it: both ends must know that it is lost, as with all that a broken link loses.
                if FullPolicy::of(class) != FullPolicy::Gap {
                    self.break_off(index as usize, class);
                }
                Err(Undelivered { to, envelope, why: Why::Full })
            }
        }
    }

    /// Ends a link at the next tick.
    fn break_off(&mut self, index: usize, class: Class) {
        let Some(conn) = self.conns[index].as_mut().filter(|conn| !conn.faulty) else { return };
        conn.faulty = true;
        self.due_ns = 0;
        tracing::error!(?class, "a link's queue is full of what others wait for: the link will break");
    }

    /// The link dialed to this peer stands.
    pub fn is_up(&self, peer: u16) -> bool {
        self.nodes.get(usize::from(peer)).is_some_and(|node| node.up)
    }

    /// How many links that this incarnation of a peer dialed to this shard stand.
    pub fn links_from(&self, peer: u16, incarnation: u64) -> usize {
        let from = |conn: &&Conn| match conn.stage {
            Stage::Accepted { peer: of, incarnation: which, .. } => (of, which) == (peer, incarnation),
            _ => false,
        };
        self.conns.iter().flatten().filter(from).count()
    }

    /// Counters, shared with the links.
    pub fn metrics(&self) -> LinkMetrics {
        self.metrics.clone()
    }

    /// Nothing is queued, and all that was taken has reached the kernel: nothing is lost by a stop here.
    pub fn is_quiet(&self) -> bool {
        self.nodes.iter().all(|node| node.queue.is_empty())
            && self.conns.iter().flatten().all(|conn| !conn.dialed || conn.written >= conn.taken)
    }

    // ---- connections ------------------------------------------------------------------------------------------------

    /// Takes a place for a connection.
    pub(super) fn open(&mut self, now: Now, stage: Stage) -> ConnId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.conns.push(None);
            self.generations.push(0);
            (self.conns.len() - 1) as u32
        });
        let generation = &mut self.generations[index as usize];
        *generation = generation.wrapping_add(1);
        let id = ConnId { index, generation: *generation };
        self.conns[index as usize] = Some(Conn::new(id, now.mono_ns, stage));
        self.due_ns = self.due_ns.min(now.mono_ns + self.times.handshake_ns);
        id
    }

    /// Whether one more connection to a peer may be opened.
    pub(super) fn may_dial(&self) -> bool {
        self.dialed < self.nodes.len() * DIALED_PER_PEER
    }

    pub(super) fn find(&self, id: ConnId) -> Option<usize> {
        let conn = self.conns.get(id.index as usize)?.as_ref()?;
        (conn.id == id).then_some(id.index as usize)
    }

    /// Asks for the connection's output to be taken.
    pub(super) fn flush(&mut self, index: usize) {
        if let Some(conn) = &mut self.conns[index]
            && !conn.flush_asked
        {
            conn.flush_asked = true;
            self.actions.push_back(Action::Flush(conn.id));
        }
    }
}
