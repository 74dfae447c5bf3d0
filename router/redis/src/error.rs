//! Why a Redis cannot hold this directory. Each says what to do.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// None of the addresses answers.
    #[error("directory: no Redis answers at {addresses}: {what}; check that it runs, and directory.urls")]
    Unreachable {
        /// As configured.
        addresses: String,
        /// The driver's words.
        what: String,
    },
    /// No Sentinel knows where the primary is.
    #[error(
        "directory: no Sentinel at {addresses} knows a primary {primary:?}: {what}; check that they run, directory.urls (which \
         are Sentinels' where directory.sentinel_primary is set) and directory.sentinel_primary"
    )]
    NoPrimary {
        /// As configured.
        addresses: String,
        /// As configured.
        primary: String,
        /// The last one's words.
        what: String,
    },
    /// It does not let us in.
    #[error(
        "directory: the Redis at {addresses} does not take this user or password: {what}; set directory.password_file, and \
         the user in directory.urls (redis://USER@host:port) where it has users"
    )]
    Password {
        /// As configured.
        addresses: String,
        /// Its answer.
        what: String,
    },
    /// Somebody else's directory.
    #[error(
        "directory: the Redis at {addresses} holds the directory of cluster {found}, and this is {expected}; name another Redis \
         or database in directory.urls, or, where that cluster is gone, delete the key {key} there"
    )]
    OtherCluster {
        /// As configured.
        addresses: String,
        /// The Redis's.
        found: String,
        /// This node's.
        expected: String,
        /// Where it is noted.
        key: &'static str,
    },
    /// Slots without a node.
    #[error(
        "directory: the Redis Cluster at {addresses} serves {covered} of 16384 slots; mend it (`redis-cli --cluster fix`) first"
    )]
    NotWhole {
        /// As configured.
        addresses: String,
        /// Slots that are served.
        covered: usize,
    },
    /// Several that are not one cluster.
    #[error(
        "directory: directory.urls names {count} addresses, and {address} is no node of a Redis Cluster; name one Redis, or \
         nodes of one cluster"
    )]
    Several {
        /// Addresses there are.
        count: usize,
        /// The one that answered.
        address: String,
    },
    /// Any other refusal.
    #[error(
        "directory: the Redis at {address} refuses {doing}: {what}; a primary of version 5 or later is needed, whose user may \
         run scripts, SCAN and PING on the keys user:* and {key}"
    )]
    Refused {
        /// Which node.
        address: String,
        /// What was being done.
        doing: &'static str,
        /// Its answer.
        what: String,
        /// The key that is not a user's.
        key: &'static str,
    },
    /// The thread cannot be started.
    #[error("directory: the mirror's thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Whether it is the password, or its absence, that is refused.
pub(crate) fn is_password(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}

/// Whether a Redis says that it is none of a cluster.
pub(crate) fn is_no_cluster(error: &RedisError) -> bool {
    let disabled = error.detail().is_some_and(|detail| detail.contains("cluster support disabled"));
    error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError) && disabled
}
