//! `bench-record`: runs the load shapes of the budgets against the product and the raw limit, alternately, and keeps the
//! figures in a folder of entries, one file an entry and one line a table.
//!
//! `cargo xtask bench-record --label X [--runs N]` builds everything and calls it; `loadgen`, `shardwire` and `limit` are
//! those beside this executable. Nothing here is judged: what a run measured is written down with the run's verdict. Only
//! a run that cannot be made, or whose audit is not clean, ends it.

mod args;
mod criterion;
mod entry;
mod history;
mod instructions;
mod machine;
mod run;
mod shapes;

use std::process::ExitCode;

use args::Args;
use entry::Entry;
use run::Programs;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("bench-record: {error}\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match record(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-record: {error}");
            ExitCode::FAILURE
        }
    }
}

fn record(args: &Args) -> Result<(), String> {
    let programs = Programs::beside_this()?;
    std::fs::create_dir_all(&args.history).map_err(|error| format!("{}: {error}", args.history.display()))?;
    let measured = shapes::measure(args, &programs)?;
    let entry = Entry {
        schema: entry::SCHEMA,
        label: args.label.clone(),
        date: history::today(),
        commit: machine::commit(),
        machine: machine::describe(),
        runs: args.runs,
        shapes: measured,
        criterion_ns: criterion::medians(&programs.criterion_folder()),
        instructions: instructions::counts(&programs.instructions_folder()),
    };
    let file = history::add(&args.history, &entry)?;
    println!("\n{}", history::lines(&entry));
    println!("kept in {}", file.display());
    Ok(())
}
