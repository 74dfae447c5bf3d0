//! Each node on a host of its own: packets between two of them vanish, in both directions or in one, so that neither is told
//! that the other is out of reach; after some seconds they go through again.

use std::time::Duration;

use shardwire_tests::process::cluster::{Cluster, Options, Shape};
use shardwire_tests::process::{Chatter, Manner};

/// Longer than it takes links to find each other silent, and routers to forget a gateway.
const FOR: Duration = Duration::from_millis(2_500);

#[test]
fn hosts_whose_packets_vanish_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::of_test(Shape { gateways: 2, routers: 2, writers: 1 }, folder.path());
    let mut cluster = Cluster::on_hosts(&options).unwrap_or_else(|error| panic!("{error}"));
    cluster.start().unwrap_or_else(|error| panic!("{error}"));
    let chatter = Chatter::start(&cluster, Manner::default());
    chatter.goes_on(&cluster, "before any partition");
    for (one, other) in [("gw-1", "sw-1"), ("gw-1", "rt-1"), ("rt-1", "sw-1")] {
        for ways in [&[(one, other), (other, one)][..], &[(one, other)], &[(other, one)]] {
            ways.iter().for_each(|(from, to)| cluster.cut(from, to).unwrap());
            std::thread::sleep(FOR);
            ways.iter().for_each(|(from, to)| cluster.mend(from, to).unwrap());
            chatter.goes_on(&cluster, &format!("after packets vanished {ways:?}"));
        }
    }
    cluster.wait_ready().unwrap_or_else(|error| panic!("{error}"));
    chatter.end();
    // Each partition was one: links were found silent, not closed.
    for name in ["gw-1", "rt-1", "sw-1"] {
        let log = cluster.node(name).log();
        assert!(log.contains("Silent") || log.contains("Stuck"), "{name}:\n{log}");
    }
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
