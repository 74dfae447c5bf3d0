//! Pages of a chat's log: from memory, or from the store up to where memory begins.

use bytes::Bytes;
use fabric::tier::Egress;
use schema::envelope::{Address, Body, Class, Envelope, Header};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, UserId};
use schema::limits::{PAGE_ENTRIES, PAGE_ENTRIES_MAX};

use crate::partition::{Partition, PendingRead, ReadWork};
use crate::store::{HistoryRange, StoreError, StoredEntry};

/// A page whose older part the store must say.
#[derive(Debug)]
pub(crate) struct PendingPage {
    reply: (Address, u64),
    chat: ChatId,
    after: u64,
    head: u64,
    limit_entries: usize,
    limit_bytes: usize,
    /// Memory's lowest seq when the page was asked for: the store is read up to below it.
    from_memory: u64,
    /// What follows from memory, cut at the time of the request: a flush in between opens no hole.
    newer: Cut,
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
    fn admits(&mut self, len: usize, (limit_entries, limit_bytes): (usize, usize)) -> bool {
        let first = self.entries.is_empty();
        self.full |= self.entries.len() >= limit_entries || (!first && self.bytes + len > limit_bytes);
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
        header: &Header,
        chat: ChatId,
        (user, after): (UserId, u64),
        (limit_entries, limit_bytes): (u32, u32),
        egress: &mut dyn Egress,
    ) {
        let reply = (header.reply, header.request_id);
        let found = self.memory.chats.find(chat).filter(|&index| {
            let chat = self.memory.chats.get(index);
            chat.head.seq > 0 && chat.member(user).is_some()
        });
        let Some(index) = found else {
            return self.refuse_read(Class::Sync, reply, chat, ErrorCode::UnknownChat, egress);
        };
        let head = self.memory.chats.get(index).head.seq;
        let limit_entries =
            if limit_entries == 0 { PAGE_ENTRIES } else { limit_entries.min(PAGE_ENTRIES_MAX) } as usize;
        let limit_bytes = limit_bytes as usize;
        if after >= head {
            self.metrics.pages_memory.inc();
            return send_page(egress, reply, chat, (after + 1, after), head, Vec::new());
        }
        let from_memory = self.memory.lowest(index, true).unwrap_or(head + 1);
        let mut newer = Cut::default();
        let start = after.max(from_memory - 1);
        self.memory.entries_above(index, start, |seq, frame| {
            let admitted = newer.admits(frame.len(), (limit_entries, limit_bytes));
            if admitted {
                newer.take(seq, Bytes::copy_from_slice(frame));
            }
            admitted
        });
        if after + 1 >= from_memory {
            self.metrics.pages_memory.inc();
            if self.memory.lowest(index, false).is_none_or(|lowest| after + 1 < lowest) {
                self.metrics.hot_tail_hits.inc();
            }
            let last = if newer.full { newer.entries.last().map_or(after, |e| e.0) } else { head };
            return send_page(egress, reply, chat, (after + 1, last), head, newer.entries);
        }
        let page = PendingPage { reply, chat, after, head, limit_entries, limit_bytes, from_memory, newer };
        let range = HistoryRange { after_seq: after, up_to_seq: from_memory - 1, limit_entries, limit_bytes };
        if self.start_read(PendingRead::Page(Box::new(page)), ReadWork::History { chat, range }).is_none() {
            return self.refuse_read(Class::Sync, reply, chat, ErrorCode::Overloaded, egress);
        }
        self.metrics.pages_store.inc();
    }

    /// The store's part of a page.
    pub(crate) fn page_answered(
        &mut self,
        page: PendingPage,
        stored: Result<Vec<StoredEntry>, StoreError>,
        egress: &mut dyn Egress,
    ) {
        let Ok(stored) = stored else {
            self.metrics.read_failures.inc();
            return self.refuse_read(Class::Sync, page.reply, page.chat, ErrorCode::StorageUnavailable, egress);
        };
        let mut cut = Cut::default();
        let limits = (page.limit_entries, page.limit_bytes);
        for entry in stored {
            debug_assert!(entry.seq > page.after && entry.seq < page.from_memory);
            if !cut.admits(entry.frame.len(), limits) {
                break;
            }
            cut.take(entry.seq, entry.frame);
        }
        // The store does not say why it stopped: at a limit, or because the rest has expired. The next page finds out.
        cut.full |= cut.entries.last().is_some_and(|last| last.0 + 1 != page.from_memory);
        if !cut.full {
            for (seq, frame) in page.newer.entries {
                if !cut.admits(frame.len(), limits) {
                    break;
                }
                cut.take(seq, frame);
            }
            cut.full |= page.newer.full;
        }
        let last = if cut.full { cut.entries.last().map_or(page.after, |e| e.0) } else { page.head };
        send_page(egress, page.reply, page.chat, (page.after + 1, last), page.head, cut.entries);
    }
}

fn send_page(
    egress: &mut dyn Egress,
    (reply, request_id): (Address, u64),
    chat: ChatId,
    (covers_first, covers_last): (u64, u64),
    head_seq: u64,
    entries: Vec<(u64, Bytes)>,
) {
    let body = Body::Page { chat, covers_first, covers_last, head_seq, entries };
    let mut envelope = Envelope::new(Class::Sync, body);
    envelope.header.reply = reply;
    envelope.header.request_id = request_id;
    egress.to_gateway(reply, envelope);
}
