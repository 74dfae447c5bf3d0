//! The all-in-one node: every tier's parts on the threads of one process.

mod assembly;
mod board;
mod changes;
mod core;
mod gaps;
mod handoff;
mod hub;
mod topology;

pub use assembly::{CREDITS_PER_PARTITION, HttpParts, NodeConfig, ShardParts, assemble, lanes};
pub use board::Board;
pub use changes::Inbox;
pub use core::{OpenGateways, ShardCore};
pub use hub::{Hub, HubMetrics};
pub use topology::{Part, Topology};
