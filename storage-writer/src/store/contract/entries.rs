//! Checks of histories.

use std::sync::atomic::{AtomicBool, Ordering};

use schema::ids::ChatId;

use super::{Place, all, chat, entries, entry, flat, message, run};
use crate::store::{FlushRun, HistoryRange, Store, StoredEntry};

fn page(store: &dyn Store, chat: ChatId, after_seq: u64, up_to_seq: u64, limits: (usize, usize)) -> Vec<StoredEntry> {
    let range = HistoryRange { after_seq, up_to_seq, limit_entries: limits.0, limit_bytes: limits.1 };
    store.history(chat, range).expect("history")
}

/// Order, and every limit.
pub fn a_page_is_ascending_and_bounded(place: &dyn Place) {
    let store = place.open();
    let mut shuffled = entries(chat(1), 1..=100);
    shuffled.reverse();
    shuffled.swap(3, 70);
    store.flush(run(vec![(chat(1), shuffled)])).expect("flush");
    let seqs = |page: Vec<StoredEntry>| page.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    let most = usize::MAX;
    assert_eq!(page(&*store, chat(1), 0, u64::MAX, (most, most)), entries(chat(1), 1..=100));
    assert_eq!(seqs(page(&*store, chat(1), 10, 20, (most, most))), (11..=20).collect::<Vec<_>>());
    assert_eq!(seqs(page(&*store, chat(1), 10, u64::MAX, (7, most))), (11..=17).collect::<Vec<_>>());
    assert_eq!(seqs(page(&*store, chat(1), 10, u64::MAX, (most, 40 * 5))), (11..=15).collect::<Vec<_>>());
    assert_eq!(seqs(page(&*store, chat(1), 10, u64::MAX, (most, 40 * 5 - 1))), (11..=14).collect::<Vec<_>>());
    assert_eq!(seqs(page(&*store, chat(1), 10, u64::MAX, (most, 1))), [11], "one entry always fits");
    assert!(page(&*store, chat(1), 10, u64::MAX, (0, most)).is_empty());
    assert!(page(&*store, chat(1), 20, 20, (most, most)).is_empty());
    assert!(page(&*store, chat(1), 21, 20, (most, most)).is_empty());
    assert!(page(&*store, chat(1), 100, u64::MAX, (most, most)).is_empty());
    assert!(page(&*store, chat(1), u64::MAX, u64::MAX, (most, most)).is_empty());
    assert!(page(&*store, chat(2), 0, u64::MAX, (most, most)).is_empty());
}

/// A page begins at any seq, whatever the grouping on disk and however it came there.
pub fn a_page_starts_anywhere(place: &dyn Place) {
    let store = place.open();
    for (first, last) in [(1, 3), (4, 4), (5, 21), (22, 40), (41, 80)] {
        store.flush(run(vec![(chat(1), entries(chat(1), first..=last))])).expect("flush");
    }
    for after in 0..=80 {
        for up_to in [after + 1, after + 2, 37, 80, u64::MAX] {
            let page = page(&*store, chat(1), after, up_to, (usize::MAX, usize::MAX));
            assert_eq!(page, entries(chat(1), after + 1..=up_to.min(80)), "after {after} up to {up_to}");
        }
    }
}

/// The same run twice, and a chat named twice in a run, are the run once.
pub fn replays_change_nothing(place: &dyn Place) {
    let store = place.open();
    let both = || {
        run(vec![
            (chat(1), entries(chat(1), 5..=9)),
            (chat(2), entries(chat(2), 1..=2)),
            (chat(1), entries(chat(1), 1..=6)),
        ])
    };
    for _ in 0..3 {
        store.flush(both()).expect("flush");
        assert_eq!(all(&*store, chat(1)), entries(chat(1), 1..=9));
        assert_eq!(all(&*store, chat(2)), entries(chat(2), 1..=2));
    }
}

/// Replays after crashes group the same entries otherwise; a reader never sees a seq twice, nor misses one.
pub fn overlapping_chunks_read_once(place: &dyn Place) {
    let store = place.open();
    let flushed = [1..=20, 1..=5, 6..=21, 17..=18, 3..=30, 22..=22, 29..=64, 16..=31, 32..=33];
    let mut last = 0;
    for range in flushed {
        last = last.max(*range.end());
        store.flush(run(vec![(chat(1), entries(chat(1), range))])).expect("flush");
        // What a shorter chunk replaced comes again with the replay that wrote it; here, at the end.
    }
    store.flush(run(vec![(chat(1), entries(chat(1), 1..=last))])).expect("flush");
    for after in 0..last {
        let page = page(&*store, chat(1), after, u64::MAX, (10, usize::MAX));
        assert_eq!(page, entries(chat(1), after + 1..=last.min(after + 10)), "after {after}");
    }
    for seq in 1..=last {
        assert_eq!(store.find_message(chat(1), message(seq)).expect("found"), Some(seq));
    }
}

/// Frames up to the frame limit, and empty ones.
pub fn large_entries_are_kept(place: &dyn Place) {
    let store = place.open();
    let written: Vec<_> =
        (1..=20).map(|seq| entry(chat(1), seq, [0, 1, 500, 20_000, 65_536][seq as usize % 5])).collect();
    store.flush(run(vec![(chat(1), written.clone())])).expect("flush");
    assert!(all(&*store, chat(1)) == written, "not what was written");
    let two = page(&*store, chat(1), 3, u64::MAX, (usize::MAX, 65_536));
    assert!(two == written[3..5], "65536 and 0 bytes fit, another byte does not");
}

/// An amended entry is as it is now, in whatever chunks replays have left it; what the store does not have is not made.
pub fn amended_entries_are_written_over(place: &dyn Place) {
    let amended = |chats: &[(ChatId, u64)], len: usize| FlushRun {
        amended: flat(chats.iter().map(|&(chat, seq)| (chat, vec![entry(chat, seq, len)])).collect()),
        ..FlushRun::default()
    };
    let store = place.open();
    for range in [1..=40, 3..=9, 17..=20] {
        store
            .flush(run(vec![(chat(1), entries(chat(1), range.clone())), (chat(2), entries(chat(2), range))]))
            .expect("flush");
    }
    store
        .flush(amended(&[(chat(1), 5), (chat(1), 18), (chat(1), 19), (chat(2), 40), (chat(2), 41)], 0))
        .expect("flush");
    drop(store);
    let store = place.open();
    let expected = |chat: ChatId, gone: &[u64]| -> Vec<_> {
        (1..=40).map(|seq| entry(chat, seq, if gone.contains(&seq) { 0 } else { 40 })).collect()
    };
    assert_eq!(all(&*store, chat(1)), expected(chat(1), &[5, 18, 19]));
    assert_eq!(all(&*store, chat(2)), expected(chat(2), &[40]));
    assert_eq!(store.at_seq(chat(1), 18).expect("read"), Some(entry(chat(1), 18, 0)));
    assert_eq!(store.find_message(chat(1), message(18)).expect("found"), Some(18));
    // Beside new entries, some of them in the same place, and once more.
    let both = FlushRun {
        entries: flat(vec![
            (chat(0), entries(chat(0), 1..=3)),
            (chat(1), vec![entry(chat(1), 17, 40), entry(chat(1), 18, 0), entry(chat(1), 19, 0)]),
            (chat(1), entries(chat(1), 41..=50)),
        ]),
        ..amended(&[(chat(1), 18), (chat(1), 30), (chat(2), 1)], 0)
    };
    store.flush(both.clone()).expect("flush");
    store.flush(both).expect("flush");
    let mut one = expected(chat(1), &[5, 18, 19, 30]);
    one.extend(entries(chat(1), 41..=50));
    assert_eq!(all(&*store, chat(1)), one);
    assert_eq!(all(&*store, chat(2)), expected(chat(2), &[1, 40]));
    assert_eq!(all(&*store, chat(0)), entries(chat(0), 1..=3));
}

/// Neighbours in key order do not show.
pub fn chats_do_not_mix(place: &dyn Place) {
    let store = place.open();
    let near = |last| ChatId([[7; 15].as_slice(), &[last]].concat().try_into().expect("16 bytes"));
    let chats: Vec<_> =
        (0..200).map(chat).chain([near(0), near(1), near(255), ChatId([0; 16]), ChatId([255; 16])]).collect();
    for part in [1..=2u64, 3..=3, 4..=40] {
        let some = chats.iter().map(|chat| (*chat, entries(*chat, part.clone()))).collect();
        store.flush(run(some)).expect("flush");
    }
    for chat in &chats {
        assert_eq!(all(&*store, *chat), entries(*chat, 1..=40));
    }
    assert!(all(&*store, near(2)).is_empty());
    assert_eq!(store.find_message(near(2), message(1)).expect("found"), None);
}

/// By id, also where seqs are missing.
pub fn a_message_is_found_by_its_id(place: &dyn Place) {
    let store = place.open();
    let seqs: Vec<u64> = (1..=50).chain(200..=210).chain([1_000, 5_000]).collect();
    store.flush(run(vec![(chat(1), entries(chat(1), seqs.iter().copied()))])).expect("flush");
    store.flush(run(vec![(chat(2), entries(chat(2), 1..=3))])).expect("flush");
    for seq in &seqs {
        assert_eq!(store.find_message(chat(1), message(*seq)).expect("found"), Some(*seq));
    }
    for absent in [0, 51, 199, 211, 999, 1_001, 4_999, 5_001] {
        assert_eq!(store.find_message(chat(1), message(absent)).expect("found"), None, "{absent}");
    }
    assert_eq!(store.find_message(chat(2), message(4)).expect("found"), None);
    assert_eq!(store.find_message(chat(3), message(1)).expect("found"), None);
}

/// By seq.
pub fn an_entry_is_found_by_its_seq(place: &dyn Place) {
    let store = place.open();
    store.flush(run(vec![(chat(1), entries(chat(1), [1, 2, 3, 17, 40]))])).expect("flush");
    for seq in [1, 2, 3, 17, 40] {
        assert_eq!(store.at_seq(chat(1), seq).expect("entry"), Some(entry(chat(1), seq, 40)));
    }
    for absent in [0, 4, 16, 18, 41, u64::MAX] {
        assert_eq!(store.at_seq(chat(1), absent).expect("entry"), None);
    }
}

/// A reader beside a flush sees whole prefixes: what was there stays, what comes is in order without holes.
pub fn reads_go_on_during_flushes(place: &dyn Place) {
    let store = place.open();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut seen, mut reads) = (0, 0);
            while !done.load(Ordering::Acquire) || reads == 0 {
                let page = all(&*store, chat(1));
                assert!(page.len() >= seen, "{} entries after {seen}", page.len());
                assert!(page.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
                seen = page.len();
                reads += 1;
            }
        });
        for part in 0..30u64 {
            let some = (1..=5).map(|n| (chat(n), entries(chat(n), part * 7 + 1..=part * 7 + 7))).collect();
            store.flush(run(some)).expect("flush");
        }
        done.store(true, Ordering::Release);
        reader.join().expect("the reader's checks hold");
    });
    assert_eq!(all(&*store, chat(1)), entries(chat(1), 1..=210));
}

/// Nothing to do is done.
pub fn an_empty_run_is_fine(place: &dyn Place) {
    let store = place.open();
    store.flush(run(vec![])).expect("flush");
    store.flush(run(vec![(chat(1), vec![])])).expect("flush");
    assert!(all(&*store, chat(1)).is_empty());
    assert!(store.applied().expect("applied").is_empty());
}
