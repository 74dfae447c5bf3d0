//! The command line: which subcommand it is.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{become_server, capacity, check, compare, html, knee, run, scenarios, schema, worker};

/// Shardwire's load generator: paces, measures, audits, reports.
///
/// Exit codes: 0 passed, 2 wrong use (nothing was run), 3 a threshold does not hold, 4 the audit is not clean, 5 the load
/// generator was the limit, 6 a worker was lost, 130 interrupted.
#[derive(Parser, Debug)]
#[command(name = "loadgen", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs a scenario, against a throwaway server unless there is a target.
    Run(run::Args),
    /// Does a part of runs that another host leads (`loadgen run --worker`).
    Worker(worker::Args),
    /// Checks a scenario and prints its plan: phases, expected messages, users, behaviours. Makes no load.
    Check(check::Args),
    /// Lists the scenarios of a folder.
    Scenarios(scenarios::Args),
    Compare(compare::Args),
    Capacity(Box<capacity::Args>),
    Knee(knee::Args),
    /// Draws the page of a report again.
    Html(html::Args),
    /// Prints the JSON schema of report.json.
    Schema,
    /// For the load generator itself: becomes the throwaway server, ended with PARENT.
    #[command(hide = true)]
    BecomeServer(become_server::Args),
}

/// What the program does; its exit code.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Worker(args) => worker::run(args),
        Command::Check(args) => check::run(&args),
        Command::Scenarios(args) => scenarios::run(&args),
        Command::Capacity(args) => capacity::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Knee(args) => knee::run(&args),
        Command::Html(args) => html::run(&args),
        Command::Schema => schema::run(),
        Command::BecomeServer(args) => become_server::run(&args),
    }
}
