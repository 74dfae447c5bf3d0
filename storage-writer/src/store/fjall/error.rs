//! What the engine's errors and panics mean to a caller of the store.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::store::StoreError;
use crate::store::codec::BadRow;

/// Runs `work` on the engine. A panic of the engine (it has assertions about its own files) is damage, not the end of the
/// process.
pub(super) fn guarded<T>(doing: &'static str, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(StoreError::Damaged { doing, what: "the engine stopped at one of its own checks".to_owned() })
    })
}

/// A row that is not what its keyspace holds.
pub(super) fn bad_row(doing: &'static str) -> impl Fn(BadRow) -> StoreError {
    move |BadRow(what)| StoreError::Damaged { doing, what: what.to_owned() }
}

/// An engine error.
pub(super) fn engine(doing: &'static str) -> impl Fn(::fjall::Error) -> StoreError {
    move |error| match error {
        ::fjall::Error::Io(source) | ::fjall::Error::Storage(::fjall::LsmError::Io(source)) => io_error(doing, source),
        ::fjall::Error::Storage(::fjall::LsmError::ChecksumMismatch { .. }) => {
            StoreError::Damaged { doing, what: "a checksum does not match".to_owned() }
        }
        ::fjall::Error::Poisoned => StoreError::Poisoned,
        ::fjall::Error::Locked => StoreError::Locked,
        // The rest describes files, never what is in a row.
        other => StoreError::Damaged { doing, what: other.to_string() },
    }
}

fn io_error(doing: &'static str, source: io::Error) -> StoreError {
    match source.kind() {
        // Files that the engine's own list names, shorter than it says or not there.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::NotFound => {
            StoreError::Damaged { doing, what: format!("a file of the store is missing or cut: {}", source.kind()) }
        }
        _ => StoreError::Io { doing, source },
    }
}
