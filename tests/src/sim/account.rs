//! Users' account logs: docs/PROTOCOL.md, "The account log", folded from what was sent, and what devices do with them.
//!
//! What comes of them is judged elsewhere: answers and lists in `listed`, who is told what somebody read in `secrets`, who is
//! let in in `revoking`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use client::core::{AccountChange, Question};
use schema::encode::ChatSettings;
use schema::errors::ErrorCode;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};

use super::case::Part;
use super::device::GUEST;
use super::model::Model;
use super::plan::pick;
use super::talk::{Line, Wanted};
use super::world::World;

/// The setting that decides whether a user tells what they read.
pub const READ_RECEIPTS: &[u8] = b"read_receipts";

/// A user's account as of an entry of its log.
#[derive(Clone, Default)]
pub struct State {
    /// About no chat.
    pub settings: BTreeMap<Bytes, Bytes>,
    /// About chats.
    pub chats: BTreeMap<ChatId, ChatSettings>,
    /// What is not shown of chats.
    pub hidden: BTreeMap<ChatId, BTreeSet<[u8; 16]>>,
    /// Name, and when it was given and when last revoked, ms since 1970.
    pub devices: BTreeMap<DeviceId, (Bytes, u64, u64)>,
}

impl State {
    /// Whether the user tells nobody what they read, and is told of nobody.
    pub fn is_private(&self) -> bool {
        self.settings.get(READ_RECEIPTS).is_some_and(|value| &value[..] == b"off")
    }

    /// Whether a message of a chat is hidden.
    pub fn hides(&self, chat: ChatId, message: MessageId) -> bool {
        self.hidden.get(&chat).is_some_and(|hidden| hidden.contains(&message.0))
    }
}

/// One user's account, as its log makes it.
pub struct Account {
    /// Whose.
    pub user: UserId,
    /// By the seq of the log's last entry.
    states: Vec<State>,
    /// When the entries were written, ms since 1970.
    times: Vec<u64>,
}

impl Account {
    /// As all that is known of the log makes it.
    pub fn state(&self) -> &State {
        self.states.last().expect("the empty log has one")
    }

    /// What an answer may be of that was asked for when so many entries were known, and came at the latest at this wall time,
    /// ms since 1970.
    pub fn between(&self, known: u64, by_ms: u64) -> impl Iterator<Item = &State> + Clone {
        let known = known as usize;
        let behind = self.times.iter().take_while(move |&&ms| ms <= by_ms).count();
        self.states[known..=behind.max(known)].iter()
    }

    /// The next entry of the log, by a device of the user.
    ///
    /// # Panics
    /// When it may not be there.
    pub fn fold(&mut self, seq: u64, line: &Line, by: DeviceId, change: &AccountChange) {
        let mut state = self.state().clone();
        match change {
            AccountChange::Setting { key, value, subject: None } => {
                if value.is_empty() {
                    state.settings.remove(key);
                } else {
                    state.settings.insert(key.clone(), value.clone());
                }
            }
            AccountChange::Setting { key, value, subject: Some(chat) } => {
                let set = state.chats.entry(*chat).or_default();
                match &key[..] {
                    b"pinned" => set.pinned = &value[..] == b"on",
                    b"archived" => set.archived = &value[..] == b"on",
                    _ => set.muted_until_ms = core::str::from_utf8(value).map_or(0, |text| text.parse().unwrap_or(0)),
                }
            }
            AccountChange::Hidden { chat, message } => {
                let new = state.hidden.entry(*chat).or_default().insert(message.0);
                assert!(new, "invariant account: seq {seq} of {}'s log hides what is hidden", self.user);
            }
            AccountChange::Named { device, name } => {
                let known = state.devices.entry(*device).or_default();
                (known.0, known.1) = (name.clone(), line.ms);
            }
            AccountChange::Revoked { device } => {
                assert!(*device != by, "invariant account: {by:?} of {} revoked itself", self.user);
                let known = state.devices.entry(*device).or_default();
                known.2 = known.2.max(line.ms);
            }
        }
        let valid = match change {
            AccountChange::Setting { key, value, subject } => is_valid(key, value, subject.is_some()),
            _ => true,
        };
        assert!(valid, "invariant account: seq {seq} of {}'s log sets what there is not: {change:?}", self.user);
        self.states.push(state);
        self.times.push(line.ms);
    }
}

/// What a user does with `read_receipts`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stance {
    /// Leaves it alone.
    Open,
    /// Turns it off sooner or later, and never on again.
    Closes,
    /// Turns it on and off. Who does so on one device may be told of what another read that has not heard of it, so only of
    /// the others can it be said what is secret.
    Wavers,
}

/// See [`Stance`].
pub const fn stance(user: UserId) -> Stance {
    match user.get() % 4 {
        1 => Stance::Wavers,
        2 => Stance::Closes,
        _ => Stance::Open,
    }
}

/// Whether there is such a setting, and such a value of it.
fn is_valid(key: &[u8], value: &[u8], of_chat: bool) -> bool {
    let switch = matches!(value, b"on" | b"off" | b"");
    match (key, of_chat) {
        (b"read_receipts", false) | (b"pinned" | b"archived", true) => switch,
        (b"muted_until", true) => value.iter().all(u8::is_ascii_digit),
        (_, false) => key.starts_with(b"app."),
        _ => false,
    }
}

impl Model {
    /// A user's account.
    pub fn account(&self, user: UserId) -> &Account {
        &self.accounts[&ChatId::account(user)]
    }

    /// A user.
    pub fn add_account(&mut self, user: UserId) {
        let account = Account { user, states: vec![State::default()], times: Vec::new() };
        self.accounts.insert(ChatId::account(user), account);
    }
}

impl World {
    /// A device changes its user's account, sometimes in the same way again while that is not durable; and looks at it.
    pub fn change_account_some(&mut self, at: usize) {
        let user = self.devices[at].user;
        let Some(change) = self.some_change(user) else { return };
        let times = if self.env.rng.one_in(3) { 2 } else { 1 };
        for _ in 0..times {
            self.change_account(at, change.clone());
        }
        if self.devices[at].hush.is_some() {
            self.read(at);
            self.read(at);
        }
        match self.env.rng.below(6) {
            0 => self.ask(at, Question::Chats { before: None, limit: 3 }),
            1 => {
                let chat = self.some_hidden(user);
                self.ask(at, Question::Account { chat });
            }
            _ => {}
        }
    }

    /// A device changes its user's account.
    pub fn change_account(&mut self, at: usize, change: AccountChange) {
        let device = &self.devices[at];
        let (user, number) = (device.user, device.device);
        // Whose log it is, is not known before the first session.
        if device.core.as_ref().is_none_or(|core| core.identity().is_none()) {
            return;
        }
        let (id, chat) = (self.new_id(user, number), ChatId::account(user));
        self.env.note("account", [at as u64, u64::from(change.kind().0), self.ids]);
        let hushes = self.would_hush(at, &change).then_some(self.client_counters.sends_written);
        self.model.wanted.insert(id.clone(), (chat, Wanted::Account(change)));
        self.devices[at].app.sends.push((chat, id.clone()));
        match self.hand_over(at, chat, &id) {
            Some(Ok(taken)) => assert_eq!(taken, chat, "it goes to the account log"),
            refused => panic!("invariant accepted: a change of an account was not taken: {refused:?}"),
        }
        if hushes.is_some_and(|before| self.client_counters.sends_written > before) {
            self.hush(at, id);
        }
        self.operations += 1;
    }

    fn some_change(&mut self, user: UserId) -> Option<AccountChange> {
        let chats: Vec<ChatId> = self.model.chats_of(user).filter(|&chat| self.model.known(chat) > 0).collect();
        // One chat mostly, so that what is set there is set again.
        let favourite = self.env.rng.one_in(2);
        let chat = if favourite { chats.first().copied() } else { self.one_of(&chats) };
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        let switch = pick(&mut self.env.rng, &["on", "on", "off", ""]);
        let set = |key, value, subject| AccountChange::Setting { key: text(key), value: text(value), subject };
        Some(match (self.env.rng.below(16), chat) {
            (0..2, _) => match stance(user) {
                Stance::Open => return None,
                Stance::Closes => set("read_receipts", "off", None),
                Stance::Wavers => set("read_receipts", switch, None),
            },
            (2, _) => {
                let choices = [("app.a", "1"), ("app.b", "2"), ("app.a", ""), ("else", "x")];
                let (key, value) = pick(&mut self.env.rng, &choices);
                set(key, value, None)
            }
            (3..7, Some(_)) => {
                let muted = pick(&mut self.env.rng, &["0", "18446744073709551615", "77", "later"]);
                let choices = [
                    ("pinned", switch),
                    ("pinned", switch),
                    ("archived", switch),
                    ("archived", switch),
                    ("muted_until", muted),
                    ("pinned", "maybe"),
                ];
                let (key, value) = pick(&mut self.env.rng, &choices);
                set(key, value, chat)
            }
            (7..11, Some(chat)) => {
                let lines: Vec<MessageId> = self.model.talks[&chat].lines().map(|(_, line)| line.message).collect();
                let last = lines.last().copied().filter(|_| self.env.rng.one_in(2));
                AccountChange::Hidden { chat, message: last.or_else(|| self.one_of(&lines))? }
            }
            (11..14, _) => AccountChange::Revoked { device: pick(&mut self.env.rng, &[GUEST, GUEST, DeviceId(77)]) },
            _ => {
                let name = pick(&mut self.env.rng, &["phone", "desk"]);
                AccountChange::Named { device: DeviceId(1 + self.env.rng.below(3) as u32), name: text(name) }
            }
        })
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        (!choices.is_empty()).then(|| pick(&mut self.env.rng, choices))
    }

    /// Whether there may be this reason to refuse a change of an account.
    pub fn account_may_be_refused(&self, id: &Bytes, code: ErrorCode, change: &AccountChange) -> bool {
        match (code, change) {
            (ErrorCode::InvalidSetting, AccountChange::Setting { key, value, subject }) => {
                !is_valid(key, value, subject.is_some())
            }
            (ErrorCode::NoChange, AccountChange::Hidden { message, .. }) => {
                let hides = |wanted: &Wanted| matches!(wanted, Wanted::Account(AccountChange::Hidden { message: other, .. }) if other == message);
                self.model.wanted.iter().any(|(other, (_, wanted))| other != id && hides(wanted))
            }
            _ => false,
        }
    }

    /// A chat of which a user has hidden something, if there is one.
    pub fn some_hidden(&self, user: UserId) -> Option<ChatId> {
        self.model.account(user).state().hidden.keys().next().copied()
    }

    /// In the calm everybody changes their account once more, and looks at it.
    pub fn last_settings(&mut self) {
        if self.plan.is_without(Part::Accounts) {
            return;
        }
        let mut users = BTreeSet::new();
        let first = |&at: &usize| {
            let device = &self.devices[at];
            device.is_live() && !device.is_guest() && users.insert(device.user)
        };
        let first: Vec<usize> = (0..self.devices.len()).filter(first).collect();
        for &at in &first {
            self.last_settings_of(at);
        }
        self.rest("after the last settings");
        self.wait_for_answers();
        self.told.settled = true;
        for &at in &first {
            let chat = self.some_hidden(self.devices[at].user);
            self.ask(at, Question::Account { chat });
            self.ask(at, Question::Chats { before: None, limit: 100 });
        }
        self.wait_for_answers();
        self.told.settled = false;
        // Of what is read now whoever turned receipts off is told nothing.
        for at in first {
            self.read_all(at);
        }
    }

    fn last_settings_of(&mut self, at: usize) {
        let user = self.devices[at].user;
        self.go_private(at);
        let guest = self.devices.iter().any(|device| device.user == user && device.is_guest() && device.is_live());
        if guest && self.env.rng.one_in(2) {
            self.change_account(at, AccountChange::Revoked { device: GUEST });
        }
        let chats: Vec<ChatId> = self.model.chats_of(user).collect();
        let Some(chat) = self.one_of(&chats) else { return };
        let last = self.model.place(chat, self.model.last_seen_by(user, chat)).map(|place| place.message);
        if let Some(message) = last {
            self.change_account(at, AccountChange::Hidden { chat, message });
            let key = pick(&mut self.env.rng, &[&b"pinned"[..], b"archived"]);
            let (key, value) = (Bytes::from_static(key), Bytes::from_static(b"on"));
            self.change_account(at, AccountChange::Setting { key, value, subject: Some(chat) });
        }
    }
}
