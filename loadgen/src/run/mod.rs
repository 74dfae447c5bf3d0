//! One run, from the scenario to the verdict: everything that can be refused is refused before any load; whatever
//! happens after that ends in a report.
mod gather;
mod restart;
mod sample;
mod watch;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use fabric::entropy::{Entropy as _, OsEntropy};
use fabric::time::{Clock as _, SystemClock};

use crate::behave::Behaviours;
use crate::fail::Failure;
use crate::fit::Host;
use crate::measure::Shown;
use crate::observe::kernel::Kernel;
use crate::plan::{Pairing, Phases, Plan};
use crate::probe::{self, Allowed};
use crate::report::Report;
use crate::report::outputs::Outputs;
use crate::scenario::{Mode, Protocol, Scenario};
use crate::server::{self, Server, proc};
use crate::tokens::{Minter, Source};
use crate::wire::Speech;
use crate::worker::{Outcome, Worker};
use restart::Restarts;

pub use watch::Sums;

/// What a run is asked for on the command line.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The scenario's file.
    pub scenario: PathBuf,
    /// A server that runs already; without one a throwaway server is started.
    pub target: Option<String>,
    /// The target's process, to look at its CPU and memory.
    pub target_pid: Option<u32>,
    /// The throwaway server's program.
    pub server: Option<PathBuf>,
    /// Where the target tells its metrics.
    pub target_http: Option<SocketAddr>,
    /// Where the report goes.
    pub outputs: Outputs,
    /// Show no progress.
    pub quiet: bool,
    /// Signs the users' tokens for a target.
    pub token_key: Option<PathBuf>,
    /// Addresses that connections come from, instead of the scenario's.
    pub sources: Vec<IpAddr>,
    /// Keep the throwaway server's folder.
    pub keep: bool,
    /// The load generator's own program, so that a throwaway server ends with it; without one it may be left behind.
    pub guard: Option<PathBuf>,
}

/// What the load goes to.
struct Target {
    address: SocketAddr,
    /// What the address is called in a `Host` header.
    host: String,
    /// The throwaway server, when there is one.
    server: Option<Server>,
    pid: Option<u32>,
    http: Option<SocketAddr>,
    at_ready: Option<proc::Look>,
    kernel_at_ready: Option<Kernel>,
    allowed: Allowed,
}

/// Runs a scenario and writes its report. `interrupted` is set by Ctrl-C.
///
/// # Errors
/// [`Failure`]: nothing was run.
pub fn run(options: &Options, interrupted: &Arc<AtomicBool>) -> Result<Report, Failure> {
    let mut scenario = Scenario::load(&options.scenario)?;
    let restarts = Behaviours::new(&scenario).map_err(Failure::Behaviour)?.restarts().count();
    if restarts > 0 && options.target.is_some() {
        return Err(Failure::Behaviour(
            "restart: only the throwaway server can be restarted: run it without --target".to_owned(),
        ));
    }
    if !options.sources.is_empty() {
        scenario.load.sources.clone_from(&options.sources);
    }
    options.outputs.prepare()?;
    let program = match options.target {
        None => Some(server::program(options.server.as_deref())?),
        Some(_) => None,
    };
    let host = Host::look();
    let usual = (host.cores / 2).clamp(1, 64);
    host.carries(&scenario.load, usual)?;
    let workers = host.workers(u64::from(scenario.load.users), scenario.load.workers, usual)?;
    if program.is_some() {
        scenario.server.shards = host.shards(&scenario)?;
    }
    let (mut target, minter) = match program {
        Some(program) => throwaway(&program, &scenario, options)?,
        None => existing(&scenario, options)?,
    };
    let started = SystemClock.now();
    let sources = host.sources(&scenario.load, u64::from(scenario.load.users), target.address)?;
    let plan = Arc::new(plan(&scenario, &target, workers, sources)?);
    let workers = start_workers(&plan, &minter)?;
    let shown: Vec<Arc<Shown>> = workers.iter().map(|w| Arc::clone(&w.shown)).collect();
    let mut restarts = Restarts::new(&plan);
    let sight = watch::Sight { pid: target.pid, http: target.http, quiet: options.quiet };
    let (server, pid) = (&mut target.server, &mut target.pid);
    let watched = watch::Watch::new(&plan, &shown, sight, interrupted).until_the_end(|now| {
        if let Some(server) = server {
            restarts.look(now, &plan.phases, server);
            *pid = Some(server.pid());
        }
        *pid
    });
    // Without one worker's part the audit would be of something else: its panic is the run's.
    let home = |worker: Running| worker.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let outcomes = workers.into_iter().map(home).collect::<Result<Vec<Outcome>, _>>()?;
    let ended = target.server.as_mut().and_then(Server::stop).map(|status| status.to_string());
    if options.keep
        && let Some(folder) = target.server.as_mut().and_then(Server::keep)
    {
        eprintln!("the server's folder stays at {}", folder.display());
    }
    let mut report = gather::report(scenario, &plan, &watched, &restarts.done(), outcomes);
    report.started_ms = started.wall_ms();
    report.took_s = (SystemClock.now().mono_ns - started.mono_ns) as f64 / 1e9;
    report.limits = Some(target.allowed);
    gather::server(&mut report, &target, &watched, ended);
    report.judge();
    // The verdict is not lost with the file.
    options.outputs.write(&report).inspect_err(|_| eprintln!("{}", report.verdict_line()))?;
    Ok(report)
}

fn throwaway(
    program: &std::path::Path,
    scenario: &Scenario,
    options: &Options,
) -> Result<(Target, Arc<Minter>), Failure> {
    let (server, minter) =
        Server::start(program, options.guard.as_deref(), scenario, &options.outputs.folder.join("server.log"))?;
    let pid = Some(server.pid());
    let address = match scenario.load.protocol {
        Protocol::Native => server.ready.native,
        Protocol::WebSocket => {
            let none = || Failure::ServerStart("it has no WebSocket listener".to_owned());
            server.ready.ws.ok_or_else(none)?
        }
    };
    let host = address.to_string();
    let at_ready = proc::look(server.pid());
    let token = minter.mint(scenario.load.first_user, probe::device(), SystemClock.now().wall_ms())?;
    let allowed = ask(scenario, address, &host, &token)?;
    let (http, kernel_at_ready) = (server.ready.http, Kernel::now());
    Ok((
        Target { address, host, server: Some(server), pid, http, at_ready, kernel_at_ready, allowed },
        Arc::new(minter),
    ))
}

fn existing(scenario: &Scenario, options: &Options) -> Result<(Target, Arc<Minter>), Failure> {
    let host = options.target.clone().unwrap_or_default();
    let address = probe::resolve(&host)?;
    let Some(key) = &options.token_key else {
        return Err(Failure::Tokens(
            "--target needs --token-key FILE: the key its tokens are signed with (for a development server, dev-key in its data folder)".to_owned(),
        ));
    };
    let minter = Minter::from_file(key)?;
    let token = minter.mint(scenario.load.first_user, probe::device(), SystemClock.now().wall_ms())?;
    let allowed = ask(scenario, address, &host, &token)?;
    let pid = options.target_pid;
    let at_ready = pid.and_then(proc::look);
    let (http, kernel_at_ready) = (options.target_http, Kernel::now());
    Ok((Target { address, host, server: None, pid, http, at_ready, kernel_at_ready, allowed }, Arc::new(minter)))
}

/// What the server allows, once it is known that the scenario fits.
fn ask(scenario: &Scenario, address: SocketAddr, host: &str, token: &str) -> Result<Allowed, Failure> {
    let websocket = scenario.load.protocol == Protocol::WebSocket;
    let allowed = probe::ask(address, websocket.then_some(host), token)?;
    probe::fits(&scenario.load, &allowed)?;
    Ok(allowed)
}

fn plan(scenario: &Scenario, target: &Target, workers: u16, sources: Vec<IpAddr>) -> Result<Plan, Failure> {
    let load = scenario.load.clone();
    let behaviours = Behaviours::new(scenario).map_err(Failure::Behaviour)?;
    Ok(Plan {
        pairing: Pairing::new(&load),
        phases: Phases::new(&load),
        target: target.address,
        speech: Speech::of(&load, &target.host, target.allowed),
        run: OsEntropy.next_u64() as u32,
        workers,
        sources,
        behaviours,
        load,
    })
}

/// A worker's thread and what it shows.
struct Running {
    thread: JoinHandle<Result<Outcome, Failure>>,
    shown: Arc<Shown>,
}

fn start_workers(plan: &Arc<Plan>, minter: &Arc<Minter>) -> Result<Vec<Running>, Failure> {
    let start = |index: u16| {
        let shown = Arc::new(Shown::default());
        let (plan, minter, own) = (Arc::clone(plan), Arc::clone(minter), Arc::clone(&shown));
        let thread = std::thread::Builder::new()
            .name(format!("load-{index}"))
            .spawn(move || Ok(Worker::new(plan, own, index, Source::Minter(minter))?.run()))
            .map_err(|e| Failure::Host(format!("a worker thread: {e}")))?;
        Ok(Running { thread, shown })
    };
    (0..plan.workers).map(start).collect()
}

/// Whether every user must be authenticated before the load begins.
fn waits_for_all(plan: &Plan) -> bool {
    plan.load.mode != Mode::Connect && !plan.behaviours.delay_logins()
}
