//! A journal's records and its turn: a block taken, written by whoever measures, and freed.

use fabric::disk::{BlockWrite, Disk};
use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, ChatKind, DeviceId, MessageId, UserId};
use schema::wire::EntryKind;
use storage_writer::journal::{AppendRecord, Journal, Record, WriteOutcome};

/// An Entry frame of about 128 B of body.
pub const FRAME_BYTES: usize = 300;

/// A record that holds `frame`.
pub fn record(frame: &[u8]) -> Record<'_> {
    Record::Append(AppendRecord {
        chat: ChatId([7; 16]),
        chat_kind: ChatKind::Direct,
        entry_kind: EntryKind::message,
        sender: UserId::new(7).expect("7 is a user"),
        device: DeviceId(1),
        dedupe: DedupeKey([3; 16]),
        members: None,
        seq: 41,
        message: MessageId([9; 16]),
        frame,
    })
}

/// Appends `records` records of `frame`.
///
/// # Panics
/// When a block has no room for them.
#[inline(never)]
pub fn append(journal: &mut Journal, frame: &[u8], records: u64) {
    for _ in 0..records {
        journal.append(&record(frame)).expect("a block has room");
    }
}

/// Takes a block, has it written, and frees every segment behind it.
///
/// # Panics
/// When nothing waits to be written.
#[inline(never)]
pub fn commit(journal: &mut Journal, disk: &dyn Disk, mut write: impl FnMut(&BlockWrite)) {
    // Full segments are followed by prepared ones, recycled from those freed.
    while let Some(job) = journal.take_job() {
        journal.job_done(job.run(disk));
    }
    let block = journal.take_write().expect("records wait and a segment is ready");
    write(&block);
    let ticket = block.ticket;
    drop(block);
    match journal.write_done(ticket, Ok(())) {
        Some(WriteOutcome::Committed { up_to }) => journal.freed(up_to),
        other => panic!("a write that succeeded committed: {other:?}"),
    }
}
