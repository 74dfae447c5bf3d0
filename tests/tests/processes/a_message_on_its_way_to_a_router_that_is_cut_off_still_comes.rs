//! A router is cut off from the storage-writer, and stays so: whatever was on its way there comes by way of another one, though
//! nobody says anything more.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use client::{Client, Config, Event};
use schema::ids::UserId;
use shardwire_tests::process::cluster::{Cluster, Options, Shape, Way};

const SENDER: u64 = 100;
/// So many that each router has some.
const RECEIVERS: core::ops::RangeInclusive<u64> = 1..=12;

async fn connect(address: String, token: String) -> Client {
    let config = Config { backoff_ms: (50, 500), answer_timeout_ms: 2_000, ..Config::default() };
    Client::builder().config(config).address(address).token(token).connect().await.expect("a first session")
}

/// The next event of a client that is a message from the sender.
async fn message(client: &mut Client) -> String {
    loop {
        if let Event::Entry(entry) = client.next().await.expect("the client goes on")
            && entry.sender().get() == SENDER
        {
            return String::from_utf8_lossy(entry.body()).into_owned();
        }
    }
}

/// One gateway, two routers.
fn started(folder: &Path) -> Cluster {
    let options = Options::of_test(Shape { gateways: 1, routers: 2, writers: 1 }, folder);
    let mut cluster = Cluster::new(&Options { relays: true, ..options }).unwrap();
    cluster.start().unwrap_or_else(|error| panic!("{error}"));
    cluster
}

#[test]
fn what_was_on_its_way_to_a_router_that_is_cut_off_still_comes() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = started(folder.path());
    let address = cluster.natives()[0].to_string();
    let tokens: Vec<String> = RECEIVERS.map(|user| cluster.token(user, 1).unwrap()).collect();
    let from = cluster.token(SENDER, 1).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sender = connect(address.clone(), from).await;
        let mut receivers = Vec::new();
        for token in tokens {
            receivers.push(connect(address.clone(), token).await);
        }
        let all = || RECEIVERS.map(|user| UserId::new(user).unwrap());
        for user in all() {
            sender.send(user, "before").await.unwrap();
        }
        for receiver in &mut receivers {
            assert_eq!(message(receiver).await, "before");
        }
        for (from, to) in [("sw-1", "rt-1"), ("rt-1", "sw-1")] {
            cluster.relays().unwrap().set(from, to, Way { held: true, ..Way::default() });
        }
        for user in all() {
            sender.send(user, "the last").await.unwrap();
        }
        let mut missing: BTreeSet<u64> = RECEIVERS.collect();
        for (receiver, user) in receivers.iter_mut().zip(RECEIVERS) {
            if tokio::time::timeout(Duration::from_secs(20), message(receiver))
                .await
                .is_ok_and(|text| text == "the last")
            {
                missing.remove(&user);
            }
        }
        assert!(missing.is_empty(), "users {missing:?} were left waiting");
    });
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
