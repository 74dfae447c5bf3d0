//! Sends that are kept for later: that they are, and what becomes of them.

use super::*;
use crate::envelope::Settled;

pub(super) fn encode_queued(fbb: &mut Builder, body: &Body) -> Union {
    match body {
        Body::Queued { client_msg_id, chat } => {
            let client_msg_id = Some(fbb.create_vector(client_msg_id));
            union!(fbb, Queued, QueuedArgs { client_msg_id: client_msg_id, chat: Some(&id(chat.0)) })
        }
        Body::Settled { client_msg_id, chat, outcome } => {
            let client_msg_id = Some(fbb.create_vector(client_msg_id));
            let (message, seq, timestamp_ms, code) = match *outcome {
                Ok(Settled { message, seq, timestamp_ms }) => (message, seq, timestamp_ms, 0),
                Err(code) => (MessageId([0; 16]), 0, 0, code as u16),
            };
            union!(
                fbb,
                Settled,
                SettledArgs {
                    client_msg_id: client_msg_id,
                    chat: Some(&id(chat.0)),
                    message: Some(&id(message.0)),
                    seq: seq,
                    timestamp_ms: timestamp_ms,
                    code: code,
                }
            )
        }
        _ => unreachable!("encode_body sends no other kind here"),
    }
}

pub(super) fn decode_queued(bytes: &Bytes, root: &link::Envelope<'_>) -> Result<Body, EnvelopeError> {
    Ok(match root.body_type() {
        link::Body::Queued => {
            let b = member!(root, body_as_queued);
            Body::Queued { client_msg_id: share(bytes, b.client_msg_id()), chat: ChatId(b.chat().0) }
        }
        _ => {
            let b = member!(root, body_as_settled);
            let stored = Settled { message: MessageId(b.message().0), seq: b.seq(), timestamp_ms: b.timestamp_ms() };
            let outcome = match b.code() {
                0 => Ok(stored),
                code => Err(ErrorCode::from_code(code).ok_or(EnvelopeError::OutOfRange("code"))?),
            };
            Body::Settled { client_msg_id: share(bytes, b.client_msg_id()), chat: ChatId(b.chat().0), outcome }
        }
    })
}
