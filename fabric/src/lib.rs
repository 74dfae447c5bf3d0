//! What joins the tiers: shard threads, lanes, sockets, clocks, timers, disks, and the simulated twin of each.
//!
//! Everything below a tier is reached through a trait of this crate, so that the same sessions, owners, journals, routers
//! and clients run on sockets and files and under simulation. What must stay true: nothing above this crate reads a clock,
//! draws randomness or seeds a hasher by itself.

pub mod core;
pub mod count;
pub mod disk;
pub mod entropy;
pub mod hash;
pub mod lane;
pub mod link;
pub mod memory;
pub mod mutex;
pub mod net;
pub mod shard;
pub mod sim;
pub mod throttle;
pub mod tier;
pub mod time;
pub mod timer;
pub mod trace;
pub mod wake;
