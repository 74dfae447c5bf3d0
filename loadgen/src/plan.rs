//! What all workers of a run share: the load, who writes to whom, and the phases.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use crate::behave::Behaviours;
use crate::groups::GroupsOf;
use crate::scenario::{Load, Mode, Pairs};
use crate::targets::Targets;
use crate::wire::Speech;

/// Who writes to whom, by the users' places in the scenario.
#[derive(Debug)]
pub struct Pairing {
    users: u32,
    pairs: Pairs,
    /// For `shuffled`: the circle, and each user's place in it.
    circle: Vec<u32>,
    place: Vec<u32>,
}

impl Pairing {
    /// The scenario's pairs; the same seed gives the same.
    pub fn new(load: &Load) -> Self {
        let (mut circle, mut place) = (Vec::new(), Vec::new());
        if load.pairs == Pairs::Shuffled {
            circle = (0..load.users).collect();
            circle.shuffle(&mut SmallRng::seed_from_u64(load.seed));
            place = vec![0; circle.len()];
            for (at, user) in circle.iter().enumerate() {
                place[*user as usize] = at as u32;
            }
        }
        Self { users: load.users, pairs: load.pairs, circle, place }
    }

    /// The `peer`th receiver of a user's messages.
    pub fn receiver(&self, user: u32, peer: u32) -> u32 {
        let on = |place: u32| ((u64::from(place) + 1 + u64::from(peer)) % u64::from(self.users)) as u32;
        match self.pairs {
            Pairs::Mutual => user ^ 1,
            Pairs::Ring => on(user),
            Pairs::Shuffled => self.circle[on(self.place[user as usize]) as usize],
        }
    }

    /// Which of a user's receivers another one is: the inverse of [`Self::receiver`].
    pub fn peer(&self, user: u32, receiver: u32, peers: u32) -> Option<u32> {
        if receiver >= self.users {
            return None;
        }
        let behind = |user: u32, receiver: u32| {
            (u64::from(receiver) + u64::from(self.users) - u64::from(user) - 1) % u64::from(self.users)
        };
        let peer = match self.pairs {
            Pairs::Mutual => u64::from(receiver != user ^ 1),
            Pairs::Ring => behind(user, receiver),
            Pairs::Shuffled => behind(self.place[user as usize], self.place[receiver as usize]),
        };
        (peer < u64::from(peers)).then_some(peer as u32)
    }
}

/// Workers get ready for the ramp within so long, ns.
const LEAD_NS: u64 = 50_000_000;
/// The same over a network.
const LEAD_OVER_NETWORK_NS: u64 = 1_000_000_000;

/// The phases, set by the controller, read by every worker.
#[derive(Debug)]
pub struct Phases {
    /// When the ramp begins, ns of the monotonic clock; 0: still connecting.
    start_ns: AtomicU64,
    /// Sending ends now, whatever the plan.
    cut: AtomicBool,
    /// Workers leave.
    stop: AtomicBool,
    /// Why the run cannot go on, once it cannot.
    broken: OnceLock<String>,
    /// Workers learn of the ramp so long before it, ns.
    lead_ns: u64,
    ramp_ns: u64,
    steady_ns: u64,
    cool_down_ns: u64,
}

/// Seconds as ns.
pub fn ns(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

impl Phases {
    /// Not started.
    pub fn new(load: &Load) -> Self {
        Self {
            start_ns: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            broken: OnceLock::new(),
            lead_ns: LEAD_NS,
            ramp_ns: ns(load.ramp_s),
            steady_ns: ns(load.steady_s),
            cool_down_ns: ns(load.cool_down_s),
        }
    }

    /// The same for workers that are told over a network.
    #[must_use]
    pub const fn over_network(mut self) -> Self {
        self.lead_ns = LEAD_OVER_NETWORK_NS;
        self
    }

    /// Workers learn of the ramp so long before it, ns.
    pub const fn lead_ns(&self) -> u64 {
        self.lead_ns
    }

    /// The run cannot go on; the first reason stays.
    pub fn break_off(&self, why: String) {
        // A later reason follows from the first.
        let _ = self.broken.set(why);
    }

    /// Why the run cannot go on, if it cannot.
    pub fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }

    /// Begins the ramp at `at_ns`.
    pub fn start(&self, at_ns: u64) {
        self.start_ns.store(at_ns.max(1), Ordering::Release);
    }

    /// When the ramp begins, once that is known.
    pub fn started(&self) -> Option<u64> {
        Some(self.start_ns.load(Ordering::Acquire)).filter(|ns| *ns > 0)
    }

    /// Length of the ramp, ns.
    pub const fn ramp_ns(&self) -> u64 {
        self.ramp_ns
    }

    /// The measured phase, once it is known; its end is excluded.
    pub fn steady(&self) -> Option<core::ops::Range<u64>> {
        let start = self.started()? + self.ramp_ns;
        Some(start..start + self.steady_ns)
    }

    /// When the last send may be due, once that is known.
    pub fn end(&self) -> Option<u64> {
        Some(self.steady()?.end + self.cool_down_ns)
    }

    /// Ends sending now.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    /// Whether sending has been ended early.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Tells workers to leave.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether workers are to leave.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// A run's plan.
#[derive(Debug)]
pub struct Plan {
    /// What is asked of the server.
    pub load: Load,
    /// Where it is.
    pub targets: Targets,
    /// How WebSocket connections speak; `None`: the connections are native.
    pub speech: Option<Speech>,
    /// Who writes to whom.
    pub pairing: Pairing,
    /// Who is in which group.
    pub groups: GroupsOf,
    /// What happens meanwhile.
    pub behaviours: Behaviours,
    /// The phases.
    pub phases: Phases,
    /// Tells this run's messages from those of others.
    pub run: u32,
    /// Worker threads.
    pub workers: u16,
    /// Where connections come from, in turns; none: the host's own choice.
    pub sources: Vec<IpAddr>,
    /// The leading host's clock less this one's, ns: messages carry times of the leading host.
    pub clock_shift_ns: i64,
}

impl Plan {
    /// The users of a worker, by their places: equal ranges, whole pairs.
    pub fn users_of(&self, worker: u16) -> core::ops::Range<u32> {
        let cut = |w: u16| {
            let at = (u64::from(self.load.users) * u64::from(w) / u64::from(self.workers)) as u32;
            if w == self.workers { self.load.users } else { at & !1 }
        };
        cut(worker)..cut(worker + 1)
    }

    /// The users of the worker that has the user at `place`.
    pub fn share_with(&self, place: u32) -> core::ops::Range<u32> {
        let guess = (u64::from(place) * u64::from(self.workers) / u64::from(self.load.users)) as u16;
        // Ranges are cut at even places: it may be the neighbour's.
        let near = guess.saturating_sub(1)..self.workers.min(guess + 2);
        near.map(|worker| self.users_of(worker)).find(|share| share.contains(&place)).unwrap_or(0..0)
    }

    /// The source address of a user's connection; `turn` counts those it had before.
    pub fn source(&self, place: u32, turn: u32) -> Option<IpAddr> {
        let nth = u64::from(place) + u64::from(turn);
        (!self.sources.is_empty()).then(|| self.sources[(nth % self.sources.len() as u64) as usize])
    }

    /// Whether a connection that the load generator ends is reset rather than closed: a closed one keeps its port for a
    /// minute, or for a second between loopback addresses, and short-lived ones would use up all there are.
    pub fn resets(&self) -> bool {
        self.load.mode == Mode::Connect && !self.targets.are_loopback()
    }

    /// A worker's share of the messages, when they are limited.
    pub fn messages_of(&self, worker: u16) -> Option<u64> {
        let all = self.load.messages?;
        let cut = |w: u16| all * u64::from(w) / u64::from(self.workers);
        Some(cut(worker + 1) - cut(worker))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn load(users: u32, pairs: &str, peers: u32) -> Load {
        let text = format!(
            "[load]\nusers = {users}\npairs = \"{pairs}\"\npeers = {peers}\nmode = \"closed\"\nin_flight = 1\nsteady_s = 1.0\nmessages = 11\n"
        );
        Scenario::parse(&text).unwrap().load
    }

    /// Of a scenario, for so many workers.
    pub(crate) fn plan(text: &str, workers: u16) -> Plan {
        let load = Scenario::parse(text).unwrap().load;
        Plan {
            pairing: Pairing::new(&load),
            groups: GroupsOf::new(&load, 1),
            behaviours: Behaviours::default(),
            phases: Phases::new(&load),
            targets: Targets::named(&["127.0.0.1:1".to_owned()], |_| Ok(None)).unwrap(),
            speech: None,
            run: 1,
            workers,
            sources: Vec::new(),
            clock_shift_ns: 0,
            load,
        }
    }

    #[test]
    fn nobody_writes_to_themselves_and_everybody_receives() {
        for (pairs, peers) in [("mutual", 1), ("ring", 3), ("shuffled", 3)] {
            let load = load(10, pairs, peers);
            let pairing = Pairing::new(&load);
            let mut receives = [0; 10];
            for user in 0..10 {
                for peer in 0..peers {
                    let receiver = pairing.receiver(user, peer);
                    assert_ne!(receiver, user);
                    assert_eq!(pairing.peer(user, receiver, peers), Some(peer), "{pairs}");
                    receives[receiver as usize] += 1;
                }
            }
            assert_eq!(receives, [peers; 10], "{pairs}");
            assert_eq!((pairing.peer(3, 3, peers), pairing.peer(3, 10, peers)), (None, None), "{pairs}");
        }
    }

    #[test]
    fn shares_cover_every_user_and_message_once() {
        let text = "[load]\nusers = 10\nmode = \"closed\"\nin_flight = 1\nsteady_s = 1.0\nmessages = 11\n";
        let plan = plan(text, 3);
        let shares: Vec<_> = (0..3).map(|w| plan.users_of(w)).collect();
        assert_eq!(shares, [0..2, 2..6, 6..10]);
        assert!((0..10).all(|place| plan.share_with(place).contains(&place)));
        assert_eq!((0..3).map(|w| plan.messages_of(w).unwrap()).sum::<u64>(), 11);
    }
}
