//! The data folder: whose it is, that only one process uses it, and the few facts that must outlive a process.
//!
//! `FORMAT` is a short text with a checksum: version, cluster and node id, the dedupe secret, and how often the folder has
//! been opened. `LOCK` is held by flock(2) while a process serves, so it is free again however that process ends.
//!
//! What must stay true: a folder that is newer, another cluster's or another program's is refused before anything in it is
//! touched; `FORMAT` is replaced whole and durably; each opening has an incarnation that no other had.

mod format;
mod restored;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fabric::entropy::Entropy;
use schema::dedupe::DedupeHasher;

pub use format::{FOLDER_VERSION, FolderId, Format};
pub use restored::{format_of, make_restored};

/// The development key's file name: made by `token` or the server, whichever needs it first, mode 0600.
pub const DEVELOPMENT_KEY_FILE: &str = "dev-key";
/// The journals' folder.
pub const JOURNAL_FOLDER: &str = "journal";
/// The embedded store's folder.
pub const STORE_FOLDER: &str = "store";
/// Its folder of queued sends and dead letters, where a store that is the commit may be away.
pub const SPOOL_FOLDER: &str = "spool";
/// The file that says whose a folder is.
pub const FORMAT_FILE: &str = "FORMAT";
const FORMAT_NEW_FILE: &str = "FORMAT.new";
const LOCK_FILE: &str = "LOCK";

/// Why a data folder cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system refused.
    #[error("data folder {path}: {doing}: {source}")]
    Io {
        /// Folder or file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// Another process serves from it.
    #[error(
        "data folder {path}: in use by another process; stop that one, or give this one a folder of its own with --data"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Written by a newer version.
    #[error("data folder {path}: format {found} is newer than this build's {known}; start the newer version again")]
    Newer {
        /// The folder.
        path: PathBuf,
        /// The folder's format.
        found: u64,
        /// This build's.
        known: u16,
    },
    /// Not a data folder, and not empty.
    #[error(
        "data folder {path}: holds {entry:?} but no FORMAT file, so it is not Shardwire's; name an empty or missing folder with --data"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// One of the things in it.
        entry: String,
    },
    /// Journals or a store without the file that says whose they are.
    #[error("data folder {path}: its FORMAT file is missing though there is data; restore FORMAT from a backup")]
    FormatMissing {
        /// The folder.
        path: PathBuf,
    },
    /// The FORMAT file cannot be right.
    #[error("data folder {path}: its FORMAT file is damaged ({what}); restore FORMAT from a backup")]
    FormatDamaged {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Another cluster's or node's.
    #[error("data folder {path}: belongs to {what} {found}, not to {expected}; name the right folder with --data")]
    OtherOwner {
        /// The folder.
        path: PathBuf,
        /// "cluster" or "node".
        what: &'static str,
        /// The folder's.
        found: FolderId,
        /// The configured.
        expected: FolderId,
    },
}

/// Whose folder is expected. `None` takes any, and draws an id for a new folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The cluster.
    pub cluster: Option<FolderId>,
    /// The node within it.
    pub node: Option<FolderId>,
}

/// An open data folder. The lock is held until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    format: Format,
    created: bool,
    _lock: File,
}

impl DataFolder {
    /// Opens the folder at `path`, or makes it (mode 0700, with all folders above it): takes the lock, checks whose it is and
    /// counts up its incarnation, durably.
    ///
    /// # Errors
    /// As [`FolderError`] says; a refused folder is not changed, but for the lock file.
    pub fn open(path: &Path, expected: Expected, entropy: &mut dyn Entropy) -> Result<Self, FolderError> {
        prepare(path)?;
        if read_format(path)?.is_none() {
            check_empty(path)?;
        }
        let lock = lock(path)?;
        // Again, now that nobody else can change it.
        let found = read_format(path)?;
        let created = found.is_none();
        let known = found.unwrap_or_else(|| Format::draw(expected.cluster, expected.node, entropy));
        check_owner(path, "cluster", known.cluster, expected.cluster)?;
        check_owner(path, "node", known.node, expected.node)?;
        let format = Format { incarnation: known.incarnation + 1, ..known };
        write_format(path, &format)?;
        for folder in [JOURNAL_FOLDER, STORE_FOLDER] {
            make_folder(&path.join(folder))?;
        }
        sync_folder(path)?;
        Ok(Self { path: path.to_owned(), format, created, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where journals go.
    pub fn journal_path(&self) -> PathBuf {
        self.path.join(JOURNAL_FOLDER)
    }

    /// Where the embedded store goes.
    pub fn store_path(&self) -> PathBuf {
        self.path.join(STORE_FOLDER)
    }

    /// Where queued sends go; it is there once it was used.
    pub fn spool_path(&self) -> PathBuf {
        self.path.join(SPOOL_FOLDER)
    }

    /// What FORMAT says, this opening counted.
    pub const fn format(&self) -> &Format {
        &self.format
    }

    /// 1 for the first opening of the folder, one more for each since.
    pub const fn incarnation(&self) -> u64 {
        self.format.incarnation
    }

    /// Whether this opening made the folder.
    pub const fn is_new(&self) -> bool {
        self.created
    }

    /// Makes the folder's dedupe keys.
    pub const fn dedupe_hasher(&self) -> DedupeHasher {
        DedupeHasher::new(self.format.dedupe_secret)
    }
}

/// Makes the folder at `path` if it is missing, mode 0700; an existing one is made private. For whoever needs a file of the
/// folder without serving from it.
///
/// # Errors
/// [`FolderError::Io`].
pub fn prepare(path: &Path) -> Result<(), FolderError> {
    make_folder(path)?;
    let mode = fs::metadata(path).map_err(io_error(path, "reading its mode"))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 && read_format(path)?.is_some() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(io_error(path, "making it private"))?;
    }
    Ok(())
}

/// Writes `bytes` as `name` in `folder`, mode 0600: afterwards the file has either its old or its new content, durably the
/// new one when this returns.
///
/// # Errors
/// [`FolderError::Io`].
pub fn write_file(folder: &Path, name: &str, temporary: &str, bytes: &[u8]) -> Result<(), FolderError> {
    let from = folder.join(temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&from)
        .map_err(io_error(&from, "creating it"))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error(&from, "writing it"))?;
    fs::rename(&from, folder.join(name)).map_err(io_error(&from, "renaming it"))?;
    sync_folder(folder)
}

fn io_error<'a>(path: &'a Path, doing: &'static str) -> impl Fn(io::Error) -> FolderError + 'a {
    move |source| FolderError::Io { path: path.to_owned(), doing, source }
}

fn make_folder(path: &Path) -> Result<(), FolderError> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error(path, "creating it"))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path) -> Result<(), FolderError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io_error(path, "syncing it"))
}

fn lock(path: &Path) -> Result<File, FolderError> {
    let file = path.join(LOCK_FILE);
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&file)
        .map_err(io_error(&file, "opening it"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(FolderError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io_error(&file, "locking it")(source)),
    }
}

/// A folder without FORMAT may hold what an interrupted first opening or `token` leaves, nothing else.
fn check_empty(path: &Path) -> Result<(), FolderError> {
    for entry in fs::read_dir(path).map_err(io_error(path, "listing it"))? {
        let name = entry.map_err(io_error(path, "listing it"))?.file_name();
        match name.to_str() {
            Some(FORMAT_NEW_FILE | LOCK_FILE | DEVELOPMENT_KEY_FILE) => {}
            Some(JOURNAL_FOLDER | STORE_FOLDER) => return Err(FolderError::FormatMissing { path: path.to_owned() }),
            _ => {
                let entry = name.to_string_lossy().into_owned();
                return Err(FolderError::Foreign { path: path.to_owned(), entry });
            }
        }
    }
    Ok(())
}

fn check_owner(
    path: &Path,
    what: &'static str,
    found: FolderId,
    expected: Option<FolderId>,
) -> Result<(), FolderError> {
    match expected {
        Some(expected) if expected != found => {
            Err(FolderError::OtherOwner { path: path.to_owned(), what, found, expected })
        }
        _ => Ok(()),
    }
}

fn read_format(path: &Path) -> Result<Option<Format>, FolderError> {
    let file = path.join(FORMAT_FILE);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error(&file, "reading it")(source)),
    };
    format::parse(&text).map(Some).map_err(|bad| match bad {
        format::BadFormat::Newer(found) => FolderError::Newer { path: path.to_owned(), found, known: FOLDER_VERSION },
        format::BadFormat::Damaged(what) => FolderError::FormatDamaged { path: path.to_owned(), what },
    })
}

fn write_format(path: &Path, format: &Format) -> Result<(), FolderError> {
    write_file(path, FORMAT_FILE, FORMAT_NEW_FILE, format.to_text().as_bytes())
}

#[cfg(test)]
mod tests;
