//! `loadgen become-server`: for the load generator itself.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::server;

/// What it is asked for.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The load generator's process.
    parent: u32,
    /// The server's program and its arguments.
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// Returns only when the server cannot be run.
pub fn run(args: &Args) -> ExitCode {
    eprintln!("loadgen: the server cannot be run: {}", server::become_server(args.parent, &args.program));
    ExitCode::from(2)
}
