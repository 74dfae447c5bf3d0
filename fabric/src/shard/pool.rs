//! Buffers for output that a socket did not take at once, kept for reuse by size.

/// Sizes of kept buffers: 4, 8, 16, 32 and 64 KiB and a little (a batch may end with a chunk beyond the limit).
const SIZES: [usize; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];
/// Most memory kept of each size, bytes.
const KEEP_BYTES: usize = 256 << 10;

#[derive(Default)]
pub(super) struct Pool {
    free: [Vec<Vec<u8>>; SIZES.len()],
}

impl Pool {
    /// A copy of what a socket did not take.
    pub(super) fn keep(&mut self, rest: &[u8]) -> Vec<u8> {
        let mut buffer = self.take(rest.len());
        buffer.extend_from_slice(rest);
        buffer
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        match SIZES.iter().position(|&size| size >= bytes) {
            Some(class) => self.free[class].pop().unwrap_or_else(|| Vec::with_capacity(SIZES[class])),
            None => Vec::with_capacity(bytes),
        }
    }

    /// Keeps a buffer unless there are enough of its size.
    pub(super) fn put(&mut self, mut buffer: Vec<u8>) {
        let Some(class) = SIZES.iter().position(|&size| size == buffer.capacity()) else { return };
        if (self.free[class].len() + 1) * SIZES[class] <= KEEP_BYTES {
            buffer.clear();
            self.free[class].push(buffer);
        }
    }
}
