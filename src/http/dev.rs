//! Development tokens: for whoever asks on this machine, so that a first chat needs no key.
//!
//! Handed out only while no signing key is configured, every listener is on loopback, and the request names this machine as
//! its host and came from one of its own pages, if from a page, and through no proxy. Otherwise the path does not exist, or
//! the request is refused.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use fabric::time::{Clock as _, SystemClock};
use gateway::auth::Minter;
use gateway::websocket::Hosts;
use schema::errors::ErrorCode;
use schema::ids::DeviceId;

use super::accept::Peer;
use super::input::{Object, idempotency_key};
use super::model::{NewToken, Token};
use super::problem::{Problem, ProblemBody};
use super::{App, guard};

/// How long a token is valid.
const TTL: Duration = Duration::from_secs(24 * 3_600);
/// What proxies add: a request with one of these did not come from this machine alone.
const PROXIES: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// What signs development tokens, where they may be had.
pub struct Dev {
    user: Minter,
    admin: Minter,
    /// This machine's own names: what is allowed besides them may be anywhere.
    hosts: Hosts,
}

impl Dev {
    /// `minters`: without and with an operator's rights. `listeners`: all of the process, HTTP's first. `None` when one of
    /// them can be reached from elsewhere.
    pub fn new((user, admin): (Minter, Minter), listeners: &[SocketAddr]) -> Option<Self> {
        let here = listeners.iter().all(|address| address.ip().is_loopback());
        here.then(|| Self { user, admin, hosts: Hosts::new(&listeners[..1], &[]) })
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        guard::own(&self.hosts, headers)?;
        match PROXIES.iter().find(|name| headers.contains_key(**name)) {
            Some(_) => Err(Problem::of(ErrorCode::Forbidden, "development tokens are not handed out through a proxy")),
            None => Ok(()),
        }
    }
}

/// Get a development token
///
/// Only while no signing key is configured and every listener is on loopback; else there is nothing at this path.
#[utoipa::path(
    post,
    path = "/api/v1/dev/token",
    operation_id = "development_token",
    request_body = NewToken,
    params(("Idempotency-Key" = Option<String>, Header, description = "Accepted; a token can be made any number of times",
        pattern = "KEY")),
    responses(
        (status = 200, description = "A token for one device", body = Token),
        (status = "default", description = "None", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn token(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Token>, Problem> {
    let Some(dev) = app.development() else { return Err(guard::nothing_here()) };
    dev.check(&headers)?;
    app.0.limits.token(peer.0)?;
    idempotency_key(&headers)?;
    let object = Object::read(&headers, body)?;
    let user = object.user("user_id")?;
    let device = object.number("device_id", u32::MAX.into())?;
    let minter = if object.flag("admin")? { &dev.admin } else { &dev.user };
    let now_ms = SystemClock.now().wall_ms();
    let token =
        minter.mint(user, DeviceId(device as u32), now_ms, TTL).map_err(|_| Problem::new(ErrorCode::Internal))?;
    // As in the token: whole seconds, rounded up.
    let expires_ms = (now_ms + TTL.as_millis() as u64).div_ceil(1_000) * 1_000;
    Ok(Json(Token { token, expires_at: gateway::json::timestamp(expires_ms) }))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn dev(listeners: &[&str]) -> Option<Dev> {
        let minter = || Minter::hs256(&[7; 32], None).unwrap();
        let listeners: Vec<SocketAddr> = listeners.iter().map(|address| address.parse().unwrap()).collect();
        Dev::new((minter(), minter()), &listeners)
    }

    fn check(headers: &[(&'static str, &'static str)]) -> Result<(), ErrorCode> {
        let headers = headers.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        dev(&["127.0.0.1:7480"]).unwrap().check(&headers.collect()).map_err(|problem| problem.code())
    }

    #[test]
    fn a_listener_that_others_can_reach_forbids_them() {
        assert!(dev(&["127.0.0.1:1", "[::1]:2", "127.0.0.9:3"]).is_some());
        assert!(dev(&["127.0.0.1:1", "0.0.0.0:2"]).is_none());
        assert!(dev(&["[::]:1", "127.0.0.1:2"]).is_none());
        assert!(dev(&["127.0.0.1:1", "192.0.2.1:2"]).is_none());
    }

    #[test]
    fn only_this_machine_and_its_own_pages_get_one() {
        let host = ("host", "127.0.0.1:7480");
        assert_eq!(check(&[host]), Ok(()));
        assert_eq!(check(&[("host", "localhost:7480"), ("origin", "http://localhost:7480")]), Ok(()));
        for headers in [
            &[("host", "chat.example:7480")][..],
            &[("host", "127.0.0.1:7481")],
            &[],
            &[host, ("origin", "http://evil.example")],
            &[host, ("origin", "null")],
        ] {
            assert_eq!(check(headers), Err(ErrorCode::ForeignOrigin), "{headers:?}");
        }
        for name in PROXIES {
            assert_eq!(check(&[host, (name, "198.51.100.7")]), Err(ErrorCode::Forbidden), "{name}");
        }
    }
}
