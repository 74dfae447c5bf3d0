//! The only router is killed, and started again while the gateway of most sessions is frozen: it knows them from Redis, pushes
//! to them before anybody has registered again, and once the gateway goes on, all is as it was.

use std::path::Path;
use std::time::Duration;

use client::{Client, Config, Event};
use schema::ids::UserId;
use shardwire_tests::process::cluster::{Cluster, Options, Shape};
use shardwire_tests::process::{Answer, Deadline, Redis, Signal};

const SENDER: u64 = 100;
const RECEIVERS: core::ops::RangeInclusive<u64> = 1..=8;
const PATIENCE_S: u64 = 30;

async fn connect(address: String, token: String) -> Client {
    let config = Config { backoff_ms: (50, 500), answer_timeout_ms: 20_000, ..Config::default() };
    Client::builder().config(config).address(address).token(token).connect().await.expect("a first session")
}

fn started(folder: &Path, redis: &Redis) -> Cluster {
    let options = Options::of_test(Shape { gateways: 2, routers: 1, writers: 1 }, folder);
    let config = format!("{}{}", options.config, redis.config());
    let mut cluster = Cluster::new(&Options { config, ..options }).unwrap();
    cluster.start().unwrap_or_else(|error| panic!("{error}"));
    cluster
}

/// A router's metrics, as far as it serves them.
fn metric(cluster: &mut Cluster, name: &str) -> u64 {
    let http = cluster.node("rt-1").place().http;
    let answer = Answer::get(http, "/metrics").ok();
    answer.and_then(|answer| answer.metric(&format!("shardwire_{name}"))).unwrap_or(0.0) as u64
}

/// Everything from the sender, up to the last.
async fn numbers(client: &mut Client, last: u64) -> Vec<u64> {
    let mut got = Vec::new();
    while got.last() != Some(&last) {
        if let Event::Entry(entry) = client.next().await.expect("the client goes on") {
            got.push(std::str::from_utf8(entry.body()).unwrap().parse().unwrap());
        }
    }
    got
}

#[test]
fn a_killed_router_knows_its_sessions_when_it_is_back() {
    let (folder, redis) = (tempfile::tempdir().unwrap(), Redis::single());
    let mut cluster = started(folder.path(), &redis);
    let [first, second] = [0, 1].map(|gateway| cluster.natives()[gateway].to_string());
    let tokens: Vec<String> = RECEIVERS.map(|user| cluster.token(user, 1).unwrap()).collect();
    let from = cluster.token(SENDER, 1).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sender = connect(second, from).await;
        let mut receivers = Vec::new();
        for token in tokens {
            receivers.push(connect(first.clone(), token).await);
        }
        let all = RECEIVERS.count() as u64;
        let noted =
            || RECEIVERS.clone().all(|user| redis.say(&["EXISTS", &format!("user:{{{user}}}:connection")]) == "1");
        assert!(Deadline::after_s(PATIENCE_S).wait_until(noted), "all are in Redis");

        cluster.node("gw-1").signal(Signal::STOP);
        cluster.node("rt-1").kill9();
        cluster.node("rt-1").start().unwrap();
        // Pushes come as soon as the writer finds the router.
        let (mut sent, deadline) = (0, Deadline::after_s(PATIENCE_S));
        let mut routed = 0;
        while routed == 0 && !deadline.has_passed() {
            for user in RECEIVERS {
                sender.send(UserId::new(user).unwrap(), sent.to_string()).await.unwrap();
            }
            sent += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
            routed = metric(&mut cluster, "router_deliveries_total");
        }
        assert!(metric(&mut cluster, "router_sessions") <= 1, "none of the frozen gateway's can have registered");
        assert!(routed > 0, "nobody was known:\n{}", cluster.node("rt-1").log());
        assert!(metric(&mut cluster, "directory_read_back_total") >= all);

        cluster.node("gw-1").signal(Signal::CONT);
        let registered = || metric(&mut cluster, "router_sessions") == all + 1;
        assert!(Deadline::after_s(PATIENCE_S).wait_until(registered), "all register again");
        let settled = || metric(&mut cluster, "directory_unconfirmed") == 0;
        assert!(Deadline::after_s(PATIENCE_S).wait_until(settled), "nothing is left of what was read back");
        for (receiver, user) in receivers.iter_mut().zip(RECEIVERS) {
            let got = tokio::time::timeout(Duration::from_secs(PATIENCE_S), numbers(receiver, sent - 1)).await;
            let expected: Vec<u64> = (0..sent).collect();
            assert_eq!(got.ok(), Some(expected), "user {user} got everything once and in order");
        }
    });
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
