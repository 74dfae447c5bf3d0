//! The leader's side: remote workers joined, given their parts, told the phases, and their parts brought home.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use fabric::time::{Clock as _, SystemClock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::channel::{self, Error, Receiver, Sender};
use super::clock::{self, Offset};
use super::message::{Assignment, ToLeader, ToWorker};
use super::secret::Secret;
use crate::fail::Failure;
use crate::fit::{Host, WORKERS_MAX};
use crate::measure::Shown;
use crate::plan::Plan;
use crate::probe::Allowed;
use crate::scenario::Scenario;
use crate::secure::Secure;
use crate::tokens::{Minter, Signatures};
use crate::worker::Outcome;

/// A worker that cannot be connected to within this is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A worker that says nothing for so long is lost. It speaks several times a second.
const SILENT: Duration = Duration::from_secs(10);
/// The same when it puts together what it brings home, or looks at its part.
const BUSY: Duration = Duration::from_secs(120);
/// How often phases are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often a worker is told that the leader is there, in looks.
const ALIVE_LOOKS: u32 = 100;

/// A remote worker, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoteHost {
    /// HOST:PORT.
    pub address: String,
    /// Its threads.
    pub workers: u16,
    /// Its users.
    pub users: u32,
    /// Its clock less the leader's; latencies are corrected by it.
    pub clock: Offset,
}

struct Link {
    address: String,
    host: Host,
    /// First of its threads, and how many.
    first: u16,
    workers: u16,
    clock: Offset,
    sender: Sender,
    receiver: Receiver,
}

/// Remote workers that take part in a run.
#[derive(Default)]
pub struct Fleet {
    links: Vec<Link>,
}

impl Fleet {
    /// Connects to each, proves the secret and has it proved, looks at its host and its clock.
    ///
    /// # Errors
    /// [`Failure::Remote`]: which, and why.
    pub fn join(addresses: &[String], secret: &Secret) -> Result<Self, Failure> {
        let join = |address: &String| {
            Link::join(address, secret).map_err(|error| Failure::Remote(format!("worker {address}: {error}")))
        };
        Ok(Self { links: addresses.iter().map(join).collect::<Result<_, _>>()? })
    }

    /// Numbers the threads of all, from `local` on: as many as each would use, more when open files ask for it. How many
    /// there are then in all.
    ///
    /// # Errors
    /// [`Failure::Host`]: more users than they can carry, or fewer pairs of users than threads.
    pub fn split(&mut self, users: u64, local: u16, here: &Host) -> Result<u16, Failure> {
        let hosts = self.links.iter().map(|link| (link.host.users_a_worker(), link.workers));
        let own = (local > 0).then(|| (here.users_a_worker(), local));
        let (mut each, mut threads) = (u64::MAX, 0);
        for (capacity, workers) in hosts.chain(own) {
            each = each.min(capacity);
            threads += u64::from(workers);
        }
        // Of a host's own threads there are as many as were asked for: the remote ones make up for what is missing.
        let remote = (threads - u64::from(local)).max(1);
        let missing = users.div_ceil(each.max(1)).saturating_sub(u64::from(local));
        let times = missing.div_ceil(remote).max(1);
        let mut next = local;
        for link in &mut self.links {
            link.workers = u16::try_from(u64::from(link.workers) * times).unwrap_or(u16::MAX);
            link.first = next;
            next = next.saturating_add(link.workers);
        }
        if u64::from(next) > WORKERS_MAX.min((users / 2).max(1)) {
            return Err(Failure::Host(format!(
                "load.users = {users} on {next} worker threads of all hosts: each thread takes 2 to {each} users, and there are at most {WORKERS_MAX}"
            )));
        }
        Ok(next)
    }

    /// Gives each its part and waits until all have said that they can carry it out.
    ///
    /// # Errors
    /// [`Failure::Remote`]: which cannot, and why. Nothing was connected.
    pub fn assign(
        &mut self,
        plan: &Plan,
        scenario: &Scenario,
        allowed: Allowed,
        minter: &Minter,
    ) -> Result<(), Failure> {
        let scenario = serde_json::to_string(scenario)
            .map_err(|error| Failure::Remote(format!("the scenario cannot be told to workers: {error}")))?;
        let now_ms = SystemClock.now().wall_ms();
        let secure =
            plan.targets.first().secure.as_ref().map(Secure::authorities).transpose()?.map(Option::unwrap_or_default);
        for link in &mut self.links {
            let places = plan.users_of(link.first).start..plan.users_of(link.first + link.workers - 1).end;
            let id = |place: u32| plan.load.first_user + u64::from(place);
            let part = Assignment {
                scenario: scenario.clone(),
                targets: plan.targets.iter().map(|target| (target.address, target.host.clone())).collect(),
                secure: secure.clone(),
                allowed,
                run: plan.run,
                workers: plan.workers,
                first: link.first,
                own: link.workers,
                clock_shift_ns: link.clock.ns.wrapping_neg(),
                signatures: Signatures::new(minter, id(places.start)..id(places.end), now_ms)?,
            };
            let said = link.sender.send(&ToWorker::Plan(Box::new(part)));
            said.map_err(|error| Failure::Remote(format!("worker {}: {error}", link.address)))?;
        }
        for link in &mut self.links {
            let refused = |why: String| Err(Failure::Remote(format!("worker {}: {why}", link.address)));
            match link.receiver.receive(BUSY) {
                Ok(ToLeader::Ready) => {}
                Ok(ToLeader::Refused(why)) => return refused(why),
                Ok(_) => return refused(Error::Frame.to_string()),
                Err(error) => return refused(error.to_string()),
            }
        }
        Ok(())
    }

    /// Has all connect their users; from here on they follow the plan's phases.
    ///
    /// # Errors
    /// [`Failure::Host`]: no thread to follow a worker with.
    pub fn begin(self, plan: &Arc<Plan>) -> Result<Running, Failure> {
        let (mut shown, mut links) = (Vec::new(), Vec::new());
        for link in self.links {
            let own: Vec<Arc<Shown>> = (0..link.workers).map(|_| Arc::default()).collect();
            shown.extend(own.iter().map(Arc::clone));
            let users = plan.users_of(link.first).start..plan.users_of(link.first + link.workers - 1).end;
            let report = RemoteHost {
                address: link.address.clone(),
                workers: link.workers,
                users: users.end - users.start,
                clock: link.clock,
            };
            let thread = |e| Failure::Host(format!("a thread for worker {}: {e}", link.address));
            let (address, receiver, heard) = (link.address.clone(), link.receiver, Arc::clone(plan));
            let over = Arc::new(AtomicBool::new(false));
            let (ended, told) = (Arc::clone(&over), Arc::clone(plan));
            let hears = std::thread::Builder::new().name("hear".to_owned()).spawn(move || {
                let home = hear(receiver, &heard, &own);
                ended.store(true, Ordering::Release);
                home.map_err(|why| {
                    let why = format!("worker {address} was lost: {why}");
                    heard.phases.break_off(why.clone());
                    why
                })
            });
            let (sender, shift) = (link.sender, link.clock);
            let tells = std::thread::Builder::new().name("tell".to_owned());
            let tells = tells.spawn(move || tell(sender, &told, shift, &over)).map_err(thread)?;
            links.push(Followed { report, hears: hears.map_err(thread)?, tells });
        }
        Ok(Running { shown, links })
    }
}

impl Link {
    fn join(address: &str, secret: &Secret) -> Result<Self, Error> {
        let mut last = std::io::Error::other("expected HOST:PORT");
        let mut stream = None;
        for at in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&at, CONNECT_WITHIN) {
                Ok(connected) => {
                    stream = Some(connected);
                    break;
                }
                Err(error) => last = error,
            }
        }
        let (mut sender, mut receiver) = channel::lead(stream.ok_or(last)?, secret)?;
        let ToLeader::Hello { host, workers } = receiver.receive(SILENT)? else { return Err(Error::Frame) };
        let clock = measure(&mut sender, &mut receiver)?;
        Ok(Self { address: address.to_owned(), host, first: 0, workers: workers.max(1), clock, sender, receiver })
    }
}

fn measure(sender: &mut Sender, receiver: &mut Receiver) -> Result<Offset, Error> {
    let mut best = Offset { ns: 0, error_ns: u64::MAX };
    for _ in 0..clock::ROUNDS {
        let asked = SystemClock.now().mono_ns;
        sender.send(&ToWorker::Time)?;
        let ToLeader::Time(there) = receiver.receive(SILENT)? else { return Err(Error::Frame) };
        best = best.better(Offset::of(asked, there, SystemClock.now().mono_ns));
    }
    Ok(best)
}

/// Shows what a worker tells until it brings its part home.
fn hear(mut receiver: Receiver, plan: &Plan, shown: &[Arc<Shown>]) -> Result<(Receiver, Vec<Outcome>), String> {
    loop {
        let within = if plan.phases.is_stopped() { BUSY } else { SILENT };
        match receiver.receive(within) {
            Ok(ToLeader::Live(threads)) if threads.len() == shown.len() => {
                threads.iter().zip(shown).for_each(|(thread, shown)| thread.show(shown));
            }
            Ok(ToLeader::Home(outcomes)) if outcomes.len() == shown.len() => return Ok((receiver, outcomes)),
            Ok(ToLeader::Failed(why)) => return Err(why),
            Ok(_) => return Err(Error::Frame.to_string()),
            // The wait began before the workers were told to leave.
            Err(Error::Io(error)) if plan.phases.is_stopped() && within == SILENT && is_timeout(&error) => {}
            Err(Error::Io(error)) if is_timeout(&error) => {
                return Err(format!("it said nothing for {} s", within.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

/// Tells a worker the phases as they come, until it was told to leave or is `over`.
fn tell(mut sender: Sender, plan: &Plan, clock: Offset, over: &AtomicBool) -> Sender {
    let phases = &plan.phases;
    let (mut start, mut cut, mut looks) = (false, false, 0);
    let mut said = sender.send(&ToWorker::Begin);
    while said.is_ok() && !over.load(Ordering::Acquire) {
        if let Some(at_ns) = phases.started().filter(|_| !start) {
            start = true;
            said = sender.send(&ToWorker::Start(at_ns.wrapping_add_signed(clock.ns)));
        } else if phases.is_cut() && !cut {
            cut = true;
            said = sender.send(&ToWorker::Cut);
        } else if phases.is_stopped() {
            said = sender.send(&ToWorker::Stop);
            break;
        } else if looks % ALIVE_LOOKS == 0 {
            said = sender.send(&ToWorker::Alive);
        }
        looks += 1;
        std::thread::sleep(LOOK_EVERY);
    }
    if said.is_err() {
        sender.end(); // who hears it finds out
    }
    sender
}

struct Followed {
    report: RemoteHost,
    hears: JoinHandle<Result<(Receiver, Vec<Outcome>), String>>,
    tells: JoinHandle<Sender>,
}

/// Remote workers at work.
pub struct Running {
    /// What their threads show, in the order of their numbers.
    pub shown: Vec<Arc<Shown>>,
    links: Vec<Followed>,
}

impl Running {
    /// Waits for what each brings home, after the phases were stopped.
    ///
    /// # Errors
    /// [`Failure::Lost`]: one was lost.
    pub fn home(self) -> Result<(Vec<Outcome>, Vec<RemoteHost>), Failure> {
        let (mut outcomes, mut hosts) = (Vec::new(), Vec::new());
        for mut link in self.links {
            let ended = "a thread that follows workers panicked";
            let (mut receiver, theirs) = link.hears.join().expect(ended).map_err(Failure::Lost)?;
            let mut sender = link.tells.join().expect(ended);
            let lost = |error| Failure::Lost(format!("worker {}: {error}", link.report.address));
            link.report.clock = link.report.clock.over_time(measure(&mut sender, &mut receiver).map_err(lost)?);
            outcomes.extend(theirs);
            hosts.push(link.report);
        }
        Ok((outcomes, hosts))
    }
}
