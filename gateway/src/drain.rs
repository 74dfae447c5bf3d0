//! The end of a gateway shard: nobody new, every session told when or where to come back, owed answers first.
//!
//! Where nobody else serves, all are told at once, each to come back after a wait of its own. Where other gateways serve, a
//! session is served until its turn comes, and is told to go there then: at a bounded rate, each at a random moment. A session
//! without sends under way goes at once. One that has some is read no further and told to go when its owners have answered, or
//! after [`Limits::drain_patience_ms`](crate::Limits): whatever is unanswered then its client sends again. What must stay
//! true: every connection is told, and neither turns nor waits bunch.

use fabric::core::ConnId;
use fabric::tier::Egress;
use fabric::time::Now;
use schema::errors::ErrorCode;

use crate::conn::{PAUSE_DRAIN, Phase};
use crate::shard::Shard;

/// Who is sent to another gateway comes there after so long, ms: its client adds a random part.
const ELSEWHERE_MS: u32 = 100;

/// Where clients of a shard that stops are served next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Here, once the server is there again.
    Here,
    /// At other gateways, at once.
    Elsewhere,
}

/// A shard that has been told to stop.
#[derive(Debug)]
pub(crate) struct Drain {
    next: Next,
    /// Sessions whose turn has not come: when that is, ns; the next one last.
    turns: Vec<(u64, ConnId)>,
    /// Sessions with sends under way, whose turn has come, and until when they may wait, ns; in order.
    waiting: Vec<(u64, ConnId)>,
}

impl Shard {
    /// Tells every session to go, at once or one after the other; no new connections.
    pub fn stop(&mut self, now: Now, next: Next, egress: &mut dyn Egress) {
        if self.drain.is_some() {
            return;
        }
        let (mut turns, mut leave) = (Vec::new(), Vec::new());
        let over_ms = self.moves_last_ms();
        for index in 0..self.conns.places() {
            match self.conns[index].phase {
                Phase::Free | Phase::Closing => {}
                Phase::Registering | Phase::Ready if next == Next::Elsewhere => {
                    let after_ms = u64::from(self.spread_ms(index, over_ms));
                    turns.push((now.mono_ns + after_ms * 1_000_000, self.conns.id(index)));
                }
                _ => leave.push(index),
            }
        }
        turns.sort_unstable_by_key(|&(at_ns, id)| (core::cmp::Reverse(at_ns), id.index));
        self.drain = Some(Drain { next, turns, waiting: Vec::new() });
        leave.into_iter().for_each(|index| self.depart(now, index, egress));
    }

    /// How long it takes until the last session has had its turn, ms: as long as the spread, or longer so that no more than the
    /// rate go in a second.
    fn moves_last_ms(&self) -> u32 {
        let limits = &self.config.limits;
        let by_rate = match limits.drain_per_second {
            0 => 0,
            rate => (self.conns.len() as u64 * 1_000).div_ceil(u64::from(rate)),
        };
        limits.drain_spread_ms.max(u32::try_from(by_rate).unwrap_or(u32::MAX))
    }

    /// A session's turn has come: it goes now, or once it has its answers.
    fn depart(&mut self, now: Now, index: u32, egress: &mut dyn Egress) {
        let patience_ns = u64::from(self.config.limits.drain_patience_ms) * 1_000_000;
        match &mut self.drain {
            Some(drain) if patience_ns > 0 && is_owed(&self.conns[index]) => {
                drain.waiting.push((now.mono_ns + patience_ns, self.conns.id(index)));
                self.pause(index, PAUSE_DRAIN);
                self.metrics.drain_waits.inc();
            }
            _ => self.send_away(now, index, egress),
        }
    }

    /// Sends away whose turn has come, who has been answered meanwhile, and who has waited for long enough.
    pub(crate) fn drain_due(&mut self, now: Now, egress: &mut dyn Egress) {
        while let Some(drain) = &mut self.drain
            && let Some((_, id)) = drain.turns.pop_if(|(at_ns, _)| *at_ns <= now.mono_ns)
        {
            if let Some(index) = self.leaving(id) {
                self.depart(now, index, egress);
            }
        }
        self.drain_answered(now, egress);
    }

    /// Where a connection is that has not been told to go.
    fn leaving(&self, id: ConnId) -> Option<u32> {
        let index = self.conns.find(id.index, id.generation)?;
        (self.conns[index].phase != Phase::Closing).then_some(index)
    }

    fn drain_answered(&mut self, now: Now, egress: &mut dyn Egress) {
        let Some(drain) = &mut self.drain else { return };
        if drain.waiting.is_empty() {
            return;
        }
        let mut still = Vec::new();
        for (until_ns, id) in core::mem::take(&mut drain.waiting) {
            let Some(index) = self.leaving(id) else { continue };
            let (owed, late) = (is_owed(&self.conns[index]), now.mono_ns >= until_ns);
            if owed && !late {
                still.push((until_ns, id));
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

    /// When [`Self::drain_due`] has something to do whatever comes, ns.
    pub(crate) fn drain_deadline_ns(&self) -> Option<u64> {
        let drain = self.drain.as_ref()?;
        let (turn, wait) = (drain.turns.last(), drain.waiting.first());
        turn.into_iter().chain(wait).map(|&(at_ns, _)| at_ns).min()
    }

    /// After [`Self::stop`]: no connection is left.
    pub const fn stopped(&self) -> bool {
        self.drain.is_some() && self.conns.len() == 0
    }

    pub(crate) fn send_away(&mut self, now: Now, index: u32, egress: &mut dyn Egress) {
        let wait_ms = match self.drain.as_ref().map(|drain| drain.next) {
            Some(Next::Elsewhere) => ELSEWHERE_MS,
            _ => {
                let later_ms = self.spread_ms(index, self.config.limits.drain_spread_ms);
                ErrorCode::GoingAway.info().retry_after_ms + later_ms
            }
        };
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

fn is_owed(conn: &crate::conn::Conn) -> bool {
    conn.active.as_ref().is_some_and(|active| active.in_flight > 0 || active.kept.is_some())
}
