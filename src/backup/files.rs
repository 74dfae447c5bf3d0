//! Files of backups: copied, checked and made durable.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};

/// Read and written at once, bytes.
const CHUNK: usize = 1 << 20;

/// How far a backup has come. Any thread.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// There are so many bytes more to do.
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes more are done.
    pub fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes done, and in all as far as it is known.
    pub fn bytes(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

/// What a file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// Its length.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// Copies a file to a new one, mode 0600, durable when it returns.
///
/// # Errors
/// What the file systems say.
pub fn copy(from: &Path, to: &Path, progress: &Progress) -> io::Result<Content> {
    let mut target = new_file(to)?;
    let content = read(from, progress, |piece| target.write_all(piece))?;
    target.sync_all()?;
    Ok(content)
}

/// What a file holds.
///
/// # Errors
/// What the file system says.
pub fn content(of: &Path, progress: &Progress) -> io::Result<Content> {
    read(of, progress, |_| Ok(()))
}

/// Writes a new file, mode 0600, durable when it returns.
///
/// # Errors
/// What the file system says.
pub fn write(to: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = new_file(to)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn read(from: &Path, progress: &Progress, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Content> {
    let mut file = File::open(from)?;
    let (mut hash, mut bytes, mut buffer) = (Context::new(&SHA256), 0, vec![0; CHUNK]);
    loop {
        let piece = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => &buffer[..n],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(piece);
        each(piece)?;
        bytes += piece.len() as u64;
        progress.advance(piece.len() as u64);
    }
    let sha256 = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Content { bytes, sha256 })
}

/// Makes a folder and those above it, mode 0700; an existing one is fine.
///
/// # Errors
/// What the file system says.
pub fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Every file below `folder` by its path in it, sorted.
///
/// # Errors
/// What the file system says.
pub fn walk(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(folder.join(&inner))? {
            let entry = entry?;
            let path = inner.join(entry.file_name());
            if entry.file_type()?.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Makes the names in `folder`, and in all folders below it, durable.
///
/// # Errors
/// What the file system says.
pub fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

/// When a file was last written, ns since 1970, and its length.
///
/// # Errors
/// What the file system says.
pub fn stamp(of: &Path) -> io::Result<(i64, u64)> {
    let meta = fs::metadata(of)?;
    Ok((meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec()), meta.len()))
}

/// A folder that is removed when this is dropped, unless it was kept.
#[derive(Debug)]
pub struct Scratch(Option<PathBuf>);

impl Scratch {
    /// Takes charge of a folder, which may not be there yet.
    pub fn new(folder: PathBuf) -> Self {
        Self(Some(folder))
    }

    /// It stays.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = &self.0
            && let Err(error) = fs::remove_dir_all(folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "what is left of it cannot be removed");
        }
    }
}
