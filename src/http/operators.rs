//! For operators: `/healthz`, `/readyz`, `/metrics`. Probes ask by address, so Host is not looked at here.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::state::ServerState;

/// The content type of Prometheus text as `prometheus-client` writes it.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/healthz` and `/readyz`.
pub fn health(state: ServerState) -> Router {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(state)
}

/// `/metrics`.
pub fn metrics(state: ServerState) -> Router {
    Router::new().route("/metrics", get(metrics_text)).with_state(state)
}

/// The process is alive.
async fn healthz() -> &'static str {
    "ok\n"
}

/// New work is taken, with a note where the store does not answer; else 503 and why not.
async fn readyz(State(state): State<ServerState>) -> Response {
    match state.readiness() {
        Ok(()) => {
            let note = state.note().map(|note| format!("{note}\n")).unwrap_or_default();
            format!("ready\n{note}").into_response()
        }
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics_text(State(state): State<ServerState>) -> Response {
    ([(header::CONTENT_TYPE, OPENMETRICS)], state.metrics_text()).into_response()
}
