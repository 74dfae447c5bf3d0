//! Bodies about chats and groups.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Entry;

/// A group to make.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewGroup {
    /// 1 to 256 bytes.
    #[schema(min_length = 1, max_length = 256, example = "Hiking")]
    pub name: String,
    /// Its members: user ids. The token's user is one of them anyhow, and its admin.
    #[schema(inline)]
    pub participants: Vec<User>,
    /// The creator's id for it: the same id gets the same group, for 24 hours. `Idempotency-Key` does the same.
    #[schema(pattern = "^[ -~]{1,64}$")]
    pub client_msg_id: Option<String>,
}

/// A user id.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(pattern = "USER", example = "9")]
pub struct User(pub String);

/// Who joins a group.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewMembers {
    /// User ids. Who is a member already stays one.
    #[schema(inline, min_items = 1)]
    pub users: Vec<User>,
}

/// What a member may do from now on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewRole {
    /// `member` or `admin`.
    #[schema(pattern = "^(member|admin)$", example = "admin")]
    pub role: String,
}

/// A group's new name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewName {
    /// 1 to 256 bytes.
    #[schema(min_length = 1, max_length = 256, example = "Climbing")]
    pub name: String,
}

/// A message for a chat.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ChatMessage {
    /// The text. With everything around it, it must fit the server's frame limit (64 KiB by default).
    #[schema(example = "hello")]
    pub message: String,
    /// The message it answers.
    #[schema(format = "uuid", pattern = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")]
    pub refers_to: Option<String>,
    /// Who is mentioned: members of the group, or the other of the direct chat.
    #[schema(inline, max_items = 256)]
    pub mentions: Option<Vec<User>>,
    /// How often it has been passed on.
    #[schema(minimum = 0, maximum = 255)]
    pub forwarded: Option<u8>,
    /// The sender's id for it: the same id gets the same answer and stores nothing twice, for 24 hours. `Idempotency-Key` does the
    /// same.
    #[schema(pattern = "^[ -~]{1,64}$")]
    pub client_msg_id: Option<String>,
}

/// A message, or a change of a group, that is stored.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Stored {
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

/// Up to where a chat is read.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadUpTo {
    /// Everything up to this message is read.
    #[schema(format = "uuid")]
    pub message_id: String,
}

/// A member of a chat.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Who.
    #[schema(pattern = "USER")]
    pub user_id: String,
    /// `member` or `admin`.
    pub role: String,
    /// Their devices have everything up to here.
    pub delivered_seq: u64,
    /// They have read up to here.
    pub read_seq: u64,
}

/// A chat as the token's user sees it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    /// Which chat.
    #[schema(format = "uuid")]
    pub chat_id: String,
    /// `direct` or `group`.
    pub kind: String,
    /// Of a group.
    pub name: Option<String>,
    /// Of a group: the user who made it.
    pub created_by: Option<String>,
    /// A page of its members, ascending by user id.
    pub members: Vec<Member>,
    /// Of all pages.
    pub member_count: u32,
    /// Go on with `after_user` = this; null: that was all.
    pub next_user: Option<String>,
    /// The last seq that the user may see.
    pub head_seq: u64,
    /// When the chat's last entry was stored, RFC 3339.
    #[schema(format = DateTime)]
    pub last: String,
    /// The user has read up to here.
    pub read_seq: u64,
    /// Messages of others above `read_seq`.
    pub unread: u32,
    /// The user is a member now; else they were one.
    pub present: bool,
}

/// A chat in the list of the token's user.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListedChat {
    /// Which chat.
    #[schema(format = "uuid")]
    pub chat_id: String,
    /// `direct` or `group`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of a group.
    pub name: Option<String>,
    /// The user ids of its first 8 members.
    pub participants: Vec<String>,
    /// The chat's last entry; null where it is not at hand.
    #[schema(value_type = Option<Entry>)]
    pub last_message: Option<Box<RawValue>>,
    /// Messages of others above `read_seq`.
    pub unread_count: u32,
    /// How many are in it.
    pub member_count: u32,
    /// The last seq that the user may see.
    pub head_seq: u64,
    /// The user has read up to here.
    pub read_seq: u64,
    /// When the chat's last entry was stored, RFC 3339: what the list is sorted by.
    #[schema(format = DateTime)]
    pub last: String,
    /// The user is a member now; else they were one.
    pub present: bool,
    /// The user keeps it on top.
    pub pinned: bool,
    /// The user has put it out of the way.
    pub archived: bool,
    /// The user wants it quiet until then, RFC 3339 (`9999-12-31T23:59:59.999Z`: for good); null: they do not.
    #[schema(format = DateTime)]
    pub muted_until: Option<String>,
}

/// Where a page of chats ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct After {
    /// The parameter `before` of the next page.
    #[schema(format = DateTime)]
    pub before: String,
    /// The parameter `before_chat` of the next page.
    #[schema(format = "uuid")]
    pub before_chat: String,
}

/// A page of the user's chats.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatPage {
    /// Newest first.
    pub chats: Vec<ListedChat>,
    /// There are older ones.
    pub has_more: bool,
    /// Where they begin; null: that was all.
    pub next: Option<After>,
}

/// How far a message came with a member.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// Who.
    #[schema(pattern = "USER")]
    pub user_id: String,
    /// `pending`, `delivered` or `read`.
    pub status: String,
}

/// Who has a message. Its sender is not counted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageStatus {
    /// Who was a member when it was stored.
    pub total: u32,
    /// It is on their devices, but not read.
    pub delivered: u32,
    /// They have read it.
    pub read: u32,
    /// Neither.
    pub pending: u32,
    /// Ascending by user id; the first thousand.
    pub members: Vec<Reached>,
}
