//! A run on its way into the engine: sorted, cut into chunks, one ingestion a keyspace, the applied positions last.

use std::collections::BTreeMap;

use schema::dedupe::DedupeKey;
use schema::ids::ChatId;

use super::engine::Engine;
use super::rows::{SLOT_MS, bucket, chunk_len, dedupe_key, entry_key, slot, write_chunk};
use crate::store::{ChatState, DedupeHit, FlushReport, FlushRun, StoreError, StoredEntry, codec};

/// Takes a run. Between two ingestions a crash leaves the ones before; the positions move only after all of them.
pub(super) fn flush(engine: &Engine, run: FlushRun) -> Result<FlushReport, StoreError> {
    let mut report = FlushReport { throttled_ms: engine.throttle()?, ..FlushReport::default() };
    entries(engine, run.entries, &mut report)?;
    states(engine, run.states, &mut report)?;
    dedupe(engine, run.dedupe, &mut report)?;
    if !run.applied.is_empty() {
        let mut applied: BTreeMap<_, _> = engine.applied()?.into_iter().collect();
        for (journal, lsn) in run.applied {
            let position = applied.entry(journal).or_insert(lsn);
            *position = lsn.max(*position);
        }
        engine.set_applied(&applied)?;
    }
    Ok(report)
}

fn count(report: &mut FlushReport, key: &[u8], row: &[u8]) {
    report.rows += 1;
    report.bytes += (key.len() + row.len()) as u64;
}

fn entries(
    engine: &Engine,
    mut runs: Vec<(ChatId, Vec<StoredEntry>)>,
    report: &mut FlushReport,
) -> Result<(), StoreError> {
    runs.retain(|(_, entries)| !entries.is_empty());
    if runs.is_empty() {
        return Ok(());
    }
    runs.sort_by_key(|(chat, _)| *chat);
    runs.dedup_by(|(chat, more), (same, entries)| {
        let merge = chat == same;
        if merge {
            entries.append(more);
        }
        merge
    });
    Engine::ingest("writing entries", &engine.entries, |write| {
        let mut row = Vec::new();
        for (chat, mut entries) in runs {
            if !entries.is_sorted_by_key(|entry| entry.seq) {
                entries.sort_by_key(|entry| entry.seq);
            }
            entries.dedup_by_key(|entry| entry.seq);
            let mut rest = entries.as_slice();
            while let Some(first) = rest.first() {
                let (chunk, after) = rest.split_at(chunk_len(rest));
                write_chunk(&mut row, chunk);
                let key = entry_key(chat, first.seq);
                count(report, &key, &row);
                report.entries += chunk.len() as u64;
                write(&key, &row)?;
                rest = after;
            }
        }
        Ok(())
    })
}

fn states(engine: &Engine, states: Vec<ChatState>, report: &mut FlushReport) -> Result<(), StoreError> {
    if states.is_empty() {
        return Ok(());
    }
    // Of a chat named twice the later state holds.
    let mut order: Vec<usize> = (0..states.len()).collect();
    order.sort_by_key(|&index| (states[index].chat, usize::MAX - index));
    order.dedup_by_key(|index| states[*index].chat);
    Engine::ingest("writing chat states", &engine.chats, |write| {
        let mut row = Vec::new();
        for index in order {
            let state = &states[index];
            row.clear();
            codec::put_state(&mut row, state);
            count(report, &state.chat.0, &row);
            write(&state.chat.0, &row)?;
        }
        Ok(())
    })
}

fn dedupe(engine: &Engine, mut hits: Vec<(DedupeKey, DedupeHit)>, report: &mut FlushReport) -> Result<(), StoreError> {
    // By bucket, slot and key. Of a key named twice in a slot the lower seq holds: it is the one that was given.
    hits.sort_unstable_by_key(|(key, hit)| (hit.wall_ms / SLOT_MS, u128::from_be_bytes(key.0), hit.seq));
    hits.dedup_by_key(|(key, hit)| (hit.wall_ms / SLOT_MS, *key));
    for hits in hits.chunk_by(|(_, a), (_, b)| bucket(a.wall_ms) == bucket(b.wall_ms)) {
        let keyspace = engine.bucket(bucket(hits[0].1.wall_ms))?;
        Engine::ingest("writing dedupe answers", &keyspace, |write| {
            let mut row = Vec::new();
            for (key, hit) in hits {
                row.clear();
                codec::put_dedupe(&mut row, hit);
                let key = dedupe_key(slot(hit.wall_ms), *key);
                count(report, &key, &row);
                write(&key, &row)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
