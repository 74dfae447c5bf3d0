//! Records as they come, and the memory of a block.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::time::{Duration, Instant};

use super::{ALIGN, BLOCK_BYTES, RECORD_BYTES, SEGMENT_BYTES};

/// Records that come at a rate, or as fast as they are taken, for some time.
pub struct Load {
    rate: Option<f64>,
    time: Duration,
    begin: Instant,
    at: u64,
    /// Records taken.
    pub records: u64,
    /// Blocks they went in.
    pub blocks: u64,
}

impl Load {
    /// Begins now.
    pub fn new(rate: Option<f64>, time: Duration) -> Self {
        Self { rate, time, begin: Instant::now(), at: 0, records: 0, blocks: 0 }
    }

    /// Since the begin.
    pub fn took(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Whether the next block may be filled while the last is written. At a rate it is filled afterwards, with what has come
    /// meanwhile.
    pub const fn is_ahead(&self) -> bool {
        self.rate.is_none()
    }

    /// Fills a block with what has come and says (length, offset) of the write; waits until there is something. `None`: the
    /// time is over.
    pub fn fill(&mut self, block: &mut [u8]) -> Option<(usize, u64)> {
        let most = (BLOCK_BYTES / RECORD_BYTES) as u64;
        let records = loop {
            let now = self.took();
            if now > self.time {
                return None;
            }
            let due = self.rate.map_or(most, |rate| (now.as_secs_f64() * rate) as u64 - self.records);
            if due > 0 {
                break due.min(most);
            }
            std::thread::sleep(Duration::from_micros(20));
        };
        let record = [0x5a; RECORD_BYTES];
        for place in 0..records as usize {
            block[place * RECORD_BYTES..][..RECORD_BYTES].copy_from_slice(&record);
        }
        let used = records as usize * RECORD_BYTES;
        let padded = used.next_multiple_of(ALIGN);
        block[used..padded].fill(0);
        self.records += records;
        self.blocks += 1;
        if self.at + padded as u64 > SEGMENT_BYTES {
            self.at = 0;
        }
        let at = self.at;
        self.at += padded as u64;
        Some((padded, at))
    }
}

/// Aligned memory of a block that does not move.
pub struct Memory(*mut u8);

// SAFETY: it owns its memory.
unsafe impl Send for Memory {}

impl Memory {
    const LAYOUT: Layout = match Layout::from_size_align(BLOCK_BYTES, ALIGN) {
        Ok(layout) => layout,
        Err(_) => panic!("a power of two"),
    };

    /// Zeros.
    pub fn new() -> Self {
        // SAFETY: the layout is not empty.
        let pointer = unsafe { alloc_zeroed(Self::LAYOUT) };
        assert!(!pointer.is_null(), "out of memory");
        Self(pointer)
    }

    /// Its begin.
    pub const fn pointer(&self) -> *mut u8 {
        self.0
    }

    /// All of it.
    pub const fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: it owns BLOCK_BYTES at the pointer.
        unsafe { std::slice::from_raw_parts_mut(self.0, BLOCK_BYTES) }
    }

    /// Its first bytes.
    pub const fn first(&self, len: usize) -> &[u8] {
        assert!(len <= BLOCK_BYTES);
        // SAFETY: as in `bytes`.
        unsafe { std::slice::from_raw_parts(self.0, len) }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout.
        unsafe { dealloc(self.0, Self::LAYOUT) };
    }
}
