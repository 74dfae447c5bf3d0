//! What the store must be told of its cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Where the cluster is and how the store uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScyllaConfig {
    /// Some of its nodes, `host:port`; the others are learned from them. At least one.
    pub nodes: Vec<String>,
    /// The keyspace: letters, digits and `_`, a letter first, at most 48.
    pub keyspace: String,
    /// Copies of everything in each datacenter, each at least 1. At least one datacenter.
    pub replication: BTreeMap<String, u32>,
    /// The datacenter whose quorum answers; one of `replication`.
    pub datacenter: String,
    /// Several writers share the keyspace, in so many partitions, `1..=128`; `None` = it is one writer's, which has a journal
    /// on its own disk. The same for the keyspace's life.
    pub partitions: Option<u16>,
    /// Whom to log in as; `None` where the cluster asks for nobody.
    pub credentials: Option<Credentials>,
    /// Chats, or other partitions, that are written to at once.
    pub concurrency: usize,
    /// A request that has no answer after so long has failed.
    pub request_timeout: Duration,
    /// A request without an answer after so long is sent to another node too. All requests may be repeated.
    pub speculate_after: Duration,
}

impl ScyllaConfig {
    /// For a cluster's nodes, with what ships: keyspace `shardwire`, three copies in `datacenter1`.
    pub fn new(nodes: Vec<String>) -> Self {
        Self {
            nodes,
            keyspace: "shardwire".to_owned(),
            replication: [("datacenter1".to_owned(), 3)].into(),
            datacenter: "datacenter1".to_owned(),
            partitions: None,
            credentials: None,
            concurrency: 256,
            request_timeout: Duration::from_secs(10),
            speculate_after: Duration::from_millis(200),
        }
    }

    /// Whether a text can be a keyspace's name.
    pub fn is_keyspace(name: &str) -> bool {
        let mut letters = name.bytes();
        let starts = letters.next().is_some_and(|first| first.is_ascii_lowercase());
        starts && name.len() <= 48 && letters.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    }
}

/// A user of the cluster. Its debug form does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl Credentials {
    /// Of a file's text: the user's name on its first line, the password on its second. `None` when one is missing or there
    /// is more.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (user, password) = (lines.next()?.trim(), lines.next()?);
        let complete = !user.is_empty() && !password.is_empty() && lines.all(|line| line.trim().is_empty());
        complete.then(|| Self { user: user.to_owned(), password: password.to_owned() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_two_lines_and_never_shown() {
        let found = Credentials::parse("shardwire\nse cret\n").expect("both are there");
        assert_eq!((found.user.as_str(), found.password.as_str()), ("shardwire", "se cret"));
        assert!(!format!("{found:?}").contains("cret"));
        for wrong in ["", "shardwire", "shardwire\n\n", "\nsecret\n", "a\nb\nc\n"] {
            assert_eq!(Credentials::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_keyspace_is_a_plain_name() {
        assert!(ScyllaConfig::is_keyspace("shardwire_2"));
        for wrong in ["", "2nd", "Shardwire", "a-b", "a;drop", &"a".repeat(49)] {
            assert!(!ScyllaConfig::is_keyspace(wrong), "{wrong:?}");
        }
    }
}
