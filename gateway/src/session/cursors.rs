//! What a session has been given of each chat: the base of invariant 4.
//!
//! A cursor says that everything up to `seq` has been written to this connection (or acknowledged to it as its own send).
//! `seq` 0 means unknown: then only what the owner says the device has acknowledged counts. Own sends are acknowledged as
//! they are stored, which may be ahead of what has been pushed: they are remembered until the cursor reaches them.

use fabric::hash::{Map, map};
use schema::ids::ChatId;

/// Own sends remembered above a cursor; more of them are read again from the log.
const OWN_AHEAD: usize = 256;
/// A cursor whose chat has been quiet for so long and is acknowledged need not be kept, ticks.
pub(crate) const QUIET_TICKS: u32 = 300;

#[derive(Default)]
pub(crate) struct Cursor {
    seq: u64,
    /// What this session's marks reached; own sends count.
    acked: u64,
    touched: u32,
    /// The device has said itself where it is: what else its owner takes for acknowledged, own sends whose answer was lost, it
    /// is still to be told.
    said: bool,
    /// Own sends above `seq`, ascending.
    own: Vec<u64>,
}

impl Cursor {
    /// The owner says that the device has acknowledged so much.
    fn hear(&mut self, acked: u64) {
        if acked > self.seq && !self.said {
            self.seq = acked;
        }
        self.acked = self.acked.max(acked);
    }

    /// The next one is an own send.
    fn step_over_own(&mut self) {
        // The owner counts a device's own send as acknowledged under the same rule.
        self.acked += u64::from(self.acked == self.seq);
        self.seq += 1;
    }

    /// Moves over own sends that follow directly.
    fn absorb(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let mut used = 0;
        while let Some(&own) = self.own.get(used).filter(|&&own| own <= self.seq + 1) {
            if own > self.seq {
                self.step_over_own();
            }
            used += 1;
        }
        if used == self.own.len() {
            self.own = Vec::new();
        } else if used > 0 {
            self.own.drain(..used);
        }
    }
}

/// What becomes of a live entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offer {
    /// It is next: write it.
    Write,
    /// The device has it.
    Duplicate,
    /// One before it is missing.
    Missed,
}

/// All cursors of a session.
pub(crate) struct Cursors {
    by_chat: Map<ChatId, Cursor>,
}

impl Cursors {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self { by_chat: map(hash_seed) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_chat.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_chat.len()
    }

    /// The cursor, if known.
    pub(crate) fn known(&self, chat: ChatId) -> Option<u64> {
        self.by_chat.get(&chat).map(|cursor| cursor.seq).filter(|&seq| seq > 0)
    }

    /// What the device has: the cursor or what it has acknowledged, whichever is higher, and own sends that follow.
    pub(crate) fn base(&mut self, chat: ChatId, acked: u64) -> u64 {
        let Some(cursor) = self.by_chat.get_mut(&chat) else { return acked };
        cursor.hear(acked);
        cursor.absorb();
        cursor.seq
    }

    /// May the live entry `seq` be written now? Only as the next one after what the device has; then the cursor moves.
    pub(crate) fn offer(&mut self, chat: ChatId, seq: u64, acked: u64, tick: u32) -> Offer {
        let cursor = self.by_chat.entry(chat).or_default();
        cursor.hear(acked);
        cursor.touched = tick;
        cursor.absorb();
        if seq <= cursor.seq {
            return Offer::Duplicate;
        }
        if seq != cursor.seq + 1 {
            return Offer::Missed;
        }
        cursor.seq = seq;
        cursor.absorb();
        Offer::Write
    }

    /// Everything up to `seq` has been given to the session. Returns how many cursors had to be forgotten.
    pub(crate) fn advance(&mut self, chat: ChatId, seq: u64, tick: u32, limit: usize) -> usize {
        let cursor = self.by_chat.entry(chat).or_default();
        debug_assert!(seq >= cursor.seq, "a cursor never goes back");
        cursor.seq = cursor.seq.max(seq);
        cursor.touched = tick;
        cursor.absorb();
        self.evict(chat, limit)
    }

    /// The device says, before it was given anything of the chat, that it has everything up to `seq`: no less and, whatever its
    /// owner thinks, no more. Returns how many cursors had to be forgotten.
    pub(crate) fn say(&mut self, chat: ChatId, seq: u64, tick: u32, limit: usize) -> usize {
        let cursor = self.by_chat.entry(chat).or_default();
        cursor.said |= cursor.seq == 0;
        cursor.seq = cursor.seq.max(seq);
        cursor.touched = tick;
        cursor.absorb();
        self.evict(chat, limit)
    }

    /// The session was told that its own send is stored as `seq`. Returns how many cursors had to be forgotten.
    pub(crate) fn own(&mut self, chat: ChatId, seq: u64, tick: u32, limit: usize) -> usize {
        let cursor = self.by_chat.entry(chat).or_default();
        cursor.touched = tick;
        if seq <= cursor.seq {
            return 0;
        }
        if seq == cursor.seq + 1 && cursor.own.is_empty() {
            cursor.step_over_own();
            return self.evict(chat, limit);
        }
        match cursor.own.binary_search(&seq) {
            Err(at) if cursor.own.len() < OWN_AHEAD => cursor.own.insert(at, seq),
            _ => {}
        }
        cursor.absorb();
        self.evict(chat, limit)
    }

    /// The session marked up to `seq` as delivered or read.
    pub(crate) fn marked(&mut self, chat: ChatId, seq: u64, tick: u32) {
        if let Some(cursor) = self.by_chat.get_mut(&chat) {
            cursor.acked = cursor.acked.max(seq);
            cursor.touched = tick;
        }
    }

    /// Forgets what need not be known: quiet chats that are acknowledged, or whose cursor is unknown anyway.
    pub(crate) fn tidy(&mut self, tick: u32) {
        self.by_chat.retain(|_, cursor| {
            tick.saturating_sub(cursor.touched) < QUIET_TICKS || (cursor.seq > 0 && cursor.acked < cursor.seq)
        });
        if self.by_chat.is_empty() {
            self.by_chat.shrink_to_fit();
        } else if self.by_chat.capacity() > 4 * self.by_chat.len() + 16 {
            self.by_chat.shrink_to(self.by_chat.len());
        }
    }

    /// Above the limit, the quarter that has been quiet longest is forgotten, never `keep`; returns how many.
    pub(crate) fn evict(&mut self, keep: ChatId, limit: usize) -> usize {
        if self.by_chat.len() <= limit {
            return 0;
        }
        let mut touched: Vec<u32> = self.by_chat.values().map(|cursor| cursor.touched).collect();
        let (_, &mut bound, _) = touched.select_nth_unstable(limit / 4);
        let before = self.by_chat.len();
        let mut left = limit / 4;
        self.by_chat.retain(|&chat, cursor| {
            let goes = left > 0 && chat != keep && cursor.touched <= bound;
            left -= usize::from(goes);
            !goes
        });
        before - self.by_chat.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChatId = ChatId([1; 16]);

    #[test]
    fn base_is_the_higher_of_cursor_and_acknowledged() {
        let mut cursors = Cursors::new(1);
        assert_eq!(cursors.base(A, 4), 4);
        cursors.advance(A, 5, 0, 16);
        assert_eq!(cursors.base(A, 4), 5);
        assert_eq!(cursors.base(A, 9), 9);
        assert_eq!(cursors.known(A), Some(9));
    }

    #[test]
    fn own_sends_ahead_of_the_cursor_are_skipped_when_it_reaches_them() {
        let mut cursors = Cursors::new(1);
        for own in [2, 3, 6] {
            cursors.own(A, own, 0, 16);
        }
        assert_eq!(cursors.known(A), None, "entry 1 is somebody else's and still to come");
        assert_eq!(cursors.base(A, 0), 0);
        cursors.advance(A, 1, 0, 16);
        assert_eq!(cursors.base(A, 0), 3);
        assert_eq!(cursors.base(A, 5), 6);
        cursors.own(A, 3, 0, 16);
        assert_eq!(cursors.base(A, 0), 6);
        cursors.own(A, 7, 0, 16);
        assert_eq!(cursors.known(A), Some(7));
    }

    #[test]
    fn a_first_own_send_is_a_cursor() {
        let mut cursors = Cursors::new(1);
        cursors.own(A, 1, 0, 16);
        assert_eq!(cursors.known(A), Some(1));
    }

    #[test]
    fn own_sends_beyond_the_bound_are_forgotten_not_invented() {
        let mut cursors = Cursors::new(1);
        for own in 2..2_000 {
            cursors.own(A, own, 0, 16);
        }
        cursors.advance(A, 1, 0, 16);
        assert_eq!(cursors.base(A, 0), 1 + OWN_AHEAD as u64);
    }

    #[test]
    fn a_device_that_says_where_it_is_is_given_what_its_owner_takes_for_acknowledged() {
        let mut cursors = Cursors::new(1);
        cursors.say(A, 5, 0, 16);
        cursors.say(A, 4, 0, 16);
        assert_eq!(cursors.base(A, 7), 5);
        assert_eq!(cursors.offer(A, 8, 7, 0), Offer::Missed);
        assert_eq!(cursors.offer(A, 6, 7, 0), Offer::Write);
        let b = ChatId([2; 16]);
        cursors.advance(b, 5, 0, 16);
        cursors.say(b, 6, 0, 16);
        assert_eq!(cursors.base(b, 9), 9, "it has been given something: what it says is no beginning");
    }

    #[test]
    fn too_many_cursors_evict_the_quietest() {
        let mut cursors = Cursors::new(1);
        let mut gone = 0;
        for i in 0..100u8 {
            gone += cursors.advance(ChatId([i; 16]), 1, i.into(), 16);
        }
        assert!(cursors.len() <= 16);
        assert_eq!(gone + cursors.len(), 100);
        assert_eq!(cursors.known(ChatId([99; 16])), Some(1));
        assert_eq!(cursors.known(ChatId([0; 16])), None);
    }

    #[test]
    fn quiet_chats_are_forgotten_only_when_acknowledged() {
        let mut cursors = Cursors::new(1);
        cursors.advance(A, 3, 0, 16);
        cursors.advance(ChatId([2; 16]), 3, 0, 16);
        cursors.marked(A, 3, 0);
        cursors.tidy(QUIET_TICKS - 1);
        assert_eq!(cursors.len(), 2);
        cursors.tidy(QUIET_TICKS);
        assert_eq!(cursors.known(A), None);
        assert_eq!(cursors.known(ChatId([2; 16])), Some(3));
    }
}
