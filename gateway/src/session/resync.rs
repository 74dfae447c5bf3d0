//! Giving a session what it missed: changed chats are listed page by page, each is read from its owner page by page, and
//! only while the session reads.
//!
//! A page's entries are written under the rule of live ones: the next after what the device has. Live pushes go on
//! meanwhile; whatever they write, and whatever the device marks, the page skips.

use bytes::Bytes;
use fabric::tier::Egress;
use fabric::time::Now;
use schema::envelope::{AccountFacts, Body, ChangedChat, Class, Envelope, SyncCursor};
use schema::errors::{ErrorCode, Retry};
use schema::ids::ChatId;
use schema::limits::PAGE_ENTRIES;

use super::sync::{ANSWER_TICKS, Listing, PageAsk, RETRY_TICKS, SAYS_TICKS, Want};
use crate::conn::wheel::{tick_of, ticks};
use crate::conn::{FLAG_PRIVATE, FLAG_SLOW, FLAG_UNKNOWN, PAUSE_REGISTER, Phase};
use crate::deliver::Shared;
use crate::shard::Shard;
use crate::wire::ServerEvent;

/// Entries' bytes of a sync page.
const SYNC_PAGE_BYTES: u32 = 64 * 1024;

/// A page of a chat's log, as the owner cut it.
pub(crate) struct Page {
    pub(crate) chat: ChatId,
    pub(crate) covers_first: u64,
    pub(crate) covers_last: u64,
    pub(crate) head_seq: u64,
    pub(crate) entries: Vec<(u64, Bytes)>,
    /// A Ticks frame, where it was asked for and says something.
    pub(crate) ticks: Option<Bytes>,
}

/// What the session's sync wants next.
enum Next {
    Nothing,
    Page(ChatId, u64, Want),
    List(Option<SyncCursor>),
    /// `began_ms`: when its last listing began.
    Done {
        announce: bool,
        began_ms: u64,
    },
}

impl Shard {
    /// Lists what changed, now or after the listing under way. `announce`: the session is told when it has all.
    pub(crate) fn resync(&mut self, now: Now, index: u32, announce: bool, egress: &mut dyn Egress) {
        if self.conns[index].phase != Phase::Ready {
            return;
        }
        self.metrics.syncs_started.inc();
        let seed = self.config.hash_seed;
        let since_ms = 1_000 * u64::from(self.conns[index].synced_s);
        let sync = self.conns[index].active().sync(seed);
        sync.restart(announce);
        if announce && sync.since_ms == 0 {
            // The receipts of the time before are lost too, and a `Synced` says that they are not.
            sync.since_ms = since_ms;
        }
        self.pump(now, index, egress);
    }

    /// A live entry of this chat was not written: it joins the sync set.
    pub(crate) fn missed(
        &mut self,
        now: Now,
        index: u32,
        (chat, seq, acked): (ChatId, u64, u64),
        egress: &mut dyn Egress,
    ) {
        let seed = self.config.hash_seed;
        if !self.conns[index].active().sync(seed).missed(chat, seq, acked) {
            self.metrics.sync_overflows.inc();
        }
        self.pump(now, index, egress);
    }

    /// Asks for the next thing the session's sync needs, if it reads and nothing is on its way.
    pub(crate) fn pump(&mut self, now: Now, index: u32, egress: &mut dyn Egress) {
        let place = &self.conns[index];
        if place.phase != Phase::Ready || place.pending() >= self.low_water() || place.has(FLAG_SLOW) {
            return;
        }
        match self.next_of_sync(now, index) {
            Next::Nothing => {}
            Next::Page(chat, after_seq, want) => self.ask_page(now, index, chat, after_seq, want, egress),
            Next::List(before) => self.ask_listing(now, index, before, egress),
            Next::Done { announce, began_ms } => {
                let active = &mut self.conns[index].active;
                if let Some(active) = active {
                    active.sync = None;
                }
                // Most who connect have missed nothing and say nothing for long.
                active.take_if(|active| active.is_quiet());
                if announce {
                    self.metrics.syncs_completed.inc();
                    self.conns[index].synced(began_ms);
                    self.emit(now, index, &ServerEvent::Synced { server_time_ms: began_ms });
                }
            }
        }
    }

    fn next_of_sync(&mut self, now: Now, index: u32) -> Next {
        let known = !self.conns[index].has(FLAG_UNKNOWN);
        let Some(active) = &mut self.conns[index].active else { return Next::Nothing };
        let Some(mut sync) = active.sync.take() else { return Next::Nothing };
        let mut next = Next::Nothing;
        if sync.page.is_none() && sync.hold_until <= tick_of(now) {
            if known && sync.hold_until > 0 {
                sync.expected = 0;
            }
            sync.hold_until = 0;
            while known && let Some((chat, want)) = sync.first() {
                let base = active.base(chat, want.acked);
                if base < want.missed || want.ticked {
                    next = Next::Page(chat, base, want);
                    break;
                }
                sync.done_first();
            }
            if matches!(next, Next::Nothing) {
                next = match sync.listing {
                    Listing::Idle => Next::Done { announce: sync.announce, began_ms: sync.began_ms },
                    Listing::Due(before) => Next::List(before),
                    Listing::Asked { .. } => Next::Nothing,
                    Listing::Listed if sync.again => {
                        sync.again = false;
                        Next::List(None)
                    }
                    Listing::Listed => Next::Done { announce: sync.announce, began_ms: sync.began_ms },
                };
            }
        }
        active.sync = Some(sync);
        next
    }

    fn ask_page(&mut self, now: Now, index: u32, chat: ChatId, after_seq: u64, want: Want, egress: &mut dyn Egress) {
        let request = self.next_request();
        let until = tick_of(now) + ANSWER_TICKS;
        let seed = self.config.hash_seed;
        let blind = self.conns[index].has(FLAG_PRIVATE);
        let ask = PageAsk { request, chat, after_seq, missed: want.missed, ticked: want.ticked, blind, until };
        self.conns[index].active().sync(seed).page = Some(ask);
        self.schedule(index, until);
        self.metrics.sync_pages.inc();
        let (user, _) = self.user(index);
        let body = Body::PageRequest {
            blind,
            ticks: want.ticked,
            chat,
            user,
            after_seq,
            before_seq: 0,
            newest: false,
            limit_entries: PAGE_ENTRIES,
            limit_bytes: SYNC_PAGE_BYTES,
        };
        let mut envelope = Envelope::new(Class::Sync, body).reply_to(self.address(index));
        envelope.header.request_id = request;
        self.to_chat(chat, envelope, egress);
    }

    fn ask_listing(&mut self, now: Now, index: u32, before: Option<SyncCursor>, egress: &mut dyn Egress) {
        let request = self.next_request();
        let until = tick_of(now) + ANSWER_TICKS;
        let seed = self.config.hash_seed;
        let sync = self.conns[index].active().sync(seed);
        sync.listing = Listing::Asked { before, request, until };
        if before.is_none() {
            sync.began_ms = now.wall_ms();
        }
        let since_ms = sync.since_ms;
        self.schedule(index, until);
        let (user, device) = self.user(index);
        let slot = ChatId::account(user).slot();
        let mut envelope = Envelope::new(Class::Sync, Body::SyncRequest { user, device, before, since_ms });
        envelope.header.reply = self.address(index);
        envelope.header.slot = slot;
        envelope.header.request_id = request;
        egress.to_owner(slot, envelope);
    }

    /// A page of changed chats, and what the session must know of its user.
    pub(crate) fn sync_page(
        &mut self,
        now: Now,
        index: u32,
        request: u64,
        (chats, next, account): (&[ChangedChat], Option<SyncCursor>, &AccountFacts),
        egress: &mut dyn Egress,
    ) {
        let sync = self.conns[index].active.as_mut().and_then(|active| active.sync.as_mut());
        let asked =
            sync.filter(|sync| matches!(sync.listing, Listing::Asked { request: asked, .. } if asked == request));
        let Some(sync) = asked else {
            self.metrics.pages_stale.inc();
            return;
        };
        for chat in chats {
            sync.changed(chat);
        }
        sync.listing = match next {
            Some(cursor) => Listing::Due(Some(cursor)),
            None => Listing::Listed,
        };
        if !self.learn(now, index, account, egress) {
            return;
        }
        // What the device marks first need not be asked for.
        self.await_marks(now, index);
        self.unpause(now, index, PAUSE_REGISTER);
        self.resume_input(now, index, egress);
        self.pump(now, index, egress);
    }

    /// Asks for nothing before the marks are here that the device said would follow its Hello, but not for long.
    fn await_marks(&mut self, now: Now, index: u32) {
        let until = tick_of(now) + SAYS_TICKS;
        let sync = self.conns[index].active.as_mut().and_then(|active| active.sync.as_mut());
        if let Some(sync) = sync.filter(|sync| sync.expected > 0) {
            sync.hold_until = until;
            self.schedule(index, until);
        }
    }

    /// A page of a chat's log: a sync's, or one that the client asked for.
    pub(crate) fn page(&mut self, now: Now, index: u32, request: u64, page: &Page, egress: &mut dyn Egress) {
        if let Some(client_request) = self.take_history(index, request) {
            return self.history_page(now, index, client_request, page);
        }
        let sync = self.conns[index].active.as_mut().and_then(|active| active.sync.as_mut());
        let ask = sync.and_then(|sync| sync.page.take_if(|ask| ask.request == request && ask.chat == page.chat));
        let Some(ask) = ask else {
            self.metrics.pages_stale.inc();
            return;
        };
        let reads = self.conns[index].pending() <= self.config.limits.out_buffer_bytes as usize;
        if reads {
            self.write_page(now, index, page);
        }
        // Who has said meanwhile that they tell nobody is not told of others either: it is asked for again.
        let may_know = reads && (ask.blind || !self.conns[index].has(FLAG_PRIVATE));
        if let Some(frame) = page.ticks.as_ref().filter(|_| may_know) {
            self.emit(now, index, &ServerEvent::Ticks { frame });
        }
        self.page_done(now, index, ask, page, (reads, may_know));
        self.pump(now, index, egress);
    }

    /// Settles a chat's want after its page, if the session `reads` it, and may know how far others are.
    fn page_done(&mut self, now: Now, index: u32, ask: PageAsk, page: &Page, (reads, may_know): (bool, bool)) {
        let Some(active) = &mut self.conns[index].active else { return };
        let Some(mut sync) = active.sync.take() else { return };
        let mut retry = None;
        if let Some(want) = sync.want(page.chat) {
            // The owner's head at an answer is what counts, unless something newer was missed since it was asked.
            want.missed = if want.missed == ask.missed { page.head_seq } else { want.missed.max(page.head_seq) };
            want.ticked &= !(may_know && ask.ticked);
            let (acked, missed) = (want.acked, want.missed);
            let base = active.base(page.chat, acked);
            // It has what it had when it asked: to ask at once would get the same answer.
            if reads && base <= ask.after_seq && base < missed {
                sync.hold_until = tick_of(now) + RETRY_TICKS;
                retry = Some(sync.hold_until);
                sync.rotate();
            }
        }
        active.sync = Some(sync);
        if let Some(at) = retry {
            self.metrics.sync_retries.inc();
            self.schedule(index, at);
        }
    }

    /// Writes what the device does not have of a page.
    fn write_page(&mut self, now: Now, index: u32, page: &Page) {
        let seed = self.config.hash_seed;
        let limit = self.config.limits.cursors_per_session as usize;
        let chat = page.chat;
        let active = self.conns[index].active();
        let want = active.sync.as_mut().and_then(|sync| sync.want(chat).copied());
        let acked = want.map_or(0, |want| want.acked);
        let start = active.base(chat, acked);
        if page.covers_first > start + 1 && page.covers_last > start {
            // It speaks of less than is missing: a cursor was forgotten meanwhile. Ask again from where we are.
            self.metrics.pages_stale.inc();
            return;
        }
        let mut base = start;
        for (seq, frame) in &page.entries {
            if *seq > base {
                base = self.conns[index].active().base(chat, base);
            }
            if *seq <= base {
                self.metrics.entries_own.inc_by(u64::from(*seq > start));
                self.metrics.entries_duplicate.inc_by(u64::from(*seq <= start));
                continue;
            }
            if *seq > base + 1 {
                self.expired(now, index, chat, (base + 1, seq - 1));
            }
            self.metrics.entries_synced.inc();
            self.write_entry(now, index, chat, *seq, &mut Shared::new(frame));
            base = *seq;
            let evicted = self.conns[index].active().cursors(seed).advance(chat, base, tick_of(now), limit);
            self.metrics.cursors_evicted.inc_by(evicted as u64);
        }
        base = self.conns[index].active().base(chat, base);
        if page.covers_last > base {
            self.expired(now, index, chat, (base + 1, page.covers_last));
            base = page.covers_last;
            self.conns[index].active().cursors(seed).advance(chat, base, tick_of(now), limit);
        }
    }

    /// Tells the session that a range has expired.
    fn expired(&mut self, now: Now, index: u32, chat: ChatId, (first_seq, last_seq): (u64, u64)) {
        self.metrics.entries_expired.inc();
        self.emit(now, index, &ServerEvent::Covered { chat, first_seq, last_seq });
    }

    /// A page or a listing is refused. Returns whether it was one of the session's.
    pub(crate) fn page_refused(
        &mut self,
        now: Now,
        index: u32,
        (request, chat, code, retry_after_ms): (u64, ChatId, ErrorCode, u32),
        egress: &mut dyn Egress,
    ) -> bool {
        if self.take_history(index, request).is_some() {
            self.error(now, index, code, &[], retry_after_ms);
            return true;
        }
        let sync = self.conns[index].active.as_mut().and_then(|active| active.sync.as_mut());
        let Some(sync) = sync else { return false };
        let wait = ticks(retry_after_ms.max(code.info().retry_after_ms)).max(RETRY_TICKS);
        let hold_until = tick_of(now) + wait;
        if let Listing::Asked { before, request: asked, .. } = sync.listing
            && asked == request
        {
            sync.listing = Listing::Due(before);
            sync.hold_until = hold_until;
        } else if sync.page.take_if(|ask| ask.request == request).is_some() {
            if code.info().retry == Retry::Never {
                sync.forget(chat);
            } else {
                sync.hold_until = hold_until;
                sync.rotate();
            }
        } else {
            return false;
        }
        self.metrics.sync_retries.inc();
        self.schedule(index, hold_until);
        self.pump(now, index, egress);
        true
    }
}
