//! Runs seeds of the simulation: `simulate --seeds 500`, or one again: `simulate --seed 17`.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clap::Parser;
use shardwire_tests::sim::counts::Counts;
use shardwire_tests::sim::coverage::{FORBIDDEN, REQUIRED};
use shardwire_tests::sim::plan::Lie;
use shardwire_tests::sim::{Outcome, quiet_panics, run_seed};

/// Simulates whole worlds of server and clients, one a seed.
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
    #[arg(long, value_parser = ["sync", "dedupe", "members", "amendments"])]
    lie: Option<String>,
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
        match self.lie.as_deref() {
            Some("sync") => Lie::Sync,
            Some("members") => Lie::Members,
            Some("amendments") => Lie::Amendments,
            Some(_) => Lie::Dedupe,
            None => Lie::None,
        }
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
                let outcome = run_seed(seed, self.lie(), self.events);
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
            let lie = args.lie.as_ref().map_or_else(String::new, |lie| format!(" --lie {lie}"));
            println!("again: cargo run -p shardwire-tests --bin simulate -- --seed {}{lie}\n", outcome.seed);
            sum.1.push(outcome.seed);
        } else if args.seed.is_some() {
            println!("seed {}: {} events, hash {:016x}", outcome.seed, outcome.events, outcome.hash);
        }
    });
    let (counts, failed, run) = sum.into_inner().expect("reports do not panic");
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
