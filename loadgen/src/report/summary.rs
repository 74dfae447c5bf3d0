//! A report in a few lines for people; the last one is the verdict with its reason.

use super::{Amount, Report, describe};
use crate::words;

impl Report {
    /// The lines.
    pub fn summary(&self) -> String {
        let mut lines = vec![format!("{}: {}", self.name, describe(&self.scenario.load))];
        if self.scenario.load.sends() {
            self.messages(&mut lines);
        }
        lines.push(format!(
            "connections held {} of {}, {:.0} connects/s in the steady phase",
            self.connections.held, self.connections.wanted, self.connections.connects_per_second
        ));
        self.server_lines(&mut lines);
        let busy: Vec<String> = self.generator.busy.iter().map(|b| format!("{:.0} %", b * 100.0)).collect();
        let host = self.machine.busy.map_or_else(String::new, |busy| format!(", host {:.0} % busy", busy * 100.0));
        lines.push(format!(
            "generator   busy {}{host}, pacing lag p99 {} µs, reading lag p99 {} µs",
            if busy.is_empty() { "unknown".to_owned() } else { busy.join(" ") },
            self.generator.pacing_lag_us.p99,
            self.generator.reading_lag_us.p99
        ));
        for behaviour in &self.behaviours {
            lines.push(format!("{:<15} {}", behaviour.name, behaviour.said));
        }
        for (name, count) in &self.errors_tolerated {
            lines.push(format!("tolerated   {count} × {name}"));
        }
        for (name, count) in &self.errors {
            lines.push(format!("error       {count} × {name}"));
        }
        lines.push(self.verdict_line());
        lines.join("\n")
    }

    /// The verdict, its exit code and its reason, in one line.
    pub fn verdict_line(&self) -> String {
        format!("{} ({}): {}", format!("{:?}", self.verdict).to_lowercase(), self.exit_code, self.reason)
    }

    fn messages(&self, lines: &mut Vec<String>) {
        let (audit, latency) = (&self.audit, &self.latency_us);
        lines.push(format!(
            "audit       sent {} acked {} delivered {} lost {} doubled {} reordered {} acked but missing {}",
            audit.sent,
            audit.acked,
            audit.delivered,
            audit.lost,
            audit.doubled,
            audit.reordered,
            audit.acked_but_missing
        ));
        if self.scenario.load.audits_receipts() {
            lines.push(format!(
                "receipts    missing {} false {} unjudged {}",
                audit.receipts_missing, audit.receipts_false, audit.receipts_unjudged
            ));
        }
        lines.push(format!(
            "latency     p50 {} µs  p99 {} µs  p99.9 {} µs  max {} µs  ({} messages)",
            latency.p50, latency.p99, latency.p999, latency.max, latency.count
        ));
        let away = &self.latency_away_us;
        if away.count > 0 {
            lines.push(format!(
                "  away      p50 {} µs  p99 {} µs  max {} µs  ({} messages from or to users away on purpose)",
                away.p50, away.p99, away.max, away.count
            ));
        }
        self.group_lines(lines);
        lines.push(format!(
            "throughput  {:.0} delivered/s over {:.1} s",
            self.throughput.delivered_per_second, self.throughput.steady_s
        ));
        if let Some(stages) = &self.stages {
            let each = stages.stages.iter().map(|s| format!("{} {}", s.stage.replace('_', " "), words::us(s.mean_us)));
            let each: Vec<String> = each.collect();
            let own = &self.generator;
            let (late, read) = (words::us(own.pacing_lag_us.mean), words::us(own.reading_lag_us.mean));
            let outside = |us| format!(", outside {} (own: sent late {late}, read late {read})", words::us(us));
            let outside = stages.outside_mean_us.map_or_else(String::new, outside);
            lines.push(format!("stages      {}{outside} (means)", each.join(", ")));
        }
    }

    fn group_lines(&self, lines: &mut Vec<String>) {
        let meanwhile = &self.latency_meanwhile_us;
        if meanwhile.count > 0 {
            lines.push(format!(
                "  meanwhile p50 {} µs  p99 {} µs  max {} µs  ({} messages among the others while users were away)",
                meanwhile.p50, meanwhile.p99, meanwhile.max, meanwhile.count
            ));
        }
        let Some(groups) = &self.groups else { return };
        for kind in &groups.kinds {
            let each = [("ack", &kind.ack_us), ("first", &kind.first_us), ("last", &kind.last_us)];
            let each = each.map(|(name, us)| format!("{name} p50 {} p99 {} max {} µs", us.p50, us.p99, us.max));
            lines.push(format!(
                "groups      {} of {}: {}  ({} messages)",
                kind.groups,
                kind.members,
                each.join("  "),
                kind.last_us.count
            ));
        }
        lines.push(format!(
            "  members   {:.0} deliveries/s, {} receipts ({} missing, {} unjudged), {} messages not followed",
            groups.deliveries_per_second,
            groups.receipts,
            groups.receipts_missing,
            groups.receipts_unjudged,
            groups.not_followed
        ));
    }

    fn server_lines(&self, lines: &mut Vec<String>) {
        let known =
            |value: Option<f64>, unit: &str| value.map_or_else(|| "unknown".to_owned(), |v| format!("{v:.2} {unit}"));
        let cost = if self.scenario.load.sends() {
            format!("{} per million delivered, ", known(self.server.cpu_s_per_million, "CPU s"))
        } else if self.server.cpu_s_per_thousand_connects.is_some() {
            format!("{} per thousand connects, ", known(self.server.cpu_s_per_thousand_connects, "CPU s"))
        } else {
            String::new()
        };
        lines.push(format!("server      {cost}{}", known(self.server.cores_used, "cores")));
        let memory = &self.memory_per_connection;
        let bytes = |amount: &Amount| amount.bytes.map_or_else(|| "unknown".to_owned(), |b| format!("{b:.0} bytes"));
        lines.push(format!(
            "memory      a connection: server {} resident ({} private), kernel {}",
            bytes(&memory.server_rss),
            bytes(&memory.server_private),
            bytes(&memory.kernel)
        ));
    }
}
