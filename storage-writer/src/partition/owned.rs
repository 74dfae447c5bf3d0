//! A partition of a shared store while it is owned: it commits blocks into its log there, and is dropped when its tenure is
//! over.
//!
//! What must stay true: nothing is answered before its block is known to be there and to count.

use fabric::core::JobQueue;
use fabric::tier::Egress;
use fabric::time::Now;

use super::{Partition, Work};
use crate::lease::Epoch;
use crate::log::OwnedLog;
use crate::store::StoreError;

/// Watermarks alone wait so long after the block before, ns, so that many share one.
const MARKS_WAIT_NS: u64 = 20_000_000;
/// So many do not wait.
const MARKS_AT_ONCE: usize = 1_000;

impl Partition {
    /// Under which epoch it is owned; 0 where it is this process's for good.
    pub fn epoch(&self) -> Epoch {
        self.log.owned().map_or(Epoch::default(), |log| log.owner().tenure.epoch())
    }

    /// Whether its tenure is over. What was under way in it is not answered; drop it.
    pub fn is_lost(&self) -> bool {
        self.log.owned().is_some_and(|log| log.owner().tenure.is_over())
    }

    /// It is not served here any more, given up or lost: ends it, so that nobody takes what it had for what this process has.
    pub fn leave(self) {
        self.metrics.left();
    }

    /// At the end of a turn: begins to write what has been ordered, if nothing is being written.
    pub(super) fn start_commit(&mut self, now: Now) {
        let due_ns = self.commit_due_ns();
        let Some(log) = self.log.owned_mut().filter(|log| !log.owner().tenure.is_over()) else { return };
        if let Some(again) = log.take_again(now.mono_ns) {
            return self.jobs.push_back((JobQueue::Commit, Work::Commit(again)));
        }
        if log.is_busy() || due_ns.is_none_or(|due| due > now.mono_ns) {
            return;
        }
        self.append_positions();
        if let Some((commit, len)) = self.log.owned_mut().and_then(OwnedLog::take_block) {
            self.batch_taken(len);
            self.jobs.push_back((JobQueue::Commit, Work::Commit(commit)));
        }
    }

    /// When the next block is to be written, or written again, ns; in the past = at once.
    pub(super) fn commit_due_ns(&self) -> Option<u64> {
        let log = self.log.owned().filter(|log| !log.owner().tenure.is_over())?;
        if log.is_busy() {
            return log.retry_ns();
        }
        let marks = self.filling.positions.len();
        match () {
            () if self.filling.entries > 0 || marks >= MARKS_AT_ONCE || (marks > 0 && log.stopping) => Some(1),
            () if marks > 0 => Some(self.last_commit_ns + MARKS_WAIT_NS),
            () => None,
        }
    }

    /// A block's write ended.
    pub(super) fn commit_done(&mut self, now: Now, result: Result<(), StoreError>, egress: &mut dyn Egress) {
        let number = self.number;
        let Some(log) = self.log.owned_mut() else { return };
        match result {
            Ok(()) => {
                log.done();
                self.block_committed(now, egress);
            }
            Err(error) if log.owner().tenure.is_over() => {
                tracing::warn!(partition = number, %error, "the partition is another's; what was under way is not answered");
            }
            Err(error) => {
                let failures = log.failed(now.mono_ns);
                self.metrics.write_failures.inc();
                if failures == 1 {
                    tracing::warn!(partition = number, %error, "a block could not be written; trying again until it is known to be there");
                }
            }
        }
    }

    /// After [`Partition::stop`]: whether anything is still under way.
    pub(super) fn is_drained(&self) -> bool {
        let waiting: [usize; 3] = [self.inbox.len(), self.parked_sends, self.filling.items.len()];
        let busy = self.log.owned().is_some_and(OwnedLog::is_busy);
        self.is_lost()
            || (!busy
                && self.spooling.is_idle()
                && self.filling.is_empty()
                && waiting == [0; 3]
                && !self.fanout.is_due())
    }
}
