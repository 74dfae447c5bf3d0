//! Links: the lanes' twin between processes. One TCP connection carries envelopes one way, from the node that dialed it.
//!
//! Sans-IO and owned by one shard's thread: [`Links`] holds every connection of the shard to other nodes, dials those it is
//! told to, and gives back what a link cannot take. Both ends prove that they know the cluster's secret before anything is
//! believed; what follows is neither encrypted nor signed, so links belong on a network of the cluster's own. What must stay
//! true: nobody waits for a link; memory is bounded by [`LinkConfig::capacities`] and [`LinkConfig::queue_bytes`]; what
//! arrives over one connection is a prefix of what was pushed in each class, in order, once; a break loses what was queued
//! and on the way, and both ends are told of it.

mod conn;
mod dial;
mod greet;
mod handshake;
mod identity;
mod leave;
mod links;
mod metrics;
mod names;
mod queue;
mod receive;
mod refusal;
mod relist;
mod weight;
mod wire;

use std::fmt;
use std::sync::Arc;

use schema::envelope::{CLASS_COUNT, Class, Envelope};

use crate::lane::Capacities;
use crate::net::resolve::Target;

pub use handshake::VERSIONS;
pub use identity::{NAME_BYTES_MAX, NodeIdentity, RoleError, Roles};
pub use links::Links;
pub use metrics::LinkMetrics;
pub use names::Names;
pub use refusal::{LinkRefusal, RefusalCode};
pub use weight::weight;

/// The classes by their number.
const BY_NUMBER: [Class; CLASS_COUNT] =
    [Class::Send, Class::Ack, Class::Control, Class::Live, Class::Sync, Class::Ephemeral];

/// How a shard's links behave. Both ends of a link are best given the same times.
#[derive(Clone)]
pub struct LinkConfig {
    /// Who this is.
    pub identity: NodeIdentity,
    /// What every node of the cluster knows and nobody else.
    pub secret: Arc<[u8]>,
    /// How often each end says that it lives, ms.
    pub heartbeat_ms: u32,
    /// An end that hears nothing, or whose output the peer does not take, for so long gives the link up, ms.
    pub silent_ms: u32,
    /// Shortest and longest wait before a link is dialed again, ms. Doubles with each failure; half of it is random.
    pub backoff_ms: (u32, u32),
    /// A class holds as many envelopes a link as its ring and its overflow together.
    pub capacities: Capacities,
    /// Most bytes that wait for a link, about; three quarters of it for what may be lost or asked again.
    pub queue_bytes: usize,
}

impl LinkConfig {
    /// The usual times and bounds.
    pub fn new(identity: NodeIdentity, secret: Arc<[u8]>) -> Self {
        Self {
            identity,
            secret,
            heartbeat_ms: 200,
            silent_ms: 1_500,
            backoff_ms: (50, 1_000),
            capacities: Capacities::default(),
            queue_bytes: 16 << 20,
        }
    }
}

impl fmt::Debug for LinkConfig {
    /// Never prints the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkConfig").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Another node of the cluster's list. Its place in the list is its number in events and pushes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its name, one of a kind.
    pub name: String,
    /// Where its link listener is.
    pub address: Target,
    /// What the list lets it be.
    pub roles: Roles,
    /// This shard keeps a link to it.
    pub dial: bool,
}

/// Whom an envelope is for, at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum To {
    /// The owner of the header's slot.
    Owner,
    /// The router.
    Router,
    /// One shard of a gateway.
    Gateway {
        /// Its incarnation: another one's mail is not for it.
        incarnation: u64,
        /// Its shard.
        shard: u16,
    },
    /// Every shard of a gateway.
    Gateways,
}

/// Why a link did not take an envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// No link stands.
    Down,
    /// Its queue is full.
    Full,
}

/// An envelope that comes back to whoever pushed it.
#[derive(Debug, thiserror::Error)]
#[error("an envelope was not taken: the link is {why:?}")]
pub struct Undelivered {
    /// As pushed.
    pub to: To,
    /// As pushed.
    pub envelope: Box<Envelope>,
    /// Why.
    pub why: Why,
}

/// What a shard hears of its links.
#[derive(Debug)]
pub enum LinkEvent {
    /// A parcel came over a link that a peer dialed.
    Parcel {
        /// Which peer.
        from: u16,
        /// Whom it is for.
        to: To,
        /// What it is.
        envelope: Envelope,
    },
    /// The link dialed to a peer stands.
    Up {
        /// Which.
        peer: u16,
        /// The process at the other end.
        incarnation: u64,
        /// An earlier one was broken, with what was queued for it.
        lost: bool,
    },
    /// The link dialed to a peer, which stood, is gone.
    Down {
        /// Which.
        peer: u16,
    },
    /// A link dialed by a peer stands. Told for each link: its shards dial one each, and any may come to this shard.
    Heard {
        /// Which.
        peer: u16,
        /// The process at the other end.
        incarnation: u64,
        /// How many shards of it dial; 0 = it does not say.
        shards: u16,
        /// An earlier one from this incarnation was broken, with what was on the way.
        lost: bool,
    },
    /// A link that was `Heard` is gone; others of the same incarnation may stand ([`Links::links_from`], and
    /// [`Names::links_from`] over all shards).
    Silent {
        /// Which.
        peer: u16,
        /// The process that was at the other end.
        incarnation: u64,
    },
    /// A peer stops soon: whoever can do without it should, and then let it go ([`Links::let_go`]). Told once for each link
    /// with it, in either direction.
    Leaving {
        /// Which.
        peer: u16,
    },
    /// Whom a peer hears, where it says so ([`Links::hears`]) and that is another list than it said before over this link.
    Hears {
        /// Which peer.
        peer: u16,
        /// The incarnations of those whom it hears, as it sees fit to tell.
        whom: Vec<u64>,
    },
    /// A link was refused, by either end. Of a link that was dialed it is told again when the reason changes.
    Refused {
        /// The peer dialed; `None`: it came from outside, and anyone who reaches the port may cause it, once a second.
        peer: Option<u16>,
        /// Why, and what to do.
        why: LinkRefusal,
    },
}
