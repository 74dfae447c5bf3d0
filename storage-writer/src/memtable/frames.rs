//! Frames of a table one behind the other in large pieces: no allocation an entry, and freed in one go.
//!
//! Under load the pieces of a table that is done become the next one's: fresh memory is cleared page by page first, which
//! costs more than writing to it.

use core::fmt;

use fabric::memory::populate;

/// Length of a piece, bytes. Frames are shorter; one that is not gets a piece of its own.
const PIECE: usize = 1 << 20;

/// Where a frame is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameAt {
    piece: u32,
    start: u32,
    len: u32,
}

impl FrameAt {
    /// Length of the frame, bytes.
    pub(crate) const fn len(self) -> usize {
        self.len as usize
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Frames {
    pieces: Vec<Vec<u8>>,
    /// Empty ones, to be used next.
    spare: Vec<Vec<u8>>,
}

impl Frames {
    /// Copies a frame. It is shorter than 4 GiB.
    pub(crate) fn push(&mut self, frame: &[u8]) -> FrameAt {
        if self.pieces.last().is_none_or(|piece| piece.capacity() - piece.len() < frame.len()) {
            let spare = if frame.len() <= PIECE { self.spare.pop() } else { None };
            self.pieces.push(spare.unwrap_or_else(|| {
                let mut fresh = Vec::with_capacity(PIECE.max(frame.len()));
                populate(fresh.spare_capacity_mut());
                fresh
            }));
        }
        let last = self.pieces.len() - 1;
        let piece = &mut self.pieces[last];
        let start = piece.len();
        piece.extend_from_slice(frame);
        FrameAt { piece: last as u32, start: start as u32, len: frame.len() as u32 }
    }

    /// Takes another's unused memory for what comes.
    pub(crate) fn take_spare(&mut self, from: &mut Self) {
        self.spare.append(&mut from.spare);
    }

    /// Takes another's memory for what comes, and with it its frames. `limit_bytes`: of all that waits to be used.
    pub(crate) fn recycle(&mut self, from: &mut Self, limit_bytes: usize) {
        while self.spare.len() < limit_bytes / PIECE
            && let Some(mut piece) = from.pieces.pop()
        {
            if piece.capacity() == PIECE {
                piece.clear();
                self.spare.push(piece);
            }
        }
    }

    /// A frame of this table.
    pub(crate) fn get(&self, at: FrameAt) -> &[u8] {
        let start = at.start as usize;
        &self.pieces[at.piece as usize][start..start + at.len()]
    }
}

impl fmt::Debug for Frames {
    /// Without the frames: they hold what people write.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("pieces", &self.pieces.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_any_length_stay_where_they_are() {
        let mut frames = Frames::default();
        let lens = [0, 1, 300, PIECE - 400, 100, PIECE, PIECE + 1, 0, 5, 3 * PIECE];
        let frame = |n: usize| vec![n as u8; lens[n]];
        let placed: Vec<_> = (0..lens.len()).map(|n| frames.push(&frame(n))).collect();
        for (n, at) in placed.into_iter().enumerate() {
            assert_eq!(at.len(), lens[n]);
            assert!(frames.get(at) == frame(n), "frame {n}");
        }
        assert!(frames.pieces.len() < lens.len());
    }

    #[test]
    fn memory_goes_round_within_its_bound() {
        let mut first = Frames::default();
        for len in [PIECE / 2, PIECE, PIECE + 1, PIECE, 7] {
            first.push(&vec![1; len]);
        }
        assert_eq!(first.pieces.len(), 5);
        let mut second = Frames::default();
        second.recycle(&mut first, 3 * PIECE);
        assert_eq!((second.spare.len(), first.pieces.len()), (3, 1), "what is too long is freed");
        let at = second.push(&[2; 9]);
        assert_eq!((second.get(at), second.spare.len()), ([2; 9].as_slice(), 2));
        second.recycle(&mut first, 2 * PIECE);
        assert_eq!((second.spare.len(), first.pieces.len()), (2, 1), "there is enough");
        let mut third = Frames::default();
        third.take_spare(&mut second);
        assert_eq!((third.spare.len(), second.spare.len(), second.pieces.len()), (2, 0, 1));
    }
}
