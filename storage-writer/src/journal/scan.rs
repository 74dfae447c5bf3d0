//! One segment's bytes: which blocks are in it, and where what can be followed ends.
//!
//! What must stay true: total over any bytes; a block counts only if every one of its records is whole.

use std::io;

use super::format::{
    BlockHeader, HEADER_LEN, NoHeader, RECORD_HEADER_LEN, RecordHeader, SegmentHeader, record_crc_holds,
};
use super::record::DecodeError;
use crate::lsn::{JournalId, Lsn};

/// Why a start cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The disk failed.
    #[error("journal {file}: {source}")]
    Io {
        /// Which file; empty for the folder.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// What was durable is damaged or gone. Restore the file, or the whole folder, from a copy.
    #[error("journal {file} is damaged at byte {offset}: {what}")]
    Corruption {
        /// Which file.
        file: String,
        /// The block (or header) concerned.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A whole record that this version cannot read.
    #[error("journal {file} at byte {offset}: {source}")]
    Record {
        /// Which file.
        file: String,
        /// Where the record begins.
        offset: u64,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// Written by a later version.
    #[error("journal {file} at byte {offset} has format {version}, this version reads up to {known}", known = super::FORMAT_VERSION)]
    NewerFormat {
        /// Which file.
        file: String,
        /// The header concerned.
        offset: u64,
        /// Its format.
        version: u16,
    },
    /// A file that calls itself a journal's but is not named like one.
    #[error("{file} is no journal of this system")]
    Foreign {
        /// Which file.
        file: String,
    },
}

/// A whole block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub offset: usize,
    pub header: BlockHeader,
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Index {
    /// Whole blocks one after the other, from the segment's beginning.
    pub blocks: Vec<Found>,
    /// Where that ended.
    pub end: End,
    /// Whole blocks found behind the end.
    pub later: Vec<Found>,
}

/// Where and how a segment's blocks end.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub offset: usize,
    /// Bytes of a block that was begun and is not whole; 0 where there is none.
    pub torn_bytes: usize,
}

impl Index {
    /// Whether something is wrong at the end, rather than nothing written.
    pub fn is_damaged(&self) -> bool {
        self.end.torn_bytes > 0 || !self.later.is_empty()
    }
}

enum At {
    Whole(BlockHeader, usize),
    /// A block of this generation whose records are not whole; how long it should be.
    Torn(usize),
    /// Not a block of this generation.
    Other,
}

/// What a block must say to be of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub generation: u64,
    pub journal: JournalId,
    /// `None`: the segment's header is lost.
    pub salt: Option<u64>,
    pub align: usize,
}

impl Identity {
    pub fn of(header: &SegmentHeader) -> Self {
        let SegmentHeader { generation, journal, salt, align_bytes, .. } = *header;
        Self { generation, journal, salt: Some(salt), align: align_bytes as usize }
    }

    fn holds(&self, header: &BlockHeader) -> bool {
        header.generation == self.generation
            && header.journal == self.journal
            && self.salt.is_none_or(|salt| salt == header.salt)
    }
}

/// Indexes a segment. `zeroed`: it was all zeros when it was prepared (not recycled), so that anything else is damage.
///
/// # Errors
/// (offset, version) of a block of a later format.
pub(super) fn index(bytes: &[u8], identity: &Identity, zeroed: bool) -> Result<Index, (usize, u16)> {
    let mut blocks = Vec::new();
    let mut at = identity.align;
    let torn_bytes = loop {
        match block_at(bytes, at, identity)? {
            At::Whole(header, len) => {
                blocks.push(Found { offset: at, header });
                at += len;
            }
            At::Torn(len) => break len,
            At::Other if zeroed => break unclean_bytes(bytes, at, identity.align),
            At::Other => break 0,
        }
    };
    let end = End { offset: at, torn_bytes };
    let mut later = Vec::new();
    at += identity.align;
    while at < bytes.len() {
        match block_at(bytes, at, identity)? {
            At::Whole(header, len) => {
                later.push(Found { offset: at, header });
                at += len;
            }
            At::Torn(_) | At::Other => at += identity.align,
        }
    }
    Ok(Index { blocks, end, later })
}

/// Bytes up to the last one that is not 0, whole units.
fn unclean_bytes(bytes: &[u8], at: usize, align: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().rposition(|&b| b != 0).map_or(0, |last| (last + 1).next_multiple_of(align))
}

fn block_at(bytes: &[u8], at: usize, identity: &Identity) -> Result<At, (usize, u16)> {
    let block = bytes.get(at..).unwrap_or_default();
    let header = match BlockHeader::decode(block) {
        Ok(header) if identity.holds(&header) => header,
        Err(NoHeader::Newer(version)) => return Err((at, version)),
        Ok(_) | Err(NoHeader::Invalid) => return Ok(At::Other),
    };
    let used = HEADER_LEN + header.payload_len as usize;
    let len = used.next_multiple_of(identity.align);
    let whole = len <= block.len()
        && header.first_lsn > header.durable
        && records(&header, &block[HEADER_LEN..used]).is_some_and(|count| count == header.records);
    Ok(if whole { At::Whole(header, len) } else { At::Torn(len.min(block.len())) })
}

/// How many whole records `payload` consists of; `None` if there is anything else in it.
fn records(header: &BlockHeader, payload: &[u8]) -> Option<u32> {
    let (mut rest, mut count) = (payload, 0u32);
    while !rest.is_empty() {
        let record = first_record(rest)?;
        let head = RecordHeader::decode(record);
        let expected = Lsn(header.first_lsn.0.checked_add(u64::from(count))?);
        if !record_crc_holds(record) || head.generation != header.generation || head.lsn != expected {
            return None;
        }
        rest = &rest[record.len()..];
        count += 1;
    }
    Some(count)
}

/// The first record's bytes, its header included.
fn first_record(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.len() < RECORD_HEADER_LEN {
        return None;
    }
    bytes.get(..RECORD_HEADER_LEN.checked_add(RecordHeader::decode(bytes).payload_len as usize)?)
}

/// The records of a whole block, as (offset in the segment, LSN, header and payload).
pub(super) fn each_record<'a>(bytes: &'a [u8], found: &Found) -> impl Iterator<Item = (usize, RecordHeader, &'a [u8])> {
    let mut at = found.offset + HEADER_LEN;
    let end = at + found.header.payload_len as usize;
    std::iter::from_fn(move || {
        let record = first_record(&bytes[at..end])?;
        let here = at;
        at += record.len();
        Some((here, RecordHeader::decode(record), &record[RECORD_HEADER_LEN..]))
    })
}
