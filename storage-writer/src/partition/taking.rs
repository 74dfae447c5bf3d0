//! Opening a partition of a shared store when its tenure begins, from that store alone: states, the end of its log, answers.
//!
//! Most of it may be read ahead, while another owner still writes; then what is left at the takeover is the log's last blocks.
//! What must stay true: everything that an earlier owner has acknowledged is found; what an earlier owner may still write
//! never counts; what was read ahead is used only where it is exactly what would be read now, up to blocks that come after.

use std::sync::Arc;

use fabric::entropy::Entropy;
use fabric::time::Now;

use super::open::new_memory;
use super::{OpenConfig, OpenError, Partition, PartitionConfig, StorageMetrics, settling};
use crate::journal::Record;
use crate::lease::{Epoch, Tenure};
use crate::log::{self, Log, OwnedLog, Owner};
use crate::owner::Memory;
use crate::pins::{Pins, Residents};
use crate::store::{LoggedBlock, SharedStore, Standing, StoreError, Takeover};

/// How often a log is read anew while an owner before is still writing down what it applied.
const READS_OF_LOG: usize = 20;

/// What the next owner of a partition has read of it while another one still had it. Its memory is that of the partition.
pub struct Ahead {
    partition: u16,
    memory: Memory,
    read: Read,
    /// Who owned it.
    takeover: Option<Takeover>,
    /// The last block, if one was read.
    last: Option<(u64, Epoch)>,
    /// The table of pinned chats as it was.
    pins: u64,
}

impl Ahead {
    /// Of which partition.
    pub const fn partition(&self) -> u16 {
        self.partition
    }
}

impl std::fmt::Debug for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ahead").field("partition", &self.partition).field("read", &self.read).finish_non_exhaustive()
    }
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    applied: u64,
    chats: u64,
    blocks: u64,
    records: u64,
}

impl Read {
    /// The last block.
    const fn last(self) -> u64 {
        self.applied + self.blocks
    }
}

/// What was opened.
struct Loaded {
    memory: Memory,
    read: Read,
    residents: Residents,
    /// Of chats that have come from elsewhere; see [`Pins::stamp`].
    stamp: i64,
}

/// Reads what there is of a partition, of which another writer is the owner; it goes on meanwhile. Blocks. Changes nothing.
///
/// # Errors
/// [`OpenError`]; it may be tried again, or left.
pub fn read_ahead(
    partition: u16,
    config: &PartitionConfig,
    store: &dyn SharedStore,
    entropy: &mut dyn Entropy,
    now: Now,
) -> Result<Ahead, OpenError> {
    let (standing, blocks, pins) = read_log(partition, store, store.standing(partition)?)?;
    let residents = pins.residents(partition, store.sharing().partitions);
    let of = (partition, standing.applied, &residents);
    let (memory, read) = load(of, config, store, (entropy, now), &blocks)?;
    let last = blocks.last().map(|last| (last.block, last.epoch));
    let takeover = standing.takeovers.last().copied();
    Ok(Ahead { partition, memory, read, takeover, last, pins: pins.version })
}

/// Opens a partition that `tenure` has begun for: states, the end of its log, the answers of the last while; of what was read
/// `ahead` only what has come since. Chats that are to leave it have left it then. Blocks. The first of its blocks comes behind
/// the last one that counts; what an earlier owner writes from now on does not.
///
/// # Errors
/// [`OpenError`]; after one the tenure is of no use: give the partition up and take it again.
pub fn open_owned(
    tenure: Arc<Tenure>,
    ahead: Option<Ahead>,
    config: &PartitionConfig,
    store: &Arc<dyn SharedStore>,
    (entropy, now): (&mut dyn Entropy, Now),
    metrics: StorageMetrics,
) -> Result<Partition, OpenError> {
    let (sharing, number) = (store.sharing(), tenure.partition());
    let ahead = match ahead.filter(|ahead| ahead.partition == number) {
        Some(ahead) => go_on(&tenure, ahead, &**store, now)?,
        None => None,
    };
    let was_ahead = ahead.is_some();
    metrics.read_ahead.inc_by(u64::from(was_ahead));
    let loaded = match ahead {
        Some(ahead) => ahead,
        None => read_now(&tenure, config, store, (&mut *entropy, now))?,
    };
    let Loaded { mut memory, read, residents, stamp } = loaded;
    memory.replayed();
    store.raise_stamp(number, stamp);
    if !tenure.is_held() {
        return Err(StoreError::not_owned(&tenure).into());
    }
    let Read { chats, blocks, records, .. } = read;
    tracing::info!(partition = number, epoch = tenure.epoch().0, chats, blocks, records, was_ahead, "taken over");
    let owner = Owner { tenure, store: Arc::clone(store) };
    let log = Log::Owned(Box::new(OwnedLog::new(owner, read.last(), config.max_block_bytes)));
    let open =
        OpenConfig { partitions: sharing.partitions, partition: config.clone(), dedupe_secret: sharing.dedupe_secret };
    let opened = Partition::new(number, &open, (memory, log), entropy, metrics);
    Ok(Partition { residents, ..opened })
}

/// Takes over and reads everything, if need be twice: once with the chats that are to leave, and without them once they have.
fn read_now(
    tenure: &Tenure,
    config: &PartitionConfig,
    store: &Arc<dyn SharedStore>,
    (entropy, now): (&mut dyn Entropy, Now),
) -> Result<Loaded, OpenError> {
    let number = tenure.partition();
    for _ in 0..READS_OF_LOG {
        let (standing, blocks, pins) = read_log(number, &**store, store.adopt(number)?)?;
        take_over(tenure, &standing, standing.applied + blocks.len() as u64, &**store)?;
        let residents = pins.residents(number, store.sharing().partitions);
        let of = (number, standing.applied, &residents);
        let (memory, read) = load(of, config, &**store, (&mut *entropy, now), &blocks)?;
        if !pins.leaves(number) {
            return Ok(Loaded { memory, read, residents, stamp: pins.stamp });
        }
        store.raise_stamp(number, pins.stamp);
        settling::settle(tenure, memory, read.last(), &pins, store)?;
    }
    let what = "the table of pinned chats changes all the time".to_owned();
    Err(StoreError::Away { doing: "giving pinned chats away", what }.into())
}

/// Reads the blocks that are not in the tables yet, and count; and the table of pinned chats as it was
/// while they were not.
fn read_log(
    partition: u16,
    store: &dyn SharedStore,
    mut standing: Standing,
) -> Result<(Standing, Vec<LoggedBlock>, Pins), OpenError> {
    for _ in 0..READS_OF_LOG {
        let blocks = log::counting(&standing.takeovers, store.blocks_above(partition, standing.applied)?);
        let pins = store.pins(true)?;
        // An owner before notes what it has applied and then forgets those blocks: they may have gone just now.
        let again = store.standing(partition)?;
        if again.applied != standing.applied {
            standing = again;
            continue;
        }
        is_whole(partition, standing.applied, &blocks)?;
        return Ok((standing, blocks, pins));
    }
    let what = "its owner is still writing to its tables".to_owned();
    Err(StoreError::Away { doing: "reading a partition's log", what }.into())
}

/// Blocks follow on each other, and on `after`.
fn is_whole(partition: u16, after: u64, blocks: &[LoggedBlock]) -> Result<(), OpenError> {
    let missing = (after + 1..).zip(blocks).find(|(block, found)| found.block != *block);
    missing.map_or(Ok(()), |(block, _)| Err(OpenError::Hole { partition, block }))
}

/// Notes that the blocks behind `last` are this owner's.
fn take_over(tenure: &Tenure, standing: &Standing, last: u64, store: &dyn SharedStore) -> Result<(), OpenError> {
    let (partition, epoch) = (tenure.partition(), tenure.epoch());
    let after = standing.takeovers.last().map_or(Epoch::default(), |takeover| takeover.epoch);
    if standing.takeovers.last().is_some_and(|own| own.epoch == epoch && own.first_block == last + 1) {
        return Ok(()); // before chats have left
    }
    if after >= epoch {
        return Err(StoreError::not_owned(tenure).into());
    }
    Ok(store.take_over(partition, Takeover { epoch, first_block: last + 1, after })?)
}

/// Reads states and answers, and replays blocks.
fn load(
    (partition, applied, residents): (u16, u64, &Residents),
    config: &PartitionConfig,
    store: &dyn SharedStore,
    (entropy, now): (&mut dyn Entropy, Now),
    blocks: &[LoggedBlock],
) -> Result<(Memory, Read), OpenError> {
    let covers_from_ms = now.wall_ms().saturating_sub(config.dedupe_memory_ms);
    let mut memory = new_memory(config, entropy.next_u64(), covers_from_ms);
    let mut read = Read { applied, ..Read::default() };
    store.load_chats_of(partition, &mut |state| {
        if residents.has(state.chat) {
            read.chats += 1;
            memory.chats.load(&state);
        }
    })?;
    read.chats += settling::load_guests(&mut memory, residents, store)?;
    read.replay(&mut memory, now, (partition, residents), blocks)?;
    settling::load_answers(&mut memory, (partition, residents), store, (now, covers_from_ms))?;
    Ok((memory, read))
}

/// What was read ahead, with what has come since; `None` where it is not what would be read now, because something was written
/// to the tables or because another one owned the partition in between.
fn go_on(tenure: &Tenure, ahead: Ahead, store: &dyn SharedStore, now: Now) -> Result<Option<Loaded>, OpenError> {
    let Ahead { partition, mut memory, mut read, takeover, last, pins: version } = ahead;
    // The last block that was read is looked at again: it must have come to stay.
    let after = read.last() - u64::from(last.is_some());
    let blocks = store.blocks_above(partition, after)?;
    let pins = store.pins(true)?;
    // After the blocks: had they been forgotten by then, this would say that they are applied.
    let standing = store.adopt(partition)?;
    if pins.version != version || pins.leaves(partition) {
        return Ok(None);
    }
    if standing.applied != read.applied || standing.takeovers.last().copied() != takeover {
        return Ok(None);
    }
    let blocks = log::counting(&standing.takeovers, blocks);
    is_whole(partition, after, &blocks)?;
    let (known, new) = blocks.split_at(blocks.len().min(usize::from(last.is_some())));
    if known.first().map(|known| (known.block, known.epoch)) != last {
        return Ok(None);
    }
    take_over(tenure, &standing, after + blocks.len() as u64, store)?;
    let residents = pins.residents(partition, store.sharing().partitions);
    read.replay(&mut memory, now, (partition, &residents), new)?;
    Ok(Some(Loaded { memory, read, residents, stamp: pins.stamp }))
}

impl Read {
    fn replay(
        &mut self,
        memory: &mut Memory,
        now: Now,
        of: (u16, &Residents),
        blocks: &[LoggedBlock],
    ) -> Result<(), OpenError> {
        for block in blocks {
            self.records += u64::from(replay(memory, now, of, block)?);
            self.blocks += 1;
        }
        Ok(())
    }
}

/// Replays a block, but for what is of chats that have left. Returns its records.
fn replay(
    memory: &mut Memory,
    now: Now,
    (partition, residents): (u16, &Residents),
    found: &LoggedBlock,
) -> Result<u32, OpenError> {
    let block = found.block;
    log::read(&found.bytes, |record| {
        match record {
            Record::Append(entry) if !residents.has(entry.chat) => {}
            Record::Append(entry) => {
                let wrong = |source| OpenError::Entry { partition, block, source };
                memory.replay_entry(now, &entry).map_err(wrong)?;
            }
            // One of a chat that is not here is of nobody's.
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
