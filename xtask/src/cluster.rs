//! `cargo xtask cluster`, `faults`, `moves` and `rates`: build the release binaries and become `cluster`, which does the rest: a
//! signal to this process is then one to it.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use miette::{IntoDiagnostic, Result, WrapErr};

use crate::{cassandra, shell, tools};

#[derive(clap::Args)]
struct Nodes {
    /// Where messages are kept.
    #[arg(long, value_parser = ["embedded", "cassandra"])]
    store: String,
    /// Cassandra nodes, 1 to 3: one takes about 1.5 GB, three 1 GB each. 1 by default, for faults 3.
    #[arg(long)]
    nodes: Option<u8>,
    /// Where routers keep a copy of who is connected where; redis-cluster by default with Cassandra, else memory (nowhere).
    #[arg(long, value_parser = ["memory", "redis", "redis-cluster"])]
    directory: Option<String>,
    /// Gateways; 3 by default, 2 with Cassandra.
    #[arg(long)]
    gateways: Option<u16>,
    /// Routers; 0: the gateways are that too.
    #[arg(long, default_value_t = 2)]
    routers: u16,
    /// Storage writers; the embedded store has one, Cassandra two by default.
    #[arg(long)]
    writers: Option<u16>,
    /// Where secrets, data and logs are kept; a temporary folder by default.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Run a cluster on this host until SIGTERM or Ctrl-C.
///
/// Prints one line of JSON a process, Cassandra's and Redis' too, then `cluster ready token_config=PATH`: `shardwire token --config PATH` makes tokens for it.
/// Fails when a process ends by itself or a port is taken.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    nodes: Nodes,
    /// Listen on ports from this one on; free ones by default.
    #[arg(long, value_name = "PORT")]
    first_port: Option<u16>,
}

/// Make faults in a cluster under load, and print what each cost.
///
/// Every single fault (kill -9, SIGSTOP, a restart in order, a link cut both ways or one way, slow or lossy), then a seeded sample of pairs,
/// within 25 minutes. With Cassandra or Redis also theirs (a node killed, frozen, cut off from everybody or from a writer, a router cut off from
/// Redis) and writers frozen past their lease or with a clock that jumps, within 50 minutes; each process has a network namespace then, which wants
/// root. Fails when a message was lost, doubled or reordered, a client saw an error of a restart in order or of Redis, or the cluster did not
/// serve again.
#[derive(clap::Args)]
pub struct FaultsArgs {
    #[command(flatten)]
    nodes: Nodes,
    /// Some faults of each kind, at most 4 minutes, 10 with Cassandra.
    #[arg(long, conflicts_with = "all")]
    smoke: bool,
    /// Every single fault and every pair, however long that takes.
    #[arg(long)]
    all: bool,
    /// Chooses the pairs; random by default, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Only the faults whose name in the table contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Begin with the experiment of this number, as the first line counts them: `--all` can be run in parts.
    #[arg(long, value_name = "NUMBER")]
    first: Option<u64>,
    /// At most so many experiments.
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

/// Runs the task.
///
/// # Errors
/// A build fails, or the program cannot be started; else its exit code is this task's.
pub fn run(args: &Args) -> Result<()> {
    let mut cluster = cluster("run", &args.nodes)?;
    if let Some(port) = args.first_port {
        cluster.arg("--first-port").arg(port.to_string());
    }
    become_it(&mut cluster)
}

/// Runs the task.
///
/// # Errors
/// As [`run`].
pub fn faults(args: &FaultsArgs) -> Result<()> {
    let mut cluster = cluster("faults", &args.nodes)?;
    for (option, given) in [("--smoke", args.smoke), ("--all", args.all)] {
        cluster.args(given.then_some(option));
    }
    if let Some(seed) = args.seed {
        cluster.arg("--seed").arg(seed.to_string());
    }
    for (option, number) in [("--first", args.first), ("--count", args.count)] {
        if let Some(number) = number {
            cluster.arg(option).arg(number.to_string());
        }
    }
    if let Some(only) = &args.only {
        cluster.arg("--only").arg(only);
    }
    become_it(&mut cluster)
}

/// Measure how long a chat stands still when its partition moves: on an operator's command, when its writer stops, when it dies.
///
/// Starts a node of Cassandra, two gateways, a router and two writers on this host, and audits the chat. About five minutes.
#[derive(clap::Args)]
pub struct MovesArgs {
    /// Moves on an operator's command.
    #[arg(long, default_value_t = 100)]
    moves: u32,
    /// Stops in order of the writer that has the partition.
    #[arg(long, default_value_t = 5)]
    stops: u32,
    /// Deaths of it, by SIGKILL.
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// Messages a second of the chat.
    #[arg(long, default_value_t = 100)]
    rate: u32,
}

/// Runs the task.
///
/// # Errors
/// As [`run`].
pub fn moves(args: &MovesArgs) -> Result<()> {
    let programs = programs(&[])?;
    let mut command = Command::new(programs.join("cluster"));
    command.args(["moves", "--moves", &args.moves.to_string(), "--stops", &args.stops.to_string()]);
    command.args(["--kills", &args.kills.to_string(), "--rate", &args.rate.to_string()]);
    command.env("SHARDWIRE_CASSANDRA", cassandra::jars()?).env("SHARDWIRE_BIN_DIR", &programs);
    become_it(&mut command)
}

/// Measure messages a second into Cassandra: by its driver, one by one and in batches, and by the whole product.
///
/// All in one run, on nodes and a cluster that it starts on this host. Options go to tests/examples/cassandra_rates.rs
/// (`-- --help` lists them).
#[derive(clap::Args)]
pub struct RatesArgs {
    /// Where logs and reports are kept; `rates` below the target folder by default.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Options of the measuring program.
    #[arg(last = true)]
    options: Vec<String>,
}

/// Runs the task.
///
/// # Errors
/// As [`run`].
pub fn rates(args: &RatesArgs) -> Result<()> {
    let programs = programs(&["--example", "cassandra_rates"])?;
    let mut command = Command::new(programs.join("examples").join("cassandra_rates"));
    let folder = args.folder.clone().unwrap_or_else(|| shell::target().join("rates"));
    command.arg("--programs").arg(&programs).arg("--folder").arg(folder).args(&args.options);
    command.env("SHARDWIRE_CASSANDRA", cassandra::jars()?).env("SHARDWIRE_BIN_DIR", &programs);
    become_it(&mut command)
}

/// The few faults that CI makes on the embedded store.
///
/// # Errors
/// As [`run`], or one was not clean.
pub fn smoke() -> Result<()> {
    smoke_on("embedded")
}

/// The few that CI makes with two writers on three Cassandra nodes and a Redis Cluster.
///
/// # Errors
/// As [`smoke`].
pub fn smoke_with_engines() -> Result<()> {
    smoke_on("cassandra")
}

fn smoke_on(store: &str) -> Result<()> {
    let nodes = Nodes {
        store: store.to_owned(),
        nodes: None,
        directory: None,
        gateways: None,
        routers: 2,
        writers: None,
        folder: None,
    };
    shell::run(cluster("faults", &nodes)?.arg("--smoke"))
}

/// Builds what is needed, and what is asked for besides, unless `SHARDWIRE_BIN_DIR` says where it is. The folder.
fn programs(besides: &[&str]) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("SHARDWIRE_BIN_DIR") {
        return Ok(PathBuf::from(folder));
    }
    eprintln!("building {}", shell::PROGRAMS.join(", "));
    shell::build_programs(besides)
}

fn cluster(task: &str, nodes: &Nodes) -> Result<Command> {
    let programs = programs(&[])?;
    let mut command = Command::new(programs.join("cluster"));
    command.arg(task);
    let on_cassandra = nodes.store == "cassandra";
    let gateways = nodes.gateways.unwrap_or(if on_cassandra { 2 } else { 3 });
    let cassandra_nodes = nodes.nodes.unwrap_or(if task == "faults" { 3 } else { 1 });
    command.args(["--store", &nodes.store, "--nodes", &cassandra_nodes.to_string()]);
    command.args(["--gateways", &gateways.to_string(), "--routers", &nodes.routers.to_string()]);
    if let Some(writers) = nodes.writers {
        command.arg("--writers").arg(writers.to_string());
    }
    if let Some(directory) = &nodes.directory {
        command.args(["--directory", directory]);
    }
    if on_cassandra {
        command.env("SHARDWIRE_CASSANDRA", cassandra::jars()?);
    }
    let in_redis = nodes.directory.as_ref().map_or(on_cassandra, |directory| directory != "memory");
    if in_redis {
        tools::redis()?;
    }
    if on_cassandra || in_redis {
        command.env("SHARDWIRE_BIN_DIR", &programs);
        if task == "faults" {
            tools::faults()?;
        }
    }
    if let Some(folder) = &nodes.folder {
        command.arg("--folder").arg(folder);
    }
    Ok(command)
}

fn become_it(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).into_diagnostic().wrap_err_with(|| format!("cannot start {}", command.get_program().display()))
}
