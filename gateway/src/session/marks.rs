//! Watermarks, and pages of history that clients ask for.

use fabric::tier::Egress;
use fabric::time::Now;
use schema::envelope::{Body, Class, Envelope};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, MessageId};
use schema::limits::{PAGE_ENTRIES, PAGE_ENTRIES_MAX};
use schema::wire::MarkStatus;

use crate::conn::FLAG_PRIVATE;
use crate::conn::wheel::tick_of;
use crate::shard::Shard;
use crate::wire::ServerEvent;

/// Room that a history page's frame needs besides its entries, and each entry besides its bytes.
const PAGE_ROOM_BYTES: usize = 256;
const ENTRY_ROOM_BYTES: usize = 40;

/// A client's watermark.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MarkEvent {
    pub(crate) chat: Option<ChatId>,
    pub(crate) seq: u64,
    pub(crate) message: Option<MessageId>,
    pub(crate) status: MarkStatus,
}

impl Shard {
    /// Passes a watermark to the chat's owner: by seq where it is known, never above what this device was given.
    pub(crate) fn mark(&mut self, now: Now, index: u32, mark: MarkEvent, egress: &mut dyn Egress) {
        let MarkEvent { chat, mut seq, mut message, status } = mark;
        let mut beyond = false;
        let active = self.conns[index].active();
        let recent = message.and_then(|message| active.recent.as_ref()?.find(message));
        let settled = active.sync.is_none();
        let chat = match (chat, recent) {
            (Some(chat), _) => chat,
            (None, Some((chat, _))) => chat,
            (None, None) => {
                self.metrics.marks_unresolved.inc();
                return self.error(now, index, ErrorCode::ChatIdRequired, &[], 0);
            }
        };
        if seq == 0
            && let Some((_, known)) = recent.filter(|&(known, _)| known == chat)
        {
            seq = known;
        }
        self.count_as_had(now, index, chat, seq);
        if let Some(cursors) = &mut self.conns[index].active().cursors
            && seq > 0
        {
            if let Some(cursor) = cursors.known(chat)
                && seq > cursor
            {
                seq = cursor;
                message = None;
                // With nothing left to give it, all that the chat has is what it was given.
                beyond = settled;
                self.metrics.marks_clamped.inc();
            }
            cursors.marked(chat, seq, tick_of(now));
        }
        self.metrics.marks.inc();
        let (user, device) = self.user(index);
        let body = Body::Mark { secret: self.conns[index].has(FLAG_PRIVATE), chat, user, device, seq, message, status };
        let envelope = Envelope::new(Class::Ack, body).reply_to(self.address(index));
        self.to_chat(chat, envelope, egress);
        if beyond {
            self.error(now, index, ErrorCode::MarkBeyondHead, &[], 0);
        }
        self.heard(now, index, egress);
    }

    /// What the device says it has of a chat that is being brought up to date it is not given again: its acknowledgement may
    /// have died with an earlier connection. It counts up to the head that the owner has told, so a lie cannot put the
    /// cursor above that. What it says directly behind Hello is where the session begins, also below what the owner thinks:
    /// the answers of own sends may have been lost too.
    fn count_as_had(&mut self, now: Now, index: u32, chat: ChatId, seq: u64) {
        let (seed, limit) = (self.config.hash_seed, self.config.limits.cursors_per_session as usize);
        let active = self.conns[index].active();
        let Some(sync) = &mut active.sync else { return };
        let says = sync.expected > 0 && seq > 0;
        let Some(want) = sync.want(chat) else {
            if says {
                sync.say(chat, seq);
            }
            return;
        };
        let (acked, has) = (want.acked, seq.min(want.missed));
        want.acked = acked.max(has);
        let evicted = if says {
            self.metrics.marks_ahead.inc_by(u64::from(has > acked));
            self.metrics.marks_behind.inc_by(u64::from(has < acked));
            active.cursors(seed).say(chat, has, tick_of(now), limit)
        } else if has > active.base(chat, acked) {
            self.metrics.marks_ahead.inc();
            active.cursors(seed).advance(chat, has, tick_of(now), limit)
        } else {
            return;
        };
        self.metrics.cursors_evicted.inc_by(evicted as u64);
    }

    /// One of the marks that were to come before the sync has come; after the last it begins.
    fn heard(&mut self, now: Now, index: u32, egress: &mut dyn Egress) {
        let sync = self.conns[index].active.as_mut().and_then(|active| active.sync.as_mut());
        if let Some(sync) = sync.filter(|sync| sync.expected > 0) {
            sync.expected -= 1;
            if sync.expected == 0 {
                sync.hold_until = 0;
                self.pump(now, index, egress);
            }
        }
    }

    /// Asks the owner for a page. A session may have a few on their way, none while it does not read.
    pub(crate) fn history(
        &mut self,
        now: Now,
        index: u32,
        (client_request, chat, after_seq, limit): (u64, ChatId, u64, u32),
        egress: &mut dyn Egress,
    ) {
        let Some(request) = self.begin_ask(now, index, client_request, chat) else { return };
        self.metrics.history_requests.inc();
        let (user, _) = self.user(index);
        let limit_entries = if limit == 0 { PAGE_ENTRIES } else { limit.min(PAGE_ENTRIES_MAX) };
        let limit_bytes = self.config.limits.frame_limit_bytes;
        let body = Body::PageRequest {
            blind: self.conns[index].has(FLAG_PRIVATE),
            ticks: false,
            chat,
            user,
            after_seq,
            before_seq: 0,
            newest: false,
            limit_entries,
            limit_bytes,
        };
        let mut envelope = Envelope::new(Class::Sync, body).reply_to(self.address(index));
        envelope.header.request_id = request;
        self.to_chat(chat, envelope, egress);
    }

    /// The client's number of a history page, if `request` is one; it is answered now.
    pub(crate) fn take_history(&mut self, index: u32, request: u64) -> Option<u64> {
        let history = &mut self.conns[index].active.as_mut()?.history;
        let at = history.iter().position(|ask| ask.request == request)?;
        Some(history.remove(at).client_request)
    }

    /// Hands a page to the client, in as many frames as the frame limit asks for: their `covers` follow each other.
    pub(crate) fn history_page(&mut self, now: Now, index: u32, client_request: u64, page: &super::resync::Page) {
        let limit = self.config.limits.frame_limit_bytes as usize;
        let mut first_seq = page.covers_first;
        let mut rest = &page.entries[..];
        loop {
            let mut bytes = PAGE_ROOM_BYTES;
            let fits = rest.iter().take_while(|(_, frame)| {
                bytes += frame.len() + ENTRY_ROOM_BYTES;
                bytes <= limit
            });
            let (entries, behind) = rest.split_at(fits.count().max(1).min(rest.len()));
            rest = behind;
            // The part before the last speaks up to its last entry.
            let last_seq = match entries.last() {
                Some(&(seq, _)) if !rest.is_empty() => seq,
                _ => page.covers_last,
            };
            let event = ServerEvent::HistoryPage {
                request_id: client_request,
                chat: page.chat,
                covers: (first_seq, last_seq),
                head_seq: page.head_seq,
                entries,
            };
            self.emit(now, index, &event);
            first_seq = last_seq + 1;
            if rest.is_empty() {
                return;
            }
        }
    }
}
