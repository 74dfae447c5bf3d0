//! A share of the users loses its connection, at once or within some seconds, and comes back as clients do.

use core::ops::Range;

use serde::Deserialize;

use super::{Act, Behaviour, Chosen, Setting, read};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// When it begins, seconds after the begin of the ramp.
    at_s: f64,
    /// Which part of the users, 0 to 1.
    #[serde(default = "all")]
    share: f64,
    /// Each at a moment of its own within so long, seconds; 0 = all at once.
    #[serde(default)]
    over_s: f64,
}

fn all() -> f64 {
    1.0
}

#[derive(Debug)]
struct ReconnectStorm(Chosen);

pub(super) fn make(keys: toml::Table, setting: &Setting<'_>) -> Result<Box<dyn Behaviour>, String> {
    let Keys { at_s, share, over_s } = read(keys)?;
    let chosen = Chosen::new(setting, share, at_s, over_s)?;
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
        format!("{:.0} % of the users are cut over {} s", self.0.percent(), self.0.over as f64 / 1e9)
    }
}
