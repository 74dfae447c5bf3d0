//! Which of the blocks in a partition's log count.
//!
//! An owner that was frozen in the middle of a write may write a block long after another has taken over; so may one write
//! its takeover late. Each takeover names the one that it went on from, and only those that the latest leads to count:
//! whatever else arrives, and whenever, was never part of what an owner has served from.

use crate::lease::Epoch;
use crate::store::{LoggedBlock, Takeover};

/// Keeps of blocks (by number and epoch) those that count, one a number. `takeovers`: by epoch.
pub(crate) fn counting(takeovers: &[Takeover], blocks: Vec<LoggedBlock>) -> Vec<LoggedBlock> {
    let mut chain: Vec<Takeover> = Vec::new();
    let mut next = takeovers.last().map_or(Epoch::default(), |last| last.epoch);
    for takeover in takeovers.iter().rev() {
        if takeover.epoch == next {
            chain.push(*takeover);
            next = takeover.after;
        }
    }
    // From the latest on: the first that began at or before a block has it.
    let owner = |block: u64| chain.iter().find(|takeover| takeover.first_block <= block).map(|takeover| takeover.epoch);
    blocks.into_iter().filter(|found| owner(found.block) == Some(found.epoch)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takeover(epoch: u64, first_block: u64, after: u64) -> Takeover {
        Takeover { epoch: Epoch(epoch), first_block, after: Epoch(after) }
    }

    fn counts(takeovers: &[Takeover], blocks: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let block = |&(block, epoch): &(u64, u64)| LoggedBlock { block, epoch: Epoch(epoch), bytes: Vec::new() };
        let blocks = blocks.iter().map(block).collect();
        counting(takeovers, blocks).into_iter().map(|found| (found.block, found.epoch.0)).collect()
    }

    #[test]
    fn what_an_owner_wrote_after_the_next_one_began_does_not_count() {
        let takeovers = [takeover(1, 1, 0), takeover(2, 3, 1)];
        let found = [(1, 1), (2, 1), (3, 1), (3, 2), (4, 1), (4, 2), (5, 1)];
        assert_eq!(counts(&takeovers, &found), [(1, 1), (2, 1), (3, 2), (4, 2)]);
        assert_eq!(counts(&takeovers[..1], &found), [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]);
        assert!(counts(&[], &found).is_empty());
    }

    #[test]
    fn a_takeover_that_arrives_late_takes_nothing_away() {
        // 2 was frozen before it noted that it begins at 3; 3 has found a third block and went on from 1.
        let takeovers = [takeover(1, 1, 0), takeover(2, 3, 1), takeover(3, 4, 1)];
        let found = [(1, 1), (2, 1), (3, 1), (4, 3)];
        assert_eq!(counts(&takeovers, &found), found);
    }

    #[test]
    fn an_owner_that_wrote_nothing_leaves_no_hole() {
        let takeovers = [takeover(1, 1, 0), takeover(4, 3, 1), takeover(5, 3, 4)];
        assert_eq!(counts(&takeovers, &[(1, 1), (2, 1), (3, 1), (3, 4), (3, 5)]), [(1, 1), (2, 1), (3, 5)]);
    }
}
