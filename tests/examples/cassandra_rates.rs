//! Messages a second into one Cassandra node, in the same run: by the driver, one insert a request; by the driver, batches
//! of one partition; by the store's flush, entries alone and with the states and answers that come with them.
//!
//! `SHARDWIRE_CASSANDRA=JARS cargo run --release -p shardwire-tests --example cassandra_rates`; about a minute. The node has
//! the same cores, so figures are to be compared with each other.

use std::sync::Arc;

use bytes::Bytes;
use fabric::time::{Clock as _, SystemClock};
use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, MessageId, UserId};
use schema::timeuuid::{UNIX_EPOCH_TICKS, from_parts};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::batch::{Batch, BatchStatement, BatchType};
use scylla::value::CqlTimeuuid;
use scylla_store::{ScyllaConfig, ScyllaStore, Writer, migrate};
use shardwire_tests::process::CassandraCluster;
use storage_writer::folder::FolderId;
use storage_writer::lsn::{JournalId, Lsn};
use storage_writer::store::{ChatState, DedupeHit, FlushEntry, FlushRun, Store as _};
use tokio::sync::Semaphore;
use uuid::Uuid;

const CHATS: u64 = 2_000;
const ENTRIES_PER_CHAT: u64 = 30;
const MESSAGES: u64 = CHATS * ENTRIES_PER_CHAT;
const FRAME_BYTES: usize = 300;
const ROUNDS: u64 = 3;
const IN_FLIGHT: usize = 256;
const INSERT: &str = "INSERT INTO messages (chat_id, bucket, seq, message_id, frame) VALUES (?, 1, ?, ?, ?)";

fn chat(number: u64) -> ChatId {
    let user = |id| UserId::new(id).expect("above 0");
    ChatId::direct(user(2 * number + 1), user(2 * number + 2))
}

/// Ids as of now, so that the table's windows are as in life.
fn message(round: u64, number: u64) -> MessageId {
    from_parts(
        UNIX_EPOCH_TICKS + SystemClock.now().wall_ticks / 10_000_000 * 10_000_000 + round * MESSAGES + number,
        [3; 8],
    )
}

fn timed(what: &str, work: impl FnOnce()) {
    let start = SystemClock.now().mono_ns;
    work();
    let took_s = (SystemClock.now().mono_ns - start) as f64 / 1e9;
    println!("{what:45} {:8.0} messages/s", MESSAGES as f64 / took_s);
}

/// Inserts all messages, so many rows of one chat a request.
async fn insert(session: Arc<Session>, round: u64, rows: u64) {
    let mut statement = session.prepare(INSERT).await.expect("a statement");
    statement.set_is_idempotent(true);
    let limit = Arc::new(Semaphore::new(IN_FLIGHT / rows.min(4) as usize));
    let frame = Bytes::from(vec![7; FRAME_BYTES]);
    let mut tasks = Vec::new();
    for (number, first) in
        (0..CHATS).flat_map(|chat| (0..ENTRIES_PER_CHAT).step_by(rows as usize).map(move |at| (chat, at)))
    {
        let permit = limit.clone().acquire_owned().await.expect("open");
        let (session, statement, frame) = (session.clone(), statement.clone(), frame.clone());
        tasks.push(tokio::spawn(async move {
            let row = |at: u64| {
                let seq = round * ENTRIES_PER_CHAT + at + 1;
                let id = CqlTimeuuid::from_bytes(message(round, number * ENTRIES_PER_CHAT + at).0);
                (Uuid::from_bytes(chat(number).0), seq.cast_signed(), id, frame.clone())
            };
            let values: Vec<_> = (first..(first + rows).min(ENTRIES_PER_CHAT)).map(row).collect();
            if let [row] = values.as_slice() {
                session.execute_unpaged(&statement, row).await.expect("inserted");
            } else {
                let statements = vec![BatchStatement::from(statement); values.len()];
                let batch = Batch::new_with_statements(BatchType::Unlogged, statements);
                session.batch(&batch, &values).await.expect("inserted");
            }
            drop(permit);
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
}

/// All messages as a memory table gives them to the store.
fn run(round: u64, whole: bool) -> FlushRun<'static> {
    let frame = vec![7; FRAME_BYTES];
    let (mut entries, mut dedupe, mut states) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..CHATS {
        let chat = chat(number);
        for at in 0..ENTRIES_PER_CHAT {
            let (seq, message) = (round * ENTRIES_PER_CHAT + at + 1, message(round, number * ENTRIES_PER_CHAT + at));
            entries.push(FlushEntry { chat, seq, message, frame: frame.clone().into(), expires_s: 0 });
            let mut key = [0; 16];
            key[..8].copy_from_slice(
                &(round * MESSAGES + number * ENTRIES_PER_CHAT + at).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes(),
            );
            dedupe.push((DedupeKey(key), DedupeHit { chat, seq, message, wall_ms: SystemClock.now().wall_ms() }));
        }
        let (head_seq, head_message) = ((round + 1) * ENTRIES_PER_CHAT, Some(message(round, number)));
        states.push(ChatState { head_seq, head_message, ..ChatState::empty(chat) });
    }
    let entries = FlushRun { entries, ..FlushRun::default() };
    if whole { FlushRun { dedupe, states, applied: vec![(JournalId(0), Lsn(round + 1))], ..entries } } else { entries }
}

fn main() {
    let cassandra = CassandraCluster::start(1);
    let nodes: Vec<String> = cassandra.addresses().iter().map(ToString::to_string).collect();
    let config = |keyspace: &str| ScyllaConfig {
        keyspace: keyspace.to_owned(),
        replication: [("datacenter1".to_owned(), 1)].into(),
        ..ScyllaConfig::new(nodes.clone())
    };
    let writer = Writer { cluster: FolderId([1; 16]), node: FolderId([2; 16]) };
    for keyspace in ["by_driver", "by_store", "by_store_entries"] {
        migrate(&config(keyspace), writer.cluster, false).expect("migrations apply");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let session = runtime.block_on(async {
        let session = SessionBuilder::new().known_nodes(&nodes).use_keyspace("by_driver", false).build().await;
        Arc::new(session.expect("the node answers"))
    });
    let store = ScyllaStore::open(&config("by_store"), writer).expect("a store");
    let entries = ScyllaStore::open(&config("by_store_entries"), writer).expect("a store");
    for round in 0..ROUNDS {
        println!("round {}: {MESSAGES} messages of {FRAME_BYTES} B in {CHATS} chats", round + 1);
        for (what, rows) in
            [("driver, one insert a request", 1), ("driver, batches of 30 of one partition", ENTRIES_PER_CHAT)]
        {
            timed(what, || runtime.block_on(insert(session.clone(), 2 * round + u64::from(rows > 1), rows)));
        }
        let run_of_entries = run(round, false);
        timed("store, entries alone", || {
            entries.flush(run_of_entries).expect("flushed");
        });
        let whole = run(round, true);
        timed("store, entries, states, answers, positions", || {
            store.flush(whole).expect("flushed");
        });
    }
}
