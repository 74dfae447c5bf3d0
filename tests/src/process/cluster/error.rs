//! What can go wrong with a cluster, for the person who started it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a cluster is not there.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A file of its folder cannot be written.
    #[error("{}: cannot be written: {source}; name another folder with --folder", path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A port is another's.
    #[error("{address} ({what} of {name}) cannot be listened on: {source}; name other ports with --first-port")]
    Port {
        /// Whose.
        name: String,
        /// Which of its listeners.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The store's tables cannot be made.
    #[error("`shardwire migrate` failed: {0}")]
    Migrate(String),
    /// There are not enough free ports.
    #[error("no free ports were found on 127.0.0.1 below the ephemeral ones; name some with --first-port")]
    NoPorts,
    /// The relays cannot listen.
    #[error("the relays between the nodes cannot listen: {0}")]
    Relays(std::io::Error),
    /// The nodes cannot have hosts of their own.
    #[error("{command}: {said}; a network namespace for each node needs root and iproute2")]
    Hosts {
        /// What was tried.
        command: String,
        /// What came of it.
        said: String,
    },
    /// No node can be given a clock of its own.
    #[error(
        "libfaketimeMT.so.1 is not there, which gives a process a clock of its own: `apt-get install faketime`, or name it \
         in SHARDWIRE_FAKETIME"
    )]
    NoFaketime,
    /// A program cannot be started.
    #[error("{name}: cannot start {}: {source}", program.display())]
    Start {
        /// Which node.
        name: String,
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A node ended though nobody told it to.
    #[error("{name} (pid {pid}) ended by itself: {status}; its log is {}\n{said}", log.display())]
    Ended {
        /// Which node.
        name: String,
        /// Its process.
        pid: u32,
        /// How.
        status: ExitStatus,
        /// Where its log is.
        log: PathBuf,
        /// What it wrote last.
        said: String,
    },
    /// Some are not ready.
    #[error("the cluster was not ready within {within_s} s:\n{said}")]
    NotReady {
        /// How long it was waited for, s.
        within_s: u64,
        /// What those that were not said.
        said: String,
    },
    /// A node did not end as it should.
    #[error("{name} did not end well after SIGTERM: {how}; its log is {}", log.display())]
    NotStopped {
        /// Which node.
        name: String,
        /// What happened.
        how: String,
        /// Where its log is.
        log: PathBuf,
    },
    /// No token could be made.
    #[error("no token could be made: {0}")]
    Token(String),
}
