//! A prediction against a run: from the unit costs of a smaller run to CPU and memory of a larger one.
//!
//! CPU is what connections cost while silent (a kept unit cost) and a message's cost times the messages; memory is what a
//! connection took and what each message left. Both are straight lines. What batching saves at a higher rate, and what a memory
//! table that fills up bends, is therefore seen as the error.

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
    /// Each figure.
    pub rows: Vec<Row>,
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
    let idle_us = costs.figure.get("idle_cpu_us").map_or(0.0, |f| f.value);
    Ok(Checked { rows: vec![cpu(&a, &b, idle_us), memory(&a, &b)], from: a.load, to: b.load })
}

fn row(figure: &'static str, unit: &'static str, predicted: f64, measured: f64, how: String) -> Row {
    Row { figure, unit, predicted, measured, error_percent: (predicted / measured - 1.0) * 100.0, how }
}

fn cpu(a: &Seen, b: &Seen, idle_us: f64) -> Row {
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
    row("server CPU", "cores", predicted, b.cores, how)
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
    row("server memory at the end", "MiB", predicted / MIB, b.at_end / MIB, how)
}

impl Checked {
    /// The largest error, percent, either way.
    pub fn worst_percent(&self) -> f64 {
        self.rows.iter().map(|r| r.error_percent.abs()).fold(0.0, f64::max)
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
        assert!(found.worst_percent() < 1e-9, "{}", found.text());
        assert_eq!(found.rows.len(), 2);
    }

    #[test]
    fn what_bends_is_the_error() {
        let costs = Costs::load(None).unwrap();
        let found = check(&costs, &report(5_000.0, 0.5, 40e6), &report(10_000.0, 0.75, 60e6)).unwrap();
        assert!((25.0..40.0).contains(&found.rows[0].error_percent), "{}", found.text());
        assert!(found.text().contains("measured"));
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
