//! Every statement of the store, prepared once. All of them may be repeated: those that write carry their own timestamp.

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
}

/// `{}` in a text is the keyspace.
async fn prepare(session: &Session, text: &str, keyspace: &str) -> Result<PreparedStatement, SetupError> {
    let mut statement = session.prepare(text.replace("{}", keyspace)).await.map_err(refused("preparing statements"))?;
    statement.set_is_idempotent(true);
    statement.set_page_size(PAGE_ROWS);
    Ok(statement)
}
