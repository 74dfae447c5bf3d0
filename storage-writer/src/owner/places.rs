//! Places of things in a log, found by a key's hash: eight bytes an item, one look into memory for a key that is not there.
//!
//! In many parts, so that growing one never stops the shard for long. What must stay true: a place is found as long as it is
//! there, whatever else has come and gone; whoever asks compares the keys, since different ones may have the same tag.

const PARTS: usize = 256;
/// Slots of a part's first table.
const SLOTS_MIN: usize = 16;
/// No item.
const EMPTY: u64 = 0;

/// Where things are. A place is a number below 2^32.
pub(crate) struct Places {
    parts: Box<[Part]>,
    len: usize,
}

/// A table with open addressing: an item is in the first free slot from its home on.
#[derive(Default)]
struct Part {
    /// Tag (never 0) in the upper half, place in the lower; a power of two of them, or none.
    slots: Vec<u64>,
    len: usize,
}

const fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}

const fn slot_of(tag: u32, place: u32) -> u64 {
    (tag as u64) << 32 | place as u64
}

impl Places {
    pub(crate) fn new() -> Self {
        Self { parts: (0..PARTS).map(|_| Part::default()).collect(), len: 0 }
    }

    const fn part(hash: u64) -> usize {
        hash as usize % PARTS
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The place of an item with this hash that `same` knows.
    pub(crate) fn find(&self, hash: u64, same: impl FnMut(u32) -> bool) -> Option<u32> {
        let part = &self.parts[Self::part(hash)];
        part.slot(tag_of(hash), same).map(|at| part.slots[at] as u32)
    }

    /// Says that an item with this hash will be looked for soon.
    pub(crate) fn prefetch(&self, hash: u64) {
        let part = &self.parts[Self::part(hash)];
        if !part.slots.is_empty() {
            fabric::memory::prefetch(&part.slots[part.home(tag_of(hash))]);
        }
    }

    /// Adds an item that is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, place: u32) {
        let part = &mut self.parts[Self::part(hash)];
        if 4 * (part.len + 1) > 3 * part.slots.len() {
            part.grow();
        }
        part.put(slot_of(tag_of(hash), place));
        part.len += 1;
        self.len += 1;
    }

    /// Removes the item with this hash that `same` knows.
    pub(crate) fn remove(&mut self, hash: u64, same: impl FnMut(u32) -> bool) {
        let part = &mut self.parts[Self::part(hash)];
        if let Some(at) = part.slot(tag_of(hash), same) {
            part.take(at);
            part.len -= 1;
            self.len -= 1;
        }
    }
}

impl Part {
    /// Where an item's search begins. The tag alone says it, so that growing need not ask anybody.
    fn home(&self, tag: u32) -> usize {
        let bits = self.slots.len().trailing_zeros();
        (u64::from(tag.wrapping_mul(0x9E37_79B1)) << bits >> 32) as usize
    }

    fn slot(&self, tag: u32, mut same: impl FnMut(u32) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = self.home(tag);
        loop {
            match self.slots[at] {
                EMPTY => return None,
                slot if (slot >> 32) as u32 == tag && same(slot as u32) => return Some(at),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Puts an item into a table with a free slot.
    fn put(&mut self, slot: u64) {
        let mask = self.slots.len() - 1;
        let mut at = self.home((slot >> 32) as u32);
        while self.slots[at] != EMPTY {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    fn grow(&mut self) {
        let slots = (2 * self.slots.len()).max(SLOTS_MIN);
        let before = core::mem::replace(&mut self.slots, vec![EMPTY; slots]);
        before.into_iter().filter(|&slot| slot != EMPTY).for_each(|slot| self.put(slot));
    }

    /// Empties a slot, and moves up what could not be in its own place because of it.
    fn take(&mut self, mut hole: usize) {
        let mask = self.slots.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot == EMPTY {
                break;
            }
            let home = self.home((slot >> 32) as u32);
            // It may move to the hole if the hole lies on its way from home.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = EMPTY;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_history_matches_a_map(
            // Few tags and parts, so that items are in each other's way.
            steps in prop::collection::vec((any::<bool>(), 0u64..200), 0..600),
        ) {
            let hash = |key: u64| (key % 23) << 32 | (key % 3) | (key & 1) << 60;
            let mut places = Places::new();
            let mut model: BTreeMap<u64, u32> = BTreeMap::new();
            for (step, (add, key)) in (0u32..).zip(steps) {
                let before = model.get(&key).copied();
                prop_assert_eq!(places.find(hash(key), |place| Some(place) == before), before);
                if add && before.is_none() {
                    places.insert(hash(key), step);
                    model.insert(key, step);
                } else if !add {
                    places.remove(hash(key), |place| Some(place) == before);
                    model.remove(&key);
                }
                prop_assert_eq!(places.len(), model.len());
            }
            for (key, place) in model {
                prop_assert_eq!(places.find(hash(key), |found| found == place), Some(place));
            }
        }
    }

    #[test]
    fn many_items_are_all_found() {
        const ITEMS: u32 = 100_000;
        let hash = |n: u32| u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut places = Places::new();
        (0..ITEMS).for_each(|n| places.insert(hash(n), n));
        (0..ITEMS).step_by(2).for_each(|n| places.remove(hash(n), |place| place == n));
        assert_eq!(places.len(), ITEMS as usize / 2);
        for n in 0..ITEMS {
            let expected = (n % 2 == 1).then_some(n);
            assert_eq!(places.find(hash(n), |place| place == n), expected);
        }
    }
}
