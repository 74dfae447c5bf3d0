//! What a client must not forget: sends without outcome, and how far each chat has been handled.
//!
//! A store is a log of [`Change`]s; replayed in order they give an [`Image`]. [`MemoryStore`] keeps them in memory (with a
//! crash for simulation), [`FileStore`] in a folder. What must stay true: after [`ClientStore::sync`] returns, everything
//! appended before survives a crash; what was appended and not synced survives as a prefix.

mod codec;
#[cfg(test)]
mod contract;
mod file;
mod memory;

pub use file::FileStore;
pub use memory::MemoryStore;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use schema::encode::SendTarget;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};

/// A send that waits for its outcome.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSend {
    /// 1 to 64 bytes.
    pub client_msg_id: Bytes,
    /// Its chat.
    pub chat: ChatId,
    /// Where to, as the wire says it.
    pub target: SendTarget,
    /// [`schema::wire::EntryKind`]'s number.
    pub kind: u8,
    /// The application's own.
    pub content_type: u8,
    /// The payload.
    pub body: Bytes,
    /// What it amends or answers.
    pub refers_to: Option<MessageId>,
    /// The highest seq of the chat handed to the application when it was made.
    pub after_seq: u64,
    /// Wall time when it was made, ms since 1970.
    pub created_ms: u64,
    /// Changes of a group: whom it concerns. Messages and edits: who is mentioned.
    pub users: Box<[UserId]>,
    /// [`schema::wire::Role`]'s number.
    pub role: u8,
    /// What most sends do not have.
    pub extras: Option<Box<StoredExtras>>,
}

/// Fields of sends that most leave out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredExtras {
    /// Kind timer, s.
    pub ttl_s: u32,
    /// How often a message has been passed on.
    pub forwarded: u8,
    /// Kinds setting and hidden: which chat it is about.
    pub subject: Option<ChatId>,
    /// Kind setting: which.
    pub key: Bytes,
    /// Kinds device and revoked: which.
    pub device: u32,
}

impl StoredSend {
    /// What it takes of an outbox: bytes of body, users and key.
    pub fn bytes(&self) -> usize {
        let key = self.extras.as_ref().map_or(0, |extras| extras.key.len());
        self.body.len() + size_of_val(&*self.users) + key
    }

    /// The same with extras, if they say anything.
    #[must_use]
    pub(crate) fn with(self, extras: StoredExtras) -> Self {
        let says = extras != StoredExtras::default();
        Self { extras: says.then(|| Box::new(extras)), ..self }
    }
}

impl core::fmt::Debug for StoredSend {
    /// Never prints content.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "StoredSend({:?}, {} bytes)", self.target, self.body.len())
    }
}

/// One change of what a client must not forget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Whose store this is. Once.
    Identity {
        /// The user.
        user: UserId,
        /// The device.
        device: DeviceId,
    },
    /// A send was taken.
    Queued(StoredSend),
    /// A send got its place: it leaves the outbox, and this seq needs no handling.
    Sent {
        /// Its id.
        client_msg_id: Bytes,
        /// The chat.
        chat: ChatId,
        /// Its place.
        seq: u64,
    },
    /// A send failed for good: it leaves the outbox.
    Dropped {
        /// Its id.
        client_msg_id: Bytes,
    },
    /// Everything of the chat up to `seq` has been handled.
    Handled {
        /// The chat.
        chat: ChatId,
        /// Up to here.
        seq: u64,
    },
    /// Everything of the chat up to `seq` has been read.
    Read {
        /// The chat.
        chat: ChatId,
        /// Up to here.
        seq: u64,
    },
    /// What was missed has been delivered.
    Synced {
        /// Wall time of the server then, ms since 1970.
        server_time_ms: u64,
    },
}

impl Change {
    /// Whether it may be lost in a crash without harm: an outcome lost with its removal from the outbox is found out
    /// again by the resend, and whoever was synced earlier is told more.
    pub const fn is_lazy(&self) -> bool {
        matches!(self, Self::Sent { .. } | Self::Dropped { .. } | Self::Synced { .. })
    }
}

/// Why a store failed. It must be dropped and opened again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("the client store cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What had been durable is damaged.
    #[error("the client store {path} is damaged at byte {offset}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// Another client has it open.
    #[error("the client store {path} is in use by another client")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// Written by a newer version.
    #[error("the client store {path} has format {found}, this version reads up to {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest this build reads.
        known: u32,
    },
    /// An earlier write failed: what is durable is unknown until it is opened again.
    #[error("the client store failed before and must be opened again")]
    Failed,
}

/// Keeps [`Change`]s.
///
/// The owner appends in the order the core says and syncs before it writes to the socket, once a batch.
pub trait ClientStore: Send {
    /// What is held now, with all that was appended.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn load(&mut self) -> Result<Image, StoreError>;

    /// Adds a change. It survives a crash after the next [`Self::sync`], and may before.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn append(&mut self, change: &Change) -> Result<(), StoreError>;

    /// Makes all appended changes durable. Blocks.
    ///
    /// # Errors
    /// See [`StoreError`]; the store is unusable afterwards.
    fn sync(&mut self) -> Result<(), StoreError>;
}

/// How far a chat has been handled.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredChat {
    /// Everything up to here has been handled; `None`: not known yet.
    pub handled: Option<u64>,
    /// Everything up to here has been read.
    pub read: u64,
    /// Seqs above `handled` that need no handling (own sends): inclusive ranges, ascending, apart.
    pub had: Vec<(u64, u64)>,
}

/// What a store holds: the sum of its changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Image {
    /// Whose it is.
    pub identity: Option<(UserId, DeviceId)>,
    /// Sends without outcome, in the order they were taken.
    pub outbox: VecDeque<StoredSend>,
    /// Chats.
    pub chats: BTreeMap<ChatId, StoredChat>,
    /// The server's time when this device was last synced, ms since 1970; 0 = never.
    pub synced_ms: u64,
}

impl Image {
    /// Applies one change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Identity { user, device } => self.identity = Some((*user, *device)),
            Change::Queued(send) => self.outbox.push_back(send.clone()),
            Change::Sent { client_msg_id, chat, seq } => {
                self.remove(client_msg_id);
                self.chats.entry(*chat).or_default().skip(*seq, *seq);
            }
            Change::Dropped { client_msg_id } => self.remove(client_msg_id),
            Change::Handled { chat, seq } => self.chats.entry(*chat).or_default().handle(*seq),
            Change::Read { chat, seq } => {
                let chat = self.chats.entry(*chat).or_default();
                chat.read = chat.read.max(*seq);
            }
            Change::Synced { server_time_ms } => self.synced_ms = *server_time_ms,
        }
    }

    fn remove(&mut self, client_msg_id: &[u8]) {
        // Outcomes come nearly in the order of sends: the one looked for is near the front.
        if let Some(at) = self.outbox.iter().position(|send| send.client_msg_id == client_msg_id) {
            self.outbox.remove(at);
        }
    }
}

/// Ranges above `handled` that are remembered; beyond, the highest is forgotten and fetched again when its turn comes.
const HAD_RANGES: usize = 64;

/// Adds `first..=last` to ascending, separate ranges.
pub(crate) fn add_range(ranges: &mut Vec<(u64, u64)>, first: u64, last: u64) {
    debug_assert!(first >= 1 && first <= last);
    let at = ranges.partition_point(|&(_, end)| end + 1 < first);
    let mut range = (first, last);
    while let Some(&(start, end)) = ranges.get(at).filter(|&&(start, _)| start <= range.1.saturating_add(1)) {
        range = (range.0.min(start), range.1.max(end));
        ranges.remove(at);
    }
    ranges.insert(at, range);
    ranges.truncate(HAD_RANGES);
}

/// Where a position gets to when it may step over `ranges`.
pub(crate) fn step_over(mut position: u64, ranges: &[(u64, u64)]) -> u64 {
    for &(first, last) in ranges {
        if first > position + 1 {
            break;
        }
        position = position.max(last);
    }
    position
}

impl StoredChat {
    fn skip(&mut self, first: u64, last: u64) {
        if self.handled.is_some_and(|handled| last <= handled) {
            return;
        }
        add_range(&mut self.had, first, last);
        let known = self.handled.or((first == 1).then_some(0));
        if let Some(handled) = known {
            self.settle(handled);
        }
    }

    fn handle(&mut self, seq: u64) {
        self.settle(self.handled.map_or(seq, |handled| handled.max(seq)));
    }

    fn settle(&mut self, handled: u64) {
        let handled = step_over(handled, &self.had);
        self.handled = Some(handled);
        self.had.retain(|&(_, last)| last > handled);
    }
}
