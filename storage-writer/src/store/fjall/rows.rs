//! Keys and rows of the embedded store.
//!
//! | keyspace | key | row |
//! |---|---|---|
//! | `entries` | chat ‖ first seq, in 4 bytes or 12 | a chunk: up to [`GROUP`] entries of one group |
//! | `chats` | chat | the chat's state |
//! | `dedupe-N` (one per [`BUCKET_MS`] of wall time) | slot of [`SLOT_MS`] ‖ part ‖ digest | hits ([`super::hits`]) |
//! | `meta` | a name | format, applied positions |
//!
//! A chat's seqs fall into groups of [`GROUP`]; a chunk never spans two. So whatever chunks a replay after a crash leaves
//! behind, all that can hold a seq lie between its group's first key and its own: a reader starts there and needs no
//! search backwards, and duplicates are met within one group.

use core::ops::Range;

use schema::ids::{ChatId, MessageId};

use crate::store::FlushEntry;
use crate::store::codec::{BadRow, Reader, put_varint};

/// Seqs of a group; the most entries a chunk holds.
pub(super) const GROUP: u64 = 16;
/// A chunk is closed when its frames reach this, bytes, so that a page of large entries reads no more than it returns.
pub(super) const CHUNK_BYTES: usize = 16 * 1024;
/// Wall time of one dedupe keyspace, ms: it is dropped as a whole.
pub(super) const BUCKET_MS: u64 = 3 * 60 * 60 * 1_000;
/// Wall time of one run of dedupe keys within a keyspace, ms: flushes of different slots need no merging.
pub(super) const SLOT_MS: u64 = 15 * 60 * 1_000;
/// Slots of a dedupe keyspace.
pub(super) const SLOTS: u8 = (BUCKET_MS / SLOT_MS) as u8;

const CHUNK_VERSION: u8 = 1;
/// As version 1, with the second of its expiry behind every entry's id: of a chunk where something expires.
const EXPIRING_CHUNK_VERSION: u8 = 2;

/// The group of a seq.
pub(super) const fn group(seq: u64) -> u64 {
    seq / GROUP
}

/// Seqs from here on are written in eight bytes behind the four of this one.
const LONG_SEQ: u32 = u32::MAX;

/// The key of a chunk. Of all but endless chats it has 20 bytes, which the engine keeps without an allocation.
#[derive(Clone, Copy)]
pub(super) struct EntryKey {
    bytes: [u8; 28],
    len: usize,
}

impl AsRef<[u8]> for EntryKey {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The key of a chunk that starts at `seq`; keys of a chat ascend with it.
pub(super) fn entry_key(chat: ChatId, seq: u64) -> EntryKey {
    let mut key = EntryKey { bytes: [0; 28], len: 20 };
    key.bytes[..16].copy_from_slice(&chat.0);
    let short = u32::try_from(seq).unwrap_or(LONG_SEQ);
    key.bytes[16..20].copy_from_slice(&short.to_be_bytes());
    if short == LONG_SEQ {
        key.bytes[20..].copy_from_slice(&seq.to_be_bytes());
        key.len = 28;
    }
    key
}

/// The seq of an [`entry_key`].
fn seq_of(key: &[u8]) -> Result<u64, BadRow> {
    let seq = match key.get(16..) {
        Some(&[a, b, c, d]) => Some(u64::from(u32::from_be_bytes([a, b, c, d]))).filter(|&seq| seq < LONG_SEQ.into()),
        Some(&[255, 255, 255, 255, ref long @ ..]) => {
            long.try_into().ok().map(u64::from_be_bytes).filter(|&seq| seq >= LONG_SEQ.into())
        }
        _ => None,
    };
    seq.ok_or(BadRow("an entry key has no seq"))
}

/// The bucket of a wall time.
pub(super) const fn bucket(wall_ms: u64) -> u64 {
    wall_ms / BUCKET_MS
}

/// The slot of a wall time within its bucket.
pub(super) const fn slot(wall_ms: u64) -> u8 {
    (wall_ms % BUCKET_MS / SLOT_MS) as u8
}

/// Where the chunk that starts with `entries[0]` ends: its count of entries. `entries` ascend by chat and seq.
pub(super) fn chunk_len(entries: &[FlushEntry<'_>]) -> usize {
    let Some(first) = entries.first() else { return 0 };
    let mut bytes = 0;
    entries
        .iter()
        .take_while(|entry| {
            let same = group(entry.seq) == group(first.seq) && entry.chat == first.chat;
            let fits = same && (bytes == 0 || bytes + entry.frame.len() <= CHUNK_BYTES);
            bytes += entry.frame.len().max(1);
            fits
        })
        .count()
}

/// Writes a chunk over `out`.
pub(super) fn write_chunk(out: &mut Vec<u8>, entries: &[FlushEntry<'_>]) {
    debug_assert!(!entries.is_empty() && entries.len() <= GROUP as usize);
    out.clear();
    let expiring = entries.iter().any(|entry| entry.expires_s > 0);
    out.push(if expiring { EXPIRING_CHUNK_VERSION } else { CHUNK_VERSION });
    out.push(entries.len() as u8);
    for entry in entries {
        out.push((entry.seq % GROUP) as u8);
        out.extend_from_slice(&entry.message.0);
        if expiring {
            put_varint(out, u64::from(entry.expires_s));
        }
        put_varint(out, entry.frame.len() as u64);
        out.extend_from_slice(&entry.frame);
    }
}

/// One entry of a chunk, its frame named by its place in the row.
pub(super) struct ChunkEntry {
    pub(super) seq: u64,
    pub(super) message: MessageId,
    pub(super) frame: Range<usize>,
    /// s since 1970; 0 = never.
    pub(super) expires_s: u32,
}

/// Whether something in a chunk expires. Cheap: every chunk of a merge is asked.
pub(super) fn is_expiring(row: &[u8]) -> bool {
    row.first() == Some(&EXPIRING_CHUNK_VERSION)
}

/// Reads a chunk, calling `each` for its entries in order.
pub(super) fn read_chunk(key: &[u8], row: &[u8], mut each: impl FnMut(ChunkEntry)) -> Result<u64, BadRow> {
    let first_seq = seq_of(key)?;
    let base = group(first_seq) * GROUP;
    let mut reader = Reader::new(row);
    let version = reader.byte()?;
    if version != CHUNK_VERSION && version != EXPIRING_CHUNK_VERSION {
        return Err(BadRow("a row's version is unknown"));
    }
    let count = reader.byte()?;
    let mut next = first_seq;
    for _ in 0..count {
        let seq = base + u64::from(reader.byte()?);
        if seq < next || group(seq) != group(first_seq) {
            return Err(BadRow("a chunk's entries are out of order"));
        }
        next = seq + 1;
        let message = MessageId(reader.array()?);
        let expires_s = if version == CHUNK_VERSION { 0 } else { reader.varint()? };
        let expires_s = u32::try_from(expires_s).map_err(|_| BadRow("an entry expires too late"))?;
        let len = usize::try_from(reader.varint()?).map_err(|_| BadRow("an entry is too long"))?;
        let start = row.len() - reader.remaining();
        reader.take(len)?;
        each(ChunkEntry { seq, message, frame: start..start + len, expires_s });
    }
    reader.end()?;
    Ok(first_seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, len: usize) -> FlushEntry<'static> {
        let (chat, message) = (ChatId([3; 16]), MessageId([seq as u8; 16]));
        FlushEntry { chat, seq, message, frame: vec![seq as u8; len].into(), expires_s: 0 }
    }

    #[test]
    fn a_chunk_ends_with_its_group_or_its_bytes() {
        let small: Vec<_> = (14..40).map(|seq| entry(seq, 10)).collect();
        assert_eq!(chunk_len(&small), 2);
        assert_eq!(chunk_len(&small[2..]), 16);
        let large: Vec<_> = (16..32).map(|seq| entry(seq, CHUNK_BYTES / 2)).collect();
        assert_eq!(chunk_len(&large), 2);
        let huge: Vec<_> = (16..32).map(|seq| entry(seq, CHUNK_BYTES * 4)).collect();
        assert_eq!(chunk_len(&huge), 1);
        let mut mixed: Vec<_> = (16..32).map(|seq| entry(seq, 10)).collect();
        mixed[5..].iter_mut().for_each(|entry| entry.chat = ChatId([4; 16]));
        assert_eq!(chunk_len(&mixed), 5);
    }

    #[test]
    fn a_chunk_reads_back_and_damage_is_an_error() {
        let entries: Vec<_> = (17..30).map(|seq| entry(seq, seq as usize)).collect();
        let mut row = Vec::new();
        write_chunk(&mut row, &entries);
        let key = entry_key(ChatId([3; 16]), 17);
        let key = key.as_ref();
        let mut read = Vec::new();
        let first = read_chunk(key, &row, |e| read.push((e.seq, e.message, row[e.frame].to_vec())));
        assert_eq!(first, Ok(17));
        let written: Vec<_> = entries.iter().map(|e| (e.seq, e.message, e.frame.to_vec())).collect();
        assert_eq!(read, written);
        for cut in 0..row.len() {
            assert!(read_chunk(key, &row[..cut], |_| ()).is_err(), "cut at {cut}");
        }
        assert!(read_chunk(&key[1..], &row, |_| ()).is_err());
        assert!(read_chunk(&[key, &[0; 8]].concat(), &row, |_| ()).is_err());
        assert!(read_chunk(entry_key(ChatId([3; 16]), 18).as_ref(), &row, |_| ()).is_err());
    }

    #[test]
    fn keys_ascend_with_seqs_of_any_length() {
        let long = u64::from(LONG_SEQ);
        let seqs = [0, 1, 255, 256, long - 1, long, long + 1, u64::MAX];
        let keys: Vec<_> = seqs.iter().map(|&seq| entry_key(ChatId([7; 16]), seq)).collect();
        assert!(keys.windows(2).all(|pair| pair[0].as_ref() < pair[1].as_ref()));
        assert!(keys.iter().zip(seqs).all(|(key, seq)| seq_of(key.as_ref()) == Ok(seq)));
        let mut padded = entry_key(ChatId([7; 16]), long).as_ref().to_vec();
        padded[20..].copy_from_slice(&7u64.to_be_bytes());
        assert!(seq_of(&padded).is_err(), "a seq has one key");
    }

    #[test]
    fn slots_tile_a_bucket() {
        assert_eq!(u64::from(SLOTS) * SLOT_MS, BUCKET_MS);
        assert_eq!((bucket(BUCKET_MS - 1), slot(BUCKET_MS - 1)), (0, SLOTS - 1));
        assert_eq!((bucket(BUCKET_MS), slot(BUCKET_MS)), (1, 0));
    }
}
