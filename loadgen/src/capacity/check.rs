//! A prediction against a run: from the unit costs of a smaller run to CPU and memory of a larger one.
//!
//! Memory is a straight line: what a connection took and what each message left. CPU is given between two ends. A straight line
//! (what silent connections cost, a kept unit cost, and the smaller run's cost of a message for each of the larger's) is what a
//! plan should reckon with, and too much where more load shares wake-ups; the other end is the smaller run's CPU and only a
//! fully batched message's cost (the kept `batched_cpu_us`) for each message more.

use serde::Serialize;
use serde_json::{Value, json};

use super::Refused;
use super::costs::Costs;
use super::show::number;
use crate::recorded::Recorded;

/// A prediction held against a run.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The two runs' loads.
    pub from: Load,
    /// The run predicted.
    pub to: Load,
    /// CPU as a straight line, CPU with wake-ups shared, memory.
    pub rows: Vec<Row>,
    /// Runs in which the load generator was the limit.
    pub saturated: usize,
}

/// What a run was of.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// Its scenario.
    pub name: String,
    /// Deliveries a second.
    pub delivered_per_second: f64,
    /// Connections held.
    pub connections: f64,
}

/// A figure predicted.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What.
    pub figure: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What the smaller run makes one expect.
    pub predicted: f64,
    /// What the larger run showed.
    pub measured: f64,
    /// predicted / measured − 1, percent.
    pub error_percent: f64,
    /// The formula with its numbers.
    pub how: String,
}

/// What is needed of a run.
struct Seen {
    load: Load,
    cores: f64,
    per_second: f64,
    delivered: f64,
    at_ready: f64,
    at_steady: f64,
    at_end: f64,
}

impl Seen {
    fn of(report: &Recorded) -> Result<Self, Refused> {
        let need = |path: &str| {
            let missing = || Refused::File {
                path: report.path.clone(),
                what: format!(
                    "has no {path}: a check needs a run with messages whose server's process can be looked at"
                ),
            };
            report.number(path).filter(|v| *v > 0.0).ok_or_else(missing)
        };
        let per_second = need("throughput.delivered_per_second")?;
        let connections = need("connections.held")?;
        Ok(Self {
            load: Load {
                name: report.text("name").unwrap_or_default().to_owned(),
                delivered_per_second: per_second,
                connections,
            },
            cores: need("server.cores_used")?,
            per_second,
            delivered: need("throughput.delivered")?,
            at_ready: need("server.rss_at_ready_bytes")?,
            at_steady: need("server.rss_at_steady_bytes")?,
            at_end: need("server.rss_at_end_bytes")?,
        })
    }
}

/// Predicts `full` from `half`.
///
/// # Errors
/// A report lacks what is needed, or the loads are the same.
pub fn check(costs: &Costs, half: &Recorded, full: &Recorded) -> Result<Checked, Refused> {
    let (a, b) = (Seen::of(half)?, Seen::of(full)?);
    if b.per_second < a.per_second * 1.2 {
        return Err(Refused::Input(format!(
            "--check {} {}: the second run delivers {:.0} messages a second, the first {:.0}: a check needs clearly more load in the second",
            half.path.display(),
            full.path.display(),
            b.per_second,
            a.per_second
        )));
    }
    let cost = |name: &str| costs.figure.get(name).map_or(0.0, |f| f.value);
    let rows =
        vec![cpu_straight(&a, &b, cost("idle_cpu_us")), cpu_shared(&a, &b, cost("batched_cpu_us")), memory(&a, &b)];
    let saturated = [half, full].iter().filter(|run| run.yes("generator.saturated")).count();
    Ok(Checked { rows, saturated, from: a.load, to: b.load })
}

fn row(figure: &'static str, unit: &'static str, predicted: f64, measured: f64, how: String) -> Row {
    Row { figure, unit, predicted, measured, error_percent: (predicted / measured - 1.0) * 100.0, how }
}

fn cpu_straight(a: &Seen, b: &Seen, idle_us: f64) -> Row {
    let idle = |seen: &Seen| seen.load.connections * idle_us / 1e6;
    let message_us = (a.cores - idle(a)).max(0.0) / a.per_second * 1e6;
    let predicted = idle(b) + message_us * b.per_second / 1e6;
    let how = format!(
        "{} connections × {} µs/s + {} messages/s × {} µs (half: {} cores at {}/s)",
        number(b.load.connections),
        number(idle_us),
        number(b.per_second),
        number(message_us),
        number(a.cores),
        number(a.per_second)
    );
    row("CPU, straight line", "cores", predicted, b.cores, how)
}

fn cpu_shared(a: &Seen, b: &Seen, batched_us: f64) -> Row {
    let more = b.per_second - a.per_second;
    let predicted = a.cores + more * batched_us / 1e6;
    let how = format!(
        "half: {} cores + {} messages/s more × {} µs in full batches",
        number(a.cores),
        number(more),
        number(batched_us)
    );
    row("CPU, wake-ups shared", "cores", predicted, b.cores, how)
}

fn memory(a: &Seen, b: &Seen) -> Row {
    const MIB: f64 = 1_048_576.0;
    let connection = (a.at_steady - a.at_ready) / a.load.connections;
    let message = (a.at_end - a.at_steady) / a.delivered;
    let predicted = a.at_ready + connection * b.load.connections + message * b.delivered;
    let how = format!(
        "{} MiB at the start + {} connections × {} B + {} messages × {} B",
        number(a.at_ready / MIB),
        number(b.load.connections),
        number(connection),
        number(b.delivered),
        number(message)
    );
    row("memory at the end", "MiB", predicted / MIB, b.at_end / MIB, how)
}

impl Checked {
    /// The largest error, percent, either way; none of CPU that lies between its two ends.
    pub fn worst_percent(&self) -> f64 {
        let [straight, shared, memory] = [0, 1, 2].map(|row: usize| self.rows[row].error_percent);
        let between = straight >= 0.0 && shared <= 0.0;
        let cpu = if between { 0.0 } else { straight.abs().min(shared.abs()) };
        cpu.max(memory.abs())
    }

    /// For machines.
    pub fn json(&self) -> Value {
        json!({"schema": 1, "from": self.from, "to": self.to, "rows": self.rows, "worst_percent": self.worst_percent()})
    }

    /// For people.
    pub fn text(&self) -> String {
        let load = |l: &Load| {
            format!("{} ({}/s, {} connections)", l.name, number(l.delivered_per_second), number(l.connections))
        };
        let mut lines = vec![
            format!("from {} to {}", load(&self.from), load(&self.to)),
            format!("{:<26} {:>14} {:>14} {:>8}", "", "predicted", "measured", "error"),
        ];
        for row in &self.rows {
            let unit = |value: f64| format!("{} {}", number(value), row.unit);
            lines.push(format!(
                "{:<26} {:>14} {:>14} {:>+6.0} %",
                row.figure,
                unit(row.predicted),
                unit(row.measured),
                row.error_percent
            ));
            lines.push(format!("    {}", row.how));
        }
        if self.saturated > 0 {
            lines.push(format!(
                "the load generator was the limit in {} of 2 runs: its messages came in bursts, which cost the server less",
                self.saturated
            ));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rate: f64, cores: f64, end: f64) -> Recorded {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            r#"{{"schema": 2, "verdict": "pass", "name": "x", "scenario": {{}}, "connections": {{"held": 1000}},
                "throughput": {{"delivered_per_second": {rate}, "delivered": {}}},
                "server": {{"cores_used": {cores}, "rss_at_ready_bytes": 10e6, "rss_at_steady_bytes": 20e6, "rss_at_end_bytes": {end}}}}}"#,
            rate * 10.0
        );
        std::fs::write(file.path(), text).unwrap();
        Recorded::read(file.path()).unwrap()
    }

    #[test]
    fn a_straight_line_is_predicted_exactly() {
        let costs = Costs::load(None).unwrap();
        let idle = costs.figure["idle_cpu_us"].value * 1_000.0 / 1e6;
        let found = check(&costs, &report(5_000.0, idle + 0.2, 40e6), &report(10_000.0, idle + 0.4, 60e6)).unwrap();
        assert!(found.rows[0].error_percent.abs() < 1e-9 && found.worst_percent() < 1e-9, "{}", found.text());
    }

    #[test]
    fn what_bends_is_the_error() {
        let costs = Costs::load(None).unwrap();
        let found = check(&costs, &report(5_000.0, 0.5, 40e6), &report(10_000.0, 0.75, 60e6)).unwrap();
        assert!((25.0..40.0).contains(&found.rows[0].error_percent), "{}", found.text());
        assert!(found.rows[1].error_percent < 0.0 && found.worst_percent() < 1e-9, "between the two ends");
        let beyond = check(&costs, &report(5_000.0, 0.5, 40e6), &report(10_000.0, 2.0, 60e6)).unwrap();
        assert!((49.0..51.0).contains(&beyond.worst_percent()), "{}", beyond.text());
    }

    #[test]
    fn runs_that_cannot_be_compared_are_refused_by_name() {
        let costs = Costs::load(None).unwrap();
        let same = check(&costs, &report(5_000.0, 0.5, 40e6), &report(5_100.0, 0.5, 40e6)).unwrap_err().to_string();
        assert!(same.contains("clearly more load"), "{same}");
        let blind = check(&costs, &report(5_000.0, 0.0, 40e6), &report(10_000.0, 1.0, 40e6)).unwrap_err().to_string();
        assert!(blind.contains("server.cores_used"), "{blind}");
    }
}
