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
        for (name, value) in read(registry, "_total") {
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
    read(registry, "").find(|(found, _)| found == name).map_or(0, |(_, value)| value)
}

/// (name, value) of every sample whose name ends with `suffix`, summed over shards and partitions.
fn read(registry: &Registry, suffix: &str) -> impl Iterator<Item = (String, u64)> + use<> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).expect("a string takes everything");
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((sample, value)) = line.rsplit_once(' ') else { continue };
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let (Some(name), Ok(value)) = (name.strip_suffix(suffix), value.parse::<u64>()) else { continue };
        let mut name = name.to_owned();
        for label in labels.trim_end_matches('}').split(',') {
            if !label.is_empty() && !label.starts_with("shard=") && !label.starts_with("partition=") {
                let _ = write!(name, ".{}", label.split('"').nth(1).unwrap_or(label));
            }
        }
        *sums.entry(name).or_default() += value;
    }
    sums.into_iter()
}
