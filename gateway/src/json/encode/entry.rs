//! Entries of a chat's log.

use schema::frame::FrameError;
use schema::wire::{Entry, EntryKind};

use super::super::text;
use super::{list, number_field, other_body, place, role, time_field, user_id, uuid_field};

/// A message is a `message`; every other kind an `entry`. Neither is closed yet.
pub(super) fn entry(out: &mut Vec<u8>, entry: Entry<'_>) -> Result<(), FrameError> {
    let (Some(chat), Some(message)) = (entry.chat_id(), entry.message_id()) else {
        return Err(other_body("entry with ids"));
    };
    let body = entry.body().map_or(&[][..], |body| body.bytes());
    let is_message = entry.kind() == EntryKind::message;
    out.reserve(384 + body.len());
    if is_message {
        out.extend_from_slice(b"{\"type\":\"message\"");
    } else {
        out.extend_from_slice(b"{\"type\":\"entry\",\"kind\":\"");
        match entry.kind().variant_name() {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            // A newer owner's kind: its number is a name that stays.
            None => number_field(out, "kind_", entry.kind().0.into()),
        }
        out.push(b'"');
    }
    place(out, chat.into(), message.into(), entry.seq());
    user_id(out, ",\"sender_id\":\"", entry.sender_id());
    if let Some(refers_to) = entry.refers_to() {
        uuid_field(out, ",\"refers_to\":\"", &refers_to.0);
    }
    of_kind(out, &entry, body);
    beside(out, &entry);
    text::bytes(out, "client_msg_id", entry.client_msg_id().map_or(&[][..], |id| id.bytes()));
    time_field(out, ",\"timestamp\":\"", entry.timestamp_ms());
    Ok(())
}

/// What an entry of its kind always has, and whom it names.
fn of_kind(out: &mut Vec<u8>, entry: &Entry<'_>, body: &[u8]) {
    let kind = entry.kind();
    match kind {
        EntryKind::message | EntryKind::edited => text::bytes(out, "content", body),
        EntryKind::reacted => text::bytes(out, "reaction", body),
        EntryKind::created | EntryKind::renamed => text::bytes(out, "name", body),
        EntryKind::setting => {
            text::bytes(out, "key", entry.key().map_or(&[][..], |key| key.bytes()));
            text::bytes(out, "value", body);
        }
        EntryKind::device | EntryKind::revoked => {
            number_field(out, ",\"device_id\":", entry.device().into());
            if kind == EntryKind::device {
                text::bytes(out, "name", body);
            }
        }
        EntryKind::timer => number_field(out, ",\"ttl_s\":", entry.ttl_s().into()),
        EntryKind::deleted | EntryKind::hidden => {}
        EntryKind::added | EntryKind::removed | EntryKind::left | EntryKind::role => {}
        _ if entry.body().is_some() => text::bytes(out, "body", body),
        _ => {}
    }
    if let Some(users) = entry.users() {
        let name = match kind {
            EntryKind::message | EntryKind::edited => ",\"mentions\":[",
            _ => ",\"users\":[",
        };
        list(out, name, users.iter(), |out, user| user_id(out, "\"", user));
    }
    if kind == EntryKind::role {
        role(out, entry.role());
    }
    if let Some(subject) = entry.subject() {
        uuid_field(out, ",\"subject\":\"", &subject.0);
    }
}

/// What an entry may have besides; what is 0 is left out.
fn beside(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let ttl_s = if entry.kind() == EntryKind::timer { 0 } else { entry.ttl_s() };
    for (name, number) in [
        (",\"refers_seq\":", entry.refers_seq()),
        (",\"replaces_seq\":", entry.replaces_seq()),
        (",\"forwarded\":", entry.forwarded().into()),
        (",\"after_seq\":", entry.after_seq()),
        (",\"ttl_s\":", ttl_s.into()),
        (",\"edited_seq\":", entry.edited_seq()),
    ] {
        if number > 0 {
            number_field(out, name, number);
        }
    }
    for (name, ms) in [(",\"edited_at\":\"", entry.edited_ms()), (",\"deleted_at\":\"", entry.deleted_ms())] {
        if ms > 0 {
            time_field(out, name, ms);
        }
    }
}
