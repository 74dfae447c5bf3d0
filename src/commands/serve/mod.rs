//! `shardwire serve`: opens the data folder, starts the shards, says `ready`, and stops cleanly on SIGTERM or Ctrl-C.
//! SIGHUP reloads.
//!
//! The order matters: keys, folder, store, recovery, lanes, shards, then HTTP. Nothing listens before everything that was
//! acknowledged earlier is back.

mod directory;
mod keeper;
mod leases;
mod place;
mod storage;
mod strangers;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fabric::core::Protocol;
use fabric::entropy::{Entropy as _, OsEntropy};
use fabric::lane::Capacities;
use fabric::link::Roles;
use fabric::net::proxy::Proxies;
use fabric::shard::{Options, ShardContext, ShardSpec, Shards, available_cores, spawn_shards};
use gateway::UserRates;
use gateway::auth::Trust;
use miette::{IntoDiagnostic, Result, WrapErr};
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit, setrlimit};
use storage_writer::folder::{DataFolder, Expected};
use storage_writer::spool::Spool;
use tokio::net::TcpListener;

use self::directory::Directory;
use self::keeper::{InTable, Keeper};
use self::place::Place;
use self::storage::Storage;
use crate::backup::job::Backups;
use crate::cli::ServeArgs;
use crate::cluster::{ClusterError, Roster};
use crate::config::{self, Config};
use crate::http::Office;
use crate::logging::LogLevel;
use crate::node::{Board, EdgeConfig, Holdings, HttpParts, Inbox, NodeConfig, ShardParts, Topology, assemble, lanes};
use crate::operator::Operator;
use crate::reload::{AuthPart, HttpPart, LogPart, NodesPart, Reloadable, Reloader, SettingsPart, TlsPart};
use crate::state::{Addresses, Parts, Phase, ServerState};
use crate::tls::Certificates;
use crate::{admin, auth, edge, http, logging};

/// How often the list of nodes is looked at.
const LIST_LOOK: Duration = Duration::from_secs(1);
/// How often a stop looks whether HTTP's requests have been answered.
const ANSWERS_POLL: Duration = Duration::from_millis(5);

/// Serves until told to stop.
///
/// # Errors
/// Whatever stops the start: configuration, keys, data folder, damaged journals, addresses in use.
pub fn run(args: &ServeArgs) -> Result<()> {
    let config = config::load(args.config.as_deref(), args.layer())?;
    let log = logging::start(&config.log.level);
    small_pages();
    raise_descriptor_limit();
    let folder = DataFolder::open(&config.server.data, Expected::default(), &mut OsEntropy).into_diagnostic()?;
    let cores = available_cores();
    let place = Place::of(&config, &folder)?;
    place.warning(&config).into_iter().for_each(|warning| tracing::warn!("{warning}"));
    let topology = place.topology(&config, cores.len() as u16);
    let storage = match place.has(Roles::STORAGE_WRITER) {
        true => Some(Storage::open(&config, &folder, topology, (place.remote_shards(), place.spans()))?),
        false => None,
    };
    let backups = storage.as_ref().map(|storage| storage.backups(&folder)).transpose()?.flatten();
    let node = start_node(&config, &folder, (topology, &cores), storage, &place)?;
    let operator = node.operator(args, &config, log, backups);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().into_diagnostic()?;
    let Node { shards, state, trust, names, office, proxies, roster, directory, keeper, .. } = node;
    let lonely = keeper.as_ref().filter(|_| place.is_alone()).map(Keeper::in_table);
    let served = runtime.block_on(async {
        let parts = http::Parts { state: state.clone(), office: office.clone(), trust, names };
        let served = attend(&config, (&place, proxies, roster, lonely), parts, operator).await;
        state.set_phase(Phase::Stopping);
        drain(shards, &office, config.limits.drain_patience_ms).await;
        served
    });
    directory.stop();
    // What this node held is free for the others at once.
    keeper.into_iter().for_each(Keeper::finish);
    admin::remove(&config.server.data);
    tracing::info!("stopped");
    served
}

/// The shards, serving, and what HTTP serves with.
struct Node {
    shards: Shards,
    state: ServerState,
    trust: Arc<Trust>,
    inboxes: Vec<Inbox>,
    rates: Arc<UserRates>,
    names: Arc<http::Names>,
    office: Office,
    proxies: Proxies,
    roster: Option<Roster>,
    directory: Directory,
    keeper: Option<Keeper>,
    holdings: Option<Holdings>,
}

impl Node {
    fn operator(&self, args: &ServeArgs, config: &Config, log: LogLevel, backups: Option<Backups>) -> Operator {
        let (inboxes, rates) = (self.inboxes.clone(), self.rates.clone());
        let parts: Vec<Box<dyn Reloadable>> = vec![
            Box::new(AuthPart(self.trust.clone())),
            Box::new(SettingsPart { inboxes, rates }),
            Box::new(HttpPart(self.names.clone())),
            Box::new(LogPart(log)),
            Box::new(TlsPart(self.state.certificates().cloned())),
            Box::new(NodesPart(self.roster.clone())),
        ];
        let reloader = Reloader::new(args.clone(), config.clone(), parts);
        Operator::new(self.trust.clone(), self.inboxes.clone(), reloader, backups, self.holdings.clone())
    }
}

fn start_node(
    config: &Config,
    folder: &DataFolder,
    (topology, cores): (Topology, &[usize]),
    mut storage: Option<Storage>,
    place: &Place,
) -> Result<Node> {
    let trust = Arc::new(auth::trust(config)?);
    place.check_keys(&trust.trusted())?;
    warn_of_development_key(config, &trust);
    let certificates = Certificates::open(config)?;
    let proxies = edge::proxies(&config.edge).into_diagnostic()?;
    let directory = Directory::open(config, folder, place)?;
    let shared = storage.as_ref().and_then(Storage::shared);
    strangers::check(shared.as_ref().map(|(table, _)| &**table), place)?;
    let holdings = shared.is_some().then(|| Holdings::new(topology));
    let spool = storage.as_ref().and_then(Storage::outage).map(|outage| outage.spool);
    let of_node = node_config(config, topology, (place, &proxies), (holdings.clone(), spool));
    let node_config = NodeConfig { directory: Some(directory.memory()), ..of_node };
    let ports = lanes(&node_config, OsEntropy.next_u64() | 1).into_diagnostic()?;
    let mut registry = Registry::with_prefix("shardwire");
    storage.iter().for_each(|storage| storage.register(&mut registry));
    certificates.iter().for_each(|certificates| certificates.register(&mut registry));
    place.spans().iter().for_each(|spans| spans.register(&mut registry));
    proxies.register(&mut registry);
    directory.register(&mut registry);
    holdings.iter().for_each(|holdings| holdings.register(&mut registry));
    let keys: Arc<dyn gateway::auth::TokenVerifier> = trust.clone();
    let board = Board::default();
    let partitions = storage.as_mut().map(Storage::take_partitions).unwrap_or_default();
    let (parts, http) = assemble(&node_config, partitions, ports, &keys, &mut OsEntropy, &board, &mut registry);
    let gateways = parts.iter().map(ShardParts::gateway_metrics).collect();
    let inboxes: Vec<_> = parts.iter().map(ShardParts::inbox).collect();
    let rates = parts.first().map(ShardParts::rates).ok_or_else(|| miette::miette!("there is no shard"))?;
    let partitions = storage.as_ref().map(Storage::metrics).unwrap_or_default();
    let store_way = storage.as_ref().and_then(Storage::way);
    let runner = move |job| storage.as_ref().expect("only partitions have jobs").run(job);
    let shards = spawn_shards(
        &options(config, place, (certificates.as_ref(), &proxies), &http),
        specs(parts, topology, cores, &folder.journal_path()),
        runner,
    );
    let shards = shards.into_diagnostic().wrap_err("cannot start serving")?;
    register_shards(&shards, &mut registry);
    let keeper = shared
        .zip(holdings.clone())
        .map(|((table, opener), holdings)| Keeper::start(&place.name(), table, opener, holdings));
    let keeper = keeper.transpose()?;
    let driver = shards.drivers().first().map_or("none", |driver| driver.name());
    tracing::info!(driver, shards = topology.shards, partitions = topology.partitions, "shards are up");
    let state = ServerState::new(Parts {
        shards: topology.shards,
        driver,
        addresses: addresses(config, &shards),
        registry,
        gateways,
        partitions,
        board,
        certificates,
        cluster: place.view(),
        holdings: holdings.clone(),
        store_way,
    });
    let (roster, office) = (place.roster(inboxes.clone()), Office::new(http));
    let names = Arc::default();
    Ok(Node { shards, state, trust, inboxes, rates, names, office, proxies, roster, directory, keeper, holdings })
}

fn register_shards(shards: &Shards, registry: &mut Registry) {
    for ((number, metrics), driver) in (0u16..).zip(shards.metrics()).zip(shards.drivers()) {
        metrics.register(*driver, registry.sub_registry_with_label(("shard".into(), number.to_string().into())));
    }
}

fn warn_of_development_key(config: &Config, trust: &Trust) {
    if trust.trusted().development {
        tracing::warn!(
            "no signing key is configured: whoever can read {} can make tokens; set auth.* before production",
            config.server.data.join(gateway::auth::dev_key::DEV_KEY_FILE).display()
        );
    }
}

/// Where it listens; HTTP not yet.
fn addresses(config: &Config, shards: &Shards) -> Addresses {
    let address = |protocol| shards.addresses().iter().find(|(of, _)| *of == protocol).map(|(_, address)| *address);
    Addresses {
        native: address(Protocol::Native).unwrap_or(config.server.native),
        ws: address(Protocol::WebSocket).unwrap_or(config.server.ws),
        http: config.server.http,
    }
}

fn node_config(
    config: &Config,
    topology: Topology,
    (place, proxies): (&Place, &Proxies),
    owned: (Option<Holdings>, Option<Arc<Spool>>),
) -> NodeConfig {
    let unlimited = |limit: u32| if limit == 0 { u32::MAX } else { limit };
    let limits = &config.limits;
    NodeConfig {
        topology,
        limits: gateway::Limits {
            frame_limit_bytes: limits.frame_bytes,
            in_flight_per_session: unlimited(limits.in_flight_per_session),
            sends_per_second_per_user: limits.sends_per_second_per_user,
            burst_per_user: limits.burst_per_user,
            idle_timeout_ms: limits.idle_timeout_ms,
            ping_interval_ms: limits.ping_interval_ms,
            auth_timeout_ms: limits.auth_timeout_ms,
            out_buffer_bytes: limits.out_buffer_bytes,
            drain_spread_ms: limits.drain_spread_ms,
            drain_per_second: limits.drain_per_second.div_ceil(u32::from(topology.shards)),
            drain_patience_ms: limits.drain_patience_ms,
            hold_ms: limits.hold_ms,
            max_connections: unlimited(limits.connections.div_ceil(u32::from(topology.shards))),
            ..gateway::Limits::default()
        },
        allowed_hosts: config.http.allowed_hosts.clone(),
        capacities: Capacities::default(),
        credits_per_partition: place.credits(),
        traces: place.traces(),
        edge: EdgeConfig {
            trusted: proxies.trusted().clone(),
            refused_tokens_per_second_per_address: limits.refused_tokens_per_second_per_address,
        },
        cluster: place.links(owned),
        directory: None,
    }
}

fn options(
    config: &Config,
    place: &Place,
    (certificates, proxies): (Option<&Certificates>, &Proxies),
    http: &HttpParts,
) -> Options {
    Options {
        listeners: place.listeners(config),
        tls: certificates.map(|certificates| certificates.server().clone()),
        proxies: config.edge.has_headers().then(|| proxies.clone()),
        resolver: place.resolver(),
        commit_threads: place.commit_threads(),
        own_descriptors: true,
        // Shards wake HTTP, which is no shard of theirs.
        keep: vec![http.waker().raw_fd()],
        ..Options::default()
    }
}

type Build =
    Box<dyn FnOnce(ShardContext) -> std::result::Result<crate::node::ShardCore, std::convert::Infallible> + Send>;

fn specs(parts: Vec<ShardParts>, topology: Topology, cores: &[usize], journal: &Path) -> Vec<ShardSpec<Build>> {
    let spec = |parts: ShardParts| ShardSpec {
        shard: parts.number(),
        cpu: cores.get(usize::from(topology.core_of(parts.number()))).copied(),
        waker: parts.waker(),
        journals: vec![journal.to_owned(); parts.partition_count()],
        build: Box::new(move |_: ShardContext| Ok(parts.into_core())) as Build,
    };
    parts.into_iter().map(spec).collect()
}

/// Serves HTTP and the admin socket, says `ready`, and returns when the process is told to stop.
async fn attend(
    config: &Config,
    (place, proxies, roster, lonely): (&Place, Proxies, Option<Roster>, Option<InTable>),
    parts: http::Parts,
    operator: Operator,
) -> Result<()> {
    let http = bind(config.server.http).await?;
    let metrics = match config.server.metrics {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let http_address = http.local_addr().into_diagnostic()?;
    let state = parts.state.clone();
    state.set_http(http_address);
    let dev = development_tokens(config, &parts)?;
    let app = http::App::new(config, parts, dev);
    let clients = place.has(Roles::GATEWAY).then_some(config.limits.frame_bytes);
    let served = tokio::spawn(async move { http::serve(http, metrics, &proxies, app, clients).await });
    let data = config.server.data.clone();
    let (admin_state, admin_operator) = (state.clone(), operator.clone());
    let admin = tokio::spawn(async move { admin::serve(&data, admin_state, admin_operator).await });
    if let Some(exporter) = place.exporter()? {
        exporter.start().into_diagnostic()?;
    }
    if let Some(roster) = roster {
        tokio::spawn(watch(roster));
    }
    state.set_phase(Phase::Serving);
    say_ready(&state, place)?;
    tokio::select! {
        result = stop_signal() => result?,
        result = reload_signals(operator) => result?,
        ended = served => tracing::error!(?ended, "HTTP ended"),
        ended = admin => tracing::error!(?ended, "the admin socket ended"),
        refusal = place.refused() => return Err(ClusterError::from(refusal).into()),
        writer = strangers::stranger(lonely) => return Err(ClusterError::Stranger { writer }.into()),
    }
    Ok(())
}

/// What hands out development tokens, where they may be had; said loudly.
fn development_tokens(config: &Config, parts: &http::Parts) -> Result<Option<http::Dev>> {
    // Behind a load balancer everybody may come from this machine.
    if !parts.trust.trusted().development || !config.edge.trusted_proxies.is_empty() {
        return Ok(None);
    }
    let Addresses { native, ws, http } = parts.state.addresses();
    let listeners: Vec<SocketAddr> = [http, native, ws].into_iter().chain(config.server.metrics).collect();
    let minters = (auth::minter(config)?, auth::minter(config)?.for_admins(true));
    let dev = http::Dev::new(minters, &listeners);
    if dev.is_some() {
        tracing::warn!(
            "DEVELOPMENT: whoever can reach http://{http} from this machine gets a token for any user, operators' too; set \
             auth.* to end that"
        );
    }
    Ok(dev)
}

/// Stops the shards and waits for their end; HTTP goes on saying so meanwhile. What came by HTTP is answered first, while
/// there are owners to answer it.
async fn drain(shards: Shards, office: &Office, patience_ms: u32) {
    office.give_up_held();
    let answered = async {
        while office.in_flight() > 0 {
            tokio::time::sleep(ANSWERS_POLL).await;
        }
    };
    // Who has no answer by then has none; its request ends with the process, and may come again under its id.
    let _ = tokio::time::timeout(Duration::from_millis(patience_ms.into()), answered).await;
    shards.stopper().stop();
    // A panic on a shard has ended the process already.
    let _ = tokio::task::spawn_blocking(move || shards.join()).await;
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.into_diagnostic().wrap_err_with(|| format!("cannot listen on {address} for HTTP"))
}

/// The one line on stdout.
fn say_ready(state: &ServerState, place: &Place) -> Result<()> {
    let tls = if state.certificates().is_some() { " tls=on" } else { "" };
    let line = format!("ready {}{tls}\n", place.ready(state));
    let mut stdout = std::io::stdout().lock();
    // A closed stdout must not stop a server that logs to stderr.
    if let Err(error) = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()) {
        tracing::warn!(%error, "cannot say `ready` on stdout");
    }
    Ok(())
}

/// Looks every second whether the list of nodes is another one.
async fn watch(roster: Roster) {
    loop {
        tokio::time::sleep(LIST_LOOK).await;
        let roster = roster.clone();
        // What came of it is in the log.
        let _ = tokio::task::spawn_blocking(move || roster.look()).await;
    }
}

/// Reloads at every SIGHUP.
async fn reload_signals(operator: Operator) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup()).into_diagnostic()?;
    while hangup.recv().await.is_some() {
        let operator = operator.clone();
        // What came of it is in the log.
        let _ = tokio::task::spawn_blocking(move || operator.reload()).await;
    }
    std::future::pending().await
}

async fn stop_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).into_diagnostic()?;
    let mut interrupt = signal(SignalKind::interrupt()).into_diagnostic()?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "stopping");
    Ok(())
}

/// Memory in pages of 4 KiB, whatever the host's setting, but for large tables that ask for huge ones: with huge pages
/// everywhere an idle connection's share doubles (docs/decisions/idle-connections.md).
fn small_pages() {
    if let Err(error) = fabric::memory::huge_pages_if_asked() {
        tracing::info!(%error, "transparent huge pages stay as the host has them");
    }
}

/// Every connection is a descriptor: takes as many as the host allows.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}
