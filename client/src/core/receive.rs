//! What comes: entries in order and once, expired ranges, receipts, history pages, gaps.

use schema::frame::FrameRef;
use schema::ids::{ChatId, MessageId, UserId};
use schema::wire;

use super::asks::is_fill;
use super::chat::Verdict;
use super::{Core, Cx, Entry, Event, Gap, Handling, HistoryPage, NS_PER_MS, Output, Question};

impl Core {
    pub(super) fn entry(&mut self, cx: &mut Cx<'_>, frame: FrameRef<'_>) {
        match Entry::new(frame) {
            Some(entry) => {
                let chat = entry.chat();
                self.admit(cx, entry);
                self.release_held(cx, chat);
            }
            None => self.bad_frame(cx),
        }
    }

    /// Hands an entry over if it is the next of its chat, keeps it if it is above a gap, drops it if it was had.
    fn admit(&mut self, cx: &mut Cx<'_>, entry: Entry) {
        let at = self.find_or_add(entry.chat());
        // Judged first: it may say where the chat begins, which an own send does not.
        let verdict = self.chats[at].judge(entry.seq());
        if verdict != Verdict::Old && self.is_own_pending(&entry) {
            self.chats[at].skip(entry.seq(), entry.seq());
            return;
        }
        match verdict {
            Verdict::Next => {
                let chat = &mut self.chats[at];
                chat.advance();
                if self.config.handling == Handling::OnDelivery {
                    let cursor = chat.cursor;
                    chat.handle(cursor);
                    self.mark_later(cx.now, at, true);
                }
                cx.counters.entries += 1;
                cx.out.push(Output::Event(Event::Entry(entry)));
            }
            Verdict::Old => {
                cx.counters.duplicates += 1;
                // The server has not heard how far this device is.
                if entry.seq() <= self.chats[at].handled {
                    self.remark(cx.now, at);
                }
            }
            Verdict::Above => self.hold(cx, entry),
        }
    }

    fn hold(&mut self, cx: &mut Cx<'_>, entry: Entry) {
        let (chat, seq) = (entry.chat(), entry.seq());
        let (bound, patience_ms) = (self.config.held_entries, self.config.gap_patience_ms);
        let extra = self.extra.get_or_insert_default();
        let due_ns = cx.now.mono_ns + u64::from(patience_ms) * NS_PER_MS;
        match extra.gaps.iter_mut().find(|gap| gap.chat == chat) {
            Some(gap) => gap.top = gap.top.max(seq),
            None => extra.gaps.push(Gap { chat, top: seq, due_ns }),
        }
        match extra.held.binary_search_by(|held| (held.chat(), held.seq()).cmp(&(chat, seq))) {
            Ok(_) => cx.counters.duplicates += 1,
            Err(_) if extra.held.len() >= bound => cx.counters.held_dropped += 1,
            Err(place) => {
                cx.counters.held += 1;
                extra.held.insert(place, entry);
            }
        }
    }

    /// The cursor may have reached entries that were held.
    pub(super) fn release_held(&mut self, cx: &mut Cx<'_>, chat: ChatId) {
        while let Some(extra) = self.extra.as_deref_mut().filter(|extra| !extra.gaps.is_empty()) {
            let Ok(at) = self.chats.binary_search_by(|known| known.id.cmp(&chat)) else { return };
            let cursor = self.chats[at].cursor;
            let next = extra.held.partition_point(|held| (held.chat(), held.seq()) < (chat, 0));
            match extra.held.get(next).filter(|held| held.chat() == chat && held.seq() <= cursor + 1) {
                Some(_) => {
                    let entry = extra.held.remove(next);
                    self.admit(cx, entry);
                }
                None => {
                    extra.gaps.retain(|gap| gap.chat != chat || gap.top > cursor);
                    return;
                }
            }
        }
    }

    pub(super) fn covered(&mut self, cx: &mut Cx<'_>, covered: wire::Covered<'_>) {
        let (Some(chat), first, last) = (covered.chat_id(), covered.first_seq(), covered.last_seq()) else {
            return self.bad_frame(cx);
        };
        if first == 0 || first > last {
            return self.bad_frame(cx);
        }
        let chat = ChatId::from(chat);
        self.expired(cx, chat, first, last);
        cx.out.push(Output::Event(Event::Covered { chat, first_seq: first, last_seq: last }));
        self.release_held(cx, chat);
    }

    /// Every seq of the range that is not held has expired.
    fn expired(&mut self, cx: &mut Cx<'_>, chat: ChatId, first: u64, last: u64) {
        let at = self.find_or_add(chat);
        let held: Vec<u64> = self.extra.as_deref().map_or_else(Vec::new, |extra| {
            let in_range = |held: &&Entry| held.chat() == chat && (first..=last).contains(&held.seq());
            extra.held.iter().filter(in_range).map(Entry::seq).collect()
        });
        let mut from = first;
        for seq in held.into_iter().chain([last + 1]) {
            if from < seq && self.chats[at].expire(from, seq - 1) {
                self.mark_later(cx.now, at, true);
            }
            from = seq + 1;
        }
    }

    pub(super) fn receipt(&mut self, cx: &mut Cx<'_>, receipt: wire::Receipt<'_>) {
        let (Some(chat), Some(user)) = (receipt.chat_id(), UserId::new(receipt.user_id())) else {
            return self.bad_frame(cx);
        };
        let (chat, seq, status) = (ChatId::from(chat), receipt.seq(), receipt.status());
        let bound = self.config.watermarks_per_chat;
        let at = self.find_or_add(chat);
        if self.chats[at].raise(user, status, seq, bound) {
            let message = receipt.message_id().map(MessageId::from);
            cx.out.push(Output::Event(Event::Receipt { chat, user, seq, message, status }));
        }
    }

    pub(super) fn page(&mut self, cx: &mut Cx<'_>, page: wire::HistoryPage<'_>) {
        let Some(chat) = page.chat_id().map(ChatId::from) else { return self.bad_frame(cx) };
        let covers = (page.covers_first_seq(), page.covers_last_seq());
        let mut entries = Vec::new();
        for bytes in page.entries().iter().flatten().filter_map(|entry| entry.frame()) {
            let entry = FrameRef::verify(bytes.bytes()).ok().and_then(Entry::new).filter(|entry| entry.chat() == chat);
            let above = entries.last().map_or(0, Entry::seq);
            match entry.filter(|entry| entry.seq() > above) {
                Some(entry) => entries.push(entry),
                None => return self.bad_frame(cx),
            }
        }
        let request = page.request_id();
        // A long answer comes as several pages; the first lets the next request run.
        self.ask_answered(request, |question| matches!(question, Question::History { .. }));
        if is_fill(request) {
            return self.fill(cx, chat, covers, entries);
        }
        let head_seq = page.head_seq();
        let page = HistoryPage { request, chat, covers, head_seq, entries };
        cx.out.push(Output::Event(Event::History(Box::new(page))));
    }

    /// Feeds a page into a gap: its entries in order, its holes as expired.
    fn fill(&mut self, cx: &mut Cx<'_>, chat: ChatId, (first, last): (u64, u64), entries: Vec<Entry>) {
        let before = self.cursor(chat);
        let mut from = first.max(1);
        for entry in entries {
            let seq = entry.seq();
            if from < seq {
                self.expired(cx, chat, from, seq - 1);
            }
            from = seq + 1;
            self.admit(cx, entry);
        }
        if from <= last {
            self.expired(cx, chat, from, last);
        }
        self.release_held(cx, chat);
        let again_ns = cx.now.mono_ns + u64::from(self.config.gap_patience_ms) * NS_PER_MS;
        let rose = self.cursor(chat) > before;
        let Some(gap) = self.extra.as_deref_mut().and_then(|e| e.gaps.iter_mut().find(|gap| gap.chat == chat)) else {
            return;
        };
        if rose {
            self.ask_for_gap(cx, chat);
        } else {
            gap.due_ns = again_ns;
        }
    }
}
