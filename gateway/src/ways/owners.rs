//! The way to the owners of a partition is lost.

use fabric::tier::Egress;
use fabric::time::Now;
use schema::envelope::Address;
use schema::errors::ErrorCode;
use schema::ids::ChatId;

use super::owes_of_now;
use crate::conn::Phase;
use crate::conn::wheel::{tick_of, ticks};
use crate::session::partition_bit;
use crate::session::sync::Listing;
use crate::shard::Shard;

/// Wait that clients are asked for before they come back and send again: the first part, and what is spread, ms.
const COME_BACK_MS: (u32, u32) = (250, 750);
/// Wait before what a session's sync had asked for is asked for again: the first part, and what is spread, ms.
const ASK_AGAIN_MS: (u32, u32) = (300, 1_000);

impl Shard {
    /// The way to `partition` was lost, or who holds it came back as another: what was on its way there, and its answers, are
    /// gone. Sessions with sends there that have no answer, or are queued, end with `storage_unavailable` and come back to send again (also those
    /// whose sends there have an answer, but not those that went elsewhere meanwhile: a session counts them as one); its
    /// credits are free again and waiting sends go on; what syncs had asked there is asked for again soon, and clients' questions there are refused. Answers to sends of
    /// before are ignored from now on. Call it for every partition concerned; sessions miss what was pushed meanwhile until
    /// they get a gap.
    pub fn owner_lost(&mut self, now: Now, partition: u16, egress: &mut dyn Egress) {
        let pool = usize::from(partition);
        let Some(generation) = self.generations.get_mut(pool) else {
            debug_assert!(false, "there is no partition {partition}");
            return;
        };
        *generation += 1;
        self.metrics.owners_lost.inc();
        for index in 0..self.conns.places() {
            let place = &self.conns[index];
            if place.phase != Phase::Ready {
                continue;
            }
            let queued =
                self.settling.get(&index).is_some_and(|queued| queued.partitions().any(|one| one == partition));
            let unanswered = place
                .active
                .as_ref()
                .is_some_and(|active| active.in_flight > 0 && active.sent_to & partition_bit(partition) != 0);
            match () {
                () if !queued && !unanswered => self.ask_again(now, index, partition),
                () if self.drain.is_some() => self.send_away(now, index, egress),
                () => {
                    self.metrics.sent_back.inc();
                    let wait_ms = COME_BACK_MS.0 + self.spread_ms(index, COME_BACK_MS.1);
                    self.close_until(now, index, ErrorCode::StorageUnavailable, wait_ms, egress);
                }
            }
        }
        self.credits[pool] = self.config.credits_per_partition;
        self.queued[pool] = 0;
        self.serve_waiters(now, pool, egress);
    }

    /// Sends that `partition` owes an answer, or a second one.
    ///
    /// # Panics
    /// When there is no such partition.
    pub fn unanswered(&self, partition: u16) -> u32 {
        let partition = usize::from(partition);
        self.config.credits_per_partition - self.credits[partition] + self.queued[partition]
    }

    /// Whether an answer to, or the return of, a send to `partition` is of now: the way there was not lost since it left.
    pub fn counts(&self, partition: u16, request: u64) -> bool {
        owes_of_now(&self.generations, request) == Some(partition)
    }

    /// Nobody holds `partition` before `until_ns`, it may be: whoever waits for a credit there is not refused before. 0 = it is
    /// held.
    pub fn unowned_until(&mut self, partition: u16, until_ns: u64) {
        if let Some(until) = self.unowned_until_ns.get_mut(usize::from(partition)) {
            *until = until_ns;
        }
    }

    /// Whether a send that waited for a holder, or came back, may go out: its session is still there, and none of its session's
    /// before it, in the same chat, was refused since. What a session that is over sent before may be in the spool of a writer
    /// that its gateway waits for no more; its client sends all of that again, in order.
    pub fn may_go(&self, session: Address, chat: ChatId, client_msg_id: &[u8]) -> bool {
        let index = self.conns.find(session.connection, session.generation);
        let Some(index) = index.filter(|&index| self.conns[index].phase == Phase::Ready) else { return false };
        let blocked = self.conns[index].active.as_ref().and_then(|active| active.blocked.as_ref());
        blocked.is_none_or(|blocked| blocked.passes(chat, client_msg_id))
    }

    /// Takes back what the session has asked a partition for: its sync asks again soon, its client is told.
    fn ask_again(&mut self, now: Now, index: u32, partition: u16) {
        let partitions = self.config.partitions;
        let wait = ticks(ASK_AGAIN_MS.0 + self.spread_ms(index, ASK_AGAIN_MS.1));
        let place = &mut self.conns[index];
        let user = place.user;
        let Some(active) = &mut place.active else { return };
        let asked = active.history.len();
        active.history.retain(|ask| ask.partition != partition);
        let refused = asked - active.history.len();
        let mut lost = 0;
        let mut hold_until = 0;
        if let Some(sync) = &mut active.sync {
            let here = |chat: ChatId| chat.slot().partition(partitions) == partition;
            let places = &self.places;
            let asked_here = |chat: ChatId| places.partition(chat, partitions) == partition;
            if sync.page.take_if(|ask| asked_here(ask.chat)).is_some() {
                lost += 1;
            }
            if let Listing::Asked { before, .. } = sync.listing
                && schema::ids::UserId::new(user).is_some_and(|user| here(ChatId::account(user)))
            {
                sync.listing = Listing::Due(before);
                lost += 1;
            }
            if lost > 0 {
                sync.hold_until = sync.hold_until.max(tick_of(now) + wait);
                hold_until = sync.hold_until;
            }
        }
        for _ in 0..refused {
            self.error(now, index, ErrorCode::StorageUnavailable, &[], 0);
        }
        if lost > 0 {
            self.metrics.sync_retries.inc_by(lost);
            self.schedule(index, hold_until);
        }
    }
}
