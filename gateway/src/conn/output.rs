//! What waits to be written to one connection.

use std::collections::VecDeque;

use bytes::Bytes;

/// From this length on a frame is shared with its other readers rather than copied: a push of it to a large group costs its
/// memory once.
const SHARED_BYTES: usize = 2_048;
/// Most memory that a queue keeps when it is empty, bytes.
const KEPT_BYTES: usize = 16 << 10;
/// In place of a length: the next of the shared frames.
const SHARED: u32 = u32::MAX;

/// Output of one connection, in whole frames.
#[derive(Default)]
pub(crate) struct Output {
    /// Small frames one behind the other; those before `from` are taken.
    bytes: Vec<u8>,
    from: usize,
    /// Lengths of the frames that are not taken, [`SHARED`] where one is in `shared`.
    frames: VecDeque<u32>,
    shared: VecDeque<Bytes>,
    queued_bytes: usize,
    /// Taken by the skin, not yet written.
    taken_bytes: usize,
}

impl Output {
    /// Adds the frame that `write` appends; returns its length.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.bytes.len();
        write(&mut self.bytes);
        let len = self.bytes.len() - before;
        debug_assert!(len < SHARED as usize);
        self.frames.push_back(len as u32);
        self.queued_bytes += len;
        len
    }

    /// Adds a frame that others may get too; returns its length.
    pub(crate) fn push(&mut self, frame: &Bytes) -> usize {
        if frame.len() < SHARED_BYTES {
            return self.write(|out| out.extend_from_slice(frame));
        }
        self.frames.push_back(SHARED);
        self.shared.push_back(frame.clone());
        self.queued_bytes += frame.len();
        frame.len()
    }

    /// Bytes queued or taken but not written: what a slow reader is measured by.
    pub(crate) const fn pending(&self) -> usize {
        self.queued_bytes + self.taken_bytes
    }

    /// Something is there to take.
    pub(crate) fn ready(&self) -> bool {
        !self.frames.is_empty()
    }

    pub(crate) const fn in_flight(&self) -> bool {
        self.taken_bytes > 0
    }

    /// Appends whole frames to `out` until `max_bytes` are reached; at least one. Where that is all there is, and `out` is
    /// empty, the two change their memory instead.
    pub(crate) fn take(&mut self, max_bytes: usize, out: &mut Vec<u8>) {
        let all = self.queued_bytes;
        if out.is_empty() && all <= max_bytes && self.shared.is_empty() && self.from == 0 {
            core::mem::swap(&mut self.bytes, out);
            self.frames.clear();
            self.queued_bytes = 0;
            self.taken_bytes += all;
            return;
        }
        let before = out.len();
        while let Some(&frame) = self.frames.front() {
            let shared = self.shared.front().filter(|_| frame == SHARED);
            let next = shared.map_or_else(|| &self.bytes[self.from..self.from + frame as usize], |frame| &frame[..]);
            let taken = out.len() - before;
            if taken > 0 && taken + next.len() > max_bytes {
                break;
            }
            out.extend_from_slice(next);
            if frame == SHARED {
                self.shared.pop_front();
            } else {
                self.from += frame as usize;
            }
            self.frames.pop_front();
        }
        self.queued_bytes -= out.len() - before;
        self.taken_bytes += out.len() - before;
        self.forget_taken();
    }

    /// Gives the place of what is taken to what comes, now and then: each byte is moved at most once on average.
    fn forget_taken(&mut self) {
        if 2 * self.from >= self.bytes.len() {
            self.bytes.drain(..self.from);
            self.from = 0;
        }
    }

    pub(crate) fn written(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.taken_bytes, "more written than was taken");
        self.taken_bytes = self.taken_bytes.saturating_sub(bytes);
    }

    /// Throws away what nobody has taken, for a reader that is stuck; returns how many bytes.
    pub(crate) fn discard(&mut self) -> usize {
        self.bytes.clear();
        self.from = 0;
        self.frames.clear();
        self.shared.clear();
        core::mem::take(&mut self.queued_bytes)
    }

    /// Makes it as new, keeping a small queue's memory.
    pub(crate) fn reset(&mut self) {
        self.discard();
        self.taken_bytes = 0;
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        if self.frames.capacity() > KEPT_BYTES / 64 {
            self.frames = VecDeque::new();
        }
        self.shared = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(frames: &[&[u8]]) -> Output {
        let mut output = Output::default();
        for frame in frames {
            assert_eq!(output.push(&Bytes::copy_from_slice(frame)), frame.len());
        }
        output
    }

    #[test]
    fn frames_leave_whole_and_in_order_and_count_until_written() {
        let mut output = filled(&[b"aaaa", b"bbbb", b"cccc"]);
        let mut out = Vec::new();
        output.take(1, &mut out);
        assert_eq!(out, b"aaaa", "one frame whatever the limit");
        output.take(8, &mut out);
        assert_eq!(out, b"aaaabbbbcccc");
        assert_eq!(output.pending(), 12);
        assert!(!output.ready() && output.in_flight());
        output.written(5);
        assert_eq!(output.pending(), 7);
        output.written(7);
        assert!(!output.in_flight());
    }

    #[test]
    fn all_at_once_changes_memory_and_moves_nothing() {
        let mut output = filled(&[b"aaaa", b"bbbb"]);
        let address = output.bytes.as_ptr();
        let mut out = Vec::with_capacity(100);
        let other = out.as_ptr();
        output.take(8, &mut out);
        assert_eq!((&out[..], out.as_ptr()), (&b"aaaabbbb"[..], address));
        assert_eq!((output.bytes.as_ptr(), output.pending()), (other, 8));
        assert!(!output.ready());
    }

    #[test]
    fn large_frames_are_shared_and_keep_their_place() {
        let large = Bytes::from(vec![7; SHARED_BYTES]);
        let mut output = filled(&[b"before"]);
        output.push(&large);
        assert!(!large.is_unique());
        output.write(|out| out.extend_from_slice(b"after"));
        assert_eq!(output.pending(), 11 + SHARED_BYTES);
        let mut out = Vec::new();
        output.take(usize::MAX, &mut out);
        assert_eq!(out, [b"before", &large[..], b"after"].concat());
        assert!(large.is_unique() && !output.ready());
    }

    #[test]
    fn a_reader_that_is_always_behind_keeps_no_more_than_waits() {
        let mut output = Output::default();
        let mut out = Vec::new();
        for _ in 0..10_000 {
            output.write(|out| out.extend_from_slice(&[1; 100]));
            output.write(|out| out.extend_from_slice(&[2; 100]));
            out.clear();
            output.take(150, &mut out);
            output.written(100);
            if output.pending() > 10_000 {
                while output.ready() {
                    out.clear();
                    output.take(300, &mut out);
                    output.written(out.len());
                }
            }
            assert!(output.bytes.capacity() <= 64_000);
        }
        output.discard();
        assert_eq!(output.pending(), 0);
        assert!(!output.ready());
    }
}
