//! The spool's files as bytes. A file is a run of batches, each padded to the disk's alignment; zeros follow the last.
//!
//! | head of a batch | | record | |
//! |---|---|---|---|
//! | 0 u32 | magic | 0 u8 | type: 1 queued, 2 settled, 3 dead letter |
//! | 4 u32 | CRC32C of bytes 8..length | 1 u8 × 3 | 0 |
//! | 8 u16 | format | 4 u32 | payload length |
//! | 12 u32 | length, without padding | 8 | payload |
//! | 16 u64 | number, rising by one over all files | | |
//! | 24 u32 | records | | |
//!
//! All numbers little endian. A send is an envelope as links carry it. What must stay true: reading is total, and nothing
//! unknown is skipped.

use bytes::Bytes;
use schema::envelope::{self, Envelope, EnvelopeError};

const MAGIC: u32 = u32::from_le_bytes(*b"SWSP");
const FORMAT: u16 = 1;
/// Bytes before a batch's first record.
pub const HEAD: usize = 32;
/// Bytes before a record's payload.
pub const RECORD_HEAD: usize = 8;

const QUEUED: u8 = 1;
const SETTLED: u8 = 2;
const DEAD: u8 = 3;

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// A send that is to be stored later.
    Queued {
        /// Its number in the spool.
        id: u64,
        /// When it was queued, ms since 1970.
        queued_ms: u64,
        /// It, with the session that is to be told.
        send: Envelope,
    },
    /// It need not be kept any more.
    Settled {
        /// Its number in the spool.
        id: u64,
    },
    /// It will never be stored: a dead letter has this one record.
    Dead {
        /// Its number in the spool.
        id: u64,
        /// When it was queued, ms since 1970.
        queued_ms: u64,
        /// When it was given up, ms since 1970.
        dead_ms: u64,
        /// The code of the refusal; 0 = it was too old.
        code: u16,
        /// It.
        send: Envelope,
    },
}

/// Why bytes are not a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Nothing was ever written there.
    #[error("nothing is there")]
    Empty,
    /// Not what was written, or only a part of it.
    #[error("it is not what was written")]
    Broken,
    /// Written by a later version.
    #[error("its format {0} is unknown to this version")]
    Format(u16),
    /// A record of a later version.
    #[error("a record's type {0} is unknown to this version")]
    Type(u8),
    /// A send that cannot be read.
    #[error(transparent)]
    Send(#[from] EnvelopeError),
}

/// A batch as it was read.
#[derive(Debug)]
pub struct Batch {
    /// Its number.
    pub number: u64,
    /// Its length without padding.
    pub len: usize,
    /// What is in it.
    pub records: Vec<Record>,
}

/// A batch while it is put together.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    records: u32,
}

impl Default for Writer {
    fn default() -> Self {
        Self { bytes: vec![0; HEAD], records: 0 }
    }
}

impl Writer {
    /// Bytes so far.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is in it.
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Adds a send. `encoded`: its envelope.
    pub fn queued(&mut self, id: u64, queued_ms: u64, encoded: &[u8]) {
        self.record(QUEUED, &[&id.to_le_bytes(), &queued_ms.to_le_bytes(), encoded]);
    }

    /// Notes that a send need not be kept any more.
    pub fn settled(&mut self, id: u64) {
        self.record(SETTLED, &[&id.to_le_bytes()]);
    }

    /// Adds a dead letter.
    pub fn dead(&mut self, id: u64, (queued_ms, dead_ms): (u64, u64), code: u16, encoded: &[u8]) {
        let (times, code) = ([queued_ms.to_le_bytes(), dead_ms.to_le_bytes()].concat(), u64::from(code).to_le_bytes());
        self.record(DEAD, &[&id.to_le_bytes(), &times, &code, encoded]);
    }

    fn record(&mut self, kind: u8, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.bytes.extend_from_slice(&[kind, 0, 0, 0]);
        self.bytes.extend_from_slice(&(len as u32).to_le_bytes());
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.records += 1;
    }

    /// The batch, padded to `align` bytes.
    pub fn finish(mut self, number: u64, align: usize) -> Vec<u8> {
        let len = self.bytes.len();
        let head = &mut self.bytes;
        head[..4].copy_from_slice(&MAGIC.to_le_bytes());
        head[8..10].copy_from_slice(&FORMAT.to_le_bytes());
        head[12..16].copy_from_slice(&(len as u32).to_le_bytes());
        head[16..24].copy_from_slice(&number.to_le_bytes());
        head[24..28].copy_from_slice(&self.records.to_le_bytes());
        let crc = crc32c::crc32c(&head[8..len]);
        head[4..8].copy_from_slice(&crc.to_le_bytes());
        self.bytes.resize(len.next_multiple_of(align), 0);
        self.bytes
    }
}

/// Reads the batch that begins at `bytes`.
///
/// # Errors
/// [`BatchError`].
pub fn read(bytes: &[u8]) -> Result<Batch, BatchError> {
    let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else {
        return Err(if bytes.iter().all(|byte| *byte == 0) { BatchError::Empty } else { BatchError::Broken });
    };
    if head.iter().all(|byte| *byte == 0) {
        return Err(BatchError::Empty);
    }
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let len = word(12) as usize;
    if word(0) != MAGIC || len < HEAD {
        return Err(BatchError::Broken);
    }
    let whole = bytes.get(..len).ok_or(BatchError::Broken)?;
    if crc32c::crc32c(&whole[8..]) != word(4) {
        return Err(BatchError::Broken);
    }
    let format = word(8) as u16;
    if format != FORMAT {
        return Err(BatchError::Format(format));
    }
    let number = u64::from(word(16)) | u64::from(word(20)) << 32;
    let (mut rest, mut records) = (&whole[HEAD..], Vec::new());
    for _ in 0..word(24) {
        let (head, payload) = rest.split_first_chunk::<RECORD_HEAD>().ok_or(BatchError::Broken)?;
        let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (payload, after) = payload.split_at_checked(len).ok_or(BatchError::Broken)?;
        records.push(record(head[0], payload)?);
        rest = after;
    }
    if rest.is_empty() { Ok(Batch { number, len, records }) } else { Err(BatchError::Broken) }
}

fn record(kind: u8, payload: &[u8]) -> Result<Record, BatchError> {
    let mut rest = payload;
    let mut number = || {
        let (first, after) = rest.split_first_chunk::<8>().ok_or(BatchError::Broken)?;
        rest = after;
        Ok::<_, BatchError>(u64::from_le_bytes(*first))
    };
    Ok(match kind {
        QUEUED => {
            let (id, queued_ms) = (number()?, number()?);
            Record::Queued { id, queued_ms, send: envelope::decode(&Bytes::copy_from_slice(rest))? }
        }
        SETTLED => Record::Settled { id: number()? },
        DEAD => {
            let (id, queued_ms, dead_ms, code) = (number()?, number()?, number()?, number()? as u16);
            Record::Dead { id, queued_ms, dead_ms, code, send: envelope::decode(&Bytes::copy_from_slice(rest))? }
        }
        other => return Err(BatchError::Type(other)),
    })
}
