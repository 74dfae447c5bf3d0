//! The shard's connections: a table of places, each with a generation that tells a reused place from the one before.

use fabric::core::ConnId;

use super::{Conn, Phase};

#[derive(Default)]
pub(crate) struct Table {
    places: Vec<Conn>,
    free: Vec<u32>,
    len: usize,
}

impl Table {
    /// Connections there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Places there are, free ones too.
    pub(crate) fn places(&self) -> u32 {
        self.places.len() as u32
    }

    pub(crate) fn insert(&mut self, mut conn: Conn) -> ConnId {
        debug_assert!(conn.phase != Phase::Free);
        self.len += 1;
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            conn.generation = place.generation;
            *place = conn;
            return ConnId { index, generation: place.generation };
        }
        let index = self.places.len() as u32;
        conn.generation = 0;
        self.places.push(conn);
        ConnId { index, generation: 0 }
    }

    /// Frees the place. Its generation rises, so that no address of the old connection matches again.
    pub(crate) fn remove(&mut self, index: u32) -> Conn {
        let place = &mut self.places[index as usize];
        assert!(place.phase != Phase::Free, "a connection is removed once");
        let generation = place.generation;
        let conn = core::mem::replace(place, Conn::free(generation.wrapping_add(1)));
        self.free.push(index);
        self.len -= 1;
        conn
    }

    /// The place of a connection that is still there.
    pub(crate) fn find(&self, connection: u32, generation: u32) -> Option<u32> {
        let place = self.places.get(connection as usize)?;
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
        &self.places[index as usize]
    }
}

impl core::ops::IndexMut<u32> for Table {
    fn index_mut(&mut self, index: u32) -> &mut Conn {
        &mut self.places[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Dialect;

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
