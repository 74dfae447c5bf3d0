//! Where and of what the figures are.

use std::fs::read_to_string;
use std::process::Command;

use crate::entry::Machine;

/// This host; what it does not tell is empty.
pub fn describe() -> Machine {
    let field = |file: &str, name: &str| {
        let text = read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let kb = field("/proc/meminfo", "MemTotal");
    Machine {
        cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        cpu: field("/proc/cpuinfo", "model name"),
        kernel: read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        memory_bytes: kb.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1_024,
    }
}

/// The commit checked out here, with `+` when tracked files differ from it.
pub fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    Some(if changed { commit + "+" } else { commit })
}
