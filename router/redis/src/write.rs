//! Batches: the changes of some hundred users, a pipeline to each node that has some of them.

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError};
use router::{Change, Registration};
use tokio::task::JoinSet;

use crate::names::{connection, online, session};
use crate::nodes::Nodes;

/// Users in a batch.
pub const BATCH: usize = 512;
/// A session that is not written again counts for so long, s: twelve rounds.
pub const CONNECTION_TTL_S: u32 = 120;
/// A user without a session that is written again is online for so long, s.
pub const ONLINE_TTL_S: u32 = 30;

/// What became of a batch.
#[derive(Default)]
pub struct Written {
    /// Users who are written.
    pub users: usize,
    /// Whoever may not be.
    pub failed: Vec<Change>,
}

/// Writes what `writer` knows of these users. A node that does not take all of it counts as lost.
pub async fn write(nodes: &mut Nodes, writer: &str, batch: Vec<Change>) -> Written {
    let mut written = Written::default();
    let mut shares: Vec<(usize, Vec<Change>)> = Vec::new();
    for change in batch {
        let Some(place) = nodes.place_of(change.user) else {
            written.failed.push(change);
            continue;
        };
        match shares.iter_mut().find(|(of, _)| *of == place) {
            Some((_, share)) => share.push(change),
            None => shares.push((place, vec![change])),
        }
    }
    let mut under_way = JoinSet::new();
    for (place, share) in shares {
        let Some(connection) = nodes.connection(place) else {
            written.failed.extend(share);
            continue;
        };
        let pipeline = pipeline(nodes.script(), writer, &share);
        under_way.spawn(async move { (place, share, send(connection, pipeline).await) });
    }
    while let Some(done) = under_way.join_next().await {
        // A panic of the driver ends this thread too.
        let (place, share, result) = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match result {
            Ok(()) => written.users += share.len(),
            Err(error) => {
                nodes.lost(place, &error);
                written.failed.extend(share);
            }
        }
    }
    written
}

async fn send(mut connection: MultiplexedConnection, pipeline: Pipeline) -> Result<(), RedisError> {
    pipeline.exec_async(&mut connection).await
}

fn pipeline(script: &str, writer: &str, share: &[Change]) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(share.len());
    for Change { user, sessions, removed } in share {
        let command = pipeline.cmd("EVALSHA").arg(script).arg(2).arg(connection(*user)).arg(online(*user));
        command.arg(CONNECTION_TTL_S).arg(ONLINE_TTL_S).arg(sessions.len());
        let mut add = |registration: &Registration| {
            command.arg(registration.device.0).arg(session(registration, writer));
        };
        sessions.iter().for_each(&mut add);
        removed.iter().for_each(&mut add);
        command.ignore();
    }
    pipeline
}
