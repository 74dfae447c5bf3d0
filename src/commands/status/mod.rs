//! `shardwire status`: asks a running server how it stands, or all nodes of a cluster.

mod cluster;

use std::fmt::Write as _;

use gateway::auth::revoked::Revocation;
use miette::{Result, miette};

use self::cluster::ClusterStatus;
use crate::admin;
use crate::cli::StatusArgs;
use crate::node::NodeLine;
use crate::status::Status;

/// Prints the status on stdout.
///
/// # Errors
/// When no server answers; of a cluster, when a node is not ready.
pub fn run(args: &StatusArgs) -> Result<()> {
    let mut config = args.server.load()?;
    if args.cluster {
        config.cluster.nodes_file = args.nodes.clone().or(config.cluster.nodes_file);
        let status = cluster::ask(&config)?;
        super::print_answer(&status, args.json, ClusterStatus::text)?;
        return if status.all_ready() { Ok(()) } else { Err(miette!("not every node is ready")) };
    }
    let status: Status = admin::ask(&config.server.data, "status")?;
    super::print_answer(&status, args.json, text)
}

/// Revocations shown as text.
const REVOKED_SHOWN: usize = 10;

fn text(status: &Status) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "shardwire {}, pid {}, up {} s: {}",
        status.version, status.pid, status.uptime_s, status.readiness
    );
    let _ = writeln!(out, "native {}  ws {}  http {}  driver {}", status.native, status.ws, status.http, status.driver);
    let _ = writeln!(out, "{} connections, {} sessions, {} shards", status.connections, status.sessions, status.shards);
    let _ = writeln!(out, "partition      ordered    committed      applied     chats    memory  segments");
    for line in &status.partitions {
        let _ = writeln!(
            out,
            "{:9} {:12} {:12} {:12} {:9} {:6} MB {:9}{}",
            line.partition,
            line.ordered_lsn,
            line.committed_lsn,
            line.applied_lsn,
            line.chats,
            line.memory_bytes >> 20,
            line.journal_segments,
            if line.poisoned { "  refusing sends: nothing can be made durable" } else { "" }
        );
    }
    for NodeLine { name, roles, address, links_out, links_in, refused } in &status.nodes {
        let refused = refused.as_deref().map(|why| format!("  refused: {why}")).unwrap_or_default();
        let _ =
            writeln!(out, "node {name} ({roles}) at {address}: {links_out} links to it, {links_in} from it{refused}");
    }
    let keys = if status.development_key { "the development key".to_owned() } else { status.keys.join(", ") };
    let _ = writeln!(out, "tokens are verified with: {keys}");
    for Revocation { user, device, at_s } in status.revoked.iter().take(REVOKED_SHOWN) {
        let device = device.map_or("every device".to_owned(), |device| format!("device {device}"));
        let _ = writeln!(out, "revoked: user {user}, {device}: tokens issued until {at_s} s since 1970");
    }
    let more = status.revoked.len().saturating_sub(REVOKED_SHOWN);
    if more > 0 {
        let _ = writeln!(out, "revoked: {more} more, with --json");
    }
    out
}
