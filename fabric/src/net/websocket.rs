//! WebSocket (RFC 6455) without I/O: frames of both roles, and the client's half of the opening handshake.
//!
//! A [`Decoder`] works on a borrowed read buffer and says how much of it it took; what is left stays with the caller, so a
//! connection between messages owns no buffer here. No extension is ever negotiated. What must stay true: a message is
//! never larger than the decoder's limit, a text message is UTF-8, and bytes a peer sent decide nothing but the result.

mod decode;
mod encode;
mod handshake;
#[cfg(test)]
mod tests;

pub use decode::{Decoded, Decoder};
pub use encode::{ServerHeader, client_frame, close_frame, close_payload, server_frame, server_header};
pub use handshake::{HandshakeError, Request, accept_key, check_response};

/// Longest payload of a ping, pong or close frame, bytes.
pub const CONTROL_BYTES: usize = 125;

/// Which end of the connection this is: it decides who masks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Role {
    /// Expects masked frames, sends bare ones.
    Server,
    /// Expects bare frames, sends masked ones.
    Client,
}

/// What a frame to write is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Kind {
    /// A UTF-8 text message.
    Text,
    /// A binary message.
    Binary,
    /// Answered by a pong with the same payload.
    Ping,
    /// Answers a ping.
    Pong,
    /// The last frame of this end.
    Close,
}

/// One message, or one control frame, of the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// To be answered by a pong with the same payload (at most [`CONTROL_BYTES`]).
    Ping(&'a [u8]),
    /// A sign of life.
    Pong(&'a [u8]),
    /// The peer's last frame: answer with a close frame of the same code, then close. Nothing after it is to be decoded.
    Close {
        /// The peer's code; `None` when it gave none.
        code: Option<u16>,
        /// For people.
        reason: &'a str,
    },
}

impl core::fmt::Debug for Message<'_> {
    /// Never prints content.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
            Self::Ping(bytes) => write!(f, "Ping({} bytes)", bytes.len()),
            Self::Pong(bytes) => write!(f, "Pong({} bytes)", bytes.len()),
            Self::Close { code, .. } => write!(f, "Close({code:?})"),
        }
    }
}

/// Why the peer's bytes are not WebSocket frames. The connection cannot go on: send a close frame with
/// [`Self::close_code`] and close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketError {
    /// A rule of RFC 6455 is broken.
    #[error("the WebSocket protocol is violated: {0}")]
    Protocol(&'static str),
    /// A text message or a close reason is not UTF-8.
    #[error("a text message is not UTF-8")]
    InvalidUtf8,
    /// A message exceeds the limit.
    #[error("a message exceeds the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The decoder's limit.
        limit_bytes: usize,
    },
}

impl WebSocketError {
    /// 1002, 1007 or 1009.
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::InvalidUtf8 => 1007,
            Self::TooLarge { .. } => 1009,
        }
    }
}

/// XORs `data` with `key`, starting at the key's first byte.
fn mask(key: [u8; 4], data: &mut [u8]) {
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (chunks, rest) = data.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}
