//! `loadgen worker`: does a part of runs that another host leads.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::fail::Failure;
use crate::remote::{self, Secret};

/// What it is asked for.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where `loadgen run --worker` finds it; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// The secret shared with the leader, at least 16 bytes; $SHARDWIRE_LOADGEN_TOKEN by default.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// An address of this host that connections come from; may be given several times.
    #[arg(long = "source", value_name = "ADDR")]
    sources: Vec<IpAddr>,
    /// Threads; 0: one a core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    workers: u16,
}

/// Serves leaders until SIGTERM or Ctrl-C.
pub fn run(args: Args) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("loadgen: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn serve(args: Args) -> Result<(), Failure> {
    let secret = Secret::find(args.token.as_deref())?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|error| Failure::Host(format!("signals cannot be handled: {error}")))?;
    }
    let options = remote::Options { listen: args.listen, sources: args.sources, workers: args.workers };
    remote::serve(&options, &secret, &interrupted, |address| {
        let mut stdout = std::io::stdout().lock();
        // Who started it may have closed its end.
        let _ = writeln!(stdout, "ready worker={address}").and_then(|()| stdout.flush());
    })
}
