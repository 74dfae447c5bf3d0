//! `cargo xtask bench-record`: runs the load shapes of the budgets against the product and the raw limit, and keeps the
//! figures in `benches/history`, then draws its page.

use miette::Result;

use crate::{bench_page, shell};

/// Run the benchmarks and add an entry to benches/history.
#[derive(clap::Args)]
pub struct Args {
    /// A word for the entry: what changed.
    #[arg(long)]
    label: String,
    /// Runs of each shape; medians are kept.
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// Runs the task.
///
/// # Errors
/// When a build or a run fails.
pub fn run(args: &Args) -> Result<()> {
    shell::run(&mut shell::cargo(&["build", "--quiet", "--release", "--workspace", "--bins"]))?;
    let record = shell::target().join("release").join("bench-record");
    let mut record = shell::command(record, &["--label", &args.label, "--runs", &args.runs.to_string()]);
    shell::run(record.arg("--history").arg(shell::root().join("benches/history")))?;
    bench_page::run(&bench_page::Args { check: false })
}
