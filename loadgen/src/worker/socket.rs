//! One non-blocking connection: connect, receive, send what waits.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use fabric::net::tls::{ClientSession, TlsError};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use crate::secure::Secure;

/// A connection with nothing to write keeps a buffer of at most this.
const KEPT_BYTES: usize = 128;

/// A connection and what waits to be written to it.
pub struct Socket {
    fd: OwnedFd,
    out: Vec<u8>,
    out_at: usize,
    /// The kernel is asked to say when it can be written.
    wants_write: bool,
    /// It is asked to say when there is something to read.
    reads: bool,
    key: u64,
    tls: Option<Box<Tls>>,
}

/// What TLS adds to a connection.
struct Tls {
    session: ClientSession,
    /// Ready to be sent.
    sealed: Vec<u8>,
    sealed_at: usize,
    /// Why it cannot go on.
    failure: Option<TlsError>,
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The end, or an error that ends it.
    End,
}

impl Socket {
    /// Begins a connection; it stands when it can be written.
    ///
    /// # Errors
    /// No descriptor, no address, refused at once.
    pub fn connect(
        target: SocketAddr,
        source: Option<IpAddr>,
        secure: Option<&Secure>,
        epoll: &OwnedFd,
        key: u64,
    ) -> io::Result<Self> {
        let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&fd, true)?;
        if let Some(source) = source {
            fabric::net::tcp::bind_source(fd.as_fd(), SocketAddr::new(source, 0))?;
        }
        match net::connect(&fd, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let events = epoll::EventFlags::IN | epoll::EventFlags::OUT;
        epoll::add(epoll, &fd, epoll::EventData::new_u64(key), events)?;
        let tls = secure.map(Tls::begin).transpose().map_err(io::Error::other)?.map(Box::new);
        Ok(Self { fd, out: Vec::new(), out_at: 0, wants_write: true, reads: true, key, tls })
    }

    /// After it could be written for the first time: whether the connection stands.
    ///
    /// # Errors
    /// Why it does not.
    pub fn connected(&self) -> io::Result<()> {
        match sockopt::socket_error(&self.fd)? {
            Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Bounds what the kernel keeps for it unread, bytes (about: it counts its own records too).
    pub fn limit_receive_buffer(&self, bytes: usize) {
        // A host that refuses keeps more: the server is then less burdened, which its figures show.
        let _ = sockopt::set_socket_recv_buffer_size(&self.fd, bytes);
    }

    /// Its end will be a reset: no port is kept, and what the server has not read is lost.
    pub fn reset_at_end(&self) {
        // Without it the port stays taken for a while, which shows as an error when there are none left.
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }

    /// Receives once: what came is at the begin of `into`. In TLS an answer may wait to be written then.
    pub fn receive(&mut self, into: &mut [u8]) -> Read {
        if let Some(tls) = &mut self.tls {
            return tls.receive(&self.fd, into);
        }
        receive(&self.fd, into)
    }

    /// Why TLS cannot go on, once.
    pub fn failure(&mut self) -> Option<TlsError> {
        self.tls.as_mut().and_then(|tls| tls.failure.take())
    }

    /// Bytes to write with the next flush.
    pub fn write(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Where bytes to write with the next flush are appended.
    pub const fn writer(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.out.len() - self.out_at + self.tls.as_ref().map_or(0, |tls| tls.sealed.len() - tls.sealed_at)
    }

    /// Writes what waits; the kernel is asked to say when the rest can go.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn flush(&mut self, epoll: &OwnedFd) -> io::Result<()> {
        let (bytes, at) = match &mut self.tls {
            None => (&mut self.out, &mut self.out_at),
            Some(tls) => {
                tls.seal(&mut self.out)?;
                (&mut tls.sealed, &mut tls.sealed_at)
            }
        };
        while *at < bytes.len() {
            match net::send(&self.fd, &bytes[*at..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => *at += sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let left = bytes.len() - *at;
        if left == 0 {
            *at = 0;
            // A silent connection owns next to no buffer.
            if bytes.capacity() > KEPT_BYTES { *bytes = Vec::new() } else { bytes.clear() }
        }
        self.want_write(epoll, left > 0)
    }

    /// Says that nothing more comes, where the protocol below has a word for that; what waits goes before it.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn close(&mut self, epoll: &OwnedFd) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.seal(&mut self.out)?;
            tls.session.close(&mut tls.sealed);
        }
        self.flush(epoll)
    }

    fn want_write(&mut self, epoll: &OwnedFd, wants: bool) -> io::Result<()> {
        if wants == self.wants_write {
            return Ok(());
        }
        self.wants_write = wants;
        self.ask(epoll)
    }

    /// Whether the kernel is to say when there is something to read: what is not read stays with it, and then with the
    /// server.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn read(&mut self, epoll: &OwnedFd, reads: bool) -> io::Result<()> {
        self.reads = reads;
        self.ask(epoll)
    }

    fn ask(&self, epoll: &OwnedFd) -> io::Result<()> {
        let mut events = epoll::EventFlags::empty();
        events.set(epoll::EventFlags::IN, self.reads);
        events.set(epoll::EventFlags::OUT, self.wants_write);
        Ok(epoll::modify(epoll, &self.fd, epoll::EventData::new_u64(self.key), events)?)
    }
}

impl Tls {
    fn begin(secure: &Secure) -> Result<Self, TlsError> {
        let mut sealed = Vec::new();
        Ok(Self { session: secure.begin(&mut sealed)?, sealed, sealed_at: 0, failure: None })
    }

    fn receive(&mut self, fd: &OwnedFd, into: &mut [u8]) -> Read {
        let kept = self.session.restore(into);
        let came = match receive(fd, &mut into[kept..]) {
            Read::Bytes(bytes) => kept + bytes,
            other => return other,
        };
        let mut plain = Vec::new();
        match self.session.receive(&mut into[..came], &mut self.sealed, &mut |part| plain.extend_from_slice(part)) {
            Ok(told) if told.ended && plain.is_empty() => Read::End,
            // Records are longer than what they hold.
            Ok(_) if plain.is_empty() => Read::Nothing,
            Ok(_) => {
                into[..plain.len()].copy_from_slice(&plain);
                Read::Bytes(plain.len())
            }
            Err(error) => {
                self.failure = Some(error);
                Read::End
            }
        }
    }

    /// Seals what waits, once that can be done.
    fn seal(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if !out.is_empty() && self.session.is_open() {
            self.session.seal(out, &mut self.sealed).map_err(io::Error::other)?;
            *out = Vec::new();
        }
        Ok(())
    }
}

fn receive(fd: &OwnedFd, into: &mut [u8]) -> Read {
    match net::recv(fd, into, RecvFlags::DONTWAIT) {
        Ok((_, 0)) => Read::End,
        Ok((_, bytes)) => Read::Bytes(bytes),
        Err(Errno::AGAIN | Errno::INTR) => Read::Nothing,
        Err(_) => Read::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_arrives_and_the_end_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut socket = Socket::connect(listener.local_addr().unwrap(), None, None, &epoll, 1).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        socket.connected().unwrap();
        socket.write(b"hello");
        socket.flush(&epoll).unwrap();
        let mut got = [0; 5];
        io::Read::read_exact(&mut peer, &mut got).unwrap();
        assert_eq!((&got, socket.waiting()), (b"hello", 0));
        drop(peer);
        let mut into = [0; 8];
        while socket.receive(&mut into) == Read::Nothing {
            std::thread::yield_now();
        }
        assert_eq!(socket.receive(&mut into), Read::End);
    }
}
