//! An entry as the application gets it.

use schema::frame::{FrameRef, VerifiedFrame};
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire::{EntryKind, Role};

/// One entry of a chat's log: the frame as it came, read in place.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    frame: VerifiedFrame,
    chat: ChatId,
    seq: u64,
}

impl Entry {
    /// `None` unless the frame is an entry with chat, message, seq and sender.
    pub(crate) fn new(frame: FrameRef<'_>) -> Option<Self> {
        let entry = frame.root().body_as_entry()?;
        let chat = ChatId::from(entry.chat_id()?);
        let seq = entry.seq();
        if seq == 0 || entry.message_id().is_none() || entry.sender_id() == 0 {
            return None;
        }
        Some(Self { frame: frame.to_frame(), chat, seq })
    }

    fn wire(&self) -> schema::wire::Entry<'_> {
        self.frame.root().body_as_entry().expect("checked when made")
    }

    /// Its chat.
    pub const fn chat(&self) -> ChatId {
        self.chat
    }
    /// Its place in the chat.
    pub const fn seq(&self) -> u64 {
        self.seq
    }
    /// Its id.
    pub fn message(&self) -> MessageId {
        self.wire().message_id().expect("checked when made").into()
    }
    /// Who wrote it.
    pub fn sender(&self) -> UserId {
        UserId::new(self.wire().sender_id()).expect("checked when made")
    }
    /// On which device.
    pub fn device(&self) -> DeviceId {
        DeviceId(self.wire().sender_device())
    }
    /// What it is. Kinds this build does not know are delivered as they are.
    pub fn kind(&self) -> EntryKind {
        self.wire().kind()
    }
    /// The sender's own type of content.
    pub fn content_type(&self) -> u8 {
        self.wire().content_type()
    }
    /// The payload; in entries of kinds `created` and `renamed` the name.
    pub fn body(&self) -> &[u8] {
        self.wire().body().map_or(&[], |b| b.bytes())
    }
    /// The sender's id for it.
    pub fn client_msg_id(&self) -> &[u8] {
        self.wire().client_msg_id().map_or(&[], |b| b.bytes())
    }
    /// What it amends or answers.
    pub fn refers_to(&self) -> Option<MessageId> {
        self.wire().refers_to().map(MessageId::from)
    }
    /// What the sender had seen.
    pub fn after_seq(&self) -> u64 {
        self.wire().after_seq()
    }
    /// Wall time of the server, ms since 1970.
    pub fn timestamp_ms(&self) -> u64 {
        self.wire().timestamp_ms()
    }
    /// Whom it concerns, in entries that change a group.
    pub fn users(&self) -> impl Iterator<Item = UserId> {
        self.wire().users().into_iter().flatten().filter_map(UserId::new)
    }
    /// The role it gives, in entries of kind `role`.
    pub fn role(&self) -> Role {
        self.wire().role()
    }
    /// The whole frame.
    pub const fn frame(&self) -> &VerifiedFrame {
        &self.frame
    }
}

impl core::fmt::Debug for Entry {
    /// Never prints content.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Entry({} {} from {}, {} bytes)", self.chat, self.seq, self.sender(), self.body().len())
    }
}
