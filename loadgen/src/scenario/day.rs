//! A day of many people, compressed: how much they write, hour by hour.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Step;
use super::check::within;

/// Hours of a day.
const HOURS: usize = 24;
/// A day, s.
const DAY_S: f64 = 86_400.0;

/// A day (`[load.day]`).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Day {
    /// It passes so many times faster: 480 makes it three minutes long.
    pub time_compression: f64,
    /// What each user writes in it.
    pub messages_per_user: f64,
    /// How busy each hour is, from midnight on; only the ratios count. Quiet nights and busy evenings when absent.
    #[serde(default = "usual")]
    pub hours: Vec<f64>,
}

/// Quiet from one to six, busy at noon, busiest in the evening.
fn usual() -> Vec<f64> {
    vec![
        0.30, 0.15, 0.10, 0.08, 0.08, 0.12, 0.30, 0.70, 1.00, 1.10, 1.15, 1.25, 1.40, 1.30, 1.20, 1.20, 1.25, 1.40,
        1.60, 1.80, 1.90, 1.75, 1.25, 0.70,
    ]
}

impl Day {
    fn check(&self) -> Result<(), String> {
        within("load.day.time_compression", self.time_compression, 1.0, 36_000.0)?;
        within("load.day.messages_per_user", self.messages_per_user, 0.01, 1e6)?;
        if self.hours.len() != HOURS {
            return Err(format!("load.day.hours has {} entries: expected {HOURS}", self.hours.len()));
        }
        self.hours.iter().try_for_each(|hour| within("load.day.hours", *hour, 0.001, 1e9))
    }

    /// How long it takes, s.
    pub fn length_s(&self) -> f64 {
        DAY_S / self.time_compression
    }

    /// The rates of so many users, an hour a step.
    pub(super) fn steps(&self, users: u32) -> Result<Vec<Step>, String> {
        self.check()?;
        let (all, hour_s) = (self.hours.iter().sum::<f64>(), self.length_s() / HOURS as f64);
        let messages = f64::from(users) * self.messages_per_user;
        let step = |hour: &f64| Step { rate: messages * hour / all / hour_s, for_s: hour_s, ramp_s: 0.0 };
        Ok(self.hours.iter().map(step).collect())
    }

    /// When the part `share` (0 to 1) of the day's messages has been written, s since its begin.
    pub fn when_s(&self, share: f64) -> f64 {
        let (all, hour_s) = (self.hours.iter().sum::<f64>(), self.length_s() / HOURS as f64);
        let mut left = share.clamp(0.0, 1.0) * all;
        for (hour, weight) in self.hours.iter().enumerate() {
            if left <= *weight {
                return (hour as f64 + left / weight) * hour_s;
            }
            left -= weight;
        }
        self.length_s()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scenario;
    use super::*;

    fn day(keys: &str) -> Result<Scenario, String> {
        Scenario::parse(&format!(
            "[load]\nusers = 100\nmode = \"open\"\nramp_s = 0.0\n[load.day]\ntime_compression = 480.0\nmessages_per_user = 50.0\n{keys}"
        ))
    }

    #[test]
    fn a_day_is_as_long_and_as_full_as_it_says() {
        let load = day("").unwrap().load;
        assert!((load.steady_s - 180.0).abs() < 1e-6 && load.steps.len() == HOURS);
        let (all, _) = crate::outline::expected_messages(&load).unwrap();
        assert!((all - 5_000.0).abs() < 1.0, "{all} messages");
        let rates = || load.steps.iter().map(|step| step.rate);
        assert!(load.peak_rate() > 10.0 * rates().fold(f64::INFINITY, f64::min), "{:?}", load.steps);
    }

    #[test]
    fn moments_follow_the_hours() {
        let day = day("").unwrap().load.day.unwrap();
        let at: Vec<f64> = (0..=10).map(|tenth| day.when_s(f64::from(tenth) / 10.0)).collect();
        assert!(at.is_sorted() && at[0] == 0.0 && (at[10] - 180.0).abs() < 1e-6, "{at:?}");
        // A tenth of the messages is written by eight in the morning at the earliest.
        assert!(at[1] > 180.0 * 7.0 / 24.0, "{at:?}");
    }

    #[test]
    fn a_day_that_cannot_be_is_refused() {
        for (keys, expected) in [
            ("hours = [1.0]", "load.day.hours has 1 entries: expected 24"),
            ("[thresholds]\ngroup_ack_p99_us = 1", "load.groups has none"),
        ] {
            let message = day(keys).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        let rate = "[load]\nusers = 10\nrate = 5.0\nmode = \"open\"\n[load.day]\ntime_compression = 480.0\nmessages_per_user = 50.0\n";
        assert!(Scenario::parse(rate).unwrap_err().contains("leave load.rate and load.steps out"));
    }
}
