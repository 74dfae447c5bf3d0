//! `loadgen run`: runs a scenario and says how it went.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::report::outputs::Outputs;
use crate::run::{self, Options};

/// What it is asked for.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The scenario's file (TOML).
    scenario: PathBuf,
    /// A server that runs already: HOST:PORT of its native listener, or of its WebSocket listener where the scenario's
    /// protocol is that. Needs --token-key. Several that serve the same users, with commas between: user n begins at the
    /// (n mod k)th, and takes the next one when a connect fails or a connection is lost.
    #[arg(
        long = "target",
        value_name = "ADDR,…",
        value_delimiter = ',',
        requires = "token_key",
        conflicts_with = "server"
    )]
    targets: Vec<String>,
    /// The target's process on this host, to report its CPU and memory; of several processes (all that serve, not only those
    /// with listeners) their sum is reported.
    #[arg(long = "target-pid", value_name = "PID,…", value_delimiter = ',', requires = "targets")]
    target_pids: Vec<u32>,
    /// Signs tokens for the target: an HS256 secret or a private key in PEM.
    #[arg(long, value_name = "FILE", requires = "targets")]
    token_key: Option<PathBuf>,
    /// The authorities that vouch for a target where the scenario says `tls = true`: a PEM file. This host's own by default.
    #[arg(long, value_name = "FILE", requires = "targets")]
    tls_ca: Option<PathBuf>,
    /// The throwaway server's program; `shardwire` beside this one by default.
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Where the target tells its metrics (its HTTP listener), for the stages of a message; those of several processes are
    /// added up.
    #[arg(long = "target-http", value_name = "ADDR,…", value_delimiter = ',', requires = "targets")]
    target_https: Vec<SocketAddr>,
    /// Folder for report.json, report.html and server.log; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Also writes the verdict, the audit and each threshold as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also writes the final figures in Prometheus' text format.
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
    /// Shows no progress, and of the summary only the verdict.
    #[arg(long)]
    quiet: bool,
    /// An address of this host that connections come from; may be given several times. Instead of load.sources.
    #[arg(long = "source", value_name = "ADDR")]
    sources: Vec<IpAddr>,
    /// A remote worker (`loadgen worker`); may be given several times. They drive the users, this process leads.
    #[arg(long = "worker", value_name = "HOST:PORT")]
    workers: Vec<String>,
    /// The secret shared with remote workers; $SHARDWIRE_LOADGEN_TOKEN by default.
    #[arg(long, value_name = "FILE", requires = "workers")]
    worker_token: Option<PathBuf>,
    /// Worker threads of this process besides the remote ones.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "workers")]
    local_workers: u16,
    /// Keep the throwaway server's folder.
    #[arg(long)]
    keep: bool,
}

/// Runs it; the exit code is the verdict's.
pub fn run(args: Args) -> ExitCode {
    let guard = std::env::current_exe().ok();
    let quiet = args.quiet;
    let options = Options {
        scenario: args.scenario,
        targets: args.targets,
        target_pids: args.target_pids,
        target_https: args.target_https,
        server: args.server,
        outputs: Outputs { folder: args.out, junit: args.junit, prometheus: args.prometheus },
        token_key: args.token_key,
        tls_ca: args.tls_ca,
        sources: args.sources,
        workers: args.workers,
        worker_token: args.worker_token,
        local_workers: args.local_workers,
        keep: args.keep,
        quiet,
        guard,
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&interrupted)) {
            eprintln!("loadgen: signals cannot be handled: {error}");
            return ExitCode::from(2);
        }
    }
    match run::run(&options, &interrupted) {
        Ok(report) => {
            println!("{}", if quiet { report.verdict_line() } else { report.summary() });
            ExitCode::from(report.exit_code)
        }
        Err(failure) => {
            eprintln!("loadgen: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
