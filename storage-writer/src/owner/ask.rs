//! Who asks for what: what the owner takes out of a send's envelope, and what of it waits for the block.

use bytes::Bytes;
use schema::dedupe::DedupeKey;
use schema::envelope::Header;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};

use super::batch::{Item, What};

/// Who asks for what, taken out of an envelope once.
pub(super) struct Ask {
    pub header: Header,
    pub chat: ChatId,
    pub user: UserId,
    pub device: DeviceId,
    pub key: DedupeKey,
    pub client_msg_id: Bytes,
}

impl Ask {
    /// For an answer that is given later.
    pub(super) fn share(&self) -> Self {
        Self { client_msg_id: self.client_msg_id.clone(), ..*self }
    }
}

/// What a batch keeps of a send.
pub(super) fn item(what: What, chat: u32, seq: u64, message: MessageId, frame: Bytes, ask: Ask) -> Item {
    let sampled = ask.header.trace_id != 0 || ask.header.stages.accepted != 0;
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
        reply: ask.header.reply,
        request_id: ask.header.request_id,
        trace: sampled.then(|| Box::new((ask.header.trace_id, ask.header.stages))),
    }
}
