//! What a mirror of the directory does, on one Redis and on a Redis Cluster: keys, times, epochs, reading back, healing.

use std::sync::Arc;

use redis_directory::{Mirror, MirrorMetrics, Readers, RedisConfig};
use router::{Directory as _, MemoryDirectory, Registration};
use schema::envelope::Address;
use schema::ids::{DeviceId, UserId};
use shardwire_tests::process::{Deadline, Redis};

const SCRIPT: &str = include_str!("../../../router/redis/src/write.lua");
const GATEWAY: u64 = 9;
const OTHER_GATEWAY: u64 = 8;
const USERS: u64 = 300;
/// A round through all users takes ten seconds; with as much to spare.
const PATIENCE_S: u64 = 20;

/// A router, as far as its directory goes.
struct Router {
    directory: MemoryDirectory,
    mirror: Mirror,
    metrics: Arc<MirrorMetrics>,
}

impl Router {
    fn start(redis: &Redis, name: &str, readers: Option<Readers>) -> Self {
        let config = RedisConfig::new(&redis.urls(), None, (name, "test")).expect("addresses");
        let (directory, metrics) = (MemoryDirectory::mirrored(7), Arc::<MirrorMetrics>::default());
        let mirror = Mirror::start(config, directory.clone(), readers, metrics.clone()).expect("Redis is there");
        Self { directory, mirror, metrics }
    }

    /// Waits until what was said of a user is written: another device of theirs comes and goes.
    fn settles(&mut self, redis: &Redis, id: u64) {
        let marker = session(1_000, GATEWAY, 1);
        self.directory.register(user(id), marker);
        assert!(Deadline::after_s(PATIENCE_S).wait_until(|| noted(redis, id, "1000").is_some()), "nothing is written");
        self.directory.unregister(user(id), marker);
        assert!(Deadline::after_s(PATIENCE_S).wait_until(|| noted(redis, id, "1000").is_none()), "nothing is removed");
    }

    /// Waits until what was said of everybody is written, of hundreds: a round writes some of them all the time.
    fn settles_all(&self) {
        let deadline = Deadline::after_s(PATIENCE_S);
        assert!(deadline.wait_until(|| self.directory.mirror_counts().waiting == 0), "changes are not taken");
        // The last may be on their way.
        let before = self.metrics.written.get();
        assert!(deadline.wait_until(|| self.metrics.written.get() > before), "nothing is written");
    }

    fn sessions(&self, id: u64) -> usize {
        let mut count = 0;
        self.directory.each_session(user(id), |_| count += 1);
        count
    }
}

fn user(id: u64) -> UserId {
    UserId::new(id).expect("above 0")
}

fn session(device: u32, incarnation: u64, epoch: u64) -> Registration {
    let address = Address { incarnation, shard: 3, connection: 70_000, generation: 2 };
    Registration { device: DeviceId(device), address, epoch }
}

fn keys(id: u64) -> [String; 2] {
    [format!("user:{{{id}}}:connection"), format!("user:{{{id}}}:online")]
}

/// The writer and epoch of a device's session.
fn noted(redis: &Redis, id: u64, device: &str) -> Option<(String, u64)> {
    let value = redis.say(&["HGET", &keys(id)[0], device]);
    let words: Vec<&str> = value.split(' ').collect();
    let [epoch, .., writer, _] = words.as_slice() else { return None };
    Some((writer.to_string(), u64::from_str_radix(epoch, 16).expect("an epoch")))
}

fn seconds(redis: &Redis, key: &str) -> u64 {
    redis.say(&["TTL", key]).parse().unwrap_or_else(|_| panic!("{key} has no time to live"))
}

fn what_is_registered_is_there_with_its_times(redis: &Redis) -> Router {
    let mut router = Router::start(redis, "rt-1", None);
    for id in 1..=USERS {
        router.directory.register(user(id), session(1, GATEWAY, 10));
        router.directory.register(user(id), session(2, OTHER_GATEWAY, 10));
    }
    // Two a user, and whose they are.
    assert!(Deadline::after_s(PATIENCE_S).wait_until(|| redis.key_count() == 2 * USERS as usize + 1));
    router.settles_all();
    let [connection, online] = keys(42);
    assert!((60..=120).contains(&seconds(redis, &connection)) && (10..=30).contains(&seconds(redis, &online)));
    let value = redis.say(&["HGET", &connection, "1"]);
    assert!(value.starts_with("000000000000000a 0000000000000009 3 70000 2 rt-1 "), "{value}");
    assert_eq!(redis.say(&["HLEN", &connection]), "2");
    router
}

fn epochs_and_writers_decide(redis: &Redis, first: &mut Router) {
    let mut second = Router::start(redis, "rt-2", None);
    // Older than what is there.
    second.directory.register(user(7), session(1, GATEWAY, 9));
    second.settles(redis, 7);
    assert_eq!(noted(redis, 7, "1"), Some(("rt-1".to_owned(), 10)));
    // Newer: it takes the place, and the end of what it replaced ends nothing.
    second.directory.register(user(7), session(1, OTHER_GATEWAY, 11));
    second.settles(redis, 7);
    assert_eq!(noted(redis, 7, "1"), Some(("rt-2".to_owned(), 11)));
    first.directory.unregister(user(7), session(1, GATEWAY, 10));
    first.settles(redis, 7);
    assert_eq!(noted(redis, 7, "1"), Some(("rt-2".to_owned(), 11)));
    second.directory.unregister(user(7), session(1, OTHER_GATEWAY, 11));
    second.settles(redis, 7);
    assert_eq!(noted(redis, 7, "1"), None);
    second.mirror.stop();
}

/// The same session at two routers, as after a break: who wrote last may end it, the other may not. By the script itself, for
/// rounds write again at any moment.
fn an_end_counts_by_the_hand_that_wrote_it(redis: &Redis) {
    let [connection, online] = keys(8_000);
    let value = |writer: &str| format!("000000000000000a 0000000000000009 3 70000 2 {writer} ");
    let run = |sessions: &[&str], ended: &[&str]| {
        let count = sessions.len().to_string();
        let mut command = vec!["EVAL", SCRIPT, "2", &connection, &online, "120", "30", &count];
        for value in sessions.iter().chain(ended) {
            command.extend(["1", *value]);
        }
        redis.say(&command)
    };
    let (one, other) = (value("rt-1"), value("rt-2"));
    assert_eq!((run(&[&one], &[]), run(&[&other], &[])), ("1".to_owned(), "1".to_owned()));
    assert_eq!(run(&[], &[&one]), "1", "another has written it since");
    assert_eq!(redis.say(&["EXISTS", &connection, &online]), "2");
    assert_eq!(run(&[], &[&other]), "0");
    assert_eq!(redis.say(&["EXISTS", &connection, &online]), "0");
    // A field whose time is over goes with the next write, whoever's it was.
    redis.say(&["HSET", &connection, "2", &format!("{one}1000")]);
    assert_eq!(run(&[&one], &[]), "1");
    assert_eq!((noted(redis, 8_000, "2"), run(&[], &[&one])), (None, "0".to_owned()));
}

fn who_is_gone_is_not_there(redis: &Redis, router: &mut Router) {
    for session in [session(1, GATEWAY, 10), session(2, OTHER_GATEWAY, 10)] {
        router.directory.unregister(user(9), session);
    }
    let gone = || keys(9).map(|key| redis.say(&["EXISTS", &key])) == ["0", "0"];
    assert!(Deadline::after_s(PATIENCE_S).wait_until(gone), "who has no session is not there");
    router.directory.lose(OTHER_GATEWAY);
    while router.directory.sweep() {}
    router.settles_all();
    assert!(noted(redis, 10, "2").is_none(), "a lost gateway's sessions go");
    assert!(noted(redis, 10, "1").is_some());
}

fn a_router_reads_its_own_back(redis: &Redis) {
    let readers = Readers { owns: Box::new(|user| user.get() % 2 == 0), heard: Box::new(Vec::new) };
    redis.say(&["HSET", &keys(12)[0], "5", "000000000000000a 0000000000000007 3 70000 2 rt-9 99999999999"]);
    redis.say(&["HSET", &keys(12)[0], "6", "something else"]);
    redis.say(&["HSET", &keys(12)[0], "7", "000000000000000a 0000000000000009 3 70000 2 rt-9 1000"]);
    let mut router = Router::start(redis, "rt-3", Some(readers));
    // One has no form, and the time of one is over.
    assert_eq!((router.sessions(11), router.sessions(12), router.sessions(14)), (0, 2, 1));
    // Users 2, 4 and so on, and the second of 12.
    assert_eq!(router.metrics.read_back.get(), USERS / 2 + 1);
    router.directory.register(user(14), session(1, GATEWAY, 10));
    assert_eq!(router.directory.mirror_counts().unconfirmed as u64, USERS / 2);
    router.mirror.stop();
}

fn what_redis_has_lost_comes_back_with_it(redis: &mut Redis, router: &mut Router) {
    redis.kill(0);
    let away = || router.metrics.away.get() == 1;
    assert!(Deadline::after_s(PATIENCE_S).wait_until(away), "that Redis is away is seen");
    for id in USERS + 1..=2 * USERS {
        router.directory.register(user(id), session(1, GATEWAY, 10));
    }
    router.directory.unregister(user(20), session(1, GATEWAY, 10));
    assert!(router.directory.mirror_counts().waiting > 200, "what changes meanwhile waits");
    redis.start_again(0);
    // All but 7, 9 and 20.
    let whole = 2 * (2 * USERS as usize - 3) + 1;
    let back = || router.metrics.away.get() == 0 && redis.key_count() == whole;
    assert!(Deadline::after_s(PATIENCE_S).wait_until(back), "{} keys of {whole}", redis.key_count());
    assert_eq!(redis.say(&["EXISTS", &keys(20)[0]]), "0", "who left meanwhile is not there");
}

fn keeps_its_contract(redis: &mut Redis) {
    let mut router = what_is_registered_is_there_with_its_times(redis);
    epochs_and_writers_decide(redis, &mut router);
    an_end_counts_by_the_hand_that_wrote_it(redis);
    who_is_gone_is_not_there(redis, &mut router);
    a_router_reads_its_own_back(redis);
    what_redis_has_lost_comes_back_with_it(redis, &mut router);
    router.directory.register(user(21), session(1, GATEWAY, 99));
    router.mirror.stop();
    assert_eq!(noted(redis, 21, "1"), Some(("rt-1".to_owned(), 99)), "a stop writes what changed last");
}

#[test]
fn on_one_redis() {
    keeps_its_contract(&mut Redis::single());
}

#[test]
fn on_a_redis_cluster() {
    let mut redis = Redis::cluster(0);
    keeps_its_contract(&mut redis);
    let slots = keys(42).map(|key| redis.say(&["CLUSTER", "KEYSLOT", &key]));
    assert_eq!(slots, ["8000", "8000"], "a user's keys are in one slot");
}

#[test]
fn a_primary_is_found_by_sentinels_and_so_is_the_next() {
    let mut redis = Redis::with_sentinel();
    let sentinel = format!("redis://{}", redis.addresses()[2]);
    let config = |name: &str| {
        let config = RedisConfig::new(std::slice::from_ref(&sentinel), None, ("rt-1", "test")).expect("an address");
        config.with_sentinels(Some(name.to_owned()))
    };
    let (mut directory, metrics) = (MemoryDirectory::mirrored(7), Arc::<MirrorMetrics>::default());
    let start = |name: &str| Mirror::start(config(name), directory.clone(), None, metrics.clone());
    let error = start("unheard-of").map(drop).expect_err("nobody knows it").to_string();
    assert!(error.contains("does not know it") && error.contains("directory.sentinel_primary"), "{error}");
    let mirror = start(Redis::PRIMARY).expect("the primary is there");
    for id in 1..=USERS {
        directory.register(user(id), session(1, GATEWAY, 10));
    }
    let on = |redis: &Redis, node, whole: u64| redis.ask(node, &["DBSIZE"]).trim() == whole.to_string();
    assert!(Deadline::after_s(PATIENCE_S).wait_until(|| on(&redis, 0, 2 * USERS + 1)), "all are noted");
    redis.kill(0);
    assert!(Deadline::after_s(PATIENCE_S).wait_until(|| metrics.away.get() == 1), "that it is away is seen");
    directory.register(user(USERS + 1), session(1, GATEWAY, 10));
    let next = || metrics.away.get() == 0 && on(&redis, 1, 2 * USERS + 3);
    assert!(Deadline::after_s(PATIENCE_S).wait_until(next), "the replica that took over has all");
    mirror.stop();
}

#[test]
fn what_was_read_back_and_is_confirmed_by_nobody_is_forgotten() {
    let redis = Redis::single();
    let mut before = Router::start(&redis, "rt-1", None);
    for (id, gateway) in [(1, GATEWAY), (2, OTHER_GATEWAY), (3, GATEWAY)] {
        before.directory.register(user(id), session(1, gateway, 10));
    }
    before.mirror.stop();
    let readers = Readers { owns: Box::new(|_| true), heard: Box::new(|| vec![GATEWAY]) };
    let mut router = Router::start(&redis, "rt-1", Some(readers));
    assert_eq!([1, 2, 3].map(|id| router.sessions(id)), [1, 1, 1]);
    router.directory.register(user(3), session(1, GATEWAY, 10));
    assert!(Deadline::after_s(PATIENCE_S).wait_until(|| router.sessions(2) == 0), "its gateway is not heard");
    assert_eq!([1, 3].map(|id| router.sessions(id)), [1, 1]);
    assert!(Deadline::after_s(PATIENCE_S).wait_until(|| router.sessions(1) == 0), "it has not registered again");
    assert_eq!((router.sessions(3), router.directory.mirror_counts().unconfirmed), (1, 0));
}
