//! Users log in at a rising rate as part of the measured load, in a seeded order.

use core::ops::Range;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use serde::Deserialize;

use super::{Act, Behaviour, Setting, read};
use crate::plan::ns;
use crate::scenario::within;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Logins a second at its begin.
    from_per_second: f64,
    /// Logins a second when the last user logs in.
    to_per_second: f64,
    /// When it begins, seconds after the begin of the ramp.
    #[serde(default)]
    at_s: f64,
}

#[derive(Debug)]
struct LoginRamp {
    from: f64,
    to: f64,
    begin: u64,
    length_s: f64,
    /// By place: how many users log in before.
    rank: Vec<u32>,
}

pub(super) fn make(keys: toml::Table, setting: &Setting<'_>) -> Result<Box<dyn Behaviour>, String> {
    let Keys { from_per_second: from, to_per_second: to, at_s } = read(keys)?;
    within("from_per_second", from, 0.001, 1e6)?;
    within("to_per_second", to, 0.001, 1e6)?;
    within("at_s", at_s, 0.0, setting.load_s)?;
    let users = setting.load.users;
    let length_s = 2.0 * f64::from(users) / (from + to);
    setting.ends_in_time(&format!("the last of {users} logins"), at_s + length_s)?;
    let mut rank: Vec<u32> = (0..users).collect();
    rank.shuffle(&mut SmallRng::seed_from_u64(setting.load.seed ^ 0x6c6f_6769_6e00));
    Ok(Box::new(LoginRamp { from, to, begin: ns(at_s), length_s, rank }))
}

impl Behaviour for LoginRamp {
    fn next(&self, place: u32, from: u64) -> Option<(u64, Act)> {
        let before = f64::from(self.rank[place as usize]);
        let slope = (self.to - self.from) / self.length_s;
        let under_root = (self.from * self.from + 2.0 * slope * before).max(0.0);
        let at = self.begin + ns(2.0 * before / (self.from + under_root.sqrt()));
        (at >= from).then_some((at, Act::Login))
    }

    fn window(&self) -> Range<u64> {
        self.begin..self.begin + ns(self.length_s) + 1
    }

    fn describe(&self) -> String {
        format!("users log in over {:.1} s, {} to {} a second", self.length_s, self.from, self.to)
    }

    fn delays_logins(&self) -> bool {
        true
    }
}
