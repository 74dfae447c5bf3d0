//! Jobs: what a partition has done on background threads. A job is a value; running it needs a store and a disk only.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fabric::disk::Disk;
use fabric::mutex::lock;
use fabric::time::Now;
use schema::dedupe::DedupeKey;
use schema::encode::Encoder;
use schema::ids::{ChatId, MessageId};

use crate::journal::{JournalId, Lsn, SegmentDone, SegmentJob};
use crate::lease::Epoch;
use crate::log::{Commit, Owner};
use crate::memtable::MemTable;
use crate::spool::{Spool, Ticket, Written};
use crate::store::{
    ChatState, DedupeHit, FlushEntry, FlushReport, FlushRun, HistoryRange, Store, StoreError, StoredEntry,
};

/// Work that blocks. Run it with [`run_job`] on any thread; give the result to its partition's
/// [`super::Partition::job_done`]. Jobs of one queue are started in the order they were taken.
pub struct Job {
    /// Whose it is; `u16::MAX` = no partition's.
    pub partition: u16,
    /// Under which epoch it was begun; 0 where partitions do not change hands.
    pub epoch: Epoch,
    pub(super) work: Work,
}

impl Job {
    /// No partition's: [`Spool::tidy`], as of `now`.
    pub fn tidy_spool(spool: Arc<Spool>, now: Now) -> Self {
        Self { partition: u16::MAX, epoch: Epoch::default(), work: Work::TidySpool { spool, now } }
    }
}

/// A job's result.
pub struct JobDone {
    /// Whose job it was.
    pub partition: u16,
    /// Under which epoch it was begun: one of a former life is of no use to the next.
    pub epoch: Epoch,
    pub(super) done: Done,
}

/// What older journals left, once every partition has flushed its part of it.
pub(crate) struct Recovered {
    /// What is then applied.
    pub applied: Vec<(JournalId, Lsn)>,
    /// What is then removed, in this order.
    pub removal: Vec<SegmentJob>,
    /// Journals whose files are gone already.
    pub gone: Vec<JournalId>,
    /// Whose part is still to come.
    pub missing: Mutex<BTreeSet<u16>>,
}

pub(crate) enum Work {
    /// A block of a log in the store.
    Commit(Commit),
    /// A table of this start's journal, or of an owner's log.
    Flush { table: Arc<MemTable>, states: Vec<ChatState>, applied: (JournalId, Lsn), owner: Option<Owner> },
    /// This partition's part of what older journals left.
    FlushRecovered { table: Arc<MemTable>, states: Vec<ChatState>, recovered: Arc<Recovered> },
    /// Sends that are to be durable in the spool.
    Spool { ticket: Ticket, ids: Vec<u64> },
    /// What is to be done for the spool now and then.
    TidySpool { spool: Arc<Spool>, now: Now },
    /// Gives a table's memory back; freeing many entries takes long.
    Free(Arc<MemTable>),
    /// Drops old answers from the store.
    Expire { now_ms: u64 },
    /// The journal's own.
    Segment(SegmentJob),
    /// A read, and who waits for it.
    Read { read: u64, what: ReadWork },
}

pub(crate) enum ReadWork {
    Dedupe {
        chat: ChatId,
        key: DedupeKey,
    },
    History {
        chat: ChatId,
        range: HistoryRange,
    },
    FindMessage {
        chat: ChatId,
        message: MessageId,
    },
    AtSeq {
        chat: ChatId,
        seq: u64,
    },
    /// A message's entry.
    Original {
        chat: ChatId,
        message: MessageId,
    },
    /// One entry each of some chats.
    Entries(Vec<(ChatId, u64)>),
}

pub(super) enum Done {
    Commit(Result<(), StoreError>),
    Flush(Result<FlushReport, StoreError>),
    Segment(SegmentDone),
    Spooled(Written, Ticket),
    Read { read: u64, found: Result<ReadFound, StoreError> },
    Nothing,
}

pub(super) enum ReadFound {
    Dedupe(Option<DedupeHit>),
    History(Vec<StoredEntry>),
    FindMessage(Option<u64>, MessageId),
    AtSeq(u64, Option<StoredEntry>),
    Original(Option<StoredEntry>),
    Entries(Vec<(ChatId, StoredEntry)>),
}

impl core::fmt::Debug for Job {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let work = match &self.work {
            Work::Commit(_) => "commit",
            Work::Flush { .. } => "flush",
            Work::FlushRecovered { .. } => "flush recovered",
            Work::Spool { .. } => "spool",
            Work::TidySpool { .. } => "tidy the spool",
            Work::Free(_) => "free",
            Work::Expire { .. } => "expire",
            Work::Segment(_) => "segment",
            Work::Read { .. } => "read",
        };
        write!(f, "Job({work}, partition {})", self.partition)
    }
}

impl core::fmt::Debug for JobDone {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "JobDone(partition {})", self.partition)
    }
}

/// Does a job. Blocks on the store and the disk, touches nothing else; any thread.
pub fn run_job(job: Job, store: &dyn Store, disk: &dyn Disk) -> JobDone {
    let done = match job.work {
        Work::Commit(commit) => Done::Commit(commit.run()),
        Work::Flush { table, states, applied, owner } => Done::Flush(amended(&table, store).and_then(|amended| {
            let run = FlushRun { applied: vec![applied], amended, states, ..table.to_run() };
            match owner {
                None => store.flush(run),
                Some(owner) => flush_owned(&owner, applied.1, run),
            }
        })),
        Work::FlushRecovered { table, states, recovered } => {
            Done::Flush(flush_recovered(job.partition, &table, states, &recovered, store, disk))
        }
        Work::Spool { ticket, ids } => Done::Spooled(ticket.spool().write(&ids), ticket),
        Work::TidySpool { spool, now } => {
            spool.tidy(now);
            Done::Nothing
        }
        Work::Free(table) => {
            drop(table);
            Done::Nothing
        }
        Work::Expire { now_ms } => {
            if let Err(error) = store.expire(now_ms) {
                tracing::warn!(%error, "old dedupe answers could not be dropped");
            }
            Done::Nothing
        }
        Work::Segment(job) => Done::Segment(job.run(disk)),
        Work::Read { read, what } => Done::Read { read, found: run_read(what, store) },
    };
    JobDone { partition: job.partition, epoch: job.epoch, done }
}

/// What a table amends of what the store has: the entries as they are now.
pub(super) fn amended(table: &MemTable, store: &dyn Store) -> Result<Vec<FlushEntry<'static>>, StoreError> {
    let mut encoder = Encoder::new();
    let mut entries = Vec::new();
    for (chat, seq, amendment) in table.amendments.iter() {
        if let Some(StoredEntry { message, frame, .. }) = store.at_seq(chat, seq)? {
            let frame = Cow::Owned(amendment.apply(&frame, &mut encoder).to_vec());
            entries.push(FlushEntry { chat, seq, message, frame, expires_s: 0 });
        }
    }
    Ok(entries)
}

fn run_read(what: ReadWork, store: &dyn Store) -> Result<ReadFound, StoreError> {
    Ok(match what {
        ReadWork::Dedupe { chat, key } => ReadFound::Dedupe(store.dedupe_in(chat, key)?),
        ReadWork::History { chat, range } => ReadFound::History(store.history(chat, range)?),
        ReadWork::FindMessage { chat, message } => ReadFound::FindMessage(store.find_message(chat, message)?, message),
        ReadWork::AtSeq { chat, seq } => ReadFound::AtSeq(seq, store.at_seq(chat, seq)?),
        ReadWork::Original { chat, message } => ReadFound::Original(match store.find_message(chat, message)? {
            Some(seq) => store.at_seq(chat, seq)?.filter(|entry| entry.message == message),
            None => None,
        }),
        ReadWork::Entries(places) => {
            let mut entries = Vec::with_capacity(places.len());
            for (chat, seq) in places {
                entries.extend(store.at_seq(chat, seq)?.map(|entry| (chat, entry)));
            }
            ReadFound::Entries(entries)
        }
    })
}

/// Flushes what an owner's log says up to a block, which is then forgotten.
fn flush_owned(owner: &Owner, applied: Lsn, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
    let report = owner.store.flush_owned(&owner.tenure, run)?;
    if owner.tenure.is_held()
        && let Err(error) = owner.store.trim(owner.tenure.partition(), applied.0)
    {
        tracing::warn!(%error, "blocks that are applied could not be forgotten; the next flush tries again");
    }
    Ok(report)
}

/// Flushes one partition's part. Whoever is last marks the older journals applied and removes them.
fn flush_recovered(
    partition: u16,
    table: &MemTable,
    states: Vec<ChatState>,
    recovered: &Recovered,
    store: &dyn Store,
    disk: &dyn Disk,
) -> Result<FlushReport, StoreError> {
    let report = store.flush(FlushRun { amended: amended(table, store)?, states, ..table.to_run() })?;
    let mut missing = lock(&recovered.missing);
    missing.remove(&partition);
    if missing.is_empty() {
        recovered.finish(store, disk)?;
    }
    Ok(report)
}

impl Recovered {
    /// Nobody's part is missing.
    pub(super) fn is_complete(&self) -> bool {
        lock(&self.missing).is_empty()
    }

    /// The store has everything: says so, and removes the journals. A file that cannot be removed is left to the next
    /// start, which skips what is applied.
    pub(super) fn finish(&self, store: &dyn Store, disk: &dyn Disk) -> Result<(), StoreError> {
        if !self.applied.is_empty() {
            store.flush(FlushRun { applied: self.applied.clone(), ..FlushRun::default() })?;
        }
        for job in &self.removal {
            if let Err(error) = job.clone().run(disk).result {
                tracing::warn!(%error, "a journal segment that is in the store could not be removed");
                return Ok(());
            }
        }
        let removed = self.applied.iter().map(|&(journal, _)| journal);
        let gone: Vec<JournalId> = removed.chain(self.gone.iter().copied()).collect();
        if gone.is_empty() { Ok(()) } else { store.forget_journals(&gone) }
    }
}
