//! What a worker asks of its host: a core of its own, sharp timers, enough descriptors.

use crate::fail::Failure;

/// Gives this thread a descriptor table of its own: nothing opened elsewhere is used here, but the standard three.
pub(super) fn own_descriptors() -> Result<(), Failure> {
    let failed = |error| Failure::Host(format!("a worker's own descriptor table (unshare): {error}"));
    match fabric::shard::own_descriptors(Vec::new()).map_err(failed)? {
        true => Ok(()),
        false => Err(failed(std::io::ErrorKind::PermissionDenied.into())),
    }
}

/// So long this thread has been ready to run and waited for a core, ns; 0 where the kernel does not say.
pub(super) fn waited_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Pins this thread: workers take cores from the last one down, servers usually from the first one up.
pub(super) fn pin(index: u16) {
    // Failing to pin or to sharpen timers makes the run less exact, which it measures itself (pacing lag).
    let _ = rustix::thread::set_current_timer_slack(core::num::NonZeroU64::new(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let Ok(allowed) = rustix::thread::sched_getaffinity(None) else { return };
    let cpus: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    if cpus.is_empty() {
        return;
    }
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpus[cpus.len() - 1 - usize::from(index) % cores.min(cpus.len())]);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// Raises this process's limit on open files to what it may have; the limit then.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
