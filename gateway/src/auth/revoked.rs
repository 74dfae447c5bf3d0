//! Revocations: users and devices whose earlier tokens are refused.
//!
//! Kept in a file of the data folder, replaced whole. What must stay true: a revocation is on the disk before it is
//! confirmed, it survives restarts, and a damaged file stops the start instead of letting revoked tokens in.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use fabric::mutex::lock;
use schema::ids::{DeviceId, UserId};
use serde::{Deserialize, Serialize};

use super::Identity;

/// Its name in the data folder.
pub const REVOKED_FILE: &str = "revoked.json";
/// Most revocations kept: about 6 MB of file.
pub const MAX_REVOKED: usize = 100_000;
const FORMAT: u32 = 1;

/// One revocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// Whose.
    #[serde(with = "decimal")]
    pub user: UserId,
    /// Which device's; `None` = all of the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<u32>,
    /// Tokens issued in this second or before are refused, s since 1970.
    pub at_s: u64,
}

/// Why a revocation does not hold, or the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RevokedError {
    /// The file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it is not a list of revocations.
    #[error("{path} is damaged or of a newer version ({detail}); restore it, or remove it to forget every revocation", path = path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        detail: String,
    },
    /// No room.
    #[error(
        "{MAX_REVOKED} revocations are kept already; replace the signing key instead, which refuses all its tokens"
    )]
    TooMany,
}

#[derive(Serialize, Deserialize)]
struct Contents {
    format: u32,
    revoked: Vec<Revocation>,
}

type Key = (UserId, Option<u32>);

/// The revocations of a process. Any thread.
#[derive(Debug, Default)]
pub struct Revoked {
    by_key: RwLock<BTreeMap<Key, u64>>,
    /// Any at all: most hosts have none.
    any: AtomicBool,
    file: Option<PathBuf>,
    writing: Mutex<()>,
}

impl Revoked {
    /// Reads the folder's revocations; none when there is no file. Blocks.
    ///
    /// # Errors
    /// `Io`, `Damaged`.
    pub fn open(folder: &Path) -> Result<Self, RevokedError> {
        let path = folder.join(REVOKED_FILE);
        let damaged = |detail: String| RevokedError::Damaged { path: path.clone(), detail };
        let by_key = match fs::read(&path) {
            Ok(bytes) => {
                let contents: Contents = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
                if contents.format != FORMAT {
                    return Err(damaged(format!("format {}, known is {FORMAT}", contents.format)));
                }
                contents.revoked.into_iter().map(|one| ((one.user, one.device), one.at_s)).collect()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(RevokedError::Io { path, source }),
        };
        let any = AtomicBool::new(!by_key.is_empty());
        Ok(Self { by_key: RwLock::new(by_key), any, file: Some(path), writing: Mutex::default() })
    }

    /// Refuses tokens of `user` (of one `device`, or of all) that were issued by `now_s`. On the disk when it returns.
    /// Blocks; not for a shard's thread.
    ///
    /// # Errors
    /// `Io`, `TooMany`: nothing is revoked then.
    pub fn add(&self, user: UserId, device: Option<DeviceId>, now_s: u64) -> Result<Revocation, RevokedError> {
        let _one_writer = lock(&self.writing);
        let mut next = self.by_key.read().unwrap_or_else(PoisonError::into_inner).clone();
        let key = (user, device.map(|device| device.0));
        // A clock that stepped back must not let tokens in that were refused.
        let at_s = next.get(&key).copied().unwrap_or(0).max(now_s);
        next.insert(key, at_s);
        if device.is_none() {
            // What was said of single devices before is said of all now.
            next.retain(|&(other, device), &mut at| other != user || device.is_none() || at > at_s);
        }
        if next.len() > MAX_REVOKED {
            return Err(RevokedError::TooMany);
        }
        if let Some(path) = &self.file {
            write(path, &list(&next)).map_err(|source| RevokedError::Io { path: path.clone(), source })?;
        }
        *self.by_key.write().unwrap_or_else(PoisonError::into_inner) = next;
        self.any.store(true, Ordering::Release);
        Ok(Revocation { user, device: key.1, at_s })
    }

    /// Whether a token that says this is refused. One without an issue time is, once its user or device is revoked.
    pub fn refuses(&self, identity: &Identity) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let by_key = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        let keys = [(identity.user, None), (identity.user, Some(identity.device.0))];
        let late = |at_s: &u64| identity.issued_s.is_none_or(|issued_s| issued_s <= *at_s);
        keys.iter().filter_map(|key| by_key.get(key)).any(late)
    }

    /// All of them, the newest first.
    pub fn list(&self) -> Vec<Revocation> {
        let mut all = list(&self.by_key.read().unwrap_or_else(PoisonError::into_inner));
        all.sort_by_key(|one| std::cmp::Reverse(one.at_s));
        all
    }
}

fn list(by_key: &BTreeMap<Key, u64>) -> Vec<Revocation> {
    by_key.iter().map(|(&(user, device), &at_s)| Revocation { user, device, at_s }).collect()
}

/// Replaces the file: a reader, and a power cut, finds the old list or the new one.
fn write(path: &Path, revoked: &[Revocation]) -> io::Result<()> {
    let contents = serde_json::to_vec(&Contents { format: FORMAT, revoked: revoked.to_vec() })?;
    let new = path.with_extension("json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&contents)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// User ids as JSON has them everywhere: decimal strings.
mod decimal {
    use schema::ids::UserId;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(user: &UserId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(user)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<UserId, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(|_| serde::de::Error::custom("a user id is a decimal string from 1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u64) -> UserId {
        UserId::new(id).expect("not 0")
    }

    fn identity(id: u64, device: u32, issued_s: Option<u64>) -> Identity {
        Identity { issued_s, ..Identity::of(user(id), DeviceId(device)) }
    }

    #[test]
    fn what_was_issued_by_then_is_refused_and_what_comes_later_is_not() {
        let revoked = Revoked::default();
        assert!(!revoked.refuses(&identity(7, 1, None)));
        revoked.add(user(7), Some(DeviceId(1)), 100).unwrap();
        for (identity, refused) in [
            (identity(7, 1, Some(100)), true),
            (identity(7, 1, Some(101)), false),
            (identity(7, 1, None), true),
            (identity(7, 2, Some(100)), false),
            (identity(7, 2, None), false),
            (identity(8, 1, Some(1)), false),
        ] {
            assert_eq!(revoked.refuses(&identity), refused, "{identity:?}");
        }
        revoked.add(user(7), None, 200).unwrap();
        assert!(revoked.refuses(&identity(7, 1, Some(200))) && revoked.refuses(&identity(7, 2, Some(150))));
        assert!(!revoked.refuses(&identity(7, 2, Some(201))) && !revoked.refuses(&identity(8, 2, None)));
        assert_eq!(revoked.list(), [Revocation { user: user(7), device: None, at_s: 200 }], "one says it all");
    }

    #[test]
    fn a_clock_that_steps_back_lets_nothing_in_again() {
        let revoked = Revoked::default();
        revoked.add(user(7), None, 200).unwrap();
        assert_eq!(revoked.add(user(7), None, 100).map(|one| one.at_s).unwrap(), 200);
        assert!(revoked.refuses(&identity(7, 1, Some(200))));
    }

    #[test]
    fn revocations_survive_a_restart_and_a_write_that_was_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let revoked = Revoked::open(folder.path()).unwrap();
        revoked.add(user(u64::MAX), None, 50).unwrap();
        revoked.add(user(9), Some(DeviceId(3)), 60).unwrap();
        fs::write(folder.path().join("revoked.json.new"), "{\"format\":1,\"revo").unwrap();
        let again = Revoked::open(folder.path()).unwrap();
        assert_eq!(again.list(), revoked.list());
        assert!(again.refuses(&identity(u64::MAX, 5, Some(50))) && again.refuses(&identity(9, 3, None)));
        again.add(user(1), None, 70).unwrap();
        assert_eq!(Revoked::open(folder.path()).unwrap().list().len(), 3);
    }

    #[test]
    fn a_damaged_list_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        for text in
            ["", "{", "{\"format\":2,\"revoked\":[]}", "{\"format\":1,\"revoked\":[{\"user\":\"0\",\"at_s\":1}]}"]
        {
            fs::write(folder.path().join(REVOKED_FILE), text).unwrap();
            let error = Revoked::open(folder.path()).expect_err(text).to_string();
            assert!(error.contains("revoked.json is damaged"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_not_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let revoked = Revoked::open(folder.path()).unwrap();
        drop(folder);
        assert!(matches!(revoked.add(user(7), None, 100), Err(RevokedError::Io { .. })));
        assert!(!revoked.refuses(&identity(7, 1, None)));
    }
}
