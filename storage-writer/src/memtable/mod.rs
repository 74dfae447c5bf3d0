//! Memory tables: committed entries that the store does not have yet, a chat's in seq order.
//!
//! One table is active and grows; it is frozen whole and handed to a flush, which reads it on another thread while the
//! owner still reads it here. What must stay true: a table holds only committed entries, a chat's entries in it have no
//! holes, and a frozen table never changes.

mod amendments;
mod frames;
mod hot;

use std::borrow::Cow;

use schema::dedupe::DedupeKey;
use schema::encode::Encoder;
use schema::ids::{ChatId, MessageId};
use schema::timeuuid;

use crate::store::{DedupeHit, FlushEntry, FlushRun};

pub(crate) use amendments::{Amendment, Amendments};
pub(crate) use frames::{FrameAt, Frames};
pub(crate) use hot::HotTails;

/// One committed entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemEntry {
    pub seq: u64,
    pub message: MessageId,
    pub key: DedupeKey,
    /// Its frame, in its table's [`Frames`].
    pub frame: FrameAt,
    /// From this wall time on nobody is given it, s since 1970; 0 = never.
    pub expires_s: u32,
}

/// What a table is given of an entry.
#[derive(Clone, Copy)]
pub(crate) struct NewEntry<'a> {
    pub seq: u64,
    pub message: MessageId,
    pub key: DedupeKey,
    pub frame: &'a [u8],
    /// As in [`MemEntry`].
    pub expires_s: u32,
}

/// Bookkeeping of an entry besides its frame, bytes; a chat's list has room for more than it holds.
const ENTRY_OVERHEAD: usize = size_of::<MemEntry>() * 3 / 2;
/// Bookkeeping of a chat in a table, bytes.
const CHAT_OVERHEAD: usize = size_of::<TableChat>() + 32;

impl MemEntry {
    /// What it costs to keep, bytes.
    pub(crate) fn cost(&self) -> usize {
        self.frame.len() + ENTRY_OVERHEAD
    }
}

/// One chat's part of a table. Empty when only its positions changed.
#[derive(Debug)]
pub(crate) struct TableChat {
    /// The chat's number in its partition.
    pub index: u32,
    pub chat: ChatId,
    pub entries: Vec<MemEntry>,
}

/// Where a chat is in the table of an epoch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub epoch: u32,
    pub slot: u32,
}

/// Tables a chat can be in at once: one active, the rest frozen or being retired.
pub(crate) const PLACES: usize = 4;

/// A table: chats in the order of their first change.
#[derive(Debug)]
pub(crate) struct MemTable {
    /// 1, 2, 3… in a partition's life; 0 = no table.
    pub epoch: u32,
    pub chats: Vec<TableChat>,
    pub frames: Frames,
    /// What became of entries here, in older tables and in the store.
    pub amendments: Amendments,
    pub bytes: usize,
    pub entries: u64,
    /// Monotonic times of the first and last change, ns; 0 = none.
    pub first_ns: u64,
    pub last_ns: u64,
}

impl MemTable {
    pub(crate) fn new(epoch: u32) -> Self {
        Self {
            epoch,
            chats: Vec::new(),
            frames: Frames::default(),
            amendments: Amendments::default(),
            bytes: 0,
            entries: 0,
            first_ns: 0,
            last_ns: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chats.is_empty()
    }

    /// The slot of a chat, made if it has none. `place`: the chat's own note of where it is in this epoch's table.
    fn slot(&mut self, index: u32, chat: ChatId, place: &mut Place) -> usize {
        if place.epoch != self.epoch {
            *place = Place { epoch: self.epoch, slot: self.chats.len() as u32 };
            self.chats.push(TableChat { index, chat, entries: Vec::new() });
            self.bytes += CHAT_OVERHEAD;
        }
        place.slot as usize
    }

    /// Adds a chat's next entry.
    pub(crate) fn push(&mut self, now_ns: u64, index: u32, chat: ChatId, place: &mut Place, entry: NewEntry<'_>) {
        let slot = self.slot(index, chat, place);
        self.touched(now_ns);
        let entries = &self.chats[slot].entries;
        debug_assert!(entries.last().is_none_or(|last| last.seq + 1 == entry.seq), "a chat's entries have no holes");
        self.keep(slot, entry);
    }

    fn keep(&mut self, slot: usize, entry: NewEntry<'_>) {
        let NewEntry { seq, message, key, frame, expires_s } = entry;
        let entry = MemEntry { seq, message, key, frame: self.frames.push(frame), expires_s };
        self.bytes += entry.cost();
        self.entries += 1;
        self.chats[slot].entries.push(entry);
    }

    /// Adds what an amendment of this table makes of an entry. Its chat has a part here already: the amendment's own entry.
    pub(crate) fn amend(&mut self, chat: ChatId, seq: u64, amendment: Amendment) {
        self.bytes += self.amendments.add(chat, seq, amendment);
    }

    /// Notes that a chat's state changed without an entry.
    pub(crate) fn touch(&mut self, now_ns: u64, index: u32, chat: ChatId, place: &mut Place) {
        self.slot(index, chat, place);
        self.touched(now_ns);
    }

    fn touched(&mut self, now_ns: u64) {
        if self.first_ns == 0 {
            self.first_ns = now_ns;
        }
        self.last_ns = now_ns;
    }

    /// Replays an entry, which may have been seen before, or follow a hole that the store fills: only the last run without
    /// holes is kept.
    pub(crate) fn replay(&mut self, index: u32, chat: ChatId, place: &mut Place, entry: NewEntry<'_>) {
        let slot = self.slot(index, chat, place);
        let entries = &mut self.chats[slot].entries;
        if let Some(last) = entries.last() {
            if entry.seq <= last.seq {
                return;
            }
            if entry.seq != last.seq + 1 {
                let dropped: usize = entries.iter().map(MemEntry::cost).sum();
                self.bytes -= dropped;
                self.entries -= entries.len() as u64;
                entries.clear();
            }
        }
        self.keep(slot, entry);
        self.touched(1);
    }

    /// From when on the table's newest `bytes` came, about, ns: what is older would be evicted from them at once.
    pub(crate) fn newest_ns(&self, bytes: usize) -> u64 {
        if bytes >= self.bytes || self.last_ns <= self.first_ns {
            return 0;
        }
        let span = u128::from(self.last_ns - self.first_ns) * bytes as u128 / self.bytes as u128;
        self.last_ns - span as u64
    }

    /// A chat's entries in this table.
    pub(crate) fn of(&self, places: &[Place; PLACES]) -> &[MemEntry] {
        let place = places[self.epoch as usize % PLACES];
        if place.epoch == self.epoch { &self.chats[place.slot as usize].entries } else { &[] }
    }

    /// The table as the store takes it, in chat order, without states and positions, and without what it amends of the store.
    pub(crate) fn to_run(&self) -> FlushRun<'_> {
        let mut encoder = Encoder::new();
        let count = self.entries as usize;
        let (mut entries, mut dedupe) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut order: Vec<(ChatId, u32)> = self.chats.iter().zip(0..).map(|(part, slot)| (part.chat, slot)).collect();
        order.sort_unstable();
        for (chat, slot) in order {
            for e in &self.chats[slot as usize].entries {
                let (seq, message, frame) = (e.seq, e.message, self.frames.get(e.frame));
                let frame = match self.amendments.get(chat, seq) {
                    None => Cow::Borrowed(frame),
                    Some(amendment) => Cow::Owned(amendment.apply(frame, &mut encoder).to_vec()),
                };
                entries.push(FlushEntry { chat, seq, message, frame, expires_s: e.expires_s });
                dedupe.push((e.key, DedupeHit { chat, seq, message, wall_ms: timeuuid::unix_ms(message) }));
            }
        }
        FlushRun { entries, dedupe, ..FlushRun::default() }
    }
}

/// Finds `seq` among entries without holes.
pub(crate) fn at_seq(entries: &[MemEntry], seq: u64) -> Option<&MemEntry> {
    let first = entries.first()?.seq;
    entries.get(usize::try_from(seq.checked_sub(first)?).ok()?)
}

/// Finds a message among entries in seq order, whose ids rise with it.
pub(crate) fn by_message(entries: &[MemEntry], message: MessageId) -> Option<&MemEntry> {
    let ticks = timeuuid::ticks(message);
    let at = entries.partition_point(|e| timeuuid::ticks(e.message) < ticks);
    entries.get(at).filter(|e| e.message == message)
}
