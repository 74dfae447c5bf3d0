//! One connection of a skin: its socket, and the small task that writes it.
//!
//! What must stay true: an idle connection holds no buffer and no task, one write is in flight at a time, and the core hears
//! `closed` exactly once.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use monoio::io::AsyncWriteRent;

use super::metrics::count;
use super::skin::Skin;
use crate::core::{ConnId, Core};
use crate::net::tcp;

/// The core wants it not read.
pub(super) const PAUSED: u16 = 1;
/// A write is in flight.
pub(super) const WRITING: u16 = 2;
/// More output is known of; look again when the write ends.
pub(super) const MORE: u16 = 4;
/// The core wants it flushed and closed.
pub(super) const CLOSING: u16 = 8;
/// The core has been told that it is gone.
pub(super) const REPORTED: u16 = 16;
/// It is in the list of connections to flush this turn.
pub(super) const LISTED: u16 = 32;

/// Nothing more will be read from it.
pub(super) const ENDED: u16 = 64;
/// It speaks TLS; the skin has its session.
pub(super) const TLS: u16 = 128;
/// What comes first is a PROXY header, or may be one.
pub(super) const HEADER: u16 = 256;

pub(super) struct Conn {
    pub(super) id: ConnId,
    flags: Cell<u16>,
    socket: OwnedFd,
}

impl Conn {
    pub(super) const fn new(id: ConnId, socket: OwnedFd) -> Self {
        Self { id, flags: Cell::new(0), socket }
    }

    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags.get() & flag != 0
    }

    pub(super) fn set(&self, flag: u16) {
        self.flags.set(self.flags.get() | flag);
    }

    pub(super) fn clear(&self, flag: u16) {
        self.flags.set(self.flags.get() & !flag);
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn shutdown(&self, how: Shutdown) {
        tcp::shutdown(self.fd(), how);
    }

    /// One send. At most one is in flight a connection ([`WRITING`]).
    async fn write(&self, rings: bool, buffer: Outgoing) -> (io::Result<usize>, Outgoing) {
        if rings {
            let mut lent = match tcp::Lent::new(self.fd()) {
                Ok(lent) => lent,
                Err(error) => return (Err(error), buffer),
            };
            let written = lent.stream().write(buffer).await;
            lent.give_back();
            return written;
        }
        loop {
            match tcp::send_now(self.fd(), buffer.rest()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                written => return (written, buffer),
            }
            if let Err(error) = tcp::writable(self.fd()).await {
                return (Err(error), buffer);
            }
        }
    }
}

/// What the ring is writing.
pub(super) struct Outgoing {
    pub(super) data: Vec<u8>,
    from: usize,
    /// Bytes of the core's that these are, sealed or as they were.
    plain: usize,
}

impl Outgoing {
    pub(super) const fn new(data: Vec<u8>, plain: usize) -> Self {
        Self { data, from: 0, plain }
    }

    /// So many more bytes were written; how many of the core's these were.
    fn advance(&mut self, bytes: usize) -> usize {
        let plain = share(self.plain, bytes, self.data.len() - self.from);
        self.from += bytes;
        self.plain -= plain;
        plain
    }

    fn rest(&self) -> &[u8] {
        &self.data[self.from..]
    }
}

/// How many of `plain` bytes are done when `sent` of the `all` bytes they became are: all of them at the end.
pub(super) const fn share(plain: usize, sent: usize, all: usize) -> usize {
    if plain == all { sent } else { plain * sent / all }
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

/// Writes one batch of output, all of it, and tells the core as it goes.
pub(super) async fn write<C: Core + 'static>(skin: Rc<Skin<C>>, conn: Rc<Conn>, mut out: Outgoing) {
    let result = loop {
        let (result, back) = conn.write(skin.rings, out).await;
        out = back;
        match result {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => {
                count(&skin.tally.bytes_out, bytes as u64);
                skin.written(&conn, out.advance(bytes));
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
