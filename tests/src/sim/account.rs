//! Users' account logs: docs/PROTOCOL.md, "The account log", folded from what was sent; what devices do with them, and what
//! comes of it for sessions, marks and ticks.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use client::core::{AccountChange, ChatInfo, Question};
use schema::encode::ChatSettings;
use schema::errors::ErrorCode;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};

use super::device::{Device, GUEST};
use super::model::Model;
use super::plan::pick;
use super::talk::{Line, Wanted};
use super::world::World;

/// One user's account, as its log makes it.
pub struct Account {
    /// Whose.
    pub user: UserId,
    settings: BTreeMap<Bytes, Bytes>,
    chats: BTreeMap<ChatId, ChatSettings>,
    hidden: BTreeMap<ChatId, BTreeSet<[u8; 16]>>,
    /// Name, and when it was given and when revoked, ms since 1970.
    devices: BTreeMap<DeviceId, (Bytes, u64, u64)>,
}

impl Account {
    /// The next entry of the log, by a device of the user.
    ///
    /// # Panics
    /// When it may not be there.
    pub fn fold(&mut self, seq: u64, line: &Line, by: DeviceId, change: &AccountChange) {
        match change {
            AccountChange::Setting { key, value, subject: None } => {
                if value.is_empty() {
                    self.settings.remove(key);
                } else {
                    self.settings.insert(key.clone(), value.clone());
                }
            }
            AccountChange::Setting { key, value, subject: Some(chat) } => {
                let set = self.chats.entry(*chat).or_default();
                match &key[..] {
                    b"pinned" => set.pinned = &value[..] == b"on",
                    b"archived" => set.archived = &value[..] == b"on",
                    _ => set.muted_until_ms = core::str::from_utf8(value).map_or(0, |text| text.parse().unwrap_or(0)),
                }
            }
            AccountChange::Hidden { chat, message } => {
                let new = self.hidden.entry(*chat).or_default().insert(message.0);
                assert!(new, "invariant account: seq {seq} of {}'s log hides what is hidden", self.user);
            }
            AccountChange::Named { device, name } => {
                let known = self.devices.entry(*device).or_default();
                (known.0, known.1) = (name.clone(), line.ms);
            }
            AccountChange::Revoked { device } => {
                assert!(*device != by, "invariant account: {by:?} of {} revoked itself", self.user);
                let known = self.devices.entry(*device).or_default();
                known.2 = known.2.max(line.ms);
            }
        }
        let valid = match change {
            AccountChange::Setting { key, value, subject } => is_valid(key, value, subject.is_some()),
            _ => true,
        };
        assert!(valid, "invariant account: seq {seq} of {}'s log sets what there is not: {change:?}", self.user);
    }
}

/// Whether a user who tells nobody what they read may tell again. Who does so on one device may be told of what another
/// read that has not heard of it, so only of the others can it be said what is secret.
pub const fn wavers(user: UserId) -> bool {
    !user.get().is_multiple_of(2)
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
    /// A user.
    pub fn add_account(&mut self, user: UserId) {
        let (settings, chats, hidden) = Default::default();
        let account = Account { user, settings, chats, hidden, devices: BTreeMap::new() };
        self.accounts.insert(ChatId::account(user), account);
    }
}

impl World {
    /// A device changes its user's account.
    pub fn change_account_some(&mut self, at: usize) {
        let device = &self.devices[at];
        let (user, number) = (device.user, device.device);
        // Whose log it is, is not known before the first session.
        if device.core.as_ref().is_none_or(|core| core.identity().is_none()) {
            return;
        }
        let Some(change) = self.some_change(user) else { return };
        let (id, chat) = (self.new_id(user, number), ChatId::account(user));
        self.env.note("account", [at as u64, u64::from(change.kind().0), self.ids]);
        self.model.wanted.insert(id.clone(), (chat, Wanted::Account(change)));
        self.devices[at].app.sends.push((chat, id.clone()));
        match self.hand_over(at, chat, &id) {
            Some(Ok(taken)) => assert_eq!(taken, chat, "it goes to the account log"),
            refused => panic!("invariant accepted: a change of an account was not taken: {refused:?}"),
        }
        self.operations += 1;
    }

    fn some_change(&mut self, user: UserId) -> Option<AccountChange> {
        let chats: Vec<ChatId> = self.model.chats_of(user).filter(|&chat| self.model.known(chat) > 0).collect();
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        let switch = pick(&mut self.env.rng, &["on", "off", "off", ""]);
        Some(match self.env.rng.below(12) {
            0..3 => {
                let value = if wavers(user) { switch } else { "off" };
                AccountChange::Setting { key: text("read_receipts"), value: text(value), subject: None }
            }
            3 => {
                let (key, value) =
                    pick(&mut self.env.rng, &[("app.a", "1"), ("app.b", "2"), ("app.a", ""), ("else", "x")]);
                AccountChange::Setting { key: text(key), value: text(value), subject: None }
            }
            4..7 if !chats.is_empty() => {
                let muted = pick(&mut self.env.rng, &["0", "18446744073709551615", "77", "later"]);
                let choices = [("pinned", switch), ("archived", switch), ("muted_until", muted), ("pinned", "maybe")];
                let (key, value) = pick(&mut self.env.rng, &choices);
                let subject = Some(pick(&mut self.env.rng, &chats));
                AccountChange::Setting { key: text(key), value: text(value), subject }
            }
            7..9 if !chats.is_empty() => {
                let chat = pick(&mut self.env.rng, &chats);
                let lines: Vec<MessageId> = self.model.talks[&chat].lines().map(|(_, line)| line.message).collect();
                AccountChange::Hidden { chat, message: pick(&mut self.env.rng, &lines) }
            }
            9 => AccountChange::Revoked { device: pick(&mut self.env.rng, &[GUEST, GUEST, DeviceId(77)]) },
            _ => {
                let name = pick(&mut self.env.rng, &["phone", "desk"]);
                AccountChange::Named { device: DeviceId(1 + self.env.rng.below(3) as u32), name: text(name) }
            }
        })
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

    /// A device has heard of an entry: if it is of its account, it knows from now on.
    pub fn heard_of_account(&mut self, at: usize, id: &Bytes) {
        let Some((_, Wanted::Account(AccountChange::Setting { key, value, subject: None }))) =
            self.model.wanted.get(id)
        else {
            return;
        };
        if &key[..] == b"read_receipts" {
            let device = &mut self.devices[at];
            device.app.silent = &value[..] == b"off" && !wavers(device.user);
        }
    }

    /// Whether a device's revocation is known to anybody.
    pub fn is_revoked(&self, device: &Device) -> bool {
        let account = self.model.accounts.get(&ChatId::account(device.user));
        account.and_then(|account| account.devices.get(&device.device)).is_some_and(|&(_, _, ms)| ms > 0)
    }

    /// Something of a chat came: to nobody who had been revoked when the session began.
    pub fn check_barred(&self, at: usize) {
        let device = &self.devices[at];
        assert!(
            !device.barred,
            "invariant account: {:?} of {} was revoked, and is told of chats",
            device.device, device.user
        );
    }

    /// A device's session was ended for good.
    pub fn revoked(&mut self, at: usize) {
        let device = &self.devices[at];
        let (user, number) = (device.user, device.device);
        let wanted =
            |wanted: &Wanted| matches!(wanted, Wanted::Account(AccountChange::Revoked { device }) if *device == number);
        let chat = ChatId::account(user);
        let due = self.model.wanted.values().any(|(of, one)| *of == chat && wanted(one));
        assert!(due, "invariant account: {number:?} of {user} is said to be revoked, and nobody did");
        self.env.counts.add("devices_revoked", 1);
        self.hang_up(at);
        self.devices[at].down(u64::MAX);
        self.devices[at].revoked = true;
        self.devices[at].app.asked.clear();
    }

    /// A chat of which a user has hidden something, if there is one.
    pub fn some_hidden(&self, user: UserId) -> Option<ChatId> {
        self.model.accounts[&ChatId::account(user)].hidden.keys().next().copied()
    }

    /// An answer came.
    pub fn told_account(&mut self, at: usize, told: &client::core::Account) {
        let user = self.devices[at].user;
        let Question::Account { chat } = self.asked(at, told.request) else {
            panic!("invariant answers: {told:?} is no answer to what was asked")
        };
        if !self.told.settled {
            return;
        }
        let account = &self.model.accounts[&ChatId::account(user)];
        let settings: BTreeMap<_, _> = told.settings.iter().cloned().collect();
        let devices = told.devices.iter().map(|d| (d.device, (d.name.clone(), d.named_ms, d.revoked_ms)));
        let devices: BTreeMap<_, _> = devices.collect();
        let hidden: BTreeSet<_> = told.hidden.iter().map(|message| message.0).collect();
        let due = chat.and_then(|chat| account.hidden.get(&chat)).cloned().unwrap_or_default();
        let same = settings == account.settings && devices == account.devices && hidden == due;
        assert!(
            same,
            "invariant account: {user} is told {settings:?}, {devices:?}, {hidden:?}, and has {:?}, {:?}, {due:?}",
            account.settings, account.devices
        );
        self.env.counts.add("accounts_compared", 1);
    }

    /// What a list says that a user has set for a chat.
    pub fn check_settings(&self, user: UserId, info: &ChatInfo) {
        let account = &self.model.accounts[&ChatId::account(user)];
        let due = account.chats.get(&info.chat).copied().unwrap_or_default();
        let told = info.settings;
        assert!(told == due, "invariant account: {user} has set {due:?} for {}, and is told {told:?}", info.chat);
    }
}
