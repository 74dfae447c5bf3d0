//! What a client says, by kind.

use fabric::tier::Egress;
use fabric::time::Now;
use schema::errors::ErrorCode;
use schema::frame::VerifiedFrame;

use crate::conn::Phase;
use crate::shard::Shard;
use crate::wire::{ClientEvent, SendEvent, ServerEvent};

impl Shard {
    /// One event of a connection that may send events.
    pub(crate) fn event(&mut self, now: Now, index: u32, event: ClientEvent<'_>, egress: &mut dyn Egress) {
        if self.conns[index].phase != Phase::Ready {
            return self.first_event(now, index, &event, egress);
        }
        match event {
            ClientEvent::SendFrame(frame) => self.send(now, index, frame, None, egress),
            ClientEvent::Send(send) => self.send_event(now, index, &send, egress),
            ClientEvent::Mark { chat, seq, message, status } => {
                self.mark(now, index, super::marks::MarkEvent { chat, seq, message, status }, egress);
            }
            ClientEvent::Ping { nonce } => self.emit(now, index, &ServerEvent::Pong { nonce }),
            ClientEvent::Pong => {}
            ClientEvent::History { request_id, chat, after_seq, limit } => {
                self.history(now, index, (request_id, chat, after_seq, limit), egress);
            }
            ClientEvent::Ask { request_id, ask } => self.ask(now, index, request_id, ask, egress),
            ClientEvent::Hello { .. } | ClientEvent::Auth { .. } => {
                self.metrics.unsupported_events.inc();
                self.error(now, index, ErrorCode::Unsupported, &[], 0);
            }
            ClientEvent::Unknown { client_msg_id } => {
                self.metrics.unsupported_events.inc();
                self.error(now, index, ErrorCode::Unsupported, &client_msg_id, 0);
            }
        }
    }

    /// A send that came as JSON: a frame from here on.
    fn send_event(&mut self, now: Now, index: u32, send: &SendEvent<'_>, egress: &mut dyn Egress) {
        let bytes = send.frame(&mut self.encoder);
        if bytes.len() > self.config.limits.frame_limit_bytes as usize {
            self.metrics.oversized_frames.inc();
            self.close(now, index, ErrorCode::FrameTooLarge, egress);
            return;
        }
        let frame = VerifiedFrame::verify(bytes).expect("what the encoder wrote is a frame");
        self.send(now, index, frame.as_ref(), Some(&frame), egress);
    }
}
