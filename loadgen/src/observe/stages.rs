//! How long messages stay in each stage of the server, from its metrics at the begin and the end of the steady phase.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{exposition, http};
use crate::secure::Secure;

/// The histogram family, one series a stage and shard, of sampled messages.
const FAMILY: &str = "shardwire_stage_seconds";
/// The stages in the order a message goes through them.
const ORDER: [&str; 4] = ["accepted_to_ordered", "ordered_to_committed", "committed_to_routed", "routed_to_written"];

/// The stages of the steady phase.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Stages {
    /// Each stage, in the order a message goes through them.
    pub stages: Vec<Stage>,
    /// The stages' means added up, µs: a message's mean time inside the server.
    pub inside_mean_us: f64,
    /// The mean that the clients measured less that, µs: intended send time → gateway's socket, and socket → receiver.
    pub outside_mean_us: Option<f64>,
}

/// One stage.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// From what to what.
    pub stage: String,
    /// Messages sampled in the steady phase.
    pub count: u64,
    /// Their mean, µs.
    pub mean_us: f64,
    /// The median, µs, interpolated in the server's bucket.
    pub p50_us: f64,
    /// The 99th percentile, µs, interpolated in the server's bucket.
    pub p99_us: f64,
}

/// A histogram, added up over the shards of all processes.
#[derive(Clone, Debug, Default, PartialEq)]
struct Buckets {
    /// Upper bound (s) and how many are at or below it, rising.
    cumulative: Vec<(f64, f64)>,
    sum: f64,
    count: f64,
}

/// The server's stages as its metrics gave them once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape(BTreeMap<String, Buckets>);

/// Asks all processes of a server for their metrics, on a thread of its own, so that who asks does not wait.
pub fn ask(places: Vec<(SocketAddr, Option<Secure>)>) -> JoinHandle<Result<Scrape, String>> {
    std::thread::spawn(move || {
        let mut all = String::new();
        for (address, secure) in places {
            let secure = secure.map(|secure| secure.for_http()).transpose().map_err(|failure| failure.to_string())?;
            all.push_str(&http::get(address, secure.as_ref(), "/metrics")?);
            all.push('\n');
        }
        Scrape::parse(&all)
    })
}

impl Scrape {
    /// From the metrics' text.
    ///
    /// # Errors
    /// The server tells no stages.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut stages: BTreeMap<String, Buckets> = BTreeMap::new();
        for sample in exposition::samples(text, FAMILY) {
            let Some(stage) = sample.label("stage") else { continue };
            let buckets = stages.entry(stage.to_owned()).or_default();
            match sample.name.strip_prefix(FAMILY) {
                Some("_sum") => buckets.sum += sample.value,
                Some("_count") => buckets.count += sample.value,
                Some("_bucket") => {
                    if let Some(le) = sample.label("le").and_then(|le| le.parse().ok()) {
                        buckets.add(le, sample.value);
                    }
                }
                _ => {}
            }
        }
        if stages.is_empty() { Err(format!("the server's /metrics has no {FAMILY}")) } else { Ok(Self(stages)) }
    }

    /// What happened since an earlier scrape; `client_mean_us`: the mean latency that the clients measured, if any.
    ///
    /// # Errors
    /// No message was sampled, or the server was started anew in between.
    pub fn since(&self, earlier: &Self, client_mean_us: Option<f64>) -> Result<Stages, String> {
        let mut stages = Vec::new();
        for (name, now) in &self.0 {
            let spent = now.less(earlier.0.get(name)).ok_or("the server's counts fell: it was started anew")?;
            if spent.count > 0.0 {
                stages.push(spent.stage(name));
            }
        }
        if stages.is_empty() {
            return Err("no message was sampled in the steady phase".to_owned());
        }
        stages.sort_by_key(|stage| ORDER.iter().position(|name| *name == stage.stage).unwrap_or(ORDER.len()));
        let inside_mean_us = stages.iter().map(|stage| stage.mean_us).sum();
        Ok(Stages { stages, inside_mean_us, outside_mean_us: client_mean_us.map(|mean| mean - inside_mean_us) })
    }
}

impl Buckets {
    fn add(&mut self, le: f64, count: f64) {
        match self.cumulative.binary_search_by(|bucket| bucket.0.total_cmp(&le)) {
            Ok(at) => self.cumulative[at].1 += count,
            Err(at) => self.cumulative.insert(at, (le, count)),
        }
    }

    /// The difference to an earlier look; `None` when a count fell.
    fn less(&self, earlier: Option<&Self>) -> Option<Self> {
        let Some(earlier) = earlier else { return Some(self.clone()) };
        let before = |le: f64| earlier.cumulative.iter().find(|b| b.0 == le).map_or(0.0, |b| b.1);
        let less = Self {
            cumulative: self.cumulative.iter().map(|(le, count)| (*le, count - before(*le))).collect(),
            sum: self.sum - earlier.sum,
            count: self.count - earlier.count,
        };
        (less.count >= 0.0 && less.cumulative.iter().all(|bucket| bucket.1 >= 0.0)).then_some(less)
    }

    fn stage(&self, name: &str) -> Stage {
        Stage {
            stage: name.to_owned(),
            count: self.count as u64,
            mean_us: self.sum / self.count * 1e6,
            p50_us: self.quantile(0.5) * 1e6,
            p99_us: self.quantile(0.99) * 1e6,
        }
    }

    /// As Prometheus' `histogram_quantile`: linear within a bucket; in the last, open one its lower bound.
    fn quantile(&self, quantile: f64) -> f64 {
        let rank = quantile * self.count;
        let (mut low, mut below) = (0.0, 0.0);
        for (le, count) in &self.cumulative {
            if *count >= rank && *count > below {
                return if le.is_finite() { low + (le - low) * (rank - below) / (count - below) } else { low };
            }
            (low, below) = (*le, *count);
        }
        if low.is_finite() { low } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shards: u64, at_1ms: u64, all: u64, seconds: f64) -> String {
        let shard = |shard: u64| {
            format!(
                "{FAMILY}_bucket{{stage=\"ordered_to_committed\",shard=\"{shard}\",le=\"0.001\"}} {at_1ms}\n\
                 {FAMILY}_bucket{{stage=\"ordered_to_committed\",shard=\"{shard}\",le=\"0.003\"}} {all}\n\
                 {FAMILY}_bucket{{stage=\"ordered_to_committed\",shard=\"{shard}\",le=\"+Inf\"}} {all}\n\
                 {FAMILY}_sum{{stage=\"ordered_to_committed\",shard=\"{shard}\"}} {seconds}\n\
                 {FAMILY}_count{{stage=\"ordered_to_committed\",shard=\"{shard}\"}} {all}\n\
                 {FAMILY}_sum{{stage=\"accepted_to_ordered\",shard=\"{shard}\"}} {seconds}\n\
                 {FAMILY}_count{{stage=\"accepted_to_ordered\",shard=\"{shard}\"}} {all}\n"
            )
        };
        (0..shards).map(shard).collect()
    }

    #[test]
    fn the_steady_phase_is_the_difference_over_all_shards() {
        let (before, after) =
            (Scrape::parse(&text(2, 5, 10, 0.01)).unwrap(), Scrape::parse(&text(2, 35, 60, 0.06)).unwrap());
        let stages = after.since(&before, Some(2_500.0)).unwrap();
        let names: Vec<&str> = stages.stages.iter().map(|s| s.stage.as_str()).collect();
        assert_eq!(names, ["accepted_to_ordered", "ordered_to_committed"]);
        let committed = &stages.stages[1];
        assert_eq!(committed.count, 100);
        assert!((committed.mean_us - 1_000.0).abs() < 1e-6, "{committed:?}");
        // 60 of 100 are at most 1 ms: the median is 50/60 of the first bucket.
        assert!((committed.p50_us - 833.3).abs() < 0.1 && (committed.p99_us - 2_950.0).abs() < 0.1, "{committed:?}");
        assert!(
            (stages.inside_mean_us - 2_000.0).abs() < 1e-6 && (stages.outside_mean_us.unwrap() - 500.0).abs() < 1e-6
        );
    }

    #[test]
    fn without_samples_the_reason_is_given() {
        assert!(Scrape::parse("up 1\n").unwrap_err().contains(FAMILY));
        let (some, more) =
            (Scrape::parse(&text(1, 5, 10, 0.01)).unwrap(), Scrape::parse(&text(1, 6, 12, 0.01)).unwrap());
        assert!(some.since(&some, None).unwrap_err().contains("no message"));
        assert!(some.since(&more, None).unwrap_err().contains("started anew"));
    }

    #[test]
    fn what_is_beyond_the_last_bound_counts_as_that_bound() {
        let buckets = Buckets { cumulative: vec![(0.001, 0.0), (f64::INFINITY, 10.0)], sum: 1.0, count: 10.0 };
        assert_eq!(buckets.quantile(0.5), 0.001);
    }
}
