//! Many small byte strings that share few allocations.
//!
//! A chunk is freed when the last string cut from it is dropped, so an arena is for what lives and dies together: frames
//! on their way. What is kept for long is copied out, or it keeps up to [`CHUNK_BYTES`] alive.

use bytes::{Bytes, BytesMut};

/// Size of an allocation that strings share, bytes.
pub const CHUNK_BYTES: usize = 32 << 10;
/// Longer ones get their own.
const SHARED_BYTES_MAX: usize = CHUNK_BYTES / 8;

/// Where one thread's short-lived frames are copied to. Holds at most one chunk that nobody else holds.
#[derive(Debug, Default)]
pub struct Arena {
    chunk: BytesMut,
}

impl Arena {
    /// A copy of `bytes`.
    pub fn copy(&mut self, bytes: &[u8]) -> Bytes {
        self.write(bytes.len(), |out| out.extend_from_slice(bytes))
    }

    /// What `write` appends, `len_bytes` of it.
    pub fn write(&mut self, len_bytes: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        if len_bytes > SHARED_BYTES_MAX {
            let mut own = BytesMut::with_capacity(len_bytes);
            write(&mut own);
            return own.freeze();
        }
        if self.chunk.capacity() < len_bytes {
            self.chunk = BytesMut::with_capacity(CHUNK_BYTES);
        }
        write(&mut self.chunk);
        self.chunk.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_exact_and_share_a_chunk_until_it_is_full() {
        let mut arena = Arena::default();
        let all: Vec<Bytes> = (0..2_000u32).map(|n| arena.copy(&n.to_le_bytes().repeat(50))).collect();
        for (n, copy) in (0u32..).zip(&all) {
            assert_eq!(copy, &n.to_le_bytes().repeat(50));
        }
        assert_eq!(all[0].as_ptr() as usize + 200, all[1].as_ptr() as usize);
        assert_eq!(arena.copy(&vec![7; CHUNK_BYTES]).len(), CHUNK_BYTES);
        assert!(arena.copy(b"").is_empty());
    }
}
