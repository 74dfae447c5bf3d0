//! Two users at two gateways who send each other numbers, whatever happens to the cluster, and what each has got of it.
//!
//! What must stay true: what was sent is acknowledged and comes to the other once and in order, or [`Pair::end`] panics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use client::{Client, Config, Event};
use schema::ids::UserId;

use super::Deadline;
use super::cluster::Cluster;

/// Each sends so often.
const EVERY: Duration = Duration::from_millis(20);
/// Messages that each must get for the talk to go on.
const BETWEEN: usize = 15;
/// How long it may take until it does, and until all has come in the end, s.
const PATIENCE_S: u64 = 60;

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
        look(&mut self.talks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Two users who talk, on a thread of their own.
pub struct Pair {
    chat: Arc<Chat>,
    users: [u64; 2],
    thread: Option<JoinHandle<()>>,
}

impl Pair {
    /// `users` begin to talk, the first at the first gateway and the second at the second.
    ///
    /// # Panics
    /// When a token cannot be made, or there are fewer gateways.
    pub fn start(cluster: &Cluster, users: [u64; 2]) -> Self {
        let (chat, natives) = (Arc::new(Chat::default()), cluster.natives());
        let ends: Vec<(String, String)> = users
            .iter()
            .enumerate()
            .map(|(at, &user)| (natives[at].to_string(), cluster.token(user, 1).expect("a token")))
            .collect();
        let both = Arc::clone(&chat);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let talks: Vec<_> = (0..)
                .zip(ends)
                .map(|(at, (address, token))| runtime.spawn(talk(Arc::clone(&both), users, at, address, token)))
                .collect();
            runtime.block_on(async {
                for talk in talks {
                    talk.await.expect("a user talks to the end");
                }
            });
        });
        Self { chat, users, thread: Some(thread) }
    }

    /// Waits until each has got some more.
    ///
    /// # Panics
    /// When they do not; `what` has happened.
    pub fn goes_on(&self, cluster: &Cluster, what: &str) {
        let before = self.chat.with(|talks| [talks[0].got.len(), talks[1].got.len()]);
        let on = || self.chat.with(|talks| (0..2).all(|at| talks[at].got.len() >= before[at] + BETWEEN));
        let ended = || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        Deadline::after_s(PATIENCE_S).wait_until(|| on() || ended());
        assert!(!ended(), "{what}: a client ended");
        if !on() {
            let log = |node: &super::cluster::Node| format!("{}:\n{}", node.place().name, node.log());
            let logs: String = cluster.nodes().iter().map(log).collect();
            panic!("{what}: the chat does not go on\n{logs}");
        }
    }

    /// They fall silent, and everything has come to everybody.
    ///
    /// # Panics
    /// When something is missing, was doubled, or came in another order.
    pub fn end(mut self) {
        self.chat.silent.store(true, Ordering::Release);
        let whole = |talks: &mut [Talk; 2]| {
            (0..2).all(|at| talks[at].acked == talks[at].sent && talks[at].got.len() as u64 >= talks[1 - at].sent)
        };
        Deadline::after_s(PATIENCE_S).wait_until(|| self.chat.with(whole));
        self.chat.with(|talks| {
            for at in 0..2 {
                assert_eq!(talks[at].acked, talks[at].sent, "all that user {} sent has its answer", self.users[at]);
                let all: Vec<u64> = (0..talks[1 - at].sent).collect();
                assert_eq!(talks[at].got, all, "user {} got everything once and in order", self.users[at]);
            }
        });
        self.chat.over.store(true, Ordering::Release);
        self.thread.take().expect("it runs").join().expect("both users end well");
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.chat.over.store(true, Ordering::Release);
    }
}

/// One user: sends a number every [`EVERY`] until the chat falls silent, and hears until it is over.
async fn talk(chat: Arc<Chat>, users: [u64; 2], at: usize, address: String, token: String) {
    let config = Config { backoff_ms: (50, 500), answer_timeout_ms: 2_000, ..Config::default() };
    let builder = Client::builder().config(config).address(address).token(token);
    let mut client = builder.connect().await.expect("a first session");
    let to = UserId::new(users[1 - at]).expect("an id");
    let mut ticks = tokio::time::interval(EVERY);
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
                    let number = std::str::from_utf8(entry.body()).ok().and_then(|text| text.parse().ok());
                    chat.with(|talks| talks[at].got.push(number.expect("a number")));
                }
                Event::Failed { failure, .. } => panic!("user {} was refused: {failure}", users[at]),
                Event::Ended(end) => panic!("user {}: {end}", users[at]),
                _ => {}
            }
        }
    }
}
