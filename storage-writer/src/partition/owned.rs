//! A partition of a shared store: opened from that store alone when its tenure begins, committing blocks into its log there,
//! and dropped when the tenure is over.
//!
//! What must stay true: everything that an earlier owner has acknowledged is found; what an earlier owner may still write
//! never counts.

use std::sync::Arc;

use fabric::core::JobQueue;
use fabric::entropy::Entropy;
use fabric::tier::Egress;
use fabric::time::Now;

use super::open::{answer_found, new_memory};
use super::{OpenConfig, OpenError, Partition, PartitionConfig, StorageMetrics, Work};
use crate::journal::{JournalId, Lsn, Record};
use crate::lease::{Epoch, Tenure};
use crate::log::{self, Log, OwnedLog, Owner};
use crate::owner::Memory;
use crate::store::{LoggedBlock, SharedStore, StoreError, Takeover};

/// Watermarks alone wait so long after the block before, ns, so that many share one.
const MARKS_WAIT_NS: u64 = 20_000_000;
/// So many do not wait.
const MARKS_AT_ONCE: usize = 1_000;
/// How often a log is read anew while an owner before is still writing down what it applied.
const READS_OF_LOG: usize = 20;

/// Opens a partition that `tenure` has begun for: states, the end of its log, the answers of the last while. Blocks. The
/// first of its blocks comes behind the last one that counts; what an earlier owner writes from now on does not.
///
/// # Errors
/// [`OpenError`]; after one the tenure is of no use: give the partition up and take it again.
pub fn open_owned(
    tenure: Arc<Tenure>,
    config: &PartitionConfig,
    store: &Arc<dyn SharedStore>,
    entropy: &mut dyn Entropy,
    now: Now,
    metrics: StorageMetrics,
) -> Result<Partition, OpenError> {
    let (sharing, number) = (store.sharing(), tenure.partition());
    let (blocks, last) = begin(&tenure, &**store)?;
    let covers_from_ms = now.wall_ms().saturating_sub(config.dedupe_memory_ms);
    let mut memory = new_memory(config, entropy.next_u64(), covers_from_ms);
    let mut chats = 0u64;
    store.load_chats_of(number, &mut |state| {
        chats += 1;
        memory.chats.load(&state);
    })?;
    let mut records = 0u64;
    for block in &blocks {
        records += u64::from(replay(&mut memory, now, number, block)?);
    }
    memory.replayed();
    store.dedupe_since_of(number, covers_from_ms, &mut |key, hit| {
        answer_found(&mut memory, now, key, &hit);
    })?;
    if !tenure.is_held() {
        return Err(StoreError::not_owned(&tenure).into());
    }
    tracing::info!(partition = number, epoch = tenure.epoch().0, chats, blocks = blocks.len(), records, "taken over");
    let owner = Owner { tenure, store: Arc::clone(store) };
    let log = Log::Owned(Box::new(OwnedLog::new(owner, last, config.max_block_bytes)));
    let open =
        OpenConfig { partitions: sharing.partitions, partition: config.clone(), dedupe_secret: sharing.dedupe_secret };
    Ok(Partition::new(number, &open, (memory, log), entropy, metrics))
}

/// Reads the blocks that are not in the tables yet, and notes that those from the next on are this owner's. Returns them,
/// and the number of the last.
fn begin(tenure: &Tenure, store: &dyn SharedStore) -> Result<(Vec<LoggedBlock>, u64), OpenError> {
    let (partition, epoch) = (tenure.partition(), tenure.epoch());
    for _ in 0..READS_OF_LOG {
        let standing = store.adopt(partition)?;
        let before = standing.takeovers.last().map_or(Epoch::default(), |takeover| takeover.epoch);
        if before >= epoch {
            return Err(StoreError::not_owned(tenure).into());
        }
        let blocks = log::counting(&standing.takeovers, store.blocks_above(partition, standing.applied)?);
        // An owner before notes what it has applied and then forgets those blocks: they may have gone just now.
        if store.adopt(partition)?.applied != standing.applied {
            continue;
        }
        for (found, block) in blocks.iter().zip(standing.applied + 1..) {
            if found.block != block {
                return Err(OpenError::Hole { partition, block });
            }
        }
        let last = standing.applied + blocks.len() as u64;
        store.take_over(partition, Takeover { epoch, first_block: last + 1, after: before })?;
        return Ok((blocks, last));
    }
    let what = "an owner before is still writing to its tables".to_owned();
    Err(StoreError::Away { doing: "reading a partition's log", what }.into())
}

/// Replays a block. Returns its records.
fn replay(memory: &mut Memory, now: Now, partition: u16, found: &LoggedBlock) -> Result<u32, OpenError> {
    let block = found.block;
    log::read(&found.bytes, |record| {
        match record {
            Record::Append(entry) => {
                let journal = JournalId(u32::from(partition));
                let wrong = |source| OpenError::Replay { journal, lsn: Lsn(block), source };
                memory.replay_entry(now, &entry).map_err(wrong)?;
            }
            Record::Position(position) => memory.replay_position(now, &position),
        }
        Ok(())
    })
    .map_err(|error: ReplayFailed| error.at(partition, block))
}

/// Why a block is not replayed.
enum ReplayFailed {
    Block(log::BlockError),
    Open(OpenError),
}

impl From<log::BlockError> for ReplayFailed {
    fn from(error: log::BlockError) -> Self {
        Self::Block(error)
    }
}

impl From<OpenError> for ReplayFailed {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl ReplayFailed {
    fn at(self, partition: u16, block: u64) -> OpenError {
        match self {
            Self::Block(source) => OpenError::Block { partition, block, source },
            Self::Open(error) => error,
        }
    }
}

impl Partition {
    /// Under which epoch it is owned; 0 where it is this process's for good.
    pub fn epoch(&self) -> Epoch {
        self.log.owned().map_or(Epoch::default(), |log| log.owner().tenure.epoch())
    }

    /// Whether its tenure is over. What was under way in it is not answered; drop it.
    pub fn is_lost(&self) -> bool {
        self.log.owned().is_some_and(|log| log.owner().tenure.is_over())
    }

    /// At the end of a turn: begins to write what has been ordered, if nothing is being written.
    pub(super) fn start_commit(&mut self, now: Now) {
        let due_ns = self.commit_due_ns();
        let Some(log) = self.log.owned_mut().filter(|log| !log.owner().tenure.is_over()) else { return };
        if let Some(again) = log.take_again(now.mono_ns) {
            return self.jobs.push_back((JobQueue::Commit, Work::Commit(again)));
        }
        if log.is_busy() || due_ns.is_none_or(|due| due > now.mono_ns) {
            return;
        }
        self.append_positions();
        if let Some((commit, len)) = self.log.owned_mut().and_then(OwnedLog::take_block) {
            self.batch_taken(len);
            self.jobs.push_back((JobQueue::Commit, Work::Commit(commit)));
        }
    }

    /// When the next block is to be written, or written again, ns; in the past = at once.
    pub(super) fn commit_due_ns(&self) -> Option<u64> {
        let log = self.log.owned().filter(|log| !log.owner().tenure.is_over())?;
        if log.is_busy() {
            return log.retry_ns();
        }
        let marks = self.filling.positions.len();
        match () {
            () if self.filling.entries > 0 || marks >= MARKS_AT_ONCE || (marks > 0 && log.stopping) => Some(1),
            () if marks > 0 => Some(self.last_commit_ns + MARKS_WAIT_NS),
            () => None,
        }
    }

    /// A block's write ended.
    pub(super) fn commit_done(&mut self, now: Now, result: Result<(), StoreError>, egress: &mut dyn Egress) {
        let number = self.number;
        let Some(log) = self.log.owned_mut() else { return };
        match result {
            Ok(()) => {
                log.done();
                self.block_committed(now, egress);
            }
            Err(error) if log.owner().tenure.is_over() => {
                tracing::warn!(partition = number, %error, "the partition is another's; what was under way is not answered");
            }
            Err(error) => {
                let failures = log.failed(now.mono_ns);
                self.metrics.write_failures.inc();
                if failures == 1 {
                    tracing::warn!(partition = number, %error, "a block could not be written; trying again until it is known to be there");
                }
            }
        }
    }

    /// After [`Partition::stop`]: whether anything is still under way.
    pub(super) fn is_drained(&self) -> bool {
        let waiting: [usize; 3] = [self.inbox.len(), self.parked_sends, self.filling.items.len()];
        let busy = self.log.owned().is_some_and(OwnedLog::is_busy);
        self.is_lost() || (!busy && self.filling.is_empty() && waiting == [0; 3] && !self.fanout.is_due())
    }
}
