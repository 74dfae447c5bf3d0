//! What is between a client core, which speaks native frames, and a WebSocket: [`WebSocket`] translates both ways.
//!
//! The core's Hello becomes the upgrade request with its token; after that each native frame is one message and each
//! message one native frame, as it is (`flatbuffers`) or in [`json`]'s words. What must stay true: whatever a server says
//! becomes a frame, is known not to matter, or is an error with a name; nothing is dropped in silence, or the audit would
//! blame the wrong one.
pub mod json;
#[cfg(test)]
mod tests;

use fabric::entropy::Entropy;
use fabric::net::websocket::{
    Decoder, HandshakeError, Kind, Message, Request, Role, WebSocketError, client_frame, close_payload,
};
use schema::encode::Encoder;
use schema::frame::{FrameError, FrameRef};
use schema::limits::FRAME_LIMIT_BYTES;

use crate::probe::Allowed;
use crate::scenario::{Encoding, Load, Protocol};

/// Largest message taken from a server, bytes: a page of history in JSON is longer than its frames.
const MESSAGE_BYTES: u32 = 8 * FRAME_LIMIT_BYTES as u32;

/// What a run's WebSocket connections have in common.
#[derive(Clone, Debug)]
pub struct Speech {
    /// What a message holds.
    pub encoding: Encoding,
    /// What the server allows: JSON's `ready` does not say it.
    pub allowed: Allowed,
}

impl Speech {
    /// A load's; `None` for native connections.
    pub fn of(load: &Load, allowed: Allowed) -> Option<Self> {
        (load.protocol == Protocol::WebSocket).then(|| Self { encoding: load.encoding.unwrap_or_default(), allowed })
    }
}

/// What a translation needs; one a thread.
pub struct Tools<'a> {
    /// What the connections have in common.
    pub speech: &'a Speech,
    /// What the server is called in this connection's `Host` header.
    pub host: &'a str,
    /// Writes frames.
    pub encoder: &'a mut Encoder,
    /// Nonces and masks.
    pub entropy: &'a mut dyn Entropy,
    /// Memory that is used again.
    pub scratch: &'a mut Scratch,
}

/// Buffers of a thread.
#[derive(Default)]
pub struct Scratch {
    text: Vec<u8>,
    unmasked: Vec<u8>,
}

/// Why a WebSocket cannot go on, or why a frame could not be said in it.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The upgrade failed.
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    /// Not WebSocket.
    #[error("{0}")]
    WebSocket(#[from] WebSocketError),
    /// The server closes the connection.
    #[error("closed with code {}", .0.map_or_else(|| "(none)".to_owned(), |code| code.to_string()))]
    Closed(Option<u16>),
    /// A message of the other kind.
    #[error("a {0} message where the other kind is spoken")]
    OtherKind(&'static str),
    /// An event that is none.
    #[error("an event: {0}")]
    Event(&'static str),
    /// The client's own frame is none.
    #[error("the client's frame: {0}")]
    Frame(#[from] FrameError),
}

/// One connection, and what outlives it.
#[derive(Debug)]
pub struct WebSocket {
    decoder: Decoder,
    /// What is not a whole message yet.
    partial: Vec<u8>,
    nonce: [u8; 16],
    open: bool,
    seen: json::Seen,
}

impl Default for WebSocket {
    fn default() -> Self {
        Self {
            decoder: Decoder::new(Role::Client, MESSAGE_BYTES),
            partial: Vec::new(),
            nonce: [0; 16],
            open: false,
            seen: json::Seen::default(),
        }
    }
}

impl WebSocket {
    /// Says one native frame of the client; bytes are appended to `out`. Hello begins a connection.
    ///
    /// # Errors
    /// The frame is not one that a client says; nothing was appended.
    pub fn say(&mut self, tools: &mut Tools<'_>, frame: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
        let verified = FrameRef::verify(frame)?;
        if let Some(hello) = verified.root().body_as_hello() {
            let token = hello.token().map_or(&[][..], |token| token.bytes());
            self.upgrade(tools, token, out);
            return Ok(());
        }
        let key = tools.entropy.next_u64().to_le_bytes();
        let key = [key[0], key[1], key[2], key[3]];
        if tools.speech.encoding == Encoding::FlatBuffers {
            client_frame(Kind::Binary, frame, key, out);
            return Ok(());
        }
        let text = &mut tools.scratch.text;
        text.clear();
        if json::event(verified, &mut self.seen, text)? {
            client_frame(Kind::Text, text, key, out);
        }
        Ok(())
    }

    fn upgrade(&mut self, tools: &mut Tools<'_>, token: &[u8], out: &mut Vec<u8>) {
        tools.entropy.fill(&mut self.nonce);
        self.open = false;
        self.partial = Vec::new();
        self.decoder = Decoder::new(Role::Client, MESSAGE_BYTES);
        let token = String::from_utf8_lossy(token);
        out.extend_from_slice(&self.request(tools, Some(&token)).encode());
    }

    fn request<'r>(&self, tools: &'r Tools<'_>, token: Option<&'r str>) -> Request<'r> {
        let subprotocol = match tools.speech.encoding {
            Encoding::Json => "json",
            Encoding::FlatBuffers => "flatbuffers",
        };
        Request { host: tools.host, path: "/ws", subprotocol, token, nonce: self.nonce }
    }

    /// Takes what the server says: native frames are appended to `frames`, an answer to pings and closes to `out`.
    ///
    /// # Errors
    /// The connection cannot go on. What came before is in `frames`.
    pub fn hear(
        &mut self,
        tools: &mut Tools<'_>,
        bytes: &[u8],
        frames: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let mut held = core::mem::take(&mut self.partial);
        let input = if held.is_empty() {
            bytes
        } else {
            held.extend_from_slice(bytes);
            &held[..]
        };
        let used = self.messages(tools, input, frames, out)?;
        if used < input.len() {
            self.partial = input[used..].to_vec();
        }
        Ok(())
    }

    fn messages(
        &mut self,
        tools: &mut Tools<'_>,
        input: &[u8],
        frames: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, WireError> {
        let mut used = 0;
        if !self.open {
            match self.request(tools, None).check_response(input)? {
                Some(taken) => (self.open, used) = (true, taken),
                None => return Ok(0),
            }
        }
        let mut unmasked = core::mem::take(&mut tools.scratch.unmasked);
        let result = loop {
            match self.decoder.decode(&input[used..], &mut unmasked) {
                Ok(decoded) => {
                    used += decoded.taken;
                    let Some(message) = decoded.message else { break Ok(used) };
                    if let Err(error) = heard(&mut self.seen, tools, message, frames, out) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error.into()),
            }
        };
        tools.scratch.unmasked = unmasked;
        result
    }
}

fn heard(
    seen: &mut json::Seen,
    tools: &mut Tools<'_>,
    message: Message<'_>,
    frames: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    let key = tools.entropy.next_u64().to_le_bytes();
    let key = [key[0], key[1], key[2], key[3]];
    match (message, tools.speech.encoding) {
        (Message::Text(text), Encoding::Json) => {
            return json::frame(text, &tools.speech.allowed, tools.encoder, seen, frames);
        }
        (Message::Binary(frame), Encoding::FlatBuffers) => frames.extend_from_slice(frame),
        (Message::Text(_), _) => return Err(WireError::OtherKind("text")),
        (Message::Binary(_), _) => return Err(WireError::OtherKind("binary")),
        (Message::Ping(payload), _) => client_frame(Kind::Pong, payload, key, out),
        (Message::Pong(_), _) => {}
        (Message::Close { code, .. }, _) => {
            client_frame(Kind::Close, &close_payload(code, ""), key, out);
            return Err(WireError::Closed(code));
        }
    }
    Ok(())
}
