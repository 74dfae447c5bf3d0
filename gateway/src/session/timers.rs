//! What happens because nothing happened: late authentication, idle and stuck sessions, answers that did not come.

use fabric::tier::Egress;
use fabric::time::Now;
use schema::errors::ErrorCode;

use super::account::ACCOUNT_TICKS;
use super::cursors::QUIET_TICKS;
use super::sync::Listing;
use crate::conn::wheel::{tick_of, ticks};
use crate::conn::{Conn, FLAG_UNKNOWN, Phase};
use crate::shard::Shard;

/// A session whose registration is not answered registers again, ticks.
pub(crate) const REGISTER_AGAIN_TICKS: u32 = 10;

impl Shard {
    /// The connection wants to be looked at by tick `at`.
    pub(crate) fn schedule(&mut self, index: u32, at: u32) {
        let id = self.conns.id(index);
        let place = &mut self.conns[index];
        if place.wake_at == 0 || at < place.wake_at {
            place.wake_at = self.wheel.put(id, at);
        }
    }

    /// Looks at every connection whose time has come.
    pub(crate) fn wake_due(&mut self, now: Now, egress: &mut dyn Egress) {
        while let Some((at, due)) = self.wheel.take_due(tick_of(now)) {
            for id in due {
                let Some(index) = self.conns.find(id.index, id.generation) else { continue };
                if self.conns[index].wake_at != at {
                    continue; // an earlier look put another entry
                }
                self.conns[index].wake_at = 0;
                self.wake(now, index, egress);
            }
        }
    }

    fn wake(&mut self, now: Now, index: u32, egress: &mut dyn Egress) {
        let tick = tick_of(now);
        let place = &self.conns[index];
        match place.phase {
            Phase::Upgrade | Phase::Hello | Phase::Queued | Phase::Registering => {
                let until = place.since + ticks(self.config.limits.auth_timeout_ms);
                if tick < until && place.phase == Phase::Registering {
                    // The router, or its answer, may have been lost on its way.
                    self.send_register(index, egress);
                    return self.schedule(index, until.min(tick + REGISTER_AGAIN_TICKS));
                }
                if tick < until {
                    return self.schedule(index, until);
                }
                let code = if matches!(place.phase, Phase::Queued | Phase::Registering) {
                    self.metrics.register_timeouts.inc();
                    ErrorCode::Overloaded
                } else {
                    self.metrics.auth_timeouts.inc();
                    ErrorCode::AuthTimeout
                };
                self.close(now, index, code, egress);
            }
            Phase::Ready => self.wake_session(now, index, egress),
            Phase::Free | Phase::Closing => {}
        }
    }

    fn wake_session(&mut self, now: Now, index: u32, egress: &mut dyn Egress) {
        let tick = tick_of(now);
        let idle = ticks(self.config.limits.idle_timeout_ms);
        let ends_at = self.conns[index].ends_at(now);
        if ends_at.is_some_and(|ends_at| ends_at <= tick) {
            self.metrics.sessions_expired.inc();
            return self.close(now, index, ErrorCode::TokenExpired, egress);
        }
        let place = &mut self.conns[index];
        let stuck_at = place.moved + idle;
        let waits = place.pending() > 0;
        if waits && tick >= stuck_at {
            self.metrics.stuck_readers.inc();
            let output = place.output.as_mut().map_or(0, |output| output.discard());
            self.output_bytes -= output;
            return self.close(now, index, ErrorCode::IdleTimeout, egress);
        }
        if place.has(FLAG_UNKNOWN) && tick >= place.since + ACCOUNT_TICKS {
            self.metrics.account_timeouts.inc();
            return self.close(now, index, ErrorCode::Overloaded, egress);
        }
        // While we do not read it, its silence is ours.
        let idle_at = if place.paused == 0 && !place.has(FLAG_UNKNOWN) { place.seen + idle } else { tick + idle };
        if tick >= idle_at {
            self.metrics.idle_timeouts.inc();
            return self.close(now, index, ErrorCode::IdleTimeout, egress);
        }
        let mut next = if waits { idle_at.min(stuck_at) } else { idle_at };
        next = ends_at.map_or(next, |ends_at| ends_at.min(next));
        if let Some(at) = tidy(place, tick) {
            next = next.min(at);
        }
        let expired = expire_asks(place, tick);
        for _ in 0..expired.history {
            self.error(now, index, ErrorCode::Overloaded, &[], 0);
        }
        self.metrics.sync_retries.inc_by(expired.sync);
        self.pump(now, index, egress);
        if let Some(at) = next_ask(&self.conns[index]) {
            next = next.min(at.max(tick + 1));
        }
        self.schedule(index, next);
    }
}

impl Conn {
    /// The tick at which its token ends, going by the wall clock as it is now; this one or an earlier when it has ended.
    pub(crate) fn ends_at(&self, now: Now) -> Option<u32> {
        if self.ends_s == u32::MAX {
            return None;
        }
        let left_ms = (u64::from(self.ends_s) * 1_000).saturating_sub(now.wall_ms());
        Some(tick_of(now).saturating_add(ticks(u32::try_from(left_ms).unwrap_or(u32::MAX))))
    }
}

/// Frees what a quiet session does not need; says when to look again.
fn tidy(place: &mut Conn, tick: u32) -> Option<u32> {
    let active = place.active.as_mut()?;
    if tick >= active.tidy_at {
        active.tidy_at = tick + QUIET_TICKS;
        if active.tidy(tick) {
            place.active = None;
            return None;
        }
    }
    place.active.as_ref().map(|active| active.tidy_at)
}

struct Expired {
    sync: u64,
    history: usize,
}

/// Takes back what was asked for and has not been answered in time.
fn expire_asks(place: &mut Conn, tick: u32) -> Expired {
    let mut expired = Expired { sync: 0, history: 0 };
    let Some(active) = &mut place.active else { return expired };
    let before = active.history.len();
    active.history.retain(|ask| ask.until > tick);
    expired.history = before - active.history.len();
    let Some(sync) = &mut active.sync else { return expired };
    if sync.page.take_if(|ask| ask.until <= tick).is_some() {
        expired.sync += 1;
    }
    if let Listing::Asked { before, until, .. } = sync.listing
        && until <= tick
    {
        sync.listing = Listing::Due(before);
        expired.sync += 1;
    }
    expired
}

fn next_ask(place: &Conn) -> Option<u32> {
    let active = place.active.as_ref()?;
    let history = active.history.iter().map(|ask| ask.until).min();
    let sync = active.sync.as_ref().and_then(|sync| sync.next_tick());
    [history, sync].into_iter().flatten().min()
}
