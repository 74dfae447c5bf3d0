//! A chat's partition is moved from one writer to the other and back on an operator's command, and its writers stop in order:
//! nothing is lost, doubled or reordered, and no session ends. How long it stands still is measured by `cargo xtask moves`.

use std::process::Command;

use shardwire_tests::moves::{self, Options};
use shardwire_tests::process::cluster::{Cluster, Options as ClusterOptions, Shape};
use shardwire_tests::process::{CassandraCluster, Deadline, binary};

#[test]
fn a_chat_goes_on_whatever_writer_has_its_partition() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = Options {
        folder: folder.path().to_owned(),
        program: binary("shardwire"),
        guard: binary("loadgen"),
        moves: 3,
        stops: 1,
        kills: 0,
        rate: 50,
    };
    let figures = moves::run(CassandraCluster::shared(), &options).unwrap_or_else(|error| panic!("{error}"));
    println!("{figures}");
    assert_eq!((figures.moved.len(), figures.stopped.len()), (3, 1));
    assert_eq!((figures.connects, figures.connects_over_stops), (0, 0), "no session ended");
    assert!(figures.read_ahead >= 3, "each was read ahead: {}", figures.read_ahead);
    assert!(figures.messages > 100);
}

#[test]
fn a_move_that_cannot_be_is_refused_and_says_why() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shape = Shape { gateways: 1, routers: 1, writers: 1 };
    let mut options = ClusterOptions::of_test(shape, folder.path());
    options.config.push_str(&CassandraCluster::shared().shared_store("moves_in_vain"));
    let mut cluster = Cluster::new(&options).expect("a folder");
    cluster.migrate().and_then(|()| cluster.start()).unwrap_or_else(|error| panic!("{error}"));
    let held = "shardwire_storage_epoch{partition=\"15\"} 1";
    let has_all = Deadline::after_s(60).wait_until(|| cluster.node("sw-1").metrics().contains(held));
    assert!(has_all, "{}", cluster.node("sw-1").log());
    let mut refused = |node: &str, partition: &str, to: &str, why: &str| {
        let mut command = Command::new(binary("shardwire"));
        command.args(["partitions", "move", partition, "--to", to, "--data"]).arg(cluster.node(node).data());
        let said = command.output().expect("the command runs");
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(!said.status.success() && text.contains(why), "{text}");
    };
    refused("sw-1", "3", "sw-1", "sw-1 is this writer");
    refused("sw-1", "3", "sw-2", "sw-2 is no writer that takes partitions");
    refused("sw-1", "16", "sw-2", "this writer does not hold partition 16");
    refused("gw-1", "3", "sw-1", "it is no storage-writer that shares its store");
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
