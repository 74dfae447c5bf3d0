//! The real skin of a [`Core`](crate::core::Core): one thread a shard, with monoio, sockets, journal writes and background jobs.
//!
//! [`spawn_shards`] starts the threads in the order that gives each a descriptor table of its own: main makes eventfds and
//! lanes; each thread pins itself, unshares and closes what it does not own, asks for a long time slice, builds its runtime
//! and its core, and only then opens listeners, journals and sockets. What must stay true: nothing crosses between threads
//! but paths, lanes and the eventfds made first; a panic on any of these threads ends the process.

mod ability;
mod conn;
mod jobs;
mod journal;
mod metrics;
mod pool;
mod runtime;
mod skin;
mod start;
mod tasks;
mod thread;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use ability::{Ability, ability};
pub use metrics::ShardMetrics;
pub use runtime::{Driver, DriverChoice};
pub use start::spawn_shards;
pub use thread::{available_cores, own_descriptors};

use crate::core::Protocol;
use crate::net::proxy::Proxies;
use crate::net::resolve::Resolver;
use crate::net::tls;
use crate::wake::Waker;

/// What all shards of a process share.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to listen on, every shard on every address (SO_REUSEPORT). With port 0 the first shard takes a free port and
    /// the others share it.
    pub listeners: Vec<(Protocol, SocketAddr)>,
    /// Speaks TLS, and nothing else, on every listener but those of [`Protocol::Link`].
    pub tls: Option<tls::Server>,
    /// Load balancers before the listeners, but for those of [`Protocol::Link`].
    pub proxies: Option<Proxies>,
    /// Looks up the names of whom cores connect to; without it they are not reached.
    pub resolver: Option<Resolver>,
    /// Which driver.
    pub driver: DriverChoice,
    /// Gives each shard thread a descriptor table of its own (`unshare(CLONE_FILES)`), so that the descriptor limit holds
    /// a shard rather than a process. Whatever a core opened elsewhere is then closed on its thread.
    pub own_descriptors: bool,
    /// Descriptors that shard threads keep besides the standard three and the wakers.
    pub keep: Vec<RawFd>,
    /// Submission entries of each ring.
    pub ring_entries: u32,
    /// Threads for [`crate::core::JobQueue::Read`]; at least 1 is started.
    pub read_threads: usize,
    /// Threads for [`crate::core::JobQueue::Commit`]; 0 = commits, if there are any, share those of reads, and so does
    /// [`crate::core::JobQueue::Spool`], which has one of its own otherwise.
    pub commit_threads: usize,
    /// Jobs each queue holds before shards keep theirs back.
    pub job_queue: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            tls: None,
            proxies: None,
            resolver: None,
            driver: DriverChoice::Auto,
            own_descriptors: false,
            keep: Vec::new(),
            ring_entries: 1_024,
            read_threads: 2,
            commit_threads: 0,
            job_queue: 1_024,
        }
    }
}

/// One shard to start. `B` builds its core on its thread: `FnOnce(ShardContext) -> Result<C, E> + Send`.
#[derive(Debug)]
pub struct ShardSpec<B> {
    /// Its number; in metrics, logs and the thread's name (`shard-N`).
    pub shard: u16,
    /// The core to pin it to; `None` leaves it to the scheduler.
    pub cpu: Option<usize>,
    /// Wakes it: its lane port's ([`crate::lane::Port::waker`]), or a new one.
    pub waker: Waker,
    /// The folders of its journals, by the number in [`crate::core::Action::Write`].
    pub journals: Vec<PathBuf>,
    /// Builds the core. It may block: no connection is accepted before every shard's core is built.
    pub build: B,
}

/// What a shard's thread knows when it builds its core.
#[derive(Clone, Debug)]
pub struct ShardContext {
    /// Its number.
    pub shard: u16,
    /// The core it is pinned to.
    pub cpu: Option<usize>,
    /// What drives it.
    pub driver: Driver,
    /// Wakes it, from any thread.
    pub waker: Waker,
    /// Its counters.
    pub metrics: ShardMetrics,
}

/// Why shards could not be started. Those already started have ended again.
#[derive(Debug, thiserror::Error)]
pub enum StartError<E: fmt::Display + fmt::Debug> {
    /// A core could not be built.
    #[error("shard {shard}: {error}")]
    Core {
        /// Which shard.
        shard: u16,
        /// What its builder said.
        error: E,
    },
    /// The operating system refused something.
    #[error("shard {shard}: {what}: {error}")]
    Io {
        /// Which shard.
        shard: u16,
        /// What was asked.
        what: String,
        /// What it said.
        error: io::Error,
    },
    /// No shard was asked for.
    #[error("there must be at least one shard")]
    NoShards,
}

/// Tells shards to stop. Clonable, usable from any thread (and from a signal-watching one).
#[derive(Clone, Debug)]
pub struct Stopper {
    set: Arc<AtomicBool>,
    wakers: Arc<[Waker]>,
}

impl Stopper {
    fn new(wakers: Vec<Waker>) -> Self {
        Self { set: Arc::default(), wakers: wakers.into() }
    }

    /// Asks every shard to stop: each calls its core's `stop` once and ends when the core has `stopped`.
    pub fn stop(&self) {
        self.set.store(true, Ordering::Release);
        self.wakers.iter().for_each(Waker::wake);
    }

    fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }
}

/// Shards that serve. Dropping this leaves them running; [`Shards::join`] waits for their end.
pub struct Shards {
    addresses: Vec<(Protocol, SocketAddr)>,
    drivers: Vec<Driver>,
    metrics: Vec<ShardMetrics>,
    stopper: Stopper,
    threads: Vec<std::thread::JoinHandle<()>>,
    /// Ends the job threads after the shards.
    jobs: Box<dyn std::any::Any + Send>,
}

impl Shards {
    /// What is listened on, with the ports in use, in the order of [`Options::listeners`].
    pub fn addresses(&self) -> &[(Protocol, SocketAddr)] {
        &self.addresses
    }

    /// What drives each shard.
    pub fn drivers(&self) -> &[Driver] {
        &self.drivers
    }

    /// Each shard's counters.
    pub fn metrics(&self) -> &[ShardMetrics] {
        &self.metrics
    }

    /// Stops them.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits until every shard has stopped and every job that was started has ended.
    pub fn join(self) {
        for thread in self.threads {
            // A panic there has ended the process already.
            let _ = thread.join();
        }
        drop(self.jobs);
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("addresses", &self.addresses).field("drivers", &self.drivers).finish()
    }
}
