//! Limits of the control group this process is in, and of those above it; both versions of the interface.

use super::Files;
use crate::host::Tasks;

/// One controller as both versions name its files.
struct Controller {
    name: &'static str,
    /// Limit and use, version 2.
    v2: (&'static str, &'static str),
    /// Limit and use, version 1.
    v1: (&'static str, &'static str),
}

/// Version 1 has no word for "no limit", but a number nobody has.
const NO_LIMIT: u64 = 1 << 60;

/// (limit, used), bytes.
pub(super) fn memory(files: &Files) -> Option<(u64, u64)> {
    let controller = Controller {
        name: "memory",
        v2: ("memory.max", "memory.current"),
        v1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    };
    tightest(files, &controller)
}

/// Threads.
pub(super) fn tasks(files: &Files) -> Tasks {
    let names = ("pids.max", "pids.current");
    let (group_limit, group_used) = tightest(files, &Controller { name: "pids", v2: names, v1: names }).unzip();
    Tasks { group_limit, group_used }
}

/// The level with the least room left, from this group up.
fn tightest(files: &Files, controller: &Controller) -> Option<(u64, u64)> {
    let (mount, group, names) = place(files, controller)?;
    let mut levels = Vec::new();
    let mut level = group.trim_end_matches('/').to_owned();
    loop {
        let file = |name: &str| files.number(&format!("{mount}{level}/{name}"));
        if let Some(limit) = file(names.0).filter(|limit| *limit < NO_LIMIT) {
            levels.push((limit, file(names.1).unwrap_or(0)));
        }
        match level.rfind('/') {
            Some(end) => level.truncate(end),
            None => break,
        }
    }
    levels.into_iter().min_by_key(|(limit, used)| limit.saturating_sub(*used))
}

type Names = (&'static str, &'static str);

/// Where the controller is mounted, this process's group below it, and the files' names. A container may see a group that
/// is not below its mount; the mount is its group then, and the walk up ends there.
fn place(files: &Files, controller: &Controller) -> Option<(String, String, Names)> {
    let groups = files.text("proc/self/cgroup")?;
    let mounts = files.text("proc/self/mountinfo")?;
    let group_of = |wanted: &str| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let controllers = parts.next()?;
            controllers.split(',').any(|name| name == wanted).then(|| parts.next().unwrap_or("/").to_owned())
        })
    };
    let mount_of = |kind: &str, option: &str| {
        mounts.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut after = after.split(' ');
            let is = after.next()? == kind && after.nth(1)?.split(',').any(|word| option.is_empty() || word == option);
            is.then(|| before.split(' ').nth(4).unwrap_or_default().to_owned())
        })
    };
    if let (Some(group), Some(mount)) = (group_of(controller.name), mount_of("cgroup", controller.name)) {
        return Some((mount, group, controller.v1));
    }
    Some((mount_of("cgroup2", "")?, group_of("")?, controller.v2))
}
