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

use fabric::entropy::{Entropy as _, OsEntropy};
use fabric::net::tls::Trust;
use fabric::time::{Clock as _, SystemClock};

use crate::behave::Behaviours;
use crate::fail::Failure;
use crate::fit::Host;
use crate::groups::GroupsOf;
use crate::measure::Shown;
use crate::observe::kernel::Kernel;
use crate::plan::{Pairing, Phases, Plan};
use crate::probe::{self, Allowed};
use crate::remote::{Fleet, Secret};
use crate::report::Report;
use crate::report::outputs::Outputs;
use crate::scenario::{Mode, Protocol, Scenario};
use crate::secure::Secure;
use crate::server::{self, Server, proc};
use crate::targets::{Target, Targets};
use crate::tokens::{Minter, Source};
use crate::wire::Speech;
use crate::worker::Threads;
use restart::Restarts;

pub use watch::Sums;

/// What a run is asked for on the command line.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The scenario's file.
    pub scenario: PathBuf,
    /// Servers that run already and serve the same users; without one a throwaway server is started.
    pub targets: Vec<String>,
    /// The targets' processes, to look at their CPU and memory: their sums are reported.
    pub target_pids: Vec<u32>,
    /// The throwaway server's program.
    pub server: Option<PathBuf>,
    /// Where the targets tell their metrics.
    pub target_https: Vec<SocketAddr>,
    /// Where the report goes.
    pub outputs: Outputs,
    /// Show no progress.
    pub quiet: bool,
    /// Signs the users' tokens for a target.
    pub token_key: Option<PathBuf>,
    /// The authorities that vouch for a target; without it this host's.
    pub tls_ca: Option<PathBuf>,
    /// Addresses that connections come from, instead of the scenario's.
    pub sources: Vec<IpAddr>,
    /// Remote workers, HOST:PORT; they drive the users together with `local_workers`.
    pub workers: Vec<String>,
    /// The secret shared with them.
    pub worker_token: Option<PathBuf>,
    /// Threads of this process besides remote workers.
    pub local_workers: u16,
    /// Keep the throwaway server's folder.
    pub keep: bool,
    /// The load generator's own program, so that a throwaway server ends with it; without one it may be left behind.
    pub guard: Option<PathBuf>,
}

/// What the load goes to.
struct Goal {
    targets: Targets,
    /// The throwaway server, when there is one.
    server: Option<Server>,
    pids: Vec<u32>,
    https: Vec<SocketAddr>,
    at_ready: Option<proc::Look>,
    kernel_at_ready: Option<Kernel>,
    allowed: Allowed,
}

/// Runs a scenario and writes its report. `interrupted` is set by Ctrl-C.
///
/// # Errors
/// [`Failure::Lost`]: a worker was lost; every other [`Failure`]: nothing was run.
pub fn run(options: &Options, interrupted: &Arc<AtomicBool>) -> Result<Report, Failure> {
    let mut scenario = Scenario::load(&options.scenario)?;
    let restarts = Behaviours::new(&scenario).map_err(Failure::Behaviour)?.restarts().count();
    if restarts > 0 && !options.targets.is_empty() {
        return Err(Failure::Behaviour(
            "restart: only the throwaway server can be restarted: run it without --target".to_owned(),
        ));
    }
    if !options.sources.is_empty() {
        scenario.load.sources.clone_from(&options.sources);
    }
    options.outputs.prepare()?;
    let program = match options.targets.is_empty() {
        true => Some(server::program(options.server.as_deref())?),
        false => None,
    };
    let host = Host::look();
    let mut split = split(&scenario, options, &host)?;
    if program.is_some() {
        scenario.server.shards = host.shards(&scenario)?;
    }
    let (mut goal, minter) = match program {
        Some(program) => throwaway(&program, &scenario, options)?,
        None => existing(&scenario, options)?,
    };
    let started = SystemClock.now();
    let local = split.local;
    let plan = plan(&scenario, &goal, &split, &host)?;
    split.fleet.assign(&plan, &scenario, goal.allowed, &minter)?;
    let plan = Arc::new(plan);
    let remote = split.fleet.begin(&plan)?;
    let threads = Threads::start(&plan, &Source::Minter(minter), 0..local)?;
    let shown: Vec<Arc<Shown>> = threads.shown.iter().chain(&remote.shown).map(Arc::clone).collect();
    let mut restarts = Restarts::new(&plan);
    let sight = watch::Sight { pids: goal.pids.clone(), https: goal.https.clone(), quiet: options.quiet };
    let server = &mut goal.server;
    let watched = watch::Watch::new(&plan, &shown, sight, interrupted).until_the_end(|now, pids| {
        if let Some(server) = server {
            restarts.look(now, &plan.phases, server);
            pids[0] = server.pid();
        }
    });
    let mut outcomes = threads.join()?;
    let (theirs, hosts) = remote.home()?;
    outcomes.extend(theirs);
    let ended = goal.server.as_mut().and_then(Server::stop).map(|status| status.to_string());
    if options.keep
        && let Some(folder) = goal.server.as_mut().and_then(Server::keep)
    {
        eprintln!("the server's folder stays at {}", folder.display());
    }
    let mut report = gather::report(scenario, &plan, &watched, &restarts.done(), outcomes);
    gather::remote(&mut report, &plan, local, hosts);
    report.started_ms = started.wall_ms();
    report.took_s = (SystemClock.now().mono_ns - started.mono_ns) as f64 / 1e9;
    report.limits = Some(goal.allowed);
    gather::server(&mut report, &goal, &watched, ended);
    report.judge();
    // The verdict is not lost with the file.
    options.outputs.write(&report).inspect_err(|_| eprintln!("{}", report.verdict_line()))?;
    Ok(report)
}

fn throwaway(
    program: &std::path::Path,
    scenario: &Scenario,
    options: &Options,
) -> Result<(Goal, Arc<Minter>), Failure> {
    let (server, minter) =
        Server::start(program, options.guard.as_deref(), scenario, &options.outputs.folder.join("server.log"))?;
    let address = match scenario.load.protocol {
        Protocol::Native => server.ready.native,
        Protocol::WebSocket => {
            let none = || Failure::ServerStart("it has no WebSocket listener".to_owned());
            server.ready.ws.ok_or_else(none)?
        }
    };
    let at_ready = proc::look(server.pid());
    let token = minter.mint(scenario.load.first_user, probe::device(), SystemClock.now().wall_ms())?;
    let trust = server.authority().map(|file| Trust::File(file.to_owned()));
    let targets = Targets::new(vec![(address, address.to_string())], securing(scenario, trust))?;
    let allowed = ask(scenario, targets.first(), &token)?;
    let (pids, https, kernel_at_ready) = (vec![server.pid()], server.ready.http.into_iter().collect(), Kernel::now());
    Ok((Goal { targets, server: Some(server), pids, https, at_ready, kernel_at_ready, allowed }, Arc::new(minter)))
}

fn existing(scenario: &Scenario, options: &Options) -> Result<(Goal, Arc<Minter>), Failure> {
    let Some(key) = &options.token_key else {
        return Err(Failure::Tokens(
            "--target needs --token-key FILE: the key its tokens are signed with (for a development server, dev-key in its data folder)".to_owned(),
        ));
    };
    let minter = Minter::from_file(key)?;
    let token = minter.mint(scenario.load.first_user, probe::device(), SystemClock.now().wall_ms())?;
    let trust = options.tls_ca.clone().map_or(Trust::Host, Trust::File);
    let targets = Targets::named(&options.targets, securing(scenario, scenario.load.tls.then_some(trust)))?;
    let allowed = ask(scenario, targets.first(), &token)?;
    for target in targets.iter().skip(1) {
        if ask(scenario, target, &token)? != allowed {
            let first = targets.first().address;
            return Err(Failure::Limits(format!(
                "{} allows something else than {first}: targets serve the same users under the same [limits]",
                target.address
            )));
        }
    }
    let (pids, https) = (options.target_pids.clone(), options.target_https.clone());
    let (at_ready, kernel_at_ready) = (proc::look_all(&pids), Kernel::now());
    Ok((Goal { targets, server: None, pids, https, at_ready, kernel_at_ready, allowed }, Arc::new(minter)))
}

/// What secures connections to a server of some name, which `trust`ed authorities vouch for; without them nothing.
fn securing(scenario: &Scenario, trust: Option<Trust>) -> impl Fn(&str) -> Result<Option<Secure>, Failure> + use<> {
    let spoken = scenario.load.protocol.spoken();
    move |host| trust.clone().map(|trust| Secure::new(trust, host, spoken)).transpose()
}

/// What the server allows, once it is known that the scenario fits.
fn ask(scenario: &Scenario, target: &Target, token: &str) -> Result<Allowed, Failure> {
    let host = (scenario.load.protocol == Protocol::WebSocket).then_some(target.host.as_str());
    let allowed = probe::ask(target.address, host, target.secure.as_ref(), token)?;
    probe::fits(&scenario.load, &allowed)?;
    Ok(allowed)
}

/// Who drives the users.
struct Split {
    /// Threads of this process.
    local: u16,
    /// Threads of all.
    all: u16,
    fleet: Fleet,
}

fn split(scenario: &Scenario, options: &Options, host: &Host) -> Result<Split, Failure> {
    let users = u64::from(scenario.load.users);
    if options.workers.is_empty() {
        let usual = (host.cores / 2).clamp(1, 64);
        host.carries(&scenario.load, usual)?;
        let local = host.workers(users, scenario.load.workers, usual)?;
        return Ok(Split { local, all: local, fleet: Fleet::default() });
    }
    let secret = Secret::find(options.worker_token.as_deref())?;
    let mut fleet = Fleet::join(&options.workers, &secret)?;
    let all = fleet.split(users, options.local_workers, host)?;
    Ok(Split { local: options.local_workers, all, fleet })
}

fn plan(scenario: &Scenario, goal: &Goal, split: &Split, host: &Host) -> Result<Plan, Failure> {
    let load = scenario.load.clone();
    let phases = Phases::new(&load);
    let behaviours = Behaviours::new(scenario).map_err(Failure::Behaviour)?;
    let run = OsEntropy.next_u64() as u32;
    let mut plan = Plan {
        pairing: Pairing::new(&load),
        groups: GroupsOf::new(&load, run),
        phases: if split.local == split.all { phases } else { phases.over_network() },
        targets: goal.targets.clone(),
        speech: Speech::of(&load, goal.allowed),
        run,
        workers: split.all,
        sources: Vec::new(),
        clock_shift_ns: 0,
        behaviours,
        load,
    };
    if split.local > 0 {
        let users = plan.users_of(split.local - 1).end;
        for target in plan.targets.iter() {
            plan.sources = host.sources(&plan.load, u64::from(users), target.address)?;
        }
    }
    Ok(plan)
}

/// Whether every user must be authenticated before the load begins.
fn waits_for_all(plan: &Plan) -> bool {
    plan.load.mode != Mode::Connect && !plan.behaviours.delay_logins()
}
