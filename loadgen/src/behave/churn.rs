//! Connections are cut all the time, at a rate; each user comes back as a client does.
//!
//! Every user is cut once in each period of users / rate seconds, at a seeded moment of it: the rate is exact over a period,
//! and any worker can tell when another's user is cut.

use core::ops::Range;

use serde::Deserialize;

use super::{Act, Behaviour, Setting, read};
use crate::draw::{Draw, Use};
use crate::plan::ns;
use crate::scenario::within;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// Connections cut a second, all users together.
    drops_per_second: f64,
    /// From when, seconds after the begin of the ramp.
    #[serde(default)]
    at_s: f64,
    /// For how long, seconds; to the end of the load when absent.
    for_s: Option<f64>,
}

#[derive(Debug)]
struct Churn {
    seed: u64,
    index: u64,
    rate: f64,
    period: u64,
    begin: u64,
    end: u64,
}

pub(super) fn make(keys: toml::Table, setting: &Setting<'_>) -> Result<Box<dyn Behaviour>, String> {
    let Keys { drops_per_second: rate, at_s, for_s } = read(keys)?;
    within("drops_per_second", rate, 0.001, 1e5)?;
    within("at_s", at_s, 0.0, setting.load_s)?;
    let for_s = for_s.unwrap_or(setting.load_s - at_s);
    within("for_s", for_s, 0.0, 864_000.0)?;
    setting.ends_in_time("it", at_s + for_s)?;
    let period = ns(f64::from(setting.load.users) / rate).max(1);
    let (begin, end) = (ns(at_s), ns(at_s + for_s));
    Ok(Box::new(Churn { seed: setting.load.seed, index: (setting.index as u64) << 32, rate, period, begin, end }))
}

impl Churn {
    /// The user's moment in the `nth` period.
    fn moment(&self, place: u32, nth: u64) -> u64 {
        let unit = Draw::of(self.seed, Use::When, self.index | u64::from(place), nth).unit();
        self.begin + nth * self.period + (self.period as f64 * unit) as u64
    }
}

impl Behaviour for Churn {
    fn next(&self, place: u32, from: u64) -> Option<(u64, Act)> {
        let nth = from.saturating_sub(self.begin) / self.period;
        let at = [nth, nth + 1].into_iter().map(|nth| self.moment(place, nth)).find(|at| *at >= from)?;
        (at < self.end).then_some((at, Act::Cut))
    }

    fn window(&self) -> Range<u64> {
        self.begin..self.end
    }

    fn describe(&self) -> String {
        format!("{} connections a second are cut", self.rate)
    }
}
