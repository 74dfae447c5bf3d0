//! What leader and remote worker say to each other.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::snapshot::Snapshot;
use crate::fit::Host;
use crate::probe::Allowed;
use crate::tokens::Signatures;
use crate::worker::Outcome;

/// To a remote worker.
#[derive(Serialize, Deserialize)]
pub enum ToWorker {
    /// What time is it there?
    Time,
    /// A run's plan. Answered by Ready or Refused.
    Plan(Box<Assignment>),
    /// Connect the users.
    Begin,
    /// The ramp begins then, ns of the worker's monotonic clock.
    Start(u64),
    /// Sending ends now.
    Cut,
    /// The run is over: bring home what there is.
    Stop,
    /// The leader is there.
    Alive,
}

/// To the leader.
#[derive(Serialize, Deserialize)]
pub enum ToLeader {
    /// First of all.
    Hello {
        /// What the host can carry.
        host: Host,
        /// Threads it would use.
        workers: u16,
    },
    /// Its monotonic clock, ns.
    Time(u64),
    /// The plan can be carried out.
    Ready,
    /// It cannot.
    Refused(String),
    /// Where its threads stand.
    Live(Vec<Snapshot>),
    /// What they bring home.
    Home(Vec<Outcome>),
    /// They bring nothing home.
    Failed(String),
}

/// A remote worker's part of a run.
#[derive(Serialize, Deserialize)]
pub struct Assignment {
    /// The scenario, as JSON.
    pub scenario: String,
    /// The servers, and what each is called in a `Host` header.
    pub targets: Vec<(SocketAddr, String)>,
    /// Through TLS: the authorities to trust, as PEM; empty: the worker's own.
    pub secure: Option<String>,
    /// What it allows.
    pub allowed: Allowed,
    /// Tells this run's messages from those of others.
    pub run: u32,
    /// Threads of all hosts.
    pub workers: u16,
    /// The first of this worker's.
    pub first: u16,
    /// How many are its own.
    pub own: u16,
    /// The leader's clock less the worker's, ns.
    pub clock_shift_ns: i64,
    /// The tokens of its users.
    pub signatures: Signatures,
}
