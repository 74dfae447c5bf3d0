//! What stands between clients and this server, as configured; and the start of an HTTP connection behind it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use fabric::net::proxy::{HEADER_BYTES, HeaderMode, NotANetwork, Proxies, ProxyFault, Reading, Trusted};
use fabric::time::{Clock as _, SystemClock};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::config;

/// The values of `edge.proxy_protocol`.
pub const MODES: [(&str, HeaderMode); 3] =
    [("off", HeaderMode::Off), ("optional", HeaderMode::Optional), ("required", HeaderMode::Required)];

/// The load balancers of a configuration that was checked when it was loaded.
///
/// # Errors
/// The first address that is none.
pub fn proxies(edge: &config::Edge) -> Result<Proxies, NotANetwork> {
    let trusted = Trusted::new(edge.trusted_proxies.iter().map(String::as_str))?;
    let mode = MODES.iter().find(|(name, _)| *name == edge.proxy_protocol).map_or(HeaderMode::Off, |(_, mode)| *mode);
    Ok(Proxies::new(trusted, mode))
}

/// A connection whose first bytes were read already.
#[derive(Debug)]
pub struct Begun {
    stream: TcpStream,
    first: Vec<u8>,
    given: usize,
}

/// Reads the header that a connection of `peer` begins with, if it is expected to: what is behind it, and who the client is.
/// The caller bounds the time.
///
/// # Errors
/// The connection cannot go on; it has been counted.
pub async fn begin(mut stream: TcpStream, peer: SocketAddr, proxies: &Proxies) -> io::Result<(Begun, SocketAddr)> {
    let refuse = |fault: ProxyFault| {
        proxies.refuse(SystemClock.now(), peer, fault);
        io::Error::new(ErrorKind::InvalidData, fault)
    };
    let mut first = Vec::new();
    if !proxies.expects(peer.ip()).map_err(refuse)? {
        return Ok((Begun { stream, first, given: 0 }, peer));
    }
    loop {
        first.reserve(HEADER_BYTES);
        if stream.read_buf(&mut first).await? == 0 {
            // One that says nothing looked whether somebody is there.
            return Err(if first.is_empty() { ErrorKind::UnexpectedEof.into() } else { refuse(ProxyFault::Cut) });
        }
        match proxies.read(&first).map_err(refuse)? {
            Reading::Incomplete => {}
            Reading::None => return Ok((Begun { stream, first, given: 0 }, peer)),
            Reading::Header(header) => {
                return Ok((Begun { stream, first, given: header.taken }, header.client.unwrap_or(peer)));
            }
        }
    }
}

impl AsyncRead for Begun {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, first, given } = &mut *self;
        if *given < first.len() {
            let count = into.remaining().min(first.len() - *given);
            into.put_slice(&first[*given..*given + count]);
            *given += count;
            if *given == first.len() {
                (*first, *given) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(stream).poll_read(context, into)
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
