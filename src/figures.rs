//! Figures that are read when `/metrics` is asked for: what the process uses, what its store holds and its disk has left.
//!
//! What cannot be read is left out; nothing here fails a scrape.

use std::path::PathBuf;
use std::sync::Arc;

use fabric::time::{Clock as _, SystemClock};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::time::{ClockId, clock_gettime};
use scylla_store::{ScyllaCounts, ScyllaStore};
use storage_writer::store::{Store, StoreStats};

/// What this process uses of its host.
#[derive(Debug)]
pub struct ProcessFigures {
    started_s: i64,
}

impl ProcessFigures {
    /// Of a process that starts now.
    pub fn new() -> Self {
        Self { started_s: (SystemClock.now().wall_ms() / 1_000) as i64 }
    }
}

impl Default for ProcessFigures {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for ProcessFigures {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> std::fmt::Result {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu_s = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        let help = "CPU time of all threads";
        put(&mut to, "process_cpu", help, Some(&Unit::Seconds), &ConstCounter::new(cpu_s))?;
        if let Some(bytes) = resident_bytes(&std::fs::read_to_string("/proc/self/status").unwrap_or_default()) {
            put(&mut to, "process_resident", "Memory in use", Some(&Unit::Bytes), &ConstGauge::new(bytes))?;
        }
        let help = "When the process started, seconds since 1970";
        put(&mut to, "process_start", help, Some(&Unit::Seconds), &ConstGauge::new(self.started_s))
    }
}

/// What the file system of a folder has left.
#[derive(Debug)]
pub struct FolderFigures(pub PathBuf);

impl Collector for FolderFigures {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Ok(found) = rustix::fs::statvfs(&self.0) else { return Ok(()) };
        let bytes = |blocks: u64| gauge(blocks.saturating_mul(found.f_frsize));
        let free = bytes(found.f_bavail);
        put(&mut to, "data_free", "Left on the data folder's file system", Some(&Unit::Bytes), &free)?;
        let size = bytes(found.f_blocks);
        put(&mut to, "data_size", "Of the data folder's file system", Some(&Unit::Bytes), &size)
    }
}

/// What a store says of itself.
pub struct StoreFigures<S>(pub Arc<S>);

impl<S> std::fmt::Debug for StoreFigures<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreFigures")
    }
}

impl<S: Store + Send + Sync + 'static> Collector for StoreFigures<S> {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> std::fmt::Result {
        let StoreStats { disk_bytes, level0_runs, tables, reopened } = self.0.stats();
        put(&mut to, "store_disk", "The store's size", Some(&Unit::Bytes), &gauge(disk_bytes))?;
        let help = "Sorted runs not yet merged, the most of any part of the store";
        put(&mut to, "store_level0_runs", help, None, &gauge(level0_runs))?;
        put(&mut to, "store_tables", "Sorted runs of the whole store", None, &gauge(tables))?;
        let help = "Times the store was opened anew after a failure";
        put(&mut to, "store_reopened", help, None, &ConstCounter::new(reopened))
    }
}

/// What the store on Scylla or Cassandra has asked of its cluster.
pub struct ScyllaFigures(pub Arc<ScyllaStore>);

impl std::fmt::Debug for ScyllaFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScyllaFigures")
    }
}

impl Collector for ScyllaFigures {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> std::fmt::Result {
        let ScyllaCounts { requests, failures, is_away } = self.0.counts();
        put(&mut to, "store_requests", "Requests to the store's cluster", None, &ConstCounter::new(requests))?;
        let help = "Requests to the store's cluster that failed after all that was tried";
        put(&mut to, "store_request_failures", help, None, &ConstCounter::new(failures))?;
        let help = "1 while the store's cluster does not answer or refuses";
        put(&mut to, "store_away", help, None, &gauge(u64::from(is_away)))
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Writes one figure.
fn put(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    figure: &impl EncodeMetric,
) -> std::fmt::Result {
    figure.encode(to.encode_descriptor(name, help, unit, figure.metric_type())?)
}

/// `VmRSS` of a `/proc/PID/status`.
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    fn figures(collector: impl Collector) -> String {
        let mut registry = Registry::with_prefix("shardwire");
        registry.register_collector(Box::new(collector));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    fn value(text: &str, name: &str) -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
    }

    #[test]
    fn a_process_knows_its_memory_its_time_and_its_age() {
        let text = figures(ProcessFigures::new());
        assert!(value(&text, "shardwire_process_cpu_seconds_total") > 0.0);
        assert!(value(&text, "shardwire_process_resident_bytes") > 1e6, "a test process holds more than a megabyte");
        let started = value(&text, "shardwire_process_start_seconds");
        assert!(started as u64 <= SystemClock.now().wall_ms() / 1_000);
    }

    #[test]
    fn a_folder_s_disk_is_looked_at_and_a_missing_one_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let text = figures(FolderFigures(folder.path().to_owned()));
        assert!(value(&text, "shardwire_data_free_bytes") <= value(&text, "shardwire_data_size_bytes"));
        assert!(!figures(FolderFigures(folder.path().join("gone"))).contains("data_free"));
    }

    #[test]
    fn memory_is_read_from_the_kernel_s_words() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2_097_152));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        assert_eq!(resident_bytes("VmRSS:\tmuch kB\n"), None);
    }
}
