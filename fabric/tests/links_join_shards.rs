//! Links between real shards: threads, sockets, descriptor tables of their own.

mod linked;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fabric::core::{Action, ConnId, Core, JobQueue, Protocol};
use fabric::entropy::OsEntropy;
use fabric::lane::Capacities;
use fabric::link::{Links, Names, Peer, Roles, To};
use fabric::shard::{DriverChoice, Options, ShardContext, ShardSpec, Shards, spawn_shards};
use fabric::time::Now;
use fabric::wake::Waker;
use linked::{config, envelope, said};
use schema::envelope::Class;

const DRIVERS: [DriverChoice; 3] = [DriverChoice::Auto, DriverChoice::PlainRing, DriverChoice::Epoll];
/// Far beyond anything seen; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers to send to peer 0, as soon as the link stands.
type Wanted = Arc<Mutex<Vec<u64>>>;

/// A core that is nothing but links: sends what it is told, says what it hears.
struct Node {
    links: Links,
    wanted: Wanted,
    told: Sender<String>,
    stopped: bool,
}

impl Node {
    fn settle(&mut self) {
        while let Some(event) = self.links.next_event() {
            let _ = self.told.send(said(&event));
        }
    }
}

impl Core for Node {
    type Job = ();
    type JobDone = ();

    fn accepted(&mut self, now: Now, protocol: Protocol, peer: SocketAddr) -> Option<ConnId> {
        assert_eq!(protocol, Protocol::Link);
        self.links.accepted(now, peer)
    }
    fn connected(&mut self, now: Now, conn: ConnId) {
        self.links.connected(now, conn);
    }
    fn received(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        self.links.received(now, conn, bytes);
        self.settle();
    }
    fn closed(&mut self, now: Now, conn: ConnId) {
        self.links.closed(now, conn);
        self.settle();
    }
    fn take_output(&mut self, conn: ConnId, max_bytes: usize, out: &mut Vec<u8>) {
        self.links.take_output(conn, max_bytes, out);
    }
    fn written(&mut self, now: Now, conn: ConnId, bytes: usize) {
        self.links.written(now, conn, bytes);
    }
    fn write_done(&mut self, _: Now, _: u16, _: u64, _: io::Result<()>) {
        unreachable!("it has no journal")
    }
    fn job_done(&mut self, _: Now, (): ()) {}
    fn turn(&mut self, now: Now) {
        self.links.tick(now);
        if self.links.is_up(0) {
            for number in self.wanted.lock().unwrap().drain(..) {
                self.links.push(0, To::Owner, envelope(Class::Control, number)).expect("room");
            }
        }
        self.settle();
    }
    fn next_action(&mut self) -> Option<Action> {
        self.links.next_action()
    }
    fn next_job(&mut self) -> Option<(JobQueue, ())> {
        None
    }
    fn next_deadline_ns(&self) -> Option<u64> {
        self.links.next_deadline_ns()
    }
    fn stop(&mut self, now: Now) {
        self.links.stop(now);
        self.stopped = true;
    }
    fn stopped(&self) -> bool {
        self.stopped
    }
}

/// A process of some shards.
struct Process {
    shards: Shards,
    wanted: Wanted,
    waker: Waker,
    heard: Receiver<String>,
}

impl Process {
    fn start(
        driver: DriverChoice,
        shards: u16,
        (name, incarnation): (&str, u64),
        listen: SocketAddr,
        peers: Vec<Peer>,
    ) -> Self {
        let (told, heard) = channel();
        let options =
            Options { listeners: vec![(Protocol::Link, listen)], driver, own_descriptors: true, ..Options::default() };
        let wanted = Wanted::default();
        let names = Arc::new(Names::default());
        let wakers: Vec<Waker> = (0..shards).map(|_| Waker::new().unwrap()).collect();
        let spec = |(shard, waker): (u16, &Waker)| {
            let mut config = config(name, incarnation, Capacities::default());
            config.identity.shard = shard;
            // Only the first shard sends.
            let wanted = if shard == 0 { wanted.clone() } else { Wanted::default() };
            let (names, told, peers) = (names.clone(), told.clone(), peers.clone());
            let build = move |_: ShardContext| {
                let links = Links::new(config, peers, Box::new(OsEntropy)).with_names(names);
                Ok::<_, Infallible>(Node { links, wanted, told, stopped: false })
            };
            ShardSpec { shard, cpu: None, waker: waker.clone(), journals: Vec::new(), build }
        };
        let specs = (0..).zip(&wakers).map(spec).collect();
        let shards = spawn_shards(&options, specs, |()| ()).unwrap();
        Self { shards, wanted, waker: wakers[0].clone(), heard }
    }

    fn address(&self) -> SocketAddr {
        self.shards.addresses()[0].1
    }

    fn send(&self, numbers: std::ops::Range<u64>) {
        self.wanted.lock().unwrap().extend(numbers);
        self.waker.wake();
    }

    #[track_caller]
    fn hears(&self, what: &str) {
        assert_eq!(self.heard.recv_timeout(PATIENCE).expect("a word in time"), what);
    }

    fn stop(self) {
        self.shards.stopper().stop();
        self.shards.join();
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn named(name: &str, address: SocketAddr, dial: bool) -> Peer {
    Peer { name: name.to_owned(), address: address.into(), roles: Roles::ALL, dial }
}

/// An address where nobody listens now.
fn nobody() -> SocketAddr {
    TcpListener::bind(anywhere()).unwrap().local_addr().unwrap()
}

#[test]
fn envelopes_go_from_process_to_process_in_order_and_once() {
    for driver in DRIVERS {
        let b = Process::start(driver, 1, ("b", 2), anywhere(), vec![named("a", nobody(), false)]);
        let a = Process::start(driver, 1, ("a", 1), anywhere(), vec![named("b", b.address(), true)]);
        a.hears("up 0 2 lost=false");
        b.hears("heard 0 1 lost=false");
        // More than any socket buffer holds.
        a.send(0..50_000);
        for number in 0..50_000 {
            b.hears(&format!("Control {number} from 0"));
        }
        a.stop();
        b.hears("silent 0 1");
        b.stop();
    }
}

#[test]
fn a_peer_that_is_not_there_is_dialed_until_it_comes_and_again_after_it_went() {
    for driver in DRIVERS {
        let place = nobody();
        let a = Process::start(driver, 1, ("a", 1), anywhere(), vec![named("b", place, true)]);
        std::thread::sleep(Duration::from_millis(300));
        for incarnation in [2, 3] {
            let b = Process::start(driver, 1, ("b", incarnation), place, vec![named("a", nobody(), false)]);
            a.hears(&format!("up 0 {incarnation} lost={}", incarnation == 3));
            b.hears(&format!("heard 0 1 lost={}", incarnation == 3));
            a.send(7..8);
            b.hears("Control 7 from 0");
            b.stop();
            a.hears("down 0");
        }
        assert!(a.shards.metrics()[0].connect_errors.get() > 0, "it was dialed while it was not there");
        a.stop();
    }
}

#[test]
fn a_peer_that_accepts_and_says_nothing_is_given_up_and_dialed_again() {
    for driver in DRIVERS {
        let dumb = TcpListener::bind(anywhere()).unwrap();
        let a = Process::start(driver, 1, ("a", 1), anywhere(), vec![named("b", dumb.local_addr().unwrap(), true)]);
        let first = dumb.accept().unwrap();
        let second = dumb.accept().unwrap();
        drop((first, second));
        a.stop();
    }
}

#[test]
fn a_peer_that_refuses_tells_why() {
    let b = Process::start(DriverChoice::Auto, 1, ("b", 2), anywhere(), vec![named("a", nobody(), false)]);
    let stranger = Process::start(DriverChoice::Auto, 1, ("c", 3), anywhere(), vec![named("b", b.address(), true)]);
    stranger.hears("refused Some(0) unknown_node");
    b.hears("refused None unknown_node");
    stranger.stop();
    b.stop();
}

#[test]
fn every_shard_of_a_process_has_its_link_and_any_shard_may_take_it() {
    for driver in DRIVERS {
        let b = Process::start(driver, 2, ("b", 2), anywhere(), vec![named("a", nobody(), false)]);
        let a = Process::start(driver, 3, ("a", 1), anywhere(), vec![named("b", b.address(), true)]);
        for _ in 0..3 {
            a.hears("up 0 2 lost=false");
            b.hears("heard 0 1 lost=false");
        }
        a.send(0..1);
        b.hears("Control 0 from 0");
        a.stop();
        for _ in 0..3 {
            b.hears("silent 0 1");
        }
        b.stop();
    }
}

#[test]
fn a_shard_stops_while_its_connects_hang() {
    for driver in DRIVERS {
        // A listener whose backlog is full takes no more: the connect hangs, as towards a host that is gone.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&anywhere().into()).unwrap();
        full.listen(0).unwrap();
        let place = full.local_addr().unwrap().as_socket().unwrap();
        let _fills = TcpStream::connect(place).unwrap();
        let a = Process::start(driver, 1, ("a", 1), anywhere(), vec![named("b", place, true)]);
        std::thread::sleep(Duration::from_millis(100));
        a.stop();
    }
}
