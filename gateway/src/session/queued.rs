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

/// A session's. What bounds them is the spool that has them.
pub(crate) struct Queued(Map<(ChatId, Bytes), ()>);

impl Queued {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self(map(hash_seed))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is new.
    fn add(&mut self, chat: ChatId, client_msg_id: Bytes) -> bool {
        self.0.insert((chat, client_msg_id), ()).is_none()
    }

    /// Whether it was there.
    fn remove(&mut self, chat: ChatId, client_msg_id: &Bytes) -> bool {
        self.0.remove(&(chat, client_msg_id.clone())).is_some()
    }

    /// Chats, once for each send.
    pub(crate) fn chats(&self) -> impl Iterator<Item = ChatId> {
        self.0.keys().map(|(chat, _)| *chat)
    }
}

impl Shard {
    /// A writer has a send in its spool: that is the first answer to it.
    pub(crate) fn send_queued(&mut self, now: Now, index: u32, chat: ChatId, client_msg_id: &Bytes) {
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
        if queued.add(chat, Bytes::copy_from_slice(client_msg_id)) {
            self.queued[usize::from(chat.slot().partition(self.config.partitions))] += 1;
        }
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
            && queued.remove(chat, client_msg_id)
        {
            if queued.is_empty() {
                self.settling.remove(&index);
            }
            let owed = &mut self.queued[usize::from(chat.slot().partition(self.config.partitions))];
            *owed = owed.saturating_sub(1);
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
        for chat in queued.chats() {
            let owed = &mut self.queued[usize::from(chat.slot().partition(self.config.partitions))];
            *owed = owed.saturating_sub(1);
        }
    }
}
