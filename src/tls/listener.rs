//! A listener for axum whose connections speak TLS. Handshakes run beside one another, bounded in time and number.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use fabric::net::proxy::Proxies;
use fabric::net::tls::Server;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::edge::{self, Begun};

/// A handshake that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way, and connections that wait to be served, at once; further connections wait in the kernel.
const HANDSHAKES: usize = 256;

/// Connections whose handshake is over. Dropping it closes the listener.
pub struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<Begun>, SocketAddr)>,
    accepting: JoinHandle<()>,
}

impl TlsListener {
    /// Accepts on `listener`, behind `proxies`, on the running tokio runtime.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn new(listener: TcpListener, server: &Server, proxies: &Proxies) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (done, ready) = mpsc::channel(1);
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(server.http_config()), proxies.clone(), done));
        Ok(Self { address, ready, accepting })
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<Begun>;
    type Addr = SocketAddr;

    fn accept(&mut self) -> impl Future<Output = (Self::Io, Self::Addr)> + Send {
        let next = self.ready.recv();
        async {
            match next.await {
                Some(connection) => connection,
                // The task that accepts is gone, so the runtime is going.
                None => pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    proxies: Proxies,
    done: mpsc::Sender<(TlsStream<Begun>, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        // axum's own: an accept that fails for want of descriptors is tried again.
        let (stream, peer) = Listener::accept(&mut listener).await;
        let (acceptor, proxies, done) = (acceptor.clone(), proxies.clone(), done.clone());
        tokio::spawn(async move {
            // Held until it is taken: who is served late is accepted late.
            let _place = place;
            let handshake = async {
                let (stream, client) = edge::begin(stream, peer, &proxies).await?;
                Ok::<_, io::Error>((acceptor.accept(stream).await?, client))
            };
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                Ok(Ok(begun)) => drop(done.send(begun).await),
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake for HTTP failed"),
                Err(_) => tracing::debug!("a TLS handshake for HTTP took too long"),
            }
        });
    }
}
