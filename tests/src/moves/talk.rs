//! One chat: user 1 sends a number at every tick and notes when it is answered; the other hears.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use client::{Client, Config, Event};
use schema::ids::UserId;

use super::now_ns;
use crate::process::Deadline;
use crate::process::cluster::Cluster;

/// How long all may take to come in the end, s.
const PATIENCE_S: u64 = 60;
/// A session whose send has no answer within so long ends and comes back, ms: longer than a takeover.
const ANSWER_TIMEOUT_MS: u32 = 15_000;

#[derive(Default)]
struct Heard {
    sent: u64,
    /// When each answer came, ns.
    answers: Vec<u64>,
    got: Vec<u64>,
    connects: u64,
}

#[derive(Default)]
struct Shared {
    heard: Mutex<Heard>,
    silent: AtomicBool,
    over: AtomicBool,
}

fn lock(shared: &Shared) -> MutexGuard<'_, Heard> {
    shared.heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The chat, on a thread of its own, between users at different gateways.
pub(super) struct Talk {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Talk {
    /// Begins, so many messages a second.
    pub(super) fn start(cluster: &Cluster, to: UserId, rate: u32) -> Self {
        let shared = Arc::new(Shared::default());
        let natives = cluster.natives();
        let place = |at: usize, user: u64| (natives[at].to_string(), cluster.token(user, 1).expect("a token"));
        let (one, other) = (place(0, 1), place(1, to.get()));
        let every = Duration::from_secs(1) / rate;
        let all = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async { tokio::join!(send(&all, one, to, every), hear(&all, other)) });
        });
        Self { shared, thread: Some(thread) }
    }

    /// Answers so far.
    pub(super) fn answers(&self) -> usize {
        lock(&self.shared).answers.len()
    }

    /// Connects so far, both users', after the first perhaps.
    pub(super) fn connects(&self) -> u64 {
        lock(&self.shared).connects
    }

    /// The longest time between two answers, the later of them since then, µs; one that has not ended counts as far as it has
    /// come.
    pub(super) fn longest_gap_us(&self, from_ns: u64) -> u64 {
        let heard = lock(&self.shared);
        let first = heard.answers.partition_point(|at| *at < from_ns).saturating_sub(1);
        let ends = heard.answers[first..].iter().copied().chain([now_ns()]);
        let all: Vec<u64> = ends.collect();
        all.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(0) / 1_000
    }

    /// Nobody sends any more; waits until all is there. How many messages there were.
    pub(super) fn end(mut self) -> Result<u64, String> {
        self.shared.silent.store(true, Ordering::Release);
        let whole = |heard: &Heard| heard.answers.len() as u64 == heard.sent && heard.got.len() as u64 >= heard.sent;
        Deadline::after_s(PATIENCE_S).wait_until(|| whole(&lock(&self.shared)));
        self.shared.over.store(true, Ordering::Release);
        let ended = self.thread.take().map(JoinHandle::join);
        let heard = lock(&self.shared);
        if ended.is_some_and(|ended| ended.is_err()) {
            return Err("a client ended by itself or was refused".to_owned());
        }
        if heard.answers.len() as u64 != heard.sent {
            return Err(format!("{} were sent and {} answered", heard.sent, heard.answers.len()));
        }
        match (0..heard.sent).zip(&heard.got).find(|(wanted, got)| wanted != *got) {
            Some((wanted, got)) => Err(format!("{wanted} should have come and {got} came")),
            None if heard.got.len() as u64 == heard.sent => Ok(heard.sent),
            None => Err(format!("{} were sent and {} came", heard.sent, heard.got.len())),
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
    }
}

async fn connect((address, token): (String, String)) -> Client {
    let config = Config { backoff_ms: (50, 500), answer_timeout_ms: ANSWER_TIMEOUT_MS, ..Config::default() };
    Client::builder().config(config).address(address).token(token).connect().await.expect("a first session")
}

async fn send(shared: &Shared, place: (String, String), to: UserId, every: Duration) {
    let mut client = connect(place).await;
    let mut ticks = tokio::time::interval(every);
    while !shared.over.load(Ordering::Acquire) {
        tokio::select! {
            _ = ticks.tick() => {
                if shared.silent.load(Ordering::Acquire) {
                    continue;
                }
                let number = {
                    let mut heard = lock(shared);
                    heard.sent += 1;
                    heard.sent - 1
                };
                client.send(to, number.to_string()).await.expect("the client takes it");
            }
            event = client.next() => match event.expect("the client goes on") {
                Event::Sent { .. } => lock(shared).answers.push(now_ns()),
                Event::Welcome(_) => lock(shared).connects += 1,
                Event::Failed { failure, .. } => panic!("refused: {failure}"),
                Event::Ended(end) => panic!("{end}"),
                _ => {}
            }
        }
    }
}

async fn hear(shared: &Shared, place: (String, String)) {
    let mut client = connect(place).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while !shared.over.load(Ordering::Acquire) {
        tokio::select! {
            _ = ticks.tick() => {}
            event = client.next() => match event.expect("the client goes on") {
                Event::Entry(entry) => {
                    let number = std::str::from_utf8(entry.body()).ok().and_then(|text| text.parse().ok());
                    lock(shared).got.push(number.expect("a number"));
                }
                Event::Welcome(_) => lock(shared).connects += 1,
                Event::Failed { failure, .. } => panic!("refused: {failure}"),
                Event::Ended(end) => panic!("{end}"),
                _ => {}
            }
        }
    }
}
