//! What a shard thread does to itself before anything else: its core, its descriptor table, its time slice.

use std::io;
use std::os::fd::RawFd;

/// The time slice of shard threads. A journal write completes on a kernel worker, which must not wait a long tick for a
/// saturated thread to leave its core.
const SLICE_NS: u64 = 20_000_000;

/// The cores this process may use, ascending.
pub fn available_cores() -> Vec<usize> {
    // SAFETY: cpu_set_t is plain bits, for which zero is valid.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    // SAFETY: `set` is a cpu_set_t and its size is given; 0 = this thread.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } < 0 {
        return vec![0];
    }
    // SAFETY: the index is below CPU_SETSIZE.
    (0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect()
}

/// Pins this thread to one core.
pub(super) fn pin(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: cpu_set_t is plain bits, for which zero is valid; the index is below CPU_SETSIZE.
    let set = unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        set
    };
    // SAFETY: `set` is a cpu_set_t and its size is given; 0 = this thread.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) })
}

/// Gives this thread a descriptor table of its own (`unshare(CLONE_FILES)`), so that the limit on open files holds for it
/// rather than for the process, and closes in it everything but the standard three and `keep`. Call it first thing on a
/// new thread: files opened elsewhere stay open there but are not to be used here, and the other way round.
///
/// `false`: it may not have one, as in a container whose seccomp profile refuses `unshare(2)`; nothing has changed.
///
/// # Errors
/// What else `unshare(2)` and `close_range(2)` say.
pub fn own_descriptors(mut keep: Vec<RawFd>) -> io::Result<bool> {
    // SAFETY: no pointers. Only this thread's view changes; files stay open in the other tables.
    match check(unsafe { libc::unshare(libc::CLONE_FILES) }) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        result => result?,
    }
    keep.extend([0, 1, 2]);
    keep.sort_unstable();
    keep.dedup();
    let mut first = 0;
    for fd in keep.into_iter().map(RawFd::cast_unsigned) {
        if first < fd {
            close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX)?;
    Ok(true)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: this thread owns none of these descriptors: its table is a copy nobody else sees, made just now.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } as libc::c_int)
}

/// Asks for a 20 ms slice (Linux 6.12 and later) without changing policy or priority.
pub(super) fn long_slice() -> io::Result<()> {
    /// `struct sched_attr` as of its first version.
    #[repr(C)]
    #[derive(Default)]
    struct SchedAttr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    // SAFETY: no pointers; 0 = this thread.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attributes = SchedAttr { size: size_of::<SchedAttr>() as u32, nice, runtime: SLICE_NS, ..SchedAttr::default() };
    // SAFETY: the pointer is to a sched_attr that says its own size; 0 = this thread.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } as libc::c_int)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Ends the process with a line that names who and why. Crash only: what was acknowledged is in a journal.
pub(super) fn die(who: &str, cause: &(dyn core::any::Any + Send)) -> ! {
    let text = cause.downcast_ref::<&str>().copied();
    let text = text.or_else(|| cause.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown cause");
    eprintln!("shardwire: {who} panicked: {text}; the process ends");
    // SAFETY: no pointers. Neither destructors nor exit handlers may run: other threads are still at work.
    unsafe { libc::_exit(101) }
}

/// Runs `work`; a panic in it ends the process.
pub(super) fn or_die<T>(who: &str, work: impl FnOnce() -> T) -> T {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|cause| die(who, &*cause))
}
