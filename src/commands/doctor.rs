//! `shardwire doctor`: whether this host can hold so many connections, and what to do where it cannot.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use fabric::shard::available_cores;
use miette::{IntoDiagnostic, Result};
use tuning::need::Need;
use tuning::read;
use tuning::text::{self, Colour};
use tuning::verdict::Verdict;

use crate::cli::DoctorArgs;
use crate::config;
use crate::node::Topology;

/// Exit code of a host that is not fit.
const NOT_FIT: u8 = 1;
/// Exit code of a wrong use, as for a wrong option.
const WRONG_USE: u8 = 2;

/// Prints the verdict on stdout; the exit code says whether the host is fit.
///
/// # Errors
/// When stdout cannot be written to.
pub fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let config = match config::load(args.server.config.as_deref(), args.layer()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("Error: {:?}", miette::Report::from(error));
            return Ok(ExitCode::from(WRONG_USE));
        }
    };
    let topology = Topology::new(config.server.shards, config.server.partitions, available_cores().len() as u16);
    let need = Need::server(args.connections, topology.shards.into(), topology.partitions.into());
    let verdict = Verdict::of(&read::host(Some(&config.server.data)), &need);
    let shown = if args.json {
        serde_json::to_string_pretty(&verdict).into_diagnostic()? + "\n"
    } else {
        text::verdict(&verdict, colour())
    };
    super::print(&shown)?;
    Ok(if verdict.fit { ExitCode::SUCCESS } else { ExitCode::from(NOT_FIT) })
}

/// Colour on a terminal, unless NO_COLOR asks for none.
fn colour() -> Colour {
    let wanted = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted { Colour::Ansi } else { Colour::None }
}
