//! Counters of a run: faults made, guards that fired. Summed over lives of a server, worlds and threads.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use prometheus_client::registry::Registry;

/// Counters by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// Adds to a counter; 0 makes it appear.
    pub fn add(&mut self, name: &str, count: u64) {
        match self.0.get_mut(name) {
            Some(counter) => *counter += count,
            None => drop(self.0.insert(name.to_owned(), count)),
        }
    }

    /// A counter's value; 0 if it never appeared.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, count)| self.add(name, *count));
    }

    /// Adds every counter of a server's life. Labels of shards and partitions are summed over, others become part of the
    /// name.
    pub fn add_registry(&mut self, registry: &Registry) {
        for (name, value) in read(registry, |name| name.strip_suffix("_total")) {
            self.add(&name, value);
        }
    }

    /// A table, one counter a line.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (name, count) in &self.0 {
            let _ = writeln!(text, "  {name:<44} {count:>12}");
        }
        text
    }

    /// Those of `names` that are 0.
    pub fn missing<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        names.iter().filter(|name| self.get(name) == 0).copied().collect()
    }
}

/// The sum of a gauge over shards and partitions.
pub fn gauge(registry: &Registry, name: &str) -> u64 {
    read(registry, |found| Some(found).filter(|&found| found == name)).into_values().sum()
}

/// (name, value) of the samples that `wanted` gives a name, summed over shards and partitions.
fn read(registry: &Registry, wanted: impl Fn(&str) -> Option<&str>) -> BTreeMap<String, u64> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).expect("a string takes everything");
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for line in text.lines() {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let Some(name) = wanted(name) else { continue };
        let Some((sample, value)) = line.rsplit_once(' ') else { continue };
        let labels = sample.split_once('{').map_or("", |(_, labels)| labels);
        let Ok(value) = value.parse::<u64>() else { continue };
        let mut name = name.to_owned();
        for label in labels.trim_end_matches('}').split(',') {
            if !label.is_empty() && !label.starts_with("shard=") && !label.starts_with("partition=") {
                let _ = write!(name, ".{}", label.split('"').nth(1).unwrap_or(label));
            }
        }
        *sums.entry(name).or_default() += value;
    }
    sums
}
