//! Random work, random crashes: exactly a prefix comes back, and everything committed is in it.

use super::*;

/// What a run met, so that the test can show that it met everything.
#[derive(Default, Debug)]
struct Met {
    torn: u64,
    superseded: u64,
    poisoned: u64,
    unacked_kept: u64,
    lost: u64,
    interrupted: u64,
    recycled: u64,
}

/// Random appends, writes, jobs, frees; ends in the middle of something. Returns what the store would have.
fn work(rig: &mut Rig, random: &mut SeededEntropy) -> Lsn {
    let mut applied = Lsn::ZERO;
    for _ in 0..random.between(20, 400) {
        match random.below(12) {
            0..=5 => {
                let len = random.between(0, 900) as usize;
                rig.append(len);
            }
            6..=7 => rig.submit(),
            8 => rig.complete(rig.now + random.below(600_000)),
            9 => {
                if !rig.job() {
                    rig.journal.retry();
                }
            }
            10 => rig.journal.seal(),
            _ => {
                applied = Lsn(random.between(applied.0, rig.committed.0));
                rig.journal.freed(applied);
            }
        }
    }
    applied
}

fn crash_once(seed: u64, met: &mut Met) {
    let mut random = entropy(seed);
    let mut rig = Rig::new(seed);
    let fail_one_in = if random.one_in(2) { 12 } else { 0 };
    rig.disk.set_faults(DiskFaults { fail_one_in, ..slow() });
    let applied = work(&mut rig, &mut random);
    if random.one_in(4) {
        // Power goes in the middle of a segment job.
        rig.disk.lose_power_after(0);
        rig.journal.retry();
        rig.job();
    }
    met.interrupted += rig.disk.counters().interrupted;
    rig.disk.crash();
    rig.disk.set_faults(slow());

    let store = [(JournalId(1), applied)];
    let mut first = None;
    // A recovery may itself lose power; the next one sees the same.
    for attempt in 0..3 {
        if attempt == 0 && random.one_in(2) {
            rig.disk.lose_power_after(random.below(3));
        }
        match recover_applied(&rig.disk, JournalId(1), &store) {
            Ok(found) => {
                rig.disk.crash();
                let records = check(&rig, &found.0, &found.1, applied, seed, met);
                match &first {
                    None => first = Some(records),
                    Some(before) => assert_eq!(*before, records, "seed {seed}: a later recovery sees the same"),
                }
            }
            Err(RecoverError::Io { .. }) if attempt == 0 => rig.disk.crash(),
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    assert!(first.is_some());
}

/// Returns the last LSN.
fn check(rig: &Rig, recovered: &Recovered, records: &[String], applied: Lsn, seed: u64, met: &mut Met) -> Lsn {
    let Some(journal) = recovered.journals.first() else {
        // All of it was applied and removed, and what was to follow failed.
        assert_eq!(applied, rig.committed, "seed {seed}");
        assert_eq!(recovered.next_id, JournalId(2), "seed {seed}");
        return applied;
    };
    let last = journal.last_lsn;
    assert!(last >= rig.committed, "seed {seed}: {last} recovered, {} committed", rig.committed);
    let given = [&rig.given[..], &rig.abandoned[..]].concat();
    assert!(last.0 as usize <= given.len(), "seed {seed}: records that were never given");
    let first = last.0 as usize - records.len();
    assert_eq!(records, &given[first..last.0 as usize], "seed {seed}");
    met.torn += u64::from(journal.torn_bytes > 0);
    met.superseded += journal.superseded;
    met.poisoned += rig.poisoned;
    met.unacked_kept += u64::from(last > rig.committed);
    met.lost += u64::from((last.0 as usize) < given.len());
    met.recycled += u64::from(first > 0);
    last
}

#[test]
fn after_any_crash_exactly_a_prefix_with_everything_committed_comes_back() {
    let mut met = Met::default();
    for seed in 0..400 {
        crash_once(seed, &mut met);
    }
    assert!(met.torn > 0 && met.superseded > 0 && met.poisoned > 0, "{met:?}");
    assert!(met.unacked_kept > 0 && met.lost > 0 && met.interrupted > 0 && met.recycled > 0, "{met:?}");
}

#[test]
fn a_disk_that_lies_about_its_sync_is_found_out() {
    let lost = (0..40).filter(|&seed| {
        let mut rig = Rig::new(seed);
        rig.disk.set_faults(DiskFaults { sync_lies: true, ..slow() });
        rig.append_and_settle(4, 100);
        rig.disk.crash();
        match recover_one(&rig.disk, JournalId(1)) {
            Ok((recovered, _)) => one(&recovered, JournalId(1)).last_lsn < rig.committed,
            Err(RecoverError::Corruption { .. }) => true,
            Err(error) => panic!("seed {seed}: {error}"),
        }
    });
    assert!(lost.count() > 20);
}

#[test]
fn what_a_recovery_cut_stays_cut_when_the_write_arrives_late() {
    let mut rig = Rig::new(1);
    rig.append_and_settle(3, 100);
    rig.append(100);
    let late = rig.journal.take_write().expect("a block");
    let (recovered, records) = recover_one(&rig.disk, JournalId(1)).unwrap();
    assert_eq!(records.len(), 3);
    assert!(!one(&recovered, JournalId(1)).was_closed);
    rig.disk.overwrite(&late.file, late.offset, late.bytes.as_slice());
    let (recovered, records) = recover_one(&rig.disk, JournalId(1)).unwrap();
    assert_eq!(records.len(), 3);
    assert!(one(&recovered, JournalId(1)).was_closed);
    // The third, which the closing segment repeats, and the late one.
    assert_eq!(one(&recovered, JournalId(1)).superseded, 2);
}

#[test]
fn what_a_recovery_accepted_stays_accepted_when_the_drive_forgets_it() {
    let mut rig = Rig::new(1);
    rig.append_and_settle(3, 100);
    rig.append(100);
    let tail = rig.journal.take_write().expect("a block");
    rig.disk.overwrite(&tail.file, tail.offset, tail.bytes.as_slice());
    assert_eq!(recover_one(&rig.disk, JournalId(1)).unwrap().1, rig.given);
    rig.disk.overwrite(&tail.file, tail.offset, &vec![0; tail.bytes.len()]);
    assert_eq!(recover_one(&rig.disk, JournalId(1)).unwrap().1, rig.given);
}

#[test]
fn journals_of_any_former_number_of_partitions_are_read_in_the_order_they_were_opened() {
    let disk = SimDisk::new(4);
    let mut expected = Vec::new();
    for partitions in [2u32, 5, 1] {
        let recovered = recover(&disk, &[], &mut |_: JournalId, _: Lsn, _: Record<'_>| {}).unwrap();
        for partition in 0..partitions {
            let mut rig = Rig::on(disk.clone(), JournalId(recovered.next_id.0 + partition));
            rig.next_number = u64::from(partition) * 100;
            rig.append_and_settle(1 + partition as usize, 64);
            expected.extend(rig.given.iter().map(|record| (rig.journal.id(), record.clone())));
        }
    }
    let mut found = Vec::new();
    let recovered = recover(&disk, &[], &mut |journal: JournalId, _: Lsn, record: Record<'_>| {
        found.push((journal, print(&record)));
    });
    assert_eq!(found, expected);
    let recovered = recovered.unwrap();
    assert_eq!(recovered.journals.len(), 8);
    assert_eq!(recovered.next_id, JournalId(9));
    for job in recovered.journals.iter().flat_map(RecoveredJournal::removal) {
        job.run(&disk).result.unwrap();
    }
    assert!(disk.list().unwrap().is_empty());
    // The store remembers them: their numbers are not given again.
    let again = recover(&disk, &[(JournalId(8), Lsn(1))], &mut |_: JournalId, _: Lsn, _: Record<'_>| {}).unwrap();
    assert_eq!(again.next_id, JournalId(9));
}
