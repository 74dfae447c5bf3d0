//! `cargo xtask test`: everything that must pass, in order, each step with its time.

use std::time::{Duration, Instant};

use miette::{Result, miette};

use crate::{cassandra, cluster, gate, schema, shell, simulate, tidy, tools, web};

/// Seeds of the fixed simulation.
const SIMULATION_SEEDS: u64 = 2_000;

/// Install what the tests need, start it, run everything.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Only the steps whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 11] = [
    ("schema", schema_is_current),
    ("web", web::test),
    ("tidy", tidy_whole),
    ("build", build),
    ("units", units),
    ("simulation", simulation),
    ("processes", processes),
    ("engines", engines),
    ("faults", cluster::smoke),
    ("faults with engines", cluster::smoke_with_engines),
    ("load gate", gate::run),
];

/// Runs the task.
///
/// # Errors
/// At the first step that fails.
pub fn run(args: &Args) -> Result<()> {
    let mut times = Vec::new();
    for (name, step) in STEPS {
        if args.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        println!("== {name}");
        let (result, took) = timed(step);
        times.push((name, took));
        println!("== {name}: {} in {:.1} s", if result.is_ok() { "passed" } else { "FAILED" }, took.as_secs_f64());
        result?;
    }
    if times.is_empty() {
        let names = STEPS.map(|(name, _)| name).join(", ");
        return Err(miette!("no step's name contains that; the steps are: {names}"));
    }
    println!("== times");
    for (name, took) in &times {
        println!("{name:20} {:7.1} s", took.as_secs_f64());
    }
    println!("steps: {} passed, 0 failed", times.len());
    Ok(())
}

#[allow(clippy::disallowed_methods)] // a task's duration for people, not the product's time
fn timed(step: fn() -> Result<()>) -> (Result<()>, Duration) {
    let start = Instant::now();
    let result = step();
    (result, start.elapsed())
}

fn schema_is_current() -> Result<()> {
    schema::run(&schema::Args { check: true })
}

fn tidy_whole() -> Result<()> {
    tidy::run(&tidy::Args::default())
}

fn build() -> Result<()> {
    shell::run(&mut shell::cargo(&["build", "--quiet", "--release", "--workspace", "--bins"]))
}

/// Units and contract suites of every crate but the one whose tests need the built binaries.
fn units() -> Result<()> {
    let args = ["test", "--quiet", "--workspace", "--exclude", "shardwire-tests", "--no-fail-fast"];
    shell::run(&mut shell::cargo(&args))
}

fn simulation() -> Result<()> {
    let args = simulate::Args { seeds: SIMULATION_SEEDS, first: 1, seed: None, require_coverage: true };
    simulate::run(&args)
}

/// What crosses processes: the release binaries, kill -9, the independent clients. The tests themselves need no optimising.
fn processes() -> Result<()> {
    let mut tests = shell::cargo(&["test", "--quiet", "--package", "shardwire-tests", "--no-fail-fast", "--lib"]);
    tests.args(["--test", "processes", "--test", "simulation_repeats_itself_and_finds_lies", "--", "--test-threads=2"]);
    tests.env("SHARDWIRE_BIN_DIR", shell::target().join("release"));
    tests.env("SHARDWIRE_NODE", web::compile_tests()?).env("SHARDWIRE_CHROMIUM", tools::chromium()?);
    tests.env("SHARDWIRE_VERSITYGW", tools::versitygw()?);
    shell::run(tests.env("SHARDWIRE_PYTHON", tools::program("python3")?))
}

/// What needs a real Cassandra or a real Redis: fetched or installed, and started by the tests.
fn engines() -> Result<()> {
    let args = ["test", "--quiet", "--package", "shardwire-tests", "--no-fail-fast", "--test", "engines"];
    let mut tests = shell::cargo(&args);
    tests.args(["--", "--test-threads=2"]).env("SHARDWIRE_CASSANDRA", cassandra::jars()?);
    tools::redis()?;
    shell::run(tests.env("SHARDWIRE_BIN_DIR", shell::target().join("release")))
}
