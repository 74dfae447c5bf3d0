//! A block of a partition's log, as bytes: a head with a checksum, then records as the journal has them.
//!
//! | head | | record | |
//! |---|---|---|---|
//! | 0 u32 | CRC32C of bytes 4.. | 0 u32 | payload length |
//! | 4 u8 | format version | 4 u8 | record type |
//! | 5 | 0 | 5 u8 | that type's format |
//! | 8 u32 | records | 6 u16 | 0 |
//!
//! All numbers little endian. What must stay true: reading is total, and nothing unknown is skipped.

use crate::journal::{AppendError, DecodeError, Record};

const FORMAT: u8 = 1;
const HEAD: usize = 12;
const RECORD_HEAD: usize = 8;

/// Why a block cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Not what was written.
    #[error("its checksum does not fit its bytes")]
    Checksum,
    /// Written by a later version.
    #[error("its format {0} is unknown to this version")]
    Format(u8),
    /// Its records are not as long as it is.
    #[error("its records do not fill it")]
    Length,
    /// One of its records.
    #[error(transparent)]
    Record(#[from] DecodeError),
}

/// A block while it fills.
pub(crate) struct Filling {
    bytes: Vec<u8>,
    records: u32,
    limit: usize,
}

impl Filling {
    /// An empty one of at most so many bytes.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), records: 0, limit }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Adds a record.
    pub(crate) fn append(&mut self, record: &Record<'_>) -> Result<(), AppendError> {
        let from = self.bytes.len().max(HEAD);
        let end = from + RECORD_HEAD + record.encoded_len();
        if end > self.limit {
            return Err(if self.records == 0 { AppendError::TooLarge } else { AppendError::Full });
        }
        self.bytes.resize(end, 0);
        let (head, payload) = self.bytes[from..].split_at_mut(RECORD_HEAD);
        let (kind, format) = record.kind();
        head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        (head[4], head[5]) = (kind, format);
        record.encode(payload);
        self.records += 1;
        Ok(())
    }

    /// Takes what is there, and begins anew.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(bytes.len().max(HEAD), 0);
        bytes[4] = FORMAT;
        bytes[8..HEAD].copy_from_slice(&self.records.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        self.records = 0;
        bytes
    }
}

/// Reads a block, record by record. Returns how many there are.
pub(crate) fn read<E: From<BlockError>>(
    bytes: &[u8],
    mut each: impl FnMut(Record<'_>) -> Result<(), E>,
) -> Result<u32, E> {
    let (head, mut rest) = bytes.split_first_chunk::<HEAD>().ok_or(BlockError::Length)?;
    let [c0, c1, c2, c3, format, _, _, _, n0, n1, n2, n3] = *head;
    if crc32c::crc32c(&bytes[4..]) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(BlockError::Checksum.into());
    }
    if format != FORMAT {
        return Err(BlockError::Format(format).into());
    }
    let records = u32::from_le_bytes([n0, n1, n2, n3]);
    for _ in 0..records {
        let (head, payload) = rest.split_first_chunk::<RECORD_HEAD>().ok_or(BlockError::Length)?;
        let [l0, l1, l2, l3, kind, format, ..] = *head;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let (payload, after) = payload.split_at_checked(len).ok_or(BlockError::Length)?;
        each(Record::decode(kind, format, payload).map_err(BlockError::Record)?)?;
        rest = after;
    }
    if rest.is_empty() { Ok(records) } else { Err(BlockError::Length.into()) }
}

#[cfg(test)]
mod tests {
    use schema::ids::{ChatId, DeviceId, MessageId, UserId};
    use schema::wire::MarkStatus;

    use super::*;
    use crate::journal::PositionRecord;

    fn position(seq: u64) -> PositionRecord {
        PositionRecord {
            chat: ChatId([3; 16]),
            user: UserId::new(8).expect("not 0"),
            device: DeviceId(2),
            seq,
            message: MessageId([9; 16]),
            status: MarkStatus::read,
            secret: seq.is_multiple_of(2),
        }
    }

    fn block(records: u64) -> Vec<u8> {
        let mut filling = Filling::new(1_000);
        (1..=records).for_each(|seq| filling.append(&Record::Position(position(seq))).expect("room"));
        assert_eq!(filling.is_empty(), records == 0);
        let bytes = filling.take();
        assert!(filling.is_empty());
        bytes
    }

    fn seqs(bytes: &[u8]) -> Result<Vec<u64>, BlockError> {
        let mut seqs = Vec::new();
        read(bytes, |record| {
            let Record::Position(found) = record else { return Err(BlockError::Length) };
            assert_eq!(found, position(found.seq));
            seqs.push(found.seq);
            Ok(())
        })?;
        Ok(seqs)
    }

    #[test]
    fn a_block_says_what_was_put_into_it() {
        for records in [0, 1, 7] {
            assert_eq!(seqs(&block(records)), Ok((1..=records).collect()));
        }
    }

    #[test]
    fn whatever_is_changed_or_cut_is_noticed() {
        let whole = block(3);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(seqs(&changed).is_err(), "byte {at} was changed");
            assert!(seqs(&whole[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_later_format_is_said_to_be_one() {
        let mut later = block(1);
        later[4] = FORMAT + 1;
        let crc = crc32c::crc32c(&later[4..]);
        later[..4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(seqs(&later), Err(BlockError::Format(FORMAT + 1)));
    }

    #[test]
    fn a_full_block_refuses_and_stays_as_it_is() {
        let mut filling = Filling::new(200);
        let taken = (1..100).take_while(|&seq| filling.append(&Record::Position(position(seq))).is_ok()).count() as u64;
        assert_eq!(filling.append(&Record::Position(position(1))), Err(AppendError::Full));
        assert_eq!(seqs(&filling.take()), Ok((1..=taken).collect()));
        assert_eq!(Filling::new(20).append(&Record::Position(position(1))), Err(AppendError::TooLarge));
    }
}
