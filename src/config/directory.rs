//! Where routers note who is connected where.

use std::path::PathBuf;

use confique::Config as Confique;
use redis_directory::RedisConfig;
use serde::Serialize;

use super::load::OutOfBounds;

/// A copy of the routers' directory in Redis, from which a router that starts knows who is connected where
/// (docs/OPERATIONS.md). Only routers use it.
#[derive(Debug, Clone, Confique, Serialize)]
#[config(layer_attr(derive(Clone)), layer_attr(serde(deny_unknown_fields)))]
pub struct Directory {
    /// One Redis, or some nodes of one Redis Cluster: `redis://user@host:port/database`, where all but the host may be left
    /// out; `rediss://` for TLS. Empty = there is no copy. (restart)
    #[config(default = [])]
    pub urls: Vec<String>,
    /// The name of the primary that Sentinels watch: then `urls` are theirs, and they are asked without a password. Unset = there
    /// are no Sentinels. (restart)
    pub sentinel_primary: Option<String>,
    /// File with its password; unset = it asks for none. (restart)
    pub password_file: Option<PathBuf>,
}

/// Why the directory's settings cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DirectoryConfigError {
    /// The password's file cannot be read.
    #[error("directory.password_file {path}: {source}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("directory.password_file {path}: the password belongs on the first line, and nothing else", path = path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// What [`Directory::check`] lets through is not refused here.
    #[error("directory.urls: {0}")]
    Urls(#[from] redis_directory::NotAnAddress),
}

impl Directory {
    /// Checks what types cannot say.
    pub(super) fn check(&self) -> Result<(), OutOfBounds> {
        let Err(error) = RedisConfig::new(&self.urls, None, ("", "")) else { return Ok(()) };
        // The value may hold what must not be shown.
        let allowed = format!("{error}; redis://[user@]host[:port][/database], or rediss:// for TLS");
        Err(OutOfBounds { key: "directory.urls", value: "[…]".to_owned(), allowed })
    }

    /// Where the copy is; `None`: there is none. `writer`: this router's name; `cluster`: whose directory it is. Blocks.
    ///
    /// # Errors
    /// [`DirectoryConfigError`] names the file that cannot be used.
    pub fn redis(&self, writer: &str, cluster: &str) -> Result<Option<RedisConfig>, DirectoryConfigError> {
        if self.urls.is_empty() {
            return Ok(None);
        }
        let password = self.password_file.as_ref().map(|path| {
            let text = std::fs::read_to_string(path)
                .map_err(|source| DirectoryConfigError::Unreadable { path: path.clone(), source })?;
            let password = text.trim_end_matches(['\r', '\n']);
            let malformed = password.is_empty() || password.contains(['\r', '\n']);
            if malformed {
                Err(DirectoryConfigError::Malformed { path: path.clone() })
            } else {
                Ok(password.to_owned())
            }
        });
        let password = password.transpose()?;
        let redis = RedisConfig::new(&self.urls, password.as_deref(), (writer, cluster))?;
        Ok(Some(redis.with_sentinels(self.sentinel_primary.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Layer, load};
    use super::*;

    fn loaded(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shardwire.toml");
        std::fs::write(&path, text).unwrap();
        let nothing: Layer = confique::Layer::empty();
        load(Some(&path), nothing).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_that_cannot_be_is_refused_without_its_password() {
        for urls in ["\"10.0.0.1:6379\"", "\"redis://me:hunter2@10.0.0.1\"", "\"unix:///run/redis\""] {
            let error = loaded(&format!("[directory]\nurls = [{urls}]\n")).unwrap_err();
            assert!(error.contains("directory.urls") && error.contains("rediss://"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_password_is_a_file_s_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let urls = vec!["redis://10.0.0.1".to_owned()];
        let directory = Directory { urls, sentinel_primary: None, password_file: Some(path.clone()) };
        let error = directory.redis("rt-1", "c").unwrap_err().to_string();
        assert!(error.contains("directory.password_file") && error.contains("password"), "{error}");
        for (text, good) in [("se cret\n", true), ("secret", true), ("", false), ("\n", false), ("a\nb\n", false)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(directory.redis("rt-1", "c").is_ok(), good, "{text:?}");
        }
        let none = Directory { urls: Vec::new(), password_file: Some(folder.path().join("nowhere")), ..directory };
        assert!(none.redis("rt-1", "c").unwrap().is_none(), "without a Redis nothing is read");
    }
}
