//! A scenario: what load, on what server, judged by which thresholds. Unknown keys and impossible values are refused
//! by name before anything starts.

mod check;
mod day;
mod groups;
mod shapes;
mod thresholds;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::behave::Behaviours;
use crate::fail::Failure;

pub(crate) use check::within;
pub use day::Day;
pub use groups::Groups;
pub use shapes::{SIZE_BYTES_MAX, Size, Step, Think};
pub use thresholds::Thresholds;

/// Shortest message: it carries its intended send time, 16 hexadecimal digits.
pub const SIZE_BYTES_MIN: usize = 16;
/// Most messages a run audits.
pub const MESSAGES_MAX: u64 = 1_000_000_000;
/// Most users of a run.
pub const USERS_MAX: u32 = 2_000_000;

/// A whole scenario file.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Shown in the report; the file's name when empty.
    #[serde(default)]
    pub name: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// The throwaway server; without effect on a target.
    #[serde(default)]
    pub server: Server,
    /// What is asked of it.
    pub load: Load,
    /// What happens to the users or to the server meanwhile; the kinds are in [`crate::behave`].
    #[serde(default, rename = "behaviour")]
    #[schemars(with = "Vec<BTreeMap<String, serde_json::Value>>")]
    pub behaviours: Vec<toml::Table>,
    /// What must hold.
    #[serde(default)]
    pub thresholds: Thresholds,
}

/// How the throwaway server is started.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Connection threads; the server's own choice when absent.
    pub shards: Option<u16>,
    /// Owner partitions; the server's own choice when absent.
    pub partitions: Option<u16>,
    /// Its `[limits]`; 0 = unlimited.
    #[serde(default)]
    pub limits: Limits,
    /// Its `[storage]`.
    #[serde(default)]
    pub storage: Storage,
}

/// The throwaway server's limits; absent = its default.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Sends a session may have unanswered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight_per_session: Option<u32>,
    /// Sends a second a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sends_per_second_per_user: Option<u32>,
    /// Sends a user may make at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst_per_user: Option<u32>,
    /// Largest frame, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_bytes: Option<u32>,
    /// Bytes waiting for one reader before pushing to it stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_buffer_bytes: Option<u32>,
    /// A silent session is closed after so long, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout_ms: Option<u32>,
    /// How often clients ping, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_interval_ms: Option<u32>,
    /// Most members of a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_members: Option<u32>,
}

/// The throwaway server's storage; absent = its default.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// A partition's memory table, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_table_bytes: Option<u64>,
}

/// What the users speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Size-prefixed FlatBuffers.
    Native,
    /// Messages of a WebSocket.
    WebSocket,
}

impl Protocol {
    /// As the fabric knows it.
    pub const fn spoken(self) -> fabric::core::Protocol {
        match self {
            Self::Native => fabric::core::Protocol::Native,
            Self::WebSocket => fabric::core::Protocol::WebSocket,
        }
    }
}

/// What a WebSocket message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// A JSON event, as text.
    #[default]
    Json,
    /// A native frame, as it is.
    FlatBuffers,
}

/// How sends are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// At a rate, whatever the server does.
    Open,
    /// So many unanswered a user; an answer makes room for the next.
    Closed,
    /// Connected, pinging, silent.
    Idle,
    /// Connect, authenticate, leave, again.
    Connect,
}

/// When the sends of an open load are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Evenly spaced.
    #[default]
    Even,
    /// With exponential gaps, as independent users would.
    Poisson,
}

/// Who writes to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pairs {
    /// Neighbours write to each other: both directions share a chat.
    #[default]
    Mutual,
    /// Each to the next: every chat has one writer.
    Ring,
    /// Each to the next in a seeded shuffle.
    Shuffled,
}

/// What the throwaway server's tokens are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// The folder's development key.
    #[default]
    Hs256,
    /// A P-256 key made for the run.
    Es256,
}

/// What is asked of the server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Connected users, one device each.
    pub users: u32,
    /// What they speak.
    #[serde(default = "native")]
    pub protocol: Protocol,
    /// WebSocket: what a message holds; `json` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// Through TLS. A throwaway server gets a certificate of its own; a target's must be one that this host, or --tls-ca,
    /// trusts.
    #[serde(default)]
    pub tls: bool,
    /// How sends are timed.
    pub mode: Mode,
    /// Open: messages a second, all users together.
    pub rate: Option<f64>,
    /// Open: instead of `rate` and `steady_s`: one rate after the other.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Open: instead of these: a day, compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<Day>,
    /// Open: how they are spaced.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Closed: unanswered sends a user.
    pub in_flight: Option<u32>,
    /// Closed: pauses between an answer and the next send; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub think: Option<Think>,
    /// Stop sending after so many messages, all users together.
    pub messages: Option<u64>,
    /// Connections opened a second; 0 = as fast as they come.
    #[serde(default)]
    pub connects_per_second: f64,
    /// All users must be authenticated within, seconds.
    #[serde(default = "thirty")]
    pub connect_timeout_s: f64,
    /// Load rises for so long, seconds; not measured.
    #[serde(default = "one")]
    pub ramp_s: f64,
    /// The measured phase, seconds at most (`messages` may end it earlier); the sum of the steps where there are any.
    #[serde(default)]
    pub steady_s: f64,
    /// Load goes on for so long after it, seconds; not measured.
    #[serde(default)]
    pub cool_down_s: f64,
    /// What is outstanding at the end is waited for, seconds at most.
    #[serde(default = "thirty")]
    pub drain_s: f64,
    /// Payload of a message; the largest where `size` says how they vary.
    #[serde(default = "size_128")]
    pub size_bytes: usize,
    /// Payloads that vary, instead of `size_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Who writes to whom.
    #[serde(default)]
    pub pairs: Pairs,
    /// Receivers a user takes turns with.
    #[serde(default = "one_u32")]
    pub peers: u32,
    /// Open: groups among the users, made before the ramp; what is not written to them is written in pairs.
    #[serde(default)]
    pub groups: Vec<Groups>,
    /// The same seed (and number of workers) gives the same pairs, order, sizes, pauses and behaviours.
    #[serde(default = "one_u64")]
    pub seed: u64,
    /// Receivers mark what they got as delivered, once a batch.
    #[serde(default = "yes")]
    pub acks: bool,
    /// Senders must be told of every mark by a receipt, and it is audited; without effect where `acks` is false.
    #[serde(default = "yes")]
    pub receipts: bool,
    /// Receivers also mark what they got as read, so long after it came; they never do when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Think>,
    /// A receiver's marks go out at most this often, ms; 0 = with every batch.
    #[serde(default)]
    pub mark_interval_ms: u32,
    /// Connections cut a second, all users together; each comes back as a client does.
    #[serde(default)]
    pub drops_per_second: f64,
    /// Worker threads; 0 = half the cores, more when a thread's limit on open files asks for it.
    #[serde(default)]
    pub workers: u16,
    /// Addresses of this host that connections come from, in turns; loopback targets need none named.
    #[serde(default)]
    pub sources: Vec<IpAddr>,
    /// The lowest user id; the others follow.
    #[serde(default = "one_u64")]
    pub first_user: u64,
    /// What the throwaway server's tokens are signed with.
    #[serde(default)]
    pub token: TokenKind,
    /// Errors that are expected all the time, by their class or their whole name: they are counted apart.
    #[serde(default)]
    pub tolerate: Vec<String>,
    /// Mode `connect`: a user comes again with the token it had, as devices do, and the server may know it; without it each
    /// connect brings a token that nobody has seen.
    #[serde(default)]
    pub keep_tokens: bool,
}

fn native() -> Protocol {
    Protocol::Native
}
fn one() -> f64 {
    1.0
}
fn thirty() -> f64 {
    30.0
}
fn size_128() -> usize {
    128
}
fn one_u32() -> u32 {
    1
}
fn one_u64() -> u64 {
    1
}
fn yes() -> bool {
    true
}

impl Scenario {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// With the file, the key and what is allowed.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Failure::Unreadable { path: path.to_owned(), source })?;
        let mut scenario =
            Self::parse(&text).map_err(|message| Failure::Scenario { path: path.to_owned(), message })?;
        if scenario.name.is_empty() {
            scenario.name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        }
        Ok(scenario)
    }

    /// Reads and checks a scenario's text.
    ///
    /// # Errors
    /// What is wrong: the key, its value, what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scenario: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        scenario.load.fill_in(&toml::from_str(text).unwrap_or_default())?;
        scenario.load.check()?;
        scenario.thresholds.check(&scenario.load)?;
        let behaviours = Behaviours::new(&scenario)?;
        if behaviours.delay_logins() && !scenario.load.groups.is_empty() {
            return Err("load.groups are made while all users are there, but a login-ramp brings them later".to_owned());
        }
        let meanwhile = scenario.thresholds.meanwhile_p99_us.is_some();
        if behaviours.is_empty() && (meanwhile || scenario.thresholds.recovery_s.is_some()) {
            let key = if meanwhile { "meanwhile_p99_us" } else { "recovery_s" };
            return Err(format!("thresholds.{key} judges behaviours, but there is no [[behaviour]]"));
        }
        Ok(scenario)
    }
}

#[cfg(test)]
mod tests;
