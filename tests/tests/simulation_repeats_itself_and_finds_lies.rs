//! A seed means one run, and the simulator is not blind: a disk or a store that lies is found out.

use shardwire_tests::sim::case::Case;
use shardwire_tests::sim::plan::Lie;
use shardwire_tests::sim::shrink::{TRIES, shrink};
use shardwire_tests::sim::{Failure, quiet_panics, run_case, run_seed};

#[test]
fn a_seed_gives_the_same_events_again_and_another_seed_gives_others() {
    let runs: Vec<_> = [7, 7, 8].map(|seed| run_seed(seed, Lie::None, 40)).into();
    for run in &runs {
        let failure = run.failure.as_ref().map(|failure| format!("{}\n{}", failure.what, failure.tail));
        assert!(failure.is_none(), "seed {}: {}", run.seed, failure.unwrap_or_default());
        assert!(run.counts.get("operations") >= 1_000, "{} operations", run.counts.get("operations"));
        assert!(run.counts.get("faults") >= 10, "{} faults", run.counts.get("faults"));
    }
    assert_eq!((runs[0].hash, runs[0].events), (runs[1].hash, runs[1].events));
    assert_eq!(runs[0].counts, runs[1].counts);
    assert_ne!(runs[0].hash, runs[2].hash);
}

#[test]
fn a_disk_that_says_durable_and_is_not_is_found_out() {
    quiet_panics();
    let found = (1..=4).filter(|&seed| run_seed(seed, Lie::Sync, 1).failure.is_some()).count();
    assert_eq!(found, 4, "every world loses what was acknowledged");
}

/// One of the first `seeds` worlds breaks one of these invariants.
fn is_found(lie: Lie, seeds: u64, invariants: &[&str]) {
    quiet_panics();
    let failures = (1..=seeds).filter_map(|seed| run_seed(seed, lie, 1).failure);
    let mut others = Vec::new();
    for Failure { what, .. } in failures {
        if invariants.iter().any(|name| what.starts_with(&format!("invariant {name}:"))) {
            return;
        }
        others.push(what);
    }
    panic!("{seeds} seeds with {lie:?} found no {invariants:?}, but {others:?}");
}

#[test]
fn a_store_that_forgets_what_it_answered_is_found_out() {
    is_found(Lie::Dedupe, 4, &["idempotent"]);
}

#[test]
fn a_store_that_keeps_what_was_edited_or_deleted_is_found_out() {
    is_found(Lie::Amendments, 4, &["amendments"]);
}

#[test]
fn a_store_that_forgets_who_left_a_group_is_found_out() {
    is_found(Lie::Members, 8, &["membership", "spans", "answers"]);
}

#[test]
fn a_store_that_forgets_what_was_pinned_is_found_out() {
    is_found(Lie::Settings, 8, &["account"]);
}

#[test]
fn a_store_that_forgets_what_was_hidden_is_found_out() {
    is_found(Lie::Hidden, 8, &["account"]);
}

#[test]
fn a_store_that_lets_in_whom_their_user_revoked_is_found_out() {
    is_found(Lie::Revoked, 8, &["account"]);
}

#[test]
fn a_store_that_forgets_who_tells_nobody_what_they_read_is_found_out() {
    is_found(Lie::Private, 8, &["secrets", "account"]);
}

#[test]
fn what_fails_is_made_smaller_and_still_fails() {
    quiet_panics();
    let whole = Case::whole(1, Lie::Sync);
    let outcome = run_case(&whole, 1);
    let (events, operations) = (outcome.events, outcome.operations);
    assert!(outcome.failure.is_some(), "every world loses what was acknowledged");
    let shrunk = shrink(&whole, outcome, 1);
    let least = &shrunk.case;
    assert!(shrunk.tries <= TRIES && !least.is_whole(), "{least} after {} tries", shrunk.tries);
    assert!(least.operations.is_some_and(|fewer| fewer < operations) && !least.without.is_empty(), "{least}");
    let again = run_case(least, 1);
    assert!(again.failure.is_some() && again.events < events / 2, "{least}: {} of {events} events", again.events);
    assert_eq!((again.hash, again.events), (shrunk.outcome.hash, shrunk.outcome.events), "{least} repeats itself");
}
