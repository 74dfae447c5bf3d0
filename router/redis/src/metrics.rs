//! What a mirror counts.

use std::sync::atomic::AtomicU64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use router::{MemoryDirectory, MirrorCounts};

/// Counters of one mirror.
#[derive(Debug, Default)]
pub struct MirrorMetrics {
    /// 1 while some part of Redis does not answer or refuses.
    pub away: Gauge,
    /// Users whose sessions were written.
    pub written: Counter,
    /// Batches that were not, or not wholly, written.
    pub failures: Counter,
    /// Sessions that were read back at the start.
    pub read_back: Counter,
    /// How long the last round through all users took, s.
    pub round: Gauge<f64, AtomicU64>,
}

impl MirrorMetrics {
    /// Adds them to `registry`, with what `directory` says of itself.
    pub fn register(&self, directory: &MemoryDirectory, registry: &mut Registry) {
        let help = "1 while Redis, or a node of it, does not answer or refuses";
        registry.register("directory_away", help, self.away.clone());
        registry.register("directory_written", "Users whose sessions were written to Redis", self.written.clone());
        let help = "Batches that Redis did not take, or not wholly; what is in them is written again";
        registry.register("directory_write_failures", help, self.failures.clone());
        let help = "Sessions that were read back from Redis at the start";
        registry.register("directory_read_back", help, self.read_back.clone());
        let help = "How long the last round through all users took";
        registry.register("directory_round_seconds", help, self.round.clone());
        registry.register_collector(Box::new(Figures(directory.clone())));
    }
}

/// What the directory in memory knows of its mirror.
#[derive(Debug)]
struct Figures(MemoryDirectory);

impl Collector for Figures {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> std::fmt::Result {
        let MirrorCounts { waiting, dropped, unconfirmed } = self.0.mirror_counts();
        let mut gauge = |name, help, value: usize| {
            let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            value.encode(to.encode_descriptor(name, help, None, value.metric_type())?)
        };
        gauge("directory_waiting", "Users who changed and are not written to Redis yet", waiting)?;
        let help = "Sessions that were read back and whose gateways have not registered them again";
        gauge("directory_unconfirmed", help, unconfirmed)?;
        let dropped = ConstCounter::new(dropped);
        let help = "Changes that were not noted, because too many waited for Redis";
        dropped.encode(to.encode_descriptor("directory_dropped", help, None, dropped.metric_type())?)
    }
}
