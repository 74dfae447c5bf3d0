//! The opening handshake: the accept key, and the client's request and its answer.

use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Longest head of an answer that a client reads, bytes.
const HEAD_BYTES: usize = 8 * 1024;

/// What `Sec-WebSocket-Accept` must be for a `Sec-WebSocket-Key`.
pub fn accept_key(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

/// A client's upgrade request.
pub struct Request<'a> {
    /// The `Host` header: name and port as the server knows them.
    pub host: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// The subprotocol to ask for.
    pub subprotocol: &'a str,
    /// The bearer token; `None` when it follows as an event.
    pub token: Option<&'a str>,
    /// Random, new for each connection.
    pub nonce: [u8; 16],
}

impl fmt::Debug for Request<'_> {
    /// Never prints the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({}, {})", self.host, self.subprotocol)
    }
}

impl Request<'_> {
    fn key(&self) -> String {
        STANDARD.encode(self.nonce)
    }

    /// The request's bytes.
    ///
    /// # Panics
    /// When a field holds a control character: none of them may come from a stranger.
    pub fn encode(&self) -> Vec<u8> {
        for field in [self.host, self.path, self.subprotocol, self.token.unwrap_or("")] {
            assert!(!field.bytes().any(|byte| byte.is_ascii_control()), "a control character in an upgrade request");
        }
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {}\r\nSec-WebSocket-Protocol: {}\r\n",
            self.path,
            self.host,
            self.key(),
            self.subprotocol,
        );
        if let Some(token) = self.token {
            request.push_str("Authorization: Bearer ");
            request.push_str(token);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        request.into_bytes()
    }

    /// See [`check_response`].
    ///
    /// # Errors
    /// As [`check_response`].
    pub fn check_response(&self, input: &[u8]) -> Result<Option<usize>, HandshakeError> {
        check_response(input, &self.key(), self.subprotocol)
    }
}

/// Why a server's answer does not open a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Not HTTP/1.1, or longer than 8 KiB.
    #[error("the answer to the upgrade is not HTTP")]
    NotHttp,
    /// Refused with this HTTP status.
    #[error("the upgrade is refused with HTTP status {0}")]
    Refused(u16),
    /// A header of the answer is missing or wrong.
    #[error("the answer's {0} header is missing or wrong")]
    Header(&'static str),
}

/// Whether `input` begins with an answer that opens the connection: `Ok(Some(n))` after `n` bytes (frames follow),
/// `Ok(None)` while it is incomplete. `key`: as sent in `Sec-WebSocket-Key`; `subprotocol`: the one asked for.
///
/// # Errors
/// The connection is not a WebSocket; see [`HandshakeError`].
pub fn check_response(input: &[u8], key: &str, subprotocol: &str) -> Result<Option<usize>, HandshakeError> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let taken = match response.parse(input) {
        Ok(httparse::Status::Complete(taken)) => taken,
        Ok(httparse::Status::Partial) if input.len() <= HEAD_BYTES => return Ok(None),
        _ => return Err(HandshakeError::NotHttp),
    };
    let status = response.code.unwrap_or(0);
    if status != 101 {
        return Err(HandshakeError::Refused(status));
    }
    let expect = |name: &'static str, value: &str, exact: bool| {
        let mut found = response.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (Some(header), None) if exact && header.value == value.as_bytes() => Ok(()),
            (Some(header), None) if !exact && header.value.eq_ignore_ascii_case(value.as_bytes()) => Ok(()),
            _ => Err(HandshakeError::Header(name)),
        }
    };
    expect("Upgrade", "websocket", false)?;
    expect("Connection", "upgrade", false)?;
    expect("Sec-WebSocket-Accept", &accept_key(key.as_bytes()), true)?;
    expect("Sec-WebSocket-Protocol", subprotocol, true)?;
    Ok(Some(taken))
}
