//! Journal writes: straight to the disk on the shard's own ring, or on a thread of their own where there is no ring.
//!
//! What must stay true: a write is reported done only when it is durable (O_DSYNC), and a file's name means the same file
//! as long as the shard runs (journals never reuse a segment's name).

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crossbeam_queue::SegQueue;

use super::thread::or_die;
use crate::disk::{Block, BlockWrite};
use crate::wake::Waker;

/// Open segments kept a journal: the one in use, and its neighbours.
const OPEN_FILES: usize = 4;

/// A journal write that ended: (journal, ticket, result).
pub(super) type Written = (u16, u64, io::Result<()>);

/// Opens a segment for durable writes, past the page cache where the file system allows it.
fn open(folder: &std::path::Path, name: &str) -> io::Result<File> {
    if name.is_empty() || name.contains('/') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let path = folder.join(name);
    let with = |flags| File::options().write(true).custom_flags(flags | libc::O_CLOEXEC).open(&path);
    match with(libc::O_DIRECT | libc::O_DSYNC) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            tracing::warn!(file = name, "the file system refuses O_DIRECT: the journal goes through the page cache");
            with(libc::O_DSYNC)
        }
        result => result,
    }
}

/// Open files by name, most recently used last.
struct Cache<F> {
    folders: Vec<PathBuf>,
    open: Vec<VecDeque<(String, F)>>,
}

impl<F: Clone> Cache<F> {
    fn new(folders: Vec<PathBuf>) -> Self {
        let open = folders.iter().map(|_| VecDeque::new()).collect();
        Self { folders, open }
    }

    fn get(&mut self, journal: u16, name: &str, wrap: impl Fn(File) -> io::Result<F>) -> io::Result<F> {
        let no_such = || io::Error::new(io::ErrorKind::NotFound, "the shard has no such journal");
        let open_files = self.open.get_mut(usize::from(journal)).ok_or_else(no_such)?;
        if let Some((_, file)) = open_files.iter().find(|(known, _)| known == name) {
            return Ok(file.clone());
        }
        let file = wrap(open(&self.folders[usize::from(journal)], name)?)?;
        if open_files.len() >= OPEN_FILES {
            open_files.pop_front();
        }
        open_files.push_back((name.to_owned(), file.clone()));
        Ok(file)
    }
}

/// How a shard writes its journals.
pub(super) enum Journals {
    /// On the shard's ring.
    Ring(RingJournals),
    /// On a thread.
    Thread(ThreadJournals),
}

pub(super) struct RingJournals(Cache<Rc<monoio::fs::File>>);

impl RingJournals {
    pub(super) fn new(folders: Vec<PathBuf>) -> Self {
        Self(Cache::new(folders))
    }

    /// The file to write to. Opening blocks for some µs, once a segment.
    pub(super) fn file(&mut self, journal: u16, name: &str) -> io::Result<Rc<monoio::fs::File>> {
        self.0.get(journal, name, |file| monoio::fs::File::from_std(file).map(Rc::new))
    }
}

/// A block the ring reads from.
struct InFlight(Block);

// SAFETY: a block's memory does not move and is not written while a handle on it is alive; pointer and length describe its
// initialised part.
unsafe impl monoio::buf::IoBuf for InFlight {
    fn read_ptr(&self) -> *const u8 {
        self.0.as_slice().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.len()
    }
}

/// Writes a block at its place; all of it is durable when this is ready, and the ring's handle on it is gone.
pub(super) async fn write_ring(file: Rc<monoio::fs::File>, offset: u64, block: Block) -> io::Result<()> {
    file.write_all_at(InFlight(block), offset).await.0
}

/// The writer thread of a shard without a ring. It ends when the shard drops this.
pub(super) struct ThreadJournals {
    to: SyncSender<(u16, BlockWrite)>,
    pub(super) done: Arc<SegQueue<Written>>,
}

impl ThreadJournals {
    /// Started by the shard's thread, so that it shares its descriptor table.
    pub(super) fn start(folders: Vec<PathBuf>, waker: Waker, name: &str) -> io::Result<Self> {
        // A journal has a few blocks outstanding; more than this many means a core that ignores its own bound.
        let (to, from) = sync_channel(folders.len().max(1) * 16);
        let done = Arc::new(SegQueue::new());
        let results = done.clone();
        let who = format!("{name}-journal");
        let thread = std::thread::Builder::new().name(who.clone());
        thread.spawn(move || or_die(&who, || Self::run(folders, &from, &results, &waker)))?;
        Ok(Self { to, done })
    }

    fn run(folders: Vec<PathBuf>, from: &Receiver<(u16, BlockWrite)>, done: &SegQueue<Written>, waker: &Waker) {
        let mut cache = Cache::new(folders);
        for (journal, write) in from {
            let result = cache
                .get(journal, &write.file, |file| Ok(Arc::new(file)))
                .and_then(|file| file.write_all_at(write.bytes.as_slice(), write.offset));
            let ticket = write.ticket;
            // The core may want the buffer back: let go of it first.
            drop(write);
            done.push((journal, ticket, result));
            waker.wake();
        }
    }

    /// Hands a block to the thread; an error means that it is not started.
    pub(super) fn start_write(&self, journal: u16, write: BlockWrite) -> io::Result<()> {
        self.to.try_send((journal, write)).map_err(|_| io::Error::other("too many journal writes are outstanding"))
    }
}
