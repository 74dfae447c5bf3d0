//! Questions to the server: one runs at a time, the others wait their turn, over reconnects.
//!
//! One at a time because a refusal has no address: it is the running question's.

use schema::ids::ChatId;
use schema::limits::{PAGE_ENTRIES, PAGE_ENTRIES_MAX};
use schema::wire;

use super::groups::{Question, chat_info, chats_page, message_status};
use super::{Ask, AskError, AskFailure, Core, Cx, Event, NS_PER_MS, Output, Phase, Refusal};

/// Marks the numbers of requests made to fill a gap.
const FILL: u64 = 1 << 63;

/// Whether a request was made to fill a gap.
pub(super) const fn is_fill(request: u64) -> bool {
    request & FILL != 0
}

impl Core {
    /// Asks the server something. Returns the request's number, which its answer carries (see [`Question`]). Requests run
    /// one after another and survive reconnects.
    ///
    /// # Errors
    /// Nothing was asked: see [`AskError`].
    pub fn ask(&mut self, cx: &mut Cx<'_>, question: Question) -> Result<u64, AskError> {
        if self.phase == Phase::Ended {
            return Err(AskError::Ended);
        }
        let bound = self.config.history_requests;
        let extra = self.extra.get_or_insert_default();
        if extra.asks.len() >= bound {
            return Err(AskError::TooMany(extra.asks.len()));
        }
        let question = match question {
            Question::History { chat, after, limit } => {
                Question::History { chat, after, limit: limit.clamp(1, PAGE_ENTRIES_MAX) }
            }
            question => question,
        };
        self.next_request += 1;
        let request = self.next_request;
        extra.asks.push_back(Ask { request, question });
        self.settle(cx);
        Ok(request)
    }

    /// Asks for entries of `chat` after seq `after`, at most `limit` (1 to 1,000). As [`Self::ask`].
    ///
    /// # Errors
    /// Nothing was asked: see [`AskError`].
    pub fn history(&mut self, cx: &mut Cx<'_>, chat: ChatId, after: u64, limit: u32) -> Result<u64, AskError> {
        self.ask(cx, Question::History { chat, after, limit })
    }

    /// Writes the next request, if none runs.
    pub(super) fn write_ask(&mut self, cx: &mut Cx<'_>) {
        let due_ns = cx.now.mono_ns + u64::from(self.config.answer_timeout_ms) * NS_PER_MS;
        let Some(extra) = self.extra.as_deref_mut().filter(|extra| !extra.asked) else { return };
        if self.phase != Phase::Ready {
            return;
        }
        if let Some(&Ask { request, question }) = extra.asks.front() {
            let frame = match question {
                Question::History { chat, after, limit } => cx.encoder.history_request(request, chat, after, limit),
                Question::Chat { chat, after_user, limit } => {
                    cx.encoder.chat_request(request, chat, after_user.map_or(0, |user| user.get()), limit)
                }
                Question::Chats { before, limit } => cx.encoder.chats_request(request, before, limit),
                Question::Status { chat, message } => cx.encoder.status_request(request, chat, message),
                Question::Account { chat } => cx.encoder.account_request(request, chat),
            };
            (extra.asked, extra.ask_due_ns) = (true, due_ns);
            cx.out.push(Output::Write(frame));
        }
    }

    pub(super) fn ask_for_gap(&mut self, cx: &mut Cx<'_>, chat: ChatId) {
        let Some(after) = self.cursor(chat) else { return };
        // No more than is missing: on a bad connection a long answer may never come through.
        let held = self.extra.as_ref().and_then(|extra| extra.held.iter().find(|held| held.chat() == chat));
        let missing = held.map_or(u64::from(PAGE_ENTRIES), |held| held.seq() - after - 1);
        let limit = missing.clamp(1, u64::from(PAGE_ENTRIES)) as u32;
        cx.counters.gap_fills += 1;
        self.next_request += 1;
        let question = Question::History { chat, after, limit };
        let ask = Ask { request: self.next_request | FILL, question };
        self.extra.get_or_insert_default().asks.push_back(ask);
    }

    /// An answer without an address is taken for the running request's. Returns whether one ran.
    pub(super) fn ask_refused(&mut self, cx: &mut Cx<'_>, why: Refusal) -> bool {
        self.ask_failed(cx, AskFailure::Refused(why))
    }

    pub(super) fn ask_timed_out(&mut self, cx: &mut Cx<'_>) {
        self.ask_failed(cx, AskFailure::Timeout);
    }

    fn ask_failed(&mut self, cx: &mut Cx<'_>, failure: AskFailure) -> bool {
        let again_ns = cx.now.mono_ns + u64::from(self.config.answer_timeout_ms) * NS_PER_MS;
        let Some(extra) = self.extra.as_deref_mut().filter(|extra| extra.asked) else { return false };
        let Some(ask) = extra.asks.pop_front() else { return false };
        extra.asked = false;
        match ask.question {
            Question::History { chat, .. } if is_fill(ask.request) => {
                if let Some(gap) = extra.gaps.iter_mut().find(|gap| gap.chat == chat) {
                    gap.due_ns = again_ns;
                }
            }
            _ => cx.out.push(Output::Event(Event::AskFailed { request: ask.request, failure })),
        }
        true
    }

    /// The running request was answered, if this is its answer. Returns whether it is.
    pub(super) fn ask_answered(&mut self, request: u64, is_answer: impl FnOnce(&Question) -> bool) -> bool {
        let Some(extra) = self.extra.as_deref_mut().filter(|extra| extra.asked) else { return false };
        let found = extra.asks.front().is_some_and(|ask| ask.request == request && is_answer(&ask.question));
        if found {
            extra.asks.pop_front();
            extra.asked = false;
        }
        found
    }

    pub(super) fn chat_told(&mut self, cx: &mut Cx<'_>, info: wire::ChatInfo<'_>) {
        let Some(info) = chat_info(info) else { return self.bad_frame(cx) };
        // An answer that comes after its request has failed is nobody's.
        if self.ask_answered(info.request, |question| matches!(question, Question::Chat { .. })) {
            cx.out.push(Output::Event(Event::Chat(Box::new(info))));
        }
    }

    pub(super) fn chats_told(&mut self, cx: &mut Cx<'_>, page: wire::Chats<'_>) {
        let Some(page) = chats_page(page) else { return self.bad_frame(cx) };
        if self.ask_answered(page.request, |question| matches!(question, Question::Chats { .. })) {
            cx.out.push(Output::Event(Event::Chats(Box::new(page))));
        }
    }

    pub(super) fn status_told(&mut self, cx: &mut Cx<'_>, status: wire::MessageStatus<'_>) {
        let Some(status) = message_status(status) else { return self.bad_frame(cx) };
        if self.ask_answered(status.request, |question| matches!(question, Question::Status { .. })) {
            cx.out.push(Output::Event(Event::Status(Box::new(status))));
        }
    }
}
