//! `GET /api/v1/console`: everything the operators' page draws, as one snapshot. Counts run since the start; whoever asks
//! again takes differences.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use gateway::GatewayMetrics;
use prometheus_client::registry::Registry;
use schema::errors::{ErrorCode, TABLE};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::input::Caller;
use super::problem::{Problem, ProblemBody};
use crate::state::ServerState;

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Console {
    /// Of the server.
    pub version: String,
    /// Since the start, s.
    pub uptime_s: u64,
    /// `ready`, or why not.
    pub readiness: String,
    /// What moves its sockets: `io_uring` or `epoll`, and how.
    pub driver: String,
    /// Connection threads, by number.
    pub shards: Vec<ShardFigures>,
    /// From a send's arrival to its acknowledgement, sampled, all shards.
    pub ack_seconds: Latency,
    /// Owner partitions.
    pub partitions: Vec<PartitionFigures>,
    /// Answers that were errors, by their code.
    pub errors: BTreeMap<String, u64>,
}

/// One connection thread.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShardFigures {
    /// Its number.
    pub shard: usize,
    /// Open now.
    pub connections: i64,
    /// Authenticated now.
    pub sessions: i64,
    /// Sends passed to owners.
    pub messages_in: u64,
    /// Entries pushed to sessions.
    pub messages_out: u64,
    /// Times a session's output passed its limit.
    pub slow_readers: u64,
    /// Bytes waiting to be written now.
    pub output_bytes: i64,
}

/// How long something took, by class.
#[derive(Debug, Serialize, ToSchema)]
pub struct Latency {
    /// Each class's upper bound in s (null: none), and how many were at or below it.
    pub buckets: Vec<(Option<f64>, u64)>,
    /// How many in all.
    pub count: u64,
}

/// One owner partition. Positions are LSNs of its journal.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartitionFigures {
    /// Its number.
    pub partition: u16,
    /// The last given.
    pub ordered_lsn: u64,
    /// The last that is durable.
    pub committed_lsn: u64,
    /// The last that is in the store.
    pub applied_lsn: u64,
    /// Sends and reads that wait.
    pub queued: usize,
    /// Chats it holds.
    pub chats: usize,
    /// Bytes in memory tables.
    pub memory_bytes: usize,
    /// Journal segments.
    pub journal_segments: usize,
    /// Sends are refused after a failed write.
    pub poisoned: bool,
}

/// How the server is, at this moment
///
/// For operators: the token must carry the claim `adm` (`shardwire token --admin`).
#[utoipa::path(
    get,
    path = "/api/v1/console",
    operation_id = "console",
    security(("token" = [])),
    responses(
        (status = 200, description = "A snapshot", body = Console),
        (status = "default", description = "None", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn console(State(app): State<App>, Caller(identity): Caller) -> Result<Json<Console>, Problem> {
    if !identity.admin {
        return Err(Problem::of(
            ErrorCode::Forbidden,
            "this is for operators: `shardwire token --admin` makes a token",
        ));
    }
    Ok(Json(snapshot(&app.0.state)))
}

fn snapshot(state: &ServerState) -> Console {
    let status = state.status();
    Console {
        version: status.version,
        uptime_s: status.uptime_s,
        readiness: status.readiness,
        driver: status.driver,
        shards: state.gateways().iter().enumerate().map(shard).collect(),
        ack_seconds: latency(state.gateways()),
        partitions: partitions(state),
        errors: errors(state),
    }
}

fn shard((shard, metrics): (usize, &GatewayMetrics)) -> ShardFigures {
    ShardFigures {
        shard,
        connections: metrics.connections.get(),
        sessions: metrics.sessions.get(),
        messages_in: metrics.sends.get(),
        messages_out: metrics.entries_live.get() + metrics.entries_synced.get(),
        slow_readers: metrics.slow_readers.get(),
        output_bytes: metrics.output_bytes.get(),
    }
}

/// Sums the shards' histograms. Their text is the only way to read them.
fn latency(gateways: &[GatewayMetrics]) -> Latency {
    let mut registry = Registry::default();
    for (number, metrics) in gateways.iter().enumerate() {
        let own = registry.sub_registry_with_label(("shard".into(), number.to_string().into()));
        own.register("ack_seconds", "", metrics.ack_seconds.clone());
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    let mut buckets: Vec<(Option<f64>, u64)> = Vec::new();
    for (bound, count) in text.lines().filter_map(bucket) {
        match buckets.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, sum)) => *sum += count,
            None => buckets.push((bound, count)),
        }
    }
    Latency { count: buckets.last().map_or(0, |&(_, all)| all), buckets }
}

/// Bound and count of a line such as `ack_seconds_bucket{le="0.001",shard="0"} 12`.
fn bucket(line: &str) -> Option<(Option<f64>, u64)> {
    let labels = line.strip_prefix("ack_seconds_bucket{")?;
    let (_, from_bound) = labels.split_once("le=\"")?;
    let (bound, _) = from_bound.split_once('"')?;
    let count = line.rsplit_once(' ')?.1.parse().ok()?;
    Some((bound.parse::<f64>().ok().filter(|bound| bound.is_finite()), count))
}

fn partitions(state: &ServerState) -> Vec<PartitionFigures> {
    let figures = |status: storage_writer::partition::PartitionStatus| PartitionFigures {
        partition: status.partition,
        ordered_lsn: status.ordered_lsn,
        committed_lsn: status.committed_lsn,
        applied_lsn: status.applied_lsn,
        queued: status.waiting_sends + status.waiting_reads,
        chats: status.chats,
        memory_bytes: status.memory_bytes,
        journal_segments: status.journal_segments,
        poisoned: status.poisoned,
    };
    state.partitions().into_iter().map(figures).collect()
}

/// What owners and gateways refused, by code.
fn errors(state: &ServerState) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    let mut add = |code: ErrorCode, count: u64| {
        if count > 0 {
            *errors.entry(code.info().name.to_owned()).or_insert(0) += count;
        }
    };
    for metrics in state.storage() {
        TABLE.iter().for_each(|row| add(row.code, metrics.refused_count(row.code)));
    }
    for metrics in state.gateways() {
        for (code, count) in refused(metrics) {
            add(code, count);
        }
    }
    errors
}

/// What a gateway shard refuses by itself.
fn refused(metrics: &GatewayMetrics) -> [(ErrorCode, u64); 13] {
    [
        (ErrorCode::MalformedFrame, metrics.malformed_frames.get()),
        (ErrorCode::FrameTooLarge, metrics.oversized_frames.get()),
        (ErrorCode::InvalidField, metrics.invalid_events.get()),
        (ErrorCode::Unsupported, metrics.unsupported_events.get()),
        (ErrorCode::BadToken, metrics.auth_failures.get()),
        (ErrorCode::AuthTimeout, metrics.auth_timeouts.get()),
        (ErrorCode::Unauthenticated, metrics.unauthenticated.get()),
        (ErrorCode::IdleTimeout, metrics.idle_timeouts.get()),
        (ErrorCode::TooManyConnections, metrics.connections_refused.get()),
        (ErrorCode::WindowExceeded, metrics.refused_window.get()),
        (ErrorCode::RateLimited, metrics.refused_rate.get()),
        (ErrorCode::AfterRefused, metrics.refused_after_refused.get()),
        (ErrorCode::Overloaded, metrics.refused_no_credit.get()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_of_shards_are_summed_class_by_class() {
        let shards = [GatewayMetrics::new(), GatewayMetrics::new()];
        for (metrics, seconds) in [(0, 0.000_04), (0, 0.000_3), (1, 0.000_3), (1, 1e6)] {
            let metrics: usize = metrics;
            shards[metrics].ack_seconds.observe(seconds);
        }
        let Latency { buckets, count } = latency(&shards);
        assert_eq!(count, 4);
        assert_eq!(buckets.first(), Some(&(Some(0.000_05), 1)));
        assert_eq!(buckets.last(), Some(&(None, 4)));
        let up_to = |bound: f64| buckets.iter().find(|(own, _)| own.is_some_and(|own| own >= bound)).map(|&(_, n)| n);
        assert_eq!((up_to(0.000_2), up_to(0.000_4)), (Some(1), Some(3)));
        assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{buckets:?}");
    }
}
