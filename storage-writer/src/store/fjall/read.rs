//! Reads: pages of one chat's log by seq, a message's seq by its id, dedupe answers.

use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, MessageId};
use schema::timeuuid::ordered_key;

use bytes::Bytes;

use super::engine::Engine;
use super::error::{bad_row, engine};
use super::hits;
use super::rows::{ChunkEntry, GROUP, SLOTS, bucket, entry_key, group, read_chunk, slot};
use crate::store::{DedupeHit, HistoryRange, StoreError, StoredEntry};

const READING: &str = "reading history";
const FINDING: &str = "finding a message";
const ANSWERS: &str = "reading dedupe answers";

/// Collects a page; entries of one group wait until the group is complete, since its chunks may overlap.
struct Page {
    range: HistoryRange,
    bytes: usize,
    out: Vec<StoredEntry>,
    group: u64,
    waiting: Vec<(ChunkEntry, ::fjall::Slice)>,
}

impl Page {
    /// Takes a chunk. Returns whether the page has room for more.
    fn chunk(&mut self, key: &[u8], row: &::fjall::Slice) -> Result<bool, StoreError> {
        let mut taken = Vec::new();
        let first = read_chunk(key, row, |entry| taken.push(entry)).map_err(bad_row(READING))?;
        if group(first) != self.group && !self.finish_group() {
            return Ok(false);
        }
        self.group = group(first);
        let range = self.range;
        let wanted = taken.into_iter().filter(|entry| entry.seq > range.after_seq && entry.seq <= range.up_to_seq);
        self.waiting.extend(wanted.map(|entry| (entry, row.clone())));
        Ok(true)
    }

    /// Moves what waits into the page. Returns whether the page has room for more.
    fn finish_group(&mut self) -> bool {
        // Stable: of two equal seqs the one of the earlier chunk stays; they are the same entry.
        self.waiting.sort_by_key(|(entry, _)| entry.seq);
        for (entry, row) in self.waiting.drain(..) {
            if self.out.last().is_some_and(|last| last.seq == entry.seq) {
                continue;
            }
            let bytes = self.bytes.saturating_add(entry.frame.len());
            if self.out.len() >= self.range.limit_entries || (!self.out.is_empty() && bytes > self.range.limit_bytes) {
                return false;
            }
            self.bytes = bytes;
            // Copied: a slice would keep the engine's whole block alive.
            let frame = Bytes::copy_from_slice(&row[entry.frame]);
            self.out.push(StoredEntry { seq: entry.seq, message: entry.message, frame });
        }
        self.out.len() < self.range.limit_entries
    }
}

/// A page of `chat`.
pub(super) fn history(engine_: &Engine, chat: ChatId, range: HistoryRange) -> Result<Vec<StoredEntry>, StoreError> {
    if range.after_seq >= range.up_to_seq || range.limit_entries == 0 {
        return Ok(Vec::new());
    }
    let first = group(range.after_seq + 1) * GROUP;
    let mut page = Page { range, bytes: 0, out: Vec::new(), group: group(first), waiting: Vec::new() };
    for row in engine_.entries.range(entry_key(chat, first)..=entry_key(chat, range.up_to_seq)) {
        let (key, row) = row.into_inner().map_err(engine(READING))?;
        if !page.chunk(&key, &row)? {
            return Ok(page.out);
        }
    }
    page.finish_group();
    Ok(page.out)
}

/// The seq of `message`: a search by halves over the groups of `chat`, since ids rise with seq.
pub(super) fn find_message(engine_: &Engine, chat: ChatId, message: MessageId) -> Result<Option<u64>, StoreError> {
    let wanted = ordered_key(message);
    let last_key = entry_key(chat, u64::MAX);
    let Some(last) = engine_.entries.range(entry_key(chat, 0)..=last_key).next_back() else {
        return Ok(None);
    };
    let (key, row) = last.into_inner().map_err(engine(FINDING))?;
    let (last_seq, _) = first_of(&key, &row)?;
    // Between `low` and `high` is the last group that begins at or below the wanted id, if any does.
    let (mut low, mut high, mut found) = (0, group(last_seq) + 1, None);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut rows = engine_.entries.range(entry_key(chat, middle * GROUP)..=last_key);
        let first = match rows.next() {
            Some(row) => {
                let (key, row) = row.into_inner().map_err(engine(FINDING))?;
                Some(first_of(&key, &row)?)
            }
            None => None,
        };
        match first {
            Some((seq, id)) if ordered_key(id) <= wanted => {
                found = Some(group(seq));
                low = group(seq) + 1;
            }
            _ => high = middle,
        }
    }
    let Some(found) = found else { return Ok(None) };
    let range = HistoryRange {
        after_seq: (found * GROUP).saturating_sub(1),
        up_to_seq: found * GROUP + (GROUP - 1),
        limit_entries: GROUP as usize,
        limit_bytes: usize::MAX,
    };
    Ok(history(engine_, chat, range)?.into_iter().find(|entry| entry.message == message).map(|entry| entry.seq))
}

fn first_of(key: &[u8], row: &[u8]) -> Result<(u64, MessageId), StoreError> {
    let mut first = None;
    read_chunk(key, row, |entry| {
        first.get_or_insert((entry.seq, entry.message));
    })
    .map_err(bad_row(FINDING))?;
    first.ok_or_else(|| StoreError::Damaged { doing: FINDING, what: "a chunk is empty".to_owned() })
}

/// What a change was answered with: the newest slot that knows it.
pub(super) fn dedupe(engine_: &Engine, key: DedupeKey) -> Result<Option<DedupeHit>, StoreError> {
    for (_, keyspace) in engine_.buckets(0) {
        for slot in (0..SLOTS).rev() {
            let mut found: Option<DedupeHit> = None;
            for row in keyspace.prefix(hits::prefix(slot, key)) {
                let row = row.value().map_err(engine(ANSWERS))?;
                let hit = hits::find(&row, key).map_err(bad_row(ANSWERS))?;
                found = found.into_iter().chain(hit).min_by_key(|hit| hit.seq);
            }
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    Ok(None)
}

/// Every answer of `wall_ms` or later.
pub(super) fn dedupe_since(
    engine_: &Engine,
    wall_ms: u64,
    each: &mut dyn FnMut(DedupeKey, DedupeHit),
) -> Result<(), StoreError> {
    for (number, keyspace) in engine_.buckets(bucket(wall_ms)) {
        let slot = if number == bucket(wall_ms) { slot(wall_ms) } else { 0 };
        for row in keyspace.range([slot].as_slice()..) {
            let row = row.value().map_err(engine(ANSWERS))?;
            hits::read(&row, |key, hit| {
                if hit.wall_ms >= wall_ms {
                    each(key, hit);
                }
            })
            .map_err(bad_row(ANSWERS))?;
        }
    }
    Ok(())
}
