//! The store on Scylla or Cassandra: the same contract as the embedded one, behind the journal.
//!
//! A [`ScyllaStore`] blocks its callers, which are background threads; the driver runs on a thread of its own. The tables
//! are in `schema/cql`; [`migrate()`] makes them. What must stay true: one process writes to a keyspace (it belongs to one
//! data folder, and opening checks that), or one at a time to each of its partitions (it is shared, and their leases see to
//! that); every statement but those on leases may be repeated; what the cluster takes late, or again, never overwrites what
//! is newer ([`mod@write`]).

mod buckets;
mod cluster;
mod config;
mod connect;
mod dedupe;
mod error;
mod leases;
mod migrate;
mod pins;
mod read;
mod runtime;
mod shared;
mod sharing;
mod statements;
mod write;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use fabric::mutex::lock;
use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, MessageId, SLOT_COUNT};
use schema::limits::DEDUPE_KEEP_MS;
use storage_writer::folder::FolderId;
use storage_writer::lsn::{JournalId, Lsn};
use storage_writer::store::{
    ChatState, DedupeHit, FlushReport, FlushRun, HistoryRange, Store, StoreError, StoreStats, StoredEntry,
};
use uuid::Uuid;

pub use config::{Credentials, ScyllaConfig};
pub use error::SetupError;
pub use migrate::{Migrated, migrate};

use cluster::{Cluster, rows};
use dedupe::{Parts, Slices};
use error::away;
use runtime::Runtime;
use shared::Shared;
use statements::{LeaseStatements, Statements};
use write::{Flush, Writing};

/// Whose positions a store keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Writer {
    /// The data folder's cluster: the keyspace's.
    pub cluster: FolderId,
    /// The data folder's node: whose journals they are.
    pub node: FolderId,
}

/// What a store has asked of its cluster since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScyllaCounts {
    /// Requests, batches counted once.
    pub requests: u64,
    /// Those that failed after everything that was tried.
    pub failures: u64,
    /// The last one failed.
    pub is_away: bool,
}

/// See the module.
pub struct ScyllaStore {
    cluster: Cluster,
    node: Uuid,
    concurrency: usize,
    slices: Slices,
    /// Held by whoever changes the store. Of a shared one each partition has its own ([`Shared`]).
    writing: Mutex<Writing>,
    shared: Option<Shared>,
    // Last: the session goes before the threads that it runs on.
    runtime: Runtime,
}

impl ScyllaStore {
    /// Connects, and checks that the keyspace is of this build's version, `writer`'s own, and kept in as many copies as
    /// configured. Blocks; the threads it starts share the caller's table of open files.
    ///
    /// # Errors
    /// [`SetupError`]; each says what to do.
    pub fn open(config: &ScyllaConfig, writer: Writer) -> Result<Self, SetupError> {
        let config = &ScyllaConfig { partitions: None, ..config.clone() };
        Self::connect(config, Some(writer))
    }

    /// As [`Self::open`], for one of several writers of a keyspace that is shared as configured. What it writes it writes as
    /// the owner of partitions, by [`storage_writer::store::SharedStore`]; whose they are it says and changes as a
    /// [`storage_writer::lease::LeaseTable`].
    ///
    /// # Errors
    /// [`SetupError`]; each says what to do.
    ///
    /// # Panics
    /// When `config.partitions` is `None`.
    pub fn open_shared(config: &ScyllaConfig) -> Result<Self, SetupError> {
        assert!(config.partitions.is_some(), "a shared keyspace has partitions");
        Self::connect(config, None)
    }

    fn connect(config: &ScyllaConfig, writer: Option<Writer>) -> Result<Self, SetupError> {
        let runtime = Runtime::start()?;
        let node = Uuid::from_bytes(writer.map_or([0; 16], |writer| writer.node.0));
        let (cluster, writing, slices, sharing) = runtime.block_on(async {
            let session = connect::connect(config).await?;
            let sharing = migrate::check_version(&session, config, writer.map(|writer| writer.cluster)).await?;
            let statements = Statements::prepare(&session, &config.keyspace).await?;
            let leases = LeaseStatements::prepare(&session, &config.keyspace).await?;
            let cluster = Cluster::new(session, statements, leases);
            let writing = Writing::load(&cluster, node).await?;
            let slices = Slices::new(dedupe::slices(&cluster).await?.into_iter());
            Ok::<_, SetupError>((cluster, writing, slices, sharing))
        })?;
        let (concurrency, writing) = (config.concurrency.max(1), Mutex::new(writing));
        Ok(Self { cluster, node, concurrency, slices, writing, shared: sharing.map(Shared::new), runtime })
    }

    /// What it has asked of its cluster.
    pub fn counts(&self) -> ScyllaCounts {
        let (requests, failures) = self.cluster.counts();
        ScyllaCounts { requests, failures, is_away: self.cluster.is_away() }
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        // What a panic leaves is what the cluster was told before it.
        lock(&self.writing)
    }

    fn flushing(&self) -> Flush<'_> {
        let Self { cluster, node, concurrency, slices, .. } = self;
        Flush { cluster, node: *node, concurrency: *concurrency, slices, parts: self.parts() }
    }

    async fn drop_slices(&self, flush: &Flush<'_>, writing: &mut Writing, over: Vec<i64>) -> Result<(), StoreError> {
        const DOING: &str = "dropping dedupe answers";
        let stamp = flush.next_stamp(writing).await?;
        for slice in over {
            self.cluster.run(DOING, &self.cluster.statements.drop_slice, (stamp, slice)).await?;
            self.slices.remove(slice);
        }
        Ok(())
    }

    fn parts(&self) -> Parts {
        self.shared.as_ref().map_or(Parts::ByKey, |shared| Parts::ByPartition(shared.sharing.partitions))
    }
}

impl Writing {
    /// As a writer left it.
    async fn load(cluster: &Cluster, node: Uuid) -> Result<Self, StoreError> {
        const DOING: &str = "reading applied positions";
        let stamp = cluster.run(DOING, &cluster.statements.stamp, (node,)).await?;
        let stamp = rows::<(i64,)>(stamp).map_err(away(DOING))?.first().map_or(0, |(stamp,)| *stamp);
        let mut applied = BTreeMap::new();
        let take = |(journal, lsn): (i64, i64)| {
            // Journals are numbered by u32: another number is not a journal's.
            let journal = u32::try_from(journal).map(JournalId);
            journal.is_ok_and(|journal| applied.insert(journal, Lsn(lsn.cast_unsigned())).is_none())
        };
        cluster.read(DOING, &cluster.statements.applied, (node,), take).await?;
        Ok(Self { stamp, applied, buckets: BTreeMap::new() })
    }
}

impl Store for ScyllaStore {
    /// # Panics
    /// When the store is shared: then it is a partition's owner who writes.
    fn flush(&self, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        assert!(self.shared.is_none(), "a shared store is written to by the owners of its partitions");
        let mut writing = self.writing();
        self.runtime.block_on(self.flushing().run(&mut writing, run, || Ok(())))
    }

    fn history(&self, chat: ChatId, range: HistoryRange) -> Result<Vec<StoredEntry>, StoreError> {
        self.runtime.block_on(read::history(&self.cluster, chat, range))
    }

    fn find_message(&self, chat: ChatId, message: MessageId) -> Result<Option<u64>, StoreError> {
        self.runtime.block_on(read::find_message(&self.cluster, chat, message))
    }

    fn dedupe(&self, key: DedupeKey) -> Result<Option<DedupeHit>, StoreError> {
        self.runtime.block_on(dedupe::find(&self.cluster, &self.slices, &self.parts().of_key(key), key))
    }

    fn dedupe_in(&self, chat: ChatId, key: DedupeKey) -> Result<Option<DedupeHit>, StoreError> {
        let part = self.parts().of(chat, key);
        self.runtime.block_on(dedupe::find(&self.cluster, &self.slices, &[part], key))
    }

    fn dedupe_since(&self, wall_ms: u64, each: &mut dyn FnMut(DedupeKey, DedupeHit)) -> Result<(), StoreError> {
        self.runtime.block_on(dedupe::since(&self.cluster, &self.slices, (&self.parts().all(), wall_ms), each))
    }

    fn load_chats(&self, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
        self.runtime.block_on(read::states(&self.cluster, 0..SLOT_COUNT, each))
    }

    fn applied(&self) -> Result<Vec<(JournalId, Lsn)>, StoreError> {
        Ok(self.writing().applied.iter().map(|(journal, lsn)| (*journal, *lsn)).collect())
    }

    fn forget_journals(&self, journals: &[JournalId]) -> Result<(), StoreError> {
        const DOING: &str = "forgetting journals";
        let mut writing = self.writing();
        let known: Vec<JournalId> = journals.iter().copied().filter(|one| writing.applied.contains_key(one)).collect();
        if known.is_empty() {
            return Ok(());
        }
        self.runtime.block_on(async {
            let stamp = self.flushing().next_stamp(&mut writing).await?;
            for journal in known {
                let values = (stamp, self.node, i64::from(journal.0));
                self.cluster.run(DOING, &self.cluster.statements.drop_applied, values).await?;
                writing.applied.remove(&journal);
            }
            Ok(())
        })
    }

    fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        let over = self.slices.over(now_ms.saturating_sub(DEDUPE_KEEP_MS));
        if over.is_empty() {
            return Ok(());
        }
        if self.shared.is_some() {
            return self.expire_owned(over);
        }
        let mut writing = self.writing();
        self.runtime.block_on(self.drop_slices(&self.flushing(), &mut writing, over))
    }

    /// The cluster's sizes are its own to say: all zero.
    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }
}
