//! Drives the desk: requests go in from handlers, envelopes come in through HTTP's lane port, deadlines pass.
//!
//! All of it runs on HTTP's thread; the lock is held for table work only, never over an await.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fabric::mutex::lock;
use fabric::time::{Clock as _, SystemClock};
use fabric::wake::Waker;
use gateway::auth::Identity;
use gateway::http::{Answer, Desk, PageAsk, Post, Refusal};
use gateway::wire::Ask;
use schema::errors::ErrorCode;
use schema::ids::{ChatId, MessageId};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, oneshot};

use crate::node::{HttpParts, Hub, Inbox, ShardChange};

/// Envelopes taken in one go.
const DRAIN_BUDGET: usize = 1_024;

type Outcome = Result<Answer, Refusal>;

struct Counter {
    desk: Desk<oneshot::Sender<Outcome>>,
    hub: Hub,
    /// The first shard waits to hear that nothing waits for the owners' node, of which it has told so many times.
    to_tell: Option<u32>,
}

struct Shared {
    counter: Mutex<Counter>,
    waker: Waker,
    /// What shards hear of other nodes.
    inbox: Inbox,
    /// What the first shard hears.
    first: Inbox,
    /// A request went in: its deadline may be the next thing to wait for.
    asked: Notify,
}

/// HTTP's way to the owners. Clones share it; all are used on one thread.
#[derive(Clone)]
pub struct Office(Arc<Shared>);

/// An eventfd that belongs to its waker.
struct Event(Waker);

impl AsRawFd for Event {
    fn as_raw_fd(&self) -> RawFd {
        self.0.raw_fd()
    }
}

impl Office {
    /// Over HTTP's lane port. [`Self::run`] must be polled for answers to come.
    pub fn new(parts: HttpParts) -> Self {
        let held = parts.waits_for_owners();
        let (hub, (waker, inbox, first), mut desk) = parts.into_desk();
        if held {
            desk.hold(SystemClock.now());
        }
        let counter = Mutex::new(Counter { desk, hub, to_tell: None });
        Self(Arc::new(Shared { counter, waker, inbox, first, asked: Notify::new() }))
    }

    fn counter(&self) -> MutexGuard<'_, Counter> {
        lock(&self.0.counter)
    }

    /// Requests that wait for an owner.
    pub fn in_flight(&self) -> usize {
        self.counter().desk.in_flight()
    }

    /// This process stops: who waits for the owners' node to come back is told to come again.
    pub fn give_up_held(&self) {
        for (waiting, refusal) in self.counter().desk.give_up_held() {
            let _ = waiting.send(Err(refusal));
        }
    }

    /// Sends a message, or whatever else is stored as one, and waits until it is durable.
    ///
    /// # Errors
    /// Why it was refused, here or by its owner, or that no answer came in time.
    pub async fn post(&self, post: Post<'_>) -> Outcome {
        let (sender, receiver) = oneshot::channel();
        {
            let mut counter = self.counter();
            let Counter { desk, hub, .. } = &mut *counter;
            desk.post(SystemClock.now(), &post, sender, hub)?;
            hub.flush();
        }
        self.answer(receiver).await
    }

    /// Reads a page of a chat.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn page(&self, ask: PageAsk) -> Outcome {
        let (sender, receiver) = oneshot::channel();
        {
            let mut counter = self.counter();
            let Counter { desk, hub, .. } = &mut *counter;
            desk.page(SystemClock.now(), ask, sender, hub)?;
            hub.flush();
        }
        self.answer(receiver).await
    }

    /// Asks about a chat, a message or the account.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn ask(&self, from: Identity, ask: Ask) -> Outcome {
        let (sender, receiver) = oneshot::channel();
        {
            let mut counter = self.counter();
            let Counter { desk, hub, .. } = &mut *counter;
            desk.ask(SystemClock.now(), from, ask, sender, hub)?;
            hub.flush();
        }
        self.answer(receiver).await
    }

    /// Says that a device has read everything up to `message`, and waits until that is on its way.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn read(&self, by: Identity, chat: ChatId, message: MessageId) -> Outcome {
        let (sender, receiver) = oneshot::channel();
        {
            let mut counter = self.counter();
            let Counter { desk, hub, .. } = &mut *counter;
            desk.read(SystemClock.now(), by, (chat, message), sender, hub)?;
            hub.flush();
        }
        self.answer(receiver).await
    }

    async fn answer(&self, receiver: oneshot::Receiver<Outcome>) -> Outcome {
        self.0.asked.notify_one();
        receiver.await.unwrap_or_else(|_| Err(ErrorCode::GoingAway.into()))
    }

    /// Carries answers to their requests until dropped.
    ///
    /// # Errors
    /// When the waker's descriptor cannot be watched.
    #[allow(deprecated)] // its replacement is unsafe; the waker keeps its eventfd open for as long as `event` lives
    pub async fn run(self) -> std::io::Result<()> {
        let waker = &self.0.waker;
        let event = AsyncFd::with_interest(Event(waker.clone()), Interest::READABLE)?;
        loop {
            waker.begin_turn();
            let (more, due_ns) = self.turn();
            if more || !waker.try_sleep() {
                tokio::task::yield_now().await;
                continue;
            }
            let wait_ns = due_ns.map(|due_ns| due_ns.saturating_sub(SystemClock.now().mono_ns));
            let deadline = async {
                match wait_ns {
                    Some(ns) => tokio::time::sleep(Duration::from_nanos(ns)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ready = event.readable() => {
                    waker.clear();
                    ready?.clear_ready();
                }
                () = self.0.asked.notified() => {}
                () = deadline => {}
            }
        }
    }

    /// Takes what has come; whether there is more, and the next deadline.
    fn turn(&self) -> (bool, Option<u64>) {
        let mut counter = self.counter();
        let Counter { desk, hub, to_tell } = &mut *counter;
        let now = SystemClock.now();
        let mut incoming = hub.take_incoming();
        let drained = incoming.drain(DRAIN_BUDGET, |_, envelope| {
            if let Some((waiting, outcome)) = desk.handle(now, envelope, hub) {
                // A client that has gone away waits no more.
                let _ = waiting.send(outcome);
            }
        });
        hub.put_incoming(incoming);
        for change in self.0.inbox.take() {
            match change {
                ShardChange::OwnersLost(partitions) => {
                    for (waiting, refusal) in partitions.iter().flat_map(|&partition| desk.owner_lost(partition)) {
                        let _ = waiting.send(Err(refusal));
                    }
                }
                ShardChange::OwnersLeaving(time) => {
                    desk.hold(now);
                    *to_tell = Some(time);
                }
                ShardChange::OwnersServe => desk.release(now, hub),
                ShardChange::Places(places) => desk.set_places(places),
                _ => {}
            }
        }
        desk.end_hold(now, hub);
        for (waiting, refusal) in desk.expire(now) {
            let _ = waiting.send(Err(refusal));
        }
        hub.flush();
        if desk.at_owners() == 0
            && let Some(time) = to_tell.take()
        {
            self.0.first.put(ShardChange::HttpWaitsForNone(time));
        }
        (drained.more, desk.next_deadline_ns())
    }
}
