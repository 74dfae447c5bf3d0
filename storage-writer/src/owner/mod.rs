//! The owner: order, dedupe, members and positions, receipts, refusals, nudges, sync, account logs.
//!
//! Each file holds one concern; those about messages are `impl Partition`, those about data stand alone.

mod about;
mod account;
mod amend;
mod answers;
mod append;
mod ask;
mod audience;
mod batch;
mod chats;
mod commit;
mod dedupe;
mod fanout;
mod hidden;
mod housekeeping;
mod keys;
mod listing;
mod marks;
mod memory;
mod merges;
mod nudges;
mod pages;
mod parking;
mod places;
mod rare;
mod refusals;
mod roster;
mod sends;
mod sharded;
mod spooling;
mod sync;
mod tables;
mod ticks;

pub(crate) use about::PendingStatus;
pub(crate) use amend::Amending;
pub(crate) use audience::{Audience, Rates};
pub(crate) use batch::Batch;
pub(crate) use chats::Chats;
pub(crate) use dedupe::{DedupeMemory, Known};
pub(crate) use fanout::Fanout;
pub(crate) use keys::Keys;
pub(crate) use listing::PendingChats;
pub(crate) use marks::{MarkAnswer, PendingMark};
pub(crate) use memory::Memory;
pub use memory::ReplayError;
pub(crate) use merges::Merges;
pub(crate) use nudges::Nudges;
pub(crate) use pages::{PendingPage, Wanted};
pub(crate) use parking::{Found, Parked};
pub(crate) use refusals::Refusals;
pub(crate) use spooling::Spooling;
pub use spooling::send_settled;
pub(crate) use sync::Synced;
pub(crate) use tables::Tables;
pub(crate) use ticks::Asker;
