//! A cluster on this host: `cluster run` serves until it is told to stop, `cluster faults` makes faults in one under load,
//! `cluster moves` measures what it costs a chat that its partition moves.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Parser, Subcommand};
use fabric::entropy::{Entropy as _, OsEntropy};
use serde_json::json;
use shardwire_tests::faults::{self, Extent};
use shardwire_tests::moves;
use shardwire_tests::process::CassandraCluster;
use shardwire_tests::process::cluster::{Cluster, Node, Options, Shape, become_server};
use shardwire_tests::process::engines::{Directory, EngineShape, Engines};

/// What a cluster's tables are in.
const KEYSPACE: &str = "shardwire";

/// Clusters of several processes on this host.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Starts one and serves until SIGTERM or Ctrl-C.
    Run(Run),
    /// Makes faults in one under load and prints what they cost.
    Faults(Faults),
    /// Moves a chat's partition between two writers on Cassandra, and prints how long the chat stood still.
    Moves(Moves),
    /// For this program itself: becomes a node, ended with PARENT.
    #[command(hide = true)]
    BecomeServer(BecomeServer),
}

#[derive(clap::Args)]
struct Nodes {
    /// Gateways.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    gateways: u16,
    /// Routers; 0: the gateways are that too.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=64))]
    routers: u16,
    /// Storage writers; one with the embedded store, two by default with Cassandra.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    writers: Option<u16>,
    /// Where messages are kept: embedded, or cassandra, of which this program starts nodes.
    #[arg(long, default_value = "embedded", value_parser = ["embedded", "cassandra"])]
    store: String,
    /// Cassandra nodes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    nodes: u8,
    /// Where routers keep a copy of who is connected where: memory (nowhere), redis, or redis-cluster; this program starts the
    /// servers. With Cassandra redis-cluster by default, else memory.
    #[arg(long)]
    directory: Option<Directory>,
    /// Where the programs `shardwire` and `loadgen` are; beside this one by default.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Where secrets, data and logs are kept; a temporary folder, removed at the end, by default.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Run {
    #[command(flatten)]
    nodes: Nodes,
    /// Listen on ports from this one on; free ones by default.
    #[arg(long, value_name = "PORT")]
    first_port: Option<u16>,
}

#[derive(clap::Args)]
struct Faults {
    #[command(flatten)]
    nodes: Nodes,
    /// Some faults of each kind, at most 4 minutes, 10 with engines.
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
    /// Begin with the experiment of this number, as the first line counts them.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    first: u64,
    /// At most so many experiments.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

#[derive(clap::Args)]
struct Moves {
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
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Where the program `shardwire` is; beside this one by default.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Where data and logs are kept; a temporary folder, removed at the end unless something failed, by default.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[derive(clap::Args)]
struct BecomeServer {
    parent: u32,
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Run(args) => run(&args).map(|()| ExitCode::SUCCESS),
        Task::Faults(args) => make_faults(args),
        Task::Moves(args) => move_partitions(&args).map(|()| ExitCode::SUCCESS),
        Task::BecomeServer(args) => {
            eprintln!("cannot become a node: {}", become_server(args.parent, &args.program));
            return ExitCode::from(127);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("cluster: {error}");
        ExitCode::from(2)
    })
}

type Anything = Box<dyn std::error::Error>;

impl Nodes {
    fn shape(&self) -> Result<Shape, Anything> {
        let shared = self.store == "cassandra";
        let writers = self.writers.unwrap_or(if shared { 2 } else { 1 });
        if writers > 1 && !shared {
            return Err(format!("--writers {writers}: the embedded store has one; add --store cassandra").into());
        }
        Ok(Shape { gateways: self.gateways, routers: self.routers, writers })
    }

    /// What is below the cluster.
    fn engines(&self) -> EngineShape {
        let cassandra = if self.store == "cassandra" { self.nodes } else { 0 };
        let by_default = if cassandra > 0 { Directory::RedisCluster } else { Directory::Memory };
        EngineShape { cassandra, directory: self.directory.unwrap_or(by_default) }
    }

    fn program(&self, name: &str) -> Result<PathBuf, Anything> {
        program(self.programs.as_deref(), name)
    }
}

/// A program in a folder, by default this one's.
fn program(folder: Option<&Path>, name: &str) -> Result<PathBuf, Anything> {
    let own = std::env::current_exe()?;
    let folder = folder.or_else(|| own.parent()).unwrap_or(Path::new("."));
    let path = folder.join(name);
    if path.is_file() { Ok(path) } else { Err(format!("{} is not there: build it first", path.display()).into()) }
}

/// The folder that was named, or one that goes when it is dropped.
fn folder(named: Option<&Path>) -> Result<(PathBuf, Option<tempfile::TempDir>), Anything> {
    match named {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|error| format!("--folder {}: {error}", folder.display()))?;
            Ok((folder.canonicalize()?, None))
        }
        None => {
            let folder = tempfile::Builder::new().prefix("shardwire-cluster-").tempdir()?;
            Ok((folder.path().to_owned(), Some(folder)))
        }
    }
}

fn run(args: &Run) -> Result<(), Anything> {
    let told = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&told))?;
    }
    let (shape, (folder, kept)) = (args.nodes.shape()?, folder(args.nodes.folder.as_deref())?);
    let engines = args.nodes.engines();
    if engines != EngineShape::NONE {
        eprintln!("starting {} of Cassandra, {} of Redis", engines.cassandra, engines.directory.servers());
    }
    // Dropped last: writers give back what they hold before it goes.
    let mut engines = Engines::start(engines, None);
    let mut cluster = Cluster::new(&Options {
        shape,
        folder: folder.clone(),
        program: args.nodes.program("shardwire")?,
        guard: std::env::current_exe()?,
        first_port: args.first_port,
        relays: false,
        hosts: None,
        config: engines.config(KEYSPACE),
    })?;
    if engines.keep_messages() {
        cluster.migrate()?;
    }
    eprintln!("starting {} nodes in {}", cluster.nodes().len(), folder.display());
    if !cluster.start_until(&told)? {
        cluster.stop()?;
        return Ok(());
    }
    announce(&cluster, &engines)?;
    while !told.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(50));
        let ended = cluster.check().err().map(Anything::from).or_else(|| engines.check().err().map(Anything::from));
        if let Some(error) = ended {
            // The others end as they should; that they miss one is known.
            let _ = cluster.stop();
            return Err(error);
        }
    }
    eprintln!("stopping: gateways, routers, writers");
    cluster.stop()?;
    drop((engines, kept));
    Ok(())
}

/// A line for every process, then that all are ready.
fn announce(cluster: &Cluster, engines: &Engines) -> Result<(), Anything> {
    let mut out = std::io::stdout().lock();
    for node in cluster.nodes() {
        writeln!(out, "{}", line(node))?;
    }
    for process in engines.processes() {
        let address = process.address.to_string();
        let line = json!({ "name": process.name, "role": process.role, "pid": process.pid, "address": address });
        writeln!(out, "{line}")?;
    }
    writeln!(out, "cluster ready token_config={}", cluster.config_file().display())?;
    Ok(out.flush()?)
}

fn line(node: &Node) -> serde_json::Value {
    let place = node.place();
    let http = place.http.to_string();
    let mut line = json!({ "name": place.name, "role": place.role.word(), "pid": node.pid(), "http": http });
    for (key, address) in [("native", place.native), ("ws", place.ws)] {
        if let Some(address) = address {
            line[key] = address.to_string().into();
        }
    }
    line
}

fn move_partitions(args: &Moves) -> Result<(), Anything> {
    let (folder, kept) = folder(args.folder.as_deref())?;
    let options = moves::Options {
        folder,
        program: program(args.programs.as_deref(), "shardwire")?,
        guard: std::env::current_exe()?,
        moves: args.moves,
        stops: args.stops,
        kills: args.kills,
        rate: args.rate,
    };
    eprintln!("starting a node of Cassandra, two gateways, a router and two writers");
    let cassandra = CassandraCluster::start(1);
    match moves::run(&cassandra, &options) {
        Ok(figures) => {
            print!("{figures}");
            Ok(())
        }
        Err(error) => {
            if let Some(folder) = kept {
                eprintln!("logs stay in {}", folder.keep().display());
            }
            Err(error.into())
        }
    }
}

fn make_faults(args: Faults) -> Result<ExitCode, Anything> {
    let (folder, kept) = folder(args.nodes.folder.as_deref())?;
    let extent = match (args.smoke, args.all) {
        (true, _) => Extent::Smoke,
        (_, true) => Extent::All,
        _ => Extent::Usual,
    };
    let clean = faults::run(&faults::Options {
        folder,
        programs: (args.nodes.program("shardwire")?, args.nodes.program("loadgen")?),
        guard: std::env::current_exe()?,
        shape: args.nodes.shape()?,
        engines: args.nodes.engines(),
        extent,
        seed: args.seed.unwrap_or_else(|| OsEntropy.next_u64() % 1_000_000),
        only: args.only,
        part: (args.first, args.count),
    })?;
    if !clean {
        // What happened is to be looked at.
        if let Some(folder) = kept {
            eprintln!("logs and reports stay in {}", folder.keep().display());
        }
    }
    Ok(ExitCode::from(u8::from(!clean)))
}
