//! The task that owns a client's core, store and connection.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric::entropy::OsEntropy;
use fabric::hash::{self, Map};
use fabric::time::{Clock, SystemClock};
use schema::encode::Encoder;
use schema::ids::ChatId;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::link::{CONNECT_TIMEOUT, Dialer, Halves, closed};
use super::{ClientError, Place, TokenSource};
use crate::core::{
    AccountChange, Amendment, Config, Core, Counters, Cx, End, Event, Failure, GroupChange, Input, NewSend, Output,
    Question, SendError,
};
use crate::store::{Change, ClientStore, Image, StoreError};

/// Bytes read at a time.
const READ_BYTES: usize = 16 << 10;

type Outcome = oneshot::Sender<Result<Place, Failure>>;
type Answer = oneshot::Sender<Result<Event, ClientError>>;
type Taken = oneshot::Sender<Result<ChatId, SendError>>;

/// What a handle asks of the task.
pub(super) enum Command {
    Send(NewSend, Outcome, Taken),
    Change(Bytes, GroupChange, Outcome, Taken),
    Amend(Bytes, Amendment, Outcome, Taken),
    ChangeAccount(Bytes, AccountChange, Outcome, Taken),
    Handled(ChatId, u64, oneshot::Sender<()>),
    Read(ChatId, u64, oneshot::Sender<()>),
    /// Answered by the event that is the answer.
    Ask(Question, Answer),
    Close(oneshot::Sender<()>),
}

/// Where the connection is.
enum Link {
    None,
    Waiting(Instant),
    Connecting(tokio::task::JoinHandle<io::Result<Halves>>),
    Open(Halves),
}

/// What woke the task.
enum Wake {
    Command(Option<Command>),
    Connect,
    Connected(io::Result<Halves>),
    Read(io::Result<usize>),
    Deadline,
    Room,
}

pub(super) struct Task {
    core: Core,
    store: Option<Box<dyn ClientStore>>,
    dialer: Dialer,
    token: TokenSource,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    /// Events the application's queue had no room for; while there are any, nothing is read.
    backlog: VecDeque<Event>,
    link: Link,
    encoder: Encoder,
    counters: Counters,
    outputs: Vec<Output>,
    outcomes: Map<Bytes, Outcome>,
    answers: Map<u64, Answer>,
    buffer: Vec<u8>,
    ended: bool,
    /// Who waits for the end.
    closing: Option<oneshot::Sender<()>>,
}

impl Task {
    pub fn new(
        config: Arc<Config>,
        image: Image,
        store: Box<dyn ClientStore>,
        dialer: Dialer,
        token: TokenSource,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let seed = config.hash_seed;
        Self {
            core: Core::new(config, image),
            store: Some(store),
            dialer,
            token,
            commands,
            events,
            backlog: VecDeque::new(),
            link: Link::None,
            encoder: Encoder::new(),
            counters: Counters::default(),
            outputs: Vec::new(),
            outcomes: hash::map(seed),
            answers: hash::map(seed),
            buffer: vec![0; READ_BYTES],
            ended: false,
            closing: None,
        }
    }

    pub async fn run(mut self) {
        self.tell(|core, cx| core.handle(cx, Input::Start));
        loop {
            if let Err(error) = self.perform().await {
                tracing::error!(%error, "the client's store failed; the client stops");
                return;
            }
            while let Some(event) = self.backlog.pop_front() {
                if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                    self.backlog.push_front(event);
                    break;
                }
            }
            if self.ended {
                if let Some(answer) = self.closing.take() {
                    let _ = answer.send(());
                }
                for event in self.backlog.drain(..) {
                    // An application that is gone needs no events.
                    let _ = self.events.send(event).await;
                }
                return;
            }
            let wake = self.wake().await;
            self.act(wake).await;
        }
    }

    fn tell<T>(&mut self, then: impl FnOnce(&mut Core, &mut Cx<'_>) -> T) -> T {
        let mut cx = Cx {
            now: SystemClock.now(),
            encoder: &mut self.encoder,
            entropy: &mut OsEntropy,
            counters: &mut self.counters,
            out: &mut self.outputs,
        };
        then(&mut self.core, &mut cx)
    }

    async fn wake(&mut self) -> Wake {
        let now_ns = SystemClock.now().mono_ns;
        let due = self.core.next_deadline_ns().map(|at| Duration::from_nanos(at.saturating_sub(now_ns)));
        // A ready-made far future stands in for "never".
        let deadline = sleep_until(Instant::from_std(later(due.unwrap_or(Duration::from_secs(3_600)))));
        let blocked = !self.backlog.is_empty();
        let link = async {
            match &mut self.link {
                Link::Waiting(until) => {
                    sleep_until(*until).await;
                    Wake::Connect
                }
                Link::Connecting(attempt) => Wake::Connected(attempt.await.unwrap_or_else(|_| Err(closed()))),
                Link::Open(halves) if !blocked => Wake::Read(halves.read.read(&mut self.buffer).await),
                _ => core::future::pending().await,
            }
        };
        tokio::select! {
            command = self.commands.recv() => Wake::Command(command),
            wake = link => wake,
            _ = self.events.reserve(), if blocked => Wake::Room,
            () = deadline => Wake::Deadline,
        }
    }

    async fn act(&mut self, wake: Wake) {
        match wake {
            Wake::Command(Some(command)) => self.command(command).await,
            Wake::Command(None) => self.tell(Core::close),
            Wake::Connect => self.link = Link::Connecting(tokio::spawn(self.dialer.clone().dial())),
            Wake::Connected(Ok(halves)) => {
                self.link = Link::Open(halves);
                let token = (self.token)();
                self.tell(|core, cx| core.handle(cx, Input::Connected { token: token.as_bytes() }));
            }
            Wake::Connected(Err(error)) => {
                tracing::debug!(%error, "no connection");
                self.dialer.failed(&error);
                self.link = Link::None;
                self.tell(|core, cx| core.handle(cx, Input::ConnectFailed));
            }
            Wake::Read(Ok(bytes)) if bytes > 0 => {
                let buffer = core::mem::take(&mut self.buffer);
                self.tell(|core, cx| core.handle(cx, Input::Bytes(&buffer[..bytes])));
                self.buffer = buffer;
            }
            Wake::Read(_) => {
                self.link = Link::None;
                self.tell(|core, cx| core.handle(cx, Input::Disconnected));
            }
            Wake::Deadline => self.tell(|core, cx| core.handle(cx, Input::Tick)),
            Wake::Room => {}
        }
    }

    /// A caller that no longer waits for its answer is no error.
    async fn command(&mut self, command: Command) {
        match command {
            Command::Send(send, outcome, answer) => {
                let id = send.client_msg_id.clone();
                let taken = self.tell(|core, cx| core.send(cx, send));
                self.taken(id, taken, outcome, answer).await;
            }
            Command::Change(id, change, outcome, answer) => {
                let taken = self.tell(|core, cx| core.change(cx, id.clone(), change));
                self.taken(id, taken, outcome, answer).await;
            }
            Command::Amend(id, amendment, outcome, answer) => {
                let taken = self.tell(|core, cx| core.amend(cx, id.clone(), amendment));
                self.taken(id, taken, outcome, answer).await;
            }
            Command::ChangeAccount(id, change, outcome, answer) => {
                let taken = self.tell(|core, cx| core.change_account(cx, id.clone(), change));
                self.taken(id, taken, outcome, answer).await;
            }
            Command::Handled(chat, seq, answer) => {
                self.tell(|core, cx| core.handled(cx, chat, seq));
                if self.harden().await.is_ok() {
                    let _ = answer.send(());
                }
            }
            Command::Read(chat, seq, answer) => {
                self.tell(|core, cx| core.mark_read(cx, chat, seq));
                if self.harden().await.is_ok() {
                    let _ = answer.send(());
                }
            }
            Command::Ask(question, answer) => match self.tell(|core, cx| core.ask(cx, question)) {
                Ok(request) => drop(self.answers.insert(request, answer)),
                Err(error) => drop(answer.send(Err(error.into()))),
            },
            Command::Close(answer) => {
                self.tell(Core::close);
                self.closing = Some(answer);
            }
        }
    }

    async fn taken(&mut self, id: Bytes, taken: Result<ChatId, SendError>, outcome: Outcome, answer: Taken) {
        if taken.is_ok() {
            self.outcomes.insert(id, outcome);
        }
        if self.harden().await.is_ok() {
            let _ = answer.send(taken);
        }
    }

    /// Makes durable what the outputs say must be, on a blocking thread.
    async fn harden(&mut self) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        self.outputs.retain(|output| match output {
            Output::Persist(change) => {
                changes.push(change.clone());
                false
            }
            _ => true,
        });
        if changes.is_empty() {
            return Ok(());
        }
        let mut store = self.store.take().ok_or(StoreError::Failed)?;
        let lazy = changes.iter().all(Change::is_lazy);
        let done = tokio::task::spawn_blocking(move || {
            let done = changes.iter().try_for_each(|change| store.append(change));
            let done = if lazy { done } else { done.and_then(|()| store.sync()) };
            done.map(|()| store)
        });
        self.store = Some(done.await.unwrap_or(Err(StoreError::Failed))?);
        Ok(())
    }

    /// Does what the core said, until it says nothing more: a write that fails makes it ask for another connection.
    async fn perform(&mut self) -> Result<(), StoreError> {
        loop {
            self.perform_once().await?;
            if self.outputs.is_empty() {
                return Ok(());
            }
        }
    }

    /// First the store, then the rest in order.
    async fn perform_once(&mut self) -> Result<(), StoreError> {
        if self.store.is_none() {
            return Err(StoreError::Failed);
        }
        self.harden().await?;
        let mut written = Vec::new();
        for output in core::mem::take(&mut self.outputs) {
            match output {
                Output::Connect { after_ms } => {
                    self.link = Link::Waiting(Instant::from_std(later(Duration::from_millis(u64::from(after_ms)))));
                }
                Output::Write(frame) => written.extend_from_slice(&frame),
                Output::Close => {
                    self.write(core::mem::take(&mut written)).await;
                    if let Link::Open(halves) = core::mem::replace(&mut self.link, Link::None) {
                        halves.close().await;
                    }
                }
                Output::Persist(_) => unreachable!("taken out before"),
                Output::Event(event) => self.event(event),
            }
        }
        self.write(written).await;
        Ok(())
    }

    /// A write that fails is the connection's end: reading finds out.
    async fn write(&mut self, bytes: Vec<u8>) {
        if let Link::Open(halves) = &mut self.link
            && !bytes.is_empty()
        {
            let written = tokio::time::timeout(CONNECT_TIMEOUT, halves.write_all(&bytes)).await;
            if !matches!(written, Ok(Ok(()))) {
                self.link = Link::None;
                self.tell(|core, cx| core.handle(cx, Input::Disconnected));
            }
        }
    }

    fn event(&mut self, event: Event) {
        match &event {
            Event::Sent { client_msg_id, chat, message, seq, timestamp_ms } => {
                let place = Place { chat: *chat, message: *message, seq: *seq, timestamp_ms: *timestamp_ms };
                self.outcome(client_msg_id, Ok(place));
            }
            Event::Failed { client_msg_id, failure } => self.outcome(client_msg_id, Err(*failure)),
            Event::Ended(end) => {
                self.ended = true;
                for (_, answer) in self.answers.drain() {
                    drop(answer.send(Err(ClientError::Ended(*end))));
                }
                if *end == End::Closed {
                    return;
                }
            }
            _ => {}
        }
        let (request, answer) = match event {
            Event::AskFailed { request, failure } => (request, Err(failure.into())),
            Event::History(ref page) => (page.request, Ok(event)),
            Event::Chat(ref info) => (info.request, Ok(event)),
            Event::Chats(ref page) => (page.request, Ok(event)),
            Event::Status(ref status) => (status.request, Ok(event)),
            Event::Account(ref account) => (account.request, Ok(event)),
            event => return self.backlog.push_back(event),
        };
        if let Some(waiting) = self.answers.remove(&request) {
            drop(waiting.send(answer));
        }
    }

    fn outcome(&mut self, id: &[u8], outcome: Result<Place, Failure>) {
        if let Some(waiting) = self.outcomes.remove(id) {
            let _ = waiting.send(outcome);
        }
    }
}

/// The runtime's time after a wait.
fn later(wait: Duration) -> std::time::Instant {
    (Instant::now() + wait).into_std()
}
