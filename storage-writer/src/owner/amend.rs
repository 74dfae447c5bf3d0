//! Amendments: what may be changed of a message by whom and until when, and what a change makes of what is kept.
//!
//! What must stay true: an amendment names the seq of what it amends and the edit it takes the place of, so that nobody
//! who applies it, now or after a restart, needs to look anything up; what is ordered but not durable counts for what is
//! ordered behind it, and is forgotten with a failed block.

use std::collections::VecDeque;

use bytes::Bytes;
use fabric::hash::Map;
use fabric::time::Now;
use schema::encode::Encoder;
use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::{ChatKind, MessageId, UserId};
use schema::wire::{EntryKind, Role, Send};

use super::ask::Ask;
use super::chats::Chat;
use super::memory::Memory;
use crate::memtable::Amendment;
use crate::partition::Partition;
use crate::store::StoredEntry;

/// Whether entries of this kind amend a message.
pub(super) const fn is_amendment(kind: EntryKind) -> bool {
    matches!(kind, EntryKind::edited | EntryKind::deleted | EntryKind::reacted)
}

/// What an amendment must know of the entry it amends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Original {
    seq: u64,
    sender: UserId,
    kind: EntryKind,
    timestamp_ms: u64,
    edited_seq: u64,
    deleted: bool,
    ttl_s: u32,
}

impl Original {
    fn of(frame: &[u8]) -> Option<Self> {
        let frame = FrameRef::verify(frame).ok()?;
        let entry = frame.root().body_as_entry()?;
        Some(Self {
            seq: entry.seq(),
            sender: UserId::new(entry.sender_id())?,
            kind: entry.kind(),
            timestamp_ms: entry.timestamp_ms(),
            edited_seq: entry.edited_seq(),
            deleted: entry.deleted_ms() > 0,
            ttl_s: entry.ttl_s(),
        })
    }

    /// When nobody is given it any more, ms since 1970. A timer says when others go.
    fn ends_ms(&self) -> Option<u64> {
        let goes = self.ttl_s > 0 && self.kind != EntryKind::timer;
        goes.then(|| self.timestamp_ms.saturating_add(u64::from(self.ttl_s) * 1_000))
    }

    fn is_expired(&self, now_ms: u64) -> bool {
        self.ends_ms().is_some_and(|ends_ms| ends_ms <= now_ms)
    }
}

/// Whether nobody is given this entry any more, because its time to live is over.
pub(super) fn is_expired(frame: &[u8], now_ms: u64) -> bool {
    Original::of(frame).is_some_and(|entry| entry.is_expired(now_ms))
}

/// Where an original is looked for.
pub(super) enum Lookup {
    Known(Original),
    Unknown,
    /// Memory cannot say.
    AskStore,
}

/// What an amendment's entry says of what it amends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amends {
    pub refers_seq: u64,
    pub replaces_seq: u64,
    /// It goes with what it amends, s; 0 = never. Of a timer: what it sets.
    pub ttl_s: u32,
}

/// What amendments that are not durable yet make of an entry.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// The last of them.
    last_seq: u64,
    edited_seq: u64,
    deleted: bool,
}

/// Amendments that are ordered and not durable, by chat and seq of what they amend.
pub(crate) struct Amending(Map<(u32, u64), Pending>);

impl Amending {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fabric::hash::map(seed))
    }

    fn order(&mut self, index: u32, kind: EntryKind, seq: u64, amends: Amends) {
        if kind == EntryKind::reacted {
            return;
        }
        let before = self.0.get(&(index, amends.refers_seq));
        let deleted = kind == EntryKind::deleted || before.is_some_and(|before| before.deleted);
        let edited_seq = if kind == EntryKind::edited { seq } else { amends.replaces_seq };
        self.0.insert((index, amends.refers_seq), Pending { last_seq: seq, edited_seq, deleted });
    }

    /// The amendment of this seq is durable: readers see it.
    fn settle(&mut self, index: u32, seq: u64, refers_seq: u64) {
        if self.0.get(&(index, refers_seq)).is_some_and(|pending| pending.last_seq == seq) {
            self.0.remove(&(index, refers_seq));
        }
    }

    /// A block failed: nothing that was ordered ever was.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

/// A chat whose messages disappear, or did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timer {
    /// Committed, s; 0 = messages stay.
    pub ttl_s: u32,
    /// (seq, s), ordered and not durable.
    ordered: VecDeque<(u64, u32)>,
}

impl Timer {
    pub(crate) fn new(ttl_s: u32) -> Self {
        Self { ttl_s, ordered: VecDeque::new() }
    }

    fn current(&self) -> u32 {
        self.ordered.back().map_or(self.ttl_s, |&(_, ttl_s)| ttl_s)
    }
}

impl Chat {
    /// How long a message that is ordered now stays, s; 0 = for good.
    pub(super) fn current_ttl_s(&self) -> u32 {
        self.timer.as_ref().map_or(0, |timer| timer.current())
    }

    /// A timer was given this seq.
    pub(super) fn order_timer(&mut self, seq: u64, ttl_s: u32) {
        self.timer.get_or_insert_default().ordered.push_back((seq, ttl_s));
    }

    /// The timer of this seq is durable.
    fn settle_timer(&mut self, seq: u64, ttl_s: u32) {
        let timer = self.timer.get_or_insert_default();
        timer.ttl_s = ttl_s;
        while timer.ordered.front().is_some_and(|&(ordered, _)| ordered <= seq) {
            timer.ordered.pop_front();
        }
    }

    /// What was ordered and is not durable never was.
    pub(super) fn forget_timers(&mut self) {
        if let Some(timer) = &mut self.timer {
            timer.ordered.clear();
        }
    }
}

impl Memory {
    /// When an entry of a chat is given to nobody any more, s since 1970; 0 = never. Looked at where there is a timer only.
    pub(super) fn expires_s(&self, index: u32, frame: &[u8]) -> u32 {
        if self.chats.get(index).timer.is_none() {
            return 0;
        }
        let ends_ms = Original::of(frame).and_then(|entry| entry.ends_ms()).unwrap_or(0);
        u32::try_from(ends_ms.div_ceil(1_000)).unwrap_or(0)
    }

    /// What a durable entry does besides being there. Returns the seq that it amends, if it does.
    pub(super) fn act(&mut self, index: u32, frame: &[u8]) -> Option<u64> {
        let verified = FrameRef::verify(frame).ok()?;
        let entry = verified.root().body_as_entry()?;
        let (seq, at_ms, chat) = (entry.seq(), entry.timestamp_ms(), self.chats.get(index).id);
        let table = &mut self.tables.active;
        match entry.kind() {
            EntryKind::edited => {
                let edit = Bytes::copy_from_slice(frame);
                table.amend(chat, entry.refers_seq(), Amendment::Edited { by_seq: seq, edit });
            }
            EntryKind::deleted => table.amend(chat, entry.refers_seq(), Amendment::Blanked { at_ms }),
            EntryKind::timer => {
                self.chats.get_mut(index).settle_timer(seq, entry.ttl_s());
                return None;
            }
            _ => return None,
        }
        if entry.replaces_seq() > 0 {
            table.amend(chat, entry.replaces_seq(), Amendment::Blanked { at_ms });
        }
        Some(entry.refers_seq())
    }

    /// What amendments have made of an entry, where they are not in its frame yet.
    pub(super) fn amended(&self, index: u32, seq: u64, frame: &[u8], encoder: &mut Encoder) -> Option<Bytes> {
        let mut laid_over: Option<Bytes> = None;
        for amendments in self.tables.amendments() {
            if let Some(amendment) = amendments.get(self.chats.get(index).id, seq) {
                laid_over = Some(amendment.apply(laid_over.as_deref().unwrap_or(frame), encoder));
            }
        }
        laid_over
    }

    /// The frame of a seq, if memory has it.
    pub(super) fn frame_at(&mut self, index: u32, seq: u64) -> Option<Vec<u8>> {
        if seq == 0 || self.lowest(index, true).is_none_or(|lowest| lowest > seq) {
            return None;
        }
        let mut found = None;
        self.entries_above(index, seq - 1, |at, frame| {
            found = (at == seq).then(|| frame.to_vec());
            false
        });
        found
    }
}

impl Partition {
    /// Looks for what an amendment refers to.
    pub(super) fn find_original(&mut self, index: u32, message: MessageId) -> Lookup {
        let Some(seq) = self.memory.seq_of(index, message) else {
            let whole = self.memory.chats.get(index).head.seq == 0 || self.memory.lowest(index, true) == Some(1);
            return if whole { Lookup::Unknown } else { Lookup::AskStore };
        };
        match self.memory.frame_at(index, seq) {
            Some(frame) => self.original_of(index, seq, &frame),
            None => Lookup::AskStore,
        }
    }

    /// As [`Self::find_original`], with what the store said.
    pub(super) fn stored_original(&mut self, index: u32, stored: Option<&StoredEntry>) -> Lookup {
        stored.map_or(Lookup::Unknown, |entry| self.original_of(index, entry.seq, &entry.frame))
    }

    fn original_of(&mut self, index: u32, seq: u64, frame: &[u8]) -> Lookup {
        let amended = self.memory.amended(index, seq, frame, &mut self.encoder);
        Original::of(amended.as_deref().unwrap_or(frame)).map_or(Lookup::Unknown, Lookup::Known)
    }

    /// Whether the sender may amend `original` so.
    pub(super) fn judge_amendment(
        &self,
        now: Now,
        index: u32,
        ask: &Ask<'_>,
        kind: EntryKind,
        original: &Original,
    ) -> Result<Amends, ErrorCode> {
        let chat = self.memory.chats.get(index);
        let visible = original.kind == EntryKind::message && chat.sees(ask.user, original.seq);
        if !visible || original.is_expired(now.wall_ms()) {
            return Err(ErrorCode::UnknownMessage);
        }
        let pending = self.amending.0.get(&(index, original.seq));
        if original.deleted || pending.is_some_and(|pending| pending.deleted) {
            return Err(ErrorCode::MessageDeleted);
        }
        let left_ms = original.ends_ms().map_or(0, |ends_ms| ends_ms - now.wall_ms());
        let ttl_s = u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
        let window_s = match kind {
            EntryKind::edited => self.config.edit_window_s,
            EntryKind::deleted => self.config.delete_window_s,
            _ => return Ok(Amends { refers_seq: original.seq, replaces_seq: 0, ttl_s }),
        };
        let in_time = now.wall_ms().saturating_sub(original.timestamp_ms) <= u64::from(window_s) * 1_000;
        let admin = kind == EntryKind::deleted && is_admin(chat, ask.user);
        match original.sender == ask.user {
            true if !in_time && !admin => return Err(ErrorCode::TooLate),
            false if !admin => return Err(ErrorCode::NotTheSender),
            _ => {}
        }
        let replaces_seq = pending.map_or(original.edited_seq, |pending| pending.edited_seq);
        let ttl_s = if kind == EntryKind::edited { ttl_s } else { 0 };
        Ok(Amends { refers_seq: original.seq, replaces_seq, ttl_s })
    }

    /// Whether the sender may set this timer.
    pub(super) fn judge_timer(&self, index: u32, ask: &Ask<'_>, send: &Send<'_>) -> Result<Amends, ErrorCode> {
        let chat = self.memory.chats.get(index);
        if chat.kind == ChatKind::Group && !is_admin(chat, ask.user) {
            return Err(ErrorCode::NotAnAdmin);
        }
        if chat.current_ttl_s() == send.ttl_s() {
            return Err(ErrorCode::NoChange);
        }
        Ok(Amends { ttl_s: send.ttl_s(), ..Amends::default() })
    }

    /// Whether everybody whom a message mentions is in its chat. `to`: with whom a new one is.
    pub(super) fn judge_mentions(
        &self,
        index: Option<u32>,
        ask: &Ask<'_>,
        to: Option<UserId>,
        send: &Send<'_>,
    ) -> Result<(), ErrorCode> {
        let Some(users) = send.users() else { return Ok(()) };
        let chat = index.map(|index| self.memory.chats.get(index));
        let is_in = |user: UserId| match chat {
            None => user == ask.user || Some(user) == to,
            Some(chat) => match &chat.group {
                Some(group) => group.current().is_present(user),
                None => chat.member(user).is_some(),
            },
        };
        if users.iter().all(|user| UserId::new(user).is_some_and(is_in)) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMember)
        }
    }

    /// An entry that does something was given this seq.
    pub(super) fn order_act(&mut self, index: u32, send: &Send<'_>, seq: u64, amends: Amends) {
        match send.kind() {
            EntryKind::timer => self.memory.chats.get_mut(index).order_timer(seq, send.ttl_s()),
            kind => self.amending.order(index, kind, seq, amends),
        }
    }

    /// It is durable.
    pub(super) fn settle_act(&mut self, index: u32, seq: u64, frame: &[u8]) {
        if let Some(refers_seq) = self.memory.act(index, frame) {
            self.amending.settle(index, seq, refers_seq);
        }
    }
}

fn is_admin(chat: &Chat, user: UserId) -> bool {
    let seat = chat.group.as_ref().and_then(|group| group.current().seat(user));
    seat.is_some_and(|seat| seat.is_present() && seat.role == Role::admin)
}
