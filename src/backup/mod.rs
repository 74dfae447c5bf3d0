//! Backup and restore of the embedded store.
//!
//! A backup is a folder: `MANIFEST`, the store's files, the journals behind them, and the small files of the data folder.
//! [`take`] makes one, beside a serving process or without one; [`restore`] makes a data folder of one; [`job`] is the
//! backup that a running server takes; [`bucket`] keeps them in S3.
//!
//! What must stay true: everything acknowledged before a backup began is in it, and it is one state, not a mixture; a
//! backup has its name only once it is whole and durable; a damaged one is refused before anything is made of it.

pub mod bucket;
pub mod files;
pub mod job;
pub mod manifest;
pub mod restore;
pub mod s3;
pub mod take;

use std::io;
use std::path::{Path, PathBuf};

use storage_writer::folder::FolderError;
use storage_writer::journal::{CopyError, RecoverError};
use storage_writer::store::StoreError;

/// Why there is no backup. Nothing half is left.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file or folder could not be read or written.
    #[error("{path}: {doing}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The backup would be part of what it saves.
    #[error("{path} is in the data folder; name a folder outside it, best on another disk", path = path.display())]
    Inside {
        /// Where it was to go.
        path: PathBuf,
    },
    /// The store's answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journals could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The copied journals are not whole.
    #[error("the copied {0}")]
    Journal(#[from] RecoverError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is nothing to save.
    #[error("{path} is no data folder: it has no FORMAT file; name the server's with --data", path = path.display())]
    NoData {
        /// The folder.
        path: PathBuf,
    },
    /// Another one runs.
    #[error("a backup to {path} is under way; wait for its end", path = path.display())]
    Busy {
        /// Where it goes.
        path: PathBuf,
    },
}

fn io_error<'a>(path: &'a Path, doing: &'static str) -> impl Fn(io::Error) -> BackupError + 'a {
    move |source| BackupError::Io { path: path.to_owned(), doing, source }
}

/// A time as people and programs read it: RFC 3339, UTC. `ms` since 1970.
pub fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| format!("{ms} ms since 1970"), |time| time.to_string())
}

/// A size for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
