//! What a core knows of one chat: how far it was handed over, handled, marked, and how far its peers are.
//!
//! Must stay true: `handled <= cursor`; neither ever falls; a range in `had` is never handed to the application.

use schema::ids::{ChatId, UserId};
use schema::wire::MarkStatus;

use super::lane::Lane;
use crate::store::{StoredChat, add_range, step_over};

/// How far a peer is.
#[derive(Clone, Copy, Debug)]
struct Watermark {
    user: UserId,
    delivered: u64,
    read: u64,
}

/// What to do with an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is the next one.
    Next,
    /// It was handed over before, or needs no handing over.
    Old,
    /// Something before it is missing.
    Above,
}

/// One chat.
#[derive(Debug)]
pub(super) struct Chat {
    pub id: ChatId,
    /// Everything up to here was handed over or needs no handling. Meaningless until `known`.
    pub cursor: u64,
    /// Everything up to here was handled by the application.
    pub handled: u64,
    /// Everything up to here was read.
    pub read: u64,
    /// Seqs above `handled` that need no handling: own sends and expired ones. Ascending, apart.
    had: Vec<(u64, u64)>,
    peers: Vec<Watermark>,
    /// Sends on their way; `None` when there were none lately.
    pub lane: Option<Box<Lane>>,
    /// The other user of a direct chat, once it was named as a target.
    pub peer: Option<UserId>,
    /// Whether `cursor` means anything: the first entry says where this device left off.
    pub known: bool,
    /// In the core's list of chats to flush.
    pub dirty: bool,
    /// `handled` is to be stored.
    pub save: bool,
    /// `read` is to be stored.
    pub save_read: bool,
    /// A delivered mark is to be written.
    pub mark: bool,
    /// A read mark is to be written.
    pub mark_read: bool,
    /// 2: marked since the last pong; 1: before it; 0: long ago, surely durable. Above 0 is marked again on reconnect.
    pub age: u8,
}

impl Chat {
    pub fn new(id: ChatId) -> Self {
        Self {
            id,
            cursor: 0,
            handled: 0,
            read: 0,
            had: Vec::new(),
            peers: Vec::new(),
            lane: None,
            peer: None,
            known: false,
            dirty: false,
            save: false,
            save_read: false,
            mark: false,
            mark_read: false,
            age: 0,
        }
    }

    pub fn stored(id: ChatId, stored: StoredChat) -> Self {
        let mut chat = Self::new(id);
        chat.known = stored.handled.is_some();
        chat.handled = stored.handled.unwrap_or(0);
        chat.cursor = chat.handled;
        chat.read = stored.read;
        chat.had = stored.had;
        chat.age = u8::from(chat.known);
        chat.absorb();
        chat
    }

    /// The first thing heard of the chat says where this device left off: the server pushes from its acknowledged
    /// position, which never is above what was handled.
    fn learn(&mut self, first_seq: u64) {
        if !self.known {
            self.known = true;
            self.cursor = first_seq - 1;
            self.handled = first_seq - 1;
            self.absorb();
        }
    }

    /// Judges an entry. `Next` must be followed by [`Self::advance`].
    pub fn judge(&mut self, seq: u64) -> Verdict {
        self.learn(seq);
        if seq <= self.cursor || self.is_had(seq) {
            Verdict::Old
        } else if seq == self.cursor + 1 {
            Verdict::Next
        } else {
            Verdict::Above
        }
    }

    fn is_had(&self, seq: u64) -> bool {
        self.had.iter().any(|&(first, last)| (first..=last).contains(&seq))
    }

    /// The entry after the cursor was handed over.
    pub fn advance(&mut self) {
        self.cursor += 1;
        self.absorb();
    }

    /// `first..=last` need no handling. Returns whether `handled` rose.
    pub fn skip(&mut self, first: u64, last: u64) -> bool {
        debug_assert!(first >= 1 && first <= last);
        if self.known && last <= self.handled {
            return false;
        }
        add_range(&mut self.had, first, last);
        let before = self.handled;
        if first == 1 {
            self.learn(1);
        }
        self.absorb();
        self.handled > before
    }

    /// As [`Self::skip`] for what the server says has expired: also where the chat begins, if nothing was known.
    pub fn expire(&mut self, first: u64, last: u64) -> bool {
        let was_known = self.known;
        self.learn(first);
        self.skip(first, last) || !was_known
    }

    /// Everything handed over up to `seq` was handled. Returns whether `handled` rose.
    pub fn handle(&mut self, seq: u64) -> bool {
        let before = self.handled;
        self.handled = self.handled.max(seq.min(self.cursor));
        self.absorb();
        self.handled > before
    }

    fn absorb(&mut self) {
        if !self.known {
            return;
        }
        self.cursor = step_over(self.cursor, &self.had);
        self.handled = step_over(self.handled, &self.had);
        let handled = self.handled;
        self.had.retain(|&(_, last)| last > handled);
        if self.had.is_empty() {
            self.had = Vec::new();
        }
        debug_assert!(self.handled <= self.cursor);
    }

    /// Notes how far `user` is; returns whether that is news.
    pub fn raise(&mut self, user: UserId, status: MarkStatus, seq: u64, bound: usize) -> bool {
        let at = match self.peers.iter().position(|peer| peer.user == user) {
            Some(at) => at,
            None => {
                if self.peers.len() >= bound.max(1) {
                    self.peers.remove(0);
                }
                self.peers.reserve_exact(1);
                self.peers.push(Watermark { user, delivered: 0, read: 0 });
                self.peers.len() - 1
            }
        };
        let peer = &mut self.peers[at];
        let mark = if status == MarkStatus::read { &mut peer.read } else { &mut peer.delivered };
        if seq <= *mark {
            return false;
        }
        *mark = seq;
        peer.delivered = peer.delivered.max(peer.read);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat() -> Chat {
        Chat::new(ChatId([1; 16]))
    }

    #[test]
    fn the_first_entry_says_where_the_device_left_off() {
        let mut c = chat();
        assert_eq!(c.judge(7), Verdict::Next);
        c.advance();
        assert_eq!((c.cursor, c.handled), (7, 6));
        assert_eq!(c.judge(7), Verdict::Old);
        assert_eq!(c.judge(9), Verdict::Above);
    }

    #[test]
    fn own_sends_above_the_cursor_are_absorbed_when_their_turn_comes() {
        let mut c = chat();
        assert_eq!(c.judge(1), Verdict::Next);
        c.advance();
        assert!(c.handle(1));
        assert!(!c.skip(3, 3));
        assert!(!c.skip(5, 5));
        assert_eq!(c.judge(3), Verdict::Old, "an own send is not handed over");
        assert_eq!(c.judge(2), Verdict::Next);
        c.advance();
        assert_eq!((c.cursor, c.handled), (3, 1), "handling waits for the application");
        assert!(c.handle(2));
        assert_eq!(c.handled, 3);
        assert_eq!(c.judge(4), Verdict::Next);
        c.advance();
        assert_eq!(c.cursor, 5);
    }

    #[test]
    fn own_sends_do_not_say_where_an_unknown_chat_begins_unless_they_are_its_first() {
        let mut c = chat();
        assert!(!c.skip(5, 5));
        assert!(!c.known);
        assert_eq!(c.judge(3), Verdict::Next);
        c.advance();
        assert_eq!(c.cursor, 3);
        let mut c = chat();
        assert!(c.skip(1, 1));
        assert_eq!((c.known, c.cursor, c.handled), (true, 1, 1));
    }

    #[test]
    fn ranges_merge_and_are_bounded() {
        let mut c = chat();
        assert_eq!(c.judge(1), Verdict::Next);
        c.skip(4, 5);
        c.skip(8, 9);
        c.skip(6, 7);
        assert_eq!(c.had, vec![(4, 9)]);
        for seq in (20..400).step_by(2) {
            c.skip(seq, seq);
        }
        assert_eq!(c.had.len(), 64);
        assert_eq!(c.had[0], (4, 9), "the nearest are kept");
    }

    #[test]
    fn handled_is_clamped_to_what_was_handed_over() {
        let mut c = chat();
        c.judge(1);
        c.advance();
        assert!(c.handle(99));
        assert_eq!(c.handled, 1);
        assert!(!c.handle(1));
    }

    #[test]
    fn ticks_never_fall_and_read_implies_delivered() {
        let mut c = chat();
        let user = UserId::new(2).unwrap();
        assert!(c.raise(user, MarkStatus::read, 5, 8));
        assert!(!c.raise(user, MarkStatus::delivered, 5, 8));
        assert!(!c.raise(user, MarkStatus::read, 4, 8));
        assert!(c.raise(user, MarkStatus::delivered, 6, 8));
    }
}
