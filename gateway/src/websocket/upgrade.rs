//! The opening handshake: a request's bytes in; dialect, token and answer out.

use core::fmt;
use core::str::FromStr;
use std::borrow::Cow;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fabric::net::proxy::Trusted;
use fabric::net::websocket::accept_key;
use schema::errors::ErrorCode;

use super::Hosts;
use super::head::{FLATBUFFERS, Head, JSON, query_value};
use crate::json::read_timestamp;
use crate::wire::{Dialect, Remembered};

/// Longest request head, bytes.
pub const HEAD_BYTES: usize = 8 * 1024;
/// Where WebSockets are opened.
pub const PATH: &str = "/ws";
const MAX_HEADERS: usize = 64;
const FORWARDED: &str = "x-forwarded-for";
const ME: &str = "user_id, a number from 1 to 18446744073709551615, goes with device_id, a number from 0 to 4294967295";

/// A token as it came with the request.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub Box<[u8]>);

impl fmt::Debug for Token {
    /// Never prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// What [`upgrade`] made of the bytes so far.
#[derive(Debug)]
pub enum Upgrade {
    /// The head is not complete: call again with all of it and more.
    Incomplete,
    /// A WebSocket from here on.
    Accepted(Accepted),
    /// Write the answer, close.
    Refused(Refused),
}

/// An opened WebSocket.
#[derive(Debug)]
pub struct Accepted {
    /// Bytes of the head; what follows them is the first frames.
    pub taken: usize,
    /// Who is connected, as far as those between are trusted.
    pub client: IpAddr,
    /// What the messages are: `Json` in text, `WebSocketNative` in binary messages.
    pub dialect: Dialect,
    /// The token, unless it follows as an event. `Authorization` goes before `?token=`.
    pub token: Option<Token>,
    /// What the device says of itself beside that token: `?synced=`, `?user_id=` with `&device_id=`.
    pub remembered: Remembered,
    /// The answer to write first.
    pub response: Bytes,
}

/// A request that opens nothing.
#[derive(Debug)]
pub struct Refused {
    /// The error table's row, for counting.
    pub code: ErrorCode,
    /// The HTTP status answered.
    pub status: u16,
    /// The answer to write before closing.
    pub response: Bytes,
}

/// Looks at the start of a connection of `peer`. `input`: everything that came so far; `trusted`: whose `X-Forwarded-For`
/// counts.
pub fn upgrade(input: &[u8], hosts: &Hosts, (peer, trusted): (IpAddr, &Trusted)) -> Upgrade {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let (result, too_long) = match input.get(..HEAD_BYTES + 1) {
        Some(most) => (request.parse(most), true),
        None => (request.parse(input), false),
    };
    let taken = match result {
        Ok(httparse::Status::Complete(taken)) if taken <= HEAD_BYTES => taken,
        Ok(httparse::Status::Partial) if !too_long => return Upgrade::Incomplete,
        Ok(_) => return refuse(431, "the request's head exceeds 8 KiB"),
        Err(httparse::Error::TooManyHeaders) => return refuse(431, "the request has more than 64 headers"),
        Err(_) => return refuse(400, "this is not HTTP/1.1"),
    };
    let forwarded = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(FORWARDED));
    let client = trusted.client(peer, forwarded.map(|header| header.value));
    accept(&request, (taken, client), hosts).unwrap_or_else(|refusal| refusal.answer())
}

struct Refusal {
    status: u16,
    detail: &'static str,
}

const fn no<T>(status: u16, detail: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status, detail })
}

fn refuse(status: u16, detail: &'static str) -> Upgrade {
    Refusal { status, detail }.answer()
}

fn accept(
    request: &httparse::Request<'_, '_>,
    (taken, client): (usize, IpAddr),
    hosts: &Hosts,
) -> Result<Upgrade, Refusal> {
    let (path, query) = match request.path.unwrap_or_default().split_once('?') {
        Some((path, query)) => (path, query),
        None => (request.path.unwrap_or_default(), ""),
    };
    if path != PATH {
        return no(404, "there is only /ws here");
    }
    if request.method != Some("GET") {
        return no(405, "a WebSocket is opened with GET");
    }
    if request.version != Some(1) {
        return no(400, "a WebSocket is opened with HTTP/1.1");
    }
    let head = Head::read(request.headers).or_else(|detail| no(400, detail))?;
    let Some(host) = head.host else { return no(400, "the Host header is missing") };
    if !hosts.allows_host(host) {
        return no(403, "Host is none of this server's names; see http.allowed_hosts");
    }
    if head.origin.is_some_and(|origin| !hosts.allows_origin(origin)) {
        return no(403, "Origin is none of this server's names; see http.allowed_hosts");
    }
    if !head.upgrade_websocket || !head.connection_upgrade {
        return no(426, "this path speaks WebSocket: Upgrade: websocket, Connection: Upgrade");
    }
    if head.version != Some("13") {
        return no(426, "Sec-WebSocket-Version must be 13");
    }
    if head.has_body {
        return no(400, "an upgrade has no body");
    }
    let key = head.key.filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16));
    let Some(key) = key else { return no(400, "Sec-WebSocket-Key must be 16 bytes in base64") };
    if head.offers && head.subprotocol.is_none() {
        return no(400, "the subprotocols spoken here are json and flatbuffers");
    }
    let token = match head.bearer() {
        Some(token) => Some(Token(token.as_bytes().into())),
        None => query_value(query, "token").map(|token| Token(token.as_ref().into())),
    };
    let remembered = remembered(query).or_else(|detail| no(400, detail))?;
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
        accept_key(key.as_bytes())
    );
    if let Some(subprotocol) = head.subprotocol {
        response.push_str("Sec-WebSocket-Protocol: ");
        response.push_str(subprotocol);
        response.push_str("\r\n");
    }
    response.push_str("\r\n");
    let dialect = match head.subprotocol.unwrap_or(JSON) {
        FLATBUFFERS => Dialect::WebSocketNative,
        _ => Dialect::Json,
    };
    Ok(Upgrade::Accepted(Accepted { taken, client, dialect, token, remembered, response: response.into() }))
}

/// What a query says of its device; an error names what is wrong.
fn remembered(query: &str) -> Result<Remembered, &'static str> {
    let synced_ms = match query_value(query, "synced") {
        None => Some(0),
        Some(time) => str::from_utf8(&time).ok().and_then(read_timestamp),
    };
    let synced_ms = synced_ms.ok_or("synced must be a time like 2026-01-02T03:04:05.678Z")?;
    let me = match (query_value(query, "user_id"), query_value(query, "device_id")) {
        (None, None) => None,
        (user, device) => Some(user.and_then(id).zip(device.and_then(id)).ok_or(ME)?),
    };
    Ok(Remembered { synced_ms, me, marks: 0 })
}

fn id<T: FromStr>(digits: Cow<'_, [u8]>) -> Option<T> {
    str::from_utf8(&digits).ok()?.parse().ok()
}

/// What a connection hears that ends before it asked to be a WebSocket: the error table's status, and when to come back.
pub(crate) fn unopened(code: ErrorCode, retry_after_ms: u32) -> Bytes {
    let info = code.info();
    let (status, title) = match code {
        ErrorCode::AuthTimeout => (408, "Request Timeout"),
        _ => (503, "Service Unavailable"),
    };
    let body = format!(
        "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"code\":\"{code}\",\"detail\":\"{}\"}}\n",
        info.text
    );
    let after_s = retry_after_ms.max(info.retry_after_ms).div_ceil(1_000);
    let response = format!(
        "HTTP/1.1 {status} {title}\r\nConnection: close\r\nRetry-After: {after_s}\r\nContent-Type: application/problem+json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    response.into()
}

impl Refusal {
    fn answer(self) -> Upgrade {
        let code = if self.status == 403 { ErrorCode::ForeignOrigin } else { ErrorCode::BadUpgrade };
        let (title, extra) = match self.status {
            403 => ("Forbidden", ""),
            404 => ("Not Found", ""),
            405 => ("Method Not Allowed", "Allow: GET\r\n"),
            426 => ("Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
            431 => ("Request Header Fields Too Large", ""),
            _ => ("Bad Request", ""),
        };
        let connection = if self.status == 426 { "Upgrade, close" } else { "close" };
        // Titles and details are this file's own: nothing in them needs escaping.
        let body = format!(
            "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{},\"code\":\"{code}\",\"detail\":\"{}\"}}\n",
            self.status, self.detail
        );
        let response = format!(
            "HTTP/1.1 {} {title}\r\nConnection: {connection}\r\n{extra}Content-Type: application/problem+json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.status,
            body.len()
        );
        Upgrade::Refused(Refused { code, status: self.status, response: response.into() })
    }
}
