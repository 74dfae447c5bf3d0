//! An allocator that counts, and what a process holds.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicIsize, Ordering};

use mimalloc::MiMalloc;

static BYTES: AtomicIsize = AtomicIsize::new(0);
static BLOCKS: AtomicIsize = AtomicIsize::new(0);
static WORST: AtomicIsize = AtomicIsize::new(0);

/// The server's allocator, counted.
pub struct Counting;

fn add(bytes: isize, blocks: isize) {
    let now = BYTES.fetch_add(bytes, Ordering::Relaxed) + bytes;
    BLOCKS.fetch_add(blocks, Ordering::Relaxed);
    WORST.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: every call goes to mimalloc as it is; counting touches none of the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize, 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize, 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        add(-(layout.size() as isize), -1);
        // SAFETY: the caller's promises are passed on.
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        add(bytes as isize - layout.size() as isize, 0);
        // SAFETY: the caller's promises are passed on.
        unsafe { MiMalloc.realloc(block, layout, bytes) }
    }
}

/// What the process holds at a moment.
#[derive(Clone, Copy)]
pub struct Held {
    /// Bytes asked of the allocator and not given back.
    pub bytes: isize,
    /// Blocks of them.
    pub blocks: isize,
    /// The most bytes since the last look.
    pub worst: isize,
    /// The resident set, bytes.
    pub resident: isize,
}

impl Held {
    /// Looks; [`Self::worst`] begins anew.
    pub fn now() -> Self {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
        let pages: isize = statm.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("statm's second field");
        // SAFETY: no pointers.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as isize;
        let bytes = BYTES.load(Ordering::Relaxed);
        let worst = WORST.swap(bytes, Ordering::Relaxed);
        Self { bytes, blocks: BLOCKS.load(Ordering::Relaxed), worst, resident: pages * page }
    }
}
