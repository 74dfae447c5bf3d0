//! The peer's frames.

use soketto::Parsing;
use soketto::base::{Codec, Error, Header, OpCode};

use super::{Message, Role, WebSocketError, mask};

/// Cuts one peer's byte stream into messages. One a connection; 16 bytes while no fragmented message is under way.
#[derive(Debug)]
pub struct Decoder {
    fragments: Option<Box<Fragments>>,
    limit_bytes: u32,
    role: Role,
}

/// A message of which the last frame has not come.
struct Fragments {
    text: bool,
    bytes: Vec<u8>,
}

impl core::fmt::Debug for Fragments {
    /// Never prints content.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Fragments({} bytes)", self.bytes.len())
    }
}

/// What [`Decoder::decode`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Bytes of the input that are done with, whether or not there is a message: the next call starts after them.
    pub taken: usize,
    /// `None`: what is left of the input is not a whole frame; call again when more has come behind it.
    pub message: Option<Message<'a>>,
}

impl Decoder {
    /// `limit_bytes`: the largest message, reassembled; up to `u32::MAX`.
    pub const fn new(role: Role, limit_bytes: u32) -> Self {
        Self { fragments: None, limit_bytes, role }
    }

    /// Bytes held for a fragmented message that is not complete.
    pub fn held_bytes(&self) -> usize {
        self.fragments.as_ref().map_or(0, |fragments| fragments.bytes.capacity())
    }

    /// The first message of `input`. `scratch` is any buffer of the caller's (one a thread is enough); the message may
    /// lie in it. A message that is not whole is never taken from `input`, so `input` needs room for the limit plus a
    /// frame header of 14 bytes.
    ///
    /// # Errors
    /// The stream is not WebSocket any more; see [`WebSocketError`]. Nothing is to be decoded after that.
    pub fn decode<'a>(&mut self, input: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<Decoded<'a>, WebSocketError> {
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            let Some((header, offset)) = self.header(rest)? else { return Ok(Decoded { taken, message: None }) };
            let Some(payload) = rest[offset..].get(..header.payload_len()) else {
                return Ok(Decoded { taken, message: None });
            };
            taken += offset + payload.len();
            let key = header.is_masked().then(|| header.mask().to_be_bytes());
            let (opcode, fin) = (header.opcode(), header.is_fin());
            match opcode {
                OpCode::Continue => {
                    let fragments = self.append(payload, key)?;
                    if fin {
                        let whole = self.fragments.take().expect("append found them");
                        *scratch = whole.bytes;
                        let message = data(whole.text, scratch)?;
                        return Ok(Decoded { taken, message: Some(message) });
                    }
                    debug_assert!(fragments <= self.limit_bytes as usize);
                }
                OpCode::Text | OpCode::Binary => {
                    if self.fragments.is_some() {
                        return Err(WebSocketError::Protocol("a new message inside a fragmented one"));
                    }
                    let text = opcode == OpCode::Text;
                    if fin {
                        let message = data(text, unmask(payload, key, scratch))?;
                        return Ok(Decoded { taken, message: Some(message) });
                    }
                    self.fragments = Some(Box::new(Fragments { text, bytes: Vec::new() }));
                    self.append(payload, key)?;
                }
                _ => {
                    let message = control(opcode, unmask(payload, key, scratch))?;
                    return Ok(Decoded { taken, message: Some(message) });
                }
            }
        }
    }

    fn header(&self, input: &[u8]) -> Result<Option<(Header, usize)>, WebSocketError> {
        let held = self.fragments.as_ref().map_or(0, |fragments| fragments.bytes.len());
        let limit_bytes = self.limit_bytes as usize;
        let mut codec = Codec::new();
        codec.set_max_data_size(limit_bytes - held);
        // Who masks is decided by the second byte: refuse a wrong peer before its lengths are looked at.
        if let Some(second) = input.get(1)
            && (second & 0x80 != 0) != (self.role == Role::Server)
        {
            return Err(WebSocketError::Protocol(match self.role {
                Role::Server => "a client's frame is not masked",
                Role::Client => "a server's frame is masked",
            }));
        }
        let (header, offset) = match codec.decode_header(input) {
            Ok(Parsing::Done { value, offset }) => (value, offset),
            Ok(Parsing::NeedMore(_)) => return Ok(None),
            Err(error) => return Err(refusal(&error, limit_bytes)),
        };
        // Extended lengths start where the short form ends; control frames that are too long are data frames' 16-bit form.
        let extended = offset - 2 - if header.is_masked() { 4 } else { 0 };
        let shortest = match header.payload_len() {
            0..126 => 0,
            126..65_536 => 2,
            _ => 8,
        };
        if extended != shortest {
            return Err(WebSocketError::Protocol("a length is not in its shortest form"));
        }
        Ok(Some((header, offset)))
    }

    /// Appends to the fragmented message; returns its length so far.
    fn append(&mut self, payload: &[u8], key: Option<[u8; 4]>) -> Result<usize, WebSocketError> {
        let Some(fragments) = &mut self.fragments else {
            return Err(WebSocketError::Protocol("a continuation of nothing"));
        };
        let start = fragments.bytes.len();
        fragments.bytes.extend_from_slice(payload);
        if let Some(key) = key {
            mask(key, &mut fragments.bytes[start..]);
        }
        Ok(fragments.bytes.len())
    }
}

fn unmask<'a>(payload: &'a [u8], key: Option<[u8; 4]>, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let Some(key) = key else { return payload };
    scratch.clear();
    scratch.extend_from_slice(payload);
    mask(key, scratch);
    scratch
}

fn data(text: bool, bytes: &[u8]) -> Result<Message<'_>, WebSocketError> {
    if !text {
        return Ok(Message::Binary(bytes));
    }
    str::from_utf8(bytes).map(Message::Text).map_err(|_| WebSocketError::InvalidUtf8)
}

fn control(opcode: OpCode, payload: &[u8]) -> Result<Message<'_>, WebSocketError> {
    match (opcode, payload) {
        (OpCode::Ping, payload) => Ok(Message::Ping(payload)),
        (OpCode::Pong, payload) => Ok(Message::Pong(payload)),
        (OpCode::Close, []) => Ok(Message::Close { code: None, reason: "" }),
        (OpCode::Close, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(WebSocketError::Protocol("a close code that may not be sent"));
            }
            let reason = str::from_utf8(reason).map_err(|_| WebSocketError::InvalidUtf8)?;
            Ok(Message::Close { code: Some(code), reason })
        }
        (OpCode::Close, [_]) => Err(WebSocketError::Protocol("half a close code")),
        _ => Err(WebSocketError::Protocol("a reserved opcode")),
    }
}

fn refusal(error: &Error, limit_bytes: usize) -> WebSocketError {
    match error {
        Error::PayloadTooLarge { .. } => WebSocketError::TooLarge { limit_bytes },
        Error::FragmentedControl => WebSocketError::Protocol("a fragmented control frame"),
        Error::InvalidControlFrameLen => WebSocketError::Protocol("a control frame of more than 125 bytes"),
        Error::InvalidReservedBit(_) => WebSocketError::Protocol("a reserved bit is set"),
        _ => WebSocketError::Protocol("a reserved opcode"),
    }
}
