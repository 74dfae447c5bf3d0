//! Latencies and what a worker counts: kept by the worker, shown to the controller.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency told apart, µs (one hour); longer ones count as this.
const LATENCY_MAX_US: u64 = 3_600_000_000;

/// Steps of a percentile curve from each percentile to half of what is above it.
const STEPS_A_HALVING: u32 = 5;

/// Latencies in µs, three significant digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("the bounds are valid"))
    }
}

impl Serialize for Latencies {
    /// As (value, count): what is read back is the same to the last digit.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut latencies = Self::default();
        for (value, count) in <Vec<(u64, u64)>>::deserialize(deserializer)? {
            latencies.0.saturating_record_n(value, count);
        }
        Ok(latencies)
    }
}

impl Latencies {
    /// Adds one, ns.
    pub fn record_ns(&mut self, ns: u64) {
        self.0.saturating_record((ns / 1_000).max(1));
    }

    /// Adds all of another's.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value below which `percent` of all are, µs; 0 when there are none.
    pub fn us(&self, percent: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_percentile(percent) }
    }

    /// The longest, µs.
    pub fn max_us(&self) -> u64 {
        self.0.max()
    }

    /// The whole curve, ever finer towards the maximum: percentile (0 to 100) and the value below which that many are, µs.
    pub fn curve(&self) -> Vec<(f64, u64)> {
        let mut curve: Vec<(f64, u64)> = Vec::new();
        for step in self.0.iter_quantiles(STEPS_A_HALVING) {
            let (percentile, us) = (step.quantile_iterated_to() * 100.0, step.value_iterated_to().min(self.0.max()));
            // Of steps with the same value the last says most.
            match curve.last_mut() {
                Some(last) if last.1 == us => last.0 = percentile,
                _ => curve.push((percentile, us)),
            }
        }
        curve
    }

    /// The mean, µs.
    pub fn mean_us(&self) -> f64 {
        self.0.mean()
    }
}

/// What one worker shows while it runs. Written by the worker, read by the controller.
#[derive(Default)]
pub struct Shown {
    /// Messages handed to clients.
    pub sent: AtomicU64,
    /// Messages acknowledged, each once.
    pub acked: AtomicU64,
    /// Messages delivered, each once.
    pub delivered: AtomicU64,
    /// Deliveries that the messages handed to clients, less those refused, are to come to.
    pub wanted: AtomicU64,
    /// Memberships of groups that have begun.
    pub joined: AtomicU64,
    /// Messages refused for good.
    pub refused: AtomicU64,
    /// Errors of any kind.
    pub errors: AtomicU64,
    /// Authenticated connections now.
    pub authenticated: AtomicU64,
    /// The fewest of them since the controller last looked.
    pub authenticated_min: AtomicU64,
    /// Connects with authentication, all told.
    pub connects: AtomicU64,
    /// Acknowledged messages that wait for a receipt now.
    pub receipts_due: AtomicU64,
    /// The same in groups: members whose marks are to come to those who write.
    pub group_receipts_due: AtomicU64,
    /// Users that a behaviour has taken from their sessions and that are not back yet.
    pub away: AtomicU64,
    /// This worker's thread has used so much CPU, ns.
    pub cpu_ns: AtomicU64,
    /// It has been ready to run and waited for a core so long, ns.
    pub waited_ns: AtomicU64,
    /// It has nothing more to send.
    pub exhausted: AtomicBool,
    /// Latencies since the controller last took them.
    pub latencies: Mutex<Latencies>,
}

impl Shown {
    /// The fewest authenticated since the last call.
    pub fn take_authenticated_min(&self) -> u64 {
        let now = self.authenticated.load(Ordering::Relaxed);
        self.authenticated_min.swap(now, Ordering::Relaxed).min(now)
    }

    /// Sets how many are authenticated.
    pub fn set_authenticated(&self, count: u64) {
        self.authenticated.store(count, Ordering::Relaxed);
        self.authenticated_min.fetch_min(count, Ordering::Relaxed);
    }

    /// Latencies since the last call, added to `into`.
    pub fn take_latencies(&self, into: &mut Latencies) {
        let mut latencies = self.latencies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        into.add(&latencies);
        latencies.clear();
    }
}

/// Errors by name. Bounded: names come from the error table and from fixed texts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Errors {
    counts: BTreeMap<String, u64>,
}

impl Errors {
    /// Counts one.
    pub fn add(&mut self, name: &str) {
        self.add_many(name, 1);
    }

    fn add_many(&mut self, name: &str, count: u64) {
        if let Some(known) = self.counts.get_mut(name) {
            *known += count;
        } else {
            self.counts.insert(name.to_owned(), count);
        }
    }

    /// Counts another's.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.counts {
            self.add_many(name, *count);
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// By name.
    pub const fn by_name(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_merged_over_workers() {
        let (mut a, mut b) = (Latencies::default(), Latencies::default());
        for us in 1..=500 {
            a.record_ns(us * 1_000);
            b.record_ns((us + 500) * 1_000);
        }
        a.add(&b);
        assert_eq!((a.count(), a.us(50.0), a.us(99.0), a.max_us()), (1_000, 500, 990, 1_000));
        a.record_ns(7_654_321_000);
        let told: Latencies = serde_json::from_str(&serde_json::to_string(&a).unwrap()).unwrap();
        assert_eq!(told.0, a.0, "what another host tells is what it measured");
        assert_eq!(Latencies::default().us(99.0), 0);
    }

    #[test]
    fn a_curve_rises_to_the_longest() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.curve(), []);
        (1..=100_000).for_each(|us| latencies.record_ns(us * 1_000));
        let curve = latencies.curve();
        assert!(curve.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1), "{curve:?}");
        assert_eq!(curve.last(), Some(&(100.0, latencies.max_us())));
        assert!((40..200).contains(&curve.len()), "{} points", curve.len());
        let near = curve.iter().filter(|point| point.0 > 99.0).count();
        assert!(near > 8, "the tail has {near} points");
    }

    #[test]
    fn a_dip_between_two_looks_is_seen() {
        let shown = Shown::default();
        shown.set_authenticated(10);
        shown.take_authenticated_min();
        shown.set_authenticated(7);
        shown.set_authenticated(10);
        assert_eq!(shown.take_authenticated_min(), 7);
        assert_eq!(shown.take_authenticated_min(), 10);
    }
}
