//! Takes the snapshot. What is read from files is read below a root, so that tests can lay out a host in a folder.

mod disk;
mod group;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use crate::host::{Host, Limits, Memory};
use crate::rule::KeptFile;
use crate::rules;

/// Kernel settings that are read besides those the kept files set.
const ALSO_READ: [&str; 5] = [
    "kernel.io_uring_disabled",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_mem",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
];

/// This host, and the folder of the messages where one is asked about. Writes nothing but an unnamed file in that folder,
/// which is gone at the end.
pub fn host(data: Option<&Path>) -> Host {
    let files = Files { root: PathBuf::from("/") };
    let ability = fabric::shard::ability();
    Host {
        cores: fabric::shard::available_cores().len() as u64,
        limits: limits(),
        driver: ability.map(|ability| ability.driver.name().to_owned()),
        long_slice: ability.map(|ability| ability.long_slice),
        data: data.map(|path| disk::look(&files, path)),
        ..from_files(&files)
    }
}

/// What files say.
fn from_files(files: &Files) -> Host {
    let (group_limit, group_used) = group::memory(files).unzip();
    let memory = Memory { group_limit, group_used, ..memory(files) };
    Host {
        kernel: files.word("proc/sys/kernel/osrelease"),
        sysctl: settings(files),
        memory,
        tasks: group::tasks(files),
        huge_pages: files.text("sys/kernel/mm/transparent_hugepage/enabled").and_then(|text| chosen(&text)),
        clock_source: files.word("sys/devices/system/clocksource/clocksource0/current_clocksource"),
        governor: files.word("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        ..Host::default()
    }
}

/// Files below a root.
struct Files {
    root: PathBuf,
}

impl Files {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// A file of one line, without its end.
    fn word(&self, path: &str) -> Option<String> {
        self.text(path).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.word(path)?.parse().ok()
    }
}

fn settings(files: &Files) -> BTreeMap<String, String> {
    let kept = rules::all().flat_map(|rule| rule.kept).filter(|kept| kept.file == KeptFile::Sysctl);
    let names = kept.map(|kept| kept.name).chain(ALSO_READ);
    let read = |name: &str| {
        let text = files.word(&format!("proc/sys/{}", name.replace('.', "/")))?;
        Some((name.to_owned(), text.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    names.filter_map(read).collect()
}

fn limits() -> Limits {
    let hard = |resource| Some(getrlimit(resource).maximum.unwrap_or(u64::MAX));
    Limits {
        open_files: hard(Resource::Nofile),
        locked_bytes: hard(Resource::Memlock),
        processes: hard(Resource::Nproc),
    }
}

fn memory(files: &Files) -> Memory {
    let text = files.text("proc/meminfo").unwrap_or_default();
    let kib = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    Memory { total: kib("MemTotal"), available: kib("MemAvailable"), swap: swap(files), ..Memory::default() }
}

/// Swap on disks; what is swapped to compressed memory comes back without waiting for one.
fn swap(files: &Files) -> Option<u64> {
    let text = files.text("proc/swaps")?;
    let on_disk = text.lines().skip(1).filter(|line| !line.starts_with("/dev/zram"));
    Some(on_disk.filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum::<u64>() << 10)
}

/// The word in brackets of a list of choices.
fn chosen(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests;
