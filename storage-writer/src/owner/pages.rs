//! Pages of a chat's log: from memory, or from the store up to where memory begins.

use bytes::Bytes;
use fabric::tier::Egress;
use fabric::time::Now;
use schema::envelope::{Address, Body, Class, Envelope, Header};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, UserId};
use schema::limits::{PAGE_ENTRIES, PAGE_ENTRIES_MAX};

use super::amend::is_expired;
use super::ticks::Asker;
use crate::partition::{Partition, PendingRead, ReadWork};
use crate::store::{HistoryRange, StoreError, StoredEntry};

/// What a page is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Entries above this,
    pub after: u64,
    /// and below this; 0 = up to the head.
    pub before: u64,
    /// When not all of them fit: the newest, not the oldest.
    pub newest: bool,
    /// 0 = the default.
    pub limit_entries: u32,
    pub limit_bytes: u32,
    /// How far the others are, too, as this asker is told.
    pub ticks: Option<Asker>,
}

/// A page whose older part the store must say.
#[derive(Debug)]
pub(crate) struct PendingPage {
    reply: (Address, u64),
    chat: ChatId,
    index: u32,
    user: UserId,
    head: u64,
    window: Window,
    /// Up to here the store is read: the window's end, or what is below memory's lowest seq when the page was asked for.
    store_end: u64,
    /// How far the others are, where that was asked for.
    ticks: Option<Bytes>,
    /// What follows from memory, cut at the time of the request: a flush in between opens no hole.
    newer: Cut,
}

/// Seqs above `after`, up to `end`, and how much of them.
#[derive(Clone, Copy, Debug)]
struct Window {
    after: u64,
    end: u64,
    newest: bool,
    limit_entries: usize,
    limit_bytes: usize,
}

impl Window {
    fn of(wanted: Wanted, head: u64) -> Self {
        let limit_entries = match wanted.limit_entries {
            0 => PAGE_ENTRIES,
            limit => limit.min(PAGE_ENTRIES_MAX),
        } as usize;
        let end = if wanted.before == 0 { head } else { head.min(wanted.before - 1) };
        // Seqs have no holes: the newest so many begin here, or later where some have expired.
        let newest_after = if wanted.newest { end.saturating_sub(limit_entries as u64) } else { 0 };
        Self {
            after: wanted.after.max(newest_after),
            end,
            newest: wanted.newest,
            limit_entries,
            limit_bytes: wanted.limit_bytes as usize,
        }
    }

    /// What may be gathered. Of the newest all entries are, and what is too much goes from the front.
    fn gather_bytes(&self) -> usize {
        if self.newest { usize::MAX } else { self.limit_bytes }
    }

    /// The range that gathered entries speak for.
    fn covers(&self, cut: &mut Cut) -> (u64, u64) {
        if !self.newest {
            return (self.after + 1, if cut.full { cut.entries.last().map_or(self.after, |e| e.0) } else { self.end });
        }
        let mut too_much = 0;
        while cut.bytes > self.limit_bytes && too_much + 1 < cut.entries.len() {
            cut.bytes -= cut.entries[too_much].1.len();
            too_much += 1;
        }
        cut.entries.drain(..too_much);
        (if too_much == 0 { self.after + 1 } else { cut.entries[0].0 }, self.end)
    }
}

/// Entries within a page's limits.
#[derive(Debug, Default)]
struct Cut {
    entries: Vec<(u64, Bytes)>,
    bytes: usize,
    /// Something did not fit.
    full: bool,
}

impl Cut {
    /// Whether an entry of `len` bytes has room; if not, the cut is full.
    fn admits(&mut self, len: usize, window: &Window) -> bool {
        let first = self.entries.is_empty();
        let bytes = self.bytes.saturating_add(len);
        self.full |= self.entries.len() >= window.limit_entries || (!first && bytes > window.gather_bytes());
        !self.full
    }

    fn take(&mut self, seq: u64, frame: Bytes) {
        self.bytes += frame.len();
        self.entries.push((seq, frame));
    }
}

impl Partition {
    /// Answers with a page, at once or after a read.
    pub(crate) fn handle_page(
        &mut self,
        now: Now,
        header: &Header,
        chat: ChatId,
        user: UserId,
        wanted: Wanted,
        egress: &mut dyn Egress,
    ) {
        let reply = (header.reply, header.request_id);
        let index = match self.find_for(chat, user) {
            Ok(index) => index,
            Err(code) => return self.refuse_read(Class::Sync, reply, chat, code, egress),
        };
        let head = self.memory.chats.get(index).visible_head(user);
        let ticks = wanted.ticks.and_then(|asker| self.ticks(index, asker));
        let window = Window::of(wanted, head);
        let after = window.after;
        if after >= window.end {
            self.metrics.pages_memory.inc();
            return send_page(egress, reply, chat, (after.saturating_add(1), after), head, (Vec::new(), ticks));
        }
        let from_memory = self.memory.lowest(index, true).unwrap_or(head + 1);
        let mut newer = Cut::default();
        let start = after.max(from_memory - 1);
        if start < window.end {
            self.memory.entries_above(index, start, |seq, frame| {
                let admitted = seq <= window.end && newer.admits(frame.len(), &window);
                if admitted {
                    newer.take(seq, Bytes::copy_from_slice(frame));
                }
                admitted
            });
        }
        if after + 1 >= from_memory {
            self.metrics.pages_memory.inc();
            if self.memory.lowest(index, false).is_none_or(|lowest| after + 1 < lowest) {
                self.metrics.hot_tail_hits.inc();
            }
            let mut newer = self.as_they_are(index, newer, &window);
            let covers = window.covers(&mut newer);
            self.hide(now, index, user, &mut newer);
            return send_page(egress, reply, chat, covers, head, (newer.entries, ticks));
        }
        let store_end = window.end.min(from_memory - 1);
        let page = PendingPage { reply, chat, index, user, head, window, store_end, ticks, newer };
        let range = HistoryRange {
            after_seq: after,
            up_to_seq: store_end,
            limit_entries: window.limit_entries,
            limit_bytes: window.gather_bytes(),
        };
        if self.start_read(PendingRead::Page(Box::new(page)), ReadWork::History { chat, range }).is_none() {
            return self.refuse_read(Class::Sync, reply, chat, ErrorCode::Overloaded, egress);
        }
        self.metrics.pages_store.inc();
    }

    /// What amendments have made of gathered entries, where memory knows better than their frames. What then has no room any
    /// more is left to the next page.
    fn as_they_are(&mut self, index: u32, cut: Cut, window: &Window) -> Cut {
        if self.memory.tables.amendments().next().is_none() {
            return cut;
        }
        let mut amended = Cut::default();
        for (seq, frame) in cut.entries {
            let frame = self.memory.amended(index, seq, &frame, &mut self.encoder).unwrap_or(frame);
            if !amended.admits(frame.len(), window) {
                break;
            }
            amended.take(seq, frame);
        }
        amended.full |= cut.full;
        amended
    }

    /// Takes out what a user was not in the group for, and what has disappeared; the page covers it all the same.
    fn hide(&self, now: Now, index: u32, user: UserId, cut: &mut Cut) {
        let chat = self.memory.chats.get(index);
        if chat.group.is_some() {
            cut.entries.retain(|&(seq, _)| chat.sees(user, seq));
        }
        if chat.timer.is_some() {
            cut.entries.retain(|(_, frame)| !is_expired(frame, now.wall_ms()));
        }
    }

    /// The store's part of a page.
    pub(crate) fn page_answered(
        &mut self,
        now: Now,
        page: PendingPage,
        stored: Result<Vec<StoredEntry>, StoreError>,
        egress: &mut dyn Egress,
    ) {
        let Ok(stored) = stored else {
            self.metrics.read_failures.inc();
            return self.refuse_read(Class::Sync, page.reply, page.chat, ErrorCode::StorageUnavailable, egress);
        };
        let window = page.window;
        let mut cut = Cut::default();
        for entry in stored {
            debug_assert!(entry.seq > window.after && entry.seq <= page.store_end);
            if !cut.admits(entry.frame.len(), &window) {
                break;
            }
            cut.take(entry.seq, entry.frame);
        }
        // The store does not say why it stopped: at a limit, or because the rest has expired. The next page finds out. Of the
        // newest it gave all there are: their number is the window's.
        cut.full |= !window.newest && cut.entries.last().is_some_and(|last| last.0 != page.store_end);
        if !cut.full {
            for (seq, frame) in page.newer.entries {
                if !cut.admits(frame.len(), &window) {
                    break;
                }
                cut.take(seq, frame);
            }
            cut.full |= page.newer.full;
        }
        let mut cut = self.as_they_are(page.index, cut, &window);
        let covers = window.covers(&mut cut);
        self.hide(now, page.index, page.user, &mut cut);
        send_page(egress, page.reply, page.chat, covers, page.head, (cut.entries, page.ticks));
    }
}

fn send_page(
    egress: &mut dyn Egress,
    (reply, request_id): (Address, u64),
    chat: ChatId,
    (covers_first, covers_last): (u64, u64),
    head_seq: u64,
    (entries, ticks): (Vec<(u64, Bytes)>, Option<Bytes>),
) {
    let body = Body::Page { chat, covers_first, covers_last, head_seq, entries, ticks };
    let mut envelope = Envelope::new(Class::Sync, body);
    envelope.header.reply = reply;
    envelope.header.request_id = request_id;
    egress.to_gateway(reply, envelope);
}
