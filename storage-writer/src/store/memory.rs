//! A store in memory, for tests and simulation: deterministic, and it survives a simulated restart by being shared.
//!
//! What must stay true: it shows a reader exactly what the embedded store would, and a crash on request leaves exactly
//! what a crash of the process could leave: whole steps of a flush, in order, the applied positions last.

mod shared;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use fabric::mutex::lock;
use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, MessageId};
use schema::limits::DEDUPE_KEEP_MS;
use schema::timeuuid::ordered_key;

use super::{
    ChatState, DedupeHit, FlushEntry, FlushReport, FlushRun, HistoryRange, Store, StoreError, StoreStats, StoredEntry,
};
use crate::lsn::{JournalId, Lsn};

pub use shared::AppendFault;

/// Where a flush stops when a crash was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum CrashPoint {
    /// Nothing of the run is stored.
    BeforeEntries,
    /// Only the entries are.
    AfterEntries,
    /// Entries and states are.
    AfterStates,
    /// All but the applied positions is.
    AfterDedupe,
    /// All is, but whoever asked never hears of it.
    AfterApplied,
}

impl CrashPoint {
    /// Every point, in the order a flush meets them.
    pub const ALL: [Self; 5] =
        [Self::BeforeEntries, Self::AfterEntries, Self::AfterStates, Self::AfterDedupe, Self::AfterApplied];
}

#[derive(Default)]
struct Tables {
    entries: BTreeMap<(ChatId, u64), StoredEntry>,
    messages: BTreeMap<(ChatId, [u8; 16]), u64>,
    states: BTreeMap<ChatId, ChatState>,
    dedupe: BTreeMap<DedupeKey, DedupeHit>,
    expiries: BTreeMap<(ChatId, u64), u32>,
    applied: BTreeMap<JournalId, Lsn>,
    bytes: u64,
    crash_at: Option<CrashPoint>,
    full: bool,
    logs: shared::Logs,
}

/// See the module. Share it in an `Arc` between a process's simulated lives.
pub struct MemoryStore {
    tables: Mutex<Tables>,
    /// Of whoever shares it.
    partitions: u16,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::shared(1)
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that several writers share, in so many partitions.
    pub fn shared(partitions: u16) -> Self {
        Self { tables: Mutex::default(), partitions }
    }

    /// The next flush that reaches `point` stops there with [`StoreError::Crashed`]. One crash a call.
    pub fn crash_at(&self, point: CrashPoint) {
        self.lock().crash_at = Some(point);
    }

    /// While set, flushes fail as on a full disk and store nothing; reads go on.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // A panic of another test thread leaves whole rows behind, never half of one.
        lock(&self.tables)
    }
}

impl Tables {
    fn crash(&mut self, point: CrashPoint) -> Result<(), StoreError> {
        if self.crash_at == Some(point) {
            self.crash_at = None;
            return Err(StoreError::Crashed);
        }
        Ok(())
    }

    fn put_entries(&mut self, run: Vec<FlushEntry<'_>>, report: &mut FlushReport) {
        for FlushEntry { chat, seq, message, frame, expires_s } in run {
            let bytes = 48 + frame.len() as u64;
            report.entries += 1;
            report.rows += 1;
            report.bytes += bytes;
            self.messages.insert((chat, ordered_key(message)), seq);
            if expires_s > 0 {
                self.expiries.insert((chat, seq), expires_s);
            }
            let entry = StoredEntry { seq, message, frame: Bytes::from(frame.into_owned()) };
            if self.entries.insert((chat, seq), entry).is_none() {
                self.bytes += bytes;
            }
        }
    }

    fn amend(&mut self, amended: Vec<FlushEntry<'_>>) {
        for FlushEntry { chat, seq, frame, .. } in amended {
            if let Some(entry) = self.entries.get_mut(&(chat, seq)) {
                entry.frame = Bytes::from(frame.into_owned());
            }
        }
    }
}

impl Store for MemoryStore {
    fn flush(&self, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        let mut tables = self.lock();
        if tables.full {
            return Err(StoreError::Io { doing: "flushing", source: io::ErrorKind::StorageFull.into() });
        }
        let mut report = FlushReport::default();
        tables.crash(CrashPoint::BeforeEntries)?;
        tables.put_entries(run.entries, &mut report);
        tables.amend(run.amended);
        tables.crash(CrashPoint::AfterEntries)?;
        report.rows += run.states.len() as u64;
        tables.states.extend(run.states.into_iter().map(|state| (state.chat, state)));
        tables.crash(CrashPoint::AfterStates)?;
        report.rows += run.dedupe.len() as u64;
        tables.dedupe.extend(run.dedupe);
        tables.crash(CrashPoint::AfterDedupe)?;
        for (journal, lsn) in run.applied {
            let applied = tables.applied.entry(journal).or_default();
            *applied = lsn.max(*applied);
        }
        tables.crash(CrashPoint::AfterApplied)?;
        Ok(report)
    }

    fn history(&self, chat: ChatId, range: HistoryRange) -> Result<Vec<StoredEntry>, StoreError> {
        let tables = self.lock();
        let mut out = Vec::new();
        let mut bytes = 0usize;
        if range.after_seq >= range.up_to_seq {
            return Ok(out);
        }
        for (_, entry) in tables.entries.range((chat, range.after_seq + 1)..=(chat, range.up_to_seq)) {
            bytes = bytes.saturating_add(entry.frame.len());
            if out.len() >= range.limit_entries || (!out.is_empty() && bytes > range.limit_bytes) {
                break;
            }
            out.push(entry.clone());
        }
        Ok(out)
    }

    fn find_message(&self, chat: ChatId, message: MessageId) -> Result<Option<u64>, StoreError> {
        Ok(self.lock().messages.get(&(chat, ordered_key(message))).copied())
    }

    fn dedupe(&self, key: DedupeKey) -> Result<Option<DedupeHit>, StoreError> {
        Ok(self.lock().dedupe.get(&key).copied())
    }

    fn dedupe_since(&self, wall_ms: u64, each: &mut dyn FnMut(DedupeKey, DedupeHit)) -> Result<(), StoreError> {
        let hits: Vec<_> = {
            let tables = self.lock();
            tables.dedupe.iter().filter(|(_, hit)| hit.wall_ms >= wall_ms).map(|(key, hit)| (*key, *hit)).collect()
        };
        hits.into_iter().for_each(|(key, hit)| each(key, hit));
        Ok(())
    }

    fn load_chats(&self, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
        let states: Vec<_> = self.lock().states.values().cloned().collect();
        states.into_iter().for_each(each);
        Ok(())
    }

    fn applied(&self) -> Result<Vec<(JournalId, Lsn)>, StoreError> {
        Ok(self.lock().applied.iter().map(|(journal, lsn)| (*journal, *lsn)).collect())
    }

    fn forget_journals(&self, journals: &[JournalId]) -> Result<(), StoreError> {
        let mut tables = self.lock();
        for journal in journals {
            tables.applied.remove(journal);
        }
        Ok(())
    }

    fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        let oldest = now_ms.saturating_sub(DEDUPE_KEEP_MS);
        let mut tables = self.lock();
        tables.dedupe.retain(|_, hit| hit.wall_ms >= oldest);
        let Tables { expiries, entries, messages, .. } = &mut *tables;
        expiries.retain(|place, expires_s| {
            let keep = u64::from(*expires_s) * 1_000 > now_ms;
            if !keep && let Some(entry) = entries.remove(place) {
                messages.remove(&(place.0, ordered_key(entry.message)));
            }
            keep
        });
        Ok(())
    }

    fn stats(&self) -> StoreStats {
        StoreStats { disk_bytes: self.lock().bytes, ..StoreStats::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::contract::{Place, all, chat, entries, flat, state};
    use super::*;

    struct Shared(Arc<MemoryStore>);

    impl Place for Shared {
        fn open(&self) -> Box<dyn Store> {
            Box::new(Arc::clone(&self.0))
        }
    }

    crate::store_contract!(Shared(Arc::new(MemoryStore::new())));

    #[test]
    fn a_crash_leaves_the_steps_before_it_and_a_replay_completes_them() {
        for point in CrashPoint::ALL {
            let store = MemoryStore::new();
            let hit = DedupeHit { chat: chat(1), seq: 1, message: MessageId([1; 16]), wall_ms: 5 };
            let run = FlushRun {
                applied: vec![(JournalId(0), Lsn(4))],
                entries: flat(vec![(chat(1), entries(chat(1), 1..=4))]),
                amended: Vec::new(),
                states: vec![state(chat(1), 4)],
                dedupe: vec![(DedupeKey([1; 16]), hit)],
            };
            store.crash_at(point);
            assert!(matches!(store.flush(run.clone()), Err(StoreError::Crashed)));
            let mut states = 0;
            store.load_chats(&mut |_| states += 1).expect("chats");
            assert_eq!(!all(&store, chat(1)).is_empty(), point >= CrashPoint::AfterEntries);
            assert_eq!(states > 0, point >= CrashPoint::AfterStates);
            assert_eq!(store.dedupe(DedupeKey([1; 16])).expect("hit").is_some(), point >= CrashPoint::AfterDedupe);
            assert_eq!(!store.applied().expect("applied").is_empty(), point >= CrashPoint::AfterApplied);
            store.flush(run).expect("the crash was asked for once");
            assert_eq!(store.applied().expect("applied"), [(JournalId(0), Lsn(4))]);
        }
    }

    #[test]
    fn a_full_store_takes_nothing_and_recovers() {
        let store = MemoryStore::new();
        let run = FlushRun { entries: flat(vec![(chat(1), entries(chat(1), 1..=4))]), ..FlushRun::default() };
        store.set_full(true);
        assert!(store.flush(run.clone()).is_err_and(|error| error.is_transient()));
        assert!(all(&store, chat(1)).is_empty());
        store.set_full(false);
        store.flush(run).expect("room again");
        assert_eq!(all(&store, chat(1)).len(), 4);
    }
}
