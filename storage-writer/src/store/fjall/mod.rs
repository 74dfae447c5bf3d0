//! The embedded store: fjall, fed by sorted ingestion only.
//!
//! Four kinds of keyspace ([`rows`] draws their keys). Every flush is one sorted run a keyspace, ingested in the order
//! entries, chat states, dedupe answers, applied positions; nothing passes through the engine's own journal and memtables.
//! Each ingestion is synced and becomes visible whole; a crash between two leaves rows that the replayed journal writes
//! again, equal.
//!
//! What must stay true: all threads that call a store share one file descriptor table with the thread that opened it (the
//! engine caches open files); one process has a folder open; a failed flush is followed by opening the engine anew, which
//! removes what it left and restarts the engine's worker, that ends with the first failing write.

mod checkpoint;
mod engine;
mod error;
mod expiry;
mod flush;
mod hits;
mod read;
mod rows;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use fabric::mutex::lock;
use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, MessageId};
use schema::limits::DEDUPE_KEEP_MS;

use super::{
    ChatState, DedupeHit, FlushReport, FlushRun, HistoryRange, Store, StoreError, StoreStats, StoredEntry, codec,
};
use crate::lsn::{JournalId, Lsn};
pub use checkpoint::Checkpoint;
use engine::Engine;
use error::{bad_row, guarded};
use expiry::ClockSeconds;

/// How the engine is set up. `cache_bytes`, `open_files` and `level0_limit` hold from the next start on, the others for
/// keyspaces made from then on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FjallConfig {
    /// Blocks kept in memory, bytes.
    pub cache_bytes: u64,
    /// Files kept open; at least 1.
    pub open_files: usize,
    /// LZ4 below the first level: less disk for more CPU.
    pub compress: bool,
    /// Level-0 tables of entries, and of dedupe answers, that start a merge: more of them make merges rarer and a page
    /// dearer, since it looks into each.
    pub level0_merge: u8,
    /// Size tables are cut at by merges, bytes.
    pub table_bytes: u64,
    /// Level-0 tables above which a flush waits for merges.
    pub level0_limit: usize,
}

impl Default for FjallConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 32 * 1024 * 1024,
            open_files: 256,
            compress: false,
            level0_merge: 12,
            table_bytes: 64 * 1024 * 1024,
            level0_limit: 32,
        }
    }
}

/// See the module.
pub struct FjallStore {
    folder: PathBuf,
    config: FjallConfig,
    /// `None` after a failed attempt to open it anew; the next change tries again.
    engine: RwLock<Option<Engine>>,
    /// Held by whoever changes the store. Whether the last change failed.
    failed: Mutex<bool>,
    reopened: AtomicU64,
    clock: ClockSeconds,
}

impl FjallStore {
    /// Opens the store in `folder`, or creates it.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it open, [`StoreError::Newer`], [`StoreError::Damaged`], or
    /// [`StoreError::Io`].
    pub fn open(folder: &Path, config: FjallConfig) -> Result<Self, StoreError> {
        let clock = ClockSeconds::default();
        let engine = guarded("opening", || Engine::open(folder, config, &clock))?;
        Ok(Self {
            folder: folder.to_owned(),
            config,
            engine: RwLock::new(Some(engine)),
            failed: Mutex::new(false),
            reopened: AtomicU64::new(0),
            clock,
        })
    }

    /// Time the engine has spent merging tables since it was opened, µs.
    pub fn compacting_us(&self) -> u64 {
        self.engine.read().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, Engine::compacting_us)
    }

    /// Puts the store as it is now into `into`, an empty folder on the store's own file system: another store that can be
    /// opened there, or copied elsewhere. Cheap: hard links, but for a few small files. Reads go on, a flush waits.
    ///
    /// # Errors
    /// [`StoreError::Io`], e.g. where the file system has no hard links; `into` then holds anything.
    pub fn checkpoint(&self, into: &Path) -> Result<Checkpoint, StoreError> {
        // Held, it keeps every change away; unlike one, this leaves nothing behind in the store when it fails.
        let failed = lock(&self.failed);
        if *failed {
            return Err(StoreError::Poisoned);
        }
        self.with("making a checkpoint", |engine| {
            checkpoint::link(engine, &self.folder, into)?;
            let mut newest_ms = 0;
            load_chats(engine, &mut |state| newest_ms = state.last_ms.max(state.ticked_ms).max(newest_ms))?;
            Ok(Checkpoint { applied: engine.applied()?, newest_ms })
        })
    }

    fn with<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Engine) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let engine: RwLockReadGuard<'_, _> = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let engine = engine.as_ref().ok_or(StoreError::Poisoned)?;
        guarded(doing, || work(engine))
    }

    /// Changes the store, opening the engine anew first if its last change failed or its worker has stopped.
    fn change<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Engine) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut failed = lock(&self.failed);
        if *failed || self.with(doing, |engine| Ok(engine.is_stopped())).unwrap_or(true) {
            *failed = true;
            self.open_anew()?;
        }
        let result = self.with(doing, work);
        *failed = result.is_err();
        result
    }

    fn open_anew(&self) -> Result<(), StoreError> {
        let mut slot = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        *slot = None;
        self.reopened.fetch_add(1, Ordering::Relaxed);
        let mut attempts = 0;
        loop {
            match guarded("opening again", || Engine::open(&self.folder, self.config, &self.clock)) {
                // The old worker may hold the lock file for a moment longer.
                Err(StoreError::Locked) if attempts < 100 => {
                    attempts += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                opened => {
                    *slot = Some(opened?);
                    return Ok(());
                }
            }
        }
    }
}

fn load_chats(engine: &Engine, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
    const DOING: &str = "reading chat states";
    for row in engine.chats.iter() {
        let (key, row) = row.into_inner().map_err(error::engine(DOING))?;
        let chat = <[u8; 16]>::try_from(&*key).map_err(|_| codec::BadRow("a chat key has the wrong length"));
        let state = chat.and_then(|chat| codec::state(ChatId(chat), &row)).map_err(bad_row(DOING))?;
        each(state);
    }
    Ok(())
}

impl Store for FjallStore {
    fn flush(&self, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        self.change("flushing", |engine| flush::flush(engine, run))
    }

    fn history(&self, chat: ChatId, range: HistoryRange) -> Result<Vec<StoredEntry>, StoreError> {
        self.with("reading history", |engine| read::history(engine, chat, range))
    }

    fn find_message(&self, chat: ChatId, message: MessageId) -> Result<Option<u64>, StoreError> {
        self.with("finding a message", |engine| read::find_message(engine, chat, message))
    }

    fn dedupe(&self, key: DedupeKey) -> Result<Option<DedupeHit>, StoreError> {
        self.with("reading dedupe answers", |engine| read::dedupe(engine, key))
    }

    fn dedupe_since(&self, wall_ms: u64, each: &mut dyn FnMut(DedupeKey, DedupeHit)) -> Result<(), StoreError> {
        self.with("reading dedupe answers", |engine| read::dedupe_since(engine, wall_ms, each))
    }

    fn load_chats(&self, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
        self.with("reading chat states", |engine| load_chats(engine, each))
    }

    fn applied(&self) -> Result<Vec<(JournalId, Lsn)>, StoreError> {
        self.with("reading applied positions", Engine::applied)
    }

    fn forget_journals(&self, journals: &[JournalId]) -> Result<(), StoreError> {
        self.change("forgetting journals", |engine| {
            let mut applied: std::collections::BTreeMap<_, _> = engine.applied()?.into_iter().collect();
            let before = applied.len();
            applied.retain(|journal, _| !journals.contains(journal));
            if applied.len() == before { Ok(()) } else { engine.set_applied(&applied) }
        })
    }

    fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        self.clock.store(now_ms / 1_000, Ordering::Relaxed);
        let oldest = rows::bucket(now_ms.saturating_sub(DEDUPE_KEEP_MS));
        self.change("dropping dedupe answers", |engine| engine.drop_buckets_below(oldest))
    }

    fn stats(&self) -> StoreStats {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().map_or(StoreStats::default(), |engine| StoreStats {
            disk_bytes: engine.disk_bytes(),
            level0_runs: engine.level0() as u64,
            tables: engine.tables() as u64,
            reopened: self.reopened.load(Ordering::Relaxed),
        })
    }
}

#[cfg(test)]
mod tests;
