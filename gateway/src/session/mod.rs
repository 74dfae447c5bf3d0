//! Sessions: what an authenticated connection may do, and what it has been given.
//!
//! hello → registered → synced; sends are admitted in order, marks passed on, what was missed is read again. What must
//! stay true: a session registers before it syncs, a send is either answered or its session is gone, and a session with
//! nothing going on keeps nothing here.

pub(crate) mod account;
pub(crate) mod admit;
pub(crate) mod asks;
pub(crate) mod blocked;
pub(crate) mod cursors;
pub(crate) mod events;
pub(crate) mod fields;
pub(crate) mod hello;
pub(crate) mod marks;
pub(crate) mod queued;
pub(crate) mod recent;
pub(crate) mod resync;
pub(crate) mod sync;
pub(crate) mod timers;

use std::sync::Arc;

use schema::frame::VerifiedFrame;
use schema::ids::{ChatId, UserId};

use crate::rates::UserRate;

use account::Changes;
use blocked::Blocked;
use cursors::Cursors;
use recent::Recent;
use sync::Sync;

/// Questions, history pages among them, that a session may have unanswered.
pub(crate) const HISTORY_IN_FLIGHT: usize = 4;

/// A send that waits for a credit.
pub(crate) struct KeptSend {
    pub(crate) frame: VerifiedFrame,
    pub(crate) chat: ChatId,
    pub(crate) to: Option<UserId>,
    pub(crate) retry: bool,
    pub(crate) partition: u16,
    pub(crate) deadline_ns: u64,
    pub(crate) accepted_ns: u64,
}

/// An answer on its way: a history page, or what an [`crate::wire::Ask`] asked.
#[derive(Clone, Copy)]
pub(crate) struct HistoryAsk {
    /// The gateway's number for it.
    pub(crate) request: u64,
    /// The client's.
    pub(crate) client_request: u64,
    /// Tick after which the client is told that none came.
    pub(crate) until: u32,
    /// The partition whose owner was asked.
    pub(crate) partition: u16,
}

/// A partition's bit among those that a session's sends went to: each has its own where partitions move, for there are at most
/// 128. Above that some share one.
pub(crate) const fn partition_bit(partition: u16) -> u128 {
    1 << (partition % 128)
}

/// What a session that does something needs. Freed when it has been quiet.
#[derive(Default)]
pub(crate) struct Active {
    /// Sends without an answer.
    pub(crate) in_flight: u32,
    /// Partitions they went to, and others that earlier ones did while some had no answer: a bit each, by [`partition_bit`].
    pub(crate) sent_to: u128,
    /// Nothing to tidy before this tick.
    pub(crate) tidy_at: u32,
    pub(crate) rate: Option<Arc<UserRate>>,
    /// The direct chat of the last send by user: its id is a SHA-256.
    pub(crate) last_to: Option<(UserId, ChatId)>,
    pub(crate) cursors: Option<Box<Cursors>>,
    pub(crate) recent: Option<Box<Recent>>,
    pub(crate) blocked: Option<Box<Blocked>>,
    pub(crate) kept: Option<Box<KeptSend>>,
    pub(crate) sync: Option<Box<Sync>>,
    pub(crate) history: Vec<HistoryAsk>,
    /// Changes of the user's account that are under way.
    pub(crate) changes: Option<Box<Changes>>,
}

impl Active {
    pub(crate) fn cursors(&mut self, hash_seed: u64) -> &mut Cursors {
        self.cursors.get_or_insert_with(|| Box::new(Cursors::new(hash_seed)))
    }

    pub(crate) fn blocked(&mut self, hash_seed: u64) -> &mut Blocked {
        self.blocked.get_or_insert_with(|| Box::new(Blocked::new(hash_seed)))
    }

    pub(crate) fn sync(&mut self, hash_seed: u64) -> &mut Sync {
        self.sync.get_or_insert_with(|| Box::new(Sync::new(hash_seed)))
    }

    /// What the device has of `chat`: see [`Cursors::base`].
    pub(crate) fn base(&mut self, chat: ChatId, acked: u64) -> u64 {
        self.cursors.as_mut().map_or(acked, |cursors| cursors.base(chat, acked))
    }

    /// Drops what is not needed; returns whether nothing is left.
    pub(crate) fn tidy(&mut self, tick: u32) -> bool {
        if let Some(cursors) = &mut self.cursors {
            cursors.tidy(tick);
        }
        self.cursors.take_if(|cursors| cursors.is_empty());
        self.blocked.take_if(|blocked| blocked.is_empty());
        if self.history.is_empty() {
            self.history = Vec::new();
        }
        self.is_quiet()
    }

    /// Nothing is under way and nothing is remembered that cannot be found again.
    pub(crate) fn is_quiet(&self) -> bool {
        self.in_flight == 0
            && self.cursors.is_none()
            && self.recent.is_none()
            && self.blocked.is_none()
            && self.kept.is_none()
            && self.sync.is_none()
            && self.history.is_empty()
            && self.changes.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_session_is_small_and_a_quiet_one_is_nothing() {
        let bytes = size_of::<Active>();
        assert!(bytes <= 128, "{bytes} bytes");
        assert!(Active::default().tidy(0));
    }
}
