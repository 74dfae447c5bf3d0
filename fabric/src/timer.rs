//! A hierarchical timer wheel without a clock: whoever owns it says what time it is.
//!
//! What must stay true: a timer never fires early, fires at the first [`Wheel::advance`] at or after its deadline (rounded
//! up to the resolution), and costs no allocation once the wheel has held as many before. An entry with a payload of two
//! `u32` takes 32 bytes.

/// Names one timer; stale after it fired or was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    index: u32,
    generation: u32,
}

const NIL: u32 = u32::MAX;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 11; // 66 bits of ticks

#[derive(Debug)]
struct Entry<T> {
    tick: u64,
    generation: u32,
    next: u32,
    prev: u32,
    payload: Option<T>,
}

/// Timers with a payload `T` each. Owned by one thread.
#[derive(Debug)]
pub struct Wheel<T> {
    resolution_ns: u64,
    /// Every tick below this has been fired.
    position: u64,
    heads: Box<[[u32; SLOTS]; LEVELS]>,
    occupied: [u64; LEVELS],
    entries: Vec<Entry<T>>,
    free: u32,
    len: usize,
}

impl<T> Wheel<T> {
    /// An empty wheel. `resolution_ns`: deadlines are rounded up to a multiple of it; at least 1.
    pub fn new(resolution_ns: u64) -> Self {
        Self {
            resolution_ns: resolution_ns.max(1),
            position: 0,
            heads: Box::new([[NIL; SLOTS]; LEVELS]),
            occupied: [0; LEVELS],
            entries: Vec::new(),
            free: NIL,
            len: 0,
        }
    }

    /// How many timers wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No timer waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets a timer. A deadline that has passed fires at the next [`Self::advance`].
    ///
    /// # Panics
    /// At 2^32 - 1 timers.
    pub fn insert(&mut self, deadline_ns: u64, payload: T) -> Handle {
        let tick = deadline_ns.div_ceil(self.resolution_ns).max(self.position);
        let index = self.free;
        let index = if index == NIL {
            let index = u32::try_from(self.entries.len()).ok().filter(|&index| index != NIL).expect("too many timers");
            self.entries.push(Entry { tick: 0, generation: 0, next: NIL, prev: NIL, payload: None });
            index
        } else {
            self.free = self.entries[index as usize].next;
            index
        };
        let entry = &mut self.entries[index as usize];
        entry.tick = tick;
        entry.payload = Some(payload);
        let generation = entry.generation;
        self.link(index, tick);
        self.len += 1;
        Handle { index, generation }
    }

    /// Takes a timer back; `None` if it has fired or was cancelled before.
    pub fn cancel(&mut self, handle: Handle) -> Option<T> {
        let entry = self.entries.get(handle.index as usize)?;
        if entry.generation != handle.generation || entry.payload.is_none() {
            return None;
        }
        self.unlink(handle.index);
        self.release(handle.index)
    }

    /// Fires everything due at `now_ns`, in the order of (rounded) deadlines.
    pub fn advance(&mut self, now_ns: u64, mut fire: impl FnMut(T)) {
        while let Some(payload) = self.pop(now_ns) {
            fire(payload);
        }
    }

    /// One timer due at `now_ns`, earliest first, so that the caller may set timers in between.
    pub fn pop(&mut self, now_ns: u64) -> Option<T> {
        let now = now_ns / self.resolution_ns;
        loop {
            let next = self.next_slot();
            let Some((level, slot, tick)) = next.filter(|&(.., tick)| tick <= now) else {
                self.position = self.position.max(now);
                return None;
            };
            self.position = self.position.max(tick);
            let head = self.heads[level][slot];
            if level == 0 {
                self.unlink(head);
                return self.release(head);
            }
            self.cascade(level, slot);
        }
    }

    /// When [`Self::advance`] has something to do next, ns: never after the earliest timer's rounded deadline, possibly
    /// some resolutions before it.
    pub fn next_deadline(&self) -> Option<u64> {
        self.next_slot().map(|(.., tick)| tick.saturating_mul(self.resolution_ns))
    }

    /// The first occupied slot: (level, slot, first tick of its range).
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        // A lower level lies wholly within the current slot of the level above, so the first one occupied is the earliest.
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = SLOT_BITS * level as u32;
        let above = shift + SLOT_BITS;
        let base = if above >= u64::BITS { 0 } else { (self.position >> above) << above };
        Some((level, slot, base | ((slot as u64) << shift)))
    }

    fn cascade(&mut self, level: usize, slot: usize) {
        let mut index = core::mem::replace(&mut self.heads[level][slot], NIL);
        self.occupied[level] &= !(1 << slot);
        while index != NIL {
            let next = self.entries[index as usize].next;
            let tick = self.entries[index as usize].tick;
            self.link(index, tick);
            index = next;
        }
    }

    fn place(&self, tick: u64) -> (usize, usize) {
        let tick = tick.max(self.position);
        let differing = (tick ^ self.position) | 1;
        let level = (differing.ilog2() / SLOT_BITS) as usize;
        (level, (tick >> (SLOT_BITS * level as u32)) as usize & (SLOTS - 1))
    }

    fn link(&mut self, index: u32, tick: u64) {
        let (level, slot) = self.place(tick);
        let head = core::mem::replace(&mut self.heads[level][slot], index);
        self.occupied[level] |= 1 << slot;
        if head != NIL {
            self.entries[head as usize].prev = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.next = head;
        entry.prev = NIL;
    }

    fn unlink(&mut self, index: u32) {
        let (next, prev) = (self.entries[index as usize].next, self.entries[index as usize].prev);
        if next != NIL {
            self.entries[next as usize].prev = prev;
        }
        if prev != NIL {
            self.entries[prev as usize].next = next;
            return;
        }
        let (level, slot) = self.place(self.entries[index as usize].tick);
        debug_assert_eq!(self.heads[level][slot], index);
        self.heads[level][slot] = next;
        if next == NIL {
            self.occupied[level] &= !(1 << slot);
        }
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
        entry.payload.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_idle_timer_of_a_connection_takes_32_bytes() {
        assert_eq!(size_of::<Entry<(u32, u32)>>(), 32);
    }

    #[test]
    fn a_timer_set_while_firing_is_seen_by_the_same_pass() {
        let mut wheel = Wheel::new(1);
        wheel.insert(5, 5u64);
        let mut fired = Vec::new();
        while let Some(at) = wheel.pop(10) {
            fired.push(at);
            if at < 8 {
                wheel.insert(at + 1, at + 1);
            }
        }
        assert_eq!(fired, [5, 6, 7, 8]);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn memory_is_reused() {
        let mut wheel = Wheel::new(8);
        for round in 0..1_000u64 {
            let handle = wheel.insert(round * 100 + 50, round);
            if round % 2 == 0 {
                assert_eq!(wheel.cancel(handle), Some(round));
            }
            wheel.advance(round * 100 + 100, |_| ());
            assert_eq!(wheel.cancel(handle), None, "stale");
        }
        assert_eq!(wheel.entries.len(), 1);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Cancel(usize),
        Advance(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        // Delays from none to years, so that every level is used.
        let span = (0u32..58).prop_flat_map(|bits| 0..(1u64 << bits));
        prop_oneof![
            4 => span.clone().prop_map(Op::Insert),
            1 => any::<usize>().prop_map(Op::Cancel),
            2 => span.prop_map(Op::Advance),
        ]
    }

    proptest! {
        #[test]
        fn a_wheel_fires_what_an_ordered_map_would(
            resolution in prop_oneof![Just(1u64), Just(7), Just(8_000_000)],
            start in prop_oneof![Just(0u64), 0..u64::MAX / 4],
            ops in prop::collection::vec(op(), 1..200),
        ) {
            let mut wheel = Wheel::new(resolution);
            let mut model: BTreeMap<(u64, usize), Handle> = BTreeMap::new();
            let mut now = start;
            let mut handles = Vec::new();
            for op in ops {
                match op {
                    Op::Insert(delay) => {
                        let deadline = now.saturating_add(delay).min(u64::MAX / 2);
                        let id = handles.len();
                        let handle = wheel.insert(deadline, id);
                        // A deadline that has passed is due from the tick the wheel has reached.
                        let due = deadline.div_ceil(resolution).max(wheel.position);
                        model.insert((due, id), handle);
                        handles.push((due, handle));
                    }
                    Op::Cancel(which) if !handles.is_empty() => {
                        let id = which % handles.len();
                        let (due, handle) = handles[id];
                        let expected = model.remove(&(due, id)).map(|_| id);
                        prop_assert_eq!(wheel.cancel(handle), expected);
                    }
                    Op::Cancel(_) => (),
                    Op::Advance(by) => {
                        now = now.saturating_add(by).min(u64::MAX / 2);
                        let mut fired = Vec::new();
                        wheel.advance(now, |id| fired.push((handles[id].0, id)));
                        prop_assert!(fired.is_sorted_by_key(|&(due, _)| due));
                        fired.sort_unstable();
                        let later = model.split_off(&(now / resolution + 1, 0));
                        let expected: Vec<_> = model.into_keys().collect();
                        model = later;
                        prop_assert_eq!(fired, expected);
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                let earliest = model.keys().next().map(|&(due, _)| due * resolution);
                match (wheel.next_deadline(), earliest) {
                    (None, None) => (),
                    (Some(next), Some(earliest)) => prop_assert!(next <= earliest),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }
}
