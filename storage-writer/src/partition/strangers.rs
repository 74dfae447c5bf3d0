//! What is for a chat that an owned partition does not have, because it was pinned elsewhere and whoever asks does not know yet,
//! or was pinned here and has not come.
//!
//! What must stay true: it is refused as something to be tried again, never answered as a chat that there is not, and nothing
//! of it is stored.

use bytes::Bytes;
use fabric::tier::{Egress, Send};
use schema::envelope::{Body, Class, Envelope};
use schema::errors::ErrorCode;
use schema::ids::ChatId;

use super::Partition;
use crate::owner::send_refused;
use crate::pins::Residents;

impl Partition {
    /// Which chats it has.
    pub const fn residents(&self) -> &Residents {
        &self.residents
    }

    /// Whether a chat is elsewhere where chats may be.
    pub(crate) fn lacks(&self, chat: ChatId) -> bool {
        self.log.owned().is_some() && !self.residents.has(chat)
    }

    /// Whether something is about a chat that is elsewhere.
    pub(super) fn is_elsewhere(&self, body: &Body) -> bool {
        match body {
            Body::ForgetRefusals { chat }
            | Body::Mark { chat, .. }
            | Body::PageRequest { chat, .. }
            | Body::ChatRequest { chat, .. }
            | Body::StatusRequest { chat, .. } => self.lacks(*chat),
            _ => false,
        }
    }

    /// Answers who waits for an answer. A mark goes nowhere: its device says it again when it is back, and what it has read
    /// later says more.
    pub(super) fn refuse_stranger(&mut self, envelope: &Envelope, egress: &mut dyn Egress) {
        let header = &envelope.header;
        let (Body::PageRequest { chat, .. } | Body::ChatRequest { chat, .. } | Body::StatusRequest { chat, .. }) =
            &envelope.body
        else {
            return;
        };
        let code = ErrorCode::StorageUnavailable;
        self.metrics.refused(code);
        send_refused(egress, Class::Sync, (header.reply, header.request_id), Bytes::new(), *chat, code);
    }

    /// Refuses a send, and what its session sends behind it until it comes again.
    pub(crate) fn refuse_send_of_stranger(&mut self, send: &Send<'_>, egress: &mut dyn Egress) {
        self.refuse_now(send, ErrorCode::StorageUnavailable, egress);
    }
}
