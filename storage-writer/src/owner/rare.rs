//! What few chats have: an account log's state, and members who do not tell all that they have read.
//!
//! Kept apart, so that other chats pay a pointer. What must stay true: what is shown of a member is at or below what they
//! have read, and only rises.

use schema::ids::UserId;

use super::account::Account;
use super::chats::Chat;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rare {
    /// Of an account log.
    pub account: Option<Account>,
    /// Members of whom others are told an older read mark than theirs, and which.
    pub shown: Vec<(UserId, u64)>,
}

impl Chat {
    /// Of an account log.
    pub(crate) fn account(&self) -> Option<&Account> {
        self.rare.as_ref()?.account.as_ref()
    }

    /// As [`Self::account`].
    pub(crate) fn account_mut(&mut self) -> Option<&mut Account> {
        self.rare.as_mut()?.account.as_mut()
    }

    /// What others are told that the member at this place has read.
    pub(crate) fn shown(&self, at: usize) -> u64 {
        let member = &self.members[at];
        let older = self.rare.as_ref().and_then(|rare| rare.shown.iter().find(|(user, _)| *user == member.user));
        older.map_or(member.read, |&(_, seq)| seq)
    }

    /// Raises what a member has read; `secret`: others are not told. Whether it rose for the member, and for the others.
    pub(crate) fn raise_read(&mut self, at: usize, seq: u64, secret: bool) -> (bool, bool) {
        let shown = self.shown(at);
        let member = &mut self.members[at];
        let (user, before) = (member.user, member.read);
        member.read = before.max(seq);
        let (rose, tells) = (seq > before, !secret && seq > shown);
        let (read, now_shown) = (member.read, if tells { seq } else { shown });
        if read == now_shown {
            if let Some(rare) = &mut self.rare {
                rare.shown.retain(|(other, _)| *other != user);
            }
        } else {
            let older = &mut self.rare.get_or_insert_default().shown;
            match older.iter_mut().find(|(other, _)| *other == user) {
                Some((_, seq)) => *seq = now_shown,
                None => older.push((user, now_shown)),
            }
        }
        if self.rare.as_ref().is_some_and(|rare| rare.account.is_none() && rare.shown.is_empty()) {
            self.rare = None;
        }
        (rose, tells)
    }

    /// What was ordered but is not durable was never anywhere.
    pub(crate) fn forget_ordered(&mut self) {
        self.ordered = self.head;
        if let Some(group) = &mut self.group {
            group.forget();
        }
        self.forget_timers();
        if let Some(account) = self.account_mut() {
            account.forget();
        }
    }
}
