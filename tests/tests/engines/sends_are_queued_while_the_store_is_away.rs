//! Two writers on one Cassandra node under a chat: the node is frozen for a while, then killed; one of the writers is killed
//! meanwhile, and the node once more while what was queued is on its way into it.

use std::time::Duration;

use shardwire_tests::process::cassandra::Signal;
use shardwire_tests::process::cluster::{Cluster, Options, Shape};
use shardwire_tests::process::{CassandraCluster, Chatter, Deadline, Manner};

/// Their chats are in several of the 16 partitions.
const MANNER: Manner = Manner { pairs: 6, every: Duration::from_millis(100), answer_timeout_ms: 10_000, between: 10 };
/// How long the node is away, s: longer than leases last, and than the driver waits for an answer.
const AWAY_S: u64 = 20;
/// What may take so long, may, s.
const PATIENCE_S: u64 = 60;

fn wait_for(cluster: &mut Cluster, name: &str, what: &str, holds: impl Fn(&mut Cluster) -> bool) {
    let held = Deadline::after_s(PATIENCE_S).wait_until(|| holds(cluster));
    assert!(held, "{name}: {what}\n{}", cluster.node(name).log());
}

fn is_stored(cluster: &mut Cluster) {
    for name in ["sw-1", "sw-2"] {
        wait_for(cluster, name, "all that is queued goes", |cluster| cluster.node(name).metric("spool_waiting") == 0);
        assert_eq!(cluster.node(name).metric("store_breaker"), 0);
        assert_eq!(cluster.node(name).metric("spool_dead_total"), 0, "{}", cluster.node(name).log());
    }
}

#[test]
fn what_was_acknowledged_or_queued_is_there_once_and_in_order() {
    let mut cassandra = CassandraCluster::start(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut options = Options::of_test(Shape { gateways: 2, routers: 1, writers: 2 }, folder.path());
    options.config.push_str(&cassandra.shared_store("queued_sends"));
    let mut cluster = Cluster::new(&options).expect("a folder");
    cluster.migrate().unwrap_or_else(|error| panic!("{error}"));
    cluster.start().unwrap_or_else(|error| panic!("{error}"));
    let chatter = Chatter::start(&cluster, MANNER);
    chatter.goes_on(&cluster, "before anything happens");

    let away = Deadline::after_s(AWAY_S);
    cassandra.signal(0, Signal::STOP);
    chatter.is_queued(&cluster, 20);
    std::thread::sleep(away.left());
    cassandra.signal(0, Signal::CONT);
    chatter.goes_on(&cluster, "after the store was frozen");
    is_stored(&mut cluster);

    let away = Deadline::after_s(AWAY_S);
    cassandra.kill(0);
    chatter.is_queued(&cluster, 20);
    for name in ["sw-1", "sw-2"] {
        assert!(cluster.node(name).metric("spool_waiting") > 0, "{name} has a part of them");
    }
    assert!(cluster.node("sw-2").metric("store_breaker") > 0, "the way to the store is open");
    // A process that is killed keeps what it has said that it has.
    cluster.node("sw-1").kill9();
    std::thread::sleep(away.left());
    let settled = cluster.node("sw-2").metric("spool_settled_total");
    cassandra.start_again(0);
    wait_for(&mut cluster, "sw-2", "the first of what is queued goes", |cluster| {
        cluster.node("sw-2").metric("spool_settled_total") > settled
    });
    cassandra.kill(0);
    wait_for(&mut cluster, "sw-2", "the store is away again", |cluster| {
        cluster.node("sw-2").metric("store_breaker") > 0
    });
    cassandra.start_again(0);
    cluster.node("sw-1").start().unwrap_or_else(|error| panic!("{error}"));
    chatter.goes_on(&cluster, "after the store came back");
    is_stored(&mut cluster);
    if let Err(why) = chatter.finish() {
        let logs: String =
            cluster.nodes().iter().map(|node| format!("{}:\n{}", node.place().name, node.log())).collect();
        panic!("{why}\n{logs}");
    }
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
