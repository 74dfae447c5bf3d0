//! What REST's bodies look like, for serde and for the OpenAPI description.

pub mod account;
pub mod amend;
pub mod chats;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// 1 to 18446744073709551615, without leading zeros.
pub const USER_PATTERN: &str = "^([1-9][0-9]{0,18}|1[0-7][0-9]{18}|18[0-3][0-9]{17}|184[0-3][0-9]{16}|1844[0-5][0-9]{15}|18446[0-6][0-9]{14}|184467[0-3][0-9]{13}|1844674[0-3][0-9]{12}|184467440[0-6][0-9]{10}|1844674407[0-2][0-9]{9}|18446744073[0-6][0-9]{8}|1844674407370[0-8][0-9]{6}|18446744073709[0-4][0-9]{5}|184467440737095[0-4][0-9]{4}|18446744073709550[0-9]{3}|18446744073709551[0-5][0-9]{2}|1844674407370955160[0-9]|1844674407370955161[0-5])$";

/// Times as they are shown: UTC, with milliseconds.
pub const TIME_PATTERN: &str = "^(19[7-9]|[2-9][0-9]{2})[0-9]-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][.][0-9]{3}Z$";

/// What an `Idempotency-Key` may be: printable, without spaces around it.
pub const KEY_PATTERN: &str = "^[!-~]([ -~]{0,62}[!-~])?$";

/// A message to send.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[allow(non_snake_case)] // the names of the interface
pub struct NewMessage {
    /// Who sends: the token's user.
    #[schema(pattern = "USER", example = "7")]
    pub senderId: String,
    /// To whom: a user id.
    #[schema(pattern = "USER", example = "9")]
    pub receiverId: String,
    /// The text. With everything around it, it must fit the server's frame limit (64 KiB by default).
    #[schema(example = "hello")]
    pub message: String,
    /// The message it answers.
    #[schema(format = "uuid", pattern = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")]
    pub refers_to: Option<String>,
    /// Who is mentioned: members of the group, or the other of the direct chat.
    #[schema(inline, max_items = 256)]
    pub mentions: Option<Vec<chats::User>>,
    /// How often it has been passed on.
    #[schema(minimum = 0, maximum = 255)]
    pub forwarded: Option<u8>,
    /// The sender's id for it: the same id gets the same answer and stores nothing twice, for 24 hours. `Idempotency-Key` does the
    /// same.
    #[schema(pattern = "^[ -~]{1,64}$")]
    pub client_msg_id: Option<String>,
}

/// A message that is stored.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SentMessage {
    /// `sent`: durable.
    #[schema(example = "sent")]
    pub status: String,
    /// Its chat.
    #[schema(format = "uuid")]
    pub chat_id: String,
    /// Its id, a TIMEUUID.
    #[schema(format = "uuid")]
    pub message_id: String,
    /// Its place in the chat.
    #[schema(minimum = 1)]
    pub seq: u64,
    /// As given, or made here.
    pub client_msg_id: String,
    /// When it was stored, RFC 3339.
    #[schema(format = DateTime)]
    pub timestamp: String,
}

/// A message, or a change, that is durable at a writer and will be stored once the store answers again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Queued {
    /// `queued`: it has no place in its chat yet. The same request again tells whether it has.
    #[schema(example = "queued")]
    pub status: String,
    /// Its chat.
    #[schema(format = "uuid")]
    pub chat_id: String,
    /// As given, or made here.
    pub client_msg_id: String,
}

/// An entry of a chat's log, as a WebSocket client gets it too.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `message`, or `entry` for any other kind.
    #[serde(rename = "type")]
    pub of: String,
    /// Of an `entry`: its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its chat.
    #[schema(format = "uuid")]
    pub chat_id: String,
    /// Its id.
    #[schema(format = "uuid")]
    pub message_id: String,
    /// Its place.
    #[schema(minimum = 1)]
    pub seq: u64,
    /// Who wrote it: a user id.
    #[schema(pattern = "USER")]
    pub sender_id: String,
    /// The message it is about, or answers.
    #[schema(format = "uuid")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refers_to: Option<String>,
    /// Of a `message` or an `edited`: its text. On a page a message has that of its last edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The same where it is no UTF-8: its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
    /// Of a `message` or an `edited`: who is mentioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mentions: Option<Vec<String>>,
    /// Of a `reacted`: the sender's one reaction; empty: taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaction: Option<String>,
    /// Of `created` and `renamed`: the group's name. Of `device`: the device's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of `created`, `added`, `removed` and `role`: whom it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Of `role`: `member` or `admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Of `setting`: which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of `setting`: its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The same where it is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// Of `setting` and `hidden`: the chat it is about.
    #[schema(format = "uuid")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Of `device` and `revoked`: which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<u32>,
    /// Of an `entry` of another kind: its body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Of an `entry` whose body is no UTF-8: its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Of `edited`, `deleted` and `reacted`: the place of what is amended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refers_seq: Option<u64>,
    /// Of `edited` and `deleted`: the edit before it, whose body is blank from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_seq: Option<u64>,
    /// Of a `message`: how often it has been passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<u8>,
    /// The highest seq of the chat that the sender had seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
    /// Of a `message`: it disappears so long after `timestamp`. Of `timer`: messages do from now on; 0: they stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
    /// Of a `message`: the place of the edit that it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_seq: Option<u64>,
    /// When that edit was made, RFC 3339.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<String>,
    /// When it lost its body, RFC 3339: it was deleted, or another edit took its place.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
    /// The sender's id for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_msg_id: Option<String>,
    /// The same where it is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_msg_id_base64: Option<String>,
    /// When it was stored, RFC 3339.
    #[schema(format = DateTime)]
    pub timestamp: String,
}

/// The seqs a page speaks for: one inside without an entry has expired or is hidden from the user, it is not missing.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Covered {
    /// The first.
    pub first_seq: u64,
    /// The last; below the first when the page is empty.
    pub last_seq: u64,
}

/// A page of a chat's log.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page {
    /// Which chat.
    #[schema(format = "uuid")]
    pub chat_id: String,
    /// Its entries, ascending.
    #[schema(value_type = Vec<Entry>)]
    pub messages: Vec<Box<RawValue>>,
    /// There are more in the direction asked: below `covered.first_seq`, or, with `after`, above `covered.last_seq`.
    pub has_more: bool,
    /// What the page speaks for.
    pub covered: Covered,
    /// The chat's last seq; 0 while it is empty.
    pub head_seq: u64,
}

/// Whose token is wanted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// A user id.
    #[schema(pattern = "USER", example = "7")]
    pub user_id: String,
    /// One of their devices.
    #[schema(example = 1, format = Int64, minimum = 0, maximum = 4294967295_i64)]
    pub device_id: u32,
    /// With an operator's rights, for the console.
    pub admin: Option<bool>,
}

/// A token for one device.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// A JWT: `Authorization: Bearer TOKEN`.
    pub token: String,
    /// When it ends, RFC 3339.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// What a client needs to know before it has a token.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Info {
    /// Of the server.
    pub version: String,
    /// Where WebSocket clients connect, by the name this request was sent to.
    pub ws_url: String,
    /// The port in it.
    pub ws_port: u16,
    /// Whether WebSocket is encrypted.
    pub tls: bool,
    /// Whether this server hands out tokens to whoever asks (`POST /api/v1/dev/token`).
    pub development: bool,
}
