//! Which partition has a chat: the one of its slot, but for a few that are kept elsewhere.

use std::sync::Arc;

use crate::ids::{ChatId, SLOT_COUNT, Slot};

/// The chats that are not where their slots are, as whoever sends to owners knows them. Clones share it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Places {
    /// Of the table that it was read from: the higher one is the later one. 0 = nobody has said anything.
    pub version: u64,
    /// By chat, each once, with the partition that has it.
    away: Arc<[(ChatId, u16)]>,
}

impl Places {
    /// As a table of `version` says.
    pub fn new(version: u64, mut away: Vec<(ChatId, u16)>) -> Self {
        away.sort_unstable();
        away.dedup_by_key(|(chat, _)| *chat);
        Self { version, away: away.into() }
    }

    /// The chats that are not where their slots are, with the partitions that have them.
    pub fn away(&self) -> &[(ChatId, u16)] {
        &self.away
    }

    /// The partition that has a chat, of so many.
    pub fn partition(&self, chat: ChatId, partitions: u16) -> u16 {
        self.find(chat).unwrap_or_else(|| chat.slot().partition(partitions))
    }

    /// The slot under which an envelope about a chat goes to the partition that has it: its own, or that partition's first.
    pub fn slot(&self, chat: ChatId, partitions: u16) -> Slot {
        self.find(chat).map_or_else(|| chat.slot(), |partition| first_slot(partition, partitions))
    }

    fn find(&self, chat: ChatId) -> Option<u16> {
        if self.away.is_empty() {
            return None;
        }
        self.away.binary_search_by_key(&chat, |(chat, _)| *chat).ok().map(|at| self.away[at].1)
    }

    /// The chats that have another partition in `next`, with the ones that have them here and there.
    pub fn moves<'a>(&'a self, next: &'a Self, partitions: u16) -> impl Iterator<Item = (ChatId, u16, u16)> + 'a {
        let left = self.away.iter().map(|(chat, _)| *chat).filter(|chat| next.find(*chat).is_none());
        let all = left.chain(next.away.iter().map(|(chat, _)| *chat));
        let places = all.map(move |chat| (chat, self.partition(chat, partitions), next.partition(chat, partitions)));
        places.filter(|(_, from, to)| from != to)
    }
}

/// The first slot of a partition, of so many: an envelope for the partition itself carries it.
pub fn first_slot(partition: u16, partitions: u16) -> Slot {
    let slot = (u32::from(partition) * u32::from(SLOT_COUNT)).div_ceil(u32::from(partitions));
    Slot::new((slot as u16).min(SLOT_COUNT - 1)).unwrap_or_else(|| unreachable!("it is below SLOT_COUNT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_where_it_was_put_or_at_home_and_its_slot_says_so() {
        let chat = |n: u8| ChatId([n; 16]);
        let elsewhere = |n: u8| (chat(n).slot().partition(5) + 1) % 5;
        let none = Places::default();
        let some = Places::new(1, vec![(chat(2), elsewhere(2)), (chat(1), elsewhere(1))]);
        for n in 1..=3 {
            for places in [&none, &some] {
                assert_eq!(places.slot(chat(n), 5).partition(5), places.partition(chat(n), 5));
            }
            assert_eq!(none.slot(chat(n), 5), chat(n).slot());
        }
        assert_eq!(some.partition(chat(1), 5), elsewhere(1));
        assert_eq!(some.partition(chat(3), 5), chat(3).slot().partition(5));
        let home = chat(2).slot().partition(5);
        let next = Places::new(2, vec![(chat(1), elsewhere(1)), (chat(3), elsewhere(3))]);
        let moves: Vec<_> = some.moves(&next, 5).collect();
        assert_eq!(moves, [(chat(2), elsewhere(2), home), (chat(3), chat(3).slot().partition(5), elsewhere(3))]);
        assert_eq!(next.moves(&next, 5).count(), 0);
    }
}
