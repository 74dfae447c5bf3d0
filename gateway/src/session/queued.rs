//! Sends of a session that are queued at a writer: each has had its first answer and will have a second.
//!
//! What must stay true: until then its partition owes the session something, so that who holds the partition does not change
//! under it: what the session sends later would overtake what is queued. When that cannot be had, the session ends and sends all
//! of it again.

use bytes::Bytes;
use fabric::count::Tally as _;
use fabric::hash::{Map, map};
use fabric::tier::Egress;
use fabric::time::Now;
use schema::envelope::Settled;
use schema::errors::ErrorCode;
use schema::ids::ChatId;

use crate::conn::Phase;
use crate::conn::wheel::tick_of;
use crate::shard::Shard;
use crate::wire::ServerEvent;

/// A session's, each with the partition that owes its second answer: the one that had the chat when it was sent. What bounds them
/// is the spool that has them.
pub(crate) struct Queued(Map<(ChatId, Bytes), u16>);

impl Queued {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self(map(hash_seed))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who owed it before, if it is not new.
    fn add(&mut self, chat: ChatId, client_msg_id: Bytes, partition: u16) -> Option<u16> {
        self.0.insert((chat, client_msg_id), partition)
    }

    /// Who owed it.
    fn remove(&mut self, chat: ChatId, client_msg_id: &Bytes) -> Option<u16> {
        self.0.remove(&(chat, client_msg_id.clone()))
    }

    /// Who owes them, once for each send.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = u16> {
        self.0.values().copied()
    }
}

impl Shard {
    /// A writer has a send in its spool: that is the first answer to it. `partition`: the one that it was sent to.
    pub(crate) fn send_queued(
        &mut self,
        now: Now,
        index: u32,
        partition: usize,
        (chat, client_msg_id): (ChatId, &Bytes),
    ) {
        if self.conns[index].phase != Phase::Ready {
            return;
        }
        let seed = self.config.hash_seed;
        let active = self.conns[index].active();
        debug_assert!(active.in_flight > 0, "an answer to a send of this session");
        active.in_flight = active.in_flight.saturating_sub(1);
        if let Some(blocked) = &mut active.blocked {
            blocked.taken_by_owner(chat);
        }
        let queued = self.settling.entry(index).or_insert_with(|| Queued::new(seed));
        // A copy of its own: what came by a link lies in larger pieces.
        if let Some(before) = queued.add(chat, Bytes::copy_from_slice(client_msg_id), partition as u16) {
            self.no_longer_owes(before);
        }
        self.queued[partition] += 1;
        self.metrics.queued.inc();
        self.emit(now, index, &ServerEvent::Queued { client_msg_id, chat });
    }

    /// What has become of it: the second answer.
    pub(crate) fn send_settled(
        &mut self,
        now: Now,
        index: u32,
        (chat, client_msg_id): (ChatId, &Bytes),
        outcome: Result<Settled, ErrorCode>,
        egress: &mut dyn Egress,
    ) {
        if self.conns[index].phase != Phase::Ready {
            return;
        }
        let (seed, limit) = (self.config.hash_seed, self.config.limits.cursors_per_session as usize);
        if let Some(queued) = self.settling.get_mut(&index)
            && let Some(partition) = queued.remove(chat, client_msg_id)
        {
            if queued.is_empty() {
                self.settling.remove(&index);
            }
            self.no_longer_owes(partition);
        }
        match outcome {
            Ok(Settled { message, seq, timestamp_ms }) => {
                let evicted = self.conns[index].active().cursors(seed).own(chat, seq, tick_of(now), limit);
                self.metrics.cursors_evicted.add(evicted as u64);
                self.metrics.settled.inc();
                self.emit(now, index, &ServerEvent::Sent { client_msg_id, chat, message, seq, timestamp_ms });
            }
            Err(code) => self.error(now, index, code, client_msg_id, 0),
        }
        if self.conns[index].active().changes.is_some() {
            self.account_changed(now, index, client_msg_id, outcome.is_ok(), egress);
        }
    }

    /// A session is over: nothing is owed to it.
    pub(crate) fn forget_queued(&mut self, index: u32) {
        let Some(queued) = self.settling.remove(&index) else { return };
        queued.partitions().for_each(|partition| self.no_longer_owes(partition));
    }

    fn no_longer_owes(&mut self, partition: u16) {
        let owed = &mut self.queued[usize::from(partition)];
        *owed = owed.saturating_sub(1);
    }
}
