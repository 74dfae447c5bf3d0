//! Which faults are made: every single one and some pairs, or few of each.

use core::time::Duration;

use super::Fault;
use super::fault::{is_engine, role};
use crate::process::Dice;
use crate::process::engines::EngineShape;

/// A clock's jump that is among the few, s.
const SHORT_JUMP_S: i64 = 10;

/// How much is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// Some of each kind, and one or two pairs; at most 4 minutes, with engines 10.
    Smoke,
    /// Every single fault, then pairs while there is time; at most 25 minutes, with engines 50.
    Usual,
    /// Every single fault and every pair.
    All,
}

impl Extent {
    /// Within which everything is over; `None`: whenever it is.
    pub const fn within(self, engines: EngineShape) -> Option<Duration> {
        let minutes = match (self, engines.cassandra) {
            (Self::Smoke, 0) => 4,
            (Self::Smoke, _) => 10,
            (Self::Usual, 0) => 25,
            (Self::Usual, _) => 50,
            (Self::All, _) => return None,
        };
        Some(Duration::from_secs(minutes * 60))
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
                let count = if singles.iter().any(needs_engines) { 1 } else { 2 };
                Self {
                    required: few.iter().map(alone).chain(pairs.drain(..count.min(pairs.len()))).collect(),
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

/// Each process fault of one node of each role, and one link of each kind of link fault. With engines, what has nothing to do
/// with them or with several writers is left to the few of the embedded store.
fn few(singles: &[Fault], dice: &mut Dice) -> Vec<Fault> {
    let with_engines = singles.iter().any(needs_engines);
    let mut kinds: Vec<(String, Vec<&Fault>)> = Vec::new();
    for fault in singles {
        let kind = match fault {
            Fault::Slow(..) | Fault::Lossy(..) | Fault::OneWay(..) | Fault::Partition(..) if with_engines => continue,
            Fault::Kill(name) if with_engines && role(name) == "gw" => continue,
            Fault::Freeze(name) if with_engines && !is_engine(name) => continue,
            Fault::Restart(names) if with_engines && role(&names[0]) != "sw" => continue,
            Fault::Kill(name) => format!("kill {}", role(name)),
            Fault::Freeze(name) => format!("freeze {}", role(name)),
            Fault::Outlast(_) => "outlast".to_owned(),
            Fault::Partition(..) => "partition".to_owned(),
            Fault::OneWay(..) => "one way".to_owned(),
            Fault::Slow(..) => "slow".to_owned(),
            Fault::Lossy(..) => "lossy".to_owned(),
            Fault::Apart(name, others) if others.names.len() == 1 => format!("apart {}", role(name)),
            Fault::Apart(name, _) => format!("apart {} from all", role(name)),
            // Far ones take as long as they are far.
            Fault::Clock(_, by_s) if by_s.abs() > SHORT_JUMP_S => continue,
            Fault::Clock(..) => "clock".to_owned(),
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

fn needs_engines(fault: &Fault) -> bool {
    matches!(fault, Fault::Apart(..) | Fault::Outlast(_))
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
    use crate::process::engines::Directory;

    fn all() -> Vec<Fault> {
        singles(&Layout::new(Shape { gateways: 3, routers: 2, writers: 1 }, None).unwrap(), EngineShape::NONE)
    }

    #[test]
    fn a_few_with_engines_are_about_them_and_the_writers() {
        let layout = Layout::new(Shape { gateways: 2, routers: 2, writers: 2 }, None).unwrap();
        let engines = EngineShape { cassandra: 3, directory: Directory::RedisCluster };
        let plan = Plan::new(&singles(&layout, engines), Extent::Smoke, 5);
        let shown: Vec<String> = plan.required.iter().map(|faults| faults[0].to_string()).collect();
        assert_eq!(plan.required.len(), 13 + 1, "{shown:?}");
        for kind in [
            "kill -9 rt",
            "kill -9 sw",
            "kill -9 cassandra",
            "kill -9 redis",
            "SIGSTOP cassandra",
            "SIGSTOP redis",
            "past its lease",
            "restart sw",
            "| everybody",
            "| cassandra-",
            "| cassandra",
            "| redis",
            "clock of",
        ] {
            assert!(shown.iter().any(|one| one.contains(kind)), "{kind} is not in {shown:?}");
        }
        assert!(Extent::Smoke.within(engines) > Extent::Smoke.within(EngineShape::NONE));
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
