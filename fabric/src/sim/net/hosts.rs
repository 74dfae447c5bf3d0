//! Hosts with addresses: streams dialed from one to another, and ways between two hosts that are cut.
//!
//! What must stay true: a cut loses nothing by itself. As with TCP, what is on the way waits, and goes on when the way is
//! mended; who gives up before that closes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::{Direction, Item, Side, SimNet, StreamId};

/// From which host to which address.
type Way = (IpAddr, SocketAddr);

#[derive(Default)]
pub(super) struct Hosts {
    listening: BTreeSet<SocketAddr>,
    ways: BTreeMap<StreamId, Way>,
    /// Pairs in rising order.
    cuts: BTreeSet<(IpAddr, IpAddr)>,
}

impl Hosts {
    pub(super) fn is_cut(&self, stream: StreamId) -> bool {
        !self.cuts.is_empty()
            && self.ways.get(&stream).is_some_and(|&(from, to)| self.cuts.contains(&pair(from, to.ip())))
    }

    pub(super) fn forget(&mut self, stream: StreamId) {
        self.ways.remove(&stream);
    }
}

fn pair(one: IpAddr, other: IpAddr) -> (IpAddr, IpAddr) {
    (one.min(other), one.max(other))
}

impl SimNet {
    /// Connections to this address are accepted from now on.
    pub fn listen(&mut self, address: SocketAddr) {
        self.hosts.listening.insert(address);
    }

    /// They are refused again. Streams that stand stay.
    pub fn unlisten(&mut self, address: SocketAddr) {
        self.hosts.listening.remove(&address);
    }

    /// Connects a host to an address. The client is told `Connected`, or `Closed` when nobody listens there, and may send
    /// after that; the server is told `Opened`.
    pub fn dial(&mut self, now_ns: u64, from: IpAddr, to: SocketAddr) -> StreamId {
        let stream = StreamId(self.next);
        self.next += 1;
        self.counters.opened += 1;
        self.hosts.ways.insert(stream, (from, to));
        let there = now_ns + self.latency();
        let back = there + self.latency();
        let mut directions = <[Direction; 2]>::default();
        let [client, server] = &mut directions;
        if self.hosts.listening.contains(&to) {
            server.put(there, Item::Open);
            client.put(back, Item::Connected);
        } else {
            client.put(back, Item::End);
            (client.ended, server.ended) = (true, true);
        }
        self.streams.insert(stream, directions);
        stream
    }

    /// The address that a stream was dialed to; `None` once both sides are done with it.
    pub fn address(&self, stream: StreamId) -> Option<SocketAddr> {
        self.hosts.ways.get(&stream).map(|&(_, to)| to)
    }

    /// Nothing passes between two hosts until [`Self::mend`]; nobody is told.
    pub fn cut(&mut self, one: IpAddr, other: IpAddr) {
        self.hosts.cuts.insert(pair(one, other));
    }

    /// What waited between two hosts goes on.
    pub fn mend(&mut self, one: IpAddr, other: IpAddr) {
        self.hosts.cuts.remove(&pair(one, other));
    }

    /// Breaks every stream of a host, as when its process is killed: the others are told, what is on the way is lost.
    pub fn break_host(&mut self, now_ns: u64, host: IpAddr) {
        let of_it = |(_, (from, to)): &(&StreamId, &Way)| *from == host || to.ip() == host;
        let streams: Vec<StreamId> = self.hosts.ways.iter().filter(of_it).map(|(stream, _)| *stream).collect();
        for stream in streams {
            let Some(&(from, to)) = self.hosts.ways.get(&stream) else { continue };
            self.break_stream(now_ns, stream);
            for (side, end) in [(Side::Client, from), (Side::Server, to.ip())] {
                if end == host {
                    self.close(now_ns, stream, side); // a dead process is told nothing
                }
            }
        }
    }
}
