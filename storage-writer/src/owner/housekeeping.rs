//! What goes on beside the traffic, a small step a turn: freezing, flushing and retiring tables, expiring answers, sealing
//! the journal, trying again what failed.

use core::time::Duration;
use std::sync::Arc;

use fabric::core::JobQueue;
use fabric::time::Now;
use schema::encode::Encoder;

use super::memory::Memory;
use super::tables::{STEP_CHATS, Stage};
use crate::journal::Journal;
use crate::lsn::Lsn;
use crate::memtable::MemTable;
use crate::partition::{Partition, Work};
use crate::store::{FlushReport, StoreError};

/// How often old answers are dropped from the store.
const EXPIRE_EVERY: Duration = Duration::from_secs(300);
/// Journal bytes a memory table may stand for, in multiples of its own size: positions fill journals, not tables.
const JOURNAL_PER_TABLE: usize = 4;
/// A flush that fails again waits twice as long each time, so often at most.
const FLUSH_RETRY_DOUBLINGS: u32 = 3;

impl Partition {
    /// The active table is full and cannot be frozen, or dedupe answers cannot leave memory.
    pub(crate) fn is_full(&self) -> bool {
        let limit = self.config.freeze_bytes + self.config.freeze_bytes / 4;
        let tables = &self.memory.tables;
        let crowded = tables.active.bytes >= limit && !tables.can_freeze(self.config.frozen_tables);
        crowded || self.memory.dedupe.is_full()
    }

    /// One step of everything.
    pub(crate) fn housekeeping(&mut self, now: Now) {
        self.freeze_if_due(now);
        self.step_tables(now);
        let flushed = self.memory.tables.flushed_epoch;
        let early = self.memory.dedupe.expire(now.mono_ms(), flushed);
        self.metrics.dedupe_dropped_early.inc_by(early);
        if self.retry_ns != 0 && now.mono_ns >= self.retry_ns {
            self.retry_ns = 0;
            self.log.retry();
        }
        self.take_segment_job(now);
        if self.number == 0 && now.mono_ns >= self.expire_ns {
            self.expire_ns = now.plus(EXPIRE_EVERY);
            self.jobs.push_back((JobQueue::Apply, Work::Expire { now_ms: now.wall_ms() }));
        }
        if self.seal_due_ns().is_some_and(|due| due <= now.mono_ns) {
            self.log.journal_mut().into_iter().for_each(Journal::seal);
        }
        self.metrics.memory_bytes.set(self.memory.tables.bytes() as i64);
        self.metrics.frozen_tables.set(self.memory.tables.unflushed() as i64);
        self.metrics.poisoned.set(i64::from(self.log.is_poisoned()));
        self.metrics.chats.set(self.memory.chats.len() as i64);
    }

    /// When an idle journal is to be sealed, ns.
    pub(crate) fn seal_due_ns(&self) -> Option<u64> {
        let idle = self.in_flight.is_none() && self.filling.is_empty();
        (idle && self.log.journal().is_some_and(Journal::wants_seal))
            .then(|| self.last_commit_ns + self.config.seal_after_ms * 1_000_000)
    }

    /// The journal's next work on segments, if there is some and it is not waiting to try again.
    fn take_segment_job(&mut self, now: Now) {
        if self.retry_ns == 0 && self.log.status().job_failed {
            self.retry_at(now);
        }
        // Segments share the readers' queue: zero-filling one is short, and sends may be waiting for it.
        if let Some(job) = self.log.take_segment_job() {
            self.jobs.push_back((JobQueue::Read, Work::Segment(job)));
        }
    }

    /// Tries what failed again after a while.
    pub(crate) fn retry_at(&mut self, now: Now) {
        if self.retry_ns == 0 {
            self.retry_ns = now.plus(Duration::from_millis(self.config.retry_after_ms));
        }
    }

    /// When the active table is to be frozen for its age, ns.
    pub(crate) fn freeze_due_ns(&self) -> Option<u64> {
        let active = &self.memory.tables.active;
        if active.is_empty() || !self.memory.tables.can_freeze(self.config.frozen_tables) {
            return None;
        }
        let idle = active.last_ns + self.config.freeze_idle_ms * 1_000_000;
        Some(idle.min(active.first_ns + self.config.freeze_age_ms * 1_000_000))
    }

    fn freeze_if_due(&mut self, now: Now) {
        let Some(due) = self.freeze_due_ns() else { return };
        let full = self.memory.tables.active.bytes >= self.config.freeze_bytes
            || self.unfrozen_journal_bytes >= JOURNAL_PER_TABLE * self.config.freeze_bytes;
        if full || due <= now.mono_ns {
            self.metrics.freezes.inc();
            self.unfrozen_journal_bytes = 0;
            self.memory.tables.freeze(self.log.committed(), None, full);
        }
    }

    /// Whether a table waits for its next step.
    pub(crate) fn has_steps(&self) -> bool {
        self.memory.tables.frozen.iter().any(|f| matches!(f.stage, Stage::Collecting { .. } | Stage::Retiring { .. }))
    }

    /// When a failed flush is tried again, ns.
    pub(crate) fn flush_retry_ns(&self) -> Option<u64> {
        self.memory.tables.frozen.iter().find_map(|frozen| match frozen.stage {
            Stage::Failed { retry_ns } => Some(retry_ns),
            _ => None,
        })
    }

    fn step_tables(&mut self, now: Now) {
        if !self.memory.tables.retired.is_empty() {
            let oldest_read = self.reads.keys().copied().min();
            self.memory.tables.retired.retain(|(last_read, _)| oldest_read.is_some_and(|read| read <= *last_read));
        }
        if self.memory.retire_step(&self.metrics, self.last_read)
            && let Some(table) = self.memory.tables.retire(self.config.freeze_bytes)
        {
            self.jobs.push_back((JobQueue::Apply, Work::Free(table)));
        }
        let memory = &mut self.memory;
        let waiting = memory.tables.frozen.iter_mut().find(|f| !matches!(f.stage, Stage::Retiring { .. }));
        let Some(frozen) = waiting else { return };
        if let Stage::Failed { retry_ns } = frozen.stage
            && retry_ns <= now.mono_ns
        {
            frozen.stage = Stage::Collecting { next: 0, states: Vec::with_capacity(frozen.table.chats.len()) };
        }
        let Stage::Collecting { next, states } = &mut frozen.stage else { return };
        let end = (*next + STEP_CHATS).min(frozen.table.chats.len());
        states.extend(frozen.table.chats[*next..end].iter().map(|part| memory.chats.get(part.index).to_state()));
        *next = end;
        if end < frozen.table.chats.len() {
            return;
        }
        let states = core::mem::take(states);
        let table = Arc::clone(&frozen.table);
        let work = match &frozen.recovered {
            Some(recovered) => Work::FlushRecovered { table, states, recovered: Arc::clone(recovered) },
            None => {
                let owner = self.log.owned().map(|log| log.owner().clone());
                Work::Flush { table, states, applied: (self.log.id(), frozen.through), owner }
            }
        };
        frozen.stage = Stage::Flushing;
        self.jobs.push_back((JobQueue::Apply, work));
    }

    /// A flush ended.
    pub(crate) fn flushed(&mut self, now: Now, result: Result<FlushReport, StoreError>) {
        let wait_ms = self.config.retry_after_ms << self.flushes_failed.min(FLUSH_RETRY_DOUBLINGS);
        let retry_ns = now.plus(Duration::from_millis(wait_ms));
        let Some(frozen) = self.memory.tables.frozen.iter_mut().find(|frozen| matches!(frozen.stage, Stage::Flushing))
        else {
            debug_assert!(false, "a flush ends once");
            return;
        };
        match result {
            Ok(report) => {
                frozen.stage = Stage::Retiring { next: 0 };
                self.memory.tables.flushed_epoch = frozen.table.epoch;
                if frozen.through > Lsn::ZERO {
                    self.applied = frozen.through;
                    self.log.freed(frozen.through);
                }
                self.flush_failing = false;
                self.flushes_failed = 0;
                self.metrics.flushes.inc();
                self.metrics.flushed_entries.inc_by(report.entries);
                self.metrics.flushed_bytes.inc_by(report.bytes);
            }
            Err(error) => {
                frozen.stage = Stage::Failed { retry_ns };
                self.flush_failing = true;
                self.flushes_failed += 1;
                self.metrics.flush_failures.inc();
                tracing::error!(
                    partition = self.number,
                    %error,
                    wait_ms,
                    "a memory table could not be flushed; the partition's journal or log keeps it, trying again"
                );
            }
        }
    }
}

impl Memory {
    /// Moves some of the oldest table's newest entries into the hot tails, if the store has that table. True when done.
    /// `last_read`: the last read that began.
    fn retire_step(&mut self, metrics: &crate::partition::StorageMetrics, last_read: u64) -> bool {
        let Some(frozen) = self.tables.frozen.front_mut() else { return false };
        let Stage::Retiring { next } = &mut frozen.stage else { return false };
        let table: &MemTable = &frozen.table;
        let end = (*next + STEP_CHATS).min(table.chats.len());
        let from_ns = table.newest_ns(self.hot.limit_bytes());
        for part in &table.chats[*next..end] {
            if part.entries.is_empty() {
                continue;
            }
            if self.chats.get(part.index).committed_ns >= from_ns {
                metrics.hot_tail_evictions.inc_by(self.hot.extend(part.index, &part.entries, &table.frames));
            } else {
                self.hot.forget(part.index);
            }
        }
        *next = end;
        if end < table.chats.len() {
            return false;
        }
        let mut encoder = Encoder::new();
        for (chat, seq, amendment) in table.amendments.iter() {
            if let Some(index) = self.chats.find(chat) {
                self.hot.amend(index, seq, amendment, &mut encoder);
            }
        }
        if !table.amendments.is_empty() {
            self.tables.retired.push_back((last_read, table.amendments.clone()));
        }
        true
    }
}
