//! Frames of a table one behind the other in large pieces: no allocation an entry, and freed in one go.

use core::fmt;

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
}

impl Frames {
    /// Copies a frame. It is shorter than 4 GiB.
    pub(crate) fn push(&mut self, frame: &[u8]) -> FrameAt {
        if self.pieces.last().is_none_or(|piece| piece.capacity() - piece.len() < frame.len()) {
            self.pieces.push(Vec::with_capacity(PIECE.max(frame.len())));
        }
        let last = self.pieces.len() - 1;
        let piece = &mut self.pieces[last];
        let start = piece.len();
        piece.extend_from_slice(frame);
        FrameAt { piece: last as u32, start: start as u32, len: frame.len() as u32 }
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
}
