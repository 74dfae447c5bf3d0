//! Links over a network that delays, splits, breaks and is cut, from seeds: what arrives over one life of a link is what was
//! pushed in it, whole, in order, once, up to where it broke; and both ends are told of every life.

mod linked;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fabric::core::{Action, ConnId};
use fabric::entropy::Entropy as _;
use fabric::lane::Capacities;
use fabric::link::{LinkEvent, Links, To};
use fabric::sim::{NetCounters, NetEvent, NetFaults, SeededEntropy, Side, SimNet, StreamId};
use fabric::time::Now;
use linked::{MS, address, config, links, peer};
use schema::envelope::{Body, Class, Envelope};

const NODES: usize = 3;
const CLASSES: [Class; 4] = [Class::Send, Class::Ack, Class::Control, Class::Sync];

/// A parcel of some life, by which all of it is known.
fn parcel(class: Class, life: u64, number: u64) -> Envelope {
    let bytes = (number * 7_919 + life) % 3_000;
    let frame: Vec<u8> = (0..bytes).map(|at| (at ^ number ^ life) as u8).collect();
    let mut envelope = Envelope::new(class, Body::Answer { frame: frame.into() });
    envelope.header.request_id = number;
    envelope.header.slot_epoch = life;
    envelope
}

/// What one node has pushed to, and got from, another one.
#[derive(Default)]
struct Way {
    /// Links that stood, as the sender was told; those that broke.
    up: u64,
    down: u64,
    /// Next number by class.
    next: [u64; 6],
    /// As the receiver was told.
    heard: u64,
    silent: u64,
    /// Life and next number of each class at the receiver.
    got: [(u64, u64); 6],
    received: u64,
}

struct World {
    seed: u64,
    entropy: SeededEntropy,
    net: SimNet,
    now: Now,
    nodes: Vec<Links>,
    /// By node and connection.
    streams: BTreeMap<(usize, ConnId), (StreamId, Side)>,
    conns: BTreeMap<(StreamId, Side), (usize, ConnId)>,
    /// By (from, to).
    ways: BTreeMap<(usize, usize), Way>,
}

/// The number of a peer in a node's list, and back.
fn place(own: usize, other: usize) -> u16 {
    (if other < own { other } else { other - 1 }) as u16
}

fn node_at(own: usize, place: u16) -> usize {
    let place = usize::from(place);
    if place < own { place } else { place + 1 }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut net = SimNet::new(seed);
        (0..NODES).for_each(|node| net.listen(address(node)));
        let node = |own: usize| {
            let peers = (0..NODES).filter(|&other| other != own).map(|other| peer(other, true)).collect();
            links(config(&format!("n{own}"), 100 + own as u64, Capacities::default()), peers, seed ^ own as u64)
        };
        Self {
            seed,
            entropy: SeededEntropy::new(seed),
            net,
            now: Now { mono_ns: 1, wall_ticks: 1 },
            nodes: (0..NODES).map(node).collect(),
            streams: BTreeMap::new(),
            conns: BTreeMap::new(),
            ways: BTreeMap::new(),
        }
    }

    fn faults(&mut self, calm: bool) {
        let faults = NetFaults {
            max_latency_ns: 20 * MS,
            max_chunk_bytes: 1 + self.entropy.below(5_000) as usize,
            break_one_in: if calm { 0 } else { 400 },
            stall_one_in: if calm { 0 } else { 4_000 },
            ..NetFaults::default()
        };
        self.net.set_faults(faults);
    }

    fn step(&mut self, calm: bool) {
        let (one, other) = (self.entropy.below(NODES as u64) as usize, self.entropy.below(NODES as u64) as usize);
        let (one_ip, other_ip) = (address(one).ip(), address(other).ip());
        if calm {
            (0..NODES).for_each(|node| self.net.mend(one_ip, address(node).ip()));
        } else if self.entropy.one_in(300) {
            self.net.cut(one_ip, other_ip);
        } else if self.entropy.one_in(100) {
            self.net.mend(one_ip, other_ip);
        } else if self.entropy.one_in(500) {
            let stream = self.net.streams().nth(self.entropy.below(6) as usize);
            stream.into_iter().for_each(|stream| self.net.break_stream(self.now.mono_ns, stream));
        }
        if one != other && self.nodes[one].is_up(place(one, other)) {
            for _ in 0..self.entropy.below(20) {
                self.push(one, other);
            }
        }
        self.now.mono_ns += self.entropy.below(10 * MS);
        while let Some(event) = self.net.poll(self.now.mono_ns) {
            self.net_event(event);
            self.settle();
        }
        for node in 0..NODES {
            self.nodes[node].tick(self.now);
        }
        self.settle();
    }

    fn push(&mut self, from: usize, to: usize) {
        let class = CLASSES[self.entropy.below(CLASSES.len() as u64) as usize];
        let way = self.ways.entry((from, to)).or_default();
        let number = &mut way.next[class as usize];
        let pushed = self.nodes[from].push(place(from, to), To::Owner, parcel(class, way.up, *number));
        *number += u64::from(pushed.is_ok());
    }

    fn net_event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Opened { stream } => {
                let at = self.net.address(stream).expect("it was dialed");
                let node = (0..NODES).find(|&node| address(node) == at).expect("a node's");
                match self.nodes[node].accepted(self.now, SocketAddr::from(([10, 0, 0, 99], 1))) {
                    Some(conn) => self.join(node, conn, stream, Side::Server),
                    None => self.net.close(self.now.mono_ns, stream, Side::Server),
                }
            }
            NetEvent::Connected { stream } => {
                if let Some(&(node, conn)) = self.conns.get(&(stream, Side::Client)) {
                    self.nodes[node].connected(self.now, conn);
                }
            }
            NetEvent::Received { stream, side, bytes } => {
                if let Some(&(node, conn)) = self.conns.get(&(stream, side)) {
                    self.nodes[node].received(self.now, conn, &bytes);
                }
            }
            NetEvent::Closed { stream, side } => self.gone(stream, side),
        }
    }

    fn join(&mut self, node: usize, conn: ConnId, stream: StreamId, side: Side) {
        self.streams.insert((node, conn), (stream, side));
        self.conns.insert((stream, side), (node, conn));
    }

    fn gone(&mut self, stream: StreamId, side: Side) {
        if let Some((node, conn)) = self.conns.remove(&(stream, side)) {
            self.streams.remove(&(node, conn));
            self.nodes[node].closed(self.now, conn);
        }
    }

    fn settle(&mut self) {
        for node in 0..NODES {
            while let Some(event) = self.nodes[node].next_event() {
                self.link_event(node, event);
            }
            while let Some(action) = self.nodes[node].next_action() {
                self.act(node, action);
                while let Some(event) = self.nodes[node].next_event() {
                    self.link_event(node, event);
                }
            }
        }
    }

    fn act(&mut self, node: usize, action: Action) {
        let now_ns = self.now.mono_ns;
        match action {
            Action::Connect { conn, target } => {
                let to = target.address().expect("an address");
                let stream = self.net.dial(now_ns, address(node).ip(), to);
                self.join(node, conn, stream, Side::Client);
            }
            Action::Flush(conn) => self.flush(node, conn),
            Action::Close(conn) => {
                self.flush(node, conn);
                if let Some(&(stream, side)) = self.streams.get(&(node, conn)) {
                    self.net.close(now_ns, stream, side);
                    self.gone(stream, side);
                }
            }
            other => panic!("links ask for no {other:?}"),
        }
    }

    fn flush(&mut self, node: usize, conn: ConnId) {
        let Some(&(stream, side)) = self.streams.get(&(node, conn)) else { return };
        let mut out = Vec::new();
        let room = 1 + self.entropy.below(8_000) as usize;
        self.nodes[node].take_output(conn, room, &mut out);
        self.net.send(self.now.mono_ns, stream, side, &out);
        self.nodes[node].written(self.now, conn, out.len());
    }

    fn link_event(&mut self, node: usize, event: LinkEvent) {
        let seed = self.seed;
        match event {
            LinkEvent::Up { peer, incarnation, lost } => {
                let other = node_at(node, peer);
                let way = self.ways.entry((node, other)).or_default();
                assert_eq!((incarnation, way.up), (100 + other as u64, way.down), "seed {seed}");
                assert_eq!(lost, way.down > 0, "seed {seed}");
                way.up += 1;
                way.next = [0; 6];
            }
            LinkEvent::Down { peer } => {
                let way = self.ways.entry((node, node_at(node, peer))).or_default();
                way.down += 1;
                assert_eq!(way.up, way.down, "seed {seed}");
            }
            LinkEvent::Heard { peer, incarnation, .. } => {
                let other = node_at(node, peer);
                let way = self.ways.entry((other, node)).or_default();
                assert_eq!((incarnation, way.heard), (100 + other as u64, way.silent), "seed {seed}: one at a time");
                way.heard += 1;
            }
            LinkEvent::Silent { peer, .. } => {
                let way = self.ways.entry((node_at(node, peer), node)).or_default();
                way.silent += 1;
                assert_eq!(way.heard, way.silent, "seed {seed}");
            }
            LinkEvent::Parcel { from, envelope, .. } => self.got(node_at(node, from), node, &envelope),
            LinkEvent::Hears { peer, whom } => panic!("seed {seed}: {peer} says that it hears {whom:?}"),
            LinkEvent::Leaving { peer } => panic!("seed {seed}: nobody leaves, {peer} neither"),
            LinkEvent::Refused { why, .. } => panic!("seed {seed}: {why}"),
        }
    }

    fn got(&mut self, from: usize, to: usize, envelope: &Envelope) {
        let seed = self.seed;
        let way = self.ways.get_mut(&(from, to)).expect("it was heard of");
        assert!(way.heard > way.silent, "seed {seed}: nothing comes but over a link that stands");
        let (class, life, number) = (envelope.header.class, envelope.header.slot_epoch, envelope.header.request_id);
        assert!(*envelope == parcel(class, life, number), "seed {seed}: a parcel is torn");
        let (last, next) = &mut way.got[class as usize];
        assert!(life >= *last, "seed {seed}: a parcel of an earlier life");
        if life > *last {
            (*last, *next) = (life, 0);
        }
        assert_eq!(number, *next, "seed {seed}: {class:?} of life {life} from {from} to {to}");
        *next += 1;
        way.received += 1;
    }
}

/// Runs a seed; what the network did, and (lives, parcels) over all ways.
fn run(seed: u64) -> (NetCounters, u64, u64) {
    let mut world = World::new(seed);
    for step in 0..3_000 {
        if step % 50 == 0 {
            world.faults(false);
        }
        world.step(false);
    }
    // In calm everything that is pushed arrives.
    world.faults(true);
    for _ in 0..2_000 {
        world.step(true);
    }
    for from in 0..NODES {
        for to in (0..NODES).filter(|&to| to != from) {
            world.push(from, to);
        }
    }
    for _ in 0..200 {
        world.now.mono_ns += 10 * MS;
        while let Some(event) = world.net.poll(world.now.mono_ns) {
            world.net_event(event);
            world.settle();
        }
        (0..NODES).for_each(|node| world.nodes[node].tick(world.now));
        world.settle();
    }
    let (mut lives, mut parcels) = (0, 0);
    for (&(from, to), way) in &world.ways {
        assert!(world.nodes[from].is_up(place(from, to)), "seed {seed}: from {from} to {to} in the end");
        assert_eq!(way.heard - way.silent, 1, "seed {seed}: from {from} to {to}");
        for class in CLASSES {
            let (life, next) = way.got[class as usize];
            let pushed = way.next[class as usize];
            assert!(pushed == 0 || (life, next) == (way.up, pushed), "seed {seed}: {class:?} from {from} to {to}");
        }
        lives += way.up;
        parcels += way.received;
    }
    assert_eq!(world.ways.len(), NODES * (NODES - 1), "seed {seed}");
    (world.net.counters(), lives, parcels)
}

#[test]
fn whatever_breaks_a_link_brings_a_prefix_of_each_life_and_both_ends_know() {
    let (mut broken, mut stalled, mut lives, mut parcels) = (0, 0, 0, 0);
    for seed in 0..6 {
        let (net, ways, got) = run(seed);
        broken += net.broken;
        stalled += net.stalled;
        lives += ways;
        parcels += got;
    }
    println!("{broken} breaks, {stalled} stalls, {lives} lives, {parcels} parcels");
    assert!(broken > 50 && stalled > 5 && lives > 100 && parcels > 10_000, "{broken} {stalled} {lives} {parcels}");
    let again = SeededEntropy::new(1).next_u64();
    assert_eq!(run(again), run(again), "a seed is a run");
}
