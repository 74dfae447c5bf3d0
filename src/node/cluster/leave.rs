//! Nodes that stop in an orderly way: this one tells the others and waits until they do without it; another one is let go once
//! nothing here waits for it.
//!
//! What must stay true: a node that leaves works as before until it has been let go, or has waited for long enough; nobody is
//! refused anything because it leaves.

use fabric::link::Roles;
use fabric::time::Now;

use super::Away;
use super::owners::OwnerMap;

impl Away {
    /// Whether clients of this gateway find another one in the list.
    pub fn has_other_gateways(&self) -> bool {
        self.is_gateway() && self.peers.iter().any(|roles| roles.has(Roles::GATEWAY))
    }

    /// This node stops soon: tells all others.
    pub fn leave(&mut self) {
        self.leaves = true;
        self.links.leave();
    }

    /// Whether all who are linked with this shard do without this node: gateways without a router, and they and the owners'
    /// node without the owners'. What came for a partition that this node has given up, and waits here for the next holder, goes first.
    pub fn may_go(&self) -> bool {
        if self.owners.as_ref().is_some_and(OwnerMap::is_waited_at) {
            return false;
        }
        let (routes, owns) = (self.roles.has(Roles::ROUTER), self.roles.has(Roles::STORAGE_WRITER));
        self.links.may_go(|peer| {
            let roles = self.peers[usize::from(peer)];
            (routes || owns) && roles.has(Roles::GATEWAY) || routes && roles.has(Roles::STORAGE_WRITER)
        })
    }

    /// Lets those go that leave: a router once no session here moves any more, the owners' node once no answer of its is awaited,
    /// and one of several writers once it holds nothing and owes nothing.
    pub fn let_go(&mut self, is_moving: impl Fn() -> bool, waits_for_owners: impl Fn() -> bool) {
        for peer in 0..self.peers.len() as u16 {
            if !self.leaving[usize::from(peer)] || self.links.has_let_go(peer) {
                continue;
            }
            let routes = self.peers[usize::from(peer)].has(Roles::ROUTER);
            let needs = match &self.owners {
                Some(owners) => owners.needs(peer),
                None => self.owner == Some(peer) && waits_for_owners(),
            };
            if !(routes && is_moving() || needs) {
                self.links.let_go(peer);
            }
        }
    }

    /// Whether the owners' node is linked both ways, each of its shards here too, and stays: an answer by a link that does not
    /// stand yet would be lost.
    pub fn owners_serve(&self) -> bool {
        let serves = |peer| self.reaches(peer) && self.view.hears_all_shards(peer) && !self.leaving[usize::from(peer)];
        self.owner.is_none_or(serves)
    }

    /// Ends every link; [`Self::is_quiet`] before, or something is lost.
    pub fn stop(&mut self, now: Now) {
        self.links.stop(now);
    }

    /// After [`Self::stop`]: no connection is left.
    pub fn is_closed(&self) -> bool {
        self.links.is_closed()
    }
}
