//! The store: where a flushed memory table ends up, and where history older than memory is read.
//!
//! [`Store`] blocks and is called on background threads and at start, never on a shard thread. It speaks of runs,
//! histories and positions, not of tables. [`MemoryStore`] serves tests and simulation, [`fjall::FjallStore`] is the
//! embedded engine, the crate in `storage-writer/scylla` is the one on Scylla or Cassandra; `contract` is the suite that
//! each of them passes. A [`SharedStore`] is one that several writers use.
//!
//! What must stay true: a run is applied whole or its applied positions do not move; applying the same entries again, in
//! whatever grouping, changes nothing that a reader sees; a damaged store is an error, never a wrong answer or a panic.

pub mod breaker;
mod codec;
pub mod contract;
pub mod fjall;
mod guarded;
mod memory;
mod shared;
mod state;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, MessageId};

pub use guarded::Guarded;
pub use memory::{AppendFault, CrashPoint, MemoryStore};
pub use shared::{LoggedBlock, SharedStore, Sharing, Standing, Takeover};
pub use state::{AccountState, ChatState, DeviceState, GroupState, MemberState, OwnDevice, SeatState};

use crate::lease::{Epoch, Tenure};
use crate::lsn::{JournalId, Lsn};

/// One entry of a chat's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEntry {
    /// Its place in the chat, from 1.
    pub seq: u64,
    /// Its id; rises with seq.
    pub message: MessageId,
    /// The Entry frame, as pushed to clients.
    pub frame: Bytes,
}

/// One entry on its way into the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlushEntry<'a> {
    /// Its chat.
    pub chat: ChatId,
    /// Its place in the chat, from 1.
    pub seq: u64,
    /// Its id; rises with seq.
    pub message: MessageId,
    /// The Entry frame; usually a memory table's.
    pub frame: Cow<'a, [u8]>,
    /// From this wall time on nobody asks for it, s since 1970, and the store may forget it; 0 = never. Of an entry that is
    /// written over it is what it was.
    pub expires_s: u32,
}

/// What a change that was seen before was answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DedupeHit {
    /// Its chat.
    pub chat: ChatId,
    /// The seq it was given.
    pub seq: u64,
    /// The id it was given.
    pub message: MessageId,
    /// Wall time it was given at, ms since 1970. Kept for [`schema::limits::DEDUPE_KEEP_MS`].
    pub wall_ms: u64,
}

/// A frozen memory table on its way into the store. In any order: the store sorts what it needs.
#[derive(Clone, Debug, Default)]
pub struct FlushRun<'a> {
    /// Everything of these journals up to these records is in the store once this run is.
    pub applied: Vec<(JournalId, Lsn)>,
    /// New entries; cheapest in the order of chats and seqs. Some may have been flushed before, or be there twice.
    pub entries: Vec<FlushEntry<'a>>,
    /// Entries that the store may have, as they are now: those that it has are written over, wherever they are kept.
    pub amended: Vec<FlushEntry<'a>>,
    /// State of every chat that changed.
    pub states: Vec<ChatState>,
    /// Changes to remember.
    pub dedupe: Vec<(DedupeKey, DedupeHit)>,
}

/// What a flush did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlushReport {
    /// Entries written.
    pub entries: u64,
    /// Rows written, all kinds.
    pub rows: u64,
    /// Bytes of keys and values written, before compression.
    pub bytes: u64,
    /// How long the flush waited for compaction to catch up, ms.
    pub throttled_ms: u64,
}

/// What a store can say about itself, for metrics and `doctor`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreStats {
    /// Bytes on disk (or held, for a store in memory).
    pub disk_bytes: u64,
    /// The most level-0 runs of any keyspace: high while compaction is behind.
    pub level0_runs: u64,
    /// Tables of all keyspaces.
    pub tables: u64,
    /// Times the engine was opened anew after a failure, since the process started.
    pub reopened: u64,
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refused; trying again later can help.
    #[error("store: {doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The disk's answer.
        source: std::io::Error,
    },
    /// The engine is another process, and cannot be reached or refused; trying again later can help.
    #[error("store: {doing}: {what}")]
    Away {
        /// What was being done.
        doing: &'static str,
        /// Its answer, or why there is none. Never content.
        what: String,
    },
    /// What is stored cannot be right. Trying again does not help.
    #[error(
        "store: damaged while {doing}: {what}; restore the data folder from a backup, and keep the damaged one for analysis"
    )]
    Damaged {
        /// What was being done.
        doing: &'static str,
        /// What is wrong. Never content.
        what: String,
    },
    /// Written by a newer version.
    #[error("store: format {found} is newer than this build's {known}; start the newer version")]
    Newer {
        /// The folder's.
        found: u16,
        /// This build's.
        known: u16,
    },
    /// Written by a version before the first release.
    #[error(
        "store: format {found} is from before the first release and this build reads format {known} only; start the version that wrote it, or an empty data folder"
    )]
    Older {
        /// The folder's.
        found: u16,
        /// This build's.
        known: u16,
    },
    /// Another process has it open.
    #[error("store: in use by another process; stop that one first")]
    Locked,
    /// An earlier change failed and opening the store again has failed since; the next change tries once more.
    #[error("store: closed after an earlier failure; the next flush opens it again")]
    Poisoned,
    /// The partition is another writer's, or may be at this moment.
    #[error("store: partition {partition} is not this writer's under epoch {epoch}, or its lease has run out")]
    NotOwned {
        /// Which partition.
        partition: u16,
        /// The epoch under which it was this writer's.
        epoch: Epoch,
    },
    /// A simulated crash; see [`MemoryStore::crash_at`].
    #[error("store: crashed on request")]
    Crashed,
}

impl StoreError {
    /// What `tenure` was for is another's, or may be.
    pub fn not_owned(tenure: &Tenure) -> Self {
        Self::NotOwned { partition: tenure.partition(), epoch: tenure.epoch() }
    }

    /// Whether the same call can succeed later without a restart.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Away { .. } | Self::Poisoned)
    }
}

/// A range of a chat's history to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HistoryRange {
    /// Entries above this.
    pub after_seq: u64,
    /// Entries up to and including this; `u64::MAX` = no bound.
    pub up_to_seq: u64,
    /// At most so many entries; 0 reads none.
    pub limit_entries: usize,
    /// At most so many bytes of frames, except that the first entry always fits.
    pub limit_bytes: usize,
}

/// Durable home of entries, chat states, dedupe answers and applied positions. Shared by all partitions of a process; all
/// calls may block on the disk, and reads go on while a flush runs.
pub trait Store: Send + Sync {
    /// Takes a run: entries, states, dedupe answers, and last of all the applied positions, durable when it returns. After
    /// an error, or a crash at any moment, any part of the run may be visible but its positions are not; the same entries
    /// come again in a later run. Positions only rise. Flushes are taken one at a time; a second caller waits.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the disk is full or failing; others are final.
    fn flush(&self, run: FlushRun<'_>) -> Result<FlushReport, StoreError>;

    /// Entries of `chat` in `range`, ascending, each seq once. Missing seqs have expired or were never flushed.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn history(&self, chat: ChatId, range: HistoryRange) -> Result<Vec<StoredEntry>, StoreError>;

    /// The seq of a message of `chat`.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn find_message(&self, chat: ChatId, message: MessageId) -> Result<Option<u64>, StoreError>;

    /// The entry of `chat` at `seq`.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn at_seq(&self, chat: ChatId, seq: u64) -> Result<Option<StoredEntry>, StoreError> {
        let range = HistoryRange {
            after_seq: seq.saturating_sub(1),
            up_to_seq: seq,
            limit_entries: usize::from(seq > 0),
            limit_bytes: usize::MAX,
        };
        Ok(self.history(chat, range)?.pop())
    }

    /// What a change was answered with, if it was flushed within [`schema::limits::DEDUPE_KEEP_MS`].
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn dedupe(&self, key: DedupeKey) -> Result<Option<DedupeHit>, StoreError>;

    /// As [`Self::dedupe`], where the chat is known that the change was to.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn dedupe_in(&self, chat: ChatId, key: DedupeKey) -> Result<Option<DedupeHit>, StoreError> {
        let _ = chat;
        self.dedupe(key)
    }

    /// Every answer with `wall_ms` at or above the given, in any order, possibly more than once.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn dedupe_since(&self, wall_ms: u64, each: &mut dyn FnMut(DedupeKey, DedupeHit)) -> Result<(), StoreError>;

    /// Every chat's state, each chat once, in id order.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn load_chats(&self, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError>;

    /// What of each journal is in the store, in id order.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn applied(&self) -> Result<Vec<(JournalId, Lsn)>, StoreError>;

    /// Forgets the positions of journals whose files are gone, so that the list stays bounded.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn forget_journals(&self, journals: &[JournalId]) -> Result<(), StoreError>;

    /// Drops dedupe answers older than [`schema::limits::DEDUPE_KEEP_MS`] before `now_ms` (ms since 1970); it may keep some a
    /// few hours longer. Entries whose time is over go when the store next rewrites what they are in. Cheap; call it every
    /// few minutes.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn expire(&self, now_ms: u64) -> Result<(), StoreError>;

    /// Sizes, cheap enough for every scrape.
    fn stats(&self) -> StoreStats;
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn flush(&self, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        (**self).flush(run)
    }
    fn history(&self, chat: ChatId, range: HistoryRange) -> Result<Vec<StoredEntry>, StoreError> {
        (**self).history(chat, range)
    }
    fn find_message(&self, chat: ChatId, message: MessageId) -> Result<Option<u64>, StoreError> {
        (**self).find_message(chat, message)
    }
    fn at_seq(&self, chat: ChatId, seq: u64) -> Result<Option<StoredEntry>, StoreError> {
        (**self).at_seq(chat, seq)
    }
    fn dedupe(&self, key: DedupeKey) -> Result<Option<DedupeHit>, StoreError> {
        (**self).dedupe(key)
    }
    fn dedupe_in(&self, chat: ChatId, key: DedupeKey) -> Result<Option<DedupeHit>, StoreError> {
        (**self).dedupe_in(chat, key)
    }
    fn dedupe_since(&self, wall_ms: u64, each: &mut dyn FnMut(DedupeKey, DedupeHit)) -> Result<(), StoreError> {
        (**self).dedupe_since(wall_ms, each)
    }
    fn load_chats(&self, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
        (**self).load_chats(each)
    }
    fn applied(&self) -> Result<Vec<(JournalId, Lsn)>, StoreError> {
        (**self).applied()
    }
    fn forget_journals(&self, journals: &[JournalId]) -> Result<(), StoreError> {
        (**self).forget_journals(journals)
    }
    fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        (**self).expire(now_ms)
    }
    fn stats(&self) -> StoreStats {
        (**self).stats()
    }
}
