//! Pairs of users at the gateways of a cluster who tell each other rising numbers, and what came of it.
//!
//! What must stay true: a client that is refused for good, or ends by itself, fails its thread; the rest is for the test to
//! look at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use client::{Client, Config, Event};
use schema::ids::UserId;

use super::Deadline;
use super::cluster::Cluster;

/// What came of one user's talk.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    /// Numbers sent.
    pub sent: u64,
    /// Of them, those that have an answer.
    pub acked: u64,
    /// The numbers of the other's messages, as they came.
    pub got: Vec<u64>,
}

#[derive(Debug, Default)]
struct Shared {
    talks: Mutex<Vec<Talk>>,
    silent: AtomicBool,
    over: AtomicBool,
}

/// All pairs. User `n` is at gateway `n` modulo their number, and `n` and its neighbour are a pair.
pub struct Chatter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Chatter {
    /// Begins: `pairs` pairs, each user a number every `every`.
    ///
    /// # Panics
    /// Without tokens or a first session.
    pub fn start(cluster: &Cluster, pairs: u64, every: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        *lock(&shared) = vec![Talk::default(); 2 * pairs as usize];
        let natives = cluster.natives();
        let user =
            |at: usize| (natives[at % natives.len()].to_string(), cluster.token(at as u64 + 1, 1).expect("a token"));
        let users: Vec<(String, String)> = (0..2 * pairs as usize).map(user).collect();
        let all = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let users = users.into_iter().enumerate();
            let talks: Vec<_> = users
                .map(|(at, (address, token))| runtime.spawn(talk(Arc::clone(&all), at, address, token, every)))
                .collect();
            runtime.block_on(async {
                for talk in talks {
                    talk.await.expect("the client goes on");
                }
            });
        });
        Self { shared, thread: Some(thread) }
    }

    /// Looks at what has come of it so far, by user.
    pub fn with<T>(&self, look: impl FnOnce(&[Talk]) -> T) -> T {
        look(&lock(&self.shared))
    }

    /// Waits until each has got `count` more.
    ///
    /// # Panics
    /// When that takes longer than a minute, or a client has ended.
    pub fn goes_on(&self, cluster: &Cluster, count: usize, what: &str) {
        let before = self.with(|talks| talks.iter().map(|talk| talk.got.len()).collect::<Vec<_>>());
        let on = || self.with(|talks| talks.iter().zip(&before).all(|(talk, before)| talk.got.len() >= before + count));
        let ended = || self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        Deadline::after_s(60).wait_until(|| on() || ended());
        if !on() || ended() {
            let logs: String =
                cluster.nodes().iter().map(|node| format!("{}:\n{}", node.place().name, node.log())).collect();
            panic!("{what}: the chat does not go on\n{logs}");
        }
    }

    /// Nobody sends any more; waits until all have everything, and checks it.
    ///
    /// # Panics
    /// When something was lost, doubled or reordered.
    pub fn end(mut self) {
        self.shared.silent.store(true, Ordering::Release);
        let whole = || {
            self.with(|talks| {
                (0..talks.len())
                    .all(|at| talks[at].acked == talks[at].sent && talks[at].got.len() as u64 >= talks[at ^ 1].sent)
            })
        };
        Deadline::after_s(60).wait_until(whole);
        self.with(|talks| {
            for (at, talk) in talks.iter().enumerate() {
                assert_eq!(talk.acked, talk.sent, "everything user {} sent has its answer", at + 1);
                let all: Vec<u64> = (0..talks[at ^ 1].sent).collect();
                assert_eq!(talk.got, all, "user {} got everything once and in order", at + 1);
            }
        });
        self.shared.over.store(true, Ordering::Release);
        self.thread.take().expect("it runs until now").join().expect("no client failed");
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Vec<Talk>> {
    shared.talks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One user: sends a number now and then until all fall silent, and hears until it is over.
async fn talk(shared: Arc<Shared>, at: usize, address: String, token: String, every: Duration) {
    let config = Config { backoff_ms: (50, 500), answer_timeout_ms: 2_000, ..Config::default() };
    let builder = Client::builder().config(config).address(address).token(token);
    let mut client = builder.connect().await.expect("a first session");
    let to = UserId::new((at as u64 ^ 1) + 1).expect("an id");
    let mut ticks = tokio::time::interval(every);
    while !shared.over.load(Ordering::Acquire) {
        tokio::select! {
            _ = ticks.tick() => {
                if shared.silent.load(Ordering::Acquire) {
                    continue;
                }
                let number = {
                    let talk = &mut lock(&shared)[at];
                    talk.sent += 1;
                    talk.sent - 1
                };
                client.send(to, number.to_string()).await.expect("the client takes it");
            }
            event = client.next() => match event.expect("the client goes on") {
                Event::Sent { .. } => lock(&shared)[at].acked += 1,
                // An own send whose answer was lost may come as an entry.
                Event::Entry(entry) if entry.sender() == to => {
                    let number = std::str::from_utf8(entry.body()).ok().and_then(|text| text.parse().ok());
                    lock(&shared)[at].got.push(number.expect("a number"));
                }
                Event::Failed { failure, .. } => panic!("user {} was refused: {failure}", at + 1),
                Event::Ended(end) => panic!("user {}: {end}", at + 1),
                _ => {}
            }
        }
    }
}
