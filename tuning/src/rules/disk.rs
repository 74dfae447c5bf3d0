//! The folder of the messages and the disk below it.

use crate::host::{DataFolder, Host};
use crate::measured::WHERE;
use crate::need::{Need, Side};
use crate::rule::{Effect, Outcome, Rule, Severity, bytes, grouped};

/// Room for journals and the first runs of the store, bytes: below it a start may end in a full disk.
const FREE_LEAST: u64 = 1 << 30;
/// Room to work in, bytes: a memory table, its run and what merging writes anew.
const FREE_WANTED: u64 = 10 << 30;
/// A durable write that takes longer than this cannot be answered within the latency budget, µs.
const WRITE_WITHIN_US: u64 = 5_000;
/// Kept in memory: gone with the power.
const VOLATILE: [&str; 2] = ["tmpfs", "ramfs"];
/// Others answer for these disks; what they promise is not known here.
const REMOTE: [&str; 4] = ["nfs", "nfs4", "cifs", "9p"];
const BLOCK_SYSFS: &str = "https://docs.kernel.org/block/writeback_cache_control.html";

pub(super) const RULES: &[Rule] = &[
    Rule {
        key: "data.folder",
        reads: "the data folder, or the folder it would be made in",
        side: Some(Side::Server),
        why: "journals and messages live here, and nothing is served before they do",
        effect: Effect::Documented {
            what: "the start ends with the file system's own words",
            link: "https://man7.org/linux/man-pages/man2/open.2.html",
        },
        kept: &[],
        check: folder,
    },
    Rule {
        key: "data.free",
        reads: "statvfs of the data folder",
        side: Some(Side::Server),
        why: "journal segments are filled with zeros before they are used, and merging writes runs anew before it frees the old ones; without room sends are refused",
        effect: Effect::Measured {
            what: "a full disk refuses every send and recovers by itself when there is room (a test of the process)",
            on: WHERE,
        },
        kept: &[],
        check: free,
    },
    Rule {
        key: "data.filesystem",
        reads: "/proc/self/mountinfo",
        side: Some(Side::Server),
        why: "what is acknowledged must survive a power cut",
        effect: Effect::Documented {
            what: "tmpfs keeps files in memory; network file systems answer for disks that cannot be seen from here",
            link: "https://docs.kernel.org/filesystems/tmpfs.html",
        },
        kept: &[],
        check: filesystem,
    },
    Rule {
        key: "data.o_direct",
        reads: "a write with O_DIRECT and O_DSYNC to an unnamed file in the data folder",
        side: Some(Side::Server),
        why: "journal blocks go around the page cache, straight from the shard's memory; where that is refused they are copied first",
        effect: Effect::Measured {
            what: "O_DIRECT|O_DSYNC into zero-filled segments wrote 1.4 to 2.3 times what a growing file takes",
            on: WHERE,
        },
        kept: &[],
        check: direct,
    },
    Rule {
        key: "data.durable_write",
        reads: "the middle of a few durable writes of 4 KiB to an unnamed file in the data folder",
        side: Some(Side::Server),
        why: "every acknowledgement waits for one durable write: it is the floor of the latency",
        effect: Effect::Measured {
            what: "0.36 ms from send to receipt at 5,000 messages a second, the durable write included",
            on: WHERE,
        },
        kept: &[],
        check: durable_write,
    },
    Rule {
        key: "block.write_cache",
        reads: "/sys/block/DISK/queue/write_cache, fua",
        side: Some(Side::Server),
        why: "with a cache that forgets at a power cut each durable write is followed by a flush of it; a disk that knows FUA makes the one write durable instead",
        effect: Effect::Documented {
            what: "without FUA the kernel sends a write and then a flush for each O_DSYNC write",
            link: BLOCK_SYSFS,
        },
        kept: &[],
        check: write_cache,
    },
    Rule {
        key: "irq.disk",
        reads: "/proc/interrupts, /proc/irq/N/smp_affinity_list",
        side: Some(Side::Server),
        why: "a journal write completes on the core that takes the disk's interrupt; when another thread saturates that core the commit waits for a scheduler tick",
        effect: Effect::Measured {
            what: "p50 6.5 ms from send to receipt beside saturated cores, 0.33 ms with a 20 ms slice (see sched.slice)",
            on: WHERE,
        },
        kept: &[],
        check: interrupts,
    },
];

/// Runs a check on the data folder, where one was looked at and can be used.
fn of(host: &Host, check: impl FnOnce(&DataFolder) -> Outcome) -> Outcome {
    match &host.data {
        None => Outcome::NotHere,
        Some(data) if data.unusable.is_some() => Outcome::Unknown,
        Some(data) => check(data),
    }
}

fn folder(host: &Host, _need: &Need) -> Outcome {
    let Some(data) = &host.data else { return Outcome::NotHere };
    let path = data.path.display();
    let Some(why) = &data.unusable else { return Outcome::fits(path.to_string()) };
    let found = format!("{}: {why}", data.looked_at.display());
    let mend = format!("mkdir -p {path} && chown $(id -u) {path}   # or another folder: --data DIR");
    Outcome::falls(Severity::Fatal, found, "a folder this user may write to", mend)
}

fn free(host: &Host, _need: &Need) -> Outcome {
    of(host, |data| {
        let Some(found) = data.free_bytes else { return Outcome::Unknown };
        if found >= FREE_WANTED {
            return Outcome::fits(bytes(found));
        }
        let severity = if found < FREE_LEAST { Severity::Fatal } else { Severity::Warning };
        let mend = format!("free room below {}, or name another disk: --data DIR", data.looked_at.display());
        Outcome::falls(severity, bytes(found), format!("{} or more", bytes(FREE_WANTED)), mend)
    })
}

fn filesystem(host: &Host, _need: &Need) -> Outcome {
    of(host, |data| {
        let Some(found) = data.filesystem.as_deref() else { return Outcome::Unknown };
        let mend = "name a folder on a disk of this host (ext4 or xfs): --data DIR";
        if VOLATILE.contains(&found) {
            return Outcome::falls(Severity::Warning, format!("{found}: kept in memory only"), "a disk", mend);
        }
        if REMOTE.contains(&found) || found.starts_with("fuse") {
            return Outcome::falls(Severity::Warning, found, "a disk of this host", mend);
        }
        Outcome::fits(found)
    })
}

fn direct(host: &Host, _need: &Need) -> Outcome {
    of(host, |data| match data.direct {
        None => Outcome::Unknown,
        Some(true) => Outcome::fits("around the page cache"),
        Some(false) => Outcome::falls(
            Severity::Warning,
            "refused: writes go through the page cache",
            "a file system with O_DIRECT (ext4, xfs, btrfs)",
            "name a folder on such a file system: --data DIR",
        ),
    })
}

fn durable_write(host: &Host, _need: &Need) -> Outcome {
    of(host, |data| {
        let Some(found) = data.durable_write_us else { return Outcome::Unknown };
        if found <= WRITE_WITHIN_US {
            return Outcome::fits(format!("{} µs", grouped(found)));
        }
        let wanted = format!("{} µs or less", grouped(WRITE_WITHIN_US));
        let mend =
            "name a folder on a faster disk (an NVMe disk with power-loss protection writes in tens of µs): --data DIR";
        Outcome::falls(Severity::Warning, format!("{} µs", grouped(found)), wanted, mend)
    })
}

fn write_cache(host: &Host, _need: &Need) -> Outcome {
    of(host, |data| {
        let (Some(disk), Some(cache)) = (&data.disk, &data.write_cache) else { return Outcome::Unknown };
        let found = format!("{disk}: {cache}, {}", if data.fua == Some(true) { "FUA" } else { "no FUA" });
        if cache != "write back" || data.fua == Some(true) {
            return Outcome::fits(found);
        }
        // Only the disk's owner can know that its cache survives a power cut.
        let mend = format!(
            "echo \"write through\" > /sys/block/{disk}/queue/write_cache   # only where the disk's cache survives a power cut"
        );
        Outcome::falls(Severity::Info, found, "write through, or FUA", mend)
    })
}

fn interrupts(host: &Host, _need: &Need) -> Outcome {
    of(host, |data| {
        let Some(first) = data.interrupts.first() else { return Outcome::Unknown };
        let names: Vec<String> = data.interrupts.iter().map(|irq| format!("{} on {}", irq.name, irq.cores)).collect();
        let found = names.join(", ");
        let one_core = data.interrupts.iter().all(|irq| irq.cores == first.cores) && first.cores.parse::<u32>().is_ok();
        if host.cores < 2 || !one_core {
            return Outcome::fits(found);
        }
        // A long slice takes the wait away; without it the core matters.
        let severity = if host.long_slice == Some(true) { Severity::Info } else { Severity::Warning };
        let mend = format!(
            "echo 0-{} > /proc/irq/{}/smp_affinity_list, or keep other saturated threads off core {} (irqbalance off)",
            host.cores - 1,
            first.number,
            first.cores
        );
        Outcome::falls(severity, found, "interrupts of the disk on more than one core, or on one left free", mend)
    })
}
