//! Whether somebody else writes to the keyspace of a process that is in no list of nodes.
//!
//! Two writers that do not know each other would share its partitions, and each would wait for those of the other. So whoever
//! is alone looks before it begins, and goes on looking. What must stay true: a former life of this process, which may stand in
//! the table for some seconds, is nobody else; of two that are alone one stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use miette::IntoDiagnostic as _;
use storage_writer::folder::FolderId;
use storage_writer::lease::{LeaseConfig, LeaseTable, TableView, WriterId};

use super::keeper::InTable;
use super::place::Place;
use crate::cluster::ClusterError;

/// How often the table is looked at: more seldom than whoever lives raises its beat.
const LOOK: Duration = Duration::from_secs(2);
/// What the names of writers begin with that are in no list.
const ALONE: &str = "in no list, folder ";

/// The name of a writer in no list: its data folder's, which nobody else has open.
pub(super) fn alone(folder: FolderId) -> String {
    format!("{ALONE}{folder}")
}

/// Before this process begins: where it is alone and its store could be shared, looks whether it is. Blocks: for two seconds if
/// there may be another writer.
///
/// # Errors
/// Another one lives; or the table does not answer.
pub(super) fn check(table: Option<&dyn LeaseTable>, place: &Place) -> miette::Result<()> {
    table.filter(|_| place.is_alone()).map_or(Ok(()), |table| look_around(table, &place.name()))
}

fn look_around(table: &dyn LeaseTable, name: &str) -> miette::Result<()> {
    let (me, mut beats) = (WriterId { name: name.to_owned(), incarnation: 0 }, Beats::default());
    beats.look(&me, &table.read().into_diagnostic()?);
    if beats.0.keys().all(|writer| writer.name == name) {
        return Ok(());
    }
    std::thread::sleep(LOOK.max(Duration::from_millis(2 * LeaseConfig::default().renew_ms)));
    match beats.look(&me, &table.read().into_diagnostic()?) {
        Some(writer) => Err(ClusterError::Stranger { writer: writer.name }.into()),
        None => Ok(()),
    }
}

/// Resolves when a writer has been seen to live to which this one has to give way: with its name. Never for whoever may have
/// company.
pub(super) async fn stranger(lonely: Option<InTable>) -> String {
    let Some((table, me)) = lonely else { return std::future::pending().await };
    let mut beats = Beats::default();
    loop {
        let table = Arc::clone(&table);
        // A table that does not answer is the keeper's to complain about.
        if let Ok(Ok(view)) = tokio::task::spawn_blocking(move || table.read()).await
            && let Some(writer) = beats.look(&me, &view).filter(|writer| gives_way(&me, writer))
        {
            return writer.name;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether one who is alone ends for another: for all who are in a list, and for one of two that both began unseen.
fn gives_way(me: &WriterId, other: &WriterId) -> bool {
    !other.name.starts_with(ALONE) || other < me
}

/// The beats of the others, as they were last seen.
#[derive(Default)]
struct Beats(BTreeMap<WriterId, u64>);

impl Beats {
    /// The first of the others whose beat has risen since the last look.
    fn look(&mut self, me: &WriterId, view: &TableView) -> Option<WriterId> {
        // One that was given up begins again under the next incarnation.
        let is_me =
            |writer: &WriterId| writer.name == me.name && writer.incarnation >= me.incarnation && me.incarnation > 0;
        let others = view.writers.iter().filter(|row| !row.buried && !is_me(&row.writer));
        let beats: BTreeMap<_, _> = others.map(|row| (row.writer.clone(), row.beat)).collect();
        let rose = |(writer, beat): (&WriterId, &u64)| self.0.get(writer).is_some_and(|before| before < beat);
        let found = beats.iter().find(|&(writer, beat)| rose((writer, beat))).map(|(writer, _)| writer.clone());
        self.0 = beats;
        found
    }
}

#[cfg(test)]
mod tests {
    use storage_writer::lease::MemoryLeases;

    use super::*;

    fn writer(name: &str, incarnation: u64) -> WriterId {
        WriterId { name: name.to_owned(), incarnation }
    }

    #[test]
    fn who_lives_is_found_and_who_has_died_or_is_this_process_is_not() {
        let table = MemoryLeases::new(4);
        let (me, again, before, other) = (writer("a", 7), writer("a", 8), writer("a", 3), writer("b", 9));
        let mut beats = Beats::default();
        let mut look = |table: &MemoryLeases| beats.look(&me, &table.read().unwrap());
        for one in [&me, &before, &other] {
            assert!(table.enter(one).unwrap());
        }
        assert_eq!(look(&table), None, "nobody has been seen to live");
        assert!(table.renew(&me, 1, false).unwrap());
        assert_eq!(look(&table), None, "this process does");
        assert!(table.enter(&again).unwrap() && table.renew(&again, 1, false).unwrap());
        assert_eq!(look(&table), None);
        assert!(table.renew(&again, 2, false).unwrap());
        assert_eq!(look(&table), None, "also after it was given up");
        assert!(table.renew(&other, 1, false).unwrap());
        assert_eq!(look(&table), Some(other.clone()));
        assert_eq!(look(&table), None, "it does not go on");
        // A copy of the folder has the same name.
        assert!(table.renew(&before, 1, false).unwrap());
        assert_eq!(look(&table), Some(before));
        assert!(table.renew(&other, 2, false).unwrap() && table.bury(&other, 3).unwrap());
        assert_eq!(look(&table), None, "given up");
    }

    #[test]
    fn of_two_that_are_alone_one_stays_and_none_beside_those_of_a_list() {
        let name = |n: u8| alone(FolderId([n; 16]));
        let (one, two, copy) = (writer(&name(1), 9), writer(&name(2), 3), writer(&name(2), 4));
        for (a, b) in [(&one, &two), (&two, &copy), (&one, &copy)] {
            assert!(gives_way(a, b) != gives_way(b, a), "{a:?} {b:?}");
        }
        assert!(gives_way(&one, &writer("sw-1", 1)) && gives_way(&one, &writer("a", 1)));
    }

    #[test]
    fn a_start_without_anybody_in_the_table_does_not_wait() {
        let table = MemoryLeases::new(4);
        assert!(look_around(&table, "a").is_ok());
        assert!(table.enter(&writer("a", 5)).unwrap(), "a former life");
        assert!(look_around(&table, "a").is_ok());
    }
}
