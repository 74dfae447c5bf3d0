//! A cluster: gateways, routers and writers as processes of one folder, started, killed, frozen and ended as one says.
//!
//! Every address is chosen before anything starts, for all nodes must know all links, and a node that comes back must be found
//! where it was. No process outlives its [`Cluster`]: each is started by way of [`become_server`], which ties it to the thread
//! that started it. What goes wrong is an error that says which node, and what it wrote last.

mod error;
mod guard;
mod hosts;
mod layout;
mod node;
mod relays;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use error::ClusterError;
pub use guard::become_server;
pub use hosts::{Hosts, Spot};
pub use layout::{Layout, Place, Role, Shape};
pub use node::Node;
pub use relays::{Relays, Way};

use super::{Deadline, binary};

/// A start, or a start again, is given up after so long, s.
pub const READY_WITHIN_S: u64 = 60;
/// A node that has not ended so long after SIGTERM is killed, s.
const STOP_WITHIN_S: u64 = 20;

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many of what.
    pub shape: Shape,
    /// Where secrets, configuration, data and logs are; made if it is not there.
    pub folder: PathBuf,
    /// The `shardwire` program.
    pub program: PathBuf,
    /// The program whose `become-server PARENT -- PROGRAM…` starts nodes tied to this process.
    pub guard: PathBuf,
    /// Ports are taken from here on, in order; free ones anywhere when absent.
    pub first_port: Option<u16>,
    /// Every link goes through a relay, which can be told to misbehave.
    pub relays: bool,
    /// Each node has one of these hosts, from the first one on, in the order of [`Cluster::nodes`], and ports as they come; all
    /// are on this host when absent.
    pub hosts: Option<Arc<Hosts>>,
    /// More lines of the configuration file.
    pub config: String,
}

impl Options {
    /// A test's: the built programs, free ports, no relays, a small journal.
    ///
    /// # Panics
    /// When a program is missing.
    pub fn of_test(shape: Shape, folder: &Path) -> Self {
        Self {
            shape,
            folder: folder.to_owned(),
            program: binary("shardwire"),
            guard: binary("loadgen"),
            first_port: None,
            relays: false,
            hosts: None,
            config: SMALL_JOURNAL.to_owned(),
        }
    }
}

/// Lines of a configuration whose segments are quickly made.
pub const SMALL_JOURNAL: &str = "[storage]\njournal_segment_bytes = 4194304\n";

/// A running cluster. Dropping it kills every process.
pub struct Cluster {
    layout: Layout,
    nodes: Vec<Node>,
    relays: Option<Relays>,
    /// After the nodes: they run there.
    hosts: Option<Arc<Hosts>>,
}

impl Cluster {
    /// Writes the folder; starts nothing but the relays.
    ///
    /// # Errors
    /// The folder cannot be written, a port is taken.
    pub fn new(options: &Options) -> Result<Self, ClusterError> {
        let hosts = options.hosts.clone();
        let layout = match &hosts {
            Some(hosts) => Layout::on_hosts(options.shape, |number| hosts.address(number)),
            None => Layout::new(options.shape, options.first_port)?,
        };
        layout.write(&options.folder, &options.config)?;
        let own = hosts.as_ref().map_or(Ipv4Addr::LOCALHOST, |hosts| hosts.own_address());
        let relays = match options.relays {
            true => Some(Relays::start(own, &layout.links()).map_err(ClusterError::Relays)?),
            false => None,
        };
        let mut nodes = Vec::new();
        for (number, place) in (0..).zip(&layout.places) {
            let list = layout.list(|other| match &relays {
                Some(relays) if other.name != place.name => relays.address(&place.name, &other.name),
                _ => other.link,
            });
            let spot = hosts.as_ref().map_or_else(|| Spot::loopback(0), |hosts| hosts.spot(number));
            nodes.push(Node::new(place.clone(), options, &list)?.at(spot));
        }
        Ok(Self { layout, nodes, relays, hosts })
    }

    /// As [`Self::new`], each node on a host of its own.
    ///
    /// # Errors
    /// As [`Self::new`], or this host does not let this process make network namespaces.
    pub fn on_hosts(options: &Options) -> Result<Self, ClusterError> {
        let hosts = Hosts::new(options.shape.nodes())?;
        Self::new(&Options { hosts: Some(Arc::new(hosts)), ..options.clone() })
    }

    /// From now on every packet from one node's host to another's vanishes.
    ///
    /// # Errors
    /// It cannot be done.
    ///
    /// # Panics
    /// When the nodes have no hosts of their own, or one of the two is no node.
    pub fn cut(&self, from: &str, to: &str) -> Result<(), ClusterError> {
        self.on_host(|hosts| hosts.cut(self.number(from), self.number(to)))
    }

    /// Ends what [`Self::cut`] began.
    ///
    /// # Errors
    /// It cannot be done, or was not.
    ///
    /// # Panics
    /// As [`Self::cut`].
    pub fn mend(&self, from: &str, to: &str) -> Result<(), ClusterError> {
        self.on_host(|hosts| hosts.mend(self.number(from), self.number(to)))
    }

    fn on_host<T>(&self, act: impl FnOnce(&Hosts) -> T) -> T {
        act(self.hosts.as_deref().expect("nodes with hosts of their own"))
    }

    fn number(&self, name: &str) -> u8 {
        let number = self.nodes.iter().position(|node| node.place().name == name);
        number.unwrap_or_else(|| panic!("there is no node {name}")) as u8
    }

    /// Makes the tables of the store that the configuration names.
    ///
    /// # Errors
    /// What `shardwire migrate` says.
    pub fn migrate(&self) -> Result<(), ClusterError> {
        self.nodes[0].migrate()
    }

    /// The list of nodes, as the first one reads it.
    pub fn list(&self) -> &Path {
        self.nodes[0].list()
    }

    /// Starts every node and waits until all are ready.
    ///
    /// # Errors
    /// One ended, or is not ready within [`READY_WITHIN_S`].
    pub fn start(&mut self) -> Result<(), ClusterError> {
        self.start_until(&AtomicBool::new(false)).map(drop)
    }

    /// As [`Self::start`], but no longer than until `told` is set: whether all are ready.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_until(&mut self, told: &AtomicBool) -> Result<bool, ClusterError> {
        for node in &mut self.nodes {
            node.start()?;
        }
        self.wait_until(told)
    }

    /// Waits until `/readyz` of every node says 200.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn wait_ready(&mut self) -> Result<(), ClusterError> {
        self.wait_until(&AtomicBool::new(false)).map(drop)
    }

    fn wait_until(&mut self, told: &AtomicBool) -> Result<bool, ClusterError> {
        let deadline = Deadline::after_s(READY_WITHIN_S);
        let mut ready = vec![false; self.nodes.len()];
        loop {
            for (node, ready) in self.nodes.iter_mut().zip(&mut ready) {
                node.check()?;
                *ready = *ready || node.is_ready();
            }
            if ready.iter().all(|ready| *ready) || told.load(Ordering::Acquire) {
                return Ok(!told.load(Ordering::Acquire));
            }
            if deadline.has_passed() {
                let missing = self.nodes.iter().zip(&ready).filter(|(_, ready)| !**ready);
                return Err(ClusterError::NotReady {
                    within_s: READY_WITHIN_S,
                    said: missing.map(|(node, _)| node.what_it_says()).collect::<Vec<_>>().join("\n"),
                });
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Whether every node that was started still runs.
    ///
    /// # Errors
    /// Which one ended by itself, how, and what it wrote last.
    pub fn check(&mut self) -> Result<(), ClusterError> {
        self.nodes.iter_mut().try_for_each(Node::check)
    }

    /// All nodes, gateways first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node by its name.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn node(&mut self, name: &str) -> &mut Node {
        let node = self.nodes.iter_mut().find(|node| node.place().name == name);
        node.unwrap_or_else(|| panic!("there is no node {name}"))
    }

    /// Where native clients connect, in the order of the gateways.
    pub fn natives(&self) -> Vec<SocketAddr> {
        self.layout.places.iter().filter_map(|place| place.native).collect()
    }

    /// Where WebSocket clients connect, in the order of the gateways.
    pub fn websockets(&self) -> Vec<SocketAddr> {
        self.layout.places.iter().filter_map(|place| place.ws).collect()
    }

    /// Where REST is asked, in the order of the gateways.
    pub fn rest(&self) -> Vec<SocketAddr> {
        self.layout.places.iter().filter(|place| place.role.has_clients()).map(|place| place.http).collect()
    }

    /// The relays, where links go through them.
    pub const fn relays(&self) -> Option<&Relays> {
        self.relays.as_ref()
    }

    /// The configuration, with which `shardwire token` makes tokens.
    pub fn config_file(&self) -> PathBuf {
        self.nodes[0].folder().join(layout::CONFIG_FILE)
    }

    /// The secret that signs tokens.
    pub fn token_key(&self) -> PathBuf {
        self.nodes[0].folder().join(layout::TOKEN_KEY_FILE)
    }

    /// A token, by `shardwire token`.
    ///
    /// # Errors
    /// It made none.
    pub fn token(&self, user: u64, device: u32) -> Result<String, ClusterError> {
        self.nodes[0].token(&self.config_file(), user, device)
    }

    /// Ends all with SIGTERM: gateways, then routers, then writers.
    ///
    /// # Errors
    /// One did not end in time (it was killed) or not with success.
    pub fn stop(&mut self) -> Result<(), ClusterError> {
        let mut result = Ok(());
        for role in [Role::Gateway, Role::GatewayRouter, Role::Router, Role::Writer] {
            let mut asked: Vec<&mut Node> = self.nodes.iter_mut().filter(|node| node.place().role == role).collect();
            asked.iter_mut().for_each(|node| node.terminate());
            for node in asked {
                let ended = node.wait_for_the_end(STOP_WITHIN_S);
                result = result.and(ended);
            }
        }
        result
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.nodes[0].folder()
    }
}
