//! Redis is killed, frozen and started again, or loses a primary, while people chat and come and go: nobody notices, and in the
//! end it holds everybody again.

use std::path::Path;
use std::time::Duration;

use shardwire_tests::process::cluster::{Cluster, Options, Shape};
use shardwire_tests::process::{Answer, Chatter, Deadline, Manner, Native, Redis, Signal};

/// Those who chat.
const TALKERS: [u64; 2] = [1, 2];
/// Users besides those who chat.
const SILENT: core::ops::Range<u64> = 100..160;
const PATIENCE_S: u64 = 30;
/// So slow to give an answer up that a busy host disturbs nobody.
const MANNER: Manner = Manner { pairs: 1, every: Duration::from_millis(20), answer_timeout_ms: 5_000, between: 15 };

fn started(folder: &Path, redis: &Redis) -> Cluster {
    let options = Options::of_test(Shape { gateways: 2, routers: 2, writers: 1 }, folder);
    let config = format!("{}{}", options.config, redis.config());
    let mut cluster = Cluster::new(&Options { config, ..options }).unwrap();
    cluster.start().unwrap_or_else(|error| panic!("{error}"));
    cluster
}

/// A metric's sum over both routers.
fn of_routers(cluster: &mut Cluster, name: &str) -> f64 {
    let of = |node: &str| {
        let http = cluster.node(node).place().http;
        Answer::get(http, "/metrics").ok()?.metric(&format!("shardwire_{name}"))
    };
    ["rt-1", "rt-2"].into_iter().filter_map(of).sum()
}

fn sessions(cluster: &Cluster, users: core::ops::Range<u64>) -> Vec<Native> {
    let at = cluster.natives();
    let session = |user: u64| {
        let token = cluster.token(user, 1).unwrap();
        Native::login(at[(user % 2) as usize], &token).expect("a session")
    };
    users.map(session).collect()
}

/// Who of all that are connected is not in Redis.
fn missing(redis: &Redis, users: &[u64]) -> Vec<u64> {
    let is_there = |user: &u64| {
        let keys = [format!("user:{{{user}}}:connection"), format!("user:{{{user}}}:online")];
        redis.say(&["EXISTS", &keys[0], &keys[1]]) == "2"
    };
    users.iter().copied().filter(|user| !is_there(user)).collect()
}

fn holds_everybody(redis: &Redis, cluster: &mut Cluster, silent: core::ops::Range<u64>, what: &str) {
    let back = Deadline::after_s(PATIENCE_S).wait_until(|| of_routers(cluster, "directory_away") == 0.0);
    assert!(back, "{what}: a router does not find Redis again");
    let users: Vec<u64> = TALKERS.into_iter().chain(silent).collect();
    let mut left = users.clone();
    Deadline::after_s(PATIENCE_S).wait_until(|| {
        left = missing(redis, &left);
        left.is_empty()
    });
    assert!(left.is_empty(), "{what}: users {left:?} are not in Redis");
}

fn is_seen_to_be_away(cluster: &mut Cluster, what: &str) {
    let away = Deadline::after_s(PATIENCE_S).wait_until(|| of_routers(cluster, "directory_away") == 2.0);
    assert!(away, "{what}: the routers do not see it");
}

#[test]
fn one_redis_is_killed_and_frozen() {
    let (folder, mut redis) = (tempfile::tempdir().unwrap(), Redis::single());
    let mut cluster = started(folder.path(), &redis);
    let chat = Chatter::start(&cluster, MANNER);
    let mut silent = sessions(&cluster, SILENT);
    holds_everybody(&redis, &mut cluster, SILENT, "at first");
    chat.goes_on(&cluster, "at first");

    redis.kill(0);
    is_seen_to_be_away(&mut cluster, "Redis is killed");
    // Half of them leave, others come.
    silent.truncate(30);
    silent.extend(sessions(&cluster, 160..200));
    chat.goes_on(&cluster, "while Redis is away");
    redis.start_again(0);
    holds_everybody(&redis, &mut cluster, 100..130, "after a kill");
    holds_everybody(&redis, &mut cluster, 160..200, "after a kill");
    let left: Vec<u64> = (130..160).collect();
    let gone = Deadline::after_s(PATIENCE_S).wait_until(|| missing(&redis, &left).len() == left.len());
    assert!(gone, "those who left are not there");

    redis.signal(0, Signal::STOP);
    is_seen_to_be_away(&mut cluster, "Redis is frozen");
    chat.goes_on(&cluster, "while Redis is frozen");
    redis.signal(0, Signal::CONT);
    holds_everybody(&redis, &mut cluster, 160..200, "after a frost");
    chat.goes_on(&cluster, "in the end");
    assert!(chat.is_undisturbed(), "somebody noticed");
    chat.end();
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_cluster_loses_a_primary() {
    let (folder, mut redis) = (tempfile::tempdir().unwrap(), Redis::cluster(1));
    let mut cluster = started(folder.path(), &redis);
    let chat = Chatter::start(&cluster, MANNER);
    let _silent = sessions(&cluster, SILENT);
    holds_everybody(&redis, &mut cluster, SILENT, "at first");
    // The first three are the primaries; the routers know no others by their addresses.
    redis.kill(0);
    is_seen_to_be_away(&mut cluster, "a primary is killed");
    chat.goes_on(&cluster, "while a primary is away");
    holds_everybody(&redis, &mut cluster, SILENT, "when a replica has taken over");
    assert!(chat.is_undisturbed(), "somebody noticed");
    chat.end();
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
