//! Users come and go over a compressed day: each loses its session so often, at busy hours more than at night, and stays away
//! for a while.
//!
//! A user's day is cut into as many equal parts of all that is written in it; in each of them it leaves once.

use core::ops::Range;

use serde::Deserialize;

use super::{Act, Behaviour, Setting, read};
use crate::draw::{Draw, Use};
use crate::plan::ns;
use crate::scenario::{Day, within};

/// Between two absences a user is there for so long at least, where there is room, ns.
const SHORTEST_NS: u64 = 100_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// How often each user leaves in the day.
    sessions_per_user: u32,
    /// How long it stays away on average (exponential), seconds of the run; 0 = it comes back at once.
    #[serde(default)]
    away_s: f64,
}

#[derive(Debug)]
struct OfDay {
    seed: u64,
    index: u64,
    sessions: u32,
    away_s: f64,
    day: Day,
    begin: u64,
    end: u64,
}

pub(super) fn make(keys: toml::Table, setting: &Setting<'_>) -> Result<Box<dyn Behaviour>, String> {
    let Keys { sessions_per_user: sessions, away_s } = read(keys)?;
    let load = setting.load;
    let day = load.day.clone().ok_or("there is no [load.day] whose hours it would follow")?;
    within("sessions_per_user", sessions, 1, 1_000)?;
    within("away_s", away_s, 0.0, day.length_s())?;
    let (begin, end) = (ns(load.ramp_s), ns(load.ramp_s + load.steady_s));
    let index = (setting.index as u64) << 32;
    Ok(Box::new(OfDay { seed: load.seed, index, sessions, away_s, day, begin, end }))
}

impl OfDay {
    /// When a user's `nth` session ends, and how long it is away then, ns.
    fn moment(&self, place: u32, nth: u32) -> (u64, u64) {
        let mut draw = Draw::of(self.seed, Use::When, self.index | u64::from(place), u64::from(nth));
        let share = (f64::from(nth) + draw.unit()) / f64::from(self.sessions);
        let at = self.begin + ns(self.day.when_s(share));
        (at, ns(self.away_s * draw.exponential()))
    }
}

impl Behaviour for OfDay {
    fn next(&self, place: u32, from: u64) -> Option<(u64, Act)> {
        let mut moments = (0..self.sessions).map(|nth| self.moment(place, nth)).skip_while(|(at, _)| *at < from);
        let (at, away) = moments.next().filter(|(at, _)| *at < self.end)?;
        // Nobody is away beyond the next time, nor beyond the day's end.
        let next = moments.next().map_or(self.end, |(next, _)| next.saturating_sub(SHORTEST_NS));
        let back = (at + away).min(next).max(at);
        Some((at, if away == 0 { Act::Cut } else { Act::Leave(back) }))
    }

    fn window(&self) -> Range<u64> {
        self.begin..self.end
    }

    fn describe(&self) -> String {
        format!("each user leaves {} times in the day, for {} s on average", self.sessions, self.away_s)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Behaviours;
    use super::*;
    use crate::scenario::Scenario;

    const SECOND: u64 = 1_000_000_000;

    fn made(behaviour: &str) -> Result<Behaviours, String> {
        let text = format!(
            "behaviour = [{behaviour}]\n[load]\nusers = 1000\nmode = \"open\"\nramp_s = 2.0\n[load.day]\ntime_compression = 480.0\nmessages_per_user = 5.0\n"
        );
        Behaviours::new(&Scenario::parse(&text)?)
    }

    #[test]
    fn everybody_leaves_as_often_as_asked_and_rarely_at_night() {
        let behaviours = made("{ kind = \"day\", sessions_per_user = 4, away_s = 3.0 }").unwrap();
        let day = behaviours.get(0);
        let (mut night, mut away) = (0, 0);
        for place in 0..1_000 {
            let (mut from, mut times, mut free) = (0, 0, 0);
            while let Some((at, act)) = day.next(place, from) {
                assert!((2 * SECOND..182 * SECOND).contains(&at) && at >= from);
                let Act::Leave(back) = act else { panic!("{act:?}") };
                assert!(back >= at && back <= 182 * SECOND);
                assert!(at >= free, "away already");
                free = back;
                away += back - at;
                night += u32::from((at - 2 * SECOND) / (SECOND * 180 / 24) < 6);
                (from, times) = (at + 1, times + 1);
            }
            assert_eq!(times, 4);
        }
        assert!(night < 400, "{night} of 4,000 between midnight and six");
        assert!((2.5..3.2).contains(&(away as f64 / 4_000.0 / 1e9)), "{away}");
    }

    #[test]
    fn it_needs_a_day() {
        let text = "behaviour = [{ kind = \"day\", sessions_per_user = 4 }]\n[load]\nusers = 10\nmode = \"open\"\nrate = 1.0\nsteady_s = 5.0\n";
        assert!(Scenario::parse(text).unwrap_err().contains("day: there is no [load.day]"));
        assert!(made("{ kind = \"day\", sessions_per_user = 0 }").unwrap_err().contains("expected 1 to 1000"));
    }
}
