//! One shard's way to everyone else: a local queue for parts on the same shard, lanes for the others.
//!
//! The hub never waits. What has no room follows its class: a live envelope becomes a gap, a mark is dropped and counted
//! (marks are cumulative, and an entry without one comes again), anything else has its room reserved: sends and acks by
//! credits, the rest because a session has at most a few requests under way.

use std::collections::VecDeque;

use fabric::count::Tally as _;
use fabric::lane::{Incoming, Port};
use fabric::link::{To, Undelivered, Why};
use fabric::tier::Egress;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use schema::envelope::{Address, Body, Class, Envelope, GapScope};
use schema::ids::{Slot, UserId};
use storage_writer::partition::Partition;

use super::cluster::{Away, Way, undelivered};
use super::gaps::Gaps;
use super::topology::{Part, Topology};

/// Envelopes waiting in overflows beyond which marks are dropped, so that they cannot take the room of acks.
const MARKS_WAITING_MAX: usize = 4_096;

/// What a hub counts; clones share.
#[derive(Clone, Debug, Default)]
pub struct HubMetrics {
    /// Hand-offs on the same shard.
    pub local: Counter,
    /// Live envelopes that found a full lane and became gaps.
    pub gapped: Counter,
    /// Gaps sent.
    pub gaps: Counter,
    /// Marks dropped because lanes were full.
    pub marks_dropped: Counter,
    /// Envelopes to other nodes that no link took.
    pub undelivered: Counter,
    /// Envelopes of other nodes for somebody who is not here.
    pub misrouted: Counter,
    /// Sends given back, because their partition has moved.
    pub given_back: Counter,
}

impl HubMetrics {
    /// Adds them to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("hub_local", "Hand-offs on the same shard", self.local.clone());
        registry.register("hub_gapped", "Live envelopes that found a full lane", self.gapped.clone());
        registry.register("hub_gaps", "Gaps sent for them", self.gaps.clone());
        registry.register("hub_marks_dropped", "Marks dropped because lanes were full", self.marks_dropped.clone());
        registry.register("hub_undelivered", "Envelopes to other nodes that no link took", self.undelivered.clone());
        let help = "Envelopes of other nodes for somebody who is not here";
        registry.register("hub_misrouted", help, self.misrouted.clone());
        let help = "Sends given back to their gateway, because another writer holds their partition";
        registry.register("hub_given_back", help, self.given_back.clone());
    }
}

/// One shard's hand-offs. Belongs to the shard's thread.
pub struct Hub {
    shard: u16,
    topology: Topology,
    port: Port,
    /// The other nodes; `None` where there are none, or where another shard has the links.
    away: Option<Box<Away>>,
    local: VecDeque<(Part, Envelope)>,
    gaps: Gaps,
    metrics: HubMetrics,
}

impl Hub {
    /// A hub over the shard's lanes.
    pub fn new(shard: u16, topology: Topology, port: Port, metrics: HubMetrics) -> Self {
        let gaps = Gaps::new(topology.gateways());
        Self { shard, topology, port, away: None, local: VecDeque::new(), gaps, metrics }
    }

    /// With other nodes.
    #[must_use]
    pub fn with_away(mut self, away: Option<Away>) -> Self {
        self.away = away.map(Box::new);
        self
    }

    /// The other nodes.
    pub fn away(&mut self) -> Option<&mut Away> {
        self.away.as_deref_mut()
    }

    /// Connection numbers below this are links'.
    pub fn link_places(&self) -> u32 {
        self.away.as_ref().map_or(0, |away| away.places())
    }

    /// When links need a turn, ns of the monotonic clock.
    pub fn link_deadline_ns(&self) -> Option<u64> {
        self.away.as_ref().and_then(|away| away.next_deadline_ns())
    }

    /// Whether everything for other nodes has left.
    pub fn links_are_quiet(&self) -> bool {
        self.away.as_ref().is_none_or(|away| away.is_quiet())
    }

    /// Whether there are other nodes.
    pub fn has_links(&self) -> bool {
        self.away.is_some()
    }

    /// Whether every link has ended, after they were told to.
    pub fn links_are_closed(&self) -> bool {
        self.away.as_ref().is_none_or(|away| away.is_closed())
    }

    /// Whether what HTTP has for other nodes goes by this shard's links.
    pub const fn carries_http(&self) -> bool {
        self.shard == 0 && self.away.is_some()
    }

    /// Counts an envelope of another node that nobody here takes.
    pub fn count_misrouted(&self) {
        self.metrics.misrouted.inc();
    }

    /// Whether the router that has a user is this shard's.
    pub fn has_router_of(&self, user: UserId) -> bool {
        self.away.as_ref().is_none_or(|away| away.router_of(user) == Way::Here)
    }

    /// The next hand-off for a part of this shard.
    pub fn next_local(&mut self) -> Option<(Part, Envelope)> {
        self.local.pop_front()
    }

    /// Nothing waits: a part may be called without overtaking anything.
    pub fn is_quiet(&self) -> bool {
        self.local.is_empty()
    }

    /// Counts a hand-off that was a call.
    pub fn count_call(&self) {
        self.metrics.local.one();
    }

    /// Where among this shard's `partitions` (rising by number) the one of `slot` is, if it is one of them.
    pub fn own_partition(&self, slot: Slot, partitions: &[Partition]) -> Option<usize> {
        let number = self.topology.partition_of(slot);
        let place = partitions.iter().position(|partition| partition.number() == number)?;
        // Where partitions move, what waits for one goes first.
        self.away.as_ref().is_none_or(|away| away.is_here(number)).then_some(place)
    }

    /// This shard's number.
    pub fn shard(&self) -> u16 {
        self.shard
    }

    /// How many partitions share the slots.
    pub fn partitions(&self) -> u16 {
        self.topology.partitions
    }

    /// The shard that holds a partition, or HTTP's way to it.
    pub fn partition_shard(&self, partition: u16) -> u16 {
        self.topology.partition_shard(partition)
    }

    /// The address is of this node's HTTP.
    pub fn is_http(&self, address: Address) -> bool {
        address.shard == self.topology.http() && address != Address::NOBODY && self.is_of_this_node(address)
    }

    /// Gives a send back to the gateway that sent it.
    pub fn give_back(&mut self, mut envelope: Envelope) {
        envelope.header.passed_on = true;
        self.metrics.given_back.inc();
        self.to_gateway(envelope.header.reply, envelope);
    }

    /// An envelope for a partition that was taken to be here waits until it is known who holds it.
    pub fn came_back(&mut self, partition: u16, envelope: Envelope) {
        let came_back = self.away.as_mut().map(|away| away.came_back(partition, envelope));
        if let Some(Err(undelivered)) = came_back {
            self.undelivered(&undelivered);
        }
    }

    /// Nobody takes it: who waits for an answer gets one.
    pub fn refuse(&mut self, envelope: Envelope) {
        self.undelivered(&Undelivered { to: To::Owner, envelope: Box::new(envelope), why: Why::Down });
    }

    /// The address is of this shard's gateway.
    pub fn is_own_gateway(&self, address: Address) -> bool {
        address.shard == self.shard && address != Address::NOBODY && self.is_of_this_node(address)
    }

    /// As of one of this shard's gateway, that no session has.
    pub fn own_address(&self) -> Address {
        // One node alone takes any.
        let incarnation = self.away.as_ref().map_or(1, |away| away.incarnation());
        Address { incarnation, shard: self.shard, connection: u32::MAX, generation: 0 }
    }

    fn is_of_this_node(&self, address: Address) -> bool {
        self.away.as_ref().is_none_or(|away| away.incarnation() == address.incarnation)
    }

    /// Hands over what came from another node. False: nobody here takes it.
    pub fn arrived(&mut self, to: To, envelope: Envelope) -> bool {
        match to {
            To::Owner if self.away.as_ref().is_none_or(|away| away.has_owners()) => {
                let partition = self.topology.partition_of(envelope.header.slot);
                self.hand_over(self.topology.partition_shard(partition), envelope);
            }
            // Not by its body: a gap for all is the router's, which passes it to every gateway.
            To::Router => {
                self.metrics.local.one();
                self.local.push_back((Part::Router, envelope));
            }
            To::Gateway { incarnation, shard }
                if self.away.as_ref().is_some_and(|away| away.incarnation() == incarnation)
                    && shard < self.topology.gateways() =>
            {
                // What comes back to HTTP, which has no links, goes out again from here.
                let shard = if is_returned(&envelope) && shard == self.topology.http() { self.shard } else { shard };
                self.hand_over(shard, envelope);
            }
            To::Gateways => self.push_to_own_gateways(&envelope),
            To::Owner | To::Gateway { .. } => return false,
        }
        true
    }

    fn push_to_own_gateways(&mut self, envelope: &Envelope) {
        // HTTP has no sessions that could miss something.
        for shard in 0..self.topology.shards {
            self.hand_over(shard, envelope.clone());
        }
    }

    /// No link took it: who waits for an answer gets one here.
    fn undelivered(&mut self, undelivered: &Undelivered) {
        self.metrics.undelivered.inc();
        if let Some((session, answer)) = undelivered::answer(undelivered) {
            self.to_gateway(session, answer);
        }
    }

    fn push_to_router(&mut self, way: Way, envelope: Envelope) {
        match (way, &mut self.away) {
            (Way::Here, _) | (_, None) => self.hand_over(self.shard, envelope),
            (Way::Peer(peer), Some(away)) => {
                if let Err(undelivered) = away.push_to_router(peer, envelope) {
                    self.undelivered(&undelivered);
                }
            }
            (Way::Nowhere, Some(_)) => {
                self.metrics.undelivered.inc();
            }
        }
    }

    /// The receiving ends of the lanes, while what they bring is handed over; [`Self::put_incoming`] gives them back.
    pub fn take_incoming(&mut self) -> Incoming {
        self.port.take_incoming()
    }

    /// See [`Self::take_incoming`].
    pub fn put_incoming(&mut self, incoming: Incoming) {
        self.port.put_incoming(incoming);
    }

    /// The part of this shard that an envelope which came by a lane is for.
    pub fn part_of(&self, envelope: &Envelope) -> Part {
        part_of(&self.topology, envelope)
    }

    /// Something was handed over since the last turn.
    pub fn has_work(&self) -> bool {
        !self.local.is_empty() || self.gaps.any() || self.port.is_dirty()
    }

    /// Once a turn, after everything: sends gaps and wakes whoever was sent something.
    pub fn flush(&mut self) {
        if self.gaps.any() {
            for (shard, gap) in self.gaps.take() {
                self.metrics.gaps.inc();
                match shard {
                    Some(shard) => self.hand_over(shard, gap),
                    None => self.to_all_gateways(gap),
                }
            }
        }
        self.port.flush();
    }

    fn hand_over(&mut self, shard: u16, envelope: Envelope) {
        if shard == self.shard {
            self.metrics.local.one();
            self.local.push_back((part_of(&self.topology, &envelope), envelope));
            return;
        }
        if matches!(envelope.body, Body::Mark { .. }) && self.port.overflowing() > MARKS_WAITING_MAX {
            self.metrics.marks_dropped.inc();
            return;
        }
        let Err(full) = self.port.push(shard, envelope) else { return };
        let envelope = *full.0;
        let can_gap = envelope.header.class == Class::Live
            || matches!(envelope.body, Body::Nudge { .. } | Body::DeliverNudge { .. });
        assert!(
            can_gap,
            "lane {} -> {shard} has no room for an envelope of class {:?}, whose room is reserved",
            self.shard, envelope.header.class
        );
        self.metrics.gapped.inc();
        self.gaps.note(shard, envelope);
    }
}

/// The part of the receiving shard that an envelope is for; the body tells.
fn part_of(topology: &Topology, envelope: &Envelope) -> Part {
    match &envelope.body {
        Body::Send { .. }
        | Body::ForgetRefusals { .. }
        | Body::Mark { .. }
        | Body::SyncRequest { .. }
        | Body::PageRequest { .. }
        | Body::SyncProbe { .. }
        | Body::SyncPart { .. }
        | Body::ChatRequest { .. }
        | Body::StatusRequest { .. }
        | Body::ChatsRequest { .. }
        | Body::ChatsProbe { .. }
        | Body::AccountRequest { .. }
        | Body::ChatsPart { .. } => Part::Owner(topology.partition_of(envelope.header.slot)),
        Body::Push { .. }
        | Body::Notify { .. }
        | Body::Nudge { .. }
        | Body::Register { .. }
        | Body::Unregister { .. }
        | Body::Gap(GapScope::Users(_)) => Part::Router,
        Body::Sent { .. }
        | Body::Refused { .. }
        | Body::Queued { .. }
        | Body::Settled { .. }
        | Body::SyncPage { .. }
        | Body::Page { .. }
        | Body::Answer { .. }
        | Body::Registered { .. }
        | Body::Superseded { .. }
        | Body::Deliver { .. }
        | Body::DeliverNotice { .. }
        | Body::DeliverNudge { .. }
        | Body::Gap(GapScope::All | GapScope::Sessions(_)) => Part::Gateway,
        Body::Owners { .. } | Body::Move { .. } => Part::Owners,
    }
}

/// A send on its way back.
fn is_returned(envelope: &Envelope) -> bool {
    envelope.header.passed_on && matches!(envelope.body, Body::Send { .. })
}

impl Egress for Hub {
    fn to_owner(&mut self, slot: Slot, mut envelope: Envelope) {
        envelope.header.slot = slot;
        let partition = self.topology.partition_of(slot);
        let Some(away) = &mut self.away else {
            return self.hand_over(self.topology.partition_shard(partition), envelope);
        };
        let taken = match away.fixed_owner() {
            Some(peer) => away.push_to_owner(peer, envelope).map(|()| None),
            None => away.push_to_holder(partition, envelope),
        };
        match taken {
            Ok(Some(envelope)) => self.hand_over(self.topology.partition_shard(partition), envelope),
            Ok(None) => {}
            Err(undelivered) => self.undelivered(&undelivered),
        }
    }

    fn to_partition(&mut self, partition: u16, envelope: Envelope) {
        self.to_owner(self.topology.first_slot(partition), envelope);
    }

    /// On one node, every shard's router serves every user.
    fn to_router(&mut self, user: UserId, envelope: Envelope) {
        let way = self.away.as_ref().map_or(Way::Here, |away| away.router_of(user));
        self.push_to_router(way, envelope);
    }

    fn to_router_at(&mut self, place: u16, envelope: Envelope) {
        let way = self.away.as_ref().map_or(Way::Here, |away| away.router_at(place));
        self.push_to_router(way, envelope);
    }

    fn to_all_routers(&mut self, user: UserId, envelope: Envelope) {
        self.to_other_routers(user, envelope.clone());
        self.to_router(user, envelope);
    }

    fn to_other_routers(&mut self, user: UserId, envelope: Envelope) {
        let Some(away) = &self.away else { return };
        let theirs = away.router_of(user);
        for way in away.all_routers().into_iter().filter(|way| *way != theirs) {
            self.push_to_router(way, envelope.clone());
        }
    }

    fn same_router(&self, one: UserId, other: UserId) -> bool {
        self.away.as_ref().is_none_or(|away| away.router_of(one) == away.router_of(other))
    }

    fn to_gateway(&mut self, address: Address, envelope: Envelope) {
        if address == Address::NOBODY {
            return;
        }
        match self.away.as_mut().filter(|away| away.incarnation() != address.incarnation) {
            Some(away) => away.push_to_gateway(address.incarnation, address.shard, envelope),
            // Of a gateway that had more shards: there is no session to tell.
            None if address.shard >= self.topology.gateways() => (),
            None => self.hand_over(address.shard, envelope),
        }
    }

    fn to_all_gateways(&mut self, envelope: Envelope) {
        if let Some(away) = &mut self.away {
            away.push_to_gateways(&envelope);
            if !away.is_gateway() {
                return;
            }
        }
        self.push_to_own_gateways(&envelope);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fabric::lane::{Capacities, Mesh};
    use schema::envelope::Target;
    use schema::ids::{ChatId, DeviceId};
    use smallvec::smallvec;

    use super::*;

    fn hubs(topology: Topology, slots: usize) -> Vec<Hub> {
        let ports = Mesh::new(topology.gateways(), 1, Capacities::uniform(slots)).unwrap();
        let hub = |port: Port| Hub::new(port.shard(), topology, port, HubMetrics::default());
        ports.into_iter().map(hub).collect()
    }

    /// What the other shards sent.
    fn arrived(hub: &mut Hub) -> Vec<(Part, Envelope)> {
        let mut incoming = hub.take_incoming();
        let mut got = Vec::new();
        incoming.drain(1_024, |_, envelope| got.push((hub.part_of(&envelope), envelope)));
        hub.put_incoming(incoming);
        got
    }

    fn address(shard: u16) -> Address {
        Address { incarnation: 1, shard, connection: 3, generation: 1 }
    }

    fn deliver() -> Envelope {
        let target = Target { connection: 3, generation: 1, acked_seq: 0 };
        let body = Body::Deliver { chat: ChatId([0; 16]), seq: 1, frame: Bytes::new(), targets: smallvec![target] };
        Envelope::new(Class::Live, body)
    }

    #[test]
    fn a_probe_finds_the_partition_it_is_for_wherever_it_lives() {
        let topology = Topology::new(2, 5, 2);
        let mut hubs = hubs(topology, 64);
        let probe = |partition| {
            let user = UserId::new(7).unwrap();
            let body = Body::SyncProbe { user, device: DeviceId(1), before: None, since_ms: 0, partition };
            Envelope::new(Class::Sync, body)
        };
        (0..5).for_each(|partition| hubs[0].to_partition(partition, probe(partition)));
        hubs[0].flush();
        let here: Vec<Part> = std::iter::from_fn(|| hubs[0].next_local()).map(|(part, _)| part).collect();
        assert_eq!(here, [Part::Owner(0), Part::Owner(2), Part::Owner(4)]);
        let there: Vec<Part> = arrived(&mut hubs[1]).into_iter().map(|(part, _)| part).collect();
        assert_eq!(there, [Part::Owner(1), Part::Owner(3)]);
    }

    #[test]
    fn a_full_live_lane_becomes_a_gap_for_the_sessions_concerned() {
        let mut hubs = hubs(Topology::new(2, 2, 2), 4);
        (0..6).for_each(|_| hubs[0].to_gateway(address(1), deliver()));
        assert_eq!(hubs[0].metrics.gapped.get(), 2);
        hubs[0].flush();
        let got = arrived(&mut hubs[1]);
        let gaps: Vec<_> = got.iter().filter(|(_, envelope)| matches!(envelope.body, Body::Gap(_))).collect();
        let [(Part::Gateway, Envelope { body: Body::Gap(GapScope::Sessions(sessions)), .. })] = &gaps[..] else {
            panic!("{gaps:?}")
        };
        assert_eq!(sessions, &[(3, 1), (3, 1)]);
        assert_eq!(got.len(), 5, "four deliveries and one gap");
    }

    #[test]
    fn a_gap_for_all_that_comes_to_a_router_is_the_routers() {
        let gap = || Envelope::new(Class::Control, Body::Gap(GapScope::All));
        let mut hubs = hubs(Topology::new(1, 1, 1), 4);
        assert!(hubs[0].arrived(To::Router, gap()) && hubs[0].arrived(To::Gateways, gap()));
        let parts: Vec<Part> = std::iter::from_fn(|| hubs[0].next_local()).map(|(part, _)| part).collect();
        assert_eq!(parts, [Part::Router, Part::Gateway]);
    }

    #[test]
    fn nobody_gets_no_answer() {
        let mut hubs = hubs(Topology::new(1, 1, 1), 4);
        hubs[0].to_gateway(Address::NOBODY, deliver());
        hubs[0].to_gateway(address(9), deliver());
        hubs[0].to_all_gateways(deliver());
        assert!(matches!(hubs[0].next_local(), Some((Part::Gateway, _))), "one shard has sessions");
        assert!(hubs[0].next_local().is_none());
    }
}
