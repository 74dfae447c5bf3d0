//! What is durable: the journals of the data folder and the store behind them, opened and replayed.

use std::path::PathBuf;
use std::sync::Arc;

use fabric::disk::FileDisk;
use fabric::entropy::OsEntropy;
use fabric::time::{Clock as _, SystemClock};
use fabric::trace::Spans;
use miette::{IntoDiagnostic as _, Result, WrapErr as _};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use scylla_store::{ScyllaStore, Writer};
use storage_writer::folder::DataFolder;
use storage_writer::lease::LeaseTable;
use storage_writer::partition::{
    self, Job, JobDone, OpenConfig, Opened, Outage, Partition, PartitionConfig, RecoverySummary, StorageMetrics,
};
use storage_writer::spool::{Spool, SpoolConfig};
use storage_writer::store::breaker::Breaker;
use storage_writer::store::fjall::{FjallConfig, FjallStore};
use storage_writer::store::{Guarded, Store};

use super::keeper::Opener;
use super::leases::Watched;
use crate::backup::job::Backups;
use crate::backup::take::Source;
use crate::config::Config;
use crate::engine;
use crate::figures::{FolderFigures, ScyllaFigures, StoreFigures};
use crate::node::{CREDITS_PER_PARTITION, Topology};
use crate::state::StoreWay;

/// Where the store is the commit, a memory table is written down at this size and age, bytes and ms: a takeover replays as much.
const OWNED_TABLE_BYTES: usize = 16 << 20;
const OWNED_TABLE_AGE_MS: u64 = 60_000;

/// Who keeps messages behind the journal.
enum Engine {
    Embedded(Arc<FjallStore>),
    Scylla(Arc<ScyllaStore>),
}

impl Engine {
    /// Opens the configured one, unless the folder's messages are elsewhere.
    fn open(config: &Config, folder: &DataFolder) -> Result<Self> {
        engine::check(folder, &config.store)?;
        if !config.store.is_scylla() {
            let store_config = FjallConfig { cache_bytes: config.storage.cache_bytes, ..FjallConfig::default() };
            let store = FjallStore::open(&folder.store_path(), store_config).into_diagnostic()?;
            return Ok(Self::Embedded(Arc::new(store)));
        }
        let scylla = config.store.scylla()?;
        if config.store.is_shared() {
            let store = ScyllaStore::open_shared(&scylla).into_diagnostic()?;
            engine::note(folder, &config.store)?;
            return Ok(Self::Scylla(Arc::new(store)));
        }
        let writer = Writer { cluster: folder.format().cluster, node: folder.format().node };
        let store = ScyllaStore::open(&scylla, writer).into_diagnostic()?;
        engine::note(folder, &config.store)?;
        Ok(Self::Scylla(Arc::new(store)))
    }

    fn store(&self) -> &dyn Store {
        match self {
            Self::Embedded(store) => &**store,
            Self::Scylla(store) => &**store,
        }
    }
}

/// What is durable, opened.
pub(super) struct Storage {
    engine: Engine,
    disk: FileDisk,
    opened: Opened,
    metrics: Vec<StorageMetrics>,
    folder: PathBuf,
    /// What partitions are opened with that come while this process runs.
    owned: Option<PartitionConfig>,
    /// The store where it is the commit.
    shared: Option<Shared>,
}

/// A store that is the commit, behind its breaker.
#[derive(Clone)]
struct Shared {
    store: Arc<Guarded<Arc<ScyllaStore>>>,
    breaker: Arc<Breaker>,
}

impl Shared {
    fn new(store: &Arc<ScyllaStore>) -> Self {
        let breaker = Arc::new(Breaker::default());
        let store = Guarded::new(Arc::clone(store), Arc::clone(&breaker), Arc::new(SystemClock));
        Self { store: Arc::new(store), breaker }
    }
}

impl Storage {
    /// Opens store and journals and replays what they hold. `remote_shards`: gateway shards of other nodes that may send;
    /// `spans`: where spans of traced messages go.
    pub(super) fn open(
        config: &Config,
        folder: &DataFolder,
        topology: Topology,
        (remote_shards, spans): (usize, Option<Spans>),
    ) -> Result<Self> {
        let engine = Engine::open(config, folder)?;
        let disk =
            FileDisk::open(folder.journal_path()).into_diagnostic().wrap_err("the journal folder cannot be used")?;
        let metrics: Vec<StorageMetrics> = (0..topology.partitions).map(|_| StorageMetrics::new()).collect();
        let shards = usize::from(topology.gateways()) + remote_shards;
        if config.store.is_shared() {
            let credits = CREDITS_PER_PARTITION as usize / usize::from(topology.partitions) * shards;
            let Engine::Scylla(store) = &engine else { miette::bail!("only a cluster can be shared") };
            let shared = Shared::new(store);
            let outage = open_spool(config, folder, topology, &shared.breaker)?;
            let owned = PartitionConfig {
                spans,
                outage,
                freeze_bytes: OWNED_TABLE_BYTES.min(config.storage.memory_table_bytes as usize),
                freeze_age_ms: OWNED_TABLE_AGE_MS,
                ..partition_config(config, credits)
            };
            let opened = Opened { partitions: Vec::new(), recovery: RecoverySummary::default() };
            let folder = folder.path().to_owned();
            return Ok(Self { engine, disk, opened, metrics, folder, owned: Some(owned), shared: Some(shared) });
        }
        let credits = CREDITS_PER_PARTITION as usize * shards;
        let (partitions, dedupe_secret) = (topology.partitions, folder.format().dedupe_secret);
        let open = OpenConfig {
            partitions,
            partition: PartitionConfig { spans, ..partition_config(config, credits) },
            dedupe_secret,
        };
        let now = SystemClock.now();
        let mut metrics_of = |partition: u16| metrics[usize::from(partition)].clone();
        let opened = partition::open(&open, engine.store(), &disk, &mut OsEntropy, now, &mut metrics_of)
            .into_diagnostic()
            .wrap_err("cannot recover")?;
        let took_ms = SystemClock.now().mono_ms() - now.mono_ms();
        tracing::info!(recovery = ?opened.recovery, took_ms, "storage is open");
        Ok(Self { engine, disk, opened, metrics, folder: folder.path().to_owned(), owned: None, shared: None })
    }

    /// The table of leases, and what opens the partitions that it gives; `None` where all partitions are this process's.
    pub(super) fn shared(&self) -> Option<(Arc<dyn LeaseTable>, Opener)> {
        let (Engine::Scylla(store), Some(partition)) = (&self.engine, &self.owned) else { return None };
        let behind = Arc::clone(&self.shared.as_ref()?.store);
        let opener = Opener { store: behind, partition: partition.clone(), metrics: self.metrics.clone() };
        let breaker = Arc::clone(&self.shared.as_ref()?.breaker);
        Some((Arc::new(Watched { table: store.clone(), breaker }), opener))
    }

    /// Where sends are kept while a store is away that is the commit.
    pub(super) fn outage(&self) -> Option<Outage> {
        self.owned.as_ref()?.outage.clone()
    }

    /// The way to the store where it is the commit.
    pub(super) fn way(&self) -> Option<StoreWay> {
        let breaker = Arc::clone(&self.shared.as_ref()?.breaker);
        Some(StoreWay { breaker, spool: self.outage().map(|outage| outage.spool) })
    }

    /// Its partitions, each once.
    pub(super) fn take_partitions(&mut self) -> Vec<Partition> {
        std::mem::take(&mut self.opened.partitions)
    }

    /// Adds what it counts, and what this start found, to `registry`.
    pub(super) fn register(&self, registry: &mut Registry) {
        for (number, metrics) in (0u16..).zip(&self.metrics) {
            metrics.register(registry.sub_registry_with_label(("partition".into(), number.to_string().into())));
        }
        match &self.engine {
            Engine::Embedded(store) => registry.register_collector(Box::new(StoreFigures(store.clone()))),
            Engine::Scylla(store) => registry.register_collector(Box::new(ScyllaFigures(store.clone()))),
        }
        self.shared.iter().for_each(|shared| shared.breaker.register(registry));
        self.outage().iter().for_each(|outage| outage.spool.register(registry));
        registry.register_collector(Box::new(FolderFigures(self.folder.clone())));
        register_recovery(&self.opened.recovery, registry);
    }

    /// What each partition counts, by number.
    pub(super) fn metrics(&self) -> Vec<StorageMetrics> {
        self.metrics.clone()
    }

    /// What takes backups of it while it serves; to be made before its partitions are taken. `None` where its messages are
    /// in a cluster, which has its own.
    pub(super) fn backups(&self, folder: &DataFolder) -> Result<Option<Backups>> {
        let Engine::Embedded(store) = &self.engine else { return Ok(None) };
        Ok(Some(Backups::new(Source {
            folder: std::path::absolute(folder.path()).into_diagnostic()?,
            format: *folder.format(),
            store: Arc::clone(store),
            disk: self.disk.clone(),
            watches: self.opened.partitions.iter().filter_map(Partition::journal_watch).collect(),
        })))
    }

    /// Does a partition's job. Blocks.
    pub(super) fn run(&self, job: Job) -> JobDone {
        let shared = self.shared.as_ref().map(|shared| &*shared.store as &dyn Store);
        partition::run_job(job, shared.unwrap_or_else(|| self.engine.store()), &self.disk)
    }
}

/// The spool of a writer whose store is the commit, unless it is configured to have none.
fn open_spool(
    config: &Config,
    folder: &DataFolder,
    topology: Topology,
    breaker: &Arc<Breaker>,
) -> Result<Option<Outage>> {
    if config.store.spool_bytes == 0 && !folder.spool_path().exists() {
        return Ok(None);
    }
    let disk = FileDisk::open(folder.spool_path()).into_diagnostic().wrap_err("the spool's folder cannot be used")?;
    let bounds = SpoolConfig { limit_bytes: config.store.spool_bytes, ..SpoolConfig::default() };
    let spool = Spool::open(disk, bounds, topology.partitions, SystemClock.now()).into_diagnostic()?;
    if config.store.spool_bytes == 0 {
        let queued = spool.waiting();
        miette::ensure!(
            queued == 0,
            "{queued} queued sends in {} were promised to be stored: set store.spool_bytes above 0 until \
             shardwire_spool_waiting is 0",
            folder.spool_path().display()
        );
        return Ok(None);
    }
    Ok(Some(Outage { breaker: Arc::clone(breaker), spool: Arc::new(spool) }))
}

fn partition_config(config: &Config, credits: usize) -> PartitionConfig {
    PartitionConfig {
        freeze_bytes: config.storage.memory_table_bytes as usize,
        waiting_sends: credits,
        refusals: 4 * credits,
        group_members: config.limits.group_members as usize,
        deliveries_per_second_per_group: config.limits.deliveries_per_second_per_group,
        deliveries_per_second_per_sender: config.limits.deliveries_per_second_per_sender,
        edit_window_s: config.limits.edit_window_s,
        delete_window_s: config.limits.delete_window_s,
        segment_bytes: config.storage.journal_segment_bytes,
        ..PartitionConfig::default()
    }
}

/// What this start found; it does not change until the next.
fn register_recovery(found: &RecoverySummary, registry: &mut Registry) {
    let figures = [
        ("recovery_records", "Journal records replayed at the start", found.records),
        ("recovery_torn_tails", "Torn journal tails cut at the start", found.torn),
        ("recovery_superseded_blocks", "Journal blocks that a later segment had superseded", found.superseded),
    ];
    for (name, help, value) in figures {
        let gauge = Gauge::<i64>::default();
        gauge.set(value as i64);
        registry.register(name, help, gauge);
    }
}
