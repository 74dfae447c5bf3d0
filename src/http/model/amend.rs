//! Bodies that amend a message or its chat.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::chats::User;

/// What a message says from now on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EditedMessage {
    /// The text. With everything around it, it must fit the server's frame limit (64 KiB by default).
    #[schema(example = "better")]
    pub message: String,
    /// Who is mentioned: members of the group, or the other of the direct chat.
    #[schema(inline, max_items = 256)]
    pub mentions: Option<Vec<User>>,
}

/// What the token's user feels about a message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewReaction {
    /// 1 to 64 bytes.
    #[schema(min_length = 1, max_length = 64, example = "👍")]
    pub reaction: String,
}

/// How long messages stay.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NewTimer {
    /// 5 s to 365 days; 0: they stay.
    #[schema(minimum = 0, maximum = 31536000, example = 86400)]
    pub ttl_s: u32,
}
