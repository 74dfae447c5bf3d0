//! The shape of one shard: a sans-IO core that a skin drives.
//!
//! The real skin ([`crate::shard`]) drives a core with sockets, files and threads; the simulator drives the same core with
//! simulated ones. One thread owns a core; nothing in it blocks.

use std::io;
use std::net::SocketAddr;

use crate::disk::BlockWrite;
use crate::net::resolve::Target;
use crate::time::Now;

/// A connection's place in its shard's table. Generations tell a reused place from the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// The place.
    pub index: u32,
    /// How often it has been used before.
    pub generation: u32,
}

/// What a listener speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Protocol {
    /// Size-prefixed FlatBuffers over TCP.
    Native,
    /// HTTP/1.1 upgraded to WebSocket.
    WebSocket,
    /// Another node of the cluster ([`crate::link`]). Never behind the clients' TLS.
    Link,
}

/// What a core wants done. Taken with [`Core::next_action`] until it returns `None`, once a turn.
#[derive(Debug)]
pub enum Action {
    /// The connection has output: call [`Core::take_output`] unless a write is in flight (then after it completes).
    Flush(ConnId),
    /// Stop reading this socket until `Resume`.
    Pause(ConnId),
    /// Read it again.
    Resume(ConnId),
    /// Write out what [`Core::take_output`] gives, then close. The core has already forgotten the connection when the
    /// skin reports nothing more about it; the skin still calls [`Core::closed`] once.
    Close(ConnId),
    /// Connect to another node, over TCP without TLS. The core has chosen the place; it hears [`Core::connected`] or, when
    /// that failed, [`Core::closed`]. A `Close` before either gives up.
    Connect {
        /// The connection's place, free until now.
        conn: ConnId,
        /// Where to; a name is looked up first.
        target: Target,
    },
    /// Write a journal block, durable, then call [`Core::write_done`]. `journal` says which of the shard's journals.
    Write {
        /// Index of the shard's journal (one an owner partition).
        journal: u16,
        /// What, and where.
        write: BlockWrite,
    },
}

/// Which background thread a job runs on: reads never wait behind an apply, nor commits behind reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum JobQueue {
    /// Flushes, segments, recovery: long, one at a time a process.
    Apply,
    /// Reads of history and dedupe: short.
    Read,
    /// Commits into a store that is another process: acks wait for them, each waits for the network.
    Commit,
    /// Writes to this host's disk that must not wait behind a store that is away.
    Spool,
}

/// One shard, without its I/O.
pub trait Core {
    /// Work that blocks, done on a background thread.
    type Job: Send + 'static;
    /// Its result.
    type JobDone: Send + 'static;

    /// Every listener is bound, to these addresses (with real ports). Called once, before the first connection.
    fn listening(&mut self, addresses: &[(Protocol, SocketAddr)]) {
        let _ = addresses;
    }

    /// A connection was accepted. `None` refuses it (it is closed at once).
    fn accepted(&mut self, now: Now, protocol: Protocol, peer: SocketAddr) -> Option<ConnId>;

    /// A connection asked for with [`Action::Connect`] stands.
    fn connected(&mut self, now: Now, conn: ConnId) {
        let _ = (now, conn);
    }

    /// A load balancer said who a connection's client is, before the first bytes of it.
    fn proxied(&mut self, now: Now, conn: ConnId, client: SocketAddr) {
        let _ = (now, conn, client);
    }

    /// Bytes came. The core takes all of them; what is not a whole frame it keeps.
    fn received(&mut self, now: Now, conn: ConnId, bytes: &[u8]);

    /// The connection is gone (the peer's end, an error, or after `Action::Close`), or could not be made. Called exactly once
    /// a connection.
    fn closed(&mut self, now: Now, conn: ConnId);

    /// Appends a connection's output to `out`, at most about `max_bytes`. An empty `out` may come back with other memory.
    fn take_output(&mut self, conn: ConnId, max_bytes: usize, out: &mut Vec<u8>);

    /// So many bytes of what was taken reached the kernel (slow readers are told by what is outstanding).
    fn written(&mut self, now: Now, conn: ConnId, bytes: usize);

    /// A journal write ended.
    fn write_done(&mut self, now: Now, journal: u16, ticket: u64, result: io::Result<()>);

    /// A job ended.
    fn job_done(&mut self, now: Now, done: Self::JobDone);

    /// Once a wake, after all inputs: drains lanes, works off local hand-offs until quiet, fires timers, starts writes.
    fn turn(&mut self, now: Now);

    /// What to do next.
    fn next_action(&mut self) -> Option<Action>;

    /// A job to start.
    fn next_job(&mut self) -> Option<(JobQueue, Self::Job)>;

    /// When [`Self::turn`] must be called next even if nothing comes, ns of the monotonic clock.
    fn next_deadline_ns(&self) -> Option<u64>;

    /// Whether [`Self::written`] left something for a turn to do. A `true` for nothing costs a turn.
    fn has_work(&self) -> bool {
        true
    }

    /// The shard has been told to stop: no new connections, sessions are told to go, journals sealed.
    fn stop(&mut self, now: Now);

    /// After [`Self::stop`]: everything is flushed, sealed and closed.
    fn stopped(&self) -> bool;
}
