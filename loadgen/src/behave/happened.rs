//! What came of a behaviour: counted by each worker for its users, joined for the report.

use serde::Serialize;

use crate::measure::Latencies;
use crate::report::Percentiles;

/// One worker's part. Times are ns since the begin of the ramp.
#[derive(Clone, Debug)]
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

/// A behaviour in the report.
#[derive(Clone, Debug, Serialize)]
pub struct BehaviourReport {
    /// Its kind.
    pub kind: String,
    /// What it was to do.
    pub description: String,
    /// When it began, s after the begin of the ramp; absent when nothing happened.
    pub began_s: Option<f64>,
    /// When the last thing happened to a user.
    pub ended_s: Option<f64>,
    /// How often something happened to a user.
    pub users: u64,
    /// How often it could not, because the user had no session.
    pub skipped: u64,
    /// Of `users`, those that did not come back, or not to the end of what they had missed.
    pub not_recovered: u64,
    /// From when a user could be back to its session (or to its reading on).
    pub back_us: Percentiles,
    /// From then until it also had what it had missed.
    pub recovered_us: Percentiles,
    /// From `began_s` until all were back and had what they had missed; absent when somebody was not.
    pub recovery_s: Option<f64>,
    /// Messages that waited for users who were away.
    pub backlog: u64,
    /// From the first return until the last of these had come.
    pub drain_s: Option<f64>,
    /// Messages of the backlog a second of that.
    pub drain_per_second: Option<f64>,
    /// What the server did (restart): when it ended, was ready again; or why not.
    pub server: Option<ServerReturn>,
}

/// A restart as the controller saw it, s after the begin of the ramp.
#[derive(Clone, Debug, Default, Serialize)]
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

impl BehaviourReport {
    /// Of all workers' parts together.
    pub fn new(kind: &str, description: String, happened: &Happened, server: Option<ServerReturn>) -> Self {
        let seconds = |ns: u64| ns as f64 / 1e9;
        let some = happened.acts > 0;
        let began_s = server.as_ref().map(|server| server.stopped_s).or(some.then(|| seconds(happened.first)));
        let not_recovered = happened.acts.saturating_sub(happened.to_recovered.count());
        let server_failed = server.as_ref().is_some_and(|server| server.ready_s.is_none());
        let end = happened.recovered.max(happened.drain_end);
        let drain_s = (happened.backlog > 0).then(|| seconds(happened.drain_end.saturating_sub(happened.drain_begin)));
        Self {
            kind: kind.to_owned(),
            description,
            began_s,
            ended_s: some.then(|| seconds(happened.last)),
            users: happened.acts,
            skipped: happened.skipped,
            not_recovered,
            back_us: Percentiles::from(&happened.to_back),
            recovered_us: Percentiles::from(&happened.to_recovered),
            recovery_s: began_s
                .filter(|_| some && not_recovered == 0 && !server_failed)
                .map(|began| (seconds(end) - began).max(0.0)),
            backlog: happened.backlog,
            drain_s,
            drain_per_second: drain_s.filter(|s| *s > 0.0).map(|s| happened.backlog as f64 / s),
            server,
        }
    }
}
