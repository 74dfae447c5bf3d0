//! What a gateway shard counts. Every guard has a counter, so that a simulation can show that it fired.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use schema::envelope::Stages;

/// The ways between the stages of [`Stages`], in order. A shard reads its clock once a wake, so a way inside one is 0.
pub const STAGES: [&str; 4] =
    ["accepted_to_ordered", "ordered_to_committed", "committed_to_routed", "routed_to_written"];

macro_rules! counters {
    ($($name:ident: $help:literal,)*) => {
        /// A gateway shard's metrics. Clones share their numbers.
        #[derive(Clone, Debug)]
        pub struct GatewayMetrics {
            $(#[doc = $help] pub $name: Counter,)*
            /// Connections open now.
            pub connections: Gauge,
            /// Sessions registered now.
            pub sessions: Gauge,
            /// Bytes waiting to be written, all connections.
            pub output_bytes: Gauge,
            /// From a send's arrival to its push to a receiver, seconds; sampled.
            pub delivery_seconds: Histogram,
            /// From a send's arrival to its acknowledgement, seconds; sampled.
            pub ack_seconds: Histogram,
            /// The stages of what [`Self::delivery_seconds`] counts, as [`STAGES`] names them, seconds.
            pub stage_seconds: [Histogram; STAGES.len()],
        }

        impl GatewayMetrics {
            /// All at 0.
            pub fn new() -> Self {
                Self {
                    $($name: Counter::default(),)*
                    connections: Gauge::default(),
                    sessions: Gauge::default(),
                    output_bytes: Gauge::default(),
                    delivery_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
                    ack_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
                    stage_seconds: STAGES.map(|_| Histogram::new(exponential_buckets(0.000_005, 2.0, 20))),
                }
            }

            /// Registers all under `gateway_…`, and the stages as `stage_seconds`.
            pub fn register(&self, registry: &mut Registry) {
                for (stage, seconds) in STAGES.iter().zip(&self.stage_seconds) {
                    let registry = registry.sub_registry_with_label(("stage".into(), (*stage).into()));
                    registry.register("stage_seconds", "Between two stages of a message's way, sampled", seconds.clone());
                }
                let registry = registry.sub_registry_with_prefix("gateway");
                $(registry.register(stringify!($name), $help, self.$name.clone());)*
                registry.register("connections", "Connections open now", self.connections.clone());
                registry.register("sessions", "Sessions registered now", self.sessions.clone());
                registry.register("output_bytes", "Bytes waiting to be written", self.output_bytes.clone());
                let help = "From a send's arrival to its push to a receiver, sampled";
                registry.register("delivery_seconds", help, self.delivery_seconds.clone());
                let help = "From a send's arrival to its acknowledgement, sampled";
                registry.register("ack_seconds", help, self.ack_seconds.clone());
            }

            /// A sampled message was handed to its receiver's connection at `now_ns`; every stage it passed has its time.
            pub fn observe_stages(&self, now_ns: u64, stages: &Stages) {
                let times = [stages.accepted, stages.ordered, stages.committed, stages.routed, now_ns];
                for (seconds, ends) in self.stage_seconds.iter().zip(times.windows(2)) {
                    seconds.observe(ends[1].saturating_sub(ends[0]) as f64 / 1e9);
                }
            }

            /// Every counter by name: for simulations and tests.
            pub fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

counters! {
    connections_accepted: "Connections accepted",
    connections_refused: "Connections refused at the connection limit",
    connections_closed: "Connections closed",
    sessions_started: "Sessions authenticated",
    sessions_replaced: "Sessions ended by a newer one of their device",
    sessions_expired: "Sessions closed because their token ended",
    sessions_revoked: "Sessions closed because their user or device was revoked",
    auth_failures: "Tokens refused",
    strangers_refused: "Connections closed because their address had brought too many tokens that were refused",
    wrong_identities: "Connections closed because their token was another user's or device's than they said",
    logins_queued: "Tokens that waited for a later turn, because many came at once",
    logins_refused: "Connections closed because too many tokens waited",
    auth_timeouts: "Connections closed because no authentication came in time",
    unauthenticated: "Connections closed because they sent something before authenticating",
    register_timeouts: "Sessions closed because the router did not answer",
    account_timeouts: "Sessions closed because the owner of their user's account did not answer",
    receipts_veiled: "Read receipts given as delivered ones, to users who tell nobody what they read",
    upgrade_failures: "WebSocket upgrades refused",
    idle_timeouts: "Sessions closed because nothing came",
    stuck_readers: "Sessions closed because their output did not move",
    owners_lost: "Partitions the way to whose owner was lost",
    sent_back: "Sessions told to come back and send again, because the way to an owner was lost",
    answers_of_before: "Answers to sends of before the way to their owner was lost",
    router_changes: "Times sessions had to register again because their router is another one",
    registered_again: "Registrations sent again for them",
    epochs_raised: "Sessions that took a higher epoch because another gateway's clock was ahead",
    holds: "Times sessions were held because the storage-writer was being started anew",
    held: "Sessions that had something to say meanwhile",
    holds_overdue: "Times they went on because it did not come back in time",
    sent_away: "Connections told to go because the server stops",
    drain_waits: "Sessions that waited for answers before they were told to go",
    drained_unanswered: "Of these, sessions that owners had not answered in time",
    frames_in: "Frames and events received",
    bytes_in: "Bytes received",
    bytes_out: "Bytes written",
    malformed_frames: "Frames and events that were malformed",
    oversized_frames: "Frames above the frame limit",
    invalid_events: "Events with an invalid field",
    unsupported_events: "Events of a type not supported",
    sends: "Sends passed to owners",
    sent: "Sends acknowledged",
    queued: "Sends acknowledged as queued: the store is away",
    settled: "Of these, sends acknowledged as sent later",
    refused_by_owner: "Sends refused by owners",
    refused_window: "Sends refused because the session's window was full",
    refused_rate: "Sends refused because the user's rate was exceeded",
    refused_after_refused: "Sends refused because an earlier one to the chat was",
    refused_no_credit: "Sends refused after waiting for a credit",
    credit_waits: "Connections paused because a partition had no credit",
    refusals_forgotten: "Refusals that owners were told to forget",
    marks: "Watermarks passed to owners",
    marks_ahead: "Watermarks that made a sync shorter: of entries that an earlier session had pushed",
    marks_behind: "Watermarks of devices that come back which are below what owners took for acknowledged",
    marks_clamped: "Watermarks above what was pushed, clamped",
    marks_unresolved: "Watermarks of messages that were not pushed recently, without a chat",
    entries_live: "Entries pushed as they happened",
    entries_synced: "Entries pushed from pages",
    entries_own: "Entries skipped because the session sent them itself",
    entries_duplicate: "Entries dropped because the session had them",
    entries_missed: "Live entries dropped because one before them is missing",
    entries_held_back: "Live entries dropped because the reader is slow",
    entries_expired: "Ranges of expired entries told to sessions",
    entries_unreadable: "Entries that could not be put into JSON",
    receipts: "Receipts pushed",
    receipts_dropped: "Receipts dropped because the reader is slow",
    slow_readers: "Times a session's output passed its limit",
    reads_paused: "Times a connection's reads were paused because it does not read its answers",
    cursors_evicted: "Cursors forgotten because a session had too many",
    nudges: "Sessions resynced by a nudge",
    gaps: "Sessions resynced by a gap",
    syncs_started: "Syncs started",
    syncs_completed: "Syncs completed",
    sync_pages: "Pages of chats asked for by syncs",
    sync_retries: "Sync requests repeated because no usable answer came",
    sync_overflows: "Sync sets that were full, so that the sync starts again",
    pages_stale: "Pages that came too late or did not fit",
    history_requests: "History pages asked for by clients",
    asks: "Questions of clients about chats and messages",
    history_refused: "History pages refused because too many were asked for",
    stale_addresses: "Envelopes for connections that are gone",
    foreign_addresses: "Envelopes for another incarnation or shard",
}

impl Default for GatewayMetrics {
    fn default() -> Self {
        Self::new()
    }
}
