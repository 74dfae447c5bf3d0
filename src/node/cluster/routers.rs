//! Which router has whom, as one node sees it.

use fabric::link::{Peer, Roles};
use router::Placement;
use schema::ids::UserId;

/// One router, as a way to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// On this node.
    Here,
    /// Behind this peer's link.
    Peer(u16),
    /// None is up.
    Nowhere,
}

/// The routers of a cluster, as one node numbers them.
pub struct Routers {
    /// Who has whom.
    pub placement: Placement,
    /// By place: the router's number among the other nodes, `None` for this node.
    pub peers: Vec<Option<u16>>,
}

impl Routers {
    /// Of the node `name` with `roles`, and the others.
    pub fn of(name: &str, roles: Roles, others: &[Peer]) -> Self {
        let here = roles.has(Roles::ROUTER).then_some((name, None));
        let there = (0u16..).zip(others).filter(|(_, peer)| peer.roles.has(Roles::ROUTER));
        let all = there.map(|(number, peer)| (peer.name.as_str(), Some(number))).chain(here);
        let (names, peers): (Vec<&str>, Vec<Option<u16>>) = all.unzip();
        let placement = Placement::new(&names);
        let own = peers.iter().position(Option::is_none);
        let placement = match own {
            Some(own) => placement.seen_from(own as u16),
            None => placement,
        };
        Self { placement, peers }
    }
}

/// How users moved between routers when a link came or went.
#[derive(Clone, Debug)]
pub struct Movement {
    pub(super) placement: Placement,
    /// By place: whether it was, or is, reached.
    pub(super) before: Vec<bool>,
    pub(super) after: Vec<bool>,
    /// This one came back after a break, and may have forgotten whom it had.
    pub(super) returned: Option<u16>,
}

impl Movement {
    /// Whether this user has another router than before, or the same one that may have forgotten them.
    pub fn concerns(&self, user: UserId) -> bool {
        let place = |reached: &[bool]| self.placement.first_of(user, |place| reached[usize::from(place)]);
        let after = place(&self.after);
        after != place(&self.before) || (after.is_some() && after == self.returned)
    }
}
