//! A run on its way into the engine: sorted, cut into chunks, one ingestion a keyspace, the applied positions last.

use std::collections::BTreeMap;

use schema::dedupe::DedupeKey;

use super::engine::Engine;
use super::error::{bad_row, engine as engine_error};
use super::hits;
use super::rows::{ChunkEntry, GROUP, chunk_len, entry_key, group, read_chunk, write_chunk};
use crate::store::{ChatState, DedupeHit, FlushEntry, FlushReport, FlushRun, StoreError, codec};

/// Takes a run. Between two ingestions a crash leaves the ones before; the positions move only after all of them.
pub(super) fn flush(engine: &Engine, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
    let mut report = FlushReport { throttled_ms: engine.throttle()?, ..FlushReport::default() };
    entries(engine, run.entries, run.amended, &mut report)?;
    states(engine, run.states, &mut report)?;
    dedupe(engine, &run.dedupe, &mut report)?;
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
    mut run: Vec<FlushEntry<'_>>,
    amended: Vec<FlushEntry<'_>>,
    report: &mut FlushReport,
) -> Result<(), StoreError> {
    let mut rewritten = rewritten(engine, amended)?;
    if run.is_empty() && rewritten.is_empty() {
        return Ok(());
    }
    if !run.is_sorted_by(|a, b| (a.chat, a.seq) < (b.chat, b.seq)) {
        run.sort_by_key(|entry| (entry.chat, entry.seq));
        run.dedup_by_key(|entry| (entry.chat, entry.seq));
    }
    Engine::ingest("writing entries", &engine.entries, |write| {
        let mut row = Vec::new();
        let mut rest = run.as_slice();
        while let Some(first) = rest.first() {
            let (chunk, after) = rest.split_at(chunk_len(rest));
            write_chunk(&mut row, chunk);
            let key = entry_key(first.chat, first.seq);
            while let Some(before) = rewritten.first_entry().filter(|before| before.key().as_slice() < key.as_ref()) {
                let (key, row) = before.remove_entry();
                count(report, &key, &row);
                write(&key, &row)?;
            }
            rewritten.remove(key.as_ref()); // a replay: the same entries, as they are now
            count(report, key.as_ref(), &row);
            report.entries += chunk.len() as u64;
            write(key.as_ref(), &row)?;
            rest = after;
        }
        for (key, row) in &rewritten {
            count(report, key, row);
            write(key, row)?;
        }
        Ok(())
    })
}

/// The chunks that have amended entries, with the entries as they are now.
fn rewritten(engine: &Engine, amended: Vec<FlushEntry<'_>>) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, StoreError> {
    const DOING: &str = "reading what is amended";
    let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for FlushEntry { chat, seq, frame, .. } in amended {
        let first = group(seq) * GROUP;
        for stored in engine.entries.range(entry_key(chat, first)..=entry_key(chat, seq)) {
            let (key, stored) = stored.into_inner().map_err(engine_error(DOING))?;
            let row = rows.get(key.as_ref()).map_or(stored.as_ref(), Vec::as_slice);
            let mut chunk = Vec::new();
            let read = |entry: ChunkEntry| {
                let kept = if entry.seq == seq { &frame[..] } else { &row[entry.frame] };
                let ChunkEntry { seq, message, expires_s, .. } = entry;
                chunk.push(FlushEntry { chat, seq, message, frame: kept.into(), expires_s });
            };
            read_chunk(&key, row, read).map_err(bad_row(DOING))?;
            if chunk.iter().any(|entry| entry.seq == seq) {
                let mut out = Vec::new();
                write_chunk(&mut out, &chunk);
                rows.insert(key.to_vec(), out);
            }
        }
    }
    Ok(rows)
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

fn dedupe(engine: &Engine, hits: &[(DedupeKey, DedupeHit)], report: &mut FlushReport) -> Result<(), StoreError> {
    let rows = hits::Rows::new(hits);
    rows.buckets(|bucket, part| {
        let keyspace = engine.bucket(bucket)?;
        Engine::ingest("writing dedupe answers", &keyspace, |write| {
            rows.rows(part, |key, row| {
                count(report, key, row);
                write(key, row)
            })
        })
    })
}
