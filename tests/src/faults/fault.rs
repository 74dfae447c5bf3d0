//! What is done to a cluster and what is below it, and how it is undone.

use std::fmt;
use std::time::Duration;

use fabric::time::{Clock as _, SystemClock};

use super::world::World;
use crate::process::Signal;
use crate::process::cluster::{ClusterError, Layout, Place, Role, Way};
use crate::process::engines::{Directory, EngineShape};

/// How slow a slow link is: every 16 KiB take so long, ms.
const SLOW_MS: u32 = 100;

/// A node that was told to stop must have ended with success within, s.
pub(super) const STOPS_WITHIN_S: u64 = 30;
/// Between a node that is ready again and the next one: clients that were told to go there may be on their way.
const SETTLE: Duration = Duration::from_millis(1_000);
/// Longer than a writer's lease and the margin after which others take over what it holds, and than it takes nodes of an engine
/// to give one of them up, ms.
const LONG_MS: u64 = 10_000;
/// How far clocks jump, s: less and more than a writer follows without refusing anything (10 s).
const JUMPS_S: [i64; 3] = [5, 30, -30];

/// One fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// kill -9; it is started again.
    Kill(String),
    /// SIGSTOP, then SIGCONT.
    Freeze(String),
    /// The same, for longer than its lease lasts.
    Outlast(String),
    /// Nothing goes through between two nodes.
    Partition(String, String),
    /// Nothing goes through from the first to the second.
    OneWay(String, String),
    /// Everything between two nodes is slow.
    Slow(String, String),
    /// Between two nodes much is lost and sent again.
    Lossy(String, String),
    /// Packets between the first and each of the others vanish.
    Apart(String, Others),
    /// Its wall clock jumps by so many seconds, and back.
    Clock(String, i64),
    /// These are stopped with SIGTERM and started again, each after the one before is ready. Clients must see no error of it.
    Restart(Vec<String>),
}

/// Whom a process is cut off from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Others {
    /// Their names.
    pub names: Vec<String>,
    /// What they are called together.
    pub shown: String,
}

impl Fault {
    /// How long it lasts, ms.
    pub fn lasts_ms(&self) -> u64 {
        match self {
            Self::Freeze(name) if is_cassandra(name) => LONG_MS,
            Self::Kill(_) => 1_000,
            Self::Restart(_) => 0,
            Self::Outlast(_) | Self::Apart(..) => LONG_MS,
            _ => 3_000,
        }
    }

    /// How long one takes from its begin until everything goes through again, as experience says, ms.
    pub fn takes_ms(&self) -> u64 {
        match self {
            Self::Kill(name) if is_cassandra(name) => 25_000,
            Self::Freeze(name) if is_cassandra(name) => LONG_MS + 3_000,
            Self::Kill(_) => 3_000,
            Self::Restart(names) => 4_000 * names.len() as u64,
            Self::Slow(..) | Self::Lossy(..) => 4_500,
            Self::Outlast(_) | Self::Apart(..) => LONG_MS + 3_000,
            Self::Clock(_, by_s) => 6_000 + by_s.unsigned_abs() * 500,
            _ => 6_000,
        }
    }

    /// Makes the processes concerned what it needs, before any load: a writer whose clock jumps runs under `faketime`.
    ///
    /// # Errors
    /// A node cannot be started again.
    pub fn prepare(&self, world: &mut World) -> Result<(), ClusterError> {
        match self {
            Self::Clock(name, _) => world.fake_clock(name),
            Self::Kill(name) | Self::Freeze(name) if is_redis(name) => {
                world.engines.promote(name);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Begins it.
    ///
    /// # Errors
    /// It cannot be done.
    pub fn begin(&self, world: &mut World) -> Result<(), ClusterError> {
        let held = Way { held: true, ..Way::default() };
        match self {
            Self::Kill(name) => world.kill(name),
            Self::Freeze(name) | Self::Outlast(name) => world.signal(name, Signal::STOP),
            Self::Partition(a, b) => set(world, &[(a, b), (b, a)], held),
            Self::OneWay(a, b) => set(world, &[(a, b)], held),
            Self::Slow(a, b) => set(world, &[(a, b), (b, a)], Way { slow_ms: SLOW_MS, ..Way::default() }),
            Self::Lossy(a, b) => set(world, &[(a, b), (b, a)], Way { lossy: true, ..Way::default() }),
            Self::Apart(name, others) => world.cut(name, &others.names)?,
            Self::Clock(name, by_s) => world.set_clock(name, *by_s)?,
            Self::Restart(names) => world.cluster.node(&names[0]).terminate(),
        }
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// A node cannot be started, or did not stop with success.
    pub fn end(&self, world: &mut World) -> Result<Ended, ClusterError> {
        let mut ended = Ended { at_ns: SystemClock.now().mono_ns, drained_ms: None };
        match self {
            Self::Restart(names) => {
                for (turn, name) in names.iter().enumerate() {
                    if turn > 0 {
                        world.cluster.wait_ready()?;
                        std::thread::sleep(SETTLE);
                        ended.at_ns = SystemClock.now().mono_ns;
                        world.cluster.node(name).terminate();
                    }
                    let told_ns = ended.at_ns;
                    world.cluster.node(name).wait_for_the_end(STOPS_WITHIN_S)?;
                    ended.at_ns = SystemClock.now().mono_ns;
                    let drained_ms = (ended.at_ns - told_ns) / 1_000_000;
                    ended.drained_ms = Some(ended.drained_ms.map_or(drained_ms, |other: u64| other.max(drained_ms)));
                    world.cluster.node(name).start()?;
                }
            }
            Self::Kill(name) => world.start_again(name)?,
            Self::Freeze(name) | Self::Outlast(name) => world.signal(name, Signal::CONT),
            Self::Partition(a, b) | Self::OneWay(a, b) | Self::Slow(a, b) | Self::Lossy(a, b) => {
                set(world, &[(a, b), (b, a)], Way::default());
            }
            Self::Apart(name, others) => world.mend(name, &others.names)?,
            Self::Clock(name, _) => world.set_clock(name, 0)?,
        }
        Ok(ended)
    }

    /// Whether clients must not see any error of it: it was in order, or about the directory's copy, which nothing waits for.
    pub fn is_unseen(&self) -> bool {
        match self {
            Self::Restart(_) => true,
            Self::Kill(name) | Self::Freeze(name) => is_redis(name),
            Self::Apart(_, others) => others.names.iter().all(|name| is_redis(name)),
            _ => false,
        }
    }

    /// Whether clients of every kind are to be there.
    pub const fn wants_every_kind(&self) -> bool {
        matches!(self, Self::Restart(_))
    }

    /// Whose clock it fakes.
    pub fn clock_of(&self) -> Option<&str> {
        match self {
            Self::Clock(name, _) => Some(name),
            _ => None,
        }
    }

    /// Whether it can be while the other one is: they are not about the same process or the same link.
    pub fn goes_with(&self, other: &Self) -> bool {
        let all = |fault: &Self| matches!(fault, Self::Restart(names) if names.len() > 1);
        // Of three nodes that keep messages, or of the copy's, one may be missed.
        let both_of_one = self.engine().is_some() && self.engine() == other.engine();
        !all(self) && !all(other) && !both_of_one && self.about() != other.about()
    }

    /// Which engine it takes something from, or takes somebody from.
    fn engine(&self) -> Option<&str> {
        match self {
            Self::Kill(name) | Self::Freeze(name) if is_engine(name) => Some(role(name)),
            Self::Apart(name, _) if is_engine(name) => Some(role(name)),
            Self::Apart(_, others) => others.names.first().map(|name| role(name)),
            _ => None,
        }
    }

    /// The process, or the two ends of the link in order of names.
    fn about(&self) -> (&str, &str) {
        match self {
            Self::Kill(name) | Self::Freeze(name) | Self::Outlast(name) | Self::Clock(name, _) => (name, ""),
            Self::Restart(names) => (&names[0], ""),
            Self::Apart(name, others) => (name, &others.shown),
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
            Self::Outlast(name) => write!(f, "SIGSTOP {name} past its lease"),
            Self::Partition(a, b) => write!(f, "{a} | {b}"),
            Self::OneWay(a, b) => write!(f, "{a} -| {b}"),
            Self::Slow(a, b) => write!(f, "{a} ~ {b}"),
            Self::Lossy(a, b) => write!(f, "{a} ~ {b} lossy"),
            Self::Apart(name, others) => write!(f, "{name} | {}", others.shown),
            Self::Clock(name, by_s) => write!(f, "clock of {name} {by_s:+} s"),
            Self::Restart(names) if names.len() > 1 => write!(f, "restart each in turn"),
            Self::Restart(names) => write!(f, "restart {}", names[0]),
        }
    }
}

fn set(world: &World, ways: &[(&String, &String)], way: Way) {
    let relays = world.cluster.relays().expect("faults are made on a cluster with relays");
    ways.iter().for_each(|(from, to)| relays.set(from, to, way));
}

/// What stands before the number of a process's name.
pub(super) fn role(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

fn is_cassandra(name: &str) -> bool {
    role(name) == "cassandra"
}

fn is_redis(name: &str) -> bool {
    role(name) == "redis"
}

pub(super) fn is_engine(name: &str) -> bool {
    is_cassandra(name) || is_redis(name)
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

/// Every single fault of a cluster and what is below it: of each process, then of each link.
pub fn singles(layout: &Layout, engines: EngineShape) -> Vec<Fault> {
    let places = &layout.places;
    let mut all: Vec<Fault> = places.iter().map(|place| Fault::Kill(place.name.clone())).collect();
    all.extend(places.iter().map(|place| Fault::Freeze(place.name.clone())));
    all.extend(places.iter().map(|place| Fault::Restart(vec![place.name.clone()])));
    all.push(Fault::Restart(places.iter().map(|place| place.name.clone()).collect()));
    all.extend(of_engines(places, engines));
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

/// Faults of the engines' processes, between them and the cluster's, and of writers that share a store.
fn of_engines(places: &[Place], engines: EngineShape) -> Vec<Fault> {
    let (cassandra, redis) = (engines.cassandra_names(), engines.redis_names());
    let names = |wanted: fn(Role) -> bool| {
        places.iter().filter(move |place| wanted(place.role)).map(|place| place.name.clone()).collect::<Vec<_>>()
    };
    let apart = |name: &String, others: &[String], shown: &str| {
        Fault::Apart(name.clone(), Others { names: others.to_vec(), shown: shown.to_owned() })
    };
    let everybody: Vec<String> = places.iter().map(|place| place.name.clone()).chain(cassandra.clone()).collect();
    let mut all = Vec::new();
    all.extend(cassandra.iter().map(|name| Fault::Kill(name.clone())));
    all.extend(cassandra.iter().map(|name| Fault::Freeze(name.clone())));
    for name in &cassandra {
        let others: Vec<String> = everybody.iter().filter(|other| *other != name).cloned().collect();
        all.push(apart(name, &others, "everybody"));
    }
    if !cassandra.is_empty() {
        for writer in names(|role| role == Role::Writer) {
            all.push(Fault::Outlast(writer.clone()));
            all.extend(JUMPS_S.map(|by_s| Fault::Clock(writer.clone(), by_s)));
            if cassandra.len() > 1 {
                all.extend(cassandra.iter().map(|name| apart(&writer, core::slice::from_ref(name), name)));
            }
            all.push(apart(&writer, &cassandra, "cassandra"));
        }
    }
    // Of a cluster: the primary with a replica, and one without.
    let primaries = if engines.directory == Directory::RedisCluster { 2 } else { redis.len() };
    all.extend(redis.iter().take(primaries).map(|name| Fault::Kill(name.clone())));
    all.extend(redis.iter().take(primaries).map(|name| Fault::Freeze(name.clone())));
    if !redis.is_empty() {
        let routers = names(|role| matches!(role, Role::Router | Role::GatewayRouter));
        all.extend(routers.iter().map(|router| apart(router, &redis, "redis")));
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
        let all = singles(&layout, EngineShape::NONE);
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
    fn every_engine_and_every_way_to_one_has_its_faults() {
        let layout = Layout::new(Shape { gateways: 2, routers: 2, writers: 2 }, None).unwrap();
        let bare = singles(&layout, EngineShape::NONE).len();
        let engines = EngineShape { cassandra: 3, directory: Directory::RedisCluster };
        let all = singles(&layout, engines);
        // Three faults of each Cassandra node, eight of each writer, two of each of two primaries, and each router's.
        assert_eq!(all.len() - bare, 3 * 3 + 2 * 8 + 2 * 2 + 2);
        let shown: Vec<String> = all.iter().map(Fault::to_string).collect();
        for fault in [
            "kill -9 cassandra-2",
            "cassandra-1 | everybody",
            "sw-2 | cassandra-3",
            "sw-1 | cassandra",
            "SIGSTOP sw-1 past its lease",
            "clock of sw-2 -30 s",
            "SIGSTOP redis-2",
            "rt-1 | redis",
        ] {
            assert!(shown.iter().any(|one| one == fault), "{fault} is not in {shown:?}");
        }
        let named = |name: &str| all.iter().find(|fault| fault.to_string() == name).unwrap();
        assert!(named("kill -9 redis-1").is_unseen() && named("rt-2 | redis").is_unseen());
        assert!(!named("kill -9 cassandra-1").is_unseen() && !named("sw-1 | cassandra").is_unseen());
        assert!(!named("kill -9 cassandra-1").goes_with(named("sw-1 | cassandra-2")), "a quorum stays");
        assert!(named("kill -9 cassandra-1").goes_with(named("kill -9 redis-2")));
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
