//! The way to whoever holds a partition, where partitions move between writers.

use fabric::link::{To, Undelivered, Why};
use schema::envelope::{Body, Class, Envelope, Holding};
use schema::places::Places;

use super::super::changes::MoveWord;
use super::away::Away;
use super::owners::{Holder, OwnerMap, Routed, Step};

impl Away {
    /// Whether partitions move between writers.
    pub(in crate::node) fn has_map(&self) -> bool {
        self.owners.is_some()
    }

    /// Whether this node's own owner of a partition may be called: nothing for it waits, or is elsewhere.
    pub(in crate::node) fn is_here(&self, partition: u16) -> bool {
        self.owners.as_ref().is_none_or(|owners| owners.is_here(partition))
    }

    /// Sends an envelope to a partition's holder; gives it back when that is this node.
    ///
    /// # Errors
    /// Nobody holds it for too long, or a link is full.
    pub(in crate::node) fn push_to_holder(
        &mut self,
        partition: u16,
        envelope: Envelope,
    ) -> Result<Option<Envelope>, Undelivered> {
        let Self { owners, links, heard, now_ns, .. } = self;
        let Some(owners) = owners else { return Ok(Some(envelope)) };
        let stands = |peer: u16| links.is_up(peer) && heard[usize::from(peer)];
        match owners.route(*now_ns, partition, envelope, stands) {
            Routed::To(Holder::Here, envelope) => Ok(Some(envelope)),
            Routed::To(Holder::Peer(peer), envelope) => self.push_to_owner(peer, envelope).map(|()| None),
            Routed::Waits => Ok(None),
            Routed::Refused(envelope) => Err(refused(envelope)),
        }
    }

    /// Sends an envelope that waits nowhere to the writer that holds its partition.
    ///
    /// # Errors
    /// No other writer holds it, or it cannot be reached.
    pub(in crate::node) fn push_to_writer(
        &mut self,
        partition: u16,
        mut envelope: Envelope,
    ) -> Result<(), Undelivered> {
        let Self { owners, links, heard, .. } = self;
        let stands = |peer: u16| links.is_up(peer) && heard[usize::from(peer)];
        match owners.as_ref().and_then(|owners| owners.holder(partition, stands)) {
            Some((Holder::Peer(peer), epoch)) => {
                envelope.header.slot_epoch = epoch;
                self.push_to_owner(peer, envelope)
            }
            _ => Err(refused(Box::new(envelope))),
        }
    }

    /// Whether another writer holds a partition and can be reached.
    pub(in crate::node) fn is_elsewhere(&self, partition: u16) -> bool {
        let stands = |peer: u16| self.links.is_up(peer) && self.heard[usize::from(peer)];
        let holder = self.owners.as_ref().and_then(|owners| owners.holder(partition, stands));
        matches!(holder, Some((Holder::Peer(_), _)))
    }

    /// An envelope that came back from a partition's holder, or came here though this node does not hold it: it goes on when that
    /// is known.
    ///
    /// # Errors
    /// Nobody holds it for too long.
    pub(in crate::node) fn came_back(&mut self, partition: u16, envelope: Envelope) -> Result<(), Undelivered> {
        let Some(owners) = &mut self.owners else { return Err(refused(Box::new(envelope))) };
        match owners.returned(self.now_ns, partition, envelope) {
            Routed::Refused(envelope) => Err(refused(envelope)),
            _ => Ok(()),
        }
    }

    /// What to do next for partitions; see [`OwnerMap::step`].
    pub(in crate::node) fn owners_step(&mut self, unanswered: impl Fn(u16) -> u32) -> Option<Step> {
        let Self { owners, links, heard, now_ns, .. } = self;
        let stands = |peer: u16| links.is_up(peer) && heard[usize::from(peer)];
        owners.as_mut()?.step(*now_ns, unanswered, stands)
    }

    /// The partitions that are lost with a peer.
    pub(in crate::node) fn partitions_of(&self, peer: u16) -> Vec<u16> {
        match &self.owners {
            Some(owners) => owners.of_peer(peer),
            // In a process without owners there is one pool of credits, for their node.
            None if self.owner == Some(peer) => vec![0],
            None => Vec::new(),
        }
    }

    /// See [`OwnerMap::lost`].
    pub(in crate::node) fn partition_lost(&mut self, partition: u16) {
        if let Some(owners) = &mut self.owners {
            owners.lost(partition);
        }
    }

    /// Until when what waits for each partition does so, ns; 0 = nothing does. Nothing where none do.
    pub(in crate::node) fn held(&self) -> Vec<(u16, u64)> {
        let busy = self.owners.as_ref().filter(|owners| owners.is_busy());
        let all = busy.map(|owners| (0..owners.partitions()).map(|one| (one, owners.held_until_ns(one))).collect());
        all.unwrap_or_default()
    }

    /// A writer, by its name, says what it holds. Whether it gave something up.
    pub(in crate::node) fn owners_heard(
        &mut self,
        node: &str,
        partitions: u16,
        holdings: &[Holding],
        places: &Places,
    ) -> bool {
        let Some(peer) = self.names.iter().position(|name| name == node) else { return false };
        let Some(owners) = &mut self.owners else {
            tracing::error!(
                node,
                "a writer shares its store with others, and this node takes it for the only one: set store.engine and \
                 store.ack alike on every node"
            );
            return false;
        };
        if owners.partitions() != partitions {
            let here = owners.partitions();
            tracing::error!(
                node,
                partitions,
                here,
                "a writer's store has another number of partitions: set store.partitions alike on every node"
            );
            return false;
        }
        owners.heard_places(self.now_ns, places);
        let from = Holder::Peer(peer as u16);
        holdings.iter().for_each(|&holding| owners.heard(self.now_ns, from, holding));
        holdings.iter().any(|holding| !holding.held)
    }

    /// This node holds these, or has given them up.
    pub(in crate::node) fn holds(&mut self, holdings: &[Holding], places: &Places) {
        if let Some(owners) = &mut self.owners {
            owners.heard_places(self.now_ns, places);
            holdings.iter().for_each(|&holding| owners.heard(self.now_ns, Holder::Here, holding));
        }
    }

    /// Tells another writer, if its link stands, of a partition that moves.
    pub(in crate::node) fn say(&mut self, word: &MoveWord) {
        let Some(peer) = self.names.iter().position(|name| *name == word.node) else { return };
        let MoveWord { partition, epoch, stage, .. } = *word;
        let body = Body::Move { node: self.name.clone(), partition, epoch, stage };
        // Whoever waits for it goes on without it before long.
        let _ = self.links.push(peer as u16, To::Gateways, Envelope::new(Class::Control, body));
    }

    /// Whether somebody's link has come up since they were last told what this node holds.
    pub(in crate::node) fn has_to_tell(&self) -> bool {
        self.tell.contains(&true)
    }

    /// Tells whoever asks owners what this node holds: all of them when it is new (`anew`), else those whose link came up.
    pub(in crate::node) fn tell_holdings(&mut self, anew: bool, holdings: &[Holding], places: &Places) {
        let Some(partitions) = self.owners.as_ref().map(OwnerMap::partitions) else { return };
        for peer in 0..self.peers.len() {
            let news = std::mem::take(&mut self.tell[peer]) || anew;
            if !news || !self.asks_owners(peer) || !self.links.is_up(peer as u16) {
                continue;
            }
            let (node, places) = (self.name.clone(), places.clone());
            let body = Body::Owners { node, partitions, holdings: holdings.to_vec(), places };
            // A link that does not take it has ended; it is told again when that comes up.
            let _ = self.links.push(peer as u16, To::Gateways, Envelope::new(Class::Control, body));
        }
    }
}

fn refused(envelope: Box<Envelope>) -> Undelivered {
    Undelivered { to: To::Owner, envelope, why: Why::Down }
}
