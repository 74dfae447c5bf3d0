//! Real Cassandra nodes as child processes, on 127.0.0.1, 127.0.0.2 and so on, or on hosts of their own; one port for all of them.
//!
//! The jars come from `SHARDWIRE_CASSANDRA`, which `cargo xtask test --only engines` fetches and names. No node outlives the
//! process that started it: each is tied to a thread that lives as long as its cluster. What a killed test leaves in the
//! temporary folder is removed by the next start.

mod node;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tempfile::TempDir;

use super::Deadline;
use super::cluster::Spot;
use node::Node;

pub use rustix::process::Signal;

/// How long all nodes may take to start, s: a busy machine of two cores needs 35 for one.
const PATIENCE_S: u64 = 180;
const PREFIX: &str = "shardwire-cassandra-";

/// What all nodes share.
#[derive(Clone, Copy)]
struct Ports {
    cql: u16,
    storage: u16,
    storage_tls: u16,
}

/// Some nodes of one datacenter, `datacenter1`. Dropping it ends them, and removes what they stored.
pub struct CassandraCluster {
    nodes: Vec<Node>,
    _folder: TempDir,
}

impl CassandraCluster {
    /// Starts `nodes` nodes on this host and waits until all of them take clients, and each knows of all others.
    ///
    /// # Panics
    /// When they do not, with the end of the log of each that failed.
    pub fn start(nodes: u8) -> Self {
        Self::start_on(&(0..nodes).map(Spot::loopback).collect::<Vec<_>>())
    }

    /// As [`Self::start`], one node on each of these.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_on(spots: &[Spot]) -> Self {
        sweep();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().expect("a temporary folder");
        let ports = if spots.iter().all(Spot::is_here) { free_ports(spots) } else { Ports::usual() };
        let make = |number| Node::new(folder.path(), number, spots, &ports);
        let mut cluster = Self { nodes: (0..spots.len()).map(make).collect(), _folder: folder };
        // The first one is whom the others ask who is there: on a busy machine they would give up before it answers.
        let (first, others) = cluster.nodes.split_at_mut(1);
        for nodes in [first, others] {
            nodes.iter_mut().for_each(Node::start);
            nodes.iter_mut().for_each(|node| node.wait_until_ready(Deadline::after_s(PATIENCE_S)));
        }
        for node in &cluster.nodes {
            node.wait_until_it_knows(spots, Deadline::after_s(PATIENCE_S));
        }
        cluster
    }

    /// One node for all tests of a program, started by the first that asks.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<CassandraCluster> = LazyLock::new(|| CassandraCluster::start(1));
        &SHARED
    }

    /// Where clients connect.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::address).collect()
    }

    /// A node's process, while it runs.
    pub fn pid(&self, node: usize) -> Option<u32> {
        self.nodes[node].pid()
    }

    /// A node that was started and has ended by itself: its number, and the end of its log.
    pub fn ended(&mut self) -> Option<(usize, String)> {
        let ended = self.nodes.iter_mut().position(Node::has_ended)?;
        Some((ended, self.nodes[ended].log_end()))
    }

    /// The same as a TOML list of texts.
    pub fn addresses_toml(&self) -> String {
        format!("{:?}", self.addresses().iter().map(SocketAddr::to_string).collect::<Vec<_>>())
    }

    /// Lines of a configuration whose writers share a keyspace of these nodes.
    pub fn shared_store(&self, keyspace: &str) -> String {
        let (nodes, copies) = (self.addresses_toml(), self.nodes.len().min(3));
        format!(
            "[store]\nengine = \"scylla\"\nack = \"store\"\nnodes = {nodes}\nkeyspace = \"{keyspace}\"\n\
             replication = {{ datacenter1 = {copies} }}\n"
        )
    }

    /// The processes of the nodes that run.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(Node::pid).collect()
    }

    /// Sends a node a signal: STOP and CONT freeze it and let it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, node: usize, signal: Signal) {
        self.nodes[node].signal(signal);
    }

    /// Ends a node with SIGTERM, which drains it, and waits.
    ///
    /// # Panics
    /// When it does not end within a minute.
    pub fn stop(&mut self, node: usize) {
        self.nodes[node].stop();
    }

    /// Ends a node at once.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Starts a node that has ended on what it stored, and waits until it takes clients.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_again(&mut self, node: usize) {
        self.nodes[node].start();
        self.nodes[node].wait_until_ready(Deadline::after_s(PATIENCE_S));
    }
}

impl Ports {
    /// Where a host has one node and nothing else.
    const fn usual() -> Self {
        Self { cql: 9_042, storage: 7_000, storage_tls: 7_001 }
    }
}

/// Three ports that are free on all addresses. They are held while they are looked for, then left to the nodes.
fn free_ports(spots: &[Spot]) -> Ports {
    let mut held = Vec::new();
    let mut port = || {
        for _ in 0..100 {
            let first = TcpListener::bind((spots[0].address, 0)).expect("loopback has a free port");
            let port = first.local_addr().expect("a bound address").port();
            let others = spots[1..].iter().map(|spot| TcpListener::bind((spot.address, port)));
            let Ok(others) = others.collect::<Result<Vec<_>, _>>() else { continue };
            held.push((first, others));
            return port;
        }
        panic!("no port is free on all of {spots:?}");
    };
    Ports { cql: port(), storage: port(), storage_tls: port() }
}

/// Removes what programs left that were killed.
fn sweep() {
    let Ok(found) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for path in found.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

/// The folder of Cassandra's jars.
fn jars() -> PathBuf {
    let folder = std::env::var_os("SHARDWIRE_CASSANDRA");
    folder
        .expect("SHARDWIRE_CASSANDRA is not set; `cargo xtask test --only engines` fetches Cassandra and names it")
        .into()
}
