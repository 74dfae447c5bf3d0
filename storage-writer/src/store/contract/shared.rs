//! Checks of a store that several writers share. Each is about a partition of its own, of 16, so that all of them may run
//! over one place.

use std::sync::Arc;

use fabric::time::{Clock as _, SystemClock};
use schema::dedupe::DedupeKey;
use schema::ids::ChatId;

use super::{START_MS, all, chat, entries, flat, state};
use crate::lease::{Epoch, Tenure};
use crate::lsn::{JournalId, Lsn};
use crate::pins::{PINS_MAX, Pins};
use crate::store::{ChatState, DedupeHit, FlushRun, LoggedBlock, SharedStore, Standing, StoreError, Takeover};

/// Where a shared store lives.
pub trait SharedPlace {
    /// Opens it as one more writer.
    fn open(&self) -> Arc<dyn SharedStore>;
}

/// A check, run over a place.
pub type SharedCheck = fn(&dyn SharedPlace);

/// Partitions that the checks want.
pub const SHARED_PARTITIONS: u16 = 16;

/// Every check with its name.
pub const SHARED_CHECKS: [(&str, SharedCheck); 9] = [
    ("a log is read by number and epoch up to its first hole", a_log_is_read_up_to_its_first_hole),
    ("takeovers are kept, a partition's by epoch", takeovers_are_kept),
    ("a flush is its partition's", a_flush_is_its_partitions),
    ("an owner whose tenure is over writes nothing", an_owner_whose_tenure_is_over_writes_nothing),
    ("blocks that are applied are forgotten and no others", applied_blocks_are_forgotten),
    ("large blocks are kept", large_blocks_are_kept),
    ("a chat's state is found by its id", a_state_is_found_by_its_id),
    ("the table of pinned chats is changed by who has seen it whole", pins_are_changed_by_who_has_seen_them),
    ("what is written above another partition's stamp stays", what_is_written_above_a_stamp_stays),
];

/// A chat of a partition, each `nth` another.
pub fn chat_of(partition: u16, nth: usize) -> ChatId {
    let mut chats = (0..).map(chat).filter(|chat| chat.slot().partition(SHARED_PARTITIONS) == partition);
    chats.nth(nth).expect("endless")
}

fn places(blocks: &[LoggedBlock]) -> Vec<(u64, u64)> {
    blocks.iter().map(|found| (found.block, found.epoch.0)).collect()
}

fn adopted(store: &dyn SharedStore, partition: u16) -> Standing {
    store.adopt(partition).expect("adopted")
}

fn states_of(store: &dyn SharedStore, partition: u16) -> Vec<ChatState> {
    let mut states = Vec::new();
    store.load_chats_of(partition, &mut |state| states.push(state)).expect("states");
    states.sort_by_key(|state| state.chat);
    states
}

fn a_log_is_read_up_to_its_first_hole(place: &dyn SharedPlace) {
    let (one, two) = (place.open(), place.open());
    let write = |store: &dyn SharedStore, epoch: u64, block: u64| {
        store.append(1, Epoch(epoch), block, format!("{block} of {epoch}").as_bytes()).expect("written");
    };
    (510..=515).for_each(|block| write(&*one, 1, block));
    [513, 514, 517].iter().for_each(|block| write(&*two, 2, *block));
    write(&*one, 1, 513);
    let wanted = [(510, 1), (511, 1), (512, 1), (513, 1), (513, 2), (514, 1), (514, 2), (515, 1)];
    for store in [&one, &two] {
        let found = store.blocks_above(1, 509).expect("read");
        assert_eq!(places(&found), wanted);
        for LoggedBlock { block, epoch, bytes } in found {
            assert_eq!(bytes, format!("{block} of {epoch}").as_bytes());
        }
        assert_eq!(places(&store.blocks_above(1, 513).expect("read")), wanted[5..]);
        assert!(store.blocks_above(1, 515).expect("read").is_empty(), "516 is missing");
        assert!(store.blocks_above(0, 0).expect("read").is_empty());
    }
}

fn takeovers_are_kept(place: &dyn SharedPlace) {
    let (one, two) = (place.open(), place.open());
    assert_eq!(adopted(&*one, 2), Standing::default());
    let takeover = |epoch, first_block, after| Takeover { epoch: Epoch(epoch), first_block, after: Epoch(after) };
    one.take_over(2, takeover(4, 9, 1)).expect("noted");
    one.take_over(2, takeover(1, 1, 0)).expect("noted");
    two.take_over(2, takeover(5, 12, 4)).expect("noted");
    let wanted = vec![takeover(1, 1, 0), takeover(4, 9, 1), takeover(5, 12, 4)];
    for store in [one, two] {
        let looked = store.standing(2).expect("read");
        assert_eq!(looked, Standing { applied: 0, takeovers: wanted.clone() });
        assert_eq!(adopted(&*store, 2), looked);
    }
}

/// What a run of a partition's owner says: a chat's entries up to a head, its state and an answer.
fn run_of(partition: u16, chat: ChatId, head: u64, block: u64) -> (FlushRun<'static>, (DedupeKey, DedupeHit)) {
    let key = DedupeKey([head as u8; 16]);
    let hit = DedupeHit { chat, seq: head, message: super::message(head), wall_ms: START_MS + head };
    let run = FlushRun {
        applied: vec![(JournalId(u32::from(partition)), Lsn(block))],
        entries: flat(vec![(chat, entries(chat, 1..=head))]),
        amended: Vec::new(),
        states: vec![state(chat, head)],
        dedupe: vec![(key, hit)],
    };
    (run, (key, hit))
}

fn a_flush_is_its_partitions(place: &dyn SharedPlace) {
    let (one, two) = (place.open(), place.open());
    let here = chat_of(3, 0);
    adopted(&*one, 3);
    let (run, (key, hit)) = run_of(3, here, 6, 7);
    one.flush_owned(&Tenure::endless(3, Epoch(1)), run).expect("flushed");
    for store in [&one, &two] {
        assert_eq!(adopted(&**store, 3).applied, 7);
        assert_eq!(adopted(&**store, 15).applied, 0);
        assert_eq!(states_of(&**store, 3), [state(here, 6)]);
        assert!(states_of(&**store, 15).is_empty());
        assert_eq!(all(store, here), entries(here, 1..=6));
        assert_eq!(store.dedupe_in(here, key).expect("looked for"), Some(hit));
        assert_eq!(store.dedupe(key).expect("looked for"), Some(hit));
        assert_eq!(store.dedupe_in(chat_of(15, 0), DedupeKey([99; 16])).expect("looked for"), None);
        for (partition, wall_ms, wanted) in [(3, START_MS, vec![hit]), (3, START_MS + 7, vec![]), (15, 0, vec![])] {
            let mut found = Vec::new();
            store.dedupe_since_of(partition, wall_ms, &mut |_, hit| found.push(hit)).expect("read");
            found.dedup();
            assert_eq!(found, wanted, "partition {partition} since {wall_ms}");
        }
    }
    let (run, _) = run_of(3, here, 8, 9);
    two.flush_owned(&Tenure::endless(3, Epoch(2)), run).expect("flushed");
    assert_eq!((adopted(&*one, 3).applied, states_of(&*one, 3)), (9, vec![state(here, 8)]));
}

fn an_owner_whose_tenure_is_over_writes_nothing(place: &dyn SharedPlace) {
    let store = place.open();
    let tenure = Tenure::endless(4, Epoch(1));
    adopted(&*store, 4);
    tenure.end();
    let refused = store.flush_owned(&tenure, run_of(4, chat_of(4, 0), 3, 1).0);
    assert!(matches!(refused, Err(StoreError::NotOwned { partition: 4, epoch: Epoch(1) })), "{refused:?}");
    assert_eq!(adopted(&*store, 4), Standing::default());
    assert!(states_of(&*store, 4).is_empty() && all(&store, chat_of(4, 0)).is_empty());
}

fn applied_blocks_are_forgotten(place: &dyn SharedPlace) {
    let store = place.open();
    adopted(&*store, 5);
    for block in (1..=3).chain(511..=515) {
        store.append(5, Epoch(1), block, b"words").expect("written");
    }
    for _ in 0..2 {
        store.trim(5, 513).expect("trimmed");
        assert_eq!(places(&store.blocks_above(5, 513).expect("read")), [(514, 1), (515, 1)]);
        assert!(store.blocks_above(5, 510).expect("read").first().is_none_or(|first| first.block >= 512));
        assert!(store.blocks_above(5, 0).expect("read").is_empty());
    }
}

fn large_blocks_are_kept(place: &dyn SharedPlace) {
    let store = place.open();
    let bytes = |block: u64| vec![block as u8; 1 << 20];
    for block in 1..=20 {
        store.append(7, Epoch(3), block, &bytes(block)).expect("written");
    }
    let found = store.blocks_above(7, 0).expect("read");
    assert_eq!(found.len(), 20);
    assert!(found.iter().all(|found| found.bytes == bytes(found.block)));
}

fn a_state_is_found_by_its_id(place: &dyn SharedPlace) {
    let (one, two) = (place.open(), place.open());
    let (here, other) = (chat_of(8, 0), chat_of(8, 1));
    adopted(&*one, 8);
    one.flush_owned(&Tenure::endless(8, Epoch(1)), run_of(8, here, 4, 1).0).expect("flushed");
    assert_eq!(two.load_chat(here).expect("read"), Some(state(here, 4)));
    assert_eq!(two.load_chat(other).expect("read"), None);
}

fn pins_are_changed_by_who_has_seen_them(place: &dyn SharedPlace) {
    let (one, two) = (place.open(), place.open());
    let none = one.pins(true).expect("read");
    assert_eq!(none, Pins::default());
    let with = |pins: &Pins, nth| pins.with(chat_of(9, nth), 10, SHARED_PARTITIONS).expect("pinned");
    let (first, late) = (with(&none, 0), with(&none, 1));
    assert!(one.change_pins(&first).expect("changed"));
    assert!(!two.change_pins(&late).expect("answered"), "it has not seen the first");
    for store in [&one, &two] {
        for latest in [false, true] {
            assert_eq!(store.pins(latest).expect("read"), first);
        }
    }
    let settled = first.settled(9, SHARED_PARTITIONS, 77);
    assert!(two.change_pins(&settled).expect("changed"));
    assert!(!one.change_pins(&first).expect("answered"), "nothing is done twice");
    assert_eq!(one.pins(true).expect("read"), settled);
    // As many as there may be, and none.
    let full = (0..PINS_MAX - 1).fold(settled, |pins, nth| Pins { version: pins.version, ..with(&pins, nth + 1) });
    let full = Pins { version: full.version + 1, ..full };
    assert!(one.change_pins(&full).expect("changed"));
    assert_eq!(two.pins(true).expect("read"), full);
    let empty = Pins { version: full.version + 1, stamp: 78, rows: Vec::new() };
    assert!(two.change_pins(&empty).expect("changed"));
    assert_eq!(one.pins(true).expect("read"), empty);
}

fn what_is_written_above_a_stamp_stays(place: &dyn SharedPlace) {
    let (one, two) = (place.open(), place.open());
    let chat = chat_of(11, 0);
    adopted(&*one, 11);
    adopted(&*two, 12);
    let stamp = |store: &dyn SharedStore, partition| store.stamp(partition);
    // An owner whose clock goes an hour ahead.
    one.raise_stamp(11, i64::try_from(SystemClock.now().wall_ticks / 10).expect("in time") + 3_600_000_000);
    one.flush_owned(&Tenure::endless(11, Epoch(1)), run_of(11, chat, 4, 1).0).expect("flushed");
    let write = |head| {
        two.flush_owned(&Tenure::endless(12, Epoch(1)), run_of(12, chat, head, head).0).expect("flushed");
        one.load_chat(chat).expect("read")
    };
    two.raise_stamp(12, stamp(&*one, 11));
    assert_eq!(write(6), Some(state(chat, 6)));
    assert!(stamp(&*two, 12) > stamp(&*one, 11));
    two.raise_stamp(12, 5);
    assert_eq!(write(7), Some(state(chat, 7)), "it is never lowered");
    adopted(&*one, 12);
    assert_eq!(stamp(&*one, 12), stamp(&*two, 12), "whoever has it next knows it");
}
