//! What an operator changes while a shard serves: settings that were reloaded, sessions that were revoked.

use std::sync::Arc;

use fabric::tier::Egress;
use fabric::time::Now;
use schema::errors::ErrorCode;
use schema::ids::{DeviceId, UserId};

use crate::conn::Phase;
use crate::shard::Shard;
use crate::websocket::Hosts;

/// Settings a running shard takes. Sessions that have begun keep what they were told in Welcome; what is enforced changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// As [`crate::ShardConfig::allowed_hosts`].
    pub allowed_hosts: Vec<String>,
    /// As [`crate::Limits::sends_per_second_per_user`]; enforced by [`crate::UserRates`], told in Welcome.
    pub sends_per_second_per_user: u32,
    /// As [`crate::Limits::burst_per_user`]; as above.
    pub burst_per_user: u32,
    /// As [`crate::Limits::drain_spread_ms`].
    pub drain_spread_ms: u32,
}

/// One change.
#[derive(Clone, Debug)]
pub enum Change {
    /// From now on these.
    Settings(Arc<Settings>),
    /// These sessions end. Their tokens are refused already.
    Revoked {
        /// Whose.
        user: UserId,
        /// Which device's; `None` = all of the user's.
        device: Option<DeviceId>,
    },
}

impl Shard {
    /// Makes a change.
    pub fn change(&mut self, now: Now, change: &Change, egress: &mut dyn Egress) {
        match change {
            Change::Settings(settings) => self.take_settings(settings),
            Change::Revoked { user, device } => self.revoke(now, *user, *device, egress),
        }
    }

    fn take_settings(&mut self, settings: &Settings) {
        self.config.allowed_hosts.clone_from(&settings.allowed_hosts);
        self.hosts = Hosts::new(&self.config.listeners, &self.config.allowed_hosts);
        let limits = &mut self.config.limits;
        limits.sends_per_second_per_user = settings.sends_per_second_per_user;
        limits.burst_per_user = settings.burst_per_user;
        limits.drain_spread_ms = settings.drain_spread_ms;
    }

    fn revoke(&mut self, now: Now, user: UserId, device: Option<DeviceId>, egress: &mut dyn Egress) {
        for index in 0..self.conns.places() {
            let place = &self.conns[index];
            let live = matches!(place.phase, Phase::Registering | Phase::Ready);
            if live && place.user == user.get() && device.is_none_or(|device| place.device == device.0) {
                self.metrics.sessions_revoked.inc();
                self.close(now, index, ErrorCode::TokenRevoked, egress);
            }
        }
    }
}
