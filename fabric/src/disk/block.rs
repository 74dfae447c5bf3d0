//! Aligned memory that goes to a disk and comes back.
//!
//! What must stay true: the memory of a [`Block`] never moves and is not written while any handle on it is alive.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

/// Memory of a fixed capacity, aligned to [`Block::ALIGN`], owned by one writer while it fills.
pub struct BlockBuffer {
    memory: Arc<Memory>,
}

/// A filled part of a [`BlockBuffer`]: shared, read only.
#[derive(Clone)]
pub struct Block {
    memory: Arc<Memory>,
    len: usize,
}

struct Memory {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: the memory is owned, and written only through an exclusive borrow of its only handle.
#[allow(unsafe_code)]
unsafe impl Send for Memory {}
// SAFETY: shared handles only read.
#[allow(unsafe_code)]
unsafe impl Sync for Memory {}

impl Memory {
    #[allow(unsafe_code)]
    fn new(capacity: usize) -> Self {
        let layout = Self::layout(capacity);
        // SAFETY: the layout's size is not 0 (see `layout`).
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, capacity }
    }

    fn layout(capacity: usize) -> Layout {
        assert!(capacity > 0 && capacity.is_multiple_of(Block::ALIGN), "block capacity {capacity}");
        Layout::from_size_align(capacity, Block::ALIGN).expect("a block's capacity fits the address space")
    }
}

impl Drop for Memory {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.capacity)) }
    }
}

impl BlockBuffer {
    /// Zeroed memory. `capacity` bytes: a multiple of [`Block::ALIGN`], not 0.
    pub fn new(capacity: usize) -> Self {
        Self { memory: Arc::new(Memory::new(capacity)) }
    }

    /// Bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.memory.capacity
    }

    /// All of it, to fill. The first write after the buffer was lent out holds what it held then.
    #[allow(unsafe_code)]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: a `BlockBuffer` is the only handle on its memory (`lend` consumes it, `reclaim` checks), all of which is
        // initialised.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start.as_ptr(), self.memory.capacity) }
    }

    /// Makes its first `len` bytes a block that can be handed out. `len` at most the capacity.
    pub fn lend(self, len: usize) -> Block {
        assert!(len <= self.memory.capacity);
        Block { memory: self.memory, len }
    }
}

impl Block {
    /// What its memory is aligned to, bytes.
    pub const ALIGN: usize = 4_096;

    /// A block with a copy of `bytes` (for tests and small writes).
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut buffer = BlockBuffer::new(bytes.len().max(1).next_multiple_of(Self::ALIGN));
        buffer.as_mut_slice()[..bytes.len()].copy_from_slice(bytes);
        buffer.lend(bytes.len())
    }

    /// What is written. The address stays the same as long as any handle is alive.
    #[allow(unsafe_code)]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are initialised, and nobody writes while a handle is alive.
        unsafe { std::slice::from_raw_parts(self.memory.start.as_ptr(), self.len) }
    }

    /// Length in bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// No bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The buffer again, if this is the last handle on it.
    pub fn reclaim(self) -> Option<BlockBuffer> {
        let mut memory = self.memory;
        Arc::get_mut(&mut memory).is_some().then_some(BlockBuffer { memory })
    }
}

impl fmt::Debug for Block {
    /// The length only: blocks hold what people write.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_only_when_nobody_reads_it() {
        let mut buffer = BlockBuffer::new(2 * Block::ALIGN);
        buffer.as_mut_slice()[..3].copy_from_slice(b"abc");
        let block = buffer.lend(3);
        assert_eq!(block.as_slice(), b"abc");
        assert_eq!(block.as_slice().as_ptr() as usize % Block::ALIGN, 0);
        let other = block.clone();
        assert!(block.reclaim().is_none());
        let address = other.as_slice().as_ptr();
        let mut again = other.reclaim().expect("the last handle gives the memory back");
        assert_eq!(again.as_mut_slice().as_ptr(), address);
        assert_eq!(again.capacity(), 2 * Block::ALIGN);
    }
}
