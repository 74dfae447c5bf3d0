//! Output, pauses and ends of connections.

use bytes::Bytes;
use fabric::core::Action;
use fabric::count::Tally as _;
use fabric::net::websocket::{Kind, close_frame, server_frame};
use fabric::tier::Egress;
use fabric::time::Now;
use schema::encode::Encoder;
use schema::envelope::{Address, Body, Class, Envelope};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, Slot};
use schema::ids::{DeviceId, UserId};

use super::output::Output;
use super::wheel::tick_of;
use super::{FLAG_FLUSH, FLAG_MOVED, FLAG_SLOW, PAUSE_CREDIT, PAUSE_READER, Phase, native};
use crate::shard::Shard;
use crate::websocket::unopened;
use crate::wire::{Dialect, ServerEvent};

/// Output buffers kept for the next connection that needs one.
const SPARE_OUTPUTS: usize = 256;
/// A connection's reads are paused when so many times its output limit wait: it does not read even its answers.
const PAUSE_FACTOR: usize = 4;

impl Shard {
    /// Where a session's answers go.
    pub(crate) fn address(&self, index: u32) -> Address {
        Address {
            incarnation: self.config.incarnation,
            shard: self.config.shard,
            connection: index,
            generation: self.conns[index].generation,
        }
    }

    /// The session's user. Only after authentication.
    pub(crate) fn user(&self, index: u32) -> (UserId, DeviceId) {
        let conn = &self.conns[index];
        (UserId::new(conn.user).expect("only authenticated sessions get here"), DeviceId(conn.device))
    }

    /// Queues whole frames that others may get too.
    pub(crate) fn push(&mut self, now: Now, index: u32, chunk: &Bytes) {
        self.queue(now, index, |output, _| output.push(chunk));
    }

    /// Queues what `add` adds to the connection's output; it returns how many bytes.
    fn queue(&mut self, now: Now, index: u32, add: impl FnOnce(&mut Output, &mut Encoder) -> usize) {
        let id = self.conns.id(index);
        let conn = &mut self.conns[index];
        let output = conn.output.get_or_insert_with(|| self.spare.pop().unwrap_or_default());
        if output.pending() == 0 {
            conn.moved = tick_of(now);
        }
        self.output_bytes += add(output, &mut self.encoder);
        let pending = output.pending();
        if conn.flags & FLAG_FLUSH == 0 {
            conn.flags |= FLAG_FLUSH;
            self.actions.push_back(Action::Flush(id));
        }
        let limit = self.config.limits.out_buffer_bytes as usize;
        if pending > limit && conn.flags & FLAG_SLOW == 0 {
            conn.flags |= FLAG_SLOW;
            self.metrics.slow_readers.inc();
        }
        if pending > PAUSE_FACTOR * limit && conn.paused & PAUSE_READER == 0 && conn.phase == Phase::Ready {
            self.pause(index, PAUSE_READER);
            self.metrics.reads_paused.inc();
        }
    }

    /// Encodes an event for a connection, with its protocol's framing.
    pub(crate) fn encode(&mut self, dialect: Dialect, event: &ServerEvent<'_>) -> Bytes {
        match dialect {
            Dialect::Native => native::encode(&mut self.encoder, event),
            Dialect::WebSocketNative => server_frame(Kind::Binary, &native::encode(&mut self.encoder, event)),
            Dialect::Json => {
                self.text.clear();
                if crate::json::encode(event, &mut self.text).is_err() {
                    // An entry that its owner wrote and that is not a frame: say so rather than leave a hole in silence.
                    self.metrics.entries_unreadable.inc();
                    self.text.clear();
                    let (code, text) = (ErrorCode::Internal, "an entry cannot be read");
                    let error = ServerEvent::Error { code, text, client_msg_id: &[], retry_after_ms: 0 };
                    crate::json::encode(&error, &mut self.text).unwrap_or_default();
                }
                server_frame(Kind::Text, &self.text)
            }
        }
    }

    /// Sends one event.
    pub(crate) fn emit(&mut self, now: Now, index: u32, event: &ServerEvent<'_>) {
        let dialect = self.conns[index].dialect;
        // What every message needs is written where it leaves from.
        if let (Dialect::Native, &ServerEvent::Sent { client_msg_id, chat, message, seq, timestamp_ms }) =
            (dialect, event)
        {
            return self.queue(now, index, |output, encoder| {
                output.write(|out| encoder.sent_into(client_msg_id, (chat, message), seq, timestamp_ms, out))
            });
        }
        let chunk = self.encode(dialect, event);
        self.push(now, index, &chunk);
    }

    /// Refuses one request; the session goes on.
    pub(crate) fn error(&mut self, now: Now, index: u32, code: ErrorCode, client_msg_id: &[u8], retry_after_ms: u32) {
        self.emit(now, index, &ServerEvent::Error { code, text: "", client_msg_id, retry_after_ms });
    }

    pub(crate) fn pause(&mut self, index: u32, why: u8) {
        let conn = &mut self.conns[index];
        if conn.paused == 0 {
            self.actions.push_back(Action::Pause(fabric::core::ConnId { index, generation: conn.generation }));
        }
        conn.paused |= why;
    }

    /// Ends one reason to pause. The caller then works off the input that has been kept.
    pub(crate) fn unpause(&mut self, now: Now, index: u32, why: u8) {
        let conn = &mut self.conns[index];
        if conn.paused == 0 {
            return;
        }
        conn.paused &= !why;
        if conn.paused == 0 {
            conn.seen = tick_of(now);
            self.actions.push_back(Action::Resume(fabric::core::ConnId { index, generation: conn.generation }));
        }
    }

    /// Tells a connection why it ends, and ends it. What is queued is still written.
    pub(crate) fn close(&mut self, now: Now, index: u32, code: ErrorCode, egress: &mut dyn Egress) {
        self.end(now, index, (code, code.info().close_code, 0), egress);
    }

    /// As [`Self::close`], with a WebSocket close code that is more exact than the table's.
    pub(crate) fn close_as(&mut self, now: Now, index: u32, code: ErrorCode, close: u16, egress: &mut dyn Egress) {
        self.end(now, index, (code, close, 0), egress);
    }

    /// As [`Self::close`], with a wait of its own before the client comes back, ms.
    pub(crate) fn close_until(
        &mut self,
        now: Now,
        index: u32,
        code: ErrorCode,
        retry_after_ms: u32,
        egress: &mut dyn Egress,
    ) {
        self.end(now, index, (code, code.info().close_code, retry_after_ms), egress);
    }

    fn end(
        &mut self,
        now: Now,
        index: u32,
        (code, close, retry_after_ms): (ErrorCode, u16, u32),
        egress: &mut dyn Egress,
    ) {
        match self.conns[index].phase {
            Phase::Closing => return,
            // Still HTTP: what it is told must be HTTP too.
            Phase::Upgrade => {
                return self.close_with(now, index, unopened(code, retry_after_ms), egress);
            }
            _ => {}
        }
        self.end_session(index, code == ErrorCode::SessionReplaced, egress);
        self.conns[index].phase = Phase::Closing;
        self.emit(now, index, &ServerEvent::Goodbye { code, text: "", retry_after_ms });
        if self.conns[index].websocket.is_some() {
            self.push(now, index, &close_frame(close, code.info().name));
        }
        self.finish(index);
    }

    /// Ends a connection with `last` (already framed) instead of a goodbye.
    pub(crate) fn close_with(&mut self, now: Now, index: u32, last: Bytes, egress: &mut dyn Egress) {
        if self.conns[index].phase == Phase::Closing {
            return;
        }
        self.end_session(index, false, egress);
        self.conns[index].phase = Phase::Closing;
        self.push(now, index, &last);
        self.finish(index);
    }

    fn finish(&mut self, index: u32) {
        let id = self.conns.id(index);
        let conn = &mut self.conns[index];
        conn.input = Vec::new();
        self.actions.push_back(Action::Close(id));
    }

    /// What others must know of a session's end. `replaced`: the directory already has its successor.
    pub(crate) fn end_session(&mut self, index: u32, replaced: bool, egress: &mut dyn Egress) {
        let phase = self.conns[index].phase;
        if !matches!(phase, Phase::Registering | Phase::Ready) {
            return;
        }
        let reply = self.address(index);
        if !replaced {
            self.send_unregister(index, false, egress);
        }
        if self.conns[index].has(FLAG_MOVED) {
            self.send_unregister(index, true, egress);
        }
        if phase == Phase::Ready {
            self.metrics.sessions.dec();
        }
        self.forget_queued(index);
        let Some(active) = self.conns[index].active.take() else { return };
        for chat in active.blocked.iter().flat_map(|blocked| blocked.known_to_owners()) {
            self.metrics.refusals_forgotten.inc();
            forget_refusals(self.slot_of(chat), chat, reply, egress);
        }
    }

    /// See [`fabric::core::Core::take_output`].
    pub fn take_output(&mut self, conn: fabric::core::ConnId, max_bytes: usize, out: &mut Vec<u8>) {
        let Some(index) = self.conns.find(conn.index, conn.generation) else { return };
        if let Some(output) = &mut self.conns[index].output {
            output.take(max_bytes, out);
        }
    }

    /// See [`fabric::core::Core::written`].
    pub fn written(&mut self, now: Now, conn: fabric::core::ConnId, bytes: usize, egress: &mut dyn Egress) {
        let Some(index) = self.conns.find(conn.index, conn.generation) else { return };
        self.metrics.bytes_out.add(bytes as u64);
        let low = self.low_water();
        let place = &mut self.conns[index];
        let Some(output) = &mut place.output else { return };
        let before = output.pending();
        output.written(bytes);
        place.moved = tick_of(now);
        let pending = output.pending();
        self.output_bytes -= before - pending;
        if pending == 0 {
            if let Some(mut output) = place.output.take()
                && self.spare.len() < SPARE_OUTPUTS
            {
                output.reset();
                self.spare.push(output);
            }
        } else if output.ready() && !output.in_flight() && place.flags & FLAG_FLUSH == 0 {
            place.flags |= FLAG_FLUSH;
            self.actions.push_back(Action::Flush(conn));
        }
        if place.phase != Phase::Ready {
            return;
        }
        if pending < low && place.flags & FLAG_SLOW != 0 {
            place.flags &= !FLAG_SLOW;
        }
        if pending < low && place.active.as_ref().is_some_and(|active| active.sync.is_some()) {
            self.pump(now, index, egress);
        }
        if pending < 2 * low && self.conns[index].paused & PAUSE_READER != 0 {
            self.unpause(now, index, PAUSE_READER);
            self.resume_input(now, index, egress);
        }
    }

    /// Under so many bytes of output pages are asked for, and a slow reader is slow no more.
    pub(crate) const fn low_water(&self) -> usize {
        (self.config.limits.out_buffer_bytes as usize).div_ceil(2)
    }

    /// Ends the wait for a credit and goes on with what came behind the kept send.
    pub(crate) fn resume_credit(&mut self, now: Now, index: u32, egress: &mut dyn Egress) {
        self.unpause(now, index, PAUSE_CREDIT);
        self.resume_input(now, index, egress);
    }
}

/// Tells an owner to forget the refusals of a session that is gone.
pub(crate) fn forget_refusals(slot: Slot, chat: ChatId, reply: Address, egress: &mut dyn Egress) {
    let mut envelope = Envelope::new(Class::Control, Body::ForgetRefusals { chat }).reply_to(reply);
    envelope.header.slot = slot;
    egress.to_owner(slot, envelope);
}
