//! When connections want to be looked at again: one coarse wheel a shard, at most a few entries a connection.
//!
//! A message arms nothing. A connection that is looked at says when it wants to be looked at next; an entry that is no
//! longer meant is recognised when it comes up and thrown away.

use std::collections::VecDeque;

use fabric::core::ConnId;
use fabric::time::Now;

/// Length of a tick, ms. Deadlines are late by up to one.
pub(crate) const TICK_MS: u64 = 100;
/// Ticks the wheel reaches ahead; later ones come up early and are put back.
const SLOTS: usize = 1_024;

/// The current tick, and ms as ticks (rounded up).
pub(crate) const fn tick_of(now: Now) -> u32 {
    (now.mono_ms() / TICK_MS) as u32
}

/// ms as ticks, rounded up.
pub(crate) const fn ticks(ms: u32) -> u32 {
    ms.div_ceil(TICK_MS as u32)
}

pub(crate) struct Wheel {
    slots: VecDeque<Vec<ConnId>>,
    /// The tick of `slots[0]`: the next that has not been taken.
    first: u32,
    len: usize,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), first: 0, len: 0 }
    }

    /// Puts `conn` at tick `at` (or as far ahead as the wheel reaches); returns where it was put.
    pub(crate) fn put(&mut self, conn: ConnId, at: u32) -> u32 {
        let ahead = (at.saturating_sub(self.first) as usize).min(SLOTS - 1);
        self.slots[ahead].push(conn);
        self.len += 1;
        self.first + ahead as u32
    }

    /// Everything due at `tick` or before, with the tick it was put at.
    pub(crate) fn take_due(&mut self, tick: u32) -> Option<(u32, Vec<ConnId>)> {
        if self.len == 0 {
            self.first = self.first.max(tick.saturating_add(1));
            return None;
        }
        while self.first <= tick {
            let at = self.first;
            let due = core::mem::take(&mut self.slots[0]);
            self.slots.rotate_left(1);
            self.first += 1;
            if !due.is_empty() {
                self.len -= due.len();
                return Some((at, due));
            }
        }
        None
    }

    /// When the next entry comes up, ns of the monotonic clock.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let ahead = self.slots.iter().position(|slot| !slot.is_empty())?;
        Some((u64::from(self.first) + ahead as u64) * TICK_MS * 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn conn(index: u32) -> ConnId {
        ConnId { index, generation: 0 }
    }

    #[test]
    fn entries_come_up_at_their_tick_in_order() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.take_due(50), None);
        assert_eq!(wheel.put(conn(2), 60), 60);
        assert_eq!(wheel.put(conn(1), 55), 55);
        assert_eq!(wheel.next_ns(), Some(55 * TICK_MS * 1_000_000));
        assert_eq!(wheel.take_due(54), None);
        assert_eq!(wheel.take_due(70), Some((55, vec![conn(1)])));
        assert_eq!(wheel.take_due(70), Some((60, vec![conn(2)])));
        assert_eq!(wheel.take_due(70), None);
        assert_eq!(wheel.next_ns(), None);
    }

    #[test]
    fn what_is_too_far_ahead_comes_up_early_and_what_is_late_at_once() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.put(conn(1), 1_000_000), SLOTS as u32 - 1);
        assert_eq!(wheel.take_due(2_000).unwrap().0, SLOTS as u32 - 1);
        assert_eq!(wheel.put(conn(1), 5), 1_024);
        assert_eq!(wheel.take_due(2_000), Some((1_024, vec![conn(1)])));
    }
}
