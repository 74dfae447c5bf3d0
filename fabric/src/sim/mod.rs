//! The simulated twins of clock, disk, randomness and network.
//!
//! What must stay true: everything here follows from its seed and the calls made, so a failing seed fails again; every
//! kind of fault has a counter, so a test can show that it happened.

mod clock;
mod disk;
mod entropy;
mod net;

pub use clock::SimClock;
pub use disk::{DiskCompletion, DiskCounters, DiskFaults, SimDisk};
pub use entropy::SeededEntropy;
pub use net::{NetCounters, NetEvent, NetFaults, Side, SimNet, StreamId};
