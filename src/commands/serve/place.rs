//! What this process does: everything, or its part of a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fabric::core::Protocol;
use fabric::entropy::{Entropy as _, OsEntropy};
use fabric::link::{LinkRefusal, Roles};
use fabric::net::resolve::Resolver;
use fabric::trace::Spans;
use gateway::Traces;
use gateway::auth::Trusted;
use miette::{IntoDiagnostic as _, Result, WrapErr as _};
use schema::ids::UserId;
use storage_writer::folder::DataFolder;
use storage_writer::lease::LeaseConfig;
use storage_writer::spool::Spool;

use super::strangers;
use crate::cluster::{Cluster, ClusterError, Node, ROOM_TO_SPARE, Roster};
use crate::config::Config;
use crate::node::{
    CREDITS_PER_PARTITION, ClusterConfig, ClusterView, Holdings, Inbox, REMOTE_SHARDS, Routers, Topology,
};
use crate::state::{Addresses, ServerState};
use crate::traces::{Endpoint, Exporter, Resource};

/// When a node that nobody takes stops, at the earliest; and how often it looks.
const REFUSED_AFTER: Duration = Duration::from_secs(5);
const REFUSED_POLL: Duration = Duration::from_millis(200);

type Owns = Box<dyn Fn(UserId) -> bool + Send + Sync>;
type Heard = Box<dyn Fn() -> Vec<u64> + Send + Sync>;

/// A process's place among others.
pub(super) struct Place {
    store: String,
    /// Where partitions move between writers: their number.
    moving: Option<u16>,
    /// Its name where it is in no list: its data folder's, which nobody else has while this process runs.
    alone: String,
    cluster: Option<(Cluster, ClusterView)>,
    /// Where its links come in.
    listen: Option<SocketAddr>,
    /// The file with the list of nodes.
    list: Option<PathBuf>,
    /// Looks up others' names.
    resolver: Option<Resolver>,
    /// Where spans go, and which messages have some.
    traces: Option<(Endpoint, Traces)>,
}

impl Place {
    /// What the configuration says, for the process that has this data folder. Blocks.
    pub(super) fn of(config: &Config, folder: &DataFolder) -> Result<Self> {
        let cluster = Cluster::load(&config.cluster)?;
        let store = config.store.engine.clone();
        let endpoint = config.traces.endpoint.as_deref().map(str::parse::<Endpoint>).transpose().into_diagnostic()?;
        let spans = || Spans::new(OsEntropy.next_u64());
        let traces = endpoint.map(|endpoint| (endpoint, Traces { every: config.traces.every(), spans: spans() }));
        let moving = config.store.is_shared().then_some(config.store.partitions);
        let alone = strangers::alone(folder.format().node);
        let Some(cluster) = cluster else {
            return Ok(Self { store, moving, alone, cluster: None, listen: None, list: None, resolver: None, traces });
        };
        let writers = cluster.others.iter().chain([&cluster.me]).filter(|node| node.roles.has(Roles::STORAGE_WRITER));
        let writers: Vec<&str> = writers.map(|node| node.name.as_str()).collect();
        if moving.is_none() && writers.len() > 1 {
            return Err(ClusterError::Writers { names: writers.join(", ") }.into());
        }
        let view = ClusterView::new(cluster.others.iter().map(|node| cluster.info(node)));
        let (listen, list) = (Some(cluster.listen()?), config.cluster.nodes_file.clone());
        let resolver = Some(Resolver::start().into_diagnostic()?);
        Ok(Self { store, moving, alone, cluster: Some((cluster, view)), listen, list, resolver, traces })
    }

    /// Whether it does this.
    pub(super) fn has(&self, role: Roles) -> bool {
        self.cluster.as_ref().is_none_or(|(cluster, _)| cluster.me.roles.has(role))
    }

    /// Its threads. Where partitions move there are as many everywhere; else, without owners, there is one pool of credits, for
    /// the owners' node.
    pub(super) fn topology(&self, config: &Config, cores: u16) -> Topology {
        let partitions = match self.moving {
            Some(partitions) => partitions,
            None if self.has(Roles::STORAGE_WRITER) => config.server.partitions,
            None => 1,
        };
        Topology::new(config.server.shards, partitions, cores)
    }

    /// Its name among others.
    pub(super) fn name(&self) -> String {
        self.cluster.as_ref().map_or_else(|| self.alone.clone(), |(cluster, _)| cluster.me.name.clone())
    }

    /// Whether it is in no list of nodes: then whoever else writes to a store that could be shared is a stranger.
    pub(super) const fn is_alone(&self) -> bool {
        self.cluster.is_none()
    }

    /// What is wrong with how long it would wait for an owner, if anything: who is killed is missed for longer.
    pub(super) fn warning(&self, config: &Config) -> Option<String> {
        let (hold_ms, missed_ms) = (u64::from(config.limits.hold_ms), LeaseConfig::default().missed_ms());
        let concerns = self.moving.is_some() && self.has(Roles::GATEWAY) && hold_ms < missed_ms;
        concerns.then(|| {
            format!(
                "limits.hold_ms is {hold_ms}, and a storage-writer that is killed is missed for up to {missed_ms} ms: what is sent to \
                 its partitions is refused before others have them; set limits.hold_ms to {missed_ms} or more"
            )
        })
    }

    /// Threads that wait for commits into a store that is shared: each partition has one under way at most.
    pub(super) fn commit_threads(&self) -> usize {
        let partitions = self.moving.filter(|_| self.has(Roles::STORAGE_WRITER));
        partitions.map_or(0, usize::from)
    }

    /// Sends a gateway shard may have unanswered at one partition: what a link reserves room for is divided among all.
    pub(super) fn credits(&self) -> u32 {
        CREDITS_PER_PARTITION / self.moving.map_or(1, u32::from)
    }

    /// Gateway shards on other nodes, at most.
    pub(super) fn remote_shards(&self) -> usize {
        let others = self.cluster.iter().flat_map(|(cluster, _)| &cluster.others);
        let gateways = others.filter(|node| node.roles.has(Roles::GATEWAY)).count();
        let to_come = if self.cluster.is_some() { ROOM_TO_SPARE } else { 0 };
        (gateways + to_come) * REMOTE_SHARDS
    }

    /// What it listens on, but for HTTP.
    pub(super) fn listeners(&self, config: &Config) -> Vec<(Protocol, SocketAddr)> {
        let clients = [(Protocol::Native, config.server.native), (Protocol::WebSocket, config.server.ws)];
        let clients = clients.into_iter().filter(|_| self.has(Roles::GATEWAY));
        clients.chain(self.listen.map(|address| (Protocol::Link, address))).collect()
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
    pub(super) fn links(&self, (holdings, spool): (Option<Holdings>, Option<Arc<Spool>>)) -> Option<ClusterConfig> {
        let Some((cluster, view)) = &self.cluster else { return self.linked_with_nobody(holdings, spool) };
        Some(ClusterConfig {
            id: cluster.id.clone(),
            name: cluster.me.name.clone(),
            roles: cluster.me.roles,
            secret: cluster.secret.clone(),
            peers: cluster.others.iter().map(|node| cluster.peer(node)).collect(),
            room: cluster.others.len() + ROOM_TO_SPARE,
            moving: self.moving,
            holdings,
            spool,
            view: view.clone(),
            names: Arc::default(),
            entropy: || Box::new(OsEntropy),
        })
    }

    /// Where partitions come and go by leases, one process is a cluster of one: what is sent to a partition that it does not
    /// hold yet waits until it does.
    fn linked_with_nobody(&self, holdings: Option<Holdings>, spool: Option<Arc<Spool>>) -> Option<ClusterConfig> {
        self.moving.map(|partitions| ClusterConfig {
            id: String::new(),
            name: self.alone.clone(),
            roles: Roles::ALL,
            secret: Arc::default(),
            peers: Vec::new(),
            room: 0,
            moving: Some(partitions),
            holdings,
            spool,
            view: ClusterView::new([]),
            names: Arc::default(),
            entropy: || Box::new(OsEntropy),
        })
    }

    /// Its name, and its cluster's.
    pub(super) fn identity(&self) -> Option<(String, String)> {
        self.cluster.as_ref().map(|(cluster, _)| (cluster.me.name.clone(), cluster.id.clone()))
    }

    /// Whether a user is this router's, and which gateways are heard.
    pub(super) fn readers(&self) -> Option<(Owns, Heard)> {
        let (cluster, view) = self.cluster.clone()?;
        let peers: Vec<_> = cluster.others.iter().map(|node| cluster.peer(node)).collect();
        let Routers { placement, .. } = Routers::of(&cluster.me.name, cluster.me.roles, peers.iter().map(Some));
        let owns = move |user| placement.first(user) == placement.own();
        Some((Box::new(owns), Box::new(move || view.incarnations())))
    }

    /// Which messages are traced.
    pub(super) fn traces(&self) -> Option<Traces> {
        self.traces.as_ref().map(|(_, traces)| traces.clone())
    }

    /// Where spans go.
    pub(super) fn spans(&self) -> Option<Spans> {
        self.traces().map(|traces| traces.spans)
    }

    /// What sends them away. Blocks.
    pub(super) fn exporter(&self) -> Result<Option<Exporter>> {
        let Some((endpoint, traces)) = &self.traces else { return Ok(None) };
        let (node, roles, cluster) = match &self.cluster {
            Some((cluster, _)) => (cluster.me.name.clone(), cluster.me.roles.to_string(), cluster.id.clone()),
            None => (String::new(), Roles::ALL.to_string(), String::new()),
        };
        let exporter = Exporter::new(endpoint.clone(), Resource { node, roles, cluster }, traces.spans.clone());
        Ok(Some(exporter.into_diagnostic().wrap_err("traces.endpoint cannot be reached safely")?))
    }

    /// What looks up others' names.
    pub(super) fn resolver(&self) -> Option<Resolver> {
        self.resolver.clone()
    }

    /// The list of nodes, for when it changes.
    pub(super) fn roster(&self, inboxes: Vec<Inbox>) -> Option<Roster> {
        let ((cluster, view), path) = self.cluster.as_ref().zip(self.list.clone())?;
        Some(Roster::new(path, cluster.clone(), view.clone(), inboxes))
    }

    /// What it says of itself once it serves.
    pub(super) fn ready(&self, state: &ServerState) -> String {
        let Addresses { native, ws, http } = state.addresses();
        let (shards, store) = (state.shards(), &self.store);
        let Some((Cluster { me, .. }, _)) = &self.cluster else {
            return format!("native={native} ws={ws} http={http} shards={shards} store={store}");
        };
        let clients = if self.has(Roles::GATEWAY) { format!(" native={native} ws={ws}") } else { String::new() };
        let store = if self.has(Roles::STORAGE_WRITER) { format!(" store={store}") } else { String::new() };
        let Node { name, roles, address, .. } = me;
        format!("name={name} roles={roles}{clients} http={http} link={address} shards={shards}{store}")
    }
}
