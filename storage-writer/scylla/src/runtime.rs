//! The threads that the driver runs on. Callers of the store block until what they asked for is done there.

use std::future::Future;
use std::io;

/// One thread moves bytes; what is asked for is computed on the asker's own.
const THREADS: usize = 1;

/// See the module.
pub struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    /// Starts its threads, which share the caller's table of open files.
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("store")
            .enable_all()
            .build();
        Ok(Self(Some(runtime?)))
    }

    /// Blocks until `work` is done; not on a thread of a runtime.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.0.as_ref().expect("it is there until it is dropped").block_on(work)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Its threads may wait for a cluster that is away; nobody waits for them. Also right on a runtime's own thread.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
