//! A remote worker: waits for leaders and does its part of one run at a time.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fabric::net::tls::Trust;
use fabric::time::{Clock as _, SystemClock};

use super::channel::{self, Error, Receiver, Sender};
use super::message::{Assignment, ToLeader, ToWorker};
use super::secret::Secret;
use super::snapshot::Snapshot;
use crate::behave::Behaviours;
use crate::fail::Failure;
use crate::fit::Host;
use crate::groups::GroupsOf;
use crate::plan::{Pairing, Phases, Plan};
use crate::scenario::{Load, Scenario};
use crate::secure::Secure;
use crate::targets::{Target, Targets};
use crate::tokens::Source;
use crate::wire::Speech;
use crate::worker::Threads;

/// How often it looks for leaders and for the end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a leader is told where the threads stand.
const LIVE_EVERY: Duration = Duration::from_millis(100);
/// A leader that says nothing for so long is gone. It speaks once a second.
const SILENT: Duration = Duration::from_secs(30);
/// The same before the run, while it may be starting a server.
const PREPARING: Duration = Duration::from_secs(180);
/// A server that does not answer within this cannot be reached.
const REACH_WITHIN: Duration = Duration::from_secs(5);

/// How a remote worker is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where leaders find it.
    pub listen: SocketAddr,
    /// Addresses of this host that connections come from.
    pub sources: Vec<IpAddr>,
    /// Threads; 0: one a core.
    pub workers: u16,
}

/// Serves leaders until `interrupted`. `ready` is told the address.
///
/// # Errors
/// [`Failure::Remote`]: the address cannot be listened on.
pub fn serve(
    options: &Options,
    secret: &Secret,
    interrupted: &AtomicBool,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::Remote(format!("--listen {}: {e}", options.listen));
    let listener = TcpListener::bind(options.listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    ready(listener.local_addr().map_err(failed)?);
    let busy = Arc::new(AtomicBool::new(false));
    while !interrupted.load(Ordering::Acquire) {
        let Ok((stream, peer)) = listener.accept() else {
            std::thread::sleep(LOOK_EVERY);
            continue;
        };
        let (options, secret, busy) = (options.clone(), secret.clone(), Arc::clone(&busy));
        let session = move || match session(stream, &options, &secret, &busy) {
            Ok(()) => eprintln!("{peer}: the run is over"),
            Err(error) => eprintln!("{peer}: {error}"),
        };
        if let Err(error) = std::thread::Builder::new().name("session".to_owned()).spawn(session) {
            eprintln!("{peer}: a thread for it: {error}");
        }
    }
    Ok(())
}

/// One leader, to its end.
fn session(stream: TcpStream, options: &Options, secret: &Secret, busy: &AtomicBool) -> Result<(), Error> {
    stream.set_nonblocking(false)?;
    let (mut sender, mut receiver) = channel::follow(stream, secret)?;
    let host = Host::look();
    let workers = if options.workers > 0 { options.workers } else { host.cores };
    sender.send(&ToLeader::Hello { host, workers })?;
    let part = loop {
        match receiver.receive(PREPARING)? {
            ToWorker::Time => sender.send(&ToLeader::Time(SystemClock.now().mono_ns))?,
            ToWorker::Plan(part) => break *part,
            _ => return Err(Error::Frame),
        }
    };
    if busy.swap(true, Ordering::AcqRel) {
        return sender.send(&ToLeader::Refused("it is busy with another run".to_owned()));
    }
    let result = take_part(part, options, &host, sender, receiver);
    busy.store(false, Ordering::Release);
    result
}

fn take_part(
    part: Assignment,
    options: &Options,
    host: &Host,
    mut sender: Sender,
    mut receiver: Receiver,
) -> Result<(), Error> {
    let numbers = part.first..part.first + part.own;
    let (plan, tokens) = match prepare(part, options, host) {
        Ok(prepared) => prepared,
        Err(why) => return sender.send(&ToLeader::Refused(why.to_string())),
    };
    sender.send(&ToLeader::Ready)?;
    if !matches!(receiver.receive(PREPARING)?, ToWorker::Begin) {
        return Err(Error::Frame);
    }
    let users = plan.users_of(numbers.end - 1).end - plan.users_of(numbers.start).start;
    eprintln!("a run of {users} users on {} threads against {}", numbers.len(), plan.targets);
    let threads = match Threads::start(&plan, &tokens, numbers) {
        Ok(threads) => threads,
        Err(why) => return sender.send(&ToLeader::Failed(why.to_string())),
    };
    let (heard_by, heard) = mpsc::channel();
    let hears = std::thread::Builder::new().name("hear".to_owned()).spawn(move || {
        loop {
            let message = receiver.receive::<ToWorker>(SILENT);
            let ended = message.is_err();
            if heard_by.send(message).is_err() || ended {
                return;
            }
        }
    })?;
    let result = follow(&plan, threads, &heard, &mut sender);
    sender.end();
    let _ = hears.join(); // it has nothing to say
    result
}

/// Looks at a part before anything of it is done.
fn prepare(part: Assignment, options: &Options, host: &Host) -> Result<(Arc<Plan>, Source), Failure> {
    let mut scenario: Scenario = serde_json::from_str(&part.scenario)
        .map_err(|e| Failure::Remote(format!("the scenario is of another version: {e}")))?;
    scenario.load.sources.clone_from(&options.sources);
    let behaviours = Behaviours::new(&scenario).map_err(Failure::Behaviour)?;
    let load = scenario.load;
    let secure = part.secure.map(|pem| if pem.is_empty() { Trust::Host } else { Trust::Pem(pem) });
    let secure = |host: &str| secure.clone().map(|trust| Secure::new(trust, host, load.protocol.spoken())).transpose();
    let targets = Targets::new(part.targets, secure)?;
    let mut plan = Plan {
        pairing: Pairing::new(&load),
        groups: GroupsOf::new(&load, part.run),
        phases: Phases::new(&load),
        targets,
        speech: Speech::of(&load, part.allowed),
        run: part.run,
        workers: part.workers,
        sources: Vec::new(),
        clock_shift_ns: part.clock_shift_ns,
        behaviours,
        load,
    };
    let users = plan.users_of(part.first + part.own - 1).end - plan.users_of(part.first).start;
    host.workers(u64::from(users), part.own, 1)?;
    host.carries(&Load { users, workers: part.own, ..plan.load.clone() }, 1)?;
    for target in plan.targets.iter() {
        plan.sources = host.sources(&plan.load, u64::from(users), target.address)?;
    }
    for Target { address, .. } in plan.targets.iter() {
        let unreachable = |e| Failure::Remote(format!("the server at {address} cannot be reached from here: {e}"));
        TcpStream::connect_timeout(address, REACH_WITHIN).map_err(unreachable)?;
    }
    Ok((Arc::new(plan), Source::Signed(Arc::new(part.signatures))))
}

/// Follows the phases, tells where the threads stand, brings home what they have; then says what time it is while asked.
fn follow(
    plan: &Plan,
    threads: Threads,
    heard: &mpsc::Receiver<Result<ToWorker, Error>>,
    sender: &mut Sender,
) -> Result<(), Error> {
    let mut threads = Some(threads);
    let mut next_live_ns = 0;
    let result = loop {
        let said = match heard.recv_timeout(LIVE_EVERY / 4) {
            Ok(Ok(ToWorker::Start(at_ns))) => {
                plan.phases.start(at_ns);
                Ok(())
            }
            Ok(Ok(ToWorker::Cut)) => {
                plan.phases.cut();
                Ok(())
            }
            Ok(Ok(ToWorker::Time)) => sender.send(&ToLeader::Time(SystemClock.now().mono_ns)),
            Ok(Ok(ToWorker::Stop)) => {
                plan.phases.stop();
                let Some(threads) = threads.take() else { break Err(Error::Frame) };
                match threads.join() {
                    Ok(outcomes) => sender.send(&ToLeader::Home(outcomes)),
                    Err(why) => sender.send(&ToLeader::Failed(why.to_string())),
                }
            }
            Ok(Ok(_)) | Err(mpsc::RecvTimeoutError::Timeout) => Ok(()),
            // The leader has what it wanted, or is gone.
            Ok(Err(_)) | Err(mpsc::RecvTimeoutError::Disconnected) if threads.is_none() => break Ok(()),
            Ok(Err(error)) => break Err(error),
            Err(mpsc::RecvTimeoutError::Disconnected) => break Err(Error::Frame),
        };
        if let Err(error) = said {
            break Err(error);
        }
        let now_ns = SystemClock.now().mono_ns;
        if let Some(threads) = threads.as_ref().filter(|_| now_ns >= next_live_ns) {
            next_live_ns = now_ns + LIVE_EVERY.as_nanos() as u64;
            let live = threads.shown.iter().map(|shown| Snapshot::take(shown)).collect();
            if let Err(error) = sender.send(&ToLeader::Live(live)) {
                break Err(error);
            }
        }
    };
    plan.phases.stop();
    if let Some(threads) = threads {
        // Nobody wants it any more.
        let _ = threads.join();
    }
    result
}
