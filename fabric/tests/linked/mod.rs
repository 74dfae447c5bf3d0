//! Links without sockets: nodes with a connection's bytes carried from hand to hand.

#![allow(dead_code)] // each test file uses its part

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use fabric::core::{Action, ConnId};
use fabric::lane::Capacities;
use fabric::link::{LinkConfig, LinkEvent, Links, NodeIdentity, Peer, Roles};
use fabric::sim::SeededEntropy;
use fabric::time::Now;
use schema::envelope::{Body, Class, Envelope, GapScope};

pub const MS: u64 = 1_000_000;
/// The secret of every node that has the right one.
pub const SECRET: &[u8] = b"a secret of the cluster";

pub fn envelope(class: Class, number: u64) -> Envelope {
    let mut envelope = Envelope::new(class, Body::Gap(GapScope::All));
    envelope.header.request_id = number;
    envelope
}

pub fn address(node: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, node as u8 + 1), 7_000))
}

pub fn identity(name: &str, incarnation: u64) -> NodeIdentity {
    NodeIdentity {
        cluster: "test".to_owned(),
        name: name.to_owned(),
        incarnation,
        roles: Roles::ALL,
        shard: 0,
        shards: 1,
    }
}

pub fn config(name: &str, incarnation: u64, capacities: Capacities) -> LinkConfig {
    LinkConfig { capacities, ..LinkConfig::new(identity(name, incarnation), Arc::from(SECRET)) }
}

/// A peer named `n0`, `n1` and so on.
pub fn peer(node: usize, dial: bool) -> Peer {
    Peer { name: format!("n{node}"), address: address(node).into(), roles: Roles::ALL, dial }
}

pub fn links(config: LinkConfig, peers: Vec<Peer>, seed: u64) -> Links {
    Links::new(config, peers, Box::new(SeededEntropy::new(seed)))
}

/// Some nodes and the connections between them; bytes arrive at once.
pub struct Rig {
    pub now: Now,
    pub nodes: Vec<Links>,
    pub events: Vec<Vec<LinkEvent>>,
    /// Where each connection ends at the other side.
    pub far: BTreeMap<(usize, ConnId), (usize, ConnId)>,
    /// Every connection dialed.
    pub dialed: Vec<(usize, ConnId)>,
    /// Nodes whose address answers.
    pub listening: Vec<bool>,
    /// Nodes that neither read nor write.
    pub frozen: Vec<bool>,
    /// Nodes that what is said to never reaches.
    pub deaf: Vec<bool>,
}

impl Rig {
    pub fn new(nodes: Vec<Links>) -> Self {
        let count = nodes.len();
        Self {
            now: Now { mono_ns: 1, wall_ticks: 1 },
            nodes,
            events: (0..count).map(|_| Vec::new()).collect(),
            far: BTreeMap::new(),
            dialed: Vec::new(),
            listening: vec![true; count],
            frozen: vec![false; count],
            deaf: vec![false; count],
        }
    }

    /// Two nodes, the first of which dials the second, with these capacities; the link stands.
    pub fn pair(capacities: Capacities) -> Self {
        let mut rig = Self::new(vec![
            links(config("n0", 100, capacities), vec![peer(1, true)], 1),
            links(config("n1", 200, capacities), vec![peer(0, false)], 2),
        ]);
        rig.run();
        assert!(rig.nodes[0].is_up(0));
        rig
    }

    /// Carries everything until nothing moves.
    pub fn run(&mut self) {
        loop {
            let mut moved = false;
            for node in (0..self.nodes.len()).filter(|&node| !self.frozen[node]).collect::<Vec<_>>() {
                self.nodes[node].tick(self.now);
                while let Some(action) = self.nodes[node].next_action() {
                    moved = true;
                    self.act(node, action);
                }
                self.take_events(node);
            }
            if !moved {
                return;
            }
        }
    }

    fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Connect { conn, target: to } => {
                self.dialed.push((node, conn));
                let target =
                    (0..self.nodes.len()).find(|&node| Some(address(node)) == to.address() && self.listening[node]);
                let far =
                    target.and_then(|target| Some((target, self.nodes[target].accepted(self.now, address(node))?)));
                match far {
                    Some(far) => {
                        self.far.insert((node, conn), far);
                        self.far.insert(far, (node, conn));
                        self.nodes[node].connected(self.now, conn);
                    }
                    None => self.nodes[node].closed(self.now, conn),
                }
            }
            Action::Flush(conn) => self.flush(node, conn),
            Action::Close(conn) => {
                self.flush(node, conn);
                self.cut((node, conn));
            }
            other => panic!("links ask for no {other:?}"),
        }
    }

    /// Carries all that a connection has to say, unless the other end is frozen.
    pub fn flush(&mut self, node: usize, conn: ConnId) {
        let Some(&(other, _)) = self.far.get(&(node, conn)) else { return };
        if self.frozen[other] {
            return;
        }
        loop {
            let mut out = Vec::new();
            self.nodes[node].take_output(conn, 64 << 10, &mut out);
            if out.is_empty() {
                return;
            }
            self.carry(node, conn, &out);
        }
    }

    /// Carries bytes of a connection's output.
    pub fn carry(&mut self, node: usize, conn: ConnId, bytes: &[u8]) {
        let Some(&(other, far)) = self.far.get(&(node, conn)) else { return };
        self.nodes[node].written(self.now, conn, bytes.len());
        if !self.deaf[other] {
            self.nodes[other].received(self.now, far, bytes);
        }
    }

    /// Keeps what a node has heard.
    pub fn take_events(&mut self, node: usize) {
        while let Some(event) = self.nodes[node].next_event() {
            self.events[node].push(event);
        }
    }

    /// The connection that a node dialed, of which there is one.
    pub fn dialed(&self, node: usize) -> ConnId {
        self.dialed.iter().rev().find(|(dialer, _)| *dialer == node).expect("it has dialed").1
    }

    /// Ends a connection at both sides.
    pub fn cut(&mut self, end: (usize, ConnId)) {
        if let Some(far) = self.far.remove(&end) {
            self.far.remove(&far);
            for (node, conn) in [end, far] {
                self.nodes[node].closed(self.now, conn);
            }
        }
    }

    /// Ends every connection.
    pub fn cut_all(&mut self) {
        while let Some((&end, _)) = self.far.first_key_value() {
            self.cut(end);
        }
    }

    /// Lets time pass in steps of 10 ms, with everything carried.
    pub fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(10) {
            self.now.mono_ns += 10 * MS;
            self.run();
        }
    }

    /// What a node heard since the last time, parcels as (class, number).
    pub fn heard(&mut self, node: usize) -> Vec<String> {
        self.events[node].drain(..).map(|event| said(&event)).collect()
    }

    /// The parcels a node got since the last time; nothing else may have come.
    pub fn parcels(&mut self, node: usize) -> Vec<(Class, u64)> {
        let parcel = |event| match event {
            LinkEvent::Parcel { envelope, .. } => (envelope.header.class, envelope.header.request_id),
            other => panic!("no parcel: {other:?}"),
        };
        self.events[node].drain(..).map(parcel).collect()
    }
}

/// An event in a few words.
pub fn said(event: &LinkEvent) -> String {
    match event {
        LinkEvent::Parcel { from, envelope, .. } => {
            format!("{:?} {} from {from}", envelope.header.class, envelope.header.request_id)
        }
        LinkEvent::Up { peer, incarnation, lost } => format!("up {peer} {incarnation} lost={lost}"),
        LinkEvent::Down { peer } => format!("down {peer}"),
        LinkEvent::Heard { peer, incarnation, lost, .. } => format!("heard {peer} {incarnation} lost={lost}"),
        LinkEvent::Silent { peer, incarnation } => format!("silent {peer} {incarnation}"),
        LinkEvent::Hears { peer, whom } => format!("hears {peer} {whom:?}"),
        LinkEvent::Leaving { peer } => format!("leaving {peer}"),
        LinkEvent::Refused { peer, why } => format!("refused {peer:?} {}", why.code),
    }
}
