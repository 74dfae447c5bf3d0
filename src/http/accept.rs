//! Accepts HTTP connections and serves each with bounds: of connections, of a request's head, of its time.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use schema::errors::ErrorCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

use super::problem::Problem;
use crate::tls::{Certificates, TlsListener};

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 1_024;
/// A request's head must be there within so long; an idle connection is closed after it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A request must be read and answered within so long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest request head, bytes.
const HEAD_BYTES: usize = 16 * 1024;

/// Who is on the other end of a request's connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Accepts and serves until dropped, in TLS with `certificates`; connections in progress go on.
///
/// # Errors
/// When the listener has no address.
pub async fn serve(listener: TcpListener, certificates: Option<&Certificates>, router: Router) -> std::io::Result<()> {
    match certificates {
        Some(certificates) => accept(TlsListener::new(listener, certificates.server())?, router).await,
        None => accept(listener, router).await,
    }
}

async fn accept<L: Listener<Addr = SocketAddr>>(mut listener: L, router: Router) -> std::io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        // axum's own: an accept that fails for want of descriptors is tried again.
        let (stream, peer) = listener.accept().await;
        tokio::spawn(connection(stream, peer, router.clone(), place));
    }
}

async fn connection<S>(stream: S, peer: SocketAddr, router: Router, _place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| answer(request.map(Body::new), peer, router.clone()));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}

async fn answer(mut request: Request<Body>, peer: SocketAddr, router: Router) -> Result<Response, Infallible> {
    request.extensions_mut().insert(Peer(peer.ip()));
    match tokio::time::timeout(REQUEST_TIMEOUT, router.oneshot(request)).await {
        Ok(answered) => answered,
        Err(_) => {
            let problem = Problem::of(ErrorCode::IdleTimeout, "the request took longer than 30 s");
            Ok(problem.with_status(StatusCode::REQUEST_TIMEOUT).into_response())
        }
    }
}
