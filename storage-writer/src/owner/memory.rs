//! All a partition knows of committed changes: chats, tables, hot tails, dedupe answers.
//!
//! A commit and a replay after a restart go through the same functions, so that they cannot disagree.

use std::collections::VecDeque;

use fabric::time::Now;
use schema::dedupe::DedupeKey;
use schema::frame::FrameRef;
use schema::ids::{ChatId, ChatKind, DeviceId, MessageId, UserId};
use schema::timeuuid;
use schema::wire::{EntryKind, MarkStatus};
use smallvec::SmallVec;

use super::account::AccountChange;
use super::append::what_of;
use super::batch::What;
use super::chats::{Chat, Chats, Head, Member};
use super::dedupe::{DedupeMemory, Known};
use super::roster::{Change, is_change};
use super::tables::Tables;
use crate::journal::{AppendRecord, PositionRecord};
use crate::memtable::{self, HotTails, MemEntry, NewEntry, PLACES};
use crate::store::AccountState;

/// See the module.
pub(crate) struct Memory {
    pub chats: Chats,
    pub tables: Tables,
    pub hot: HotTails,
    pub dedupe: DedupeMemory,
    /// The latest wall time that anybody was told of, ms since 1970.
    pub latest_ms: u64,
}

/// How a position changed what others see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Raised {
    pub delivered: bool,
    /// What the user has read.
    pub read: bool,
    /// What others are told of that.
    pub shown: bool,
    /// The device's own position.
    pub acked: bool,
    /// Where the member stood before as others knew it, delivered and read.
    pub before: (u64, u64),
}

/// An entry of a journal, or of a log in a store, that cannot follow what is known of its chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Entries before it are neither in the store nor in what was replayed.
    #[error("chat {chat}: seq {seq} follows {head} in what was replayed; the entries between them are missing")]
    Hole {
        /// The chat.
        chat: ChatId,
        /// The entry that was found.
        seq: u64,
        /// The last one before it.
        head: u64,
    },
    /// A change of a group or an account that says nothing.
    #[error("chat {chat}: the change of seq {seq} cannot be read")]
    Change {
        /// The chat.
        chat: ChatId,
        /// The entry.
        seq: u64,
    },
    /// A chat's first entry says nothing of who is in it.
    #[error("chat {chat}: its first entry names no members")]
    NoMembers {
        /// The chat.
        chat: ChatId,
    },
}

/// Entries whose senders hear of a receipt in a group. Who sent what lies before has heard of others, or asks.
const SENDERS_LOOKED_AT: u64 = 64;

/// Who wrote an entry.
pub(crate) fn sender_of(frame: &[u8]) -> Option<UserId> {
    let frame = FrameRef::verify(frame).ok()?;
    UserId::new(frame.root().body_as_entry()?.sender_id())
}

/// An entry of an account log counts again.
fn replay_account(chat: &mut Chat, record: &AppendRecord<'_>) -> Result<(), ReplayError> {
    let Some(account) = chat.account_mut() else { return Ok(()) };
    let unread = ReplayError::Change { chat: record.chat, seq: record.seq };
    let change = AccountChange::of_entry(record.frame).ok_or(unread)?;
    account.order(record.seq, timeuuid::unix_ms(record.message), change);
    account.settle(record.seq);
    Ok(())
}

/// The members of a direct chat, each once.
pub(crate) fn direct_members(user: UserId, peer: UserId) -> SmallVec<[Member; 2]> {
    let mut members: SmallVec<[Member; 2]> = SmallVec::new();
    members.push(Member::new(user));
    if peer != user {
        members.push(Member::new(peer));
    }
    members
}

impl Memory {
    /// A chat's next entry is durable. True if it raised its sender's own position.
    pub(crate) fn commit_entry(
        &mut self,
        now: Now,
        index: u32,
        sender: (UserId, DeviceId),
        entry: NewEntry<'_>,
    ) -> bool {
        let chat = self.chats.get_mut(index);
        assert_eq!(entry.seq, chat.head.seq + 1, "commits follow the order that was given");
        let (seq, message, key) = (entry.seq, entry.message, entry.key);
        chat.head = Head { seq, message };
        chat.committed_ns = now.mono_ns;
        let table = &mut self.tables.active;
        let place = &mut chat.places[table.epoch as usize % PLACES];
        table.push(now.mono_ns, index, chat.id, place, entry);
        let joined = chat.settle(seq);
        let absorbed = match chat.member(sender.0) {
            Some(at) => chat.members[at].own_sent(sender.1, seq),
            None => false,
        };
        self.dedupe.committed(now.mono_ms(), key, table.epoch);
        if seq == 1 {
            chat.first_ms = timeuuid::unix_ms(message);
            self.chats.list(index);
        } else if !joined.is_empty() {
            self.chats.list_for(index, &joined);
        }
        absorbed
    }

    /// The wall time, never before one that was given: a clock that steps back hides nothing that ticks later.
    pub(crate) fn latest_ms(&mut self, now: Now) -> u64 {
        self.latest_ms = self.latest_ms.max(now.wall_ms());
        self.latest_ms
    }

    /// A position is durable.
    pub(crate) fn commit_position(
        &mut self,
        now: Now,
        index: u32,
        who: (UserId, DeviceId),
        seq: u64,
        (status, secret): (MarkStatus, bool),
    ) -> Raised {
        let latest_ms = self.latest_ms(now);
        let chat = self.chats.get_mut(index);
        let seq = seq.min(chat.head.seq);
        let Some(at) = chat.member(who.0) else { return Raised::default() };
        let before = (chat.members[at].delivered, chat.shown(at));
        let member = &mut chat.members[at];
        let acked = member.raise_acked(who.1, seq);
        member.delivered = member.delivered.max(seq);
        let (read, shown) = if status == MarkStatus::read { chat.raise_read(at, seq, secret) } else { (false, false) };
        let raised = Raised { delivered: seq > before.0, read, shown, acked, before };
        if raised.delivered || shown {
            chat.ticked_ms = chat.ticked_ms.max(latest_ms);
        }
        let table = &mut self.tables.active;
        table.touch(now.mono_ns, index, chat.id, &mut chat.places[table.epoch as usize % PLACES]);
        raised
    }

    /// What is durable of an account log, if its user has one.
    pub(crate) fn account(&self, account: ChatId) -> Option<&AccountState> {
        let index = self.chats.find(account)?;
        Some(&self.chats.get(index).account()?.state)
    }

    /// An entry found in a journal at start. It may be in the store already.
    pub(crate) fn replay_entry(&mut self, now: Now, record: &AppendRecord<'_>) -> Result<(), ReplayError> {
        let index = match (self.chats.find(record.chat), record.members) {
            (Some(index), _) => index,
            (None, Some([a, b])) => self.chats.add(record.chat, record.chat_kind, direct_members(a, b)),
            (None, None) if record.entry_kind == EntryKind::created => {
                self.chats.add(record.chat, ChatKind::Group, SmallVec::new())
            }
            (None, None) => return Err(ReplayError::NoMembers { chat: record.chat }),
        };
        let chat = self.chats.get_mut(index);
        let head = chat.head.seq;
        if record.seq > head + 1 {
            return Err(ReplayError::Hole { chat: record.chat, seq: record.seq, head });
        }
        // What is at or below the head is in the state already.
        let change = (record.seq == head + 1 && is_change(record.entry_kind))
            .then(|| Change::of_entry(record.frame).ok_or(ReplayError::Change { chat: record.chat, seq: record.seq }));
        let mut joined = Vec::new();
        if let (Some(change), Some(group)) = (change.transpose()?, &mut chat.group) {
            group.order(record.seq, change);
            joined = chat.settle(record.seq);
        }
        if record.seq == head + 1 {
            replay_account(chat, record)?;
        }
        let expires_s = self.expires_s(index, record.frame);
        let chat = self.chats.get_mut(index);
        let table = &mut self.tables.active;
        let (seq, message, key) = (record.seq, record.message, record.dedupe);
        let entry = NewEntry { seq, message, frame: record.frame, key, expires_s };
        table.replay(index, chat.id, &mut chat.places[table.epoch as usize % PLACES], entry);
        let acts = what_of(record.entry_kind) == What::Acting;
        if record.seq == head + 1 {
            chat.head = Head { seq: record.seq, message: record.message };
            chat.ordered = chat.head;
        }
        if let Some(at) = chat.member(record.sender) {
            chat.members[at].own_sent(record.device, record.seq);
        }
        if head == 0 {
            chat.first_ms = timeuuid::unix_ms(record.message);
            self.chats.list(index);
        } else if !joined.is_empty() {
            self.chats.list_for(index, &joined);
        }
        // Of amendments the later ones come later; a timer below the head is in the state.
        if acts && (record.seq == head + 1 || record.entry_kind != EntryKind::timer) {
            self.act(index, record.frame);
        }
        let known = Known { seq: record.seq, message: record.message, chat: index };
        self.recover_answer(now, record.dedupe, known, self.tables.active.epoch);
        Ok(())
    }

    /// A position found in a journal at start.
    pub(crate) fn replay_position(&mut self, now: Now, record: &PositionRecord) {
        if let Some(index) = self.chats.find(record.chat) {
            self.commit_position(now, index, (record.user, record.device), record.seq, (record.status, record.secret));
        }
    }

    /// A dedupe answer found at start. `epoch`: the table that has its entry, 0 = the store.
    pub(crate) fn recover_answer(&mut self, now: Now, key: DedupeKey, known: Known, epoch: u32) {
        let age_ms = now.wall_ms().saturating_sub(timeuuid::unix_ms(known.message));
        self.dedupe.recovered(now.mono_ms(), key, known, age_ms, epoch);
    }

    /// After the last record: what does not reach up to its chat's head is in the store, because flushes keep order. It may
    /// have been amended there since, by a record that was skipped; it must not be flushed again.
    pub(crate) fn replayed(&mut self) {
        let table = &mut self.tables.active;
        for part in &mut table.chats {
            let head = self.chats.get(part.index).head.seq;
            if part.entries.last().is_some_and(|last| last.seq != head) {
                table.bytes -= part.entries.iter().map(MemEntry::cost).sum::<usize>();
                table.entries -= part.entries.len() as u64;
                part.entries = Vec::new();
            }
        }
    }

    /// The lowest seq from which memory has every entry up to the head, if it has any. `hot`: count the hot tail.
    pub(crate) fn lowest(&mut self, index: u32, hot: bool) -> Option<u64> {
        if hot && let Some(first) = self.hot.get(index).and_then(VecDeque::front) {
            return Some(first.seq);
        }
        let places = self.chats.get(index).places;
        self.tables.oldest_first().find_map(|table| table.of(&places).first().map(|e| e.seq))
    }

    /// Calls `each` with seq and frame of a chat's entries above `after`, ascending, until it returns false. Memory must reach down to
    /// `after + 1` (see [`Self::lowest`]).
    pub(crate) fn entries_above(&mut self, index: u32, after: u64, mut each: impl FnMut(u64, &[u8]) -> bool) {
        let mut at = after;
        if let Some(tail) = self.hot.get(index) {
            let first = tail.front().map_or(0, |e| e.seq);
            for entry in tail.range(usize::try_from((at + 1).saturating_sub(first)).unwrap_or(0).min(tail.len())..) {
                if !each(entry.seq, &entry.frame) {
                    return;
                }
                at = entry.seq;
            }
        }
        let places = self.chats.get(index).places;
        for table in self.tables.oldest_first() {
            let entries = table.of(&places);
            let Some(first) = entries.first() else { continue };
            let skip = usize::try_from((at + 1).saturating_sub(first.seq)).unwrap_or(0).min(entries.len());
            for entry in &entries[skip..] {
                if !each(entry.seq, table.frames.get(entry.frame)) {
                    return;
                }
                at = entry.seq;
            }
        }
    }

    /// Who is told that `user` has everything up to `seq`, who had it up to `before`: in a direct chat the other one, in a
    /// group whoever sent something in between, looking at no more than the last [`SENDERS_LOOKED_AT`] of it.
    pub(crate) fn senders_up_to(
        &mut self,
        index: u32,
        (before, seq): (u64, u64),
        user: UserId,
    ) -> SmallVec<[UserId; 2]> {
        let chat = self.chats.get(index);
        if chat.group.is_none() {
            return chat.members.iter().map(|member| member.user).filter(|&other| other != user).collect();
        }
        let mut senders: SmallVec<[UserId; 2]> = SmallVec::new();
        let lowest = self.lowest(index, true).unwrap_or(u64::MAX);
        let after = seq.saturating_sub(SENDERS_LOOKED_AT).max(lowest.saturating_sub(1)).max(before);
        if after < seq {
            self.entries_above(index, after, |at, frame| {
                let sender = if at <= seq { sender_of(frame) } else { None };
                senders.extend(sender.filter(|&sender| sender != user));
                at < seq
            });
        }
        senders.sort_unstable();
        senders.dedup();
        let group = self.chats.get(index).group.as_ref();
        senders.retain(|sender| group.is_some_and(|group| group.state.is_present(*sender)));
        senders
    }

    /// Who wrote the entry of `seq`, if memory has it.
    pub(crate) fn sender_at(&mut self, index: u32, seq: u64) -> Option<UserId> {
        if self.lowest(index, true).is_none_or(|lowest| lowest > seq) {
            return None;
        }
        let mut sender = None;
        self.entries_above(index, seq.saturating_sub(1), |at, frame| {
            sender = sender_of(frame).filter(|_| at == seq);
            false
        });
        sender
    }

    /// The id of `seq`, if memory has it.
    pub(crate) fn message_at(&mut self, index: u32, seq: u64) -> Option<MessageId> {
        let chat = self.chats.get(index);
        if chat.head.seq == seq {
            return Some(chat.head.message);
        }
        let places = chat.places;
        let found =
            self.tables.oldest_first().find_map(|table| memtable::at_seq(table.of(&places), seq).map(|e| e.message));
        found.or_else(|| {
            let tail = self.hot.get(index)?;
            tail.iter().find(|e| e.seq == seq).map(|e| e.message)
        })
    }

    /// The seq of a message, if memory has it.
    pub(crate) fn seq_of(&mut self, index: u32, message: MessageId) -> Option<u64> {
        let chat = self.chats.get(index);
        if chat.head.seq > 0 && chat.head.message == message {
            return Some(chat.head.seq);
        }
        let places = chat.places;
        let found = self
            .tables
            .oldest_first()
            .find_map(|table| memtable::by_message(table.of(&places), message).map(|e| e.seq));
        found.or_else(|| {
            let tail = self.hot.get(index)?;
            tail.iter().find(|e| e.message == message).map(|e| e.seq)
        })
    }
}
