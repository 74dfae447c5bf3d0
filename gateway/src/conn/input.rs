//! Input: bytes to frames and messages, one at a time, as long as the connection may go on.

use fabric::core::ConnId;
use fabric::count::Tally as _;
use fabric::net::websocket::{Decoder, Kind, Message, Role, WebSocketError, close_frame, server_frame};
use fabric::tier::Egress;
use fabric::time::Now;
use schema::errors::{ErrorCode, Scope};
use schema::frame::{FrameError, FrameRef, frame_len};
use schema::limits::TOKEN_BYTES;

use super::wheel::tick_of;
use super::{FLAG_UNKNOWN, PAUSE_REGISTER, Phase, native};
use crate::shard::Shard;
use crate::websocket::{Upgrade, upgrade};
use crate::wire::{ClientEvent, Dialect, EventError, ServerEvent};

/// Room for what surrounds a token in its frame.
const HELLO_ROOM_BYTES: usize = 1_024;

impl Shard {
    /// See [`fabric::core::Core::received`].
    pub fn received(&mut self, now: Now, conn: ConnId, bytes: &[u8], egress: &mut dyn Egress) {
        let Some(index) = self.conns.find(conn.index, conn.generation) else { return };
        self.metrics.bytes_in.add(bytes.len() as u64);
        let place = &mut self.conns[index];
        if place.phase == Phase::Closing {
            return;
        }
        if place.input.is_empty() && place.reads() {
            let used = self.consume(now, index, bytes, egress);
            self.keep(index, &bytes[used..]);
        } else {
            place.input.extend_from_slice(bytes);
            self.resume_input(now, index, egress);
        }
        // Whoever sends on before the router and the account's owner have answered is read no further until they have.
        let place = &self.conns[index];
        let waits = matches!(place.phase, Phase::Queued | Phase::Registering)
            || (place.phase == Phase::Ready && place.has(FLAG_UNKNOWN));
        if waits && !place.input.is_empty() && place.paused == 0 {
            self.pause(index, PAUSE_REGISTER);
        }
    }

    fn keep(&mut self, index: u32, rest: &[u8]) {
        let place = &mut self.conns[index];
        if place.phase != Phase::Closing && !rest.is_empty() {
            debug_assert!(place.input.is_empty());
            place.input.extend_from_slice(rest);
        }
    }

    /// Works on what was kept, as far as the connection may.
    pub(crate) fn resume_input(&mut self, now: Now, index: u32, egress: &mut dyn Egress) {
        let place = &mut self.conns[index];
        if place.input.is_empty() || !place.reads() {
            return;
        }
        let mut input = core::mem::take(&mut place.input);
        let used = self.consume(now, index, &input, egress);
        let place = &mut self.conns[index];
        if place.phase != Phase::Closing && used < input.len() {
            input.drain(..used);
            place.input = input;
        }
    }

    /// Handles whole frames of `bytes`; returns how many bytes are done with.
    fn consume(&mut self, now: Now, index: u32, bytes: &[u8], egress: &mut dyn Egress) -> usize {
        let mut used = 0;
        if self.conns[index].phase == Phase::Upgrade {
            used = self.open_websocket(now, index, bytes, egress);
        }
        if self.conns[index].phase == Phase::Upgrade {
            return used;
        }
        let before = used;
        used += if self.conns[index].websocket.is_some() {
            self.consume_messages(now, index, &bytes[used..], egress)
        } else {
            self.consume_frames(now, index, &bytes[used..], egress)
        };
        if used > before {
            self.conns[index].seen = tick_of(now);
        }
        used
    }

    /// The largest frame the connection may send now: before authentication there is no reason for a large one.
    fn frame_limit(&self, index: u32) -> usize {
        let limit = self.config.limits.frame_limit_bytes as usize;
        match self.conns[index].phase {
            Phase::Ready => limit,
            _ => limit.min(TOKEN_BYTES + HELLO_ROOM_BYTES),
        }
    }

    fn consume_frames(&mut self, now: Now, index: u32, bytes: &[u8], egress: &mut dyn Egress) -> usize {
        let mut used = 0;
        let mut ahead = None;
        while self.conns[index].reads() {
            let rest = &bytes[used..];
            let frame = match frame_len(rest, self.frame_limit(index)) {
                Ok(Some(len)) if len <= rest.len() => &rest[..len],
                Ok(_) => break,
                Err(error) => {
                    self.bad_frame(now, index, &error, egress);
                    break;
                }
            };
            if self.is_holding() && !native::is_ping(frame) && self.holds(index) {
                break;
            }
            used += frame.len();
            let verified = ahead.take().unwrap_or_else(|| self.verifier.verify(frame));
            ahead = self.look_ahead(index, &bytes[used..], egress);
            self.frame(now, index, verified, egress);
        }
        used
    }

    /// Verifies the frame behind the one that is handled now, and lets its owner fetch what it will ask for: the memory comes
    /// while the first is worked on.
    fn look_ahead<'a>(
        &mut self,
        index: u32,
        rest: &'a [u8],
        egress: &mut dyn Egress,
    ) -> Option<Result<FrameRef<'a>, FrameError>> {
        let len = frame_len(rest, self.frame_limit(index)).ok().flatten().filter(|&len| len <= rest.len())?;
        let verified = self.verifier.verify(&rest[..len]);
        if let Ok(frame) = &verified
            && self.conns[index].phase == Phase::Ready
        {
            self.announce(index, *frame, egress);
        }
        Some(verified)
    }

    /// One whole native frame, however it came.
    fn frame(&mut self, now: Now, index: u32, verified: Result<FrameRef<'_>, FrameError>, egress: &mut dyn Egress) {
        self.metrics.frames_in.one();
        match verified {
            Ok(frame) => self.decoded(now, index, native::decode(frame), egress),
            Err(error) => self.bad_frame(now, index, &error, egress),
        }
    }

    fn bad_frame(&mut self, now: Now, index: u32, error: &FrameError, egress: &mut dyn Egress) {
        let code = match error {
            FrameError::TooLarge { .. } => {
                self.metrics.oversized_frames.inc();
                ErrorCode::FrameTooLarge
            }
            _ => {
                self.metrics.malformed_frames.inc();
                ErrorCode::MalformedFrame
            }
        };
        self.close(now, index, code, egress);
    }

    /// An event, or why there is none.
    fn decoded(&mut self, now: Now, index: u32, event: Result<ClientEvent<'_>, EventError>, egress: &mut dyn Egress) {
        let error = match event {
            Ok(event) => return self.event(now, index, event, egress),
            Err(error) => error,
        };
        if error.code.info().scope == Scope::Session {
            self.metrics.malformed_frames.inc();
            self.close(now, index, error.code, egress);
        } else if self.conns[index].phase == Phase::Ready {
            self.metrics.invalid_events.inc();
            let EventError { code, text, client_msg_id } = &error;
            let refusal = ServerEvent::Error { code: *code, text, client_msg_id, retry_after_ms: 0 };
            self.emit(now, index, &refusal);
        } else {
            self.metrics.unauthenticated.inc();
            self.close(now, index, ErrorCode::Unauthenticated, egress);
        }
    }

    fn open_websocket(&mut self, now: Now, index: u32, bytes: &[u8], egress: &mut dyn Egress) -> usize {
        match upgrade(bytes, &self.hosts, (self.client(index), &self.config.trusted)) {
            Upgrade::Incomplete => 0,
            Upgrade::Refused(refused) => {
                self.metrics.upgrade_failures.inc();
                self.close_with(now, index, refused.response, egress);
                bytes.len()
            }
            Upgrade::Accepted(accepted) => {
                let place = &mut self.conns[index];
                place.phase = Phase::Hello;
                place.dialect = accepted.dialect;
                place.websocket = Some(Decoder::new(Role::Server, self.config.limits.frame_limit_bytes));
                self.clients.insert(index, accepted.client);
                self.push(now, index, &accepted.response);
                if let Some(token) = &accepted.token {
                    self.authenticate(now, index, &token.0, accepted.remembered, egress);
                }
                accepted.taken
            }
        }
    }

    fn consume_messages(&mut self, now: Now, index: u32, bytes: &[u8], egress: &mut dyn Egress) -> usize {
        let mut used = 0;
        let mut scratch = core::mem::take(&mut self.scratch);
        while self.conns[index].reads() {
            if self.holds(index) {
                break;
            }
            let Some(mut decoder) = self.conns[index].websocket.take() else { break };
            let decoded = decoder.decode(&bytes[used..], &mut scratch);
            self.conns[index].websocket = Some(decoder);
            match decoded {
                Ok(decoded) => {
                    used += decoded.taken;
                    let Some(message) = decoded.message else { break };
                    self.message(now, index, message, egress);
                }
                Err(error) => self.bad_message(now, index, error, egress),
            }
        }
        self.scratch = scratch;
        used
    }

    fn message(&mut self, now: Now, index: u32, message: Message<'_>, egress: &mut dyn Egress) {
        match (message, self.conns[index].dialect) {
            (Message::Text(text), Dialect::Json) => {
                self.metrics.frames_in.one();
                self.decoded(now, index, crate::json::decode(text), egress);
            }
            (Message::Binary(bytes), Dialect::WebSocketNative) => {
                let verified = self.verifier.verify(bytes);
                self.frame(now, index, verified, egress);
            }
            (Message::Text(_) | Message::Binary(_), _) => {
                self.decoded(now, index, Err(EventError::new(ErrorCode::Unsupported)), egress);
            }
            (Message::Ping(payload), _) => self.push(now, index, &server_frame(Kind::Pong, payload)),
            (Message::Pong(_), _) => {}
            (Message::Close { code, .. }, _) => {
                let last = close_frame(code.unwrap_or(1000), "");
                self.close_with(now, index, last, egress);
            }
        }
    }

    fn bad_message(&mut self, now: Now, index: u32, error: WebSocketError, egress: &mut dyn Egress) {
        match error {
            WebSocketError::TooLarge { .. } => self.metrics.oversized_frames.inc(),
            _ => self.metrics.malformed_frames.inc(),
        };
        self.close_as(now, index, crate::websocket::error_code(error), error.close_code(), egress);
    }
}
