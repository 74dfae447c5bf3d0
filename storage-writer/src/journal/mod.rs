//! The journal: where a record is durable first.
//!
//! One [`Journal`] an owner partition and start, sans-IO: [`Journal::append`] fills a block, [`Journal::take_write`] hands
//! it out, [`Journal::write_done`] says what is durable. One write is in flight; meanwhile the next block fills. Segments
//! are made, recycled and removed by [`SegmentJob`]s on a background thread. [`recover()`] reads all journals of a folder at
//! start, whoever wrote them, and closes them for good; new ones get new [`JournalId`]s.
//!
//! What must stay true:
//! - A record is committed once its whole block is durable, never before; LSNs of committed records have no holes.
//! - A block whose write failed is never written again: its segment is left and a new one says where it takes over.
//! - Damage at or below the highest LSN known durable stops the start; what is above is a torn tail, cut and counted.
//! - What a recovery accepted stays accepted and what it cut stays cut, whatever the disk shows at the next one.
//!
//! # Format (version 1, all numbers little endian)
//!
//! A segment is a file `JJJJJJJJ-OOOOOOOO.journal` (hexadecimal: the journal's id; the segment's ordinal, 1, 2, 3… within
//! it). `generation` = id << 32 | ordinal: it rises for the life of a folder, so what a recycled file still holds of
//! before is told from what is new. A segment begins with its header, padded to the alignment; blocks follow, each at an
//! aligned offset, each padded with zeros.
//!
//! | segment header | | block header | | record header | |
//! |---|---|---|---|---|---|
//! | 0 | magic `SWJS` | 0 | magic `SWJB` | 0 u32 | CRC32C of bytes 4.. and the payload |
//! | 4 u16 | format version | 4 u16 | format version | 4 u32 | payload length |
//! | 6 u16 | flags: 1 recycled, 2 closes its journal | 6 u16 | flags: 1 sealing, 2 clean stop | 8 u8 | record type |
//! | 8 u64 | generation | 8 u64 | generation | 9 u8 | that type's format |
//! | 16 u64 | journal id | 16 u64 | journal id | 10 u16 | 0 |
//! | 24 u64 | continues after LSN; all ones: after the segment before | 24 u64 | first LSN | 12 u32 | key id; 0 = in clear |
//! | 32 u64 | segment length | 32 u32, 36 u32 | records; their bytes | 16 u64 | generation |
//! | 40 u32 | alignment | 40 u64 | highest LSN durable at submit | 24 u64 | LSN |
//! | 48 u64 | salt | 48 u64 | the segment's salt | 32 | payload |
//! | 60 u32 | CRC32C of bytes 0..60 | 60 u32 | CRC32C of bytes 0..60 | | |
//!
//! Bytes not named are 0. The salt is random, so that nobody can send a message that looks like a block. Magic, version and
//! the CRC of a header stay where they are in every version.
//!
//! A sealing block has no records: its "highest LSN durable" is what it is for. A segment that says "continues after L"
//! supersedes everything above L in segments of a lower ordinal.

mod close;
mod copy;
mod cut;
mod format;
mod record;
mod recover;
mod scan;
mod segment;
mod space;
mod watch;
mod writer;

pub use crate::lsn::{JournalId, Lsn};
pub use copy::{CopyError, copy};
pub use cut::{Cut, cut};
pub use format::FORMAT_VERSION;
pub use record::{AppendRecord, DecodeError, PositionRecord, Record};
pub use recover::{Recovered, RecoveredJournal, Visitor, recover};
pub use scan::RecoverError;
pub use segment::{SegmentDone, SegmentJob};
pub use watch::{Hold, Watch};
pub use writer::{AppendError, Journal, JournalConfig, JournalStatus, WriteOutcome};

#[cfg(test)]
mod tests;
