//! The memory tables of a partition: one active, a few frozen on their way into the store.
//!
//! A frozen table goes through its stages in small steps, so that no step stops the shard: the states of its chats are
//! collected, a job flushes it, its newest entries move into the hot tails, a job frees it. Tables keep their order: the
//! oldest is flushed first, and only one at a time. What must stay true: a chat's entries from its oldest table to its
//! head have no hole, and a table is dropped only after the store has it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::lsn::Lsn;
use crate::memtable::{Amendments, MemTable};
use crate::partition::Recovered;
use crate::store::ChatState;

/// Chats worked off in one step.
pub(crate) const STEP_CHATS: usize = 1_024;

/// How far a frozen table is.
pub(crate) enum Stage {
    /// Its chats' states are being collected; states may be newer than the table, since they only rise.
    Collecting { next: usize, states: Vec<ChatState> },
    /// The store refused it; the states are collected again at this time, ns.
    Failed { retry_ns: u64 },
    /// A job has it.
    Flushing,
    /// The store has it; its newest entries move into the hot tails.
    Retiring { next: usize },
}

/// A table that takes no more changes.
pub(crate) struct FrozenTable {
    pub table: Arc<MemTable>,
    /// Last record of the partition's journal that it holds.
    pub through: Lsn,
    /// Set when it holds what older journals left: they go once every partition's part is in the store.
    pub recovered: Option<Arc<Recovered>>,
    pub stage: Stage,
}

/// The active table and the frozen ones, oldest first.
pub(crate) struct Tables {
    pub active: MemTable,
    pub frozen: VecDeque<FrozenTable>,
    /// Every table up to this epoch is in the store.
    pub flushed_epoch: u32,
    /// What tables that are gone amended, until every read ends that may have begun before the store had it: up to this read.
    pub retired: VecDeque<(u64, Amendments)>,
}

impl Tables {
    pub(crate) fn new() -> Self {
        Self { active: MemTable::new(1), frozen: VecDeque::new(), flushed_epoch: 0, retired: VecDeque::new() }
    }

    /// All tables that can be read, oldest first.
    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = &MemTable> {
        self.frozen.iter().map(|frozen| frozen.table.as_ref()).chain(core::iter::once(&self.active))
    }

    /// What is to be laid over entries, oldest first.
    pub(crate) fn amendments(&self) -> impl Iterator<Item = &Amendments> {
        let retired = self.retired.iter().map(|(_, amendments)| amendments);
        retired.chain(self.oldest_first().map(|table| &table.amendments)).filter(|amendments| !amendments.is_empty())
    }

    /// Tables that the store does not have yet, the active one not counted.
    pub(crate) fn unflushed(&self) -> usize {
        self.frozen.iter().filter(|frozen| !matches!(frozen.stage, Stage::Retiring { .. })).count()
    }

    /// Bytes of all of them.
    pub(crate) fn bytes(&self) -> usize {
        self.oldest_first().map(|table| table.bytes).sum()
    }

    /// Whether one more can be frozen: not too many wait, and a chat's note of its places has room.
    pub(crate) fn can_freeze(&self, limit: usize) -> bool {
        self.unflushed() < limit && self.frozen.len() + 1 < crate::memtable::PLACES
    }

    /// Freezes the active table and starts the next one. `busy`: the next one will be filled soon.
    pub(crate) fn freeze(&mut self, through: Lsn, recovered: Option<Arc<Recovered>>, busy: bool) {
        let mut next = MemTable::new(self.active.epoch + 1);
        if busy {
            next.frames.take_spare(&mut self.active.frames);
        }
        let table = Arc::new(core::mem::replace(&mut self.active, next));
        let stage = Stage::Collecting { next: 0, states: Vec::with_capacity(table.chats.len()) };
        self.frozen.push_back(FrozenTable { table, through, recovered, stage });
    }

    /// Takes the oldest table, which the store has and nobody reads any more. What it leaves is to be freed elsewhere: many
    /// entries take long. Under load its frames' memory stays here, at most `limit_bytes` of it.
    pub(crate) fn retire(&mut self, limit_bytes: usize) -> Option<Arc<MemTable>> {
        let mut table = self.frozen.pop_front()?.table;
        if !self.active.is_empty()
            && let Some(table) = Arc::get_mut(&mut table)
        {
            self.active.frames.recycle(&mut table.frames, limit_bytes);
        }
        Some(table)
    }
}
