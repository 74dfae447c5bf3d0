//! A store that several writers share: each owns some of its partitions and keeps a log of each there, in which a block of
//! what it ordered is durable before anybody hears of it.
//!
//! What must stay true: blocks that two owners wrote under one number lie side by side; a reader tells by the takeovers
//! which of them counts ([`crate::log`]). Everything else that a partition's owner writes is what its log says already, and
//! loses against what a later owner has written.

use std::sync::Arc;

use schema::ids::{ChatId, SLOT_COUNT};

use super::{ChatState, DedupeHit, DedupeKey, FlushReport, FlushRun, Store, StoreError};
use crate::lease::{Epoch, Tenure};
use crate::pins::Pins;

/// What the keyspace says of how it is shared; the same for its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sharing {
    /// Partitions that share the slots, `1..=128`.
    pub partitions: u16,
    /// What dedupe keys are made with.
    pub dedupe_secret: [u8; 16],
}

impl Sharing {
    /// The most partitions that there can be.
    pub const PARTITIONS_MAX: u16 = 128;

    /// The slots of a partition, a range of numbers.
    pub fn slots(self, partition: u16) -> std::ops::Range<u16> {
        let first = |partition: u16| {
            let slots = u32::from(partition) * u32::from(SLOT_COUNT);
            slots.div_ceil(u32::from(self.partitions)) as u16
        };
        first(partition)..first(partition + 1)
    }
}

/// An owner's note of where it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Takeover {
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The first block that is its own.
    pub first_block: u64,
    /// The takeover whose blocks it went on from; 0 = there was none.
    pub after: Epoch,
}

/// Where a partition stands in the store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Every block up to this one is in the tables; 0 = none.
    pub applied: u64,
    /// Its takeovers, by epoch.
    pub takeovers: Vec<Takeover>,
}

/// A block of a partition's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedBlock {
    /// Its number, from 1.
    pub block: u64,
    /// Who wrote it.
    pub epoch: Epoch,
    /// As it was written.
    pub bytes: Vec<u8>,
}

/// See the module. All calls block.
pub trait SharedStore: Store {
    /// How it is shared.
    fn sharing(&self) -> Sharing;

    /// Where a partition stands, for whoever only looks: nothing that is kept about it here changes.
    ///
    /// # Errors
    /// As [`StoreError`] says; so for all calls.
    fn standing(&self, partition: u16) -> Result<Standing, StoreError>;

    /// As [`Self::standing`], for its next owner: also what earlier owners have left is read anew. Call it before
    /// anything that writes about the partition, but for its log.
    ///
    /// # Errors
    /// As [`StoreError`] says; so for all calls.
    fn adopt(&self, partition: u16) -> Result<Standing, StoreError>;

    /// Every state of a partition's chats, each chat once.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn load_chats_of(&self, partition: u16, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError>;

    /// As [`Store::dedupe_since`], of a partition's chats.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn dedupe_since_of(
        &self,
        partition: u16,
        wall_ms: u64,
        each: &mut dyn FnMut(DedupeKey, DedupeHit),
    ) -> Result<(), StoreError>;

    /// The state of one chat, whosever it is; `None`: there is none.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn load_chat(&self, chat: ChatId) -> Result<Option<ChatState>, StoreError>;

    /// All blocks of a partition above `after`, by number and then epoch, up to the first number that nobody has written.
    /// Those of which a quorum has been told are among them.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn blocks_above(&self, partition: u16, after: u64) -> Result<Vec<LoggedBlock>, StoreError>;

    /// Notes a takeover, durable when it returns.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn take_over(&self, partition: u16, takeover: Takeover) -> Result<(), StoreError>;

    /// Writes a block, durable when it returns. After an error it may be there, or come to be there later; the same block
    /// may be written again.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn append(&self, partition: u16, epoch: Epoch, block: u64, bytes: &[u8]) -> Result<(), StoreError>;

    /// As [`Store::flush`], for the owner of a partition: `run.applied` names the partition as journal and a block as
    /// position, and everything else in it is the partition's.
    ///
    /// # Errors
    /// [`StoreError::NotOwned`] when `tenure` is not held any more; others as [`StoreError`] says.
    fn flush_owned(&self, tenure: &Tenure, run: FlushRun<'_>) -> Result<FlushReport, StoreError>;

    /// Forgets blocks up to `applied`, which are in the tables; some may stay.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn trim(&self, partition: u16, applied: u64) -> Result<(), StoreError>;

    /// The highest write timestamp that was used for a partition, as far as whoever adopted it here knows: of all earlier owners
    /// and of its own flushes. 0 = none, or it was not adopted.
    fn stamp(&self, partition: u16) -> i64;

    /// What is flushed for an adopted partition from now on gets a write timestamp above `stamp`.
    fn raise_stamp(&self, partition: u16, stamp: i64);

    /// The table of pinned chats. `latest`: with every change that has come to pass or may yet, which is asked of all who
    /// act on it; else what somebody who only looks may see, at less cost.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn pins(&self, latest: bool) -> Result<Pins, StoreError>;

    /// Makes the table of pinned chats `next`, if it has the version before that one's. Whether it had. After an error it may be
    /// done, or be done later unless somebody changes or reads the latest before.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    fn change_pins(&self, next: &Pins) -> Result<bool, StoreError>;
}

impl<S: SharedStore + ?Sized> SharedStore for Arc<S> {
    fn sharing(&self) -> Sharing {
        (**self).sharing()
    }
    fn standing(&self, partition: u16) -> Result<Standing, StoreError> {
        (**self).standing(partition)
    }
    fn adopt(&self, partition: u16) -> Result<Standing, StoreError> {
        (**self).adopt(partition)
    }
    fn load_chats_of(&self, partition: u16, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
        (**self).load_chats_of(partition, each)
    }
    fn dedupe_since_of(
        &self,
        partition: u16,
        wall_ms: u64,
        each: &mut dyn FnMut(DedupeKey, DedupeHit),
    ) -> Result<(), StoreError> {
        (**self).dedupe_since_of(partition, wall_ms, each)
    }
    fn blocks_above(&self, partition: u16, after: u64) -> Result<Vec<LoggedBlock>, StoreError> {
        (**self).blocks_above(partition, after)
    }
    fn take_over(&self, partition: u16, takeover: Takeover) -> Result<(), StoreError> {
        (**self).take_over(partition, takeover)
    }
    fn append(&self, partition: u16, epoch: Epoch, block: u64, bytes: &[u8]) -> Result<(), StoreError> {
        (**self).append(partition, epoch, block, bytes)
    }
    fn flush_owned(&self, tenure: &Tenure, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        (**self).flush_owned(tenure, run)
    }
    fn trim(&self, partition: u16, applied: u64) -> Result<(), StoreError> {
        (**self).trim(partition, applied)
    }
    fn load_chat(&self, chat: ChatId) -> Result<Option<ChatState>, StoreError> {
        (**self).load_chat(chat)
    }
    fn stamp(&self, partition: u16) -> i64 {
        (**self).stamp(partition)
    }
    fn raise_stamp(&self, partition: u16, stamp: i64) {
        (**self).raise_stamp(partition, stamp);
    }
    fn pins(&self, latest: bool) -> Result<Pins, StoreError> {
        (**self).pins(latest)
    }
    fn change_pins(&self, next: &Pins) -> Result<bool, StoreError> {
        (**self).change_pins(next)
    }
}

#[cfg(test)]
mod tests {
    use schema::ids::Slot;

    use super::*;

    #[test]
    fn every_slot_is_in_the_range_of_its_partition() {
        for partitions in [1, 2, 3, 16, 127, Sharing::PARTITIONS_MAX] {
            let sharing = Sharing { partitions, dedupe_secret: [0; 16] };
            let mut next = 0;
            for partition in 0..partitions {
                let slots = sharing.slots(partition);
                assert_eq!(slots.start, next);
                next = slots.end;
                for slot in slots {
                    assert_eq!(Slot::new(slot).expect("a slot").partition(partitions), partition);
                }
            }
            assert_eq!(next, SLOT_COUNT);
        }
    }
}
