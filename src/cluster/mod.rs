//! A cluster as one node sees it: who the others are, what each of them does, and which of them the node may have to reach.
//!
//! What must stay true: every node reads the same list, and the order of the routers in it does not matter; a node starts only
//! where the list gives its name and exactly its roles.

mod list;
mod roster;

use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fabric::link::{LinkRefusal, Peer, RoleError, Roles};
use fabric::net::resolve::Target;

pub use list::Node;
pub use roster::{ROOM_TO_SPARE, Roster};

use crate::config;
use crate::node::NodeInfo;

/// A secret shorter than this is guessed too easily, bytes.
const SECRET_BYTES_MIN: usize = 32;

/// Why a node cannot be part of its cluster. Each says what to do.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ClusterError {
    /// A setting without which there is no cluster.
    #[error("{missing} is not set, but {set} is")]
    #[diagnostic(help(
        "a node of a cluster needs cluster.name, cluster.nodes_file and cluster.secret_file; without any of them one process does it all"
    ))]
    Missing {
        /// What is not.
        missing: &'static str,
        /// What is.
        set: &'static str,
    },
    /// A file that cannot be read.
    #[error("{key} = {path}: {source}", path = path.display())]
    Unreadable {
        /// Its key.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The list is no list.
    #[error("the list of nodes {path} is not valid: {detail}", path = path.display())]
    #[diagnostic(help(
        "each node is a [[node]] with name, roles (gateway, router, storage-writer) and address (host:port of its links)"
    ))]
    InvalidList {
        /// Which file.
        path: PathBuf,
        /// Line and reason.
        detail: String,
    },
    /// The list does not name this node.
    #[error("the list of nodes {path} has no node {name:?}; it has {known}", path = path.display())]
    #[diagnostic(help("set cluster.name (or --name) to one of them, or add the node to the list of every node"))]
    UnknownNode {
        /// Which file.
        path: PathBuf,
        /// As configured.
        name: String,
        /// Those that are there.
        known: String,
    },
    /// Another list came while the node runs, and it says what only a restart can change.
    #[error("the list of nodes {path} is not taken, and the one before stays: {detail}", path = path.display())]
    Unchangeable {
        /// Which file.
        path: PathBuf,
        /// What would change, and what to do.
        detail: String,
    },
    /// This node's own address is a name that leads nowhere.
    #[error("the address of {name}, which is this node, is {address}: {source}")]
    #[diagnostic(help("a node listens where its name leads: give it an address of this host, or a name for one"))]
    NoAddress {
        /// This node.
        name: String,
        /// As in the list.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The list gives this node other roles.
    #[error("{name} was told to be {told}, but the list of nodes {path} says {listed}", path = path.display())]
    #[diagnostic(help("leave --role out, or change one of them: all nodes must agree on who does what"))]
    OtherRoles {
        /// Which file.
        path: PathBuf,
        /// This node.
        name: String,
        /// By --role.
        told: Roles,
        /// By the list.
        listed: Roles,
    },
    /// Several writers, and a store that has one.
    #[error("the list of nodes has several storage-writers, {names}, and the configured store has one")]
    #[diagnostic(help(
        "set store.engine = \"scylla\" and store.ack = \"store\" on every node of the cluster, or leave one storage-writer in the list"
    ))]
    Writers {
        /// Theirs.
        names: String,
    },
    /// Somebody else writes to the keyspace of a process that knows of nobody.
    #[error("{writer} writes to the keyspace of this process, which is in no cluster")]
    #[diagnostic(help(
        "writers that share a keyspace pass sends on to each other: list both in cluster.nodes_file, with cluster.name and cluster.secret_file, or give this one a keyspace of its own"
    ))]
    Stranger {
        /// Its name among the keyspace's writers.
        writer: String,
    },
    /// Only the data folder's development key.
    #[error("no signing key is configured, and a gateway's own development key is no other gateway's")]
    #[diagnostic(help("set auth.* to the same keys on every gateway"))]
    NoKeys,
    /// No node of the cluster links with this one.
    #[error("no node of the cluster takes this one")]
    Refused(#[from] LinkRefusal),
    /// What the node was told to be.
    #[error("cluster.roles: {0}")]
    Roles(#[from] RoleError),
    /// The secret is short.
    #[error("cluster.secret_file = {path}: {bytes} bytes are too few; at least {SECRET_BYTES_MIN} are needed", path = path.display())]
    #[diagnostic(help("make one with `head -c 32 /dev/urandom | base64 > FILE`, and give the same to every node"))]
    ShortSecret {
        /// Which file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
}

/// The cluster, from one node's place in it.
#[derive(Clone)]
pub struct Cluster {
    /// Its name: nodes of another refuse each other.
    pub id: String,
    /// This node.
    pub me: Node,
    /// All the others, in the list's order: their numbers are those of links' peers.
    pub others: Vec<Node>,
    /// What all nodes know, and nobody else.
    pub secret: Arc<[u8]>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, me, others, .. } = self;
        f.debug_struct("Cluster").field("id", id).field("me", me).field("others", others).finish_non_exhaustive()
    }
}

/// All nodes of a list, for who is none of them.
///
/// # Errors
/// [`ClusterError`]: the file.
pub fn nodes_of(path: &Path) -> Result<Vec<Node>, ClusterError> {
    list::nodes(path, &list::read(path)?)
}

impl Cluster {
    /// Reads what the configuration says; `None` when it is about one process. Blocks.
    ///
    /// # Errors
    /// [`ClusterError`] names what was wrong and what to do.
    pub fn load(config: &config::Cluster) -> Result<Option<Self>, ClusterError> {
        let parts = [
            ("cluster.name", config.name.is_some()),
            ("cluster.nodes_file", config.nodes_file.is_some()),
            ("cluster.secret_file", config.secret_file.is_some()),
            ("cluster.roles", !config.roles.is_empty()),
        ];
        let Some(&(set, _)) = parts.iter().find(|(_, is_set)| *is_set) else { return Ok(None) };
        let needs = |missing| ClusterError::Missing { missing, set };
        let name = config.name.as_deref().ok_or_else(|| needs("cluster.name"))?;
        let nodes_file = config.nodes_file.as_deref().ok_or_else(|| needs("cluster.nodes_file"))?;
        let secret_file = config.secret_file.as_deref().ok_or_else(|| needs("cluster.secret_file"))?;
        let (me, others) = list::split(nodes_file, &list::read(nodes_file)?, name)?;
        if !config.roles.is_empty() {
            let told: Roles = config.roles.join(",").parse()?;
            if told != me.roles {
                let (path, name, listed) = (nodes_file.to_owned(), me.name, me.roles);
                return Err(ClusterError::OtherRoles { path, name, told, listed });
            }
        }
        Ok(Some(Self { id: config.id.clone(), me, others, secret: secret(secret_file)? }))
    }

    /// Where this node's links come in. A name is looked up; blocks.
    ///
    /// # Errors
    /// The name leads nowhere.
    pub fn listen(&self) -> Result<SocketAddr, ClusterError> {
        let address = match &self.me.address {
            Target::Address(address) => return Ok(*address),
            Target::Name(address) => address,
        };
        // A name may lead to addresses of a kind that this host has not.
        let is_here = |address: &SocketAddr| UdpSocket::bind((address.ip(), 0)).is_ok();
        let all = address.to_socket_addrs().map(|all| all.filter(is_here));
        let found = all.and_then(|mut all| all.next().ok_or_else(|| ErrorKind::AddrNotAvailable.into()));
        found.map_err(|source| ClusterError::NoAddress {
            name: self.me.name.clone(),
            address: address.to_string(),
            source,
        })
    }

    /// Another node, as this one's shards are linked with it.
    pub fn peer(&self, node: &Node) -> Peer {
        let Node { name, roles, address, .. } = node.clone();
        Peer { name, address, roles, dial: dials(self.me.roles, roles) }
    }

    /// Another node, as this process sees it.
    pub fn info(&self, node: &Node) -> NodeInfo {
        let (name, address) = (node.name.clone(), node.address.to_string());
        NodeInfo { name, roles: node.roles, address, dialled: needs(self.me.roles, node.roles) }
    }
}

/// Whether a node with the roles `me` has something to say to one with `other`.
fn dials(me: Roles, other: Roles) -> bool {
    // Several writers ask each other for their parts of a list.
    needs(me, other) || me.has(Roles::STORAGE_WRITER) && other.has(Roles::STORAGE_WRITER)
}

/// Whether a node with the roles `me` is not ready without any like `other`.
fn needs(me: Roles, other: Roles) -> bool {
    let has = |roles: Roles, role| roles.has(role);
    (has(me, Roles::GATEWAY) && (has(other, Roles::ROUTER) || has(other, Roles::STORAGE_WRITER)))
        || (has(me, Roles::STORAGE_WRITER) && (has(other, Roles::GATEWAY) || has(other, Roles::ROUTER)))
        // A router says nothing to the writer, but who is not heard is taken for one that cannot be reached.
        || has(me, Roles::ROUTER)
}

fn secret(path: &Path) -> Result<Arc<[u8]>, ClusterError> {
    let bytes = std::fs::read(path).map_err(|source| ClusterError::Unreadable {
        key: "cluster.secret_file",
        path: path.to_owned(),
        source,
    })?;
    let secret = bytes.trim_ascii();
    if secret.len() < SECRET_BYTES_MIN {
        return Err(ClusterError::ShortSecret { path: path.to_owned(), bytes: secret.len() });
    }
    Ok(secret.into())
}
