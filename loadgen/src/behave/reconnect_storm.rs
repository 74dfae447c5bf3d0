//! A share of the users loses its connection, at once or within some seconds, and comes back as clients do.

use core::ops::Range;

use serde::Deserialize;

use super::{Act, Behaviour, Chosen, Setting, read};
use crate::scenario::within;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// When it begins, seconds after the begin of the ramp.
    at_s: f64,
    /// Which part of the users, 0 to 1; all when neither this nor `users` is said.
    share: Option<f64>,
    /// Instead: the first so many users. All others stay, and write to each other where they are pairs.
    users: Option<u32>,
    /// Each at a moment of its own within so long, seconds; 0 = all at once.
    #[serde(default)]
    over_s: f64,
}

#[derive(Debug)]
struct ReconnectStorm(Chosen);

pub(super) fn make(keys: toml::Table, setting: &Setting<'_>) -> Result<Box<dyn Behaviour>, String> {
    let Keys { at_s, share, users, over_s } = read(keys)?;
    if share.is_some() && users.is_some() {
        return Err("share and users say the same thing in two ways: leave one out".to_owned());
    }
    if let Some(users) = users {
        within("users", users, 1, setting.load.users)?;
    }
    let chosen = Chosen { first: users, ..Chosen::new(setting, share.unwrap_or(1.0), at_s, over_s)? };
    setting.ends_in_time("it", at_s + over_s)?;
    Ok(Box::new(ReconnectStorm(chosen)))
}

impl Behaviour for ReconnectStorm {
    fn next(&self, place: u32, from: u64) -> Option<(u64, Act)> {
        self.0.moment(place, from).map(|at| (at, Act::Cut))
    }

    fn window(&self) -> Range<u64> {
        self.0.at..self.0.at + self.0.over + 1
    }

    fn describe(&self) -> String {
        let over_s = self.0.over as f64 / 1e9;
        match self.0.first {
            Some(users) => format!("the first {users} users are cut over {over_s} s"),
            None => format!("{:.0} % of the users are cut over {over_s} s", self.0.percent()),
        }
    }
}
