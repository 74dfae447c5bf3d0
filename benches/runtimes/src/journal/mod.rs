//! The journal's writers: the same blocks, durable, by four ways to the disk. One thread fills blocks with records and has
//! them written into a segment that was filled with zeros before, one write in flight, the next block filled meanwhile.

mod glommio;
mod load;
mod monoio;
mod raw;
mod thread;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::fabric::disk::BlockBuffer;

pub use load::{Load, Memory};

/// Bytes of a record with its header.
pub const RECORD_BYTES: usize = 332;
/// Most bytes of a block, as in the product.
pub const BLOCK_BYTES: usize = 1 << 20;
/// A segment, as in the product.
pub const SEGMENT_BYTES: u64 = 32 << 20;
/// What `O_DIRECT` wants.
pub const ALIGN: usize = 4_096;

/// What one run came to.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Records made durable.
    pub records: u64,
    /// Blocks they went in.
    pub blocks: u64,
    /// How long it took, s.
    pub took_s: f64,
    /// CPU of the process, kernel workers of its ring included, s.
    pub cpu_s: f64,
}

type Writer = fn(&Path, Load) -> io::Result<Load>;

/// Names and writers.
pub const WRITERS: [(&str, Writer); 4] =
    [("raw", raw::run), ("monoio", monoio::run), ("glommio", glommio::run), ("thread", thread::run)];

/// Runs one writer for `time` in a new segment below `folder`, at `rate` records a second or, without one, as fast as it goes.
///
/// # Errors
/// What the folder or the ring says.
pub fn run(writer: Writer, folder: &Path, rate: Option<f64>, time: Duration) -> io::Result<Outcome> {
    let path = segment(folder)?;
    let before = cpu_s();
    let load = writer(&path, Load::new(rate, time));
    let cpu_s = cpu_s() - before;
    std::fs::remove_file(&path)?;
    let load = load?;
    Ok(Outcome { records: load.records, blocks: load.blocks, took_s: load.took().as_secs_f64(), cpu_s })
}

/// A segment full of zeros.
fn segment(folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join("bench.journal");
    let file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT).open(&path)?;
    let zeros = BlockBuffer::new(BLOCK_BYTES).lend(BLOCK_BYTES);
    for at in (0..SEGMENT_BYTES).step_by(BLOCK_BYTES) {
        file.write_all_at(zeros.as_slice(), at)?;
    }
    file.sync_all()?;
    Ok(path)
}

/// Opens the segment; `flags` besides `O_DIRECT`.
fn open(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT | flags).open(path)
}

/// CPU of this process, s.
fn cpu_s() -> f64 {
    // SAFETY: rusage is plain data, all zeros is a value of it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid place for the answer.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
