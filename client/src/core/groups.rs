//! Changes of groups, which are sends, and what a server tells of chats when it is asked.

use bytes::Bytes;
use schema::encode::{ChangeFields, ChatSettings, Encoder, MemberFields};
use schema::frame::FrameRef;
use schema::ids::{ChatId, MessageId, UserId};
use schema::wire::{self, ChatKind, EntryKind, Role};

use super::Entry;

/// A change of a group. Who may do what, and what comes of it, says the server.
#[derive(Clone, PartialEq, Eq)]
pub enum GroupChange {
    /// Makes a group: its id follows from the own user and the client_msg_id.
    Created {
        /// 1 to 256 bytes of UTF-8.
        name: Bytes,
        /// Members besides the own user, who is one anyhow, and the admin.
        users: Vec<UserId>,
    },
    /// Makes users members.
    Added {
        /// Which group.
        group: ChatId,
        /// Whom.
        users: Vec<UserId>,
    },
    /// Ends others' memberships.
    Removed {
        /// Which group.
        group: ChatId,
        /// Whose; not the own.
        users: Vec<UserId>,
    },
    /// Ends the own membership.
    Left {
        /// Which group.
        group: ChatId,
    },
    /// Gives members a role.
    Role {
        /// Which group.
        group: ChatId,
        /// Whom.
        users: Vec<UserId>,
        /// What they may do from now on.
        role: Role,
    },
    /// Gives the group a name.
    Renamed {
        /// Which group.
        group: ChatId,
        /// 1 to 256 bytes of UTF-8.
        name: Bytes,
    },
}

/// A change's fields, as frames have them.
pub(super) struct Parts {
    /// `None` exactly for kind `created`.
    pub group: Option<ChatId>,
    pub kind: EntryKind,
    pub name: Bytes,
    pub users: Vec<UserId>,
    pub role: Role,
}

impl GroupChange {
    /// Its kind in the log.
    pub const fn kind(&self) -> EntryKind {
        match self {
            Self::Created { .. } => EntryKind::created,
            Self::Added { .. } => EntryKind::added,
            Self::Removed { .. } => EntryKind::removed,
            Self::Left { .. } => EntryKind::left,
            Self::Role { .. } => EntryKind::role,
            Self::Renamed { .. } => EntryKind::renamed,
        }
    }

    /// Its frame, for programs that write frames themselves.
    pub fn frame(&self, encoder: &mut Encoder, client_msg_id: &[u8]) -> Bytes {
        let Parts { group: chat, kind, name, users, role } = self.clone().into_parts();
        encoder.change(&ChangeFields { client_msg_id, chat, kind, name: &name, users: &users, role, retry: false })
    }

    pub(super) fn into_parts(self) -> Parts {
        let kind = self.kind();
        let (group, name, users, role) = match self {
            Self::Created { name, users } => (None, name, users, Role::member),
            Self::Added { group, users } | Self::Removed { group, users } => {
                (Some(group), Bytes::new(), users, Role::member)
            }
            Self::Left { group } => (Some(group), Bytes::new(), Vec::new(), Role::member),
            Self::Role { group, users, role } => (Some(group), Bytes::new(), users, role),
            Self::Renamed { group, name } => (Some(group), name, Vec::new(), Role::member),
        };
        Parts { group, kind, name, users, role }
    }
}

impl core::fmt::Debug for GroupChange {
    /// Never prints content: a name is some.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "GroupChange({:?})", self.kind())
    }
}

/// Whether entries of this kind change a group.
pub const fn is_group_change(kind: EntryKind) -> bool {
    kind.0 >= EntryKind::created.0 && kind.0 <= EntryKind::renamed.0
}

/// What can be asked of a server. Each has one answer: [`Event::History`](super::Event::History),
/// [`Event::Chat`](super::Event::Chat), [`Event::Chats`](super::Event::Chats), [`Event::Status`](super::Event::Status),
/// [`Event::Account`](super::Event::Account), or [`Event::AskFailed`](super::Event::AskFailed).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Entries of a chat.
    History {
        /// Which.
        chat: ChatId,
        /// Those above this seq.
        after: u64,
        /// At most so many, 1 to 1,000.
        limit: u32,
    },
    /// What a chat is and who is in it.
    Chat {
        /// Which.
        chat: ChatId,
        /// Members above this user; `None`: from the first.
        after_user: Option<UserId>,
        /// At most so many members; 0 = the server's default.
        limit: u32,
    },
    /// The own chats, newest first.
    Chats {
        /// Those older than this one: `last_ms` and id of the page's last before; `None`: from the newest.
        before: Option<(u64, ChatId)>,
        /// At most so many; 0 = the server's default.
        limit: u32,
    },
    /// Who has a message.
    Status {
        /// In which chat.
        chat: ChatId,
        /// Which.
        message: MessageId,
    },
    /// The own settings and devices.
    Account {
        /// Also what is hidden of this chat.
        chat: Option<ChatId>,
    },
}

/// A member of a chat, and how far they are.
pub type Member = MemberFields;

/// What a chat is, as the own user sees it.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatInfo {
    /// What [`Core::ask`](super::Core::ask) returned; 0 in a list.
    pub request: u64,
    /// Which chat.
    pub chat: ChatId,
    /// What it is.
    pub kind: ChatKind,
    /// Groups only; else empty.
    pub name: Bytes,
    /// Who made it, where that is known.
    pub created_by: Option<UserId>,
    /// Present members, ascending by user: a page of them.
    pub members: Vec<Member>,
    /// Members of all pages.
    pub member_count: u32,
    /// Ask on after this user; `None`: that was all.
    pub next_user: Option<UserId>,
    /// The last seq the own user may see.
    pub head_seq: u64,
    /// Wall time of that entry, ms since 1970.
    pub last_ms: u64,
    /// Up to here the own user has read.
    pub read_seq: u64,
    /// Messages of others above `read_seq`.
    pub unread: u32,
    /// The own user is a member now.
    pub present: bool,
    /// In a list: the last entry the own user may see.
    pub last_entry: Option<Entry>,
    /// In a list: what the own user has set for it.
    pub settings: ChatSettings,
}

impl core::fmt::Debug for ChatInfo {
    /// Never prints content: a name is some.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ChatInfo({} {:?}, {} members, head {})", self.chat, self.kind, self.member_count, self.head_seq)
    }
}

/// A page of the own chats, newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChatsPage {
    /// What [`Core::ask`](super::Core::ask) returned.
    pub request: u64,
    /// The chats.
    pub chats: Vec<ChatInfo>,
    /// There are older ones.
    pub has_more: bool,
}

/// Who has a message, its sender not counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageStatus {
    /// What [`Core::ask`](super::Core::ask) returned.
    pub request: u64,
    /// In which chat.
    pub chat: ChatId,
    /// Which message.
    pub message: MessageId,
    /// Its place.
    pub seq: u64,
    /// Who should have it.
    pub total: u32,
    /// Who has it and has not read it.
    pub delivered: u32,
    /// Who has read it.
    pub read: u32,
    /// Who was a member when it was sent, ascending by user; the first thousand.
    pub members: Vec<Member>,
}

pub(super) fn members<'a>(found: Option<impl Iterator<Item = &'a wire::Member>>) -> Option<Vec<Member>> {
    let member = |member: &wire::Member| {
        let user = UserId::new(member.user_id())?;
        let (delivered_seq, read_seq) = (member.delivered_seq(), member.read_seq());
        Some(Member { user, delivered_seq, read_seq, role: member.role() })
    };
    found.map_or_else(|| Some(Vec::new()), |found| found.map(member).collect())
}

/// `None` when it lacks what it must have.
pub(super) fn chat_info(info: wire::ChatInfo<'_>) -> Option<ChatInfo> {
    let chat = ChatId::from(info.chat_id()?);
    let last_entry = match info.last_entry() {
        Some(frame) => Some(Entry::new(FrameRef::verify(frame.bytes()).ok()?).filter(|entry| entry.chat() == chat)?),
        None => None,
    };
    Some(ChatInfo {
        request: info.request_id(),
        chat,
        kind: info.kind(),
        name: info.name().map_or_else(Bytes::new, |name| Bytes::copy_from_slice(name.bytes())),
        created_by: UserId::new(info.created_by()),
        members: members(info.members().map(|found| found.iter()))?,
        member_count: info.member_count(),
        next_user: UserId::new(info.next_user()),
        head_seq: info.head_seq(),
        last_ms: info.last_ms(),
        read_seq: info.read_seq(),
        unread: info.unread(),
        present: info.present(),
        last_entry,
        settings: ChatSettings::default(),
    })
}

/// `None` when a chat of it is not one.
pub(super) fn chats_page(page: wire::Chats<'_>) -> Option<ChatsPage> {
    let mut chats = Vec::new();
    for bytes in page.chats().iter().flatten() {
        let frame = FrameRef::verify(bytes.frame()?.bytes()).ok()?;
        let settings =
            ChatSettings { pinned: bytes.pinned(), archived: bytes.archived(), muted_until_ms: bytes.muted_until_ms() };
        chats.push(ChatInfo { settings, ..chat_info(frame.root().body_as_chat_info()?)? });
    }
    Some(ChatsPage { request: page.request_id(), chats, has_more: page.has_more() })
}

/// `None` when it lacks what it must have.
pub(super) fn message_status(status: wire::MessageStatus<'_>) -> Option<MessageStatus> {
    Some(MessageStatus {
        request: status.request_id(),
        chat: status.chat_id()?.into(),
        message: status.message_id()?.into(),
        seq: status.seq(),
        total: status.total(),
        delivered: status.delivered(),
        read: status.read(),
        members: members(status.members().map(|found| found.iter()))?,
    })
}
