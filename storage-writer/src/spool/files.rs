//! The spool's files: batches written one after the other, each durable before the next; a file goes once nothing in it is
//! needed, the oldest first.
//!
//! What must stay true: what was durable is found again or the opening fails; only the end of what was being written when the
//! process or the power went is cut.

use std::collections::VecDeque;
use std::io;

use fabric::disk::Disk;

use super::SpoolError;
use super::format::{self, BatchError, Record, Writer};

/// What follows a file's number in its name.
const SUFFIX: &str = ".spool";
/// A batch is written at this length, bytes; one record may be longer.
const BATCH: usize = 1 << 20;

struct Segment {
    number: u64,
    len: u64,
    /// Sends in it that are not settled.
    live: usize,
}

/// See the module. Calls block.
pub(super) struct Files {
    segment_bytes: u64,
    segments: VecDeque<Segment>,
    /// Where the next batch goes in the last one.
    offset: u64,
    /// The number of the next batch.
    next: u64,
    /// After a write that failed, or a torn one, nothing more goes into the last file.
    spoiled: bool,
}

/// What files held.
#[derive(Default)]
pub(super) struct Found {
    /// In order.
    pub records: Vec<(Record, u64)>,
    /// Batches that were cut.
    pub torn: u64,
}

fn name(number: u64) -> String {
    format!("{number:010}{SUFFIX}")
}

impl Files {
    /// Reads what is there.
    ///
    /// # Errors
    /// [`SpoolError::Damaged`] names file and offset.
    pub(super) fn open(disk: &dyn Disk, segment_bytes: u64) -> Result<(Self, Found), SpoolError> {
        let mut numbers: Vec<u64> = Vec::new();
        for file in disk.list().map_err(SpoolError::Io)? {
            numbers.extend(file.strip_suffix(SUFFIX).and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        let mut files = Self { segment_bytes, segments: VecDeque::new(), offset: 0, next: 0, spoiled: false };
        let mut found = Found::default();
        let mut broken: Option<(String, u64)> = None;
        for number in numbers {
            let file = name(number);
            let bytes = whole(disk, &file).map_err(SpoolError::Io)?;
            files.segments.push_back(Segment { number, len: bytes.len() as u64, live: 0 });
            files.scan(disk.align_bytes(), (&file, &bytes), &mut found, &mut broken)?;
        }
        found.torn += u64::from(broken.is_some());
        // What was torn is not written over: another file follows.
        files.spoiled = broken.is_some() || files.segments.is_empty();
        Ok((files, found))
    }

    /// Reads a file's batches. `broken`: where those before ended in something that is none.
    fn scan(
        &mut self,
        align: usize,
        (file, bytes): (&str, &[u8]),
        found: &mut Found,
        broken: &mut Option<(String, u64)>,
    ) -> Result<(), SpoolError> {
        let (mut at, mut first) = (0, true);
        self.offset = 0;
        while at < bytes.len() {
            match format::read(&bytes[at..]) {
                Ok(batch) => {
                    // A file's first may repeat the last number of the file before: that write was said to have failed.
                    let expected = self.next == 0 || batch.number == self.next;
                    if !(expected || first && batch.number + 1 == self.next) {
                        let (file, offset) = broken.take().unwrap_or_else(|| (file.to_owned(), at as u64));
                        return Err(SpoolError::Damaged { file, offset, why: BatchError::Broken });
                    }
                    found.torn += u64::from(broken.take().is_some());
                    self.next = batch.number + 1;
                    found.records.extend(batch.records.into_iter().map(|record| (record, self.last())));
                    at += batch.len.next_multiple_of(align);
                    self.offset = at as u64;
                    first = false;
                }
                Err(BatchError::Empty | BatchError::Broken) => break,
                Err(why) => return Err(SpoolError::Damaged { file: file.to_owned(), offset: at as u64, why }),
            }
        }
        // Whatever follows must not be a later batch.
        let torn_at = at;
        while at < bytes.len() {
            if let Ok(batch) = format::read(&bytes[at..])
                && batch.number > self.next
            {
                let (file, offset) = broken.take().unwrap_or_else(|| (file.to_owned(), torn_at as u64));
                return Err(SpoolError::Damaged { file, offset, why: BatchError::Broken });
            }
            at += align;
        }
        if bytes[torn_at.min(bytes.len())..].iter().any(|byte| *byte != 0) {
            broken.get_or_insert((file.to_owned(), torn_at as u64));
        }
        Ok(())
    }

    fn last(&self) -> u64 {
        self.segments.back().map_or(0, |segment| segment.number)
    }

    /// A send that is not settled lies in this file.
    pub(super) fn lives(&mut self, number: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.number == number) {
            segment.live += 1;
        }
    }

    /// It need not be kept any more.
    pub(super) fn dies(&mut self, number: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.number == number) {
            segment.live = segment.live.saturating_sub(1);
        }
    }

    /// Bytes on the disk of files that have something in them.
    pub(super) fn bytes(&self) -> u64 {
        let full: u64 = self.segments.iter().rev().skip(1).map(|segment| segment.len).sum();
        full + self.offset
    }

    /// Writes sends, in order, and notes of sends that are settled; durable when it returns. Returns the file of each send.
    ///
    /// # Errors
    /// What the disk says: then any part of it may be there.
    pub(super) fn write(
        &mut self,
        disk: &dyn Disk,
        sends: &[(u64, u64, Vec<u8>)],
        settled: &[u64],
    ) -> io::Result<Vec<u64>> {
        let mut batch = Writer::default();
        let (mut places, mut in_batch) = (Vec::with_capacity(sends.len()), 0);
        for (id, queued_ms, encoded) in sends {
            if !batch.is_empty() && batch.len() + encoded.len() > BATCH {
                let place = self.put(disk, std::mem::take(&mut batch))?;
                places.extend(std::iter::repeat_n(place, std::mem::take(&mut in_batch)));
            }
            batch.queued(*id, *queued_ms, encoded);
            in_batch += 1;
        }
        for id in settled {
            if batch.len() > BATCH {
                let place = self.put(disk, std::mem::take(&mut batch))?;
                places.extend(std::iter::repeat_n(place, std::mem::take(&mut in_batch)));
            }
            batch.settled(*id);
        }
        if !batch.is_empty() {
            let place = self.put(disk, batch)?;
            places.extend(std::iter::repeat_n(place, in_batch));
        }
        Ok(places)
    }

    /// Writes a batch; returns its file.
    fn put(&mut self, disk: &dyn Disk, batch: Writer) -> io::Result<u64> {
        let bytes = batch.finish(self.next, disk.align_bytes());
        let len = bytes.len() as u64;
        if self.spoiled || self.segments.back().is_none_or(|last| self.offset + len > last.len) {
            let segment = Segment { number: self.last() + 1, len: self.segment_bytes.max(len), live: 0 };
            disk.create_zeroed(&name(segment.number), segment.len)?;
            self.segments.push_back(segment);
            (self.offset, self.spoiled) = (0, false);
        }
        let number = self.last();
        if let Err(error) = disk.write_durable(&name(number), self.offset, &bytes) {
            self.spoiled = true;
            return Err(error);
        }
        self.offset += len;
        self.next += 1;
        Ok(number)
    }

    /// Removes files that nothing is needed of. The last one stays.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn tidy(&mut self, disk: &dyn Disk) -> io::Result<()> {
        while let Some(first) = self.segments.front().filter(|first| first.live == 0)
            && self.segments.len() > 1
        {
            disk.remove(&name(first.number))?;
            self.segments.pop_front();
        }
        Ok(())
    }
}

pub(super) fn whole(disk: &dyn Disk, file: &str) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; disk.len(file)? as usize];
    let read = disk.read_at(file, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
