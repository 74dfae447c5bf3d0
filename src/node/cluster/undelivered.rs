//! What becomes of an envelope that no link took: who waits for an answer gets one.

use fabric::link::Undelivered;
use schema::envelope::{Address, Body, Class, Envelope};
use schema::errors::ErrorCode;
use schema::ids::ChatId;

/// The answer that is owed for an envelope to the owners, with the session that gets it; `None` where nobody waits.
pub(in crate::node) fn answer(undelivered: &Undelivered) -> Option<(Address, Envelope)> {
    let Envelope { header, body } = &*undelivered.envelope;
    let (client_msg_id, chat) = match body {
        Body::Send { frame, chat, .. } => {
            let id = frame.root().body_as_send().and_then(|send| send.client_msg_id());
            (id.map(|id| id.bytes()).unwrap_or_default(), *chat)
        }
        Body::PageRequest { chat, .. } | Body::ChatRequest { chat, .. } | Body::StatusRequest { chat, .. } => {
            (&[][..], *chat)
        }
        Body::SyncRequest { user, .. } | Body::ChatsRequest { user, .. } | Body::AccountRequest { user, .. } => {
            (&[][..], ChatId::account(*user))
        }
        _ => return None,
    };
    let body = Body::Refused {
        client_msg_id: bytes::Bytes::copy_from_slice(client_msg_id),
        chat,
        code: ErrorCode::StorageUnavailable,
        retry_after_ms: 0,
    };
    let mut envelope = Envelope::new(Class::Ack, body).reply_to(header.reply);
    envelope.header.request_id = header.request_id;
    Some((header.reply, envelope))
}
