//! Runs seeds of the simulation: `simulate --seeds 500`, or one again: `simulate --seed 17`.
//!
//! The first world that fails is made smaller: what is printed last is the least that was found to fail in the same way.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clap::Parser;
use clap::builder::PossibleValuesParser;
use shardwire_tests::sim::case::{Case, Part};
use shardwire_tests::sim::counts::Counts;
use shardwire_tests::sim::coverage::{FORBIDDEN, REQUIRED};
use shardwire_tests::sim::plan::Lie;
use shardwire_tests::sim::shrink::shrink;
use shardwire_tests::sim::{Outcome, quiet_panics, run_case};

/// How a world is run again.
const AGAIN: &str = "again: cargo run -p shardwire-tests --bin simulate --";

/// Simulates whole worlds of server and clients, one a seed.
///
/// After a failure it looks for less that fails in the same way (fewer operations, parts and users; at most 30 worlds), and
/// prints the command that shows it.
#[derive(Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Just this seed.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Also fail if a kind of fault or a guard never fired.
    #[arg(long)]
    require_coverage: bool,
    /// Lie to the system; the run should fail.
    #[arg(long, value_parser = Lie::NAMED.map(|(name, _)| name))]
    lie: Option<String>,
    /// Only so many operations before the world is healed.
    #[arg(long)]
    operations: Option<u64>,
    /// Only the first so many users, at least 2.
    #[arg(long)]
    users: Option<u64>,
    /// Leave out these kinds of operations and faults, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(Part::ALL.iter().map(|part| part.name())))]
    without: Vec<String>,
    /// Do not look for less that still fails when a whole world has failed.
    #[arg(long)]
    no_shrink: bool,
    /// Events shown after a failure.
    #[arg(long, default_value_t = 50)]
    events: usize,
    /// Threads; 0 = one a core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
}

impl Args {
    fn lie(&self) -> Lie {
        Lie::NAMED.iter().find(|(name, _)| Some(*name) == self.lie.as_deref()).map_or(Lie::None, |&(_, lie)| lie)
    }

    fn case(&self, seed: u64) -> Case {
        let named = |part: &&Part| self.without.iter().any(|name| name == part.name());
        let without = Part::ALL.iter().filter(named).copied().collect();
        Case { seed, lie: self.lie(), operations: self.operations, users: self.users, without }
    }

    /// Runs all seeds on some threads.
    fn run(&self, report: impl Fn(Outcome) + Sync) {
        let (first, count) = self.seed.map_or((self.first, self.seeds), |seed| (seed, 1));
        let next = AtomicU64::new(first);
        let stop = AtomicBool::new(false);
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return;
                }
                let outcome = run_case(&self.case(seed), self.events);
                stop.fetch_or(outcome.failure.is_some() && !self.keep_going, Ordering::Relaxed);
                report(outcome);
            }
        };
        let threads = match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    }
}

/// Looks for less that fails in the same way as a whole world did, and says how to run it.
fn tell_least(case: &Case, outcome: Outcome) {
    if !case.is_whole() {
        return;
    }
    let shrunk = shrink(case, outcome, 1);
    let what = shrunk.outcome.failure.map(|failure| failure.what).unwrap_or_default();
    println!("the least found to fail, of {} tries: {} events\n{what}", shrunk.tries, shrunk.outcome.events);
    println!("{AGAIN} {}\n", shrunk.case);
}

fn main() -> ExitCode {
    let args = Args::parse();
    quiet_panics();
    let sum = Mutex::new((Counts::default(), Vec::new(), 0u64));
    args.run(|outcome| {
        let mut sum = sum.lock().expect("reports do not panic");
        sum.0.merge(&outcome.counts);
        sum.2 += 1;
        if let Some(failure) = &outcome.failure {
            println!("seed {} FAILED after {} events\n{}", outcome.seed, outcome.events, failure.what);
            println!("the last events:\n{}", failure.tail);
            println!("{AGAIN} {}\n", args.case(outcome.seed));
            sum.1.push(outcome);
        } else if args.seed.is_some() {
            println!("seed {}: {} events, hash {:016x}", outcome.seed, outcome.events, outcome.hash);
        }
    });
    let (counts, failures, run) = sum.into_inner().expect("reports do not panic");
    let failed: Vec<u64> = failures.iter().map(|outcome| outcome.seed).collect();
    if let Some(first) = failures.into_iter().next().filter(|_| !args.no_shrink) {
        tell_least(&args.case(first.seed), first);
    }
    println!("{}", counts.table());
    println!("{run} seeds, {} failed {failed:?}", failed.len());
    let missing = if args.require_coverage { counts.missing(REQUIRED) } else { Vec::new() };
    for name in &missing {
        println!("never happened: {name}");
    }
    let wrong: Vec<_> = FORBIDDEN.iter().filter(|name| counts.get(name) > 0).collect();
    for name in &wrong {
        println!("must never happen: {name}");
    }
    ExitCode::from(u8::from(!failed.is_empty() || !missing.is_empty() || !wrong.is_empty()))
}
