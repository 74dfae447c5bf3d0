//! Which engine has a data folder's messages: noted in its store's folder, where it is not that folder itself.
//!
//! What must stay true: a folder whose messages are in one engine is never opened with another, or with another keyspace.

use miette::{IntoDiagnostic as _, Result, miette};
use storage_writer::folder::{self, DataFolder};

use crate::config::Store;

const ENGINE_FILE: &str = "engine";
const ENGINE_NEW_FILE: &str = "engine.new";

fn name(store: &Store) -> String {
    format!("scylla {}", store.keyspace)
}

/// The engine that is noted in a folder, `scylla KEYSPACE`; `None` = an embedded store, or none yet. Blocks.
pub fn noted(folder: &DataFolder) -> Option<String> {
    let text = std::fs::read_to_string(folder.store_path().join(ENGINE_FILE)).ok()?;
    Some(text.trim().to_owned())
}

/// Notes in a folder that its messages are in a cluster. Blocks.
///
/// # Errors
/// The file system's.
pub fn note(folder: &DataFolder, store: &Store) -> Result<()> {
    let text = format!("{}\n", name(store));
    folder::write_file(&folder.store_path(), ENGINE_FILE, ENGINE_NEW_FILE, text.as_bytes()).into_diagnostic()
}

/// The configured engine is the one that has the folder's messages, if there are any. Blocks.
///
/// # Errors
/// When it is another; says which.
pub fn check(folder: &DataFolder, store: &Store) -> Result<()> {
    let refusal = match (store.is_scylla(), noted(folder)) {
        (false, Some(noted)) => format!("keeps its messages in `{noted}`, and store.engine is embedded"),
        (true, Some(noted)) if noted != name(store) => {
            format!("keeps its messages in `{noted}`, and store.keyspace is {}", store.keyspace)
        }
        (true, None) if std::fs::read_dir(folder.store_path()).into_diagnostic()?.next().is_some() => {
            "has an embedded store, and store.engine is scylla".to_owned()
        }
        _ => return Ok(()),
    };
    let path = folder.path().display();
    Err(miette!(
        "data folder {path} {refusal}: configure what it was started with, or name an empty folder with --data"
    ))
}
