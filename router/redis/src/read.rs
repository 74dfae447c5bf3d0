//! Reading back: what the routers before have written of this one's users, when it starts.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, cmd};
use router::MemoryDirectory;
use schema::ids::UserId;

use crate::MirrorMetrics;
use crate::names::{CONNECTION_PATTERN, connection, parse, user_of};
use crate::nodes::Nodes;

/// Keys looked at in one step of a SCAN: a millisecond of Redis' time.
const KEYS_A_STEP: usize = 1_000;
/// Reading ends after so long, whatever is left.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// Who reads back what.
pub struct Readers {
    /// Whether a user is this router's.
    pub owns: Box<dyn Fn(UserId) -> bool + Send + Sync>,
    /// Incarnations of the gateways that are heard now.
    pub heard: Box<dyn Fn() -> Vec<u64> + Send + Sync>,
}

/// Reads every node's share; what cannot be read is said and left out.
pub async fn read_back(nodes: &Nodes, directory: &MemoryDirectory, readers: &Readers, metrics: &MirrorMetrics) {
    let all = async {
        for (_, connection) in nodes.connections() {
            if let Err(error) = read_node(connection, directory, readers, metrics).await {
                tracing::warn!(%error, "the directory in Redis was not read to its end");
            }
        }
    };
    if tokio::time::timeout(READ_WITHIN, all).await.is_err() {
        tracing::warn!("the directory in Redis was not read to its end within {} s", READ_WITHIN.as_secs());
    }
    tracing::info!(sessions = metrics.read_back.get(), "the directory was read back from Redis");
}

async fn read_node(
    mut from: MultiplexedConnection,
    directory: &MemoryDirectory,
    readers: &Readers,
    metrics: &MirrorMetrics,
) -> Result<(), RedisError> {
    let (now_s, _): (u64, u64) = cmd("TIME").query_async(&mut from).await?;
    let mut cursor = 0;
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(CONNECTION_PATTERN).arg("COUNT").arg(KEYS_A_STEP);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut from).await?;
        let users = keys.iter().filter_map(|key| user_of(key)).filter(|&user| (readers.owns)(user));
        let users: Vec<UserId> = users.collect();
        for (user, fields) in users.iter().zip(fields(&mut from, &users).await?) {
            for found in fields.iter().filter_map(|(field, value)| parse(field, value, now_s)) {
                metrics.read_back.inc_by(u64::from(directory.restore(*user, found)));
            }
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

async fn fields(
    from: &mut MultiplexedConnection,
    users: &[UserId],
) -> Result<Vec<BTreeMap<String, String>>, RedisError> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = Pipeline::with_capacity(users.len());
    for &user in users {
        pipeline.cmd("HGETALL").arg(connection(user));
    }
    pipeline.query_async(from).await
}
