//! Checks of chat states, dedupe answers, positions and restarts.

use schema::dedupe::DedupeKey;
use schema::limits::DEDUPE_KEEP_MS;

use super::{Place, START_MS, all, chat, entries, flat, message, position, run, state, states};
use crate::lsn::{JournalId, Lsn};
use crate::store::{DedupeHit, FlushRun, Store};

const HOUR_MS: u64 = 60 * 60 * 1_000;

fn key(number: u64) -> DedupeKey {
    let mut key = [0xa5; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    DedupeKey(key)
}

fn hit(number: u64, wall_ms: u64) -> (DedupeKey, DedupeHit) {
    (key(number), DedupeHit { chat: chat(number % 7), seq: number + 1, message: message(number), wall_ms })
}

fn hits(dedupe: Vec<(DedupeKey, DedupeHit)>) -> FlushRun<'static> {
    FlushRun { dedupe, ..FlushRun::default() }
}

fn since(store: &dyn Store, wall_ms: u64) -> Vec<u64> {
    let mut seqs = Vec::new();
    store.dedupe_since(wall_ms, &mut |_, hit| seqs.push(hit.seq)).expect("hits");
    seqs.sort_unstable();
    seqs.dedup();
    seqs
}

/// Of a chat's states the last one flushed counts, in a run and over runs.
pub fn the_latest_state_holds(place: &dyn Place) {
    let store = place.open();
    let flush = |states| store.flush(FlushRun { states, ..FlushRun::default() }).expect("flush");
    flush(vec![state(chat(2), 4), state(chat(1), 7), state(chat(3), 0)]);
    for head in 8..30 {
        flush(vec![state(chat(1), head - 1), state(chat(1), head)]);
    }
    let mut wanted = vec![state(chat(1), 29), state(chat(2), 4), state(chat(3), 0)];
    wanted.sort_by_key(|state| state.chat);
    assert_eq!(states(&*store), wanted);
}

/// Each journal on its own, none ever back; forgotten ones are gone.
pub fn applied_positions_only_rise(place: &dyn Place) {
    let store = place.open();
    store.flush(position(3, 10)).expect("flush");
    store.flush(position(1, 500)).expect("flush");
    store.flush(position(3, 9)).expect("flush");
    let two = vec![(JournalId(1), Lsn(500)), (JournalId(3), Lsn(10))];
    assert_eq!(store.applied().expect("applied"), two);
    store.forget_journals(&[JournalId(1), JournalId(77)]).expect("forget");
    assert_eq!(store.applied().expect("applied"), two[1..]);
    store.flush(position(1, 2)).expect("flush");
    assert_eq!(store.applied().expect("applied"), [(JournalId(1), Lsn(2)), (JournalId(3), Lsn(10))]);
}

/// What a crash between a flush's steps leaves, and the replay that follows in another grouping.
pub fn partial_runs_do_not_move_positions(place: &dyn Place) {
    let whole = |upto: u64| FlushRun {
        applied: vec![(JournalId(0), Lsn(upto))],
        entries: flat(vec![(chat(1), entries(chat(1), 1..=upto))]),
        amended: Vec::new(),
        states: vec![state(chat(1), upto)],
        dedupe: (1..=upto).map(|number| hit(number, START_MS + number)).collect(),
    };
    for steps in 1..=3 {
        let store = place.open();
        let mut partial = whole(30);
        partial.applied.clear();
        if steps < 3 {
            partial.dedupe.clear();
        }
        if steps < 2 {
            partial.states.clear();
        }
        store.flush(partial).expect("flush");
        drop(store);
        let store = place.open();
        assert!(store.applied().expect("applied").is_empty());
        assert_eq!(all(&*store, chat(1)), entries(chat(1), 1..=30));
    }
    let store = place.open();
    store.flush(whole(11)).expect("flush");
    assert_eq!(store.applied().expect("applied"), [(JournalId(0), Lsn(11))]);
    store.flush(whole(40)).expect("flush");
    assert_eq!(all(&*store, chat(1)), entries(chat(1), 1..=40));
    assert_eq!(states(&*store), [state(chat(1), 40)]);
    assert_eq!(store.dedupe(key(30)).expect("hit"), Some(hit(30, START_MS + 30).1));
}

/// Hits are found for a day, then dropped in bulk.
pub fn dedupe_answers_are_kept_a_day(place: &dyn Place) {
    let store = place.open();
    for hour in 0..30 {
        store.flush(hits((0..20).map(|n| hit(hour * 20 + n, START_MS + hour * HOUR_MS + n)).collect())).expect("flush");
    }
    assert_eq!(store.dedupe(key(599)).expect("hit"), Some(hit(599, START_MS + 29 * HOUR_MS + 19).1));
    assert_eq!(store.dedupe(key(600)).expect("hit"), None);
    let now = START_MS + 30 * HOUR_MS;
    store.expire(now).expect("expired");
    for hour in 0..30 {
        for n in 0..20 {
            let (key, hit) = hit(hour * 20 + n, START_MS + hour * HOUR_MS + n);
            let found = store.dedupe(key).expect("hit");
            assert!(found.is_none() || found == Some(hit));
            assert!(found.is_some() || hit.wall_ms + DEDUPE_KEEP_MS < now, "hour {hour} is not a day ago");
        }
    }
    store.expire(now + DEDUPE_KEEP_MS + 4 * HOUR_MS).expect("expired");
    assert!((0..600).all(|number| store.dedupe(key(number)).expect("hit").is_none()));
    assert!(since(&*store, 0).is_empty());
    store.flush(hits(vec![hit(1, now)])).expect("flush");
    assert_eq!(store.dedupe(key(1)).expect("hit"), Some(hit(1, now).1));
}

/// The tail that a start reads into memory.
pub fn dedupe_answers_are_listed_since(place: &dyn Place) {
    let store = place.open();
    let minute = 60 * 1_000;
    for part in [0..100u64, 50..200, 200..300] {
        store.flush(hits(part.map(|n| hit(n, START_MS + n * 5 * minute)).collect())).expect("flush");
    }
    for from in [0, 1, 100, 250, 299] {
        let wanted: Vec<_> = (from + 1..=300).collect();
        assert_eq!(since(&*store, START_MS + from * 5 * minute), wanted, "since {from}");
    }
    assert_eq!(since(&*store, START_MS + 1), (2..=300).collect::<Vec<_>>());
    assert!(since(&*store, START_MS + 1_500 * minute).is_empty());
}

/// Closed and opened again, over and over, with overwrites between.
pub fn everything_survives_a_restart(place: &dyn Place) {
    for round in 1..=6u64 {
        let store = place.open();
        store
            .flush(FlushRun {
                applied: vec![(JournalId(round as u32 % 2), Lsn(round))],
                entries: flat(vec![(chat(1), entries(chat(1), (round - 1) * 9 + 1..=round * 9))]),
                amended: Vec::new(),
                states: vec![state(chat(1), round * 9), state(chat(100 + round), 1)],
                dedupe: vec![hit(round, START_MS + round)],
            })
            .expect("flush");
        drop(store);
        let store = place.open();
        assert_eq!(all(&*store, chat(1)), entries(chat(1), 1..=round * 9));
        let states = states(&*store);
        assert_eq!(states.len() as u64, 1 + round);
        assert!(states.contains(&state(chat(1), round * 9)));
        assert!((1..=round).all(|n| store.dedupe(key(n)).expect("hit") == Some(hit(n, START_MS + n).1)));
        assert!(store.applied().expect("applied").contains(&(JournalId(round as u32 % 2), Lsn(round))));
    }
}

/// Wall times from anywhere are taken, and what is near the newest is kept.
pub fn clocks_that_jump_do_not_fill_the_store(place: &dyn Place) {
    let store = place.open();
    for n in 0..40 {
        store.flush(hits(vec![hit(n, n * 400 * HOUR_MS)])).expect("flush");
    }
    store.flush(hits(vec![hit(100, START_MS), hit(101, 0), hit(102, u64::MAX)])).expect("flush");
    store.flush(run(vec![(chat(1), entries(chat(1), 1..=3))])).expect("flush");
    store.flush(hits(vec![hit(103, START_MS)])).expect("flush");
    assert_eq!(store.dedupe(key(103)).expect("hit"), Some(hit(103, START_MS).1));
    assert_eq!(all(&*store, chat(1)), entries(chat(1), 1..=3));
}
