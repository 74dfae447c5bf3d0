//! Pairs of users at the gateways of a cluster who tell each other rising numbers, and what came of it.
//!
//! What must stay true: a client that is refused for good, or ends by itself, fails its thread; the rest is for the test to
//! look at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use client::{Client, Config, Event};
use schema::ids::UserId;

use super::Deadline;
use super::cluster::{Cluster, Node};

/// How long it may take until a chat goes on, and until all has come in the end, s.
const PATIENCE_S: u64 = 60;

/// Who talks, and how.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Pairs of users, the first of them 1 and 2.
    pub pairs: u64,
    /// Each sends so often.
    pub every: Duration,
    /// A session whose send has no answer within so long ends and comes back, ms.
    pub answer_timeout_ms: u32,
    /// Messages that each must get for the talk to go on.
    pub between: usize,
}

impl Default for Manner {
    fn default() -> Self {
        Self { pairs: 1, every: Duration::from_millis(20), answer_timeout_ms: 2_000, between: 15 }
    }
}

/// What came of one user's talk.
#[derive(Clone, Default)]
struct Talk {
    /// Numbers sent.
    sent: u64,
    /// Of them, those that have an answer.
    acked: u64,
    /// The numbers of the other's messages, as they came.
    got: Vec<u64>,
    /// Sessions it had, and sends that were put off.
    sessions: u64,
    postponed: u64,
}

#[derive(Default)]
struct Shared {
    talks: Mutex<Vec<Talk>>,
    silent: AtomicBool,
    over: AtomicBool,
}

/// All pairs, on a thread of their own. The users are at the gateways in turn, so the two of a pair are at different ones.
pub struct Chatter {
    shared: Arc<Shared>,
    between: usize,
    thread: Option<JoinHandle<()>>,
}

impl Chatter {
    /// Begins.
    ///
    /// # Panics
    /// When a token cannot be made.
    pub fn start(cluster: &Cluster, manner: Manner) -> Self {
        let count = 2 * manner.pairs as usize;
        let shared = Arc::new(Shared::default());
        *lock(&shared) = vec![Talk::default(); count];
        let natives = cluster.natives();
        let user =
            |at: usize| (natives[at % natives.len()].to_string(), cluster.token(at as u64 + 1, 1).expect("a token"));
        let users: Vec<(String, String)> = (0..count).map(user).collect();
        let all = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let users = users.into_iter().enumerate();
            let talks: Vec<_> = users
                .map(|(at, (address, token))| runtime.spawn(talk(Arc::clone(&all), at, (address, token), manner)))
                .collect();
            runtime.block_on(async {
                for talk in talks {
                    talk.await.expect("the client goes on");
                }
            });
        });
        Self { shared, between: manner.between, thread: Some(thread) }
    }

    fn with<T>(&self, look: impl FnOnce(&[Talk]) -> T) -> T {
        look(&lock(&self.shared))
    }

    /// Waits until each has got some more.
    ///
    /// # Panics
    /// When that takes longer than a minute, or a client has ended; `what` has happened.
    pub fn goes_on(&self, cluster: &Cluster, what: &str) {
        let before = self.with(|talks| talks.iter().map(|talk| talk.got.len()).collect::<Vec<_>>());
        let further = |(talk, before): (&Talk, &usize)| talk.got.len() >= before + self.between;
        let on = || self.with(|talks| talks.iter().zip(&before).all(further));
        let ended = || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        Deadline::after_s(PATIENCE_S).wait_until(|| on() || ended());
        assert!(!ended(), "{what}: a client ended");
        if !on() {
            let log = |node: &Node| format!("{}:\n{}", node.place().name, node.log());
            let logs: String = cluster.nodes().iter().map(log).collect();
            panic!("{what}: the chat does not go on\n{logs}");
        }
    }

    /// Nobody noticed anything: one session each, nothing put off.
    pub fn is_undisturbed(&self) -> bool {
        self.with(|talks| talks.iter().all(|talk| talk.sessions <= 1 && talk.postponed == 0))
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
        Deadline::after_s(PATIENCE_S).wait_until(whole);
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

impl Drop for Chatter {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Vec<Talk>> {
    shared.talks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One user: sends a number now and then until all fall silent, and hears until it is over.
async fn talk(shared: Arc<Shared>, at: usize, (address, token): (String, String), manner: Manner) {
    let Manner { every, answer_timeout_ms, .. } = manner;
    let config = Config { backoff_ms: (50, 500), answer_timeout_ms, ..Config::default() };
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
                Event::Welcome(_) => lock(&shared)[at].sessions += 1,
                Event::Postponed { .. } => lock(&shared)[at].postponed += 1,
                Event::Failed { failure, .. } => panic!("user {} was refused: {failure}", at + 1),
                Event::Ended(end) => panic!("user {}: {end}", at + 1),
                _ => {}
            }
        }
    }
}
