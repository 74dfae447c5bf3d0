//! A store in a folder: a log of records, now and then replaced by a snapshot.
//!
//! `<generation>.log`: magic and format (8 bytes), then records. Record: magic, payload length, CRC-32C of what follows it,
//! the file length known durable when it was written, payload (changes). The first record is the snapshot; the file gets its
//! name only when that is durable. Each sync writes one record. Must stay true: what a later record calls durable is whole,
//! or opening fails; anything above is a torn tail and is cut.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Change, ClientStore, Image, StoreError, codec};

const FILE_MAGIC: &[u8; 4] = b"SWCS";
/// What is written. Format 1 knew no amendments, accounts and ticks; it is read, and written anew when it is opened.
const FORMAT: u32 = 2;
const OLDEST_FORMAT: u32 = 1;
const FILE_HEADER_BYTES: u64 = 8;
const RECORD_MAGIC: u32 = 0x5243_5753;
const RECORD_HEADER_BYTES: usize = 20;
/// The log is compacted when it is longer than this and four times its snapshot, bytes.
const COMPACT_BYTES: u64 = 64 << 10;

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { what, path, source }
}

/// Keeps changes in a folder of its own. Survives kill -9 and power cuts. One client at a time.
#[derive(Debug)]
pub struct FileStore {
    folder: PathBuf,
    /// Held for its lock.
    _lock: File,
    generation: u64,
    log: File,
    path: PathBuf,
    image: Image,
    /// Encoded, not written.
    pending: Vec<u8>,
    len: u64,
    compact_at: u64,
    cut_bytes: u64,
    failed: bool,
}

fn record(payload: &[u8], durable: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&RECORD_MAGIC.to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let crc_at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&durable.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&(payload.len() as u32).to_le_bytes()), &out[crc_at + 4..]);
    out[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// The record at the front of `bytes`: (durable, payload).
fn parse(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>()?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if word(0) != RECORD_MAGIC {
        return None;
    }
    let payload = rest.get(..word(4) as usize)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&head[4..8]), &head[12..]), payload);
    (crc == word(8)).then(|| (u64::from_le_bytes([12, 13, 14, 15, 16, 17, 18, 19].map(|at| head[at])), payload))
}

/// Replays a log; returns its format and the length that is whole.
fn replay(path: &Path, bytes: &[u8], image: &mut Image) -> Result<(u32, u64), StoreError> {
    let corrupt = |offset: usize| StoreError::Corrupt { path: path.to_owned(), offset: offset as u64 };
    if bytes.len() < FILE_HEADER_BYTES as usize || &bytes[..4] != FILE_MAGIC {
        return Err(corrupt(0));
    }
    let found = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    if !(OLDEST_FORMAT..=FORMAT).contains(&found) {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: FORMAT });
    }
    let mut at = FILE_HEADER_BYTES as usize;
    let mut records = 0u64;
    while let Some((_, payload)) = parse(&bytes[at..]) {
        codec::replay(payload, image).ok_or_else(|| corrupt(at))?;
        at += RECORD_HEADER_BYTES + payload.len();
        records += 1;
    }
    // The snapshot was durable before the file got its name; of the rest, what a later record calls durable must be here.
    let promised = (at + 1..bytes.len()).filter_map(|later| parse(&bytes[later..])).map(|(durable, _)| durable).max();
    if records == 0 || promised.is_some_and(|durable| durable > at as u64) {
        return Err(corrupt(at));
    }
    Ok((found, at as u64))
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|dir| dir.sync_all()).map_err(io_error("sync", folder))
}

/// Writes a snapshot under its final name, durable; returns the file and its length.
fn write_snapshot(folder: &Path, generation: u64, image: &Image) -> Result<(File, PathBuf, u64), StoreError> {
    let path = folder.join(format!("{generation:016}.log"));
    let draft = folder.join(format!("{generation:016}.tmp"));
    let mut payload = Vec::new();
    codec::encode_image(image, &mut payload);
    let mut bytes = FILE_MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    record(&payload, 0, &mut bytes);
    let written = OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&draft)
        .and_then(|file| file.write_all_at(&bytes, 0).and_then(|()| file.sync_all()).map(|()| file))
        .and_then(|file| fs::rename(&draft, &path).map(|()| file));
    match written {
        Ok(file) => {
            sync_folder(folder)?;
            Ok((file, path, bytes.len() as u64))
        }
        Err(source) => {
            // What could not be written whole is of no use; if it cannot be removed either, the next start does.
            let _ = fs::remove_file(&draft);
            Err(StoreError::Io { what: "write", path: draft, source })
        }
    }
}

/// The folder's generations, ascending; drafts are removed.
fn generations(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder)? {
        let name = file?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".tmp") {
            fs::remove_file(folder.join(name))?;
        } else if let Some(generation) = name.strip_suffix(".log").and_then(|n| n.parse().ok()) {
            found.push(generation);
        }
    }
    found.sort_unstable();
    Ok(found)
}

impl FileStore {
    /// Opens the store in `folder`, or makes it. A torn tail is cut.
    ///
    /// # Errors
    /// See [`StoreError`]; `Locked` while another client has it.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(io_error("make", &folder))?;
        let lock_path = folder.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(io_error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path: folder }),
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &lock_path)(source)),
        }
        let found = generations(&folder).map_err(io_error("list", &folder))?;
        let mut image = Image::default();
        let (generation, log, path, len, whole, format) = match found.last() {
            None => {
                let (log, path, len) = write_snapshot(&folder, 1, &image)?;
                (1, log, path, len, len, FORMAT)
            }
            Some(&generation) => {
                let path = folder.join(format!("{generation:016}.log"));
                let bytes = fs::read(&path).map_err(io_error("read", &path))?;
                let (format, whole) = replay(&path, &bytes, &mut image)?;
                let log = OpenOptions::new().read(true).write(true).open(&path);
                (generation, log.map_err(io_error("open", &path))?, path, bytes.len() as u64, whole, format)
            }
        };
        if whole < len {
            log.set_len(whole).and_then(|()| log.sync_all()).map_err(io_error("cut", &path))?;
            tracing::warn!(bytes = len - whole, "client store: a torn tail was cut");
        }
        for &old in found.iter().rev().skip(1) {
            let old = folder.join(format!("{old:016}.log"));
            fs::remove_file(&old).map_err(io_error("remove", &old))?;
        }
        let compact_at = COMPACT_BYTES.max(whole * 2);
        let mut store = Self {
            folder,
            _lock: lock,
            generation,
            log,
            path,
            image,
            pending: Vec::new(),
            len: whole,
            compact_at,
            cut_bytes: len - whole,
            failed: false,
        };
        if format < FORMAT {
            store.rewrite()?;
        }
        Ok(store)
    }

    /// Bytes of a torn tail that opening cut.
    pub const fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// The log's length, bytes.
    pub const fn log_bytes(&self) -> u64 {
        self.len
    }

    fn write_pending(&mut self) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(self.pending.len() + RECORD_HEADER_BYTES);
        record(&self.pending, self.len, &mut bytes);
        self.log
            .write_all_at(&bytes, self.len)
            .and_then(|()| self.log.sync_data())
            .map_err(io_error("write", &self.path))?;
        self.len += bytes.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Replaces the log by a snapshot. The log goes on if that fails: it is whole.
    fn compact(&mut self) {
        if let Err(error) = self.rewrite() {
            self.compact_at = self.len * 2;
            tracing::warn!(%error, "client store: not compacted");
        }
    }

    /// Goes on in a new log that begins with a snapshot.
    fn rewrite(&mut self) -> Result<(), StoreError> {
        let (log, path, len) = write_snapshot(&self.folder, self.generation + 1, &self.image)?;
        let old = core::mem::replace(&mut self.path, path);
        self.generation += 1;
        self.log = log;
        self.len = len;
        self.compact_at = COMPACT_BYTES.max(len * 4);
        if let Err(error) = fs::remove_file(&old) {
            tracing::warn!(%error, "client store: the old log could not be removed; the next start will");
        }
        Ok(())
    }
}

impl ClientStore for FileStore {
    fn load(&mut self) -> Result<Image, StoreError> {
        if self.failed {
            return Err(StoreError::Failed);
        }
        Ok(self.image.clone())
    }

    fn append(&mut self, change: &Change) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Failed);
        }
        self.image.apply(change);
        codec::encode(change, &mut self.pending);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Failed);
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        self.write_pending().inspect_err(|_| self.failed = true)?;
        if self.len > self.compact_at {
            self.compact();
        }
        Ok(())
    }
}
