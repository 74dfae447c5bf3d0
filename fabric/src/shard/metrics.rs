//! What a shard's skin counts.

use std::cell::Cell;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Driver;

macro_rules! shard_metrics {
    ($(#[$doc:meta] $field:ident: $name:literal, $help:literal);+ $(;)?) => {
        /// A shard's counters, shared between its thread and whoever shows them.
        #[derive(Clone, Debug, Default)]
        pub struct ShardMetrics {
            $(#[$doc] pub $field: Counter,)+
            /// Sockets open now.
            pub sockets: Gauge,
        }

        impl ShardMetrics {
            /// All zero.
            pub fn new() -> Self {
                Self::default()
            }

            /// Names them in `registry`, with the driver in use as an info metric.
            pub fn register(&self, driver: Driver, registry: &mut Registry) {
                $(registry.register($name, $help, self.$field.clone());)+
                registry.register("sockets", "Sockets open now", self.sockets.clone());
                registry.register("shard_driver", "How the shard talks to the kernel", Info::new([("driver", driver.name())]));
            }
        }

        /// The same, counted on the shard's own thread and added up once a turn.
        #[derive(Debug, Default)]
        pub(super) struct Tally {
            $(pub(super) $field: Cell<u64>,)+
        }

        impl Tally {
            pub(super) fn add_to(&self, metrics: &ShardMetrics) {
                $(
                    let count = self.$field.take();
                    if count > 0 {
                        metrics.$field.inc_by(count);
                    }
                )+
            }
        }
    };
}

shard_metrics! {
    /// Turns of the loop.
    turns: "turns", "Turns of the shard's loop";
    /// Wakes by other threads.
    wakes: "wakes", "Wakes of the shard by other threads";
    /// Connections accepted.
    accepted: "accepted", "Connections accepted";
    /// Accepts that failed (no descriptors, aborted by the peer).
    accept_errors: "accept_errors", "Accepts that failed";
    /// Connections the core refused.
    refused: "accept_refused", "Connections refused at once";
    /// Connections made to other nodes.
    connects: "connects", "Connections made to other nodes";
    /// Those that could not be made.
    connect_errors: "connect_errors", "Connections to other nodes that could not be made";
    /// Reads from sockets.
    reads: "socket_reads", "Reads from sockets";
    /// Bytes read from sockets.
    bytes_in: "socket_read_bytes", "Bytes read from sockets";
    /// Writes to sockets.
    writes: "socket_writes", "Writes to sockets";
    /// Bytes written to sockets.
    bytes_out: "socket_written_bytes", "Bytes written to sockets";
    /// TLS handshakes that ended well.
    tls_handshakes: "tls_handshakes", "TLS handshakes that ended well";
    /// Those that took up an earlier session.
    tls_resumed: "tls_resumed", "TLS handshakes that took up an earlier session";
    /// Handshakes that failed.
    tls_failures: "tls_handshake_failures", "TLS handshakes that failed";
    /// Connections that did not speak TLS to a listener that does.
    tls_plain: "tls_plain_connections", "Connections closed because they did not speak TLS";
    /// Connections that broke the protocol after their handshake.
    tls_errors: "tls_errors", "Connections closed because they broke TLS after their handshake";
    /// Connections that ended without a close notify.
    tls_truncated: "tls_truncated", "TLS connections that ended without a close notify";
    /// Journal blocks written.
    journal_writes: "journal_writes", "Journal blocks written";
    /// Bytes of journal blocks.
    journal_bytes: "journal_written_bytes", "Bytes of journal blocks written, padding included";
    /// Journal writes that failed.
    journal_errors: "journal_write_errors", "Journal writes that failed";
    /// Jobs handed to background threads.
    jobs: "jobs", "Jobs handed to background threads";
}

/// Adds to a cell of a [`Tally`].
pub(super) fn count(cell: &Cell<u64>, by: u64) {
    cell.set(cell.get() + by);
}
