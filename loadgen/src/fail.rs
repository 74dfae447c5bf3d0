//! Why a run cannot begin, in words for the person who started it.

use std::path::PathBuf;

/// A run without a report. Every kind but [`Failure::Lost`] is a usage error to the shell (exit code 2): no load was sent.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The scenario's file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The scenario's file is not a scenario.
    #[error("{}: {message}", path.display())]
    Scenario {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key and what is allowed.
        message: String,
    },
    /// A behaviour of the scenario cannot be carried out.
    #[error("{0}")]
    Behaviour(String),
    /// A place for a report cannot hold one.
    #[error("{option}: {} cannot be written: {source}", path.display())]
    Out {
        /// The option that names it.
        option: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The throwaway server's program is not there.
    #[error("{} is not there: build it with `cargo build --release -p shardwire`, or name one with --server PATH", path.display())]
    NoServer {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The throwaway server did not get ready.
    #[error("the server did not get ready: {0}")]
    ServerStart(String),
    /// Nobody answers at the target.
    #[error("{target} cannot be reached: {reason}")]
    Unreachable {
        /// Its address.
        target: String,
        /// Why.
        reason: String,
    },
    /// The scenario asks for more than the server allows.
    #[error("the scenario exceeds the server's limits: {0}")]
    Limits(String),
    /// No token can be made.
    #[error("{0}")]
    Tokens(String),
    /// Whom connections are to trust, or what the server is called, is no use.
    #[error(transparent)]
    Trust(#[from] fabric::net::tls::TrustError),
    /// A remote worker, or this process as one, cannot take part.
    #[error("{0}")]
    Remote(String),
    /// A remote worker was lost while the load ran: its part of the audit is missing, so there is no verdict.
    #[error("no verdict: {0}")]
    Lost(String),
    /// This host cannot carry the load generator.
    #[error("this host cannot carry the scenario: {0}")]
    Host(String),
}

impl Failure {
    /// What the process ends with.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Lost(_) => 6,
            _ => 2,
        }
    }
}
