//! What users are told of their accounts, and what lists of chats make of them.
//!
//! What must stay true: an answer is of one state of the account, which is not older than what was known when it was asked
//! for, and not newer than when it came. What is ordered and lost again was in no state.

use std::collections::BTreeMap;

use client::core::{ChatInfo, Question};
use schema::encode::ChatSettings;
use schema::ids::{ChatId, MessageId, UserId};
use schema::wire::EntryKind;

use super::account::State;
use super::device::Asked;
use super::model::Model;
use super::world::World;

/// When an answer was made: whose, so many entries of their account log were known when it was asked for, and it came at the
/// latest at this wall time, ms since 1970.
type When = (UserId, u64, u64);

/// A chat of a list.
#[derive(Debug)]
struct Listed {
    chat: ChatId,
    set: ChatSettings,
    /// The last entry's id, and that of what it amends.
    last: Option<(MessageId, Option<MessageId>)>,
    /// It says of others that they have read something.
    reads: bool,
}

/// Answers that are judged when every account log is known.
#[derive(Default)]
pub struct Answers {
    lists: Vec<(When, Vec<Listed>)>,
    accounts: Vec<(When, Option<ChatId>, client::core::Account)>,
}

impl Listed {
    fn of(user: UserId, info: &ChatInfo) -> Self {
        let amends = |kind| matches!(kind, EntryKind::edited | EntryKind::deleted | EntryKind::reacted);
        let last = info.last_entry.as_ref();
        Self {
            chat: info.chat,
            set: info.settings,
            last: last.map(|entry| (entry.message(), entry.refers_to().filter(|_| amends(entry.kind())))),
            reads: info.members.iter().any(|member| member.user != user && member.read_seq > 0),
        }
    }

    fn is_set(&self, state: &State) -> bool {
        self.set == state.chats.get(&self.chat).copied().unwrap_or_default()
    }

    fn is_shown(&self, state: &State) -> bool {
        let Some((message, about)) = self.last else { return true };
        !state.hides(self.chat, message) && !about.is_some_and(|about| state.hides(self.chat, about))
    }
}

impl World {
    /// A list of chats came.
    pub fn listed(&mut self, user: UserId, asked: Asked, chats: &[ChatInfo]) {
        let (when, list) = ((user, asked.known, self.latest_ms()), chats.iter().map(|info| Listed::of(user, info)));
        let list: Vec<Listed> = list.collect();
        if self.told.settled {
            let state = self.model.account(user).state();
            let missing = list.iter().filter(|listed| listed.last.is_none() && state.hidden.contains_key(&listed.chat));
            self.env.counts.add("lists_without_hidden", u64::from(missing.count() > 0));
            check_list(&self.model, when, &list);
        }
        self.told.answers.lists.push((when, list));
    }

    /// An answer came.
    pub fn told_account(&mut self, at: usize, told: client::core::Account) {
        let user = self.devices[at].user;
        let asked = self.asked(at, told.request);
        let Question::Account { chat } = asked.question else {
            panic!("invariant answers: {told:?} is no answer to what was asked")
        };
        let when = (user, asked.known, self.latest_ms());
        if self.told.settled {
            check_account(&self.model, when, chat, &told);
        }
        self.told.answers.accounts.push((when, chat, told));
    }

    /// Every log is known: what was told is compared.
    pub fn check_answers(&mut self) {
        let Answers { lists, accounts } = &self.told.answers;
        lists.iter().for_each(|(when, list)| check_list(&self.model, *when, list));
        accounts.iter().for_each(|(when, chat, told)| check_account(&self.model, *when, *chat, told));
        let compared = [("lists_compared", lists.len()), ("accounts_compared", accounts.len())];
        compared.into_iter().for_each(|(name, count)| self.env.counts.add(name, count as u64));
    }
}

fn check_list(model: &Model, (user, known, by_ms): When, list: &[Listed]) {
    let states = model.account(user).between(known, by_ms);
    let fits = |state: &State| list.iter().all(|listed| listed.is_set(state) && listed.is_shown(state));
    if !states.clone().any(fits) {
        for state in states.clone() {
            for listed in list {
                let due = state.chats.get(&listed.chat);
                assert!(listed.is_set(state), "invariant account: {user} has set {due:?}, and is told {listed:?}");
                assert!(listed.is_shown(state), "invariant account: {user} has hidden what is listed: {listed:?}");
            }
        }
    }
    let blind = states.clone().all(State::is_private);
    let told = list.iter().find(|listed| listed.reads);
    assert!(!blind || told.is_none(), "invariant secrets: {user} tells nobody, and is told of others: {told:?}");
}

fn check_account(model: &Model, (user, known, by_ms): When, chat: Option<ChatId>, told: &client::core::Account) {
    let settings: BTreeMap<_, _> = told.settings.iter().cloned().collect();
    let devices = told.devices.iter().map(|d| (d.device, (d.name.clone(), d.named_ms, d.revoked_ms)));
    let devices: BTreeMap<_, _> = devices.collect();
    let mut hidden: Vec<[u8; 16]> = told.hidden.iter().map(|message| message.0).collect();
    hidden.sort_unstable();
    let states = model.account(user).between(known, by_ms);
    let fits = |state: &State| {
        let due = chat.and_then(|chat| state.hidden.get(&chat));
        settings == state.settings && devices == state.devices && hidden.iter().eq(due.into_iter().flatten())
    };
    let last = states.clone().last().map(|state| (&state.settings, &state.devices, &state.hidden));
    assert!(
        states.clone().any(fits),
        "invariant account: {user} is told {settings:?}, {devices:?}, {hidden:?}, and has {last:?} ({} states)",
        states.count()
    );
}
