//! What a router passes on: it may not be the one that holds all sessions of a user.
//!
//! A sender whose way to a user's first choice is broken comes to another router, and a gateway whose way is broken
//! registers its sessions there. So what is for a user whose first choice this is not is passed to the first choice, and
//! while this router knows that a gateway's way to it is broken, what is for its own users is passed to their second choice.
//! What must stay true: nothing is passed on twice, and users who are where they belong cost a hash and no more.

use fabric::tier::Egress;
use schema::envelope::{Body, Envelope, Header};
use schema::ids::UserId;
use smallvec::SmallVec;

use super::Router;
use crate::directory::Directory;
use crate::placement::Placement;

/// How users are spread, as this router sees it.
pub(super) struct Passing {
    placement: Placement,
    own: u16,
    pub(super) degraded: bool,
}

/// What goes to another router: its place, and for whom.
type Passed<T> = SmallVec<[(u16, SmallVec<[T; 2]>); 1]>;

impl Passing {
    /// `None`: there is no other router, or this is none.
    pub(super) fn new(placement: Placement) -> Option<Self> {
        let own = placement.own().filter(|_| placement.len() > 1)?;
        Some(Self { placement, own, degraded: false })
    }

    /// The other router that may hold sessions of the user.
    pub(super) fn other(&self, user: UserId) -> Option<u16> {
        let (first, second) = self.placement.choices(user);
        match first {
            Some(first) if first == self.own => second.filter(|_| self.degraded),
            first => first,
        }
    }

    fn passed<T: Copy>(&self, items: &[T], user: impl Fn(&T) -> UserId) -> Passed<T> {
        let mut passed = Passed::new();
        for item in items {
            let Some(place) = self.other(user(item)) else { continue };
            match passed.iter_mut().find(|(other, _)| *other == place) {
                Some((_, items)) => items.push(*item),
                None => passed.push((place, SmallVec::from_slice(&[*item]))),
            }
        }
        passed
    }
}

impl<D: Directory> Router<D> {
    /// Passes on what is for users whose sessions may be registered elsewhere too; `body` makes what is passed on.
    pub(super) fn pass_on<T: Copy>(
        &self,
        header: &Header,
        (items, user): (&[T], impl Fn(&T) -> UserId),
        body: impl Fn(SmallVec<[T; 2]>) -> Body,
        out: &mut dyn Egress,
    ) {
        let Some(passing) = &self.passing else { return };
        if header.passed_on {
            self.metrics.taken_over.inc();
            return;
        }
        for (place, items) in passing.passed(items, user) {
            self.metrics.passed_on.inc();
            let header = Header { passed_on: true, ..header.clone() };
            out.to_router_at(place, Envelope { header, body: body(items) });
        }
    }
}
