//! Which router is whose: users are spread over a list of routers by rendezvous hashing.
//!
//! A router's score for a user is XXH3-64 of the user id's 8 bytes (big-endian) with the seed XXH3-64 (seed 0) of the router's
//! name; the highest score is the user's first choice, the next the second, and so on. Names alone count: every process that
//! has the same names agrees, whatever their order in its list, and a name that comes or goes moves only its own share of the
//! users. Pure; what must stay true: the score is never changed, or processes of two versions would disagree.

use core::cmp::Reverse;

use schema::ids::UserId;
use smallvec::SmallVec;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Places of routers in a list, the user's first choice first.
pub type Order = SmallVec<[u16; 8]>;

/// The routers, by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    seeds: Box<[u64]>,
    own: Option<u16>,
}

impl Placement {
    /// Over routers with these names, at most 65,535; their places are as in the list. A name twice is one router too many for
    /// its share: whoever reads the list refuses it.
    pub fn new<N: AsRef<str>>(names: &[N]) -> Self {
        debug_assert!(names.len() <= usize::from(u16::MAX), "{} routers", names.len());
        Self { seeds: names.iter().map(|name| xxh3_64(name.as_ref().as_bytes())).collect(), own: None }
    }

    /// As the router at `own` sees it.
    #[must_use]
    pub fn seen_from(self, own: u16) -> Self {
        debug_assert!(usize::from(own) < self.seeds.len(), "place {own} of {}", self.seeds.len());
        Self { own: Some(own), ..self }
    }

    /// The place of the router that this is, if it is one.
    pub const fn own(&self) -> Option<u16> {
        self.own
    }

    /// Routers in the list.
    pub const fn len(&self) -> usize {
        self.seeds.len()
    }

    /// There is no router.
    pub const fn is_empty(&self) -> bool {
        self.seeds.is_empty()
    }

    fn scores(&self, user: UserId) -> impl Iterator<Item = (u64, u16)> {
        let user = user.get().to_be_bytes();
        (0..).zip(&self.seeds).map(move |(place, &seed)| (xxh3_64_with_seed(&user, seed), place))
    }

    /// The user's first and second choice; `None` where the list is too short for one.
    pub fn choices(&self, user: UserId) -> (Option<u16>, Option<u16>) {
        let (mut first, mut second) = (None, None);
        for scored in self.scores(user) {
            if first.is_none_or(|first| scored > first) {
                (first, second) = (Some(scored), first);
            } else if second.is_none_or(|second| scored > second) {
                second = Some(scored);
            }
        }
        (first.map(|(_, place)| place), second.map(|(_, place)| place))
    }

    /// The user's first choice; `None` without routers.
    pub fn first(&self, user: UserId) -> Option<u16> {
        self.scores(user).max().map(|(_, place)| place)
    }

    /// All routers in the user's order: whoever looks for one that is reachable takes the first that is.
    pub fn order(&self, user: UserId) -> Order {
        let mut scored: SmallVec<[(u64, u16); 8]> = self.scores(user).collect();
        scored.sort_unstable_by_key(|&scored| Reverse(scored));
        scored.into_iter().map(|(_, place)| place).collect()
    }

    /// The first in the user's order that `is_up`; `None` when none is.
    pub fn first_of(&self, user: UserId, mut is_up: impl FnMut(u16) -> bool) -> Option<u16> {
        match self.first(user) {
            Some(first) if is_up(first) => Some(first),
            first => self.order(user).into_iter().filter(|&place| Some(place) != first).find(|&place| is_up(place)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    fn names(routers: usize) -> Vec<String> {
        (1..=routers).map(|n| format!("router-{n}")).collect()
    }

    #[test]
    fn the_hash_is_fixed() {
        let placement = Placement::new(&["a", "b", "c"]);
        let orders: Vec<Vec<u16>> = [1, 2, 3, 4, u64::MAX].map(|id| placement.order(user(id)).to_vec()).into();
        let fixed = [[2, 1, 0], [1, 2, 0], [1, 0, 2], [1, 0, 2], [1, 2, 0]];
        assert_eq!(orders, fixed, "every process of every version must say the same");
    }

    #[test]
    fn users_are_spread_evenly() {
        const USERS: u64 = 200_000;
        for routers in [2, 3, 8, 50] {
            let placement = Placement::new(&names(routers));
            let mut counts = vec![0u64; routers];
            (1..=USERS).for_each(|id| counts[usize::from(placement.first(user(id)).unwrap())] += 1);
            let even = USERS / routers as u64;
            assert!(counts.iter().all(|count| count.abs_diff(even) * 100 < even * 8), "{routers}: {counts:?}");
        }
    }

    #[test]
    fn the_users_of_a_router_that_is_gone_are_spread_over_the_others() {
        let placement = Placement::new(&names(4));
        let mut counts = [0u64; 4];
        let of_first = (1..=100_000).map(user).filter(|&user| placement.first(user) == Some(0));
        of_first.for_each(|user| counts[usize::from(placement.choices(user).1.unwrap())] += 1);
        assert_eq!(counts[0], 0);
        let even = counts.iter().sum::<u64>() / 3;
        assert!(counts[1..].iter().all(|count| count.abs_diff(even) * 100 < even * 5), "{counts:?}");
    }

    #[test]
    fn the_first_that_is_up_is_taken() {
        let placement = Placement::new(&names(3));
        for id in 1..100 {
            let order = placement.order(user(id));
            assert_eq!(placement.first_of(user(id), |_| true), Some(order[0]));
            assert_eq!(placement.first_of(user(id), |place| place != order[0]), Some(order[1]));
            assert_eq!(placement.first_of(user(id), |place| place == order[2]), Some(order[2]));
            assert_eq!(placement.first_of(user(id), |_| false), None);
        }
        assert_eq!(Placement::new::<&str>(&[]).first_of(user(1), |_| true), None);
        assert_eq!(Placement::new(&["a"]).choices(user(1)), (Some(0), None));
    }

    proptest! {
        #[test]
        fn a_router_that_comes_or_goes_moves_only_its_own_share(
            routers in 2usize..20, gone in 0usize..20, ids in prop::collection::vec(1u64.., 200),
        ) {
            let (before, gone) = (names(routers), gone % routers);
            let mut after = before.clone();
            let name = after.remove(gone);
            let (all, rest) = (Placement::new(&before), Placement::new(&after));
            for user in ids.into_iter().map(user) {
                let (first, second) = all.choices(user);
                let stays = before[usize::from(first.unwrap())] != name;
                let expected = if stays { first } else { second };
                let now = &after[usize::from(rest.first(user).unwrap())];
                prop_assert_eq!(now, &before[usize::from(expected.unwrap())]);
                let order: Vec<&String> = all.order(user).iter().map(|&place| &before[usize::from(place)]).collect();
                let left: Vec<&String> = rest.order(user).iter().map(|&place| &after[usize::from(place)]).collect();
                prop_assert_eq!(order.into_iter().filter(|other| **other != name).collect::<Vec<_>>(), left);
            }
        }

        #[test]
        fn the_lists_order_does_not_matter(routers in 1usize..20, turn in 0usize..20, ids in prop::collection::vec(1u64.., 50)) {
            let one = names(routers);
            let mut other = one.clone();
            other.rotate_left(turn % routers);
            let (first, second) = (Placement::new(&one), Placement::new(&other));
            for user in ids.into_iter().map(user) {
                let order = |placement: &Placement, names: &[String]| -> Vec<String> {
                    placement.order(user).iter().map(|&place| names[usize::from(place)].clone()).collect()
                };
                prop_assert_eq!(order(&first, &one), order(&second, &other));
                prop_assert_eq!(first.choices(user).0, first.order(user).first().copied());
                prop_assert_eq!(first.choices(user).1, first.order(user).get(1).copied());
            }
        }
    }
}
