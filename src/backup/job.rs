//! The backup that a running server takes: one at a time, on a thread of its own, asked about through the admin socket.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use fabric::mutex::lock;
use serde::{Deserialize, Serialize};

use super::BackupError;
use super::files::Progress;
use super::take::{Source, Taken};

/// Clones are the same. Any thread but a shard's.
#[derive(Clone)]
pub struct Backups(Arc<Inner>);

struct Inner {
    source: Source,
    state: Mutex<State>,
}

enum State {
    Idle,
    Running { to: PathBuf, progress: Arc<Progress> },
    Done(Taken),
    Failed(String),
}

/// Where a server's backup has come to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum BackupStatus {
    /// None was taken since the start.
    Idle,
    /// One is being taken.
    Running {
        /// Where to.
        to: PathBuf,
        /// Bytes copied.
        done_bytes: u64,
        /// Bytes to copy, as far as it is known.
        total_bytes: u64,
    },
    /// The last one was taken.
    Done {
        /// Which.
        taken: Taken,
    },
    /// The last one failed.
    Failed {
        /// Why.
        why: String,
    },
}

impl std::fmt::Debug for Backups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Backups").field(&self.status()).finish()
    }
}

impl Backups {
    /// Of a serving process.
    pub fn new(source: Source) -> Self {
        source.clean();
        Self(Arc::new(Inner { source, state: Mutex::new(State::Idle) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    /// Begins one, into a new folder in `to`. How it goes on is told by [`Self::status`].
    ///
    /// # Errors
    /// [`BackupError::Busy`], or what the host says of a thread more.
    pub fn start(&self, to: &Path) -> Result<BackupStatus, BackupError> {
        let progress = Arc::new(Progress::default());
        {
            let mut state = self.state();
            if let State::Running { to, .. } = &*state {
                return Err(BackupError::Busy { path: to.clone() });
            }
            *state = State::Running { to: to.to_owned(), progress: Arc::clone(&progress) };
        }
        let (this, to) = (self.clone(), to.to_owned());
        let thread = std::thread::Builder::new().name("backup".to_owned()).spawn(move || this.run(&to, &progress));
        if let Err(source) = thread {
            let error = super::io_error(Path::new("backup"), "starting a thread")(source);
            *self.state() = State::Failed(error.to_string());
            return Err(error);
        }
        Ok(self.status())
    }

    fn run(&self, to: &Path, progress: &Progress) {
        tracing::info!(to = %to.display(), "backup begins");
        let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.0.source.take(to, progress)));
        *self.state() = match taken {
            Ok(Ok(taken)) => {
                tracing::info!(path = %taken.path.display(), bytes = taken.bytes, "backup taken");
                State::Done(taken)
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "no backup was taken");
                State::Failed(error.to_string())
            }
            Err(_) => State::Failed("it panicked; see the server's log".to_owned()),
        };
    }

    /// Where it has come to.
    pub fn status(&self) -> BackupStatus {
        match &*self.state() {
            State::Idle => BackupStatus::Idle,
            State::Running { to, progress } => {
                let (done_bytes, total_bytes) = progress.bytes();
                BackupStatus::Running { to: to.clone(), done_bytes, total_bytes }
            }
            State::Done(taken) => BackupStatus::Done { taken: taken.clone() },
            State::Failed(why) => BackupStatus::Failed { why: why.clone() },
        }
    }
}
