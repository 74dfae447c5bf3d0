//! The beginning of a session: a token, a place in the directory, a welcome.

use std::collections::VecDeque;

use fabric::core::ConnId;
use fabric::tier::Egress;
use fabric::time::Now;
use schema::encode::WelcomeFields;
use schema::errors::ErrorCode;
use schema::limits::PROTOCOL_VERSIONS;

use crate::auth::AuthError;
use crate::conn::wheel::{tick_of, ticks};
use crate::conn::{FLAG_UNKNOWN, Phase};
use crate::session::timers::REGISTER_AGAIN_TICKS;
use crate::shard::Shard;
use crate::wire::{ClientEvent, Remembered, ServerEvent};

/// Tokens looked at in a turn: about a millisecond and a half of signatures. A storm of connects holds up nobody else for longer.
const LOGINS_A_TURN: u32 = 32;
/// Bytes of tokens that wait; one more and its connection is told to come back.
const QUEUED_BYTES: usize = 64 << 20;

/// A token that waits for its turn.
struct Login {
    conn: ConnId,
    token: Box<[u8]>,
    remembered: Remembered,
}

/// Tokens that wait, first come, first served.
pub(crate) struct Logins {
    waiting: VecDeque<Login>,
    bytes: usize,
    /// Looked at in this turn, at most.
    left: u32,
}

impl Default for Logins {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, left: LOGINS_A_TURN }
    }
}

impl Logins {
    /// Whether the next turn has some to look at.
    pub(crate) fn is_due(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Shard {
    /// The first event of a connection.
    pub(crate) fn first_event(&mut self, now: Now, index: u32, event: &ClientEvent<'_>, egress: &mut dyn Egress) {
        match event {
            ClientEvent::Hello { version_min, version_max, token, remembered, .. } => {
                if version_min > PROTOCOL_VERSIONS.end() || version_max < PROTOCOL_VERSIONS.start() {
                    self.metrics.auth_failures.inc();
                    self.close(now, index, ErrorCode::UnsupportedVersion, egress);
                } else {
                    self.authenticate(now, index, token, *remembered, egress);
                }
            }
            ClientEvent::Auth { token, remembered } => self.authenticate(now, index, token, *remembered, egress),
            _ => {
                self.metrics.unauthenticated.inc();
                self.close(now, index, ErrorCode::Unauthenticated, egress);
            }
        }
    }

    /// Verifies a token, or lets it wait for a later turn.
    pub(crate) fn authenticate(
        &mut self,
        now: Now,
        index: u32,
        token: &[u8],
        remembered: Remembered,
        egress: &mut dyn Egress,
    ) {
        if let Err(wait_ms) = self.config.strangers.check(self.client(index), now) {
            self.metrics.strangers_refused.inc();
            return self.close_until(now, index, ErrorCode::RateLimited, wait_ms, egress);
        }
        if self.logins.left > 0 && self.logins.waiting.is_empty() {
            self.logins.left -= 1;
            return self.log_in(now, index, token, remembered, egress);
        }
        if self.logins.bytes + token.len() > QUEUED_BYTES {
            self.metrics.logins_refused.inc();
            return self.close(now, index, ErrorCode::Overloaded, egress);
        }
        self.metrics.logins_queued.inc();
        let conn = self.conns.id(index);
        self.conns[index].phase = Phase::Queued;
        self.logins.bytes += token.len();
        self.logins.waiting.push_back(Login { conn, token: token.into(), remembered });
    }

    /// Once a turn: tokens that wait, as many as a turn takes. Those who have a session wait for no more than these.
    pub(crate) fn log_in_waiting(&mut self, now: Now, egress: &mut dyn Egress) {
        self.logins.left = LOGINS_A_TURN;
        while self.logins.left > 0
            && let Some(Login { conn, token, remembered }) = self.logins.waiting.pop_front()
        {
            self.logins.bytes -= token.len();
            let found = self.conns.find(conn.index, conn.generation);
            if let Some(index) = found.filter(|&index| self.conns[index].phase == Phase::Queued) {
                self.logins.left -= 1;
                self.log_in(now, index, &token, remembered, egress);
            }
        }
    }

    /// Verifies a token and asks the router for a place in the directory.
    fn log_in(&mut self, now: Now, index: u32, token: &[u8], remembered: Remembered, egress: &mut dyn Egress) {
        let identity = match self.auth.verify(token, now.wall_ms()) {
            Ok(identity) => identity,
            Err(error) => {
                self.metrics.auth_failures.inc();
                self.config.strangers.refused(self.client(index), error, now);
                // A user id in a token is the issuer's doing: for the client the token is what is wrong.
                let code = if error == AuthError::InvalidUser { ErrorCode::BadToken } else { error.code() };
                self.close(now, index, code, egress);
                return;
            }
        };
        // What it sent behind its token may be about another's chats.
        if remembered.me.is_some_and(|me| me != (identity.user, identity.device)) {
            self.metrics.wrong_identities.inc();
            return self.close(now, index, ErrorCode::WrongIdentity, egress);
        }
        self.clients.remove(&index);
        let epoch = self.config.epochs.next(now);
        let place = &mut self.conns[index];
        place.phase = Phase::Registering;
        place.user = identity.user.get();
        place.device = identity.device.0;
        place.epoch = epoch;
        place.ends_s = identity.expires_ms.map_or(u32::MAX, |ms| u32::try_from(ms / 1_000).unwrap_or(u32::MAX));
        place.issued_s = identity.issued_s.map_or(0, |issued_s| u32::try_from(issued_s).unwrap_or(u32::MAX));
        place.since = tick_of(now);
        place.synced(remembered.synced_ms);
        if remembered.me.is_some() || remembered.synced_ms > 0 {
            let sync = place.active().sync(self.config.hash_seed);
            sync.since_ms = remembered.synced_ms;
            sync.expected = if remembered.me.is_some() { remembered.marks } else { 0 };
        }
        self.send_register(index, egress);
        self.schedule(index, tick_of(now) + REGISTER_AGAIN_TICKS.min(ticks(self.config.limits.auth_timeout_ms)));
    }

    /// The directory has the session: it begins, and only now what it missed is asked for. Or it has it again.
    pub(crate) fn registered(&mut self, now: Now, index: u32, (epoch, request): (u64, u64), egress: &mut dyn Egress) {
        if self.conns[index].epoch == epoch && self.rejoined(index, request) && self.conns[index].phase == Phase::Ready
        {
            return self.queue_gap(index);
        }
        let place = &mut self.conns[index];
        if place.phase != Phase::Registering || place.epoch != epoch {
            self.metrics.stale_addresses.inc();
            return;
        }
        place.phase = Phase::Ready;
        place.since = tick_of(now);
        place.seen = tick_of(now);
        place.flags |= FLAG_UNKNOWN;
        self.metrics.sessions_started.inc();
        self.metrics.sessions.inc();
        let idle_at = tick_of(now) + ticks(self.config.limits.idle_timeout_ms);
        self.schedule(index, self.conns[index].ends_at(now).map_or(idle_at, |ends_at| ends_at.min(idle_at)));
        // With the first page of it comes what the session must know of its user; until then it waits, and is not welcomed: who
        // sends and closes at once is read to the end.
        self.resync(now, index, true, egress);
    }

    /// The session's first frame.
    pub(super) fn welcome(&mut self, now: Now, index: u32) {
        let welcome = self.welcome_fields(now, index);
        self.emit(now, index, &ServerEvent::Welcome(welcome));
    }

    fn welcome_fields(&self, now: Now, index: u32) -> WelcomeFields {
        let limits = &self.config.limits;
        let (user, device) = self.user(index);
        WelcomeFields {
            version: *PROTOCOL_VERSIONS.end(),
            features: 0,
            session_id: self.conns[index].epoch,
            server_incarnation: self.config.server_incarnation,
            user,
            device,
            server_time_ms: now.wall_ms(),
            frame_limit_bytes: limits.frame_limit_bytes,
            window: limits.in_flight_per_session,
            sends_per_second: limits.sends_per_second_per_user,
            burst: limits.burst_per_user,
            ping_interval_ms: limits.ping_interval_ms,
            idle_timeout_ms: limits.idle_timeout_ms,
        }
    }

    /// A newer session of the device took over.
    pub(crate) fn superseded(&mut self, now: Now, index: u32, epoch: u64, egress: &mut dyn Egress) {
        if self.conns[index].phase == Phase::Closing || self.conns[index].epoch >= epoch {
            self.metrics.stale_addresses.inc();
            return;
        }
        if self.takes_higher_epoch(now, index, epoch, egress) {
            return;
        }
        self.metrics.sessions_replaced.inc();
        self.close(now, index, ErrorCode::SessionReplaced, egress);
    }
}
