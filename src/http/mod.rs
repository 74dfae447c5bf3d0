//! HTTP: REST under `/api`, the pages, and what operators ask. On a thread apart from client sockets.
//!
//! What must stay true: every error is a problem of the one error table, names what was wrong and shows no content; foreign
//! pages get nothing (Host and Origin are checked as for WebSocket, CORS is not offered); nothing here touches an owner's
//! memory: requests go through the desk as any session's do.

mod accept;
mod account;
mod amend;
mod chats;
mod console;
mod dev;
mod groups;
mod guard;
mod info;
mod input;
mod limits;
mod messages;
mod model;
mod office;
mod openapi;
mod operators;
mod pages;
mod problem;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use fabric::net::proxy::Proxies;
use gateway::auth::Trust;
use tokio::net::TcpListener;

pub use self::dev::Dev;
pub use self::guard::Names;
use self::limits::Limits;
pub use self::office::Office;
use crate::config::Config;
use crate::state::ServerState;

/// Bytes of entries on a page (one entry always fits).
const PAGE_BYTES: u32 = 1 << 20;

/// What HTTP serves with.
pub struct Parts {
    /// The process.
    pub state: ServerState,
    /// The way to the owners.
    pub office: Office,
    /// Whose tokens are good.
    pub trust: Arc<Trust>,
    /// Shared with reloads.
    pub names: Arc<Names>,
}

struct Inner {
    state: ServerState,
    office: Office,
    trust: Arc<Trust>,
    names: Arc<Names>,
    limits: Limits,
    /// `None`: this server hands out no tokens.
    dev: Option<Dev>,
}

/// What handlers share.
#[derive(Clone)]
pub struct App(Arc<Inner>);

impl App {
    /// `parts.state` knows HTTP's address; `dev`: what hands out development tokens, where that may be.
    pub fn new(config: &Config, parts: Parts, dev: Option<Dev>) -> Self {
        let Parts { state, office, trust, names } = parts;
        names.bound(state.addresses().http);
        names.allow(&config.http.allowed_hosts);
        let limits = Limits::new(&config.http);
        Self(Arc::new(Inner { state, office, trust, names, limits, dev }))
    }

    /// What hands out development tokens, while only the development key verifies them.
    fn development(&self) -> Option<&Dev> {
        self.0.dev.as_ref().filter(|_| self.0.trust.trusted().development)
    }
}

/// Everything but what operators ask.
fn routes(app: &App, frame_limit_bytes: u32) -> Router {
    // A character may take six bytes as an escape.
    let body_bytes = frame_limit_bytes as usize * 6 + 4_096;
    Router::new()
        .route("/api/v1/messages", post(messages::send).get(messages::direct))
        .route("/api/groups", post(groups::create))
        .route("/api/chats", get(chats::list))
        .route("/api/chats/{chat_id}", get(chats::chat))
        .route("/api/chats/{chat_id}/name", put(groups::rename))
        .route("/api/chats/{chat_id}/members", post(groups::add))
        .route("/api/chats/{chat_id}/members/{user_id}", delete(groups::remove))
        .route("/api/chats/{chat_id}/members/{user_id}/role", put(groups::set_role))
        .route("/api/chats/{chat_id}/messages", get(messages::chat).post(messages::send_to_chat))
        .route("/api/chats/{chat_id}/messages/{message_id}", put(amend::edit).delete(amend::delete))
        .route("/api/chats/{chat_id}/messages/{message_id}/reaction", put(amend::react).delete(amend::unreact))
        .route("/api/chats/{chat_id}/messages/{message_id}/status", get(chats::status))
        .route("/api/chats/{chat_id}/timer", put(amend::set_timer))
        .route("/api/chats/{chat_id}/settings", put(account::set_for_chat))
        .route("/api/account", get(account::account))
        .route("/api/account/settings/{key}", put(account::set_setting))
        .route("/api/account/devices/{device_id}", put(account::name_device).delete(account::revoke_device))
        .route("/api/chats/{chat_id}/read", post(chats::read))
        .route("/api/v1/info", get(info::info))
        .route("/api/v1/dev/token", post(dev::token))
        .route("/api/v1/console", get(console::console))
        .route("/openapi.json", get(openapi::document))
        .route("/", get(pages::index))
        .route("/console", get(pages::console))
        .route("/assets/{*name}", get(pages::asset))
        .fallback(async || guard::nothing_here())
        .method_not_allowed_fallback(async || guard::wrong_method())
        .layer(DefaultBodyLimit::max(body_bytes))
        .layer(axum::middleware::from_fn_with_state(app.clone(), guard::check))
        .with_state(app.clone())
}

/// Serves until the task is dropped. With `metrics`, `/metrics` is there, not on `http`, and behind none of `proxies`. `clients`: there are REST and pages,
/// for frames of so many bytes; a process that is no gateway has only what operators ask.
///
/// # Errors
/// When a listener or the way to the owners fails.
pub async fn serve(
    http: TcpListener,
    metrics: Option<TcpListener>,
    proxies: &Proxies,
    app: App,
    clients: Option<u32>,
) -> std::io::Result<()> {
    let state = app.0.state.clone();
    let routes = clients.map(|frame_limit_bytes| routes(&app, frame_limit_bytes)).unwrap_or_default();
    let office = app.0.office.clone().run();
    let measured = operators::metrics(state.clone());
    let own = operators::health(state.clone()).merge(routes);
    let (own, apart) = match metrics {
        None => (own.merge(measured), None),
        Some(listener) => (own, Some((listener, measured))),
    };
    let certificates = state.certificates();
    let apart = async {
        match apart {
            Some((listener, router)) => accept::serve(listener, certificates, &Proxies::default(), router).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(accept::serve(http, certificates, proxies, own), apart, office).map(|_| ())
}
