//! Devices that are revoked: they are let in no more with the token that they have, and again with a new one.

use client::core::AccountChange;
use schema::ids::ChatId;

use super::device::Device;
use super::talk::Wanted;
use super::world::World;

impl Device {
    /// Whether a revocation of this time, ms since 1970, is of its token.
    const fn is_from_before(&self, revoked_ms: u64) -> bool {
        revoked_ms > 0 && (self.issued_s == 0 || self.issued_s * 1_000 <= revoked_ms)
    }
}

impl World {
    /// Whether a device's revocation is known to anybody.
    pub fn is_revoked(&self, device: &Device) -> bool {
        let known = self.model.account(device.user).state().devices.get(&device.device);
        known.is_some_and(|&(_, _, revoked_ms)| device.is_from_before(revoked_ms))
    }

    /// A session began, or something of a chat came: to nobody who had been revoked when it connected.
    pub fn check_barred(&self, at: usize) {
        let device = &self.devices[at];
        assert!(!device.barred, "invariant account: {:?} of {} was revoked, and is let in", device.device, device.user);
    }

    /// A device's session was ended for good.
    pub fn revoked(&mut self, at: usize) {
        let device = &self.devices[at];
        let (user, number, chat) = (device.user, device.device, ChatId::account(device.user));
        let revokes =
            |wanted: &Wanted| matches!(wanted, Wanted::Account(AccountChange::Revoked { device }) if *device == number);
        let due = self.model.wanted.iter().any(|(id, (of, wanted))| {
            let place = self.model.seq_of(chat, id).and_then(|seq| self.model.place(chat, seq));
            *of == chat && revokes(wanted) && place.is_none_or(|place| device.is_from_before(place.ms))
        });
        assert!(due, "invariant account: {number:?} of {user} is said to be revoked, and nobody did");
        self.env.counts.add("devices_revoked", 1);
        self.env.counts.add("revoked_knocks", u64::from(device.barred));
        self.hang_up(at);
        self.devices[at].down(u64::MAX);
        self.devices[at].revoked = true;
        self.devices[at].app.asked.clear();
        if !self.calm && !self.devices[at].is_copy() {
            self.knock_again(at);
            self.devices[at].logs_in = self.env.rng.one_in(2);
        }
    }

    /// A device that was revoked tries it again.
    fn knock_again(&mut self, at: usize) {
        self.devices[at].start_ns = Some(self.env.later(10_000_000, 1_500_000_000));
    }

    /// In the calm all of them try it again, with the tokens that they have.
    pub fn knock_all(&mut self) {
        for at in 0..self.devices.len() {
            if self.devices[at].revoked && !self.devices[at].is_copy() {
                self.knock_again(at);
            }
        }
    }

    /// A device starts that was revoked: with a new token it is one like the others.
    pub fn log_in_again(&mut self, at: usize) {
        if !core::mem::take(&mut self.devices[at].logs_in) {
            return;
        }
        self.env.counts.add("revoked_logins", 1);
        self.devices[at].revoked = false;
        // A token of the second of its revocation is refused, so it is of the next one.
        self.devices[at].issued_s = self.env.now().wall_ms() / 1_000 + 1;
    }
}
