//! What this process does: everything, or its part of a cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fabric::core::Protocol;
use fabric::entropy::OsEntropy;
use fabric::link::{LinkRefusal, Peer, Roles};
use gateway::auth::Trusted;
use miette::Result;

use crate::cluster::{Cluster, ClusterError, Node};
use crate::config::Config;
use crate::node::{ClusterConfig, ClusterView, REMOTE_SHARDS, Topology};
use crate::state::{Addresses, ServerState};

/// When a node that nobody takes stops, at the earliest; and how often it looks.
const REFUSED_AFTER: Duration = Duration::from_secs(5);
const REFUSED_POLL: Duration = Duration::from_millis(200);

/// A process's place among others.
pub(super) struct Place {
    store: String,
    cluster: Option<(Cluster, ClusterView)>,
}

impl Place {
    /// What the configuration says. Blocks.
    pub(super) fn of(config: &Config) -> Result<Self> {
        let cluster = Cluster::load(&config.cluster)?;
        let with_view = |cluster: Cluster| {
            let node = |node: &Node| {
                (node.name.clone(), node.roles, node.address.to_string(), dials(cluster.me.roles, node.roles))
            };
            let view = ClusterView::new(cluster.others.iter().map(node));
            (cluster, view)
        };
        Ok(Self { store: config.store.engine.clone(), cluster: cluster.map(with_view) })
    }

    /// Whether it does this.
    pub(super) fn has(&self, role: Roles) -> bool {
        self.cluster.as_ref().is_none_or(|(cluster, _)| cluster.me.roles.has(role))
    }

    /// Its threads. Without owners there is one pool of credits, for the owners' node.
    pub(super) fn topology(&self, config: &Config, cores: u16) -> Topology {
        let partitions = if self.has(Roles::STORAGE_WRITER) { config.server.partitions } else { 1 };
        Topology::new(config.server.shards, partitions, cores)
    }

    /// Gateway shards on other nodes, at most.
    pub(super) fn remote_shards(&self) -> usize {
        let others = self.cluster.iter().flat_map(|(cluster, _)| &cluster.others);
        others.filter(|node| node.roles.has(Roles::GATEWAY)).count() * REMOTE_SHARDS
    }

    /// What it listens on, but for HTTP.
    pub(super) fn listeners(&self, config: &Config) -> Vec<(Protocol, SocketAddr)> {
        let clients = [(Protocol::Native, config.server.native), (Protocol::WebSocket, config.server.ws)];
        let clients = clients.into_iter().filter(|_| self.has(Roles::GATEWAY));
        clients.chain(self.cluster.iter().map(|(cluster, _)| (Protocol::Link, cluster.listen()))).collect()
    }

    /// What is known of the other nodes.
    pub(super) fn view(&self) -> Option<ClusterView> {
        self.cluster.as_ref().map(|(_, view)| view.clone())
    }

    /// Resolves when no node takes this one: with why, and what to do. Never in one process.
    pub(super) async fn refused(&self) -> LinkRefusal {
        let Some((_, view)) = &self.cluster else { return std::future::pending().await };
        // A predecessor of this name that was killed is taken for alive until it has been silent for long enough.
        tokio::time::sleep(REFUSED_AFTER).await;
        loop {
            if let Some(refusal) = view.refused_by_all() {
                return refusal;
            }
            tokio::time::sleep(REFUSED_POLL).await;
        }
    }

    /// A gateway's tokens must be good at every gateway.
    pub(super) fn check_keys(&self, trusted: &Trusted) -> Result<(), ClusterError> {
        let alone = self.cluster.is_none() || !self.has(Roles::GATEWAY);
        if alone || !trusted.development { Ok(()) } else { Err(ClusterError::NoKeys) }
    }

    /// How its shards are linked.
    pub(super) fn links(&self) -> Option<ClusterConfig> {
        self.cluster.as_ref().map(|(cluster, view)| {
            let me = cluster.me.roles;
            let peer = |Node { name, roles, address, .. }: &Node| Peer {
                name: name.clone(),
                address: *address,
                roles: *roles,
                dial: dials(me, *roles),
            };
            ClusterConfig {
                id: cluster.id.clone(),
                name: cluster.me.name.clone(),
                roles: me,
                secret: cluster.secret.clone(),
                peers: cluster.others.iter().map(peer).collect(),
                view: view.clone(),
                names: Arc::default(),
                entropy: || Box::new(OsEntropy),
            }
        })
    }

    /// What it says of itself once it serves.
    pub(super) fn ready(&self, state: &ServerState) -> String {
        let Addresses { native, ws, http } = state.addresses();
        let (shards, store) = (state.shards(), &self.store);
        let Some((Cluster { me, .. }, _)) = &self.cluster else {
            return format!("native={native} ws={ws} http={http} shards={shards} store={store}");
        };
        let clients = if self.has(Roles::GATEWAY) { format!(" native={native} ws={ws}") } else { String::new() };
        let store = if self.has(Roles::STORAGE_WRITER) { " store=embedded" } else { "" };
        let Node { name, roles, address, .. } = me;
        format!("name={name} roles={roles}{clients} http={http} link={address} shards={shards}{store}")
    }
}

/// Whether a node with the roles `me` has something to say to one with `other`.
fn dials(me: Roles, other: Roles) -> bool {
    let has = |roles: Roles, role| roles.has(role);
    (has(me, Roles::GATEWAY) && (has(other, Roles::ROUTER) || has(other, Roles::STORAGE_WRITER)))
        || (has(me, Roles::STORAGE_WRITER) && (has(other, Roles::GATEWAY) || has(other, Roles::ROUTER)))
        // A router says nothing to the writer, but who is not heard is taken for one that cannot be reached.
        || has(me, Roles::ROUTER)
}
