//! Choosing and building a shard's runtime: io_uring as the kernel allows it, else epoll.

use std::io;
use std::os::fd::RawFd;
use std::sync::Mutex;

use monoio::time::TimeDriver;
use monoio::{FusionRuntime, IoUringDriver, LegacyDriver, RuntimeBuilder};

/// How a shard talks to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Driver {
    /// io_uring whose completions wait until the shard asks (SINGLE_ISSUER, DEFER_TASKRUN, COOP_TASKRUN).
    IoUringDeferred,
    /// io_uring without deferred completions (an older kernel).
    IoUring,
    /// epoll: io_uring is refused here, or was not wanted.
    Epoll,
}

impl Driver {
    /// As logs and metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IoUringDeferred => "io_uring+defer_taskrun",
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Which driver to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DriverChoice {
    /// The best the kernel allows.
    #[default]
    Auto,
    /// io_uring without deferred completions, or epoll.
    PlainRing,
    /// epoll.
    Epoll,
}

pub(super) type Runtime = FusionRuntime<TimeDriver<IoUringDriver>, TimeDriver<LegacyDriver>>;

/// A runtime, what drives it, and the ring's descriptor where completions are deferred.
pub(super) struct Built {
    pub(super) runtime: Runtime,
    pub(super) driver: Driver,
    pub(super) ring: Option<RawFd>,
}

/// Builds a runtime on this thread. Falls back from deferred completions to a plain ring to epoll.
pub(super) fn build(choice: DriverChoice, entries: u32) -> io::Result<Built> {
    let may_ring = choice != DriverChoice::Epoll && monoio::utils::detect_uring();
    if may_ring && choice == DriverChoice::Auto {
        match build_deferred(entries) {
            Ok(built) => return Ok(built),
            Err(error) => tracing::info!(%error, "io_uring without deferred completions"),
        }
    }
    if may_ring {
        for cooperative in [true, false] {
            let mut ring = io_uring::IoUring::builder();
            if cooperative {
                ring.setup_coop_taskrun();
            }
            if let Ok(runtime) = build_ring(ring, entries) {
                return Ok(Built { runtime, driver: Driver::IoUring, ring: None });
            }
        }
    }
    let runtime = RuntimeBuilder::<LegacyDriver>::new().with_entries(entries).enable_timer().build()?;
    Ok(Built { runtime: runtime.into(), driver: Driver::Epoll, ring: None })
}

fn build_ring(ring: io_uring::Builder, entries: u32) -> io::Result<Runtime> {
    let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(entries).uring_builder(ring);
    Ok(builder.enable_timer().build()?.into())
}

/// monoio submits without asking for completions as long as it has tasks to run, and deferred completions then wait. So
/// this driver is only taken when the ring's descriptor can be found, to ask for them from outside ([`reap`]).
fn build_deferred(entries: u32) -> io::Result<Built> {
    /// One ring at a time, so that the new descriptor is known from those before.
    static BUILDING: Mutex<()> = Mutex::new(());
    let guard = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let before = rings()?;
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
    let runtime = build_ring(ring, entries)?;
    let new: Vec<RawFd> = rings()?.into_iter().filter(|fd| !before.contains(fd)).collect();
    drop(guard);
    match new[..] {
        [ring] if reap(ring).is_ok() => Ok(Built { runtime, driver: Driver::IoUringDeferred, ring: Some(ring) }),
        _ => Err(io::Error::other("the ring's descriptor was not found")),
    }
}

/// Descriptors of io_uring instances in this thread's table.
fn rings() -> io::Result<Vec<RawFd>> {
    let mut rings = Vec::new();
    for entry in std::fs::read_dir("/proc/thread-self/fd")? {
        let entry = entry?;
        let is_ring = std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == "anon_inode:[io_uring]");
        if let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse().ok()).filter(|_| is_ring) {
            rings.push(fd);
        }
    }
    Ok(rings)
}

/// Has the kernel take what is in the submission queue now, without waiting for the loop to come to rest.
pub(super) fn submit(ring: RawFd) -> io::Result<()> {
    // SAFETY: no argument is passed; the kernel takes at most what the queue holds.
    let result =
        unsafe { libc::syscall(libc::SYS_io_uring_enter, ring, u32::MAX, 0u32, 0u32, core::ptr::null::<u8>(), 0usize) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has the kernel post deferred completions, without submitting or waiting.
pub(super) fn reap(ring: RawFd) -> io::Result<()> {
    const GETEVENTS: u32 = 1;
    // SAFETY: nothing is submitted, nothing is waited for, no argument is passed.
    let result = unsafe {
        libc::syscall(libc::SYS_io_uring_enter, ring, 0u32, 0u32, GETEVENTS, core::ptr::null::<u8>(), 0usize)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
