//! Chats that a session may not send to until a refused send comes again (invariant 2).
//!
//! The owner's refusal and the gateway's own are kept apart: the owner refuses what was sent earlier, so its refused send
//! must come again first. With it the session has gone back to before what was refused here, which comes again in its turn:
//! what was sent between the two must not wait for it.

use bytes::Bytes;
use fabric::hash::{Map, map};
use schema::ids::ChatId;

/// Chats a session may have blocked; one that goes on after so many refusals is closed.
pub(crate) const BLOCKED_CHATS: usize = 4_096;

#[derive(Default)]
struct Refused {
    /// client_msg_id the owner refused; empty = none.
    by_owner: Bytes,
    /// client_msg_id refused here; empty = none.
    here: Bytes,
    /// The owner remembers a refusal of this session.
    owner_knows: bool,
}

/// A session's blocked chats.
pub(crate) struct Blocked {
    chats: Map<ChatId, Refused>,
}

impl Blocked {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self { chats: map(hash_seed) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chats.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.chats.len()
    }

    /// Whether a send may pass: the chat is not blocked, or this is the send it is blocked by.
    pub(crate) fn passes(&self, chat: ChatId, client_msg_id: &[u8]) -> bool {
        let Some(refused) = self.chats.get(&chat) else { return true };
        let first = if refused.by_owner.is_empty() { &refused.here } else { &refused.by_owner };
        first.is_empty() || first == client_msg_id
    }

    /// A send that passed is on its way: what it blocked is free again.
    pub(crate) fn passed(&mut self, chat: ChatId, client_msg_id: &[u8]) {
        let Some(refused) = self.chats.get_mut(&chat) else { return };
        let goes_back = !refused.by_owner.is_empty() && refused.by_owner == client_msg_id;
        if goes_back {
            refused.by_owner = Bytes::new();
        }
        if goes_back || refused.here == client_msg_id {
            refused.here = Bytes::new();
        }
        if refused.by_owner.is_empty() && refused.here.is_empty() && !refused.owner_knows {
            self.chats.remove(&chat);
        }
    }

    /// Refused here; blocks the chat unless an earlier one does.
    pub(crate) fn refuse_here(&mut self, chat: ChatId, client_msg_id: &[u8]) {
        let refused = self.chats.entry(chat).or_default();
        if refused.here.is_empty() {
            refused.here = Bytes::copy_from_slice(client_msg_id);
        }
    }

    /// Refused by the owner, which remembers it, or on the way to it; blocks the chat unless an earlier one does: when the way
    /// breaks, all that were on it are refused, one after the other.
    pub(crate) fn refused_by_owner(&mut self, chat: ChatId, client_msg_id: &[u8]) {
        let refused = self.chats.entry(chat).or_default();
        if refused.by_owner.is_empty() {
            refused.by_owner = Bytes::copy_from_slice(client_msg_id);
        }
        refused.owner_knows = true;
    }

    /// The owner took a send of this chat: it remembers no refusal any more.
    pub(crate) fn taken_by_owner(&mut self, chat: ChatId) {
        let Some(refused) = self.chats.get_mut(&chat) else { return };
        refused.owner_knows = !refused.by_owner.is_empty();
        if refused.by_owner.is_empty() && refused.here.is_empty() {
            self.chats.remove(&chat);
        }
    }

    /// Chats whose owner remembers a refusal, in no order that varies between runs.
    pub(crate) fn known_to_owners(&self) -> impl Iterator<Item = ChatId> {
        self.chats.iter().filter(|(_, refused)| refused.owner_knows).map(|(chat, _)| *chat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChatId = ChatId([1; 16]);

    #[test]
    fn of_several_that_were_refused_at_once_the_first_comes_again_first() {
        let mut blocked = Blocked::new(1);
        blocked.refused_by_owner(A, b"x");
        blocked.refused_by_owner(A, b"y");
        assert!(blocked.passes(A, b"x") && !blocked.passes(A, b"y"));
        blocked.passed(A, b"x");
        assert!(blocked.passes(A, b"y"));
    }

    #[test]
    fn a_chat_is_blocked_until_the_refused_send_comes_again() {
        let mut blocked = Blocked::new(1);
        assert!(blocked.passes(A, b"x"));
        blocked.refuse_here(A, b"x");
        blocked.refuse_here(A, b"y");
        assert!(!blocked.passes(A, b"y"));
        assert!(blocked.passes(ChatId([2; 16]), b"y"));
        assert!(blocked.passes(A, b"x"));
        blocked.passed(A, b"x");
        assert!(blocked.passes(A, b"y") && blocked.is_empty());
    }

    #[test]
    fn with_the_owners_refusal_the_session_goes_back_behind_the_gateways() {
        let mut blocked = Blocked::new(1);
        blocked.refuse_here(A, b"y");
        blocked.refused_by_owner(A, b"x");
        assert!(!blocked.passes(A, b"y"));
        assert!(blocked.passes(A, b"x"));
        blocked.passed(A, b"x");
        assert!(blocked.passes(A, b"between"), "sent after x and before y: it comes again before y");
        blocked.passed(A, b"between");
        assert!(blocked.passes(A, b"y"));
        blocked.passed(A, b"y");
        assert_eq!(blocked.known_to_owners().count(), 1, "until the owner has taken one");
        blocked.taken_by_owner(A);
        assert!(blocked.is_empty());
    }
}
