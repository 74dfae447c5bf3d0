//! A journal's segments: the one written, the one prepared for after it, and those that wait to be freed.
//!
//! What must stay true: segments go in the order they came, one job at a time, so that what is left on the disk is always
//! a journal's end without holes; a segment with a failed write is removed, never used again.

use std::collections::VecDeque;
use std::sync::Arc;

use super::format::{SEGMENT_RECYCLED, SegmentHeader, generation};
use super::segment::{SegmentDone, SegmentJob, Work, name};
use super::writer::JournalConfig;
use crate::lsn::{JournalId, Lsn};

/// Where a block goes.
pub(super) struct Place {
    pub file: Arc<str>,
    pub offset: u64,
    pub generation: u64,
    pub salt: u64,
}

/// What a finished job changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Prepared {
    /// A new segment stands in for a failed one.
    TookOver,
    /// Anything else.
    Other,
}

struct Segment {
    name: Arc<str>,
    header: SegmentHeader,
    /// Where the next block goes.
    offset: u64,
}

struct Closed {
    name: Arc<str>,
    /// Its records are at or below this.
    last: Lsn,
    recyclable: bool,
}

pub(super) struct Space {
    id: JournalId,
    config: JournalConfig,
    active: Option<Segment>,
    prepared: Option<Segment>,
    /// Oldest first.
    closed: VecDeque<Closed>,
    freed: Lsn,
    next_ordinal: u32,
    job_in_flight: bool,
    job_failed: bool,
    /// The job in flight prepares a segment that stands in for a failed one.
    taking_over: bool,
}

impl Space {
    pub const fn new(id: JournalId, config: JournalConfig) -> Self {
        Self {
            id,
            config,
            active: None,
            prepared: None,
            closed: VecDeque::new(),
            freed: Lsn::ZERO,
            next_ordinal: 1,
            job_in_flight: false,
            job_failed: false,
            taking_over: false,
        }
    }

    pub const fn id(&self) -> JournalId {
        self.id
    }

    /// Whether [`Self::place`] would find one.
    pub fn has_place(&self, len: u64) -> bool {
        self.active.as_ref().is_some_and(|active| active.has_room(len)) || self.prepared.is_some()
    }

    /// Where the next block of `len` bytes goes, in the next segment if this one is full. `committed`: the last LSN in the
    /// segments so far.
    pub fn place(&mut self, len: u64, committed: Lsn) -> Option<Place> {
        if !self.active.as_ref().is_some_and(|active| active.has_room(len)) {
            let next = self.prepared.take()?;
            if let Some(full) = self.active.replace(next) {
                self.closed.push_back(Closed { name: full.name, last: committed, recyclable: true });
            }
        }
        let active = self.active.as_mut()?;
        let offset = active.offset;
        active.offset += len;
        debug_assert!(active.offset <= active.header.len_bytes);
        let SegmentHeader { generation, salt, .. } = active.header;
        Some(Place { file: Arc::clone(&active.name), offset, generation, salt })
    }

    /// A write into the active segment failed.
    pub fn abandon(&mut self, committed: Lsn) {
        if let Some(failed) = self.active.take() {
            self.closed.push_back(Closed { name: failed.name, last: committed, recyclable: false });
        }
    }

    pub fn freed(&mut self, applied: Lsn) {
        self.freed = self.freed.max(applied);
    }

    pub const fn retry(&mut self) {
        self.job_failed = false;
    }

    pub const fn job_failed(&self) -> bool {
        self.job_failed
    }

    pub fn segments(&self) -> usize {
        self.closed.len() + usize::from(self.active.is_some()) + usize::from(self.prepared.is_some())
    }

    /// `take_over`: the journal is poisoned, and this is the last LSN it committed. `held`: somebody reads free segments,
    /// which wait for that while others can be made.
    pub fn take_job(&mut self, take_over: Option<Lsn>, held: bool) -> Option<SegmentJob> {
        if self.job_in_flight || self.job_failed {
            return None;
        }
        let work = self.next_work(take_over, held)?;
        self.job_in_flight = true;
        Some(SegmentJob(work))
    }

    fn next_work(&mut self, take_over: Option<Lsn>, held: bool) -> Option<Work> {
        self.taking_over = take_over.is_some();
        let held = held && self.segments() < self.config.max_segments;
        let free = self.closed.front().filter(|oldest| oldest.last <= self.freed && !held);
        if take_over.is_some()
            && let Some(prepared) = self.prepared.take()
        {
            // Prepared before the failure, it does not say where it takes over.
            return Some(self.recycle(prepared.name, take_over));
        }
        let wants_segment = self.active.is_none() || self.prepared.is_none();
        match free {
            Some(oldest) if oldest.recyclable && wants_segment => {
                let from = Arc::clone(&oldest.name);
                Some(self.recycle(from, take_over))
            }
            Some(oldest) => Some(Work::Remove { name: Arc::clone(&oldest.name) }),
            None if wants_segment && self.segments() < self.config.max_segments => {
                let first = (self.segments() == 0).then_some(Lsn::ZERO);
                Some(self.prepare(take_over.or(first.filter(|_| self.freed == Lsn::ZERO))))
            }
            None => None,
        }
    }

    fn prepare(&mut self, continues_after: Option<Lsn>) -> Work {
        let (name, header) = self.next_segment(continues_after, 0);
        Work::Prepare { name, header }
    }

    fn recycle(&mut self, from: Arc<str>, continues_after: Option<Lsn>) -> Work {
        let (name, header) = self.next_segment(continues_after, SEGMENT_RECYCLED);
        Work::Recycle { from, name, header }
    }

    /// Every attempt has a name of its own.
    fn next_segment(&mut self, continues_after: Option<Lsn>, flags: u16) -> (Arc<str>, SegmentHeader) {
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        let generation = generation(self.id, ordinal);
        let header = SegmentHeader {
            flags,
            generation,
            journal: self.id,
            continues_after,
            len_bytes: self.config.segment_bytes,
            salt: salt(self.config.salt, generation),
            align_bytes: self.config.align_bytes as u32,
        };
        (name(self.id, ordinal), header)
    }

    pub fn job_done(&mut self, done: SegmentDone) -> Prepared {
        debug_assert!(self.job_in_flight);
        self.job_in_flight = false;
        let failed = done.result.is_err();
        self.job_failed = failed;
        match done.work {
            Work::Remove { name } => {
                if !failed {
                    self.drop_oldest(&name);
                }
                Prepared::Other
            }
            Work::Prepare { name, header } if !failed => self.prepared(name, header),
            Work::Recycle { from, name, header } if !failed => {
                self.drop_oldest(&from);
                self.prepared(name, header)
            }
            Work::Recycle { from, .. } => {
                // It may be there or not: it has to be removed before anything younger is.
                match self.closed.front_mut().filter(|oldest| oldest.name == from) {
                    Some(oldest) => oldest.recyclable = false,
                    None => self.closed.push_back(Closed { name: from, last: self.closed_to(), recyclable: false }),
                }
                Prepared::Other
            }
            Work::Prepare { .. } => Prepared::Other,
        }
    }

    /// The highest LSN in closed segments.
    fn closed_to(&self) -> Lsn {
        self.closed.back().map_or(self.freed, |closed| closed.last)
    }

    fn drop_oldest(&mut self, name: &str) {
        if self.closed.front().is_some_and(|oldest| *oldest.name == *name) {
            self.closed.pop_front();
        }
    }

    fn prepared(&mut self, name: Arc<str>, header: SegmentHeader) -> Prepared {
        let segment = Segment { name, offset: u64::from(header.align_bytes), header };
        if header.continues_after.is_some() {
            debug_assert!(self.active.is_none());
            self.active = Some(segment);
            return if self.taking_over { Prepared::TookOver } else { Prepared::Other };
        }
        self.prepared = Some(segment);
        Prepared::Other
    }
}

impl Segment {
    const fn has_room(&self, len: u64) -> bool {
        self.offset + len <= self.header.len_bytes
    }
}

/// A segment's own salt.
pub(super) const fn salt(seed: u64, generation: u64) -> u64 {
    // SplitMix64's finaliser: neighbours share nothing.
    let mut z = seed ^ generation.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
