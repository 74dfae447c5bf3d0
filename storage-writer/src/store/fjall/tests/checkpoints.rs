//! Checkpoints, also while tables are merged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

fn opened(folder: &Path) -> FjallStore {
    FjallStore::open(folder, FjallConfig::default()).expect("a checkpoint opens")
}

#[test]
fn a_checkpoint_is_the_store_as_it_was_and_stays_so() {
    let folder = Folder::new();
    let store = folder.store().expect("a store");
    store.flush(full_run(20)).expect("flush");
    let into = folder.0.path().join("checkpoint");
    fs::create_dir(&into).expect("a folder");
    let made = store.checkpoint(&into).expect("made");
    assert_eq!(made.applied, [(JournalId(0), Lsn(20))]);
    let newest_ms = (1..=50).map(|n| state(chat(n), 20).last_ms.max(state(chat(n), 20).ticked_ms)).max();
    assert_eq!(Some(made.newest_ms), newest_ms);
    let then = seen(&store).expect("readable");
    for round in 21..=60 {
        store.flush(full_run(round)).expect("flush");
    }
    store.expire(contract::START_MS + 10 * DEDUPE_KEEP_MS).expect("expired");
    drop(store);
    let copy = opened(&into);
    assert_eq!(seen(&copy).expect("readable"), then);
    copy.flush(full_run(61)).expect("a store like any other");
    drop(copy);
    let store = folder.store().expect("the original");
    assert_eq!(store.applied().expect("readable"), [(JournalId(0), Lsn(60))], "nothing of it was changed");
    assert_eq!(all(&store, chat(7)), entries(chat(7), 1..=60));
}

#[test]
fn checkpoints_under_flushes_and_merges_are_each_of_one_flush() {
    let folder = Folder::new();
    let store = folder.store().expect("a store");
    let (round, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=40 {
                store.flush(full_run(number)).expect("flush");
                round.store(number, Ordering::SeqCst);
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut number = 0;
        while !done.load(Ordering::SeqCst) || number == 0 {
            number += 1;
            let into = folder.0.path().join(format!("checkpoint-{number}"));
            fs::create_dir(&into).expect("a folder");
            let least = round.load(Ordering::SeqCst);
            let made = store.checkpoint(&into).expect("made");
            let copy = opened(&into);
            let Some(&(_, Lsn(at))) = made.applied.first() else { continue };
            assert!(at >= least);
            assert_eq!(copy.applied().expect("readable"), made.applied);
            copy.load_chats(&mut |state| assert_eq!(state.head_seq, at)).expect("readable");
            for n in [1, 25, 50] {
                assert_eq!(all(&copy, chat(n)), entries(chat(n), 1..=at));
            }
        }
    });
    assert_eq!(all(&store, chat(3)), entries(chat(3), 1..=40));
}

#[test]
fn a_checkpoint_where_there_is_no_room_for_it_is_an_error() {
    let folder = Folder::new();
    let store = folder.store().expect("a store");
    store.flush(full_run(3)).expect("flush");
    let error = store.checkpoint(&folder.0.path().join("not there")).expect_err("no folder");
    assert!(matches!(error, StoreError::Io { .. }) && error.to_string().contains("making a checkpoint"), "{error}");
    store.flush(full_run(4)).expect("the store goes on");
    assert_eq!(all(&store, chat(1)), entries(chat(1), 1..=4));
}
