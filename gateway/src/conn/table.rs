//! The shard's connections: a table of places, each with a generation that tells a reused place from the one before.

use fabric::core::ConnId;

use super::{Conn, Phase};

/// Places of a block. Blocks do not move: a table that grows copies no connection and leaves no hole behind.
const BLOCK: usize = 256;

type Block = Box<[Conn; BLOCK]>;

#[derive(Default)]
pub(crate) struct Table {
    blocks: Vec<Block>,
    places: u32,
    free: Vec<u32>,
    len: usize,
}

impl Table {
    /// Connections there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Places there are, free ones too.
    pub(crate) const fn places(&self) -> u32 {
        self.places
    }

    pub(crate) fn insert(&mut self, mut conn: Conn) -> ConnId {
        debug_assert!(conn.phase != Phase::Free);
        self.len += 1;
        let index = self.free.pop().unwrap_or_else(|| self.grow());
        let place = &mut self[index];
        conn.generation = place.generation;
        *place = conn;
        ConnId { index, generation: place.generation }
    }

    /// A place that has never been used.
    fn grow(&mut self) -> u32 {
        let index = self.places;
        if index as usize == self.blocks.len() * BLOCK {
            let block: Vec<Conn> = (0..BLOCK).map(|_| Conn::free(0)).collect();
            self.blocks.extend(Block::try_from(block));
        }
        self.places += 1;
        index
    }

    /// Frees the place. Its generation rises, so that no address of the old connection matches again.
    pub(crate) fn remove(&mut self, index: u32) -> Conn {
        let place = &mut self[index];
        assert!(place.phase != Phase::Free, "a connection is removed once");
        let generation = place.generation;
        let conn = core::mem::replace(place, Conn::free(generation.wrapping_add(1)));
        self.free.push(index);
        self.len -= 1;
        conn
    }

    /// The place of a connection that is still there.
    pub(crate) fn find(&self, connection: u32, generation: u32) -> Option<u32> {
        let place = self.blocks.get(connection as usize / BLOCK)?.get(connection as usize % BLOCK)?;
        (place.generation == generation && place.phase != Phase::Free).then_some(connection)
    }

    /// The id of a place's connection now.
    pub(crate) fn id(&self, index: u32) -> ConnId {
        ConnId { index, generation: self[index].generation }
    }
}

impl core::ops::Index<u32> for Table {
    type Output = Conn;
    fn index(&self, index: u32) -> &Conn {
        &self.blocks[index as usize / BLOCK][index as usize % BLOCK]
    }
}

impl core::ops::IndexMut<u32> for Table {
    fn index_mut(&mut self, index: u32) -> &mut Conn {
        &mut self.blocks[index as usize / BLOCK][index as usize % BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Dialect;

    #[test]
    fn connections_stay_where_they_are_while_the_table_grows() {
        let mut table = Table::default();
        let ids: Vec<ConnId> =
            (0..1_000).map(|tick| table.insert(Conn::new(Dialect::Native, Phase::Hello, tick))).collect();
        for (tick, id) in (0..).zip(&ids) {
            assert_eq!(table.find(id.index, id.generation), Some(id.index));
            assert_eq!(table[id.index].since, tick);
        }
        assert_eq!((table.len(), table.places()), (1_000, 1_000));
        assert_eq!(table.find(1_000, 0), None, "a place nobody has used");
        assert_eq!(table.find(1_000_000, 0), None, "beyond the last block");
    }

    #[test]
    fn a_reused_place_has_another_generation() {
        let mut table = Table::default();
        let first = table.insert(Conn::new(Dialect::Native, Phase::Hello, 0));
        assert_eq!(table.find(first.index, first.generation), Some(first.index));
        table.remove(first.index);
        assert_eq!(table.find(first.index, first.generation), None);
        assert_eq!(table.find(first.index, first.generation + 1), None, "free");
        let second = table.insert(Conn::new(Dialect::Native, Phase::Hello, 0));
        assert_eq!(second.index, first.index);
        assert_eq!(second.generation, first.generation + 1);
        assert_eq!(table.find(first.index, first.generation), None);
        assert_eq!((table.len(), table.places()), (1, 1));
    }
}
