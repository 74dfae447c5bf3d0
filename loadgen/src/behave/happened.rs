//! What came of a behaviour: counted by each worker for its users, joined for the report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::measure::Latencies;
use crate::report::Behaviour;

/// One worker's part. Times are ns since the begin of the ramp.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Happened {
    /// How often something happened to a user.
    pub acts: u64,
    /// How often it could not: the user had no session.
    pub skipped: u64,
    /// First and last act.
    pub first: u64,
    /// See `first`.
    pub last: u64,
    /// From when a user could have been back to its session (or to its reading on).
    pub to_back: Latencies,
    /// From then until it also had what it had missed.
    pub to_recovered: Latencies,
    /// The last of these.
    pub recovered: u64,
    /// Messages that waited for users who were away.
    pub backlog: u64,
    /// When the first of those users was back.
    pub drain_begin: u64,
    /// When the last of those messages came.
    pub drain_end: u64,
}

impl Default for Happened {
    fn default() -> Self {
        Self {
            acts: 0,
            skipped: 0,
            first: u64::MAX,
            last: 0,
            to_back: Latencies::default(),
            to_recovered: Latencies::default(),
            recovered: 0,
            backlog: 0,
            drain_begin: u64::MAX,
            drain_end: 0,
        }
    }
}

impl Happened {
    /// Adds another worker's part.
    pub fn add(&mut self, other: &Self) {
        self.acts += other.acts;
        self.skipped += other.skipped;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.to_back.add(&other.to_back);
        self.to_recovered.add(&other.to_recovered);
        self.recovered = self.recovered.max(other.recovered);
        self.backlog += other.backlog;
        self.drain_begin = self.drain_begin.min(other.drain_begin);
        self.drain_end = self.drain_end.max(other.drain_end);
    }
}

/// A restart as the controller saw it, s after the begin of the ramp.
#[derive(Clone, Debug, Default)]
pub struct ServerReturn {
    /// The signal was sent.
    pub stopped_s: f64,
    /// The process had ended.
    pub ended_s: Option<f64>,
    /// It was started again.
    pub started_s: Option<f64>,
    /// It was ready again.
    pub ready_s: Option<f64>,
    /// How it ended.
    pub status: Option<String>,
    /// Why it is not back.
    pub failed: Option<String>,
}

impl ServerReturn {
    fn figures(&self, figures: &mut BTreeMap<String, Value>) {
        for (name, value) in [
            ("server_stopped_s", Some(self.stopped_s)),
            ("server_ended_s", self.ended_s),
            ("server_started_s", self.started_s),
            ("server_ready_s", self.ready_s),
        ] {
            figures.insert(name.to_owned(), value.into());
        }
        figures.insert("server_status".to_owned(), self.status.clone().into());
        if let Some(failed) = &self.failed {
            figures.insert("server_failed".to_owned(), failed.clone().into());
        }
    }

    fn said(&self) -> String {
        match (self.ready_s, &self.failed) {
            (Some(ready), _) => format!("the server was ready again after {:.1} s; ", ready - self.stopped_s),
            (None, Some(failed)) => format!("the server did not come back: {failed}; "),
            (None, None) => "the server was not back by the end; ".to_owned(),
        }
    }
}

impl Happened {
    /// From the begin of the behaviour until everybody was back and had what was missed, s; `None`: nothing happened, or
    /// somebody was not back.
    fn recovery_s(&self, began: Option<f64>, server: Option<&ServerReturn>) -> Option<f64> {
        let server_back = server.is_none_or(|server| server.ready_s.is_some());
        let end = self.recovered.max(self.drain_end) as f64 / 1e9;
        began.filter(|_| self.acts > 0 && self.not_recovered() == 0 && server_back).map(|began| (end - began).max(0.0))
    }

    /// Users who were not back, or not to the end of what they had missed.
    fn not_recovered(&self) -> u64 {
        self.acts.saturating_sub(self.to_recovered.count())
    }

    /// The behaviour as the report tells it.
    pub fn report(&self, kind: &str, description: &str, server: Option<&ServerReturn>) -> Behaviour {
        let seconds = |ns: u64| ns as f64 / 1e9;
        let some = self.acts > 0;
        let began = server.map(|server| server.stopped_s).or(some.then(|| seconds(self.first)));
        let drain = (self.backlog > 0).then(|| seconds(self.drain_end.saturating_sub(self.drain_begin)));
        let recovery = self.recovery_s(began, server);
        let mut figures = BTreeMap::new();
        let mut put = |name: &str, value: Value| figures.insert(name.to_owned(), value);
        put("began_s", began.into());
        put("last_s", some.then(|| seconds(self.last)).into());
        put("users", self.acts.into());
        put("skipped", self.skipped.into());
        put("not_recovered", self.not_recovered().into());
        for (name, latencies) in [("back", &self.to_back), ("recovered", &self.to_recovered)] {
            put(&format!("{name}_p50_us"), latencies.us(50.0).into());
            put(&format!("{name}_p99_us"), latencies.us(99.0).into());
            put(&format!("{name}_max_us"), latencies.max_us().into());
        }
        put("recovery_s", recovery.into());
        put("backlog", self.backlog.into());
        put("drain_s", drain.into());
        put("drain_per_second", drain.filter(|s| *s > 0.0).map(|s| self.backlog as f64 / s).into());
        if let Some(server) = server {
            server.figures(&mut figures);
        }
        let ended = match recovery {
            _ if !some => "nobody was concerned".to_owned(),
            Some(recovery) => format!("{} users, all back with all they had missed after {recovery:.1} s", self.acts),
            None => format!("{} users, {} of them not back at the end", self.acts, self.not_recovered()),
        };
        let waited = match drain {
            Some(drain) => format!("; {} messages had waited, delivered over {drain:.2} s", self.backlog),
            None => String::new(),
        };
        let server = server.map_or_else(String::new, ServerReturn::said);
        Behaviour { name: kind.to_owned(), said: format!("{description}: {server}{ended}{waited}"), figures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happened() -> Happened {
        let mut happened = Happened { acts: 2, first: 5_000_000_000, last: 6_000_000_000, ..Happened::default() };
        for ms in [100, 300] {
            happened.to_back.record_ns(ms * 1_000_000);
            happened.to_recovered.record_ns(2 * ms * 1_000_000);
        }
        happened.recovered = 6_600_000_000;
        happened
    }

    #[test]
    fn workers_parts_are_joined() {
        let mut sum = happened();
        let mut other = happened();
        (other.first, other.recovered) = (4_000_000_000, 7_000_000_000);
        (other.backlog, other.drain_begin, other.drain_end) = (30, 6_100_000_000, 9_100_000_000);
        sum.add(&other);
        let report = sum.report("offline-drain", "they leave", None);
        let figure = |name: &str| report.figures[name].as_f64();
        assert_eq!((figure("users"), figure("not_recovered"), figure("began_s")), (Some(4.0), Some(0.0), Some(4.0)));
        assert_eq!(
            (figure("recovery_s"), figure("drain_s"), figure("drain_per_second")),
            (Some(5.1), Some(3.0), Some(10.0))
        );
        assert_eq!(
            report.said,
            "they leave: 4 users, all back with all they had missed after 5.1 s; 30 messages had waited, delivered over 3.00 s"
        );
    }

    #[test]
    fn there_is_no_recovery_while_a_user_or_the_server_is_not_back() {
        let mut one_away = happened();
        one_away.acts = 3;
        assert!(one_away.report("churn", "cut", None).figures["recovery_s"].is_null());
        assert!(Happened::default().report("churn", "cut", None).said.contains("nobody"));
        let gone = ServerReturn { stopped_s: 5.0, failed: Some("no disk".to_owned()), ..ServerReturn::default() };
        let report = happened().report("restart", "stopped", Some(&gone));
        assert!(
            report.figures["recovery_s"].is_null() && report.said.contains("did not come back: no disk"),
            "{}",
            report.said
        );
    }
}
