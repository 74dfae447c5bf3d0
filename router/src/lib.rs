//! The router tier: finds the sessions of users and spreads pushes over gateway shards.
//!
//! All it holds is soft: lose it whole and nothing is lost, sessions register again and sync. A router partition belongs to
//! one thread; those of one process share a [`MemoryDirectory`], so each serves every user. Users are spread over processes
//! by a [`Placement`]; what comes to a router that may not hold all of a user's sessions is passed on, once. What must stay
//! true: a push becomes at most one envelope per gateway shard, and a session whose registration was overtaken gets no more
//! pushes.

pub mod directory;
mod fanout;
mod metrics;
pub mod placement;
mod router;

pub use directory::{Change, Directory, MemoryDirectory, MirrorCounts, Outcome, Registration};
pub use fanout::{Group, Groups};
pub use metrics::RouterMetrics;
pub use placement::Placement;
pub use router::Router;
