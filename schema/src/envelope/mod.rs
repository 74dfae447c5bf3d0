//! The envelope: what tiers say to each other, over a lane in one process and over a link between processes.
//!
//! The [`Header`] has a fixed size and is never changed by a tier that only forwards; whatever an answer needs travels in
//! it. A [`Body`] carries client frames as verified bytes: nobody parses them again on the way.

mod codec;
mod parts;

pub use codec::{EnvelopeError, EnvelopeWriter, decode, encode};
pub use parts::{
    AccountFacts, ChangedChat, GapScope, Holding, ListedChat, MoveStage, Recipient, Recipients, Settled, Stages,
    SyncCursor, Target, Trace,
};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::errors::ErrorCode;
use crate::frame::VerifiedFrame;
use crate::ids::{ChatId, DeviceId, MessageId, Slot, UserId};
use crate::places::Places;
use crate::wire::MarkStatus;

/// The envelope format this build writes.
pub const ENVELOPE_VERSION: u8 = 1;

/// How an envelope is admitted, and what happens when its lane is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// A client's send. Admitted with a credit, so a lane always has room for it.
    Send = 0,
    /// The answer to a send (its room is reserved by the send's credit), and marks.
    Ack = 1,
    /// Registrations, nudges, gaps. Never dropped; bounded by what they concern.
    Control = 2,
    /// Pushes to online sessions. Full: becomes a gap for the sessions concerned.
    Live = 3,
    /// Sync and history pages. Pulled one at a time by whoever asked.
    Sync = 4,
    /// Typing, presence. Full: dropped and counted.
    Ephemeral = 5,
}

/// Number of [`Class`]es.
pub const CLASS_COUNT: usize = 6;

/// Where a session is. A mismatch of incarnation or generation is dropped and counted, so a reused connection slot never
/// gets another's mail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, Default)]
pub struct Address {
    /// Drawn at the gateway's start; 0 = nobody.
    pub incarnation: u64,
    /// The gateway's shard.
    pub shard: u16,
    /// The connection's place in the shard's table.
    pub connection: u32,
    /// How often that place has been used before.
    pub generation: u32,
}

impl Address {
    /// No session: an answer sent here is dropped.
    pub const NOBODY: Self = Self { incarnation: 0, shard: 0, connection: 0, generation: 0 };
}

/// The fixed-size part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// [`ENVELOPE_VERSION`] of whoever wrote it.
    pub version: u8,
    /// See [`Class`].
    pub class: Class,
    /// The slot concerned; 0 where none is.
    pub slot: Slot,
    /// The slot's epoch as the sender knows it.
    pub slot_epoch: u64,
    /// The session that gets the answer; of a push, the session that sent the entry.
    pub reply: Address,
    /// Set by the asker, returned by the answerer.
    pub request_id: u64,
    /// ns of the host's monotonic clock after which nobody waits for the answer; 0 = none.
    pub deadline_ns: u64,
    /// One router passed it on to another, or one writer to another, which passes it on no further; or a writer that does not
    /// hold the slot gives a send back to its gateway.
    pub passed_on: bool,
    /// Only of a sampled message: most envelopes are small, and are moved often.
    pub trace: Option<Box<Trace>>,
}

impl Header {
    /// A header with nothing set but its class.
    pub const fn new(class: Class) -> Self {
        Self {
            version: ENVELOPE_VERSION,
            class,
            slot: match Slot::new(0) {
                Some(slot) => slot,
                None => unreachable!(),
            },
            slot_epoch: 0,
            reply: Address::NOBODY,
            request_id: 0,
            deadline_ns: 0,
            passed_on: false,
            trace: None,
        }
    }
}

/// One envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Fixed size.
    pub header: Header,
    /// By kind.
    pub body: Body,
}

impl Envelope {
    /// An envelope of `class` with everything else unset.
    pub const fn new(class: Class, body: Body) -> Self {
        Self { header: Header::new(class), body }
    }

    /// Sets who gets the answer.
    #[must_use]
    pub const fn reply_to(mut self, reply: Address) -> Self {
        self.header.reply = reply;
        self
    }
}

/// What is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    // ---- gateway -> owner -------------------------------------------------------------------------------------------
    /// A client's send. The answer is `Sent`, `Queued` or `Refused`; each returns the credit.
    Send {
        /// A frame whose body is a `Send`, with a valid client_msg_id and exactly one of chat_id and to.
        frame: VerifiedFrame,
        /// The authenticated sender.
        user: UserId,
        /// The authenticated device.
        device: DeviceId,
        /// The chat: given, or derived from `to`.
        chat: ChatId,
        /// Set when the send named a user: a direct chat that may not exist yet.
        to: Option<UserId>,
        /// The client said so, or the session is younger than a minute.
        retry: bool,
    },
    /// The session that had owner refusals for this chat is gone; forget them.
    ForgetRefusals {
        /// Which chat.
        chat: ChatId,
    },
    /// A device's watermark. `seq` 0 means: find `message`.
    Mark {
        /// Which chat.
        chat: ChatId,
        /// Whose.
        user: UserId,
        /// On which device.
        device: DeviceId,
        /// Up to here; 0 = by `message`.
        seq: u64,
        /// The message marked.
        message: Option<MessageId>,
        /// Which watermark.
        status: MarkStatus,
        /// The user tells nobody what they have read.
        secret: bool,
    },
    /// What changed for this device? Sent to the owner of the user's account log, answered by `SyncPage`.
    SyncRequest {
        /// Whose.
        user: UserId,
        /// For which device.
        device: DeviceId,
        /// Where the page before ended.
        before: Option<SyncCursor>,
        /// Chats of which others have got or read more since then are told too, ms since 1970; 0 = none for that.
        since_ms: u64,
    },
    /// A page of one chat's log, answered by `Page` (or `Refused` with an empty client_msg_id).
    PageRequest {
        /// Which chat.
        chat: ChatId,
        /// Who asks; must be a member.
        user: UserId,
        /// Entries above this.
        after_seq: u64,
        /// Entries below this; 0 = up to the head.
        before_seq: u64,
        /// When not all of them fit, the newest ones are wanted, not the oldest.
        newest: bool,
        /// At most so many.
        limit_entries: u32,
        /// At most so many bytes of entries (one entry always fits).
        limit_bytes: u32,
        /// How far the others are is wanted too.
        ticks: bool,
        /// The asker sees nobody's read marks.
        blind: bool,
    },
    /// What is this chat, and who is in it? Answered by `Answer` with a ChatInfo frame, or `Refused`.
    ChatRequest {
        /// Which chat.
        chat: ChatId,
        /// Who asks.
        user: UserId,
        /// The client's own number for it, for the frame.
        client_request: u64,
        /// Members above this user; 0 = from the first.
        after_user: u64,
        /// Members at most; 0 = the default.
        limit: u32,
        /// The asker sees nobody's read marks.
        blind: bool,
    },
    /// Who has this message? Answered by `Answer` with a MessageStatus frame, or `Refused`.
    StatusRequest {
        /// Which chat.
        chat: ChatId,
        /// Who asks.
        user: UserId,
        /// The client's own number for it, for the frame.
        client_request: u64,
        /// Which message.
        message: MessageId,
        /// The asker sees nobody's read marks.
        blind: bool,
    },
    /// The user's settings and devices. Sent to the owner of the user's account log, answered by `Answer` with an Account
    /// frame.
    AccountRequest {
        /// Whose.
        user: UserId,
        /// The client's own number for it, for the frame.
        client_request: u64,
        /// Tell what is hidden of this chat.
        chat: Option<ChatId>,
    },
    /// A page of the user's chats, newest first. Sent to the owner of the user's account log, answered by `Answer` with a
    /// Chats frame.
    ChatsRequest {
        /// Whose.
        user: UserId,
        /// The client's own number for it, for the frame.
        client_request: u64,
        /// Where the page before ended.
        before: Option<SyncCursor>,
        /// At most; 0 = the default.
        limit: u32,
    },

    // ---- owner -> owner (one process) -------------------------------------------------------------------------------
    /// Asks a sibling partition for its part of a sync page; `partition` gets the answer.
    SyncProbe {
        /// Whose.
        user: UserId,
        /// For which device.
        device: DeviceId,
        /// Where the page before ended.
        before: Option<SyncCursor>,
        /// As in `SyncRequest`.
        since_ms: u64,
        /// Who asks.
        partition: u16,
    },
    /// A sibling's part: its newest chats below the cursor, newest first, and whether it has more.
    SyncPart {
        /// Newest first.
        chats: Vec<ChangedChat>,
        /// Older ones exist.
        more: bool,
        /// Who answers.
        partition: u16,
    },
    /// Asks a sibling partition for its part of a page of chats; `partition` gets the answer.
    ChatsProbe {
        /// Whose.
        user: UserId,
        /// Where the page before ended.
        before: Option<SyncCursor>,
        /// At most.
        limit: u32,
        /// Who asks.
        partition: u16,
        /// The asker sees nobody's read marks.
        blind: bool,
    },
    /// A sibling's part: its newest chats below the cursor, newest first, and whether it has more.
    ChatsPart {
        /// Newest first.
        chats: Vec<ListedChat>,
        /// Older ones exist.
        more: bool,
        /// Who answers.
        partition: u16,
    },

    // ---- owner -> gateway -------------------------------------------------------------------------------------------
    /// The send is durable.
    Sent {
        /// As sent.
        client_msg_id: Bytes,
        /// Its chat.
        chat: ChatId,
        /// Its id.
        message: MessageId,
        /// Its place.
        seq: u64,
        /// Wall time of the message, ms since 1970.
        timestamp_ms: u64,
    },
    /// A send, page or mark is refused.
    Refused {
        /// As sent; empty when it was not a send.
        client_msg_id: Bytes,
        /// Which chat.
        chat: ChatId,
        /// Why.
        code: ErrorCode,
        /// 0 = the error table's default.
        retry_after_ms: u32,
    },
    /// The store is away, and the send is durable at a writer, which has it stored later: `Settled` follows, if the session
    /// is still there.
    Queued {
        /// As sent.
        client_msg_id: Bytes,
        /// Its chat.
        chat: ChatId,
    },
    /// What has become of a send that was `Queued`; with the request id that this had.
    Settled {
        /// As sent.
        client_msg_id: Bytes,
        /// Its chat.
        chat: ChatId,
        /// Where it is stored, or why it never will be.
        outcome: Result<Settled, ErrorCode>,
    },
    /// One page of changed chats, newest first.
    SyncPage {
        /// Newest first.
        chats: Vec<ChangedChat>,
        /// Ask again with this; `None` = that was all.
        next: Option<SyncCursor>,
        /// What a session must know of its user.
        account: AccountFacts,
    },
    /// One page of a chat's log, ascending.
    Page {
        /// Which chat.
        chat: ChatId,
        /// First seq the page speaks for; a seq inside the range without an entry has expired.
        covers_first: u64,
        /// Last seq the page speaks for; below covers_first when the page is empty.
        covers_last: u64,
        /// The chat's committed head when the page was cut.
        head_seq: u64,
        /// (seq, Entry frame), ascending.
        entries: Vec<(u64, Bytes)>,
        /// A Ticks frame, where it was asked for and says something.
        ticks: Option<Bytes>,
    },
    /// What a client asked, as the frame it gets.
    Answer {
        /// A frame of the client protocol, encoded by the owner.
        frame: Bytes,
    },

    // ---- owner -> router --------------------------------------------------------------------------------------------
    /// A committed entry for its online recipients. The session of the header's `reply` has its ack instead.
    Push {
        /// Which chat.
        chat: ChatId,
        /// The entry's place.
        seq: u64,
        /// The Entry frame, encoded once.
        frame: Bytes,
        /// For whom.
        recipients: Recipients,
    },
    /// A frame for all sessions of some users, in no chat order: receipts.
    Notify {
        /// A Receipt frame.
        frame: Bytes,
        /// For whom.
        users: SmallVec<[UserId; 2]>,
    },
    /// A backstop: these users have devices that have not acknowledged head.
    Nudge {
        /// Which chat.
        chat: ChatId,
        /// Its committed head.
        head_seq: u64,
        /// Who is behind.
        recipients: Recipients,
    },

    // ---- gateway -> router ------------------------------------------------------------------------------------------
    /// A session begins (header.reply says where). Answered by `Registered`.
    Register {
        /// Whose.
        user: UserId,
        /// On which device.
        device: DeviceId,
        /// Rises with every session of a device, host-wide; the highest wins.
        epoch: u64,
    },
    /// A session ended (header.reply says where it was).
    Unregister {
        /// Whose.
        user: UserId,
        /// On which device.
        device: DeviceId,
        /// As registered.
        epoch: u64,
    },

    // ---- router -> gateway ------------------------------------------------------------------------------------------
    /// The directory has the session: pushes may come from now on.
    Registered {
        /// As registered.
        epoch: u64,
    },
    /// A newer session of the same device exists (header.reply says whose session ends).
    Superseded {
        /// The newer epoch.
        epoch: u64,
    },
    /// A committed entry for sessions of one shard.
    Deliver {
        /// Which chat.
        chat: ChatId,
        /// The entry's place.
        seq: u64,
        /// The Entry frame.
        frame: Bytes,
        /// The shard's sessions.
        targets: SmallVec<[Target; 2]>,
    },
    /// A receipt for sessions of one shard.
    DeliverNotice {
        /// The frame.
        frame: Bytes,
        /// (connection, generation).
        targets: SmallVec<[(u32, u32); 2]>,
    },
    /// A backstop for sessions of one shard.
    DeliverNudge {
        /// Which chat.
        chat: ChatId,
        /// Its committed head.
        head_seq: u64,
        /// The shard's sessions.
        targets: SmallVec<[Target; 2]>,
    },

    // ---- owner -> everyone that asks owners --------------------------------------------------------------------------
    /// Which partitions a writer holds, and which it has given up. Said whenever it changes, and to whoever's link comes up.
    Owners {
        /// The writer's name.
        node: String,
        /// How many partitions there are in the cluster, as the writer knows it.
        partitions: u16,
        /// Those that it holds, or held last.
        holdings: Vec<Holding>,
        /// The chats that are not where their slots are, as it knows.
        places: Places,
    },

    // ---- owner -> owner ----------------------------------------------------------------------------------------------
    /// What two writers say to each other of a partition that moves from one to the other. Any of it may be lost.
    Move {
        /// Who says it.
        node: String,
        /// Which partition.
        partition: u16,
        /// Under which epoch its owner until now has it, or had it.
        epoch: u64,
        /// How far it is.
        stage: MoveStage,
    },

    // ---- anyone downstream ------------------------------------------------------------------------------------------
    /// Something live was lost on the way: resync whoever is in scope.
    Gap(GapScope),
}
