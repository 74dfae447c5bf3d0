//! What is done to a cluster, and how it is undone.

use std::fmt;
use std::time::Duration;

use fabric::time::{Clock as _, SystemClock};

use crate::process::Signal;
use crate::process::cluster::{Cluster, ClusterError, Layout, Role, Way};

/// How slow a slow link is: every 16 KiB take so long, ms.
const SLOW_MS: u32 = 100;

/// A node that was told to stop must have ended with success within, s.
const STOPS_WITHIN_S: u64 = 30;
/// Between a node that is ready again and the next one: clients that were told to go there may be on their way.
const SETTLE: Duration = Duration::from_millis(1_000);

/// One fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// kill -9; it is started again.
    Kill(String),
    /// SIGSTOP, then SIGCONT.
    Freeze(String),
    /// Nothing goes through between two nodes.
    Partition(String, String),
    /// Nothing goes through from the first to the second.
    OneWay(String, String),
    /// Everything between two nodes is slow.
    Slow(String, String),
    /// Between two nodes much is lost and sent again.
    Lossy(String, String),
    /// These are stopped with SIGTERM and started again, each after the one before is ready. Clients must see no error of it.
    Restart(Vec<String>),
}

impl Fault {
    /// How long it lasts, ms.
    pub const fn lasts_ms(&self) -> u64 {
        match self {
            Self::Kill(_) => 1_000,
            Self::Restart(_) => 0,
            _ => 3_000,
        }
    }

    /// How long one takes from its begin until everything goes through again, as experience says, ms.
    pub const fn takes_ms(&self) -> u64 {
        match self {
            Self::Kill(_) => 3_000,
            Self::Restart(names) => 4_000 * names.len() as u64,
            Self::Slow(..) | Self::Lossy(..) => 4_500,
            _ => 6_000,
        }
    }

    /// Begins it.
    pub fn begin(&self, cluster: &mut Cluster) {
        let held = Way { held: true, ..Way::default() };
        match self {
            Self::Kill(name) => cluster.node(name).kill9(),
            Self::Freeze(name) => cluster.node(name).signal(Signal::STOP),
            Self::Partition(a, b) => set(cluster, &[(a, b), (b, a)], held),
            Self::OneWay(a, b) => set(cluster, &[(a, b)], held),
            Self::Slow(a, b) => set(cluster, &[(a, b), (b, a)], Way { slow_ms: SLOW_MS, ..Way::default() }),
            Self::Lossy(a, b) => set(cluster, &[(a, b), (b, a)], Way { lossy: true, ..Way::default() }),
            Self::Restart(names) => cluster.node(&names[0]).terminate(),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// A node cannot be started, or did not stop with success.
    pub fn end(&self, cluster: &mut Cluster) -> Result<Ended, ClusterError> {
        let mut ended = Ended { at_ns: SystemClock.now().mono_ns, drained_ms: None };
        match self {
            Self::Restart(names) => {
                for (turn, name) in names.iter().enumerate() {
                    if turn > 0 {
                        cluster.wait_ready()?;
                        std::thread::sleep(SETTLE);
                        ended.at_ns = SystemClock.now().mono_ns;
                        cluster.node(name).terminate();
                    }
                    let told_ns = ended.at_ns;
                    cluster.node(name).wait_for_the_end(STOPS_WITHIN_S)?;
                    ended.at_ns = SystemClock.now().mono_ns;
                    let drained_ms = (ended.at_ns - told_ns) / 1_000_000;
                    ended.drained_ms = Some(ended.drained_ms.map_or(drained_ms, |other: u64| other.max(drained_ms)));
                    cluster.node(name).start()?;
                }
            }
            Self::Kill(name) => cluster.node(name).start()?,
            Self::Freeze(name) => cluster.node(name).signal(Signal::CONT),
            Self::Partition(a, b) | Self::OneWay(a, b) | Self::Slow(a, b) | Self::Lossy(a, b) => {
                set(cluster, &[(a, b), (b, a)], Way::default());
            }
        }
        Ok(ended)
    }

    /// Whether clients must not see any error of it.
    pub const fn is_planned(&self) -> bool {
        matches!(self, Self::Restart(_))
    }

    /// Whether it can be while the other one is: they are not about the same process or the same link.
    pub fn goes_with(&self, other: &Self) -> bool {
        let all = |fault: &Self| matches!(fault, Self::Restart(names) if names.len() > 1);
        !all(self) && !all(other) && self.about() != other.about()
    }

    /// The process, or the two ends of the link in order of names.
    fn about(&self) -> (&str, &str) {
        match self {
            Self::Kill(name) | Self::Freeze(name) => (name, ""),
            Self::Restart(names) => (&names[0], ""),
            Self::Partition(a, b) | Self::OneWay(a, b) | Self::Slow(a, b) | Self::Lossy(a, b) => {
                if a < b {
                    (a, b)
                } else {
                    (b, a)
                }
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(name) => write!(f, "kill -9 {name}"),
            Self::Freeze(name) => write!(f, "SIGSTOP {name}"),
            Self::Partition(a, b) => write!(f, "{a} | {b}"),
            Self::OneWay(a, b) => write!(f, "{a} -| {b}"),
            Self::Slow(a, b) => write!(f, "{a} ~ {b}"),
            Self::Lossy(a, b) => write!(f, "{a} ~ {b} lossy"),
            Self::Restart(names) if names.len() > 1 => write!(f, "restart each in turn"),
            Self::Restart(names) => write!(f, "restart {}", names[0]),
        }
    }
}

fn set(cluster: &Cluster, ways: &[(&String, &String)], way: Way) {
    let relays = cluster.relays().expect("faults are made on a cluster with relays");
    ways.iter().for_each(|(from, to)| relays.set(from, to, way));
}

/// Whether two nodes of these roles speak to each other.
fn linked(a: Role, b: Role) -> bool {
    !(a == b && matches!(a, Role::Gateway))
}

/// When a fault was over, and what is to be told of it.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// ns of the monotonic clock; where nodes were started again, before that.
    pub at_ns: u64,
    /// From SIGTERM to the end of the process, the longest, ms.
    pub drained_ms: Option<u64>,
}

/// Every single fault of a cluster: of each process, then of each link.
pub fn singles(layout: &Layout) -> Vec<Fault> {
    let places = &layout.places;
    let mut all: Vec<Fault> = places.iter().map(|place| Fault::Kill(place.name.clone())).collect();
    all.extend(places.iter().map(|place| Fault::Freeze(place.name.clone())));
    all.extend(places.iter().map(|place| Fault::Restart(vec![place.name.clone()])));
    all.push(Fault::Restart(places.iter().map(|place| place.name.clone()).collect()));
    for (at, one) in places.iter().enumerate() {
        for other in places[at + 1..].iter().filter(|other| linked(one.role, other.role)) {
            let (a, b) = (|| one.name.clone(), || other.name.clone());
            all.push(Fault::Partition(a(), b()));
            all.push(Fault::OneWay(a(), b()));
            all.push(Fault::OneWay(b(), a()));
            all.push(Fault::Slow(a(), b()));
            all.push(Fault::Lossy(a(), b()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::cluster::Shape;

    #[test]
    fn every_process_and_every_link_has_its_faults() {
        let layout = Layout::new(Shape { gateways: 3, routers: 2, writers: 1 }, None).unwrap();
        let all = singles(&layout);
        // 6 processes; gateways with routers 6, gateways with the writer 3, routers with the writer 2 and with each other 1.
        assert_eq!(all.len(), 3 * 6 + 1 + 5 * 12);
        let shown: Vec<String> = all.iter().map(Fault::to_string).collect();
        for fault in [
            "kill -9 gw-3",
            "SIGSTOP sw-1",
            "gw-1 | rt-2",
            "sw-1 -| gw-2",
            "rt-1 -| sw-1",
            "rt-1 ~ rt-2",
            "rt-1 ~ rt-2 lossy",
            "restart sw-1",
        ] {
            assert!(shown.iter().any(|one| one == fault), "{fault} is not in {shown:?}");
        }
        assert!(!shown.iter().any(|one| one == "gw-1 | gw-2"), "gateways do not speak to each other");
    }

    #[test]
    fn two_faults_of_one_link_or_process_do_not_go_together() {
        let (a, b) = ("a".to_owned(), "b".to_owned());
        let link = Fault::Partition(a.clone(), b.clone());
        assert!(!link.goes_with(&Fault::OneWay(b.clone(), a.clone())));
        assert!(!Fault::Kill(a.clone()).goes_with(&Fault::Freeze(a.clone())));
        let each = Fault::Restart(vec![a.clone(), b.clone()]);
        assert!(!link.goes_with(&each) && !each.goes_with(&Fault::Kill(a.clone())));
        assert!(!Fault::Restart(vec![a.clone()]).goes_with(&Fault::Kill(a.clone())));
        assert!(link.goes_with(&Fault::Kill(a)) && link.goes_with(&Fault::Freeze(b)));
    }
}
