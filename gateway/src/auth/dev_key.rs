//! The development key: a secret in the data folder, for whoever has configured no key.
//!
//! Whoever comes first makes it, the server or `shardwire token`, at the same moment if need be; all get the same one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fabric::entropy::Entropy;

use super::keys::{KeyError, SECRET_BYTES};

/// Its name in the data folder.
pub const DEV_KEY_FILE: &str = "dev-key";

/// An HS256 secret of 32 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct DevKey([u8; SECRET_BYTES]);

impl std::fmt::Debug for DevKey {
    /// Never prints the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DevKey")
    }
}

impl DevKey {
    /// The secret, for [`super::Keys::add`] and [`super::Minter::hs256`].
    pub const fn secret(&self) -> &[u8] {
        &self.0
    }

    /// The folder's key; made, with the folder itself, where there is none. Blocks; not for a shard's thread.
    ///
    /// # Errors
    /// The file cannot be read or made, or is not 32 bytes.
    pub fn open_or_create(folder: &Path, entropy: &mut dyn Entropy) -> Result<Self, KeyError> {
        let path = folder.join(DEV_KEY_FILE);
        let failed = |source| KeyError::Io { path: path.clone(), source };
        loop {
            match Self::read(&path) {
                Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
            fs::create_dir_all(folder).map_err(failed)?;
            match create(folder, &path, entropy) {
                Ok(()) => {}
                // Someone else was first: theirs is the key.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn read(path: &PathBuf) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io { path: path.clone(), source };
        let mut bytes = Vec::with_capacity(SECRET_BYTES + 1);
        File::open(path).and_then(|file| file.take(SECRET_BYTES as u64 + 1).read_to_end(&mut bytes)).map_err(failed)?;
        let invalid = |_| KeyError::Invalid { path: path.clone(), expected: "32 bytes; remove it to get a new one" };
        bytes.try_into().map(Self).map_err(invalid)
    }
}

/// Writes a new key under a name of its own, then links it to the real one, which fails if that exists: nobody ever sees
/// half a key, and the first one stays.
fn create(folder: &Path, path: &Path, entropy: &mut dyn Entropy) -> io::Result<()> {
    let mut secret = [0u8; SECRET_BYTES];
    entropy.fill(&mut secret);
    let own = folder.join(format!(".{DEV_KEY_FILE}.{:016x}", entropy.next_u64()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&own)?;
    let linked = file.write_all(&secret).and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&own, path));
    fs::remove_file(&own)?;
    linked?;
    File::open(folder)?.sync_all()
}
