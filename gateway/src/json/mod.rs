//! The JSON events of WebSocket clients: text messages, one event each. `docs/PROTOCOL.md` lists them.
//!
//! [`decode()`] reads a client's event without copying what needs no copy; [`encode()`] writes a server's. What must stay
//! true: unknown fields are ignored, every known field has one type, the error names the field and never its content, and
//! what is written is valid JSON whatever bytes are in a body.

mod decode;
mod encode;
mod fields;
#[cfg(test)]
mod tests;
mod text;

pub use decode::decode;
pub use encode::{encode, reached};

/// A time as events show it: RFC 3339, UTC, with milliseconds. `ms` since 1970.
pub fn timestamp(ms: u64) -> String {
    let mut out = Vec::with_capacity(24);
    text::time(&mut out, ms);
    String::from_utf8_lossy(&out).into_owned()
}

/// The ms since 1970 of a time as [`timestamp`] writes it; `None` for any other text.
pub fn read_timestamp(text: &str) -> Option<u64> {
    text::read_time(text)
}
