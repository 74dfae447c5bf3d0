//! Amendments of messages and changes of the own account, which are sends, and what a server tells of an account.

use bytes::Bytes;
use schema::encode::SendTarget;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire::{self, EntryKind};

use super::{Core, Cx, Event, Member, Output, Question, SendError, members};
use crate::store::{StoredExtras, StoredSend};

/// What amends a message of a chat, or says how long its messages stay. Who may do what, and until when, says the server.
#[derive(Clone, PartialEq, Eq)]
pub enum Amendment {
    /// An own message says something else from now on.
    Edited {
        /// In which chat.
        chat: ChatId,
        /// Which message.
        message: MessageId,
        /// The application's own.
        content_type: u8,
        /// What it says from now on.
        body: Bytes,
        /// Who is mentioned from now on; at most 256.
        mentions: Vec<UserId>,
    },
    /// A message is gone for everyone.
    Deleted {
        /// In which chat.
        chat: ChatId,
        /// Which message.
        message: MessageId,
    },
    /// The own reaction to a message.
    Reacted {
        /// In which chat.
        chat: ChatId,
        /// Which message.
        message: MessageId,
        /// 1 to 64 bytes of UTF-8; empty takes it back.
        reaction: Bytes,
    },
    /// Messages ordered from now on disappear.
    Timer {
        /// In which chat.
        chat: ChatId,
        /// So long after they were sent, s: 5 s to 365 days; 0 = they stay.
        ttl_s: u32,
    },
}

/// What is the own user's alone, told to all their devices.
#[derive(Clone, PartialEq, Eq)]
pub enum AccountChange {
    /// A setting has a value (docs/PROTOCOL.md, "The account log").
    Setting {
        /// Which, 1 to 64 bytes of UTF-8.
        key: Bytes,
        /// At most 1,024 bytes; empty = the default again.
        value: Bytes,
        /// The chat that it is about, where it is about one.
        subject: Option<ChatId>,
    },
    /// A message is not shown to the own user any more.
    Hidden {
        /// In which chat.
        chat: ChatId,
        /// Which message.
        message: MessageId,
    },
    /// One of the own devices has a name.
    Named {
        /// Which.
        device: DeviceId,
        /// 1 to 128 bytes of UTF-8.
        name: Bytes,
    },
    /// One of the own devices is out, and its tokens let it in no more.
    Revoked {
        /// Which; not this one.
        device: DeviceId,
    },
}

/// A send that is nothing yet but its kind and place.
fn bare(chat: ChatId, kind: EntryKind) -> StoredSend {
    StoredSend {
        client_msg_id: Bytes::new(),
        chat,
        target: SendTarget::Chat(chat),
        kind: kind.0,
        content_type: 0,
        body: Bytes::new(),
        refers_to: None,
        after_seq: 0,
        created_ms: 0,
        users: Box::default(),
        role: 0,
        extras: None,
    }
}

impl Amendment {
    /// Its kind in the log.
    pub const fn kind(&self) -> EntryKind {
        match self {
            Self::Edited { .. } => EntryKind::edited,
            Self::Deleted { .. } => EntryKind::deleted,
            Self::Reacted { .. } => EntryKind::reacted,
            Self::Timer { .. } => EntryKind::timer,
        }
    }

    /// The chat it goes to.
    pub const fn chat(&self) -> ChatId {
        match self {
            Self::Edited { chat, .. }
            | Self::Deleted { chat, .. }
            | Self::Reacted { chat, .. }
            | Self::Timer { chat, .. } => *chat,
        }
    }

    /// The message it amends; a timer amends none.
    pub const fn message(&self) -> Option<MessageId> {
        match self {
            Self::Edited { message, .. } | Self::Deleted { message, .. } | Self::Reacted { message, .. } => {
                Some(*message)
            }
            Self::Timer { .. } => None,
        }
    }

    fn into_send(self) -> StoredSend {
        let send = StoredSend { refers_to: self.message(), ..bare(self.chat(), self.kind()) };
        match self {
            Self::Edited { content_type, body, mentions, .. } => {
                StoredSend { content_type, body, users: mentions.into(), ..send }
            }
            Self::Reacted { reaction, .. } => StoredSend { body: reaction, ..send },
            Self::Timer { ttl_s, .. } => send.with(StoredExtras { ttl_s, ..StoredExtras::default() }),
            Self::Deleted { .. } => send,
        }
    }
}

impl AccountChange {
    /// Its kind in the log.
    pub const fn kind(&self) -> EntryKind {
        match self {
            Self::Setting { .. } => EntryKind::setting,
            Self::Hidden { .. } => EntryKind::hidden,
            Self::Named { .. } => EntryKind::device,
            Self::Revoked { .. } => EntryKind::revoked,
        }
    }

    fn into_send(self, account: ChatId) -> StoredSend {
        let send = bare(account, self.kind());
        let none = StoredExtras::default();
        match self {
            Self::Setting { key, value, subject } => {
                StoredSend { body: value, ..send }.with(StoredExtras { key, subject, ..none })
            }
            Self::Hidden { chat, message } => {
                let extras = StoredExtras { subject: Some(chat), ..none };
                StoredSend { refers_to: Some(message), ..send }.with(extras)
            }
            Self::Named { device, name } => {
                StoredSend { body: name, ..send }.with(StoredExtras { device: device.0, ..none })
            }
            Self::Revoked { device } => send.with(StoredExtras { device: device.0, ..none }),
        }
    }
}

impl core::fmt::Debug for Amendment {
    /// Never prints content.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Amendment({:?} in {})", self.kind(), self.chat())
    }
}

impl core::fmt::Debug for AccountChange {
    /// Never prints content.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "AccountChange({:?})", self.kind())
    }
}

/// Whether entries of this kind amend a message or its chat.
pub const fn is_amendment(kind: EntryKind) -> bool {
    kind.0 >= EntryKind::edited.0 && kind.0 <= EntryKind::timer.0
}

/// Whether entries of this kind are of an account log.
pub const fn is_of_account(kind: EntryKind) -> bool {
    kind.0 >= EntryKind::setting.0 && kind.0 <= EntryKind::revoked.0
}

impl Core {
    /// Takes an amendment, which goes the way of a send: in order with the sends to its chat, one outcome,
    /// [`Event::Sent`] or [`Event::Failed`]. Returns its chat.
    ///
    /// # Errors
    /// Nothing was taken: see [`SendError`].
    pub fn amend(&mut self, cx: &mut Cx<'_>, client_msg_id: Bytes, amendment: Amendment) -> Result<ChatId, SendError> {
        let send = StoredSend { client_msg_id, ..amendment.into_send() };
        self.take_up(cx, send)
    }

    /// Takes a change of the own account, which goes the way of a send to the account log. Returns that.
    ///
    /// # Errors
    /// Nothing was taken: see [`SendError`].
    pub fn change_account(
        &mut self,
        cx: &mut Cx<'_>,
        client_msg_id: Bytes,
        change: AccountChange,
    ) -> Result<ChatId, SendError> {
        let (me, _) = self.me.ok_or(SendError::NoIdentity)?;
        let send = StoredSend { client_msg_id, ..change.into_send(ChatId::account(me)) };
        self.take_up(cx, send)
    }

    pub(super) fn account_told(&mut self, cx: &mut Cx<'_>, account: wire::Account<'_>) {
        let account = Account::read(account);
        if self.ask_answered(account.request, |question| matches!(question, Question::Account { .. })) {
            cx.out.push(Output::Event(Event::Account(Box::new(account))));
        }
    }

    /// Notes how far members are; tells those who are further than was known.
    pub(super) fn ticks(&mut self, cx: &mut Cx<'_>, ticks: wire::Ticks<'_>) {
        let (Some(chat), Some(mut told)) =
            (ticks.chat_id().map(ChatId::from), members(ticks.members().map(|found| found.iter())))
        else {
            return self.bad_frame(cx);
        };
        let bound = self.config.watermarks_per_chat;
        let at = self.find_or_add(chat);
        told.retain(|member: &Member| {
            let read = self.chats[at].raise(member.user, wire::MarkStatus::read, member.read_seq, bound);
            self.chats[at].raise(member.user, wire::MarkStatus::delivered, member.delivered_seq, bound) || read
        });
        if !told.is_empty() {
            cx.out.push(Output::Event(Event::Ticks { chat, members: told }));
        }
    }
}

/// A device of the own user that has named itself or was revoked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountDevice {
    /// Which.
    pub device: DeviceId,
    /// Empty: it never named itself.
    pub name: Bytes,
    /// Wall time, ms since 1970; 0 = never.
    pub named_ms: u64,
    /// Wall time, ms since 1970; 0 = never.
    pub revoked_ms: u64,
}

/// The own user's settings and devices as they are.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// What [`Core::ask`](super::Core::ask) returned.
    pub request: u64,
    /// Those that are about no chat: key and value.
    pub settings: Vec<(Bytes, Bytes)>,
    /// Devices.
    pub devices: Vec<AccountDevice>,
    /// What is hidden of the chat that was asked about.
    pub hidden: Vec<MessageId>,
}

impl core::fmt::Debug for Account {
    /// Never prints content.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (settings, devices, hidden) = (self.settings.len(), self.devices.len(), self.hidden.len());
        write!(f, "Account({settings} settings, {devices} devices, {hidden} hidden)")
    }
}

impl Account {
    fn read(account: wire::Account<'_>) -> Self {
        let owned = |found: Option<&[u8]>| found.map_or_else(Bytes::new, Bytes::copy_from_slice);
        let device = |found: wire::Device<'_>| AccountDevice {
            device: DeviceId(found.device()),
            name: owned(found.name().map(|name| name.bytes())),
            named_ms: found.named_ms(),
            revoked_ms: found.revoked_ms(),
        };
        let settings = account.settings().into_iter().flatten();
        Self {
            request: account.request_id(),
            settings: settings
                .map(|setting| {
                    (owned(setting.key().map(|key| key.bytes())), owned(setting.value().map(|value| value.bytes())))
                })
                .collect(),
            devices: account.devices().into_iter().flatten().map(device).collect(),
            hidden: account.hidden().into_iter().flatten().map(MessageId::from).collect(),
        }
    }
}
