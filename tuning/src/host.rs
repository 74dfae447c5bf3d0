//! A snapshot of a host. Everything that could not be read is absent, never guessed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

/// What the rules look at.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Host {
    /// Kernel release, as `uname -r` has it.
    pub kernel: Option<String>,
    /// Cores this process may use.
    pub cores: u64,
    /// Kernel settings by their dotted name; words separated by one space.
    pub sysctl: BTreeMap<String, String>,
    /// What this process may have.
    pub limits: Limits,
    /// Memory of the machine and of this process's group.
    pub memory: Memory,
    /// Threads of this process's group.
    pub tasks: Tasks,
    /// How a shard would talk to the kernel: `io_uring+defer_taskrun`, `io_uring` or `epoll`.
    pub driver: Option<String>,
    /// Whether a thread may ask for a longer time slice (`sched_setattr` with a runtime, Linux 6.12).
    pub long_slice: Option<bool>,
    /// The mode of transparent huge pages: `always`, `madvise` or `never`.
    pub huge_pages: Option<String>,
    /// The clock source in use.
    pub clock_source: Option<String>,
    /// The frequency governor of the first core; absent in most virtual machines.
    pub governor: Option<String>,
    /// The folder of the messages; absent where nobody asked for one.
    pub data: Option<DataFolder>,
}

impl Host {
    /// A kernel setting.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.sysctl.get(name).map(String::as_str)
    }

    /// The `place`th number of a kernel setting.
    pub fn number(&self, name: &str, place: usize) -> Option<u64> {
        self.setting(name)?.split_whitespace().nth(place)?.parse().ok()
    }

    /// (major, minor) of the kernel.
    pub fn release(&self) -> Option<(u32, u32)> {
        let mut parts = self.kernel.as_deref()?.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

/// Hard limits of this process (it raises its own soft ones); `u64::MAX` = unlimited.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Limits {
    /// RLIMIT_NOFILE: descriptors of one table.
    pub open_files: Option<u64>,
    /// RLIMIT_MEMLOCK, bytes.
    pub locked_bytes: Option<u64>,
    /// RLIMIT_NPROC: threads of this user.
    pub processes: Option<u64>,
}

/// Memory, bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Of the machine.
    pub total: Option<u64>,
    /// What can be had without swapping (`MemAvailable`).
    pub available: Option<u64>,
    /// Swap there is, but compressed swap in memory.
    pub swap: Option<u64>,
    /// The least limit over this process's group and those above it; absent: none.
    pub group_limit: Option<u64>,
    /// What the group of that limit uses.
    pub group_used: Option<u64>,
}

/// Threads.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tasks {
    /// The least limit over this process's group and those above it; absent: none.
    pub group_limit: Option<u64>,
    /// What the group of that limit has.
    pub group_used: Option<u64>,
}

/// The folder of the messages and what is below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DataFolder {
    /// As it was named.
    pub path: PathBuf,
    /// The nearest folder there is: the path itself, or where it would be made.
    pub looked_at: PathBuf,
    /// Why nothing can be written there.
    pub unusable: Option<String>,
    /// Bytes an unprivileged process may still write.
    pub free_bytes: Option<u64>,
    /// The file system's kind, e.g. `ext4`.
    pub filesystem: Option<String>,
    /// Whether writes may go around the page cache.
    pub direct: Option<bool>,
    /// The middle of a few durable writes of 4 KiB, µs.
    pub durable_write_us: Option<u64>,
    /// The disk below, e.g. `nvme0n1`.
    pub disk: Option<String>,
    /// The disk's cache: `write back` or `write through`.
    pub write_cache: Option<String>,
    /// Whether the disk can make a single write durable (FUA).
    pub fua: Option<bool>,
    /// The disk's completion interrupts.
    pub interrupts: Vec<Interrupt>,
}

/// An interrupt.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Interrupt {
    /// Its number.
    pub number: u32,
    /// What raises it.
    pub name: String,
    /// Cores that may take it, as the kernel lists them.
    pub cores: String,
}
