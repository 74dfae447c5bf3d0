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
    /// Whom it concerns, in entries that change a group; who is mentioned, in messages and edits.
    pub fn users(&self) -> impl Iterator<Item = UserId> {
        self.wire().users().into_iter().flatten().filter_map(UserId::new)
    }
    /// The role it gives, in entries of kind `role`.
    pub fn role(&self) -> Role {
        self.wire().role()
    }
    /// Kind `timer`: how long messages stay from now on. Of a message: it disappears so long after its time; 0 = it stays. s.
    pub fn ttl_s(&self) -> u32 {
        self.wire().ttl_s()
    }
    /// How often it has been passed on; 0 = it is the sender's own.
    pub fn forwarded(&self) -> u8 {
        self.wire().forwarded()
    }
    /// Which chat a setting or a hidden message is about.
    pub fn subject(&self) -> Option<ChatId> {
        self.wire().subject().map(ChatId::from)
    }
    /// Which setting.
    pub fn key(&self) -> &[u8] {
        self.wire().key().map_or(&[], |key| key.bytes())
    }
    /// Which device is named or revoked.
    pub fn concerned_device(&self) -> DeviceId {
        DeviceId(self.wire().device())
    }
    /// The seq of what it amends; 0 = nothing.
    pub fn refers_seq(&self) -> u64 {
        self.wire().refers_seq()
    }
    /// The edit it takes the place of; 0 = none.
    pub fn replaces_seq(&self) -> u64 {
        self.wire().replaces_seq()
    }
    /// The edit whose body this is; 0 = as it was sent.
    pub fn edited_seq(&self) -> u64 {
        self.wire().edited_seq()
    }
    /// When that edit was made, ms since 1970.
    pub fn edited_ms(&self) -> u64 {
        self.wire().edited_ms()
    }
    /// When its body was blanked, ms since 1970; 0 = it was not.
    pub fn deleted_ms(&self) -> u64 {
        self.wire().deleted_ms()
    }
    /// When it disappears, ms since 1970; `None`: it stays.
    pub fn expires_ms(&self) -> Option<u64> {
        let mortal = self.kind() == EntryKind::message && self.ttl_s() > 0;
        mortal.then(|| self.timestamp_ms() + 1_000 * u64::from(self.ttl_s()))
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
