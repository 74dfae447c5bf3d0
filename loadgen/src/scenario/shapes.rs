//! Shapes of a load: message sizes, pauses between sends, steps of a rate.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SIZE_BYTES_MIN;
use super::check::within;
use crate::draw::{Draw, Lognormal};

/// Largest payload of a message, bytes.
pub const SIZE_BYTES_MAX: usize = 1 << 20;
/// Sizes of a list, at most.
const SIZES_MAX: usize = 64;
/// Steps of a load, at most.
const STEPS_MAX: usize = 1_000;
/// Longest pause, ms.
const THINK_MS_MAX: f64 = 86_400_000.0;

/// Payloads of the messages, bytes (`load.size`).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Size {
    /// All alike.
    Fixed {
        /// Each.
        bytes: usize,
    },
    /// Some sizes, each as often as its weight says.
    List {
        /// The sizes.
        bytes: Vec<usize>,
        /// As many weights; only their ratios count.
        weights: Vec<f64>,
    },
    /// Many small ones and few large ones.
    Lognormal {
        /// Half of all are below.
        median: usize,
        /// Of a hundred, 99 are below.
        p99: usize,
        /// None is above.
        max: usize,
    },
}

impl Size {
    pub(super) fn check(&self) -> Result<(), String> {
        let fits = |key: &str, bytes: usize| within(key, bytes, SIZE_BYTES_MIN, SIZE_BYTES_MAX);
        match self {
            Self::Fixed { bytes } => fits("load.size.bytes", *bytes),
            Self::List { bytes, weights } => {
                within("the number of load.size.bytes", bytes.len(), 1, SIZES_MAX)?;
                if bytes.len() != weights.len() {
                    return Err(format!(
                        "load.size.weights has {} entries, load.size.bytes has {}: expected as many",
                        weights.len(),
                        bytes.len()
                    ));
                }
                bytes.iter().try_for_each(|size| fits("load.size.bytes", *size))?;
                weights.iter().try_for_each(|weight| within("load.size.weights", *weight, 0.0, 1e9))?;
                if weights.iter().sum::<f64>() > 0.0 { Ok(()) } else { Err("load.size.weights are all 0".to_owned()) }
            }
            Self::Lognormal { median, p99, max } => {
                fits("load.size.median", *median)?;
                fits("load.size.max", *max)?;
                within("load.size.p99", *p99, *median, *max)
            }
        }
    }

    /// One message's payload, bytes.
    pub fn draw(&self, draw: &mut Draw) -> usize {
        match self {
            Self::Fixed { bytes } => *bytes,
            Self::List { bytes, weights } => {
                let mut left = draw.unit() * weights.iter().sum::<f64>();
                let chosen = weights.iter().position(|weight| {
                    left -= weight;
                    left < 0.0
                });
                bytes[chosen.unwrap_or(bytes.len() - 1)]
            }
            Self::Lognormal { median, p99, max } => {
                let shape = Lognormal { median: *median as f64, p99: *p99 as f64, max: *max as f64 };
                (shape.draw(draw).round() as usize).max(SIZE_BYTES_MIN)
            }
        }
    }

    /// The largest there can be, bytes.
    pub fn largest(&self) -> usize {
        match self {
            Self::Fixed { bytes } => *bytes,
            Self::List { bytes, .. } => bytes.iter().copied().max().unwrap_or(SIZE_BYTES_MIN),
            Self::Lognormal { max, .. } => *max,
        }
    }
}

impl core::fmt::Display for Size {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Fixed { bytes } => write!(f, "{bytes} B"),
            Self::List { bytes, .. } => write!(f, "one of {bytes:?} B, by weight"),
            Self::Lognormal { median, p99, max } => {
                write!(f, "lognormal, median {median} B, p99 {p99} B, at most {max} B")
            }
        }
    }
}

/// How long a user of a closed load waits between an answer and its next send (`load.think`), or after a delivery until
/// it has read it (`load.read`).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Think {
    /// Always as long.
    Fixed {
        /// So long.
        ms: f64,
    },
    /// Evenly between two bounds.
    Uniform {
        /// At least.
        low_ms: f64,
        /// At most.
        high_ms: f64,
    },
    /// Exponential: many short ones, few long ones.
    Exponential {
        /// On average.
        mean_ms: f64,
    },
    /// Lognormal: as people pause.
    Lognormal {
        /// Half of all are below.
        median_ms: f64,
        /// Of a hundred, 99 are below.
        p99_ms: f64,
        /// None is above.
        max_ms: f64,
    },
}

impl Think {
    /// `name`: the key it is the value of.
    pub(super) fn check(&self, name: &str) -> Result<(), String> {
        let within = |key: &str, ms: f64, low: f64, high: f64| within(&format!("{name}.{key}"), ms, low, high);
        let fits = |key: &str, ms: f64| within(key, ms, 0.001, THINK_MS_MAX);
        match *self {
            Self::Fixed { ms } => fits("ms", ms),
            Self::Uniform { low_ms, high_ms } => {
                within("low_ms", low_ms, 0.0, THINK_MS_MAX)?;
                within("high_ms", high_ms, low_ms.max(0.001), THINK_MS_MAX)
            }
            Self::Exponential { mean_ms } => fits("mean_ms", mean_ms),
            Self::Lognormal { median_ms, p99_ms, max_ms } => {
                fits("median_ms", median_ms)?;
                fits("max_ms", max_ms)?;
                within("p99_ms", p99_ms, median_ms, max_ms)
            }
        }
    }

    /// One pause, ns.
    pub fn draw_ns(&self, draw: &mut Draw) -> u64 {
        let ms = match *self {
            Self::Fixed { ms } => ms,
            Self::Uniform { low_ms, high_ms } => low_ms + (high_ms - low_ms) * draw.unit(),
            Self::Exponential { mean_ms } => (mean_ms * draw.exponential()).min(THINK_MS_MAX),
            Self::Lognormal { median_ms, p99_ms, max_ms } => {
                Lognormal { median: median_ms, p99: p99_ms, max: max_ms }.draw(draw)
            }
        };
        (ms * 1e6) as u64
    }

    /// The mean, ms; of a lognormal one without regard to its greatest.
    pub fn mean_ms(&self) -> f64 {
        match *self {
            Self::Fixed { ms } => ms,
            Self::Uniform { low_ms, high_ms } => f64::midpoint(low_ms, high_ms),
            Self::Exponential { mean_ms } => mean_ms,
            Self::Lognormal { median_ms, p99_ms, max_ms } => {
                Lognormal { median: median_ms, p99: p99_ms, max: max_ms }.mean()
            }
        }
    }
}

impl core::fmt::Display for Think {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Fixed { ms } => write!(f, "{ms} ms"),
            Self::Uniform { low_ms, high_ms } => write!(f, "{low_ms} to {high_ms} ms"),
            Self::Exponential { mean_ms } => write!(f, "exponential, mean {mean_ms} ms"),
            Self::Lognormal { median_ms, p99_ms, max_ms } => {
                write!(f, "lognormal, median {median_ms} ms, p99 {p99_ms} ms, at most {max_ms} ms")
            }
        }
    }
}

/// A step of an open load's rate (`[[load.steps]]`).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Messages a second, all users together.
    pub rate: f64,
    /// It stays so long, seconds.
    pub for_s: f64,
    /// It is come to so slowly, linearly from the step before, seconds; without effect on the first, which `load.ramp_s`
    /// leads to.
    #[serde(default)]
    pub ramp_s: f64,
}

impl Step {
    /// From the end of the step before to its own, seconds.
    pub const fn whole_s(&self) -> f64 {
        self.ramp_s + self.for_s
    }
}

pub(super) fn check_steps(steps: &[Step]) -> Result<(), String> {
    within("the number of load.steps", steps.len(), 0, STEPS_MAX)?;
    for (at, step) in steps.iter().enumerate() {
        within(&format!("load.steps[{at}].rate"), step.rate, 0.001, 10e6)?;
        within(&format!("load.steps[{at}].for_s"), step.for_s, 0.1, 86_400.0)?;
        within(&format!("load.steps[{at}].ramp_s"), step.ramp_s, 0.0, 86_400.0)?;
        if at == 0 && step.ramp_s > 0.0 {
            return Err("load.steps[0].ramp_s: load.ramp_s leads to the first step".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Use;

    #[test]
    fn a_list_is_drawn_by_its_weights() {
        let size = Size::List { bytes: vec![64, 512, 4_096], weights: vec![70.0, 30.0, 0.0] };
        let all: Vec<usize> = (0..10_000).map(|n| size.draw(&mut Draw::of(3, Use::Size, 1, n))).collect();
        let small = all.iter().filter(|bytes| **bytes == 64).count();
        assert!((6_800..=7_200).contains(&small), "{small} of 64 bytes");
        assert!(!all.contains(&4_096) && size.largest() == 4_096);
    }

    #[test]
    fn pauses_keep_their_bounds_and_their_mean() {
        for think in [
            Think::Fixed { ms: 5.0 },
            Think::Uniform { low_ms: 2.0, high_ms: 8.0 },
            Think::Exponential { mean_ms: 5.0 },
            Think::Lognormal { median_ms: 4.0, p99_ms: 20.0, max_ms: 1_000.0 },
        ] {
            let all: Vec<u64> = (0..20_000).map(|n| think.draw_ns(&mut Draw::of(3, Use::Think, 1, n))).collect();
            let mean_ms = all.iter().sum::<u64>() as f64 / 20_000.0 / 1e6;
            let wanted = think.mean_ms();
            assert!((mean_ms / wanted - 1.0).abs() < 0.05, "{think}: mean {mean_ms}, wanted {wanted}");
            if let Think::Uniform { .. } = think {
                assert!(all.iter().all(|ns| (2_000_000..=8_000_000).contains(ns)));
            }
        }
    }
}
