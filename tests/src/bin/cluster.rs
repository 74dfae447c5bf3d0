//! A cluster on this host: `cluster run` serves until it is told to stop, `cluster faults` makes faults in one under load.

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
use shardwire_tests::process::CassandraCluster;
use shardwire_tests::process::cluster::{Cluster, Node, Options, Shape, become_server};

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
    /// Some faults of each kind, at most 4 minutes.
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
struct BecomeServer {
    parent: u32,
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Run(args) => run(&args).map(|()| ExitCode::SUCCESS),
        Task::Faults(args) => make_faults(args),
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

    /// The nodes that keep messages, if any are to.
    fn cassandra(&self) -> Option<CassandraCluster> {
        (self.store == "cassandra").then(|| {
            eprintln!("starting {} of Cassandra", if self.nodes == 1 { "a node" } else { "the nodes" });
            CassandraCluster::start(self.nodes)
        })
    }

    fn program(&self, name: &str) -> Result<PathBuf, Anything> {
        let own = std::env::current_exe()?;
        let folder = self.programs.clone().or_else(|| own.parent().map(Path::to_owned)).unwrap_or_default();
        let path = folder.join(name);
        if path.is_file() { Ok(path) } else { Err(format!("{} is not there: build it first", path.display()).into()) }
    }
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
    // Dropped last: writers give back what they hold before it goes.
    let cassandra = args.nodes.cassandra();
    let mut cluster = Cluster::new(&Options {
        shape,
        folder: folder.clone(),
        program: args.nodes.program("shardwire")?,
        guard: std::env::current_exe()?,
        first_port: args.first_port,
        relays: false,
        config: cassandra.as_ref().map(|cassandra| cassandra.shared_store(KEYSPACE)).unwrap_or_default(),
    })?;
    if cassandra.is_some() {
        cluster.migrate()?;
    }
    eprintln!("starting {} nodes in {}", cluster.nodes().len(), folder.display());
    if !cluster.start_until(&told)? {
        cluster.stop()?;
        return Ok(());
    }
    announce(&cluster)?;
    while !told.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(50));
        if let Err(error) = cluster.check() {
            // The others end as they should; that they miss one is known.
            let _ = cluster.stop();
            return Err(error.into());
        }
    }
    eprintln!("stopping: gateways, routers, writers");
    cluster.stop()?;
    drop((cassandra, kept));
    Ok(())
}

/// A line for every process, then that all are ready.
fn announce(cluster: &Cluster) -> Result<(), Anything> {
    let mut out = std::io::stdout().lock();
    for node in cluster.nodes() {
        writeln!(out, "{}", line(node))?;
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

fn make_faults(args: Faults) -> Result<ExitCode, Anything> {
    if args.nodes.store != "embedded" {
        return Err("faults are made with --store embedded only; `cluster run` has --store cassandra".into());
    }
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
