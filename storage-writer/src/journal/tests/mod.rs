//! A journal on a simulated disk, driven the way an owner drives it, beside a model of what must be there.

mod copy;
mod crash;
mod damage;
mod space;

use fabric::disk::Disk;
use fabric::sim::{DiskFaults, SeededEntropy, SimDisk};
use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, ChatKind, DeviceId, MessageId, UserId};
use schema::wire::{EntryKind, MarkStatus};

use super::*;

pub(super) const ALIGN: u64 = 4_096;

pub(super) fn config() -> JournalConfig {
    JournalConfig { segment_bytes: 32 * ALIGN, max_block_bytes: 4 * ALIGN as usize, ..JournalConfig::new(4_096, 99) }
}

/// The record with this number: any two differ.
pub(super) fn with_record<T>(number: u64, frame_len: usize, then: impl FnOnce(&Record<'_>) -> T) -> T {
    let mut id = [0u8; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    let user = UserId::new(number + 1).unwrap();
    if number % 5 == 4 {
        return then(&Record::Position(PositionRecord {
            chat: ChatId(id),
            user,
            device: DeviceId(number as u32),
            seq: number,
            message: MessageId(id),
            status: if number.is_multiple_of(2) { MarkStatus::read } else { MarkStatus::delivered },
            secret: number % 15 == 4,
        }));
    }
    let frame: Vec<u8> = (0..frame_len).map(|i| (number as usize + i) as u8).collect();
    then(&Record::Append(AppendRecord {
        chat: ChatId(id),
        chat_kind: ChatKind::Direct,
        entry_kind: EntryKind::message,
        sender: user,
        device: DeviceId(3),
        dedupe: DedupeKey(id),
        members: number.is_multiple_of(3).then_some([user, UserId::new(7).unwrap()]),
        seq: number + 1,
        message: MessageId(id),
        frame: &frame,
    }))
}

/// A record, so that two are the same if and only if their fields are.
pub(super) fn print(record: &Record<'_>) -> String {
    match record {
        Record::Append(append) => format!("{append:?} {:?} {:?}", append.members, append.frame),
        Record::Position(position) => format!("{position:?}"),
    }
}

pub(super) struct Rig {
    pub disk: SimDisk,
    pub journal: Journal,
    pub now: u64,
    /// Printed records of the running journal by LSN, from 1; those above `committed` may be given up.
    pub given: Vec<String>,
    /// Of a failed write: until a segment takes over, a crash may bring them back, as it may any unacknowledged record.
    pub abandoned: Vec<String>,
    pub committed: Lsn,
    pub next_number: u64,
    pub poisoned: u64,
}

impl Rig {
    pub fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        Self::on(disk, JournalId(1))
    }

    pub fn on(disk: SimDisk, id: JournalId) -> Self {
        let journal = Journal::open(id, config(), &disk).expect("a disk without faults");
        let (given, abandoned) = (Vec::new(), Vec::new());
        Self { disk, journal, now: 0, given, abandoned, committed: Lsn::ZERO, next_number: 0, poisoned: 0 }
    }

    /// Appends the next record; false when the journal takes none now.
    pub fn append(&mut self, frame_len: usize) -> bool {
        let (lsn, printed) =
            with_record(self.next_number, frame_len, |record| (self.journal.append(record), print(record)));
        let Ok(lsn) = lsn else { return false };
        self.next_number += 1;
        self.given.push(printed);
        assert_eq!(lsn.0 as usize, self.given.len());
        true
    }

    /// Hands out what there is to write.
    pub fn submit(&mut self) {
        if let Some(write) = self.journal.take_write() {
            assert!(self.journal.take_write().is_none(), "one write at a time");
            self.disk.submit(self.now, 0, write);
        }
    }

    pub fn complete(&mut self, until: u64) {
        self.now = self.now.max(until);
        for done in self.disk.completions(self.now) {
            match self.journal.write_done(done.ticket, done.result).expect("its own ticket") {
                WriteOutcome::Committed { up_to } => {
                    assert!(up_to >= self.committed);
                    self.committed = up_to;
                }
                WriteOutcome::Poisoned { committed, .. } => {
                    assert_eq!(committed, self.committed);
                    self.abandoned = self.given.split_off(committed.0 as usize);
                    self.poisoned += 1;
                }
            }
        }
    }

    /// Runs one job, if there is one.
    pub fn job(&mut self) -> bool {
        let Some(job) = self.journal.take_job() else { return false };
        self.journal.job_done(job.run(&self.disk));
        if !self.journal.is_poisoned() {
            self.abandoned.clear();
        }
        true
    }

    /// Writes everything out.
    pub fn settle(&mut self) {
        loop {
            while self.job() {}
            self.submit();
            match self.disk.next_completion_ns() {
                Some(at) => self.complete(at),
                None => return,
            }
        }
    }

    pub fn append_and_settle(&mut self, records: usize, frame_len: usize) {
        for _ in 0..records {
            assert!(self.append(frame_len));
            self.settle();
        }
    }

    pub fn stop(&mut self) {
        self.journal.stop();
        self.settle();
        assert!(self.journal.stopped());
    }
}

/// Recovers; gives what was found and the records of `id`.
pub(super) fn recover_one(disk: &dyn Disk, id: JournalId) -> Result<(Recovered, Vec<String>), RecoverError> {
    recover_applied(disk, id, &[])
}

pub(super) fn recover_applied(
    disk: &dyn Disk,
    id: JournalId,
    applied: &[(JournalId, Lsn)],
) -> Result<(Recovered, Vec<String>), RecoverError> {
    let mut records: Vec<(Lsn, String)> = Vec::new();
    let recovered = recover(disk, applied, &mut |journal: JournalId, lsn: Lsn, record: Record<'_>| {
        if journal == id {
            assert!(records.last().is_none_or(|(last, _)| last.next() == lsn), "LSNs in order without holes");
            records.push((lsn, print(&record)));
        }
    })?;
    Ok((recovered, records.into_iter().map(|(_, record)| record).collect()))
}

pub(super) fn one(recovered: &Recovered, id: JournalId) -> &RecoveredJournal {
    recovered.journals.iter().find(|journal| journal.id == id).expect("the journal is found")
}

pub(super) fn slow() -> DiskFaults {
    DiskFaults::default()
}

pub(super) fn entropy(seed: u64) -> SeededEntropy {
    SeededEntropy::new(seed ^ 0x5eed)
}
