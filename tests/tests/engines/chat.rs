//! Two people at different gateways of a cluster who chat without a pause, while something is done to what is behind it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use client::{Client, Config, Event};
use schema::ids::UserId;
use shardwire_tests::process::Deadline;
use shardwire_tests::process::cluster::Cluster;

pub const USERS: [u64; 2] = [1, 2];
/// Messages that each must get before it counts as going on.
const MORE: usize = 15;

/// What came of one user's talk.
#[derive(Default)]
struct Talk {
    sent: u64,
    acked: u64,
    /// The numbers of the other's messages, as they came.
    got: Vec<u64>,
    /// Sessions it had, and sends that were put off.
    sessions: u64,
    postponed: u64,
}

#[derive(Default)]
struct State {
    talks: Mutex<[Talk; 2]>,
    /// Nobody sends any more.
    silent: AtomicBool,
    /// Nobody listens any more.
    over: AtomicBool,
}

impl State {
    fn with<T>(&self, look: impl FnOnce(&mut [Talk; 2]) -> T) -> T {
        look(&mut self.talks.lock().unwrap())
    }
}

pub struct Chat {
    state: Arc<State>,
    thread: JoinHandle<()>,
}

impl Chat {
    /// At the first two gateways.
    pub fn start(cluster: &Cluster) -> Self {
        let state = Arc::<State>::default();
        let token = |user| cluster.token(user, 1).unwrap();
        let users = cluster.natives().into_iter().zip(USERS).map(|(at, user)| (at.to_string(), token(user)));
        let (users, shared): (Vec<_>, _) = (users.collect(), Arc::clone(&state));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let users = users.into_iter().enumerate();
            let talks = users.map(|(at, user)| runtime.spawn(talk(Arc::clone(&shared), at, user)));
            let talks: Vec<_> = talks.collect();
            runtime.block_on(async {
                for talk in talks {
                    talk.await.unwrap();
                }
            });
        });
        Self { state, thread }
    }

    /// Waits until each has got some more.
    pub fn goes_on(&self, what: &str) {
        let before = self.state.with(|talks| [talks[0].got.len(), talks[1].got.len()]);
        let on = || self.state.with(|talks| (0..2).all(|at| talks[at].got.len() >= before[at] + MORE));
        assert!(Deadline::after_s(60).wait_until(|| on() || self.thread.is_finished()), "{what}: it does not go on");
        assert!(!self.thread.is_finished(), "{what}: a client ended");
    }

    /// Nobody noticed anything: one session each, nothing put off.
    pub fn is_undisturbed(&self) -> bool {
        self.state.with(|talks| talks.iter().all(|talk| talk.sessions <= 1 && talk.postponed == 0))
    }

    /// Ends it: everything was acknowledged, and came once and in order.
    pub fn end(self) {
        self.state.silent.store(true, Ordering::Release);
        let whole = |talks: &mut [Talk; 2]| {
            (0..2).all(|at| talks[at].acked == talks[at].sent && talks[at].got.len() as u64 >= talks[1 - at].sent)
        };
        Deadline::after_s(60).wait_until(|| self.state.with(whole));
        self.state.with(|talks| {
            for at in 0..2 {
                assert_eq!(talks[at].acked, talks[at].sent, "everything user {} sent has its answer", USERS[at]);
                let all: Vec<u64> = (0..talks[1 - at].sent).collect();
                assert_eq!(talks[at].got, all, "user {} got everything once and in order", USERS[at]);
            }
        });
        self.state.over.store(true, Ordering::Release);
        self.thread.join().unwrap();
    }
}

/// One user: sends a number every 20 ms until the chat falls silent, and hears until it is over.
async fn talk(state: Arc<State>, at: usize, (address, token): (String, String)) {
    let config = Config { backoff_ms: (50, 500), answer_timeout_ms: 5_000, ..Config::default() };
    let builder = Client::builder().config(config).address(address).token(token);
    let mut client = builder.connect().await.expect("a first session");
    let to = UserId::new(USERS[1 - at]).expect("an id");
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while !state.over.load(Ordering::Acquire) {
        tokio::select! {
            _ = ticks.tick() => {
                if state.silent.load(Ordering::Acquire) {
                    continue;
                }
                let number = state.with(|talks| {
                    talks[at].sent += 1;
                    talks[at].sent - 1
                });
                client.send(to, number.to_string()).await.expect("the client takes it");
            }
            event = client.next() => match event.expect("the client goes on") {
                Event::Sent { .. } => state.with(|talks| talks[at].acked += 1),
                // An own send whose answer was lost may come as an entry.
                Event::Entry(entry) if entry.sender() == to => {
                    let number = std::str::from_utf8(entry.body()).unwrap().parse().unwrap();
                    state.with(|talks| talks[at].got.push(number));
                }
                Event::Welcome(_) => state.with(|talks| talks[at].sessions += 1),
                Event::Postponed { .. } => state.with(|talks| talks[at].postponed += 1),
                Event::Failed { failure, .. } => panic!("user {} was refused: {failure}", USERS[at]),
                Event::Ended(end) => panic!("user {}: {end}", USERS[at]),
                _ => {}
            }
        }
    }
}
