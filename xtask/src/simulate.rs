//! `cargo xtask simulate`: builds the simulator and runs seeds.
//!
//! With the profile of tests: debug assertions are part of what is simulated, and it is built for tests anyway.

use miette::Result;

use crate::shell;

/// Run the simulator.
#[derive(clap::Args, Default)]
pub struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    pub seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub first: u64,
    /// Run just this seed, and print what happens.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    pub seed: Option<u64>,
    /// Also fail if a kind of fault or a guard never fired over all seeds (CI's fixed run).
    #[arg(long)]
    pub require_coverage: bool,
}

/// Runs the task.
///
/// # Errors
/// When a seed breaks an invariant; the simulator has printed which seed and what, and the least that shows it.
pub fn run(args: &Args) -> Result<()> {
    // Building a package's integration test builds its programs; with what the other tests use, so nothing is compiled twice.
    let build = ["test", "--quiet", "--workspace", "--no-run", "--test", "simulation_repeats_itself_and_finds_lies"];
    shell::run(&mut shell::cargo(&build))?;
    let mut simulate = shell::command(shell::target().join("debug").join("simulate"), &[]);
    match args.seed {
        Some(seed) => simulate.arg("--seed").arg(seed.to_string()),
        None => simulate.args(["--seeds", &args.seeds.to_string(), "--first", &args.first.to_string()]),
    };
    if args.require_coverage {
        simulate.arg("--require-coverage");
    }
    shell::run(&mut simulate)
}
