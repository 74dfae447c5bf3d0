//! The open database: its keyspaces, how they are set up, and the runs that are fed to them.
//!
//! What must stay true: nothing is written but by ingestion, so the engine's own journal stays empty; the format row is
//! written after the keyspaces it vouches for exist; a dedupe keyspace is listed in `meta` before anything is in it and
//! until it is dropped, so that a missing one is noticed; their number is bounded.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ::fjall::compaction::Leveled;
use ::fjall::compaction::filter::Factory;
use ::fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry, PinningPolicy};
use ::fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::FjallConfig;
use super::error::{bad_row, engine};
use super::expiry::{ClockSeconds, Expiry};
use crate::lsn::{JournalId, Lsn};
use crate::store::{StoreError, codec};

/// The format this build writes and reads. Format 1 was never released.
pub(super) const STORE_FORMAT: u16 = 2;
/// Most dedupe keyspaces: a day's, and room for clocks that jump.
pub(super) const MAX_BUCKETS: usize = 16;

/// Level-0 tables of small rows that are replaced at every flush: a start reads all of them.
const STATES_MERGE: u8 = 4;

const ENTRIES: &str = "entries";
const FORMAT_KEY: &str = "format";
const BUCKETS_KEY: &str = "dedupe buckets";
const APPLIED_KEY: &str = "applied";
const DEDUPE_PREFIX: &str = "dedupe-";
const OPENING: &str = "opening";

pub(super) struct Engine {
    pub(super) entries: Keyspace,
    pub(super) chats: Keyspace,
    meta: Keyspace,
    /// By bucket of wall time.
    dedupe: RwLock<BTreeMap<u64, Keyspace>>,
    config: FjallConfig,
    // Last: keyspaces go before the database that their workers serve.
    database: Database,
}

impl Engine {
    /// Opens or creates the database in `folder`.
    pub(super) fn open(folder: &Path, config: FjallConfig, clock: &ClockSeconds) -> Result<Self, StoreError> {
        check_folder(folder)?;
        let expiry: Arc<dyn Factory> = Arc::new(Expiry(Arc::clone(clock)));
        let database = Database::builder(folder)
            .with_compaction_filter_factories(Arc::new(move |name| (name == ENTRIES).then(|| Arc::clone(&expiry))))
            // One: with two, the engine's first worker hands compactions back to the queue in a busy loop.
            .worker_threads(1)
            .cache_size(config.cache_bytes)
            .max_cached_files(Some(config.open_files))
            .open()
            .map_err(engine(OPENING))?;
        // Asked before any is made: which of them the folder already has.
        let names = database.list_keyspace_names();
        let complete = [ENTRIES, "chats", "meta"].iter().all(|core| names.iter().any(|name| &**name == *core));
        let entries =
            database.keyspace(ENTRIES, || options(config, 16, config.level0_merge)).map_err(engine(OPENING))?;
        let chats = database.keyspace("chats", || options(config, 4, STATES_MERGE)).map_err(engine(OPENING))?;
        let meta = database.keyspace("meta", || options(config, 4, STATES_MERGE)).map_err(engine(OPENING))?;
        let this = Self { entries, chats, meta, dedupe: RwLock::default(), config, database };
        this.check_format(complete)?;
        this.open_buckets(names.iter().filter_map(|name| name.strip_prefix(DEDUPE_PREFIX)?.parse().ok()))?;
        Ok(this)
    }

    /// `complete`: all keyspaces that the format row vouches for were there.
    fn check_format(&self, complete: bool) -> Result<(), StoreError> {
        match self.meta.get(FORMAT_KEY).map_err(engine(OPENING))?.as_deref() {
            Some(&[high, low]) => {
                let format = u16::from_be_bytes([high, low]);
                if format > STORE_FORMAT {
                    return Err(StoreError::Newer { found: format, known: STORE_FORMAT });
                }
                if format < STORE_FORMAT {
                    return Err(StoreError::Older { found: format, known: STORE_FORMAT });
                }
                if complete { Ok(()) } else { Err(damaged("a keyspace is missing")) }
            }
            Some(_) => Err(damaged("the format row has the wrong length")),
            None if self.entries.table_count() + self.chats.table_count() > 0 => {
                Err(damaged("there are entries but no format row"))
            }
            None => self.ingest_meta(OPENING, FORMAT_KEY, &STORE_FORMAT.to_be_bytes()),
        }
    }

    /// Opens the dedupe keyspaces that the list names, and drops those that a crash left beside it.
    fn open_buckets(&self, found: impl Iterator<Item = u64>) -> Result<(), StoreError> {
        let mut listed = match self.meta.get(BUCKETS_KEY).map_err(engine(OPENING))? {
            Some(row) => codec::buckets(&row).map_err(bad_row(OPENING))?,
            None => Vec::new(),
        };
        let mut dedupe = self.dedupe.write().unwrap_or_else(PoisonError::into_inner);
        for bucket in found {
            let keyspace = self.bucket_keyspace(bucket)?;
            match listed.iter().position(|listed| *listed == bucket) {
                Some(at) => {
                    listed.swap_remove(at);
                    dedupe.insert(bucket, keyspace);
                }
                None => self.database.delete_keyspace(keyspace).map_err(engine(OPENING))?,
            }
        }
        if listed.is_empty() { Ok(()) } else { Err(damaged("a keyspace of dedupe answers is missing")) }
    }

    fn bucket_keyspace(&self, bucket: u64) -> Result<Keyspace, StoreError> {
        let name = format!("{DEDUPE_PREFIX}{bucket}");
        self.database
            .keyspace(&name, || options(self.config, 16, self.config.level0_merge))
            .map_err(engine("opening dedupe answers"))
    }

    fn list_buckets<'a>(&self, buckets: impl Iterator<Item = &'a u64>) -> Result<(), StoreError> {
        let buckets: Vec<_> = buckets.copied().collect();
        self.ingest_meta("listing dedupe answers", BUCKETS_KEY, &codec::buckets_row(&buckets))
    }

    #[cfg(test)]
    pub(super) fn set_format_for_tests(&self, format: u16) {
        self.ingest_meta(OPENING, FORMAT_KEY, &format.to_be_bytes()).expect("a test's folder is writable");
    }

    /// Whether a background failure has stopped the engine's worker; only opening it anew starts another.
    pub(super) fn is_stopped(&self) -> bool {
        // Nothing is ever in the engine's journal, so this only asks.
        self.database.persist(PersistMode::Buffer).is_err()
    }

    /// Feeds one sorted run: all of it becomes visible and durable at once, or nothing does.
    pub(super) fn ingest(
        doing: &'static str,
        keyspace: &Keyspace,
        fill: impl FnOnce(&mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut ingestion = keyspace.start_ingestion().map_err(engine(doing))?;
        fill(&mut |key, row| ingestion.write(key, row).map_err(engine(doing)))?;
        ingestion.finish().map_err(engine(doing))
    }

    fn ingest_meta(&self, doing: &'static str, key: &str, row: &[u8]) -> Result<(), StoreError> {
        Self::ingest(doing, &self.meta, |write| write(key.as_bytes(), row))
    }

    /// The applied positions, in journal order.
    pub(super) fn applied(&self) -> Result<Vec<(JournalId, Lsn)>, StoreError> {
        const DOING: &str = "reading applied positions";
        match self.meta.get(APPLIED_KEY).map_err(engine(DOING))? {
            Some(row) => codec::applied(&row).map_err(bad_row(DOING)),
            None => Ok(Vec::new()),
        }
    }

    /// Replaces the applied positions.
    pub(super) fn set_applied(&self, applied: &BTreeMap<JournalId, Lsn>) -> Result<(), StoreError> {
        let applied: Vec<_> = applied.iter().map(|(journal, lsn)| (*journal, *lsn)).collect();
        self.ingest_meta("writing applied positions", APPLIED_KEY, &codec::applied_row(&applied))
    }

    /// The dedupe keyspaces at or above a bucket, newest first.
    pub(super) fn buckets(&self, from: u64) -> Vec<(u64, Keyspace)> {
        let dedupe = self.dedupe.read().unwrap_or_else(PoisonError::into_inner);
        dedupe.range(from..).rev().map(|(bucket, keyspace)| (*bucket, keyspace.clone())).collect()
    }

    /// The dedupe keyspace of a bucket, made if need be; then the one furthest from it makes room.
    pub(super) fn bucket(&self, bucket: u64) -> Result<Keyspace, StoreError> {
        let mut dedupe = self.dedupe.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(keyspace) = dedupe.get(&bucket) {
            return Ok(keyspace.clone());
        }
        if dedupe.len() >= MAX_BUCKETS
            && let Some(furthest) = dedupe.keys().copied().max_by_key(|other| other.abs_diff(bucket))
        {
            self.drop_bucket(&mut dedupe, furthest)?;
        }
        let keyspace = self.bucket_keyspace(bucket)?;
        self.list_buckets(dedupe.keys().chain([&bucket]))?;
        dedupe.insert(bucket, keyspace.clone());
        Ok(keyspace)
    }

    /// Drops every dedupe keyspace below a bucket.
    pub(super) fn drop_buckets_below(&self, bucket: u64) -> Result<(), StoreError> {
        let mut dedupe = self.dedupe.write().unwrap_or_else(PoisonError::into_inner);
        while let Some(oldest) = dedupe.keys().next().copied().filter(|oldest| *oldest < bucket) {
            self.drop_bucket(&mut dedupe, oldest)?;
        }
        Ok(())
    }

    fn drop_bucket(&self, dedupe: &mut BTreeMap<u64, Keyspace>, bucket: u64) -> Result<(), StoreError> {
        self.list_buckets(dedupe.keys().filter(|other| **other != bucket))?;
        match dedupe.remove(&bucket) {
            Some(keyspace) => self.database.delete_keyspace(keyspace).map_err(engine("dropping dedupe answers")),
            None => Ok(()),
        }
    }

    /// Ingestion passes by the engine's own back-pressure, so this waits for merges, 10 s at most. Returns ms waited.
    ///
    /// # Errors
    /// When merges are needed but fail, as they do on a full disk.
    pub(super) fn throttle(&self) -> Result<u64, StoreError> {
        const STEP_MS: u64 = 5;
        const MOST_MS: u64 = 10_000;
        let mut waited = 0;
        while self.level0() > self.config.level0_limit && waited < MOST_MS {
            if self.is_stopped() {
                let source = io::Error::other("merging tables fails; is the disk full?");
                return Err(StoreError::Io { doing: "waiting for merges", source });
            }
            std::thread::sleep(Duration::from_millis(STEP_MS));
            waited += STEP_MS;
        }
        Ok(waited)
    }

    /// The most level-0 tables of any keyspace.
    pub(super) fn level0(&self) -> usize {
        self.keyspaces().iter().map(Keyspace::l0_table_count).max().unwrap_or(0)
    }

    /// Tables of all keyspaces.
    pub(super) fn tables(&self) -> usize {
        self.keyspaces().iter().map(Keyspace::table_count).sum()
    }

    /// Bytes of all keyspaces on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.keyspaces().iter().map(Keyspace::disk_space).sum()
    }

    /// Time the engine has spent compacting since it was opened, µs.
    pub(super) fn compacting_us(&self) -> u64 {
        u64::try_from(self.database.time_compacting().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn keyspaces(&self) -> Vec<Keyspace> {
        let mut all = vec![self.entries.clone(), self.chats.clone(), self.meta.clone()];
        all.extend(self.buckets(0).into_iter().map(|(_, keyspace)| keyspace));
        all
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged { doing: OPENING, what: what.to_owned() }
}

/// The engine takes a folder without its version marker, or without its list of keyspaces, for an empty one. The marker is
/// written after the list and before the first keyspace.
fn check_folder(folder: &Path) -> Result<(), StoreError> {
    let exists =
        |name: &str| folder.join(name).try_exists().map_err(|source| StoreError::Io { doing: OPENING, source });
    if exists("keyspaces/1")? && !exists("version")? {
        return Err(damaged("the version marker is missing"));
    }
    if exists("version")? && !exists("keyspaces/0/current")? {
        return Err(damaged("the list of keyspaces is missing"));
    }
    Ok(())
}

/// All keyspaces are read by range: no filters, which only single keys use.
fn options(config: FjallConfig, block_kib: u32, level0_merge: u8) -> KeyspaceCreateOptions {
    let compression = if config.compress { CompressionType::Lz4 } else { CompressionType::None };
    KeyspaceCreateOptions::default()
        .with_kv_separation(None)
        .filter_policy(FilterPolicy::all(FilterPolicyEntry::None))
        .data_block_size_policy(BlockSizePolicy::all(block_kib * 1_024))
        .data_block_compression_policy(CompressionPolicy::new([CompressionType::None, compression]))
        // Pinned blocks are memory that no limit covers.
        .filter_block_pinning_policy(PinningPolicy::all(false))
        .index_block_pinning_policy(PinningPolicy::all(false))
        .compaction_strategy(Arc::new(
            Leveled::default().with_l0_threshold(level0_merge).with_table_target_size(config.table_bytes),
        ))
}
