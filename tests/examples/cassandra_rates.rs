//! Messages a second into one Cassandra node, all in one run: what its driver writes, one insert a request and in batches of one
//! partition, and what the whole product acknowledges, each message at LOCAL_QUORUM before its answer.
//!
//! `cargo xtask rates` builds what it needs and runs it; about four minutes. Node, product and load share the cores, so
//! figures are to be compared with each other. Every message that the product took is audited.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use fabric::time::{Clock as _, SystemClock};
use schema::ids::{ChatId, UserId};
use schema::timeuuid::{UNIX_EPOCH_TICKS, from_parts};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::ExecutionError;
use scylla::statement::batch::{Batch, BatchStatement, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlTimeuuid;
use serde::Deserialize;
use shardwire_tests::process::CassandraCluster;
use shardwire_tests::process::cluster::{Cluster, Options, Shape};
use tokio::sync::Semaphore;
use uuid::Uuid;

const KEYSPACE: &str = "rates";
/// Rows of a chat that are written at once at most.
const ROWS_MAX: u64 = 100;
const CHATS: u64 = 1_000;
/// Rows of one batch; 1 = one insert a request.
const ROWS: [u64; 4] = [1, 10, 50, 100];
/// Times that a request is sent at most; its rows are the same, so nothing is there twice.
const TRIES: u64 = 5;
/// How long it waits before it is sent again.
const AGAIN: Duration = Duration::from_millis(200);
/// Requests in flight, of single inserts; of batches a quarter.
const IN_FLIGHT: usize = 256;
const INSERT: &str = "INSERT INTO driver (chat_id, bucket, seq, message_id, frame) VALUES (?, 1, ?, ?, ?)";
const TABLE: &str = "CREATE TABLE IF NOT EXISTS driver (chat_id uuid, bucket bigint, seq bigint, message_id timeuuid, frame blob, \
                     PRIMARY KEY ((chat_id, bucket), seq, message_id))";

/// What is measured.
#[derive(Parser)]
struct Args {
    /// Where the programs `shardwire`, `loadgen` and `cluster` are.
    #[arg(long, value_name = "DIR")]
    programs: PathBuf,
    /// Messages that the driver writes in each way.
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// How long the product is under load, each time, s.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Users, each of whom writes to one other.
    #[arg(long, default_value_t = 400)]
    users: u32,
    /// Unanswered sends of each user.
    #[arg(long, value_delimiter = ',', default_value = "4,16")]
    in_flight: Vec<u32>,
    /// Bytes of a body.
    #[arg(long, default_value_t = 200)]
    size: u32,
    /// Times that all is measured.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Cassandra nodes; each row is kept by all of them, up to three.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    nodes: u8,
    /// Where logs and reports are kept.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
}

/// One way of writing, measured.
struct Measured {
    what: String,
    per_second: f64,
    /// Of a message, µs: of the database, and of whoever writes to it.
    cpu_us: [f64; 2],
    more: String,
}

/// CPU that processes have taken so far, s; what is gone counts nothing.
fn cpu_s(pids: &[u32]) -> f64 {
    let of = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    };
    pids.iter().filter_map(of).sum()
}

/// CPU over some work, of the database and of others.
struct Meter {
    groups: [Vec<u32>; 2],
    before: [f64; 2],
    start_ns: u64,
}

impl Meter {
    fn start(database: Vec<u32>, others: Vec<u32>) -> Self {
        let groups = [database, others];
        let before = groups.each_ref().map(|pids| cpu_s(pids));
        Self { groups, before, start_ns: SystemClock.now().mono_ns }
    }

    fn took_s(&self) -> f64 {
        (SystemClock.now().mono_ns - self.start_ns) as f64 / 1e9
    }

    fn cpu_us(&self, messages: u64) -> [f64; 2] {
        let of = |at: usize| (cpu_s(&self.groups[at]) - self.before[at]) * 1e6 / messages as f64;
        [of(0), of(1)]
    }
}

/// What the driver writes, and with what.
struct Rows {
    session: Arc<Session>,
    statement: PreparedStatement,
    frame: Bytes,
    start_ticks: u64,
    /// Rows of one chat that are written at once.
    rows: u64,
}

impl Rows {
    /// Writes one request's rows; what the database did not answer in time is written again, and counted.
    async fn write(&self, number: u64) -> Result<u64, ExecutionError> {
        let user = |id| UserId::new(id).expect("above 0");
        let chat = ChatId::direct(user(2 * (number % CHATS) + 1), user(2 * (number % CHATS) + 2));
        let row = |at: u64| {
            let ticks = self.start_ticks + number * ROWS_MAX + at;
            let id = CqlTimeuuid::from_bytes(from_parts(ticks, [3; 8]).0);
            (Uuid::from_bytes(chat.0), ticks.cast_signed(), id, self.frame.clone())
        };
        let values: Vec<_> = (0..self.rows).map(row).collect();
        let statements = vec![BatchStatement::from(self.statement.clone()); values.len()];
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_is_idempotent(true);
        for tries in 0.. {
            let written = match values.as_slice() {
                [row] => self.session.execute_unpaged(&self.statement, row).await,
                _ => self.session.batch(&batch, &values).await,
            };
            match written {
                Ok(_) => return Ok(tries),
                Err(error) if tries + 1 == TRIES => return Err(error),
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
        unreachable!("the last try returns")
    }
}

/// Inserts messages as the driver does, so many rows of one chat a request; how many requests had to be sent again.
async fn insert(session: &Arc<Session>, (messages, rows): (u64, u64), frame: &Bytes) -> Result<u64, ExecutionError> {
    let mut statement = session.prepare(INSERT).await.expect("a statement");
    statement.set_is_idempotent(true);
    let limit = Arc::new(Semaphore::new(if rows == 1 { IN_FLIGHT } else { IN_FLIGHT / 4 }));
    let start_ticks = UNIX_EPOCH_TICKS + SystemClock.now().wall_ticks;
    let rows = Arc::new(Rows { session: session.clone(), statement, frame: frame.clone(), start_ticks, rows });
    let (mut tasks, mut again) = (tokio::task::JoinSet::new(), 0);
    for number in 0..messages / rows.rows {
        let permit = limit.clone().acquire_owned().await.expect("open");
        while let Some(ended) = tasks.try_join_next() {
            again += ended.expect("no panic")?;
        }
        let rows = rows.clone();
        tasks.spawn(async move {
            let written = rows.write(number).await;
            drop(permit);
            written
        });
    }
    while let Some(ended) = tasks.join_next().await {
        again += ended.expect("no panic")?;
    }
    Ok(again)
}

/// What is read of a report of the load generator.
#[derive(Deserialize)]
struct Report {
    reason: String,
    exit_code: u8,
    audit: Audit,
    throughput: Throughput,
    latency_us: Percentiles,
}

#[derive(Deserialize)]
struct Audit {
    acked: u64,
}

#[derive(Deserialize)]
struct Throughput {
    delivered_per_second: f64,
}

#[derive(Deserialize)]
struct Percentiles {
    p50: u64,
    p99: u64,
}

struct Bench {
    args: Args,
    cassandra: CassandraCluster,
    cluster: Cluster,
    runs: u32,
}

impl Bench {
    fn pids(&self) -> Vec<u32> {
        self.cluster.nodes().iter().filter_map(shardwire_tests::process::cluster::Node::pid).collect()
    }

    /// Puts the product under load: users in pairs, each with so many sends that wait for their answers.
    fn product(&mut self, in_flight: u32) -> Measured {
        self.runs += 1;
        let out = self.args.folder.join(format!("load-{}", self.runs));
        std::fs::create_dir_all(&out).expect("a folder");
        let (scenario, Args { users, size, seconds, .. }) = (out.join("scenario.toml"), &self.args);
        let text = format!(
            "[load]\nusers = {users}\nfirst_user = {}\nmode = \"closed\"\nin_flight = {in_flight}\nsize_bytes = {size}\n\
             pairs = \"ring\"\nramp_s = 2.0\nsteady_s = {seconds}.0\ndrain_s = 60.0\nreceipts = false\nacks = false\nworkers = 1\n",
            1 + self.runs * 10_000
        );
        std::fs::write(&scenario, text).expect("a file");
        let targets: Vec<String> = self.cluster.natives().iter().map(ToString::to_string).collect();
        let mut load = Command::new(self.args.programs.join("loadgen"));
        load.arg("run").arg(&scenario).arg("--out").arg(&out).args(["--target", &targets.join(",")]);
        load.arg("--token-key").arg(self.cluster.token_key());
        let meter = Meter::start(self.cassandra.pids(), self.pids());
        let ended = load.output().expect("the load generator runs");
        let text = std::fs::read_to_string(out.join("report.json"));
        let text = text.unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(&ended.stderr)));
        let report: Report = serde_json::from_str(&text).expect("a report");
        // 5: the load generator has the same cores, and may be what limits.
        assert!(matches!(report.exit_code, 0 | 5), "{}: {}", out.display(), report.reason);
        Measured {
            what: format!("product, {users} users with {in_flight} in flight"),
            per_second: report.throughput.delivered_per_second,
            cpu_us: meter.cpu_us(report.audit.acked),
            more: format!(
                "p50 {:.1} ms, p99 {:.1} ms",
                report.latency_us.p50 as f64 / 1e3,
                report.latency_us.p99 as f64 / 1e3
            ),
        }
    }

    /// Has the driver write frames.
    fn driver(&self, runtime: &tokio::runtime::Runtime, session: &Arc<Session>, rows: u64, frame: &Bytes) -> Measured {
        let messages = self.args.messages / rows * rows;
        let meter = Meter::start(self.cassandra.pids(), vec![std::process::id()]);
        let written = runtime.block_on(insert(session, (messages, rows), frame));
        let again = written.unwrap_or_else(|error| panic!("{TRIES} times, 0.2 s apart: {error}"));
        let what = match rows {
            1 => "driver, one insert a request".to_owned(),
            _ => format!("driver, batches of {rows} of one chat"),
        };
        let per_second = messages as f64 / meter.took_s();
        let more = if again == 0 { String::new() } else { format!("{again} requests were sent again") };
        Measured { what, per_second, cpu_us: meter.cpu_us(messages), more }
    }
}

/// A frame as the product has stored it.
async fn a_frame(session: &Session) -> Bytes {
    let rows = session.query_unpaged("SELECT frame FROM messages LIMIT 1", ()).await.expect("read");
    let rows = rows.into_rows_result().expect("rows");
    let (frame,) = rows.first_row::<(Vec<u8>,)>().expect("the product has flushed a message");
    Bytes::from(frame)
}

fn print(round: u32, all: &[Measured]) {
    println!("round {round}{:54} {:>10} {:>8} {:>13} {:>12}", "", "messages/s", "ratio", "database µs", "writer µs");
    let first = all.first().map_or(1.0, |first| first.per_second);
    for Measured { what, per_second, cpu_us: [database, writer], more } in all {
        println!("{what:61} {per_second:>10.0} {:>8.2} {database:>13.1} {writer:>12.1}  {more}", per_second / first);
    }
}

fn start(args: Args) -> Bench {
    let cassandra = CassandraCluster::start(args.nodes);
    let options = Options {
        shape: Shape { gateways: 2, routers: 2, writers: 2 },
        folder: args.folder.join("cluster"),
        program: args.programs.join("shardwire"),
        guard: args.programs.join("cluster"),
        first_port: None,
        relays: false,
        hosts: None,
        config: format!(
            "[limits]\nsends_per_second_per_user = 0\nburst_per_user = 0\nin_flight_per_session = 4096\n{}",
            cassandra.shared_store(KEYSPACE)
        ),
    };
    let mut cluster = Cluster::new(&options).unwrap_or_else(|error| panic!("{error}"));
    cluster.migrate().and_then(|()| cluster.start()).unwrap_or_else(|error| panic!("{error}"));
    Bench { args, cassandra, cluster, runs: 0 }
}

fn main() {
    let args = Args::parse();
    std::fs::create_dir_all::<&Path>(args.folder.as_ref()).expect("--folder can be made");
    let mut bench = start(args);
    let nodes: Vec<String> = bench.cassandra.addresses().iter().map(ToString::to_string).collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let session = runtime.block_on(async {
        let session = SessionBuilder::new().known_nodes(&nodes).use_keyspace(KEYSPACE, false).build().await;
        let session = session.expect("the node answers");
        session.query_unpaged(TABLE, ()).await.expect("a table");
        Arc::new(session)
    });
    // The database compiles its hot paths while it is used: what is measured begins when both ways have been.
    eprintln!("warming up");
    let in_flight = bench.args.in_flight.clone();
    bench.product(in_flight[0]);
    // Memory tables are written down after a minute at the latest.
    std::thread::sleep(Duration::from_secs(65));
    let frame = runtime.block_on(a_frame(&session));
    bench.driver(&runtime, &session, 1, &frame);
    bench.driver(&runtime, &session, 10, &frame);
    println!("bodies of {} B, stored as frames of {} B", bench.args.size, frame.len());
    for round in 1..=bench.args.rounds {
        let mut all: Vec<_> = ROWS.map(|rows| bench.driver(&runtime, &session, rows, &frame)).into();
        all.extend(in_flight.iter().map(|&in_flight| bench.product(in_flight)));
        print(round, &all);
    }
    bench.cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
