//! Taking a backup.
//!
//! First the store's files are linked into a folder beside it, which takes moments and fixes what of the journals is
//! needed; then journals, and at last those files, are copied at the target's pace while the server goes on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fabric::disk::{Disk as _, FileDisk};
use fabric::time::{Clock as _, SystemClock};
use gateway::auth::dev_key::DEV_KEY_FILE;
use gateway::auth::revoked::REVOKED_FILE;
use schema::timeuuid::unix_ms;
use serde::{Deserialize, Serialize};
use storage_writer::folder::{FORMAT_FILE, Format, JOURNAL_FOLDER, STORE_FOLDER};
use storage_writer::journal::{self, CopyError, JournalId, Lsn, Record, Watch};
use storage_writer::store::fjall::{Checkpoint, FjallStore};

use super::files::{self, Content, Progress, Scratch};
use super::manifest::{FileLine, JournalLine, MANIFEST_FILE, MANIFEST_FORMAT, Manifest};
use super::{BackupError, io_error};

/// Where the store's files are linked to meanwhile, in the data folder.
const STAGING_FOLDER: &str = "backup-staging";
/// Journals that were freed while they were copied are copied anew so often.
const ATTEMPTS: u32 = 3;

/// What is backed up.
pub struct Source {
    /// The data folder.
    pub folder: PathBuf,
    /// Whose it is.
    pub format: Format,
    /// Its store.
    pub store: Arc<FjallStore>,
    /// Its journals' folder.
    pub disk: FileDisk,
    /// Of the journals being written, by partition; none where nobody serves.
    pub watches: Vec<Watch>,
}

/// A backup that was taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Taken {
    /// Its folder.
    pub path: PathBuf,
    /// Files in it, the manifest left out.
    pub files: u64,
    /// Their length together.
    pub bytes: u64,
    /// Of these, bytes that it shares with the backup before.
    pub shared_bytes: u64,
    /// Everything acknowledged before is in it, ms since 1970.
    pub started_ms: u64,
    /// The earliest time that can be restored, ms since 1970.
    pub from_ms: u64,
    /// The time of its newest entry, ms since 1970.
    pub until_ms: u64,
}

impl Source {
    /// Removes what a process that was killed left.
    pub fn clean(&self) {
        drop(Scratch::new(self.folder.join(STAGING_FOLDER)));
    }

    /// Takes a backup into a new folder in `to`, named by the time. Blocks, for as long as copying takes.
    ///
    /// # Errors
    /// [`BackupError`]; nothing is left of it.
    pub fn take(&self, to: &Path, progress: &Progress) -> Result<Taken, BackupError> {
        let inside = |path: &Path| path.starts_with(&self.folder);
        if inside(to)
            || fs::canonicalize(to).is_ok_and(|to| fs::canonicalize(&self.folder).is_ok_and(|f| to.starts_with(f)))
        {
            return Err(BackupError::Inside { path: to.to_owned() });
        }
        files::make_folder(to).map_err(io_error(to, "creating it"))?;
        remove_partial(to, &self.format)?;
        let previous = newest(to, &self.format);
        let started_ms = SystemClock.now().wall_ms();
        let partial = to.join(format!("{}{}", partial_prefix(&self.format), self.format.incarnation));
        let staging = self.folder.join(STAGING_FOLDER);
        let (guard, _staged) = (Scratch::new(partial.clone()), Scratch::new(staging.clone()));
        let mut taking = Taking {
            source: self,
            partial: &partial,
            staging: &staging,
            progress,
            previous,
            files: Vec::new(),
            shared_bytes: 0,
        };
        let (checkpoint, live) = taking.journals()?;
        let (journals, newest_ms) = taking.check_journals(&checkpoint, &live)?;
        taking.store()?;
        taking.small_files()?;
        let (files, shared_bytes) = (taking.files, taking.shared_bytes);
        let bytes = files.iter().map(|file| file.bytes).sum();
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            shardwire: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: self.format.cluster.to_string(),
            node: self.format.node.to_string(),
            incarnation: self.format.incarnation,
            started_ms,
            finished_ms: SystemClock.now().wall_ms(),
            from_ms: checkpoint.newest_ms,
            until_ms: newest_ms.max(checkpoint.newest_ms),
            journals,
            files,
            checksum: String::new(),
        };
        let path = partial.join(MANIFEST_FILE);
        files::write(&path, manifest.to_text().as_bytes()).map_err(io_error(&path, "writing it"))?;
        let path = publish(&partial, to, started_ms)?;
        guard.keep();
        let Manifest { files, from_ms, until_ms, .. } = manifest;
        Ok(Taken { path, files: files.len() as u64, bytes, shared_bytes, started_ms, from_ms, until_ms })
    }
}

/// Gives a whole backup its name, durably.
fn publish(partial: &Path, to: &Path, started_ms: u64) -> Result<PathBuf, BackupError> {
    files::sync_folders(partial).map_err(io_error(partial, "syncing it"))?;
    let stamp = i64::try_from(started_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let stamp = stamp.unwrap_or_default().strftime("%Y%m%dT%H%M%S").to_string();
    let path = to.join(format!("{stamp}.{:03}Z", started_ms % 1_000));
    fs::rename(partial, &path).map_err(io_error(&path, "renaming to it"))?;
    fs::File::open(to).and_then(|folder| folder.sync_all()).map_err(io_error(to, "syncing it"))?;
    Ok(path)
}

fn partial_prefix(format: &Format) -> String {
    format!(".partial-{}-", format.node)
}

/// What earlier backups of this node left when they were killed.
fn remove_partial(to: &Path, format: &Format) -> Result<(), BackupError> {
    let prefix = partial_prefix(format);
    for entry in fs::read_dir(to).map_err(io_error(to, "listing it"))? {
        let entry = entry.map_err(io_error(to, "listing it"))?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_dir_all(entry.path())
                .map_err(io_error(&entry.path(), "removing what an earlier backup left"))?;
        }
    }
    Ok(())
}

/// The backups in a folder, newest last; those that cannot be read are left out.
pub fn backups_in(folder: &Path) -> Vec<(PathBuf, Manifest)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> = entries.filter_map(|path| Some((Manifest::read(&path).ok()?, path))).collect();
    found.sort_by_key(|(backup, _)| backup.started_ms);
    found.into_iter().map(|(manifest, path)| (path, manifest)).collect()
}

/// The last backup of the same node, its files by path.
fn newest(to: &Path, format: &Format) -> Option<Previous> {
    let node = format.node.to_string();
    let (path, manifest) = backups_in(to).into_iter().rfind(|(_, manifest)| manifest.node == node)?;
    Some(Previous { path, files: manifest.files.into_iter().map(|file| (file.path.clone(), file)).collect() })
}

struct Previous {
    path: PathBuf,
    files: BTreeMap<String, FileLine>,
}

/// A backup on its way.
struct Taking<'a> {
    source: &'a Source,
    partial: &'a Path,
    staging: &'a Path,
    progress: &'a Progress,
    previous: Option<Previous>,
    files: Vec<FileLine>,
    shared_bytes: u64,
}

type Live = Vec<(JournalId, Lsn)>;

impl Taking<'_> {
    /// Stages the store and copies the journals behind it. Segments that are free meanwhile are not used again.
    fn journals(&mut self) -> Result<(Checkpoint, Live), BackupError> {
        let _holds: Vec<_> = self.source.watches.iter().map(Watch::hold).collect();
        let mut attempt = 1;
        loop {
            match self.stage_and_copy() {
                Err(BackupError::Copy(CopyError::Reused { file })) if attempt < ATTEMPTS => {
                    tracing::info!(file, "a journal segment was freed while it was copied; copying again");
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    fn stage_and_copy(&mut self) -> Result<(Checkpoint, Live), BackupError> {
        for folder in [self.staging, self.partial] {
            drop(Scratch::new(folder.to_owned()));
            files::make_folder(folder).map_err(io_error(folder, "creating it"))?;
        }
        // First of all: what is committed by now must be in it.
        let live: Live = self.source.watches.iter().map(|watch| (watch.journal(), watch.committed())).collect();
        let listed = self.source.disk.list().map_err(io_error(self.source.disk.folder(), "listing it"))?;
        let checkpoint = self.source.store.checkpoint(self.staging)?;
        let journals = self.partial.join(JOURNAL_FOLDER);
        files::make_folder(&journals).map_err(io_error(&journals, "creating it"))?;
        let mut write = |name: &str, bytes: &[u8]| {
            self.progress.expect(bytes.len() as u64);
            files::write(&journals.join(name), bytes)?;
            self.progress.advance(bytes.len() as u64);
            Ok(())
        };
        journal::copy(&self.source.disk, &listed, &checkpoint.applied, &live, &mut write)?;
        Ok((checkpoint, live))
    }

    /// Reads the copied journals as a start would, which closes them; what is in them, and the time of the newest entry.
    fn check_journals(
        &mut self,
        checkpoint: &Checkpoint,
        live: &[(JournalId, Lsn)],
    ) -> Result<(Vec<JournalLine>, u64), BackupError> {
        let folder = self.partial.join(JOURNAL_FOLDER);
        let disk = FileDisk::open(&folder).map_err(io_error(&folder, "opening it"))?;
        let mut newest_ms = 0;
        let mut visit = |_: JournalId, _: Lsn, record: Record<'_>| {
            if let Record::Append(append) = record {
                newest_ms = unix_ms(append.message).max(newest_ms);
            }
        };
        let recovered = journal::recover(&disk, &checkpoint.applied, &mut visit)?;
        let mut lines: BTreeMap<u32, JournalLine> = BTreeMap::new();
        for &(JournalId(journal), Lsn(applied_lsn)) in &checkpoint.applied {
            lines.insert(journal, JournalLine { journal, partition: None, applied_lsn, committed_lsn: applied_lsn });
        }
        let last = recovered.journals.iter().map(|journal| (journal.id, journal.last_lsn));
        for (JournalId(journal), Lsn(lsn)) in last {
            let new = JournalLine { journal, partition: None, applied_lsn: 0, committed_lsn: 0 };
            lines.entry(journal).or_insert(new).committed_lsn = lsn;
        }
        for (partition, &(JournalId(journal), _)) in (0u16..).zip(live) {
            let new = JournalLine { journal, partition: None, applied_lsn: 0, committed_lsn: 0 };
            lines.entry(journal).or_insert(new).partition = Some(partition);
        }
        for file in files::walk(&folder).map_err(io_error(&folder, "listing it"))? {
            let path = folder.join(&file);
            let content = files::content(&path, &Progress::default()).map_err(io_error(&path, "reading it"))?;
            self.add(&Path::new(JOURNAL_FOLDER).join(file), content, &path)?;
        }
        Ok((lines.into_values().collect(), newest_ms))
    }

    /// Moves the staged store over: what the last backup has is linked, what can be linked from the staging folder too, the
    /// rest is copied.
    fn store(&mut self) -> Result<(), BackupError> {
        let staged = files::walk(self.staging).map_err(io_error(self.staging, "listing it"))?;
        for file in &staged {
            let path = self.staging.join(file);
            self.progress.expect(files::stamp(&path).map_err(io_error(&path, "reading it"))?.1);
        }
        for file in staged {
            let (from, inner) = (self.staging.join(&file), Path::new(STORE_FOLDER).join(&file));
            let to = self.partial.join(&inner);
            if let Some(folder) = to.parent() {
                files::make_folder(folder).map_err(io_error(folder, "creating it"))?;
            }
            if self.share(&from, &inner, &to)? {
                continue;
            }
            let linked = is_immutable(&file) && fs::hard_link(&from, &to).is_ok();
            let done = if linked { files::content(&to, self.progress) } else { files::copy(&from, &to, self.progress) };
            self.add(&inner, done.map_err(io_error(&to, "writing it"))?, &from)?;
        }
        Ok(())
    }

    /// Links a file of the last backup that is the same; whether there was one.
    fn share(&mut self, from: &Path, inner: &Path, to: &Path) -> Result<bool, BackupError> {
        let Some(previous) = &self.previous else { return Ok(false) };
        let Some(before) = previous.files.get(&*inner.to_string_lossy()).filter(|_| is_immutable(inner)) else {
            return Ok(false);
        };
        let stamp = files::stamp(from).map_err(io_error(from, "reading it"))?;
        let there = previous.path.join(inner);
        let whole = files::stamp(&there).is_ok_and(|(_, bytes)| bytes == before.bytes);
        if stamp != (before.modified_ns, before.bytes) || !whole || fs::hard_link(&there, to).is_err() {
            return Ok(false);
        }
        self.shared_bytes += before.bytes;
        self.progress.advance(before.bytes);
        self.files.push(before.clone());
        Ok(true)
    }

    fn small_files(&mut self) -> Result<(), BackupError> {
        for name in [FORMAT_FILE, DEV_KEY_FILE, REVOKED_FILE] {
            let (from, to) = (self.source.folder.join(name), self.partial.join(name));
            match files::copy(&from, &to, &Progress::default()) {
                Ok(content) => self.add(Path::new(name), content, &from)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && name != FORMAT_FILE => {
                    drop(fs::remove_file(&to));
                }
                Err(source) => return Err(io_error(&from, "copying it")(source)),
            }
        }
        Ok(())
    }

    /// Notes a file of the backup. `from`: what it was copied from.
    fn add(&mut self, inner: &Path, content: Content, from: &Path) -> Result<(), BackupError> {
        let (modified_ns, _) = files::stamp(from).map_err(io_error(from, "reading it"))?;
        let Content { bytes, sha256 } = content;
        self.files.push(FileLine { path: inner.to_string_lossy().into_owned(), bytes, sha256, modified_ns });
        Ok(())
    }
}

/// The engine never writes its tables and versions again.
fn is_immutable(path: &Path) -> bool {
    let in_tables = path.parent().is_some_and(|parent| parent.ends_with("tables"));
    let version = path.file_name().and_then(|name| name.to_str()?.strip_prefix('v')?.parse::<u64>().ok());
    in_tables || version.is_some()
}
