//! The server on each runtime, and what the skins share: the state and the start.

pub mod compio;
pub mod glommio;
pub mod monoio;
pub mod tokio;

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

use fabric::time::{Clock as _, SystemClock};

use crate::floor::conn::Conn;
use crate::floor::forward::Forwarder;

/// Bytes read at once, as the raw limit's buffers.
pub const READ_BYTES: usize = 16 << 10;

/// The connections of a server and what its frames cause. `W` is a connection's writing half.
pub struct State<W> {
    forwarder: Forwarder,
    conns: Vec<Conn>,
    writers: Vec<Option<Rc<W>>>,
    dirty: Vec<u32>,
    /// Empty between calls; keeps its memory.
    flushed: Vec<(u32, Rc<W>)>,
}

/// One thread's state.
pub type Shared<W> = Rc<RefCell<State<W>>>;

/// Nobody connected.
pub fn shared<W>() -> Shared<W> {
    let (conns, writers) = (Vec::new(), Vec::new());
    Rc::new(RefCell::new(State { forwarder: Forwarder::new(), conns, writers, dirty: Vec::new(), flushed: Vec::new() }))
}

/// A connection has come; its number, which is never used again: a bench holds its connections to the end.
pub fn opened<W>(state: &Shared<W>, writer: Rc<W>) -> u32 {
    let mut state = state.borrow_mut();
    let mut conn = Conn::default();
    conn.reset();
    state.conns.push(conn);
    state.writers.push(Some(writer));
    state.conns.len() as u32 - 1
}

/// Bytes have come. `flush` is called for each connection that has output and no writer at work; it must see to it that
/// [`output`] is asked until it has none, at once if it likes. `false`: close it.
pub fn received<W>(state: &Shared<W>, index: u32, bytes: &[u8], mut flush: impl FnMut(u32, Rc<W>)) -> bool {
    let mut guard = state.borrow_mut();
    let State { forwarder, conns, writers, dirty, flushed } = &mut *guard;
    forwarder.now_ms = SystemClock.now().wall_ms();
    let keep = forwarder.received(conns, index, bytes, dirty);
    let mut to_flush = std::mem::take(flushed);
    for index in dirty.drain(..) {
        let conn = &mut conns[index as usize];
        conn.dirty = false;
        if let Some(writer) = writers[index as usize].as_ref().filter(|_| !conn.in_flight) {
            conn.in_flight = true;
            to_flush.push((index, Rc::clone(writer)));
        }
    }
    drop(guard);
    for (index, writer) in to_flush.drain(..) {
        flush(index, writer);
    }
    state.borrow_mut().flushed = to_flush;
    keep
}

/// What is to be written now; `used` is the last buffer, given back. `None`: nothing, the writer leaves.
pub fn output<W>(state: &Shared<W>, index: u32, mut used: Vec<u8>) -> Option<Vec<u8>> {
    let mut state = state.borrow_mut();
    let conn = &mut state.conns[index as usize];
    used.clear();
    if conn.out.is_empty() || conn.closing {
        conn.in_flight = false;
        conn.sending = used;
        return None;
    }
    if used.capacity() == 0 {
        used = std::mem::take(&mut conn.sending);
    }
    std::mem::swap(&mut conn.out, &mut used);
    Some(used)
}

/// It has ended.
pub fn closed<W>(state: &Shared<W>, index: u32) {
    let mut state = state.borrow_mut();
    let conn = &mut state.conns[index as usize];
    (conn.open, conn.closing) = (false, true);
    let user = std::mem::take(&mut conn.user);
    state.forwarder.closed(user, index);
    state.writers[index as usize] = None;
}

/// Reads the command line as `shardwire serve` has it, listens, says `ready` as it does, and serves. Any signal ends it.
pub fn main(serve: fn(TcpListener) -> io::Result<()>) {
    let mut native = String::from("127.0.0.1:7400");
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--native" {
            native = args.next().unwrap_or(native);
        }
    }
    let begin = || -> io::Result<()> {
        let address: SocketAddr = native.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let listener = TcpListener::bind(address)?;
        // Connections inherit it.
        nodelay(&listener)?;
        let mut stdout = io::stdout();
        writeln!(stdout, "ready native={}", listener.local_addr()?)?;
        stdout.flush()?;
        serve(listener)
    };
    if let Err(error) = begin() {
        eprintln!("{}: {error}", std::env::args().next().unwrap_or_default());
        std::process::exit(2);
    }
}

fn nodelay(listener: &TcpListener) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let on: libc::c_int = 1;
    // SAFETY: the pointer and length describe `on`.
    let set = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
