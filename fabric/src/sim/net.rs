//! Ordered byte streams with delays, odd chunks, breaks and stalls.
//!
//! What must stay true: bytes of one direction arrive in order, once, without holes, up to where the stream broke.

use std::collections::{BTreeMap, VecDeque};

mod hosts;

use bytes::Bytes;

use self::hosts::Hosts;
use super::entropy::SeededEntropy;

/// One stream. Numbers are not used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u64);

/// An end of a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    /// Who connected.
    Client,
    /// Who accepted.
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Server => 1,
        }
    }
}

/// What may go wrong. May be changed at any time.
#[derive(Clone, Copy, Debug)]
pub struct NetFaults {
    /// Bytes take at least this long, ns.
    pub min_latency_ns: u64,
    /// And at most this (and longer behind bytes sent before).
    pub max_latency_ns: u64,
    /// What is sent at once arrives in pieces of at most this, bytes. At least 1.
    pub max_chunk_bytes: usize,
    /// One send in so many breaks its stream, in both directions, with bytes on the way lost. 0 = none.
    pub break_one_in: u32,
    /// One send in so many stalls its direction for good: bytes vanish and neither end is told. 0 = none.
    pub stall_one_in: u32,
}

impl Default for NetFaults {
    fn default() -> Self {
        Self {
            min_latency_ns: 20_000,
            max_latency_ns: 2_000_000,
            max_chunk_bytes: 4_096,
            break_one_in: 0,
            stall_one_in: 0,
        }
    }
}

/// What went wrong so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetCounters {
    /// Streams opened.
    pub opened: u64,
    /// Streams broken by a fault or by [`SimNet::break_stream`].
    pub broken: u64,
    /// Directions that stalled.
    pub stalled: u64,
    /// Bytes that never arrived.
    pub lost_bytes: u64,
    /// Sends that arrived in more than one piece.
    pub split: u64,
}

/// What one end is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetEvent {
    /// A client has connected (told to the server's side).
    Opened {
        /// The stream.
        stream: StreamId,
    },
    /// A stream asked for with [`SimNet::dial`] stands (told to the client's side). One that does not is `Closed`.
    Connected {
        /// The stream.
        stream: StreamId,
    },
    /// Bytes came.
    Received {
        /// The stream.
        stream: StreamId,
        /// Who gets them.
        side: Side,
        /// The next bytes of that direction.
        bytes: Bytes,
    },
    /// The stream is gone. Told once a side, unless that side closed it itself.
    Closed {
        /// The stream.
        stream: StreamId,
        /// Who is told.
        side: Side,
    },
}

enum Item {
    Open,
    Connected,
    Bytes(Bytes),
    End,
}

#[derive(Default)]
struct Direction {
    /// (when, what), in order.
    queue: VecDeque<(u64, Item)>,
    stalled: bool,
    /// Nothing more is put in.
    ended: bool,
}

/// See the module.
pub struct SimNet {
    entropy: SeededEntropy,
    faults: NetFaults,
    counters: NetCounters,
    next: u64,
    /// By the side that receives.
    streams: BTreeMap<StreamId, [Direction; 2]>,
    hosts: Hosts,
}

impl SimNet {
    /// No streams yet.
    pub fn new(seed: u64) -> Self {
        Self {
            entropy: SeededEntropy::new(seed),
            faults: NetFaults::default(),
            counters: NetCounters::default(),
            next: 1,
            streams: BTreeMap::new(),
            hosts: Hosts::default(),
        }
    }

    /// What may go wrong from now on.
    pub const fn set_faults(&mut self, faults: NetFaults) {
        assert!(faults.max_chunk_bytes > 0);
        self.faults = faults;
    }

    /// What went wrong so far.
    pub const fn counters(&self) -> NetCounters {
        self.counters
    }

    /// Opens a stream. The client may send at once; the server is told after a delay.
    pub fn connect(&mut self, now_ns: u64) -> StreamId {
        let stream = StreamId(self.next);
        self.next += 1;
        self.counters.opened += 1;
        let mut directions = <[Direction; 2]>::default();
        let at = now_ns + self.latency();
        directions[Side::Server.index()].queue.push_back((at, Item::Open));
        self.streams.insert(stream, directions);
        stream
    }

    /// Sends from one side. On a stream that is gone the bytes vanish.
    pub fn send(&mut self, now_ns: u64, stream: StreamId, from: Side, bytes: &[u8]) {
        if bytes.is_empty() || !self.streams.contains_key(&stream) {
            return;
        }
        if self.entropy.one_in(self.faults.break_one_in) {
            self.counters.lost_bytes += bytes.len() as u64;
            return self.break_stream(now_ns, stream);
        }
        let stalls = self.entropy.one_in(self.faults.stall_one_in);
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = rest.len().min(self.faults.max_chunk_bytes) as u64;
            let (piece, after) = rest.split_at(self.entropy.between(1, most) as usize);
            pieces.push((now_ns + self.latency(), Bytes::copy_from_slice(piece)));
            rest = after;
        }
        let Some(directions) = self.streams.get_mut(&stream) else { return };
        let direction = &mut directions[from.other().index()];
        if stalls && !direction.stalled {
            direction.stalled = true;
            self.counters.stalled += 1;
        }
        if direction.stalled || direction.ended {
            self.counters.lost_bytes += bytes.len() as u64;
            return;
        }
        self.counters.split += u64::from(pieces.len() > 1);
        for (at, piece) in pieces {
            direction.put(at, Item::Bytes(piece));
        }
    }

    /// One side closes: it hears nothing more; the other gets what was sent before, then the end.
    pub fn close(&mut self, now_ns: u64, stream: StreamId, by: Side) {
        let at = now_ns + self.latency();
        let Some(directions) = self.streams.get_mut(&stream) else { return };
        let own = &mut directions[by.index()];
        own.queue.clear();
        own.ended = true;
        let other = &mut directions[by.other().index()];
        if !other.ended {
            other.ended = true;
            if !other.stalled {
                other.put(at, Item::End);
            }
        }
        self.forget_if_done(stream);
    }

    /// Breaks a stream: what is on the way is lost, both sides are told (a stalled one is not).
    pub fn break_stream(&mut self, now_ns: u64, stream: StreamId) {
        let latencies = [self.latency(), self.latency()];
        let Some(directions) = self.streams.get_mut(&stream) else { return };
        if directions.iter().all(|direction| direction.ended) {
            return;
        }
        self.counters.broken += 1;
        for (direction, latency) in directions.iter_mut().zip(latencies) {
            let opens = matches!(direction.queue.front(), Some((_, Item::Open)));
            let opens = if opens { direction.queue.pop_front() } else { None };
            for (_, item) in direction.queue.drain(..) {
                if let Item::Bytes(bytes) = item {
                    self.counters.lost_bytes += bytes.len() as u64;
                }
            }
            direction.queue.extend(opens);
            if !direction.ended && !direction.stalled {
                direction.put(now_ns + latency, Item::End);
            }
            direction.ended = true;
        }
        self.forget_if_done(stream);
    }

    /// Streams that are not gone, in order.
    pub fn streams(&self) -> impl Iterator<Item = StreamId> {
        self.streams.keys().copied()
    }

    /// When something is to be told next, ns.
    pub fn next_event_ns(&self) -> Option<u64> {
        let reached = self.streams.iter().filter(|(stream, _)| !self.hosts.is_cut(**stream));
        reached.flat_map(|(_, directions)| directions).filter_map(|d| d.queue.front()).map(|(at, _)| *at).min()
    }

    /// The next thing to tell, if its time has come. Earliest first, then by stream.
    pub fn poll(&mut self, now_ns: u64) -> Option<NetEvent> {
        let mut first: Option<(u64, StreamId, Side)> = None;
        for (&stream, directions) in self.streams.iter().filter(|(stream, _)| !self.hosts.is_cut(**stream)) {
            for side in [Side::Client, Side::Server] {
                let due = directions[side.index()].queue.front().map(|(at, _)| *at).filter(|at| *at <= now_ns);
                if let Some(at) = due
                    && first.is_none_or(|(earliest, ..)| at < earliest)
                {
                    first = Some((at, stream, side));
                }
            }
        }
        let (_, stream, side) = first?;
        let (_, item) = self.streams.get_mut(&stream)?[side.index()].queue.pop_front()?;
        self.forget_if_done(stream);
        Some(match item {
            Item::Open => NetEvent::Opened { stream },
            Item::Connected => NetEvent::Connected { stream },
            Item::Bytes(bytes) => NetEvent::Received { stream, side, bytes },
            Item::End => NetEvent::Closed { stream, side },
        })
    }

    fn forget_if_done(&mut self, stream: StreamId) {
        let done = |directions: &[Direction; 2]| directions.iter().all(|d| d.ended && d.queue.is_empty());
        if self.streams.get(&stream).is_some_and(done) {
            self.streams.remove(&stream);
            self.hosts.forget(stream);
        }
    }

    fn latency(&mut self) -> u64 {
        self.entropy.between(self.faults.min_latency_ns, self.faults.max_latency_ns)
    }
}

impl Direction {
    /// Never overtakes what is already on its way.
    fn put(&mut self, at: u64, item: Item) {
        let at = self.queue.back().map_or(at, |(last, _)| at.max(*last));
        self.queue.push_back((at, item));
    }
}

#[cfg(test)]
#[path = "net_tests.rs"]
mod tests;
