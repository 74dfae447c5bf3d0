//! What /proc tells of a process: CPU by thread, memory.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

use crate::observe::kernel;

/// One look at a process.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The process; of several the first.
    pub pid: u32,
    /// CPU of all threads, ended ones too, s.
    pub cpu_s: f64,
    /// CPU of threads that live, by name (threads of one name are added up), s.
    pub cpu_s_by_thread: BTreeMap<String, f64>,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Of it, anonymous; absent where smaps_rollup may not be read.
    pub anonymous_bytes: Option<u64>,
}

/// CPU of a process between two looks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Used {
    /// All threads, s.
    pub cpu_s: f64,
    /// By thread name, s.
    pub cpu_s_by_thread: BTreeMap<String, f64>,
}

/// Looks at a process; `None` when it is gone or may not be looked at.
pub fn look(pid: u32) -> Option<Look> {
    let (cpu_s, rss_bytes) = glance(pid)?;
    let mut cpu_s_by_thread = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let Some(ns) = fs::read_to_string(task.path().join("schedstat"))
            .ok()
            .and_then(|s| s.split_whitespace().next()?.parse::<f64>().ok())
        else {
            continue;
        };
        *cpu_s_by_thread.entry(name.trim_end().to_owned()).or_insert(0.0) += ns / 1e9;
    }
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let anonymous_bytes = rollup.and_then(|text| kernel::kib(&text, "Anonymous"));
    Some(Look { pid, cpu_s, cpu_s_by_thread, rss_bytes, anonymous_bytes })
}

/// Looks at several processes as one; `None` when there is none, or one cannot be looked at.
pub fn look_all(pids: &[u32]) -> Option<Look> {
    let (first, others) = pids.split_first()?;
    let mut sum = look(*first)?;
    for pid in others {
        let other = look(*pid)?;
        sum.cpu_s += other.cpu_s;
        sum.rss_bytes += other.rss_bytes;
        sum.anonymous_bytes = sum.anonymous_bytes.zip(other.anonymous_bytes).map(|(one, two)| one + two);
        for (name, cpu_s) in other.cpu_s_by_thread {
            *sum.cpu_s_by_thread.entry(name).or_insert(0.0) += cpu_s;
        }
    }
    Some(sum)
}

/// As [`glance`], at several processes as one.
pub fn glance_all(pids: &[u32]) -> Option<(f64, u64)> {
    let glances = pids.iter().map(|pid| glance(*pid)).collect::<Option<Vec<_>>>()?;
    glances.into_iter().reduce(|one, two| (one.0 + two.0, one.1 + two.1))
}

/// CPU of all threads (s) and resident memory (bytes): what every second is looked at.
pub fn glance(pid: u32) -> Option<(f64, u64)> {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some((cpu_ticks(&stat)? / ticks, pages * rustix::param::page_size() as u64))
}

/// utime + stime of a stat line; the name before them may hold anything.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

impl Look {
    /// What was used since an earlier look.
    pub fn since(&self, before: &Self) -> Used {
        let by_thread = self.cpu_s_by_thread.iter().map(|(name, cpu)| {
            (name.clone(), (cpu - before.cpu_s_by_thread.get(name).copied().unwrap_or(0.0)).max(0.0))
        });
        Used { cpu_s: (self.cpu_s - before.cpu_s).max(0.0), cpu_s_by_thread: by_thread.collect() }
    }
}

impl Used {
    /// Without the threads that apply to the engine (their names begin with `apply`, or are the engine's own).
    pub fn without_apply_s(&self) -> f64 {
        let apply: f64 = self
            .cpu_s_by_thread
            .iter()
            .filter(|(name, _)| ["apply", "fjall", "compact", "flush"].iter().any(|p| name.starts_with(p)))
            .map(|(_, cpu)| cpu)
            .sum();
        (self.cpu_s - apply).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_looked_at() {
        let look = look(std::process::id()).unwrap();
        assert!(look.rss_bytes > 100_000);
        assert!(!look.cpu_s_by_thread.is_empty());
        assert!(super::look(u32::MAX).is_none());
        let own = std::process::id();
        let twice = look_all(&[own, own]).unwrap();
        assert!(twice.rss_bytes > look.rss_bytes && look_all(&[]).is_none() && look_all(&[own, u32::MAX]).is_none());
        assert!(glance_all(&[own, own]).is_some_and(|(_, rss)| rss > look.rss_bytes) && glance_all(&[]).is_none());
    }

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_mislead() {
        let stat = "12 (a) b (c)) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu_ticks(stat), Some(300.0));
    }

    #[test]
    fn the_engines_threads_can_be_left_out() {
        let by_thread = [("apply-0".to_owned(), 2.0), ("shard-0".to_owned(), 3.0)].into();
        let used = Used { cpu_s: 5.5, cpu_s_by_thread: by_thread };
        assert_eq!(used.without_apply_s(), 3.5);
    }
}
