//! Our frames.

use bytes::Bytes;
use soketto::base::{Codec, Header, OpCode};

use super::{CONTROL_BYTES, Kind, mask};

/// A bare frame's header: 2, 4 or 10 bytes.
pub type ServerHeader = smallvec::SmallVec<[u8; 10]>;

impl From<Kind> for OpCode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
            Kind::Ping => Self::Ping,
            Kind::Pong => Self::Pong,
            Kind::Close => Self::Close,
        }
    }
}

fn checked(kind: Kind, len: usize) -> Header {
    debug_assert!(matches!(kind, Kind::Text | Kind::Binary) || len <= CONTROL_BYTES);
    let mut header = Header::new(kind.into());
    header.set_payload_len(len);
    header
}

/// The header of a server's whole message of `len` bytes: for payloads that are shared and not to be copied.
pub fn server_header(kind: Kind, len: usize) -> ServerHeader {
    ServerHeader::from_slice(Codec::new().encode_header(&checked(kind, len)))
}

/// A server's whole message, in a buffer of exactly its size. Control frames hold at most [`CONTROL_BYTES`].
pub fn server_frame(kind: Kind, payload: &[u8]) -> Bytes {
    let mut codec = Codec::new();
    let header = codec.encode_header(&checked(kind, payload.len()));
    let mut frame = Vec::with_capacity(header.len() + payload.len());
    frame.extend_from_slice(header);
    frame.extend_from_slice(payload);
    frame.into()
}

/// Appends a client's whole message. `key`: four bytes the peer's proxies cannot foresee, new for each frame.
pub fn client_frame(kind: Kind, payload: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    let mut header = checked(kind, payload.len());
    header.set_masked(true).set_mask(u32::from_be_bytes(key));
    out.extend_from_slice(Codec::new().encode_header(&header));
    let start = out.len();
    out.extend_from_slice(payload);
    mask(key, &mut out[start..]);
}

/// A close frame's payload; the reason is cut at a character's end to fit. `code` `None`: no payload.
pub fn close_payload(code: Option<u16>, reason: &str) -> smallvec::SmallVec<[u8; 64]> {
    let mut payload = smallvec::SmallVec::new();
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        let mut end = reason.len().min(CONTROL_BYTES - 2);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        payload.extend_from_slice(&reason.as_bytes()[..end]);
    }
    payload
}

/// A server's close frame. The reason, for people, is cut to fit.
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    server_frame(Kind::Close, &close_payload(Some(code), reason))
}
