//! The run second by second, bounded however long it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::Latencies;

/// Samples of a report, at most.
pub const SAMPLES_MAX: usize = 3_600;

/// A sample at the end that is shorter goes into the one before, s.
const SHORTEST_S: f64 = 0.5;

/// What a run goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Until everybody is authenticated.
    #[default]
    Connecting,
    /// Load rises.
    Ramp,
    /// Load is measured.
    Steady,
    /// Load goes on unmeasured.
    CoolDown,
    /// What is outstanding is waited for.
    Drain,
}

impl Phase {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Ramp => "ramp",
            Self::Steady => "steady",
            Self::CoolDown => "cool-down",
            Self::Drain => "drain",
        }
    }
}

/// When a phase was, s since the run's begin.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PhaseSpan {
    /// Which.
    pub phase: Phase,
    /// Its begin.
    pub from_s: f64,
    /// Its end.
    pub to_s: f64,
}

/// What happened in one second. In a long run a sample covers several: counts are then added up, percentiles and the
/// maximum are the worst of any of its seconds, connections the fewest, memory the most, CPU the mean.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// Its end, s since the run's begin.
    pub at_s: f64,
    /// How long it is, s.
    pub span_s: f64,
    /// The phase at its end.
    pub phase: Phase,
    /// Authenticated connections at its end.
    pub connected: u64,
    /// Messages sent in it.
    pub sent: u64,
    /// Messages acknowledged in it.
    pub acked: u64,
    /// Messages delivered in it.
    pub delivered: u64,
    /// Errors in it.
    pub errors: u64,
    /// Connects with authentication in it.
    pub connects: u64,
    /// Median latency of what was delivered in it, µs; absent when nothing was.
    pub p50_us: Option<u64>,
    /// 90th percentile, µs.
    pub p90_us: Option<u64>,
    /// 99th percentile, µs.
    pub p99_us: Option<u64>,
    /// The longest, µs.
    pub max_us: Option<u64>,
    /// CPU of the server's process, cores.
    pub server_cores: Option<f64>,
    /// Resident memory of the server's process, bytes.
    pub server_rss_bytes: Option<u64>,
    /// CPU of each worker, share of its core.
    pub workers_busy: Vec<f64>,
    /// Share of this host's cores that was busy.
    pub host_busy: Option<f64>,
    /// Memory of the kernel's TCP buffers on this host, bytes.
    pub kernel_tcp_bytes: Option<u64>,
}

impl Sample {
    /// Sets the latencies, when there are any.
    pub fn latencies(&mut self, latencies: &Latencies) {
        let us = |percent| (latencies.count() > 0).then(|| latencies.us(percent));
        (self.p50_us, self.p90_us, self.p99_us) = (us(50.0), us(90.0), us(99.0));
        self.max_us = (latencies.count() > 0).then(|| latencies.max_us());
    }

    /// A count of this sample as a rate, a second.
    pub fn per_second(&self, count: u64) -> f64 {
        if self.span_s > 0.0 { count as f64 / self.span_s } else { 0.0 }
    }

    /// This sample and the next as one.
    fn join(self, next: &Self) -> Self {
        let span_s = self.span_s + next.span_s;
        // Shares and cores: the mean, by how long each was.
        let mean = |a: f64, b: f64| if span_s > 0.0 { (a * self.span_s + b * next.span_s) / span_s } else { b };
        let mean_known = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(mean(a, b)),
            (a, b) => a.or(b),
        };
        Self {
            at_s: next.at_s,
            span_s,
            phase: next.phase,
            connected: self.connected.min(next.connected),
            sent: self.sent + next.sent,
            acked: self.acked + next.acked,
            delivered: self.delivered + next.delivered,
            errors: self.errors + next.errors,
            connects: self.connects + next.connects,
            p50_us: self.p50_us.max(next.p50_us),
            p90_us: self.p90_us.max(next.p90_us),
            p99_us: self.p99_us.max(next.p99_us),
            max_us: self.max_us.max(next.max_us),
            server_cores: mean_known(self.server_cores, next.server_cores),
            server_rss_bytes: self.server_rss_bytes.max(next.server_rss_bytes),
            workers_busy: self.workers_busy.iter().zip(&next.workers_busy).map(|(a, b)| mean(*a, *b)).collect(),
            host_busy: mean_known(self.host_busy, next.host_busy),
            kernel_tcp_bytes: self.kernel_tcp_bytes.max(next.kernel_tcp_bytes),
        }
    }
}

/// Keeps samples, never more than [`SAMPLES_MAX`]: when they would be, each two become one.
#[derive(Clone, Debug)]
pub struct Series {
    samples: Vec<Sample>,
    /// Seconds in one kept sample.
    fold: u32,
    /// The sample that is being put together, and of how many seconds it is.
    open: Option<(Sample, u32)>,
}

impl Default for Series {
    fn default() -> Self {
        Self { samples: Vec::new(), fold: 1, open: None }
    }
}

impl Series {
    /// Adds a second.
    pub fn push(&mut self, sample: Sample) {
        let (open, seconds) = match self.open.take() {
            Some((open, seconds)) => (open.join(&sample), seconds + 1),
            None => (sample, 1),
        };
        if seconds < self.fold {
            self.open = Some((open, seconds));
            return;
        }
        self.samples.push(open);
        if self.samples.len() == SAMPLES_MAX {
            self.halve();
        }
    }

    /// Adds what is left at the end, which may be much less than a second: too little for rates of its own.
    pub fn push_rest(&mut self, sample: Sample) {
        if sample.span_s < SHORTEST_S
            && let Some(last) = self.samples.pop()
        {
            let last = match self.open.take() {
                Some((open, _)) => {
                    self.samples.push(last);
                    open
                }
                None => last,
            };
            self.samples.push(last.join(&sample));
        } else {
            self.push(sample);
        }
    }

    fn halve(&mut self) {
        self.fold *= 2;
        let mut all = core::mem::take(&mut self.samples).into_iter();
        while let Some(sample) = all.next() {
            self.samples.push(match all.next() {
                Some(next) => sample.join(&next),
                None => sample,
            });
        }
    }

    /// All of them, the one that is being put together too.
    pub fn into_samples(mut self) -> Vec<Sample> {
        self.samples.extend(self.open.take().map(|open| open.0));
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at: u64) -> Sample {
        Sample {
            at_s: (at + 1) as f64,
            span_s: 1.0,
            phase: Phase::Steady,
            connected: 100 - at % 2,
            delivered: 10,
            p99_us: Some(100 + at % 4),
            max_us: Some(at),
            workers_busy: vec![(at % 2) as f64],
            server_rss_bytes: Some(at),
            ..Sample::default()
        }
    }

    #[test]
    fn a_long_run_is_thinned_and_loses_no_count_and_no_maximum() {
        let mut series = Series::default();
        let seconds = 10_001;
        (0..seconds).for_each(|at| series.push(second(at)));
        let samples = series.into_samples();
        assert!((SAMPLES_MAX / 2..=SAMPLES_MAX).contains(&samples.len()), "{}", samples.len());
        assert_eq!(samples.iter().map(|s| s.delivered).sum::<u64>(), seconds * 10);
        assert_eq!(samples.iter().map(|s| s.span_s).sum::<f64>(), seconds as f64);
        assert_eq!(samples.last().unwrap().max_us, Some(seconds - 1));
        assert!(samples.windows(2).all(|w| w[0].at_s + w[1].span_s == w[1].at_s), "without holes");
        let first = &samples[0];
        assert_eq!((first.span_s, first.connected, first.p99_us, first.max_us), (4.0, 99, Some(103), Some(3)));
        assert_eq!((first.workers_busy[0], first.server_rss_bytes), (0.5, Some(3)));
    }

    #[test]
    fn a_short_run_keeps_every_second() {
        let mut series = Series::default();
        (0..60).for_each(|at| series.push(second(at)));
        assert_eq!(series.into_samples(), (0..60).map(second).collect::<Vec<_>>());
    }

    #[test]
    fn a_rest_too_short_for_rates_goes_into_the_last_second() {
        let rest = |span_s: f64| {
            let mut series = Series::default();
            series.push(second(0));
            series.push(second(1));
            series.push_rest(Sample {
                span_s,
                at_s: 2.0 + span_s,
                phase: Phase::Drain,
                delivered: 1,
                ..Sample::default()
            });
            series.into_samples()
        };
        let (short, long) = (rest(0.02), rest(0.7));
        assert_eq!((short.len(), short[1].delivered, short[1].span_s), (2, 11, 1.02));
        assert_eq!((long.len(), long[2].delivered, long[2].span_s), (3, 1, 0.7));
    }

    #[test]
    fn a_second_without_deliveries_has_no_latency() {
        let mut sample = Sample::default();
        sample.latencies(&Latencies::default());
        assert_eq!((sample.p50_us, sample.max_us), (None, None));
        let joined = sample.join(&second(2));
        assert_eq!((joined.p99_us, joined.max_us), (Some(102), Some(2)));
    }
}
