//! A node: the tiers' parts on the threads of one process, all of them or, joined to others by links, some.

mod assembly;
mod board;
mod changes;
mod cluster;
mod core;
mod gaps;
mod handoff;
mod holdings;
mod http_hold;
mod hub;
mod topology;

pub use assembly::{
    CREDITS_PER_PARTITION, ClusterConfig, EdgeConfig, HttpParts, NodeConfig, REMOTE_SHARDS, ShardParts, assemble, lanes,
};
pub use board::Board;
pub use changes::{Inbox, MoveWord, ShardChange};
pub use cluster::{Away, AwayConfig, ClusterView, NodeInfo, NodeLine, Routers};
pub use core::{ShardCore, Stops};
pub use holdings::{GivenUp, Holdings, MoveRequest, Moved};
pub use hub::{Hub, HubMetrics};
pub use topology::{Part, Topology};
