//! The store as one of several writers uses it: the logs of its partitions, and flushes that lose against later owners'.
//!
//! What must stay true: the positions and the write timestamp of a partition are kept under the partition, not under whoever
//! owns it; an owner notes a timestamp, then asks whether it still is the owner, then writes with it. The next owner reads
//! what was noted when it begins and goes on above it, so whatever the one before still writes is older.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fabric::mutex::lock;
use futures_util::future::try_join3;
use schema::dedupe::DedupeKey;
use schema::ids::ChatId;
use storage_writer::lease::{Epoch, Tenure};
use storage_writer::lsn::JournalId;
use storage_writer::pins::Pins;
use storage_writer::store::{
    ChatState, DedupeHit, FlushReport, FlushRun, LoggedBlock, SharedStore, Sharing, Standing, StoreError, Takeover,
};
use uuid::Uuid;

use crate::write::{Flush, Writing};
use crate::{ScyllaStore, dedupe, pins, read};

/// Blocks of a segment.
const SEGMENT_BLOCKS: u64 = 512;
const LOGGING: &str = "writing a block of a partition's log";
const READING: &str = "reading a partition's log";
const TAKING_OVER: &str = "noting a takeover";
const TRIMMING: &str = "forgetting blocks that are applied";

/// What a store that is shared knows besides.
pub struct Shared {
    /// How it is shared.
    pub sharing: Sharing,
    /// Of the partitions that it has adopted. Each is held by whoever changes it: one at a time.
    adopted: Mutex<BTreeMap<u16, Arc<Mutex<Adopted>>>>,
}

struct Adopted {
    writing: Writing,
    /// Segments below this one have been forgotten, as far as this writer knows.
    forgotten: Option<i64>,
}

impl Shared {
    /// Nothing is adopted yet.
    pub const fn new(sharing: Sharing) -> Self {
        Self { sharing, adopted: Mutex::new(BTreeMap::new()) }
    }

    fn adopted(&self, partition: Option<u16>) -> Option<(u16, Arc<Mutex<Adopted>>)> {
        let adopted = lock(&self.adopted);
        let first = || adopted.keys().next().copied();
        let partition = partition.or_else(first)?;
        Some((partition, Arc::clone(adopted.get(&partition)?)))
    }
}

/// Under which the positions and the timestamp of a partition are kept, where others keep those of a data folder's node.
fn holder(partition: u16) -> Uuid {
    Uuid::from_u128(u128::from(partition) + 1)
}

fn part(partition: u16) -> i16 {
    partition.cast_signed()
}

fn segment(block: u64) -> i64 {
    (block / SEGMENT_BLOCKS).cast_signed()
}

impl ScyllaStore {
    fn shared(&self) -> &Shared {
        self.shared.as_ref().expect("it was opened as a shared one")
    }

    fn owning(&self, partition: u16) -> Flush<'_> {
        Flush { node: holder(partition), ..self.flushing() }
    }

    /// Where a partition stands, and what its owner goes on from. A part of every takeover: what it needs is asked for at once.
    async fn look(&self, partition: u16) -> Result<(Standing, Writing), StoreError> {
        let takeovers = async {
            let mut takeovers = Vec::new();
            let take = |(epoch, first_block, after): (i64, i64, i64)| {
                let (epoch, after) = (Epoch(epoch.cast_unsigned()), Epoch(after.cast_unsigned()));
                takeovers.push(Takeover { epoch, first_block: first_block.cast_unsigned(), after });
                true
            };
            self.cluster.read(READING, &self.cluster.statements.takeovers, (part(partition),), take).await?;
            Ok(takeovers)
        };
        let writing = Writing::load(&self.cluster, holder(partition));
        let (writing, takeovers, slices) = try_join3(writing, takeovers, dedupe::slices(&self.cluster)).await?;
        self.slices.extend(slices);
        let applied = writing.applied.get(&JournalId(u32::from(partition))).map_or(0, |lsn| lsn.0);
        Ok((Standing { applied, takeovers }, writing))
    }

    /// Drops the slices of answers that are over, in the name of a partition that was adopted.
    pub(crate) fn expire_owned(&self, over: Vec<i64>) -> Result<(), StoreError> {
        let Some((partition, adopted)) = self.shared().adopted(None) else { return Ok(()) };
        let mut of = lock(&adopted);
        self.runtime.block_on(self.drop_slices(&self.owning(partition), &mut of.writing, over))
    }
}

impl SharedStore for ScyllaStore {
    fn sharing(&self) -> Sharing {
        self.shared().sharing
    }

    fn standing(&self, partition: u16) -> Result<Standing, StoreError> {
        self.runtime.block_on(self.look(partition)).map(|(standing, _)| standing)
    }

    fn adopt(&self, partition: u16) -> Result<Standing, StoreError> {
        let (standing, writing) = self.runtime.block_on(self.look(partition))?;
        let adopted = Arc::new(Mutex::new(Adopted { writing, forgotten: None }));
        lock(&self.shared().adopted).insert(partition, adopted);
        Ok(standing)
    }

    fn load_chats_of(&self, partition: u16, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
        self.runtime.block_on(read::states(&self.cluster, self.sharing().slots(partition), each))
    }

    fn dedupe_since_of(
        &self,
        partition: u16,
        wall_ms: u64,
        each: &mut dyn FnMut(DedupeKey, DedupeHit),
    ) -> Result<(), StoreError> {
        let parts = [(partition as u8).cast_signed()];
        self.runtime.block_on(dedupe::since(&self.cluster, &self.slices, (&parts, wall_ms), each))
    }

    fn blocks_above(&self, partition: u16, after: u64) -> Result<Vec<LoggedBlock>, StoreError> {
        let mut blocks: Vec<LoggedBlock> = Vec::new();
        let mut next = after + 1;
        self.runtime.block_on(async {
            loop {
                let (read_from, values) = (next, (part(partition), segment(next), (next - 1).cast_signed()));
                let take = |(block, epoch, bytes): (i64, i64, Vec<u8>)| {
                    let (block, epoch) = (block.cast_unsigned(), Epoch(epoch.cast_unsigned()));
                    let follows = block <= next;
                    if follows {
                        next = block + 1;
                        blocks.push(LoggedBlock { block, epoch, bytes });
                    }
                    follows
                };
                self.cluster.read(READING, &self.cluster.statements.blocks, values, take).await?;
                if segment(next) == segment(read_from) {
                    return Ok(());
                }
            }
        })?;
        Ok(blocks)
    }

    fn take_over(&self, partition: u16, takeover: Takeover) -> Result<(), StoreError> {
        let Takeover { epoch, first_block, after } = takeover;
        let values = (part(partition), epoch.0.cast_signed(), first_block.cast_signed(), after.0.cast_signed());
        let noted = self.cluster.run(TAKING_OVER, &self.cluster.statements.put_takeover, values);
        self.runtime.block_on(noted).map(|_| ())
    }

    fn append(&self, partition: u16, epoch: Epoch, block: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let values = (part(partition), segment(block), block.cast_signed(), epoch.0.cast_signed(), bytes);
        let written = self.cluster.run(LOGGING, &self.cluster.statements.put_block, values);
        self.runtime.block_on(written).map(|_| ())
    }

    fn flush_owned(&self, tenure: &Tenure, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        let held = || if tenure.is_held() { Ok(()) } else { Err(StoreError::not_owned(tenure)) };
        let (_, adopted) =
            self.shared().adopted(Some(tenure.partition())).ok_or_else(|| StoreError::not_owned(tenure))?;
        let mut of = lock(&adopted);
        held()?;
        self.runtime.block_on(self.owning(tenure.partition()).run(&mut of.writing, run, held))
    }

    fn trim(&self, partition: u16, applied: u64) -> Result<(), StoreError> {
        // A segment is forgotten whole, once its last block is applied.
        let kept = segment(applied + 1);
        let Some((_, adopted)) = self.shared().adopted(Some(partition)) else { return Ok(()) };
        let mut of = lock(&adopted);
        self.runtime.block_on(async {
            let statements = &self.cluster.statements;
            for at in (of.forgotten.unwrap_or(0)..kept).rev() {
                let values = (part(partition), at);
                // What owners before have left: down to the first segment that has nothing any more.
                if of.forgotten.is_none() {
                    let found = self.cluster.run(TRIMMING, &statements.has_segment, values).await?;
                    let found: Vec<(i64,)> =
                        crate::cluster::rows(found).map_err(|what| StoreError::Away { doing: TRIMMING, what })?;
                    if found.is_empty() {
                        break;
                    }
                }
                self.cluster.run(TRIMMING, &statements.drop_segment, values).await?;
            }
            of.forgotten = Some(kept);
            Ok(())
        })
    }

    fn load_chat(&self, chat: ChatId) -> Result<Option<ChatState>, StoreError> {
        self.runtime.block_on(read::state(&self.cluster, chat))
    }

    fn stamp(&self, partition: u16) -> i64 {
        self.shared().adopted(Some(partition)).map_or(0, |(_, adopted)| lock(&adopted).writing.stamp)
    }

    fn raise_stamp(&self, partition: u16, stamp: i64) {
        if let Some((_, adopted)) = self.shared().adopted(Some(partition)) {
            let mut of = lock(&adopted);
            of.writing.stamp = of.writing.stamp.max(stamp);
        }
    }

    fn pins(&self, latest: bool) -> Result<Pins, StoreError> {
        self.runtime.block_on(pins::read(&self.cluster, latest))
    }

    fn change_pins(&self, next: &Pins) -> Result<bool, StoreError> {
        self.runtime.block_on(pins::change(&self.cluster, next))
    }
}
