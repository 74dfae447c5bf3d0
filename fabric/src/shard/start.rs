//! Starting shard threads, in the order that DESIGN's descriptor tables need, and bringing them to serve together.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::jobs::{JobPool, Jobs};
use super::journal::{Journals, RingJournals, ThreadJournals};
use super::runtime::{self, Built};
use super::skin::{Parts, Skin};
use super::{Driver, Options, ShardContext, ShardMetrics, ShardSpec, Shards, StartError, Stopper, tasks, thread};
use crate::core::{Core, Protocol};
use crate::net::readiness::Readiness;
use crate::net::tcp;
use crate::wake::Waker;

type Addresses = Vec<(Protocol, SocketAddr)>;

/// What a shard thread tells main while it starts.
enum Report<E> {
    /// Its core is built and its listeners are open.
    Bound {
        shard: u16,
        driver: Driver,
        addresses: Addresses,
    },
    Failed {
        error: StartErrorOf<E>,
    },
}

enum StartErrorOf<E> {
    Core { shard: u16, error: E },
    Io { shard: u16, what: String, error: io::Error },
}

/// What main tells a shard thread while it starts. A closed channel means: give up.
enum Command {
    Bind(Addresses),
    Serve,
}

/// What a shard thread starts with, besides its spec.
struct Start<J, D, E> {
    options: Options,
    keep: Vec<RawFd>,
    pool: JobPool<J, D>,
    stopper: Stopper,
    metrics: ShardMetrics,
    commands: Receiver<Command>,
    reports: Sender<Report<E>>,
}

/// Starts one thread a spec and returns when every core is built, every listener is open and connections are accepted.
/// `runner` does the cores' jobs on background threads: one for [`crate::core::JobQueue::Apply`],
/// [`Options::read_threads`] for [`crate::core::JobQueue::Read`], [`Options::commit_threads`] for commits. Call it from a
/// thread whose descriptor table holds the specs' wakers, before anything else unshares.
///
/// # Errors
/// The first shard's failure; all threads have ended then.
pub fn spawn_shards<C, E, B, R>(options: &Options, specs: Vec<ShardSpec<B>>, runner: R) -> Result<Shards, StartError<E>>
where
    C: Core + 'static,
    E: fmt::Display + fmt::Debug + Send + 'static,
    B: FnOnce(ShardContext) -> Result<C, E> + Send + 'static,
    R: Fn(C::Job) -> C::JobDone + Send + Sync + 'static,
{
    let first = specs.first().ok_or(StartError::NoShards)?.shard;
    let io_error = |shard, what: &str, error| StartError::Io { shard, what: what.to_owned(), error };
    let jobs = JobPool::start((options.read_threads, options.commit_threads), options.job_queue.max(1), runner)
        .map_err(|error| io_error(first, "starting job threads", error))?;
    let wakers: Vec<Waker> = specs.iter().map(|spec| spec.waker.clone()).collect();
    let keep = wakers.iter().map(Waker::raw_fd).chain(options.keep.iter().copied()).collect::<Vec<_>>();
    let stopper = Stopper::new(wakers);
    let (reports, reported) = channel();
    let mut threads = Vec::new();
    let mut commands = Vec::new();
    let mut metrics = Vec::new();
    let mut shards = Vec::new();
    for spec in specs {
        let (command, from_main) = channel();
        let start = Start {
            options: options.clone(),
            keep: keep.clone(),
            pool: jobs.pool(),
            stopper: stopper.clone(),
            metrics: ShardMetrics::new(),
            commands: from_main,
            reports: reports.clone(),
        };
        commands.push(command);
        metrics.push(start.metrics.clone());
        shards.push(spec.shard);
        let (shard, name) = (spec.shard, format!("shard-{}", spec.shard));
        let thread = std::thread::Builder::new().name(name.clone());
        let thread = thread.spawn(move || thread::or_die(&name, || shard_thread(spec, start)));
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                drop(commands);
                threads.into_iter().for_each(|thread| drop(thread.join()));
                return Err(io_error(shard, "starting its thread", error));
            }
        }
    }
    drop(reports);
    match bring_up(&options.listeners, &shards, &commands, &reported) {
        Ok((addresses, drivers)) => Ok(Shards { addresses, drivers, metrics, stopper, threads, jobs: Box::new(jobs) }),
        Err(error) => {
            drop(commands);
            threads.into_iter().for_each(|thread| drop(thread.join()));
            Err(match error {
                StartErrorOf::Core { shard, error } => StartError::Core { shard, error },
                StartErrorOf::Io { shard, what, error } => StartError::Io { shard, what, error },
            })
        }
    }
}

/// Main's side of the start: the first shard binds, the others share its ports, then all serve.
fn bring_up<E>(
    listeners: &[(Protocol, SocketAddr)],
    shards: &[u16],
    commands: &[Sender<Command>],
    reported: &Receiver<Report<E>>,
) -> Result<(Addresses, Vec<Driver>), StartErrorOf<E>> {
    let mut drivers = vec![Driver::Epoll; shards.len()];
    let mut bound = listeners.to_vec();
    let gone = || StartErrorOf::Io {
        shard: shards[0],
        what: "starting".to_owned(),
        error: io::Error::other("a shard thread ended without a word"),
    };
    let mut wait_for = |count: usize| {
        let mut addresses = Addresses::new();
        for _ in 0..count {
            match reported.recv().map_err(|_| gone())? {
                Report::Failed { error } => return Err(error),
                Report::Bound { shard, driver, addresses: theirs } => {
                    if let Some(place) = shards.iter().position(|&known| known == shard) {
                        drivers[place] = driver;
                    }
                    addresses = theirs;
                }
            }
        }
        Ok(addresses)
    };
    if let Some((first, others)) = commands.split_first() {
        let _ = first.send(Command::Bind(bound));
        bound = wait_for(1)?;
        for other in others {
            let _ = other.send(Command::Bind(bound.clone()));
        }
        wait_for(others.len())?;
        for command in commands {
            let _ = command.send(Command::Serve);
        }
        return Ok((bound, drivers));
    }
    Err(gone())
}

fn shard_thread<C, E, B>(spec: ShardSpec<B>, start: Start<C::Job, C::JobDone, E>)
where
    C: Core + 'static,
    B: FnOnce(ShardContext) -> Result<C, E>,
{
    let reports = start.reports.clone();
    if let Err(error) = serve::<C, E, B>(spec, start) {
        let _ = reports.send(Report::Failed { error });
    }
}

fn serve<C, E, B>(spec: ShardSpec<B>, start: Start<C::Job, C::JobDone, E>) -> Result<(), StartErrorOf<E>>
where
    C: Core + 'static,
    B: FnOnce(ShardContext) -> Result<C, E>,
{
    let Start { options, keep, pool, stopper, metrics, commands, reports } = start;
    let shard = spec.shard;
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error| StartErrorOf::Io { shard, what, error }
    };
    if let Some(cpu) = spec.cpu {
        thread::pin(cpu).map_err(failed("pinning it to its core"))?;
    }
    let own = match options.own_descriptors {
        true => thread::own_descriptors(keep).map_err(failed("giving it a descriptor table of its own"))?,
        false => true,
    };
    if !own {
        tracing::warn!(shard, "unshare(2) is refused: the limit on open files holds for all shards together");
    }
    if let Err(error) = thread::long_slice() {
        tracing::info!(shard, %error, "no 20 ms time slice: journal writes may wait for a scheduler tick");
    }
    let Built { mut runtime, driver, ring } =
        runtime::build(options.driver, options.ring_entries).map_err(failed("building its runtime"))?;
    tracing::info!(shard, cpu = spec.cpu, driver = driver.name(), "shard starts");
    let context = ShardContext { shard, cpu: spec.cpu, driver, waker: spec.waker.clone(), metrics: metrics.clone() };
    let mut core = (spec.build)(context).map_err(|error| StartErrorOf::Core { shard, error })?;

    // Main drops its end of the channel when another shard failed: then so do we, quietly.
    let Ok(Command::Bind(addresses)) = commands.recv() else { return Ok(()) };
    let (listeners, addresses) = bind(shard, &addresses)?;
    core.listening(&addresses);
    let rings = driver != Driver::Epoll;
    let journals = match rings {
        true => Journals::Ring(RingJournals::new(spec.journals)),
        false => Journals::Thread(
            ThreadJournals::start(spec.journals, spec.waker.clone(), &format!("shard-{shard}"))
                .map_err(failed("starting its journal thread"))?,
        ),
    };
    let readiness = Readiness::new().map_err(failed("watching its sockets"))?;
    let _ = reports.send(Report::Bound { shard, driver, addresses });
    drop(reports);
    let Ok(Command::Serve) = commands.recv() else { return Ok(()) };
    let jobs = Jobs::new(pool, spec.waker.clone());
    let waker = spec.waker;
    runtime.block_on(async move {
        let Options { tls, proxies, resolver, .. } = options;
        let parts = Parts {
            core,
            waker: waker.clone(),
            readiness,
            tls,
            proxies,
            resolver,
            jobs,
            journals,
            ring,
            rings,
            stopper,
            metrics,
        };
        let skin: Rc<Skin<C>> = Skin::new(parts);
        tasks::run(skin, waker, listeners).await;
    });
    Ok(())
}

type Listeners = Vec<(Protocol, TcpListener)>;

fn bind<E>(shard: u16, wanted: &[(Protocol, SocketAddr)]) -> Result<(Listeners, Addresses), StartErrorOf<E>> {
    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for &(protocol, address) in wanted {
        let listener = tcp::listen(address, tcp::BACKLOG).and_then(|listener| {
            addresses.push((protocol, listener.local_addr()?));
            Ok(listener)
        });
        let listener =
            listener.map_err(|error| StartErrorOf::Io { shard, what: format!("listening on {address}"), error })?;
        listeners.push((protocol, listener));
    }
    Ok((listeners, addresses))
}
