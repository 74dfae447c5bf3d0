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
    /// Of the node `name` with `roles`, and the others by their numbers; `None`: nobody has this one.
    pub fn of<'a>(name: &str, roles: Roles, others: impl IntoIterator<Item = Option<&'a Peer>>) -> Self {
        let here = roles.has(Roles::ROUTER).then_some((name, None));
        let there = (0u16..).zip(others).filter_map(|(number, peer)| Some((number, peer?)));
        let there = there.filter(|(_, peer)| peer.roles.has(Roles::ROUTER));
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

/// Who has whom while some routers are reached and others are not.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) placement: Placement,
    /// By place: the router's number among the other nodes, `None` for this node.
    pub(super) routers: Vec<Option<u16>>,
    /// By place: whether it is reached.
    pub(super) up: Vec<bool>,
}

impl Reach {
    /// Only this node's own is reached, if it has one.
    pub(super) fn new(Routers { placement, peers }: Routers) -> Self {
        let up = peers.iter().map(Option::is_none).collect();
        Self { placement, routers: peers, up }
    }

    /// The way to the router at a place, reached or not.
    pub(super) fn way(&self, place: u16) -> Way {
        self.routers[usize::from(place)].map_or(Way::Here, Way::Peer)
    }

    /// The way to the router that has a user.
    pub(super) fn of(&self, user: UserId) -> Way {
        let place = self.placement.first_of(user, |place| self.up[usize::from(place)]);
        place.map_or(Way::Nowhere, |place| self.way(place))
    }
}

/// How users moved between routers when a link, or a router, came or went.
#[derive(Clone, Debug)]
pub struct Movement {
    pub(super) before: Reach,
    pub(super) after: Reach,
    /// This one came back after a break, and may have forgotten whom it had.
    pub(super) returned: Option<Way>,
}

impl Movement {
    /// Whether this user has another router than before, or the same one that may have forgotten them.
    pub fn concerns(&self, user: UserId) -> bool {
        let after = self.after.of(user);
        after != self.before.of(user) || self.returned == Some(after)
    }
}
