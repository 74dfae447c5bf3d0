//! PROXY headers in the skin: read before anything else of a connection, TLS included.
//!
//! What must stay true: a connection that has none to give, or has given it, keeps nothing here; the core hears who the client
//! is before its first bytes, and nothing of the header itself; what does not come in time is the core's to end, as any
//! connection that does not authenticate.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::rc::Rc;

use super::Skin;
use crate::core::{Core, Protocol};
use crate::hash::{Map, map};
use crate::net::proxy::{Proxies, ProxyFault, Reading};
use crate::shard::conn::{Conn, HEADER};
use crate::time::Now;

/// Connections that have not said who their client is.
pub(super) struct Headers {
    proxies: Proxies,
    /// By descriptor: numbers that no peer chooses.
    waiting: Map<RawFd, Waiting>,
}

struct Waiting {
    proxy: SocketAddr,
    /// What came of it.
    begun: Box<[u8]>,
}

impl Headers {
    pub(super) fn new(proxies: Proxies) -> Self {
        Self { proxies, waiting: map(0) }
    }

    /// A connection was accepted.
    pub(super) fn expect(&mut self, fd: RawFd, proxy: SocketAddr) {
        self.waiting.insert(fd, Waiting { proxy, begun: Box::default() });
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, fd: RawFd) {
        self.waiting.remove(&fd);
    }
}

impl<C: Core + 'static> Skin<C> {
    /// Whether a new connection says first who its client is. `Err`: it is refused.
    pub(super) fn expects_header(&self, now: Now, protocol: Protocol, peer: SocketAddr) -> Result<bool, ()> {
        let Some(headers) = self.headers.as_ref().filter(|_| protocol != Protocol::Link) else { return Ok(false) };
        let proxies = &headers.borrow().proxies;
        proxies.expects(peer.ip()).map_err(|fault| proxies.refuse(now, peer, fault))
    }

    /// Puts what came of a header before what will be read; so many bytes.
    pub(super) fn restore_header(&self, conn: &Conn, buffer: &mut [u8]) -> usize {
        let Some(headers) = &self.headers else { return 0 };
        let headers = headers.borrow();
        let begun = headers.waiting.get(&conn.fd().as_raw_fd()).map_or(&[][..], |waiting| &waiting.begun);
        buffer[..begun.len()].copy_from_slice(begun);
        begun.len()
    }

    /// Looks at what came; how much of it is not the client's.
    pub(super) fn receive_header(&self, conn: &Rc<Conn>, input: &[u8]) -> usize {
        let Some(headers) = &self.headers else { return 0 };
        let mut headers = headers.borrow_mut();
        let Headers { proxies, waiting } = &mut *headers;
        let fd = conn.fd().as_raw_fd();
        let reading = proxies.read(input);
        match reading {
            Ok(Reading::Incomplete) => {
                if let Some(waiting) = waiting.get_mut(&fd) {
                    waiting.begun = input.into();
                }
                input.len()
            }
            Ok(Reading::None | Reading::Header(_)) => {
                conn.clear(HEADER);
                waiting.remove(&fd);
                drop(headers);
                let Ok(Reading::Header(header)) = reading else { return 0 };
                if let Some(client) = header.client {
                    let now = self.now();
                    self.core.borrow_mut().proxied(now, conn.id, client);
                }
                header.taken
            }
            Err(fault) => {
                conn.clear(HEADER);
                if let Some(waiting) = waiting.remove(&fd) {
                    proxies.refuse(self.now(), waiting.proxy, fault);
                }
                drop(headers);
                self.read_ended(conn);
                input.len()
            }
        }
    }

    /// A connection has ended that had not said who its client is. One that said nothing at all looked whether somebody is
    /// there.
    pub(super) fn header_ended(&self, conn: &Conn) {
        let Some(headers) = &self.headers else { return };
        let headers = headers.borrow();
        let waiting = headers.waiting.get(&conn.fd().as_raw_fd());
        if let Some(waiting) = waiting.filter(|waiting| !waiting.begun.is_empty()) {
            headers.proxies.refuse(self.now(), waiting.proxy, ProxyFault::Cut);
        }
    }
}
