//! Memory: enough of it, and nothing that takes it away.

use super::{set, sysctl};
use crate::host::Host;
use crate::measured::WHERE;
use crate::need::{Need, Side};
use crate::rule::{Effect, Kept, KeptFile, Outcome, Rule, Severity, bytes, grouped};

pub(super) const RULES: &[Rule] = &[
    Rule {
        key: "memory.available",
        reads: "/proc/meminfo (MemAvailable)",
        side: None,
        why: "each connection takes memory of the process and of the kernel, whether anything is said on it or not",
        effect: Effect::Measured {
            what: "an idle session 594 to 656 B in the server and 0.8 KB in the load generator; a socket 3.75 KB and 0.35 KB to wait for it in the kernel, at each end",
            on: WHERE,
        },
        kept: &[],
        check: available,
    },
    Rule {
        key: "cgroup.memory.max",
        reads: "memory.max of the group and those above it (cgroup 1: memory.limit_in_bytes)",
        side: None,
        why: "sockets count against the group's memory; at its limit the kernel ends the process",
        effect: Effect::Documented {
            what: "the OOM killer is invoked in the group when it cannot reclaim below its limit; socket memory is charged to it",
            link: "https://docs.kernel.org/admin-guide/cgroup-v2.html#memory",
        },
        kept: &[],
        check: group,
    },
    Rule {
        key: "vm.swappiness",
        reads: "/proc/sys/vm/swappiness, SwapTotal",
        side: Some(Side::Server),
        why: "an idle session is touched every 20 s, by its ping: swapped out, each ping waits for a disk",
        effect: Effect::Documented {
            what: "a low value makes the kernel drop file pages before it swaps a process out",
            link: "https://docs.kernel.org/admin-guide/sysctl/vm.html#swappiness",
        },
        kept: &[sysctl("vm.swappiness", "10"), Kept { file: KeptFile::Slice, name: "MemorySwapMax", value: "0" }],
        check: swappiness,
    },
    Rule {
        key: "vm.transparent_hugepage",
        reads: "/sys/kernel/mm/transparent_hugepage/enabled",
        side: Some(Side::Server),
        why: "with `always` the kernel backs sparse heaps with 2 MiB pages; the server turns that off for itself, what runs beside it may not",
        effect: Effect::Documented {
            what: "`madvise` gives huge pages to those who ask only; `always` may use more memory",
            link: "https://docs.kernel.org/admin-guide/mm/transhuge.html",
        },
        kept: &[],
        check: huge_pages,
    },
];

fn available(host: &Host, need: &Need) -> Outcome {
    let Some(found) = host.memory.available else { return Outcome::Unknown };
    enough(found, need, "add memory, or spread the connections over more hosts")
}

fn group(host: &Host, need: &Need) -> Outcome {
    let Some(limit) = host.memory.group_limit else { return Outcome::fits("no limit") };
    let found = limit.saturating_sub(host.memory.group_used.unwrap_or(0));
    let mend =
        format!("systemctl set-property shardwire.service MemoryMax={} (or the container's limit)", need.bytes() * 2);
    enough(found, need, &mend)
}

/// Half as much again for what is on its way.
fn enough(found: u64, need: &Need, mend: &str) -> Outcome {
    let wanted = need.bytes();
    if found >= wanted + wanted / 2 {
        return Outcome::fits(bytes(found));
    }
    let severity = if found < wanted { Severity::Fatal } else { Severity::Warning };
    let each = grouped(need.bytes_per_connection());
    let wanted =
        format!("{} and half as much again ({} connections at {each} B)", bytes(wanted), grouped(need.connections));
    Outcome::falls(severity, bytes(found), wanted, mend)
}

fn swappiness(host: &Host, _need: &Need) -> Outcome {
    let (Some(found), Some(swap)) = (host.number("vm.swappiness", 0), host.memory.swap) else {
        return Outcome::Unknown;
    };
    if swap == 0 {
        return Outcome::fits("no swap");
    }
    if found <= 10 {
        return Outcome::fits(found.to_string());
    }
    let found = format!("{found}, with {} of swap", bytes(swap));
    Outcome::falls(Severity::Warning, found, "10 or less", set("vm.swappiness", 10))
}

fn huge_pages(host: &Host, _need: &Need) -> Outcome {
    match host.huge_pages.as_deref() {
        None => Outcome::Unknown,
        Some("always") => Outcome::falls(
            Severity::Info,
            "always",
            "madvise",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled   # to keep it: transparent_hugepage=madvise on the kernel's command line",
        ),
        Some(other) => Outcome::fits(other),
    }
}
