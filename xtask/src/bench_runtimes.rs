//! `cargo xtask bench-runtimes`: the raw limit's echo-and-forward on the runtimes there are, and the journal's writers, side
//! by side in one table (`benches/runtimes`). Kept in `benches/history/runtimes-DATE.md` and `.json`. Nothing is judged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde::{Deserialize, Serialize};

use crate::{load, shell};

/// Run the runtimes and the journal's writers side by side.
#[derive(clap::Args)]
pub struct Args {
    /// Runs of each; medians are kept.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    runs: u32,
    /// Folder for the journal's segment: on the disk that is meant [default: below the target folder]
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
    /// Where the table is kept.
    #[arg(long, value_name = "DIR", default_value = "benches/history")]
    out: PathBuf,
}

/// Servers: name in the table, program.
const SERVERS: [(&str, &str); 5] = [
    ("raw io_uring (limit)", "limit"),
    ("monoio", "echo-monoio"),
    ("tokio", "echo-tokio"),
    ("compio", "echo-compio"),
    ("glommio", "echo-glommio"),
];
/// Writers: name in the table, name of the program's.
const WRITERS: [(&str, &str); 4] = [
    ("raw ring, RWF_DSYNC, fixed buffers", "raw"),
    ("monoio, O_DIRECT and O_DSYNC", "monoio"),
    ("glommio, DmaFile with O_DSYNC", "glommio"),
    ("thread, pwrite, O_DIRECT and O_DSYNC", "thread"),
];
/// Records a second of the paced run, and how long each run is.
const RATE: &str = "100000";
const SECONDS: &str = "2";

/// A table's worth of figures, as it is kept.
#[derive(Serialize)]
struct Table {
    date: String,
    runs: u32,
    echo: BTreeMap<&'static str, Echo>,
    journal: BTreeMap<&'static str, Journal>,
}

/// One server, medians.
#[derive(Serialize)]
struct Echo {
    cpu_s_per_million_many: f64,
    cpu_s_per_million_one: f64,
    bytes_per_idle_connection: f64,
}

/// One writer, medians.
#[derive(Serialize)]
struct Journal {
    cpu_s_per_million_at_100k: f64,
    records_per_second: f64,
}

/// What a writer prints.
#[derive(Deserialize)]
struct Outcome {
    records: f64,
    took_s: f64,
    cpu_s: f64,
}

/// Runs the task.
///
/// # Errors
/// When something does not build or run, or the table cannot be kept.
pub fn run(args: &Args) -> Result<()> {
    let programs = build()?;
    let mut echo = BTreeMap::new();
    for (name, program) in SERVERS {
        let server = programs.join(program);
        let server = if server.is_file() { server } else { shell::target().join("release").join(program) };
        let figures = Echo {
            cpu_s_per_million_many: median(args.runs, || cpu(&server, "closed"))?,
            cpu_s_per_million_one: median(args.runs, || cpu(&server, "one-in-flight"))?,
            bytes_per_idle_connection: median(args.runs, || memory(&server))?,
        };
        let Echo { cpu_s_per_million_many: many, cpu_s_per_million_one: one, bytes_per_idle_connection: idle } =
            figures;
        println!("{name}: {many:.2} and {one:.2} CPU s a million, {idle:.0} B an idle connection");
        echo.insert(name, figures);
    }
    let folder = args.disk.clone().unwrap_or_else(|| shell::target().join("runtimes-journal"));
    std::fs::create_dir_all(&folder).into_diagnostic().wrap_err_with(|| format!("cannot make {}", folder.display()))?;
    let mut journal = BTreeMap::new();
    for (name, writer) in WRITERS {
        let cpu = || writes(&programs, writer, &folder, Some(RATE)).map(|done| done.cpu_s / done.records * 1e6);
        let most = || writes(&programs, writer, &folder, None).map(|done| done.records / done.took_s);
        let figures = Journal {
            cpu_s_per_million_at_100k: median(args.runs, cpu)?,
            records_per_second: median(args.runs, most)?,
        };
        let Journal { cpu_s_per_million_at_100k: cpu, records_per_second: most } = figures;
        println!("{name}: {cpu:.2} CPU s a million at 100,000 a second, {:.2} million a second at most", most / 1e6);
        journal.insert(name, figures);
    }
    let date = shell::output(&mut shell::command("date", &["-u", "+%F"]))?.trim().to_owned();
    keep(&args.out, &Table { date, runs: args.runs, echo, journal })
}

/// Builds both workspaces; the folder of the runtimes' programs.
fn build() -> Result<PathBuf> {
    let workspace = ["build", "--quiet", "--release", "-p", "shardwire-loadgen", "-p", "shardwire-benches", "--bins"];
    shell::run(&mut shell::cargo(&workspace))?;
    let target = shell::target().join("runtimes");
    let mut runtimes = shell::cargo(&["build", "--quiet", "--release", "--locked"]);
    runtimes.args(["--manifest-path", "benches/runtimes/Cargo.toml", "--target-dir"]).arg(&target);
    shell::run(&mut runtimes)?;
    Ok(target.join("release"))
}

fn median(runs: u32, measure: impl Fn() -> Result<f64>) -> Result<f64> {
    let mut values = (0..runs).map(|_| measure()).collect::<Result<Vec<f64>>>()?;
    values.sort_by(f64::total_cmp);
    Ok(values[values.len() / 2])
}

fn loaded(server: &Path, shape: &str) -> Result<load::Report> {
    let scenario = Path::new("benches/runtimes/scenarios").join(format!("{shape}.toml"));
    let report = load::run(&scenario, server, &shell::target().join("runtimes-load"))?;
    match report.verdict.as_str() {
        // The generator's own speed is no part of these figures.
        "pass" | "saturated" => Ok(report),
        verdict => Err(miette!("{} under {shape}: {verdict}: {}", server.display(), report.reason)),
    }
}

fn cpu(server: &Path, shape: &str) -> Result<f64> {
    loaded(server, shape)?.server.cpu_s_per_million.ok_or_else(|| miette!("the report has no CPU a message"))
}

fn memory(server: &Path) -> Result<f64> {
    let bytes = loaded(server, "idle")?.server.rss_bytes_per_connection;
    bytes.ok_or_else(|| miette!("the report has no bytes a connection"))
}

fn writes(programs: &Path, writer: &str, folder: &Path, rate: Option<&str>) -> Result<Outcome> {
    let mut command = shell::command(programs.join("journal-writer"), &[writer]);
    command.arg(folder).arg(SECONDS).args(rate);
    let text = shell::output(&mut command)?;
    serde_json::from_str(&text).into_diagnostic().wrap_err_with(|| format!("`journal-writer {writer}` printed {text}"))
}

fn keep(folder: &Path, table: &Table) -> Result<()> {
    let stem = folder.join(format!("runtimes-{}", table.date));
    let json = serde_json::to_string_pretty(table).into_diagnostic()? + "\n";
    for (extension, text) in [("md", markdown(table)), ("json", json)] {
        let path = shell::root().join(stem.with_extension(extension));
        std::fs::write(&path, text).into_diagnostic().wrap_err_with(|| format!("cannot write {}", path.display()))?;
        println!("kept in {}", path.display());
    }
    Ok(())
}

fn markdown(table: &Table) -> String {
    let mut out = format!(
        "# Runtimes and journal writers side by side, {}\n\nMedians of {} runs each, made by `cargo xtask bench-runtimes`. One server thread; \
         CPU s a million forwarded messages, × raw in brackets.\n\n| echo-and-forward | 16 in flight, 200 users | 1 in flight, 2,000 users | an idle \
         connection |\n|---|---|---|---|\n",
        table.date, table.runs
    );
    let raw = &table.echo[SERVERS[0].0];
    for (name, _) in SERVERS {
        let echo = &table.echo[name];
        let (many, one) = (echo.cpu_s_per_million_many, echo.cpu_s_per_million_one);
        let _ = writeln!(
            out,
            "| {name} | {many:.2} ({:.2}) | {one:.2} ({:.2}) | {:.0} B |",
            many / raw.cpu_s_per_million_many,
            one / raw.cpu_s_per_million_one,
            echo.bytes_per_idle_connection
        );
    }
    out.push_str(
        "\n| journal writer, records of 332 B | CPU s a million at 100,000 a second | most, million records a second |\n|---|---|---|\n",
    );
    for (name, _) in WRITERS {
        let journal = &table.journal[name];
        let (cpu, most) = (journal.cpu_s_per_million_at_100k, journal.records_per_second / 1e6);
        let _ = writeln!(out, "| {name} | {cpu:.2} | {most:.2} |");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_each_and_ratios_to_the_raw_ring() {
        let cost = |name: &str| if name == SERVERS[0].0 { 2.0 } else { 3.0 };
        let echo = |name| Echo {
            cpu_s_per_million_many: cost(name),
            cpu_s_per_million_one: 2.0 * cost(name),
            bytes_per_idle_connection: 656.4,
        };
        let journal = Journal { cpu_s_per_million_at_100k: 2.5, records_per_second: 5e6 };
        let table = Table {
            date: "2026-01-02".to_owned(),
            runs: 1,
            echo: SERVERS.map(|(name, _)| (name, echo(name))).into(),
            journal: WRITERS.map(|(name, _)| (name, Journal { ..journal })).into(),
        };
        let text = markdown(&table);
        assert!(text.contains("| monoio | 3.00 (1.50) | 6.00 (1.50) | 656 B |"), "{text}");
        assert!(text.contains("| raw io_uring (limit) | 2.00 (1.00) |") && text.contains("| 2.50 | 5.00 |"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with('|')).count(), SERVERS.len() + WRITERS.len() + 4);
    }

    #[test]
    fn the_middle_run_counts() {
        let values = std::cell::RefCell::new(vec![1.0, 9.0, 2.0]);
        let take = || values.borrow_mut().pop().ok_or_else(|| miette!("no more"));
        assert_eq!(median(3, take).unwrap(), 2.0);
    }
}
