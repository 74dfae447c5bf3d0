//! When to remind: chats whose head some device may not have acknowledged.
//!
//! One queue a stage: within a stage every wait is the same, so each queue is in order of time and needs no heap.

use std::collections::VecDeque;

/// Due times by stage.
pub(crate) struct Nudges {
    /// (due, ns; chat).
    stages: Vec<VecDeque<(u64, u32)>>,
    first_ns: u64,
}

impl Nudges {
    /// `after_ms`: the first wait; each stage waits twice as long as the one before.
    pub(crate) fn new(after_ms: u64, stages: u8) -> Self {
        Self { stages: (0..stages).map(|_| VecDeque::new()).collect(), first_ns: after_ms * 1_000_000 }
    }

    /// Puts a chat into a stage (1..) counted from `from_ns`. False if there is no such stage.
    pub(crate) fn schedule(&mut self, stage: u8, from_ns: u64, chat: u32) -> bool {
        let Some(queue) = self.stages.get_mut(usize::from(stage) - 1) else { return false };
        let due = from_ns + (self.first_ns << (stage - 1));
        // A commit time older than the queue's last would break its order; it is due when the last one is.
        let due = queue.back().map_or(due, |&(last, _)| due.max(last));
        queue.push_back((due, chat));
        true
    }

    /// The next chat that is due, with its stage.
    pub(crate) fn due(&mut self, now_ns: u64) -> Option<(u8, u32)> {
        for (at, queue) in self.stages.iter_mut().enumerate() {
            if queue.front().is_some_and(|&(due, _)| due <= now_ns) {
                return queue.pop_front().map(|(_, chat)| (at as u8 + 1, chat));
            }
        }
        None
    }

    /// When the next one is due, ns.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.stages.iter().filter_map(|queue| queue.front().map(|&(due, _)| due)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_waits_twice_as_long() {
        let mut nudges = Nudges::new(10, 3);
        for stage in 1..=3 {
            assert!(nudges.schedule(stage, 1_000_000, u32::from(stage)));
        }
        assert!(!nudges.schedule(4, 0, 4));
        assert_eq!(nudges.next_ns(), Some(11_000_000));
        assert_eq!(nudges.due(10_999_999), None);
        assert_eq!(nudges.due(11_000_000), Some((1, 1)));
        assert_eq!(nudges.due(40_999_999), Some((2, 2)));
        assert_eq!(nudges.due(40_999_999), None);
        assert_eq!(nudges.due(41_000_000), Some((3, 3)));
        assert_eq!(nudges.next_ns(), None);
    }
}
