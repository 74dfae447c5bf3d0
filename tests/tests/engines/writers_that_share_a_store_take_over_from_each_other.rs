//! Two writers on one Cassandra node: one is killed, one is stopped in order, one comes back, while pairs of users chat.

use std::process::Command;
use std::time::Duration;

use shardwire_tests::process::cluster::{Cluster, Options, Shape};
use shardwire_tests::process::{CassandraCluster, Chatter, Deadline, Manner, binary};

/// Their chats and accounts are in most of the 16 partitions.
const MANNER: Manner = Manner { pairs: 6, every: Duration::from_millis(50), answer_timeout_ms: 2_000, between: 10 };
const WRITERS: [&str; 2] = ["sw-1", "sw-2"];

/// How many partitions a writer holds, as its metrics say.
fn held(cluster: &mut Cluster, name: &str) -> usize {
    let metrics = cluster.node(name).metrics();
    let holds = |line: &&str| line.starts_with("shardwire_storage_epoch{") && !line.ends_with(" 0");
    metrics.lines().filter(holds).count()
}

fn wait_until_held(cluster: &mut Cluster, what: &str, holds: impl Fn([usize; 2]) -> bool) {
    let mut last = [0; 2];
    let reached = Deadline::after_s(60).wait_until(|| {
        last = WRITERS.map(|name| held(cluster, name));
        holds(last)
    });
    assert!(reached, "{what}: {last:?} are held");
}

/// What all gateways count under a name.
fn at_gateways(cluster: &mut Cluster, name: &str) -> u64 {
    ["gw-1", "gw-2"].map(|gateway| cluster.node(gateway).metric(name)).iter().sum()
}

#[test]
fn writers_that_share_a_store_take_over_from_each_other() {
    let cassandra = CassandraCluster::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shape = Shape { gateways: 2, routers: 2, writers: 2 };
    let mut options = Options::of_test(shape, folder.path());

    // Whoever does not say that the store is shared is told, before anything starts.
    let mut alone = Cluster::new(&options).expect("a folder");
    let refused = alone.node("sw-1").start_in_vain(&[]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && text.contains("several storage-writers") && text.contains("store.ack"),
        "{text}"
    );

    options.config.push_str(&cassandra.shared_store("two_writers"));
    let mut cluster = Cluster::new(&options).expect("a folder");
    cluster.migrate().unwrap_or_else(|error| panic!("{error}"));
    cluster.start().unwrap_or_else(|error| panic!("{error}"));
    wait_until_held(&mut cluster, "both have their part", |held| {
        held.iter().sum::<usize>() == 16 && !held.contains(&0)
    });
    let chatter = Chatter::start(&cluster, MANNER);
    chatter.goes_on(&cluster, "before anything happens");

    // In order: the others have everything at once, and no client hears of it.
    let ended = |cluster: &mut Cluster| at_gateways(cluster, "gateway_sent_back_total");
    let (before, refused) = (ended(&mut cluster), at_gateways(&mut cluster, "gateway_refused_by_owner_total"));
    cluster.node("sw-2").terminate();
    cluster.node("sw-2").wait_for_the_end(20).unwrap_or_else(|error| panic!("{error}"));
    chatter.goes_on(&cluster, "after one was stopped in order");
    assert_eq!(held(&mut cluster, "sw-1"), 16);
    assert_eq!(ended(&mut cluster), before, "no session ended");
    assert_eq!(at_gateways(&mut cluster, "gateway_refused_by_owner_total"), refused, "nothing was refused");

    // It comes back, and gets its part again.
    cluster.node("sw-2").start().unwrap_or_else(|error| panic!("{error}"));
    wait_until_held(&mut cluster, "both have their part again", |held| held.iter().all(|&held| held > 4));
    chatter.goes_on(&cluster, "after it came back");
    let output =
        Command::new(binary("shardwire")).args(["status", "--cluster", "--nodes"]).arg(cluster.list()).output();
    let text = String::from_utf8_lossy(&output.expect("status runs").stdout).into_owned();
    assert!(WRITERS.iter().all(|name| text.contains(&format!("{name} owns partitions (chats) "))), "{text}");

    // Killed: the other takes over when the lease is over.
    cluster.node("sw-1").kill9();
    let reached = Deadline::after_s(60).wait_until(|| held(&mut cluster, "sw-2") == 16);
    assert!(reached, "the other has taken over\n{}", cluster.node("sw-2").log());
    chatter.goes_on(&cluster, "after one was killed");
    chatter.end();
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
