//! What a message costs in our own code, from the sender's bytes to the receiver's: a whole shard core (gateway, owner,
//! router) with a disk that is durable at once and sockets that take everything. No kernel, so the figure repeats: count
//! instructions with `valgrind --tool=callgrind --toggle-collect='*Load::rounds*'`, or read the CPU time it prints.
//!
//! Arguments `key=value`: users (200), in_flight (16), rounds (1000; below 32 Mi messages in all), body_bytes (128).

use std::sync::Arc;

use benches::fake::{self, NoDisk, NoStore};
use fabric::core::{Action, ConnId, Core as _, Protocol};
use fabric::entropy::Entropy as _;
use fabric::lane::Capacities;
use fabric::sim::SeededEntropy;
use fabric::time::Now;
use gateway::Limits;
use gateway::auth::{AuthError, Identity, TokenVerifier};
use prometheus_client::registry::Registry;
use schema::encode::Encoder;
use schema::ids::{DeviceId, UserId};
use shardwire::node::{Board, EdgeConfig, NodeConfig, ShardCore, Topology, assemble, lanes};
use storage_writer::partition::{OpenConfig, PartitionConfig, StorageMetrics, open, run_job};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A token is a user's number.
struct Numbers;

impl TokenVerifier for Numbers {
    fn verify(&self, token: &[u8], _now_ms: u64) -> Result<Identity, AuthError> {
        let text = std::str::from_utf8(token).map_err(|_| AuthError::Malformed)?;
        let user = text.parse().ok().and_then(UserId::new).ok_or(AuthError::InvalidUser)?;
        Ok(Identity::of(user, DeviceId(1)))
    }
}

/// One user's connection and the frames it sends in a round.
struct User {
    conn: ConnId,
    /// Its sends of a round, one after the other.
    sends: Vec<u8>,
    /// Where in `sends` each client_msg_id is.
    ids: Vec<usize>,
}

struct Load {
    core: ShardCore,
    now: Now,
    users: Vec<User>,
    next_id: u64,
    output: Vec<u8>,
    bytes_out: u64,
}

impl Load {
    fn new(users: u64, in_flight: u64, body_bytes: usize) -> Self {
        let now = Now { mono_ns: 1_000_000_000, wall_ticks: 17_000_000_000_000_000 };
        let mut load = Self { core: core(now), now, users: Vec::new(), next_id: 0, output: Vec::new(), bytes_out: 0 };
        let (mut encoder, body) = (Encoder::new(), vec![b'x'; body_bytes]);
        for user in 1..=users {
            let peer = "127.0.0.1:1".parse().expect("an address");
            let conn = load.core.accepted(load.now, Protocol::Native, peer).expect("room");
            let hello = encoder.hello(user.to_string().as_bytes(), b"pipeline", 0);
            load.core.received(load.now, conn, &hello);
            let mut sends = Vec::new();
            let mut ids = Vec::new();
            for _ in 0..in_flight {
                let frame = fake::send_frame(&mut encoder, 0, fake::user(((user - 1) ^ 1) + 1), &body);
                let id = fake::client_msg_id(0);
                let at = frame.windows(id.len()).position(|w| w == id).expect("the frame holds its id");
                ids.push(sends.len() + at);
                sends.extend_from_slice(&frame);
            }
            load.users.push(User { conn, sends, ids });
        }
        (0..8).for_each(|_| load.settle());
        load
    }

    /// Rounds of: everybody sends, the block is written, everybody gets acks and entries.
    #[inline(never)]
    fn rounds(&mut self, rounds: u64) {
        for _ in 0..rounds {
            for at in 0..self.users.len() {
                let user = &mut self.users[at];
                for place in &user.ids {
                    self.next_id += 1;
                    let id = fake::client_msg_id(self.next_id);
                    user.sends[*place..place + id.len()].copy_from_slice(&id);
                }
                self.core.received(self.now, user.conn, &user.sends);
            }
            self.settle();
        }
    }

    /// A shard's turn, and what it asks for, until it asks for nothing more.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.now.mono_ns += 300_000;
            self.now.wall_ticks += 3_000;
            self.core.turn(self.now);
            while let Some(action) = self.core.next_action() {
                match action {
                    Action::Flush(conn) => self.flush(conn),
                    Action::Write { journal, write } => {
                        let ticket = write.ticket;
                        drop(write);
                        self.core.write_done(self.now, journal, ticket, Ok(()));
                    }
                    Action::Pause(_) | Action::Resume(_) | Action::Close(_) | Action::Connect { .. } => {}
                }
            }
            while let Some((_, job)) = self.core.next_job() {
                let done = run_job(job, &NoStore, &NoDisk);
                self.core.job_done(self.now, done);
            }
        }
    }

    fn flush(&mut self, conn: ConnId) {
        loop {
            self.output.clear();
            self.core.take_output(conn, 64 << 10, &mut self.output);
            let bytes = self.output.len();
            if bytes == 0 {
                break;
            }
            self.bytes_out += bytes as u64;
            self.core.written(self.now, conn, bytes);
        }
    }
}

fn core(now: Now) -> ShardCore {
    let mut entropy = SeededEntropy::new(7);
    // All answers of a run fit: sessions are young in this clock, and once answers have left early each send of a young
    // session is looked up in the store (measured: 1.2 µs a message before, 7.6 after).
    let partition = PartitionConfig { dedupe_memory_ms: 60_000, ..PartitionConfig::default() };
    let config = OpenConfig { partitions: 1, partition, dedupe_secret: [7; 16] };
    let opened = open(&config, &NoStore, &NoDisk, &mut entropy, now, &mut |_| StorageMetrics::new())
        .expect("nothing to fail on");
    let limits =
        Limits { in_flight_per_session: 4_096, sends_per_second_per_user: 0, burst_per_user: 0, ..Limits::default() };
    let node = NodeConfig {
        topology: Topology::new(1, 1, 1),
        limits,
        allowed_hosts: Vec::new(),
        capacities: Capacities::default(),
        credits_per_partition: 8_192,
        traces: None,
        edge: EdgeConfig::default(),
        cluster: None,
        directory: None,
    };
    let ports = lanes(&node, entropy.next_u64() | 1).expect("eventfds");
    let auth: Arc<dyn TokenVerifier> = Arc::new(Numbers);
    let (parts, _) =
        assemble(&node, opened.partitions, ports, &auth, &mut entropy, &Board::default(), &mut Registry::default());
    parts.into_iter().next().expect("one shard").into_core()
}

fn argument(key: &str, default: u64) -> u64 {
    let value = std::env::args().skip(1).find_map(|a| a.strip_prefix(key)?.strip_prefix('=').map(str::to_owned));
    value.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{key}={text} is no number")))
}

fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the write.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn main() {
    let (users, in_flight, rounds) = (argument("users", 200), argument("in_flight", 16), argument("rounds", 1_000));
    let mut load = Load::new(users, in_flight, argument("body_bytes", 128) as usize);
    let (bytes, begun) = (load.bytes_out, cpu_ns());
    load.rounds(rounds);
    let took_ns = cpu_ns() - begun;
    let messages = users * in_flight * rounds;
    let out = load.bytes_out - bytes;
    assert!(out > messages * 200, "every message is acknowledged and delivered: {out} bytes for {messages}");
    println!(
        "{messages} messages: {:.0} ns of CPU each, {:.0} bytes out each",
        took_ns as f64 / messages as f64,
        out as f64 / messages as f64
    );
}
