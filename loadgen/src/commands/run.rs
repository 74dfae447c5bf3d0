//! `loadgen run`: runs a scenario and says how it went.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::report::{self, Report};
use crate::run::{self, Options};

/// What it is asked for.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The scenario's file (TOML).
    scenario: PathBuf,
    /// A server that runs already: HOST:PORT of its native listener, or of its WebSocket listener where the scenario's
    /// protocol is that. Needs --token-key.
    #[arg(long, value_name = "ADDR", requires = "token_key", conflicts_with = "server")]
    target: Option<String>,
    /// The target's process on this host, to report its CPU and memory.
    #[arg(long, value_name = "PID", requires = "target")]
    target_pid: Option<u32>,
    /// Signs tokens for the target: an HS256 secret or a private key in PEM.
    #[arg(long, value_name = "FILE", requires = "target")]
    token_key: Option<PathBuf>,
    /// The throwaway server's program; `shardwire` beside this one by default.
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Folder for report.json and server.log; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// An address of this host that connections come from; may be given several times. Instead of load.sources.
    #[arg(long = "source", value_name = "ADDR")]
    sources: Vec<IpAddr>,
    /// Keep the throwaway server's folder.
    #[arg(long)]
    keep: bool,
}

/// Runs it; the exit code is the verdict's.
pub fn run(args: Args) -> ExitCode {
    let Args { scenario, target, target_pid, token_key, server, out, sources, keep } = args;
    let guard = std::env::current_exe().ok();
    let options = Options { scenario, target, target_pid, server, out, token_key, sources, keep, guard };
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&interrupted)) {
            eprintln!("loadgen: signals cannot be handled: {error}");
            return ExitCode::from(2);
        }
    }
    match run::run(&options, &interrupted) {
        Ok(report) => {
            println!("{}", summary(&report));
            ExitCode::from(report.exit_code)
        }
        Err(failure) => {
            eprintln!("loadgen: {failure}");
            ExitCode::from(2)
        }
    }
}

/// A few lines for people; the last one is the verdict with its reason.
fn summary(report: &Report) -> String {
    let mut lines = vec![format!("{}: {}", report.name, report::describe(&report.scenario.load))];
    let audit = &report.audit;
    if report.scenario.load.sends() {
        let latency = &report.latency_us;
        lines.push(format!(
            "audit       sent {} acked {} delivered {} lost {} doubled {} reordered {} acked but missing {}",
            audit.sent,
            audit.acked,
            audit.delivered,
            audit.lost,
            audit.doubled,
            audit.reordered,
            audit.acked_but_missing
        ));
        lines.push(format!(
            "latency     p50 {} µs  p99 {} µs  p99.9 {} µs  max {} µs  ({} messages)",
            latency.p50, latency.p99, latency.p999, latency.max, latency.count
        ));
        lines.push(format!(
            "throughput  {:.0} delivered/s over {:.1} s",
            report.throughput.delivered_per_second, report.throughput.steady_s
        ));
    }
    lines.push(format!(
        "connections held {} of {}, {:.0} connects/s in the steady phase",
        report.connections.held, report.connections.wanted, report.connections.connects_per_second
    ));
    let known =
        |value: Option<f64>, unit: &str| value.map_or_else(|| "unknown".to_owned(), |v| format!("{v:.2} {unit}"));
    lines.push(format!(
        "server      {} per million delivered, {}, {} a connection",
        known(report.server.cpu_s_per_million, "CPU s"),
        known(report.server.cores_used, "cores"),
        known(report.server.rss_bytes_per_connection, "bytes")
    ));
    let busy: Vec<String> = report.generator.busy.iter().map(|b| format!("{:.0} %", b * 100.0)).collect();
    lines.push(format!(
        "generator   busy {}, pacing lag p99 {} µs",
        busy.join(" "),
        report.generator.pacing_lag_us.p99
    ));
    for (name, count) in &report.errors {
        lines.push(format!("error       {count} × {name}"));
    }
    lines.push(format!("{:?} ({}): {}", report.verdict, report.exit_code, report.reason).to_lowercase());
    lines.join("\n")
}
