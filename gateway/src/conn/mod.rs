//! Connections: their table, what was read and is not yet a frame, what waits to be written, when to look at them again.
//!
//! What must stay true: an idle connection owns no buffer, and nothing here knows what a frame means.

pub(crate) mod input;
pub(crate) mod io;
pub(crate) mod native;
pub(crate) mod output;
pub(crate) mod table;
pub(crate) mod wheel;

use fabric::net::websocket::Decoder;

use crate::session::Active;
use crate::wire::Dialect;

use output::Output;

/// Where a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// No connection has this place.
    Free,
    /// Waits for a WebSocket upgrade.
    Upgrade,
    /// Waits for hello or auth.
    Hello,
    /// Its token waits to be looked at.
    Queued,
    /// Authenticated; the router has not answered yet.
    Registering,
    /// A session.
    Ready,
    /// Told to go; only its output is left.
    Closing,
}

/// A `Flush` for it is among the actions.
pub(crate) const FLAG_FLUSH: u8 = 1;
/// Its output passed the limit and is not yet under half of it: nothing is pushed.
pub(crate) const FLAG_SLOW: u8 = 2;
/// It waits in the gap queue.
pub(crate) const FLAG_GAP: u8 = 4;

/// The user tells nobody what they have read, and is told of nobody.
pub(crate) const FLAG_PRIVATE: u8 = 8;
/// What the session must know of its user's account is not known yet: nothing is taken from it, nothing given to it.
pub(crate) const FLAG_UNKNOWN: u8 = 16;
/// Its router is another one now, which has not answered yet.
pub(crate) const FLAG_MOVED: u8 = 32;
/// It has taken a higher epoch, because another gateway's clock was ahead.
pub(crate) const FLAG_RETAKEN: u8 = 64;

/// Reads are paused: a send waits for a credit.
pub(crate) const PAUSE_CREDIT: u8 = 1;
/// Reads are paused: it does not read its answers.
pub(crate) const PAUSE_READER: u8 = 2;
/// Reads are paused: more came before the router, or the owner of the user's account, answered.
pub(crate) const PAUSE_REGISTER: u8 = 4;
/// Reads are paused for good: the shard stops and the session waits for its last answers.
pub(crate) const PAUSE_DRAIN: u8 = 8;
/// Reads are paused: the owners' node is being started anew.
pub(crate) const PAUSE_OWNERS: u8 = 16;

/// One connection. Everything that an idle one does not need is boxed and freed.
pub(crate) struct Conn {
    pub(crate) generation: u32,
    pub(crate) phase: Phase,
    pub(crate) dialect: Dialect,
    pub(crate) flags: u8,
    pub(crate) paused: u8,
    /// Tick of the last frame.
    pub(crate) seen: u32,
    /// Tick at which output last moved, or began to wait.
    pub(crate) moved: u32,
    /// Tick of its entry in the wheel.
    pub(crate) wake_at: u32,
    /// Tick of the accept, then of the authentication.
    pub(crate) since: u32,
    /// The device, once authenticated.
    pub(crate) device: u32,
    /// When its token ends, wall time in s since 1970; `u32::MAX` = never, or after 2106.
    pub(crate) ends_s: u32,
    /// When its token was issued, wall time in s since 1970; 0 = it does not say.
    pub(crate) issued_s: u32,
    /// When its device was last synced, wall time in s since 1970; 0 = never, or it does not say.
    pub(crate) synced_s: u32,
    /// The user, once authenticated; 0 before.
    pub(crate) user: u64,
    /// The session's epoch, once authenticated.
    pub(crate) epoch: u64,
    /// What came and is not yet handled.
    pub(crate) input: Vec<u8>,
    pub(crate) output: Option<Box<Output>>,
    pub(crate) active: Option<Box<Active>>,
    /// After an upgrade.
    pub(crate) websocket: Option<Decoder>,
}

impl Conn {
    pub(crate) const fn new(dialect: Dialect, phase: Phase, tick: u32) -> Self {
        Self {
            generation: 0,
            phase,
            dialect,
            flags: 0,
            paused: 0,
            seen: tick,
            moved: tick,
            wake_at: 0,
            since: tick,
            device: 0,
            ends_s: u32::MAX,
            issued_s: 0,
            synced_s: 0,
            user: 0,
            epoch: 0,
            input: Vec::new(),
            output: None,
            active: None,
            websocket: None,
        }
    }

    /// A place without a connection.
    pub(crate) const fn free(generation: u32) -> Self {
        let mut conn = Self::new(Dialect::Native, Phase::Free, 0);
        conn.generation = generation;
        conn
    }

    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Bytes queued or in flight.
    pub(crate) fn pending(&self) -> usize {
        self.output.as_ref().map_or(0, |output| output.pending())
    }

    /// Input may be worked on.
    pub(crate) const fn reads(&self) -> bool {
        self.paused == 0
            && !self.has(FLAG_UNKNOWN)
            && matches!(self.phase, Phase::Upgrade | Phase::Hello | Phase::Ready)
    }

    pub(crate) fn active(&mut self) -> &mut Active {
        self.active.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        let bytes = size_of::<Conn>();
        assert!(bytes <= 112, "{bytes} bytes");
    }
}
