//! One connection of a skin: its socket, and the two small tasks that read and write it.
//!
//! What must stay true: an idle connection holds no buffer, one write is in flight at a time, and the core hears `closed`
//! exactly once.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

use monoio::io::AsyncWriteRent;
use monoio::net::TcpStream;

use super::metrics::count;
use super::skin::Skin;
use crate::core::{ConnId, Core};
use crate::net::tcp;

/// The core wants it not read.
pub(super) const PAUSED: u8 = 1;
/// A write is in flight.
pub(super) const WRITING: u8 = 2;
/// More output is known of; look again when the write ends.
pub(super) const MORE: u8 = 4;
/// The core wants it flushed and closed.
pub(super) const CLOSING: u8 = 8;
/// The core has been told that it is gone.
pub(super) const REPORTED: u8 = 16;
/// It is in the list of connections to flush this turn.
pub(super) const LISTED: u8 = 32;

pub(super) struct Conn {
    pub(super) id: ConnId,
    flags: Cell<u8>,
    /// The reading task while it waits for `Resume`.
    parked: RefCell<Option<Waker>>,
    stream: UnsafeCell<TcpStream>,
}

impl Conn {
    pub(super) fn new(id: ConnId, stream: TcpStream) -> Self {
        Self { id, flags: Cell::new(0), parked: RefCell::new(None), stream: UnsafeCell::new(stream) }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags.get() & flag != 0
    }

    pub(super) fn set(&self, flag: u8) {
        self.flags.set(self.flags.get() | flag);
    }

    pub(super) fn clear(&self, flag: u8) {
        self.flags.set(self.flags.get() & !flag);
    }

    fn stream(&self) -> &TcpStream {
        // SAFETY: see `write`: the only exclusive borrow is used for nothing but starting a send.
        unsafe { &*self.stream.get() }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream owns the descriptor and lives as long as `self`.
        unsafe { BorrowedFd::borrow_raw(self.stream().as_raw_fd()) }
    }

    /// Wakes the reading task if it waits for `Resume`.
    pub(super) fn unpark(&self) {
        if let Some(waker) = self.parked.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(super) fn shutdown(&self, how: Shutdown) {
        tcp::shutdown(self.fd(), how);
    }

    async fn resumed(&self) {
        poll_fn(|context| {
            if self.has(PAUSED) && !self.has(CLOSING) {
                *self.parked.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    /// One send. At most one is in flight a connection ([`WRITING`]).
    async fn write(&self, buffer: Outgoing) -> (io::Result<usize>, Outgoing) {
        // SAFETY: monoio declares its streams `Split`: one task may read while another writes, which is what its own
        // `into_split` does with the same cell. Everything is on this thread, and `WRITING` keeps writers to one.
        let stream = unsafe { &mut *self.stream.get() };
        stream.write(buffer).await
    }
}

/// What the ring is writing.
pub(super) struct Outgoing {
    pub(super) data: Vec<u8>,
    from: usize,
}

impl Outgoing {
    pub(super) fn new(data: Vec<u8>) -> Self {
        Self { data, from: 0 }
    }

    fn rest(&self) -> &[u8] {
        &self.data[self.from..]
    }
}

// SAFETY: the bytes are on the heap, where they stay while the value moves, and nothing changes them while the
// kernel reads; pointer and length describe the same initialised range.
unsafe impl monoio::buf::IoBuf for Outgoing {
    fn read_ptr(&self) -> *const u8 {
        self.rest().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.rest().len()
    }
}

/// Reads a connection until it ends. A connection that always has data gets one read a round, like everyone else.
pub(super) async fn read<C: Core + 'static>(skin: Rc<Skin<C>>, conn: Rc<Conn>) {
    loop {
        if conn.has(PAUSED) && !conn.has(CLOSING) {
            conn.resumed().await;
        }
        if conn.stream().readable(false).await.is_err() {
            break;
        }
        if conn.has(PAUSED) && !conn.has(CLOSING) {
            continue;
        }
        if !skin.receive(&conn) {
            break;
        }
        if !skin.rings {
            // Under epoll a socket with data is ready at once: wait for the turn, or it would starve the others.
            skin.next_turn().await;
        }
    }
    skin.read_ended(&conn);
}

/// Writes one batch of output, all of it, and tells the core as it goes.
pub(super) async fn write<C: Core + 'static>(skin: Rc<Skin<C>>, conn: Rc<Conn>, mut out: Outgoing) {
    let result = loop {
        let (result, back) = conn.write(out).await;
        out = back;
        match result {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => {
                out.from += bytes;
                count(&skin.tally.bytes_out, bytes as u64);
                skin.written(&conn, bytes);
                if out.rest().is_empty() {
                    break Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => break Err(error),
        }
    };
    skin.write_ended(&conn, result, out.data);
}
