//! A keyspace that is missing, of another version, another cluster's or kept too thinly: refused with what to do, and left as
//! it was.

use scylla_store::{Migrated, ScyllaStore, SetupError, Writer, migrate};
use storage_writer::folder::FolderId;
use storage_writer::pins::Pins;
use storage_writer::store::SharedStore as _;
use uuid::Uuid;

use super::keyspace::{Keyspace, WRITER};

const OTHER: FolderId = FolderId([9; 16]);

fn refusal(keyspace: &Keyspace) -> SetupError {
    ScyllaStore::open(&keyspace.config, WRITER).map(|_| ()).expect_err("it does not fit")
}

/// All migrations.
const ALL: [&str; 3] = ["1 store", "2 many writers", "3 pinned chats"];

#[test]
fn a_missing_keyspace_is_made_by_migrating_once() {
    let keyspace = Keyspace::named();
    let error = refusal(&keyspace);
    assert!(
        matches!(error, SetupError::NoKeyspace { .. }) && error.to_string().contains("shardwire migrate"),
        "{error}"
    );
    let all = Migrated { made_keyspace: true, applied: ALL.map(str::to_owned).to_vec() };
    assert_eq!(migrate(&keyspace.config, WRITER.cluster, true).expect("looks"), all);
    assert!(matches!(refusal(&keyspace), SetupError::NoKeyspace { .. }), "a check makes nothing");
    assert_eq!(migrate(&keyspace.config, WRITER.cluster, false).expect("migrates"), all);
    drop(keyspace.store());
    for check in [true, false] {
        assert_eq!(migrate(&keyspace.config, WRITER.cluster, check).expect("again"), Migrated::default());
    }
}

#[test]
fn other_versions_are_named() {
    let keyspace = Keyspace::new();
    keyspace.run("INSERT INTO {}.migrations (number, name, checksum) VALUES (99, 'later', 1)", ());
    let error = refusal(&keyspace);
    assert!(matches!(error, SetupError::Newer { found: 99, .. }), "{error}");
    assert!(matches!(migrate(&keyspace.config, WRITER.cluster, false), Err(SetupError::Newer { .. })));
    keyspace.run("DELETE FROM {}.migrations WHERE number = 99", ());
    keyspace.run("INSERT INTO {}.migrations (number, name, checksum) VALUES (1, 'store', 1)", ());
    assert!(matches!(refusal(&keyspace), SetupError::Changed { number: 1, .. }));
    keyspace.run("DELETE FROM {}.migrations WHERE number IN (1, 2, 3)", ());
    let error = refusal(&keyspace);
    assert!(matches!(error, SetupError::Older { found: 0, .. }) && error.to_string().contains("migrate"), "{error}");
    // As after a migration that was cut off: it is applied again.
    let once = migrate(&keyspace.config, WRITER.cluster, false).expect("migrates");
    assert_eq!(once.applied, ALL);
    drop(keyspace.store());
}

#[test]
fn a_shared_keyspace_of_the_version_before_is_brought_up_to_date_and_keeps_its_partitions() {
    let keyspace = Keyspace::shared(4);
    keyspace.run("DELETE FROM {}.migrations WHERE number = 3", ());
    keyspace.run("DROP TABLE {}.pinned_chats", ());
    let error = ScyllaStore::open_shared(&keyspace.config).map(drop).expect_err("a table is missing");
    assert!(matches!(error, SetupError::Older { found: 2, .. }) && error.to_string().contains("migrate"), "{error}");
    assert_eq!(migrate(&keyspace.config, WRITER.cluster, true).expect("looks").applied, ALL[2..]);
    assert_eq!(migrate(&keyspace.config, WRITER.cluster, false).expect("migrates").applied, ALL[2..]);
    let store = keyspace.writer();
    assert_eq!((store.sharing().partitions, store.pins(true).expect("read")), (4, Pins::default()));
}

#[test]
fn a_keyspace_of_somebody_else_is_left_alone() {
    let keyspace = Keyspace::new();
    let error =
        ScyllaStore::open(&keyspace.config, Writer { cluster: OTHER, ..WRITER }).map(|_| ()).expect_err("not its own");
    assert!(matches!(error, SetupError::OtherCluster { expected: OTHER, .. }), "{error}");
    assert!(error.to_string().contains(&OTHER.to_string()) && error.to_string().contains(&WRITER.cluster.to_string()));
    assert!(matches!(migrate(&keyspace.config, OTHER, false), Err(SetupError::OtherCluster { .. })));
    let keyspace = Keyspace::named();
    let make = "CREATE KEYSPACE {} WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}";
    keyspace.run(&make.replacen("{}", &keyspace.config.keyspace, 1), ());
    keyspace.run("CREATE TABLE {}.theirs (id int PRIMARY KEY)", ());
    assert!(matches!(migrate(&keyspace.config, WRITER.cluster, false), Err(SetupError::Foreign { .. })));
    assert!(matches!(refusal(&keyspace), SetupError::Foreign { .. }));
}

#[test]
fn one_process_migrates_at_a_time() {
    let keyspace = Keyspace::new();
    keyspace.run("DELETE FROM {}.migrations WHERE number = 1", ());
    let holder = (Uuid::from_bytes([1; 16]),);
    keyspace.run("INSERT INTO {}.locks (name, holder) VALUES ('migrate', ?) USING TTL 120", holder);
    let error = migrate(&keyspace.config, WRITER.cluster, false).expect_err("locked");
    assert!(matches!(error, SetupError::Locked { .. }) && error.to_string().contains("120 s"), "{error}");
    keyspace.run("DELETE FROM {}.locks WHERE name = 'migrate'", ());
    migrate(&keyspace.config, WRITER.cluster, false).expect("free again");
}

#[test]
fn a_cluster_that_cannot_keep_what_is_asked_is_refused() {
    let mut keyspace = Keyspace::new();
    let config = keyspace.config.clone();
    keyspace.config.replication = [("datacenter1".to_owned(), 3)].into();
    let error = refusal(&keyspace);
    assert!(matches!(error, SetupError::TooFewNodes { wanted: 3, found: 1, .. }), "{error}");
    assert!(matches!(migrate(&keyspace.config, WRITER.cluster, false), Err(SetupError::TooFewNodes { .. })));
    keyspace.config.replication = [("dc-west".to_owned(), 1)].into();
    keyspace.config.datacenter = "dc-west".to_owned();
    let error = refusal(&keyspace);
    assert!(matches!(&error, SetupError::NoSuchDatacenter { found, .. } if found.contains("datacenter1")), "{error}");
    keyspace.config = config;
    // Port 1 of loopback is nobody's.
    keyspace.config.nodes = vec!["127.0.0.1:1".to_owned()];
    let error = refusal(&keyspace);
    assert!(matches!(&error, SetupError::Unreachable { nodes, .. } if nodes == "127.0.0.1:1"), "{error}");
    assert!(error.to_string().contains("store.nodes"), "{error}");
}

#[test]
fn a_keyspace_is_one_writers_or_shared_as_it_was_made() {
    let mut keyspace = Keyspace::shared(4);
    drop(keyspace.writer());
    let error = refusal(&keyspace).to_string();
    assert!(error.contains("shared in 4 partitions") && error.contains("store.ack"), "{error}");
    keyspace.config.partitions = Some(8);
    let refused = ScyllaStore::open_shared(&keyspace.config).map(|_| ()).expect_err("made for 4");
    assert!(matches!(&refused, SetupError::Sharing { .. }), "{refused}");
    assert!(matches!(migrate(&keyspace.config, WRITER.cluster, false), Err(SetupError::Sharing { .. })));
    keyspace.config.partitions = Some(129);
    assert!(matches!(migrate(&keyspace.config, OTHER, true), Err(SetupError::Partitions { max: 128, .. })));
    keyspace.config.partitions = Some(4);
    assert_eq!(migrate(&keyspace.config, OTHER, false).expect("anybody may look"), Migrated::default());

    // One from before there were several writers stays one writer's, also while the second migration is missing.
    let mut keyspace = Keyspace::new();
    keyspace.run("DELETE FROM {}.migrations WHERE number = 2", ());
    keyspace.run("DROP TABLE {}.sharing", ());
    keyspace.config.partitions = Some(4);
    assert!(matches!(migrate(&keyspace.config, WRITER.cluster, false), Err(SetupError::Sharing { .. })));
    keyspace.config.partitions = None;
    assert_eq!(migrate(&keyspace.config, WRITER.cluster, false).expect("migrates").applied, ["2 many writers"]);
    keyspace.config.partitions = Some(4);
    assert!(matches!(migrate(&keyspace.config, WRITER.cluster, false), Err(SetupError::Sharing { .. })));
    keyspace.config.partitions = None;
    drop(keyspace.store());
}
