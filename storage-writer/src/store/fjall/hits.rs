//! Dedupe answers on disk: many to a row, because a row costs the engine more than an answer does.
//!
//! The answers of one run and slot are spread over [`PARTS`] parts by the top bits of their keys; those of a part share
//! rows. A row's key ends with a digest of its content, so a row replaces another only if they are equal: a replay after
//! a crash groups the same answers otherwise, and they are then found twice, equal.
//!
//! A row is its version, its count, the keys, the first answer's message, and for each answer its chat, seq, message and
//! wall time, the last two as differences. A lookup reads the rows of one part of each slot and compares keys.

use core::ops::Range;

use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, MessageId};
use schema::timeuuid::unix_ms;
use xxhash_rust::xxh3::xxh3_64;

use super::rows::{SLOT_MS, slot};
use crate::store::DedupeHit;
use crate::store::codec::{BadRow, Reader, put_relative, put_varint, relative};

/// Parts of a slot: a full memory table makes rows of tens of answers, and a lookup reads a 4,096th of a slot.
const PARTS: usize = 4_096;
/// Most answers of a row.
const ROW_HITS: usize = 256;
const ROW_VERSION: u8 = 1;
const KEY_BYTES: usize = 16;

type Hit = (DedupeKey, DedupeHit);

fn part(key: DedupeKey) -> u16 {
    u16::from_be_bytes([key.0[0], key.0[1]]) >> (16 - PARTS.trailing_zeros())
}

fn prefix_of(slot: u8, part: u16) -> [u8; 3] {
    let [high, low] = part.to_be_bytes();
    [slot, high, low]
}

/// What the keys of all rows begin with that can hold an answer to `key` in a slot.
pub(super) fn prefix(slot: u8, key: DedupeKey) -> [u8; 3] {
    prefix_of(slot, part(key))
}

/// A run's answers in the order of their rows.
pub(super) struct Rows<'a> {
    hits: &'a [Hit],
    /// (slot since 1970, part, place in `hits`), ascending.
    order: Vec<(u64, u16, u32)>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(hits: &'a [Hit]) -> Self {
        let of = |(place, (key, hit)): (usize, &Hit)| (hit.wall_ms / SLOT_MS, part(*key), place as u32);
        let mut order: Vec<_> = hits.iter().enumerate().map(of).collect();
        order.sort_unstable();
        Self { hits, order }
    }

    /// Calls `each` for the rows of every bucket: its number, and where its answers are.
    pub(super) fn buckets<E>(&self, mut each: impl FnMut(u64, Range<usize>) -> Result<(), E>) -> Result<(), E> {
        let mut start = 0;
        for same in self.order.chunk_by(|a, b| super::rows::bucket(a.0 * SLOT_MS) == super::rows::bucket(b.0 * SLOT_MS))
        {
            each(super::rows::bucket(same[0].0 * SLOT_MS), start..start + same.len())?;
            start += same.len();
        }
        Ok(())
    }

    /// Calls `each` with key and content of every row of a bucket's answers, ascending.
    pub(super) fn rows<E>(
        &self,
        bucket: Range<usize>,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rows: Vec<([u8; 11], Vec<u8>)> = Vec::new();
        let mut spare: Vec<Vec<u8>> = Vec::new();
        for part in self.order[bucket].chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            for hits in part.chunks(ROW_HITS) {
                let mut row = spare.pop().unwrap_or_default();
                self.write(&mut row, hits);
                rows.push((key(slot(part[0].0 * SLOT_MS), part[0].1, &row), row));
            }
            rows.sort_unstable();
            rows.dedup_by(|a, b| a.0 == b.0);
            for (key, row) in rows.drain(..) {
                each(&key, &row)?;
                spare.push(row);
            }
        }
        Ok(())
    }

    fn write(&self, row: &mut Vec<u8>, places: &[(u64, u16, u32)]) {
        row.clear();
        row.push(ROW_VERSION);
        put_varint(row, places.len() as u64);
        let hits = || places.iter().map(|&(_, _, place)| &self.hits[place as usize]);
        hits().for_each(|(key, _)| row.extend_from_slice(&key.0));
        let Some((_, DedupeHit { message: base, .. })) = hits().next() else { return };
        row.extend_from_slice(&base.0);
        for (_, hit) in hits() {
            put_hit(row, *base, hit);
        }
    }
}

fn key(slot: u8, part: u16, row: &[u8]) -> [u8; 11] {
    let mut out = [0u8; 11];
    out[..3].copy_from_slice(&prefix_of(slot, part));
    out[3..].copy_from_slice(&xxh3_64(row).to_be_bytes());
    out
}

/// The half of an id that counts time, its highest bits first, and the other half. Any id survives.
fn halves(message: MessageId) -> (u64, [u8; 8]) {
    let (time, low) = message.0.split_at(8);
    let (mut bytes, mut rest) = ([0u8; 8], [0u8; 8]);
    bytes.copy_from_slice(time);
    rest.copy_from_slice(low);
    let time = u64::from_be_bytes(bytes);
    (time << 48 | (time & 0xffff_0000) << 16 | time >> 32, rest)
}

fn whole(time: u64, low: [u8; 8]) -> MessageId {
    let time = time << 32 | (time >> 32 & 0xffff) << 16 | time >> 48;
    let mut out = [0u8; 16];
    out[..8].copy_from_slice(&time.to_be_bytes());
    out[8..].copy_from_slice(&low);
    MessageId(out)
}

fn put_hit(row: &mut Vec<u8>, base: MessageId, hit: &DedupeHit) {
    row.extend_from_slice(&hit.chat.0);
    put_varint(row, hit.seq);
    let ((base_time, base_low), (time, low)) = (halves(base), halves(hit.message));
    put_relative(row, base_time, time);
    row.push(u8::from(low != base_low));
    if low != base_low {
        row.extend_from_slice(&low);
    }
    put_relative(row, unix_ms(hit.message), hit.wall_ms);
}

fn hit(reader: &mut Reader<'_>, base: MessageId) -> Result<DedupeHit, BadRow> {
    let (base_time, base_low) = halves(base);
    let chat = ChatId(reader.array()?);
    let seq = reader.varint()?;
    let time = relative(reader, base_time)?;
    let low = match reader.byte()? {
        0 => base_low,
        1 => reader.array()?,
        _ => return Err(BadRow("a dedupe answer's id is neither like the first nor its own")),
    };
    let message = whole(time, low);
    let wall_ms = relative(reader, unix_ms(message))?;
    Ok(DedupeHit { chat, seq, message, wall_ms })
}

/// Splits a row into its keys and the rest: the first message, then the answers.
fn open(row: &[u8]) -> Result<(&[u8], MessageId, Reader<'_>), BadRow> {
    let mut reader = Reader::new(row);
    reader.version(ROW_VERSION)?;
    let count = reader.count(KEY_BYTES)?;
    if count == 0 {
        return Err(BadRow("a row of dedupe answers is empty"));
    }
    let keys = reader.take(count * KEY_BYTES)?;
    let base = MessageId(reader.array()?);
    Ok((keys, base, reader))
}

/// The answer to `wanted` in a row, if it has one. Of several equal keys the lowest seq holds: it is the one that was
/// given.
pub(super) fn find(row: &[u8], wanted: DedupeKey) -> Result<Option<DedupeHit>, BadRow> {
    let (keys, base, mut reader) = open(row)?;
    let mut found: Option<DedupeHit> = None;
    if !keys.chunks_exact(KEY_BYTES).any(|key| key == wanted.0) {
        return Ok(None);
    }
    for key in keys.chunks_exact(KEY_BYTES) {
        let hit = hit(&mut reader, base)?;
        if key == wanted.0 && found.is_none_or(|found| hit.seq < found.seq) {
            found = Some(hit);
        }
    }
    reader.end()?;
    Ok(found)
}

/// Calls `each` with every answer of a row.
pub(super) fn read(row: &[u8], mut each: impl FnMut(DedupeKey, DedupeHit)) -> Result<(), BadRow> {
    let (keys, base, mut reader) = open(row)?;
    for key in keys.chunks_exact(KEY_BYTES) {
        let hit = hit(&mut reader, base)?;
        let mut bytes = [0u8; KEY_BYTES];
        bytes.copy_from_slice(key);
        each(DedupeKey(bytes), hit);
    }
    reader.end()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn any_hit() -> impl Strategy<Value = Hit> {
        let id = || any::<[u8; 16]>();
        (id(), id(), 1..=u64::MAX, id(), any::<u64>(), any::<bool>()).prop_map(
            |(key, chat, seq, id, wall_ms, usual)| {
                let message = if usual { schema::timeuuid::from_parts(seq >> 4, [0x91; 8]) } else { MessageId(id) };
                (DedupeKey(key), DedupeHit { chat: ChatId(chat), seq, message, wall_ms })
            },
        )
    }

    fn written(hits: &[Hit]) -> BTreeMap<(u64, Vec<u8>), Vec<u8>> {
        let rows = Rows::new(hits);
        let mut out = BTreeMap::new();
        rows.buckets(|bucket, part| {
            let mut last = Vec::new();
            rows.rows(part, |key, row| {
                assert!(key > last.as_slice(), "rows ascend");
                last = key.to_vec();
                out.insert((bucket, key.to_vec()), row.to_vec());
                Ok::<_, ()>(())
            })
        })
        .expect("nothing fails");
        out
    }

    proptest! {
        #[test]
        fn every_answer_is_found_where_it_is_looked_for(
            hits in prop::collection::vec(any_hit(), 0..40), crowd in 0u16..600, cut in any::<prop::sample::Index>(),
        ) {
            // Many of one part, so that it needs several rows.
            let crowd = (0..crowd).map(|n| {
                let (mut key, hit) = ([0x77; 16], DedupeHit {
                    chat: ChatId([1; 16]), seq: u64::from(n) + 1, message: MessageId([n as u8; 16]), wall_ms: 5,
                });
                key[14..].copy_from_slice(&n.to_be_bytes());
                (DedupeKey(key), hit)
            });
            let hits: Vec<Hit> = hits.into_iter().chain(crowd).collect();
            let rows = written(&hits);
            let mut all = Vec::new();
            for row in rows.values() {
                prop_assert!(read(row, |key, hit| all.push((key, hit))).is_ok());
                let short = &row[..cut.index(row.len())];
                prop_assert!(read(short, |_, _| ()).is_err());
            }
            let sorted = |hits: &[Hit]| {
                let mut hits: Vec<_> = hits.iter().map(|(key, hit)| (key.0, hit.seq, hit.message.0, hit.wall_ms)).collect();
                hits.sort_unstable();
                hits
            };
            prop_assert_eq!(sorted(&all), sorted(&hits));
            for (key, hit) in &hits {
                let prefix = prefix(slot(hit.wall_ms), *key);
                let bucket = super::super::rows::bucket(hit.wall_ms);
                let found = rows.iter().filter(|((b, k), _)| *b == bucket && k.starts_with(&prefix));
                let found: Vec<_> = found.filter_map(|(_, row)| find(row, *key).expect("whole")).collect();
                prop_assert!(found.contains(hit));
            }
        }

        #[test]
        fn garbage_is_an_error_not_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, |_, _| ());
            let _ = read(&[&[ROW_VERSION, 2], bytes.as_slice()].concat(), |_, _| ());
            let _ = find(&[&[ROW_VERSION, 1], bytes.as_slice()].concat(), DedupeKey([0; 16]));
        }
    }

    #[test]
    fn of_equal_keys_the_lowest_seq_holds() {
        let hit = |seq| {
            (DedupeKey([3; 16]), DedupeHit { chat: ChatId([1; 16]), seq, message: MessageId([2; 16]), wall_ms: 9 })
        };
        let rows = written(&[hit(8), hit(4), hit(6)]);
        assert_eq!(rows.len(), 1);
        let row = rows.values().next().expect("one");
        assert_eq!(find(row, DedupeKey([3; 16])), Ok(Some(hit(4).1)));
        assert_eq!(find(row, DedupeKey([4; 16])), Ok(None));
    }

    #[test]
    fn an_answer_is_small() {
        let hit = |n: u64| {
            let message = schema::timeuuid::from_parts(139_000_000_000_000_000 + n * 100, [0x91; 8]);
            (DedupeKey([7; 16]), DedupeHit { chat: ChatId([1; 16]), seq: n, message, wall_ms: unix_ms(message) })
        };
        let bytes: usize = written(&(1..=250).map(hit).collect::<Vec<_>>()).values().map(Vec::len).sum();
        assert!(bytes / 250 <= 42, "{} bytes", bytes / 250);
    }
}
