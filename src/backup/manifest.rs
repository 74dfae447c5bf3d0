//! `MANIFEST`: what a backup is of and what is in it, JSON with a checksum of its own.

use std::fs;
use std::path::{Component, Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// The file's name.
pub const MANIFEST_FILE: &str = "MANIFEST";
/// The format this build writes and the newest it reads.
pub const MANIFEST_FORMAT: u32 = 1;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The version that took it.
    pub shardwire: String,
    /// The cluster's id.
    pub cluster: String,
    /// The node's id.
    pub node: String,
    /// How often its folder had been opened.
    pub incarnation: u64,
    /// When it was begun, ms since 1970: everything acknowledged before is in it.
    pub started_ms: u64,
    /// When all was copied, ms since 1970.
    pub finished_ms: u64,
    /// The earliest time that can be restored, ms since 1970: that of the newest entry in the store.
    pub from_ms: u64,
    /// The time of its newest entry, ms since 1970.
    pub until_ms: u64,
    /// The journals it has, by id.
    pub journals: Vec<JournalLine>,
    /// Everything in it but this file, by path.
    pub files: Vec<FileLine>,
    /// SHA-256 of this text with an empty checksum.
    pub checksum: String,
}

/// One journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JournalLine {
    /// Its id.
    pub journal: u32,
    /// The partition that was writing it.
    pub partition: Option<u16>,
    /// Its last record that is in the store.
    pub applied_lsn: u64,
    /// Its last record in the backup.
    pub committed_lsn: u64,
}

/// One file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileLine {
    /// Its path in the backup.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// When what it was copied from was last written, ns since 1970.
    pub modified_ns: i64,
}

/// Why a folder cannot be used as a backup.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is none.
    #[error("{path} is no backup: it has no MANIFEST", path = path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not as it was written.
    #[error("{path} is damaged: {what}; use another backup", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Written by a newer version.
    #[error("{path} has format {found}, this version reads up to {MANIFEST_FORMAT}; restore with the newer version", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
}

impl Manifest {
    /// The text of the file, checksum included.
    pub fn to_text(&self) -> String {
        let checksum = self.sum();
        to_json(&Self { checksum, ..self.clone() })
    }

    fn sum(&self) -> String {
        let text = to_json(&Self { checksum: String::new(), ..self.clone() });
        digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The manifest of the backup in `folder`.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn read(folder: &Path) -> Result<Self, ManifestError> {
        let path = folder.join(MANIFEST_FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ManifestError::Missing { path: folder.to_owned() });
            }
            Err(source) => return Err(ManifestError::Io { path, source }),
            Ok(text) => text,
        };
        Self::parse(&text).map_err(|bad| match bad {
            Bad::Newer(found) => ManifestError::Newer { path, found },
            Bad::Damaged(what) => ManifestError::Damaged { path, what },
        })
    }

    /// The format first: of a newer one nothing else is known.
    fn parse(text: &[u8]) -> Result<Self, Bad> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u64,
        }
        let damaged = |error: serde_json::Error| Bad::Damaged(error.to_string());
        let Versioned { format } = serde_json::from_slice(text).map_err(damaged)?;
        if format > u64::from(MANIFEST_FORMAT) {
            return Err(Bad::Newer(format));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(damaged)?;
        if manifest.sum() != manifest.checksum {
            return Err(Bad::Damaged("its checksum does not match".to_owned()));
        }
        match manifest.files.iter().find(|file| !is_inside(Path::new(&file.path))) {
            Some(file) => Err(Bad::Damaged(format!("it names {:?}, which is outside the backup", file.path))),
            None => Ok(manifest),
        }
    }
}

#[derive(Debug)]
enum Bad {
    Newer(u64),
    Damaged(String),
}

fn is_inside(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn to_json(manifest: &Manifest) -> String {
    // A manifest has neither maps with odd keys nor numbers that JSON lacks.
    serde_json::to_string_pretty(manifest).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: MANIFEST_FORMAT,
            shardwire: "0.1.0".to_owned(),
            cluster: "c".to_owned(),
            node: "n".to_owned(),
            incarnation: 3,
            started_ms: 5,
            finished_ms: 6,
            from_ms: 1,
            until_ms: 4,
            journals: vec![JournalLine { journal: 1, partition: Some(0), applied_lsn: 2, committed_lsn: 9 }],
            files: vec![FileLine {
                path: "store/version".to_owned(),
                bytes: 4,
                sha256: "00".to_owned(),
                modified_ns: 1_790_000_000_123_456_789,
            }],
            checksum: String::new(),
        }
    }

    #[test]
    fn it_reads_back_and_no_byte_of_it_can_change() {
        let text = manifest().to_text();
        let read = Manifest::parse(text.as_bytes()).expect("whole");
        assert_eq!(Manifest { checksum: String::new(), ..read }, manifest());
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            // White space between two words may change: nothing is said by it.
            if let Ok(read) = Manifest::parse(&bytes) {
                assert_eq!(Manifest { checksum: String::new(), ..read }, manifest(), "byte {at}");
            }
            assert!(Manifest::parse(&text.as_bytes()[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_one_and_one_that_points_elsewhere_are_refused() {
        let newer = Manifest { format: MANIFEST_FORMAT + 1, ..manifest() }.to_text();
        assert!(matches!(Manifest::parse(newer.as_bytes()), Err(Bad::Newer(found)) if found == 2));
        for path in ["../x", "/etc/x", "store/../../x", ""] {
            let mut bad = manifest();
            bad.files[0].path = path.to_owned();
            assert!(matches!(Manifest::parse(bad.to_text().as_bytes()), Err(Bad::Damaged(_))), "{path}");
        }
    }
}
