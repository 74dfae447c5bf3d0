//! The throwaway server is stopped in the middle of the load and started again on the same ports and the same folder.
//!
//! The controller does it (`run/restart.rs`). What users see of it until `within_s` is theirs to get over: the classes of
//! errors the scenario names in `tolerate` are counted apart; the audit tolerates nothing.

use core::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Act, Behaviour, Setting, read};
use crate::plan::ns;
use crate::scenario::within;

/// Classes of errors that a fault of the server may cause: what stands before the colon in the report's errors.
const CLASSES: [&str; 5] = ["connect", "disconnected", "postponed", "complaint", "websocket"];

fn class(error: &str) -> &str {
    error.split(':').next().unwrap_or_default()
}

/// Refuses what may not be tolerated.
pub(crate) fn check_tolerated(key: &str, tolerated: &[String]) -> Result<(), String> {
    match tolerated.iter().find(|one| !CLASSES.contains(&class(one))) {
        Some(unknown) => Err(format!(
            "{key} has \"{unknown}\": expected some of {CLASSES:?}, or one error of these, as \"postponed: storage_unavailable\""
        )),
        None => Ok(()),
    }
}

/// Whether an error is among what is tolerated, by its class or its whole name.
pub(crate) fn tolerates(tolerated: &[String], error: &str) -> bool {
    tolerated.iter().any(|one| one == error || one == class(error))
}

/// How the server is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// SIGTERM: it may finish what it has begun.
    #[default]
    Term,
    /// SIGKILL: it is gone at once.
    Kill,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// When it is stopped, seconds after the begin of the ramp.
    at_s: f64,
    /// How.
    #[serde(default)]
    signal: Signal,
    /// It is started again so long after it has ended, seconds.
    #[serde(default)]
    down_s: f64,
    /// Errors named in `tolerate` are tolerated for so long after `at_s`, seconds.
    #[serde(default = "ten")]
    within_s: f64,
    /// Classes of errors.
    #[serde(default)]
    tolerate: Vec<String>,
}

fn ten() -> f64 {
    10.0
}

/// A restart. Times are ns since the begin of the ramp.
#[derive(Clone, Debug)]
pub struct Restart {
    /// The server is stopped then.
    pub at: u64,
    /// How.
    pub signal: Signal,
    /// It is started again so long after it has ended.
    pub down: u64,
    /// Errors are tolerated until then.
    pub until: u64,
    tolerate: Vec<String>,
}

impl Restart {
    /// Whether an error of that name may happen in the window.
    pub fn tolerates(&self, error: &str) -> bool {
        tolerates(&self.tolerate, error)
    }
}

pub(super) fn make(keys: toml::Table, setting: &Setting<'_>) -> Result<Box<dyn Behaviour>, String> {
    let Keys { at_s, signal, down_s, within_s, tolerate } = read(keys)?;
    within("at_s", at_s, 0.0, setting.load_s)?;
    within("down_s", down_s, 0.0, 3_600.0)?;
    within("within_s", within_s, 0.1, 3_600.0)?;
    check_tolerated("tolerate", &tolerate)?;
    setting.ends_in_time("its within_s", at_s + within_s)?;
    Ok(Box::new(Restart { at: ns(at_s), signal, down: ns(down_s), until: ns(at_s + within_s), tolerate }))
}

impl Behaviour for Restart {
    fn next(&self, _place: u32, _from: u64) -> Option<(u64, Act)> {
        None
    }

    fn window(&self) -> Range<u64> {
        self.at..self.until
    }

    fn describe(&self) -> String {
        let how = match self.signal {
            Signal::Term => "SIGTERM",
            Signal::Kill => "SIGKILL",
        };
        format!("the server is stopped by {how} and started again {} s after it has ended", self.down as f64 / 1e9)
    }

    /// Every user's connection, until the server may be back; after that each user knows by itself.
    fn upsets(&self, _place: u32, from: u64, to: u64) -> bool {
        from < self.at + self.down + 1_000_000_000 && to >= self.at
    }

    fn restart(&self) -> Option<&Restart> {
        Some(self)
    }
}
