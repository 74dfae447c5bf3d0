//! How a report is judged. The order of the reasons is what must stay: the audit, the person who interrupted, a run that
//! never began or did nothing, the load generator as the limit, the thresholds.

use super::{GroupFigures, Judged, Percentiles, Report, Verdict};
use crate::scenario::{Mode, Thresholds};

/// Key, limit, measured, whether the limit is the least, whether the generator's speed is part of it.
type Row = (&'static str, Option<f64>, Option<f64>, bool, bool);

/// A worker that is at work, or waits for a core, for so much of the time is the limit.
const BUSY: f64 = 0.95;
/// With this much of the host busy, nothing on it gets a CPU when it wants one.
const HOST_BUSY: f64 = 0.97;
/// Of a busy host, at least so much must be used by others than the server for it to be excused.
const OTHERS: f64 = 0.2;
/// An open load later than this (p99) is not the load asked for, ms, unless the scenario says otherwise.
const LAG_MS: f64 = 100.0;

impl Report {
    /// Judges thresholds and sets verdict, reason and exit code.
    pub fn judge(&mut self) {
        self.thresholds = self.judged();
        let lag_ms = self.generator.pacing_lag_us.p99 as f64 / 1e3;
        let allowed_lag_ms = self.scenario.thresholds.pacing_lag_ms.unwrap_or(LAG_MS);
        let busiest = self.generator.never_idle();
        self.generator.saturated = lag_ms > allowed_lag_ms || busiest >= BUSY || self.host_was_full().is_some();
        let failed: Vec<&Judged> = self.thresholds.iter().filter(|t| !t.holds).collect();
        let no_verdict = self.not_the_servers(&failed, lag_ms, allowed_lag_ms, busiest);
        let (verdict, reason) = if let Some(reason) = self.audit.failure() {
            (Verdict::Audit, reason)
        } else if self.interrupted {
            (Verdict::Interrupted, "interrupted; the audit is clean so far".to_owned())
        } else if let Some(missing) = self.not_connected {
            let load = &self.scenario.load;
            let text = format!(
                "{missing} of {} users were not authenticated within load.connect_timeout_s = {}",
                load.users, load.connect_timeout_s
            );
            (Verdict::Threshold, text)
        } else if let Some(missing) = self.not_joined {
            let within = self.scenario.load.connect_timeout_s;
            let text =
                format!("{missing} memberships of groups had not begun within load.connect_timeout_s = {within}");
            (Verdict::Threshold, text)
        } else if let Some(nothing) = self.nothing_happened() {
            (Verdict::Threshold, nothing.to_owned())
        } else if let Some(text) = no_verdict {
            (Verdict::Saturated, text)
        } else if failed.is_empty() {
            let done = match self.scenario.load.mode {
                Mode::Open | Mode::Closed => format!("{} messages audited clean", self.audit.delivered),
                Mode::Idle => format!("{} connections held", self.connections.held),
                Mode::Connect => format!("{} connects", self.connections.connects),
            };
            let hold = match self.thresholds.len() {
                1 => "1 threshold holds".to_owned(),
                count => format!("{count} thresholds hold"),
            };
            (Verdict::Pass, format!("{done}, {hold}"))
        } else {
            let said: Vec<String> = failed.iter().map(|t| t.to_string()).collect();
            (Verdict::Threshold, said.join("; "))
        };
        self.verdict = verdict;
        self.reason = reason;
        self.exit_code = verdict.exit_code();
    }

    /// Why what failed (or an open load that was not the one asked for) says nothing about the server; `None` when it does.
    ///
    /// What does not depend on the generator's speed is judged all the same, unless this host had no sockets left for it.
    fn not_the_servers(&self, failed: &[&Judged], lag_ms: f64, allowed_lag_ms: f64, busiest: f64) -> Option<String> {
        let own_sockets = |t: &&Judged| t.of_speed || ["errors", "connections_held"].contains(&t.key.as_str());
        if self.generator.socket_errors > 0 && !failed.is_empty() && failed.iter().all(own_sockets) {
            return Some(format!(
                "the load generator was the limit: its host refused it a socket {} times (no address, port, descriptor or memory left; see the errors)",
                self.generator.socket_errors
            ));
        }
        let late = self.scenario.load.mode == Mode::Open && lag_ms > allowed_lag_ms;
        let only_speed = failed.iter().all(|t| t.of_speed);
        let own_speed = self.speed_is_its_own();
        if failed.is_empty() && !late && !own_speed || !only_speed {
            return None;
        }
        let explained = self.lag_explains(failed);
        if busiest >= BUSY || lag_ms > allowed_lag_ms || explained {
            let own = if explained {
                "; its own lateness is most of the latency that is too long"
            } else if own_speed {
                "; its connects a second are what it can make, not what the server can take"
            } else {
                ""
            };
            return Some(format!(
                "the load generator was the limit: busiest worker at work or waiting for a core {:.0} % of the time, pacing lag p99 {lag_ms:.1} ms (at most {allowed_lag_ms} ms), reading lag p99 {:.1} ms{own}",
                busiest * 100.0,
                self.generator.reading_lag_us.p99 as f64 / 1e3
            ));
        }
        self.host_was_full()
    }

    /// Whether the host had no CPU left in the steady phase, and not because of the server.
    fn host_was_full(&self) -> Option<String> {
        let busy = self.machine.busy.filter(|busy| *busy >= HOST_BUSY)?;
        let cores = self.machine.cores as f64;
        let (server, own) = (self.server.cores_used.unwrap_or(0.0), self.generator.cores_used.unwrap_or(0.0));
        let others = (busy * cores - server - own).max(0.0);
        (own + others >= OTHERS * cores).then(|| {
            format!(
                "the load generator's host was the limit: {:.0} % of its {cores} cores busy, of that the server {server:.2} cores, the load generator {own:.2}, others {others:.2}",
                busy * 100.0
            )
        })
    }

    /// A load of connects is as fast as it can be made: at the generator's limit its figure says nothing of the server.
    fn speed_is_its_own(&self) -> bool {
        let enough = self.scenario.thresholds.connects_per_second;
        self.scenario.load.mode == Mode::Connect
            && self.generator.never_idle() >= BUSY
            && !enough.is_some_and(|enough| self.connections.connects_per_second >= enough)
    }

    /// A run that did nothing of what it was for is no pass, whatever its thresholds.
    fn nothing_happened(&self) -> Option<&'static str> {
        match self.scenario.load.mode {
            Mode::Open | Mode::Closed if self.audit.delivered == 0 => Some("no message was delivered"),
            Mode::Connect if self.connections.connects_per_second == 0.0 => {
                Some("nobody was authenticated in the steady phase")
            }
            _ => None,
        }
    }

    /// Whether the generator's own lateness, to send or to read, is more than half of a latency that is too long.
    fn lag_explains(&self, failed: &[&Judged]) -> bool {
        let (lag, reading) = (&self.generator.pacing_lag_us, &self.generator.reading_lag_us);
        let reading_acks = self.groups.as_ref().map_or(0, |groups| groups.ack_reading_lag_us.p99);
        failed.iter().any(|threshold| {
            let own = match threshold.key.as_str() {
                "p50_us" => lag.p50.max(reading.p50),
                "p99_us" | "group_last_p99_us" | "meanwhile_p99_us" => lag.p99.max(reading.p99),
                "group_ack_p99_us" => lag.p99.max(reading_acks),
                "group_first_p99_us" => lag.p99,
                "p999_us" => lag.p999.max(reading.p999),
                "max_us" => lag.max.max(reading.max),
                _ => return false,
            };
            threshold.measured.is_some_and(|measured| own as f64 * 2.0 > measured)
        })
    }

    fn judged(&self) -> Vec<Judged> {
        let Thresholds {
            p50_us,
            p99_us,
            p999_us,
            max_us,
            group_ack_p99_us,
            group_first_p99_us,
            group_last_p99_us,
            meanwhile_p99_us,
            delivered,
            delivered_per_second,
            connects_per_second,
            connections_held,
            errors,
            recovery_s,
            cpu_s_per_million,
            rss_bytes_per_connection,
            pacing_lag_ms: _,
        } = self.scenario.thresholds;
        let latency = |value: u64| (self.latency_us.count > 0).then_some(value as f64);
        let groups = |of: fn(&GroupFigures) -> &Percentiles| {
            self.groups.as_ref().map(of).filter(|us| us.count > 0).map(|us| us.p99 as f64)
        };
        let meanwhile = &self.latency_meanwhile_us;
        let meanwhile = (meanwhile.count > 0).then_some(meanwhile.p99 as f64);
        let float = |value: Option<u64>| value.map(|v| v as f64);
        let all_errors: u64 = self.errors.values().sum();
        let (most, least) = (false, true);
        // The slowest; none when one did not happen or did not end.
        let of = |behaviour: &super::Behaviour| behaviour.figures.get("recovery_s").and_then(serde_json::Value::as_f64);
        let each: Option<Vec<f64>> = self.behaviours.iter().map(of).collect();
        let recovery = each.and_then(|each| each.into_iter().reduce(f64::max));
        let rows: [Row; 16] = [
            ("p50_us", float(p50_us), latency(self.latency_us.p50), most, true),
            ("p99_us", float(p99_us), latency(self.latency_us.p99), most, true),
            ("p999_us", float(p999_us), latency(self.latency_us.p999), most, true),
            ("max_us", float(max_us), latency(self.latency_us.max), most, true),
            ("group_ack_p99_us", float(group_ack_p99_us), groups(|groups| &groups.ack_us), most, true),
            ("group_first_p99_us", float(group_first_p99_us), groups(|groups| &groups.first_us), most, true),
            ("group_last_p99_us", float(group_last_p99_us), groups(|groups| &groups.last_us), most, true),
            ("meanwhile_p99_us", float(meanwhile_p99_us), meanwhile, most, true),
            ("delivered", float(delivered), Some(self.audit.delivered as f64), least, true),
            ("delivered_per_second", delivered_per_second, Some(self.throughput.delivered_per_second), least, true),
            ("connects_per_second", connects_per_second, Some(self.connections.connects_per_second), least, true),
            ("connections_held", float(connections_held), Some(self.connections.held as f64), least, false),
            ("errors", float(errors), Some(all_errors as f64), most, false),
            ("recovery_s", recovery_s, recovery, most, false),
            ("cpu_s_per_million", cpu_s_per_million, self.server.cpu_s_per_million, most, false),
            ("rss_bytes_per_connection", rss_bytes_per_connection, self.server.rss_bytes_per_connection, most, false),
        ];
        let judge = |(key, limit, measured, least, of_speed): Row| {
            let limit = limit?;
            // What was to be judged and could not be measured does not hold.
            let holds = measured.is_some_and(|m| if least { m >= limit } else { m <= limit });
            Some(Judged { key: key.to_owned(), limit, measured, holds, of_speed, at_least: least })
        };
        rows.into_iter().filter_map(judge).collect()
    }
}
