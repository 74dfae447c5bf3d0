//! A run on its way into the cluster: entries by chat, states by slot, answers by slice, the applied positions last.
//!
//! What must stay true: of one chat a batch is sent when the one before is there, so that a reader sees no hole; every
//! write carries the run's timestamp, and timestamps rise from run to run, so what comes late or again changes nothing newer.

use std::collections::{BTreeMap, BTreeSet};

use fabric::time::{Clock as _, SystemClock};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use schema::dedupe::DedupeKey;
use schema::ids::ChatId;
use scylla::value::CqlTimeuuid;
use storage_writer::lsn::{JournalId, Lsn};
use storage_writer::store::{ChatState, DedupeHit, FlushEntry, FlushReport, FlushRun, StoreError};
use uuid::Uuid;

use crate::buckets::{bucket, first_seq_stamp};
use crate::cluster::{Cluster, batch_len, rows};
use crate::dedupe::{Parts, Slices, slice};

/// How long an entry is kept that does not end by itself, s: five years, as the table says.
const ENTRY_TTL_S: i32 = 157_680_000;
/// Buckets whose first seq is remembered as written.
const KNOWN_BUCKETS: usize = 262_144;
/// Bytes of a row's values besides its blob.
const ROW_BYTES: usize = 64;

const ENTRIES: &str = "writing entries";
const AMENDING: &str = "writing amended entries";
const STATES: &str = "writing chat states";
const ANSWERS: &str = "writing dedupe answers";
const APPLIED: &str = "writing applied positions";

/// What whoever writes must know. One flush at a time has it.
pub struct Writing {
    /// The last timestamp, µs since 1970.
    pub stamp: i64,
    /// Where each journal stands.
    pub applied: BTreeMap<JournalId, Lsn>,
    /// First seqs that are in the cluster.
    pub buckets: BTreeMap<(ChatId, i64), u64>,
}

/// A flush under way.
pub struct Flush<'a> {
    /// Where to.
    pub cluster: &'a Cluster,
    /// Whose positions.
    pub node: Uuid,
    /// Partitions written to at once.
    pub concurrency: usize,
    /// The slices of answers that there are.
    pub slices: &'a Slices,
    /// And how they are cut.
    pub parts: Parts,
}

type EntryRow<'a> = (Uuid, i64, i64, CqlTimeuuid, &'a [u8], i32, i64);

impl Flush<'_> {
    /// Takes a run, if the caller may still write once its timestamp is noted: whoever comes after it reads that first, and
    /// what is written with it loses.
    pub async fn run(
        &self,
        writing: &mut Writing,
        mut run: FlushRun<'_>,
        may_write: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<FlushReport, StoreError> {
        let mut report = FlushReport::default();
        let stamp = self.next_stamp(writing).await?;
        may_write()?;
        run.entries.sort_by_key(|entry| (entry.chat, entry.seq));
        run.entries.dedup_by_key(|entry| (entry.chat, entry.seq));
        self.amend(&run, stamp, &mut report).await?;
        self.entries(writing, &run.entries, stamp, &mut report).await?;
        self.states(&run.states, stamp, &mut report).await?;
        self.answers(&run.dedupe, stamp, &mut report).await?;
        self.applied(writing, &run.applied, stamp).await?;
        Ok(report)
    }

    /// A timestamp above all before, kept before it is used: the clock may step back over a restart.
    pub async fn next_stamp(&self, writing: &mut Writing) -> Result<i64, StoreError> {
        let now_us = i64::try_from(SystemClock.now().wall_ticks / 10).unwrap_or(i64::MAX);
        let stamp = now_us.max(writing.stamp + 1);
        let values = (self.node, stamp, stamp);
        self.cluster.run("writing the run's timestamp", &self.cluster.statements.put_stamp, values).await?;
        writing.stamp = stamp;
        Ok(stamp)
    }

    async fn entries(
        &self,
        writing: &mut Writing,
        entries: &[FlushEntry<'_>],
        stamp: i64,
        report: &mut FlushReport,
    ) -> Result<(), StoreError> {
        let known = &writing.buckets;
        let chats = entries.chunk_by(|a, b| a.chat == b.chat);
        let chats = chats.map(|entries| self.chat(known, entries, stamp));
        let written = stream::iter(chats).buffer_unordered(self.concurrency);
        let made: Vec<Vec<((ChatId, i64), u64)>> = written.try_collect().await?;
        if writing.buckets.len() >= KNOWN_BUCKETS {
            writing.buckets.clear();
        }
        for (place, first) in made.into_iter().flatten() {
            report.rows += 1;
            writing.buckets.insert(place, first);
        }
        report.entries += entries.len() as u64;
        report.rows += entries.len() as u64;
        report.bytes += entries.iter().map(|entry| (ROW_BYTES + entry.frame.len()) as u64).sum::<u64>();
        Ok(())
    }

    /// One chat's entries, in order. Returns the first seqs that were written for its buckets.
    async fn chat(
        &self,
        known: &BTreeMap<(ChatId, i64), u64>,
        entries: &[FlushEntry<'_>],
        stamp: i64,
    ) -> Result<Vec<((ChatId, i64), u64)>, StoreError> {
        let statements = &self.cluster.statements;
        let mut made = Vec::new();
        let now_s = i64::try_from(SystemClock.now().wall_ms() / 1_000).unwrap_or(i64::MAX);
        for part in entries.chunk_by(|a, b| bucket(a.seq, a.message) == bucket(b.seq, b.message)) {
            let FlushEntry { chat, seq: first, message, .. } = part[0];
            let (id, bucket) = (Uuid::from_bytes(chat.0), bucket(first, message));
            if known.get(&(chat, bucket)).is_none_or(|&known| known > first) {
                let values = (id, bucket, first.cast_signed(), first_seq_stamp(first));
                self.cluster.run(ENTRIES, &statements.put_bucket, values).await?;
                made.push(((chat, bucket), first));
            }
            let kept = part.iter().filter_map(|entry| Some((entry, ttl_s(entry.expires_s, now_s)?)));
            let rows: Vec<EntryRow<'_>> = kept
                .map(|(FlushEntry { seq, message, frame, .. }, ttl_s)| {
                    (id, bucket, seq.cast_signed(), CqlTimeuuid::from_bytes(message.0), &frame[..], ttl_s, stamp)
                })
                .collect();
            let mut rest = rows.as_slice();
            while !rest.is_empty() {
                let (batch, after) = rest.split_at(batch_len(rest.iter().map(|row| ROW_BYTES + row.4.len())));
                self.cluster.write(ENTRIES, &statements.put_entry, batch).await?;
                rest = after;
            }
        }
        Ok(made)
    }

    /// What is written over: only what is there, and only for as long as it would have been.
    async fn amend(&self, run: &FlushRun<'_>, stamp: i64, report: &mut FlushReport) -> Result<(), StoreError> {
        let is_new = |entry: &&FlushEntry<'_>| {
            let place = (entry.chat, entry.seq);
            run.entries.binary_search_by_key(&place, |entry| (entry.chat, entry.seq)).is_ok()
        };
        // A replay's are among the entries, as they are now.
        let amended = run.amended.iter().filter(|entry| !is_new(entry));
        let all = stream::iter(amended.map(|entry| self.amend_one(entry, stamp)));
        let written: Vec<u64> = all.buffer_unordered(self.concurrency).try_collect().await?;
        report.rows += written.iter().filter(|bytes| **bytes > 0).count() as u64;
        report.bytes += written.iter().sum::<u64>();
        Ok(())
    }

    /// Returns the bytes written; 0 = it is not there.
    async fn amend_one(&self, entry: &FlushEntry<'_>, stamp: i64) -> Result<u64, StoreError> {
        let FlushEntry { chat, seq, message, frame, .. } = entry;
        let statements = &self.cluster.statements;
        let place = (Uuid::from_bytes(chat.0), bucket(*seq, *message), seq.cast_signed());
        let message = CqlTimeuuid::from_bytes(message.0);
        let values = (place.0, place.1, place.2, message);
        let found = self.cluster.run(AMENDING, &statements.entry_ttl, values).await?;
        let found: Vec<(Option<i32>,)> = rows(found).map_err(|what| StoreError::Away { doing: AMENDING, what })?;
        let Some((ttl_s,)) = found.first() else { return Ok(0) };
        let row: EntryRow<'_> = (place.0, place.1, place.2, message, &frame[..], ttl_s.unwrap_or(0), stamp);
        self.cluster.write(AMENDING, &statements.put_entry, &[row]).await?;
        Ok((ROW_BYTES + frame.len()) as u64)
    }

    async fn states(&self, states: &[ChatState], stamp: i64, report: &mut FlushReport) -> Result<(), StoreError> {
        // Of a chat named twice the later state holds.
        let last: BTreeMap<(u16, ChatId), &ChatState> =
            states.iter().map(|state| ((state.chat.slot().get(), state.chat), state)).collect();
        let rows: Vec<(i16, Uuid, Vec<u8>, i64)> = last
            .into_iter()
            .map(|((slot, chat), state)| (slot.cast_signed(), Uuid::from_bytes(chat.0), state.to_row(), stamp))
            .collect();
        report.rows += rows.len() as u64;
        report.bytes += rows.iter().map(|row| (ROW_BYTES + row.2.len()) as u64).sum::<u64>();
        let slots = rows.chunk_by(|a, b| a.0 == b.0).map(|slot| async move {
            let mut rest = slot;
            while !rest.is_empty() {
                let (batch, after) = rest.split_at(batch_len(rest.iter().map(|row| ROW_BYTES + row.2.len())));
                self.cluster.write(STATES, &self.cluster.statements.put_state, batch).await?;
                rest = after;
            }
            Ok(())
        });
        stream::iter(slots).buffer_unordered(self.concurrency).try_collect().await
    }

    async fn answers(
        &self,
        answers: &[(DedupeKey, DedupeHit)],
        stamp: i64,
        report: &mut FlushReport,
    ) -> Result<(), StoreError> {
        let slices: BTreeSet<i64> = answers.iter().map(|(_, hit)| slice(hit.wall_ms)).collect();
        for slice in slices.into_iter().filter(|slice| !self.slices.has(*slice)) {
            self.cluster.run(ANSWERS, &self.cluster.statements.put_slice, (slice, stamp)).await?;
            self.slices.add(slice);
        }
        let row = |(key, hit): &(DedupeKey, DedupeHit)| {
            let DedupeHit { chat, seq, message, wall_ms } = *hit;
            let (chat, message) = (Uuid::from_bytes(chat.0), CqlTimeuuid::from_bytes(message.0));
            let (seq, wall) = (seq.cast_signed(), wall_ms.cast_signed());
            (slice(wall_ms), self.parts.of(hit.chat, *key), key.0, chat, seq, message, wall)
        };
        let mut rows: Vec<_> = answers.iter().map(row).collect();
        rows.sort_unstable_by_key(|row| (row.0, row.1));
        report.rows += rows.len() as u64;
        report.bytes += (rows.len() * ROW_BYTES) as u64;
        let parts = rows.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).map(|part| async move {
            for batch in part.chunks(crate::cluster::BATCH_ROWS) {
                let rows: Vec<_> = batch.iter().map(|r| (r.0, r.1, &r.2[..], r.3, r.4, r.5, r.6, stamp)).collect();
                self.cluster.write(ANSWERS, &self.cluster.statements.put_answer, &rows).await?;
            }
            Ok(())
        });
        stream::iter(parts).buffer_unordered(self.concurrency).try_collect().await
    }

    async fn applied(&self, writing: &mut Writing, applied: &[(JournalId, Lsn)], stamp: i64) -> Result<(), StoreError> {
        for &(journal, lsn) in applied {
            if writing.applied.get(&journal).is_some_and(|known| *known >= lsn) {
                continue;
            }
            let values = (self.node, i64::from(journal.0), lsn.0.cast_signed(), stamp);
            self.cluster.run(APPLIED, &self.cluster.statements.put_applied, values).await?;
            writing.applied.insert(journal, lsn);
        }
        Ok(())
    }
}

/// How long an entry is still kept, s; `None` when its time is over. A TTL of 0 would keep it for ever.
fn ttl_s(expires_s: u32, now_s: i64) -> Option<i32> {
    if expires_s == 0 {
        return Some(ENTRY_TTL_S);
    }
    let left = i64::from(expires_s) - now_s;
    (left > 0).then(|| i32::try_from(left).map_or(ENTRY_TTL_S, |left| left.min(ENTRY_TTL_S)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_kept_until_it_expires_and_never_for_longer() {
        assert_eq!(ttl_s(0, 1_000), Some(ENTRY_TTL_S));
        assert_eq!(ttl_s(1_060, 1_000), Some(60));
        assert_eq!((ttl_s(1_000, 1_000), ttl_s(999, 1_000)), (None, None));
        assert_eq!(ttl_s(u32::MAX, 1_000), Some(ENTRY_TTL_S));
    }
}
