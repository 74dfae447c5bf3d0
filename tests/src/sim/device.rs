//! One device: a client core, its store, and an application that checks what it is handed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use client::conversation::Conversation;
use client::core::{Core, Question};
use client::store::{ClientStore, Image, MemoryStore};
use client::{Config, Entry};
use fabric::sim::StreamId;
use schema::ids::{ChatId, DeviceId, UserId};

use super::secrets::Hush;

/// History that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Sought {
    /// Of which chat.
    pub chat: ChatId,
    /// Above this seq.
    pub after: u64,
    /// When, wall time, ms since 1970.
    pub asked_ms: u64,
    /// How often the wall clock had stepped.
    pub steps: u64,
    /// So much of the chat was known.
    pub known: u64,
}

/// A question that was asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// What.
    pub question: Question,
    /// So many entries of the own account log were known.
    pub known: u64,
    /// The asker was known to be told of nobody what they have read.
    pub blind: bool,
}

/// What the application knows. What it handled survives a crash (it is in the store), the rest is per run.
#[derive(Default)]
pub struct App {
    /// Every entry it was ever handed: seq and client_msg_id.
    pub seen: BTreeMap<ChatId, BTreeMap<u64, Bytes>>,
    /// The last entry of this run.
    pub last: BTreeMap<ChatId, u64>,
    /// Handed over in this run and not yet handled.
    pub unhandled: VecDeque<(ChatId, u64)>,
    /// Places it was not handed because they are its own sends. Checked in the end.
    pub own: BTreeSet<(ChatId, u64)>,
    /// Every send it made, in order.
    pub sends: Vec<(ChatId, Bytes)>,
    /// Sends with a place, ever.
    pub sent: BTreeSet<Bytes>,
    /// Sends that were said to have failed, ever.
    pub failed: BTreeSet<Bytes>,
    /// Outcomes of this run.
    pub outcomes: BTreeSet<Bytes>,
    /// How far others are, as receipts said in this run: delivered, read.
    pub receipts: BTreeMap<(ChatId, UserId), (u64, u64)>,
    /// The same, ever.
    pub ticked: BTreeMap<(ChatId, UserId), (u64, u64)>,
    /// When it was synced first of all that its store remembers, ns: what ticked before it is told to nobody who did not ask.
    pub synced_first_ns: Option<u64>,
    /// It knows that its user tells nobody what they read.
    pub silent: bool,
    /// Chats' messages, folded from what it got and sent.
    pub talks: BTreeMap<ChatId, Conversation>,
    /// History requests under way.
    pub histories: BTreeMap<u64, Sought>,
    /// Other requests under way.
    pub asked: BTreeMap<u64, Asked>,
}

/// Devices with this number only look, and may be revoked.
pub const GUEST: DeviceId = DeviceId(60);

/// See the module.
pub struct Device {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub device: DeviceId,
    /// What of it is running.
    pub core: Option<Core>,
    /// Survives crashes.
    pub store: MemoryStore,
    /// Something was appended that must be durable before the next write to the network.
    pub unsynced: bool,
    /// The core's settings.
    pub config: Arc<Config>,
    /// Its connection.
    pub stream: Option<StreamId>,
    /// When it connects next, ns.
    pub connect_ns: Option<u64>,
    /// While it is down: when it starts again, ns.
    pub start_ns: Option<u64>,
    /// Synced since it last connected.
    pub synced: bool,
    /// When its session began, ns.
    pub welcomed_ns: u64,
    /// A second process with a copy of another's store; ends at that time, ns.
    pub copy_until_ns: Option<u64>,
    /// Reads the logs in the end and sends nothing.
    pub audits: bool,
    /// A copy of it was started: it may be replaced.
    pub copied: bool,
    /// It was known to be revoked when it connected.
    pub barred: bool,
    /// Its session was ended because it was revoked: with this token it is not let in again.
    pub revoked: bool,
    /// When it starts next, it has a new token.
    pub logs_in: bool,
    /// When its token was issued, s since 1970; 0 = it does not say.
    pub issued_s: u64,
    /// Its session is known to be told of nobody what they have read.
    pub veiled: bool,
    /// It has said that its user tells nobody, and not heard that it is stored.
    pub hush: Option<Hush>,
    /// So many outputs from now it crashes.
    pub crash_in: Option<u64>,
    /// See [`App`].
    pub app: App,
}

impl Device {
    /// A new device, started at `start_ns`.
    pub fn new(user: UserId, device: DeviceId, config: Arc<Config>, start_ns: u64) -> Self {
        Self {
            user,
            device,
            core: None,
            store: MemoryStore::new(),
            unsynced: false,
            config,
            stream: None,
            connect_ns: None,
            start_ns: Some(start_ns),
            synced: false,
            welcomed_ns: 0,
            copy_until_ns: None,
            audits: false,
            copied: false,
            barred: false,
            revoked: false,
            logs_in: false,
            issued_s: 0,
            veiled: false,
            hush: None,
            crash_in: None,
            app: App::default(),
        }
    }

    /// A second process of the same device, with a copy of its store.
    pub fn copy(&self, start_ns: u64, until_ns: u64) -> Self {
        let mut copy = Self::new(self.user, self.device, self.config.clone(), start_ns);
        copy.store = self.store.clone();
        copy.store.crash(0);
        copy.copy_until_ns = Some(until_ns);
        copy.copied = true;
        copy.issued_s = self.issued_s;
        copy
    }

    /// Whether it only looks, and may be revoked.
    pub const fn is_guest(&self) -> bool {
        self.device.0 == GUEST.0
    }

    /// Whether it is one of those who are there to stay: no copy, and not turned away.
    pub const fn is_live(&self) -> bool {
        !self.is_copy() && !self.revoked
    }

    /// Whether it is a passing copy.
    pub const fn is_copy(&self) -> bool {
        self.copy_until_ns.is_some()
    }

    /// Starts its core from its store.
    pub fn start(&mut self) {
        let image = self.store.load().expect("a memory store loads");
        self.app.restart(&image, self.is_copy());
        self.start_ns = None;
        self.core = Some(Core::new(self.config.clone(), image));
    }

    /// The process is gone. `kept`: of what was not synced, so many changes are there all the same.
    pub fn crash(&mut self, kept: usize, start_ns: u64) {
        self.core = None;
        self.store.crash(kept);
        self.down(start_ns);
    }

    /// Nothing of it runs until `start_ns`.
    pub fn down(&mut self, start_ns: u64) {
        self.core = None;
        self.connect_ns = None;
        self.stream = None;
        self.synced = false;
        self.crash_in = None;
        self.unsynced = false;
        self.start_ns = Some(start_ns);
    }
}

impl App {
    /// A run begins with what the store holds.
    fn restart(&mut self, image: &Image, is_copy: bool) {
        if !is_copy {
            // What was taken and not stored is gone with the crash, and never reached the server.
            let kept: BTreeSet<_> = image.outbox.iter().map(|send| &send.client_msg_id).collect();
            let had = |id: &Bytes| self.sent.contains(id) || self.failed.contains(id);
            self.sends.retain(|(_, id)| kept.contains(id) || had(id));
        }
        if image.synced_ms == 0 {
            self.synced_first_ns = None;
        }
        self.last = image.chats.iter().map(|(&chat, stored)| (chat, stored.handled.unwrap_or(0))).collect();
        self.unhandled.clear();
        self.outcomes.clear();
        self.receipts.clear();
        self.histories.clear();
        self.asked.clear();
    }

    /// An entry was handed over.
    pub fn entry(&mut self, entry: &Entry) {
        let (chat, seq) = (entry.chat(), entry.seq());
        self.talks.entry(chat).or_default().apply(entry);
        let last = self.last.insert(chat, seq).unwrap_or(0);
        assert!(seq > last, "invariant once: seq {seq} of {chat} was handed over after {last}");
        self.own.extend((last + 1..seq).map(|seq| (chat, seq)));
        self.seen.entry(chat).or_default().insert(seq, Bytes::copy_from_slice(entry.client_msg_id()));
        self.unhandled.push_back((chat, seq));
    }
}
