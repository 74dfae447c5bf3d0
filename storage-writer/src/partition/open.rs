//! Opening all partitions of a process: the store's state, then whatever journals are there, then new journals.
//!
//! The journals found may come from any number of partitions; each record goes to whoever holds its chat now.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use fabric::disk::Disk;
use fabric::entropy::Entropy;
use fabric::hash;
use fabric::time::Now;
use schema::dedupe::{DedupeHasher, DedupeKey};
use schema::encode::Encoder;
use schema::ids::{ChatId, SLOT_COUNT};
use schema::timeuuid::Generator;

use super::job::Recovered;
use super::{Partition, PartitionConfig, RecoverySummary, StorageMetrics};
use crate::journal::{self, Journal, JournalConfig, JournalId, Lsn, Record, RecoverError};
use crate::log::{BlockError, Log};
use crate::memtable::HotTails;
use crate::owner::{
    Amending, Audience, Batch, Chats, DedupeMemory, Fanout, Keys, Known, Memory, Merges, Nudges, Rates, Refusals,
    ReplayError, Spooling, Tables,
};
use crate::pins::Residents;
use crate::store::{DedupeHit, Store, StoreError};

/// What all partitions of a process are opened with.
#[derive(Clone)]
pub struct OpenConfig {
    /// How many partitions share the slots, `1..=SLOT_COUNT`. May differ from the start before.
    pub partitions: u16,
    /// Sizes and times of each.
    pub partition: PartitionConfig,
    /// The data folder's secret, kept for its life.
    pub dedupe_secret: [u8; 16],
}

/// All partitions, ready to serve.
pub struct Opened {
    /// By number, `0..partitions`.
    pub partitions: Vec<Partition>,
    /// What was found.
    pub recovery: RecoverySummary,
}

/// Why the partitions cannot open. A second try finds what the first one found.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store's answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A journal cannot be read.
    #[error(transparent)]
    Journal(#[from] RecoverError),
    /// A journal and the store do not fit together.
    #[error("journal {journal}, record {lsn}: {source}; restore the data folder from a backup")]
    Replay {
        /// Which journal.
        journal: JournalId,
        /// Which record.
        lsn: Lsn,
        /// What is wrong.
        source: ReplayError,
    },
    /// A block of a partition's log cannot be read.
    #[error("partition {partition}, block {block} of its log: {source}; restore the keyspace from a backup")]
    Block {
        /// Which partition.
        partition: u16,
        /// Which block.
        block: u64,
        /// What is wrong.
        source: BlockError,
    },
    /// A block of a partition's log and the tables do not fit together.
    #[error("partition {partition}, block {block} of its log: {source}; restore the keyspace from a backup")]
    Entry {
        /// Which partition.
        partition: u16,
        /// Which block.
        block: u64,
        /// What is wrong.
        source: ReplayError,
    },
    /// A block of a partition's log is missing.
    #[error("partition {partition}, block {block} of its log is missing; restore the keyspace from a backup")]
    Hole {
        /// Which partition.
        partition: u16,
        /// Which block.
        block: u64,
    },
    /// A new journal cannot be made.
    #[error("a new journal cannot be made: {0}; check the data folder's free space and permissions")]
    NewJournal(#[from] io::Error),
}

impl core::fmt::Debug for Opened {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Opened").field("partitions", &self.partitions.len()).field("recovery", &self.recovery).finish()
    }
}

/// Opens every partition of the process at once. Blocks; called before any shard runs. `metrics`: one set a partition.
///
/// # Errors
/// See [`OpenError`].
///
/// # Panics
/// When `config.partitions` is 0 or above [`SLOT_COUNT`].
pub fn open(
    config: &OpenConfig,
    store: &dyn Store,
    disk: &dyn Disk,
    entropy: &mut dyn Entropy,
    now: Now,
    metrics: &mut dyn FnMut(u16) -> StorageMetrics,
) -> Result<Opened, OpenError> {
    assert!((1..=SLOT_COUNT).contains(&config.partitions), "{} partitions", config.partitions);
    let covers_from_ms = now.wall_ms().saturating_sub(config.partition.dedupe_memory_ms);
    let mut loading = Loading {
        memories: (0..config.partitions)
            .map(|_| new_memory(&config.partition, entropy.next_u64(), covers_from_ms))
            .collect(),
        summary: RecoverySummary::default(),
        now,
    };
    store.load_chats(&mut |state| {
        loading.summary.chats += 1;
        loading.memory_of(state.chat).chats.load(&state);
    })?;
    let applied = store.applied()?;
    let found = loading.replay(disk, &applied)?;
    loading.load_answers(store, covers_from_ms)?;

    let mut journals = Vec::new();
    for number in 0..config.partitions {
        let id = JournalId(found.next_id.0 + u32::from(number));
        journals.push(Journal::open(id, journal_config(&config.partition, disk, entropy), disk)?);
    }
    let recovered = Arc::new(loading.freeze(&found, &applied));
    if recovered.is_complete() {
        recovered.finish(store, disk)?;
    }
    let Loading { mut memories, summary, .. } = loading;
    for memory in &mut memories {
        memory.freeze_recovered(&recovered);
    }
    let partitions = memories.into_iter().zip(journals).enumerate().map(|(number, (memory, journal))| {
        let number = number as u16;
        let log = Log::Journal(Box::new(journal));
        Partition::new(number, config, (memory, log), entropy, metrics(number))
    });
    Ok(Opened { partitions: partitions.collect(), recovery: summary })
}

pub(super) fn new_memory(config: &PartitionConfig, seed: u64, covers_from_ms: u64) -> Memory {
    Memory {
        chats: Chats::new(seed),
        tables: Tables::new(),
        hot: HotTails::new(seed, config.hot_tail_bytes, config.hot_tail_entries),
        dedupe: DedupeMemory::new(config.dedupe_memory_ms, config.dedupe_entries, covers_from_ms),
        latest_ms: 0,
    }
}

fn journal_config(config: &PartitionConfig, disk: &dyn Disk, entropy: &mut dyn Entropy) -> JournalConfig {
    JournalConfig {
        segment_bytes: config.segment_bytes,
        max_block_bytes: config.max_block_bytes,
        max_segments: config.max_segments,
        ..JournalConfig::new(disk.align_bytes(), entropy.next_u64())
    }
}

/// All partitions' memories while they are filled.
struct Loading {
    memories: Vec<Memory>,
    summary: RecoverySummary,
    now: Now,
}

impl Loading {
    fn memory_of(&mut self, chat: ChatId) -> &mut Memory {
        let partition = chat.slot().partition(self.memories.len() as u16);
        &mut self.memories[usize::from(partition)]
    }

    fn replay(&mut self, disk: &dyn Disk, applied: &[(JournalId, Lsn)]) -> Result<journal::Recovered, OpenError> {
        let now = self.now;
        let mut failed = None;
        let mut last = (JournalId::default(), Lsn::ZERO);
        let mut visit = |journal: JournalId, lsn: Lsn, record: Record<'_>| {
            if last.0 != journal {
                last = (journal, applied.iter().find(|(id, _)| *id == journal).map_or(Lsn::ZERO, |&(_, lsn)| lsn));
            }
            if lsn <= last.1 || failed.is_some() {
                self.summary.skipped += 1;
                return;
            }
            self.summary.records += 1;
            match record {
                Record::Append(entry) => {
                    if let Err(source) = self.memory_of(entry.chat).replay_entry(now, &entry) {
                        failed = Some(OpenError::Replay { journal, lsn, source });
                    }
                }
                Record::Position(position) => self.memory_of(position.chat).replay_position(now, &position),
            }
        };
        let found = journal::recover(disk, applied, &mut visit)?;
        if let Some(error) = failed {
            return Err(error);
        }
        for memory in &mut self.memories {
            memory.replayed();
        }
        self.summary.journals = found.journals.len();
        self.summary.torn = found.journals.iter().filter(|journal| journal.torn_bytes > 0).count() as u64;
        let open = found.journals.iter().filter(|journal| !journal.was_closed);
        self.summary.superseded = open.map(|journal| journal.superseded).sum();
        Ok(found)
    }

    /// The store's answers of the last while. After the replay: an interrupted flush may have left some whose entries are
    /// still in a journal.
    fn load_answers(&mut self, store: &dyn Store, from_ms: u64) -> Result<(), StoreError> {
        let now = self.now;
        store.dedupe_since(from_ms, &mut |key, hit| {
            if answer_found(self.memory_of(hit.chat), now, key, &hit) {
                self.summary.dedupe += 1;
            }
        })
    }

    /// What becomes of the journals found.
    fn freeze(&self, found: &journal::Recovered, applied: &[(JournalId, Lsn)]) -> Recovered {
        let holds = |&(_, memory): &(usize, &Memory)| !memory.tables.active.is_empty();
        let missing: BTreeSet<u16> =
            self.memories.iter().enumerate().filter(holds).map(|(number, _)| number as u16).collect();
        let here: BTreeSet<JournalId> = found.journals.iter().map(|journal| journal.id).collect();
        Recovered {
            applied: found.journals.iter().map(|journal| (journal.id, journal.last_lsn)).collect(),
            removal: found.journals.iter().flat_map(journal::RecoveredJournal::removal).collect(),
            gone: applied.iter().map(|&(id, _)| id).filter(|id| !here.contains(id)).collect(),
            missing: Mutex::new(missing),
        }
    }
}

/// An answer of the store's; whether its entry is known.
pub(super) fn answer_found(memory: &mut Memory, now: Now, key: DedupeKey, hit: &DedupeHit) -> bool {
    let index = memory.chats.find(hit.chat).filter(|&index| memory.chats.get(index).head.seq >= hit.seq);
    let Some(index) = index else {
        tracing::warn!(chat = %hit.chat, seq = hit.seq, "the store knows an answer without its entry; ignored");
        return false;
    };
    memory.recover_answer(now, key, Known { seq: hit.seq, message: hit.message, chat: index }, 0);
    true
}

impl Memory {
    fn freeze_recovered(&mut self, recovered: &Arc<Recovered>) {
        if !self.tables.active.is_empty() {
            self.tables.freeze(Lsn::ZERO, Some(Arc::clone(recovered)), false);
        }
    }
}

impl Partition {
    pub(super) fn new(
        number: u16,
        config: &OpenConfig,
        (memory, log): (Memory, Log),
        entropy: &mut dyn Entropy,
        metrics: StorageMetrics,
    ) -> Self {
        let of = &config.partition;
        let seed = entropy.next_u64();
        Self {
            number,
            partitions: config.partitions,
            residents: Residents::at_home(number, config.partitions),
            metrics,
            keys: Keys::new(DedupeHasher::new(config.dedupe_secret)),
            generator: Generator::new(entropy.next_u64().to_le_bytes()),
            encoder: Encoder::in_arena(),
            memory,
            log,
            filling: Batch { number: 1, ..Batch::default() },
            filling_bytes: 0,
            positions_appended: 0,
            in_flight: None,
            in_flight_bytes: 0,
            spare: None,
            inbox: VecDeque::new(),
            spooling: Spooling::new(of.outage.clone()),
            parked: hash::map(seed),
            parked_sends: 0,
            refusals: Refusals::new(seed, of.refusals),
            merges: Merges::new(seed, of.sync_merges),
            lists: Merges::new(seed, of.sync_merges),
            audience: Audience::new(
                seed,
                Rates { group: of.deliveries_per_second_per_group, sender: of.deliveries_per_second_per_sender },
            ),
            amending: Amending::new(seed),
            fanout: Fanout::default(),
            nudges: Nudges::new(of.nudge_after_ms, of.nudges_per_head),
            reads: hash::map(seed),
            last_read: 0,
            jobs: VecDeque::new(),
            stopping: false,
            failures: 0,
            retry_ns: 0,
            expire_ns: 1,
            last_commit_ns: 0,
            applied: Lsn::ZERO,
            flush_failing: false,
            flushes_failed: 0,
            unfrozen_journal_bytes: 0,
            config: config.partition.clone(),
        }
    }
}
