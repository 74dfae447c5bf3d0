//! A second folder with the store as it is now, while it goes on: hard links to the engine's immutable files, copies of its
//! few small mutable ones.
//!
//! The engine keeps a tree as tables that are never written again, a version file that lists them and `current`, which
//! names the version and is replaced by renaming. What must stay true: what is linked of a tree is one version, whole; no
//! flush runs meanwhile, so that all trees fit together and the applied positions fit them.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use ::fjall::{AbstractTree as _, Keyspace};

use super::engine::Engine;
use crate::lsn::{JournalId, Lsn};
use crate::store::StoreError;

const DOING: &str = "making a checkpoint";
const KEYSPACES: &str = "keyspaces";
const TABLES: &str = "tables";
const CURRENT: &str = "current";
/// A merge may end while its tree is linked; then it is linked again. Merges take far longer than this.
const ATTEMPTS: u32 = 100;

/// What a checkpoint holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Checkpoint {
    /// What of each journal is in it.
    pub applied: Vec<(JournalId, Lsn)>,
    /// The time of the newest entry or mark in it, ms since 1970; 0 = it is empty.
    pub newest_ms: u64,
}

/// Links everything into `into`, an empty folder on the same file system. The caller lets nobody change the store.
pub(super) fn link(engine: &Engine, folder: &Path, into: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // The engine's empty lock file too: it opens no folder without one.
        if entry.file_type().map_err(failed)?.is_file() {
            fs::copy(entry.path(), into.join(entry.file_name())).map_err(failed)?;
        }
    }
    // The engine's list of keyspaces: changed by whoever changes the store, so by nobody now.
    let (list, linked) = (folder.join(KEYSPACES).join("0"), into.join(KEYSPACES).join("0"));
    make(&linked.join(TABLES)).map_err(failed)?;
    link_files(&list, &linked).and_then(|()| link_files(&list.join(TABLES), &linked.join(TABLES))).map_err(failed)?;
    engine.keyspaces().iter().try_for_each(|keyspace| link_keyspace(keyspace, into))
}

fn link_files(from: &Path, into: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::hard_link(entry.path(), into.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn make(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

fn link_keyspace(keyspace: &Keyspace, into: &Path) -> Result<(), StoreError> {
    let from = keyspace.path();
    let name = from.file_name().unwrap_or_default();
    let linked = into.join(KEYSPACES).join(name);
    for _ in 0..ATTEMPTS {
        make(&linked.join(TABLES)).map_err(failed)?;
        if link_version(keyspace, &linked).map_err(failed)? {
            return Ok(());
        }
        fs::remove_dir_all(&linked).map_err(failed)?;
    }
    Err(failed(io::Error::other("merges ended faster than their tables could be linked")))
}

/// Links the version that holds now; false when another one held before it was done.
fn link_version(keyspace: &Keyspace, linked: &Path) -> io::Result<bool> {
    // While this lives, the engine removes none of its tables.
    let version = keyspace.tree.current_version();
    let from = keyspace.path();
    for table in version.iter_tables() {
        let name = table.id().to_string();
        fs::hard_link(from.join(TABLES).join(&name), linked.join(TABLES).join(&name))?;
    }
    let current = fs::read(from.join(CURRENT))?;
    if current.first_chunk::<8>().map(|id| u64::from_le_bytes(*id)) != Some(version.id()) {
        return Ok(false);
    }
    let name = format!("v{}", version.id());
    match fs::hard_link(from.join(&name), linked.join(&name)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        done => done?,
    }
    fs::write(linked.join(CURRENT), current)?;
    Ok(true)
}

fn failed(source: io::Error) -> StoreError {
    StoreError::Io { doing: DOING, source }
}
