//! A shard's end of all its lanes.

use std::io;
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use rtrb::RingBuffer;
use schema::envelope::{CLASS_COUNT, Class, Envelope};

use super::incoming::{Drained, InLanes, Incoming, Source};
use super::{Ack, CLASS_NAMES, Capacities, Control, Ephemeral, Full, Lane, Live, Pushed, Send, Sync, Wants};
use crate::wake::Waker;

/// Makes all lanes between `shards` shards, before their threads start.
#[derive(Debug)]
pub struct Mesh;

impl Mesh {
    /// One [`Port`] a shard, all lanes with the same capacities. `incarnation`: drawn at the process's start.
    ///
    /// # Errors
    /// What `eventfd(2)` says.
    #[allow(clippy::new_ret_no_self)] // a mesh is nothing but its ports
    pub fn new(shards: u16, incarnation: u64, capacities: Capacities) -> io::Result<Vec<Port>> {
        Self::with(shards, incarnation, |_, _| capacities)
    }

    /// The same with capacities by (source, destination), so that shards without partitions need no send lanes.
    ///
    /// # Errors
    /// What `eventfd(2)` says.
    pub fn with(shards: u16, incarnation: u64, capacities: impl Fn(u16, u16) -> Capacities) -> io::Result<Vec<Port>> {
        let wakers = (0..shards).map(|_| Waker::new()).collect::<io::Result<Vec<_>>>()?;
        let mut ports: Vec<Port> = (0..shards).map(|shard| Port::new(shard, incarnation, &wakers)).collect();
        for source in 0..shards {
            for destination in (0..shards).filter(|&destination| destination != source) {
                let (out, incoming) = lanes(&capacities(source, destination));
                ports[usize::from(source)].out[usize::from(destination)].lanes = Some(out);
                ports[usize::from(destination)].incoming.sources[usize::from(source)].lanes = Some(incoming);
            }
        }
        Ok(ports)
    }
}

fn lanes(capacities: &Capacities) -> (OutLanes, InLanes) {
    let wants = Arc::new(Wants::default());
    let (producers, consumers): (Vec<_>, Vec<_>) =
        capacities.ring.iter().map(|&slots| RingBuffer::new(slots.max(1))).unzip();
    let mut producers = producers.into_iter();
    let mut next = || producers.next().expect("one a class");
    let room = &capacities.overflow;
    // In the classes' numeric order.
    let out = OutLanes {
        send: Lane::new(next(), wants.clone(), room[Class::Send as usize]),
        ack: Lane::new(next(), wants.clone(), room[Class::Ack as usize]),
        control: Lane::new(next(), wants.clone(), room[Class::Control as usize]),
        live: Lane::new(next(), wants.clone(), 0),
        sync: Lane::new(next(), wants.clone(), room[Class::Sync as usize]),
        ephemeral: Lane::new(next(), wants.clone(), 0),
    };
    let rings = consumers.try_into().unwrap_or_else(|_| unreachable!("one a class"));
    (out, InLanes { rings, wants })
}

#[derive(Debug)]
struct OutLanes {
    send: Lane<Send>,
    ack: Lane<Ack>,
    control: Lane<Control>,
    live: Lane<Live>,
    sync: Lane<Sync>,
    ephemeral: Lane<Ephemeral>,
}

impl OutLanes {
    fn refill(&mut self) -> usize {
        self.send.refill() + self.ack.refill() + self.control.refill() + self.sync.refill()
    }

    fn overflowing(&self) -> usize {
        self.send.overflow.len() + self.ack.overflow.len() + self.control.overflow.len() + self.sync.overflow.len()
    }
}

#[derive(Debug)]
struct Out {
    lanes: Option<OutLanes>,
    waker: Waker,
    /// Something was pushed since the last wake.
    dirty: bool,
    overflowing: bool,
}

/// One shard's end of its lanes to and from every other shard. Owned by the shard's thread; nothing here blocks.
#[derive(Debug)]
pub struct Port {
    shard: u16,
    incarnation: u64,
    waker: Waker,
    out: Vec<Out>,
    incoming: Incoming,
    tally: Tally,
    metrics: LaneMetrics,
}

impl Port {
    fn new(shard: u16, incarnation: u64, wakers: &[Waker]) -> Self {
        let out =
            wakers.iter().map(|waker| Out { lanes: None, waker: waker.clone(), dirty: false, overflowing: false });
        Self {
            shard,
            incarnation,
            waker: wakers[usize::from(shard)].clone(),
            out: out.collect(),
            incoming: Incoming {
                sources: wakers.iter().map(|waker| Source { lanes: None, waker: waker.clone() }).collect(),
                ..Incoming::default()
            },
            tally: Tally::default(),
            metrics: LaneMetrics::default(),
        }
    }

    /// Whose end this is.
    pub fn shard(&self) -> u16 {
        self.shard
    }

    /// Drawn when the mesh was made: envelopes of another incarnation never came through it.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Wakes this port's shard; for the skin and for other threads that queue something for it.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Counters, shared with the port.
    pub fn metrics(&self) -> LaneMetrics {
        self.metrics.clone()
    }

    /// Queues an envelope for another shard, by the policy of its class. The destination learns of it at [`Self::flush`].
    ///
    /// # Errors
    /// [`Full`] gives the envelope back: a live one whose lane is full, or one whose bounded overflow is full too.
    ///
    /// # Panics
    /// If `destination` is this shard itself or does not exist.
    pub fn push(&mut self, destination: u16, envelope: Envelope) -> Result<(), Full> {
        let class = envelope.header.class;
        let out = &mut self.out[usize::from(destination)];
        let lanes = out.lanes.as_mut().expect("a shard has no lane to itself");
        let pushed = match class {
            Class::Send => lanes.send.push(envelope),
            Class::Ack => lanes.ack.push(envelope),
            Class::Control => lanes.control.push(envelope),
            Class::Live => lanes.live.push(envelope),
            Class::Sync => lanes.sync.push(envelope),
            Class::Ephemeral => lanes.ephemeral.push(envelope),
        };
        let tally = &mut self.tally.0[class as usize];
        match pushed {
            Ok(Pushed::Ring) => tally.pushed += 1,
            Ok(Pushed::Overflow) => {
                tally.pushed += 1;
                tally.overflowed += 1;
                out.overflowing = true;
            }
            Ok(Pushed::Dropped) => tally.dropped += 1,
            Err(full) => {
                tally.full += 1;
                out.dirty = true;
                return Err(full);
            }
        }
        out.dirty = true;
        Ok(())
    }

    /// Once a turn, after all pushes: moves overflow into rings that have room again and wakes, once each, the shards that
    /// were sent something.
    pub fn flush(&mut self) {
        for out in &mut self.out {
            if out.overflowing
                && let Some(lanes) = &mut out.lanes
            {
                out.dirty |= lanes.refill() > 0;
                out.overflowing = lanes.overflowing() > 0;
            }
            if core::mem::take(&mut out.dirty) {
                out.waker.wake();
                self.tally.1 += 1;
            }
        }
        self.metrics.add(&mut self.tally);
    }

    /// Something was pushed since the last [`Self::flush`].
    pub fn is_dirty(&self) -> bool {
        self.out.iter().any(|out| out.dirty)
    }

    /// Envelopes that wait in overflows (bounded by the capacities).
    pub fn overflowing(&self) -> usize {
        self.out.iter().filter_map(|out| out.lanes.as_ref()).map(OutLanes::overflowing).sum()
    }

    /// The receiving ends, to be given back with [`Self::put_incoming`]; until then nothing comes by this port.
    pub fn take_incoming(&mut self) -> Incoming {
        core::mem::take(&mut self.incoming)
    }

    /// Gives back what [`Self::take_incoming`] took.
    pub fn put_incoming(&mut self, mut incoming: Incoming) {
        for (tally, drained) in self.tally.0.iter_mut().zip(&mut incoming.drained) {
            tally.drained += core::mem::take(drained);
        }
        self.incoming = incoming;
    }

    /// See [`Incoming::drain`].
    pub fn drain(&mut self, budget: usize, take: impl FnMut(u16, Envelope)) -> Drained {
        let mut incoming = self.take_incoming();
        let drained = incoming.drain(budget, take);
        self.put_incoming(incoming);
        drained
    }

    /// Nothing waits in any incoming ring.
    pub fn is_empty(&self) -> bool {
        self.incoming.is_empty()
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct ClassTally {
    pushed: u64,
    drained: u64,
    overflowed: u64,
    dropped: u64,
    full: u64,
}

#[derive(Debug, Default)]
struct Tally([ClassTally; CLASS_COUNT], u64);

/// A port's counters. Added up once a flush, so that no envelope costs an atomic.
#[derive(Clone, Debug, Default)]
pub struct LaneMetrics {
    classes: [ClassMetrics; CLASS_COUNT],
    wakes: Counter,
}

#[derive(Clone, Debug, Default)]
struct ClassMetrics {
    pushed: Counter,
    drained: Counter,
    overflowed: Counter,
    dropped: Counter,
    full: Counter,
}

impl LaneMetrics {
    /// Names them in `registry`, one label a class.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("lane_wakes", "Wakes of other shards", self.wakes.clone());
        for (name, class) in CLASS_NAMES.iter().zip(&self.classes) {
            let registry = registry.sub_registry_with_label(("class".into(), (*name).into()));
            registry.register("lane_pushed", "Envelopes queued for other shards", class.pushed.clone());
            registry.register("lane_drained", "Envelopes taken from other shards", class.drained.clone());
            registry.register("lane_overflowed", "Envelopes that found their ring full", class.overflowed.clone());
            registry.register("lane_dropped", "Envelopes dropped at a full ring", class.dropped.clone());
            registry.register("lane_full", "Envelopes given back at a full ring", class.full.clone());
        }
    }

    /// Envelopes of `class` that found their ring full and waited.
    pub fn overflowed(&self, class: Class) -> u64 {
        self.classes[class as usize].overflowed.get()
    }

    /// Envelopes of `class` dropped at a full ring.
    pub fn dropped(&self, class: Class) -> u64 {
        self.classes[class as usize].dropped.get()
    }

    /// Envelopes of `class` given back at a full ring.
    pub fn full(&self, class: Class) -> u64 {
        self.classes[class as usize].full.get()
    }

    fn add(&self, tally: &mut Tally) {
        let add = |counter: &Counter, count: u64| {
            if count > 0 {
                counter.inc_by(count);
            }
        };
        for (class, metrics) in tally.0.iter().zip(&self.classes) {
            add(&metrics.pushed, class.pushed);
            add(&metrics.drained, class.drained);
            add(&metrics.overflowed, class.overflowed);
            add(&metrics.dropped, class.dropped);
            add(&metrics.full, class.full);
        }
        add(&self.wakes, tally.1);
        *tally = Tally::default();
    }
}
