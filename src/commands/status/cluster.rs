//! `shardwire status --cluster`: asks every node of the list over HTTP how it stands, all at once.
//!
//! What a node says comes from its `/readyz` and `/metrics`, so an older or newer node can be asked too: a figure that it does not have
//! is left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use fabric::time::{Clock as _, SystemClock};
use miette::{IntoDiagnostic as _, Result, miette};
use serde::Serialize;

use crate::cluster::{self, Node};
use crate::config::Config;
use crate::outbound;

/// A node that says nothing for so long is not there.
const SILENCE: Duration = Duration::from_secs(3);
/// Longest answer that is read, bytes: a node of 64 shards has less than 2 MB of metrics.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// A cluster's nodes, in the order of the list.
#[derive(Debug, Serialize)]
pub(super) struct ClusterStatus {
    nodes: Vec<NodeStatus>,
}

/// What one node says of itself.
#[derive(Debug, Default, Serialize)]
struct NodeStatus {
    name: String,
    roles: String,
    /// `ready`, why not, or why it cannot be asked.
    state: String,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_s: Option<u64>,
    /// Clients' sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<u64>,
    /// Sessions that it knows the place of, as a router.
    #[serde(skip_serializing_if = "Option::is_none")]
    routed_sessions: Option<u64>,
    /// Chats whose owner it is, by partition.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    owned_chats: BTreeMap<String, u64>,
    /// Bytes durable in its journals, or logs, but not yet in the tables of its store.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_lag_bytes: Option<u64>,
    /// Bytes that wait for links and for clients that read slowly.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_bytes: Option<u64>,
    /// Gaps since it was started: times that a session had to look again what it had missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    gaps: Option<u64>,
    /// Links from it and to it that stand, over all its shards.
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<(u64, u64)>,
    /// Its way to a store that is the commit: 0 closed, 1 half-open, 2 open.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_breaker: Option<u64>,
    /// Sends that are queued until the store answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued_sends: Option<u64>,
    /// Sends that will never be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters: Option<u64>,
}

/// Asks all nodes.
///
/// # Errors
/// There is no list, or it names no HTTP address.
pub(super) fn ask(config: &Config) -> Result<ClusterStatus> {
    let path = config.cluster.nodes_file.as_deref();
    let path =
        path.ok_or_else(|| miette!("which cluster? Name its list by --nodes, or cluster.nodes_file in --config"))?;
    let nodes = cluster::nodes_of(path)?;
    if nodes.iter().all(|node| node.http.is_none()) {
        return Err(miette!(
            "{}: no node says where its HTTP is; add http = \"http://ADDRESS:PORT\" to each [[node]]",
            path.display()
        ));
    }
    let nodes = std::thread::scope(|scope| {
        let asked: Vec<_> = nodes.iter().map(|node| scope.spawn(|| of_node(node))).collect();
        asked.into_iter().map(|asked| asked.join().map_err(|_| miette!("asking a node failed"))).collect::<Result<_>>()
    })?;
    Ok(ClusterStatus { nodes })
}

impl ClusterStatus {
    /// Whether every node serves.
    pub(super) fn all_ready(&self) -> bool {
        self.nodes.iter().all(|node| node.ready)
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let width = self.nodes.iter().map(|node| node.name.len()).max().unwrap_or(0).max(4);
        let roles = self.nodes.iter().map(|node| node.roles.len()).max().unwrap_or(0).max(5);
        let _ = writeln!(
            out,
            "{:width$}  {:roles$}  {:>8}  {:>9}  {:>9}  {:>10}  {:>9}  {:>9}  {:>6}  {:>9}  state",
            "node", "roles", "up", "sessions", "routed", "chats", "lag", "queued", "gaps", "links"
        );
        let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        let bytes = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), crate::backup::size);
        for node in &self.nodes {
            let chats = (!node.owned_chats.is_empty()).then(|| node.owned_chats.values().sum());
            let links = node.links.map_or_else(|| "-".to_owned(), |(from, to)| format!("{from}+{to}"));
            let _ = writeln!(
                out,
                "{:width$}  {:roles$}  {:>8}  {:>9}  {:>9}  {:>10}  {:>9}  {:>9}  {:>6}  {:>9}  {}",
                node.name,
                node.roles,
                node.uptime_s.map_or_else(|| "-".to_owned(), span),
                number(node.sessions),
                number(node.routed_sessions),
                number(chats),
                bytes(node.store_lag_bytes),
                bytes(node.queued_bytes),
                number(node.gaps),
                links,
                node.state,
            );
        }
        for node in self.nodes.iter().filter(|node| !node.owned_chats.is_empty()) {
            let partitions: Vec<_> = node.owned_chats.iter().map(|(part, chats)| format!("{part}: {chats}")).collect();
            let _ = writeln!(out, "{} owns partitions (chats) {}", node.name, partitions.join(", "));
        }
        for node in &self.nodes {
            let way = match node.store_breaker.unwrap_or(0) {
                0 => None,
                1 => Some("is tried again"),
                _ => Some("does not answer"),
            };
            let (queued, dead) = (node.queued_sends.unwrap_or(0), node.dead_letters.unwrap_or(0));
            if way.is_some() || queued + dead > 0 {
                let way = way.unwrap_or("answers");
                let _ = writeln!(out, "{}: its store {way}; sends queued: {queued}, dead letters: {dead}", node.name);
            }
        }
        out
    }
}

/// A time for people: its two largest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

fn of_node(node: &Node) -> NodeStatus {
    let (name, roles) = (node.name.clone(), node.roles.to_string());
    let Some(http) = &node.http else {
        let state = "not asked: the list does not say where its HTTP is".to_owned();
        return NodeStatus { name, roles, state, ..NodeStatus::default() };
    };
    match answers(http) {
        Ok((ready, readyz, metrics)) => {
            let state = if ready { "ready".to_owned() } else { readyz };
            NodeStatus { name, roles, state, ready, ..figures(&metrics) }
        }
        Err(error) => NodeStatus { name, roles, state: format!("{http}: {error}"), ..NodeStatus::default() },
    }
}

/// Whether a node is ready, what it says of that, and its metrics.
fn answers(http: &str) -> Result<(bool, String, String)> {
    let agent = outbound::agent(http, SILENCE).into_diagnostic()?;
    let get = |path: &str| {
        let mut answer = agent.get(format!("{}{path}", http.trim_end_matches('/'))).call().into_diagnostic()?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().into_diagnostic()?;
        Ok::<_, miette::Report>((status, text))
    };
    let (status, readyz) = get("/readyz")?;
    let (metrics_status, metrics) = get("/metrics")?;
    if !metrics_status.is_success() {
        return Err(miette!("/metrics answered {metrics_status}; if it has an address of its own, name that one"));
    }
    let readyz = readyz.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok((status.is_success(), readyz, metrics))
}

/// What of a node's metrics is shown.
fn figures(metrics: &str) -> NodeStatus {
    let samples: Vec<(&str, &str, f64)> = metrics.lines().filter_map(sample).collect();
    let sum = |name: &str| {
        let mut found = samples.iter().filter(|(of, ..)| of.strip_prefix("shardwire_") == Some(name)).peekable();
        found.peek()?;
        Some(found.map(|(.., value)| value).sum::<f64>() as u64)
    };
    let sums = |names: &[&str]| names.iter().map(|name| sum(name)).reduce(|a, b| Some(a? + b?)).flatten();
    let chats = samples.iter().filter(|(name, ..)| *name == "shardwire_storage_chats");
    let partition =
        |labels: &str| labels.split_once("partition=\"")?.1.split_once('"').map(|(number, _)| number.to_owned());
    // Where partitions move between writers, each knows the epoch under which it holds one, 0 once it does not.
    let moves = samples.iter().any(|(name, ..)| *name == "shardwire_storage_epoch");
    let epoch = |(name, labels, value): &(&str, &str, f64)| {
        (*name == "shardwire_storage_epoch").then(|| Some((partition(labels)?, *value))).flatten()
    };
    let epochs = moves.then(|| samples.iter().filter_map(epoch).collect::<BTreeMap<String, f64>>());
    let now_s = SystemClock.now().wall_ms() / 1_000;
    NodeStatus {
        uptime_s: sum("process_start_seconds").map(|started_s| now_s.saturating_sub(started_s)),
        sessions: sum("gateway_sessions"),
        routed_sessions: sum("router_sessions"),
        owned_chats: chats
            .filter_map(|(_, labels, value)| Some((partition(labels)?, *value as u64)))
            .filter(|(number, _)| {
                epochs.as_ref().is_none_or(|epochs| epochs.get(number).is_some_and(|epoch| *epoch > 0.0))
            })
            .collect(),
        store_lag_bytes: sum("storage_memory_bytes"),
        queued_bytes: sums(&["link_queued_bytes", "gateway_output_bytes"]),
        gaps: sums(&["gateway_gaps_total", "hub_gaps_total", "router_gaps_total"]),
        links: sum("links_up").zip(sum("links_heard")),
        store_breaker: sum("store_breaker"),
        queued_sends: sum("spool_waiting"),
        dead_letters: sum("spool_dead_letters"),
        ..NodeStatus::default()
    }
}

/// A line of the text format: name, labels, value. Not of a comment.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    let (series, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    Some((name, labels, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_figures_are_the_sums_of_its_shards_and_what_it_has_not_is_left_out() {
        let metrics = "# TYPE shardwire_gateway_sessions gauge\n\
            shardwire_gateway_sessions{shard=\"0\"} 3\nshardwire_gateway_sessions{shard=\"1\"} 4\n\
            shardwire_storage_chats{partition=\"0\"} 7\nshardwire_storage_chats{partition=\"1\"} 9\n\
            shardwire_links_up{shard=\"0\"} 2\nshardwire_links_heard{shard=\"0\"} 1\n\
            shardwire_gateway_gaps_total{shard=\"0\"} 1\nshardwire_hub_gaps_total{shard=\"0\"} 2\n# EOF\n";
        let found = figures(metrics);
        assert_eq!((found.sessions, found.routed_sessions, found.links), (Some(7), None, Some((2, 1))));
        let owned = [("0".to_owned(), 7), ("1".to_owned(), 9)];
        assert!(found.owned_chats.into_iter().eq(owned));
        assert_eq!(found.gaps, None, "a sum of what is not all there is none");
    }

    #[test]
    fn times_are_short() {
        let spans: Vec<_> = [5, 61, 3_700, 90_000].into_iter().map(span).collect();
        assert_eq!(spans, ["5 s", "1 m 1 s", "1 h 1 m", "1 d 1 h"]);
    }
}
