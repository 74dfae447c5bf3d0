//! Which session may not go on in which chat: a send of it was refused, and what it sent after that must not overtake.
//!
//! An entry is needed while sends that left the session before it knew of the refusal are still on their way; later ones
//! the gateway holds back itself. The table is larger than all credits together, so when it is full its oldest entry is
//! not needed any more. So it is when a session ends: what it sent before may still be on its way and come after the word
//! of its end, so its entries stay until as many others have gone as sends can be on their way. A gateway that is gone takes
//! all its sessions with it: they are looked for in steps.

use std::collections::VecDeque;

use fabric::hash::{self, Map};
use schema::dedupe::DedupeKey;
use schema::envelope::Address;
use schema::ids::ChatId;

use crate::spool::CONNECTION;

/// Entries looked at in a step of [`Refusals::step`].
const LOSE_STEP: usize = 4_096;

/// A gateway that is gone.
struct Lost {
    incarnation: u64,
    /// Stamps of the entries that are left to look at; later ones are of what still came.
    next: u64,
    last: u64,
}

#[derive(Clone, Copy)]
struct Refused {
    key: DedupeKey,
    stamp: u64,
    /// The failed block that refused it; 0 = none did.
    event: u64,
    /// Its session is gone.
    gone: bool,
}

/// See the module.
pub(crate) struct Refusals {
    table: Map<(Address, ChatId), Refused>,
    order: VecDeque<(u64, (Address, ChatId))>,
    /// Those whose sessions are gone, in the order they went.
    gone: VecDeque<(u64, (Address, ChatId))>,
    lost: VecDeque<Lost>,
    stamp: u64,
    limit: usize,
    /// Entries that went because the table was full.
    pub forgotten: u64,
}

impl Refusals {
    pub(crate) fn new(seed: u64, limit: usize) -> Self {
        let (order, gone, lost) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Self { table: hash::map(seed), order, gone, lost, stamp: 0, limit, forgotten: 0 }
    }

    /// Whether `key` may go on: nothing before it was refused, or it is what was refused.
    pub(crate) fn admits(&self, session: Address, chat: ChatId, key: &DedupeKey) -> bool {
        self.table.is_empty() || self.table.get(&(session, chat)).is_none_or(|refused| refused.key == *key)
    }

    /// The refused send came again and was taken.
    pub(crate) fn taken(&mut self, session: Address, chat: ChatId) {
        if !self.table.is_empty() {
            self.table.remove(&(session, chat));
        }
    }

    /// The session is gone. Sends of it may still come.
    pub(crate) fn forget(&mut self, session: Address, chat: ChatId) {
        let at = (session, chat);
        let Some(refused) = self.table.get_mut(&at).filter(|refused| !refused.gone) else { return };
        refused.gone = true;
        self.gone.push_back((refused.stamp, at));
        if self.gone.len() > self.limit / 4
            && let Some((stamp, oldest)) = self.gone.pop_front()
            && self.table.get(&oldest).is_some_and(|refused| refused.stamp == stamp)
        {
            self.table.remove(&oldest);
        }
    }

    /// A gateway is gone, and its sessions with it: each is then as after [`Self::forget`], in steps of [`Self::step`].
    pub(crate) fn lose(&mut self, incarnation: u64) {
        if !self.table.is_empty() {
            self.lost.push_back(Lost { incarnation, next: 0, last: self.stamp });
        }
    }

    /// Whether [`Self::step`] has something to do.
    pub(crate) fn is_losing(&self) -> bool {
        !self.lost.is_empty()
    }

    /// A bounded step of what [`Self::lose`] began.
    pub(crate) fn step(&mut self) {
        let Some(Lost { incarnation, next, last }) = self.lost.pop_front() else { return };
        let begin = self.order.partition_point(|(stamp, _)| *stamp < next);
        let end = self.order.len().min(begin + LOSE_STEP);
        for place in begin..end {
            let (stamp, (session, chat)) = self.order[place];
            let counts = stamp <= last && session.incarnation == incarnation;
            if counts && self.table.get(&(session, chat)).is_some_and(|refused| refused.stamp == stamp) {
                self.forget(session, chat);
            }
        }
        if let Some(&(next, _)) = self.order.get(end).filter(|(stamp, _)| *stamp <= last) {
            self.lost.push_front(Lost { incarnation, next, last });
        }
    }

    /// Remembers a refusal that its session will try again.
    pub(crate) fn remember(&mut self, session: Address, chat: ChatId, key: DedupeKey) {
        self.insert(session, chat, key, 0);
    }

    /// Remembers the first refusal of a session and chat that a failed block (`event` > 0) causes: false if there was one
    /// before in the same event.
    pub(crate) fn remember_first(&mut self, session: Address, chat: ChatId, key: DedupeKey, event: u64) -> bool {
        if self.table.get(&(session, chat)).is_some_and(|refused| refused.event == event) {
            return false;
        }
        self.insert(session, chat, key, event);
        true
    }

    fn insert(&mut self, session: Address, chat: ChatId, key: DedupeKey, event: u64) {
        // A spool sends what is next only once the send before has its answer, which it may have had another way.
        if session == Address::NOBODY || session.connection == CONNECTION {
            return;
        }
        self.stamp += 1;
        self.table.insert((session, chat), Refused { key, stamp: self.stamp, event, gone: false });
        self.order.push_back((self.stamp, (session, chat)));
        while self.table.len() > self.limit
            && let Some((stamp, oldest)) = self.order.pop_front()
        {
            if self.table.get(&oldest).is_some_and(|refused| refused.stamp == stamp) {
                self.table.remove(&oldest);
                self.forgotten += 1;
            }
        }
        if self.order.len() > 2 * self.table.len() + 1_024 {
            let table = &self.table;
            self.order.retain(|(stamp, at)| table.get(at).is_some_and(|refused| refused.stamp == *stamp));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(connection: u32) -> Address {
        Address { incarnation: 1, shard: 0, connection, generation: 0 }
    }

    const CHAT: ChatId = ChatId([1; 16]);

    fn key(n: u8) -> DedupeKey {
        DedupeKey([n; 16])
    }

    #[test]
    fn only_the_refused_send_may_go_on() {
        let mut refusals = Refusals::new(1, 100);
        refusals.remember(session(1), CHAT, key(1));
        assert!(!refusals.admits(session(1), CHAT, &key(2)));
        assert!(refusals.admits(session(1), CHAT, &key(1)));
        assert!(refusals.admits(session(2), CHAT, &key(2)));
        assert!(refusals.admits(session(1), ChatId([2; 16]), &key(2)));
        refusals.taken(session(1), CHAT);
        assert!(refusals.admits(session(1), CHAT, &key(2)));
    }

    #[test]
    fn of_what_a_spool_sends_nothing_is_remembered() {
        let mut refusals = Refusals::new(1, 100);
        refusals.remember(session(CONNECTION), CHAT, key(1));
        assert!(refusals.remember_first(session(CONNECTION), CHAT, key(1), 1));
        assert!(refusals.admits(session(CONNECTION), CHAT, &key(2)), "the first may be stored by now");
    }

    #[test]
    fn a_failed_block_blocks_on_its_first_send() {
        let mut refusals = Refusals::new(1, 100);
        refusals.remember(session(1), CHAT, key(9));
        assert!(refusals.remember_first(session(1), CHAT, key(1), 1), "earlier than what was refused before it failed");
        assert!(!refusals.remember_first(session(1), CHAT, key(2), 1));
        assert!(refusals.admits(session(1), CHAT, &key(1)));
        assert!(!refusals.admits(session(1), CHAT, &key(9)));
    }

    #[test]
    fn what_a_session_sent_before_its_end_does_not_overtake_after_it() {
        let mut refusals = Refusals::new(1, 40);
        refusals.remember(session(1), CHAT, key(1));
        refusals.forget(session(1), CHAT);
        refusals.forget(session(1), CHAT);
        assert!(!refusals.admits(session(1), CHAT, &key(2)), "it was on its way");
        for n in 2..=11 {
            assert!(!refusals.admits(session(1), CHAT, &key(2)));
            refusals.remember(session(n), CHAT, key(1));
            refusals.forget(session(n), CHAT);
        }
        assert!(refusals.admits(session(1), CHAT, &key(2)), "by now nothing is on its way");
        assert_eq!(refusals.table.len(), 10);
    }

    #[test]
    fn the_sessions_of_a_lost_gateway_go_in_steps_and_only_they() {
        const SESSIONS: u32 = 10_000;
        let mut refusals = Refusals::new(1, 4 * SESSIONS as usize);
        let at = |n: u32| Address { incarnation: 1 + u64::from(n % 2), ..session(n) };
        (0..SESSIONS).for_each(|n| refusals.remember(at(n), CHAT, key(1)));
        refusals.remember(at(0), CHAT, key(3));
        refusals.lose(1);
        refusals.remember(at(SESSIONS), CHAT, key(1));
        let mut steps = 0;
        while refusals.is_losing() {
            refusals.step();
            steps += 1;
        }
        assert_eq!((steps, refusals.gone.len()), (3, SESSIONS as usize / 2));
        assert!(!refusals.admits(at(0), CHAT, &key(2)), "what it sent may still be on its way");
        let gone = |n: u32| refusals.table[&(at(n), CHAT)].gone;
        assert!((0..SESSIONS).all(|n| gone(n) == (n % 2 == 0)));
        assert!(!gone(SESSIONS), "it came later");
        let mut empty = Refusals::new(1, 10);
        empty.lose(1);
        assert!(!empty.is_losing());
    }

    #[test]
    fn is_bounded() {
        let mut refusals = Refusals::new(1, 10);
        for n in 0..100 {
            refusals.remember(session(n), CHAT, key(1));
        }
        assert_eq!((refusals.table.len(), refusals.forgotten), (10, 90));
        assert!(refusals.admits(session(0), CHAT, &key(2)));
        assert!(!refusals.admits(session(99), CHAT, &key(2)));
        for _ in 0..10_000 {
            refusals.remember(session(99), CHAT, key(1));
        }
        assert!(refusals.order.len() < 2_000);
    }
}
