//! The project's own tasks: `cargo xtask schema|web|tidy|test|simulate|cluster|faults|moves|rates|bench-record|
//! bench-page|bench-runtimes|instructions`.
//!
//! Each prints what it does and how long it took, and fails with the command that failed. Tools that a fresh machine
//! lacks are installed below `target/tools`, pinned by hash.

mod bench_page;
mod bench_record;
mod bench_runtimes;
mod cassandra;
mod cluster;
mod errors_gen;
mod gate;
mod instructions;
mod load;
mod schema;
mod shell;
mod simulate;
mod test;
mod tidy;
mod tools;
mod web;

use clap::{Parser, Subcommand};

/// The project's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Regenerate what is made from schema/fbs and schema/errors.toml.
    Schema(schema::Args),
    /// Build the pages' scripts in web/assets from their TypeScript.
    Web(web::Args),
    /// Check the habits: format, clippy, docs, dependencies, dead files, lengths, words that do not belong.
    Tidy(tidy::Args),
    /// Install what the tests need, start it, run everything; prints each step's time.
    Test(test::Args),
    /// Run the simulator.
    Simulate(simulate::Args),
    /// Run a cluster on this host until SIGTERM or Ctrl-C.
    Cluster(cluster::Args),
    /// Make faults in a cluster under load, and print what each cost.
    Faults(cluster::FaultsArgs),
    /// Measure how long a chat stands still when its partition moves.
    Moves(cluster::MovesArgs),
    /// Measure messages a second into Cassandra, by its driver and by the product.
    Rates(cluster::RatesArgs),
    /// Run the benchmarks and add an entry to benches/history.
    BenchRecord(bench_record::Args),
    /// Draw benches/history/index.html from the history's entries.
    BenchPage(bench_page::Args),
    /// Run the raw limit's echo-and-forward on the runtimes there are, and the journal's writers, side by side.
    BenchRuntimes(bench_runtimes::Args),
    /// Count instructions of the hot paths, with valgrind.
    Instructions(instructions::Args),
}

fn main() -> miette::Result<()> {
    match Cli::parse().task {
        Task::Schema(args) => schema::run(&args),
        Task::Web(args) => web::run(&args),
        Task::Tidy(args) => tidy::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Simulate(args) => simulate::run(&args),
        Task::Cluster(args) => cluster::run(&args),
        Task::Faults(args) => cluster::faults(&args),
        Task::Moves(args) => cluster::moves(&args),
        Task::Rates(args) => cluster::rates(&args),
        Task::BenchRecord(args) => bench_record::run(&args),
        Task::BenchPage(args) => bench_page::run(&args),
        Task::BenchRuntimes(args) => bench_runtimes::run(&args),
        Task::Instructions(args) => instructions::run(&args),
    }
}
