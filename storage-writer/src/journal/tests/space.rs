//! Segments come, are used again and go; failed ones are stood in for.

use super::*;

#[test]
fn only_segments_wholly_below_what_is_applied_are_used_again() {
    let mut rig = Rig::new(1);
    for _ in 0..70 {
        rig.append_and_settle(1, 3_000);
    }
    let before = rig.disk.list().unwrap();
    assert!(before.len() >= 3);
    rig.journal.freed(Lsn(30));
    rig.settle();
    assert_eq!(rig.disk.list().unwrap(), before, "31 records are in the first segment");
    rig.journal.freed(Lsn(31));
    rig.settle();
    assert!(!rig.disk.list().unwrap().contains(&before[0]));
    assert_eq!(rig.disk.list().unwrap()[..], before[1..], "nothing else went");
}

#[test]
fn a_recycled_segment_shows_nothing_of_its_past() {
    let mut rig = Rig::new(2);
    let mut files = 0;
    for round in 0..300 {
        rig.append_and_settle(1, if round % 3 == 0 { 9_000 } else { 500 });
        rig.journal.freed(rig.committed);
        files = files.max(rig.disk.list().unwrap().len());
        if round % 20 == 7 {
            let disk = rig.disk.clone();
            let applied = [(JournalId(1), rig.committed)];
            // A look only: the closing segment is taken away again.
            let before = disk.list().unwrap();
            let (recovered, records) = recover_applied(&disk, JournalId(1), &applied).unwrap();
            assert_eq!(one(&recovered, JournalId(1)).last_lsn, rig.committed);
            assert_eq!(records, rig.given[rig.given.len() - records.len()..]);
            for name in disk.list().unwrap().iter().filter(|name| !before.contains(name)) {
                disk.remove(name).unwrap();
            }
        }
    }
    assert!(files <= 3, "{files} files for a journal that needs two");
    assert!(rig.journal.status().segments <= 3);
}

#[test]
fn a_block_that_waits_for_a_segment_on_a_full_disk_is_given_up_until_there_is_room() {
    let mut rig = Rig::new(3);
    rig.append_and_settle(2, 300);
    rig.disk.set_faults(DiskFaults { capacity_bytes: 0, ..slow() });
    while !rig.journal.status().needs_segment {
        assert!(!rig.journal.give_up_without_segment(), "there is a place yet");
        assert!(rig.append(3_000));
        rig.settle();
    }
    let committed = rig.committed;
    assert!(rig.journal.status().job_failed && rig.journal.give_up_without_segment());
    rig.given.truncate(committed.0 as usize);
    assert!(rig.journal.is_poisoned() && !rig.append(10));
    assert_eq!(rig.journal.ordered(), committed, "nothing that waited counts");
    rig.journal.retry();
    rig.settle();
    assert!(rig.journal.is_poisoned(), "the disk is full yet");
    rig.disk.set_faults(slow());
    rig.journal.retry();
    rig.settle();
    assert!(!rig.journal.is_poisoned());
    rig.append_and_settle(4, 100);
    rig.stop();
    let (_, records) = recover_one(&rig.disk, JournalId(1)).unwrap();
    assert_eq!(records, rig.given);
}

#[test]
fn a_failed_write_is_never_written_again_and_a_new_segment_takes_over() {
    for seed in 0..60 {
        let mut rig = Rig::new(seed);
        rig.append_and_settle(3, 200);
        rig.disk.set_faults(DiskFaults { fail_one_in: 1, ..slow() });
        rig.append(200);
        rig.append(200);
        let failed = rig.journal.take_write().unwrap();
        let (file, offset) = (failed.file.clone(), failed.offset);
        rig.disk.submit(0, 0, failed);
        rig.append(200);
        rig.complete(u64::MAX / 2);
        assert!(rig.journal.is_poisoned());
        assert!(!rig.append(10), "a poisoned journal takes nothing");
        assert!(rig.journal.take_write().is_none());
        assert_eq!(rig.journal.ordered(), Lsn(3));

        rig.disk.set_faults(slow());
        assert!(rig.job());
        assert!(!rig.journal.is_poisoned());
        rig.next_number += 1_000;
        rig.append(200);
        let next = rig.journal.take_write().unwrap();
        assert!(next.file != file, "seed {seed}: byte {offset} of {file} stays as it is");
        rig.disk.submit(rig.now, 0, next);
        rig.settle();
        rig.append_and_settle(4, 100);
        rig.stop();
        let (recovered, records) = recover_one(&rig.disk, JournalId(1)).unwrap();
        assert_eq!(records, rig.given, "seed {seed}");
        assert!(one(&recovered, JournalId(1)).was_closed);
    }
}

#[test]
fn failed_segments_are_removed_not_recycled() {
    let mut rig = Rig::new(1);
    rig.append_and_settle(1, 200);
    rig.disk.set_faults(DiskFaults { fail_one_in: 1, ..slow() });
    rig.append(200);
    let failed = rig.disk.list().unwrap()[0].clone();
    rig.submit();
    rig.complete(u64::MAX / 2);
    rig.disk.set_faults(slow());
    rig.settle();
    rig.journal.freed(Lsn(1));
    let job = rig.journal.take_job().unwrap();
    assert_eq!(job, SegmentJob::remove(failed.as_str().into()));
    rig.journal.job_done(job.run(&rig.disk));
    rig.append_and_settle(3, 200);
    assert_eq!(recover_applied(&rig.disk, JournalId(1), &[(JournalId(1), Lsn(1))]).unwrap().1, rig.given[1..]);
}

#[test]
fn a_full_disk_holds_appends_back_until_there_is_room_and_breaks_nothing() {
    let mut rig = Rig::new(3);
    rig.disk.set_faults(DiskFaults { capacity_bytes: 3 * 32 * ALIGN, ..slow() });
    let mut held = false;
    for _ in 0..200 {
        if !rig.append(3_000) {
            held = true;
            break;
        }
        rig.settle();
    }
    assert!(held);
    let status = rig.journal.status();
    assert!(status.needs_segment && status.job_failed && !status.poisoned);
    assert!(status.filling_bytes <= config().max_block_bytes);
    assert!(rig.disk.counters().full > 0);
    rig.journal.freed(Lsn(40));
    rig.settle();
    assert!(rig.journal.status().needs_segment, "a failed job waits to be tried again");
    rig.journal.retry();
    rig.settle();
    rig.append_and_settle(10, 3_000);
    rig.stop();
    let (_, records) = recover_applied(&rig.disk, JournalId(1), &[(JournalId(1), Lsn(40))]).unwrap();
    assert_eq!(records, rig.given[rig.given.len() - records.len()..]);
    assert_eq!(rig.committed.0 as usize, rig.given.len());
}

#[test]
fn a_bounded_journal_waits_for_its_owner() {
    let mut rig = Rig::new(4);
    rig.journal = Journal::open(JournalId(2), JournalConfig { max_segments: 3, ..config() }, &rig.disk).unwrap();
    let taken = (0..500).take_while(|_| {
        let taken = rig.append(3_000);
        rig.settle();
        taken
    });
    let taken = taken.count();
    assert!((90..110).contains(&taken), "{taken}");
    assert_eq!(rig.journal.status().segments, 3);
    assert!(rig.journal.status().needs_segment);
    rig.journal.freed(rig.committed);
    rig.settle();
    assert!(!rig.journal.status().needs_segment);
}

#[test]
fn blocks_fill_while_one_is_written() {
    let mut rig = Rig::new(5);
    assert!(rig.append(100));
    rig.submit();
    assert!(rig.append(100) && rig.append(100));
    assert!(rig.journal.take_write().is_none(), "one in flight");
    rig.complete(rig.disk.next_completion_ns().unwrap());
    assert_eq!(rig.committed, Lsn(1));
    let second = rig.journal.take_write().unwrap();
    rig.disk.submit(rig.now, 0, second);
    rig.complete(rig.disk.next_completion_ns().unwrap());
    assert_eq!(rig.committed, Lsn(3));
    assert!(rig.journal.take_write().is_none(), "nothing to write");
    assert!(rig.journal.write_done(77, Ok(())).is_none(), "nobody's ticket");
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut rig = Rig::new(6);
    let fixed = HEADER_AND_FIXED;
    let most = config().max_block_bytes - fixed - 16;
    let append = |rig: &mut Rig, len| with_record(3, len, |record| rig.journal.append(record));
    assert_eq!(append(&mut rig, most + 1), Err(AppendError::TooLarge));
    assert_eq!(append(&mut rig, most), Ok(Lsn(1)));
    assert_eq!(append(&mut rig, 0), Err(AppendError::Full));
    assert_eq!(rig.journal.take_write().unwrap().bytes.len(), config().max_block_bytes);
    assert_eq!(append(&mut rig, 0), Ok(Lsn(2)));
    rig.journal.stop();
    assert_eq!(append(&mut rig, 0), Err(AppendError::Stopped));
}

const HEADER_AND_FIXED: usize = 64 + 32 + 72;
