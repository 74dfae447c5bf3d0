//! Behaviours: what happens to the users, or to the server, while the load goes on.
//!
//! One file a kind, one line of [`KINDS`] each. A behaviour is a function of the scenario's seed and a user's place: it says
//! when what happens to whom, in ns since the begin of the ramp, and keeps nothing. So every worker, wherever it runs, knows
//! what happens to its own users and to those who write to them. Workers carry it out (`worker/behave.rs`); only
//! [`restart`] is the controller's.
mod churn;
mod day;
pub mod happened;
mod login_ramp;
mod offline_drain;
mod reconnect_storm;
pub mod restart;
mod slow_readers;
#[cfg(test)]
mod tests;

use core::fmt::Debug;
use core::ops::Range;

use serde::de::DeserializeOwned;

use crate::draw::{Draw, Use};
use crate::plan::ns;
use crate::scenario::{Load, Mode, Scenario, within};
pub use restart::Restart;

/// A worker that carries out an act later than this has no verdict anyway, ns.
const LATE_NS: u64 = 500_000_000;

/// What happens to one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It connects for the first time.
    Login,
    /// Its connection is cut; it comes back as a client does.
    Cut,
    /// Its connection is cut and it stays away until then, ns since the begin of the ramp.
    Leave(u64),
    /// It does not read its socket until then, ns since the begin of the ramp.
    Stall(u64),
}

/// One behaviour. All times are ns since the begin of the ramp.
pub trait Behaviour: Debug + Send + Sync {
    /// The first thing that happens to the user at `place` at `from` or later.
    fn next(&self, place: u32, from: u64) -> Option<(u64, Act)>;

    /// From the first thing that happens to the end of the last, as planned.
    fn window(&self) -> Range<u64>;

    /// What it does, in one line for people.
    fn describe(&self) -> String;

    /// Whether a user's connection may be disturbed between two moments, or was due to be shortly before: a worker that is
    /// late may disturb it only after a message that was due later has gone out.
    fn upsets(&self, place: u32, from: u64, to: u64) -> bool {
        let (from, window) = (from.saturating_sub(LATE_NS), self.window());
        from < window.end && to >= window.start && self.next(place, from).is_some_and(|(at, _)| at <= to)
    }

    /// Users connect when it says so and not before the ramp.
    fn delays_logins(&self) -> bool {
        false
    }

    /// What a user's socket may hold unread, bytes; `None`: as much as the host gives.
    fn receive_buffer(&self, _place: u32) -> Option<usize> {
        None
    }

    /// What is to be done to the server.
    fn restart(&self) -> Option<&Restart> {
        None
    }
}

/// What a behaviour is made in.
struct Setting<'a> {
    load: &'a Load,
    /// Its place among the scenario's behaviours.
    index: usize,
    /// From the begin of the ramp to the end of the load.
    load_s: f64,
}

impl Setting<'_> {
    /// Refuses what would not be over by the end of the load.
    fn ends_in_time(&self, what: &str, end_s: f64) -> Result<(), String> {
        if end_s <= self.load_s + 1e-9 {
            return Ok(());
        }
        Err(format!(
            "{what} ends {end_s} s after the begin of the ramp, the load (ramp, steady, cool-down) after {} s",
            self.load_s
        ))
    }
}

/// Reads a kind's keys.
fn read<T: DeserializeOwned>(keys: toml::Table) -> Result<T, String> {
    keys.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

/// A seeded share of the users, and a moment for each.
#[derive(Clone, Copy, Debug)]
struct Chosen {
    /// The first so many; instead of a seeded share.
    first: Option<u32>,
    seed: u64,
    index: u64,
    share: f64,
    at: u64,
    over: u64,
}

impl Chosen {
    /// `share` of the users, each at a moment of its own between `at_s` and `over_s` later.
    fn new(setting: &Setting<'_>, share: f64, at_s: f64, over_s: f64) -> Result<Self, String> {
        within("share", share, 0.0, 1.0)?;
        within("at_s", at_s, 0.0, 864_000.0)?;
        within("over_s", over_s, 0.0, 86_400.0)?;
        let (seed, index) = (setting.load.seed, (setting.index as u64) << 32);
        Ok(Self { first: None, seed, index, share, at: ns(at_s), over: ns(over_s) })
    }

    fn has(&self, place: u32) -> bool {
        if let Some(first) = self.first {
            return place < first;
        }
        Draw::of(self.seed, Use::Share, self.index | u64::from(place), 0).unit() < self.share
    }

    /// How long after the first moment a user's own one is.
    fn offset(&self, place: u32) -> u64 {
        let unit = Draw::of(self.seed, Use::When, self.index | u64::from(place), 0).unit();
        (self.over as f64 * unit) as u64
    }

    /// The user's moment, if it is one of the share and the moment is not before `from`.
    fn moment(&self, place: u32, from: u64) -> Option<u64> {
        if from > self.at + self.over || !self.has(place) {
            return None;
        }
        Some(self.at + self.offset(place)).filter(|at| *at >= from)
    }

    fn percent(&self) -> f64 {
        self.share * 100.0
    }
}

type Make = fn(toml::Table, &Setting<'_>) -> Result<Box<dyn Behaviour>, String>;

/// A kind of behaviour.
struct Kind {
    name: &'static str,
    make: Make,
}

/// Every kind there is.
const KINDS: &[Kind] = &[
    Kind { name: "churn", make: churn::make },
    Kind { name: "day", make: day::make },
    Kind { name: "login-ramp", make: login_ramp::make },
    Kind { name: "offline-drain", make: offline_drain::make },
    Kind { name: "reconnect-storm", make: reconnect_storm::make },
    Kind { name: "restart", make: restart::make },
    Kind { name: "slow-readers", make: slow_readers::make },
];

/// The names of all kinds.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// A scenario's behaviours, in its order; `load.drops_per_second` comes last, as a `churn`.
#[derive(Debug, Default)]
pub struct Behaviours {
    all: Vec<(&'static str, Box<dyn Behaviour>)>,
}

impl Behaviours {
    /// Checks and makes them.
    ///
    /// # Errors
    /// Which behaviour, which key, what is allowed.
    pub fn new(scenario: &Scenario) -> Result<Self, String> {
        let load = &scenario.load;
        let mut tables = scenario.behaviours.clone();
        if load.drops_per_second > 0.0 {
            let mut churn = toml::Table::new();
            churn.insert("kind".to_owned(), "churn".into());
            churn.insert("drops_per_second".to_owned(), load.drops_per_second.into());
            tables.push(churn);
        }
        let mut behaviours = Self::default();
        for (index, keys) in tables.into_iter().enumerate() {
            let setting = Setting { load, index, load_s: load.ramp_s + load.steady_s + load.cool_down_s };
            behaviours.add(keys, &setting).map_err(|message| format!("behaviour[{index}]: {message}"))?;
        }
        behaviours.check(load)?;
        Ok(behaviours)
    }

    fn add(&mut self, mut keys: toml::Table, setting: &Setting<'_>) -> Result<(), String> {
        let names = || kinds().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let name = match keys.remove("kind") {
            Some(toml::Value::String(name)) => name,
            Some(other) => return Err(format!("kind = {other}: expected one of {}", names())),
            None => return Err(format!("kind is missing: one of {}", names())),
        };
        let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
            return Err(format!("kind = \"{name}\": expected one of {}", names()));
        };
        let made = (kind.make)(keys, setting).map_err(|message| format!("{name}: {message}"))?;
        self.all.push((kind.name, made));
        Ok(())
    }

    /// What does not go together.
    fn check(&self, load: &Load) -> Result<(), String> {
        if load.mode == Mode::Connect && !self.all.is_empty() {
            return Err("behaviours are for users that stay: not for load.mode = \"connect\"".to_owned());
        }
        if self.all.iter().filter(|(_, one)| one.delays_logins()).count() > 1 {
            return Err("there may be one login-ramp only: users log in once".to_owned());
        }
        let mut free_from = 0;
        for (_, one) in self.restarts() {
            if one.window().start < free_from {
                return Err("restarts must be in order, each after the within_s of the one before".to_owned());
            }
            free_from = one.window().end;
        }
        Ok(())
    }

    /// All of them, with their kinds.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &dyn Behaviour)> {
        self.all.iter().map(|(kind, one)| (*kind, &**one))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// One of them.
    pub fn get(&self, index: usize) -> &dyn Behaviour {
        &*self.all[index].1
    }

    /// Those that concern the server.
    pub fn restarts(&self) -> impl Iterator<Item = (usize, &dyn Behaviour)> {
        self.all.iter().enumerate().filter(|(_, (_, one))| one.restart().is_some()).map(|(at, (_, one))| (at, &**one))
    }

    /// The restart in whose window a moment is.
    pub fn restart_at(&self, at: u64) -> Option<(usize, &Restart)> {
        let (index, one) = self.restarts().find(|(_, one)| one.window().contains(&at))?;
        Some((index, one.restart()?))
    }

    /// Whether a user's connection may be disturbed on purpose between two moments.
    pub fn upset(&self, place: u32, from: u64, to: u64) -> bool {
        self.all.iter().any(|(_, one)| one.upsets(place, from, to))
    }

    /// Whether users connect only in the course of the load.
    pub fn delay_logins(&self) -> bool {
        self.all.iter().any(|(_, one)| one.delays_logins())
    }

    /// The least that a user's socket may hold unread, bytes; `None`: as much as the host gives.
    pub fn receive_buffer(&self, place: u32) -> Option<usize> {
        self.all.iter().filter_map(|(_, one)| one.receive_buffer(place)).min()
    }
}
