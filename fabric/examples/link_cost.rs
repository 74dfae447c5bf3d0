//! What a hop over a link costs an envelope, against one over a lane, in the same run: CPU of both ends, kernel included.
//!
//! `cargo run --release -p shardwire-fabric --example link_cost -- [envelopes]`. Two shards on real threads; one sends bursts,
//! the next when the other has all of the last one. Figures of one run may be compared with each other, not with those
//! of another machine.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fabric::core::{Action, ConnId, Core, JobQueue, Protocol};
use fabric::entropy::OsEntropy;
use fabric::lane::{Capacities, Mesh, Port};
use fabric::link::{LinkConfig, LinkEvent, Links, NodeIdentity, Peer, Roles, To};
use fabric::shard::{Options, ShardContext, ShardSpec, Shards, spawn_shards};
use fabric::time::Now;
use fabric::wake::Waker;
use schema::encode::{Encoder, SendFields, SendTarget};
use schema::envelope::{Body, Class, Envelope, Target};
use schema::frame::VerifiedFrame;
use schema::ids::{ChatId, DeviceId, UserId};
use schema::wire::EntryKind;

/// What the two ends share.
struct Meter {
    burst: u64,
    total: u64,
    /// Envelopes that have arrived.
    arrived: AtomicU64,
    stands: AtomicBool,
    sender: Waker,
}

enum Way {
    Lane(Box<Port>),
    Link(Box<Links>),
}

/// One end. With an envelope it sends, else it counts.
struct End {
    way: Way,
    envelope: Option<Envelope>,
    sent: u64,
    arrived: u64,
    meter: Arc<Meter>,
    stopped: bool,
}

impl End {
    fn send(&mut self) {
        let Some(envelope) = &self.envelope else { return };
        let meter = &self.meter;
        let ready = meter.stands.load(Ordering::Relaxed) && meter.arrived.load(Ordering::Acquire) == self.sent;
        if !ready || self.sent >= meter.total {
            return;
        }
        for _ in 0..meter.burst {
            match &mut self.way {
                Way::Lane(port) => port.push(1, envelope.clone()).expect("room for a burst"),
                Way::Link(links) => links.push(0, To::Owner, envelope.clone()).expect("room for a burst"),
            }
        }
        self.sent += meter.burst;
    }

    fn take(&mut self) {
        let mut came = 0;
        match &mut self.way {
            Way::Lane(port) => drop(port.drain(usize::MAX, |_, _| came += 1)),
            Way::Link(links) => {
                while let Some(event) = links.next_event() {
                    match event {
                        LinkEvent::Parcel { .. } => came += 1,
                        LinkEvent::Up { .. } => self.meter.stands.store(true, Ordering::Relaxed),
                        _ => (),
                    }
                }
            }
        }
        self.arrived += came;
        if came > 0 {
            self.meter.arrived.store(self.arrived, Ordering::Release);
            if self.arrived.is_multiple_of(self.meter.burst) {
                self.meter.sender.wake();
            }
        }
    }

    fn links(&mut self) -> &mut Links {
        match &mut self.way {
            Way::Link(links) => links,
            Way::Lane(_) => unreachable!("a lane has no connections"),
        }
    }
}

impl Core for End {
    type Job = ();
    type JobDone = ();

    fn accepted(&mut self, now: Now, _: Protocol, peer: SocketAddr) -> Option<ConnId> {
        self.links().accepted(now, peer)
    }
    fn connected(&mut self, now: Now, conn: ConnId) {
        self.links().connected(now, conn);
    }
    fn received(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        self.links().received(now, conn, bytes);
        self.take();
    }
    fn closed(&mut self, now: Now, conn: ConnId) {
        self.links().closed(now, conn);
    }
    fn take_output(&mut self, conn: ConnId, max_bytes: usize, out: &mut Vec<u8>) {
        self.links().take_output(conn, max_bytes, out);
    }
    fn written(&mut self, now: Now, conn: ConnId, bytes: usize) {
        self.links().written(now, conn, bytes);
    }
    fn write_done(&mut self, _: Now, _: u16, _: u64, _: io::Result<()>) {}
    fn job_done(&mut self, _: Now, (): ()) {}
    fn turn(&mut self, now: Now) {
        if let Way::Link(links) = &mut self.way {
            links.tick(now);
        }
        self.take();
        self.send();
        if let Way::Lane(port) = &mut self.way {
            port.flush();
        }
    }
    fn next_action(&mut self) -> Option<Action> {
        match &mut self.way {
            Way::Link(links) => links.next_action(),
            Way::Lane(_) => None,
        }
    }
    fn next_job(&mut self) -> Option<(JobQueue, ())> {
        None
    }
    fn next_deadline_ns(&self) -> Option<u64> {
        match &self.way {
            Way::Link(links) => links.next_deadline_ns(),
            Way::Lane(_) => None,
        }
    }
    fn has_work(&self) -> bool {
        false
    }
    fn stop(&mut self, now: Now) {
        if let Way::Link(links) = &mut self.way {
            links.stop(now);
        }
        self.stopped = true;
    }
    fn stopped(&self) -> bool {
        self.stopped
    }
}

/// User and system CPU of this process so far.
fn cpu() -> [Duration; 2] {
    // SAFETY: rusage is plain bits, for which zero is valid, and `getrusage` fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = core::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    [usage.ru_utime, usage.ru_stime].map(|t| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1_000))
}

fn start(listen: bool, ends: Vec<(Way, Option<Envelope>, Waker)>, meter: &Arc<Meter>) -> Shards {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listeners = if listen { vec![(Protocol::Link, any)] } else { Vec::new() };
    let spec = |(shard, (way, envelope, waker)): (u16, (Way, Option<Envelope>, Waker))| {
        let end = End { way, envelope, sent: 0, arrived: 0, meter: meter.clone(), stopped: false };
        let build = move |_: ShardContext| Ok::<_, Infallible>(end);
        ShardSpec { shard, cpu: None, waker, journals: Vec::new(), build }
    };
    let specs = (0..).zip(ends).map(spec).collect();
    spawn_shards(&Options { listeners, ..Options::default() }, specs, |()| ()).expect("shards start")
}

fn links(name: &str, incarnation: u64, peer: Peer) -> Way {
    let identity = NodeIdentity {
        cluster: "bench".to_owned(),
        name: name.to_owned(),
        incarnation,
        roles: Roles::ALL,
        shard: 0,
        shards: 1,
    };
    let config = LinkConfig::new(identity, Arc::from(&b"secret"[..]));
    Way::Link(Box::new(Links::new(config, vec![peer], Box::new(OsEntropy))))
}

/// CPU an envelope, µs: user, system.
fn measure(over_link: bool, envelope: &Envelope, burst: u64, total: u64) -> [f64; 2] {
    let mut ports = Mesh::new(2, 1, Capacities::default()).expect("two eventfds");
    let (there, here) = (ports.pop().expect("two"), ports.pop().expect("two"));
    let wakers = [here.waker(), there.waker()];
    let total = total.next_multiple_of(burst);
    let stands = AtomicBool::new(!over_link);
    let meter = Arc::new(Meter { burst, total, arrived: AtomicU64::new(0), stands, sender: wakers[0].clone() });
    let peer = |name: &str, address: SocketAddr, dial| Peer {
        name: name.to_owned(),
        address: address.into(),
        roles: Roles::ALL,
        dial,
    };
    let [first, second] = wakers;
    let before = cpu();
    let processes = if over_link {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let b = start(true, vec![(links("b", 2, peer("a", nowhere, false)), None, second)], &meter);
        let to = b.addresses()[0].1;
        let a = start(false, vec![(links("a", 1, peer("b", to, true)), Some(envelope.clone()), first)], &meter);
        vec![a, b]
    } else {
        let ends = vec![
            (Way::Lane(Box::new(here)), Some(envelope.clone()), first),
            (Way::Lane(Box::new(there)), None, second),
        ];
        vec![start(false, ends, &meter)]
    };
    while meter.arrived.load(Ordering::Relaxed) < total {
        std::thread::sleep(Duration::from_millis(2));
    }
    let after = cpu();
    for process in processes {
        process.stopper().stop();
        process.join();
    }
    [0, 1].map(|of| (after[of] - before[of]).as_secs_f64() * 1e6 / total as f64)
}

/// A client's send, and a push for two sessions: 128 bytes of text each.
fn envelopes() -> [(&'static str, Envelope); 2] {
    let chat = ChatId([7; 16]);
    let user = UserId::new(1).expect("not 0");
    let frame = Encoder::new().send(&SendFields {
        client_msg_id: &[b'm'; 24],
        target: SendTarget::Chat(chat),
        kind: EntryKind::message,
        content_type: 0,
        body: &[b'x'; 128],
        refers_to: None,
        after_seq: 3,
        retry: false,
    });
    let push = Body::Deliver {
        chat,
        seq: 5,
        frame: frame.clone(),
        targets: [1, 2].map(|connection| Target { connection, generation: 1, acked_seq: 4 }).into(),
    };
    let frame = VerifiedFrame::verify(frame).expect("a frame");
    let send = Body::Send { frame, user, device: DeviceId(1), chat, to: None, retry: false };
    [("send", Envelope::new(Class::Send, send)), ("push", Envelope::new(Class::Live, push))]
}

fn main() {
    let total = std::env::args().nth(1).map_or(200_000, |number| number.parse().expect("a number of envelopes"));
    println!("CPU an envelope, both ends, µs (user + system)");
    for (name, envelope) in envelopes() {
        for burst in [1, 16, 256] {
            let total = (total / 16 * burst.min(16)).max(1_000);
            let [lane, link] = [false, true].map(|over_link| measure(over_link, &envelope, burst, total));
            let sum = |[user, system]: [f64; 2]| user + system;
            println!(
                "{name:<5} bursts of {burst:>3}: lane {:>6.2} ({:.2} + {:.2})  link {:>6.2} ({:.2} + {:.2})  more {:>6.2}",
                sum(lane),
                lane[0],
                lane[1],
                sum(link),
                link[0],
                link[1],
                sum(link) - sum(lane),
            );
        }
    }
}
