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
    shell::build_programs(&[]).map(drop)
}

/// The package whose integration tests need the built binaries, or more.
const ACROSS_PROCESSES: &str = "shardwire-tests";

/// Units and contract suites of every crate.
///
/// Here as everywhere all packages are selected, and the wanted targets named: which packages are selected decides the features
/// of what they share, so another selection would compile most of it again.
fn units() -> Result<()> {
    let mut tests = shell::cargo(&["test", "--quiet", "--workspace", "--no-fail-fast", "--lib", "--bins"]);
    for name in integration_tests()? {
        tests.args(["--test", &name]);
    }
    shell::run(&mut tests)
}

/// Names of the integration tests of every package but that one.
fn integration_tests() -> Result<Vec<String>> {
    let list = shell::output(&mut shell::cargo(&["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value =
        serde_json::from_str(&list).map_err(|error| miette!("what cargo metadata says is no JSON: {error}"))?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.filter(|package| package["name"] != ACROSS_PROCESSES).flat_map(|package| {
        let targets = package["targets"].as_array().into_iter().flatten();
        targets.filter(|target| target["kind"][0] == "test")
    });
    Ok(targets.filter_map(|target| target["name"].as_str().map(str::to_owned)).collect())
}

fn simulation() -> Result<()> {
    let args = simulate::Args { seeds: SIMULATION_SEEDS, first: 1, seed: None, require_coverage: true };
    simulate::run(&args)
}

/// What crosses processes: the release binaries, kill -9, the independent clients. The tests themselves need no optimising.
fn processes() -> Result<()> {
    let mut tests = shell::cargo(&["test", "--quiet", "--workspace", "--no-fail-fast", "--test", "processes"]);
    tests.args(["--test", "simulation_repeats_itself_and_finds_lies", "--", "--test-threads=2"]);
    tests.env("SHARDWIRE_BIN_DIR", shell::target().join("release"));
    tests.env("SHARDWIRE_NODE", web::compile_tests()?).env("SHARDWIRE_CHROMIUM", tools::chromium()?);
    tests.env("SHARDWIRE_VERSITYGW", tools::versitygw()?);
    shell::run(tests.env("SHARDWIRE_PYTHON", tools::program("python3")?))
}

/// What needs a real Cassandra or a real Redis: fetched or installed, and started by the tests.
fn engines() -> Result<()> {
    let mut tests = shell::cargo(&["test", "--quiet", "--workspace", "--no-fail-fast", "--test", "engines"]);
    tests.args(["--", "--test-threads=2"]).env("SHARDWIRE_CASSANDRA", cassandra::jars()?);
    tools::redis()?;
    shell::run(tests.env("SHARDWIRE_BIN_DIR", shell::target().join("release")))
}
