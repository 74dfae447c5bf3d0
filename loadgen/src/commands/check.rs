//! `loadgen check`: a scenario's plan, without any load.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::outline::outline;
use crate::scenario::Scenario;

/// What it is asked for.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The scenario's file (TOML).
    scenario: PathBuf,
}

/// Checks the file and prints its plan; 2 when it is no scenario.
pub fn run(args: &Args) -> ExitCode {
    let said = Scenario::load(&args.scenario).map_err(|failure| failure.to_string()).and_then(|scenario| {
        let half = std::thread::available_parallelism().map_or(1, usize::from) / 2;
        let workers = match scenario.load.workers {
            0 => u16::try_from(half).unwrap_or(u16::MAX).max(1),
            asked => asked,
        };
        outline(&scenario, workers)
    });
    match said {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("loadgen: {failure}");
            ExitCode::from(2)
        }
    }
}
