//! What a gateway shard is told at its start.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fabric::net::proxy::Trusted;
use fabric::time::Now;
use fabric::trace::Spans;

use crate::strangers::Strangers;

/// Bounds of connections and sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest frame a client may send, size prefix included, bytes. At least 1,024.
    pub frame_limit_bytes: u32,
    /// Sends a session may have unanswered. At least 1.
    pub in_flight_per_session: u32,
    /// Sends a user may make a second, as told in Welcome; 0 = unlimited. [`crate::rates::UserRates`] enforces it.
    pub sends_per_second_per_user: u32,
    /// Sends a user may make at once, as told in Welcome; 0 = unlimited. [`crate::rates::UserRates`] enforces it.
    pub burst_per_user: u32,
    /// A session from which nothing came for so long is closed, ms.
    pub idle_timeout_ms: u32,
    /// How often clients are asked to ping, ms.
    pub ping_interval_ms: u32,
    /// A connection that has not authenticated after so long is closed, ms.
    pub auth_timeout_ms: u32,
    /// Output a session may have waiting before pushes to it stop, bytes. They go on under half of it.
    pub out_buffer_bytes: u32,
    /// Chats a session keeps a cursor for. At least 16.
    pub cursors_per_session: u32,
    /// Connections of this shard.
    pub max_connections: u32,
    /// When the server stops, clients come back within so long of each other, ms: later, or at another gateway.
    pub drain_spread_ms: u32,
    /// Sessions of this shard that are told in a second to go to another gateway, on average; 0 = as the spread says.
    pub drain_per_second: u32,
    /// A session that is to go waits so long for answers to its sends, ms.
    pub drain_patience_ms: u32,
    /// Sessions are held for so long at most while the owners' node is started anew on purpose, ms; 0 = not at all.
    pub hold_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        use schema::limits as l;
        Self {
            frame_limit_bytes: l::FRAME_LIMIT_BYTES as u32,
            in_flight_per_session: l::IN_FLIGHT_PER_SESSION,
            sends_per_second_per_user: l::SENDS_PER_SECOND_PER_USER,
            burst_per_user: l::BURST_PER_USER,
            idle_timeout_ms: l::IDLE_TIMEOUT_MS,
            ping_interval_ms: l::PING_INTERVAL_MS,
            auth_timeout_ms: l::AUTH_TIMEOUT_MS,
            out_buffer_bytes: 256 * 1024,
            cursors_per_session: 1_024,
            max_connections: 1 << 20,
            drain_spread_ms: 5_000,
            drain_per_second: 0,
            drain_patience_ms: 2_000,
            hold_ms: 8_000,
        }
    }
}

/// Where session epochs come from: one for a host, shared by its shards, so that a device's newer session has the higher
/// epoch whichever shards its sessions are on, also when the wall clock steps back.
#[derive(Debug, Default)]
pub struct Epochs(AtomicU64);

impl Epochs {
    /// The next epoch: (wall ms << 20) or one more than the last, whichever is higher. Any thread.
    pub fn next(&self, now: Now) -> u64 {
        self.at_least(now.wall_ms() << 20)
    }

    /// The next epoch, above `other`, which another host with a clock that is ahead has given. Later ones here are higher
    /// still. Any thread.
    pub fn above(&self, now: Now, other: u64) -> u64 {
        self.at_least(other.saturating_add(1).max(now.wall_ms() << 20))
    }

    fn at_least(&self, floor: u64) -> u64 {
        let step = |last: u64| Some((last + 1).max(floor));
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap_or_default();
        (last + 1).max(floor)
    }
}

/// Which messages are traced, and where their spans go.
#[derive(Clone, Debug)]
pub struct Traces {
    /// One of so many; at least 1.
    pub every: u32,
    /// For all of the process.
    pub spans: Spans,
}

/// What a [`crate::Shard`] is told at its start.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// This shard's number, as in addresses.
    pub shard: u16,
    /// The gateway's incarnation, as in addresses: drawn at its start, not 0.
    pub incarnation: u64,
    /// Seed of every map of the shard.
    pub hash_seed: u64,
    /// Owner partitions there are: credits are counted for each.
    pub partitions: u16,
    /// See [`Limits`].
    pub limits: Limits,
    /// Sends this shard may have unanswered at each owner partition. At least 1.
    pub credits_per_partition: u32,
    /// Hosts, besides the listener's own, that Host and Origin of an upgrade may name.
    pub allowed_hosts: Vec<String>,
    /// Addresses the WebSocket listener is bound to, with their real ports; see also [`crate::Shard::listening`].
    pub listeners: Vec<SocketAddr>,
    /// Told to clients in Welcome: changes with every start of the server.
    pub server_incarnation: u64,
    /// Which messages are traced; `None`: none.
    pub traces: Option<Traces>,
    /// Whose word about a client's address counts.
    pub trusted: Trusted,
    /// How often one address may bring tokens that are refused; shared by all shards of the host.
    pub strangers: Arc<Strangers>,
    /// Shared by all shards of the host.
    pub epochs: Arc<Epochs>,
}

impl Default for ShardConfig {
    /// Shard 0 of a host with one partition.
    fn default() -> Self {
        Self {
            shard: 0,
            incarnation: 1,
            hash_seed: 0,
            partitions: 1,
            limits: Limits::default(),
            credits_per_partition: 8_192,
            allowed_hosts: Vec::new(),
            listeners: Vec::new(),
            server_incarnation: 1,
            traces: None,
            trusted: Trusted::default(),
            strangers: Arc::new(Strangers::new(0, 0)),
            epochs: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_rise_when_the_wall_clock_steps_back() {
        let epochs = Epochs::default();
        let at = |wall_ms: u64| Now { mono_ns: 1, wall_ticks: wall_ms * 10_000 };
        let first = epochs.next(at(1_000));
        assert_eq!(first, 1_000 << 20);
        let second = epochs.next(at(10));
        assert!(second > first);
        assert!(epochs.next(at(1_000)) > second);
        assert_eq!(epochs.next(at(2_000)), 2_000 << 20);
        let ahead = 5_000 << 20;
        assert_eq!(epochs.above(at(2_001), ahead), ahead + 1);
        assert_eq!(epochs.next(at(2_002)), ahead + 2, "what is given later is newer");
        assert_eq!(epochs.above(at(6_000), ahead), 6_000 << 20);
    }
}
