//! What lanes and links promise alike: order within a class, what a full class does, bounds, shares, nothing lost while both
//! ends live. Each promise is one test, run over both; what only lanes have (wakes between threads) is in a file of its own.

mod linked;

use fabric::core::ConnId;
use fabric::lane::{Capacities, LaneMetrics, Mesh, Port};
use fabric::link::{LinkMetrics, To};
use linked::{Rig, config, envelope, links, peer};
use schema::envelope::{Class, encode};

const CLASSES: [Class; 6] = [Class::Send, Class::Ack, Class::Control, Class::Live, Class::Sync, Class::Ephemeral];

/// Two ends, each of which sends to the other.
trait Ways {
    fn new(capacities: Capacities) -> Self;
    /// Queues an envelope at `from` for the other end; `Err` gives back its number.
    fn push(&mut self, from: usize, class: Class, number: u64) -> Result<(), u64>;
    /// Carries about `budget` envelopes to the end `at`.
    fn drain(&mut self, at: usize, budget: usize) -> Vec<(Class, u64)>;
    /// Envelopes of a class that `from` dropped, and that were given back to it.
    fn dropped_and_full(&mut self, from: usize, class: Class) -> (u64, u64);

    fn drain_all(&mut self, at: usize) -> Vec<(Class, u64)> {
        let mut all = Vec::new();
        loop {
            let some = self.drain(at, 10);
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }
}

struct Lanes(Vec<Port>);

impl Ways for Lanes {
    fn new(capacities: Capacities) -> Self {
        Self(Mesh::new(2, 7, capacities).unwrap())
    }
    fn push(&mut self, from: usize, class: Class, number: u64) -> Result<(), u64> {
        self.0[from].push(1 - from as u16, envelope(class, number)).map_err(|full| full.0.header.request_id)
    }
    fn drain(&mut self, at: usize, budget: usize) -> Vec<(Class, u64)> {
        self.0[1 - at].flush();
        let mut taken = Vec::new();
        self.0[at].drain(budget, |_, envelope| taken.push((envelope.header.class, envelope.header.request_id)));
        self.0[1 - at].flush();
        taken
    }
    fn dropped_and_full(&mut self, from: usize, class: Class) -> (u64, u64) {
        self.0[from].flush(); // counts
        let metrics: LaneMetrics = self.0[from].metrics();
        (metrics.dropped(class), metrics.full(class))
    }
}

/// Two links, one each way, whose bytes go nowhere but by `drain`.
struct TwoLinks {
    rig: Rig,
    conns: [ConnId; 2],
}

impl Ways for TwoLinks {
    fn new(capacities: Capacities) -> Self {
        let node = |name: &str, other, seed| links(config(name, seed, capacities), vec![peer(other, true)], seed);
        let mut rig = Rig::new(vec![node("n0", 1, 1), node("n1", 0, 2)]);
        rig.run();
        assert!(rig.nodes.iter().all(|node| node.is_up(0)));
        rig.events.iter_mut().for_each(Vec::clear);
        let conns = [0, 1].map(|node| rig.dialed(node));
        Self { rig, conns }
    }
    fn push(&mut self, from: usize, class: Class, number: u64) -> Result<(), u64> {
        let pushed = self.rig.nodes[from].push(0, To::Owner, envelope(class, number));
        pushed.map_err(|back| back.envelope.header.request_id)
    }
    fn drain(&mut self, at: usize, budget: usize) -> Vec<(Class, u64)> {
        // Length, kind, count, destination, envelope.
        let parcel = 4 + 1 + 8 + 1 + encode(&envelope(Class::Ack, 0)).len();
        let (from, conn) = (1 - at, self.conns[1 - at]);
        let mut bytes = Vec::new();
        self.rig.nodes[from].take_output(conn, budget * parcel, &mut bytes);
        self.rig.carry(from, conn, &bytes);
        while self.rig.nodes[from].next_action().is_some() {}
        self.rig.take_events(at);
        self.rig.parcels(at)
    }
    fn dropped_and_full(&mut self, from: usize, class: Class) -> (u64, u64) {
        let metrics: LinkMetrics = self.rig.nodes[from].metrics();
        (metrics.dropped(class), metrics.full(class))
    }
}

fn each_class_keeps_its_own_policy_when_it_is_full<W: Ways>() {
    let mut ways = W::new(Capacities::uniform(64));
    for number in 0..100 {
        for class in CLASSES {
            match ways.push(0, class, number) {
                Ok(()) => assert!(class != Class::Live || number < 64),
                Err(back) => {
                    assert!(class == Class::Live && number >= 64);
                    assert_eq!(back, number, "the caller has it back, to make a gap of it");
                }
            }
        }
    }
    for class in CLASSES {
        let expected = match class {
            Class::Live => (0, 36),
            Class::Ephemeral => (36, 0),
            _ => (0, 0),
        };
        assert_eq!(ways.dropped_and_full(0, class), expected, "{class:?}");
    }
    let taken = ways.drain_all(1);
    for class in CLASSES {
        let count = if matches!(class, Class::Live | Class::Ephemeral) { 64 } else { 100 };
        let numbers: Vec<u64> = taken.iter().filter(|(of, _)| *of == class).map(|(_, number)| *number).collect();
        assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "{class:?} in order");
    }
    assert_eq!(ways.push(0, Class::Live, 100), Ok(()), "there is room again");
    assert_eq!(ways.drain_all(1), [(Class::Live, 100)]);
}

fn what_waits_is_bounded<W: Ways>() {
    for class in [Class::Send, Class::Ack, Class::Control, Class::Sync] {
        let mut ways = W::new(Capacities { ring: [4; 6], overflow: [8; 6] });
        for number in 0..12 {
            ways.push(0, class, number).unwrap();
        }
        assert_eq!(ways.push(0, class, 12), Err(12));
        assert_eq!(ways.dropped_and_full(0, class), (0, 1));
        assert_eq!(ways.drain_all(1).len(), 12);
        assert_eq!(ways.push(0, class, 13), Ok(()));
    }
}

fn every_class_gets_a_share_and_answers_go_before_pushes<W: Ways>() {
    let mut ways = W::new(Capacities::uniform(64));
    for number in 0..64 {
        for class in CLASSES.into_iter().rev() {
            ways.push(0, class, number).unwrap();
        }
    }
    let first = ways.drain(1, 24);
    assert_eq!(first[0], (Class::Ack, 0));
    for class in CLASSES {
        let of_it = first.iter().filter(|(of, _)| *of == class).count();
        assert!(of_it >= 4, "{class:?} has {of_it}");
    }
    let live = first.iter().position(|(class, _)| *class == Class::Live).unwrap();
    let acks = first[..live].iter().filter(|(class, _)| *class == Class::Ack).count();
    assert_eq!(acks, 64, "no push overtakes an answer");
    assert!(first.len() <= 24 + 64);
}

fn ways_full_in_both_directions_lose_nothing_and_get_on<W: Ways>() {
    const REQUESTS: u64 = 5_000;
    let mut ways = W::new(Capacities::uniform(64));
    // By end: requests sent and taken, answers got.
    let (mut sent, mut taken, mut answers) = ([0; 2], [0; 2], [0; 2]);
    while answers != [REQUESTS; 2] {
        for end in [0, 1] {
            for (class, number) in ways.drain(end, 200) {
                if class == Class::Send {
                    assert_eq!(number, taken[end], "requests come in order, once");
                    taken[end] += 1;
                    ways.push(end, Class::Control, number).expect("bounded by the window");
                } else {
                    assert_eq!(number, answers[end], "answers come in order, once");
                    answers[end] += 1;
                }
            }
            // Ten times the slots may be in flight.
            while sent[end] < REQUESTS && sent[end] - answers[end] < 640 {
                ways.push(end, Class::Send, sent[end]).expect("bounded by the window");
                sent[end] += 1;
            }
        }
    }
    assert_eq!(taken, [REQUESTS; 2]);
}

macro_rules! contract {
    ($($promise:ident),+ $(,)?) => {
        mod lanes {
            $(#[test] fn $promise() { super::$promise::<super::Lanes>(); })+
        }
        mod links {
            $(#[test] fn $promise() { super::$promise::<super::TwoLinks>(); })+
        }
    };
}
contract! {
    each_class_keeps_its_own_policy_when_it_is_full,
    what_waits_is_bounded,
    every_class_gets_a_share_and_answers_go_before_pushes,
    ways_full_in_both_directions_lose_nothing_and_get_on,
}
