//! Which faults are made: every single one and some pairs, or few of each.

use core::time::Duration;

use super::Fault;
use crate::process::Dice;

/// How much is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// Some of each kind, and two pairs; at most 4 minutes.
    Smoke,
    /// Every single fault, then pairs while there is time; at most 25 minutes.
    Usual,
    /// Every single fault and every pair.
    All,
}

impl Extent {
    /// Within which everything is over; `None`: whenever it is.
    pub const fn within(self) -> Option<Duration> {
        match self {
            Self::Smoke => Some(Duration::from_secs(4 * 60)),
            Self::Usual => Some(Duration::from_secs(25 * 60)),
            Self::All => None,
        }
    }
}

/// The experiments, each of one fault or two, in their order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// These are run whatever it takes.
    pub required: Vec<Vec<Fault>>,
    /// These are run while there is time.
    pub sample: Vec<Vec<Fault>>,
}

impl Plan {
    /// Each with its number, from 1, and whether it is run whatever it takes.
    pub fn numbered(self) -> Vec<(u64, Vec<Fault>, bool)> {
        let required = self.required.into_iter().map(|faults| (faults, true));
        let all = required.chain(self.sample.into_iter().map(|faults| (faults, false)));
        (1..).zip(all).map(|(number, (faults, required))| (number, faults, required)).collect()
    }

    /// From all single faults; the same seed gives the same.
    pub fn new(singles: &[Fault], extent: Extent, seed: u64) -> Self {
        let mut dice = Dice::from_seed(seed);
        let mut pairs = pairs(singles);
        let alone = |fault: &Fault| vec![fault.clone()];
        match extent {
            Extent::All => {
                let required = singles.iter().map(alone).chain(pairs).collect();
                Self { required, sample: Vec::new() }
            }
            Extent::Usual => {
                shuffle(&mut pairs, &mut dice);
                Self { required: singles.iter().map(alone).collect(), sample: pairs }
            }
            Extent::Smoke => {
                shuffle(&mut pairs, &mut dice);
                let few = few(singles, &mut dice);
                Self {
                    required: few.iter().map(alone).chain(pairs.drain(..2.min(pairs.len()))).collect(),
                    sample: Vec::new(),
                }
            }
        }
    }
}

/// Every two that go together.
fn pairs(singles: &[Fault]) -> Vec<Vec<Fault>> {
    let with = |(at, one): (usize, &Fault)| {
        let others = singles[at + 1..].iter().filter(|other| one.goes_with(other));
        others.map(|other| vec![one.clone(), other.clone()]).collect::<Vec<_>>()
    };
    singles.iter().enumerate().flat_map(with).collect()
}

/// Each process fault of one node of each role, and one link of each kind of link fault.
fn few(singles: &[Fault], dice: &mut Dice) -> Vec<Fault> {
    let mut kinds: Vec<(String, Vec<&Fault>)> = Vec::new();
    for fault in singles {
        let kind = match fault {
            Fault::Kill(name) => format!("kill {}", role(name)),
            Fault::Freeze(name) => format!("freeze {}", role(name)),
            Fault::Partition(..) => "partition".to_owned(),
            Fault::OneWay(..) => "one way".to_owned(),
            Fault::Slow(..) => "slow".to_owned(),
            Fault::Lossy(..) => "lossy".to_owned(),
            // Each is stopped alone there, once a role.
            Fault::Restart(names) if names.len() > 1 => continue,
            Fault::Restart(names) => format!("restart {}", role(&names[0])),
        };
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, faults)) => faults.push(fault),
            None => kinds.push((kind, vec![fault])),
        }
    }
    kinds.iter().map(|(_, faults)| faults[dice.below(faults.len() as u64) as usize].clone()).collect()
}

/// What stands before the number of a node's name.
fn role(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

fn shuffle<T>(all: &mut [T], dice: &mut Dice) {
    for at in (1..all.len()).rev() {
        all.swap(at, dice.below(at as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::singles;
    use crate::process::cluster::{Layout, Shape};

    fn all() -> Vec<Fault> {
        singles(&Layout::new(Shape { gateways: 3, routers: 2, writers: 1 }, None).unwrap())
    }

    #[test]
    fn a_seed_says_which_pairs_and_every_single_fault_is_in() {
        let one = Plan::new(&all(), Extent::Usual, 7);
        assert_eq!((one.required.len(), &one), (79, &Plan::new(&all(), Extent::Usual, 7)));
        assert_ne!(one.sample[..5], Plan::new(&all(), Extent::Usual, 8).sample[..5]);
        let whole = Plan::new(&all(), Extent::All, 7);
        assert_eq!((whole.required.len(), whole.sample.len()), (79 + one.sample.len(), 0));
        let numbered = one.clone().numbered();
        assert_eq!(numbered[78], (79, one.required[78].clone(), true));
        assert_eq!(numbered[79], (80, one.sample[0].clone(), false));
    }

    #[test]
    fn a_few_are_of_every_kind_and_of_every_role() {
        let plan = Plan::new(&all(), Extent::Smoke, 3);
        let shown: Vec<String> = plan.required.iter().map(|faults| faults[0].to_string()).collect();
        assert_eq!(plan.required.len(), 3 + 3 + 3 + 4 + 2, "{shown:?}");
        for kind in [
            "kill -9 gw",
            "kill -9 rt",
            "kill -9 sw",
            "SIGSTOP gw",
            "SIGSTOP rt",
            "SIGSTOP sw",
            " | ",
            " -| ",
            " ~ ",
            " lossy",
            "restart gw",
            "restart rt",
            "restart sw",
        ] {
            assert!(shown.iter().any(|one| one.contains(kind)), "{kind} is not in {shown:?}");
        }
    }
}
