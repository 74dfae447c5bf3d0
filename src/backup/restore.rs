//! Making a data folder of a backup.
//!
//! What must stay true: nothing is made of a backup that is not whole, or in a folder that holds anything; `FORMAT` comes
//! last, so that a restore that was interrupted is not taken for a data folder.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fabric::disk::FileDisk;
use fabric::entropy::Entropy;
use schema::ids::{ChatId, ChatKind};
use schema::timeuuid::unix_ms;
use serde::{Deserialize, Serialize};
use storage_writer::folder::{self, FORMAT_FILE, FolderError, JOURNAL_FOLDER, STORE_FOLDER};
use storage_writer::journal::{self, JournalId, Lsn, Record, RecoverError};
use storage_writer::store::fjall::{FjallConfig, FjallStore};
use storage_writer::store::{Store as _, StoreError};

use super::files::{self, Progress, Scratch};
use super::manifest::{Manifest, ManifestError};
use super::rfc3339;
use super::take::backups_in;

/// Damaged files named in an error.
const NAMED: usize = 5;

/// Why nothing was restored. The target is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Files of it are not what its manifest says.
    #[error("the backup {path} is damaged: {what}; use another backup", path = path.display())]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// Which files, and how.
        what: String,
    },
    /// The target holds something.
    #[error("{path} is not empty; a backup is restored into a new or an empty folder", path = path.display())]
    NotEmpty {
        /// The target.
        path: PathBuf,
    },
    /// Asked for a time that no backup here can give.
    #[error("{path} can be restored to times from {from} on, not to {until}; use an earlier backup", path = path.display(), from = rfc3339(*from_ms), until = rfc3339(*until_ms))]
    TooEarly {
        /// The (oldest) backup.
        path: PathBuf,
        /// What it begins with.
        from_ms: u64,
        /// What was asked for.
        until_ms: u64,
    },
    /// A file or folder could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The restored store.
    #[error("what was restored: {0}")]
    Store(#[from] StoreError),
    /// The restored journals.
    #[error("what was restored: {0}")]
    Journal(#[from] RecoverError),
    /// Store and journals do not fit together.
    #[error("what was restored: chat {chat} has no entries between seq {head} and {seq}")]
    Hole {
        /// The chat.
        chat: ChatId,
        /// Its last entry before the hole.
        head: u64,
        /// The one behind it.
        seq: u64,
    },
    /// The data folder cannot be finished.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// What was restored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Restored {
    /// Of which backup.
    pub backup: PathBuf,
    /// Into which folder.
    pub data: PathBuf,
    /// Direct chats and groups.
    pub chats: u64,
    /// Entries of their logs: messages, and changes of messages and groups.
    pub entries: u64,
    /// Users' account logs.
    pub accounts: u64,
    /// The time of the newest entry, ms since 1970; 0 = it is empty.
    pub until_ms: u64,
    /// Journals that had later entries, which were left out.
    pub cut_journals: u64,
    /// The new folder's.
    pub incarnation: u64,
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> RestoreError + '_ {
    move |source| RestoreError::Io { path: path.to_owned(), source }
}

/// Restores `from`, a backup or a folder of backups, into `data`, a new or empty folder: the newest, or the newest that can
/// be restored to `until_ms` (ms since 1970), without entries of a later time. Blocks.
///
/// # Errors
/// [`RestoreError`]; `data` is as it was.
pub fn restore(
    from: &Path,
    data: &Path,
    until_ms: Option<u64>,
    entropy: &mut dyn Entropy,
    progress: &Progress,
) -> Result<Restored, RestoreError> {
    let (backup, manifest) = choose(from, until_ms)?;
    check_empty(data)?;
    files::make_folder(data).map_err(io_error(data))?;
    let guard = Contents(Some(data.to_owned()));
    copy_files(&backup, &manifest, data, progress)?;
    let cut_journals = match until_ms {
        Some(until_ms) => cut(data, until_ms)?,
        None => 0,
    };
    let mut found = Found::default();
    found.read(data)?;
    if let Some(until_ms) = until_ms.filter(|until_ms| found.store_ms > *until_ms) {
        return Err(RestoreError::TooEarly { path: backup, from_ms: found.store_ms, until_ms });
    }
    files::sync_folders(data).map_err(io_error(data))?;
    let missing = || RestoreError::Damaged { path: backup.clone(), what: format!("it has no {FORMAT_FILE}") };
    let format = folder::format_of(&backup)?.ok_or_else(missing)?;
    let format = folder::make_restored(&format, data, entropy)?;
    guard.keep();
    let accounts = found.heads.values().filter(|(kind, _)| *kind == ChatKind::Account).count() as u64;
    Ok(Restored {
        backup,
        data: data.to_owned(),
        chats: found.heads.len() as u64 - accounts,
        entries: found.heads.values().filter(|(kind, _)| *kind != ChatKind::Account).map(|(_, head)| head).sum(),
        accounts,
        until_ms: found.store_ms.max(found.journal_ms),
        cut_journals,
        incarnation: format.incarnation,
    })
}

/// The backup meant by a folder.
pub(super) fn choose(from: &Path, until_ms: Option<u64>) -> Result<(PathBuf, Manifest), RestoreError> {
    let until = until_ms.unwrap_or(u64::MAX);
    let (path, manifest) = match Manifest::read(from) {
        Err(ManifestError::Missing { path }) => {
            let mut backups = backups_in(from);
            let at = backups.iter().rposition(|(_, manifest)| manifest.from_ms <= until).unwrap_or(0);
            if backups.is_empty() {
                return Err(ManifestError::Missing { path }.into());
            }
            backups.swap_remove(at)
        }
        read => (from.to_owned(), read?),
    };
    match until_ms.filter(|until_ms| manifest.from_ms > *until_ms) {
        Some(until_ms) => Err(RestoreError::TooEarly { path, from_ms: manifest.from_ms, until_ms }),
        None => Ok((path, manifest)),
    }
}

/// Whether a backup may be restored into `data`.
///
/// # Errors
/// It holds something, or cannot be read.
pub fn check_empty(data: &Path) -> Result<(), RestoreError> {
    match fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io_error(data)(source)),
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(RestoreError::NotEmpty { path: data.to_owned() }),
            None => Ok(()),
        },
    }
}

/// Copies everything but `FORMAT`, checking each file on its way.
fn copy_files(backup: &Path, manifest: &Manifest, data: &Path, progress: &Progress) -> Result<(), RestoreError> {
    progress.expect(manifest.files.iter().map(|file| file.bytes).sum());
    let mut damaged = Vec::new();
    for file in &manifest.files {
        let (from, to) = (backup.join(&file.path), data.join(&file.path));
        if let Some(folder) = to.parent() {
            files::make_folder(folder).map_err(io_error(folder))?;
        }
        let copied =
            if file.path == FORMAT_FILE { files::content(&from, progress) } else { files::copy(&from, &to, progress) };
        match copied {
            Ok(content) if content.bytes != file.bytes => {
                damaged.push(format!("{} has {} bytes of {}", file.path, content.bytes, file.bytes));
            }
            Ok(content) if content.sha256 != file.sha256 => damaged.push(format!("{} has another checksum", file.path)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => damaged.push(format!("{} is missing", file.path)),
            Err(source) => return Err(io_error(&from)(source)),
        }
    }
    if damaged.is_empty() {
        return Ok(());
    }
    let more = damaged.len().saturating_sub(NAMED);
    damaged.truncate(NAMED);
    let mut what = damaged.join(", ");
    if more > 0 {
        what.push_str(&format!(" and {more} more"));
    }
    Err(RestoreError::Damaged { path: backup.to_owned(), what })
}

fn cut(data: &Path, until_ms: u64) -> Result<u64, RestoreError> {
    let folder = data.join(JOURNAL_FOLDER);
    let disk = FileDisk::open(&folder).map_err(io_error(&folder))?;
    Ok(journal::cut(&disk, until_ms)?.len() as u64)
}

/// What is in a restored folder.
#[derive(Default)]
struct Found {
    heads: BTreeMap<ChatId, (ChatKind, u64)>,
    store_ms: u64,
    journal_ms: u64,
}

impl Found {
    /// Reads it as a start would, and checks that store and journals fit together.
    fn read(&mut self, data: &Path) -> Result<(), RestoreError> {
        for inner in [STORE_FOLDER, JOURNAL_FOLDER] {
            files::make_folder(&data.join(inner)).map_err(io_error(data))?;
        }
        let store = FjallStore::open(&data.join(STORE_FOLDER), FjallConfig::default())?;
        store.load_chats(&mut |state| {
            self.store_ms = self.store_ms.max(state.last_ms).max(state.ticked_ms);
            self.heads.insert(state.chat, (state.kind, state.head_seq));
        })?;
        let applied: BTreeMap<JournalId, Lsn> = store.applied()?.into_iter().collect();
        let folder = data.join(JOURNAL_FOLDER);
        let disk = FileDisk::open(&folder).map_err(io_error(&folder))?;
        let mut hole = None;
        let list: Vec<_> = applied.iter().map(|(&journal, &lsn)| (journal, lsn)).collect();
        journal::recover(&disk, &list, &mut |journal: JournalId, lsn: Lsn, record: Record<'_>| {
            let Record::Append(append) = record else { return };
            if applied.get(&journal).is_some_and(|applied| lsn <= *applied) {
                return;
            }
            let (_, head) = self.heads.entry(append.chat).or_insert((append.chat_kind, 0));
            if append.seq > *head + 1 {
                hole.get_or_insert(RestoreError::Hole { chat: append.chat, head: *head, seq: append.seq });
            }
            *head = append.seq.max(*head);
            self.journal_ms = self.journal_ms.max(unix_ms(append.message));
        })?;
        hole.map_or(Ok(()), Err)
    }
}

/// A target folder: emptied when this is dropped, unless it was kept.
struct Contents(Option<PathBuf>);

impl Contents {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        let Some(folder) = &self.0 else { return };
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => drop(Scratch::new(entry.path())),
                _ => drop(fs::remove_file(entry.path())),
            }
        }
    }
}
