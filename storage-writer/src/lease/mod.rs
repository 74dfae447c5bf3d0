//! Who owns which partition: a table that all writers share, and a keeper in each of them.
//!
//! A writer has one lease, its row with a beat that it raises about once a second; a partition names its owner and an epoch
//! that rises whenever it changes hands. A writer whose beat stands still for the length of a lease and a margin is buried
//! by another, and what it owned may be taken.
//!
//! What must stay true: every change is a transaction on what was read, so of two writers that want the same one fails; a
//! writer counts its lease from before it asked for it, the others count from after they saw it, so that whatever the
//! delays its own count ends first; an epoch is never used twice, not even by the same writer. Clocks only measure how much
//! time passes: they need not agree, but over the length of a lease they must not run apart by the margin, nor stand still.

pub mod contract;
mod keeper;
mod keeping;
mod memory;
mod tenure;

#[cfg(test)]
mod tests;

use std::fmt;

pub use keeper::{Action, Keeper, Leaving, MoveError, Step};
pub use keeping::{Changes, Keeping};
pub use memory::MemoryLeases;
pub use tenure::Tenure;

use crate::store::StoreError;

/// How often a partition has changed hands; 0 = nobody has ever owned it. Rises by one a change and is never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One start of a writer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WriterId {
    /// The node's name, as the list of nodes has it.
    pub name: String,
    /// Drawn at every start, so that a start never takes another's lease for its own.
    pub incarnation: u64,
}

/// A writer as the table has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriterRow {
    /// Who.
    pub writer: WriterId,
    /// Raised with every renewal.
    pub beat: u64,
    /// Others have given it up. It never lives again.
    pub buried: bool,
    /// It is about to stop and takes nothing more.
    pub leaving: bool,
}

/// A partition as the table has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionRow {
    /// Its number, `0..partitions`.
    pub partition: u16,
    /// Of its last owner.
    pub epoch: Epoch,
    /// Whose it is; `None` = it was given back, or nobody ever had it.
    pub owner: Option<WriterId>,
}

/// The table at one moment, or, where rows were read one after the other, partitions first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableView {
    /// All writers, those that were buried and still own something included; by id.
    pub writers: Vec<WriterRow>,
    /// Every partition, by number.
    pub partitions: Vec<PartitionRow>,
}

/// The table that all writers of a keyspace share. Calls block and may fail after they have changed it. `false` = it was not
/// as the caller thought, and nothing changed.
pub trait LeaseTable: Send + Sync {
    /// Everything in it. Whatever a call returned `true` for before this one began is in it.
    ///
    /// # Errors
    /// [`StoreError`] of the store behind it; so for all calls.
    fn read(&self) -> Result<TableView, StoreError>;

    /// Makes a writer's row, with beat 1.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn enter(&self, writer: &WriterId) -> Result<bool, StoreError>;

    /// Raises a writer's beat by one if it is `beat` and the writer is not buried; notes whether it is leaving.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn renew(&self, writer: &WriterId, beat: u64, leaving: bool) -> Result<bool, StoreError>;

    /// Gives up a writer whose beat is still `beat`: it can never renew again.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn bury(&self, writer: &WriterId, beat: u64) -> Result<bool, StoreError>;

    /// Removes a writer that owns nothing: itself when it stops, or one that was buried.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn remove(&self, writer: &WriterId) -> Result<(), StoreError>;

    /// Makes a partition `writer`'s, under the next epoch, if it is exactly as `seen`. Its owner may ask that for another, as
    /// may that one itself.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn take(&self, seen: &PartitionRow, writer: &WriterId) -> Result<bool, StoreError>;

    /// Gives back a partition that is `writer`'s under `epoch`.
    ///
    /// # Errors
    /// As [`Self::read`].
    fn release(&self, partition: u16, epoch: Epoch, writer: &WriterId) -> Result<bool, StoreError>;
}

/// Times of leases. The same for all writers of a keyspace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseConfig {
    /// A lease lasts so long from before it was asked for, ms. Above what the store takes to answer.
    pub lease_ms: u64,
    /// It is renewed so often, ms; a third of its length or less.
    pub renew_ms: u64,
    /// What others wait beyond it, ms: for a write that is under way to end, and for clocks that run apart.
    pub margin_ms: u64,
    /// How often the table is read, ms.
    pub poll_ms: u64,
}

impl LeaseConfig {
    /// A writer that ends without a word is given up by the others after so long, ms, if the table answers them.
    pub const fn missed_ms(&self) -> u64 {
        self.lease_ms + self.margin_ms + 2 * self.poll_ms
    }
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self { lease_ms: 5_000, renew_ms: 1_000, margin_ms: 2_000, poll_ms: 250 }
    }
}
