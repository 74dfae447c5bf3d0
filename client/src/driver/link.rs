//! Connections: a socket to the server, in TLS where that is asked for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use fabric::core::Protocol;
use fabric::net::tls::{Client, Trust, TrustError};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// A connection must stand within, and take what is written within.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer that does not take the last word within is not told.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn closed() -> io::Error {
    io::Error::from(io::ErrorKind::UnexpectedEof)
}

/// Makes connections to one server. Clones are the same.
#[derive(Clone)]
pub(super) struct Dialer {
    address: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    failed: Arc<watch::Sender<String>>,
}

impl Dialer {
    /// To `address`, `HOST:PORT`; in TLS with a server that `trust` vouches for under its host's name. `failed` hears why a
    /// connection did not come about. Blocks: it reads files.
    pub(super) fn new(
        address: String,
        trust: Option<&Trust>,
        failed: watch::Sender<String>,
    ) -> Result<Self, TrustError> {
        let host = address.rsplit_once(':').map_or(&*address, |(host, _)| host);
        let tls = trust.map(|trust| {
            let client = Client::new(trust, Protocol::Native, true)?;
            Ok::<_, TrustError>((TlsConnector::from(client.config()), Client::name(host)?))
        });
        Ok(Self { tls: tls.transpose()?, address, failed: Arc::new(failed) })
    }

    /// A connection that stands, handshake included.
    pub(super) async fn dial(self) -> io::Result<Halves> {
        tokio::time::timeout(CONNECT_TIMEOUT, async {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            Ok(match self.tls {
                Some((connector, name)) => {
                    let (read, write) = tokio::io::split(connector.connect(name, stream).await?);
                    Halves { read: Box::new(read), write: Box::new(write) }
                }
                None => {
                    let (read, write) = stream.into_split();
                    Halves { read: Box::new(read), write: Box::new(write) }
                }
            })
        })
        .await?
    }

    /// Notes why a connection did not come about.
    pub(super) fn failed(&self, error: &io::Error) {
        // Who waits for the first session may have it already.
        self.failed.send_replace(error.to_string());
    }
}

/// Both directions of a connection.
pub(super) struct Halves {
    pub(super) read: Box<dyn AsyncRead + Send + Unpin>,
    write: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Halves {
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write.write_all(bytes).await?;
        // A TLS stream may keep what the socket does not take at once.
        self.write.flush().await
    }

    /// Says that nothing more comes, as far as the peer still listens.
    pub(super) async fn close(mut self) {
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.write.shutdown()).await;
    }
}
