//! Puts the parts of every shard together: lanes sized by credits, gateways, partitions, routers, metrics.

use std::sync::Arc;

use fabric::entropy::Entropy;
use fabric::lane::{Capacities, Mesh, Port};
use fabric::link::{LinkConfig, Names, NodeIdentity, Peer, Roles};
use fabric::net::proxy::Trusted;
use fabric::wake::Waker;
use gateway::auth::TokenVerifier;
use gateway::http::{Desk, DeskConfig, DeskMetrics};
use gateway::{Epochs, GatewayMetrics, Limits, ShardConfig, Strangers, Traces, UserRates};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use router::{MemoryDirectory, Router, RouterMetrics};
use schema::envelope::Class;
use storage_writer::partition::Partition;
use storage_writer::spool::Spool;

use super::board::Board;
use super::changes::Inbox;
use super::cluster::{Away, AwayConfig, ClusterView, Routers};
use super::core::{ShardCore, Stops};
use super::holdings::Holdings;
use super::hub::{Hub, HubMetrics};
use super::topology::Topology;

/// Sends a gateway shard may have unanswered at one owner partition.
pub const CREDITS_PER_PARTITION: u32 = 8_192;
/// Requests HTTP may have in flight; each is small until its page comes.
const HTTP_IN_FLIGHT: u32 = 1_024;
/// How long HTTP waits for an owner, ms.
const HTTP_DEADLINE_MS: u32 = 5_000;
/// How long HTTP waits for the owners' node to come back before that, at most, ms: a request has 30 s in all.
const HTTP_HOLD_MS_MAX: u32 = 20_000;
/// Slots of each lane's ring to and from HTTP, by class.
const HTTP_RING: usize = 256;
/// Control and sync envelopes that may wait for a lane: a few for every connection of a large host. Touched as used.
const REQUESTS_WAITING: usize = 1 << 20;
/// Shards of a gateway on another node, at most: owners and links hold room for the sends of so many.
pub const REMOTE_SHARDS: usize = 64;
/// Bytes that may wait for one link; beyond it, live traffic becomes a gap, and anything else breaks the link.
const LINK_QUEUE_BYTES: usize = 64 << 20;
/// Marks and other answers that may wait besides the acks of credits.
const ANSWERS_WAITING: usize = 16_384;

/// What a node is made with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The layout.
    pub topology: Topology,
    /// Bounds of connections and sessions, each shard's.
    pub limits: Limits,
    /// Hosts that Host and Origin may name besides the listeners' own.
    pub allowed_hosts: Vec<String>,
    /// Slots of each lane's ring; small ones for tests of full lanes.
    pub capacities: Capacities,
    /// Sends a gateway shard may have unanswered at one owner partition.
    pub credits_per_partition: u32,
    /// Which messages are traced; `None`: none.
    pub traces: Option<Traces>,
    /// What clients' addresses are taken for.
    pub edge: EdgeConfig,
    /// The other nodes; `None`: there are none.
    pub cluster: Option<ClusterConfig>,
    /// Who is connected where; `None`: one of its own.
    pub directory: Option<MemoryDirectory>,
}

/// Who says who a client is, and what an address may do. By default nobody, and anything.
#[derive(Clone, Debug, Default)]
pub struct EdgeConfig {
    /// Whose word about a client's address counts.
    pub trusted: Trusted,
    /// Refused tokens that one address may bring in a second; 0 = unlimited.
    pub refused_tokens_per_second_per_address: u32,
}

/// How the shards of a node are linked to other nodes.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The cluster's name.
    pub id: String,
    /// This node's.
    pub name: String,
    /// What it does.
    pub roles: Roles,
    /// What all nodes know.
    pub secret: Arc<[u8]>,
    /// All other nodes, by their numbers.
    pub peers: Vec<Peer>,
    /// Others there may be in all, while it runs.
    pub room: usize,
    /// Where partitions move between writers: their number.
    pub moving: Option<u16>,
    /// What this node holds, where they move and it has owners.
    pub holdings: Option<Holdings>,
    /// Where it keeps sends while the store is away, where it has one.
    pub spool: Option<Arc<Spool>>,
    /// Shared by the shards.
    pub view: ClusterView,
    /// Whose links stand; shared by the shards.
    pub names: Arc<Names>,
    /// Where the links' nonces come from.
    pub entropy: fn() -> Box<dyn Entropy + Send>,
}

impl ClusterConfig {
    /// One shard's links.
    fn away(&self, (shard, shards): (u16, u16), incarnation: u64, hold_ms: u32, entropy: &mut dyn Entropy) -> Away {
        let (cluster, name, roles) = (self.id.clone(), self.name.clone(), self.roles);
        let identity = NodeIdentity { cluster, name, incarnation, roles, shard, shards };
        // Credits reserve the room of acks in a gateway, and of sends at the owners: of all shards behind a link together.
        let mut link = LinkConfig::new(identity, self.secret.clone());
        let reserved = CREDITS_PER_PARTITION as usize * REMOTE_SHARDS;
        link.capacities.overflow[Class::Send as usize] = reserved;
        link.capacities.overflow[Class::Ack as usize] = reserved + ANSWERS_WAITING;
        link.queue_bytes = LINK_QUEUE_BYTES;
        let config = AwayConfig {
            link,
            peers: self.peers.clone(),
            room: self.room,
            moving: self.moving.map(|partitions| (partitions, hold_ms)),
            view: self.view.clone(),
            names: self.names.clone(),
            hash_seed: entropy.next_u64(),
        };
        Away::new(config, (self.entropy)())
    }
}

/// One shard, put together but for what must be made on its thread.
pub struct ShardParts {
    config: ShardConfig,
    auth: Arc<dyn TokenVerifier>,
    rates: Arc<UserRates>,
    gateway_metrics: GatewayMetrics,
    router: Router<MemoryDirectory>,
    partitions: Vec<Partition>,
    hub: Hub,
    waker: Waker,
    board: Board,
    inbox: Inbox,
    inboxes: Arc<[Inbox]>,
    stops: Stops,
    holdings: Option<Holdings>,
    spool: Option<Arc<Spool>>,
}

impl ShardParts {
    /// The shard's number.
    pub fn number(&self) -> u16 {
        self.config.shard
    }

    /// Wakes the shard.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Journals the shard writes.
    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// What its gateway counts.
    pub fn gateway_metrics(&self) -> GatewayMetrics {
        self.gateway_metrics.clone()
    }

    /// How fast users may send; one for all shards.
    pub fn rates(&self) -> Arc<UserRates> {
        self.rates.clone()
    }

    /// Where changes for the shard are left.
    pub fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// The shard's core; call it on the shard's thread.
    pub fn into_core(self) -> ShardCore {
        let gateway = gateway::Shard::new(self.config, self.auth, self.rates, self.gateway_metrics);
        let told = (self.board, self.inbox, self.inboxes);
        ShardCore::new(gateway, self.partitions, self.router, self.hub, told, self.stops)
            .with_holdings(self.holdings)
            .with_spool(self.spool)
    }
}

/// HTTP's end, put together but for what waits at its desk.
pub struct HttpParts {
    config: DeskConfig,
    rates: Arc<UserRates>,
    metrics: DeskMetrics,
    hub: Hub,
    waker: Waker,
    inbox: Inbox,
    /// Of the shard by whose links what HTTP has for other nodes goes.
    first: Inbox,
    /// The owners are on another node, to which there is no link yet.
    waits_for_owners: bool,
}

impl HttpParts {
    /// Whether requests have to wait for a link to the owners' node first.
    pub const fn waits_for_owners(&self) -> bool {
        self.waits_for_owners
    }

    /// Its hand-offs; what wakes it, what it is told, and where the first shard is told something; its desk.
    pub fn into_desk<W>(self) -> (Hub, (Waker, Inbox, Inbox), Desk<W>) {
        (self.hub, (self.waker, self.inbox, self.first), Desk::new(self.config, self.rates, self.metrics))
    }

    /// Wakes it. Shards' threads must keep its descriptor.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// What its desk counts.
    pub fn metrics(&self) -> DeskMetrics {
        self.metrics.clone()
    }
}

/// Lanes between all shards, with room for every send and ack that credits allow. The last port is HTTP's.
///
/// # Errors
/// What `eventfd(2)` says.
pub fn lanes(config: &NodeConfig, incarnation: u64) -> std::io::Result<Vec<Port>> {
    let topology = config.topology;
    let credits = |shard| topology.partitions_of(shard).count() * config.credits_per_partition as usize;
    let moves = config.cluster.as_ref().is_some_and(|cluster| cluster.moving.is_some());
    let all = usize::from(topology.partitions) * config.credits_per_partition as usize * REMOTE_SHARDS;
    Mesh::with(topology.gateways(), incarnation, |source, destination| {
        let mut capacities = config.capacities;
        if source == topology.http() || destination == topology.http() {
            capacities.ring = capacities.ring.map(|slots| slots.min(HTTP_RING));
        }
        // Where partitions move, a send may come back by any lane, and an answer from any link.
        let (sends, acks) = if moves { (all, all) } else { (credits(destination), credits(source)) };
        capacities.overflow[Class::Send as usize] = sends;
        capacities.overflow[Class::Ack as usize] = acks + ANSWERS_WAITING;
        capacities.overflow[Class::Control as usize] = REQUESTS_WAITING;
        capacities.overflow[Class::Sync as usize] = REQUESTS_WAITING;
        capacities
    })
}

/// Puts every shard together, and HTTP. `partitions`: all of the process, by number; `ports`: of [`lanes`]; metrics go into
/// `registry`.
///
/// # Panics
/// When `ports` are not those of [`lanes`].
pub fn assemble(
    config: &NodeConfig,
    partitions: Vec<Partition>,
    mut ports: Vec<Port>,
    auth: &Arc<dyn TokenVerifier>,
    entropy: &mut dyn Entropy,
    board: &Board,
    registry: &mut Registry,
) -> (Vec<ShardParts>, HttpParts) {
    let topology = config.topology;
    let limits = &config.limits;
    let incarnation = entropy.next_u64() | 1;
    let hash_seed = entropy.next_u64();
    let rates = UserRates::new(limits.sends_per_second_per_user, limits.burst_per_user, hash_seed);
    let strangers = Arc::new(Strangers::new(config.edge.refused_tokens_per_second_per_address, hash_seed));
    let (rates, epochs) = (Arc::new(rates), Arc::new(Epochs::default()));
    let directory = config.directory.clone().unwrap_or_else(|| MemoryDirectory::new(hash_seed));
    let sessions = Gauge::default();
    registry.register("router_sessions", "Sessions in the directory", sessions.clone());
    // HTTP's is the last, as its port is.
    let inboxes: Arc<[Inbox]> = ports.iter().map(|port| Inbox::new(port.waker())).collect();
    let http_port = ports.pop().expect("HTTP has the last port");
    let http_inbox = inboxes[usize::from(topology.http())].clone();
    let told = (http_inbox, inboxes[0].clone());
    let http = http_parts(config, incarnation, (http_port, told), &rates, registry);
    let holdings = config.cluster.as_ref().and_then(|cluster| cluster.holdings.clone());
    holdings.iter().for_each(|holdings| holdings.set_inboxes(inboxes.clone()));
    let stops = Stops::new(topology.shards, limits.drain_patience_ms);
    let shards = (0..topology.shards).zip(ports).zip(by_shard(topology, partitions));
    let build = |((shard, port), partitions): ((u16, Port), Vec<Partition>)| {
        let label = ("shard".into(), shard.to_string().into());
        let registry = registry.sub_registry_with_label(label);
        let (gateway_metrics, router_metrics, hub_metrics) =
            (GatewayMetrics::new(), RouterMetrics::new(sessions.clone()), HubMetrics::default());
        gateway_metrics.register(registry);
        hub_metrics.register(registry);
        port.metrics().register(registry);
        router_metrics.register(registry);
        let away = config
            .cluster
            .as_ref()
            .map(|cluster| cluster.away((shard, topology.shards), incarnation, limits.hold_ms, entropy));
        if let Some(away) = &away {
            away.metrics().register(registry);
        }
        ShardParts {
            config: ShardConfig {
                strangers: strangers.clone(),
                epochs: epochs.clone(),
                ..shard_config(config, shard, incarnation, entropy.next_u64())
            },
            auth: auth.clone(),
            rates: rates.clone(),
            gateway_metrics,
            router: router(config, directory.clone(), router_metrics),
            partitions,
            waker: port.waker(),
            inbox: inboxes[usize::from(shard)].clone(),
            inboxes: inboxes.clone(),
            hub: Hub::new(shard, topology, port, hub_metrics).with_away(away),
            board: board.clone(),
            stops: stops.clone(),
            holdings: holdings.clone(),
            spool: config.cluster.as_ref().and_then(|cluster| cluster.spool.clone()),
        }
    };
    (shards.map(build).collect(), http)
}

fn by_shard(topology: Topology, partitions: Vec<Partition>) -> Vec<Vec<Partition>> {
    let mut by_shard: Vec<Vec<Partition>> = (0..topology.shards).map(|_| Vec::new()).collect();
    for partition in partitions {
        by_shard[usize::from(topology.partition_shard(partition.number()))].push(partition);
    }
    by_shard
}

/// One shard's gateway.
fn shard_config(config: &NodeConfig, shard: u16, incarnation: u64, hash_seed: u64) -> ShardConfig {
    ShardConfig {
        shard,
        incarnation,
        hash_seed,
        partitions: config.topology.partitions,
        limits: config.limits.clone(),
        credits_per_partition: config.credits_per_partition,
        allowed_hosts: config.allowed_hosts.clone(),
        server_incarnation: incarnation,
        traces: config.traces.clone(),
        trusted: config.edge.trusted.clone(),
        ..ShardConfig::default()
    }
}

/// One shard's router.
fn router(config: &NodeConfig, directory: MemoryDirectory, metrics: RouterMetrics) -> Router<MemoryDirectory> {
    let spans = config.traces.as_ref().map(|traces| traces.spans.clone());
    let Some(ClusterConfig { name, roles, peers, .. }) = &config.cluster else {
        return Router::new(directory, metrics).with_spans(spans);
    };
    Router::with_placement(directory, Routers::of(name, *roles, peers.iter().map(Some)).placement, metrics)
        .with_spans(spans)
}

fn http_parts(
    config: &NodeConfig,
    incarnation: u64,
    (port, (inbox, first)): (Port, (Inbox, Inbox)),
    rates: &Arc<UserRates>,
    registry: &mut Registry,
) -> HttpParts {
    let topology = config.topology;
    assert_eq!(port.shard(), topology.http(), "one port a shard, and HTTP's");
    let (hub_metrics, metrics) = (HubMetrics::default(), DeskMetrics::default());
    let registry = registry.sub_registry_with_label(("shard".into(), "http".into()));
    hub_metrics.register(registry);
    port.metrics().register(registry);
    metrics.register(registry);
    HttpParts {
        config: DeskConfig {
            shard: topology.http(),
            incarnation,
            partitions: topology.partitions,
            credits_per_partition: config.credits_per_partition,
            in_flight: HTTP_IN_FLIGHT,
            deadline_ms: HTTP_DEADLINE_MS,
            hold_ms: config.limits.hold_ms.min(HTTP_HOLD_MS_MAX),
            frame_limit_bytes: config.limits.frame_limit_bytes,
            traces: config.traces.clone(),
        },
        rates: Arc::clone(rates),
        metrics,
        inbox,
        first,
        waits_for_owners: config.cluster.as_ref().is_some_and(|cluster| !cluster.roles.has(Roles::STORAGE_WRITER)),
        waker: port.waker(),
        hub: Hub::new(topology.http(), topology, port, hub_metrics),
    }
}
