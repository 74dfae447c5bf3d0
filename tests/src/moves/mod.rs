//! What it costs a chat that its partition moves: a cluster on Cassandra, a chat that goes on whatever happens, and the longest
//! time between two answers over each move, planned stop and death of the writer that has it.
//!
//! What must stay true: nothing of the chat is lost, doubled or reordered, and no session ends but over a death; what is
//! measured is what a client sees, parts of it as the writers say.

mod figures;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use fabric::time::{Clock as _, SystemClock};
use schema::ids::{ChatId, UserId};
use shardwire::node::Moved;

use crate::process::cluster::{Cluster, ClusterError, Options as ClusterOptions, Shape};
use crate::process::{CassandraCluster, Chatter, Deadline, Manner};
pub use figures::{Figures, Spread};

/// The two that partitions move between.
const WRITERS: [&str; 2] = ["sw-1", "sw-2"];
/// An odd number: the writer that has one more may give one away, and the balance has nothing to do.
const PARTITIONS: u16 = 9;
/// A move is looked at for so long after the command, and the next begins so long after that.
const AFTER: Duration = Duration::from_millis(700);
/// How long the writers may take to have their parts, and a chat to go on, s.
const PATIENCE_S: u64 = 90;
/// A node that has not ended so long after SIGTERM is killed, s.
const STOP_WITHIN_S: u64 = 20;
/// A session whose send has no answer within so long ends and comes back, ms: longer than a takeover.
const ANSWER_TIMEOUT_MS: u32 = 15_000;
const KEYSPACE: &str = "moves";

/// What is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where configuration, data and logs are.
    pub folder: PathBuf,
    /// The `shardwire` program.
    pub program: PathBuf,
    /// The program whose `become-server` starts nodes.
    pub guard: PathBuf,
    /// Moves on an operator's command.
    pub moves: u32,
    /// Stops in order of the writer that has the chat's partition.
    pub stops: u32,
    /// Deaths of it.
    pub kills: u32,
    /// Messages a second of the chat.
    pub rate: u32,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum MovesError {
    /// The cluster's.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A move was refused.
    #[error("partition {partition} did not move to {to}: {why}")]
    Refused {
        /// Which.
        partition: u16,
        /// Where to.
        to: String,
        /// What the command said.
        why: String,
    },
    /// The writers do not have what they should.
    #[error("{what}: the writers hold {held:?} of {PARTITIONS} partitions after {PATIENCE_S} s")]
    Unbalanced {
        /// When.
        what: &'static str,
        /// How many each.
        held: [usize; 2],
    },
    /// The chat is not what it should be.
    #[error("the chat: {0}")]
    Chat(String),
}

/// Starts everything, does what is wanted, and audits the chat.
///
/// # Errors
/// [`MovesError`]; logs are in the folder.
///
/// # Panics
/// When Cassandra does not start.
pub fn run(cassandra: &CassandraCluster, options: &Options) -> Result<Figures, MovesError> {
    let mut cluster = Cluster::new(&ClusterOptions {
        shape: Shape { gateways: 2, routers: 1, writers: 2 },
        folder: options.folder.clone(),
        program: options.program.clone(),
        guard: options.guard.clone(),
        first_port: None,
        relays: false,
        hosts: None,
        config: format!(
            "[limits]\nsends_per_second_per_user = 0\n{}partitions = {PARTITIONS}\n",
            cassandra.shared_store(KEYSPACE)
        ),
    })?;
    cluster.migrate()?;
    cluster.start()?;
    let mut bench = Bench { cluster, program: options.program.clone(), figures: Figures::default() };
    bench.wait_until_shared("at the start")?;
    let (partition, to) = bench.choose();
    let manner = Manner {
        every: Duration::from_secs(1) / options.rate,
        answer_timeout_ms: ANSWER_TIMEOUT_MS,
        ..Manner::default()
    };
    let talk = Chatter::one_way(&bench.cluster, user(1), to, manner);
    bench.chat_goes_on(&talk)?;
    let before = talk.sessions();
    for _ in 0..options.moves.clamp(1, 50) {
        let since = SystemClock.now();
        std::thread::sleep(AFTER);
        bench.figures.quiet.add_us(talk.longest_gap_us(since));
    }
    for _ in 0..options.moves {
        bench.a_move(&talk, partition)?;
    }
    bench.figures.connects = talk.sessions() - before;
    let before = talk.sessions();
    for _ in 0..options.stops {
        bench.an_end(&talk, partition, true)?;
    }
    bench.figures.connects_over_stops = talk.sessions() - before;
    for _ in 0..options.kills {
        bench.an_end(&talk, partition, false)?;
    }
    bench.figures.messages = talk.finish().map_err(MovesError::Chat)?;
    bench.cluster.stop()?;
    Ok(bench.figures)
}

fn user(id: u64) -> UserId {
    UserId::new(id).expect("above 0")
}

struct Bench {
    cluster: Cluster,
    program: PathBuf,
    figures: Figures,
}

impl Bench {
    /// The partitions that a writer holds, as its metrics say; none while it does not answer.
    fn held(&mut self, writer: &str) -> Vec<u16> {
        let metrics = self.cluster.node(writer).metrics();
        let holds = |line: &str| {
            let (partition, epoch) = line.strip_prefix("shardwire_storage_epoch{partition=\"")?.split_once("\"} ")?;
            (epoch != "0").then(|| partition.parse().ok()).flatten()
        };
        metrics.lines().filter_map(holds).collect()
    }

    /// Waits until every partition is held, and neither writer has two more than the other.
    fn wait_until_shared(&mut self, what: &'static str) -> Result<(), MovesError> {
        let mut held = [0; 2];
        let shared = Deadline::after_s(PATIENCE_S).wait_until(|| {
            held = WRITERS.map(|writer| self.held(writer).len());
            held[0] + held[1] == usize::from(PARTITIONS) && held[0].abs_diff(held[1]) == 1
        });
        if shared { Ok(()) } else { Err(MovesError::Unbalanced { what, held }) }
    }

    /// Who has a partition, and the other one.
    fn holder(&mut self, partition: u16) -> Option<(&'static str, &'static str)> {
        let at = (0..2).find(|&at| self.held(WRITERS[at]).contains(&partition))?;
        Some((WRITERS[at], WRITERS[1 - at]))
    }

    /// A partition of the writer that has one more, and whom user 1 has to write to for the chat to be there.
    fn choose(&mut self) -> (u16, UserId) {
        let held = WRITERS.map(|writer| self.held(writer));
        let larger = held.into_iter().max_by_key(Vec::len).unwrap_or_default();
        let found = (2..).map(user).find_map(|to| {
            let partition = ChatId::direct(user(1), to).slot().partition(PARTITIONS);
            larger.contains(&partition).then_some((partition, to))
        });
        found.expect("numbers do not end")
    }

    fn chat_goes_on(&mut self, talk: &Chatter) -> Result<(), MovesError> {
        let before = talk.answers();
        let goes_on = Deadline::after_s(PATIENCE_S).wait_until(|| talk.answers() > before + 50);
        if goes_on { Ok(()) } else { Err(MovesError::Chat(format!("it does not go on after {before} answers"))) }
    }

    /// Moves the partition to the other writer by the command.
    fn a_move(&mut self, talk: &Chatter, partition: u16) -> Result<(), MovesError> {
        let Some((from, to)) = self.holder(partition) else {
            return Err(MovesError::Chat(format!("nobody holds partition {partition}")));
        };
        let node = self.cluster.node(from);
        let mut command = Command::new(&self.program);
        command.args(["partitions", "move", &partition.to_string(), "--to", to, "--json", "--data"]).arg(node.data());
        let refused = |why: String| MovesError::Refused { partition, to: to.to_owned(), why };
        let since = SystemClock.now();
        let said = command.output().map_err(|error| refused(error.to_string()))?;
        if !said.status.success() {
            return Err(refused(String::from_utf8_lossy(&said.stderr).into_owned()));
        }
        let moved: Moved = serde_json::from_slice(&said.stdout).map_err(|error| refused(error.to_string()))?;
        std::thread::sleep(AFTER);
        self.figures.moved.add_us(talk.longest_gap_us(since));
        let Moved { read_ahead_us, drain_us, hand_over_us, epoch, .. } = moved;
        let parts = &mut self.figures.parts;
        [read_ahead_us, drain_us, hand_over_us].into_iter().zip(&mut parts[..3]).for_each(|(us, part)| part.add_us(us));
        if let Some(us) = opened_us(&self.cluster.node(to).log(), partition, epoch) {
            self.figures.parts[3].add_us(us);
        }
        self.figures.read_ahead = self.read_ahead();
        self.wait_until_shared("after a move")
    }

    /// Partitions that were opened with what was read ahead.
    fn read_ahead(&mut self) -> u64 {
        WRITERS.map(|writer| self.cluster.node(writer).metric("storage_read_ahead_total")).iter().sum()
    }

    /// Ends the writer that has the partition, in order or not, and starts it again.
    fn an_end(&mut self, talk: &Chatter, partition: u16, in_order: bool) -> Result<(), MovesError> {
        let Some((from, _)) = self.holder(partition) else {
            return Err(MovesError::Chat(format!("nobody holds partition {partition}")));
        };
        let since = SystemClock.now();
        if in_order {
            self.cluster.node(from).terminate();
            self.cluster.node(from).wait_for_the_end(STOP_WITHIN_S)?;
        } else {
            self.cluster.node(from).kill9();
        }
        self.chat_goes_on(talk)?;
        let spread = if in_order { &mut self.figures.stopped } else { &mut self.figures.killed };
        spread.add_us(talk.longest_gap_us(since));
        self.cluster.node(from).start()?;
        self.cluster.wait_ready()?;
        self.wait_until_shared("after a writer came back")
    }
}

/// How long the partition took to be opened under an epoch, as its writer's log says, µs.
fn opened_us(log: &str, partition: u16, epoch: u64) -> Option<u64> {
    let of = |line: &&str| {
        let words = [format!("partition={partition}"), format!("epoch={epoch}")];
        line.contains("opened") && words.iter().all(|word| line.split(' ').any(|found| found == word))
    };
    let line = log.lines().rev().find(of)?;
    line.split(' ').find_map(|word| word.strip_prefix("took_us=")?.parse().ok())
}
