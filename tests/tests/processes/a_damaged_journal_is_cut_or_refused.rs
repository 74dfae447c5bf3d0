//! What was in flight at a crash may be torn: it is cut and counted. What was durable may not: the start stops and says where.

use std::collections::BTreeSet;
use std::time::Duration;

use schema::ids::{ChatId, UserId};
use shardwire_tests::process::journal::{Block, Segment, change, covered, segments};
use shardwire_tests::process::{Dice, Native, Options, Server, unwrapped};

type Acked = BTreeSet<([u8; 16], [u8; 16])>;

fn user(id: u64) -> UserId {
    UserId::new(id).unwrap()
}

fn chat() -> ChatId {
    ChatId::direct(user(1), user(2))
}

fn one_partition() -> Options {
    Options { partitions: 1, shards: 1, ..Options::default() }
}

/// Sends in bursts until killed in the middle; what was acknowledged.
fn killed_under_load(server: &mut Server, prefix: &str, dice: &mut Dice) -> Acked {
    let mut acked = Acked::new();
    let mut native = Native::login(server.native(), &server.token(1, 1)).unwrap();
    let mut next = 0;
    let mut burst = |native: &mut Native, count| {
        let mut bytes = Vec::new();
        for _ in 0..count {
            bytes.extend_from_slice(&native.message(&format!("{prefix}{next}"), user(2), &[7; 300], false));
            next += 1;
        }
        native.write(&bytes).unwrap();
    };
    for _ in 0..12 {
        burst(&mut native, 100);
        while let Some(got) = native.next_within(Duration::from_millis(2)).unwrap() {
            take(&mut acked, &got);
        }
    }
    while acked.len() < 200 {
        take(&mut acked, &native.next(30).unwrap().expect("sends are acknowledged"));
    }
    burst(&mut native, 2_000);
    std::thread::sleep(Duration::from_micros(dice.below(12_000)));
    server.kill9();
    while let Ok(Some(got)) = native.next(10) {
        take(&mut acked, &got);
    }
    acked
}

fn take(acked: &mut Acked, got: &shardwire_tests::process::Got) {
    assert_eq!(got.code(), None, "no send is refused");
    if let Some((_, message, _)) = got.ack() {
        acked.insert((chat().0, message.0));
    }
}

/// Everything acknowledged is in the log, which has no holes.
fn nothing_is_lost(server: &Server, acked: &Acked) {
    let mut native = Native::login(server.native(), &server.token(2, 1)).unwrap();
    let log = native.history(chat()).unwrap();
    assert!(log.iter().map(|entry| entry.0).eq(1..=log.len() as u64), "seq is gapless");
    let there: BTreeSet<[u8; 16]> = log.into_iter().map(|entry| entry.2.0).collect();
    let lost = acked.iter().filter(|(_, message)| !there.contains(message)).count();
    assert_eq!(lost, 0, "of {} acknowledged messages", acked.len());
}

/// The segment a journal's last block is in, or would be.
fn last_segment(all: &[Segment]) -> &Segment {
    let last = all
        .iter()
        .flat_map(|segment| &segment.blocks)
        .max_by_key(|block| (block.journal, block.last_lsn(), block.first_lsn));
    let file = &last.expect("there are blocks").file;
    all.iter().find(|segment| segment.file == *file).unwrap()
}

/// Blocks above the covered LSN from which nothing was acknowledged, and that nothing acknowledged follows.
fn free_to_tear<'a>(all: &[Segment], segment: &'a Segment, acked: &Acked) -> Vec<&'a Block> {
    let covered = covered(all, segment.blocks.last().unwrap().journal);
    let holds = |block: &Block| block.messages.iter().any(|message| acked.contains(message));
    let last_acked = segment.blocks.iter().rposition(holds).map_or(0, |at| at + 1);
    segment.blocks[last_acked..].iter().filter(|block| block.records > 0 && block.first_lsn > covered).collect()
}

/// Whether this start's log says that torn bytes were cut, and its summary counts them.
fn says_cut(server: &Server) -> bool {
    let log = server.log();
    let cut = log.lines().filter(|line| line.contains("unfinished end cut") && !line.contains("torn_bytes=0"));
    cut.count() == 1 && log.contains(" torn: 1,")
}

#[test]
fn torn_bytes_behind_the_last_block_are_cut_and_counted() {
    let mut dice = Dice::seeded();
    let mut server = Server::start(one_partition());
    let mut acked = Acked::new();
    for round in 0..4 {
        acked.extend(killed_under_load(&mut server, &format!("r{round}-"), &mut dice));
        let all = segments(&server.journal());
        let segment = last_segment(&all);
        let block = segment.blocks.last().unwrap();
        let source = std::fs::read(&segment.file).unwrap();
        let room = source.len().saturating_sub(segment.end);
        assert!(room > 0, "segments are larger than what one round writes");
        let torn: Vec<u8> = if round % 2 == 0 {
            // The first half of a block like the last, or noise.
            let len = (block.used_bytes / 2).min(room);
            source[block.offset..][..len].to_vec()
        } else {
            (0..room.min(3 * segment.align)).map(|_| dice.any() as u8).collect()
        };
        change(&segment.file, segment.end, torn.len(), |bytes| bytes.copy_from_slice(&torn));
        server.start_again();
        assert!(says_cut(&server), "what was cut is counted\n{}", server.log());
        nothing_is_lost(&server, &acked);
    }
    server.terminate();
}

#[test]
fn an_unacknowledged_block_above_the_covered_lsn_is_cut_when_it_is_garbled_or_short() {
    let mut dice = Dice::seeded();
    let mut server = Server::start(one_partition());
    let mut acked = Acked::new();
    let mut torn = 0;
    for round in 0..40 {
        acked.extend(killed_under_load(&mut server, &format!("r{round}-"), &mut dice));
        let all = segments(&server.journal());
        let blocks = free_to_tear(&all, last_segment(&all), &acked);
        let Some(block) = blocks.first() else {
            server.start_again();
            continue;
        };
        let from = dice.below(block.used_bytes as u64 - 1) as usize;
        let len = block.used_bytes - from;
        let noise = torn % 2 == 0;
        change(&block.file, block.offset + from, len, |bytes| {
            for byte in bytes {
                *byte = if noise { !*byte } else { 0 };
            }
        });
        torn += 1;
        server.start_again();
        // Where all from its first bytes on is gone and nothing follows, there is nothing to see.
        let gone = !noise && from < 64 && std::ptr::eq(*block, *blocks.last().unwrap());
        assert!(gone || says_cut(&server), "the cut is counted\n{}", server.log());
        nothing_is_lost(&server, &acked);
        if torn == 4 {
            break;
        }
    }
    assert!(torn >= 2, "only {torn} kills left a block that nobody had an answer for");
    server.terminate();
}

/// A start on what is there fails and names file and offset; puts the bit back.
fn flipped_bit_stops_the_start(server: &Server, block: &Block, at: usize, bit: u32) {
    let flip = |bytes: &mut [u8]| bytes[0] ^= 1 << bit;
    change(&block.file, block.offset + at, 1, flip);
    let output = server.start_in_vain();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    change(&block.file, block.offset + at, 1, flip);
    assert!(!output.status.success(), "byte {at} of the block at {} in {:?}\n{error}", block.offset, block.file);
    assert!(output.stdout.is_empty(), "it never said that it was ready");
    let words = unwrapped(&error);
    let name = block.file.file_name().unwrap().to_str().unwrap();
    let place = format!("at byte {}", block.offset);
    assert!(words.contains(name) && words.contains(&place), "names {name} and {place}\n{error}");
}

#[test]
fn a_flipped_bit_at_or_below_the_covered_lsn_stops_the_start_with_file_and_offset() {
    let mut dice = Dice::seeded();
    let mut server = Server::start(one_partition());
    let acked = killed_under_load(&mut server, "a", &mut dice);
    let all = segments(&server.journal());
    let safe = covered(&all, all[0].blocks[0].journal);
    let blocks: Vec<&Block> = all.iter().flat_map(|segment| &segment.blocks).collect();
    let blocks: Vec<&&Block> = blocks.iter().filter(|block| block.records > 0 && block.last_lsn() <= safe).collect();
    assert!(blocks.len() > 4, "{} blocks are covered", blocks.len());
    for place in [0, blocks.len() / 2, blocks.len() - 1] {
        let at = dice.below(blocks[place].used_bytes as u64) as usize;
        flipped_bit_stops_the_start(&server, blocks[place], at, dice.below(8) as u32);
    }
    server.start_again();
    nothing_is_lost(&server, &acked);
    server.terminate();
}

#[test]
fn a_flipped_bit_in_any_acknowledged_record_after_a_clean_stop_stops_the_start() {
    let mut dice = Dice::seeded();
    let mut server = Server::start(one_partition());
    let mut native = Native::login(server.native(), &server.token(1, 1)).unwrap();
    let mut acked = Acked::new();
    for number in 0..40 {
        let (message, _) = native.send(&format!("c{number}"), user(2), b"in a clean journal").unwrap();
        acked.insert((chat().0, message.0));
    }
    drop(native);
    server.terminate();
    let all = segments(&server.journal());
    let blocks = all.iter().flat_map(|segment| &segment.blocks);
    let blocks: Vec<&Block> =
        blocks.filter(|block| block.messages.iter().any(|message| acked.contains(message))).collect();
    assert!(!blocks.is_empty(), "the acknowledged messages are in the journal");
    for place in [0, blocks.len() / 2, blocks.len() - 1] {
        // Behind the header: in a record.
        let at = 64 + dice.below(blocks[place].used_bytes as u64 - 64) as usize;
        flipped_bit_stops_the_start(&server, blocks[place], at, dice.below(8) as u32);
    }
    server.start_again();
    nothing_is_lost(&server, &acked);
    server.terminate();
}
