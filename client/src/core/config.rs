//! What a [`Core`](super::Core) is told once. Shared by any number of cores.

use schema::limits;

/// When an entry counts as handled: when the durable cursor moves past it and the server is told `delivered`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Handling {
    /// As soon as its event is in the outputs. For programs whose handling cannot fail apart from the process
    /// (load generators, viewers): an entry handed over just before a crash is not handed over again.
    OnDelivery,
    /// When the application says so with [`Core::handled`](super::Core::handled). Nothing is lost in a crash.
    #[default]
    Explicit,
}

/// Settings of a client core. All have working defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name and version of the software, sent in Hello for the operator's eyes.
    pub agent: String,
    /// When an entry counts as handled.
    pub handling: Handling,
    /// Emit [`Output::Persist`](super::Output::Persist). Off for clients that keep nothing (load generators).
    pub durable: bool,
    /// Sends that may wait for their outcome, in flight included; more are refused with `OutboxFull`.
    pub outbox_sends: usize,
    /// Bytes of bodies that may wait for their outcome.
    pub outbox_bytes: usize,
    /// A send older than this fails with `Expired`: the server forgets a client_msg_id after 24 h and a resend
    /// could double it. ms; 0 = never.
    pub send_expiry_ms: u64,
    /// Delivered and read marks are written at most this often, ms; 0 = at the end of every input.
    pub mark_interval_ms: u32,
    /// Entries above a gap that are kept until it is filled; more are dropped and fetched again.
    pub held_entries: usize,
    /// How long a gap may stand before the missing entries are asked for, ms.
    pub gap_patience_ms: u32,
    /// Requests (for history, chats, a message's status) that may wait, the running one included.
    pub history_requests: usize,
    /// A request or a handshake without an answer fails after this, ms.
    pub answer_timeout_ms: u32,
    /// First and longest wait before a reconnect or a resend, ms; doubles between them, jittered.
    pub backoff_ms: (u32, u32),
    /// Largest frame taken from a server, bytes. Bounds the read buffer.
    pub receive_limit_bytes: usize,
    /// Peers whose watermarks are remembered per chat, so that a tick is never lowered.
    pub watermarks_per_chat: usize,
    /// Whether a fresh token is at hand at every connect; if not, `token_expired` ends the client.
    pub token_renewable: bool,
    /// Seed of hash maps.
    pub hash_seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            agent: concat!("shardwire-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            handling: Handling::default(),
            durable: true,
            outbox_sends: 10_000,
            outbox_bytes: 16 << 20,
            send_expiry_ms: limits::DEDUPE_KEEP_MS - 60 * 60 * 1_000,
            mark_interval_ms: 0,
            held_entries: 64,
            gap_patience_ms: 1_000,
            history_requests: 64,
            answer_timeout_ms: 10_000,
            backoff_ms: (200, 30_000),
            receive_limit_bytes: 4 * limits::FRAME_LIMIT_BYTES,
            watermarks_per_chat: 1_024,
            token_renewable: false,
            hash_seed: 0,
        }
    }
}
