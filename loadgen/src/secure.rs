//! TLS of a run's connections: whom they trust, and under which name they know the server.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use fabric::core::Protocol;
use fabric::net::tls::{Client, ClientSession, TlsError, Trust};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::fail::Failure;

/// A throwaway server's certificate, in its folder.
pub const CERTIFICATE_FILE: &str = "certificate.pem";

/// How connections are secured. A session is never taken up again: every connect pays its handshake.
#[derive(Clone, Debug)]
pub struct Secure {
    client: Client,
    name: ServerName<'static>,
    /// As it was given, for other hosts.
    trust: Trust,
}

impl Secure {
    /// Connections to the server called `host` (with or without a port), which `trust`ed authorities vouch for.
    ///
    /// # Errors
    /// [`Failure::Trust`]: the authorities, or the name, are no use.
    pub fn new(trust: Trust, host: &str, protocol: Protocol) -> Result<Self, Failure> {
        let client = Client::new(&trust, protocol, false)?;
        let bare = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
        Ok(Self { client, name: Client::name(bare)?, trust })
    }

    /// Whom it trusts, as another host can be told; `None`: whomever that host trusts.
    ///
    /// # Errors
    /// [`Failure::Trust`]: the file cannot be read any more.
    pub fn authorities(&self) -> Result<Option<String>, Failure> {
        Ok(self.trust.pem()?)
    }

    /// The same server's HTTP listener.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn for_http(&self) -> Result<Self, Failure> {
        let client = Client::new(&self.trust, Protocol::WebSocket, false)?;
        Ok(Self { client, ..self.clone() })
    }

    /// Begins a connection: what to send first is appended to `out`.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn begin(&self, out: &mut Vec<u8>) -> Result<ClientSession, TlsError> {
        self.client.connect(self.name.clone(), out)
    }

    /// A blocking connection over `stream`.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn over(&self, stream: TcpStream) -> io::Result<impl Read + Write + use<>> {
        let session = ClientConnection::new(self.client.config(), self.name.clone()).map_err(io::Error::other)?;
        Ok(StreamOwned::new(session, stream))
    }
}

/// A blocking connection, secured or not.
pub trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// `stream`, secured if it is to be.
///
/// # Errors
/// As [`Secure::over`].
pub fn stream(secure: Option<&Secure>, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
    Ok(match secure {
        Some(secure) => Box::new(secure.over(stream)?),
        None => Box::new(stream),
    })
}

/// A certificate for a throwaway server on this host, which vouches for itself.
pub struct Certificate {
    /// Its file, which is also whom to trust.
    pub file: PathBuf,
    /// Its key's.
    pub key_file: PathBuf,
}

impl Certificate {
    /// Makes one in `folder`.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn make(folder: &Path) -> io::Result<Self> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let (file, key_file) = (folder.join(CERTIFICATE_FILE), folder.join("certificate.key"));
        std::fs::write(&file, made.cert.pem())?;
        std::fs::write(&key_file, made.signing_key.serialize_pem())?;
        Ok(Self { file, key_file })
    }
}
