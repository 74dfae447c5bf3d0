//! Why a keyspace cannot be used or brought up to date. Each says what to do.

use std::fmt::Display;

use storage_writer::folder::FolderId;
use storage_writer::store::StoreError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// None of the nodes answers, or they do not let us in.
    #[error(
        "store: none of {nodes} can be used: {what}; check that the cluster runs, store.nodes, and store.credentials_file \
         where the cluster asks who comes"
    )]
    Unreachable {
        /// As configured.
        nodes: String,
        /// The driver's words.
        what: String,
    },
    /// No node is where the quorum is to be asked.
    #[error(
        "store: no node of the cluster is in the datacenter {wanted:?}; its datacenters are {found}: set store.datacenter and store.replication"
    )]
    NoSuchDatacenter {
        /// As configured.
        wanted: String,
        /// Those there are.
        found: String,
    },
    /// More copies than nodes.
    #[error(
        "store: store.replication wants {wanted} copies in {datacenter:?}, which has {found} nodes: add nodes, or ask for fewer copies"
    )]
    TooFewNodes {
        /// Where.
        datacenter: String,
        /// Copies, as configured.
        wanted: u32,
        /// Nodes there are.
        found: usize,
    },
    /// The keyspace keeps fewer copies than configured.
    #[error(
        "store: the keyspace {keyspace} keeps {found} copies in {datacenter:?} and store.replication wants {wanted}: \
         ALTER KEYSPACE {keyspace} and repair it, or configure what it has"
    )]
    Replication {
        /// Which keyspace.
        keyspace: String,
        /// Where.
        datacenter: String,
        /// Copies, as configured.
        wanted: u32,
        /// Copies, as it is.
        found: usize,
    },
    /// There is no such keyspace.
    #[error("store: there is no keyspace {keyspace}; `shardwire migrate` with this configuration makes it")]
    NoKeyspace {
        /// As configured.
        keyspace: String,
    },
    /// Somebody else's tables.
    #[error(
        "store: the keyspace {keyspace} has tables and they are not Shardwire's; name another one as store.keyspace"
    )]
    Foreign {
        /// As configured.
        keyspace: String,
    },
    /// Its tables are of an earlier version.
    #[error(
        "store: the keyspace {keyspace} has schema version {found} and this build needs {known}; run `shardwire migrate`"
    )]
    Older {
        /// Which keyspace.
        keyspace: String,
        /// Its version; 0 = no migration was ever finished.
        found: u16,
        /// This build's.
        known: u16,
    },
    /// Its tables are of a later version.
    #[error(
        "store: the keyspace {keyspace} has schema version {found}, newer than this build's {known}; start the newer version"
    )]
    Newer {
        /// Which keyspace.
        keyspace: String,
        /// Its version.
        found: u16,
        /// This build's.
        known: u16,
    },
    /// A migration was applied with another text.
    #[error(
        "store: migration {number} of the keyspace {keyspace} is not this build's: it was made by a build that was never released; use an empty keyspace"
    )]
    Changed {
        /// Which keyspace.
        keyspace: String,
        /// Which migration.
        number: u16,
    },
    /// It belongs to another data folder.
    #[error(
        "store: the keyspace {keyspace} belongs to cluster {found} and the data folder to cluster {expected}; configure the keyspace or the data folder that belongs to the other"
    )]
    OtherCluster {
        /// Which keyspace.
        keyspace: String,
        /// The keyspace's.
        found: FolderId,
        /// The data folder's.
        expected: FolderId,
    },
    /// It is shared in another way than configured.
    #[error(
        "store: the keyspace {keyspace} is {found} and the configuration wants {wanted}; configure what it is (store.ack, store.partitions), or name an empty keyspace as store.keyspace"
    )]
    Sharing {
        /// Which keyspace.
        keyspace: String,
        /// How it is shared.
        found: String,
        /// As configured.
        wanted: String,
    },
    /// A number of partitions that cannot be.
    #[error("store: store.partitions is {partitions}; it must be from 1 to {max}")]
    Partitions {
        /// As configured.
        partitions: u16,
        /// The most there can be.
        max: u16,
    },
    /// Another process applies migrations.
    #[error(
        "store: the keyspace {keyspace} is being migrated by another process, or one was killed while it did; try again, after {lock_s} s at most"
    )]
    Locked {
        /// Which keyspace.
        keyspace: String,
        /// How long a lock lasts whose holder is gone, s.
        lock_s: i32,
    },
    /// The cluster refused, or went away.
    #[error("store: {doing}: {what}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// Its answer.
        what: String,
    },
    /// The threads of the driver cannot be started.
    #[error("store: the driver's threads cannot be started: {0}")]
    Threads(#[from] std::io::Error),
    /// What was read first cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The cluster's answer to a request of a migration or a start.
pub fn refused<E: Display>(doing: &'static str) -> impl Fn(E) -> SetupError {
    move |error| SetupError::Refused { doing, what: error.to_string() }
}

/// The cluster's answer to a request of a store that is open.
pub fn away<E: Display>(doing: &'static str) -> impl Fn(E) -> StoreError {
    move |error| StoreError::Away { doing, what: error.to_string() }
}
