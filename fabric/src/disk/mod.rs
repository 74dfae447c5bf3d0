//! Disks: what a journal needs of one, so that it runs on files and on a simulated disk that forgets and tears.
//!
//! Two ways in. [`Disk`] blocks and is for starts, recovery and background threads. The hot path hands a
//! [`BlockWrite`] to whoever runs the loop (a ring, a thread or the simulator) and is told when it is durable.

mod block;
mod file;

use std::io;
use std::sync::Arc;

pub use block::{Block, BlockBuffer};
pub use file::FileDisk;

/// A blocking view of one folder of files. Names are plain file names, no separators.
pub trait Disk {
    /// All file names, sorted.
    ///
    /// # Errors
    /// What the folder says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A file's length in bytes.
    ///
    /// # Errors
    /// `NotFound`, or what the file says.
    fn len(&self, name: &str) -> io::Result<u64>;

    /// Creates `name` with `len_bytes` zero bytes, all of them and the name durable when it returns. Fails with
    /// `AlreadyExists` rather than overwrite; a failure (e.g. a full disk) leaves no file behind.
    ///
    /// # Errors
    /// `StorageFull`, `AlreadyExists`, or what the file says.
    fn create_zeroed(&self, name: &str, len_bytes: u64) -> io::Result<()>;

    /// Reads at `offset` until `buffer` is full or the file ends; returns how much.
    ///
    /// # Errors
    /// `NotFound`, or what the file says.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, durable when it returns. Offset and length are multiples of
    /// [`Self::align_bytes`].
    ///
    /// # Errors
    /// What the file says; afterwards the range holds anything.
    fn write_durable(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Renames, durable when it returns.
    ///
    /// # Errors
    /// What the folder says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes, durable when it returns. A missing file is fine.
    ///
    /// # Errors
    /// What the folder says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Writes must be aligned to this many bytes (a power of two, at least 512).
    fn align_bytes(&self) -> usize;
}

/// A block on its way to the disk: `bytes` at `offset` of `file`, to be durable before it is reported done.
///
/// Whoever writes it drops it before reporting the result: the journal then fills the same memory again.
#[derive(Clone, Debug)]
pub struct BlockWrite {
    /// The journal's number for this write; comes back with the result.
    pub ticket: u64,
    /// File name in the journal's folder.
    pub file: Arc<str>,
    /// Multiple of the alignment.
    pub offset: u64,
    /// Length a multiple of the alignment. Its memory is aligned to [`Block::ALIGN`] and does not move: a ring may hold
    /// the pointer of [`Block::as_slice`] for as long as it owns the block.
    pub bytes: Block,
}
