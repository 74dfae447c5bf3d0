//! What the process knows of itself while it serves: for HTTP, the admin socket and the ready line.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use fabric::mutex::lock;
use fabric::time::{Clock as _, SystemClock};
use gateway::GatewayMetrics;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use storage_writer::partition::{PartitionStatus, StorageMetrics};
use storage_writer::spool::Spool;
use storage_writer::store::breaker::{Breaker, BreakerState};

use crate::figures::ProcessFigures;
use crate::node::{Board, ClusterView, Holdings};
use crate::status::{PartitionLine, Status};
use crate::tls::Certificates;

/// Where the start or stop has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Not serving yet.
    Starting,
    /// Serving.
    Serving,
    /// Told to stop.
    Stopping,
}

/// The addresses that are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// Native protocol.
    pub native: SocketAddr,
    /// WebSocket.
    pub ws: SocketAddr,
    /// HTTP.
    pub http: SocketAddr,
}

struct Inner {
    started_ms: u64,
    shards: u16,
    driver: &'static str,
    addresses: Mutex<Addresses>,
    registry: Registry,
    ready: Gauge,
    gateways: Vec<GatewayMetrics>,
    partitions: Vec<StorageMetrics>,
    board: Board,
    certificates: Option<Certificates>,
    cluster: Option<ClusterView>,
    holdings: Option<Holdings>,
    store_way: Option<StoreWay>,
    phase: Mutex<Phase>,
}

/// How a writer stands with a store that is the commit.
pub struct StoreWay {
    /// Whether it answers.
    pub breaker: Arc<Breaker>,
    /// Where sends are kept while it does not, if anywhere.
    pub spool: Option<Arc<Spool>>,
}

/// The process's knowledge of itself; clones share it. Any thread.
#[derive(Clone)]
pub struct ServerState(Arc<Inner>);

/// What a [`ServerState`] is made of.
pub struct Parts {
    /// Connection threads.
    pub shards: u16,
    /// `io_uring` or `epoll`.
    pub driver: &'static str,
    /// Served addresses.
    pub addresses: Addresses,
    /// Every metric of the process.
    pub registry: Registry,
    /// One a shard.
    pub gateways: Vec<GatewayMetrics>,
    /// One a partition.
    pub partitions: Vec<StorageMetrics>,
    /// Statuses of the partitions.
    pub board: Board,
    /// What listeners show; `None` without TLS.
    pub certificates: Option<Certificates>,
    /// The other nodes; `None` where one process does it all.
    pub cluster: Option<ClusterView>,
    /// Where this is one of several writers that share a store.
    pub holdings: Option<Holdings>,
    /// The way to a store that is the commit; `None` where a journal is.
    pub store_way: Option<StoreWay>,
}

impl ServerState {
    /// Serving does not begin until [`Self::set_phase`] says so.
    pub fn new(mut parts: Parts) -> Self {
        let ready = Gauge::default();
        parts.registry.register("ready", "1 while new work is taken, as /readyz says", ready.clone());
        parts.registry.register_collector(Box::new(ProcessFigures::new()));
        Self(Arc::new(Inner {
            started_ms: SystemClock.now().mono_ms(),
            shards: parts.shards,
            driver: parts.driver,
            addresses: Mutex::new(parts.addresses),
            registry: parts.registry,
            ready,
            gateways: parts.gateways,
            partitions: parts.partitions,
            board: parts.board,
            certificates: parts.certificates,
            cluster: parts.cluster,
            holdings: parts.holdings,
            store_way: parts.store_way,
            phase: Mutex::new(Phase::Starting),
        }))
    }

    fn addresses_lock(&self) -> MutexGuard<'_, Addresses> {
        lock(&self.0.addresses)
    }

    /// Where the start or stop has come to.
    pub fn phase(&self) -> Phase {
        *self.phase_lock()
    }

    fn phase_lock(&self) -> MutexGuard<'_, Phase> {
        lock(&self.0.phase)
    }

    /// Notes the address HTTP got.
    pub fn set_http(&self, http: SocketAddr) {
        self.addresses_lock().http = http;
    }

    /// The addresses that are served.
    pub fn addresses(&self) -> Addresses {
        *self.addresses_lock()
    }

    /// Connection threads.
    pub fn shards(&self) -> u16 {
        self.0.shards
    }

    /// What listeners show; `None` without TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.0.certificates.as_ref()
    }

    /// Notes where the start or stop has come to.
    pub fn set_phase(&self, phase: Phase) {
        *self.phase_lock() = phase;
    }

    /// `Ok` while new work is taken, else why not.
    ///
    /// # Errors
    /// For people: starting, stopping, which partitions cannot store, or which nodes are missed.
    pub fn readiness(&self) -> Result<(), String> {
        match self.phase() {
            Phase::Starting => return Err("starting".to_owned()),
            Phase::Stopping => return Err("stopping".to_owned()),
            Phase::Serving => {}
        }
        if self.0.holdings.as_ref().is_some_and(|holdings| !holdings.is_settled()) {
            return Err("partitions are nobody's yet, or are being opened here".to_owned());
        }
        let poisoned = (0..).zip(&self.0.partitions).filter(|(_, metrics)| metrics.poisoned.get() != 0);
        let numbers: Vec<String> = poisoned.map(|(number, _): (u16, _)| number.to_string()).collect();
        if numbers.is_empty() {
            return self.0.cluster.as_ref().map_or(Ok(()), ClusterView::readiness);
        }
        Err(format!(
            "messages cannot be stored: nothing of partition {} can be made durable (disk full or failing, or a lease in the shared \
             store is over); retrying",
            numbers.join(", ")
        ))
    }

    /// What an operator should know though new work is taken: the store does not answer, or sends wait for it.
    pub fn note(&self) -> Option<String> {
        let StoreWay { breaker, spool } = self.0.store_way.as_ref()?;
        let (state, queued) = (breaker.state(), spool.as_ref().map_or(0, |spool| spool.waiting()));
        match state {
            BreakerState::Closed if queued == 0 => None,
            BreakerState::Closed => Some(format!("the store answers; {queued} queued sends are still to go")),
            _ => Some(format!("the store does not answer (breaker {}); sends queued: {queued}", state.name())),
        }
    }

    /// Every metric as Prometheus text.
    pub fn metrics_text(&self) -> String {
        self.0.ready.set(i64::from(self.readiness().is_ok()));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.0.registry);
        text
    }

    /// What gateway shards count, by number.
    pub fn gateways(&self) -> &[GatewayMetrics] {
        &self.0.gateways
    }

    /// What owner partitions count, by number.
    pub fn storage(&self) -> &[StorageMetrics] {
        &self.0.partitions
    }

    /// How owner partitions stand, at most a second old.
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        self.0.board.read()
    }

    /// For `shardwire status`.
    pub fn status(&self) -> Status {
        let inner = &*self.0;
        let addresses = self.addresses();
        let line = |status: PartitionStatus| PartitionLine {
            partition: status.partition,
            ordered_lsn: status.ordered_lsn,
            committed_lsn: status.committed_lsn,
            applied_lsn: status.applied_lsn,
            chats: status.chats,
            memory_bytes: status.memory_bytes,
            journal_segments: status.journal_segments,
            poisoned: status.poisoned,
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: SystemClock.now().mono_ms().saturating_sub(inner.started_ms) / 1_000,
            readiness: self.readiness().err().unwrap_or_else(|| "ready".to_owned()),
            driver: inner.driver.to_owned(),
            native: addresses.native.to_string(),
            ws: addresses.ws.to_string(),
            http: addresses.http.to_string(),
            connections: inner.gateways.iter().map(|metrics| metrics.connections.get()).sum(),
            sessions: inner.gateways.iter().map(|metrics| metrics.sessions.get()).sum(),
            shards: inner.shards,
            partitions: inner.board.read().into_iter().map(line).collect(),
            nodes: inner.cluster.as_ref().map(ClusterView::lines).unwrap_or_default(),
            development_key: false,
            keys: Vec::new(),
            revoked: Vec::new(),
        }
    }
}
