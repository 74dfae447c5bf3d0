//! Reading all journals of a folder at start.
//!
//! What must stay true: records of a journal are delivered in LSN order without holes, and every record that anything on
//! the disk names durable is delivered or the start stops with a file and an offset.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use fabric::disk::Disk;

use super::close::{TailBlock, UNFINISHED, close};
use super::format::{
    BLOCK_CLEAN_STOP, HEADER_LEN, NoHeader, SEGMENT_CLOSES, SEGMENT_RECYCLED, SegmentHeader, generation,
};
use super::record::{DecodeError, Record};
use super::scan::{Found, Identity, Index, RecoverError, each_record, index};
use super::segment::{SegmentJob, is_segment_name, parse_name};
use crate::lsn::{JournalId, Lsn};

/// Gets the records: of each journal in LSN order, journals in the order they were opened. When [`recover`] fails, what
/// was delivered before means nothing.
pub trait Visitor {
    /// One record. Those the store already has come too.
    fn record(&mut self, journal: JournalId, lsn: Lsn, record: Record<'_>);
}

impl<F: FnMut(JournalId, Lsn, Record<'_>)> Visitor for F {
    fn record(&mut self, journal: JournalId, lsn: Lsn, record: Record<'_>) {
        self(journal, lsn, record);
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// In the order they were opened.
    pub journals: Vec<RecoveredJournal>,
    /// The first id nobody has used: partition `p` of this start opens journal `next_id + p`.
    pub next_id: JournalId,
}

/// One journal of an earlier start. Nothing is ever added to it.
#[derive(Debug)]
pub struct RecoveredJournal {
    /// Its number.
    pub id: JournalId,
    /// Its last record: once the store has everything up to here, its segments may go.
    pub last_lsn: Lsn,
    /// Records delivered.
    pub records: u64,
    /// Bytes of a block that was in flight at the crash, cut.
    pub torn_bytes: u64,
    /// Records of failed (or never finished) writes that a later segment supersedes.
    pub superseded: u64,
    /// It had ended with a clean stop, or an earlier recovery had closed it.
    pub was_closed: bool,
    /// Its files, oldest first.
    pub segments: Vec<Arc<str>>,
}

impl RecoveredJournal {
    /// Jobs that remove it, to be run in this order, each only after the one before succeeded; and only after the journals
    /// of this start are open and the store has everything up to [`Self::last_lsn`].
    pub fn removal(&self) -> impl Iterator<Item = SegmentJob> {
        self.segments.iter().map(|name| SegmentJob::remove(Arc::clone(name)))
    }
}

pub(super) fn io_error(file: &str, source: io::Error) -> RecoverError {
    RecoverError::Io { file: file.to_owned(), source }
}

/// Reads every journal of the folder, whoever wrote it, delivers its records, and closes it, so that the next recovery
/// sees the same. `applied`: what the store has of each journal, e.g. of ones whose first segments were freed.
///
/// # Errors
/// See [`RecoverError`]; the folder is left as it was, but for journals closed before the failing one.
pub fn recover(
    disk: &dyn Disk,
    applied: &[(JournalId, Lsn)],
    visitor: &mut dyn Visitor,
) -> Result<Recovered, RecoverError> {
    let mut journals: BTreeMap<JournalId, BTreeMap<u32, Arc<str>>> = BTreeMap::new();
    for file in disk.list().map_err(|error| io_error("", error))? {
        if let Some((journal, ordinal)) = parse_name(&file) {
            journals.entry(journal).or_default().insert(ordinal, file.into());
        } else if file.strip_suffix(UNFINISHED).is_some_and(|name| parse_name(name).is_some()) {
            disk.remove(&file).map_err(|error| io_error(&file, error))?;
        } else if is_segment_name(&file) {
            return Err(RecoverError::Foreign { file });
        }
    }
    let highest = journals.keys().copied().chain(applied.iter().map(|(journal, _)| *journal)).max();
    let mut recovered = Recovered { journals: Vec::new(), next_id: JournalId(highest.map_or(1, |id| id.0 + 1)) };
    for (id, files) in journals {
        let applied = applied.iter().find(|(journal, _)| *journal == id).map_or(Lsn::ZERO, |(_, lsn)| *lsn);
        recovered.journals.push(recover_journal(disk, id, files, applied, visitor)?);
    }
    Ok(recovered)
}

fn recover_journal(
    disk: &dyn Disk,
    id: JournalId,
    files: BTreeMap<u32, Arc<str>>,
    applied: Lsn,
    visitor: &mut dyn Visitor,
) -> Result<RecoveredJournal, RecoverError> {
    let mut segments = Vec::new();
    for (&ordinal, file) in &files {
        if let Some(header) = read_header(disk, file, id, ordinal)? {
            segments.push((Arc::clone(file), header));
        }
    }
    let mut chain = Chain::new(id, applied);
    for (i, (file, header)) in segments.iter().enumerate() {
        let cut = segments[i + 1..].iter().filter_map(|(_, later)| later.continues_after).min();
        chain.add(disk, file, header, cut.unwrap_or(Lsn(u64::MAX)), visitor)?;
    }
    let mut journal = chain.finish()?;
    journal.segments = files.values().cloned().collect();
    if !journal.was_closed {
        let ordinal = files.keys().next_back().map_or(1, |last| last + 1);
        journal.segments.push(close(disk, id, ordinal, chain.durable.max(chain.floor()), &chain.tail)?);
    }
    let RecoveredJournal { last_lsn, torn_bytes, superseded, records, was_closed, .. } = journal;
    // What a closing segment supersedes was cut, and said to be, when it was written.
    if !was_closed && (torn_bytes > 0 || superseded > 0) {
        tracing::warn!(journal = id.0, last_lsn = last_lsn.0, torn_bytes, superseded, "journal's unfinished end cut");
    } else {
        tracing::debug!(journal = id.0, last_lsn = last_lsn.0, records, "journal read");
    }
    Ok(journal)
}

/// The header of a segment that was ready for use; `None` for one that never was.
pub(super) fn read_header(
    disk: &dyn Disk,
    file: &str,
    journal: JournalId,
    ordinal: u32,
) -> Result<Option<SegmentHeader>, RecoverError> {
    let mut bytes = [0u8; HEADER_LEN];
    let n = disk.read_at(file, 0, &mut bytes).map_err(|error| io_error(file, error))?;
    let generation = generation(journal, ordinal);
    let corruption = |what| RecoverError::Corruption { file: file.to_owned(), offset: 0, what };
    match SegmentHeader::decode(&bytes[..n]) {
        Ok(header) if header.generation == generation && header.journal == journal => Ok(Some(header)),
        // Renamed to be recycled, and no further.
        Ok(header) if header.generation < generation => Ok(None),
        Ok(_) => Err(corruption("its header is another segment's")),
        Err(NoHeader::Newer(version)) => Err(RecoverError::NewerFormat { file: file.to_owned(), offset: 0, version }),
        Err(NoHeader::Invalid) => {
            // A header is durable before the first block goes out. So if there is a block, this is damage.
            let identity = Identity { generation, journal, salt: None, align: 512 };
            let index = read_index(disk, file, &identity, false)?;
            let used = !index.blocks.is_empty() || index.is_damaged();
            if used { Err(corruption("the segment's header")) } else { Ok(None) }
        }
    }
}

fn read_index(disk: &dyn Disk, file: &str, identity: &Identity, zeroed: bool) -> Result<Index, RecoverError> {
    index_of(&read_whole(disk, file)?, file, identity, zeroed)
}

pub(super) fn index_of(bytes: &[u8], file: &str, identity: &Identity, zeroed: bool) -> Result<Index, RecoverError> {
    index(bytes, identity, zeroed).map_err(|(offset, version)| RecoverError::NewerFormat {
        file: file.to_owned(),
        offset: offset as u64,
        version,
    })
}

pub(super) fn read_whole(disk: &dyn Disk, file: &str) -> Result<Vec<u8>, RecoverError> {
    let len = disk.len(file).map_err(|error| io_error(file, error))?;
    let mut bytes = vec![0u8; len as usize];
    let n = disk.read_at(file, 0, &mut bytes).map_err(|error| io_error(file, error))?;
    bytes.truncate(n);
    Ok(bytes)
}

/// A journal's records, as far as they follow one another.
struct Chain {
    id: JournalId,
    applied: Lsn,
    /// The next LSN; `None` before the first segment said where it begins.
    expected: Option<Lsn>,
    first_missing: bool,
    /// The highest LSN anything names durable.
    durable: Lsn,
    /// Accepted blocks above `durable`.
    tail: Vec<TailBlock>,
    /// Where the chain ended so far, and whether something is wrong there.
    end: Option<(Arc<str>, u64, bool)>,
    /// A block came that does not follow: the chain has ended for good.
    broken: bool,
    torn_bytes: u64,
    superseded: u64,
    records: u64,
    closed: bool,
}

impl Chain {
    fn new(id: JournalId, applied: Lsn) -> Self {
        Self {
            id,
            applied,
            expected: None,
            first_missing: false,
            durable: Lsn::ZERO,
            tail: Vec::new(),
            end: None,
            broken: false,
            torn_bytes: 0,
            superseded: 0,
            records: 0,
            closed: false,
        }
    }

    /// Adds a segment. `cut`: what a later segment supersedes is above this.
    fn add(
        &mut self,
        disk: &dyn Disk,
        file: &Arc<str>,
        header: &SegmentHeader,
        cut: Lsn,
        visitor: &mut dyn Visitor,
    ) -> Result<(), RecoverError> {
        let bytes = read_whole(disk, file)?;
        let zeroed = header.flags & SEGMENT_RECYCLED == 0;
        let index = index_of(&bytes, file, &Identity::of(header), zeroed)?;
        if let Some(after) = header.continues_after {
            self.knows_durable(after);
            self.expected.get_or_insert(after.next());
        }
        let before = self.expected;
        for found in &index.blocks {
            self.knows_durable(found.header.durable);
            self.block(&bytes, file, found, cut, visitor)?;
        }
        for found in &index.later {
            self.knows_durable(found.header.durable);
            self.first_missing |= self.expected.is_none();
        }
        if !index.blocks.is_empty() || index.is_damaged() || header.continues_after.is_some() {
            self.closed = header.flags & SEGMENT_CLOSES != 0
                || index.blocks.last().is_some_and(|last| last.header.flags & BLOCK_CLEAN_STOP != 0);
        }
        let superseded = self.expected.is_some_and(|expected| expected > cut);
        let damaged = index.is_damaged() && !superseded;
        let moved = self.expected != before;
        let replace = self.end.as_ref().is_none_or(|(_, _, was_damaged)| moved || (damaged && !was_damaged));
        if !self.broken && replace {
            self.end = Some((Arc::clone(file), index.end.offset as u64, damaged));
            self.torn_bytes = if damaged { index.end.torn_bytes as u64 } else { 0 };
        }
        Ok(())
    }

    fn block(
        &mut self,
        bytes: &[u8],
        file: &Arc<str>,
        found: &Found,
        cut: Lsn,
        visitor: &mut dyn Visitor,
    ) -> Result<(), RecoverError> {
        let (first, last) = (found.header.first_lsn, found.header.last_lsn());
        let corruption =
            |what| Err(RecoverError::Corruption { file: file.to_string(), offset: found.offset as u64, what });
        if found.header.records == 0 || self.broken {
            return Ok(());
        }
        if first > cut {
            self.superseded += u64::from(found.header.records);
            return Ok(());
        }
        if last > cut {
            return corruption("a later segment takes over in the middle of this block");
        }
        let expected = *self.expected.get_or_insert(first);
        if first < expected {
            return corruption("its records were there before");
        }
        if first > expected {
            self.broken = true;
            self.end.get_or_insert_with(|| (Arc::clone(file), found.offset as u64, true));
            return Ok(());
        }
        if self.records == 0 && first > self.applied.next() {
            return corruption("records before this block are missing");
        }
        self.deliver(bytes, file, found, visitor)?;
        self.expected = Some(last.next());
        let end = found.offset + HEADER_LEN + found.header.payload_len as usize;
        self.tail.push(TailBlock { header: found.header, bytes: bytes[found.offset..end].to_vec() });
        self.knows_durable(Lsn::ZERO);
        Ok(())
    }

    fn deliver(
        &mut self,
        bytes: &[u8],
        file: &Arc<str>,
        found: &Found,
        visitor: &mut dyn Visitor,
    ) -> Result<(), RecoverError> {
        for (offset, head, payload) in each_record(bytes, found) {
            let record = match head.key {
                0 => Record::decode(head.kind, head.format, payload),
                key => Err(DecodeError::Encrypted(key)),
            };
            let record = record.map_err(|source| RecoverError::Record {
                file: file.to_string(),
                offset: offset as u64,
                source,
            })?;
            visitor.record(self.id, head.lsn, record);
            self.records += 1;
        }
        Ok(())
    }

    fn knows_durable(&mut self, lsn: Lsn) {
        self.durable = self.durable.max(lsn);
        let durable = self.durable;
        self.tail.retain(|block| block.header.last_lsn() > durable);
    }

    /// What is not on the disk any more, because the store has it.
    fn floor(&self) -> Lsn {
        if self.expected.is_none() { self.applied } else { Lsn::ZERO }
    }

    fn finish(&mut self) -> Result<RecoveredJournal, RecoverError> {
        let last_lsn = self.expected.map_or(self.applied, |expected| Lsn(expected.0 - 1));
        if self.durable > last_lsn || self.broken || self.first_missing {
            let (file, offset, _) = self.end.clone().unwrap_or_else(|| ("".into(), 0, false));
            let what = "records known to be durable are missing from here on";
            return Err(RecoverError::Corruption { file: file.to_string(), offset, what });
        }
        Ok(RecoveredJournal {
            id: self.id,
            last_lsn,
            records: self.records,
            torn_bytes: self.torn_bytes,
            superseded: self.superseded,
            was_closed: self.closed,
            segments: Vec::new(),
        })
    }
}
