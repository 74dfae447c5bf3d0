//! The native protocol: frames to events and events to frames.

use std::borrow::Cow;

use bytes::Bytes;
use schema::encode::Encoder;
use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire::{Body, MarkStatus};

use crate::wire::{Ask, ClientEvent, EventError, Remembered, ServerEvent};

/// Reads a verified frame's event.
pub(crate) fn decode(frame: FrameRef<'_>) -> Result<ClientEvent<'_>, EventError> {
    let root = frame.root();
    let event = match root.body_type() {
        Body::Send => return Ok(ClientEvent::SendFrame(frame)),
        Body::Mark => root.body_as_mark().and_then(|mark| {
            let known = mark.status() == MarkStatus::delivered || mark.status() == MarkStatus::read;
            let message = mark.message_id().map(MessageId::from);
            let valid = known && mark.chat_id().is_some() && (mark.seq() > 0 || message.is_some());
            valid.then(|| ClientEvent::Mark {
                chat: mark.chat_id().map(ChatId::from),
                seq: mark.seq(),
                message,
                status: mark.status(),
            })
        }),
        Body::Hello => root.body_as_hello().map(|hello| ClientEvent::Hello {
            version_min: hello.version_min(),
            version_max: hello.version_max(),
            features: hello.features(),
            token: hello.token().map_or(&[][..], |token| token.bytes()),
            remembered: Remembered {
                synced_ms: hello.synced_ms(),
                me: UserId::new(hello.user_id()).map(|user| (user, DeviceId(hello.device_id()))),
                marks: hello.marks(),
            },
        }),
        Body::Ping => root.body_as_ping().map(|ping| ClientEvent::Ping { nonce: ping.nonce() }),
        Body::Pong => Some(ClientEvent::Pong),
        Body::HistoryRequest => root.body_as_history_request().and_then(|request| {
            Some(ClientEvent::History {
                request_id: request.request_id(),
                chat: request.chat_id()?.into(),
                after_seq: request.after_seq(),
                limit: request.limit(),
            })
        }),
        Body::ChatRequest => root.body_as_chat_request().and_then(|request| {
            let (after_user, limit) = (request.after_user(), request.limit());
            let ask = Ask::Chat { chat: request.chat_id()?.into(), after_user, limit };
            Some(ClientEvent::Ask { request_id: request.request_id(), ask })
        }),
        Body::ChatsRequest => root.body_as_chats_request().map(|request| {
            let before = request.before_chat().map(|chat| (request.before_ms(), ChatId::from(chat)));
            let ask = Ask::Chats { before, limit: request.limit() };
            ClientEvent::Ask { request_id: request.request_id(), ask }
        }),
        Body::StatusRequest => root.body_as_status_request().and_then(|request| {
            let ask = Ask::Status { chat: request.chat_id()?.into(), message: request.message_id()?.into() };
            Some(ClientEvent::Ask { request_id: request.request_id(), ask })
        }),
        Body::AccountRequest => root.body_as_account_request().map(|request| {
            let ask = Ask::Account { chat: request.chat_id().map(ChatId::from) };
            ClientEvent::Ask { request_id: request.request_id(), ask }
        }),
        // What a server sends, and bodies of a newer protocol.
        _ => Some(ClientEvent::Unknown { client_msg_id: Cow::Borrowed(&[]) }),
    };
    event.ok_or(EventError::new(ErrorCode::InvalidField))
}

/// Whether a frame is a sign of life and nothing else.
pub(crate) fn is_ping(frame: &[u8]) -> bool {
    FrameRef::verify(frame).is_ok_and(|frame| matches!(frame.root().body_type(), Body::Ping | Body::Pong))
}

/// Writes an event's frame.
pub(crate) fn encode(encoder: &mut Encoder, event: &ServerEvent<'_>) -> Bytes {
    match *event {
        ServerEvent::Welcome(ref welcome) => encoder.welcome(welcome),
        ServerEvent::Sent { client_msg_id, chat, message, seq, timestamp_ms } => {
            encoder.sent(client_msg_id, chat, message, seq, timestamp_ms)
        }
        ServerEvent::Queued { client_msg_id, chat } => encoder.queued(client_msg_id, chat),
        ServerEvent::Entry { frame }
        | ServerEvent::Receipt { frame }
        | ServerEvent::Ticks { frame }
        | ServerEvent::Answer { frame } => frame.clone(),
        ServerEvent::Synced { server_time_ms } => encoder.synced(server_time_ms),
        ServerEvent::Covered { chat, first_seq, last_seq } => encoder.covered(chat, first_seq, last_seq),
        ServerEvent::Pong { nonce } => encoder.pong(nonce),
        ServerEvent::Error { code, text, client_msg_id, retry_after_ms } => {
            encoder.error(code, text, retry_after_ms, client_msg_id)
        }
        ServerEvent::Goodbye { code, text, retry_after_ms } => encoder.goodbye(code, text, retry_after_ms),
        ServerEvent::HistoryPage { request_id, chat, covers, head_seq, entries } => {
            let entries = entries.iter().map(|(_, frame)| frame.as_ref());
            encoder.history_page(request_id, chat, covers, head_seq, entries)
        }
        ServerEvent::Window { window } => encoder.window(window),
    }
}
