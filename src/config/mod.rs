//! The configuration: one struct, one commented template (`shardwire config`), one way to load it.
//!
//! Precedence: command line, then file, then default. An unknown key or a value out of bounds stops the start with an
//! error that names key, file and what is allowed. Every key's documentation says whether it can be reloaded.

mod directory;
mod load;
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;

use confique::Config as Confique;
use fabric::net::proxy::{HeaderMode, NotANetwork, Trusted};
use schema::limits;
use serde::Serialize;

use crate::edge::MODES;
use crate::traces::Endpoint;

pub use directory::{Directory, DirectoryConfigError};
pub use load::{ConfigError, Layer, load, template};
pub use store::{Store, StoreConfigError};

/// Everything `shardwire serve` can be told.
#[derive(Debug, Clone, Confique, Serialize)]
#[config(layer_attr(derive(Clone)), layer_attr(serde(deny_unknown_fields)))]
pub struct Config {
    /// Where it listens and how it spreads over cores.
    #[config(nested)]
    pub server: Server,
    /// What one client may do.
    #[config(nested)]
    pub limits: Limits,
    /// Who may come in.
    #[config(nested)]
    pub auth: Auth,
    /// HTTP and WebSocket.
    #[config(nested)]
    pub http: Http,
    /// Load balancers before the server.
    #[config(nested)]
    pub edge: Edge,
    /// TLS, on every listener or on none.
    #[config(nested)]
    pub tls: Tls,
    /// How messages are kept.
    #[config(nested)]
    pub storage: Storage,
    /// The engine behind the journal (docs/OPERATIONS.md).
    #[config(nested)]
    pub store: Store,
    /// Several processes that are one server.
    #[config(nested)]
    pub cluster: Cluster,
    /// A copy of the routers' directory in Redis (docs/OPERATIONS.md).
    #[config(nested)]
    pub directory: Directory,
    /// Traces of single messages, for OpenTelemetry.
    #[config(nested)]
    pub traces: Traces,
    /// Logs, on stderr.
    #[config(nested)]
    pub log: Log,
}

/// Where it listens and how it spreads over cores.
#[derive(Debug, Clone, Confique, Serialize)]
#[config(layer_attr(derive(Clone)), layer_attr(serde(deny_unknown_fields)))]
pub struct Server {
    /// The data folder: messages, keys, the admin socket. Made at the first start. (restart)
    #[config(default = "./shardwire-data")]
    pub data: PathBuf,
    /// Native protocol (FlatBuffers over TCP): address and port; port 0 takes any. (restart)
    #[config(default = "127.0.0.1:7400")]
    pub native: SocketAddr,
    /// WebSocket, at /ws: address and port. (restart)
    #[config(default = "127.0.0.1:7401")]
    pub ws: SocketAddr,
    /// HTTP (/healthz, /readyz, /metrics): address and port. (restart)
    #[config(default = "127.0.0.1:7480")]
    pub http: SocketAddr,
    /// Moves /metrics to an address of its own; unset = on `http`. (restart)
    pub metrics: Option<SocketAddr>,
    /// Connection threads; 0 = one a core. 0 to 1024. (restart)
    #[config(default = 0)]
    pub shards: u16,
    /// Owner partitions (each has a journal); 0 = one a core. 0 to 256. May change between starts. (restart)
    #[config(default = 0)]
    pub partitions: u16,
}

/// What one client may do.
#[derive(Debug, Clone, Confique, Serialize)]
#[config(layer_attr(derive(Clone)), layer_attr(serde(deny_unknown_fields)))]
pub struct Limits {
    /// Sends one session may have unanswered. 1 to 65536; 0 = unlimited. (restart)
    #[config(default = 4096)]
    pub in_flight_per_session: u32,
    /// Sends a user may make in a second, over all sessions. 0 = unlimited. (reloadable)
    #[config(default = 1000)]
    pub sends_per_second_per_user: u32,
    /// Sends a user may make at once before the rate counts. 0 = unlimited. (reloadable)
    #[config(default = 5000)]
    pub burst_per_user: u32,
    /// Largest frame in bytes, its length prefix included. 1024 to 1048576. (restart)
    #[config(default = 65536)]
    pub frame_bytes: u32,
    /// Members a group may have. 2 to 10000; each takes 8 bytes of the frame that makes the group. (restart)
    #[config(default = 500)]
    pub group_members: u32,
    /// Deliveries a second that all entries of one group may cause, twice as many at once: an entry costs as many as the
    /// group has members. 0 = unlimited. (restart)
    #[config(default = 500000)]
    pub deliveries_per_second_per_group: u32,
    /// Deliveries a second that what one user writes to groups may cause, twice as many at once. 0 = unlimited. (restart)
    #[config(default = 200000)]
    pub deliveries_per_second_per_sender: u32,
    /// A message may be edited by its sender for so long, s. 0 to 31536000. (restart)
    #[config(default = 900)]
    pub edit_window_s: u32,
    /// A message may be deleted for everyone by its sender for so long, s; by an admin of its group for ever. 0 to
    /// 31536000. (restart)
    #[config(default = 172800)]
    pub delete_window_s: u32,
    /// Connections the whole process holds; 0 = as many as the host allows. (restart)
    #[config(default = 0)]
    pub connections: u32,
    /// Bytes waiting for one reader before pushing to it stops until it has caught up. 16384 to 16777216. (restart)
    #[config(default = 262144)]
    pub out_buffer_bytes: u32,
    /// A session that sends nothing for so long is closed, ms. 5000 to 3600000. (restart)
    #[config(default = 75000)]
    pub idle_timeout_ms: u32,
    /// How often clients are asked to ping, ms. Less than half the idle timeout. (restart)
    #[config(default = 20000)]
    pub ping_interval_ms: u32,
    /// Tokens not signed for this server that one address may bring in a second, by the native protocol and WebSocket;
    /// bursts are twice that. 0 = unlimited. (restart)
    #[config(default = 20)]
    pub refused_tokens_per_second_per_address: u32,
    /// A connection must authenticate within so long, ms. 1000 to 60000. (restart)
    #[config(default = 10000)]
    pub auth_timeout_ms: u32,
    /// A server that stops tells its clients to come back within so long of each other, ms; a gateway with others beside it
    /// sends them there one by one, over so long. 0 to 600000. (reloadable)
    #[config(default = 5000)]
    pub drain_spread_ms: u32,
    /// Sessions that such a gateway sends to the others in a second: with more of them it takes longer than the spread. 0 = no
    /// bound. 0 to 1000000. (restart)
    #[config(default = 5000)]
    pub drain_per_second: u32,
    /// A stop waits so long for what is under way: for answers to a session's sends, for HTTP's requests, and in a cluster for
    /// the others to do without a router or the storage-writer, ms; as long again after each partition that another writer has
    /// taken. 0 to 60000. (restart)
    #[config(default = 2000)]
    pub drain_patience_ms: u32,
    /// A gateway holds what clients ask for so long while the storage-writer is started anew, ms; after that it refuses with a
    /// retry. 0 to 30000. (restart)
    #[config(default = 8000)]
    pub hold_ms: u32,
}

/// Who may come in. With no key set, the data folder's development key (HS256, made at the first start, mode 0600) is
/// the only one.
#[derive(Debug, Clone, Confique, Serialize)]
#[config(layer_attr(derive(Clone)), layer_attr(serde(deny_unknown_fields)))]
pub struct Auth {
    /// File with an HS256 secret, at least 32 bytes. (reloadable)
    pub hs256_secret_file: Option<PathBuf>,
    /// PEM file with an Ed25519 public key, for EdDSA tokens. (reloadable)
    pub eddsa_public_key_file: Option<PathBuf>,
    /// PEM file with a P-256 public key, for ES256 tokens. (reloadable)
    pub es256_public_key_file: Option<PathBuf>,
    /// PEM file with an RSA public key of 2048 to 8192 bits, for RS256 tokens. (reloadable)
    pub rs256_public_key_file: Option<PathBuf>,
    /// JWKS file (RFC 7517): several keys (RS256, ES256, EdDSA, HS256), each for the tokens that name its key id. (reloadable)
    pub jwks_file: Option<PathBuf>,
    /// Audiences: a token's `aud` must be or hold one of them. Empty = `aud` is not looked at. (reloadable)
    #[config(default = [])]
    pub audiences: Vec<String>,
    /// Issuers: a token's `iss` must be one of them. Empty = `iss` is not looked at. (reloadable)
    #[config(default = [])]
    pub issuers: Vec<String>,
}

impl Auth {
    /// Whether any signing key is configured; if none is, the development key is used.
    pub fn has_keys(&self) -> bool {
        let files = [&self.hs256_secret_file, &self.eddsa_public_key_file, &self.es256_public_key_file];
        let more = [&self.rs256_public_key_file, &self.jwks_file];
        files.iter().chain(&more).any(|file| file.is_some())
    }
}

/// HTTP and WebSocket.
#[derive(Debug, Clone, Confique, Serialize)]
#[config(layer_attr(derive(Clone)), layer_attr(serde(deny_unknown_fields)))]
pub struct Http {
    /// Host names that a WebSocket's Host and Origin may carry besides the listeners' own. Names without port. (reloadable)
    #[config(default = [])]
    pub allowed_hosts: Vec<String>,
    /// Messages a user may send by HTTP in a second; bursts are twice that. 0 = unlimited. (restart)
    #[config(default = 100)]
    pub sends_per_second_per_user: u32,
    /// Pages a user may read by HTTP in a second; bursts are twice that. 0 = unlimited. (restart)
    #[config(default = 50)]
    pub reads_per_second_per_user: u32,
    /// Development tokens one address may ask for in a second; bursts are twice that. 0 = unlimited. (restart)
    #[config(default = 10)]
    pub tokens_per_second_per_address: u32,
    /// Refused tokens by HTTP one address may bring in a second; bursts are twice that. 0 = unlimited. (restart)
    #[config(default = 20)]
    pub refused_tokens_per_second_per_address: u32,
}

/// Load balancers before the server: who may say who a client is.
#[derive(Debug, Clone, Confique, Serialize)]
#[config(layer_attr(derive(Clone)), layer_attr(serde(deny_unknown_fields)))]
pub struct Edge {
    /// Addresses and networks (10.0.0.0/8, 2001:db8::1) of load balancers whose word about a client's address counts:
    /// X-Forwarded-For on HTTP and on a WebSocket's upgrade, and PROXY headers. (restart)
    #[config(default = [])]
    pub trusted_proxies: Vec<String>,
    /// PROXY protocol (versions 1 and 2, before TLS) on the listeners for clients, from these addresses: off, optional, or
    /// required, which closes whatever comes without it or from elsewhere. (restart)
    #[config(default = "off")]
    pub proxy_protocol: String,
}

/// TLS, on every listener or on none.
#[derive(Debug, Clone, Confique, Serialize)]
#[config(layer_attr(derive(Clone)), layer_attr(serde(deny_unknown_fields)))]
pub struct Tls {
    /// PEM file with the server's certificate, then those that sign it. With it, listeners speak TLS and nothing else.
    /// (reloadable)
    pub cert_file: Option<PathBuf>,
    /// PEM file with its private key: PKCS#8, SEC1 or PKCS#1, without a passphrase. (reloadable)
    pub key_file: Option<PathBuf>,
}

/// How messages are kept.
#[derive(Debug, Clone, Confique, Serialize)]
#[config(layer_attr(derive(Clone)), layer_attr(serde(deny_unknown_fields)))]
pub struct Storage {
    /// A partition's memory table is written to the store when it reaches this, bytes. 1048576 to 1073741824. (restart)
    #[config(default = 67108864)]
    pub memory_table_bytes: u64,
    /// A journal segment, preallocated, bytes. 4194304 to 1073741824, a multiple of 4096. (restart)
    #[config(default = 33554432)]
    pub journal_segment_bytes: u64,
    /// The store's block cache, bytes. 1048576 or more. (restart)
    #[config(default = 67108864)]
    pub cache_bytes: u64,
}

/// Several processes that are one server (docs/OPERATIONS.md). Without a name, one process does it all.
#[derive(Debug, Clone, Confique, Serialize)]
#[config(layer_attr(derive(Clone)), layer_attr(serde(deny_unknown_fields)))]
pub struct Cluster {
    /// This node's name in the list of nodes. (restart)
    pub name: Option<String>,
    /// What this node does: gateway, router, storage-writer, as in the list. Empty = what the list says. (restart)
    #[config(default = [])]
    pub roles: Vec<String>,
    /// The cluster's name: nodes of another refuse each other. (restart)
    #[config(default = "shardwire")]
    pub id: String,
    /// TOML file with every node: `[[node]]` with name, roles, address of its links. The same on all of them. (restart)
    pub nodes_file: Option<PathBuf>,
    /// File with a secret of at least 32 bytes that all nodes share. (restart)
    pub secret_file: Option<PathBuf>,
}

/// Traces of single messages from gateway to gateway, sent to an OpenTelemetry collector (OTLP over HTTP, in JSON).
#[derive(Debug, Clone, Confique, Serialize)]
#[config(layer_attr(derive(Clone)), layer_attr(serde(deny_unknown_fields)))]
pub struct Traces {
    /// The collector, e.g. http://127.0.0.1:4318; unset = nothing is traced. On every node, those that trace nothing of their
    /// own too: each sends its part. (restart)
    pub endpoint: Option<String>,
    /// The share of messages that this gateway traces. 0.000001 to 1. (restart)
    #[config(default = 0.001)]
    pub sample: f64,
}

/// Logs, on stderr.
#[derive(Debug, Clone, Confique, Serialize)]
#[config(layer_attr(derive(Clone)), layer_attr(serde(deny_unknown_fields)))]
pub struct Log {
    /// Least level shown: error, warn, info, debug or trace. (reloadable)
    #[config(default = "info")]
    pub level: String,
}

impl Traces {
    /// One message of so many is traced.
    pub fn every(&self) -> u32 {
        (1.0 / self.sample).round() as u32
    }

    fn check(&self) -> Result<(), load::OutOfBounds> {
        let endpoint = self.endpoint.as_deref().unwrap_or("http://localhost");
        if let Err(allowed) = endpoint.parse::<Endpoint>() {
            let (key, value) = ("traces.endpoint", format!("{endpoint:?}"));
            return Err(load::OutOfBounds { key, value, allowed: allowed.to_string() });
        }
        if !(0.000_001..=1.0).contains(&self.sample) {
            let (key, value) = ("traces.sample", self.sample.to_string());
            return Err(load::OutOfBounds { key, value, allowed: "0.000001 to 1".to_owned() });
        }
        Ok(())
    }
}

impl Edge {
    /// Whether connections may begin with a PROXY header.
    pub fn has_headers(&self) -> bool {
        self.proxy_protocol != "off"
    }

    fn check(&self) -> Result<(), load::OutOfBounds> {
        let key = "edge.trusted_proxies";
        if let Err(NotANetwork(value)) = Trusted::new(self.trusted_proxies.iter().map(String::as_str)) {
            let allowed = "addresses (10.1.2.3, 2001:db8::1) and networks (10.0.0.0/8, 2001:db8::/32)".to_owned();
            return Err(load::OutOfBounds { key, value: format!("{value:?}"), allowed });
        }
        let (key, value) = ("edge.proxy_protocol", self.proxy_protocol.clone());
        let Some((_, mode)) = MODES.iter().find(|(name, _)| *name == value) else {
            return Err(load::OutOfBounds { key, value, allowed: MODES.map(|(name, _)| name).join(", ") });
        };
        if *mode != HeaderMode::Off && self.trusted_proxies.is_empty() {
            let allowed = "edge.trusted_proxies names nobody whose header would be believed".to_owned();
            return Err(load::OutOfBounds { key, value, allowed });
        }
        Ok(())
    }
}

const YEAR_S: u64 = 365 * 24 * 60 * 60;

impl Config {
    /// Checks bounds that types cannot say. The error names key, value and what is allowed.
    fn check(&self) -> Result<(), load::OutOfBounds> {
        let bounds: [(&'static str, u64, u64, u64); 18] = [
            ("server.shards", self.server.shards.into(), 0, 1_024),
            ("server.partitions", self.server.partitions.into(), 0, 256),
            ("limits.in_flight_per_session", self.limits.in_flight_per_session.into(), 0, 65_536),
            ("limits.frame_bytes", self.limits.frame_bytes.into(), 1_024, 1 << 20),
            ("limits.group_members", self.limits.group_members.into(), 2, limits::GROUP_MEMBERS_MAX.into()),
            ("limits.edit_window_s", self.limits.edit_window_s.into(), 0, YEAR_S),
            ("limits.delete_window_s", self.limits.delete_window_s.into(), 0, YEAR_S),
            ("limits.out_buffer_bytes", self.limits.out_buffer_bytes.into(), 16 << 10, 16 << 20),
            ("limits.idle_timeout_ms", self.limits.idle_timeout_ms.into(), 5_000, 3_600_000),
            (
                "limits.ping_interval_ms",
                self.limits.ping_interval_ms.into(),
                100,
                u64::from(self.limits.idle_timeout_ms) / 2,
            ),
            ("limits.auth_timeout_ms", self.limits.auth_timeout_ms.into(), 1_000, 60_000),
            ("limits.drain_spread_ms", self.limits.drain_spread_ms.into(), 0, 600_000),
            ("limits.drain_per_second", self.limits.drain_per_second.into(), 0, 1_000_000),
            ("limits.drain_patience_ms", self.limits.drain_patience_ms.into(), 0, 60_000),
            ("limits.hold_ms", self.limits.hold_ms.into(), 0, 30_000),
            ("storage.memory_table_bytes", self.storage.memory_table_bytes, 1 << 20, 1 << 30),
            ("storage.journal_segment_bytes", self.storage.journal_segment_bytes, 4 << 20, 1 << 30),
            ("storage.cache_bytes", self.storage.cache_bytes, 1 << 20, u64::MAX),
        ];
        for (key, value, min, max) in bounds {
            if value < min || value > max {
                let allowed = if max == u64::MAX { format!("{min} or more") } else { format!("{min} to {max}") };
                return Err(load::OutOfBounds { key, value: value.to_string(), allowed });
            }
        }
        if !self.storage.journal_segment_bytes.is_multiple_of(4_096) {
            let value = self.storage.journal_segment_bytes.to_string();
            let allowed = "a multiple of 4096".to_owned();
            return Err(load::OutOfBounds { key: "storage.journal_segment_bytes", value, allowed });
        }
        self.store.check()?;
        self.directory.check()?;
        if self.tls.cert_file.is_some() != self.tls.key_file.is_some() {
            let (key, value) = match &self.tls.cert_file {
                Some(file) => ("tls.cert_file", file),
                None => ("tls.key_file", self.tls.key_file.as_ref().unwrap_or(&self.server.data)),
            };
            let allowed = "tls.cert_file and tls.key_file are set together, or neither".to_owned();
            return Err(load::OutOfBounds { key, value: value.display().to_string(), allowed });
        }
        self.edge.check()?;
        self.traces.check()?;
        let levels = ["error", "warn", "info", "debug", "trace"];
        if !levels.contains(&self.log.level.as_str()) {
            let value = self.log.level.clone();
            return Err(load::OutOfBounds { key: "log.level", value, allowed: levels.join(", ") });
        }
        Ok(())
    }
}

// The template's defaults are literals; they must be the contract's.
const _: () = assert!(
    limits::IN_FLIGHT_PER_SESSION == 4096
        && limits::SENDS_PER_SECOND_PER_USER == 1000
        && limits::BURST_PER_USER == 5000
        && limits::FRAME_LIMIT_BYTES == 65536
        && limits::GROUP_MEMBERS == 500
        && limits::IDLE_TIMEOUT_MS == 75000
        && limits::PING_INTERVAL_MS == 20000
        && limits::AUTH_TIMEOUT_MS == 10000
);
