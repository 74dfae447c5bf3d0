//! The client without its I/O.
//!
//! A [`Core`] is one device's session over any number of connections. It is told what happens ([`Input`] and the methods),
//! and says what to do ([`Output`]). It reads no clock and draws no randomness itself. One thread owns it.
mod amendments;
mod asks;
mod chat;
mod config;
mod entry;
mod groups;
mod lane;
mod receive;
mod sends;
mod session;
#[cfg(test)]
mod tests;
mod types;

pub use amendments::*;
pub use config::*;
pub use entry::Entry;
use groups::members;
pub use groups::*;
pub use sends::BODY_BYTES;
pub use types::*;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use fabric::entropy::Entropy;
use fabric::time::Now;
use schema::ids::{ChatId, DeviceId, UserId};
use schema::limits;
use schema::wire::MarkStatus;

use self::chat::Chat;
use self::lane::{Outbox, Pace};
use crate::store::{Change, Image};

/// Marks written in one flush; the rest follows [`MARKS_PAUSE_MS`] later.
const MARKS_PER_FLUSH: usize = 256;
const MARKS_PAUSE_MS: u64 = 10;
const NS_PER_MS: u64 = 1_000_000;

/// Where the connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    Connecting,
    /// Hello is written.
    Greeting,
    Ready,
    Ended,
}

/// A gap above a cursor.
#[derive(Debug)]
struct Gap {
    chat: ChatId,
    /// The highest seq seen.
    top: u64,
    /// When to ask for what is missing, ns; `u64::MAX` while that runs.
    due_ns: u64,
}

/// A request.
#[derive(Clone, Copy, Debug)]
struct Ask {
    request: u64,
    question: Question,
}

/// What few cores need at a time.
#[derive(Debug, Default)]
struct Extra {
    /// Entries above a gap, by chat and seq.
    held: Vec<Entry>,
    gaps: Vec<Gap>,
    /// The first one is running when `asked`.
    asks: VecDeque<Ask>,
    asked: bool,
    /// The running one fails then, ns.
    ask_due_ns: u64,
}

impl Extra {
    fn is_empty(&self) -> bool {
        self.held.is_empty() && self.gaps.is_empty() && self.asks.is_empty()
    }
}

/// One device's client. See the module.
///
/// Idle, with one chat, it takes about 400 bytes: what is rarely needed is boxed and let go of at a ping.
pub struct Core {
    config: Arc<Config>,
    me: Option<(UserId, DeviceId)>,
    /// By id.
    chats: Vec<Chat>,
    outbox: Option<Box<Outbox>>,
    extra: Option<Box<Extra>>,
    /// An incomplete frame.
    partial: Vec<u8>,
    /// Chats with something to store or to mark.
    dirty: Vec<ChatId>,
    pace: Pace,
    /// Next ping; in `Greeting`: when the handshake fails. ns.
    ping_ns: u64,
    last_in_ns: u64,
    /// Marks are flushed then, ns; 0 = none wait.
    flush_ns: u64,
    next_request: u64,
    /// The server's time at the last Synced, ms since 1970; 0 = never synced.
    synced_ms: u64,
    window: u32,
    frame_limit_bytes: u32,
    ping_interval_ms: u32,
    phase: Phase,
    /// Connections in a row that came to nothing.
    attempt: u8,
}

impl Core {
    /// A core that goes on from what its store holds (`Image::default()`: a new device).
    pub fn new(config: Arc<Config>, image: Image) -> Self {
        let mut core = Self {
            me: image.identity,
            chats: image.chats.into_iter().map(|(id, stored)| Chat::stored(id, stored)).collect(),
            outbox: None,
            extra: None,
            partial: Vec::new(),
            dirty: Vec::new(),
            pace: Pace::default(),
            ping_ns: 0,
            last_in_ns: 0,
            flush_ns: 0,
            next_request: 0,
            synced_ms: image.synced_ms,
            window: 0,
            frame_limit_bytes: limits::FRAME_LIMIT_BYTES as u32,
            ping_interval_ms: limits::PING_INTERVAL_MS,
            phase: Phase::Idle,
            attempt: 0,
            config,
        };
        for send in image.outbox {
            core.restore(send);
        }
        core
    }

    /// Tells it what happened; outputs are appended to `cx.out`.
    pub fn handle(&mut self, cx: &mut Cx<'_>, input: Input<'_>) {
        match input {
            Input::Start if self.phase == Phase::Idle => {
                self.phase = Phase::Connecting;
                cx.out.push(Output::Connect { after_ms: 0 });
            }
            Input::Connected { token } if self.phase == Phase::Connecting => self.greet(cx, token),
            Input::ConnectFailed if self.phase == Phase::Connecting => self.retry_later(cx, Cause::ConnectFailed, 0),
            Input::Bytes(bytes) if self.has_connection() => self.received(cx, bytes),
            Input::Disconnected if self.has_connection() => self.lost(cx, Cause::Lost, 0),
            Input::Tick => self.tick(cx),
            _ => {}
        }
        self.settle(cx);
    }

    /// The application has handled everything of `chat` up to `seq` (with [`Handling::Explicit`]). Clamped to what was
    /// handed over.
    pub fn handled(&mut self, cx: &mut Cx<'_>, chat: ChatId, seq: u64) {
        if let Ok(at) = self.find(chat)
            && self.chats[at].handle(seq)
        {
            self.mark_later(cx.now, at, true);
        }
        self.settle(cx);
    }

    /// Everything of `chat` up to `seq` has been read. Implies handled. Clamped to what was handed to the application.
    pub fn mark_read(&mut self, cx: &mut Cx<'_>, chat: ChatId, seq: u64) {
        if let Ok(at) = self.find(chat) {
            let chat = &mut self.chats[at];
            let seq = seq.min(chat.cursor);
            let handled = chat.handle(seq);
            if seq > chat.read {
                chat.read = seq;
                chat.save_read = true;
                chat.mark_read = true;
                self.mark_later(cx.now, at, handled);
            }
        }
        self.settle(cx);
    }

    /// Ends: pending marks are written, the connection is closed, [`Event::Ended`] comes. Sends without outcome stay stored.
    pub fn close(&mut self, cx: &mut Cx<'_>) {
        if self.phase != Phase::Ended {
            while !self.dirty.is_empty() {
                self.flush(cx);
            }
            self.end(cx, End::Closed);
        }
    }

    /// When [`Input::Tick`] is due, ns of the monotonic clock.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let mut due = u64::MAX;
        if self.has_connection() {
            due = self.ping_ns;
        }
        if self.flush_ns > 0 && self.phase != Phase::Ended {
            due = due.min(self.flush_ns);
        }
        if self.phase == Phase::Ready {
            if let Some(outbox) = &self.outbox {
                due = due.min(outbox.waiting.iter().map(|&(at, _)| at).min().unwrap_or(u64::MAX));
                if !outbox.ready.is_empty() && outbox.in_flight < self.window {
                    due = due.min(outbox.pause_until_ns.max(self.pace.ready_at_ns()));
                }
            }
            if let Some(extra) = &self.extra {
                due = due.min(extra.gaps.iter().map(|gap| gap.due_ns).min().unwrap_or(u64::MAX));
                if extra.asked {
                    due = due.min(extra.ask_due_ns);
                }
            }
        }
        (due < u64::MAX).then_some(due)
    }

    /// Whether a session stands (between Welcome and its end).
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// User and device, once known.
    pub const fn identity(&self) -> Option<(UserId, DeviceId)> {
        self.me
    }

    /// Sends without outcome, in flight included.
    pub fn outbox_len(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.len())
    }

    /// The last seq of `chat` handed to the application (or had otherwise), if known.
    pub fn cursor(&self, chat: ChatId) -> Option<u64> {
        self.find(chat).ok().map(|at| &self.chats[at]).filter(|chat| chat.known).map(|chat| chat.cursor)
    }

    fn has_connection(&self) -> bool {
        matches!(self.phase, Phase::Greeting | Phase::Ready)
    }

    /// Behind a Hello that says who this is, marks cannot be taken for another's.
    fn may_mark(&self) -> bool {
        self.phase == Phase::Ready || (self.phase == Phase::Greeting && self.me.is_some())
    }

    fn find(&self, chat: ChatId) -> Result<usize, usize> {
        self.chats.binary_search_by(|known| known.id.cmp(&chat))
    }

    fn find_or_add(&mut self, chat: ChatId) -> usize {
        self.find(chat).unwrap_or_else(|at| {
            if self.chats.len() < 4 {
                self.chats.reserve_exact(1);
            }
            self.chats.insert(at, Chat::new(chat));
            at
        })
    }

    /// Notes that a chat has something to mark or store.
    fn mark_later(&mut self, now: Now, at: usize, delivered: bool) {
        let interval_ms = u64::from(self.config.mark_interval_ms);
        let chat = &mut self.chats[at];
        chat.mark |= delivered;
        chat.save |= delivered;
        if !chat.dirty {
            chat.dirty = true;
            if self.dirty.is_empty() {
                self.dirty.reserve_exact(1);
            }
            self.dirty.push(chat.id);
        }
        if self.flush_ns == 0 {
            self.flush_ns = (now.mono_ns + interval_ms * NS_PER_MS).max(1);
        }
    }

    /// The end of every call: marks, sends and requests that are due go out.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        if self.phase == Phase::Ended {
            return;
        }
        if self.flush_ns > 0 && cx.now.mono_ns >= self.flush_ns {
            self.flush(cx);
        }
        self.pump(cx);
        self.write_ask(cx);
    }

    /// Stores positions, then marks them (the store comes first: a mark lets the server forget this device's need).
    fn flush(&mut self, cx: &mut Cx<'_>) {
        self.flush_ns = 0;
        let may_mark = self.may_mark();
        let count = self.dirty.len().min(MARKS_PER_FLUSH);
        for n in 0..count {
            let id = self.dirty[n];
            let Ok(at) = self.find(id) else { continue };
            let chat = &mut self.chats[at];
            chat.dirty = false;
            if self.config.durable && chat.save {
                cx.out.push(Output::Persist(Change::Handled { chat: id, seq: chat.handled }));
            }
            if self.config.durable && chat.save_read {
                cx.out.push(Output::Persist(Change::Read { chat: id, seq: chat.read }));
            }
            (chat.save, chat.save_read) = (false, false);
            let read = chat.mark_read && chat.read > 0;
            // A read mark of the same seq says delivered too.
            let delivered = chat.mark && chat.handled > 0 && !(read && chat.read >= chat.handled);
            (chat.mark, chat.mark_read) = (false, false);
            chat.age = 2;
            for (due, seq, status) in
                [(delivered, chat.handled, MarkStatus::delivered), (read, chat.read, MarkStatus::read)]
            {
                if due && may_mark {
                    cx.counters.marks_written += 1;
                    cx.out.push(Output::Write(cx.encoder.mark(id, seq, None, status)));
                }
            }
        }
        self.dirty.drain(..count);
        if !self.dirty.is_empty() {
            self.flush_ns = cx.now.mono_ns + MARKS_PAUSE_MS * NS_PER_MS;
        }
    }
}

/// A client_msg_id: 128 random bits as 32 hex digits.
pub fn new_client_msg_id(entropy: &mut dyn Entropy) -> Bytes {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut random = [0u8; 16];
    entropy.fill(&mut random);
    let mut text = Vec::with_capacity(32);
    for byte in random {
        text.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    text.into()
}
