//! Another list of nodes while this one runs.
//!
//! What must stay true: whoever is in both lists keeps its number, links and what is on them; where the routers are others,
//! every session that has another one registers there, and nothing that was pushed by the list before is missed: owners and
//! routers owe everybody a gap.

use fabric::link::{Peer, Roles};
use fabric::time::Now;
use router::Placement;

use super::away::Away;
use super::routers::{Reach, Routers};

impl Away {
    /// Takes another list, by number; `None`: nobody has this number (any more). The view has it already.
    pub fn relist(&mut self, now: Now, list: &[Option<Peer>]) {
        let count = list.len().max(self.peers.len());
        self.heard.resize(count, false);
        self.leaving.resize(count, false);
        self.owed.resize(count, false);
        self.tell.resize(count, false);
        self.names.resize(count, String::new());
        self.peers.resize(count, Roles::NONE);
        for (number, peer) in list.iter().enumerate() {
            let roles = peer.as_ref().map_or(Roles::NONE, |peer| peer.roles);
            if self.peers[number].is_none() && !roles.is_none() {
                (self.leaving[number], self.owed[number], self.tell[number]) = (false, false, false);
            }
            if let (Some(peer), Some(owners)) = (peer, &mut self.owners)
                && peer.name != self.names[number]
            {
                owners.forget(number as u16);
                self.names[number].clone_from(&peer.name);
            }
            self.peers[number] = roles;
        }
        self.links.relist(now, list);
        let routers = Routers::of(&self.name, self.roles, list.iter().map(Option::as_ref));
        if (&routers.placement, &routers.peers) == (&self.reach.placement, &self.reach.routers) {
            return;
        }
        let mut reach = Reach::new(routers);
        for (router, up) in reach.routers.iter().zip(&mut reach.up) {
            *up |= router.is_some_and(|peer| self.reaches(peer) && !self.leaving[usize::from(peer)]);
        }
        self.before = std::mem::replace(&mut self.reach, reach);
        self.returned = None;
        self.rerouted = true;
        if self.roles.has(Roles::ROUTER) || self.roles.has(Roles::STORAGE_WRITER) {
            self.owed.iter_mut().zip(&self.peers).for_each(|(owed, roles)| *owed |= !roles.is_none());
        }
    }

    /// The routers, if they are others since this was last asked.
    pub fn take_rerouted(&mut self) -> Option<Placement> {
        std::mem::take(&mut self.rerouted).then(|| self.reach.placement.clone())
    }
}
