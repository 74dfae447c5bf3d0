//! What a scenario may say: every bound, and which keys go together. Each refusal names its key.

use super::groups::check_groups;
use super::shapes::check_steps;
use super::{Load, MESSAGES_MAX, Mode, Pairs, Protocol, SIZE_BYTES_MAX, SIZE_BYTES_MIN, Size, Step, USERS_MAX};
use crate::behave::restart::{check_tolerated, tolerates};

pub(crate) fn within<T: PartialOrd + std::fmt::Display>(key: &str, value: T, low: T, high: T) -> Result<(), String> {
    if value >= low && value <= high { Ok(()) } else { Err(format!("{key} = {value}: expected {low} to {high}")) }
}

impl Load {
    /// Gives the keys that follow from others their values. `text`: the file's own tables, for what was said at all.
    pub(super) fn fill_in(&mut self, text: &toml::Table) -> Result<(), String> {
        let said = |key: &str| text.get("load").and_then(|load| load.get(key)).is_some();
        if let Some(size) = &self.size {
            size.check()?;
            if said("size_bytes") && self.size_bytes != size.largest() {
                return Err("load.size_bytes and load.size say the same thing in two ways: leave one out".to_owned());
            }
            self.size_bytes = size.largest();
        }
        if let Some(day) = &self.day {
            let steps = day.steps(self.users)?;
            if said("rate") || said("steps") && self.steps != steps {
                return Err("load.day says how many messages there are: leave load.rate and load.steps out".to_owned());
            }
            self.steps = steps;
        }
        if !self.steps.is_empty() {
            check_steps(&self.steps)?;
            let sum: f64 = self.steps.iter().map(Step::whole_s).sum();
            if said("steady_s") && (self.steady_s - sum).abs() > 1e-6 {
                return Err(format!(
                    "load.steady_s = {}: the steps of load.steps are {sum} s together; leave it out",
                    self.steady_s
                ));
            }
            self.steady_s = sum;
        } else if !said("steady_s") {
            return Err("load.steady_s is missing: seconds of the measured phase".to_owned());
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), String> {
        within("load.users", self.users, 1, USERS_MAX)?;
        within("load.size_bytes", self.size_bytes, SIZE_BYTES_MIN, SIZE_BYTES_MAX)?;
        within("load.workers", self.workers, 0, 256)?;
        within("load.first_user", self.first_user, 1, u64::MAX - u64::from(USERS_MAX))?;
        for (key, value, low, high) in [
            ("load.connects_per_second", self.connects_per_second, 0.0, 1e6),
            ("load.connect_timeout_s", self.connect_timeout_s, 0.1, 86_400.0),
            ("load.ramp_s", self.ramp_s, 0.0, 86_400.0),
            ("load.steady_s", self.steady_s, 0.1, 864_000.0),
            ("load.cool_down_s", self.cool_down_s, 0.0, 86_400.0),
            ("load.drain_s", self.drain_s, 0.0, 86_400.0),
            ("load.drops_per_second", self.drops_per_second, 0.0, 1e5),
        ] {
            within(key, value, low, high)?;
        }
        if let Some(messages) = self.messages {
            within("load.messages", messages, 1, MESSAGES_MAX)?;
        }
        if self.sends() {
            within("load.users", self.users, 2, USERS_MAX)?;
            within("load.peers", self.peers, 1, self.users - 1)?;
            if self.pairs == Pairs::Mutual && (!self.users.is_multiple_of(2) || self.peers != 1) {
                return Err(format!(
                    "load.pairs = \"mutual\" needs an even load.users and load.peers = 1 (here {} and {}); or use \"ring\" or \"shuffled\"",
                    self.users, self.peers
                ));
            }
        }
        check_groups(self)?;
        check_tolerated("load.tolerate", &self.tolerate)?;
        self.check_mode()
    }

    fn check_mode(&self) -> Result<(), String> {
        let only = |key: &str, there: bool, mode: Mode| {
            if there && self.mode != mode {
                Err(format!("load.{key} is for load.mode = \"{}\" only", format!("{mode:?}").to_lowercase()))
            } else {
                Ok(())
            }
        };
        if self.encoding.is_some() && self.protocol != Protocol::WebSocket {
            return Err("load.encoding is for load.protocol = \"websocket\" only".to_owned());
        }
        only("rate", self.rate.is_some(), Mode::Open)?;
        only("steps", !self.steps.is_empty(), Mode::Open)?;
        only("day", self.day.is_some(), Mode::Open)?;
        only("groups", !self.groups.is_empty(), Mode::Open)?;
        only("in_flight", self.in_flight.is_some(), Mode::Closed)?;
        only("think", self.think.is_some(), Mode::Closed)?;
        if let Some(think) = &self.think {
            think.check("load.think")?;
        }
        if let Some(read) = &self.read {
            read.check("load.read")?;
            if !self.acks {
                return Err("load.read is for receivers who mark: not with load.acks = false".to_owned());
            }
        }
        if self.audits_receipts() && f64::from(self.mark_interval_ms) > self.drain_s * 1e3 {
            return Err(format!(
                "load.mark_interval_ms = {} holds marks back for longer than load.drain_s = {} waits for their receipts; or say load.receipts = false",
                self.mark_interval_ms, self.drain_s
            ));
        }
        if self.messages.is_some() && !self.sends() {
            return Err("load.messages is for load.mode = \"open\" or \"closed\" only".to_owned());
        }
        if self.keep_tokens && self.mode != Mode::Connect {
            return Err(
                "load.keep_tokens is for load.mode = \"connect\" only: elsewhere users always keep theirs".to_owned()
            );
        }
        match self.mode {
            Mode::Open => {
                if !self.steps.is_empty() {
                    return match self.rate {
                        None => Ok(()),
                        Some(_) => Err("load.rate and load.steps exclude each other: leave one out".to_owned()),
                    };
                }
                let rate = self.rate.ok_or(
                    "load.rate is missing: messages a second for load.mode = \"open\" (or [[load.steps]], one rate after the other)",
                )?;
                within("load.rate", rate, 0.001, 10e6)
            }
            Mode::Closed => {
                let window = self
                    .in_flight
                    .ok_or("load.in_flight is missing: unanswered sends a user for load.mode = \"closed\"")?;
                within("load.in_flight", window, 1, 1 << 20)
            }
            Mode::Idle | Mode::Connect => Ok(()),
        }
    }

    /// Whether users send messages at all.
    pub fn sends(&self) -> bool {
        matches!(self.mode, Mode::Open | Mode::Closed)
    }

    /// Whether an error is expected all the time.
    pub fn tolerates(&self, error: &str) -> bool {
        tolerates(&self.tolerate, error)
    }

    /// Whether receipts are expected and audited.
    pub fn audits_receipts(&self) -> bool {
        self.sends() && self.acks && self.receipts
    }

    /// The highest rate of an open load, messages a second of all users together.
    pub fn peak_rate(&self) -> f64 {
        self.steps.iter().map(|step| step.rate).fold(self.rate.unwrap_or(0.0), f64::max)
    }

    /// Part of all messages that is written in pairs, 0 to 1.
    pub fn direct_share(&self) -> f64 {
        (1.0 - self.groups.iter().map(|groups| groups.share).sum::<f64>()).max(0.0)
    }

    /// Sends in a second of a user who writes in all ways there are, for an open load at its highest rate.
    pub fn rate_per_user(&self) -> f64 {
        let direct = self.direct_share() / f64::from(self.users);
        // Where groups overlap somebody may write in two of a kind.
        let groups = self.groups.iter().map(|groups| groups.share / f64::from(groups.all_writers().min(self.users)));
        self.peak_rate() * (direct + groups.sum::<f64>())
    }

    /// The payload sizes.
    pub fn sizes(&self) -> Size {
        self.size.clone().unwrap_or(Size::Fixed { bytes: self.size_bytes })
    }
}
