//! Order, durability, history.

pub mod folder;
pub mod journal;
pub mod lease;
pub mod log;
pub mod lsn;
mod memtable;
pub mod owner;
pub mod partition;
pub mod pins;
pub mod spool;
pub mod store;
