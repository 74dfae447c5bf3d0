//! What must hold of a run, and which of it goes with which load.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::within;
use super::{Load, Mode};

/// What must hold; absent = not judged. The audit is always judged.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Latency, µs at most.
    pub p50_us: Option<u64>,
    /// Latency, µs at most.
    pub p99_us: Option<u64>,
    /// Latency, µs at most.
    pub p999_us: Option<u64>,
    /// Latency, µs at most.
    pub max_us: Option<u64>,
    /// From a group message's intended send time to its acknowledgement at the sender, 99 of 100, µs at most.
    pub group_ack_p99_us: Option<u64>,
    /// The same to its first delivery, µs at most.
    pub group_first_p99_us: Option<u64>,
    /// The same to the last member's, µs at most.
    pub group_last_p99_us: Option<u64>,
    /// Latency between users who were online while others were away on purpose, 99 of 100, µs at most.
    pub meanwhile_p99_us: Option<u64>,
    /// Messages delivered in the whole run, at least.
    pub delivered: Option<u64>,
    /// Messages delivered a second of the steady phase, at least.
    pub delivered_per_second: Option<f64>,
    /// Connects with authentication a second, at least.
    pub connects_per_second: Option<f64>,
    /// `connections.held`, at least.
    pub connections_held: Option<u64>,
    /// Errors, at most.
    pub errors: Option<u64>,
    /// Every behaviour: from its begin until all were back and had what they had missed, seconds at most.
    pub recovery_s: Option<f64>,
    /// Server CPU seconds per million delivered messages, at most.
    pub cpu_s_per_million: Option<f64>,
    /// Server memory a connection, bytes at most.
    pub rss_bytes_per_connection: Option<f64>,
    /// The generator's own lateness (p99 of actual less intended send time), ms: beyond it no verdict is given.
    pub pacing_lag_ms: Option<f64>,
}

impl Thresholds {
    pub(super) fn check(&self, load: &Load) -> Result<(), String> {
        let mode = load.mode;
        let latency = [self.p50_us, self.p99_us, self.p999_us, self.max_us, self.delivered];
        if !matches!(mode, Mode::Open | Mode::Closed)
            && (latency.iter().any(Option::is_some)
                || self.delivered_per_second.is_some()
                || self.cpu_s_per_million.is_some())
        {
            return Err(
                "[thresholds] judges messages (p50_us, p99_us, p999_us, max_us, delivered, delivered_per_second, cpu_s_per_million), but load.mode sends none".to_owned(),
            );
        }
        let groups = [self.group_ack_p99_us, self.group_first_p99_us, self.group_last_p99_us];
        if groups.iter().any(Option::is_some) && load.groups.is_empty() {
            return Err("[thresholds] judges groups (group_ack_p99_us, group_first_p99_us, group_last_p99_us), but load.groups has none".to_owned());
        }
        if let Some(recovery_s) = self.recovery_s {
            within("thresholds.recovery_s", recovery_s, 0.0, 864_000.0)?;
        }
        if self.connects_per_second.is_some() && mode != Mode::Connect {
            return Err("thresholds.connects_per_second is for load.mode = \"connect\" only".to_owned());
        }
        Ok(())
    }

    /// Whether the verdict depends on how fast the generator itself was.
    pub fn judges_speed(&self) -> bool {
        let latencies = [self.p50_us, self.p99_us, self.p999_us, self.max_us, self.meanwhile_p99_us];
        let groups = [self.group_ack_p99_us, self.group_first_p99_us, self.group_last_p99_us];
        latencies.iter().chain(&groups).any(Option::is_some)
            || self.delivered_per_second.is_some()
            || self.connects_per_second.is_some()
            || self.pacing_lag_ms.is_some()
    }
}
