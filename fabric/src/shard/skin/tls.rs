//! TLS in the skin: bytes are opened before the core has them and sealed after it has given them.
//!
//! What must stay true: sealed bytes leave in the order in which they were sealed, so nothing is sealed while a write is in
//! flight; a connection that has no record half read and nothing to send owns no buffer; the core never knows of any of it.

use std::net::Shutdown;
use std::os::fd::{AsRawFd as _, RawFd};
use std::rc::Rc;

use super::{LINGER, Skin};
use crate::core::{Core, Protocol};
use crate::net::tcp;
use crate::net::tls::{Server, ServerSession, TlsError};
use crate::shard::conn::{CLOSING, Conn, PAUSED, WRITING};
use crate::shard::metrics::count;
use crate::time::Now;

/// What a shard's connections that speak TLS need.
pub(super) struct Tls {
    server: Server,
    /// By descriptor.
    sessions: Vec<Place>,
    /// Where output is sealed.
    sealed: Vec<u8>,
}

/// What a descriptor stands for.
#[derive(Default)]
enum Place {
    /// No connection, or one that has been reported closed.
    #[default]
    None,
    /// A connection that has not said a word.
    Silent(Protocol),
    Live(Box<Live>),
}

struct Live {
    session: ServerSession,
    /// Records of the handshake, or of its end, that the next flush sends; a ticket waits for one that has output.
    waiting: Vec<u8>,
}

impl Tls {
    pub(super) const fn new(server: Server) -> Self {
        Self { server, sessions: Vec::new(), sealed: Vec::new() }
    }

    /// A connection was accepted.
    pub(super) fn expect(&mut self, fd: RawFd, protocol: Protocol) {
        let place = fd as usize;
        if self.sessions.len() <= place {
            self.sessions.resize_with(place + 1, Place::default);
        }
        self.sessions[place] = Place::Silent(protocol);
    }

    /// A connection's session; made when its first bytes come, so that one that says nothing costs nothing.
    fn begin(&mut self, fd: RawFd) -> Result<Option<&mut Live>, TlsError> {
        let Some(place) = self.sessions.get_mut(fd as usize) else { return Ok(None) };
        if let Place::Silent(protocol) = *place {
            let session = self.server.accept(protocol)?;
            *place = Place::Live(Box::new(Live { session, waiting: Vec::new() }));
        }
        Ok(match place {
            Place::Live(live) => Some(live),
            Place::Silent(_) | Place::None => None,
        })
    }

    fn live(&mut self, fd: RawFd) -> Option<&mut Live> {
        match self.sessions.get_mut(fd as usize) {
            Some(Place::Live(live)) => Some(live),
            _ => None,
        }
    }

    pub(super) fn forget(&mut self, fd: RawFd) {
        if let Some(place) = self.sessions.get_mut(fd as usize) {
            *place = Place::None;
        }
    }
}

impl<C: Core + 'static> Skin<C> {
    /// Puts what is kept of an unfinished record before what will be read; so many bytes.
    pub(super) fn restore_tls(&self, conn: &Conn, buffer: &mut [u8]) -> usize {
        let Some(tls) = &self.tls else { return 0 };
        tls.borrow_mut().live(conn.fd().as_raw_fd()).map_or(0, |live| live.session.restore(buffer))
    }

    /// Gives the core the plaintext of what came.
    pub(super) fn receive_tls(&self, conn: &Rc<Conn>, input: &mut [u8]) {
        let Some(tls) = &self.tls else { return };
        let mut tls = tls.borrow_mut();
        let now = self.now();
        self.dirty.mark();
        let live = match tls.begin(conn.fd().as_raw_fd()) {
            Ok(Some(live)) => live,
            Ok(None) => return,
            Err(error) => {
                drop(tls);
                return self.fail_tls(conn, now, &error, &[]);
            }
        };
        let was_open = live.session.is_open();
        let mut heard = |plain: &[u8]| self.core.borrow_mut().received(now, conn.id, plain);
        let result = live.session.receive(input, &mut live.waiting, &mut heard);
        let heard = match result {
            Ok(heard) => heard,
            Err(error) => {
                let alert = std::mem::take(&mut live.waiting);
                drop(tls);
                count(if was_open { &self.tally.tls_errors } else { self.failure(&error) }, 1);
                return self.fail_tls(conn, now, &error, &alert);
            }
        };
        if heard.opened {
            count(&self.tally.tls_handshakes, 1);
            if live.session.is_resumed() {
                count(&self.tally.tls_resumed, 1);
            }
        }
        if heard.ended {
            live.session.close(&mut live.waiting);
            let last = std::mem::take(&mut live.waiting);
            drop(tls);
            if !conn.has(WRITING) {
                // Nobody waits for it: what does not fit is not said.
                let _ = tcp::send_now(conn.fd(), &last);
            }
            return self.read_ended(conn);
        }
        // A ticket leaves with the first output: a send of its own would cost as much as that.
        let may_wait = heard.opened && live.session.may_wait();
        if !may_wait && !live.waiting.is_empty() {
            self.list(conn);
        }
    }

    const fn failure(&self, error: &TlsError) -> &std::cell::Cell<u64> {
        match error {
            TlsError::NotTls => &self.tally.tls_plain,
            _ => &self.tally.tls_failures,
        }
    }

    /// Ends a connection that cannot go on: says why if that can still be said, and lets the peer read it.
    fn fail_tls(&self, conn: &Rc<Conn>, now: Now, error: &TlsError, alert: &[u8]) {
        tracing::debug!(%error, "a connection is closed");
        if !alert.is_empty() && !conn.has(WRITING) {
            let _ = tcp::send_now(conn.fd(), alert);
        }
        conn.set(CLOSING);
        conn.shutdown(Shutdown::Write);
        self.closing.borrow_mut().insert(now.plus(LINGER), Rc::downgrade(conn));
        self.report_closed(conn);
        if conn.has(PAUSED) {
            self.read_again(conn);
        }
    }

    /// A connection has ended that we did not close.
    pub(super) fn count_truncated(&self, conn: &Conn) {
        let Some(tls) = &self.tls else { return };
        match tls.borrow_mut().live(conn.fd().as_raw_fd()) {
            Some(live) if !live.session.is_open() && !live.session.has_ended() => count(&self.tally.tls_failures, 1),
            Some(live) if !live.session.has_ended() => count(&self.tally.tls_truncated, 1),
            _ => (),
        }
    }

    /// Sends what waits, sealed, and at the end says that it is the end.
    pub(super) fn flush_tls(self: &Rc<Self>, conn: &Rc<Conn>, now: Now) {
        let Some(tls) = &self.tls else { return };
        let mut tls = tls.borrow_mut();
        let mut sealed = std::mem::take(&mut tls.sealed);
        sealed.clear();
        let mut plain = 0;
        let mut result = Ok(());
        if let Some(live) = tls.live(conn.fd().as_raw_fd()) {
            sealed.extend_from_slice(&std::mem::take(&mut live.waiting));
            if live.session.is_open() {
                let mut output = self.output.borrow_mut();
                self.take_output(conn, &mut output);
                plain = output.len();
                if plain > 0 {
                    result = live.session.seal(&output, &mut sealed);
                } else if conn.has(CLOSING) {
                    live.session.close(&mut sealed);
                }
            }
        }
        drop(tls);
        match result {
            Err(error) => {
                count(&self.tally.tls_errors, 1);
                self.fail_tls(conn, now, &error, &[]);
            }
            Ok(()) if !sealed.is_empty() => self.send(conn, now, &sealed, plain),
            // Before the handshake's end nothing can be said: whatever the core has to say is dropped with it.
            Ok(()) if conn.has(CLOSING) => {
                conn.shutdown(Shutdown::Write);
                self.report_closed(conn);
            }
            Ok(()) => (),
        }
        if let Some(tls) = &self.tls {
            tls.borrow_mut().sealed = sealed;
        }
    }
}
