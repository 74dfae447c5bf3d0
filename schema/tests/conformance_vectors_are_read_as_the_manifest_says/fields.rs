//! A frame's fields as JSON: 64-bit numbers as decimal strings, bytes as hex, what is absent as null.

use flatbuffers::{ForwardsUOffset, Vector};
use schema::wire::{self, Body, Frame};
use serde_json::{Map, Value, json};

/// How a value is shown.
trait Show {
    fn show(self) -> Value;
}

macro_rules! as_number {
    ($($type:ty),*) => { $(impl Show for $type { fn show(self) -> Value { self.into() } })* };
}
as_number!(u8, u16, u32, bool);

impl Show for u64 {
    fn show(self) -> Value {
        self.to_string().into()
    }
}
impl Show for Option<Vector<'_, u8>> {
    fn show(self) -> Value {
        self.map_or(Value::Null, |bytes| hex(bytes.bytes()).into())
    }
}
impl Show for Option<Vector<'_, u64>> {
    fn show(self) -> Value {
        self.map_or(Value::Null, |numbers| numbers.iter().map(Show::show).collect())
    }
}
impl Show for Option<Vector<'_, wire::Member>> {
    fn show(self) -> Value {
        let member = |m: &wire::Member| {
            let [user_id, delivered_seq, read_seq] = [m.user_id(), m.delivered_seq(), m.read_seq()].map(Show::show);
            json!({ "user_id": user_id, "delivered_seq": delivered_seq, "read_seq": read_seq, "role": m.role().show() })
        };
        self.map_or(Value::Null, |members| members.iter().map(member).collect())
    }
}
impl Show for Option<&wire::Uuid> {
    fn show(self) -> Value {
        self.map_or(Value::Null, |id| hex(&id.0).into())
    }
}
impl Show for wire::EntryKind {
    fn show(self) -> Value {
        self.0.into()
    }
}
impl Show for wire::Role {
    fn show(self) -> Value {
        self.0.into()
    }
}
impl Show for wire::ChatKind {
    fn show(self) -> Value {
        self.0.into()
    }
}
impl Show for wire::MarkStatus {
    fn show(self) -> Value {
        self.0.into()
    }
}
impl Show for wire::SendStatus {
    fn show(self) -> Value {
        self.0.into()
    }
}
impl<'a> Show for Option<Vector<'a, ForwardsUOffset<wire::EntryBytes<'a>>>> {
    fn show(self) -> Value {
        self.map_or(Value::Null, |entries| entries.iter().map(|entry| entry.frame().show()).collect())
    }
}
impl<'a> Show for Option<Vector<'a, ForwardsUOffset<wire::ChatInfoBytes<'a>>>> {
    fn show(self) -> Value {
        let chat = |c: wire::ChatInfoBytes<'_>| {
            let (frame, muted_until_ms) = (c.frame().show(), c.muted_until_ms().show());
            json!({ "frame": frame, "pinned": c.pinned(), "archived": c.archived(), "muted_until_ms": muted_until_ms })
        };
        self.map_or(Value::Null, |chats| chats.iter().map(chat).collect())
    }
}
impl<'a> Show for Option<Vector<'a, ForwardsUOffset<wire::Setting<'a>>>> {
    fn show(self) -> Value {
        let setting = |s: wire::Setting<'_>| json!({ "key": s.key().show(), "value": s.value().show() });
        self.map_or(Value::Null, |settings| settings.iter().map(setting).collect())
    }
}
impl<'a> Show for Option<Vector<'a, ForwardsUOffset<wire::Device<'a>>>> {
    fn show(self) -> Value {
        let device = |d: wire::Device<'_>| {
            let [named_ms, revoked_ms] = [d.named_ms(), d.revoked_ms()].map(Show::show);
            json!({ "device": d.device(), "name": d.name().show(), "named_ms": named_ms, "revoked_ms": revoked_ms })
        };
        self.map_or(Value::Null, |devices| devices.iter().map(device).collect())
    }
}
impl Show for Option<Vector<'_, wire::Uuid>> {
    fn show(self) -> Value {
        self.map_or(Value::Null, |ids| ids.iter().map(|id| Some(id).show()).collect())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

macro_rules! show {
    ($table:expr; $($field:ident),*) => {{
        let table = $table.expect("the union's kind says so");
        let mut fields = Map::new();
        $(fields.insert(stringify!($field).to_owned(), table.$field().show());)*
        fields
    }};
}

/// The body kind's name (`unknown` for a kind this build does not know) and its fields.
pub fn of(frame: Frame<'_>) -> (&'static str, Value) {
    let kind = frame.body_type();
    let fields = match kind {
        Body::Hello => show!(frame.body_as_hello(); version_min, version_max, features, token, agent,
            synced_ms, user_id, device_id, marks),
        Body::Welcome => show!(frame.body_as_welcome(); version, features, session_id, server_incarnation, user_id,
            device_id, server_time_ms, frame_limit_bytes, window, sends_per_second, burst, ping_interval_ms,
            idle_timeout_ms),
        Body::Send => show!(frame.body_as_send(); client_msg_id, chat_id, to, kind, content_type, body, refers_to,
            after_seq, retry, users, role, ttl_s, forwarded, subject, key, device),
        Body::SendAck => show!(frame.body_as_send_ack(); client_msg_id, chat_id, message_id, seq, status,
            timestamp_ms),
        Body::Entry => show!(frame.body_as_entry(); chat_id, message_id, seq, sender_id, sender_device, kind,
            content_type, body, client_msg_id, refers_to, after_seq, timestamp_ms, users, role, ttl_s, forwarded,
            subject, key, device, refers_seq, replaces_seq, edited_seq, edited_ms, deleted_ms),
        Body::Mark => show!(frame.body_as_mark(); chat_id, message_id, seq, status),
        Body::Receipt => show!(frame.body_as_receipt(); chat_id, message_id, seq, user_id, status),
        Body::Synced => show!(frame.body_as_synced(); server_time_ms),
        Body::Covered => show!(frame.body_as_covered(); chat_id, first_seq, last_seq),
        Body::Ping => show!(frame.body_as_ping(); nonce),
        Body::Pong => show!(frame.body_as_pong(); nonce),
        Body::Error => show!(frame.body_as_error(); code, fault, retry, scope, retry_after_ms, text, client_msg_id),
        Body::HistoryRequest => show!(frame.body_as_history_request(); request_id, chat_id, after_seq, limit),
        Body::HistoryPage => show!(frame.body_as_history_page(); request_id, chat_id, covers_first_seq,
            covers_last_seq, head_seq, entries),
        Body::Window => show!(frame.body_as_window(); window),
        Body::Goodbye => show!(frame.body_as_goodbye(); code, close_code, retry, retry_after_ms, text),
        Body::ChatRequest => show!(frame.body_as_chat_request(); request_id, chat_id, after_user, limit),
        Body::ChatInfo => show!(frame.body_as_chat_info(); request_id, chat_id, kind, name, created_by, members,
            member_count, next_user, head_seq, last_ms, read_seq, unread, present, last_entry),
        Body::ChatsRequest => show!(frame.body_as_chats_request(); request_id, before_ms, before_chat, limit),
        Body::Chats => show!(frame.body_as_chats(); request_id, chats, has_more),
        Body::StatusRequest => show!(frame.body_as_status_request(); request_id, chat_id, message_id),
        Body::MessageStatus => show!(frame.body_as_message_status(); request_id, chat_id, message_id, seq, total,
            delivered, read, members),
        Body::Ticks => show!(frame.body_as_ticks(); chat_id, members),
        Body::AccountRequest => show!(frame.body_as_account_request(); request_id, chat_id),
        Body::Account => show!(frame.body_as_account(); request_id, settings, devices, hidden),
        _ => Map::new(),
    };
    (kind.variant_name().unwrap_or("unknown"), Value::Object(fields))
}
