//! Headers of segments, blocks and records, byte by byte (the table is in the module above).

use crate::lsn::{JournalId, Lsn};

/// The format this build writes.
pub const FORMAT_VERSION: u16 = 1;

pub(super) const SEGMENT_MAGIC: [u8; 4] = *b"SWJS";
pub(super) const BLOCK_MAGIC: [u8; 4] = *b"SWJB";
/// Length of segment and block headers.
pub(super) const HEADER_LEN: usize = 64;
const CRC_AT: usize = HEADER_LEN - 4;
pub(super) const RECORD_HEADER_LEN: usize = 32;

/// The file was used before.
pub(super) const SEGMENT_RECYCLED: u16 = 1;
/// Written by a recovery: the journal ends with it.
pub(super) const SEGMENT_CLOSES: u16 = 2;
/// No records; names what is durable.
pub(super) const BLOCK_SEALS: u16 = 1;
/// The journal's last block.
pub(super) const BLOCK_CLEAN_STOP: u16 = 2;

/// "Continues after the segment before".
const CONTINUES: u64 = u64::MAX;

/// A segment's generation.
pub(super) const fn generation(journal: JournalId, ordinal: u32) -> u64 {
    (journal.0 as u64) << 32 | ordinal as u64
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentHeader {
    pub flags: u16,
    pub generation: u64,
    pub journal: JournalId,
    /// `None`: after the segment before.
    pub continues_after: Option<Lsn>,
    pub len_bytes: u64,
    pub align_bytes: u32,
    pub salt: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BlockHeader {
    pub flags: u16,
    pub generation: u64,
    pub journal: JournalId,
    pub first_lsn: Lsn,
    pub records: u32,
    /// Of all records with their headers, bytes; the block header and the padding are not in it.
    pub payload_len: u32,
    pub durable: Lsn,
    /// Its segment's.
    pub salt: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RecordHeader {
    pub crc: u32,
    pub payload_len: u32,
    pub kind: u8,
    pub format: u8,
    pub key: u32,
    pub generation: u64,
    pub lsn: Lsn,
}

/// What the first bytes of a place are, if not a header of this format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoHeader {
    /// Not one, or a damaged one.
    Invalid,
    /// A whole header of a later format.
    Newer(u16),
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn begin(magic: [u8; 4], flags: u16, generation: u64, journal: JournalId) -> [u8; HEADER_LEN] {
    let mut out = [0u8; HEADER_LEN];
    out[..4].copy_from_slice(&magic);
    out[4..6].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    out[6..8].copy_from_slice(&flags.to_le_bytes());
    out[8..16].copy_from_slice(&generation.to_le_bytes());
    out[16..24].copy_from_slice(&u64::from(journal.0).to_le_bytes());
    out
}

fn end(mut out: [u8; HEADER_LEN]) -> [u8; HEADER_LEN] {
    let crc = crc32c::crc32c(&out[..CRC_AT]);
    out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Checks magic, CRC and version; gives (flags, generation, journal).
fn check(bytes: &[u8], magic: [u8; 4]) -> Result<(u16, u64, JournalId), NoHeader> {
    if bytes.len() < HEADER_LEN || bytes[..4] != magic {
        return Err(NoHeader::Invalid);
    }
    if crc32c::crc32c(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
        return Err(NoHeader::Invalid);
    }
    match u16_at(bytes, 4) {
        FORMAT_VERSION => {}
        version => return Err(NoHeader::Newer(version)),
    }
    let journal = u32::try_from(u64_at(bytes, 16)).map_err(|_| NoHeader::Invalid)?;
    Ok((u16_at(bytes, 6), u64_at(bytes, 8), JournalId(journal)))
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = begin(SEGMENT_MAGIC, self.flags, self.generation, self.journal);
        let continues_after = self.continues_after.map_or(CONTINUES, |lsn| lsn.0);
        out[24..32].copy_from_slice(&continues_after.to_le_bytes());
        out[32..40].copy_from_slice(&self.len_bytes.to_le_bytes());
        out[40..44].copy_from_slice(&self.align_bytes.to_le_bytes());
        out[48..56].copy_from_slice(&self.salt.to_le_bytes());
        end(out)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, NoHeader> {
        let (flags, generation, journal) = check(bytes, SEGMENT_MAGIC)?;
        let continues_after = match u64_at(bytes, 24) {
            CONTINUES => None,
            lsn => Some(Lsn(lsn)),
        };
        let (len_bytes, align_bytes, salt) = (u64_at(bytes, 32), u32_at(bytes, 40), u64_at(bytes, 48));
        if !align_bytes.is_power_of_two() || align_bytes < 512 {
            return Err(NoHeader::Invalid);
        }
        Ok(Self { flags, generation, journal, continues_after, len_bytes, align_bytes, salt })
    }
}

impl BlockHeader {
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = begin(BLOCK_MAGIC, self.flags, self.generation, self.journal);
        out[24..32].copy_from_slice(&self.first_lsn.0.to_le_bytes());
        out[32..36].copy_from_slice(&self.records.to_le_bytes());
        out[36..40].copy_from_slice(&self.payload_len.to_le_bytes());
        out[40..48].copy_from_slice(&self.durable.0.to_le_bytes());
        out[48..56].copy_from_slice(&self.salt.to_le_bytes());
        end(out)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, NoHeader> {
        let (flags, generation, journal) = check(bytes, BLOCK_MAGIC)?;
        let (records, payload_len) = (u32_at(bytes, 32), u32_at(bytes, 36));
        let (first_lsn, durable) = (Lsn(u64_at(bytes, 24)), Lsn(u64_at(bytes, 40)));
        let salt = u64_at(bytes, 48);
        Ok(Self { flags, generation, journal, first_lsn, records, payload_len, durable, salt })
    }

    /// LSN of its last record; of the record before, if it has none.
    pub const fn last_lsn(&self) -> Lsn {
        Lsn(self.first_lsn.0.saturating_add(self.records as u64).saturating_sub(1))
    }
}

impl RecordHeader {
    /// The header without what [`finish_record`] adds.
    pub fn begin(payload_len: u32, kind: u8, format: u8) -> [u8; RECORD_HEADER_LEN] {
        let mut out = [0u8; RECORD_HEADER_LEN];
        out[4..8].copy_from_slice(&payload_len.to_le_bytes());
        out[8] = kind;
        out[9] = format;
        out
    }

    /// `bytes` has at least [`RECORD_HEADER_LEN`] bytes.
    pub fn decode(bytes: &[u8]) -> Self {
        Self {
            crc: u32_at(bytes, 0),
            payload_len: u32_at(bytes, 4),
            kind: bytes[8],
            format: bytes[9],
            key: u32_at(bytes, 12),
            generation: u64_at(bytes, 16),
            lsn: Lsn(u64_at(bytes, 24)),
        }
    }
}

/// Gives the first record of `bytes` its generation, LSN and CRC; returns its whole length.
pub(super) fn finish_record(bytes: &mut [u8], generation: u64, lsn: Lsn) -> usize {
    let len = RECORD_HEADER_LEN + u32_at(bytes, 4) as usize;
    bytes[16..24].copy_from_slice(&generation.to_le_bytes());
    bytes[24..32].copy_from_slice(&lsn.0.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[4..len]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    len
}

/// Checks a record's CRC. `bytes`: header and payload.
pub(super) fn record_crc_holds(bytes: &[u8]) -> bool {
    crc32c::crc32c(&bytes[4..]) == u32_at(bytes, 0)
}
