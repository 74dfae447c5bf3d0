//! A report's final figures in Prometheus' text format, for a textfile collector or a push gateway.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Percentiles, Report, Verdict};

type Labels = Vec<(String, String)>;
/// One line: the labels besides the scenario's, and the value; what is unknown has no line.
type Row<'a> = (Vec<(&'a str, &'a str)>, Option<f64>);

/// The whole text. Every figure carries the labels `scenario`, `mode` and `protocol`.
pub fn text(report: &Report) -> String {
    let mut page = Page { registry: Registry::with_prefix("shardwire_loadgen"), report };
    page.outcome();
    page.messages();
    page.speed();
    page.server();
    page.generator();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &page.registry).expect("a String takes every text");
    text
}

struct Page<'a> {
    registry: Registry,
    report: &'a Report,
}

impl Page<'_> {
    fn add<'r>(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = Row<'r>>) {
        let load = &self.report.scenario.load;
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        let word = |value: serde_json::Result<serde_json::Value>| {
            value.ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
        };
        for (labels, value) in rows {
            let Some(value) = value else { continue };
            let mut all = vec![
                ("scenario".to_owned(), self.report.name.clone()),
                ("mode".to_owned(), word(serde_json::to_value(load.mode))),
                ("protocol".to_owned(), word(serde_json::to_value(load.protocol))),
            ];
            all.extend(labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
            family.get_or_create(&all).set(value);
        }
        self.registry.register(name, help, family);
    }

    fn one(&mut self, name: &str, help: &str, value: Option<f64>) {
        self.add(name, help, [(Vec::new(), value)]);
    }

    fn outcome(&mut self) {
        let report = self.report;
        self.one("passed", "1 when the verdict is pass", Some(f64::from(u8::from(report.verdict == Verdict::Pass))));
        self.one("exit_code", "What the run ended with", Some(f64::from(report.exit_code)));
        self.one("started_seconds", "When the run began, since 1970", Some(report.started_ms as f64 / 1e3));
        self.one("duration_seconds", "From the begin to the end of the drain", Some(report.took_s));
        let rows =
            report.thresholds.iter().map(|t| (vec![("key", t.key.as_str())], Some(f64::from(u8::from(t.holds)))));
        self.add("threshold_holds", "1 when the threshold holds", rows);
        let errors = report.errors.iter().map(|(name, count)| (vec![("error", name.as_str())], Some(*count as f64)));
        self.add("errors", "Errors by name, whole run", errors);
    }

    fn messages(&mut self) {
        let audit = &self.report.audit;
        let rows = [
            ("sent", audit.sent),
            ("acked", audit.acked),
            ("delivered", audit.delivered),
            ("lost", audit.lost),
            ("doubled", audit.doubled),
            ("reordered", audit.reordered),
            ("acked_but_missing", audit.acked_but_missing),
            ("unanswered", audit.unanswered),
            ("refused", audit.refused),
            ("mismatched", audit.mismatched),
            ("receipts_missing", audit.receipts_missing),
            ("receipts_false", audit.receipts_false),
            ("misdelivered", audit.misdelivered),
        ];
        let rows = rows.map(|(result, count)| (vec![("result", result)], Some(count as f64)));
        self.add("messages", "Messages by what became of them, whole run", rows);
    }

    fn speed(&mut self) {
        let report = self.report;
        self.add("latency_seconds", "Intended send time to receiver, steady phase", quantiles(&report.latency_us));
        self.add("connect_seconds", "Begin of a connect to Welcome, whole run", quantiles(&report.connect_us));
        if let Some(groups) = &report.groups {
            self.add("group_ack_seconds", "Intended send time to the sender's ack, groups", quantiles(&groups.ack_us));
            self.add("group_first_seconds", "The same to the first member", quantiles(&groups.first_us));
            self.add("group_last_seconds", "The same to the last member", quantiles(&groups.last_us));
        }
        self.one("sent_per_second", "Sends, steady phase", Some(report.throughput.sent_per_second));
        self.one("delivered_per_second", "Deliveries, steady phase", Some(report.throughput.delivered_per_second));
        self.one("connections_held", "Fewest authenticated in the steady phase", Some(report.connections.held as f64));
        self.one(
            "connects_per_second",
            "Connects with authentication, steady phase",
            Some(report.connections.connects_per_second),
        );
        let stages = report.stages.iter().flat_map(|stages| &stages.stages);
        let rows = stages.flat_map(|stage| {
            let of = |what, us: f64| (vec![("stage", stage.stage.as_str()), ("statistic", what)], Some(us / 1e6));
            [of("mean", stage.mean_us), of("p50", stage.p50_us), of("p99", stage.p99_us)]
        });
        self.add("stage_seconds", "Time in a stage of the server, steady phase", rows);
    }

    fn server(&mut self) {
        let server = &self.report.server;
        self.one("server_cpu_cores", "CPU of the server, steady phase", server.cores_used);
        self.one(
            "server_cpu_seconds_per_million",
            "CPU of the server for a million delivered messages",
            server.cpu_s_per_million,
        );
        self.one(
            "server_resident_bytes",
            "Resident memory at the end of the steady phase",
            server.rss_at_end_bytes.map(|bytes| bytes as f64),
        );
        let memory = &self.report.memory_per_connection;
        let rows = [
            ("server_rss", memory.server_rss.bytes),
            ("server_private", memory.server_private.bytes),
            ("kernel", memory.kernel.bytes),
            ("tls", memory.tls.bytes),
        ];
        let rows = rows.map(|(part, bytes)| (vec![("part", part)], bytes));
        self.add("connection_bytes", "Memory a connection, by where it is", rows);
    }

    fn generator(&mut self) {
        let report = self.report;
        let numbers: Vec<String> = (0..report.generator.busy.len()).map(|worker| worker.to_string()).collect();
        let busy = numbers.iter().zip(&report.generator.busy);
        self.add(
            "worker_busy_ratio",
            "CPU of a worker, share of its core",
            busy.map(|(worker, busy)| (vec![("worker", worker.as_str())], Some(*busy))),
        );
        self.one("host_busy_ratio", "Share of the host's cores that was busy", report.machine.busy);
        let lag = &report.generator.pacing_lag_us;
        self.one("pacing_lag_p99_seconds", "Actual less intended send time", Some(lag.p99 as f64 / 1e6));
        let reading = &report.generator.reading_lag_us;
        self.one("reading_lag_p99_seconds", "How late deliveries were read, at least", Some(reading.p99 as f64 / 1e6));
        self.one(
            "saturated",
            "1 when the load generator was the limit",
            Some(f64::from(u8::from(report.generator.saturated))),
        );
    }
}

/// Quantiles and the maximum (quantile 1), s; nothing when nothing was measured.
fn quantiles(us: &Percentiles) -> Vec<Row<'static>> {
    if us.count == 0 {
        return Vec::new();
    }
    let rows =
        [("0.5", us.p50), ("0.9", us.p90), ("0.99", us.p99), ("0.999", us.p999), ("0.9999", us.p9999), ("1", us.max)];
    rows.map(|(quantile, us)| (vec![("quantile", quantile)], Some(us as f64 / 1e6))).to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{OPEN, report};
    use super::*;
    use crate::observe::exposition;

    #[test]
    fn figures_carry_the_scenarios_labels_and_can_be_read_back() {
        let mut report = report(OPEN, "p50_us = 500");
        report.name = "a \"b\"\n\\c".to_owned();
        report.errors.insert("disconnected: lost".to_owned(), 2);
        report.judge();
        let text = text(&report);
        let value = |name: &str, label: (&str, &str)| {
            let found =
                exposition::samples(&text, name).find(|s| label.0.is_empty() || s.label(label.0) == Some(label.1));
            let sample = found.unwrap_or_else(|| panic!("{name} {label:?} is missing from {text}"));
            assert_eq!(sample.label("scenario"), Some("a \"b\"\n\\c"));
            assert_eq!((sample.label("mode"), sample.label("protocol")), (Some("open"), Some("native")));
            sample.value
        };
        assert_eq!(value("shardwire_loadgen_passed", ("", "")), 1.0);
        assert_eq!(value("shardwire_loadgen_latency_seconds", ("quantile", "0.5")), 0.0004);
        assert_eq!(value("shardwire_loadgen_messages", ("result", "delivered")), 1.0);
        assert_eq!(value("shardwire_loadgen_threshold_holds", ("key", "p50_us")), 1.0);
        assert_eq!(value("shardwire_loadgen_errors", ("error", "disconnected: lost")), 2.0);
        assert!(!text.contains("shardwire_loadgen_server_cpu_cores{"), "what is unknown has no line");
    }
}
