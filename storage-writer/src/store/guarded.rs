//! A shared store behind a [`Breaker`]: while it does not answer, calls fail at once instead of waiting for that.

use std::sync::Arc;

use fabric::time::Clock;

use super::breaker::{Breaker, Outcome};
use super::{
    ChatState, DedupeHit, DedupeKey, FlushReport, FlushRun, HistoryRange, LoggedBlock, SharedStore, Sharing, Standing,
    Store, StoreError, StoreStats, StoredEntry, Takeover,
};
use crate::lease::{Epoch, Tenure};
use crate::lsn::{JournalId, Lsn};
use crate::pins::Pins;
use schema::ids::{ChatId, MessageId};

/// See the module.
pub struct Guarded<S> {
    store: S,
    breaker: Arc<Breaker>,
    clock: Arc<dyn Clock + Send + Sync>,
}

impl<S> Guarded<S> {
    /// Guards `store`.
    pub fn new(store: S, breaker: Arc<Breaker>, clock: Arc<dyn Clock + Send + Sync>) -> Self {
        Self { store, breaker, clock }
    }

    fn call<T>(&self, doing: &'static str, call: impl FnOnce(&S) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let Some(pass) = self.breaker.admit(self.clock.now().mono_ns) else {
            let what = "it has not answered for a while, and is tried again within a second".to_owned();
            return Err(StoreError::Away { doing, what });
        };
        let result = call(&self.store);
        let outcome = match &result {
            Ok(_) => Outcome::Answered,
            Err(StoreError::Away { .. }) => Outcome::Away,
            Err(_) => Outcome::Unknown,
        };
        self.breaker.done(self.clock.now().mono_ns, pass, outcome);
        result
    }
}

impl<S: Store> Store for Guarded<S> {
    fn flush(&self, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        self.call("writing a table", |store| store.flush(run))
    }
    fn history(&self, chat: ChatId, range: HistoryRange) -> Result<Vec<StoredEntry>, StoreError> {
        self.call("reading history", |store| store.history(chat, range))
    }
    fn find_message(&self, chat: ChatId, message: MessageId) -> Result<Option<u64>, StoreError> {
        self.call("finding a message", |store| store.find_message(chat, message))
    }
    fn at_seq(&self, chat: ChatId, seq: u64) -> Result<Option<StoredEntry>, StoreError> {
        self.call("reading an entry", |store| store.at_seq(chat, seq))
    }
    fn dedupe(&self, key: DedupeKey) -> Result<Option<DedupeHit>, StoreError> {
        self.call("looking an answer up", |store| store.dedupe(key))
    }
    fn dedupe_in(&self, chat: ChatId, key: DedupeKey) -> Result<Option<DedupeHit>, StoreError> {
        self.call("looking an answer up", |store| store.dedupe_in(chat, key))
    }
    fn dedupe_since(&self, wall_ms: u64, each: &mut dyn FnMut(DedupeKey, DedupeHit)) -> Result<(), StoreError> {
        self.call("reading answers", |store| store.dedupe_since(wall_ms, each))
    }
    fn load_chats(&self, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
        self.call("reading states", |store| store.load_chats(each))
    }
    fn applied(&self) -> Result<Vec<(JournalId, Lsn)>, StoreError> {
        self.call("reading positions", Store::applied)
    }
    fn forget_journals(&self, journals: &[JournalId]) -> Result<(), StoreError> {
        self.call("forgetting positions", |store| store.forget_journals(journals))
    }
    fn expire(&self, now_ms: u64) -> Result<(), StoreError> {
        self.call("dropping old answers", |store| store.expire(now_ms))
    }
    fn stats(&self) -> StoreStats {
        self.store.stats()
    }
}

impl<S: SharedStore> SharedStore for Guarded<S> {
    fn sharing(&self) -> Sharing {
        self.store.sharing()
    }
    fn standing(&self, partition: u16) -> Result<Standing, StoreError> {
        self.call("looking at a partition's standing", |store| store.standing(partition))
    }
    fn adopt(&self, partition: u16) -> Result<Standing, StoreError> {
        self.call("reading a partition's standing", |store| store.adopt(partition))
    }
    fn load_chats_of(&self, partition: u16, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
        self.call("reading states", |store| store.load_chats_of(partition, each))
    }
    fn dedupe_since_of(
        &self,
        partition: u16,
        wall_ms: u64,
        each: &mut dyn FnMut(DedupeKey, DedupeHit),
    ) -> Result<(), StoreError> {
        self.call("reading answers", |store| store.dedupe_since_of(partition, wall_ms, each))
    }
    fn blocks_above(&self, partition: u16, after: u64) -> Result<Vec<LoggedBlock>, StoreError> {
        self.call("reading a partition's log", |store| store.blocks_above(partition, after))
    }
    fn take_over(&self, partition: u16, takeover: Takeover) -> Result<(), StoreError> {
        self.call("noting a takeover", |store| store.take_over(partition, takeover))
    }
    fn append(&self, partition: u16, epoch: Epoch, block: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.call("writing a block", |store| {
            self.breaker.block_begins(self.clock.now().mono_ns);
            let result = store.append(partition, epoch, block, bytes);
            self.breaker.block_ends(self.clock.now().mono_ns);
            result
        })
    }
    fn flush_owned(&self, tenure: &Tenure, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        self.call("writing a table", |store| store.flush_owned(tenure, run))
    }
    fn trim(&self, partition: u16, applied: u64) -> Result<(), StoreError> {
        self.call("forgetting blocks", |store| store.trim(partition, applied))
    }
    fn load_chat(&self, chat: ChatId) -> Result<Option<ChatState>, StoreError> {
        self.call("reading a chat's state", |store| store.load_chat(chat))
    }
    fn stamp(&self, partition: u16) -> i64 {
        self.store.stamp(partition)
    }
    fn raise_stamp(&self, partition: u16, stamp: i64) {
        self.store.raise_stamp(partition, stamp);
    }
    fn pins(&self, latest: bool) -> Result<Pins, StoreError> {
        self.call("reading the table of pinned chats", |store| store.pins(latest))
    }
    fn change_pins(&self, next: &Pins) -> Result<bool, StoreError> {
        self.call("changing the table of pinned chats", |store| store.change_pins(next))
    }
}
