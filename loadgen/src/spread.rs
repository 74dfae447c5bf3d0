//! How a group message spreads: from its intended send time to its acknowledgement, its first and its last delivery.
//!
//! A worker follows a message until all its own members have it. Where all members are its own, that is the whole; else it
//! brings home its part, 40 bytes, and the parts of all workers are joined at the end. Only messages of the steady phase are
//! followed, and of these only deliveries between users who were online. Memory is bounded: what is beyond is counted as not
//! followed, never guessed.

use fabric::hash::Map;
use serde::{Deserialize, Serialize};

use crate::groups::{Group, GroupsOf};
use crate::measure::Latencies;
use crate::plan::Plan;

/// Messages one worker follows at a time, and parts it brings home, at most.
const FOLLOWED_MAX: usize = 1 << 20;
/// No delivery counts.
const NEVER: u64 = u64::MAX;

/// Latencies of one kind of groups.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KindLatencies {
    /// To the acknowledgement at the sender.
    pub ack: Latencies,
    /// To the first delivery.
    pub first: Latencies,
    /// To the last one.
    pub last: Latencies,
    /// Deliveries of messages that were to be sent in the steady phase.
    pub deliveries: u64,
}

impl KindLatencies {
    /// Adds another worker's, or another kind's.
    pub fn add(&mut self, other: &Self) {
        self.ack.add(&other.ack);
        self.first.add(&other.first);
        self.last.add(&other.last);
        self.deliveries += other.deliveries;
    }

    fn record(&mut self, way: &Way) {
        if way.first != NEVER {
            self.first.record_ns(way.first);
            self.last.record_ns(way.last);
        }
    }
}

/// From the intended send time to the first and the last delivery, ns.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Way {
    first: u64,
    last: u64,
}

impl Way {
    fn join(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// A message on its way, or one worker's part of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Part {
    group: u32,
    /// Deliveries to this worker's members that are still to come; at home: workers who have a part.
    left: u32,
    seq: u64,
    way: Way,
}

/// One worker's members of a group.
#[derive(Clone, Copy, Debug)]
struct Here {
    members: u32,
    /// Workers with members.
    workers: u32,
}

/// What a worker brings home.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    /// By the scenario's kinds of groups.
    pub kinds: Vec<KindLatencies>,
    parts: Vec<Part>,
    /// Messages that were not followed for want of room.
    pub not_followed: u64,
}

/// Follows a worker's messages.
pub struct Follower {
    here: Vec<Here>,
    ways: Map<(u32, u64), Part>,
    /// What there is so far.
    pub spread: Spread,
}

impl Follower {
    /// Of the worker of this number.
    pub fn new(plan: &Plan, worker: u16) -> Self {
        let shares: Vec<_> = (0..plan.workers).map(|worker| plan.users_of(worker)).collect();
        let here = |group: &Group| Here {
            members: group.here(&shares[usize::from(worker)]),
            workers: shares.iter().filter(|share| group.here(share) > 0).count() as u32,
        };
        let here = plan.groups.iter().map(|(_, group)| here(group)).collect();
        let kinds = vec![KindLatencies::default(); plan.load.groups.len()];
        let spread = Spread { kinds, ..Spread::default() };
        Self { here, ways: fabric::hash::map(plan.load.seed), spread }
    }

    /// The message at a place (group, seq), of the steady phase, reached one of this worker's members so late, ns after its
    /// intended time. `apart`: sender or receiver was away meanwhile.
    pub fn delivered(&mut self, at: (u32, u64), kind: usize, ns: u64, apart: bool, sender: Sender) {
        let here = self.here[at.0 as usize];
        self.spread.kinds[kind].deliveries += 1;
        let full = self.ways.len() >= FOLLOWED_MAX || self.spread.parts.len() >= FOLLOWED_MAX;
        if full && !self.ways.contains_key(&at) {
            self.spread.not_followed += 1;
            return;
        }
        let fresh = || Part {
            group: at.0,
            left: here.members - u32::from(sender.here),
            seq: at.1,
            way: Way { first: NEVER, last: 0 },
        };
        let part = self.ways.entry(at).or_insert_with(fresh);
        if !apart {
            part.way.join(Way { first: ns, last: ns });
        }
        part.left -= 1;
        if part.left > 0 {
            return;
        }
        let mut part = *part;
        self.ways.remove(&at);
        // Workers who have a part: not the sender's when it has no other member.
        part.left = here.workers - u32::from(sender.alone);
        if part.left == 1 {
            self.spread.kinds[kind].record(&part.way);
        } else {
            self.spread.parts.push(part);
        }
    }
}

/// Where a message's sender is.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// On the worker that was reached.
    pub here: bool,
    /// No other member is on the sender's worker.
    pub alone: bool,
}

impl Sender {
    /// The sender at a place, seen from the worker with users at `own`.
    pub fn of(plan: &Plan, group: &Group, place: u32, own: &core::ops::Range<u32>) -> Self {
        let here = own.contains(&place);
        let share = if here { own.clone() } else { plan.share_with(place) };
        Self { here, alone: group.here(&share) == 1 }
    }
}

/// Joins what all workers bring home: latencies by kind, and messages of which a part is missing.
pub fn join(groups: &GroupsOf, spreads: &[&Spread]) -> (Vec<KindLatencies>, u64) {
    let kinds = spreads.iter().map(|spread| spread.kinds.len()).max().unwrap_or(0);
    let mut all = vec![KindLatencies::default(); kinds];
    let mut missing = 0;
    let mut parts: Vec<Part> = Vec::new();
    for spread in spreads {
        all.iter_mut().zip(&spread.kinds).for_each(|(sum, kind)| sum.add(kind));
        missing += spread.not_followed;
        parts.extend(&spread.parts);
    }
    parts.sort_unstable_by_key(|part| (part.group, part.seq));
    for same in parts.chunk_by(|a, b| (a.group, a.seq) == (b.group, b.seq)) {
        let mut way = same[0].way;
        same.iter().for_each(|part| way.join(part.way));
        match groups.get(same[0].group).filter(|_| same.len() == same[0].left as usize) {
            Some(group) => all[group.kind].record(&way),
            None => missing += 1,
        }
    }
    (all, missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    /// A group of six over the given workers; member `m` gets the message of `sender` after `m` + 1 ms.
    fn spread(workers: u16, sender: u32, skip: Option<u32>) -> (Vec<KindLatencies>, u64) {
        let text = "[load]\nusers = 6\nmode = \"open\"\nrate = 1.0\nsteady_s = 1.0\n[[load.groups]]\nmembers = 6\n";
        let plan = plan(text, workers);
        let group = *plan.groups.get(0).unwrap();
        let mut spreads = Vec::new();
        for worker in 0..workers {
            let own = plan.users_of(worker);
            let mut follower = Follower::new(&plan, worker);
            for place in own.clone().filter(|place| *place != sender && Some(*place) != skip) {
                let ns = u64::from(place + 1) * 1_000_000;
                follower.delivered((0, 2), 0, ns, false, Sender::of(&plan, &group, sender, &own));
            }
            spreads.push(follower.spread);
        }
        join(&plan.groups, &spreads.iter().collect::<Vec<_>>())
    }

    #[test]
    fn first_and_last_are_of_all_workers() {
        for workers in [1, 2, 3] {
            for (sender, first, last) in [(0, 2_000, 6_000), (5, 1_000, 5_000), (2, 1_000, 6_000)] {
                let (kinds, missing) = spread(workers, sender, None);
                let told = [&kinds[0].first, &kinds[0].last].map(|of| (of.count(), of.us(50.0) / 100 * 100));
                assert_eq!((told, missing), ([(1, first), (1, last)], 0), "{workers} workers, sender {sender}");
                assert_eq!(kinds[0].deliveries, 5);
            }
        }
    }

    #[test]
    fn a_worker_with_nobody_but_the_sender_has_no_part() {
        let text = "[load]\nusers = 4\nmode = \"open\"\nrate = 1.0\nsteady_s = 1.0\n[[load.groups]]\nmembers = 3\n";
        let plan = plan(text, 2);
        let group = *plan.groups.get(0).unwrap();
        let own = plan.users_of(0);
        let mut follower = Follower::new(&plan, 0);
        for place in own.clone() {
            follower.delivered((0, 2), 0, 1_000_000, false, Sender::of(&plan, &group, 2, &own));
            assert_eq!(follower.spread.kinds[0].last.count(), u64::from(place == 1));
        }
    }

    #[test]
    fn a_message_that_did_not_reach_everybody_has_no_last_delivery() {
        let (kinds, missing) = spread(1, 0, Some(3));
        assert_eq!((kinds[0].last.count(), missing), (0, 0));
        let (kinds, missing) = spread(2, 0, Some(3));
        assert_eq!((kinds[0].last.count(), missing), (0, 1));
    }
}
