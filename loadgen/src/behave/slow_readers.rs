//! A share of the users stops reading its socket for a while, then reads again: nothing may be lost.

use core::ops::Range;

use serde::Deserialize;

use super::{Act, Behaviour, Chosen, Setting, read};
use crate::plan::ns;
use crate::scenario::within;

/// A client that has read nothing for longer takes its server for dead (ping interval and answer time are 30 s together).
const STALL_MAX_S: f64 = 25.0;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// When they stop reading, seconds after the begin of the ramp.
    at_s: f64,
    /// For how long, seconds.
    for_s: f64,
    /// Which part of the users, 0 to 1.
    #[serde(default = "tenth")]
    share: f64,
    /// They stop within so long, each at a moment of its own, seconds; 0 = all at once.
    #[serde(default)]
    over_s: f64,
    /// Their sockets hold so much that is not read, bytes; what is more waits at the server. 0 = as much as the host gives.
    #[serde(default = "small")]
    receive_buffer_bytes: usize,
}

fn small() -> usize {
    64 << 10
}

fn tenth() -> f64 {
    0.1
}

#[derive(Debug)]
struct SlowReaders {
    chosen: Chosen,
    stall: u64,
    receive_buffer: Option<usize>,
}

pub(super) fn make(keys: toml::Table, setting: &Setting<'_>) -> Result<Box<dyn Behaviour>, String> {
    let Keys { at_s, for_s, share, over_s, receive_buffer_bytes } = read(keys)?;
    within("for_s", for_s, 0.1, STALL_MAX_S)?;
    let chosen = Chosen::new(setting, share, at_s, over_s)?;
    setting.ends_in_time("it", at_s + over_s + for_s)?;
    let receive_buffer = match receive_buffer_bytes {
        0 => None,
        bytes => {
            within("receive_buffer_bytes", bytes, 4_096, 64 << 20)?;
            Some(bytes)
        }
    };
    Ok(Box::new(SlowReaders { chosen, stall: ns(for_s), receive_buffer }))
}

impl Behaviour for SlowReaders {
    fn next(&self, place: u32, from: u64) -> Option<(u64, Act)> {
        self.chosen.moment(place, from).map(|at| (at, Act::Stall(at + self.stall)))
    }

    fn window(&self) -> Range<u64> {
        self.chosen.at..self.chosen.at + self.chosen.over + self.stall + 1
    }

    fn describe(&self) -> String {
        format!("{:.0} % of the users do not read for {} s", self.chosen.percent(), self.stall as f64 / 1e9)
    }

    fn receive_buffer(&self, place: u32) -> Option<usize> {
        self.receive_buffer.filter(|_| self.chosen.has(place))
    }
}
