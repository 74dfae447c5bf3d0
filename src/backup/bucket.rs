//! Backups in a bucket: `PREFIX/NAME/` holds what a backup's folder holds, its `MANIFEST` written last.
//!
//! A backup is taken into a folder beside the data folder, where it shares the store's files, and sent from there; it is restored
//! from a folder that it is brought to. What must stay true: without its `MANIFEST` nothing below a name is a backup; both folders are
//! gone when the command ends.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::files::{self, Progress, Scratch};
use super::manifest::{MANIFEST_FILE, Manifest, ManifestError};
use super::restore::{self, RestoreError};
use super::s3::{Place, S3Error};

/// Why a backup did not reach its bucket, or was not brought from it.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The bucket's answer.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// The folder in between.
    #[error("{path}: {doing}: {source}; name a folder with room for it by --staging", path = path.display())]
    Staging {
        /// Which.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else uses it.
    #[error("{path} is in use by another backup or restore; wait for its end, or name another folder by --staging", path = path.display())]
    Busy {
        /// Which.
        path: PathBuf,
    },
    /// It is not ours to empty.
    #[error("{path} is not empty; name a new or an empty folder by --staging", path = path.display())]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// Nothing to restore there.
    #[error("there is no backup below {place}")]
    None {
        /// Where was looked.
        place: String,
    },
    /// The manifest cannot be used, or does not go back far enough.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// None of the backups can be restored to that time.
    #[error(transparent)]
    Choice(#[from] RestoreError),
}

/// A folder for what is on its way; removed when this is dropped.
pub struct Staging {
    folder: PathBuf,
    _lock: File,
    _scratch: Scratch,
}

/// What tells a staging folder that was left by a command that was killed.
const MARK: &str = ".shardwire-staging";

impl Staging {
    /// Takes `folder`, or one beside `of`. What a command that was killed left there goes.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn new(folder: Option<&Path>, of: &Path) -> Result<Self, BucketError> {
        let folder = folder.map_or_else(|| beside(of), Path::to_owned);
        let failed = |doing| {
            let path = folder.clone();
            move |source| BucketError::Staging { path, doing, source }
        };
        files::make_folder(&folder).map_err(failed("creating it"))?;
        let lock = File::open(&folder).map_err(failed("opening it"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(BucketError::Busy { path: folder });
        }
        let mark = folder.join(MARK);
        let entries = fs::read_dir(&folder).map_err(failed("listing it"))?;
        let left: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| *path != mark).collect();
        if !left.is_empty() && !mark.exists() {
            return Err(BucketError::NotEmpty { path: folder });
        }
        for path in left {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(failed("removing what an earlier command left"))?;
        }
        File::create(&mark).map_err(failed("writing to it"))?;
        Ok(Self { _lock: lock, _scratch: Scratch::new(folder.clone()), folder })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn beside(of: &Path) -> PathBuf {
    let of = std::path::absolute(of).unwrap_or_else(|_| of.to_owned());
    let name = of.file_name().unwrap_or_default().to_string_lossy().into_owned();
    of.with_file_name(format!("{name}.backup-staging"))
}

/// Sends the backup in `folder` to `place`/`name`; its manifest last.
///
/// # Errors
/// [`BucketError`]; what was sent of it is no backup.
pub fn send(folder: &Path, place: &Place, name: &str, progress: &Progress) -> Result<(), BucketError> {
    let manifest = Manifest::read(folder)?;
    progress.expect(manifest.files.iter().map(|file| file.bytes).sum());
    for file in &manifest.files {
        place.put(&format!("{name}/{}", file.path), &folder.join(&file.path), progress)?;
    }
    place.put(&format!("{name}/{MANIFEST_FILE}"), &folder.join(MANIFEST_FILE), progress)?;
    Ok(())
}

/// Brings the backup at `place`, or the one of those below it that [`restore::restore`] would take from a folder of them, to
/// `staging`; where it is there. Its files are not checked yet.
///
/// # Errors
/// [`BucketError`].
pub fn bring(
    place: &Place,
    staging: &Staging,
    until_ms: Option<u64>,
    progress: &Progress,
) -> Result<PathBuf, BucketError> {
    let listing = place.list()?;
    let is_one = listing.objects.iter().any(|object| object == MANIFEST_FILE);
    let names = if is_one { vec![String::new()] } else { listing.folders };
    for name in &names {
        bring_file(place, staging.folder(), name, MANIFEST_FILE, &Progress::default()).or_else(unless_missing)?;
    }
    let chosen = match restore::choose(staging.folder(), until_ms) {
        Err(RestoreError::Manifest(ManifestError::Missing { .. })) => {
            return Err(BucketError::None { place: place.show("") });
        }
        chosen => chosen?,
    };
    let (folder, manifest) = chosen;
    let name =
        folder.strip_prefix(staging.folder()).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    progress.expect(manifest.files.iter().map(|file| file.bytes).sum());
    for file in &manifest.files {
        // What is missing is named with everything else that is wrong, when the files are checked.
        bring_file(place, staging.folder(), &name, &file.path, progress).or_else(unless_missing)?;
    }
    Ok(folder)
}

fn bring_file(place: &Place, to: &Path, name: &str, file: &str, progress: &Progress) -> Result<(), BucketError> {
    let inner = if name.is_empty() { file.to_owned() } else { format!("{name}/{file}") };
    let path = to.join(&inner);
    if let Some(folder) = path.parent() {
        let failed = |source| BucketError::Staging { path: folder.to_owned(), doing: "creating it", source };
        files::make_folder(folder).map_err(failed)?;
    }
    Ok(place.get(&inner, &path, progress)?)
}

fn unless_missing(error: BucketError) -> Result<(), BucketError> {
    match error {
        BucketError::S3(S3Error::Refused { status: 404, code, .. }) if code != "NoSuchBucket" => Ok(()),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_staging_folder_is_one_commands_and_gone_behind_it() {
        let room = TempDir::new().expect("a folder");
        let data = room.path().join("data");
        let staging = Staging::new(None, &data).expect("ours");
        let folder = staging.folder().to_owned();
        assert_eq!(folder, room.path().join("data.backup-staging"));
        assert!(matches!(Staging::new(None, &data), Err(BucketError::Busy { .. })));
        fs::write(folder.join("left"), "x").expect("written");
        std::mem::forget(staging._scratch);
        drop(staging._lock);
        let again = Staging::new(None, &data).expect("what was left goes");
        assert!(!folder.join("left").exists());
        drop(again);
        assert!(!folder.exists());
    }

    #[test]
    fn a_folder_with_something_in_it_is_not_emptied() {
        let room = TempDir::new().expect("a folder");
        let mine = room.path().join("mine");
        fs::create_dir(&mine).expect("made");
        fs::write(mine.join("dear"), "x").expect("written");
        assert!(matches!(Staging::new(Some(&mine), room.path()), Err(BucketError::NotEmpty { .. })));
        assert!(mine.join("dear").exists());
    }
}
