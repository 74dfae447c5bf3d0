//! Reads of one chat's log: pages by seq, and a message's seq by its id.

use schema::ids::{ChatId, MessageId};
use schema::timeuuid::ordered_key;

use bytes::Bytes;

use super::engine::Engine;
use super::error::{bad_row, engine};
use super::rows::{ChunkEntry, GROUP, entry_key, group, read_chunk};
use crate::store::{HistoryRange, StoreError, StoredEntry};

const READING: &str = "reading history";
const FINDING: &str = "finding a message";

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
