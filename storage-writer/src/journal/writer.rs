//! The journal's hot path: fill a block, hand it out, learn that it is durable.
//!
//! What must stay true: one write is in flight; an LSN is committed only by its block's completion; after a failed write
//! nothing is handed out until a new segment has been prepared.

use std::io;

use fabric::disk::{Block, BlockBuffer, BlockWrite, Disk};

use super::format::{
    BLOCK_CLEAN_STOP, BLOCK_SEALS, BlockHeader, HEADER_LEN, RECORD_HEADER_LEN, RecordHeader, finish_record,
};
use super::record::Record;
use super::segment::{SegmentDone, SegmentJob};
use super::space::{Prepared, Space};
use super::watch::Watch;
use crate::lsn::{JournalId, Lsn};

/// How a journal is laid out.
#[derive(Clone, Copy, Debug)]
pub struct JournalConfig {
    /// Length of a segment, bytes; a multiple of the alignment that holds a header and at least one full block.
    pub segment_bytes: u64,
    /// Capacity of a block with its header, bytes; a multiple of 4,096.
    pub max_block_bytes: usize,
    /// At most so many segments are kept; then appends wait until some are freed. At least 3.
    pub max_segments: usize,
    /// [`Disk::align_bytes`] of the journal's folder.
    pub align_bytes: usize,
    /// Random, drawn at every start: makes blocks unforgeable by content.
    pub salt: u64,
}

impl JournalConfig {
    /// 32 MiB segments, 1 MiB blocks, at most 2 GiB.
    pub const fn new(align_bytes: usize, salt: u64) -> Self {
        Self { segment_bytes: 32 << 20, max_block_bytes: 1 << 20, max_segments: 64, align_bytes, salt }
    }

    fn check(&self) {
        let align = self.align_bytes;
        assert!(align.is_power_of_two() && (512..=Block::ALIGN).contains(&align), "alignment {align}");
        assert!(self.max_block_bytes > 0 && self.max_block_bytes.is_multiple_of(Block::ALIGN));
        assert!(self.segment_bytes.is_multiple_of(align as u64), "segment length {}", self.segment_bytes);
        assert!(self.segment_bytes >= (align + self.max_block_bytes) as u64, "a segment must hold a whole block");
        assert!(self.max_segments >= 3);
    }
}

/// Why a record was not taken. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The filling block has no room: append again after the next [`Journal::take_write`].
    #[error("the journal's filling block is full")]
    Full,
    /// Larger than any block.
    #[error("the record is larger than a journal block")]
    TooLarge,
    /// A write failed and no segment has taken over yet.
    #[error("the journal waits for a new segment after a failed write")]
    Poisoned,
    /// [`Journal::stop`] was called.
    #[error("the journal is closed")]
    Stopped,
}

/// What the end of a write means.
#[derive(Debug)]
#[must_use]
pub enum WriteOutcome {
    /// Everything up to here is durable.
    Committed {
        /// The last committed record.
        up_to: Lsn,
    },
    /// The write failed: every record above `committed` is gone and was never anywhere. Appends are refused until a new
    /// segment takes over; their LSNs are given again.
    Poisoned {
        /// The last committed record.
        committed: Lsn,
        /// What the disk said.
        error: io::Error,
    },
}

/// What a journal is doing, for metrics and `status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JournalStatus {
    /// Last LSN given.
    pub ordered: Lsn,
    /// Last LSN durable.
    pub committed: Lsn,
    /// Segment files, the prepared one included.
    pub segments: usize,
    /// Their length together, bytes.
    pub segment_bytes: u64,
    /// Bytes waiting in the filling block.
    pub filling_bytes: usize,
    /// A write failed and nothing has taken over yet.
    pub poisoned: bool,
    /// A block waits for a segment.
    pub needs_segment: bool,
    /// The last job on a segment failed and waits for [`Journal::retry`].
    pub job_failed: bool,
}

/// One owner partition's journal. Owned by the partition's thread.
pub struct Journal {
    config: JournalConfig,
    space: Space,
    filling: BlockBuffer,
    /// Bytes used of `filling`, the block header included.
    used: usize,
    records: u32,
    spare: Vec<BlockBuffer>,
    in_flight: Option<InFlight>,
    next_ticket: u64,
    ordered: Lsn,
    committed: Lsn,
    /// The highest "durable" that a durable block names.
    named: Lsn,
    seal: Seal,
    poisoned: bool,
    watch: Watch,
}

struct InFlight {
    ticket: u64,
    block: Block,
    last: Lsn,
    names: Lsn,
    stops: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seal {
    No,
    /// Name what is durable once the journal is idle.
    Idle,
    /// The same, and never write again.
    Stop,
    /// Done.
    Stopped,
}

impl Journal {
    /// A new journal. `id`: never used in the folder (see [`super::Recovered::next_id`]). It has no segment yet: its first
    /// job makes one.
    pub fn new(id: JournalId, config: JournalConfig) -> Self {
        config.check();
        Self {
            space: Space::new(id, config),
            filling: BlockBuffer::new(config.max_block_bytes),
            used: HEADER_LEN,
            records: 0,
            spare: Vec::new(),
            in_flight: None,
            next_ticket: 1,
            ordered: Lsn::ZERO,
            committed: Lsn::ZERO,
            named: Lsn::ZERO,
            seal: Seal::No,
            poisoned: false,
            watch: Watch::new(id),
            config,
        }
    }

    /// A new journal with its first segments made. Blocks.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(id: JournalId, config: JournalConfig, disk: &dyn Disk) -> io::Result<Self> {
        let mut journal = Self::new(id, config);
        while let Some(job) = journal.take_job() {
            let done = job.run(disk);
            if let Err(error) = &done.result {
                return Err(io::Error::new(error.kind(), error.to_string()));
            }
            journal.job_done(done);
        }
        Ok(journal)
    }

    /// Its number.
    pub const fn id(&self) -> JournalId {
        self.space.id()
    }

    /// The last LSN given.
    pub const fn ordered(&self) -> Lsn {
        self.ordered
    }

    /// The last LSN durable.
    pub const fn committed(&self) -> Lsn {
        self.committed
    }

    /// For whoever copies it while it is written.
    pub const fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Whether a write failed and nothing has taken over yet.
    pub const fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Puts a record into the filling block and gives it the next LSN. Copies it; does not allocate.
    ///
    /// # Errors
    /// [`AppendError`]; nothing changed.
    pub fn append(&mut self, record: &Record<'_>) -> Result<Lsn, AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        if matches!(self.seal, Seal::Stop | Seal::Stopped) {
            return Err(AppendError::Stopped);
        }
        let payload_len = record.encoded_len();
        let end = self.used + RECORD_HEADER_LEN + payload_len;
        if end > self.config.max_block_bytes {
            return Err(if self.records == 0 { AppendError::TooLarge } else { AppendError::Full });
        }
        let (kind, format) = record.kind();
        let out = &mut self.filling.as_mut_slice()[self.used..end];
        let (header, payload) = out.split_at_mut(RECORD_HEADER_LEN);
        header.copy_from_slice(&RecordHeader::begin(payload_len as u32, kind, format));
        record.encode(payload);
        self.used = end;
        self.records += 1;
        self.ordered = self.ordered.next();
        Ok(self.ordered)
    }

    /// The next block to write; `None` while one is in flight, when there is nothing to write, and when no segment is
    /// ready for it.
    pub fn take_write(&mut self) -> Option<BlockWrite> {
        if self.in_flight.is_some() || self.poisoned || !self.wants_write() {
            return None;
        }
        debug_assert_eq!(self.ordered.0, self.committed.0 + u64::from(self.records));
        let len = self.used.next_multiple_of(self.config.align_bytes);
        let place = self.space.place(len as u64, self.committed)?;
        let stops = self.records == 0 && self.seal == Seal::Stop;
        let seals = if self.records == 0 { BLOCK_SEALS } else { 0 };
        let header = BlockHeader {
            flags: seals | if stops { BLOCK_CLEAN_STOP } else { 0 },
            generation: place.generation,
            journal: self.id(),
            first_lsn: self.committed.next(),
            records: self.records,
            payload_len: (self.used - HEADER_LEN) as u32,
            durable: self.committed,
            salt: place.salt,
        };
        let next = self.spare.pop().unwrap_or_else(|| BlockBuffer::new(self.config.max_block_bytes));
        let mut filled = std::mem::replace(&mut self.filling, next);
        finish_block(&mut filled.as_mut_slice()[..len], self.used, &header);
        let block = filled.lend(len);
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let bytes = block.clone();
        self.in_flight = Some(InFlight { ticket, block, last: self.ordered, names: self.committed, stops });
        (self.used, self.records) = (HEADER_LEN, 0);
        Some(BlockWrite { ticket, file: place.file, offset: place.offset, bytes })
    }

    fn wants_write(&self) -> bool {
        let behind = self.named < self.committed;
        self.records > 0 || (self.seal == Seal::Idle && behind) || self.seal == Seal::Stop
    }

    /// A write ended. `ticket`: as handed out; any other is ignored (`None`).
    pub fn write_done(&mut self, ticket: u64, result: io::Result<()>) -> Option<WriteOutcome> {
        let write = self.in_flight.take_if(|write| write.ticket == ticket)?;
        if let Some(buffer) = write.block.reclaim()
            && self.spare.len() < 2
        {
            self.spare.push(buffer);
        }
        match result {
            Ok(()) => {
                debug_assert!(write.last >= self.committed);
                self.committed = write.last;
                self.watch.commit(write.last);
                self.named = write.names;
                if write.stops {
                    self.seal = Seal::Stopped;
                } else if self.seal == Seal::Idle && self.named == self.committed {
                    self.seal = Seal::No;
                }
                Some(WriteOutcome::Committed { up_to: self.committed })
            }
            Err(error) => {
                self.poison();
                Some(WriteOutcome::Poisoned { committed: self.committed, error })
            }
        }
    }

    /// Nothing that is not durable will ever be: a new segment has to take over.
    fn poison(&mut self) {
        self.poisoned = true;
        (self.used, self.records) = (HEADER_LEN, 0);
        self.ordered = self.committed;
        self.space.abandon(self.committed);
    }

    /// When a block waits for a segment and none could be made (the disk is full): gives the block up, as if its write had
    /// failed, so that its senders can be told instead of waiting. Whether it did; the journal is poisoned then.
    pub fn give_up_without_segment(&mut self) -> bool {
        let stuck = self.in_flight.is_none() && self.space.job_failed() && self.needs_segment();
        if stuck {
            self.poison();
        }
        stuck
    }

    /// Whether the last block's records are named durable by no later block: an idle owner asks for a seal then.
    pub fn wants_seal(&self) -> bool {
        self.seal == Seal::No && self.named < self.committed
    }

    /// Asks for a sealing block. [`Self::take_write`] gives it once nothing else is to be written.
    pub fn seal(&mut self) {
        if self.seal == Seal::No {
            self.seal = Seal::Idle;
        }
    }

    /// Takes no more records; what is filling is written, then a last sealing block.
    pub fn stop(&mut self) {
        if self.seal != Seal::Stopped {
            self.seal = Seal::Stop;
        }
    }

    /// After [`Self::stop`]: everything is durable and sealed. A poisoned journal stops unsealed: its segments are
    /// recovered like a crashed one's.
    pub fn stopped(&self) -> bool {
        self.seal == Seal::Stopped || (self.seal == Seal::Stop && self.poisoned && self.in_flight.is_none())
    }

    /// The store has everything up to `applied`: segments wholly below it are free.
    pub fn freed(&mut self, applied: Lsn) {
        self.space.freed(applied);
    }

    /// The next job on segments, one at a time: its end goes to [`Self::job_done`] before there is another.
    pub fn take_job(&mut self) -> Option<SegmentJob> {
        if matches!(self.seal, Seal::Stop | Seal::Stopped) && !self.needs_segment() {
            return None;
        }
        self.space.take_job(self.poisoned.then_some(self.committed), self.watch.is_held())
    }

    /// A job ended.
    pub fn job_done(&mut self, done: SegmentDone) {
        if let Prepared::TookOver = self.space.job_done(done) {
            debug_assert!(self.poisoned);
            self.poisoned = false;
            // The new segment's header names what is durable.
            self.named = self.committed;
        }
    }

    /// Tries a failed job again, from the next [`Self::take_job`] on. Call it about once a second.
    pub fn retry(&mut self) {
        self.space.retry();
    }

    fn needs_segment(&self) -> bool {
        let len = self.used.next_multiple_of(self.config.align_bytes) as u64;
        self.wants_write() && !self.poisoned && !self.space.has_place(len)
    }

    /// See [`JournalStatus`].
    pub fn status(&self) -> JournalStatus {
        JournalStatus {
            ordered: self.ordered,
            committed: self.committed,
            segments: self.space.segments(),
            segment_bytes: self.space.segments() as u64 * self.config.segment_bytes,
            filling_bytes: self.used - HEADER_LEN,
            poisoned: self.poisoned,
            needs_segment: self.needs_segment(),
            job_failed: self.space.job_failed(),
        }
    }
}

/// Writes the block header, finishes the records behind it and clears the padding. `used`: where the records end.
pub(super) fn finish_block(block: &mut [u8], used: usize, header: &BlockHeader) {
    block[..HEADER_LEN].copy_from_slice(&header.encode());
    let (records, padding) = block[HEADER_LEN..].split_at_mut(used - HEADER_LEN);
    let (mut at, mut lsn) = (0, header.first_lsn);
    while at < records.len() {
        at += finish_record(&mut records[at..], header.generation, lsn);
        lsn = lsn.next();
    }
    debug_assert_eq!(lsn.0, header.first_lsn.0 + u64::from(header.records));
    padding.fill(0);
}
