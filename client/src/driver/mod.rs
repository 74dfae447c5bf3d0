//! The client on tokio: sockets, timers and the store around a [`Core`](crate::Core).
//!
//! One task owns the core, the store and the connection; a [`Client`] is a handle to it. The store is synced on that task, on
//! a blocking thread, before anything it must precede is written.

mod amendments;
mod groups;
mod link;
mod task;

use std::sync::Arc;

use bytes::Bytes;
pub use fabric::net::tls::{Trust, TrustError};
use schema::encode::{SendTarget, WelcomeFields};
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use tokio::sync::{mpsc, oneshot, watch};

use crate::core::{AskError, AskFailure, Config, End, Event, Failure, HistoryPage, NewSend, Question, SendError};
use crate::store::{ClientStore, MemoryStore, StoreError};

use self::link::Dialer;
use self::task::{Command, Task};

/// Why a client call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The builder lacks something.
    #[error("the client needs {0}")]
    Incomplete(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whom to trust, or the server's name, is no use.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The first session could not be had in time; the client went on trying and was stopped.
    #[error("no session with {address} within {within_ms} ms{}{}", if reason.is_empty() { "" } else { ": " }, reason)]
    Unreachable {
        /// Where.
        address: String,
        /// How long it was tried.
        within_ms: u64,
        /// Why the last connection did not come about; empty: one did.
        reason: String,
    },
    /// The send was not taken.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The send failed for good.
    #[error("the message was not stored: {0}")]
    Failed(#[from] Failure),
    /// The request was not taken.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The request failed.
    #[error("no answer: {0}")]
    AskFailed(#[from] AskFailure),
    /// The client has ended.
    #[error("the client has ended: {0}")]
    Ended(End),
    /// The client's task is gone: it ended before, or its runtime stopped, or its store failed.
    #[error("the client has stopped")]
    Stopped,
}

/// Where a sent message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The chat.
    pub chat: ChatId,
    /// The message.
    pub message: MessageId,
    /// Its place.
    pub seq: u64,
    /// Wall time of the server, ms since 1970.
    pub timestamp_ms: u64,
}

/// A send on its way. Dropping it changes nothing: the outcome also comes as an event.
#[derive(Debug)]
pub struct SendHandle {
    client_msg_id: Bytes,
    chat: ChatId,
    outcome: oneshot::Receiver<Result<Place, Failure>>,
}

impl SendHandle {
    /// Its id.
    pub const fn client_msg_id(&self) -> &Bytes {
        &self.client_msg_id
    }

    /// Its chat.
    pub const fn chat(&self) -> ChatId {
        self.chat
    }

    /// Waits until the message is durable at the server, over reconnects.
    ///
    /// # Errors
    /// `Failed` when it never will be; `Stopped` when the client ended first (the send stays in the store).
    pub async fn ack(self) -> Result<Place, ClientError> {
        Ok(self.outcome.await.map_err(|_| ClientError::Stopped)??)
    }
}

type TokenSource = Box<dyn FnMut() -> String + Send>;

/// Makes a [`Client`].
pub struct Builder {
    address: Option<String>,
    token: Option<TokenSource>,
    store: Option<Box<dyn ClientStore>>,
    config: Config,
    trust: Option<Trust>,
    connect_timeout_ms: u64,
}

impl Builder {
    /// The server's native listener, `host:port`.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Speaks TLS with the server, whose certificate must be for the address' host and vouched for by whom `trust` names.
    #[must_use]
    pub fn tls(mut self, trust: Trust) -> Self {
        self.trust = Some(trust);
        self
    }

    /// One token for the client's whole life; when it expires the client ends.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.config.token_renewable = false;
        self.token = Some(Box::new(move || token.clone()));
        self
    }

    /// Asked for a token before every connection.
    #[must_use]
    pub fn token_source(mut self, source: impl FnMut() -> String + Send + 'static) -> Self {
        self.config.token_renewable = true;
        self.token = Some(Box::new(source));
        self
    }

    /// Where outbox and positions are kept. Without it, in memory.
    #[must_use]
    pub fn store(mut self, store: impl ClientStore + 'static) -> Self {
        self.store = Some(Box::new(store));
        self
    }

    /// Settings of the core. Set it before the token: the token says whether it is renewable.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Config { token_renewable: self.config.token_renewable, ..config };
        self
    }

    /// How long [`Self::connect`] waits for the first session, ms (30,000).
    #[must_use]
    pub const fn connect_timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.connect_timeout_ms = timeout_ms;
        self
    }

    /// Connects and waits for the first session. Later the client reconnects by itself.
    ///
    /// # Errors
    /// `Incomplete` without address or token, `Store`, `Trust`, `Unreachable`, `Ended` when the server refuses for good.
    pub async fn connect(self) -> Result<Client, ClientError> {
        let address = self.address.ok_or(ClientError::Incomplete("an address"))?;
        let token = self.token.ok_or(ClientError::Incomplete("a token"))?;
        let mut store = self.store.unwrap_or_else(|| Box::new(MemoryStore::new()));
        let image = store.load()?;
        let (commands, command_queue) = mpsc::channel(1_024);
        let (event_queue, mut events) = mpsc::channel(1_024);
        let (failed_to, failed) = watch::channel(String::new());
        let dialer = Dialer::new(address.clone(), self.trust.as_ref(), failed_to)?;
        let task = Task::new(Arc::new(self.config), image, store, dialer, token, command_queue, event_queue);
        tokio::spawn(task.run());
        let first = async {
            while let Some(event) = events.recv().await {
                match event {
                    Event::Welcome(welcome) => return Ok(*welcome),
                    Event::Ended(end) => return Err(ClientError::Ended(end)),
                    _ => {}
                }
            }
            Err(ClientError::Stopped)
        };
        let within_ms = self.connect_timeout_ms;
        let welcome = tokio::time::timeout(core::time::Duration::from_millis(within_ms), first)
            .await
            .map_err(|_| ClientError::Unreachable { address, within_ms, reason: failed.borrow().clone() })??;
        Ok(Client { commands, events, welcome })
    }
}

/// A device's client. Dropping it closes the connection; sends without outcome stay in the store.
pub struct Client {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<Event>,
    welcome: WelcomeFields,
}

impl Client {
    /// A builder with default settings.
    pub fn builder() -> Builder {
        Builder {
            address: None,
            token: None,
            store: None,
            config: Config::default(),
            trust: None,
            connect_timeout_ms: 30_000,
        }
    }

    /// The own user.
    pub const fn user(&self) -> UserId {
        self.welcome.user
    }

    /// The own device.
    pub const fn device(&self) -> DeviceId {
        self.welcome.device
    }

    /// The next event; `None` once the client has ended. Cancel-safe. Events wait in a queue of 1,024; when it is full the
    /// client stops reading its socket until there is room.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    async fn call<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, ClientError> {
        let (answer, wait) = oneshot::channel();
        self.commands.send(make(answer)).await.map_err(|_| ClientError::Stopped)?;
        wait.await.map_err(|_| ClientError::Stopped)
    }

    /// Sends to a user. Returns once the send is durable in the client's store.
    ///
    /// # Errors
    /// `Send` when it was not taken, `Stopped`.
    pub async fn send(&self, to: UserId, body: impl Into<Bytes>) -> Result<SendHandle, ClientError> {
        self.send_new(NewSend::message(Bytes::new(), SendTarget::User(to), body.into())).await
    }

    /// Sends anything. An empty `client_msg_id` is replaced by a random one.
    ///
    /// # Errors
    /// `Send` when it was not taken, `Stopped`.
    pub async fn send_new(&self, mut send: NewSend) -> Result<SendHandle, ClientError> {
        if send.client_msg_id.is_empty() {
            send.client_msg_id = crate::core::new_client_msg_id(&mut fabric::entropy::OsEntropy);
        }
        let client_msg_id = send.client_msg_id.clone();
        let (outcome_to, outcome) = oneshot::channel();
        let chat = self.call(|answer| Command::Send(send, outcome_to, answer)).await??;
        Ok(SendHandle { client_msg_id, chat, outcome })
    }

    /// The application has handled everything of `chat` up to `seq`; durable when it returns.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn handled(&self, chat: ChatId, seq: u64) -> Result<(), ClientError> {
        self.call(|answer| Command::Handled(chat, seq, answer)).await
    }

    /// Everything of `chat` up to `seq` has been read (and handled); durable when it returns.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn mark_read(&self, chat: ChatId, seq: u64) -> Result<(), ClientError> {
        self.call(|answer| Command::Read(chat, seq, answer)).await
    }

    /// Entries of `chat` after seq `after`, at most `limit`; a page may be shorter: ask on after `covers.1`.
    ///
    /// # Errors
    /// `Ask`, `AskFailed`, `Stopped`.
    pub async fn history(&self, chat: ChatId, after: u64, limit: u32) -> Result<HistoryPage, ClientError> {
        match self.ask(Question::History { chat, after, limit }).await? {
            Event::History(page) => Ok(*page),
            other => unreachable!("the core matches answers with their questions: {other:?}"),
        }
    }

    /// Writes what is pending and ends.
    ///
    /// # Errors
    /// `Stopped` when it had ended before.
    pub async fn close(self) -> Result<(), ClientError> {
        self.call(Command::Close).await
    }
}
