//! Waking a shard from another thread: one eventfd a shard, written at most once a burst.
//!
//! What must stay true: whatever was queued before [`Waker::wake`] is seen by a turn that starts after it. A shard says when
//! it starts a turn ([`Waker::begin_turn`]) and asks before it sleeps ([`Waker::try_sleep`]); a wake in between is kept in
//! the state, so none is lost and none costs a system call while the shard is awake.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam_utils::CachePadded;

const AWAKE: u8 = 0;
const SLEEPING: u8 = 1;
const NOTIFIED: u8 = 2;

/// Wakes one shard. Clonable, usable from any thread whose descriptor table holds the eventfd (main makes it before
/// threads start, and shard threads keep it).
#[derive(Clone, Debug)]
pub struct Waker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: CachePadded<AtomicU8>,
    event: OwnedFd,
}

impl Waker {
    /// Makes the eventfd. Call it before threads take descriptor tables of their own.
    ///
    /// # Errors
    /// What `eventfd(2)` says (no descriptors left).
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made and nobody else owns it.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(Arc::new(Shared { state: CachePadded::new(AtomicU8::new(AWAKE)), event })))
    }

    /// Wakes the shard if it sleeps; otherwise its current turn is followed by another. Queue first, then wake.
    pub fn wake(&self) {
        if self.0.state.swap(NOTIFIED, Ordering::AcqRel) == SLEEPING {
            let one = 1u64.to_ne_bytes();
            // SAFETY: `one` is 8 readable bytes, as an eventfd wants. A full counter (EAGAIN) means it is readable anyway.
            unsafe { libc::write(self.0.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// The shard: a turn starts; what was queued before any [`Self::wake`] so far is visible to it.
    pub fn begin_turn(&self) {
        self.0.state.swap(AWAKE, Ordering::AcqRel);
    }

    /// The shard: may I sleep? `false` means somebody woke it since [`Self::begin_turn`]: run another turn first.
    #[must_use]
    pub fn try_sleep(&self) -> bool {
        self.0.state.compare_exchange(AWAKE, SLEEPING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The shard: takes the eventfd's count, so that it is no longer readable.
    pub fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: `count` is 8 writable bytes. EAGAIN (nothing to take) is fine.
        unsafe { libc::read(self.0.event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    /// The eventfd's number, to be kept by threads with a descriptor table of their own.
    pub fn raw_fd(&self) -> RawFd {
        self.0.event.as_raw_fd()
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    fn readable(waker: &Waker) -> bool {
        let mut poll = libc::pollfd { fd: waker.raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd.
        unsafe { libc::poll(&mut poll, 1, 0) == 1 }
    }

    #[test]
    fn only_a_sleeping_shard_costs_a_write() {
        let waker = Waker::new().unwrap();
        waker.begin_turn();
        waker.wake();
        assert!(!readable(&waker), "awake: no write");
        assert!(!waker.try_sleep(), "a wake during the turn forbids sleep");
        waker.begin_turn();
        assert!(waker.try_sleep());
        waker.wake();
        waker.wake();
        assert!(readable(&waker));
        waker.clear();
        assert!(!readable(&waker));
    }

    #[test]
    fn no_wake_is_lost_between_two_threads() {
        const COUNT: u64 = 20_000;
        let waker = Waker::new().unwrap();
        let queued = Arc::new(AtomicU64::new(0));
        let producer = {
            let (waker, queued) = (waker.clone(), queued.clone());
            std::thread::spawn(move || {
                for _ in 0..COUNT {
                    queued.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                }
            })
        };
        // Blocks for good (and the test never ends) if a wake is lost.
        let mut seen = 0;
        while seen < COUNT {
            waker.begin_turn();
            seen = queued.load(Ordering::Relaxed);
            if seen < COUNT && waker.try_sleep() {
                let mut poll = libc::pollfd { fd: waker.raw_fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: one valid pollfd.
                unsafe { libc::poll(&mut poll, 1, -1) };
                waker.clear();
            }
        }
        producer.join().unwrap();
    }
}
