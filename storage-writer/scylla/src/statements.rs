//! Every statement of the store, prepared once. All of them may be repeated: those that write carry their own timestamp.

use std::time::Duration;

use scylla::client::session::Session;
use scylla::statement::prepared::PreparedStatement;

use crate::error::{SetupError, refused};

/// Rows fetched at once where a partition may have many.
const PAGE_ROWS: i32 = 256;

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident: $text:literal,)*) => {
        /// See the module.
        pub struct Statements {
            $($(#[$doc])* pub $name: PreparedStatement,)*
        }

        impl Statements {
            /// Prepares them for a keyspace.
            pub async fn prepare(session: &Session, keyspace: &str) -> Result<Self, SetupError> {
                Ok(Self { $($name: prepare(session, $text, keyspace).await?,)* })
            }
        }
    };
}

statements! {
    /// An entry, kept for so many seconds.
    put_entry: "INSERT INTO {}.messages (chat_id, bucket, seq, message_id, frame) VALUES (?, ?, ?, ?, ?) USING TTL ? AND TIMESTAMP ?",
    /// How much longer an entry is kept; no row when it is not there.
    entry_ttl: "SELECT TTL(frame) FROM {}.messages WHERE chat_id = ? AND bucket = ? AND seq = ? AND message_id = ?",
    /// Entries of a bucket above one seq, up to another, so many.
    page: "SELECT seq, message_id, frame FROM {}.messages WHERE chat_id = ? AND bucket = ? AND seq > ? AND seq <= ? LIMIT ?",
    /// As `page`, without their frames.
    ids: "SELECT seq, message_id FROM {}.messages WHERE chat_id = ? AND bucket = ? AND seq > ? AND seq <= ? LIMIT ?",
    /// A bucket's first seq.
    put_bucket: "INSERT INTO {}.chat_buckets (chat_id, bucket, first_seq) VALUES (?, ?, ?) USING TIMESTAMP ?",
    /// A chat's buckets, in order.
    buckets: "SELECT bucket, first_seq FROM {}.chat_buckets WHERE chat_id = ?",
    /// A chat's state.
    put_state: "INSERT INTO {}.chats (slot, chat_id, state) VALUES (?, ?, ?) USING TIMESTAMP ?",
    /// One chat's state.
    state: "SELECT chat_id, state FROM {}.chats WHERE slot = ? AND chat_id = ?",
    /// All states of a slot.
    states: "SELECT chat_id, state FROM {}.chats WHERE slot = ?",
    /// An answer.
    put_answer: "INSERT INTO {}.dedupe (slice, part, key, chat_id, seq, message_id, wall_ms) VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
    /// One answer.
    answer: "SELECT chat_id, seq, message_id, wall_ms FROM {}.dedupe WHERE slice = ? AND part = ? AND key = ?",
    /// All answers of a part of a slice.
    answers: "SELECT key, chat_id, seq, message_id, wall_ms FROM {}.dedupe WHERE slice = ? AND part = ?",
    /// A slice that there is.
    put_slice: "INSERT INTO {}.dedupe_slices (list, slice) VALUES (0, ?) USING TIMESTAMP ?",
    /// A slice that is over.
    drop_slice: "DELETE FROM {}.dedupe_slices USING TIMESTAMP ? WHERE list = 0 AND slice = ?",
    /// All slices.
    slices: "SELECT slice FROM {}.dedupe_slices WHERE list = 0",
    /// A journal's position.
    put_applied: "INSERT INTO {}.applied (node_id, journal, lsn) VALUES (?, ?, ?) USING TIMESTAMP ?",
    /// A journal that is gone.
    drop_applied: "DELETE FROM {}.applied USING TIMESTAMP ? WHERE node_id = ? AND journal = ?",
    /// All positions of a writer.
    applied: "SELECT journal, lsn FROM {}.applied WHERE node_id = ?",
    /// A writer's last timestamp.
    put_stamp: "INSERT INTO {}.writers (node_id, stamp) VALUES (?, ?) USING TIMESTAMP ?",
    /// A writer's last timestamp.
    stamp: "SELECT stamp FROM {}.writers WHERE node_id = ?",
    /// A block of a partition's log.
    put_block: "INSERT INTO {}.commit_log (part, segment, block, epoch, bytes) VALUES (?, ?, ?, ?, ?)",
    /// Blocks of a segment above one.
    blocks: "SELECT block, epoch, bytes FROM {}.commit_log WHERE part = ? AND segment = ? AND block > ?",
    /// Whether a segment has anything.
    has_segment: "SELECT block FROM {}.commit_log WHERE part = ? AND segment = ? LIMIT 1",
    /// A segment that is in the tables.
    drop_segment: "DELETE FROM {}.commit_log WHERE part = ? AND segment = ?",
    /// Where an owner begins.
    put_takeover: "INSERT INTO {}.takeovers (part, epoch, first_block, after_epoch) VALUES (?, ?, ?, ?)",
    /// Where all owners began.
    takeovers: "SELECT epoch, first_block, after_epoch FROM {}.takeovers WHERE part = ?",
}

/// Rows fetched at once of blocks, which may be large.
const PAGE_BLOCKS: i32 = 16;
/// A transaction on leases that has no answer after so long has failed. Below what a lease lasts.
const LEASE_TIMEOUT: Duration = Duration::from_secs(2);

macro_rules! transactions {
    ($($(#[$doc:meta])* $name:ident: $text:literal,)*) => {
        /// What is asked of the leases: readings, and transactions, which are not repeated.
        pub struct LeaseStatements {
            $($(#[$doc])* pub $name: PreparedStatement,)*
        }

        impl LeaseStatements {
            /// Prepares them for a keyspace.
            pub async fn prepare(session: &Session, keyspace: &str) -> Result<Self, SetupError> {
                Ok(Self { $($name: prepare_transaction(session, $text, keyspace).await?,)* })
            }
        }
    };
}

transactions! {
    /// All partitions.
    leases: "SELECT part, epoch, owner_name, owner_incarnation FROM {}.leases WHERE list = 0",
    /// All writers.
    holders: "SELECT name, incarnation, beat, buried, leaving FROM {}.lease_holders WHERE list = 0",
    /// A writer that enters.
    enter: "INSERT INTO {}.lease_holders (list, name, incarnation, beat, buried, leaving) VALUES (0, ?, ?, 1, false, false) IF NOT EXISTS",
    /// A writer that lives.
    renew: "UPDATE {}.lease_holders SET beat = ?, leaving = ? WHERE list = 0 AND name = ? AND incarnation = ? IF beat = ? AND buried = false",
    /// A writer that does not.
    bury: "UPDATE {}.lease_holders SET buried = true WHERE list = 0 AND name = ? AND incarnation = ? IF beat = ? AND buried = false",
    /// A writer that is gone.
    remove: "DELETE FROM {}.lease_holders WHERE list = 0 AND name = ? AND incarnation = ? IF EXISTS",
    /// A partition's next owner.
    take: "UPDATE {}.leases SET epoch = ?, owner_name = ?, owner_incarnation = ? WHERE list = 0 AND part = ? IF epoch = ? AND owner_name = ? AND owner_incarnation = ?",
    /// The table of pinned chats.
    pins: "SELECT version, stamp, rows FROM {}.pinned_chats WHERE name = 'pins'",
    /// Another table of pinned chats.
    change_pins: "UPDATE {}.pinned_chats SET version = ?, stamp = ?, rows = ? WHERE name = 'pins' IF version = ?",
    /// A partition that is nobody's.
    release: "UPDATE {}.leases SET owner_name = null, owner_incarnation = null WHERE list = 0 AND part = ? IF epoch = ? AND owner_name = ? AND owner_incarnation = ?",
}

async fn prepare_transaction(session: &Session, text: &str, keyspace: &str) -> Result<PreparedStatement, SetupError> {
    let mut statement = prepare(session, text, keyspace).await?;
    statement.set_request_timeout(Some(LEASE_TIMEOUT));
    // A quorum's answer has every transaction whose success somebody was told of; that is all that is asked of a reading.
    statement.set_is_idempotent(text.starts_with("SELECT"));
    Ok(statement)
}

/// `{}` in a text is the keyspace.
async fn prepare(session: &Session, text: &str, keyspace: &str) -> Result<PreparedStatement, SetupError> {
    let mut statement = session.prepare(text.replace("{}", keyspace)).await.map_err(refused("preparing statements"))?;
    statement.set_is_idempotent(true);
    statement.set_page_size(if text.contains("bytes") { PAGE_BLOCKS } else { PAGE_ROWS });
    Ok(statement)
}
