//! Gateways, routers and a writer as processes: kill -9 of each while two users at different gateways chat.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Client, Config, Event};
use schema::ids::UserId;
use shardwire_tests::process::Deadline;
use shardwire_tests::process::cluster::{Cluster, Options, Shape};

const USERS: [u64; 2] = [1, 2];
/// Messages that each must get between two kills.
const BETWEEN: usize = 15;

/// What came of one user's talk.
#[derive(Default)]
struct Talk {
    sent: u64,
    acked: u64,
    /// The numbers of the other's messages, as they came.
    got: Vec<u64>,
}

#[derive(Default)]
struct Chat {
    talks: Mutex<[Talk; 2]>,
    /// Nobody sends any more.
    silent: AtomicBool,
    /// Nobody listens any more.
    over: AtomicBool,
}

impl Chat {
    fn with<T>(&self, look: impl FnOnce(&mut [Talk; 2]) -> T) -> T {
        look(&mut self.talks.lock().unwrap())
    }

    /// Waits until each has got so many more.
    fn goes_on(&self, cluster: &Cluster, what: &str) {
        let before = self.with(|talks| [talks[0].got.len(), talks[1].got.len()]);
        let on = || self.with(|talks| (0..2).all(|at| talks[at].got.len() >= before[at] + BETWEEN));
        if !Deadline::after_s(60).wait_until(on) {
            let logs: String =
                cluster.nodes().iter().map(|node| format!("{}:\n{}", node.place().name, node.log())).collect();
            panic!("{what}: the chat does not go on\n{logs}");
        }
    }
}

/// One user: sends a number every 20 ms until the chat falls silent, and hears until it is over.
async fn talk(chat: Arc<Chat>, at: usize, address: String, token: String) {
    let config = Config { backoff_ms: (50, 500), answer_timeout_ms: 2_000, ..Config::default() };
    let builder = Client::builder().config(config).address(address).token(token);
    let mut client = builder.connect().await.expect("a first session");
    let to = UserId::new(USERS[1 - at]).expect("an id");
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while !chat.over.load(Ordering::Acquire) {
        tokio::select! {
            _ = ticks.tick() => {
                if chat.silent.load(Ordering::Acquire) {
                    continue;
                }
                let number = chat.with(|talks| {
                    talks[at].sent += 1;
                    talks[at].sent - 1
                });
                client.send(to, number.to_string()).await.expect("the client takes it");
            }
            event = client.next() => match event.expect("the client goes on") {
                Event::Sent { .. } => chat.with(|talks| talks[at].acked += 1),
                // An own send whose answer was lost may come as an entry.
                Event::Entry(entry) if entry.sender() == to => {
                    let number = std::str::from_utf8(entry.body()).unwrap().parse().unwrap();
                    chat.with(|talks| talks[at].got.push(number));
                }
                Event::Failed { failure, .. } => panic!("user {} was refused: {failure}", USERS[at]),
                Event::Ended(end) => panic!("user {}: {end}", USERS[at]),
                _ => {}
            }
        }
    }
}

#[test]
fn roles_as_processes_lose_nothing_when_one_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::of_test(Shape { gateways: 2, routers: 2, writers: 1 }, folder.path());
    let mut cluster = Cluster::new(&options).unwrap();
    cluster.start().unwrap_or_else(|error| panic!("{error}"));
    let chat = Arc::new(Chat::default());
    let users: Vec<(String, String)> = cluster
        .natives()
        .iter()
        .zip(USERS)
        .map(|(native, user)| (native.to_string(), cluster.token(user, 1).unwrap()))
        .collect();
    let both = Arc::clone(&chat);
    let talks = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let users = users.into_iter().enumerate();
        let talks = users.map(|(at, (address, token))| runtime.spawn(talk(Arc::clone(&both), at, address, token)));
        let talks: Vec<_> = talks.collect();
        runtime.block_on(async {
            for talk in talks {
                talk.await.unwrap();
            }
        });
    });
    chat.goes_on(&cluster, "before any kill");
    let names: Vec<String> = cluster.nodes().iter().map(|node| node.place().name.clone()).collect();
    for name in &names {
        cluster.node(name).kill9();
        std::thread::sleep(Duration::from_millis(300));
        cluster.node(name).start().unwrap();
        cluster.wait_ready().unwrap_or_else(|error| panic!("after {name} was killed: {error}"));
        chat.goes_on(&cluster, &format!("after {name} was killed"));
        assert!(!talks.is_finished(), "a client ended after {name} was killed");
    }
    chat.silent.store(true, Ordering::Release);
    let whole =
        || chat.with(|t| (0..2).all(|at| t[at].acked == t[at].sent && t[at].got.len() as u64 >= t[1 - at].sent));
    Deadline::after_s(60).wait_until(whole);
    chat.with(|talks| {
        for at in 0..2 {
            assert_eq!(talks[at].acked, talks[at].sent, "everything user {} sent has its answer", USERS[at]);
            let all: Vec<u64> = (0..talks[1 - at].sent).collect();
            assert_eq!(talks[at].got, all, "user {} got everything once and in order", USERS[at]);
        }
    });
    chat.over.store(true, Ordering::Release);
    talks.join().unwrap();
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}
