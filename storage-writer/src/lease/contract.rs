//! What every table of leases must do: [`lease_contract!`](crate::lease_contract) makes a test of each check.

use super::{Epoch, LeaseTable, PartitionRow, TableView, WriterId};

/// Makes a test of every check, each with a fresh table of four partitions from `$table`, an expression that gives an
/// `Arc<dyn LeaseTable>`.
#[macro_export]
macro_rules! lease_contract {
    ($table:expr) => {
        $crate::lease_contract!(@ $table,
            a_new_table_is_free, a_beat_is_raised_by_who_knows_it, the_buried_never_renew,
            of_two_takers_one_gets_it, only_its_owner_gives_a_partition_back, who_is_removed_is_gone,
            takers_at_once_get_each_partition_once,
        );
    };
    (@ $table:expr, $($check:ident,)*) => {
        $(#[test]
        fn $check() {
            $crate::lease::contract::$check(&*$table);
        })*
    };
}

/// A writer of a number.
pub fn writer(number: u64) -> WriterId {
    WriterId { name: format!("writer-{number}"), incarnation: u64::MAX - number }
}

fn read(table: &dyn LeaseTable) -> TableView {
    table.read().expect("the table is read")
}

fn partition(table: &dyn LeaseTable, number: u16) -> PartitionRow {
    read(table).partitions.swap_remove(usize::from(number))
}

#[track_caller]
fn done(result: Result<bool, crate::store::StoreError>) -> bool {
    result.expect("the table answers")
}

/// Nobody is there, and every partition is.
pub fn a_new_table_is_free(table: &dyn LeaseTable) {
    let view = read(table);
    assert!(view.writers.is_empty());
    let free = (0..4).map(|partition| PartitionRow { partition, epoch: Epoch(0), owner: None });
    assert_eq!(view.partitions, free.collect::<Vec<_>>());
}

/// A beat that has been raised since is not raised again.
pub fn a_beat_is_raised_by_who_knows_it(table: &dyn LeaseTable) {
    let (one, two) = (writer(1), writer(2));
    assert!(done(table.enter(&one)) && !done(table.enter(&one)));
    assert!(done(table.enter(&two)));
    assert!(done(table.renew(&one, 1, false)));
    assert!(!done(table.renew(&one, 1, false)), "it is 2");
    assert!(done(table.renew(&one, 2, true)));
    let writers: Vec<_> = read(table).writers.into_iter().map(|row| (row.writer, row.beat, row.leaving)).collect();
    assert_eq!(writers, [(one, 3, true), (two, 1, false)]);
    assert!(!done(table.renew(&writer(3), 1, false)), "it never entered");
    assert_eq!(read(table).writers.len(), 2);
}

/// Nor is a writer buried that has renewed.
pub fn the_buried_never_renew(table: &dyn LeaseTable) {
    let one = writer(1);
    assert!(done(table.enter(&one)) && done(table.renew(&one, 1, false)));
    assert!(!done(table.bury(&one, 1)), "it has renewed since");
    assert!(done(table.bury(&one, 2)) && !done(table.bury(&one, 2)));
    assert!(!done(table.renew(&one, 2, false)) && !done(table.renew(&one, 3, false)));
    assert!(read(table).writers[0].buried);
    assert!(!done(table.bury(&writer(2), 1)), "it never entered");
    assert_eq!(read(table).writers.len(), 1);
}

/// And the epoch rises with every taking.
pub fn of_two_takers_one_gets_it(table: &dyn LeaseTable) {
    let (one, two) = (writer(1), writer(2));
    let seen = partition(table, 3);
    assert!(done(table.take(&seen, &one)));
    assert!(!done(table.take(&seen, &two)));
    let owned = PartitionRow { partition: 3, epoch: Epoch(1), owner: Some(one) };
    assert_eq!(partition(table, 3), owned);
    assert!(done(table.take(&owned, &two)), "from one that is known to be dead");
    assert_eq!(partition(table, 3), PartitionRow { partition: 3, epoch: Epoch(2), owner: Some(two.clone()) });
    assert!(!done(table.take(&owned, &two)));
    assert_eq!(partition(table, 2), PartitionRow { partition: 2, epoch: Epoch(0), owner: None });
}

/// And only once, and only what it owns now.
pub fn only_its_owner_gives_a_partition_back(table: &dyn LeaseTable) {
    let (one, two) = (writer(1), writer(2));
    assert!(done(table.take(&partition(table, 0), &one)));
    assert!(!done(table.release(0, Epoch(1), &two)));
    assert!(!done(table.release(0, Epoch(2), &one)));
    assert!(!done(table.release(1, Epoch(0), &one)), "it is nobody's");
    assert!(done(table.release(0, Epoch(1), &one)));
    assert!(!done(table.release(0, Epoch(1), &one)));
    let free = PartitionRow { partition: 0, epoch: Epoch(1), owner: None };
    assert_eq!(partition(table, 0), free);
    assert!(done(table.take(&free, &two)));
    assert_eq!(partition(table, 0).epoch, Epoch(2));
}

/// And may enter again as itself no sooner than that.
pub fn who_is_removed_is_gone(table: &dyn LeaseTable) {
    let (one, two) = (writer(1), writer(2));
    assert!(done(table.enter(&one)) && done(table.enter(&two)) && done(table.bury(&one, 1)));
    table.remove(&one).expect("removed");
    table.remove(&one).expect("again changes nothing");
    let left: Vec<_> = read(table).writers.into_iter().map(|row| row.writer).collect();
    assert_eq!(left, [two]);
    assert!(!done(table.renew(&one, 1, false)) && !done(table.bury(&one, 1)));
    assert_eq!(read(table).writers.len(), 1);
}

/// Whoever is told that it has one is the only one who is.
pub fn takers_at_once_get_each_partition_once(table: &dyn LeaseTable) {
    let view = read(table);
    let taken: Vec<(u64, u16)> = std::thread::scope(|scope| {
        let take_all = |number: u64| {
            let (view, me) = (&view, writer(number));
            let mine = move || {
                let seen = view.partitions.iter();
                // One whose outcome is not known counts for whoever the table says.
                seen.filter(|seen| table.take(seen, &me).unwrap_or(false))
                    .map(|seen| (number, seen.partition))
                    .collect::<Vec<_>>()
            };
            scope.spawn(mine)
        };
        let threads: Vec<_> = (1..=3).map(take_all).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let after = read(table).partitions;
    for row in &after {
        assert_eq!(row.epoch, Epoch(1), "somebody got it, once");
        let told: Vec<u64> = taken.iter().filter(|(_, at)| *at == row.partition).map(|(number, _)| *number).collect();
        assert!(told.len() <= 1, "partition {} was given to {told:?}", row.partition);
        assert!(told.iter().all(|number| row.owner == Some(writer(*number))), "{row:?} was given to {told:?}");
    }
}
