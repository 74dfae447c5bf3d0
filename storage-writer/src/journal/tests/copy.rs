//! Copies of journals, of ones that are being written too, and copies that end at a point in time.

use fabric::disk::Block;
use schema::timeuuid::{Generator, unix_ms};

use super::super::copy::{CopyError, copy};
use super::super::cut::{Cut, cut};
use super::*;

const JOURNAL: JournalId = JournalId(1);

/// Copies as a backup does: the LSNs and names first, then what the store has.
fn copied(rig: &Rig, applied: Lsn, after_listing: impl FnOnce()) -> Result<SimDisk, CopyError> {
    let live = [(JOURNAL, rig.journal.watch().committed())];
    let listed = rig.disk.list().unwrap();
    after_listing();
    let target = SimDisk::new(77);
    let mut write = |name: &str, bytes: &[u8]| {
        target.create_zeroed(name, bytes.len() as u64)?;
        target.write_durable(name, 0, Block::copy_of(bytes).as_slice())
    };
    copy(&rig.disk, &listed, &[(JOURNAL, applied)], &live, &mut write)?;
    Ok(target)
}

/// The records of a copy above `applied`, as a start sees them, and the last LSN.
fn seen(target: &SimDisk, applied: Lsn) -> (Vec<String>, Lsn) {
    let (recovered, _) = recover_applied(target, JOURNAL, &[(JOURNAL, applied)]).expect("a whole copy");
    let last = recovered.journals.iter().find(|journal| journal.id == JOURNAL).map_or(applied, |found| found.last_lsn);
    let mut records = Vec::new();
    let mut visit = |_: JournalId, lsn: Lsn, record: Record<'_>| {
        if lsn > applied {
            records.push(print(&record));
        }
    };
    recover(target, &[(JOURNAL, applied)], &mut visit).expect("a second start sees the same");
    (records, last)
}

#[test]
fn a_copy_of_a_journal_in_use_has_all_that_was_committed_and_nothing_that_was_not_ordered() {
    for seed in 0..40 {
        let mut rig = Rig::new(seed);
        for step in 0..60 {
            for number in 0..step % 7 {
                rig.append(200 + (seed as usize * 613 + step * 97 + number * 41) % 3_000);
            }
            rig.settle();
            rig.append(500);
            rig.submit();
            if step % 5 == 0 {
                let applied = Lsn(rig.committed.0 / 2);
                let target = copied(&rig, applied, || ()).expect("nothing is freed");
                let (records, last) = seen(&target, applied);
                assert!(last >= rig.committed, "{last} of {} committed", rig.committed);
                assert_eq!(records, rig.given[applied.0 as usize..last.0 as usize], "seed {seed}, step {step}");
            }
        }
    }
}

#[test]
fn a_copy_goes_over_failed_writes() {
    for seed in 0..40 {
        let mut rig = Rig::new(seed);
        for round in 0..4 {
            rig.append_and_settle(3, 700);
            rig.disk.set_faults(DiskFaults { fail_one_in: 1, ..slow() });
            rig.append(900);
            rig.settle();
            rig.disk.set_faults(slow());
            rig.journal.retry();
            rig.settle();
            assert!(!rig.journal.is_poisoned(), "round {round}");
        }
        assert!(rig.poisoned > 0);
        rig.append_and_settle(2, 100);
        let (records, _) = seen(&copied(&rig, Lsn(2), || ()).expect("nothing is freed"), Lsn(2));
        assert_eq!(records, rig.given[2..], "seed {seed}");
    }
}

#[test]
fn segments_that_are_held_are_not_used_again_and_others_are_missed() {
    let mut rig = Rig::new(4);
    rig.append_and_settle(70, 3_000);
    let hold = rig.journal.watch().hold();
    let before = rig.disk.list().unwrap();
    rig.journal.freed(rig.committed);
    rig.append_and_settle(40, 3_000);
    assert!(before.iter().all(|name| rig.disk.list().unwrap().contains(name)), "held");
    let (records, _) = seen(&copied(&rig, Lsn(5), || ()).expect("all is there"), Lsn(5));
    assert_eq!(records, rig.given[5..]);
    drop(hold);
    let committed = rig.committed;
    rig.append_and_settle(40, 3_000);
    assert!(!rig.disk.list().unwrap().contains(&before[0]), "used again");
    let error = copied(&rig, Lsn(5), || ()).map(|_| ()).expect_err("what is above 5 is gone");
    assert!(matches!(error, CopyError::Reused { .. }), "{error}");
    let (records, _) = seen(&copied(&rig, committed, || ()).expect("this is there"), committed);
    assert_eq!(records, rig.given[committed.0 as usize..]);
}

#[test]
fn damage_in_the_middle_is_not_taken_for_the_end() {
    let mut rig = Rig::new(5);
    rig.append_and_settle(70, 3_000);
    let first = rig.disk.list().unwrap()[0].clone();
    rig.disk.write_durable(&first, 5 * ALIGN, Block::copy_of(&[0xA5; ALIGN as usize]).as_slice()).unwrap();
    let error = copied(&rig, Lsn::ZERO, || ()).map(|_| ()).expect_err("damaged").to_string();
    assert!(error.contains(&first) && error.contains("damaged at byte"), "{error}");
}

#[test]
fn a_journal_that_goes_while_it_is_copied_is_missed() {
    let mut rig = Rig::new(6);
    rig.append_and_settle(10, 500);
    rig.stop();
    let disk = rig.disk.clone();
    let next = Rig::on(rig.disk.clone(), JournalId(2));
    let live = [(JournalId(2), next.journal.watch().committed())];
    let listed = disk.list().unwrap();
    listed.iter().filter(|name| name.starts_with("00000001")).for_each(|name| disk.remove(name).unwrap());
    let error = copy(&disk, &listed, &[], &live, &mut |_, _| Ok(())).expect_err("journal 1 is gone");
    assert!(matches!(error, CopyError::Reused { .. }), "{error}");
}

/// A journal of entries one ms apart from `START_MS` on, four a block; closed.
fn timed(entries: u64) -> (SimDisk, Vec<MessageId>) {
    let disk = SimDisk::new(3);
    let mut journal = Journal::open(JOURNAL, config(), &disk).unwrap();
    let mut generator = Generator::new([7; 8]);
    let mut ids = Vec::new();
    for number in 0..entries {
        let message = generator.next((START_MS + number) * 10_000, None).unwrap();
        with_record(number, 600, |record| match *record {
            Record::Append(append) => journal.append(&Record::Append(AppendRecord { message, ..append })),
            Record::Position(position) => journal.append(&Record::Position(position)),
        })
        .unwrap();
        ids.push(message);
        if number % 4 == 3 {
            let write = journal.take_write().unwrap();
            disk.write_durable(&write.file, write.offset, write.bytes.as_slice()).unwrap();
            assert!(matches!(journal.write_done(write.ticket, Ok(())), Some(WriteOutcome::Committed { .. })));
            while let Some(job) = journal.take_job() {
                journal.job_done(job.run(&disk));
            }
        }
    }
    recover(&disk, &[], &mut |_: JournalId, _: Lsn, _: Record<'_>| ()).unwrap();
    (disk, ids)
}

const START_MS: u64 = 1_790_000_000_000;

#[test]
fn a_cut_journal_ends_before_the_first_later_entry_wherever_that_is() {
    let entries = 160;
    for until in 0..entries {
        let (disk, ids) = timed(entries);
        let cuts = cut(&disk, START_MS + until).unwrap();
        // Every fifth record is a position: it goes with what is before it.
        let later = (until + 1..entries).find(|number| number % 5 != 4);
        let expected = later.map(|number| Cut { journal: JOURNAL, last_lsn: Lsn(number) });
        assert_eq!(cuts.first().copied(), expected, "until {until}");
        for _ in 0..2 {
            let mut last = Lsn::ZERO;
            let mut visit = |_: JournalId, lsn: Lsn, record: Record<'_>| {
                assert_eq!(lsn, last.next());
                last = lsn;
                if let Record::Append(append) = record {
                    assert_eq!(append.message, ids[lsn.0 as usize - 1]);
                    assert!(unix_ms(append.message) <= START_MS + until);
                }
            };
            let recovered = recover(&disk, &[], &mut visit).expect("a whole journal");
            assert!(one(&recovered, JOURNAL).was_closed);
            assert_eq!(last, expected.map_or(Lsn(entries), |cut| cut.last_lsn));
        }
    }
}

#[test]
fn a_cut_journal_can_be_cut_again() {
    let (disk, _) = timed(100);
    cut(&disk, START_MS + 80).unwrap();
    assert_eq!(cut(&disk, START_MS + 80).unwrap(), []);
    assert_eq!(cut(&disk, START_MS + 31).unwrap(), [Cut { journal: JOURNAL, last_lsn: Lsn(32) }]);
    assert_eq!(cut(&disk, START_MS - 1).unwrap(), [Cut { journal: JOURNAL, last_lsn: Lsn(0) }]);
    let recovered = recover(&disk, &[], &mut |_: JournalId, _: Lsn, _: Record<'_>| panic!("nothing is left")).unwrap();
    assert_eq!(one(&recovered, JOURNAL).last_lsn, Lsn(0));
}
