//! A seed means one run, and the simulator is not blind: a disk or a store that lies is found out.

use shardwire_tests::sim::case::Case;
use shardwire_tests::sim::plan::Lie;
use shardwire_tests::sim::shrink::{TRIES, shrink};
use shardwire_tests::sim::{quiet_panics, run_case, run_seed};

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

#[test]
fn a_store_that_forgets_what_it_answered_is_found_out() {
    quiet_panics();
    let failures: Vec<_> = (1..=4).filter_map(|seed| run_seed(seed, Lie::Dedupe, 1).failure).collect();
    assert!(failures.iter().any(|failure| failure.what.contains("invariant idempotent")), "{} failed", failures.len());
}

#[test]
fn a_store_that_keeps_what_was_edited_or_deleted_is_found_out() {
    quiet_panics();
    let failures: Vec<_> = (1..=4).filter_map(|seed| run_seed(seed, Lie::Amendments, 1).failure).collect();
    let found = failures.iter().filter(|failure| failure.what.contains("invariant amendments")).count();
    assert!(found > 0, "{} failed", failures.len());
}

#[test]
fn a_store_that_forgets_who_left_a_group_is_found_out() {
    quiet_panics();
    let failures: Vec<_> = (1..=8).filter_map(|seed| run_seed(seed, Lie::Members, 1).failure).collect();
    let found =
        |what: &str| ["membership", "spans", "answers"].iter().any(|name| what.contains(&format!("invariant {name}")));
    assert!(failures.iter().any(|failure| found(&failure.what)), "{} failed", failures.len());
}

#[test]
fn a_store_that_forgets_what_accounts_say_is_found_out() {
    quiet_panics();
    let failures: Vec<_> = (1..=8).filter_map(|seed| run_seed(seed, Lie::Account, 1).failure).collect();
    let found = failures.iter().filter(|failure| failure.what.contains("invariant account")).count();
    assert!(found > 0, "{} failed", failures.len());
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
