//! One shard's links to the other nodes, and who is behind which of them.

use std::collections::VecDeque;
use std::sync::Arc;

use fabric::core::Action;
use fabric::hash::{Map, map};
use fabric::link::{LinkConfig, LinkEvent, LinkMetrics, Links, Names, Peer, Roles, To, Undelivered, Why};
use fabric::time::Now;
use schema::envelope::{Body, Class, Envelope, GapScope};
use schema::ids::UserId;

use super::owners::OwnerMap;
use super::routers::{Movement, Reach, Routers, Way};
use super::view::ClusterView;

/// A gateway whose last link has been gone for so long is forgotten by routers, ns.
const FORGET_NS: u64 = 2_000_000_000;

/// An answer waits for a link to its gateway for so long, ns, and so many do at most.
const ANSWER_WAITS_NS: u64 = 2_000_000_000;
const ANSWERS_WAITING_MAX: usize = 65_536;

/// An answer for a gateway that has links to this node, but none of this shard's to it yet.
struct Waiting {
    until_ns: u64,
    incarnation: u64,
    shard: u16,
    envelope: Envelope,
}

/// What a shard's [`Away`] is made with.
pub struct AwayConfig {
    /// Of its links.
    pub link: LinkConfig,
    /// All other nodes, by their numbers.
    pub peers: Vec<Peer>,
    /// Others there may be in all.
    pub room: usize,
    /// Where partitions move: how many there are, and how long what has no holder waits for one, ms. `None`: one writer holds
    /// all of them for good.
    pub moving: Option<(u16, u32)>,
    /// Shared by the process's shards.
    pub view: ClusterView,
    /// As above: whose links stand.
    pub names: Arc<Names>,
    /// Seed of its maps.
    pub hash_seed: u64,
}

/// Something that other nodes did, for the parts of this shard.
#[derive(Debug)]
pub enum News {
    /// An envelope came.
    Arrived(To, Envelope),
    /// A writer was lost, on the way there (`here`: only this shard's) or on the way back (every shard's).
    OwnersLost {
        /// Which.
        peer: u16,
        /// Only this shard's way.
        here: bool,
    },
    /// The owners' node stops soon.
    OwnersLeaving,
    /// The way to a writer stands again: something live may have been missed.
    OwnersBack,
    /// A writer can answer every shard: what waits for it here goes.
    WriterStands,
    /// Which router has whom changed: see [`Away::movement`].
    RoutersChanged,
    /// No link from this incarnation of a gateway is left, and none will come.
    GatewayGone(u64),
}

/// The other nodes. Belongs to its shard's thread.
pub struct Away {
    pub(super) links: Links,
    pub(super) roles: Roles,
    pub(super) name: String,
    incarnation: u64,
    /// The owners' node; `None`: this one, or partitions move.
    pub(super) owner: Option<u16>,
    /// Who holds what, where partitions move.
    pub(super) owners: Option<OwnerMap>,
    /// Peers by their numbers.
    pub(super) names: Vec<String>,
    /// Peers that have to be told what this node holds.
    pub(super) tell: Vec<bool>,
    /// Links that stand, whose news is being handled: peer, incarnation, shards of it that dial.
    settling: Vec<(u16, u64, u16)>,
    /// What each peer is.
    pub(super) peers: Vec<Roles>,
    /// From which nodes there are links, and when that was looked at ([`ClusterView::changes`]).
    pub(super) heard: Vec<bool>,
    pub(super) heard_at: u64,
    /// Which routers have whom and are linked both ways, now and before the last change.
    pub(super) reach: Reach,
    pub(super) before: Reach,
    /// The router that came back after a break, besides.
    pub(super) returned: Option<Way>,
    /// The routers are others since this was last taken.
    pub(super) rerouted: bool,
    /// Incarnations of gateways, and of other writers that have queued sends, that can be reached.
    gateways: Map<u64, u16>,
    /// Answers for gateways whose link is on its way, in order.
    waiting: VecDeque<Waiting>,
    /// The last turn's time.
    pub(super) now_ns: u64,
    /// Which peers have said that they stop soon, since their links stand.
    pub(super) leaving: Vec<bool>,
    /// This node does.
    pub(super) leaves: bool,
    /// Something live was lost on the way to this peer: it has a gap to get.
    pub(super) owed: Vec<bool>,
    /// When which incarnations of a peer are forgotten.
    forget: Vec<(u64, u16, u64)>,
    pub(super) view: ClusterView,
}

impl Away {
    /// No link stands yet.
    pub fn new(config: AwayConfig, entropy: Box<dyn fabric::entropy::Entropy + Send>) -> Self {
        let AwayConfig { link, peers, room, moving, view, names, hash_seed } = config;
        let (roles, incarnation, name) = (link.identity.roles, link.identity.incarnation, link.identity.name.clone());
        let owner = peers.iter().position(|peer| peer.roles.has(Roles::STORAGE_WRITER)).map(|number| number as u16);
        let owners = moving.map(|(count, hold_ms)| OwnerMap::new(count, incarnation, link.identity.shard, hold_ms));
        let reach = Reach::new(Routers::of(&name, roles, peers.iter().map(Some)));
        if roles.has(Roles::GATEWAY) {
            view.is_gateway(incarnation);
        }
        let mut away = Self {
            roles,
            name,
            incarnation,
            owner: owner.filter(|_| !roles.has(Roles::STORAGE_WRITER) && owners.is_none()),
            owners,
            names: peers.iter().map(|peer| peer.name.clone()).collect(),
            tell: vec![false; peers.len()],
            settling: Vec::new(),
            heard: vec![false; peers.len()],
            heard_at: view.changes(),
            before: reach.clone(),
            reach,
            returned: None,
            rerouted: false,
            gateways: map(hash_seed),
            waiting: VecDeque::new(),
            now_ns: 0,
            leaving: vec![false; peers.len()],
            leaves: false,
            owed: vec![false; peers.len()],
            peers: peers.iter().map(|peer| peer.roles).collect(),
            forget: Vec::new(),
            view,
            links: Links::new(link, peers, entropy).with_names(names).with_room(room),
        };
        away.say_whom_it_hears();
        away
    }

    /// What its links count.
    pub fn metrics(&self) -> LinkMetrics {
        self.links.metrics()
    }

    /// The links' connections: the shard drives them.
    pub fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    /// Connection numbers below this are links'.
    pub fn places(&self) -> u32 {
        self.links.places()
    }

    /// Whether nothing waits to leave.
    pub fn is_quiet(&self) -> bool {
        self.links.is_quiet()
    }

    /// Whether a gateway of another node that has no way to this one may have sessions at another router, or will soon.
    pub fn misses_gateways(&self) -> bool {
        self.leaves || self.view.misses_gateways()
    }

    /// See [`Links::next_action`].
    pub fn next_action(&mut self) -> Option<Action> {
        self.links.next_action()
    }

    /// This gateway's incarnation, as in addresses.
    pub(in crate::node) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    pub(in crate::node) fn is_gateway(&self) -> bool {
        self.roles.has(Roles::GATEWAY)
    }

    /// Whether owners are on this node.
    pub(in crate::node) fn has_owners(&self) -> bool {
        match self.owners {
            Some(_) => self.roles.has(Roles::STORAGE_WRITER),
            None => self.owner.is_none(),
        }
    }

    /// Whether a peer holds partitions, or may.
    pub(super) fn is_writer(&self, peer: u16) -> bool {
        match self.owners {
            Some(_) => self.peers[usize::from(peer)].has(Roles::STORAGE_WRITER),
            None => self.owner == Some(peer),
        }
    }

    /// Whether a peer sends to owners.
    pub(super) fn asks_owners(&self, peer: usize) -> bool {
        self.peers[peer].has(Roles::GATEWAY) || self.peers[peer].has(Roles::STORAGE_WRITER)
    }

    /// The way to the router that has a user.
    pub(in crate::node) fn router_of(&self, user: UserId) -> Way {
        self.reach.of(user)
    }

    /// Who is concerned by the last [`News::RoutersChanged`].
    pub fn movement(&self) -> Movement {
        Movement { before: self.before.clone(), after: self.reach.clone(), returned: self.returned }
    }

    /// Where partitions do not move, whether the owners are on another node.
    pub(in crate::node) fn fixed_owner(&self) -> Option<u16> {
        self.owner
    }

    /// To a writer; as good as no link where it could not answer.
    pub(in crate::node) fn push_to_owner(&mut self, peer: u16, envelope: Envelope) -> Result<(), Undelivered> {
        if self.heard[usize::from(peer)] {
            return self.push(peer, To::Owner, envelope);
        }
        Err(Undelivered { to: To::Owner, envelope: Box::new(envelope), why: Why::Down })
    }

    /// To a router of another node.
    pub(in crate::node) fn push_to_router(&mut self, peer: u16, envelope: Envelope) -> Result<(), Undelivered> {
        self.push(peer, To::Router, envelope)
    }

    /// The way to the router at a place of the placement, also while it leaves: it may have sessions that others do not.
    pub(in crate::node) fn router_at(&self, place: u16) -> Way {
        let stands = |router: Option<u16>| router.is_none_or(|peer| self.reaches(peer));
        let router = self.reach.routers.get(usize::from(place)).copied();
        if router.is_some_and(stands) { self.reach.way(place) } else { Way::Nowhere }
    }

    /// Linked both ways.
    pub(super) fn reaches(&self, peer: u16) -> bool {
        self.links.is_up(peer) && self.heard[usize::from(peer)]
    }

    /// Every router that can be reached and stays, this node's too.
    pub(in crate::node) fn all_routers(&self) -> Vec<Way> {
        let places = (0..self.reach.routers.len() as u16).filter(|&place| self.reach.up[usize::from(place)]);
        places.map(|place| self.reach.way(place)).collect()
    }

    /// To a gateway of another node. Without a link to it, what is lost is owed to it as a gap.
    pub(in crate::node) fn push_to_gateway(&mut self, incarnation: u64, shard: u16, envelope: Envelope) {
        match self.gateways.get(&incarnation) {
            Some(&peer) => drop(self.push(peer, To::Gateway { incarnation, shard }, envelope)),
            // Whose incarnation it is will be known once its link stands.
            None if envelope.header.class == Class::Live => (0..self.peers.len())
                .filter(|&peer| self.peers[peer].has(Roles::GATEWAY) && !self.links.is_up(peer as u16))
                .for_each(|peer| self.owed[peer] = true),
            // It asked by a link of its own: that to it is not far. Whoever it asked would else wait for nothing.
            None if self.waiting.len() < ANSWERS_WAITING_MAX => {
                let until_ns = self.now_ns + ANSWER_WAITS_NS;
                self.waiting.push_back(Waiting { until_ns, incarnation, shard, envelope });
            }
            None => {}
        }
    }

    /// Answers go as soon as their gateway's link stands, and are forgotten when it does not come.
    fn send_waiting(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        let is_due = |one: &Waiting| one.until_ns <= now_ns || self.gateways.contains_key(&one.incarnation);
        if !self.waiting.iter().any(is_due) {
            return;
        }
        for Waiting { until_ns, incarnation, shard, envelope } in core::mem::take(&mut self.waiting) {
            if self.gateways.contains_key(&incarnation) {
                self.push_to_gateway(incarnation, shard, envelope);
            } else if until_ns > now_ns {
                self.waiting.push_back(Waiting { until_ns, incarnation, shard, envelope });
            }
        }
    }

    /// To every gateway of other nodes.
    pub(in crate::node) fn push_to_gateways(&mut self, envelope: &Envelope) {
        for peer in 0..self.peers.len() {
            if self.peers[peer].has(Roles::GATEWAY) {
                let _ = self.push(peer as u16, To::Gateways, envelope.clone());
            }
        }
    }

    /// Whoever misses something live on the other side gets a gap for it, now or when the link stands again.
    fn push(&mut self, peer: u16, to: To, envelope: Envelope) -> Result<(), Undelivered> {
        let pushed = self.links.push(peer, to, envelope);
        if let Err(refused) = &pushed
            && matches!(refused.envelope.header.class, Class::Live | Class::Control)
        {
            self.owed[usize::from(peer)] = true;
        }
        pushed
    }

    /// Once a turn: timers, and the gaps that are owed.
    pub fn tick(&mut self, now: Now) {
        self.links.tick(now);
        self.send_waiting(now.mono_ns);
        for peer in 0..self.owed.len() {
            if self.owed[peer] && self.links.is_up(peer as u16) {
                self.owed[peer] = false;
                self.gap(peer as u16);
            }
        }
    }

    /// Tells whoever is behind a link that something live was lost.
    fn gap(&mut self, peer: u16) {
        let roles = self.peers[usize::from(peer)];
        let gap = || Envelope::new(Class::Control, Body::Gap(GapScope::All));
        if self.roles.has(Roles::ROUTER) && roles.has(Roles::GATEWAY) {
            let _ = self.push(peer, To::Gateways, gap());
        }
        // A router passes it to every gateway.
        if self.roles.has(Roles::STORAGE_WRITER) && roles.has(Roles::ROUTER) {
            let _ = self.push(peer, To::Router, gap());
        }
    }

    /// The way from the owners to a router broke: who was to be pushed to by it is told by another one, for it may never come
    /// back. One that left in an orderly way had nothing on the way.
    fn gap_past(&mut self, peer: u16) {
        let routes = |peer: u16| self.peers[usize::from(peer)].has(Roles::ROUTER);
        if !self.roles.has(Roles::STORAGE_WRITER) || !routes(peer) || self.leaving[usize::from(peer)] {
            return;
        }
        let other = (0..self.peers.len() as u16).find(|&other| other != peer && routes(other) && self.reaches(other));
        if let Some(other) = other {
            self.gap(other);
        }
    }

    /// When [`Self::tick`] is due, ns of the monotonic clock.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let forget = self.forget.iter().map(|&(at, ..)| at).min();
        let owners = self.owners.as_ref().and_then(OwnerMap::next_deadline_ns);
        [self.links.next_deadline_ns(), forget, owners].into_iter().flatten().min()
    }

    /// What happened, in order; `None` when nothing is left.
    pub fn next_news(&mut self, now: Now) -> Option<News> {
        loop {
            let mut stands = false;
            for (peer, incarnation, shards) in core::mem::take(&mut self.settling) {
                stands |= self.view.settled(peer, incarnation, shards) && self.is_writer(peer);
            }
            if stands && self.owners.is_some() {
                return Some(News::WriterStands);
            }
            if let Some(news) = self.look_who_is_heard() {
                return Some(news);
            }
            let Some(event) = self.links.next_event() else { return self.forgotten(now) };
            if let Some(news) = self.news(now, event) {
                return Some(news);
            }
        }
    }

    fn news(&mut self, now: Now, event: LinkEvent) -> Option<News> {
        match event {
            LinkEvent::Parcel { to, envelope, .. } => Some(News::Arrived(to, envelope)),
            LinkEvent::Up { peer, incarnation, lost } => self.up(peer, incarnation, lost),
            LinkEvent::Down { peer } => {
                self.view.down(peer);
                self.gateways.retain(|_, of| *of != peer);
                self.gap_past(peer);
                if self.is_writer(peer) {
                    return Some(News::OwnersLost { peer, here: true });
                }
                self.look_for_routers(None)
            }
            LinkEvent::Heard { peer, incarnation, shards, lost } => {
                let gone = self.view.heard(peer, incarnation);
                self.settling.push((peer, incarnation, shards));
                self.forget.extend(gone.into_iter().map(|of| (now.mono_ns, peer, of)));
                // What it answered while this link was broken is lost. Nothing was asked before the first one of each of its
                // shards, where that is waited for.
                let lost = lost && (self.owners.is_none() || self.view.has_stood(peer));
                (lost && self.is_writer(peer)).then_some(News::OwnersLost { peer, here: false })
            }
            LinkEvent::Silent { peer, incarnation } => {
                let left = self.view.silent(peer, incarnation);
                if left == 0 {
                    self.forget.push((now.mono_ns + FORGET_NS, peer, incarnation));
                }
                self.is_writer(peer).then_some(News::OwnersLost { peer, here: false })
            }
            LinkEvent::Leaving { peer } => {
                let known = core::mem::replace(&mut self.leaving[usize::from(peer)], true);
                match self.owner == Some(peer) {
                    true => (!known).then_some(News::OwnersLeaving),
                    false => self.look_for_routers(None),
                }
            }
            LinkEvent::Hears { peer, whom } => {
                self.view.hears(peer, whom);
                None
            }
            LinkEvent::Refused { peer, why } => {
                match peer {
                    Some(peer) => {
                        tracing::error!(%why);
                        self.view.refused(peer, why);
                    }
                    // Whoever reaches the listener.
                    None => tracing::warn!(%why),
                }
                None
            }
        }
    }

    fn up(&mut self, peer: u16, incarnation: u64, lost: bool) -> Option<News> {
        self.view.up(peer);
        self.leaving[usize::from(peer)] = false;
        // Writers send what they had queued to each other, as gateways do.
        let asks = |role| self.peers[usize::from(peer)].has(role);
        if asks(Roles::GATEWAY) || self.owners.is_some() && asks(Roles::STORAGE_WRITER) {
            self.gateways.insert(incarnation, peer);
            // Before anything that comes later.
            self.send_waiting(self.now_ns);
        }
        self.owed[usize::from(peer)] |= lost;
        self.tell[usize::from(peer)] = true;
        if self.is_writer(peer) && (lost || self.owners.is_none()) {
            return Some(News::OwnersBack);
        }
        self.look_for_routers(lost.then_some(peer))
    }

    /// An incarnation whose time has come, if no link from it has come back.
    fn forgotten(&mut self, now: Now) -> Option<News> {
        while let Some(due) = self.forget.iter().position(|&(at, ..)| at <= now.mono_ns) {
            let (_, peer, incarnation) = self.forget.swap_remove(due);
            if self.view.links_from(peer, incarnation) == 0 {
                return Some(News::GatewayGone(incarnation));
            }
        }
        None
    }
}
