//! The answers of an owner to a gateway.

use bytes::Bytes;
use fabric::tier::{Egress, Sent};
use schema::envelope::{Address, Body, Class, Envelope, Trace};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, MessageId};
use schema::timeuuid;

/// Answers a send. Its client_msg_id is a part of the `Bytes` beside it. `trace`: of a sampled one.
pub(super) fn send_sent(
    egress: &mut dyn Egress,
    (reply, request_id): (Address, u64),
    (client_msg_id, part_of): (&[u8], &Bytes),
    chat: ChatId,
    (seq, message): (u64, MessageId),
    trace: Option<&Trace>,
) {
    let timestamp_ms = timeuuid::unix_ms(message);
    egress.sent(&Sent { reply, request_id, client_msg_id, part_of, chat, message, seq, timestamp_ms, trace });
}

/// Refuses a send, a mark or a read.
pub(crate) fn send_refused(
    egress: &mut dyn Egress,
    class: Class,
    (reply, request_id): (Address, u64),
    client_msg_id: Bytes,
    chat: ChatId,
    code: ErrorCode,
) {
    let mut envelope = Envelope::new(class, Body::Refused { client_msg_id, chat, code, retry_after_ms: 0 });
    envelope.header.reply = reply;
    envelope.header.request_id = request_id;
    egress.to_gateway(reply, envelope);
}
