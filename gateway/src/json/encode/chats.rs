//! Answers to questions about chats.

use schema::frame::{FrameError, FrameRef};
use schema::wire::{ChatInfo, ChatKind, Chats, Member, MessageStatus};

use super::super::text;
use super::{entry_frame, list, number_field, other_body, role, time_field, user_id, uuid_field};

/// The frame of an answer; not closed yet.
pub(super) fn answer(out: &mut Vec<u8>, frame: &[u8]) -> Result<(), FrameError> {
    let frame = FrameRef::verify_from_server(frame)?;
    let root = frame.root();
    if let Some(info) = root.body_as_chat_info() {
        number_field(out, "{\"type\":\"chat\",\"request_id\":", info.request_id());
        chat(out, ",\"chat_id\":\"", info)
    } else if let Some(page) = root.body_as_chats() {
        chats(out, page)
    } else if let Some(message) = root.body_as_message_status() {
        status(out, message)
    } else {
        Err(other_body("answer"))
    }
}

/// From the chat's id on; `before` is what comes before it.
fn chat(out: &mut Vec<u8>, before: &str, info: ChatInfo<'_>) -> Result<(), FrameError> {
    let Some(chat) = info.chat_id() else { return Err(other_body("answer with a chat's id")) };
    uuid_field(out, before, &chat.0);
    out.extend_from_slice(b",\"kind\":\"");
    match info.kind().variant_name() {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => number_field(out, "kind_", info.kind().0.into()),
    }
    out.push(b'"');
    if info.kind() == ChatKind::group {
        text::bytes(out, "name", info.name().map_or(&[][..], |name| name.bytes()));
    }
    if info.created_by() > 0 {
        user_id(out, ",\"created_by\":\"", info.created_by());
    }
    list(out, ",\"members\":[", info.members().into_iter().flatten(), member);
    number_field(out, ",\"member_count\":", info.member_count().into());
    user_id(out, ",\"next_user\":\"", info.next_user());
    number_field(out, ",\"head_seq\":", info.head_seq());
    time_field(out, ",\"last\":\"", info.last_ms());
    number_field(out, ",\"read_seq\":", info.read_seq());
    number_field(out, ",\"unread\":", info.unread().into());
    out.extend_from_slice(if info.present() { b",\"present\":true" } else { b",\"present\":false" });
    if let Some(entry) = info.last_entry() {
        out.extend_from_slice(b",\"last_entry\":");
        entry_frame(out, entry.bytes())?;
    }
    Ok(())
}

fn member(out: &mut Vec<u8>, member: &Member) {
    user_id(out, "{\"user_id\":\"", member.user_id());
    role(out, member.role());
    number_field(out, ",\"delivered_seq\":", member.delivered_seq());
    number_field(out, ",\"read_seq\":", member.read_seq());
    out.push(b'}');
}

fn chats(out: &mut Vec<u8>, page: Chats<'_>) -> Result<(), FrameError> {
    number_field(out, "{\"type\":\"chats\",\"request_id\":", page.request_id());
    out.extend_from_slice(b",\"chats\":[");
    for (index, one) in page.chats().into_iter().flatten().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let frame = FrameRef::verify_from_server(one.frame().map_or(&[][..], |frame| frame.bytes()))?;
        let info = frame.root().body_as_chat_info().ok_or_else(|| other_body("answer of chats"))?;
        chat(out, "{\"chat_id\":\"", info)?;
        out.push(b'}');
    }
    out.extend_from_slice(if page.has_more() { b"],\"has_more\":true" } else { b"],\"has_more\":false" });
    Ok(())
}

fn status(out: &mut Vec<u8>, message: MessageStatus<'_>) -> Result<(), FrameError> {
    let (Some(chat), Some(id)) = (message.chat_id(), message.message_id()) else {
        return Err(other_body("answer with a message's ids"));
    };
    let seq = message.seq();
    number_field(out, "{\"type\":\"status\",\"request_id\":", message.request_id());
    super::place(out, chat.into(), id.into(), seq);
    number_field(out, ",\"total\":", message.total().into());
    number_field(out, ",\"delivered\":", message.delivered().into());
    number_field(out, ",\"read\":", message.read().into());
    let pending = message.total().saturating_sub(message.delivered()).saturating_sub(message.read());
    number_field(out, ",\"pending\":", pending.into());
    list(out, ",\"members\":[", message.members().into_iter().flatten(), |out, member| {
        user_id(out, "{\"user_id\":\"", member.user_id());
        out.extend_from_slice(b",\"status\":\"");
        out.extend_from_slice(reached(member, seq).as_bytes());
        out.extend_from_slice(b"\"}");
    });
    Ok(())
}

/// How far a message at `seq` came with a member: `read`, `delivered` or `pending`.
pub fn reached(member: &Member, seq: u64) -> &'static str {
    if member.read_seq() >= seq {
        "read"
    } else if member.delivered_seq() >= seq {
        "delivered"
    } else {
        "pending"
    }
}
