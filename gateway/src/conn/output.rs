//! What waits to be written to one connection.

use std::collections::VecDeque;

use bytes::Bytes;

/// Output of one connection, in whole frames.
#[derive(Default)]
pub(crate) struct Output {
    chunks: VecDeque<Bytes>,
    queued_bytes: usize,
    /// Taken by the skin, not yet written.
    taken_bytes: usize,
}

impl Output {
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.queued_bytes += chunk.len();
        self.chunks.push_back(chunk);
    }

    /// Bytes queued or taken but not written: what a slow reader is measured by.
    pub(crate) const fn pending(&self) -> usize {
        self.queued_bytes + self.taken_bytes
    }

    /// Something is there to take.
    pub(crate) fn ready(&self) -> bool {
        !self.chunks.is_empty()
    }

    pub(crate) const fn in_flight(&self) -> bool {
        self.taken_bytes > 0
    }

    /// Moves whole chunks into `out` until `max_bytes` are reached; at least one.
    pub(crate) fn take(&mut self, max_bytes: usize, out: &mut Vec<Bytes>) {
        let mut bytes = 0;
        while let Some(chunk) = self.chunks.front() {
            if bytes > 0 && bytes + chunk.len() > max_bytes {
                break;
            }
            bytes += chunk.len();
            out.extend(self.chunks.pop_front());
        }
        self.queued_bytes -= bytes;
        self.taken_bytes += bytes;
    }

    pub(crate) fn written(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.taken_bytes, "more written than was taken");
        self.taken_bytes = self.taken_bytes.saturating_sub(bytes);
    }

    /// Throws away what nobody has taken, for a reader that is stuck; returns how many bytes.
    pub(crate) fn discard(&mut self) -> usize {
        self.chunks.clear();
        core::mem::take(&mut self.queued_bytes)
    }

    /// Makes it as new, keeping a small queue's memory.
    pub(crate) fn reset(&mut self) {
        self.discard();
        self.taken_bytes = 0;
        if self.chunks.capacity() > 64 {
            self.chunks = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_leave_whole_and_in_order_and_count_until_written() {
        let mut output = Output::default();
        output.push(Bytes::from_static(b"aaaa"));
        output.push(Bytes::from_static(b"bbbb"));
        output.push(Bytes::from_static(b"cccc"));
        let mut out = Vec::new();
        output.take(1, &mut out);
        assert_eq!(out, [&b"aaaa"[..]], "one chunk whatever the limit");
        output.take(8, &mut out);
        assert_eq!(out.concat(), b"aaaabbbbcccc");
        assert_eq!(output.pending(), 12);
        assert!(!output.ready() && output.in_flight());
        output.written(5);
        assert_eq!(output.pending(), 7);
        output.written(7);
        assert!(!output.in_flight());
    }
}
