//! What a running server says of itself to `shardwire status`: one JSON object. Fields are only ever added.

use gateway::auth::revoked::Revocation;
use serde::{Deserialize, Serialize};

use crate::node::NodeLine;

/// What `status` answers.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Status {
    /// Of the binary.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Since the start, s.
    pub uptime_s: u64,
    /// `ready`, or why not.
    pub readiness: String,
    /// `io_uring` or `epoll`.
    pub driver: String,
    /// Addresses that are served.
    pub native: String,
    /// As above.
    pub ws: String,
    /// As above.
    pub http: String,
    /// Connections now.
    pub connections: i64,
    /// Authenticated sessions now.
    pub sessions: i64,
    /// Connection threads.
    pub shards: u16,
    /// Owner partitions.
    pub partitions: Vec<PartitionLine>,
    /// The other nodes of the cluster.
    #[serde(default)]
    pub nodes: Vec<NodeLine>,
    /// The only key is the data folder's development key.
    #[serde(default)]
    pub development_key: bool,
    /// Algorithm and key id of each key that verifies tokens.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Users and devices whose earlier tokens are refused, the newest first.
    #[serde(default)]
    pub revoked: Vec<Revocation>,
}

/// One owner partition.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct PartitionLine {
    /// Its number.
    pub partition: u16,
    /// Last position given: a record of the journal, or a block of the log in a shared store.
    pub ordered_lsn: u64,
    /// Last position durable.
    pub committed_lsn: u64,
    /// Last position in the store's tables.
    pub applied_lsn: u64,
    /// Chats it holds.
    pub chats: usize,
    /// Bytes in memory tables.
    pub memory_bytes: usize,
    /// Journal segments; 0 where there is no journal.
    pub journal_segments: usize,
    /// Sends are refused: a write failed, or the lease is over.
    pub poisoned: bool,
}
