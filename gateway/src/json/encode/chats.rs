//! Answers to questions about chats.

use schema::frame::{FrameError, FrameRef};
use schema::wire::{Account, ChatInfo, ChatKind, Chats, Member, MessageStatus};

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
    } else if let Some(now) = root.body_as_account() {
        account(out, now);
        Ok(())
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
        out.extend_from_slice(if one.pinned() { b",\"pinned\":true" } else { b",\"pinned\":false" });
        out.extend_from_slice(if one.archived() { b",\"archived\":true" } else { b",\"archived\":false" });
        time_or_null(out, ",\"muted_until\":", one.muted_until_ms());
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

fn account(out: &mut Vec<u8>, now: Account<'_>) {
    number_field(out, "{\"type\":\"account\",\"request_id\":", now.request_id());
    list(out, ",\"settings\":[", now.settings().into_iter().flatten(), |out, setting| {
        // Each field comes with a comma before it; the first one's place is the brace's.
        let start = out.len();
        text::bytes(out, "key", setting.key().map_or(&[][..], |key| key.bytes()));
        out[start] = b'{';
        text::bytes(out, "value", setting.value().map_or(&[][..], |value| value.bytes()));
        out.push(b'}');
    });
    list(out, ",\"devices\":[", now.devices().into_iter().flatten(), |out, device| {
        number_field(out, "{\"device_id\":", device.device().into());
        text::bytes(out, "name", device.name().map_or(&[][..], |name| name.bytes()));
        time_or_null(out, ",\"named_at\":", device.named_ms());
        time_or_null(out, ",\"revoked_at\":", device.revoked_ms());
        out.push(b'}');
    });
    list(out, ",\"hidden\":[", now.hidden().into_iter().flatten(), |out, message| {
        uuid_field(out, "\"", &message.0);
    });
}

/// The frame of ticks; not closed yet.
pub(super) fn ticks(out: &mut Vec<u8>, frame: &[u8]) -> Result<(), FrameError> {
    let frame = FrameRef::verify_from_server(frame)?;
    let ticks = frame.root().body_as_ticks().ok_or_else(|| other_body("answer of ticks"))?;
    let Some(chat) = ticks.chat_id() else { return Err(other_body("answer with a chat's id")) };
    uuid_field(out, "{\"type\":\"ticks\",\"chat_id\":\"", &chat.0);
    list(out, ",\"members\":[", ticks.members().into_iter().flatten(), |out, member| {
        user_id(out, "{\"user_id\":\"", member.user_id());
        number_field(out, ",\"delivered_seq\":", member.delivered_seq());
        number_field(out, ",\"read_seq\":", member.read_seq());
        out.push(b'}');
    });
    Ok(())
}

/// A time in quotes; null where there is none.
fn time_or_null(out: &mut Vec<u8>, before: &str, ms: u64) {
    out.extend_from_slice(before.as_bytes());
    if ms > 0 {
        time_field(out, "\"", ms);
    } else {
        out.extend_from_slice(b"null");
    }
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
