//! Rates in groups, scaled by audience: an entry costs as many deliveries as its group has members.
//!
//! What must stay true: what is refused costs nothing; memory is bounded by who has written in the last seconds.

use core::hash::Hash;

use fabric::hash::{self, Map};
use fabric::time::Now;
use schema::ids::UserId;

/// Deliveries that may come at once, as time of the rate, ns.
const BURST_NS: u64 = 2_000_000_000;
/// Accounts kept before those that are even are looked for.
const ACCOUNTS: usize = 4_096;

/// What a group and a sender may cause, deliveries a second; 0 = no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    pub group: u32,
    pub sender: u32,
}

/// Who has caused how much: the time at which each is even again, ns.
pub(crate) struct Audience {
    rates: Rates,
    groups: Map<u32, u64>,
    senders: Map<UserId, u64>,
}

fn cost_ns(members: usize, rate: u32) -> u64 {
    members as u64 * 1_000_000_000 / u64::from(rate.max(1))
}

fn is_even<K: Hash + Eq>(accounts: &Map<K, u64>, key: &K, now_ns: u64) -> bool {
    accounts.get(key).is_none_or(|even_ns| even_ns.saturating_sub(now_ns) <= BURST_NS)
}

fn charge<K: Hash + Eq>(accounts: &mut Map<K, u64>, key: K, now_ns: u64, cost_ns: u64) {
    if accounts.len() >= ACCOUNTS {
        accounts.retain(|_, even_ns| *even_ns > now_ns);
    }
    let even_ns = accounts.entry(key).or_insert(now_ns);
    *even_ns = (*even_ns).max(now_ns) + cost_ns;
}

impl Audience {
    pub(crate) fn new(seed: u64, rates: Rates) -> Self {
        Self { rates, groups: hash::map(seed), senders: hash::map(seed) }
    }

    /// Whether a group and a sender may cause more now.
    pub(crate) fn admits(&self, now: Now, group: u32, sender: UserId) -> bool {
        (self.rates.group == 0 || is_even(&self.groups, &group, now.mono_ns))
            && (self.rates.sender == 0 || is_even(&self.senders, &sender, now.mono_ns))
    }

    /// An entry goes to so many members.
    pub(crate) fn charge(&mut self, now: Now, group: u32, sender: UserId, members: usize) {
        if self.rates.group > 0 {
            charge(&mut self.groups, group, now.mono_ns, cost_ns(members, self.rates.group));
        }
        if self.rates.sender > 0 {
            charge(&mut self.senders, sender, now.mono_ns, cost_ns(members, self.rates.sender));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { mono_ns: ms * 1_000_000, wall_ticks: 0 }
    }

    #[test]
    fn large_audiences_cost_more_and_time_pays() {
        let (one, two) = (UserId::new(1).expect("not 0"), UserId::new(2).expect("not 0"));
        let mut audience = Audience::new(1, Rates { group: 10_000, sender: 5_000 });
        let taken = (0..1_000)
            .take_while(|_| {
                let admitted = audience.admits(at(0), 7, one);
                audience.charge(at(0), 7, one, 500);
                admitted
            })
            .count();
        assert_eq!(taken, 21, "10,000 deliveries at once, and the one that goes over");
        assert!(!audience.admits(at(0), 8, one), "in another group too");
        assert!(audience.admits(at(0), 7, two), "the group has more");
        assert!(!audience.admits(at(100), 7, one));
        assert!(audience.admits(at(300), 7, one), "1,500 deliveries later");
    }

    #[test]
    fn no_rate_is_no_limit_and_even_accounts_go() {
        let mut audience = Audience::new(1, Rates { group: 0, sender: 1_000 });
        for id in 1..=3 * ACCOUNTS as u64 {
            let user = UserId::new(id).expect("not 0");
            assert!(audience.admits(at(id * 10), 1, user));
            audience.charge(at(id * 10), 1, user, 10);
        }
        assert!(audience.senders.len() <= ACCOUNTS + 1 && audience.groups.is_empty());
    }
}
