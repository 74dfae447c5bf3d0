//! HTTP for operators: `/healthz`, `/readyz`, `/metrics`. Its own thread, apart from client sockets.

use std::fmt::Debug;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use tokio::net::TcpListener;

use crate::state::ServerState;
use crate::tls::TlsListener;

/// The content type of Prometheus text as `prometheus-client` writes it.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the task is dropped. With `metrics`, `/metrics` is there and not on `http`.
///
/// # Errors
/// When a listener fails.
pub async fn serve(http: TcpListener, metrics: Option<TcpListener>, state: ServerState) -> std::io::Result<()> {
    let Some(certificates) = state.certificates() else { return serve_on(http, metrics, state).await };
    let server = certificates.server();
    let metrics = metrics.map(|listener| TlsListener::new(listener, server)).transpose()?;
    serve_on(TlsListener::new(http, server)?, metrics, state.clone()).await
}

async fn serve_on<L>(http: L, metrics: Option<L>, state: ServerState) -> std::io::Result<()>
where
    L: Listener<Addr: Debug>,
{
    let health = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz));
    let measured = Router::new().route("/metrics", get(metrics_text));
    match metrics {
        None => axum::serve(http, health.merge(measured).with_state(state)).await,
        Some(metrics) => {
            let apart = axum::serve(metrics, measured.with_state(state.clone()));
            let served = axum::serve(http, health.with_state(state));
            tokio::try_join!(async { served.await }, async { apart.await }).map(|_| ())
        }
    }
}

/// The process is alive.
async fn healthz() -> &'static str {
    "ok\n"
}

/// New work is taken; else 503 and why not.
async fn readyz(State(state): State<ServerState>) -> Response {
    match state.readiness() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics_text(State(state): State<ServerState>) -> Response {
    ([(header::CONTENT_TYPE, OPENMETRICS)], state.metrics_text()).into_response()
}
