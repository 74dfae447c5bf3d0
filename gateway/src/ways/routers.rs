//! Users whose router is another one now: their sessions register again, some a turn.
//!
//! A session registers with the epoch it has and is marked until the router has answered; only then, at the rate of all gaps,
//! it lists what it missed. An answer names the change that it is of by its request id, so that one of a router before is not
//! taken for it. Who is not answered is registered again. What must stay true: nobody is told of a registration that was not
//! asked for, and the newest connection of a device wins, whose clock ever is ahead.

use fabric::tier::Egress;
use fabric::time::Now;
use schema::envelope::{Body, Class, Envelope};
use schema::errors::ErrorCode;
use schema::ids::UserId;

use crate::conn::wheel::{TICK_MS, tick_of};
use crate::conn::{FLAG_MOVED, FLAG_RETAKEN, Phase};
use crate::shard::Shard;

/// Sessions that register again in a turn.
const REGISTER_A_TURN: u32 = 2_000;
/// Places looked at for them in a turn.
const LOOK_A_TURN: u32 = 65_536;
/// Whoever has not been answered after so long registers once more, ns.
const AGAIN_NS: u64 = 5_000_000_000;
/// A session that is told so late, in ticks, that its device has a newer one does not take its place: its client may have
/// given it up meanwhile.
const RETAKE_TICKS: u32 = (1_000 / TICK_MS) as u32;

/// Sessions that have to register again.
#[derive(Debug, Default)]
pub(crate) struct Rejoins {
    /// Changes of routers there have been; what a Register carries as request id.
    generation: u64,
    /// The next place to look at, and how many are left.
    at: u32,
    left: u32,
    /// Somebody was registered in this round: whether they were answered is looked at later,
    sent: bool,
    /// at this time, ns; 0 = nobody waits.
    again_ns: u64,
}

impl Rejoins {
    /// When [`Shard::rejoin`] has something to do, ns.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        if self.left > 0 { Some(1) } else { (self.again_ns > 0).then_some(self.again_ns) }
    }
}

impl Shard {
    /// The router of all users for whom `moved` holds is another one, or one that has forgotten them: their sessions register
    /// again, 2,000 a turn, and then list what they missed, at the rate of gaps. Also those whose first registration had not
    /// been answered: their time begins anew.
    pub fn routers_changed(&mut self, now: Now, moved: impl Fn(UserId) -> bool, egress: &mut dyn Egress) {
        self.rejoins.generation += 1;
        let mut any = false;
        for index in 0..self.conns.places() {
            let place = &mut self.conns[index];
            let live = matches!(place.phase, Phase::Registering | Phase::Ready);
            if live && UserId::new(place.user).is_some_and(&moved) {
                place.flags |= FLAG_MOVED;
                any = true;
            }
        }
        if any {
            self.metrics.router_changes.inc();
            self.rejoins.left = self.conns.places();
            self.rejoin(now, egress);
        }
    }

    /// Whether a session waits for its new router to answer. Looks at every connection.
    pub fn is_moving(&self) -> bool {
        let moves = |index: u32| {
            let place = &self.conns[index];
            place.has(FLAG_MOVED) && matches!(place.phase, Phase::Registering | Phase::Ready)
        };
        (0..self.conns.places()).any(moves)
    }

    /// Once a turn: registers some of the sessions that are marked.
    pub(crate) fn rejoin(&mut self, now: Now, egress: &mut dyn Egress) {
        if self.rejoins.left == 0 {
            if self.rejoins.again_ns == 0 || self.rejoins.again_ns > now.mono_ns {
                return;
            }
            self.rejoins.left = self.conns.places();
            self.rejoins.again_ns = 0;
        }
        let (mut looked, mut sent) = (0, 0);
        while self.rejoins.left > 0 && looked < LOOK_A_TURN && sent < REGISTER_A_TURN {
            let index = self.rejoins.at % self.conns.places().max(1);
            self.rejoins.at = index + 1;
            self.rejoins.left -= 1;
            looked += 1;
            let place = &mut self.conns[index];
            if !place.has(FLAG_MOVED) || !matches!(place.phase, Phase::Registering | Phase::Ready) {
                continue;
            }
            if place.phase == Phase::Registering {
                place.since = tick_of(now);
            }
            sent += 1;
            self.metrics.registered_again.inc();
            self.send_register(index, egress);
            self.send_unregister(index, true, egress);
        }
        self.rejoins.sent |= sent > 0;
        if self.rejoins.left == 0 && core::mem::take(&mut self.rejoins.sent) {
            self.rejoins.again_ns = now.mono_ns + AGAIN_NS;
        }
    }

    /// Asks the user's router for a place in the directory.
    pub(crate) fn send_register(&self, index: u32, egress: &mut dyn Egress) {
        let (user, device) = self.user(index);
        let body = Body::Register { user, device, epoch: self.conns[index].epoch };
        let mut envelope = Envelope::new(Class::Control, body).reply_to(self.address(index));
        envelope.header.request_id = self.rejoins.generation;
        egress.to_router(user, envelope);
    }

    /// Tells the user's router, or all `others`, that the session is not there, or not there any more.
    pub(crate) fn send_unregister(&self, index: u32, others: bool, egress: &mut dyn Egress) {
        let (user, device) = self.user(index);
        let body = Body::Unregister { user, device, epoch: self.conns[index].epoch };
        let envelope = Envelope::new(Class::Control, body).reply_to(self.address(index));
        if others {
            egress.to_other_routers(user, envelope);
        } else {
            egress.to_router(user, envelope);
        }
    }

    /// A router has the session, as of the change that `request` names. Returns whether that is the newest, and the session was
    /// marked.
    pub(crate) fn rejoined(&mut self, index: u32, request: u64) -> bool {
        let place = &mut self.conns[index];
        let counts = place.has(FLAG_MOVED) && request == self.rejoins.generation;
        if counts {
            place.flags &= !FLAG_MOVED;
        }
        counts
    }

    /// A session that is registering for the first time is told that its device has a newer one, of `epoch`. The clocks of
    /// gateways differ and this connection may be the newer: it takes a higher epoch, once. Returns whether it is dealt with.
    pub(crate) fn takes_higher_epoch(&mut self, now: Now, index: u32, epoch: u64, egress: &mut dyn Egress) -> bool {
        let place = &mut self.conns[index];
        if place.phase != Phase::Registering || place.has(FLAG_RETAKEN) {
            return false;
        }
        if tick_of(now) >= place.since + RETAKE_TICKS {
            self.metrics.register_timeouts.inc();
            self.close(now, index, ErrorCode::Overloaded, egress);
            return true;
        }
        place.flags |= FLAG_RETAKEN;
        place.epoch = self.config.epochs.above(now, epoch);
        self.metrics.epochs_raised.inc();
        self.send_register(index, egress);
        true
    }
}
