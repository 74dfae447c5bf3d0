//! The simulated disk forgets, tears and fails as it says it does.

use super::*;
use crate::disk::Block;

fn write(ticket: u64, offset: u64, fill: u8) -> BlockWrite {
    BlockWrite { ticket, file: "a".into(), offset, bytes: Block::copy_of(&[fill; ALIGN]) }
}

fn content(disk: &SimDisk) -> Vec<u8> {
    let mut bytes = vec![0; disk.len("a").unwrap() as usize];
    disk.read_at("a", 0, &mut bytes).unwrap();
    bytes
}

#[test]
fn what_was_reported_durable_survives_and_the_rest_meets_every_fate() {
    let mut sum = DiskCounters::default();
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        disk.create_zeroed("a", 2 * ALIGN as u64).unwrap();
        disk.submit(0, 7, write(1, 0, 1));
        let at = disk.next_completion_ns().unwrap();
        assert!(disk.completions(at - 1).is_empty(), "seed {seed}");
        let ended = disk.completions(at);
        assert!(matches!(ended[..], [DiskCompletion { owner: 7, ticket: 1, result: Ok(()) }]), "seed {seed}");
        disk.submit(at, 7, write(2, ALIGN as u64, 2));
        disk.crash();
        assert!(content(&disk)[..ALIGN].iter().all(|&b| b == 1), "seed {seed}");
        assert!(disk.completions(u64::MAX).is_empty(), "seed {seed}: nobody is told after a crash");
        let counters = disk.counters();
        sum.lost_writes += counters.lost_writes;
        sum.torn_writes += counters.torn_writes;
        sum.garbled_writes += counters.garbled_writes;
        sum.kept_writes += counters.kept_writes;
    }
    assert!(sum.lost_writes > 0 && sum.torn_writes > 0 && sum.garbled_writes > 0 && sum.kept_writes > 0, "{sum:?}");
    assert_eq!(sum.lost_writes + sum.torn_writes + sum.garbled_writes + sum.kept_writes, 40);
}

#[test]
fn a_lying_sync_loses_what_it_reported() {
    let forgotten = (0..20).filter(|&seed| {
        let disk = SimDisk::new(seed);
        disk.create_zeroed("a", ALIGN as u64).unwrap();
        disk.set_faults(DiskFaults { sync_lies: true, ..disk.faults() });
        disk.submit(0, 0, write(1, 0, 1));
        assert!(disk.completions(u64::MAX)[0].result.is_ok());
        assert_eq!(content(&disk)[0], 1);
        disk.crash();
        let lost = content(&disk)[0] == 0;
        assert_eq!(lost, disk.counters().forgotten_writes == 1, "seed {seed}");
        lost
    });
    assert!(forgotten.count() > 0);
}

#[test]
fn a_full_disk_makes_no_file_until_there_is_room() {
    let disk = SimDisk::new(1);
    disk.create_zeroed("a", 2 * ALIGN as u64).unwrap();
    disk.set_faults(DiskFaults { capacity_bytes: 3 * ALIGN as u64, ..disk.faults() });
    assert_eq!(disk.create_zeroed("b", 2 * ALIGN as u64).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.list().unwrap(), ["a"]);
    disk.remove("a").unwrap();
    disk.create_zeroed("b", 2 * ALIGN as u64).unwrap();
    assert_eq!(disk.create_zeroed("b", 0).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(disk.counters().full, 1);
}

#[test]
fn failing_and_slow_writes_are_told_and_counted() {
    let disk = SimDisk::new(5);
    disk.create_zeroed("a", ALIGN as u64).unwrap();
    disk.set_faults(DiskFaults { fail_one_in: 1, slow_one_in: 1, ..disk.faults() });
    disk.submit(0, 0, write(1, 0, 1));
    assert!(disk.next_completion_ns().unwrap() >= 100 * disk.faults().min_latency_ns);
    assert_eq!(disk.completions(u64::MAX)[0].result.as_ref().unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!((disk.counters().failed_writes, disk.counters().slow_writes), (1, 1));
}

#[test]
fn power_lost_in_the_middle_of_a_call_stops_all_calls() {
    let disk = SimDisk::new(9);
    disk.create_zeroed("a", ALIGN as u64).unwrap();
    disk.lose_power_after(1);
    disk.write_durable("a", 0, &[1; ALIGN]).unwrap();
    assert!(disk.write_durable("a", 0, &[2; ALIGN]).is_err());
    assert!(disk.rename("a", "b").is_err());
    disk.crash();
    assert_eq!(disk.counters().interrupted, 1);
    disk.rename("a", "b").unwrap();
    assert_eq!(disk.list().unwrap(), ["b"]);
}
