//! Segments as files: their names, and the jobs that make, recycle and remove them.

use std::io;
use std::sync::Arc;

use fabric::disk::{Block, Disk};

use super::format::{SEGMENT_RECYCLED, SegmentHeader};
use crate::lsn::JournalId;

const SUFFIX: &str = ".journal";

/// A segment's file name.
pub(super) fn name(journal: JournalId, ordinal: u32) -> Arc<str> {
    format!("{:08x}-{ordinal:08x}{SUFFIX}", journal.0).into()
}

/// (journal, ordinal) of a segment's file name; `None` for any other name.
pub(super) fn parse_name(name: &str) -> Option<(JournalId, u32)> {
    let (journal, ordinal) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let hex = |text: &str| {
        let plain = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        plain.then(|| u32::from_str_radix(text, 16).ok()).flatten()
    };
    Some((JournalId(hex(journal)?), hex(ordinal)?))
}

/// Whether a file calls itself a segment.
pub(super) fn is_segment_name(name: &str) -> bool {
    name.ends_with(SUFFIX)
}

/// Work on a segment that blocks: run on a background thread, in the order taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentJob(pub(super) Work);

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Work {
    /// Make a segment, all zeros but its header.
    Prepare { name: Arc<str>, header: SegmentHeader },
    /// Make one of a segment nobody needs any more.
    Recycle { from: Arc<str>, name: Arc<str>, header: SegmentHeader },
    /// Give a segment's space back.
    Remove { name: Arc<str> },
}

/// A job's end; goes to [`super::Journal::job_done`].
#[derive(Debug)]
pub struct SegmentDone {
    pub(super) work: Work,
    /// How it went. A failed job is taken again after [`super::Journal::retry`].
    pub result: io::Result<()>,
}

impl SegmentJob {
    /// Does it. Blocks.
    pub fn run(self, disk: &dyn Disk) -> SegmentDone {
        let result = match &self.0 {
            Work::Prepare { name, header } => prepare(disk, name, header),
            Work::Recycle { from, name, header } => recycle(disk, from, name, header),
            Work::Remove { name } => disk.remove(name),
        };
        SegmentDone { work: self.0, result }
    }

    /// Removes a segment of a former journal.
    pub fn remove(name: Arc<str>) -> Self {
        Self(Work::Remove { name })
    }
}

fn prepare(disk: &dyn Disk, name: &str, header: &SegmentHeader) -> io::Result<()> {
    disk.create_zeroed(name, header.len_bytes)?;
    write_header(disk, name, header)
}

fn recycle(disk: &dyn Disk, from: &str, name: &str, header: &SegmentHeader) -> io::Result<()> {
    debug_assert!(header.flags & SEGMENT_RECYCLED != 0);
    disk.rename(from, name)?;
    write_header(disk, name, header)
}

fn write_header(disk: &dyn Disk, name: &str, header: &SegmentHeader) -> io::Result<()> {
    let written = disk.write_durable(name, 0, header_block(header).as_slice());
    if written.is_err() {
        // Nothing points at it, and its header tells a recovery that it holds nothing: leaving it costs space only.
        let _ = disk.remove(name);
    }
    written
}

/// A header, padded to its alignment.
pub(super) fn header_block(header: &SegmentHeader) -> Block {
    let mut bytes = vec![0u8; header.align_bytes as usize];
    let encoded = header.encode();
    bytes[..encoded.len()].copy_from_slice(&encoded);
    Block::copy_of(&bytes)
}
