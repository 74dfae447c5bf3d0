//! WebSocket at the door: the opening handshake of `/ws`, without I/O. Frames are [`fabric::net::websocket`]'s.
//!
//! What must stay true: a request is bounded before it is complete, a foreign page cannot open a socket (Host and Origin),
//! and a token in a URL or a header appears in no answer, log or `Debug`.

mod head;
mod hosts;
#[cfg(test)]
mod tests;
mod upgrade;

use fabric::net::websocket::WebSocketError;
use schema::errors::ErrorCode;

pub use hosts::Hosts;
pub(crate) use upgrade::unopened;
pub use upgrade::{Accepted, HEAD_BYTES, PATH, Refused, Token, Upgrade, upgrade};

/// The error table's row for a broken stream of frames. Its close code may be less exact than the stream's own
/// ([`WebSocketError::close_code`]), which is the one to send.
pub const fn error_code(error: WebSocketError) -> ErrorCode {
    match error {
        WebSocketError::TooLarge { .. } => ErrorCode::FrameTooLarge,
        WebSocketError::Protocol(_) | WebSocketError::InvalidUtf8 => ErrorCode::MalformedFrame,
    }
}
