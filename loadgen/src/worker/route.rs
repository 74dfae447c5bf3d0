//! Whose turn it is to send, and where to: pairs, or groups of some kind, each as often as the scenario says.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use crate::draw::{Draw, Use};
use crate::plan::Plan;

/// In place of a group: the user's next peer.
pub const DIRECT: u32 = u32::MAX;

/// One way to write, of this worker's users.
struct Way {
    /// Its part of this worker's rate, and all those before it, of the load's rate.
    until: f64,
    /// Who writes, and in which group; taken in turns.
    order: Vec<(u32, u32)>,
    next: usize,
}

/// All ways of a worker's users.
pub struct Routes {
    ways: Vec<Way>,
    seed: u64,
    worker: u64,
    drawn: u64,
}

impl Routes {
    /// Of the worker of this number.
    pub fn new(plan: &Plan, worker: u16, seed: u64) -> Self {
        let (load, own) = (&plan.load, plan.users_of(worker));
        let mut routes = Self { ways: Vec::new(), seed: load.seed, worker: u64::from(worker), drawn: 0 };
        let direct = own.clone().map(|place| (place - own.start, DIRECT)).collect();
        routes.add(load.direct_share() / f64::from(load.users), direct, seed);
        for (kind, of) in load.groups.iter().enumerate() {
            let mut writers = Vec::new();
            for (at, group) in plan.groups.iter().filter(|(_, group)| group.kind == kind) {
                let members = (0..group.members).filter(|member| of.writes(*member));
                let places = members.map(|member| group.place(member)).filter(|place| own.contains(place));
                writers.extend(places.map(|place| (place - own.start, at)));
            }
            routes.add(of.share / f64::from(of.all_writers()), writers, seed);
        }
        routes
    }

    /// `each`: what one of them has of the load's rate.
    fn add(&mut self, each: f64, mut order: Vec<(u32, u32)>, seed: u64) {
        let share = each * order.len() as f64;
        if share > 0.0 {
            order.shuffle(&mut SmallRng::seed_from_u64(seed));
            self.ways.push(Way { until: self.part() + share, order, next: 0 });
        }
    }

    /// This worker's part of the load's rate, 0 to 1.
    pub fn part(&self) -> f64 {
        self.ways.last().map_or(0.0, |way| way.until)
    }

    /// Who sends next, and in which group ([`DIRECT`]: to a peer); `None` when nobody here writes.
    pub fn next(&mut self) -> Option<(u32, u32)> {
        let at = if self.ways.len() > 1 {
            let unit = Draw::of(self.seed, Use::Route, self.worker, self.drawn).unit() * self.part();
            self.drawn += 1;
            self.ways.partition_point(|way| way.until < unit).min(self.ways.len() - 1)
        } else {
            0
        };
        let way = self.ways.get_mut(at)?;
        let turn = way.order[way.next];
        way.next = (way.next + 1) % way.order.len();
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    #[test]
    fn each_way_is_taken_as_often_as_its_share_says_and_by_its_writers() {
        let text = "[load]\nusers = 40\nmode = \"open\"\nrate = 1.0\nsteady_s = 1.0\n\
            groups = [{ members = 10, count = 2, share = 0.3 }, { members = 40, writers = 1, share = 0.2 }]\n";
        let plan = plan(text, 2);
        let mut routes = [Routes::new(&plan, 0, 1), Routes::new(&plan, 1, 2)];
        // The first worker has the small groups, the last user writes to the large one.
        let parts = routes.each_ref().map(Routes::part);
        assert!((parts[0] - (0.25 + 0.3)).abs() < 1e-9 && (parts[1] - (0.25 + 0.2)).abs() < 1e-9, "{parts:?}");
        let drawn: Vec<(u32, u32)> = (0..10_000).map(|_| routes[0].next().unwrap()).collect();
        let direct = drawn.iter().filter(|(_, group)| *group == DIRECT).count() as f64 / 10_000.0;
        assert!((direct - 0.25 / 0.55).abs() < 0.02, "{direct}");
        for (user, group) in drawn {
            assert!(group == DIRECT || plan.groups.get(group).unwrap().member(user).is_some());
        }
        let large: Vec<u32> =
            (0..1_000).map(|_| routes[1].next().unwrap()).filter(|(_, g)| *g == 2).map(|(u, _)| u).collect();
        assert!(large.len() > 300 && large.iter().all(|user| *user == 19), "{large:?}");
    }

    #[test]
    fn without_groups_everybody_has_a_turn() {
        let plan = plan("[load]\nusers = 10\nmode = \"open\"\nrate = 1.0\nsteady_s = 1.0\n", 1);
        let mut routes = Routes::new(&plan, 0, 1);
        let mut users: Vec<u32> = (0..10).map(|_| routes.next().unwrap().0).collect();
        users.sort_unstable();
        assert_eq!((users, routes.part()), ((0..10).collect(), 1.0));
    }
}
