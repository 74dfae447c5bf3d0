//! Accepts HTTP connections and serves each with bounds: of connections, of a request's head, of its time.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use fabric::net::proxy::Proxies;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use schema::errors::ErrorCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

use super::problem::Problem;
use crate::edge;
use crate::tls::{Certificates, TlsListener};

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 1_024;
/// A request's head must be there within so long; an idle connection is closed after it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A request must be read and answered within so long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest request head, bytes.
const HEAD_BYTES: usize = 16 * 1024;

/// What proxies say whom they speak for.
const FORWARDED: &str = "x-forwarded-for";

/// Who asks: the other end of a request's connection, or whom trusted proxies speak for.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Accepts and serves until dropped, in TLS with `certificates`, behind `proxies`; connections in progress go on.
///
/// # Errors
/// When the listener has no address.
pub async fn serve(
    listener: TcpListener,
    certificates: Option<&Certificates>,
    proxies: &Proxies,
    router: Router,
) -> std::io::Result<()> {
    let serving = Serving { proxies: proxies.clone(), router };
    match certificates {
        Some(certificates) => {
            let listener = TlsListener::new(listener, certificates.server(), proxies)?;
            accept(listener, |(stream, peer), place| serving.clone().connection(stream, peer, place)).await
        }
        None => accept(listener, |(stream, peer), place| serving.clone().plain(stream, peer, place)).await,
    }
}

async fn accept<L, F>(
    mut listener: L,
    serve: impl Fn((L::Io, L::Addr), OwnedSemaphorePermit) -> F,
) -> std::io::Result<()>
where
    L: Listener,
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        // axum's own: an accept that fails for want of descriptors is tried again.
        tokio::spawn(serve(listener.accept().await, place));
    }
}

/// What a connection is served with.
#[derive(Clone)]
struct Serving {
    proxies: Proxies,
    router: Router,
}

impl Serving {
    async fn plain(self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        match tokio::time::timeout(HEAD_TIMEOUT, edge::begin(stream, peer, &self.proxies)).await {
            Ok(Ok((stream, client))) => self.connection(stream, client, place).await,
            Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection did not begin"),
            Err(_) => tracing::debug!("an HTTP connection took too long to say who its client is"),
        }
    }

    async fn connection<S>(self, stream: S, peer: SocketAddr, _place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request: Request<Incoming>| self.clone().answer(request.map(Body::new), peer));
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = served.await {
            tracing::debug!(%error, "an HTTP connection ended");
        }
    }

    async fn answer(self, mut request: Request<Body>, peer: SocketAddr) -> Result<Response, Infallible> {
        let forwarded = request.headers().get_all(FORWARDED).iter().map(HeaderValue::as_bytes);
        let client = self.proxies.trusted().client(peer.ip(), forwarded);
        request.extensions_mut().insert(Peer(client));
        match tokio::time::timeout(REQUEST_TIMEOUT, self.router.oneshot(request)).await {
            Ok(answered) => answered,
            Err(_) => {
                let problem = Problem::of(ErrorCode::IdleTimeout, "the request took longer than 30 s");
                Ok(problem.with_status(StatusCode::REQUEST_TIMEOUT).into_response())
            }
        }
    }
}
