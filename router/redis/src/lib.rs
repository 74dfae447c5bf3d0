//! The directory in Redis or Redis Cluster: written behind the one in memory, read back when a router starts.
//!
//! Pushes are routed from memory and nothing waits for Redis: a [`Mirror`] is a thread of its own with a runtime inside, that
//! takes from a [`MemoryDirectory`] who changed, writes their sessions in pipelined batches, and every ten seconds goes once
//! through all that are there, so that what lives in Redis keeps its time to live and what is missing there comes back. While
//! Redis is away changes wait, bounded, and then everything is written again. What must stay true: a registration in Redis
//! gives way only to one of a higher epoch, and goes only by the hand of the router that wrote it, or by its time.

mod config;
mod error;
mod metrics;
mod names;
mod nodes;
mod read;
mod worker;
mod write;

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use router::MemoryDirectory;
use tokio::sync::oneshot;

pub use config::{NotAnAddress, RedisConfig};
pub use error::SetupError;
pub use metrics::MirrorMetrics;
pub use read::Readers;

use worker::Worker;

/// A start waits so long for what is read back; reading goes on behind it.
const WARM_WITHIN: Duration = Duration::from_secs(5);

/// What a start is told, in order.
enum Progress {
    /// Connected, or why not.
    Connected(Result<(), SetupError>),
    /// Everything that is there was read.
    Read,
}

/// The mirror of one process's directory. Dropping it ends it without a last write.
pub struct Mirror {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    /// Connects, checks whose Redis it is, reads back what `readers` says, and mirrors `directory` from then on. Blocks until
    /// what is there was read, 5 s for that at most.
    ///
    /// # Errors
    /// [`SetupError`] says what to do.
    pub fn start(
        config: RedisConfig,
        directory: MemoryDirectory,
        readers: Option<Readers>,
        metrics: Arc<MirrorMetrics>,
    ) -> Result<Self, SetupError> {
        let (stop, stopped) = oneshot::channel();
        let (progress, told) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || runtime.block_on(run(config, directory, readers, metrics, (progress, stopped)));
        let thread = std::thread::Builder::new().name("directory".to_owned()).spawn(work)?;
        let this = Self { stop: Some(stop), thread: Some(thread) };
        if let Ok(Progress::Connected(connected)) = told.recv() {
            connected?;
        }
        if let Err(RecvTimeoutError::Timeout) = told.recv_timeout(WARM_WITHIN) {
            tracing::warn!("the directory in Redis is large: it is read on while this router serves");
        }
        Ok(this)
    }

    /// Writes what changed last, for a second at most, and ends. Blocks.
    pub fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been said already; it ended nothing but the mirror.
            let _ = thread.join();
        }
    }
}

async fn run(
    config: RedisConfig,
    directory: MemoryDirectory,
    readers: Option<Readers>,
    metrics: Arc<MirrorMetrics>,
    (progress, stopped): (Sender<Progress>, oneshot::Receiver<()>),
) {
    // Whoever started this may have gone meanwhile.
    let tell = |step| drop(progress.send(step));
    let nodes = match nodes::Nodes::connect(&config).await {
        Ok(nodes) => nodes,
        Err(error) => return tell(Progress::Connected(Err(error))),
    };
    tell(Progress::Connected(Ok(())));
    if let Some(readers) = &readers {
        read::read_back(&nodes, &directory, readers, &metrics).await;
    }
    tell(Progress::Read);
    drop(progress);
    Worker::new(config, directory, readers, metrics, nodes).run(stopped).await;
}
