//! Descriptors, threads and locked memory.

use super::{at_least, sysctl};
use crate::host::Host;
use crate::measured::WHERE;
use crate::need::{Need, Side};
use crate::rule::{Effect, Kept, KeptFile, Outcome, Rule, Severity, bytes, grouped};

/// The limit the kept files give a server.
const OPEN_FILES: &str = "1048576";

pub(super) const RULES: &[Rule] = &[
    Rule {
        key: "limits.nofile",
        reads: "RLIMIT_NOFILE (/proc/self/limits)",
        side: None,
        why: "every connection is a descriptor; each shard of the server, each worker of the load generator has a table of its own, so the limit bounds one of them, not the process",
        effect: Effect::Measured {
            what: "with a limit of 20,000, six shards held 99,996 sessions and twelve 199,992; in one table accepts end at the limit",
            on: WHERE,
        },
        kept: &[
            Kept { file: KeptFile::Limits, name: "* hard nofile", value: OPEN_FILES },
            Kept { file: KeptFile::Limits, name: "* soft nofile", value: OPEN_FILES },
            Kept { file: KeptFile::Service, name: "LimitNOFILE", value: OPEN_FILES },
        ],
        check: open_files,
    },
    Rule {
        key: "fs.nr_open",
        reads: "/proc/sys/fs/nr_open",
        side: None,
        why: "the most RLIMIT_NOFILE can be raised to, by anyone",
        effect: Effect::Documented {
            what: "setrlimit above it fails with EPERM, for root too",
            link: "https://docs.kernel.org/admin-guide/sysctl/fs.html#nr-open",
        },
        kept: &[sysctl("fs.nr_open", "4194304")],
        check: nr_open,
    },
    Rule {
        key: "fs.file-max",
        reads: "/proc/sys/fs/file-max",
        side: None,
        why: "open files of all processes together: one a connection at each end that lives here, and the rest of the host's",
        effect: Effect::Documented {
            what: "above it accept and open fail with ENFILE",
            link: "https://docs.kernel.org/admin-guide/sysctl/fs.html#file-max-file-nr",
        },
        kept: &[sysctl("fs.file-max", "8388608")],
        check: |host, need| at_least(host, "fs.file-max", 2 * need.connections + 65_536, Severity::Fatal),
    },
    Rule {
        key: "limits.nproc",
        reads: "RLIMIT_NPROC (/proc/self/limits), pids.max of the group",
        side: None,
        why: "a thread a shard or worker, and some for storage, reads and HTTP",
        effect: Effect::Documented {
            what: "above either, starting a thread fails with EAGAIN and the start ends",
            link: "https://docs.kernel.org/admin-guide/cgroup-v2.html#pid",
        },
        kept: &[Kept { file: KeptFile::Service, name: "TasksMax", value: "4096" }],
        check: threads,
    },
    Rule {
        key: "limits.memlock",
        reads: "RLIMIT_MEMLOCK (/proc/self/limits)",
        side: Some(Side::Server),
        why: "before Linux 5.12 the rings of io_uring count as locked memory; since then only registered buffers do, and shards register none",
        effect: Effect::Documented {
            what: "too little: setting up a ring fails with ENOMEM and the shard falls back to epoll",
            link: "https://man7.org/linux/man-pages/man7/io_uring.7.html",
        },
        kept: &[Kept { file: KeptFile::Service, name: "LimitMEMLOCK", value: "infinity" }],
        check: locked_memory,
    },
];

fn open_files(host: &Host, need: &Need) -> Outcome {
    let (Some(found), wanted) = (host.limits.open_files, need.files_per_table()) else { return Outcome::Unknown };
    if found >= wanted {
        return Outcome::fits(grouped(found));
    }
    let (what, each) = match need.side {
        Side::Server => ("shard", "serve --shards"),
        Side::Generator => ("worker", "load.workers ="),
    };
    let spread = need.tables_for(found).map(|tables| format!(", or spread over more: {each} {tables}"));
    let raise = match need.side {
        Side::Server => format!("LimitNOFILE={} in shardwire.service (by hand: ulimit -Hn {wanted})", round_up(wanted)),
        Side::Generator => format!("ulimit -Hn {wanted}"),
    };
    Outcome::falls(
        Severity::Fatal,
        grouped(found),
        format!("{} a {what} ({} connections over {})", grouped(wanted), grouped(need.connections), need.tables),
        raise + &spread.unwrap_or_default(),
    )
}

/// The power of two above, and what the kept unit gives at least.
fn round_up(files: u64) -> u64 {
    files.next_power_of_two().max(1 << 20)
}

fn nr_open(host: &Host, need: &Need) -> Outcome {
    // It is in the way only where the limit itself has to be raised.
    let wanted = need.files_per_table();
    let raised = host.limits.open_files.is_some_and(|limit| limit >= wanted);
    at_least(host, "fs.nr_open", wanted, if raised { Severity::Info } else { Severity::Fatal })
}

fn threads(host: &Host, need: &Need) -> Outcome {
    let wanted = need.threads();
    let Some(processes) = host.limits.processes else { return Outcome::Unknown };
    let group = host.tasks.group_limit.map(|limit| limit.saturating_sub(host.tasks.group_used.unwrap_or(0)));
    let found = processes.min(group.unwrap_or(u64::MAX));
    if found >= wanted {
        return Outcome::fits(grouped(found));
    }
    let mend = match group {
        Some(group) if group < processes => {
            "systemctl edit shardwire: TasksMax=4096 (or pids.max of the container)".to_owned()
        }
        _ => format!("ulimit -Hu {}", wanted.max(4_096)),
    };
    Outcome::falls(Severity::Fatal, grouped(found), format!("{} threads", grouped(wanted)), mend)
}

fn locked_memory(host: &Host, need: &Need) -> Outcome {
    /// A ring's, with room.
    const A_SHARD: u64 = 1 << 20;
    let (Some(found), Some(release)) = (host.limits.locked_bytes, host.release()) else { return Outcome::Unknown };
    let wanted = if release >= (5, 12) { 0 } else { need.tables * A_SHARD };
    if found >= wanted {
        return Outcome::fits(bytes(found));
    }
    let mend = "systemctl edit shardwire: LimitMEMLOCK=infinity (by hand: ulimit -Hl unlimited)";
    Outcome::falls(Severity::Warning, bytes(found), format!("{} or more", bytes(wanted)), mend)
}
