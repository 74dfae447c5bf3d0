//! Damage is told from a torn end, and never passed over.

use super::super::format::{BlockHeader, HEADER_LEN, SegmentHeader};
use super::super::record::DecodeError;
use super::*;

const SEGMENT: &str = "00000001-00000001.journal";

fn flip_and_recover(rig: &Rig, byte: u64, bit: u8) -> Result<(Recovered, Vec<String>), RecoverError> {
    let disk = copy(&rig.disk);
    disk.flip_bit(SEGMENT, byte, bit);
    recover_one(&disk, JournalId(1))
}

/// Another disk with the same files.
fn copy(disk: &SimDisk) -> SimDisk {
    let other = SimDisk::new(0);
    for name in disk.list().unwrap() {
        let mut bytes = vec![0; disk.len(&name).unwrap() as usize];
        disk.read_at(&name, 0, &mut bytes).unwrap();
        other.create_zeroed(&name, bytes.len() as u64).unwrap();
        other.overwrite(&name, 0, &bytes);
    }
    other
}

#[test]
fn after_a_clean_stop_a_flipped_bit_in_any_acknowledged_record_stops_the_start_and_is_located() {
    let mut rig = Rig::new(1);
    rig.append_and_settle(6, 150);
    rig.stop();
    let mut random = entropy(1);
    for block in 0..6u64 {
        let offset = ALIGN * (1 + block);
        let record_end = HEADER_LEN as u64 + 32 + if block == 4 { 56 } else { 72 + 150 };
        for byte in (0..record_end).step_by(3) {
            let bit = random.below(8) as u8;
            match flip_and_recover(&rig, offset + byte, bit) {
                Err(RecoverError::Corruption { file, offset: at, .. }) => {
                    assert_eq!((file.as_str(), at), (SEGMENT, offset), "block {block}, byte {byte}, bit {bit}");
                }
                // The format field of a header is under its checksum, so nothing else may come out.
                other => panic!("block {block}, byte {byte}, bit {bit}: {:?}", other.map(|(found, _)| found)),
            }
        }
    }
}

#[test]
fn without_a_stop_all_but_the_last_block_is_known_durable() {
    let mut rig = Rig::new(2);
    rig.append_and_settle(5, 100);
    for block in 0..4 {
        let result = flip_and_recover(&rig, ALIGN * (1 + block) + 80, 1);
        assert!(matches!(result, Err(RecoverError::Corruption { offset, .. }) if offset == ALIGN * (1 + block)));
    }
    let (recovered, records) = flip_and_recover(&rig, ALIGN * 5 + 80, 1).unwrap();
    assert_eq!(records, rig.given[..4]);
    assert_eq!(one(&recovered, JournalId(1)).torn_bytes, ALIGN);
    // An idle seal covers it.
    assert!(rig.journal.wants_seal());
    rig.journal.seal();
    rig.settle();
    assert!(!rig.journal.wants_seal());
    assert!(matches!(flip_and_recover(&rig, ALIGN * 5 + 80, 1), Err(RecoverError::Corruption { .. })));
}

#[test]
fn a_lost_sector_in_the_middle_is_damage_and_garbage_behind_the_end_is_cut() {
    let mut rig = Rig::new(3);
    rig.append_and_settle(3, 100);
    let disk = copy(&rig.disk);
    disk.overwrite(SEGMENT, 2 * ALIGN, &[0; ALIGN as usize]);
    let result = recover_one(&disk, JournalId(1));
    assert!(matches!(result, Err(RecoverError::Corruption { offset, .. }) if offset == 2 * ALIGN));

    let disk = copy(&rig.disk);
    disk.overwrite(SEGMENT, 4 * ALIGN, &[0xa5; ALIGN as usize + 9]);
    let (recovered, records) = recover_one(&disk, JournalId(1)).unwrap();
    assert_eq!(records, rig.given);
    assert_eq!(one(&recovered, JournalId(1)).torn_bytes, 2 * ALIGN);
}

#[test]
fn a_damaged_segment_header_over_records_stops_the_start() {
    let mut rig = Rig::new(4);
    rig.append_and_settle(1, 100);
    for byte in 0..HEADER_LEN as u64 {
        let result = flip_and_recover(&rig, byte, 0);
        let located = matches!(&result, Err(RecoverError::Corruption { file, offset: 0, .. }) if file == SEGMENT);
        assert!(located, "byte {byte}: {:?}", result.map(|(found, _)| found));
    }
}

#[test]
fn a_missing_segment_stops_the_start() {
    let mut rig = Rig::new(5);
    for _ in 0..80 {
        rig.append_and_settle(1, 3_000);
    }
    rig.stop();
    let disk = copy(&rig.disk);
    disk.remove("00000001-00000002.journal").unwrap();
    assert!(matches!(recover_one(&disk, JournalId(1)), Err(RecoverError::Corruption { .. })));
    let disk = copy(&rig.disk);
    disk.remove(SEGMENT).unwrap();
    assert!(matches!(recover_one(&disk, JournalId(1)), Err(RecoverError::Corruption { .. })));
    // Unless the store has what was in it.
    let (_, records) = recover_applied(&disk, JournalId(1), &[(JournalId(1), Lsn(40))]).unwrap();
    assert_eq!(records, rig.given[rig.given.len() - records.len()..]);
    assert!(records.len() >= 40 && records.len() < 80);
}

/// Rewrites the first record's type byte under right checksums.
fn with_first_record_changed(rig: &Rig, change: impl Fn(&mut [u8])) -> SimDisk {
    let disk = copy(&rig.disk);
    let mut block = vec![0; ALIGN as usize];
    disk.read_at(SEGMENT, ALIGN, &mut block).unwrap();
    let header = BlockHeader::decode(&block).unwrap();
    change(&mut block[HEADER_LEN..]);
    writer::finish_block(&mut block, HEADER_LEN + header.payload_len as usize, &header);
    disk.overwrite(SEGMENT, ALIGN, &block);
    disk
}

#[test]
fn a_record_this_version_does_not_know_stops_the_start() {
    let mut rig = Rig::new(6);
    rig.append_and_settle(2, 100);
    type Change = fn(&mut [u8]);
    let cases: [(Change, DecodeError); 4] = [
        (|record| record[8] = 77, DecodeError::Unknown { kind: 77, format: 1 }),
        (|record| record[9] = 2, DecodeError::Unknown { kind: 1, format: 2 }),
        (|record| record[12] = 9, DecodeError::Encrypted(9)),
        (|record| record[32 + 68] = 0, DecodeError::Invalid("chat kind")),
    ];
    for (change, expected) in cases {
        let disk = with_first_record_changed(&rig, change);
        match recover_one(&disk, JournalId(1)) {
            Err(RecoverError::Record { file, offset, source }) => {
                assert_eq!((file.as_str(), offset, source), (SEGMENT, ALIGN + HEADER_LEN as u64, expected));
            }
            other => panic!("{expected}: {:?}", other.map(|(found, _)| found)),
        }
    }
}

#[test]
fn a_newer_format_stops_the_start() {
    let mut rig = Rig::new(7);
    rig.append_and_settle(1, 100);
    for offset in [0, ALIGN] {
        let disk = copy(&rig.disk);
        let mut header = [0; HEADER_LEN];
        disk.read_at(SEGMENT, offset, &mut header).unwrap();
        header[4..6].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
        let crc = crc32c::crc32c(&header[..HEADER_LEN - 4]).to_le_bytes();
        header[HEADER_LEN - 4..].copy_from_slice(&crc);
        disk.overwrite(SEGMENT, offset, &header);
        let result = recover_one(&disk, JournalId(1));
        let found = matches!(result, Err(RecoverError::NewerFormat { offset: at, version: 2, .. }) if at == offset);
        assert!(found, "at {offset}");
    }
}

#[test]
fn foreign_files_are_told_from_others() {
    let disk = SimDisk::new(1);
    disk.create_zeroed("notes.txt", 3).unwrap();
    assert_eq!(recover_one(&disk, JournalId(1)).unwrap().0.next_id, JournalId(1));
    disk.create_zeroed("backup of 00000001.journal", 3).unwrap();
    assert!(matches!(recover_one(&disk, JournalId(1)), Err(RecoverError::Foreign { .. })));
}

#[test]
fn a_message_that_looks_like_a_block_is_not_one() {
    let mut rig = Rig::new(8);
    rig.append_and_settle(1, 100);
    let mut stolen = [0; HEADER_LEN];
    rig.disk.read_at(SEGMENT, ALIGN, &mut stolen).unwrap();
    let mut header = BlockHeader::decode(&stolen).unwrap();
    // Everything of it can be guessed but the salt.
    header = BlockHeader { first_lsn: Lsn(1_000), durable: Lsn(999), records: 0, payload_len: 0, ..header };
    for (salt, believed) in [(header.salt, true), (header.salt ^ 1, false)] {
        let disk = copy(&rig.disk);
        disk.overwrite(SEGMENT, 8 * ALIGN, &BlockHeader { salt, ..header }.encode());
        assert_eq!(recover_one(&disk, JournalId(1)).is_err(), believed);
    }
}

#[test]
fn any_bytes_give_an_answer() {
    let mut rig = Rig::new(9);
    rig.append_and_settle(5, 200);
    for seed in 0..300 {
        let mut random = entropy(seed);
        let disk = copy(&rig.disk);
        for _ in 0..random.between(1, 4) {
            let mut bytes = vec![0; random.between(1, 300) as usize];
            fabric::entropy::Entropy::fill(&mut random, &mut bytes);
            disk.overwrite(SEGMENT, random.below(7 * ALIGN), &bytes);
        }
        if let Ok((_, records)) = recover_one(&disk, JournalId(1)) {
            assert!(rig.given.starts_with(&records), "seed {seed}");
        }
        let mut noise = vec![0; random.below(200) as usize];
        fabric::entropy::Entropy::fill(&mut random, &mut noise);
        for kind in 0..4 {
            let _ = Record::decode(kind, 1, &noise).map(|record| print(&record));
        }
        let _ = SegmentHeader::decode(&noise);
    }
}
