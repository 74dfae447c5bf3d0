//! The experiments, one after the other on one cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fabric::time::{Clock as _, SystemClock};

use super::load::{Found, Load, Speaks};
use super::probe::Probes;
use super::rest::Posters;
use super::table::{self, Row};
use super::world::World;
use super::{Extent, Fault, Plan, singles};
use crate::process::cluster::{self, ClusterError, Layout, Shape};
use crate::process::engines::EngineShape;
use crate::process::{Deadline, Dice};

/// A cluster that does not serve again within this is started anew, s.
const RECOVERY_WITHIN_S: u64 = 40;
/// The second fault of a pair begins within so long after the first, ms.
const APART_MS: u64 = 1_500;
/// Load before the fault and after the recovery, ms.
const AROUND: Duration = Duration::from_millis(700);
/// What starting the load and reading its audit take.
const LOAD: Duration = Duration::from_millis(3_500);
/// What an experiment takes at most when all goes well: none is begun that would end too late.
const EXPERIMENT: Duration = Duration::from_secs(25);
/// The programs' configuration besides keys: clients are told to look soon whether their server is there.
const CONFIG: &str = "[limits]\nsends_per_second_per_user = 0\nping_interval_ms = 1000\nidle_timeout_ms = 15000\ndrain_spread_ms = 1000\n\
     [http]\nsends_per_second_per_user = 0\n";

/// What is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's folder.
    pub folder: PathBuf,
    /// `shardwire` and `loadgen`.
    pub programs: (PathBuf, PathBuf),
    /// The program with `become-server`.
    pub guard: PathBuf,
    /// How many of what.
    pub shape: Shape,
    /// What is below them.
    pub engines: EngineShape,
    /// How much.
    pub extent: Extent,
    /// Chooses pairs.
    pub seed: u64,
    /// Only faults whose name contains this.
    pub only: Option<String>,
    /// Of all experiments, counted from 1: from this one on, so many.
    pub part: (u64, Option<u64>),
}

/// How much is asked of a cluster while faults are made in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Messages a second of each load, of all its users.
    pub rate: u64,
    /// A probe is sent on each way so often, ms.
    pub probe_every_ms: u64,
    /// It goes through quickly within, ns.
    pub quick_ns: u64,
}

impl Options {
    /// Where engines share the host's cores, less is asked, and quick is slower.
    const fn pace(&self) -> Pace {
        match self.engines.cassandra {
            0 => Pace { rate: 120, probe_every_ms: 100, quick_ns: 1_000_000_000 },
            _ => Pace { rate: 60, probe_every_ms: 150, quick_ns: 1_500_000_000 },
        }
    }
}

/// Why there is no table, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum FaultsError {
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A file or a program.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The load generator.
    #[error("the load generator: {how}\n{said}")]
    Load {
        /// What happened.
        how: String,
        /// What it said.
        said: String,
    },
    /// What is below the cluster.
    #[error("{how}")]
    Engine {
        /// What happened.
        how: String,
    },
    /// The senders by REST.
    #[error("REST: {how}")]
    Rest {
        /// What happened.
        how: String,
    },
    /// The probes cannot run.
    #[error("the probes cannot run: {0}")]
    Probes(std::io::Error),
    /// There are fewer experiments.
    #[error("--first {first}: there are {all} experiments")]
    NoneLeft {
        /// What was asked for.
        first: u64,
        /// How many there are.
        all: u64,
    },
    /// No fault is of that name.
    #[error("no fault's name contains {only:?}; the single ones are: {known}")]
    Unknown {
        /// What was asked for.
        only: String,
        /// What there is.
        known: String,
    },
}

/// Runs the plan: prints the table on stdout as it comes. Whether every row is clean and all was run.
///
/// # Errors
/// The cluster does not start.
pub fn run(options: &Options) -> Result<bool, FaultsError> {
    let begun = SystemClock.now().mono_ns;
    let left = || {
        let gone = Duration::from_nanos(SystemClock.now().mono_ns - begun);
        options.extent.within(options.engines).map(|within| within.saturating_sub(gone))
    };
    let all = plan(options)?.numbered();
    let (first, count) = options.part;
    let part: Vec<_> = all
        .iter()
        .filter(|(number, ..)| *number >= first && count.is_none_or(|count| *number - first < count))
        .collect();
    let Some((last, ..)) = part.last() else { return Err(FaultsError::NoneLeft { first, all: all.len() as u64 }) };
    let expected = part.iter().map(|(_, faults, _)| expected(faults)).sum::<Duration>();
    let expected = options.extent.within(options.engines).map_or(expected, |within| expected.min(within));
    let minutes = expected.as_secs().div_ceil(60);
    println!("seed={} experiments={first}-{last} of {}, about {minutes} minutes", options.seed, all.len());
    let mut rig = Rig::new(options, 0)?;
    println!("{}", table::head());
    let (mut rows, mut left_out) = (Vec::new(), 0);
    for (number, faults, required) in part {
        if left().is_some_and(|left| left < EXPERIMENT) {
            left_out += usize::from(*required);
            continue;
        }
        let (row, serves) = rig.experiment(*number, faults);
        println!("{}", row.line());
        rows.push(row);
        if !serves {
            // What is left of it takes nothing from the next one.
            drop(rig);
            rig = Rig::new(options, *number)?;
        }
    }
    rig.world.cluster.stop()?;
    let unclean: Vec<&Row> = rows.iter().filter(|row| !row.is_clean()).collect();
    if !unclean.is_empty() {
        let names: Vec<&str> = unclean.iter().map(|row| row.fault.as_str()).collect();
        println!("not clean: {} (logs and reports: {})", names.join("; "), options.folder.display());
    }
    if left_out > 0 {
        println!("NOT RUN for want of time: {left_out} experiments");
    }
    println!("{}", table::sum(&rows));
    Ok(unclean.is_empty() && left_out == 0)
}

fn plan(options: &Options) -> Result<Plan, FaultsError> {
    let singles = singles(&Layout::new(options.shape, None)?, options.engines);
    let Some(only) = &options.only else { return Ok(Plan::new(&singles, options.extent, options.seed)) };
    let named = |faults: &Vec<Fault>| name(faults).contains(only.as_str());
    let mut plan = Plan::new(&singles, Extent::All, options.seed);
    plan.required.retain(|faults| named(faults) && (faults.len() == 1 || only.contains(" + ")));
    if plan.required.is_empty() {
        let known = singles.iter().map(Fault::to_string).collect::<Vec<_>>().join(", ");
        return Err(FaultsError::Unknown { only: only.clone(), known });
    }
    Ok(plan)
}

fn name(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join(" + ")
}

/// How long an experiment takes when all goes well.
fn expected(faults: &[Fault]) -> Duration {
    let alone = faults.iter().map(Fault::takes_ms).max().unwrap_or_default();
    AROUND * 2 + LOAD + Duration::from_millis(alone + (faults.len() as u64 - 1) * APART_MS / 2)
}

/// What experiments take turns with, and the probes.
struct Rig<'a> {
    options: &'a Options,
    /// Dropped before the world: its clients would see that end.
    probes: Probes,
    world: World,
}

impl<'a> Rig<'a> {
    fn new(options: &'a Options, number: u64) -> Result<Self, FaultsError> {
        let (world, probes) = start(options, number)?;
        Ok(Self { options, probes, world })
    }

    /// One run of the load generator with these faults in it, and whether the cluster came back: else the next one is a new one.
    fn experiment(&mut self, number: u64, faults: &[Fault]) -> (Row, bool) {
        // Of the number, so that a part of a run is what the whole one does there.
        let apart_ms = Dice::from_seed(self.options.seed.wrapping_add(number)).below(APART_MS);
        let Attempt { recovery_ms, drained_ms, found } = self.attempt(number, faults, apart_ms);
        let unseen = faults.iter().all(Fault::is_unseen);
        let found = found.map_err(|error| one_line(&error));
        let mut row = Row { fault: name(faults), unseen, recovery_ms, drained_ms, found };
        let whole = self.world.mend_all();
        if let (Err(error), Ok(found)) = (&whole, &mut row.found) {
            let before = found.else_wrong.take().map_or_else(String::new, |before| format!("{before}, "));
            found.else_wrong = Some(before + &one_line(error));
        }
        let serves = recovery_ms.is_some() && whole.is_ok();
        if !serves {
            let silent = self.probes.silent(0);
            eprintln!("{}: the cluster is started anew; ways that did not go through: {silent:?}", row.fault);
        }
        (row, serves)
    }

    fn attempt(&mut self, number: u64, faults: &[Fault], apart_ms: u64) -> Attempt {
        let prepared = self.prepare(faults);
        let load = match prepared.and_then(|()| self.load(number, faults.iter().all(Fault::wants_every_kind))) {
            Ok(load) => load,
            Err(error) => return Attempt::failed(error),
        };
        std::thread::sleep(AROUND);
        let (since, drained_ms) = match make(&mut self.world, faults, apart_ms) {
            Ok(made) => made,
            Err(error) => return Attempt::failed(error.into()),
        };
        let mut serving = None;
        Deadline::after_s(RECOVERY_WITHIN_S).wait_until(|| {
            serving = self.probes.serve_since(since);
            serving.is_some()
        });
        std::thread::sleep(AROUND);
        let recovery_ms = serving.map(|at| (at - since) / 1_000_000);
        let found = load.into_iter().map(Running::end).try_fold(Found::default(), |sum, found| Ok(sum.and(found?)));
        Attempt { recovery_ms, drained_ms, found }
    }

    /// Before any load: clocks, and who is whose replica. Then everything must go through.
    fn prepare(&mut self, faults: &[Fault]) -> Result<(), FaultsError> {
        let clocks: Vec<&str> = faults.iter().filter_map(Fault::clock_of).collect();
        self.world.true_clocks(&clocks)?;
        faults.iter().try_for_each(|fault| fault.prepare(&mut self.world))?;
        let from = SystemClock.now().mono_ns;
        if !Deadline::after_s(RECOVERY_WITHIN_S).wait_until(|| self.probes.serve_since(from).is_some()) {
            let how = format!("before any fault these ways do not go through: {:?}", self.probes.silent(from));
            return Err(FaultsError::Engine { how });
        }
        Ok(())
    }

    /// Native clients; where clients must see nothing of what is done, WebSocket clients and REST too.
    fn load(&self, number: u64, every_kind: bool) -> Result<Vec<Running>, FaultsError> {
        let (_, loadgen) = &self.options.programs;
        let programs: (&Path, &Path) = (loadgen, &self.options.guard);
        let (cluster, rate) = (&self.world.cluster, self.options.pace().rate);
        let start = |speaks| Load::start(programs, cluster, &self.options.folder, (number, speaks, rate));
        let mut load = vec![Running::Load(start(Speaks::Native)?)];
        if every_kind {
            load.push(Running::Load(start(Speaks::WebSocket)?));
            load.push(Running::Posters(Posters::start(cluster, number)?));
        }
        Ok(load)
    }
}

/// One of the loads of an experiment.
enum Running {
    Load(Load),
    Posters(Posters),
}

impl Running {
    fn end(self) -> Result<Found, FaultsError> {
        match self {
            Self::Load(load) => load.end(),
            Self::Posters(posters) => posters.end(),
        }
    }
}

/// What came of one experiment.
struct Attempt {
    recovery_ms: Option<u64>,
    drained_ms: Option<u64>,
    found: Result<Found, FaultsError>,
}

impl Attempt {
    const fn failed(error: FaultsError) -> Self {
        Self { recovery_ms: None, drained_ms: None, found: Err(error) }
    }
}

fn start(options: &Options, number: u64) -> Result<(World, Probes), FaultsError> {
    let of_cluster = cluster::Options {
        shape: options.shape,
        folder: options.folder.join(format!("cluster-{number}")),
        program: options.programs.0.clone(),
        guard: options.guard.clone(),
        first_port: None,
        relays: true,
        hosts: None,
        config: CONFIG.to_owned(),
    };
    let world = World::start(of_cluster, options.engines)?;
    let probes = Probes::start(&world.cluster, options.pace())?;
    let begun = SystemClock.now().mono_ns;
    let serves = Deadline::after_s(RECOVERY_WITHIN_S).wait_until(|| probes.serve_since(begun).is_some());
    if !serves {
        eprintln!("a cluster without faults: ways that do not go through: {:?}", probes.silent(begun));
    }
    Ok((world, probes))
}

/// Begins and ends the faults, each `apart_ms` after the one before. From when a recovery counts, ns of the monotonic clock: the
/// last end, or where all are kills the last kill. And the longest drain, ms.
fn make(world: &mut World, faults: &[Fault], apart_ms: u64) -> Result<(u64, Option<u64>), ClusterError> {
    // What happens when: (ms, whose, whether it is the end).
    let mut steps = Vec::new();
    for (at, fault) in faults.iter().enumerate() {
        let begin = at as u64 * apart_ms;
        steps.push((begin, at, false));
        steps.push((begin + fault.lasts_ms(), at, true));
    }
    steps.sort_unstable();
    let begun = SystemClock.now().mono_ms();
    let (mut since, mut drained_ms) = (0, None);
    for (ms, at, end) in steps {
        let now = SystemClock.now().mono_ms();
        std::thread::sleep(Duration::from_millis((begun + ms).saturating_sub(now)));
        let fault = &faults[at];
        let mut at_ns = None;
        if end {
            let ended = fault.end(world)?;
            drained_ms = drained_ms.max(ended.drained_ms);
            at_ns = (!matches!(fault, Fault::Kill(_))).then_some(ended.at_ns);
        } else {
            fault.begin(world)?;
            if matches!(fault, Fault::Kill(_)) {
                at_ns = Some(SystemClock.now().mono_ns);
            }
        }
        since = at_ns.map_or(since, |at_ns| at_ns.max(since));
    }
    Ok((since, drained_ms))
}

fn one_line(error: &impl std::error::Error) -> String {
    error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" / ")
}
