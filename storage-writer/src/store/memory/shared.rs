//! The same store for several writers: their logs beside the tables, and what can go wrong with a write to one.

use std::collections::BTreeMap;

use schema::dedupe::DedupeKey;
use schema::ids::ChatId;

use super::MemoryStore;
use crate::lease::{Epoch, Tenure};
use crate::lsn::JournalId;
use crate::pins::Pins;
use crate::store::{
    ChatState, DedupeHit, FlushReport, FlushRun, LoggedBlock, SharedStore, Sharing, Standing, Store, StoreError,
    Takeover,
};

/// What becomes of writes to a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AppendFault {
    /// They are done.
    #[default]
    None,
    /// They are refused.
    Refused,
    /// They are done, but whoever asked hears of an error.
    Unheard,
    /// Whoever asked hears of an error, and they are done when [`MemoryStore::land`] says so.
    Late,
}

/// The logs of all partitions.
#[derive(Default)]
pub(super) struct Logs {
    blocks: BTreeMap<(u16, u64, Epoch), Vec<u8>>,
    takeovers: BTreeMap<(u16, Epoch), Takeover>,
    fault: AppendFault,
    late: Vec<Write>,
    pins: Pins,
    /// The last write timestamp of each partition: each counts its own, as clocks of their owners would.
    stamps: BTreeMap<u16, i64>,
    /// With which each chat's state was written.
    written: BTreeMap<ChatId, i64>,
}

enum Write {
    Block((u16, u64, Epoch), Vec<u8>),
    Takeover(u16, Takeover),
}

impl Logs {
    fn write(&mut self, write: Write) -> Result<(), StoreError> {
        let away = || StoreError::Away { doing: "writing to a log", what: "asked to fail".to_owned() };
        match self.fault {
            AppendFault::None => self.land(write),
            AppendFault::Refused => return Err(away()),
            AppendFault::Unheard => {
                self.land(write);
                return Err(away());
            }
            AppendFault::Late => {
                self.late.push(write);
                return Err(away());
            }
        }
        Ok(())
    }

    fn land(&mut self, write: Write) {
        match write {
            Write::Block(place, bytes) => {
                let before = self.blocks.insert(place, bytes.clone());
                assert!(before.is_none_or(|before| before == bytes), "block {place:?} was written differently");
            }
            Write::Takeover(partition, takeover) => {
                self.takeovers.insert((partition, takeover.epoch), takeover);
            }
        }
    }
}

impl MemoryStore {
    /// Does the writes to logs that are late; returns how many there were.
    pub fn land(&self) -> usize {
        let mut tables = self.lock();
        let late = std::mem::take(&mut tables.logs.late);
        let count = late.len();
        late.into_iter().for_each(|write| tables.logs.land(write));
        count
    }

    /// The first half of a flush: the write timestamp that it notes.
    pub(crate) fn note_stamp(&self, partition: u16) -> i64 {
        let mut tables = self.lock();
        let stamp = tables.logs.stamps.entry(partition).or_default();
        *stamp += 1;
        *stamp
    }

    /// The second half, after it was asked whether its owner still owns. States that are older than what is there change
    /// nothing.
    pub(crate) fn flush_with(&self, stamp: i64, mut run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        let mut tables = self.lock();
        if !tables.full {
            let written = &mut tables.logs.written;
            run.states.retain(|state| {
                let before = written.entry(state.chat).or_insert(stamp);
                let newer = stamp >= *before;
                *before = stamp.max(*before);
                newer
            });
        }
        drop(tables);
        self.flush(run)
    }

    /// What becomes of writes to logs from now on.
    pub fn set_append_fault(&self, fault: AppendFault) {
        self.lock().logs.fault = fault;
    }
}

impl SharedStore for MemoryStore {
    fn sharing(&self) -> Sharing {
        Sharing { partitions: self.partitions, dedupe_secret: [7; 16] }
    }

    fn adopt(&self, partition: u16) -> Result<Standing, StoreError> {
        self.standing(partition)
    }

    fn standing(&self, partition: u16) -> Result<Standing, StoreError> {
        let tables = self.lock();
        let applied = tables.applied.get(&JournalId(u32::from(partition))).map_or(0, |lsn| lsn.0);
        let range = (partition, Epoch(0))..=(partition, Epoch(u64::MAX));
        let takeovers = tables.logs.takeovers.range(range).map(|(_, takeover)| *takeover).collect();
        Ok(Standing { applied, takeovers })
    }

    fn load_chats_of(&self, partition: u16, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
        self.load_chats(&mut |state| {
            if state.chat.slot().partition(self.partitions) == partition {
                each(state);
            }
        })
    }

    fn dedupe_since_of(
        &self,
        partition: u16,
        wall_ms: u64,
        each: &mut dyn FnMut(DedupeKey, DedupeHit),
    ) -> Result<(), StoreError> {
        self.dedupe_since(wall_ms, &mut |key, hit| {
            if hit.chat.slot().partition(self.partitions) == partition {
                each(key, hit);
            }
        })
    }

    fn blocks_above(&self, partition: u16, after: u64) -> Result<Vec<LoggedBlock>, StoreError> {
        let tables = self.lock();
        let range = (partition, after + 1, Epoch(0))..=(partition, u64::MAX, Epoch(u64::MAX));
        let mut next = after + 1;
        let mut blocks = Vec::new();
        for (&(_, block, epoch), bytes) in tables.logs.blocks.range(range) {
            if block > next {
                break;
            }
            next = block + 1;
            blocks.push(LoggedBlock { block, epoch, bytes: bytes.clone() });
        }
        Ok(blocks)
    }

    fn take_over(&self, partition: u16, takeover: Takeover) -> Result<(), StoreError> {
        self.lock().logs.write(Write::Takeover(partition, takeover))
    }

    fn append(&self, partition: u16, epoch: Epoch, block: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.lock().logs.write(Write::Block((partition, block, epoch), bytes.to_vec()))
    }

    fn flush_owned(&self, tenure: &Tenure, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        if !tenure.is_held() {
            return Err(StoreError::not_owned(tenure));
        }
        let stamp = self.note_stamp(tenure.partition());
        self.flush_with(stamp, run)
    }

    fn trim(&self, partition: u16, applied: u64) -> Result<(), StoreError> {
        self.lock().logs.blocks.retain(|&(of, block, _), _| of != partition || block > applied);
        Ok(())
    }

    fn load_chat(&self, chat: ChatId) -> Result<Option<ChatState>, StoreError> {
        Ok(self.lock().states.get(&chat).cloned())
    }

    fn stamp(&self, partition: u16) -> i64 {
        self.lock().logs.stamps.get(&partition).copied().unwrap_or_default()
    }

    fn raise_stamp(&self, partition: u16, stamp: i64) {
        let mut tables = self.lock();
        let last = tables.logs.stamps.entry(partition).or_default();
        *last = stamp.max(*last);
    }

    fn pins(&self, _latest: bool) -> Result<Pins, StoreError> {
        Ok(self.lock().logs.pins.clone())
    }

    fn change_pins(&self, next: &Pins) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        let may = tables.logs.pins.version + 1 == next.version;
        if may {
            tables.logs.pins = next.clone();
        }
        Ok(may)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::contract::{SHARED_CHECKS, SHARED_PARTITIONS, SharedPlace};

    struct Place(Arc<MemoryStore>);

    impl SharedPlace for Place {
        fn open(&self) -> Arc<dyn SharedStore> {
            self.0.clone()
        }
    }

    #[test]
    fn it_passes_every_check_of_a_shared_store() {
        let place = Place(Arc::new(MemoryStore::shared(SHARED_PARTITIONS)));
        SHARED_CHECKS.iter().for_each(|(_, check)| check(&place));
    }
}
