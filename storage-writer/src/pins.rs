//! Chats that have another partition than the one that their ids give: a table in the shared store.
//!
//! A row says from which partition a chat goes to which, and is settled when whoever opened the former has written everything
//! of the chat into the tables: until then the chat is the former's, from then on the latter's, without a row it is at home.
//! What must stay true: every change of the table is a transaction on its version, so whoever changes anything has seen all of
//! it, and the change of one who was frozen fails once another has changed anything; a row is settled by the owner of the
//! former partition alone, before it serves, so serving a chat and giving it away exclude each other.

use std::collections::BTreeSet;

use schema::ids::ChatId;

use crate::store::StoreError;

/// Chats that may have another partition than their own.
pub const PINS_MAX: usize = 1_024;
/// Bytes of a row as it is stored.
const ROW_BYTES: usize = 21;

/// A chat that is away from home, or on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pin {
    /// Which.
    pub chat: ChatId,
    /// The partition that has it until the row is settled.
    pub from: u16,
    /// The partition that has it from then on.
    pub to: u16,
    /// Whether everything of it is in the tables, and `from` has it no more.
    pub settled: bool,
}

impl Pin {
    /// Whose it is.
    pub const fn place(&self) -> u16 {
        if self.settled { self.to } else { self.from }
    }
}

/// The table as it was read, or as it is to be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pins {
    /// Rises with every change; 0 = there was none.
    pub version: u64,
    /// The highest write timestamp that was used for a chat before it left a partition, as the store counts them: whoever opens
    /// a partition goes on above it.
    pub stamp: i64,
    /// By chat, each once.
    pub rows: Vec<Pin>,
}

/// Why a chat is not pinned or unpinned.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PinError {
    /// There are too many.
    #[error("{PINS_MAX} chats have a partition of their own already: unpin one first")]
    Full,
    /// It is on its way.
    #[error(
        "chat {chat} is on its way from partition {from} to partition {to}: wait until `chats pinned` says that it is there"
    )]
    Moving {
        /// Which.
        chat: ChatId,
        /// Whose it is.
        from: u16,
        /// Whose it is to be.
        to: u16,
    },
    /// It is there.
    #[error("chat {chat} is in partition {at} already")]
    There {
        /// Which.
        chat: ChatId,
        /// Where.
        at: u16,
    },
    /// There is no such partition.
    #[error("there is no partition {to}: the keyspace has {partitions}, from 0")]
    NoPartition {
        /// Which one was asked for.
        to: u16,
        /// How many there are.
        partitions: u16,
    },
}

impl Pins {
    fn row(&self, chat: ChatId) -> Option<&Pin> {
        self.rows.binary_search_by_key(&chat, |row| row.chat).ok().map(|at| &self.rows[at])
    }

    /// Whose a chat is, of so many partitions.
    pub fn place(&self, chat: ChatId, partitions: u16) -> u16 {
        self.row(chat).map_or_else(|| chat.slot().partition(partitions), Pin::place)
    }

    /// Every chat that is not at home, with whose it is.
    pub fn away(&self, partitions: u16) -> impl Iterator<Item = (ChatId, u16)> {
        let places = self.rows.iter().map(|row| (row.chat, row.place()));
        places.filter(move |(chat, place)| chat.slot().partition(partitions) != *place)
    }

    /// What a partition has of other partitions' chats, and lacks of its own.
    pub fn residents(&self, partition: u16, partitions: u16) -> Residents {
        let mut of = Residents::at_home(partition, partitions);
        for (chat, place) in self.away(partitions) {
            if place == partition {
                of.guests.insert(chat);
            } else if chat.slot().partition(partitions) == partition {
                of.gone.insert(chat);
            }
        }
        of
    }

    /// Whether a chat is to leave a partition when that is opened next.
    pub fn leaves(&self, partition: u16) -> bool {
        self.rows.iter().any(|row| !row.settled && row.from == partition)
    }

    /// The table after a chat was given another partition; its own one brings it home.
    ///
    /// # Errors
    /// [`PinError`].
    pub fn with(&self, chat: ChatId, to: u16, partitions: u16) -> Result<Self, PinError> {
        if to >= partitions {
            return Err(PinError::NoPartition { to, partitions });
        }
        let mut next = self.clone();
        let from = self.place(chat, partitions);
        let pin = Pin { chat, from, to, settled: false };
        match next.rows.binary_search_by_key(&chat, |row| row.chat) {
            Ok(at) if !next.rows[at].settled => {
                let Pin { chat, from, to, .. } = next.rows[at];
                return Err(PinError::Moving { chat, from, to });
            }
            _ if from == to => return Err(PinError::There { chat, at: to }),
            Ok(at) => next.rows[at] = pin,
            Err(_) if next.rows.len() >= PINS_MAX => return Err(PinError::Full),
            Err(at) => next.rows.insert(at, pin),
        }
        next.version += 1;
        Ok(next)
    }

    /// The table after all that is to leave a partition has left. `stamp`: the highest write timestamp that was used for it.
    pub fn settled(&self, partition: u16, partitions: u16, stamp: i64) -> Self {
        let mut next = self.clone();
        next.version += 1;
        next.stamp = next.stamp.max(stamp);
        next.rows.iter_mut().filter(|row| row.from == partition).for_each(|row| row.settled = true);
        next.rows.retain(|row| !row.settled || row.to != row.chat.slot().partition(partitions));
        next
    }

    /// The rows as they are stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.rows.len() * ROW_BYTES);
        for Pin { chat, from, to, settled } in &self.rows {
            bytes.extend_from_slice(&chat.0);
            bytes.extend_from_slice(&from.to_be_bytes());
            bytes.extend_from_slice(&to.to_be_bytes());
            bytes.push(u8::from(*settled));
        }
        bytes
    }

    /// The rows as they were stored.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn rows_of(bytes: &[u8]) -> Result<Vec<Pin>, StoreError> {
        let damaged = || StoreError::Damaged {
            doing: "reading the table of pinned chats",
            what: "it does not have the rows that this version writes".to_owned(),
        };
        let (rows, rest) = bytes.as_chunks::<ROW_BYTES>();
        let rows: Vec<Pin> = rows
            .iter()
            .map(|row| {
                let mut chat = [0; 16];
                chat.copy_from_slice(&row[..16]);
                let (from, to) = (u16::from_be_bytes([row[16], row[17]]), u16::from_be_bytes([row[18], row[19]]));
                Pin { chat: ChatId(chat), from, to, settled: row[20] != 0 }
            })
            .collect();
        let whole = rest.is_empty() && rows.is_sorted_by(|a, b| a.chat < b.chat);
        if whole { Ok(rows) } else { Err(damaged()) }
    }
}

/// Which chats a partition has: those of its slots, without some, and some others'. Fixed while it is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Residents {
    partition: u16,
    partitions: u16,
    /// Other partitions' that are here.
    guests: BTreeSet<ChatId>,
    /// Its own that are elsewhere.
    gone: BTreeSet<ChatId>,
}

impl Residents {
    /// Those of its slots.
    pub const fn at_home(partition: u16, partitions: u16) -> Self {
        Self { partition, partitions, guests: BTreeSet::new(), gone: BTreeSet::new() }
    }

    /// Whether a chat is here.
    pub fn has(&self, chat: ChatId) -> bool {
        if self.home(chat) == self.partition { !self.gone.contains(&chat) } else { self.guests.contains(&chat) }
    }

    /// Other partitions' chats that are here, with the partitions where they are at home.
    pub fn guests(&self) -> impl Iterator<Item = (ChatId, u16)> {
        self.guests.iter().map(|&chat| (chat, self.home(chat)))
    }

    fn home(&self, chat: ChatId) -> u16 {
        chat.slot().partition(self.partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITIONS: u16 = 4;

    fn chat_of(partition: u16) -> ChatId {
        let mut chats = (0u128..).map(|n| ChatId((n + 1).to_be_bytes()));
        chats.find(|chat| chat.slot().partition(PARTITIONS) == partition).expect("endless")
    }

    #[test]
    fn a_chat_is_in_one_partition_at_every_step_of_its_way_there_and_back() {
        let chat = chat_of(1);
        let one_has_it = |pins: &Pins, wanted: u16| {
            assert_eq!(pins.place(chat, PARTITIONS), wanted);
            for partition in 0..PARTITIONS {
                assert_eq!(pins.residents(partition, PARTITIONS).has(chat), partition == wanted, "{pins:?}");
            }
            assert_eq!(Pins::rows_of(&pins.to_bytes()).expect("read"), pins.rows);
        };
        let none = Pins::default();
        one_has_it(&none, 1);
        let leaving = none.with(chat, 3, PARTITIONS).expect("pinned");
        one_has_it(&leaving, 1);
        assert!(leaving.leaves(1) && !leaving.leaves(3));
        assert!(matches!(leaving.with(chat, 2, PARTITIONS), Err(PinError::Moving { from: 1, to: 3, .. })));
        assert_eq!(leaving.settled(2, PARTITIONS, 9).rows, leaving.rows, "another's");
        let there = leaving.settled(1, PARTITIONS, 9);
        one_has_it(&there, 3);
        assert!(!there.leaves(1) && !there.leaves(3));
        assert_eq!((there.version, there.stamp), (2, 9));
        assert_eq!(there.residents(3, PARTITIONS).guests().collect::<Vec<_>>(), [(chat, 1)]);
        assert!(matches!(there.with(chat, 3, PARTITIONS), Err(PinError::There { at: 3, .. })));
        let on = there.with(chat, 0, PARTITIONS).expect("pinned elsewhere");
        one_has_it(&on, 3);
        one_has_it(&on.settled(3, PARTITIONS, 5), 0);
        let back = there.with(chat, 1, PARTITIONS).expect("unpinned");
        one_has_it(&back, 3);
        let home = back.settled(3, PARTITIONS, 4);
        one_has_it(&home, 1);
        assert!(home.rows.is_empty() && home.stamp == 9, "what was there once is not forgotten: {home:?}");
    }

    #[test]
    fn a_table_has_a_bound_and_what_is_no_table_is_refused() {
        let mut pins = Pins::default();
        let to = |chat: ChatId| (chat.slot().partition(PARTITIONS) + 1) % PARTITIONS;
        for n in 0..PINS_MAX as u128 {
            let chat = ChatId((n + 1).to_be_bytes());
            pins = pins.with(chat, to(chat), PARTITIONS).expect("room");
        }
        let chat = ChatId([9; 16]);
        assert_eq!(pins.with(chat, to(chat), PARTITIONS), Err(PinError::Full));
        assert!(matches!(pins.with(chat, 4, PARTITIONS), Err(PinError::NoPartition { to: 4, partitions: 4 })));
        let bytes = pins.to_bytes();
        assert_eq!(Pins::rows_of(&bytes).expect("read"), pins.rows);
        assert!(Pins::rows_of(&bytes[1..]).is_err());
        let twice = [&bytes[..ROW_BYTES], &bytes[..ROW_BYTES]].concat();
        assert!(Pins::rows_of(&twice).is_err());
    }
}
