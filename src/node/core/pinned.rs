//! Chats that get another partition while the shard runs.
//!
//! What must stay true: what waited here for such a chat goes on in its order, before anything new; where one send cannot, what
//! its session sent behind it is refused too.

use std::collections::BTreeSet;

use fabric::time::Now;
use schema::envelope::{Body, Class, Envelope};
use schema::errors::ErrorCode;
use schema::ids::ChatId;
use schema::places::Places;

use super::super::changes::ShardChange;
use super::ShardCore;

impl ShardCore {
    /// Chats have other partitions from now on, and nobody owes anything for them but `envelopes`, which waited here.
    pub(super) fn places_changed(&mut self, now: Now, places: &Places, envelopes: Vec<Envelope>) {
        self.gateway.set_places(places.clone());
        if self.hub.shard() == 0
            && let Some(http) = self.inboxes.last()
        {
            http.put(ShardChange::Places(places.clone()));
        }
        let mut behind: BTreeSet<(u32, u32, ChatId)> = BTreeSet::new();
        let (mut goes, mut refused) = (Vec::new(), Vec::new());
        for mut envelope in envelopes {
            let reply = envelope.header.reply;
            let Body::Send { chat, .. } = &envelope.body else {
                goes.push(self.gateway.placed(envelope));
                continue;
            };
            let chat = *chat;
            let session = (reply.connection, reply.generation, chat);
            if behind.contains(&session) {
                refused.extend(refusal(&envelope, ErrorCode::AfterRefused));
            } else if self.gateway.moved(&mut envelope, chat) {
                goes.push(envelope);
            } else {
                behind.insert(session);
                refused.extend(refusal(&envelope, ErrorCode::StorageUnavailable));
            }
        }
        self.release(goes);
        // At once: what the session has kept behind one of them must not go before it.
        for answer in refused {
            self.with_gateway(now, |gateway, way| gateway.handle(now, answer, way));
        }
        self.with_gateway(now, |gateway, way| gateway.serve_moved(now, way));
    }
}

/// The answer to a send that goes nowhere.
fn refusal(envelope: &Envelope, code: ErrorCode) -> Option<Envelope> {
    let Body::Send { frame, chat, .. } = &envelope.body else { return None };
    let id = frame.root().body_as_send().and_then(|send| send.client_msg_id());
    let client_msg_id = bytes::Bytes::copy_from_slice(id.map(|id| id.bytes()).unwrap_or_default());
    let body = Body::Refused { client_msg_id, chat: *chat, code, retry_after_ms: 0 };
    let mut answer = Envelope::new(Class::Ack, body).reply_to(envelope.header.reply);
    answer.header.request_id = envelope.header.request_id;
    Some(answer)
}
