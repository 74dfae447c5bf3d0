//! Places of things in a log, found by a key's hash: eight bytes an item, one look into memory for a key that is not there.
//!
//! In many parts of the same length, one behind the other. When one of them is full there is a table of twice the length, and each part
//! moves there when it is full itself, which they are at about the same time: growing never stops the shard for long, and a table that
//! is large is in huge pages. What must stay true: a place is found as long as it is there, whatever else has come and gone;
//! whoever asks compares the keys, since different ones may have the same tag.

use fabric::memory::Zeroed;

const PARTS: usize = 256;
/// Slots of a part's first table.
const SLOTS_MIN: usize = 16;
/// No item.
const EMPTY: u64 = 0;

/// Where things are. A place is a number below 2^32.
pub(crate) struct Places {
    now: Table,
    /// Of twice the length: where parts move to.
    next: Table,
    parts: Box<[Part]>,
    /// How many parts have moved.
    moved: usize,
    len: usize,
}

#[derive(Clone, Copy, Default)]
struct Part {
    len: usize,
    moved: bool,
}

/// All parts, each with open addressing: an item is in the first free slot from its home on.
struct Table {
    /// Tag (never 0) in the upper half, place in the lower.
    slots: Zeroed,
    /// Slots of a part: a power of two, or 0.
    part: usize,
}

const fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}

const fn slot_of(tag: u32, place: u32) -> u64 {
    (tag as u64) << 32 | place as u64
}

const fn part_of(hash: u64) -> usize {
    hash as usize % PARTS
}

impl Places {
    pub(crate) fn new() -> Self {
        let parts = (0..PARTS).map(|_| Part::default()).collect();
        Self { now: Table::new(0), next: Table::new(0), parts, moved: 0, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The slots of a part.
    fn slots(&self, part: usize) -> &[u64] {
        if self.parts[part].moved { self.next.of(part) } else { self.now.of(part) }
    }

    fn slots_mut(&mut self, part: usize) -> &mut [u64] {
        if self.parts[part].moved { self.next.of_mut(part) } else { self.now.of_mut(part) }
    }

    /// The place of an item with this hash that `same` knows.
    pub(crate) fn find(&self, hash: u64, same: impl FnMut(u32) -> bool) -> Option<u32> {
        let slots = self.slots(part_of(hash));
        slot(slots, tag_of(hash), same).map(|at| slots[at] as u32)
    }

    /// Says that an item with this hash will be looked for soon.
    pub(crate) fn prefetch(&self, hash: u64) {
        let slots = self.slots(part_of(hash));
        if !slots.is_empty() {
            fabric::memory::prefetch(&slots[home(slots, tag_of(hash))]);
        }
    }

    /// Adds an item that is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, place: u32) {
        let part = part_of(hash);
        if 4 * (self.parts[part].len + 1) > 3 * self.slots(part).len() {
            self.make_room(part);
        }
        put(self.slots_mut(part), slot_of(tag_of(hash), place));
        self.parts[part].len += 1;
        self.len += 1;
    }

    /// Removes the item with this hash that `same` knows.
    pub(crate) fn remove(&mut self, hash: u64, same: impl FnMut(u32) -> bool) {
        let part = part_of(hash);
        let slots = self.slots_mut(part);
        if let Some(at) = slot(slots, tag_of(hash), same) {
            take(slots, at);
            self.parts[part].len -= 1;
            self.len -= 1;
        }
    }

    /// Moves a part to where there is more room.
    fn make_room(&mut self, part: usize) {
        if self.parts[part].moved {
            // Full a second time before all have moved once: hashes make that so only while parts hold a few items each.
            let behind: Vec<usize> = (0..PARTS).filter(|&other| !self.parts[other].moved).collect();
            behind.into_iter().for_each(|other| self.move_part(other));
        }
        if self.next.part == 0 {
            self.next = Table::new((2 * self.now.part).max(SLOTS_MIN));
        }
        self.move_part(part);
    }

    /// Moves a part, which has not moved, to the next table. The last one makes that table the present one.
    fn move_part(&mut self, part: usize) {
        debug_assert!(!self.parts[part].moved && self.next.part > self.now.part);
        let to = self.next.of_mut(part);
        self.now.of(part).iter().filter(|&&slot| slot != EMPTY).for_each(|&slot| put(to, slot));
        self.parts[part].moved = true;
        self.moved += 1;
        if self.moved == PARTS {
            self.now = core::mem::replace(&mut self.next, Table::new(0));
            self.parts.iter_mut().for_each(|part| part.moved = false);
            self.moved = 0;
        }
    }
}

impl Table {
    fn new(part: usize) -> Self {
        Self { slots: Zeroed::new(PARTS * part), part }
    }

    fn of(&self, part: usize) -> &[u64] {
        &self.slots[part * self.part..(part + 1) * self.part]
    }

    fn of_mut(&mut self, part: usize) -> &mut [u64] {
        &mut self.slots[part * self.part..(part + 1) * self.part]
    }
}

/// Where an item's search begins. The tag alone says it, so that growing need not ask anybody.
fn home(slots: &[u64], tag: u32) -> usize {
    let bits = slots.len().trailing_zeros();
    (u64::from(tag.wrapping_mul(0x9E37_79B1)) << bits >> 32) as usize
}

fn slot(slots: &[u64], tag: u32, mut same: impl FnMut(u32) -> bool) -> Option<usize> {
    if slots.is_empty() {
        return None;
    }
    let mask = slots.len() - 1;
    let mut at = home(slots, tag);
    loop {
        match slots[at] {
            EMPTY => return None,
            slot if (slot >> 32) as u32 == tag && same(slot as u32) => return Some(at),
            _ => at = (at + 1) & mask,
        }
    }
}

/// Puts an item into slots of which one is free.
fn put(slots: &mut [u64], slot: u64) {
    let mask = slots.len() - 1;
    let mut at = home(slots, (slot >> 32) as u32);
    while slots[at] != EMPTY {
        at = (at + 1) & mask;
    }
    slots[at] = slot;
}

/// Empties a slot, and moves up what could not be in its own place because of it.
fn take(slots: &mut [u64], mut hole: usize) {
    let mask = slots.len() - 1;
    let mut at = hole;
    loop {
        at = (at + 1) & mask;
        let slot = slots[at];
        if slot == EMPTY {
            break;
        }
        let home = home(slots, (slot >> 32) as u32);
        // It may move to the hole if the hole lies on its way from home.
        if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
            slots[hole] = slot;
            hole = at;
        }
    }
    slots[hole] = EMPTY;
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
