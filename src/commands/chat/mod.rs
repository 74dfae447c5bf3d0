//! `shardwire chat`: a conversation in the terminal, with ticks, history and reconnects.
//!
//! [`talk`] knows what is said, [`screen`] shows it on a terminal, [`lines`] prints it where there is none. The client
//! library does the rest: outbox and positions are in a folder, so that what was typed survives a crash of either side.

mod lines;
mod screen;
mod talk;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use client::core::{Config as ClientConfig, End, Event, NewSend};
use client::driver::Trust;
use client::store::FileStore;
use client::{Client, ClientError};
use fabric::entropy::OsEntropy;
use fabric::time::{Clock as _, SystemClock};
use miette::{IntoDiagnostic, Report, Result, WrapErr, miette};
use schema::encode::SendTarget;
use schema::ids::UserId;

use self::talk::{Change, Talk};
use crate::auth;
use crate::cli::ChatArgs;

/// How long the first session may take.
const CONNECT_TIMEOUT_MS: u64 = 10_000;
/// How long a page of history may take before the screen goes on without it.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(5);
/// Each token made here is valid for so long; a new one is made for every connection.
const TOKEN_TTL: Duration = Duration::from_secs(3_600);

/// Chats until the user leaves or standard input ends.
///
/// # Errors
/// When the token, the store or the server cannot be had, or the server ends the session for good.
pub fn run(args: &ChatArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().into_diagnostic()?;
    let result = runtime.block_on(chat(args));
    // A read of standard input may be under way for good.
    runtime.shutdown_background();
    result
}

async fn chat(args: &ChatArgs) -> Result<()> {
    let client = connect(args).await?;
    let talk = Talk::new(client.user(), args.to);
    let mut session = Session { client, talk };
    session.talk.link = talk::Link::Online;
    session.talk.zone = jiff::tz::TimeZone::system();
    session.recent(u64::from(args.history)).await;
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !args.plain;
    if terminal { screen::run(session).await } else { lines::run(session).await }
}

async fn connect(args: &ChatArgs) -> Result<Client> {
    let config = args.server.load()?;
    let address = args.address.clone().unwrap_or_else(|| config.server.native.to_string());
    let mut builder = Client::builder().connect_timeout_ms(CONNECT_TIMEOUT_MS);
    builder = builder.config(ClientConfig {
        agent: concat!("shardwire-chat/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..ClientConfig::default()
    });
    if args.tls || args.tls_ca.is_some() {
        builder = builder.tls(args.tls_ca.clone().map_or(Trust::Host, Trust::File));
    }
    builder = match (&args.token_file, args.user) {
        (Some(file), _) => {
            let token = std::fs::read_to_string(file).into_diagnostic();
            builder.token(token.wrap_err_with(|| format!("cannot read the token in {}", file.display()))?.trim())
        }
        (None, Some(user)) => {
            let minter = auth::minter(&config)?;
            let device = args.device;
            // An HMAC over a few bytes fails for nobody who could make the minter.
            builder.token_source(move || {
                minter.mint(user, device, SystemClock.now().wall_ms(), TOKEN_TTL).unwrap_or_default()
            })
        }
        (None, None) => return Err(miette!("say who you are: --user N, or --token-file FILE")),
    };
    if let Some(folder) = store_folder(args, &address) {
        builder = builder.store(FileStore::open(&folder).into_diagnostic()?);
    }
    builder.address(&address).connect().await.map_err(|error| explain(error, &address))
}

/// Where outbox and positions are kept: as asked, else in the user's state folder, by server and device.
fn store_folder(args: &ChatArgs, address: &str) -> Option<PathBuf> {
    if args.store.is_some() {
        return args.store.clone();
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = state.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))?;
    // A token's user is not known before the session: its file keeps its positions in memory only.
    let user = args.user.filter(|_| args.token_file.is_none())?;
    let address: String =
        address.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).collect();
    Some(state.join("shardwire/chat").join(format!("{address}-user{user}-device{}", args.device.0)))
}

fn explain(error: ClientError, address: &str) -> Report {
    let help = match &error {
        ClientError::Unreachable { .. } => {
            format!(
                "is the server running, and is {address} its native listener? `shardwire status` says where it listens; \
                 one that speaks TLS needs --tls or --tls-ca FILE, any other neither"
            )
        }
        ClientError::Ended(End::Server(refusal)) => {
            format!("the server at {address} refused: {refusal}; see docs/ERRORS.md")
        }
        ClientError::Ended(End::WrongStore(..)) => {
            "give another --store, or the user and device it was made with".to_owned()
        }
        ClientError::Trust(_) => "--tls-ca names a PEM file with the authorities to trust".to_owned(),
        ClientError::Store(_) => {
            "another chat of the same user and device may be open: give this one another --device".to_owned()
        }
        _ => "see docs/ERRORS.md".to_owned(),
    };
    miette!(help = help, "{error}")
}

/// A conversation and the client it goes over.
struct Session {
    client: Client,
    talk: Talk,
}

impl Session {
    /// Sends a line. The error is for the user's eyes: the line was not taken.
    async fn send(&mut self, text: &str) -> Result<(), String> {
        let client_msg_id = client::core::new_client_msg_id(&mut OsEntropy);
        let send = NewSend::message(client_msg_id.clone(), SendTarget::User(self.talk.peer), text.to_owned().into());
        self.client.send_new(send).await.map_err(|error| error.to_string())?;
        self.talk.taken(client_msg_id, text.to_owned());
        Ok(())
    }

    /// Takes an event in; what is shown counts as read. `Err`: the client has ended.
    async fn event(&mut self, event: Option<Event>) -> Result<Option<Change>> {
        let Some(event) = event else { return Err(miette!("the client has stopped")) };
        if let Event::Ended(end) = &event {
            return Err(miette!(help = ended_help(end), "{end}"));
        }
        if let Event::Entry(entry) = &event {
            // Another chat's entries stay unread, and are not asked for again.
            let seen = if entry.chat() == self.talk.chat {
                self.client.mark_read(entry.chat(), entry.seq()).await
            } else {
                self.client.handled(entry.chat(), entry.seq()).await
            };
            seen.into_diagnostic()?;
        }
        Ok(self.talk.event(&event, SystemClock.now().wall_ms()))
    }

    /// The newest lines there are. None before the first message of a chat, and none while the server cannot say.
    async fn recent(&mut self, lines: u64) {
        let Some(first) = self.page(0, 1).await else { return };
        if first > lines {
            self.talk.known_from = Some(first + 1);
            self.older(lines).await;
        } else {
            self.pages(0, first).await;
        }
    }

    /// Up to `lines` older lines; whether anything came.
    async fn older(&mut self, lines: u64) -> bool {
        let Some(known) = self.talk.known_from else { return false };
        let Some(after) = self.talk.older_than_known(lines) else { return false };
        self.pages(after, known - 1).await
    }

    /// Everything above `after` and up to `last`, a page at a time.
    async fn pages(&mut self, mut after: u64, last: u64) -> bool {
        let began = after;
        while after < last {
            let asked = tokio::time::timeout(HISTORY_TIMEOUT, self.client.history(self.talk.chat, after, 100)).await;
            let Ok(Ok(page)) = asked else { break };
            if page.covers.1 <= after {
                break;
            }
            self.talk.page(page.covers, &page.entries);
            after = page.covers.1;
        }
        after > began
    }

    /// The chat's last seq.
    async fn page(&mut self, after: u64, limit: u32) -> Option<u64> {
        let asked = tokio::time::timeout(HISTORY_TIMEOUT, self.client.history(self.talk.chat, after, limit)).await;
        asked.ok()?.ok().map(|page| page.head_seq)
    }
}

fn ended_help(end: &End) -> &'static str {
    match end {
        End::Server(refusal) if refusal.known() == Some(schema::errors::ErrorCode::SessionReplaced) => {
            "this user chats on the same device elsewhere: give one of them another --device"
        }
        End::TokenExpired => "get a new token and start again; nothing that was sent is lost",
        _ => "see docs/ERRORS.md",
    }
}

/// What an own line's tick is called where it is printed.
fn tick_word(tick: talk::Tick) -> &'static str {
    match tick {
        talk::Tick::Waiting => "waiting",
        talk::Tick::Sent => "sent",
        talk::Tick::Delivered => "delivered",
        talk::Tick::Read => "read",
    }
}

/// Who wrote a line.
fn name(talk: &Talk, from: UserId) -> String {
    if from == talk.me { "you".to_owned() } else { from.to_string() }
}
