//! The engines below a cluster: Cassandra nodes that keep its messages, Redis servers that keep a copy of its directory. Each
//! process has a name, `cassandra-1`, `redis-1` and so on.
//!
//! They run on this host, or each on a host of its own. Of a Redis Cluster the first three servers are the primaries; the
//! fourth is the replica of the first, so that one primary has somebody to take over and the others have not.

use std::net::SocketAddr;

use clap::ValueEnum;

use super::cluster::{Hosts, Spot};
use super::{CassandraCluster, Deadline, Redis, Signal};

/// Servers of a Redis Cluster.
const CLUSTERED: u8 = 4;
/// A Redis Cluster is whole again within, s.
const WHOLE_WITHIN_S: u64 = 30;
const CASSANDRA: &str = "cassandra";
const REDIS: &str = "redis";

/// Where routers keep a copy of the directory. On the command line: `memory`, `redis`, `redis-cluster`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Directory {
    /// Nowhere.
    Memory,
    /// In one Redis.
    Redis,
    /// In a Redis Cluster.
    RedisCluster,
}

impl Directory {
    /// Servers.
    pub const fn servers(self) -> u8 {
        match self {
            Self::Memory => 0,
            Self::Redis => 1,
            Self::RedisCluster => CLUSTERED,
        }
    }
}

/// How many of what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EngineShape {
    /// Nodes of Cassandra, 0 to 3; 0 = messages are kept elsewhere.
    pub cassandra: u8,
    /// Servers of Redis.
    pub directory: Directory,
}

impl EngineShape {
    /// Nothing besides the cluster itself.
    pub const NONE: Self = Self { cassandra: 0, directory: Directory::Memory };

    /// Processes.
    pub const fn processes(self) -> u8 {
        self.cassandra + self.directory.servers()
    }

    /// Names of the Cassandra nodes.
    pub fn cassandra_names(self) -> Vec<String> {
        (1..=self.cassandra).map(|number| format!("{CASSANDRA}-{number}")).collect()
    }

    /// Names of the Redis servers.
    pub fn redis_names(self) -> Vec<String> {
        (1..=self.directory.servers()).map(|number| format!("{REDIS}-{number}")).collect()
    }
}

/// One process of an engine.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// `cassandra` or `redis`.
    pub role: &'static str,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// Where clients connect.
    pub address: SocketAddr,
}

/// Running engines. Dropping them ends all processes and removes what they stored.
pub struct Engines {
    shape: EngineShape,
    cassandra: Option<CassandraCluster>,
    redis: Option<Redis>,
}

impl Engines {
    /// Starts them and waits until all serve: on this host, or on these from `first` on, Cassandra's nodes first.
    ///
    /// # Panics
    /// When one does not, with its log.
    pub fn start(shape: EngineShape, hosts: Option<(&Hosts, u8)>) -> Self {
        let spots = |from: u8, count: u8| -> Vec<Spot> {
            match hosts {
                Some((hosts, first)) => (first + from..first + from + count).map(|number| hosts.spot(number)).collect(),
                None => (0..count).map(Spot::loopback).collect(),
            }
        };
        // Every server has a port of its own on this host.
        let redis_spots = |count| match hosts {
            Some(_) => spots(shape.cassandra, count),
            None => vec![Spot::loopback(0); usize::from(count)],
        };
        let redis = match shape.directory {
            Directory::Memory => None,
            Directory::Redis => redis_spots(1).pop().map(Redis::single_on),
            Directory::RedisCluster => Some(Redis::cluster_on(redis_spots(CLUSTERED))),
        };
        let cassandra = (shape.cassandra > 0).then(|| CassandraCluster::start_on(&spots(0, shape.cassandra)));
        Self { shape, cassandra, redis }
    }

    /// Lines of a configuration that uses them.
    pub fn config(&self, keyspace: &str) -> String {
        let store = self.cassandra.as_ref().map(|cassandra| cassandra.shared_store(keyspace)).unwrap_or_default();
        store + &self.redis.as_ref().map(Redis::config).unwrap_or_default()
    }

    /// Whether messages are kept there: then their tables are to be made.
    pub const fn keep_messages(&self) -> bool {
        self.cassandra.is_some()
    }

    /// How many of what.
    pub const fn shape(&self) -> EngineShape {
        self.shape
    }

    /// Every process, Cassandra's nodes first.
    pub fn processes(&self) -> Vec<Process> {
        let mut all = Vec::new();
        if let Some(cassandra) = &self.cassandra {
            for (node, (name, address)) in
                self.shape.cassandra_names().into_iter().zip(cassandra.addresses()).enumerate()
            {
                all.push(Process { name, role: CASSANDRA, pid: cassandra.pid(node), address });
            }
        }
        if let Some(redis) = &self.redis {
            for (node, (name, address)) in self.shape.redis_names().into_iter().zip(redis.addresses()).enumerate() {
                all.push(Process { name, role: REDIS, pid: redis.pid(node), address });
            }
        }
        all
    }

    /// Whether every process that was started still runs.
    ///
    /// # Errors
    /// Which one ended by itself, and what it wrote last.
    pub fn check(&mut self) -> Result<(), String> {
        let ended = |name: &str, ended: Option<(usize, String)>| match ended {
            Some((number, log)) => Err(format!("{name}-{} ended by itself\n{log}", number + 1)),
            None => Ok(()),
        };
        ended(CASSANDRA, self.cassandra.as_mut().and_then(CassandraCluster::ended))?;
        ended(REDIS, self.redis.as_mut().and_then(Redis::ended))
    }

    /// Whether one has this name.
    pub fn has(&self, name: &str) -> bool {
        self.shape.cassandra_names().iter().chain(&self.shape.redis_names()).any(|known| known == name)
    }

    /// Sends one a signal.
    ///
    /// # Panics
    /// When it does not run, or there is none of that name.
    pub fn signal(&self, name: &str, signal: Signal) {
        match self.find(name) {
            Found::Cassandra(node) => self.cassandra().signal(node, signal),
            Found::Redis(node) => self.redis().signal(node, signal),
        }
    }

    /// Ends one at once.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn kill(&mut self, name: &str) {
        match self.find(name) {
            Found::Cassandra(node) => self.cassandra_mut().kill(node),
            Found::Redis(node) => self.redis_mut().kill(node),
        }
    }

    /// Starts one that has ended, on what it stored, and waits until it serves.
    ///
    /// # Panics
    /// When it does not, with its log.
    pub fn start_again(&mut self, name: &str) {
        match self.find(name) {
            Found::Cassandra(node) => self.cassandra_mut().start_again(node),
            Found::Redis(node) => self.redis_mut().start_again(node),
        }
    }

    /// Makes a Redis server a primary of its cluster, where it is in one.
    ///
    /// # Panics
    /// When it does not become one.
    pub fn promote(&self, name: &str) {
        if let (Found::Redis(node), Directory::RedisCluster) = (self.find(name), self.shape.directory) {
            self.redis().promote(node);
        }
    }

    /// Waits until all of Redis is there and nobody is behind.
    ///
    /// # Errors
    /// It is not, within a while.
    pub fn wait_whole(&self) -> Result<(), String> {
        let Some(redis) = self.redis.as_ref().filter(|_| self.shape.directory == Directory::RedisCluster) else {
            return Ok(());
        };
        let whole = Deadline::after_s(WHOLE_WITHIN_S).wait_until(|| redis.is_whole());
        if whole { Ok(()) } else { Err(format!("the Redis Cluster is not whole within {WHOLE_WITHIN_S} s")) }
    }

    fn find(&self, name: &str) -> Found {
        let place = |names: &[String]| names.iter().position(|known| known == name);
        if let Some(node) = place(&self.shape.cassandra_names()) {
            return Found::Cassandra(node);
        }
        let node = place(&self.shape.redis_names());
        Found::Redis(node.unwrap_or_else(|| panic!("there is no engine {name}")))
    }

    fn cassandra(&self) -> &CassandraCluster {
        self.cassandra.as_ref().expect("it has nodes")
    }

    fn cassandra_mut(&mut self) -> &mut CassandraCluster {
        self.cassandra.as_mut().expect("it has nodes")
    }

    fn redis(&self) -> &Redis {
        self.redis.as_ref().expect("it has servers")
    }

    fn redis_mut(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("it has servers")
    }
}

/// Whose, and which of them.
enum Found {
    Cassandra(usize),
    Redis(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_has_a_name_of_its_own() {
        let shape = EngineShape { cassandra: 3, directory: Directory::RedisCluster };
        let names = [shape.cassandra_names(), shape.redis_names()].concat();
        assert_eq!(names.len(), usize::from(shape.processes()));
        assert_eq!((names[0].as_str(), names[6].as_str()), ("cassandra-1", "redis-4"));
        assert_eq!(EngineShape::NONE.processes(), 0);
        let said = |word| Directory::from_str(word, false).ok();
        assert_eq!(said("redis-cluster"), Some(Directory::RedisCluster));
        assert_eq!((said("memory"), said("disk")), (Some(Directory::Memory), None));
    }
}
