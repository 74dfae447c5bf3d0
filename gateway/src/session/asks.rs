//! Questions of clients to owners: pages of history, and what a chat is.
//!
//! The owner answers with the frame that the client gets. What must stay true: a session has few questions unanswered,
//! and none is taken while it does not read.

use bytes::Bytes;
use fabric::tier::Egress;
use fabric::time::Now;
use schema::envelope::{Body, Class, Envelope, SyncCursor};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, UserId};

use super::sync::ANSWER_TICKS;
use super::{HISTORY_IN_FLIGHT, HistoryAsk};
use crate::conn::wheel::tick_of;
use crate::conn::{FLAG_PRIVATE, FLAG_SLOW};
use crate::shard::Shard;
use crate::wire::{Ask, ServerEvent};

/// The chat whose owner is asked, and what it is asked. `client_request`: the asker's own number, for the answer's frame.
/// `blind`: the user sees nobody's read marks.
pub(crate) fn question(ask: Ask, user: UserId, client_request: u64, blind: bool) -> (ChatId, Body) {
    match ask {
        Ask::Chat { chat, after_user, limit } => {
            (chat, Body::ChatRequest { blind, chat, user, client_request, after_user, limit })
        }
        Ask::Status { chat, message } => (chat, Body::StatusRequest { blind, chat, user, client_request, message }),
        Ask::Chats { before, limit } => {
            let before = before.map(|(last_ms, chat)| SyncCursor { last_ms, chat });
            (ChatId::account(user), Body::ChatsRequest { user, client_request, before, limit })
        }
        Ask::Account { chat } => (ChatId::account(user), Body::AccountRequest { user, client_request, chat }),
    }
}

impl Shard {
    /// Notes one more question to `chat`'s owner; `None` when the session has too many, which it has been told.
    pub(crate) fn begin_ask(&mut self, now: Now, index: u32, client_request: u64, chat: ChatId) -> Option<u64> {
        let full = self.conns[index].active().history.len() >= HISTORY_IN_FLIGHT;
        if full || self.conns[index].has(FLAG_SLOW) {
            self.metrics.history_refused.inc();
            self.error(now, index, ErrorCode::WindowExceeded, &[], 0);
            return None;
        }
        let request = self.next_request();
        let until = tick_of(now) + ANSWER_TICKS;
        let partition = self.partition_of(chat);
        self.conns[index].active().history.push(HistoryAsk { request, client_request, until, partition });
        self.schedule(index, until);
        Some(request)
    }

    /// Passes a question to who can answer it.
    pub(crate) fn ask(&mut self, now: Now, index: u32, client_request: u64, ask: Ask, egress: &mut dyn Egress) {
        let (user, _) = self.user(index);
        let (chat, body) = question(ask, user, client_request, self.conns[index].has(FLAG_PRIVATE));
        let Some(request) = self.begin_ask(now, index, client_request, chat) else { return };
        self.metrics.asks.inc();
        let mut envelope = Envelope::new(Class::Sync, body).reply_to(self.address(index));
        envelope.header.request_id = request;
        self.to_chat(chat, envelope, egress);
    }

    /// An owner's answer to a question.
    pub(crate) fn answered(&mut self, now: Now, index: u32, request: u64, frame: &Bytes) {
        if self.take_history(index, request).is_some() {
            self.emit(now, index, &ServerEvent::Answer { frame });
        } else {
            self.metrics.pages_stale.inc();
        }
    }
}
