//! Who asks for what: what the owner takes out of a send's envelope, and what of it waits for the block.

use bytes::Bytes;
use schema::dedupe::DedupeKey;
use schema::envelope::{Address, Trace};
use schema::ids::{ChatId, DeviceId, MessageId, UserId};

use super::batch::{Item, What};

/// Who asks for what, taken out of an envelope once.
pub(super) struct Ask {
    pub reply: Address,
    pub request_id: u64,
    /// Only of a sampled send.
    pub trace: Option<Box<Trace>>,
    pub chat: ChatId,
    pub user: UserId,
    pub device: DeviceId,
    pub key: DedupeKey,
    pub client_msg_id: Bytes,
}

impl Ask {
    /// For an answer that is given later.
    pub(super) fn share(&self) -> Self {
        Self { client_msg_id: self.client_msg_id.clone(), trace: self.trace.clone(), ..*self }
    }
}

/// What a batch keeps of a send.
pub(super) fn item(what: What, chat: u32, seq: u64, message: MessageId, frame: Bytes, ask: Ask) -> Item {
    Item {
        what,
        chat,
        seq,
        message,
        frame,
        key: ask.key,
        user: ask.user,
        device: ask.device,
        client_msg_id: ask.client_msg_id,
        reply: ask.reply,
        request_id: ask.request_id,
        trace: ask.trace,
    }
}
