//! A gateway is killed and stays in the list of nodes: once no router hears it, routers pass nothing on because of it. One that
//! a single router does not hear is another matter.

use std::time::Duration;

use shardwire_tests::process::cluster::{Cluster, Options, Shape, Way};
use shardwire_tests::process::{Answer, Chatter, Deadline, Manner};

/// Until links of a process that is gone have been found silent, with room.
const SILENT: Duration = Duration::from_millis(2_500);

/// What routers have passed on to each other.
fn passed_on(cluster: &Cluster) -> u64 {
    let routers = cluster.nodes().iter().map(|node| node.place()).filter(|place| place.name.starts_with("rt"));
    let passed = routers.map(|place| {
        let metrics = Answer::get(place.http, "/metrics").unwrap();
        metrics.metric("shardwire_router_passed_on_total").expect("the metric") as u64
    });
    passed.sum()
}

#[test]
fn a_gateway_that_is_down_costs_routers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::of_test(Shape { gateways: 3, routers: 2, writers: 1 }, folder.path());
    let mut cluster = Cluster::new(&Options { relays: true, ..options }).unwrap();
    cluster.start().unwrap_or_else(|error| panic!("{error}"));
    let chatter = Chatter::start(&cluster, Manner::default());
    chatter.goes_on(&cluster, "before");
    cluster.node("gw-3").kill9();
    std::thread::sleep(SILENT);
    let before = passed_on(&cluster);
    chatter.goes_on(&cluster, "with a gateway down");
    assert_eq!(passed_on(&cluster), before, "nobody hears it");
    let held = Way { held: true, ..Way::default() };
    let relays = cluster.relays().expect("relays");
    // The routers of users 1 and 2 are one or two: both ways of the first gateway are cut, one after the other.
    for router in ["rt-1", "rt-2"] {
        relays.set("gw-1", router, held);
        relays.set(router, "gw-1", held);
        std::thread::sleep(SILENT);
        chatter.goes_on(&cluster, &format!("with a gateway cut off from {router}"));
        relays.heal();
        chatter.goes_on(&cluster, &format!("with {router} back"));
    }
    assert!(passed_on(&cluster) > before, "another router hears it");
    let settled = || {
        let before = passed_on(&cluster);
        chatter.goes_on(&cluster, "healed");
        passed_on(&cluster) == before
    };
    assert!(Deadline::after_s(30).wait_until(settled), "and all hear each other again");
    chatter.end();
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
