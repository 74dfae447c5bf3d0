//! What is done to a cluster, and how it is undone.

use std::fmt;

use crate::process::Signal;
use crate::process::cluster::{Cluster, ClusterError, Layout, Role, Way};

/// How slow a slow link is: every 16 KiB take so long, ms.
const SLOW_MS: u32 = 100;

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
}

impl Fault {
    /// How long it lasts, ms.
    pub const fn lasts_ms(&self) -> u64 {
        match self {
            Self::Kill(_) => 1_000,
            _ => 3_000,
        }
    }

    /// Begins it.
    pub fn begin(&self, cluster: &mut Cluster) {
        let hold = |held, slow_ms| Way { held, slow_ms };
        match self {
            Self::Kill(name) => cluster.node(name).kill9(),
            Self::Freeze(name) => cluster.node(name).signal(Signal::STOP),
            Self::Partition(a, b) => set(cluster, &[(a, b), (b, a)], hold(true, 0)),
            Self::OneWay(a, b) => set(cluster, &[(a, b)], hold(true, 0)),
            Self::Slow(a, b) => set(cluster, &[(a, b), (b, a)], hold(false, SLOW_MS)),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// A killed node cannot be started.
    pub fn end(&self, cluster: &mut Cluster) -> Result<(), ClusterError> {
        match self {
            Self::Kill(name) => cluster.node(name).start()?,
            Self::Freeze(name) => cluster.node(name).signal(Signal::CONT),
            Self::Partition(a, b) | Self::OneWay(a, b) | Self::Slow(a, b) => {
                set(cluster, &[(a, b), (b, a)], Way::default());
            }
        }
        Ok(())
    }

    /// Whether it can be while the other one is: they are not about the same process or the same link.
    pub fn goes_with(&self, other: &Self) -> bool {
        self.about() != other.about()
    }

    /// The process, or the two ends of the link in order of names.
    fn about(&self) -> (&str, &str) {
        match self {
            Self::Kill(name) | Self::Freeze(name) => (name, ""),
            Self::Partition(a, b) | Self::OneWay(a, b) | Self::Slow(a, b) if a < b => (a, b),
            Self::Partition(a, b) | Self::OneWay(a, b) | Self::Slow(a, b) => (b, a),
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

/// Every single fault of a cluster: of each process, then of each link.
pub fn singles(layout: &Layout) -> Vec<Fault> {
    let places = &layout.places;
    let mut all: Vec<Fault> = places.iter().map(|place| Fault::Kill(place.name.clone())).collect();
    all.extend(places.iter().map(|place| Fault::Freeze(place.name.clone())));
    for (at, one) in places.iter().enumerate() {
        for other in places[at + 1..].iter().filter(|other| linked(one.role, other.role)) {
            let (a, b) = (|| one.name.clone(), || other.name.clone());
            all.push(Fault::Partition(a(), b()));
            all.push(Fault::OneWay(a(), b()));
            all.push(Fault::OneWay(b(), a()));
            all.push(Fault::Slow(a(), b()));
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
        assert_eq!(all.len(), 2 * 6 + 4 * 12);
        let shown: Vec<String> = all.iter().map(Fault::to_string).collect();
        for fault in ["kill -9 gw-3", "SIGSTOP sw-1", "gw-1 | rt-2", "sw-1 -| gw-2", "rt-1 -| sw-1", "rt-1 ~ rt-2"] {
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
        assert!(link.goes_with(&Fault::Kill(a)) && link.goes_with(&Fault::Freeze(b)));
    }
}
