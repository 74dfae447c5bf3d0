//! `loadgen knee SCENARIO`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fabric::time::{Clock as _, SystemClock};

use crate::knee::rig::{self, RealRig, StepError};
use crate::knee::{self, Asked, Bound, Knee, Limits, Rig as _, Step, page, show, usl};
use crate::run::Options;
use crate::scenario::Scenario;

/// Finds the highest rate within a latency budget: steps up, then bisection.
///
/// Each step is a run of the scenario with its rate replaced, against a throwaway server started anew (so no step inherits the
/// backlog of the one before) or the target as it stands. After the search, closed steps of rising concurrency are run and
/// Gunther's universal scalability law is fitted to them. DIR gets knee.json, knee.html and each step's report.
///
/// Exit codes: 0 found, 2 wrong use, 3 no rate holds the budget, 4 the audit is not clean, 5 the load generator was the limit,
/// 130 interrupted.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The scenario's file; its load.rate, load.in_flight, phases and thresholds are replaced.
    scenario: PathBuf,
    /// The first rate, messages a second.
    #[arg(long, default_value_t = 1_000.0, value_name = "RATE")]
    from: f64,
    /// The highest rate tried.
    #[arg(long, default_value_t = 1_000_000.0, value_name = "RATE")]
    to: f64,
    /// p99 from intended send to receipt, µs at most.
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    budget_p99_us: u64,
    /// Length of a step's measured phase, s.
    #[arg(long, default_value_t = 10.0, value_name = "S")]
    step_s: f64,
    /// Rates rise by this factor until one is too high.
    #[arg(long, default_value_t = 2.0)]
    factor: f64,
    /// How close to come: 0.1 = within 10 %.
    #[arg(long, default_value_t = 0.1)]
    resolution: f64,
    /// A rate is too high when it fails this often in a row.
    #[arg(long, default_value_t = 2)]
    tries: u32,
    /// Messages in flight of the closed steps, all users together, for the scalability law; `none` leaves them out.
    #[arg(long, value_name = "N,N,…", default_value = "2,8,32,128,512,2048")]
    concurrency: String,
    /// A server that runs already (see `loadgen run --help`).
    #[arg(long, value_name = "ADDR", requires = "token_key", conflicts_with = "server")]
    target: Option<String>,
    /// The target's process on this host.
    #[arg(long, value_name = "PID", requires = "target")]
    target_pid: Option<u32>,
    /// Signs tokens for the target.
    #[arg(long, value_name = "FILE", requires = "target")]
    token_key: Option<PathBuf>,
    /// The throwaway server's program.
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Folder for the results; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&interrupted)) {
            return refuse(&format!("signals cannot be handled: {error}"));
        }
    }
    match find(args, &interrupted) {
        Ok(knee) => {
            println!("{}", show::text(&knee));
            ExitCode::from(knee.exit_code)
        }
        Err(why) => refuse(&why),
    }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("loadgen: {why}");
    ExitCode::from(2)
}

fn find(args: &Args, interrupted: &Arc<AtomicBool>) -> Result<Knee, String> {
    let limits = Limits {
        from: args.from,
        to: args.to,
        budget_p99_us: args.budget_p99_us,
        factor: args.factor,
        resolution: args.resolution,
        tries: args.tries,
    };
    limits.check()?;
    let concurrency = concurrencies(&args.concurrency)?;
    let scenario = Scenario::load(&args.scenario).map_err(|failure| failure.to_string())?;
    // What no step could do is refused before the first.
    for asked in [Asked::Rate(limits.from), Asked::Rate(limits.to)] {
        rig::scenario_of(&scenario, asked, args.step_s)?;
    }
    for n in &concurrency {
        rig::scenario_of(&scenario, Asked::Concurrency(*n), args.step_s)?;
    }
    let cannot = |error: io::Error| format!("--out {}: cannot be written: {error}", args.out.display());
    prepare(&args.out).map_err(cannot)?;
    let started_ms = SystemClock.now().wall_ms();
    let options = Options {
        targets: args.target.iter().cloned().collect(),
        target_pids: args.target_pid.into_iter().collect(),
        server: args.server.clone(),
        token_key: args.token_key.clone(),
        quiet: true,
        guard: std::env::current_exe().ok(),
        ..Options::default()
    };
    let mut rig = RealRig {
        scenario,
        step_s: args.step_s,
        budget_p99_us: args.budget_p99_us,
        options,
        out: args.out.clone(),
        interrupted,
        told: |step| eprintln!("{}", show::step(step)),
        made: 0,
    };
    let found = knee::search(&mut rig, limits).map_err(|error| error.to_string())?;
    let closed = closed(&mut rig, &concurrency, found.bound, interrupted).map_err(|error| error.to_string())?;
    let points: Vec<usl::Point> = closed.iter().filter_map(point).collect();
    let knee = Knee {
        schema: 1,
        name: rig.scenario.name.clone(),
        started_ms,
        limits,
        reason: show::reason(&found, &limits),
        exit_code: found.bound.exit_code(),
        scaling: usl::fit(&points),
        found,
        closed,
    };
    write(&knee, &args.out).map_err(cannot)?;
    Ok(knee)
}

/// Concurrency and throughput of a closed step.
fn point(step: &Step) -> Option<usl::Point> {
    match step.asked {
        Asked::Concurrency(n) => Some((n as f64, step.figures.delivered_per_second)),
        Asked::Rate(_) => None,
    }
}

fn concurrencies(text: &str) -> Result<Vec<u64>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let wrong = |part: &str| {
        format!("--concurrency {part}: expected whole numbers of at least 2 with commas between, or `none`")
    };
    let parse = |part: &str| part.trim().parse::<u64>().ok().filter(|n| *n >= 2).ok_or_else(|| wrong(part));
    let mut all = text.split(',').map(parse).collect::<Result<Vec<u64>, String>>()?;
    all.sort_unstable();
    all.dedup();
    if all.len() < usl::POINTS_MIN {
        return Err(format!("--concurrency {text}: the law needs {} different numbers, or `none`", usl::POINTS_MIN));
    }
    Ok(all)
}

/// The closed steps; none after a search that ended early.
fn closed(
    rig: &mut RealRig<'_>,
    concurrency: &[u64],
    bound: Bound,
    interrupted: &AtomicBool,
) -> Result<Vec<Step>, StepError> {
    let mut steps = Vec::new();
    if matches!(bound, Bound::Audit | Bound::Interrupted) {
        return Ok(steps);
    }
    for n in concurrency {
        let step = rig.closed(*n)?;
        let ended = step.judged != knee::Judged::Holds || interrupted.load(Ordering::Acquire);
        if step.judged == knee::Judged::Holds {
            steps.push(step);
        }
        if ended {
            break;
        }
    }
    Ok(steps)
}

fn prepare(out: &Path) -> io::Result<()> {
    fs::create_dir_all(out)?;
    let part = out.join(format!("{}.part", knee::FILE));
    fs::write(&part, b"{}\n")?;
    fs::remove_file(part)
}

fn write(knee: &Knee, out: &Path) -> io::Result<()> {
    fs::write(out.join(knee::FILE), serde_json::to_string_pretty(knee)? + "\n")?;
    fs::write(out.join(page::FILE), page::page(knee))
}
