//! What a session still has to be given: its sync set and how far the listing of changed chats has come.

use std::collections::VecDeque;

use bytes::Bytes;
use fabric::hash::{Map, map};
use schema::envelope::{ChangedChat, SyncCursor};
use schema::ids::ChatId;

use crate::conn::Conn;

/// Chats that live drops may add; beyond, the listing starts again instead.
pub(crate) const WANTS: usize = 512;
/// An answer that has not come after so long is asked for again, ticks.
pub(crate) const ANSWER_TICKS: u32 = 100;
/// Marks that a device said would follow directly are waited for no longer, ticks.
pub(crate) const SAYS_TICKS: u32 = 20;
/// Wait after an answer that brought nothing, ticks.
pub(crate) const RETRY_TICKS: u32 = 10;

/// A chat that is behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// The device has everything up to here, whatever the cursor says: the owner told it, or the device did and the owner has
    /// so much.
    pub(crate) acked: u64,
    /// The set is left when the cursor is here,
    pub(crate) missed: u64,
    /// and the session has been told how far others are.
    pub(crate) ticked: bool,
}

/// The one page that is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageAsk {
    pub(crate) request: u64,
    pub(crate) chat: ChatId,
    /// What the device had then.
    pub(crate) after_seq: u64,
    /// [`Want::missed`] when it was asked for: the answer's head is at least as new.
    pub(crate) missed: u64,
    /// How far others are was asked for too,
    pub(crate) ticked: bool,
    /// for a user who is told of nobody what they have read.
    pub(crate) blind: bool,
    /// Tick after which it is asked for again.
    pub(crate) until: u32,
}

/// How far the listing of changed chats has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Listing {
    /// None is wanted: only the set is worked off.
    Idle,
    /// To be asked for, once the set is empty.
    Due(Option<SyncCursor>),
    /// Asked for.
    Asked { before: Option<SyncCursor>, request: u64, until: u32 },
    /// All pages came.
    Listed,
}

/// A session's sync. Exists only while there is something to do.
pub(crate) struct Sync {
    wants: Map<ChatId, Want>,
    order: VecDeque<ChatId>,
    pub(crate) page: Option<PageAsk>,
    pub(crate) listing: Listing,
    /// Another listing is wanted after this one.
    pub(crate) again: bool,
    /// The session is told when all is delivered.
    pub(crate) announce: bool,
    /// Nothing is asked for before this tick.
    pub(crate) hold_until: u32,
    /// When the device was synced before, ms since 1970: of what ticked since then it is told; 0 = no.
    pub(crate) since_ms: u64,
    /// When the listing that is under way, or the last one, began, wall time in ms since 1970: what ticks later may not be in it.
    pub(crate) began_ms: u64,
    /// Marks that are to come before anything is asked for: how far the device itself says it is.
    pub(crate) expected: u32,
    /// What it has said of chats that are not in the set.
    said: Vec<(ChatId, u64)>,
    /// Receipts that came before the session knew whether it may have them.
    pub(crate) held: Vec<Bytes>,
}

impl Conn {
    /// Notes when its device was last synced, wall time in ms since 1970: to the second before.
    pub(crate) fn synced(&mut self, at_ms: u64) {
        self.synced_s = u32::try_from(at_ms / 1_000).unwrap_or(u32::MAX);
    }
}

impl Sync {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            wants: map(hash_seed),
            order: VecDeque::new(),
            page: None,
            listing: Listing::Idle,
            again: false,
            announce: false,
            hold_until: 0,
            since_ms: 0,
            began_ms: 0,
            expected: 0,
            said: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Lists again: now, or after the listing that is under way.
    pub(crate) fn restart(&mut self, announce: bool) {
        self.announce |= announce;
        match self.listing {
            Listing::Idle => self.listing = Listing::Due(None),
            Listing::Due(None) => {}
            Listing::Due(Some(_)) | Listing::Asked { .. } | Listing::Listed => self.again = true,
        }
    }

    /// A live entry was not pushed. Returns whether there was room; if not, the listing starts again and will name it.
    pub(crate) fn missed(&mut self, chat: ChatId, seq: u64, acked: u64) -> bool {
        if let Some(want) = self.wants.get_mut(&chat) {
            want.missed = want.missed.max(seq);
            want.acked = want.acked.max(acked);
            return true;
        }
        if self.wants.len() >= WANTS {
            self.restart(false);
            return false;
        }
        self.insert(chat, Want { acked, missed: seq, ticked: false });
        true
    }

    /// A chat that a listing names.
    pub(crate) fn changed(&mut self, chat: &ChangedChat) {
        match self.wants.get_mut(&chat.chat) {
            Some(want) => {
                want.missed = want.missed.max(chat.head_seq);
                want.acked = want.acked.max(chat.acked_seq);
                want.ticked |= chat.ticked;
            }
            None => {
                let want = Want { acked: chat.acked_seq, missed: chat.head_seq, ticked: chat.ticked };
                self.insert(chat.chat, want);
            }
        }
    }

    /// The device says what it has of a chat that may be listed later.
    pub(crate) fn say(&mut self, chat: ChatId, seq: u64) {
        if self.said.len() < WANTS {
            self.said.push((chat, seq));
        }
    }

    fn insert(&mut self, chat: ChatId, mut want: Want) {
        let said = self.said.iter().filter(|&&(of, _)| of == chat).map(|&(_, seq)| seq.min(want.missed)).max();
        want.acked = said.unwrap_or(want.acked);
        self.wants.insert(chat, want);
        self.order.push_back(chat);
    }

    pub(crate) fn want(&mut self, chat: ChatId) -> Option<&mut Want> {
        self.wants.get_mut(&chat)
    }

    /// The chat to work on next.
    pub(crate) fn first(&self) -> Option<(ChatId, Want)> {
        let chat = *self.order.front()?;
        Some((chat, self.wants[&chat]))
    }

    /// The first chat is done.
    pub(crate) fn done_first(&mut self) {
        if let Some(chat) = self.order.pop_front() {
            self.wants.remove(&chat);
        }
    }

    /// The first chat is put behind the others.
    pub(crate) fn rotate(&mut self) {
        if !self.order.is_empty() {
            self.order.rotate_left(1);
        }
    }

    /// A chat that this user cannot read: forget it.
    pub(crate) fn forget(&mut self, chat: ChatId) {
        if self.wants.remove(&chat).is_some() {
            self.order.retain(|&other| other != chat);
        }
    }

    /// When something that was asked for is overdue, or may be asked for again.
    pub(crate) fn next_tick(&self) -> Option<u32> {
        let page = self.page.map(|page| page.until);
        let listing = match self.listing {
            Listing::Asked { until, .. } => Some(until),
            _ => None,
        };
        let hold = (self.hold_until > 0).then_some(self.hold_until);
        [page, listing, hold].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn chat(id: u16) -> ChatId {
        let [a, b] = id.to_be_bytes();
        ChatId([a, b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    #[test]
    fn chats_join_once_and_leave_in_order() {
        let mut sync = Sync::new(1);
        assert!(sync.missed(chat(1), 5, 2));
        assert!(sync.missed(chat(2), 9, 0));
        assert!(sync.missed(chat(1), 7, 1));
        let (first, want) = sync.first().unwrap();
        assert_eq!((first, want.missed, want.acked), (chat(1), 7, 2));
        sync.rotate();
        assert_eq!(sync.first().unwrap().0, chat(2));
        sync.forget(chat(2));
        sync.done_first();
        assert!(sync.first().is_none());
    }

    #[test]
    fn a_full_set_lists_again_instead() {
        let mut sync = Sync::new(1);
        for i in 0..WANTS {
            assert!(sync.missed(chat(i as u16), 1, 0));
        }
        assert!(matches!(sync.listing, Listing::Idle));
        assert!(!sync.missed(chat(60_000), 1, 0));
        assert!(matches!(sync.listing, Listing::Due(None)));
        assert!(!sync.announce, "nobody was promised a `synced` for it");
        assert!(sync.missed(chat(3), 4, 0), "known ones still rise");
    }

    #[test]
    fn a_gap_during_a_listing_lists_again_after_it() {
        let mut sync = Sync::new(1);
        sync.restart(true);
        assert!(matches!(sync.listing, Listing::Due(None)) && !sync.again);
        sync.listing = Listing::Asked { before: None, request: 1, until: 1 };
        sync.restart(true);
        assert!(sync.again);
    }
}
