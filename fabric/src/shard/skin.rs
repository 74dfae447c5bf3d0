//! The skin itself: carries inputs to the core, runs its turns and does what it asks for.
//!
//! Tasks bring inputs (bytes, ends of writes, wakes) and mark the skin dirty; the turn is the runtime's main future, which
//! monoio polls after the tasks that were ready, so that one turn answers all inputs of a wake. What must stay true: the
//! core is never borrowed across an await, and [`Skin::turn`] runs once for any number of inputs.

mod connect;
mod dirty;
mod header;
mod tls;
mod turn;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker as TaskWaker};
use std::time::Duration;

use monoio::net::TcpStream;

use super::Stopper;
use super::conn::{CLOSING, Conn, ENDED, HEADER, LISTED, MORE, PAUSED, REPORTED, TLS, WRITING};
use super::jobs::Jobs;
use super::journal::Journals;
use super::metrics::{ShardMetrics, Tally, count};
use super::pool::Pool;
use crate::core::{ConnId, Core, Protocol};
use crate::net::proxy::Proxies;
use crate::net::readiness::{Readiness, Ready};
use crate::net::resolve::Resolver;
use crate::net::tcp;
use crate::net::tls::Server;
use crate::time::{Clock, Now, SystemClock};
use crate::timer::Wheel;
use crate::wake::Waker;
use dirty::Dirty;
use header::Headers;
use tls::Tls;

/// How often a turn looks for output that its own sends made room for. What is left then waits for the next turn.
const FLUSH_ROUNDS: usize = 4;
/// Most output taken from the core for one write.
const WRITE_BYTES: usize = 64 * 1024;
/// Most read from a socket at once.
const READ_BYTES: usize = 64 * 1024;
/// How long a closing connection may take to flush and to hear the peer's end.
const LINGER: Duration = Duration::from_secs(2);
/// How soon a job that found its queue full is offered again.
const RETRY: Duration = Duration::from_millis(5);
/// No socket.
const NONE: RawFd = -1;
/// Deferred completions are asked for in every such turn, should the loop never come to rest.
const REAP_TURNS: u64 = 8;

/// What a shard is made of; [`Skin::new`].
pub(super) struct Parts<C: Core> {
    pub(super) core: C,
    pub(super) waker: Waker,
    pub(super) readiness: Readiness,
    pub(super) tls: Option<Server>,
    pub(super) proxies: Option<Proxies>,
    pub(super) resolver: Option<Resolver>,
    pub(super) jobs: Jobs<C::Job, C::JobDone>,
    pub(super) journals: Journals,
    pub(super) ring: Option<RawFd>,
    pub(super) rings: bool,
    pub(super) stopper: Stopper,
    pub(super) metrics: ShardMetrics,
}

pub(super) struct Skin<C: Core> {
    core: RefCell<C>,
    clock: SystemClock,
    /// The reading all inputs of one wake share.
    now: Cell<Option<Now>>,
    readiness: RefCell<Readiness>,
    ready: RefCell<Vec<Ready>>,
    /// Every open socket, by its descriptor.
    sockets: RefCell<Vec<Option<Rc<Conn>>>>,
    /// What connections that speak TLS need; with it, all but links do.
    tls: Option<RefCell<Tls>>,
    /// Which connections' PROXY headers have not come whole; with it, load balancers may be before the listeners.
    headers: Option<RefCell<Headers>>,
    /// The sockets of the core's connections, by index; [`NONE`] where there is none.
    conns: RefCell<Vec<RawFd>>,
    resolver: Option<Resolver>,
    /// Connections that are being made.
    connecting: RefCell<Vec<ConnId>>,
    buffer: RefCell<Box<[u8]>>,
    /// What is being sent.
    output: RefCell<Vec<u8>>,
    pool: RefCell<Pool>,
    flush: RefCell<Vec<Rc<Conn>>>,
    closing: RefCell<Wheel<Weak<Conn>>>,
    journals: RefCell<Journals>,
    jobs: RefCell<Jobs<C::Job, C::JobDone>>,
    waker: Waker,
    ring: Option<RawFd>,
    /// The driver is io_uring.
    pub(super) rings: bool,
    pub(super) dirty: Dirty,
    /// Tasks that wait for the next turn.
    waiting: RefCell<Vec<TaskWaker>>,
    /// What the timer task is set to, ns; `u64::MAX` = nothing.
    pub(super) armed_ns: Cell<u64>,
    pub(super) timer: RefCell<Option<TaskWaker>>,
    writes: Cell<usize>,
    journal_writes: Cell<usize>,
    /// A journal's write is in the ring, and the kernel has not been told.
    unsubmitted: Cell<bool>,
    stopper: Stopper,
    stopping: Cell<bool>,
    /// Sockets that the core knows no more and whose peers have not ended yet.
    lingering: Cell<usize>,
    ended: Cell<bool>,
    turns: Cell<u64>,
    pub(super) tally: Tally,
    metrics: ShardMetrics,
}

impl<C: Core + 'static> Skin<C> {
    pub(super) fn new(parts: Parts<C>) -> Rc<Self> {
        Rc::new(Self {
            core: RefCell::new(parts.core),
            clock: SystemClock,
            now: Cell::new(None),
            readiness: RefCell::new(parts.readiness),
            ready: RefCell::new(Vec::new()),
            sockets: RefCell::new(Vec::new()),
            tls: parts.tls.map(Tls::new).map(RefCell::new),
            headers: parts.proxies.map(Headers::new).map(RefCell::new),
            conns: RefCell::new(Vec::new()),
            resolver: parts.resolver,
            connecting: RefCell::new(Vec::new()),
            buffer: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            output: RefCell::new(Vec::new()),
            pool: RefCell::new(Pool::default()),
            flush: RefCell::new(Vec::new()),
            closing: RefCell::new(Wheel::new(8_000_000)),
            journals: RefCell::new(parts.journals),
            jobs: RefCell::new(parts.jobs),
            waker: parts.waker,
            ring: parts.ring,
            rings: parts.rings,
            dirty: Dirty::default(),
            waiting: RefCell::new(Vec::new()),
            armed_ns: Cell::new(u64::MAX),
            timer: RefCell::new(None),
            writes: Cell::new(0),
            journal_writes: Cell::new(0),
            unsubmitted: Cell::new(false),
            stopper: parts.stopper,
            stopping: Cell::new(false),
            lingering: Cell::new(0),
            ended: Cell::new(false),
            turns: Cell::new(0),
            tally: Tally::default(),
            metrics: parts.metrics,
        })
    }

    /// The time of this wake: read once, at its first input.
    fn now(&self) -> Now {
        self.now.get().unwrap_or_else(|| {
            let now = self.clock.now();
            self.now.set(Some(now));
            now
        })
    }

    /// What becomes readable when a socket, or `waker`, has something for [`Self::receive_ready`].
    pub(super) fn events(&self, waker: &Waker) -> io::Result<TcpStream> {
        let readiness = self.readiness.borrow();
        readiness.watch(waker.as_fd())?;
        readiness.join_runtime()
    }

    // ---- inputs -----------------------------------------------------------------------------------------------------

    /// A socket was accepted.
    pub(super) fn accepted(&self, protocol: Protocol, socket: OwnedFd, peer: SocketAddr) {
        count(&self.tally.accepted, 1);
        let now = self.now();
        let Ok(first_a_header) = self.expects_header(now, protocol, peer) else { return };
        let accepted = self.core.borrow_mut().accepted(now, protocol, peer);
        self.dirty.mark();
        let Some(id) = accepted else {
            count(&self.tally.refused, 1);
            return;
        };
        self.adopt(id, protocol, socket, first_a_header.then_some(peer));
    }

    /// Takes a connected socket as the connection `id`. `proxy`: whoever is expected to say first who the client is.
    fn adopt(&self, id: ConnId, protocol: Protocol, socket: OwnedFd, proxy: Option<SocketAddr>) {
        let fd = socket.as_raw_fd();
        let conn = Rc::new(Conn::new(id, socket));
        if let Some((proxy, headers)) = proxy.zip(self.headers.as_ref()) {
            conn.set(HEADER);
            headers.borrow_mut().expect(fd, proxy);
        }
        if let Some(tls) = self.tls.as_ref().filter(|_| protocol != Protocol::Link) {
            conn.set(TLS);
            tls.borrow_mut().expect(fd, protocol);
        }
        let before = put(&mut self.conns.borrow_mut(), id.index as usize, fd, NONE);
        assert_eq!(before, NONE, "the core gave a place to two connections");
        put(&mut self.sockets.borrow_mut(), fd as usize, Some(conn.clone()), None);
        self.metrics.sockets.inc();
        if let Err(error) = self.readiness.borrow().watch(conn.fd()) {
            count(&self.tally.accept_errors, 1);
            tracing::warn!(%error, "a connection cannot be watched and is closed");
            self.read_ended(&conn);
        }
    }

    /// Reads once from every socket that has something, so that one that always has data gets a read a round, like everyone
    /// else. `true`: there may be more.
    pub(super) fn receive_ready(&self) -> bool {
        let mut ready = self.ready.take();
        let more = self.readiness.borrow_mut().take(&mut ready).unwrap_or_else(|error| {
            tracing::warn!(%error, "events of sockets could not be taken");
            true
        });
        for event in ready.drain(..) {
            let conn = self.sockets.borrow().get(event.fd as usize).and_then(Clone::clone);
            match conn {
                Some(conn) => self.receive(&conn, event.ends),
                None if event.fd == self.waker.raw_fd() => self.woken(),
                None => (),
            }
        }
        self.ready.replace(ready);
        more
    }

    /// Reads once. `ends`: the peer's end is behind what there is.
    fn receive(&self, conn: &Rc<Conn>, ends: bool) {
        if conn.has(ENDED) || conn.has(PAUSED) && !conn.has(CLOSING) {
            return; // a paused one is asked again when it is resumed
        }
        let mut buffer = self.buffer.borrow_mut();
        let kept = match conn.has(HEADER) {
            true => self.restore_header(conn, &mut buffer),
            false if conn.has(TLS) => self.restore_tls(conn, &mut buffer),
            false => 0,
        };
        match tcp::recv_now(conn.fd(), &mut buffer[kept..]) {
            Ok(0) => self.read_ended(conn),
            Ok(bytes) => {
                count(&self.tally.reads, 1);
                count(&self.tally.bytes_in, bytes as u64);
                let mut input = &mut buffer[..kept + bytes];
                if conn.has(HEADER) && !conn.has(CLOSING) {
                    let header = self.receive_header(conn, input);
                    input = &mut input[header..];
                }
                if conn.has(CLOSING | ENDED) || input.is_empty() {
                    // Nothing of it is for anybody.
                } else if conn.has(TLS) {
                    self.receive_tls(conn, input);
                } else {
                    let now = self.now();
                    self.core.borrow_mut().received(now, conn.id, input);
                    self.dirty.mark();
                }
                if ends || kept + bytes == buffer.len() {
                    self.read_again(conn);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.read_again(conn),
            Err(_) => self.read_ended(conn),
        }
    }

    /// Has the socket's event come again if there is something to read.
    fn read_again(&self, conn: &Conn) {
        if let Err(error) = self.readiness.borrow().again(conn.fd()) {
            tracing::warn!(%error, "a connection cannot be watched and is closed");
            self.read_ended(conn);
        }
    }

    /// Nothing more will be read. A closing connection is reported once its output is written.
    fn read_ended(&self, conn: &Conn) {
        conn.set(ENDED);
        if !conn.has(CLOSING) {
            if conn.has(HEADER) {
                self.header_ended(conn);
            } else if conn.has(TLS) {
                self.count_truncated(conn);
            }
            self.report_closed(conn);
        }
        self.drop_ended(conn);
    }

    /// Forgets a socket that has nothing left to do; it is closed when a write in flight has ended.
    fn drop_ended(&self, conn: &Conn) {
        if conn.has(ENDED) && conn.has(REPORTED) {
            let fd = conn.fd().as_raw_fd() as usize;
            // Once all are closed there is no place any more.
            let gone = self.sockets.borrow_mut().get_mut(fd).and_then(Option::take);
            if let Some(held) = gone {
                debug_assert!(held.id == conn.id);
                self.lingering.set(self.lingering.get() - 1);
                if self.stopping.get() {
                    self.dirty.mark(); // perhaps the last
                }
            }
        }
    }

    pub(super) fn written(&self, conn: &Conn, bytes: usize) {
        if !conn.has(REPORTED) {
            let now = self.now();
            self.core.borrow_mut().written(now, conn.id, bytes);
            self.dirty.mark();
        }
    }

    pub(super) fn write_ended(&self, conn: &Rc<Conn>, result: io::Result<()>, data: Vec<u8>) {
        self.writes.set(self.writes.get() - 1);
        self.pool.borrow_mut().put(data);
        conn.clear(WRITING);
        match result {
            Ok(()) if conn.has(MORE | CLOSING) => self.list(conn),
            Ok(()) => (),
            Err(_) => self.write_failed(conn),
        }
        self.dirty.mark();
    }

    /// Reading sees the end; a closing connection has nothing left to wait for.
    fn write_failed(&self, conn: &Conn) {
        conn.shutdown(Shutdown::Both);
        if conn.has(CLOSING) {
            self.report_closed(conn);
        }
    }

    fn journal_written(&self, journal: u16, ticket: u64, result: io::Result<()>) {
        self.journal_writes.set(self.journal_writes.get() - 1);
        if result.is_err() {
            count(&self.tally.journal_errors, 1);
        }
        let now = self.now();
        self.core.borrow_mut().write_done(now, journal, ticket, result);
        self.dirty.mark();
    }

    fn report_closed(&self, conn: &Conn) {
        if conn.has(REPORTED) {
            return;
        }
        conn.set(REPORTED);
        self.lingering.set(self.lingering.get() + 1);
        if let Some(tls) = &self.tls {
            tls.borrow_mut().forget(conn.fd().as_raw_fd());
        }
        if let Some(headers) = self.headers.as_ref().filter(|_| conn.has(HEADER)) {
            headers.borrow_mut().forget(conn.fd().as_raw_fd());
        }
        self.conns.borrow_mut()[conn.id.index as usize] = NONE;
        self.metrics.sockets.dec();
        let now = self.now();
        self.core.borrow_mut().closed(now, conn.id);
        self.dirty.mark();
        self.drop_ended(conn);
    }

    /// Ready after the next turn: lets everybody else have theirs.
    pub(super) async fn next_turn(&self) {
        let mut listed = false;
        poll_fn(|context| {
            if std::mem::replace(&mut listed, true) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            self.dirty.mark();
            Poll::Pending
        })
        .await;
    }

    /// Puts it into the list of connections that are flushed at the end of the turn.
    fn list(&self, conn: &Rc<Conn>) {
        if !conn.has(LISTED) {
            conn.set(LISTED);
            self.flush.borrow_mut().push(conn.clone());
        }
    }

    /// What is left to do outside the core once it has stopped: closes every socket.
    pub(super) fn close_all(&self) {
        self.ended.set(true);
        for conn in self.sockets.take().iter().flatten() {
            conn.shutdown(Shutdown::Both);
        }
        self.tally.add_to(&self.metrics);
    }

    /// The shard is told to stop, and its core does not know yet.
    pub(super) fn stop_is_due(&self) -> bool {
        self.stopper.is_set() && !self.stopping.get()
    }

    /// The shard is told to stop: nobody new is let in.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopper.is_set() || self.is_ended()
    }

    /// The shard has stopped; its tasks end.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.get()
    }

    /// Lets tasks that wait for a turn go on: there is none any more.
    pub(super) fn release_waiting(&self) {
        self.waiting.borrow_mut().drain(..).for_each(TaskWaker::wake);
    }

    /// Writes to sockets in flight.
    pub(super) fn writes_in_flight(&self) -> usize {
        self.writes.get()
    }

    /// Counts a wake and takes the eventfd's count.
    fn woken(&self) {
        self.waker.clear();
        count(&self.tally.wakes, 1);
        self.dirty.mark();
    }

    pub(super) fn mono_ns(&self) -> u64 {
        self.clock.now().mono_ns
    }
}

/// Sets an item, with `empty` ones before it if need be; returns what was there.
fn put<T: Clone>(items: &mut Vec<T>, place: usize, item: T, empty: T) -> T {
    if items.len() <= place {
        items.resize(place + 1, empty);
    }
    std::mem::replace(&mut items[place], item)
}
