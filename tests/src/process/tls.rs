//! TLS for tests: an authority of the test's own, and a client that trusts nobody else.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fabric::core::Protocol;
use fabric::net::tls::{Client, Trust};
use rustls::{ClientConnection, StreamOwned};
use tempfile::TempDir;

use super::native::Wire;

/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// An authority, and the folder where what it issues is.
pub struct Authority {
    folder: TempDir,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    /// A new one: its certificate is in [`Self::file`].
    ///
    /// # Panics
    /// When there is no place for temporary files.
    pub fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().expect("randomness");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        // What OpenSSL's strict checks ask of an authority.
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certificate = params.self_signed(&key).expect("its own certificate");
        std::fs::write(folder.path().join("authority.pem"), certificate.pem()).expect("a file");
        Self { folder, issuer: rcgen::Issuer::new(params, key) }
    }

    /// Its certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// A new certificate for `localhost` and 127.0.0.1, `change`d: the files of it and of its key.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn issue(&self, name: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) -> [PathBuf; 2] {
        let key = rcgen::KeyPair::generate().expect("randomness");
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let files = ["pem", "key"].map(|kind| self.folder.path().join(format!("{name}.{kind}")));
        std::fs::write(&files[0], certificate.pem()).expect("a file");
        std::fs::write(&files[1], key.serialize_pem()).expect("a file");
        files
    }
}

/// One connection through TLS.
pub struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    /// Connects, and ends the handshake, with a server at `localhost`.
    ///
    /// # Errors
    /// When the server is not there or not trusted.
    pub fn connect(address: SocketAddr, authority: &Path, protocol: Protocol) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?, authority, protocol)
    }

    /// As [`Self::connect`], over a connection that stands.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn over(mut socket: TcpStream, authority: &Path, protocol: Protocol) -> io::Result<Self> {
        let client = Client::new(&Trust::File(authority.to_owned()), protocol, false).map_err(io::Error::other)?;
        let name = Client::name("localhost").map_err(io::Error::other)?;
        let mut session = ClientConnection::new(client.config(), name).map_err(io::Error::other)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self(StreamOwned::new(session, socket)))
    }

    /// The certificate the server showed, DER.
    pub fn certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().and_then(<[_]>::first).map(|shown| shown.to_vec()).unwrap_or_default()
    }

    /// Says that nothing more comes, and closes this direction.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn close_notify(&mut self) -> io::Result<()> {
        self.0.conn.send_close_notify();
        while self.0.conn.wants_write() {
            self.0.conn.write_tls(&mut self.0.sock)?;
        }
        self.0.sock.shutdown(Shutdown::Write)
    }
}

impl io::Read for Tls {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl io::Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Wire for Tls {
    fn socket(&self) -> &TcpStream {
        &self.0.sock
    }
}
