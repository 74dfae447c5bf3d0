//! A server's events.

mod chats;
mod entry;

use schema::errors::ErrorCode;
use schema::frame::{FrameError, FrameRef};
use schema::ids::{ChatId, MessageId};
use schema::wire::{MarkStatus, Receipt, Role};

pub use chats::reached;

use super::text;
use crate::wire::ServerEvent;

/// Appends one event as JSON text, without a WebSocket frame around it.
///
/// # Errors
/// Only when the frame of an entry, a receipt or a page is not one; then nothing is appended.
pub fn encode(event: &ServerEvent<'_>, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    let result = append(event, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn append(event: &ServerEvent<'_>, out: &mut Vec<u8>) -> Result<(), FrameError> {
    match event {
        ServerEvent::Welcome(welcome) => {
            out.extend_from_slice(b"{\"type\":\"ready\",\"user_id\":\"");
            text::number(out, welcome.user.get());
            out.extend_from_slice(b"\",\"device_id\":");
            text::number(out, welcome.device.0.into());
            time_field(out, ",\"server_time\":\"", welcome.server_time_ms);
        }
        ServerEvent::Sent { client_msg_id, chat, message, seq, timestamp_ms } => {
            out.extend_from_slice(b"{\"type\":\"ack\"");
            text::bytes(out, "client_msg_id", client_msg_id);
            place(out, *chat, *message, *seq);
            time_field(out, ",\"status\":\"sent\",\"timestamp\":\"", *timestamp_ms);
        }
        ServerEvent::Queued { client_msg_id, chat } => queued(out, client_msg_id, &chat.0),
        ServerEvent::Entry { frame } => return entry_frame(out, frame),
        ServerEvent::Receipt { frame } => {
            let frame = FrameRef::verify_from_server(frame)?;
            receipt(out, frame.root().body_as_receipt().ok_or_else(|| other_body("receipt"))?)?;
        }
        ServerEvent::Synced { server_time_ms } => {
            time_field(out, "{\"type\":\"synced\",\"server_time\":\"", *server_time_ms);
        }
        ServerEvent::Covered { chat, first_seq, last_seq } => {
            uuid_field(out, "{\"type\":\"covered\",\"chat_id\":\"", &chat.0);
            number_field(out, ",\"first_seq\":", *first_seq);
            number_field(out, ",\"last_seq\":", *last_seq);
        }
        ServerEvent::Pong { nonce: 0 } => out.extend_from_slice(b"{\"type\":\"pong\""),
        ServerEvent::Pong { nonce } => number_field(out, "{\"type\":\"pong\",\"nonce\":", *nonce),
        ServerEvent::Error { code, text, client_msg_id, retry_after_ms } => {
            error(out, *code, text, client_msg_id, *retry_after_ms);
        }
        ServerEvent::Goodbye { code, text, retry_after_ms } => error(out, *code, text, b"", *retry_after_ms),
        ServerEvent::HistoryPage { request_id, chat, covers, head_seq, entries } => {
            number_field(out, "{\"type\":\"history\",\"request_id\":", *request_id);
            uuid_field(out, ",\"chat_id\":\"", &chat.0);
            number_field(out, ",\"covers_first_seq\":", covers.0);
            number_field(out, ",\"covers_last_seq\":", covers.1);
            number_field(out, ",\"head_seq\":", *head_seq);
            out.extend_from_slice(b",\"entries\":[");
            for (index, (_, frame)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                append(&ServerEvent::Entry { frame }, out)?;
            }
            out.push(b']');
        }
        ServerEvent::Ticks { frame } => chats::ticks(out, frame)?,
        ServerEvent::Answer { frame } => chats::answer(out, frame)?,
        ServerEvent::Window { window } => {
            number_field(out, "{\"type\":\"window\",\"window\":", u64::from(*window));
        }
    }
    out.push(b'}');
    Ok(())
}

fn queued(out: &mut Vec<u8>, client_msg_id: &[u8], chat: &[u8; 16]) {
    out.extend_from_slice(b"{\"type\":\"ack\"");
    text::bytes(out, "client_msg_id", client_msg_id);
    uuid_field(out, ",\"chat_id\":\"", chat);
    out.extend_from_slice(b",\"status\":\"queued\"");
}

/// An entry frame's event, closed.
fn entry_frame(out: &mut Vec<u8>, frame: &[u8]) -> Result<(), FrameError> {
    let frame = FrameRef::verify_from_server(frame)?;
    entry::entry(out, frame.root().body_as_entry().ok_or_else(|| other_body("entry"))?)?;
    out.push(b'}');
    Ok(())
}

fn receipt(out: &mut Vec<u8>, receipt: Receipt<'_>) -> Result<(), FrameError> {
    let (Some(chat), Some(message)) = (receipt.chat_id(), receipt.message_id()) else {
        return Err(other_body("receipt with ids"));
    };
    out.extend_from_slice(b"{\"type\":\"ack\"");
    place(out, chat.into(), message.into(), receipt.seq());
    out.extend_from_slice(match receipt.status() {
        MarkStatus::read => b",\"status\":\"read\"",
        _ => b",\"status\":\"delivered\"",
    });
    user_id(out, ",\"user_id\":\"", receipt.user_id());
    Ok(())
}

fn error(out: &mut Vec<u8>, code: ErrorCode, text: &str, client_msg_id: &[u8], retry_after_ms: u32) {
    let info = code.info();
    out.extend_from_slice(b"{\"type\":\"error\",\"code\":\"");
    out.extend_from_slice(info.name.as_bytes());
    out.extend_from_slice(b"\",\"text\":");
    text::string(out, if text.is_empty() { info.text } else { text });
    if !client_msg_id.is_empty() {
        text::bytes(out, "client_msg_id", client_msg_id);
    }
    let retry_after_ms = if retry_after_ms == 0 { info.retry_after_ms } else { retry_after_ms };
    if retry_after_ms > 0 {
        number_field(out, ",\"retry_after_ms\":", retry_after_ms.into());
    }
}

/// `,"chat_id":"…","message_id":"…","seq":…`
fn place(out: &mut Vec<u8>, chat: ChatId, message: MessageId, seq: u64) {
    uuid_field(out, ",\"chat_id\":\"", &chat.0);
    uuid_field(out, ",\"message_id\":\"", &message.0);
    number_field(out, ",\"seq\":", seq);
}

fn number_field(out: &mut Vec<u8>, before: &str, number: u64) {
    out.extend_from_slice(before.as_bytes());
    text::number(out, number);
}

fn uuid_field(out: &mut Vec<u8>, before: &str, id: &[u8; 16]) {
    out.extend_from_slice(before.as_bytes());
    text::uuid(out, id);
    out.push(b'"');
}

fn user_id(out: &mut Vec<u8>, before: &str, user: u64) {
    number_field(out, before, user);
    out.push(b'"');
}

/// A role that is named; one of a newer owner is not shown.
fn role(out: &mut Vec<u8>, role: Role) {
    if let Some(name) = role.variant_name() {
        out.extend_from_slice(b",\"role\":\"");
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
    }
}

/// `before`, which opens the list, then its elements with commas between, closed.
fn list<T>(out: &mut Vec<u8>, before: &str, elements: impl Iterator<Item = T>, append: impl Fn(&mut Vec<u8>, T)) {
    out.extend_from_slice(before.as_bytes());
    for (index, element) in elements.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        append(out, element);
    }
    out.push(b']');
}

fn time_field(out: &mut Vec<u8>, before: &str, ms: u64) {
    out.extend_from_slice(before.as_bytes());
    text::time(out, ms);
    out.push(b'"');
}

fn other_body(expected: &'static str) -> FrameError {
    FrameError::Malformed(format!("not an {expected}"))
}
