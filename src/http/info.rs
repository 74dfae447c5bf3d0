//! What a client needs before it has a token.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};

use super::App;
use super::model::Info;

/// About this server
#[utoipa::path(
    get,
    path = "/api/v1/info",
    operation_id = "info",
    responses((status = 200, description = "About this server", body = Info))
)]
pub async fn info(State(app): State<App>, headers: HeaderMap) -> Json<Info> {
    let ws_port = app.0.state.addresses().ws.port();
    Json(Info {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ws_url: format!("{}/ws", ws_origin(&app, &headers)),
        ws_port,
        tls: app.0.state.certificates().is_some(),
        development: app.development().is_some(),
    })
}

/// Where WebSocket is, by the name the request was sent to: `ws://host:port`, or `wss`.
pub fn ws_origin(app: &App, headers: &HeaderMap) -> String {
    // The guard has let through only names of this server.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let name = if host.ends_with(']') { host } else { host.rsplit_once(':').map_or(host, |(name, _)| name) };
    let scheme = if app.0.state.certificates().is_some() { "wss" } else { "ws" };
    format!("{scheme}://{name}:{}", app.0.state.addresses().ws.port())
}
