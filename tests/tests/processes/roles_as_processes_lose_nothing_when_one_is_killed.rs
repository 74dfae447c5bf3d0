//! Gateways, routers and a writer as processes: kill -9 of each while two users at different gateways chat.

use std::time::Duration;

use shardwire_tests::process::cluster::{Cluster, Options, Shape};
use shardwire_tests::process::{Chatter, Manner};

#[test]
fn roles_as_processes_lose_nothing_when_one_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::of_test(Shape { gateways: 2, routers: 2, writers: 1 }, folder.path());
    let mut cluster = Cluster::new(&options).unwrap();
    cluster.start().unwrap_or_else(|error| panic!("{error}"));
    let chatter = Chatter::start(&cluster, Manner::default());
    chatter.goes_on(&cluster, "before any kill");
    let names: Vec<String> = cluster.nodes().iter().map(|node| node.place().name.clone()).collect();
    for name in &names {
        cluster.node(name).kill9();
        std::thread::sleep(Duration::from_millis(300));
        cluster.node(name).start().unwrap();
        cluster.wait_ready().unwrap_or_else(|error| panic!("after {name} was killed: {error}"));
        chatter.goes_on(&cluster, &format!("after {name} was killed"));
    }
    chatter.end();
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
