//! Receipts of one stream, as its sender knows them: which of its messages are still to be covered by one.
//!
//! A receipt says that a user has everything of a chat up to a seq. Servers tell them to sessions that stand and read; what a
//! sender could have missed because its own session was away or did not read is not judged.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Messages told apart while they wait; more are kept together, so that a server without receipts costs no memory.
const APART_MAX: usize = 1_024;

/// Messages that wait for a receipt.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Due {
    /// The highest seq among them.
    seq: u64,
    messages: u64,
    /// The sender may have missed it.
    excused: bool,
}

/// A stream's receipts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Receipts {
    /// Ascending by seq.
    due: VecDeque<Due>,
    watermark: u64,
    /// Messages with lower numbers are excused.
    excused_below: u64,
    /// The highest seq of a message that was covered.
    covered: u64,
}

impl Receipts {
    /// A message is acknowledged: a receipt must come. `false`: it has come, or is not judged.
    pub fn expect(&mut self, number: u64, seq: u64) -> bool {
        if seq <= self.watermark {
            self.covered = self.covered.max(seq);
            return false;
        }
        let excused = number < self.excused_below;
        let full = self.due.len() >= APART_MAX;
        match self.due.back_mut() {
            Some(last) if full && last.excused == excused => {
                last.seq = last.seq.max(seq);
                last.messages += 1;
            }
            _ => {
                let at = self.due.partition_point(|due| due.seq < seq);
                self.due.insert(at, Due { seq, messages: 1, excused });
            }
        }
        !excused
    }

    /// The receiver has everything up to `seq`. How many judged messages that settles.
    pub fn receipt(&mut self, seq: u64) -> u64 {
        self.watermark = self.watermark.max(seq);
        let mut settled = 0;
        while let Some(due) = self.due.front().filter(|due| due.seq <= self.watermark) {
            self.covered = self.covered.max(due.seq);
            settled += if due.excused { 0 } else { due.messages };
            self.due.pop_front();
        }
        settled
    }

    /// The sender may have missed receipts: nothing it has sent so far (`sent` messages) is judged. How many that excuses.
    pub fn lapse(&mut self, sent: u64) -> u64 {
        self.excused_below = self.excused_below.max(sent);
        let judged = self.due.iter_mut().filter(|due| !due.excused);
        judged.fold(0, |sum, due| {
            due.excused = true;
            sum + due.messages
        })
    }

    /// Acknowledged messages without a receipt: those that are judged, those that are not.
    pub fn open(&self) -> (u64, u64) {
        let sum = |excused| self.due.iter().filter(|due| due.excused == excused).map(|due| due.messages).sum();
        (sum(false), sum(true))
    }

    /// The highest seq of an own message that a receipt covered.
    pub const fn covered(&self) -> u64 {
        self.covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_covers_everything_up_to_its_seq() {
        let mut receipts = Receipts::default();
        for number in 0..10 {
            assert!(receipts.expect(number, 2 * number + 1));
        }
        assert_eq!((receipts.receipt(9), receipts.open()), (5, (5, 0)));
        assert_eq!(receipts.receipt(8), 0, "a receipt never takes anything back");
        assert_eq!((receipts.receipt(19), receipts.open(), receipts.covered()), (5, (0, 0), 19));
        assert!(!receipts.expect(10, 18), "a receipt may come before the acknowledgement");
    }

    #[test]
    fn what_a_sender_may_have_missed_is_not_judged() {
        let mut receipts = Receipts::default();
        receipts.expect(0, 1);
        receipts.expect(1, 2);
        assert_eq!(receipts.lapse(3), 2);
        assert!(!receipts.expect(2, 3), "it was sent before the session was lost");
        assert!(receipts.expect(3, 4));
        assert_eq!(receipts.open(), (1, 3));
        assert_eq!((receipts.receipt(4), receipts.open()), (1, (0, 0)));
    }

    #[test]
    fn a_server_without_receipts_costs_no_memory() {
        let mut receipts = Receipts::default();
        for number in 0..100_000 {
            receipts.expect(number, number + 1);
        }
        assert_eq!((receipts.due.len(), receipts.open()), (APART_MAX, (100_000, 0)));
        assert_eq!((receipts.receipt(99_999), receipts.receipt(100_000)), (1_023, 98_977));
    }
}
