//! Where a partition's records are durable first: the journal of a data folder, or, where several writers share a store, a
//! log of the partition in that store.
//!
//! What must stay true of the log in the store: blocks are numbered without holes, over owners too, and one is written at a
//! time, so a later one is never there without those before it; a block whose write failed may be there all the same, so
//! it is written again, unchanged, until the store has said that it is or the tenure is over; a success counts only if the
//! tenure was held after it, because then whoever owns the partition next finds the block.

mod block;
mod chain;

use std::sync::Arc;

pub use block::BlockError;
pub(crate) use block::read;
pub(crate) use chain::counting;

use block::Filling;

use crate::journal::{AppendError, Journal, JournalId, JournalStatus, Lsn, Record, SegmentJob};
use crate::lease::Tenure;
use crate::store::{SharedStore, StoreError};

/// The first wait before a failed block is written again, ns; it doubles.
const RETRY_NS: u64 = 25_000_000;
/// So often.
const RETRY_DOUBLINGS: u32 = 5;

/// See the module.
pub(crate) enum Log {
    /// On this host's disk; the partition is this process's for as long as it runs.
    Journal(Box<Journal>),
    /// In a store that others write to; the partition is this writer's while its tenure is held.
    Owned(Box<OwnedLog>),
}

/// Who owns a partition, and in which store.
#[derive(Clone)]
pub(crate) struct Owner {
    pub tenure: Arc<Tenure>,
    pub store: Arc<dyn SharedStore>,
}

/// A block on its way into the store.
pub(crate) struct Commit {
    owner: Owner,
    block: u64,
    bytes: Arc<Vec<u8>>,
}

struct InFlight {
    block: u64,
    bytes: Arc<Vec<u8>>,
    /// When it is written again, ns; `None` while a job has it.
    retry_ns: Option<u64>,
    failures: u32,
}

/// A partition's log in the store, sans-IO.
pub(crate) struct OwnedLog {
    owner: Owner,
    filling: Filling,
    committed: u64,
    in_flight: Option<InFlight>,
    /// It is to be given up once nothing is under way.
    pub stopping: bool,
}

impl Commit {
    /// Writes it. Blocks.
    pub(crate) fn run(self) -> Result<(), StoreError> {
        let Owner { tenure, store } = &self.owner;
        let held = || if tenure.is_held() { Ok(()) } else { Err(StoreError::not_owned(tenure)) };
        held()?;
        store.append(tenure.partition(), tenure.epoch(), self.block, &self.bytes)?;
        held()
    }
}

impl OwnedLog {
    /// Goes on behind block `last`. `limit`: bytes of a block.
    pub(crate) const fn new(owner: Owner, last: u64, limit: usize) -> Self {
        Self { owner, filling: Filling::new(limit), committed: last, in_flight: None, stopping: false }
    }

    /// Who writes it.
    pub(crate) const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Whether a block is on its way, or waits to be written again.
    pub(crate) const fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// When a failed block is written again, ns.
    pub(crate) fn retry_ns(&self) -> Option<u64> {
        self.in_flight.as_ref()?.retry_ns
    }

    /// Takes what fills, if there is some and nothing is on its way. Returns its length too.
    pub(crate) fn take_block(&mut self) -> Option<(Commit, usize)> {
        if self.in_flight.is_some() || self.filling.is_empty() {
            return None;
        }
        let (block, bytes) = (self.committed + 1, Arc::new(self.filling.take()));
        let len = bytes.len();
        self.in_flight = Some(InFlight { block, bytes: Arc::clone(&bytes), retry_ns: None, failures: 0 });
        Some((Commit { owner: self.owner.clone(), block, bytes }, len))
    }

    /// The block that failed, once its wait is over.
    pub(crate) fn take_again(&mut self, now_ns: u64) -> Option<Commit> {
        let waiting = self.in_flight.as_mut().filter(|waiting| waiting.retry_ns.is_some_and(|at| at <= now_ns))?;
        waiting.retry_ns = None;
        Some(Commit { owner: self.owner.clone(), block: waiting.block, bytes: Arc::clone(&waiting.bytes) })
    }

    /// The block on its way is durable.
    pub(crate) fn done(&mut self) {
        if let Some(done) = self.in_flight.take() {
            self.committed = done.block;
        }
    }

    /// Nobody knows whether it is. Returns how often that has happened to it.
    pub(crate) fn failed(&mut self, now_ns: u64) -> u32 {
        let Some(failed) = &mut self.in_flight else { return 0 };
        failed.retry_ns = Some(now_ns + (RETRY_NS << failed.failures.min(RETRY_DOUBLINGS)));
        failed.failures += 1;
        failed.failures
    }
}

impl Log {
    /// Puts a record into the filling block.
    pub(crate) fn append(&mut self, record: &Record<'_>) -> Result<(), AppendError> {
        match self {
            Self::Journal(journal) => journal.append(record).map(|_| ()),
            Self::Owned(log) if log.owner.tenure.is_over() => Err(AppendError::Poisoned),
            Self::Owned(log) => log.filling.append(record),
        }
    }

    /// Whether nothing can be made durable at the moment: after a failed journal write, or when the partition is another's.
    pub(crate) fn is_poisoned(&self) -> bool {
        match self {
            Self::Journal(journal) => journal.is_poisoned(),
            Self::Owned(log) => log.owner.tenure.is_over(),
        }
    }

    /// The last position that is durable: a record of the journal, a block of the log.
    pub(crate) fn committed(&self) -> Lsn {
        match self {
            Self::Journal(journal) => journal.committed(),
            Self::Owned(log) => Lsn(log.committed),
        }
    }

    /// Whose positions these are in the store.
    pub(crate) fn id(&self) -> JournalId {
        match self {
            Self::Journal(journal) => journal.id(),
            Self::Owned(log) => JournalId(u32::from(log.owner.tenure.partition())),
        }
    }

    /// The journal, if it is one.
    pub(crate) const fn journal(&self) -> Option<&Journal> {
        match self {
            Self::Journal(journal) => Some(journal),
            Self::Owned(_) => None,
        }
    }

    /// The journal, if it is one.
    pub(crate) const fn journal_mut(&mut self) -> Option<&mut Journal> {
        match self {
            Self::Journal(journal) => Some(journal),
            Self::Owned(_) => None,
        }
    }

    /// The log in the store, if it is one.
    pub(crate) const fn owned(&self) -> Option<&OwnedLog> {
        match self {
            Self::Journal(_) => None,
            Self::Owned(log) => Some(log),
        }
    }

    /// The log in the store, if it is one.
    pub(crate) const fn owned_mut(&mut self) -> Option<&mut OwnedLog> {
        match self {
            Self::Journal(_) => None,
            Self::Owned(log) => Some(log),
        }
    }

    /// Tries a journal's failed job on a segment again.
    pub(crate) fn retry(&mut self) {
        if let Self::Journal(journal) = self {
            journal.retry();
        }
    }

    /// A journal's next job on segments.
    pub(crate) fn take_segment_job(&mut self) -> Option<SegmentJob> {
        self.journal_mut()?.take_job()
    }

    /// The store's tables have everything up to here.
    pub(crate) fn freed(&mut self, applied: Lsn) {
        // A log's blocks are trimmed by the job that applied them.
        if let Self::Journal(journal) = self {
            journal.freed(applied);
        }
    }

    /// Where it stands.
    pub(crate) fn status(&self) -> JournalStatus {
        match self {
            Self::Journal(journal) => journal.status(),
            Self::Owned(log) => JournalStatus {
                ordered: Lsn(log.committed + u64::from(log.is_busy()) + u64::from(!log.filling.is_empty())),
                committed: Lsn(log.committed),
                poisoned: log.owner.tenure.is_over(),
                ..JournalStatus::default()
            },
        }
    }
}
