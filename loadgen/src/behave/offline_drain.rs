//! A share of the users is away for a while; sends to them go on; they come back and must get everything.

use core::ops::Range;

use serde::Deserialize;

use super::{Act, Behaviour, Chosen, Setting, read};
use crate::plan::ns;
use crate::scenario::within;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// When they leave, seconds after the begin of the ramp.
    at_s: f64,
    /// How long they stay away, seconds.
    for_s: f64,
    /// Which part of the users, 0 to 1.
    #[serde(default = "half")]
    share: f64,
    /// They come back within so long, each at a moment of its own, seconds; 0 = all at once.
    #[serde(default)]
    over_s: f64,
}

fn half() -> f64 {
    0.5
}

#[derive(Debug)]
struct OfflineDrain {
    chosen: Chosen,
    away: u64,
}

pub(super) fn make(keys: toml::Table, setting: &Setting<'_>) -> Result<Box<dyn Behaviour>, String> {
    let Keys { at_s, for_s, share, over_s } = read(keys)?;
    within("for_s", for_s, 0.1, 864_000.0)?;
    let chosen = Chosen::new(setting, share, at_s, over_s)?;
    setting.ends_in_time("it", at_s + for_s + over_s)?;
    Ok(Box::new(OfflineDrain { chosen, away: ns(for_s) }))
}

impl Behaviour for OfflineDrain {
    fn next(&self, place: u32, from: u64) -> Option<(u64, Act)> {
        if from > self.chosen.at || !self.chosen.has(place) {
            return None;
        }
        let back = self.chosen.at + self.away + self.chosen.offset(place);
        Some((self.chosen.at, Act::Leave(back)))
    }

    fn window(&self) -> Range<u64> {
        self.chosen.at..self.chosen.at + self.away + self.chosen.over + 1
    }

    fn describe(&self) -> String {
        format!(
            "{:.0} % of the users are away for {} s and come back over {} s",
            self.chosen.percent(),
            self.away as f64 / 1e9,
            self.chosen.over as f64 / 1e9
        )
    }
}
