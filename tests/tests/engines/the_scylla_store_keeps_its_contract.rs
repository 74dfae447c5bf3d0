//! The suite that every store passes, and what only this store can get wrong: buckets, expiry, clocks that step back.

use fabric::time::{Clock as _, SystemClock};
use schema::ids::MessageId;
use schema::timeuuid::{UNIX_EPOCH_TICKS, from_parts};
use shardwire_tests::process::Deadline;
use storage_writer::store::contract::{self, all, chat, entry, run, state};
use storage_writer::store::{FlushRun, HistoryRange, Store as _, StoredEntry};
use uuid::Uuid;

use super::keyspace::Keyspace;

storage_writer::store_contract!(Keyspace::new());

/// The id of an entry that comes so many hours after the first.
fn at_hour(hours: u64, seq: u64) -> MessageId {
    from_parts(UNIX_EPOCH_TICKS + contract::START_MS * 10_000 + hours * 36_000_000_000 + seq * 7, [0x91; 8])
}

#[test]
fn a_chat_is_read_over_all_its_buckets_in_whatever_order_they_came() {
    let keyspace = Keyspace::new();
    let store = keyspace.store();
    let of = |seqs: std::ops::RangeInclusive<u64>, hours: u64| -> Vec<StoredEntry> {
        seqs.map(|seq| StoredEntry { message: at_hour(hours, seq), ..entry(chat(1), seq, 30) }).collect()
    };
    // A month passes after the first 700; from 100,000 on a bucket is full.
    let parts = [of(1..=700, 0), of(701..=703, 720), of(99_990..=100_020, 721), of(200_000..=200_001, 722)];
    for part in [2, 0, 3, 1] {
        let (early, late) = parts[part].split_at(parts[part].len() / 2);
        store.flush(run(vec![(chat(1), late.to_vec())])).expect("flush");
        store.flush(run(vec![(chat(1), early.to_vec())])).expect("flush");
    }
    let whole: Vec<StoredEntry> = parts.concat();
    assert!(all(&store, chat(1)) == whole, "not what was written");
    let page = |after_seq, limit_entries| {
        let range = HistoryRange { after_seq, up_to_seq: 200_000, limit_entries, limit_bytes: usize::MAX };
        store.history(chat(1), range).expect("history").iter().map(|entry| entry.seq).collect::<Vec<_>>()
    };
    assert_eq!(page(699, 6), [700, 701, 702, 703, 99_990, 99_991]);
    assert_eq!(page(100_019, 9), [100_020, 200_000]);
    assert_eq!(page(200_000, 9), [0_u64; 0]);
    for StoredEntry { seq, message, .. } in whole.iter().step_by(37).chain(whole.last()) {
        assert_eq!(store.find_message(chat(1), *message).expect("looked for"), Some(*seq));
    }
    for absent in [at_hour(0, 0), at_hour(1, 350), at_hour(0, 701), at_hour(720, 99_990), at_hour(5_000, 1)] {
        assert_eq!(store.find_message(chat(1), absent).expect("looked for"), None);
    }
}

#[test]
fn an_entry_goes_when_its_time_is_over_also_after_it_was_amended() {
    let keyspace = Keyspace::new();
    let store = keyspace.store();
    let now_s = (SystemClock.now().wall_ms() / 1_000) as u32;
    let mut expiring = run(vec![(chat(1), contract::entries(chat(1), 1..=3))]);
    expiring.entries[0].expires_s = now_s - 1;
    expiring.entries[1].expires_s = now_s + 15;
    store.flush(expiring).expect("flush");
    let amended = contract::flat(vec![(chat(1), vec![entry(chat(1), 2, 0), entry(chat(1), 3, 0)])]);
    store.flush(FlushRun { amended, ..FlushRun::default() }).expect("flush");
    assert_eq!(all(&store, chat(1)), [entry(chat(1), 2, 0), entry(chat(1), 3, 0)]);
    let left = [entry(chat(1), 3, 0)];
    assert!(Deadline::after_s(60).wait_until(|| all(&store, chat(1)) == left), "entry 2 stays for ever");
}

#[test]
fn a_clock_that_stepped_back_over_a_restart_hides_nothing_new() {
    let keyspace = Keyspace::new();
    drop(keyspace.store());
    // What a run under a clock that was an hour ahead left.
    let ahead = (SystemClock.now().wall_ticks / 10).cast_signed() + 3_600_000_000;
    let node = Uuid::from_bytes(super::keyspace::WRITER.node.0);
    keyspace.run("INSERT INTO {}.writers (node_id, stamp) VALUES (?, ?) USING TIMESTAMP ?", (node, ahead, ahead));
    let old = state(chat(1), 4);
    let row = (chat(1).slot().get().cast_signed(), Uuid::from_bytes(chat(1).0), old.to_row(), ahead);
    keyspace.run("INSERT INTO {}.chats (slot, chat_id, state) VALUES (?, ?, ?) USING TIMESTAMP ?", row);
    let store = keyspace.store();
    let states = |store: &scylla_store::ScyllaStore| {
        let mut states = Vec::new();
        store.load_chats(&mut |state| states.push(state)).expect("chats");
        states
    };
    assert_eq!(states(&store), [old]);
    for head in [5, 6] {
        store.flush(FlushRun { states: vec![state(chat(1), head)], ..FlushRun::default() }).expect("flush");
        assert_eq!(states(&store), [state(chat(1), head)]);
    }
}
