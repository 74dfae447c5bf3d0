//! Before every handler: is the request for this server, from its own pages, and is work still taken?

use std::net::SocketAddr;
use std::sync::{OnceLock, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use gateway::websocket::Hosts;
use schema::errors::ErrorCode;

use super::App;
use super::problem::Problem;
use crate::state::Phase;

/// Sent with every answer that says nothing else.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The names HTTP goes by: its address's, and the allowed ones. Any thread.
#[derive(Debug, Default)]
pub struct Names {
    listener: OnceLock<SocketAddr>,
    hosts: RwLock<Hosts>,
}

impl Names {
    /// Notes the address HTTP is bound to; counts at the next [`Self::allow`].
    pub fn bound(&self, listener: SocketAddr) {
        // Bound once a process; whoever comes first is right.
        let _ = self.listener.set(listener);
    }

    /// Replaces the allowed names; `bound` must have come before for the address's own.
    pub fn allow(&self, allowed: &[String]) {
        let hosts = Hosts::new(self.listener.get().map_or(&[], std::slice::from_ref), allowed);
        *self.hosts.write().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        own(&self.hosts.read().unwrap_or_else(PoisonError::into_inner), headers)
    }
}

/// Refuses requests that name another host or come from another site's page, and new work while stopping.
pub async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = match app.0.names.check(request.headers()) {
        Err(problem) => problem.into_response(),
        Ok(()) if app.0.state.phase() == Phase::Stopping => Problem::new(ErrorCode::GoingAway).into_response(),
        Ok(()) => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Whether Host is one of `hosts` and Origin, where there is one, too.
///
/// # Errors
/// `foreign_origin`, which says of which header and what to configure.
pub fn own(hosts: &Hosts, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let Some(host) = text(header::HOST) else {
        return Err(
            Problem::of(ErrorCode::ForeignOrigin, "the Host header is missing").with_status(StatusCode::BAD_REQUEST)
        );
    };
    if headers.get_all(header::HOST).iter().count() > 1 || !hosts.allows_host(host) {
        let detail = "Host is none of this server's names; see http.allowed_hosts";
        return Err(Problem::of(ErrorCode::ForeignOrigin, detail));
    }
    if text(header::ORIGIN).is_some_and(|origin| !hosts.allows_origin(origin)) {
        let detail = "Origin is none of this server's names; see http.allowed_hosts";
        return Err(Problem::of(ErrorCode::ForeignOrigin, detail));
    }
    Ok(())
}

/// No such path.
pub fn nothing_here() -> Problem {
    let detail = "there is nothing at this path; /openapi.json lists what there is";
    Problem::of(ErrorCode::Unsupported, detail).with_status(StatusCode::NOT_FOUND)
}

/// The path is there, but not for this method.
pub fn wrong_method() -> Problem {
    let detail = "this path does not take this method; the Allow header says which it takes";
    Problem::of(ErrorCode::Unsupported, detail).with_status(StatusCode::METHOD_NOT_ALLOWED)
}
