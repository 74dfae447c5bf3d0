//! The end of a gateway shard: nobody new, every session told when to come back, owed answers first.
//!
//! A session without sends under way is told to go at once. One that has some is read no further and told to go when its
//! owners have answered, or after [`DRAIN_ANSWERS_MS`]: whatever is unanswered then its client sends again. What must stay
//! true: every connection is told, and the waits they are told are spread.

use fabric::core::ConnId;
use fabric::tier::Egress;
use fabric::time::Now;
use schema::errors::ErrorCode;

use crate::conn::{PAUSE_DRAIN, Phase};
use crate::shard::Shard;

/// How long owners may take to answer sends before their sessions end without, ms.
pub const DRAIN_ANSWERS_MS: u64 = 2_000;

/// A shard that has been told to stop.
#[derive(Debug)]
pub(crate) struct Drain {
    /// Sessions with sends under way.
    waiting: Vec<ConnId>,
    until_ns: u64,
}

impl Shard {
    /// Tells every session to go; no new connections.
    pub fn stop(&mut self, now: Now, egress: &mut dyn Egress) {
        if self.drain.is_some() {
            return;
        }
        let mut waiting = Vec::new();
        for index in 0..self.conns.places() {
            match self.conns[index].phase {
                Phase::Free | Phase::Closing => {}
                _ if self.is_owed(index) => {
                    self.pause(index, PAUSE_DRAIN);
                    self.metrics.drain_waits.inc();
                    waiting.push(self.conns.id(index));
                }
                _ => self.send_away(now, index, egress),
            }
        }
        self.drain = Some(Drain { waiting, until_ns: now.mono_ns + DRAIN_ANSWERS_MS * 1_000_000 });
    }

    /// Sends away who has been answered meanwhile, and everybody once the time is up.
    pub(crate) fn drain_answered(&mut self, now: Now, egress: &mut dyn Egress) {
        let Some(drain) = &mut self.drain else { return };
        if drain.waiting.is_empty() {
            return;
        }
        let (waiting, late) = (core::mem::take(&mut drain.waiting), now.mono_ns >= drain.until_ns);
        let mut still = Vec::new();
        for id in waiting {
            let Some(index) = self.conns.find(id.index, id.generation) else { continue };
            if self.conns[index].phase == Phase::Closing {
                continue;
            }
            if self.is_owed(index) && !late {
                still.push(id);
                continue;
            }
            if late {
                self.metrics.drained_unanswered.inc();
            }
            self.send_away(now, index, egress);
        }
        if let Some(drain) = &mut self.drain {
            drain.waiting = still;
        }
    }

    /// When [`Self::drain_answered`] gives up waiting, ns.
    pub(crate) fn drain_deadline_ns(&self) -> Option<u64> {
        self.drain.as_ref().filter(|drain| !drain.waiting.is_empty()).map(|drain| drain.until_ns)
    }

    /// After [`Self::stop`]: no connection is left.
    pub const fn stopped(&self) -> bool {
        self.drain.is_some() && self.conns.len() == 0
    }

    fn is_owed(&self, index: u32) -> bool {
        self.conns[index].active.as_ref().is_some_and(|active| active.in_flight > 0 || active.kept.is_some())
    }

    pub(crate) fn send_away(&mut self, now: Now, index: u32, egress: &mut dyn Egress) {
        let later_ms = self.spread_ms(index, self.config.limits.drain_spread_ms);
        let wait_ms = ErrorCode::GoingAway.info().retry_after_ms + later_ms;
        self.metrics.sent_away.inc();
        self.close_until(now, index, ErrorCode::GoingAway, wait_ms, egress);
    }

    /// A wait of 0 to `most_ms` that is another one for another connection, ms.
    pub(crate) fn spread_ms(&self, index: u32, most_ms: u32) -> u32 {
        // Any mix will do that two shards, and two stops, do not share.
        let mut mix = self.config.hash_seed ^ self.config.incarnation ^ u64::from(index);
        mix = (mix ^ mix >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mix = (mix ^ mix >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mix ^ mix >> 32) % (u64::from(most_ms) + 1)) as u32
    }
}
