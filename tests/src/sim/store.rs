//! The store under simulation: in memory, with crashes in the middle of a flush, failures that leave a part, and a lie.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, MessageId};
use storage_writer::lsn::{JournalId, Lsn};
use storage_writer::store::{
    ChatState, CrashPoint, DedupeHit, FlushReport, FlushRun, HistoryRange, MemoryStore, Store, StoreError, StoreStats,
    StoredEntry,
};

use super::account::READ_RECEIPTS;
use super::plan::Lie;

/// See the module. Survives restarts of the simulated process.
#[derive(Default)]
pub struct SimStore {
    inner: MemoryStore,
    /// What the crash point that was asked for means: the process dies, or the flush only fails.
    survives: AtomicBool,
    crashed: AtomicBool,
    failed: AtomicBool,
    /// Flushes that failed after storing a part.
    partial: AtomicU64,
    /// A lie: resends are not recognised.
    forgets_answers: bool,
    /// A lie: who has left a group is in it again after a restart.
    forgets_leaving: bool,
    /// A lie: what was amended stays as it was.
    keeps_bodies: bool,
    /// A lie: accounts forget a part of what they say.
    forgets_of_accounts: Option<Lie>,
    failing_reads: AtomicBool,
    reads: AtomicU64,
}

impl SimStore {
    /// Empty. `lie`: what of it is not true.
    pub fn new(lie: Lie) -> Arc<Self> {
        let (forgets_answers, forgets_leaving) = (lie == Lie::Dedupe, lie == Lie::Members);
        let keeps_bodies = lie == Lie::Amendments;
        let of_accounts = [Lie::Hidden, Lie::Private, Lie::Revoked, Lie::Settings].contains(&lie);
        let forgets_of_accounts = of_accounts.then_some(lie);
        Arc::new(Self { forgets_of_accounts, forgets_answers, forgets_leaving, keeps_bodies, ..Self::default() })
    }

    /// The next flush that gets to `point` ends the process there.
    pub fn crash_at(&self, point: CrashPoint) {
        self.survives.store(false, Ordering::Relaxed);
        self.inner.crash_at(point);
    }

    /// The next flush that gets to `point` fails there and leaves what it stored.
    pub fn fail_at(&self, point: CrashPoint) {
        self.survives.store(true, Ordering::Relaxed);
        self.inner.crash_at(point);
    }

    /// While set, flushes fail as on a full disk.
    pub fn set_full(&self, full: bool) {
        self.inner.set_full(full);
    }

    /// While set, every third read fails.
    pub fn set_failing_reads(&self, failing: bool) {
        self.failing_reads.store(failing, Ordering::Relaxed);
    }

    fn read(&self) -> Result<(), StoreError> {
        let fails =
            self.failing_reads.load(Ordering::Relaxed) && self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
        if fails { Err(StoreError::Io { doing: "reading", source: ErrorKind::Other.into() }) } else { Ok(()) }
    }

    /// Whether a crash point was met since the last call.
    pub fn take_crashed(&self) -> bool {
        self.crashed.swap(false, Ordering::Relaxed)
    }

    /// Whether a crash point was met in any way since the last call.
    pub fn take_failed(&self) -> bool {
        self.take_crashed() | self.failed.swap(false, Ordering::Relaxed)
    }

    /// Flushes that failed after storing a part.
    pub fn partial_flushes(&self) -> u64 {
        self.partial.load(Ordering::Relaxed)
    }
}

impl Store for SimStore {
    fn flush(&self, mut run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        if self.keeps_bodies {
            run.amended.clear();
        }
        match self.inner.flush(run) {
            Err(StoreError::Crashed) if self.survives.load(Ordering::Relaxed) => {
                self.partial.fetch_add(1, Ordering::Relaxed);
                self.failed.store(true, Ordering::Relaxed);
                Err(StoreError::Io { doing: "flushing", source: ErrorKind::Other.into() })
            }
            Err(StoreError::Crashed) => {
                self.crashed.store(true, Ordering::Relaxed);
                Err(StoreError::Crashed)
            }
            result => result,
        }
    }

    fn history(&self, chat: ChatId, range: HistoryRange) -> Result<Vec<StoredEntry>, StoreError> {
        self.read()?;
        self.inner.history(chat, range)
    }

    fn find_message(&self, chat: ChatId, message: MessageId) -> Result<Option<u64>, StoreError> {
        self.read()?;
        self.inner.find_message(chat, message)
    }

    fn dedupe(&self, key: DedupeKey) -> Result<Option<DedupeHit>, StoreError> {
        self.read()?;
        if self.forgets_answers { Ok(None) } else { self.inner.dedupe(key) }
    }

    fn dedupe_since(&self, wall_ms: u64, each: &mut dyn FnMut(DedupeKey, DedupeHit)) -> Result<(), StoreError> {
        if self.forgets_answers { Ok(()) } else { self.inner.dedupe_since(wall_ms, each) }
    }

    fn load_chats(&self, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
        self.inner.load_chats(&mut |mut chat| {
            let seats = chat.group.iter_mut().flat_map(|group| &mut group.seats);
            for last in seats.filter_map(|seat| seat.spans.last_mut()).filter(|_| self.forgets_leaving) {
                last.1 = u64::MAX;
            }
            if let (Some(account), Some(lie)) = (&mut chat.account, self.forgets_of_accounts) {
                match lie {
                    Lie::Hidden => account.hidden.clear(),
                    Lie::Private => drop(account.settings.remove(READ_RECEIPTS)),
                    Lie::Revoked => account.devices.values_mut().for_each(|device| device.revoked_ms = 0),
                    _ => account.chats.values_mut().for_each(|set| set.pinned = false),
                }
            }
            each(chat);
        })
    }

    fn applied(&self) -> Result<Vec<(JournalId, Lsn)>, StoreError> {
        self.inner.applied()
    }

    fn forget_journals(&self, journals: &[JournalId]) -> Result<(), StoreError> {
        self.inner.forget_journals(journals)
    }

    fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        self.inner.expire(now_ms)
    }

    fn stats(&self) -> StoreStats {
        self.inner.stats()
    }
}
