//! One sample a second, from what workers show and the host's files say.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::watch::Sums;
use crate::measure::{Latencies, Shown};
use crate::observe::host::Ticks;
use crate::observe::kernel;
use crate::report::series::Series;
use crate::report::{Phase, Sample};
use crate::server::proc;

const SECOND_NS: u64 = 1_000_000_000;

/// What was at the end of the last sample, for the differences.
pub struct Sampler {
    /// All samples so far.
    pub series: Series,
    begun_ns: u64,
    last_ns: u64,
    due_ns: u64,
    last: Sums,
    workers_cpu_ns: Vec<u64>,
    host: Option<Ticks>,
    pids: Vec<u32>,
    server_cpu_s: Option<f64>,
    latencies: Latencies,
}

impl Sampler {
    /// From now on, ns of the monotonic clock; `pids`: the server's processes.
    pub fn new(now: u64, pids: &[u32]) -> Self {
        Self {
            series: Series::default(),
            begun_ns: now,
            last_ns: now,
            due_ns: now + SECOND_NS,
            last: Sums::default(),
            workers_cpu_ns: Vec::new(),
            host: Ticks::now(),
            pids: pids.to_vec(),
            server_cpu_s: proc::glance_all(pids).map(|(cpu_s, _)| cpu_s),
            latencies: Latencies::default(),
        }
    }

    /// The server is another process now, when it is.
    pub fn follow(&mut self, pids: &[u32]) {
        if self.pids != pids {
            self.pids = pids.to_vec();
            self.server_cpu_s = proc::glance_all(pids).map(|(cpu_s, _)| cpu_s);
        }
    }

    /// Whether a second has passed.
    pub const fn is_due(&self, now: u64) -> bool {
        now >= self.due_ns
    }

    /// What happened since the last sample.
    pub fn take(&mut self, now: u64, phase: Phase, sums: Sums, shown: &[Arc<Shown>]) -> Sample {
        let span_s = now.saturating_sub(self.last_ns) as f64 / 1e9;
        self.latencies.clear();
        for shown in shown {
            shown.take_latencies(&mut self.latencies);
        }
        let server = proc::glance_all(&self.pids);
        let server_cpu_s = server.map(|(cpu_s, _)| cpu_s);
        let server_cores = server_cpu_s.zip(self.server_cpu_s).map(|(now, then)| (now - then).max(0.0) / span_s);
        let host = Ticks::now();
        let host_busy = host.zip(self.host).and_then(|(now, then)| now.since(then)).map(|(busy, _)| busy);
        let mut sample = Sample {
            at_s: now.saturating_sub(self.begun_ns) as f64 / 1e9,
            span_s,
            phase,
            connected: sums.authenticated,
            sent: sums.sent - self.last.sent,
            acked: sums.acked - self.last.acked,
            delivered: sums.delivered - self.last.delivered,
            errors: sums.errors.saturating_sub(self.last.errors),
            connects: sums.connects - self.last.connects,
            server_cores: server_cores.filter(|cores| cores.is_finite()),
            server_rss_bytes: server.map(|(_, rss)| rss),
            workers_busy: self.workers_busy(shown, span_s),
            host_busy,
            kernel_tcp_bytes: kernel::buffer_bytes(),
            ..Sample::default()
        };
        sample.latencies(&self.latencies);
        (self.last, self.last_ns) = (sums, now);
        (self.host, self.server_cpu_s) = (host, server_cpu_s);
        // A late look does not make the next ones early.
        self.due_ns = now.max(self.due_ns) + SECOND_NS - now.saturating_sub(self.due_ns) % SECOND_NS;
        sample
    }

    fn workers_busy(&mut self, shown: &[Arc<Shown>], span_s: f64) -> Vec<f64> {
        let now: Vec<u64> = shown.iter().map(|s| s.cpu_ns.load(Ordering::Relaxed)).collect();
        self.workers_cpu_ns.resize(now.len(), 0);
        let share = |(now, then): (&u64, &u64)| now.saturating_sub(*then) as f64 / 1e9 / span_s.max(1e-3);
        let busy = now.iter().zip(&self.workers_cpu_ns).map(share).collect();
        self.workers_cpu_ns = now;
        busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_the_difference_to_the_one_before() {
        let shown = [Arc::new(Shown::default())];
        let mut sampler = Sampler::new(0, &[std::process::id()]);
        assert!(!sampler.is_due(SECOND_NS - 1) && sampler.is_due(SECOND_NS));
        let sums =
            Sums { sent: 10, acked: 9, delivered: 8, authenticated: 4, connects: 5, errors: 1, ..Sums::default() };
        sampler.take(SECOND_NS, Phase::Ramp, sums, &shown);
        shown[0].cpu_ns.store(500_000_000, Ordering::Relaxed);
        shown[0].latencies.lock().unwrap().record_ns(2_000_000);
        let sums =
            Sums { sent: 30, acked: 29, delivered: 28, authenticated: 3, connects: 6, errors: 1, ..Sums::default() };
        let sample = sampler.take(3 * SECOND_NS, Phase::Steady, sums, &shown);
        assert_eq!((sample.at_s, sample.span_s, sample.connected), (3.0, 2.0, 3));
        assert_eq!((sample.sent, sample.acked, sample.delivered, sample.connects, sample.errors), (20, 20, 20, 1, 0));
        assert_eq!(sample.workers_busy, [0.25]);
        assert!(sample.max_us.is_some_and(|us| us >= 2_000) && sample.server_rss_bytes.is_some());
        let empty = sampler.take(4 * SECOND_NS, Phase::Drain, sums, &shown);
        assert_eq!((empty.sent, empty.p50_us), (0, None), "latencies are taken once");
    }

    #[test]
    fn a_late_look_keeps_the_beat() {
        let mut sampler = Sampler::new(0, &[]);
        sampler.take(SECOND_NS + 300, Phase::Ramp, Sums::default(), &[]);
        assert!(!sampler.is_due(2 * SECOND_NS - 1) && sampler.is_due(2 * SECOND_NS));
        sampler.take(5 * SECOND_NS + 300, Phase::Ramp, Sums::default(), &[]);
        assert!(!sampler.is_due(6 * SECOND_NS - 1) && sampler.is_due(6 * SECOND_NS));
    }
}
