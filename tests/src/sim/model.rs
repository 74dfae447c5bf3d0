//! What must be true, as far as anybody outside the server can see: every place of every log, every outcome of a send.
//!
//! Whatever is seen once must be seen the same for ever: a crash loses what is not durable, so an entry that was visible
//! too early comes back changed, or not at all, and is found out here or at the end.

use std::collections::BTreeMap;

use bytes::Bytes;
use client::Entry;
use client::core::GroupChange;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::timeuuid::ordered_key;
use schema::wire::EntryKind;

use super::account::Account;
use super::roster::{Effect, Roster};
use super::shown::Shown;
use super::talk::{Law, Rules, Talk, Wanted};
use super::trace::hash_of;

/// What is known of a place in a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The message.
    pub message: MessageId,
    /// Whose it is.
    pub sender: UserId,
    /// On which device.
    pub device: DeviceId,
    /// The sender's id for it.
    pub client_msg_id: Bytes,
    /// When it was written, as it says, ms since 1970.
    pub ms: u64,
}

/// A send to a group.
pub struct Wish {
    /// Which.
    pub group: ChatId,
    /// What it changes; `None`: a message.
    pub change: Option<GroupChange>,
    /// Entries of the group that were known when it was made.
    pub after: u64,
}

/// See the module.
#[derive(Default)]
pub struct Model {
    /// Members of direct chats.
    pub(super) pairs: BTreeMap<ChatId, (UserId, UserId)>,
    /// Groups that somebody has asked for.
    pub(super) groups: BTreeMap<ChatId, Roster>,
    /// What was sent to groups, by client_msg_id.
    pub(super) wishes: BTreeMap<Bytes, Wish>,
    /// What entries of groups say that they changed.
    said: BTreeMap<(ChatId, u64), Effect>,
    /// What was sent and is more than a plain message, and where to, by client_msg_id.
    pub(super) wanted: BTreeMap<Bytes, (ChatId, Wanted)>,
    /// Users' account logs.
    pub(super) accounts: BTreeMap<ChatId, Account>,
    /// Chats' messages.
    pub(super) talks: BTreeMap<ChatId, Talk>,
    /// How entries were shown.
    pub(super) shown: Shown,
    /// The server's settings.
    pub(super) rules: Rules,
    log: BTreeMap<ChatId, BTreeMap<u64, Place>>,
    /// Where a send is.
    places: BTreeMap<(ChatId, Bytes), u64>,
    /// The highest seq that a user marked as read.
    read: BTreeMap<(ChatId, UserId), u64>,
    /// The same, of what others may be told.
    tellable: BTreeMap<(ChatId, UserId), u64>,
}

/// The body that goes with a client_msg_id: nothing has to be remembered to check it.
pub fn body_of(client_msg_id: &[u8]) -> Vec<u8> {
    let hash = hash_of(client_msg_id);
    let len = if hash.is_multiple_of(24) { 1_000 + (hash >> 8) % 2_000 } else { (hash >> 8) % 160 };
    (0..len).map(|at| (hash >> (at % 57)) as u8).collect()
}

impl Model {
    /// The highest place at or below `seq` that is not of the user's own hand.
    pub fn last_of_others(&self, chat: ChatId, user: UserId, seq: u64) -> u64 {
        let log = self.log.get(&chat);
        let mut below = log.into_iter().flat_map(|log| log.range(..=seq).rev());
        below.find(|(_, place)| place.sender != user).map_or(0, |(&seq, _)| seq)
    }

    /// A chat of two users.
    pub fn add_chat(&mut self, a: UserId, b: UserId) {
        self.pairs.insert(ChatId::direct(a, b), (a, b));
    }

    /// Direct chats of a user, and who else is in them.
    pub fn pairs_of(&self, user: UserId) -> impl Iterator<Item = (ChatId, UserId)> {
        self.pairs.iter().filter_map(move |(&chat, &(a, b))| match (a == user, b == user) {
            (true, _) => Some((chat, b)),
            (_, true) => Some((chat, a)),
            _ => None,
        })
    }

    /// Chats in which a user may see something.
    pub fn chats_of(&self, user: UserId) -> impl Iterator<Item = ChatId> {
        let groups = self.groups.iter().filter(move |(_, group)| group.last_seen_by(user) > 0);
        self.pairs_of(user).map(|(chat, _)| chat).chain(groups.map(|(&chat, _)| chat))
    }

    /// As [`Self::chats_of`], with the user's account log.
    pub fn logs_of(&self, user: UserId) -> impl Iterator<Item = ChatId> {
        let account = self.accounts.iter().filter(move |(_, account)| account.user == user);
        self.chats_of(user).chain(account.map(|(&chat, _)| chat))
    }

    /// Whether a user may see an entry.
    pub fn sees(&self, user: UserId, chat: ChatId, seq: u64) -> bool {
        self.groups.get(&chat).is_none_or(|group| group.sees(user, seq))
    }

    /// The last seq that a user may see; 0 = none.
    pub fn last_seen_by(&self, user: UserId, chat: ChatId) -> u64 {
        self.groups.get(&chat).map_or_else(|| self.head(chat), |group| group.last_seen_by(user))
    }

    /// Whether a user was a member (or an admin) from before something was sent until now, and nobody ever asked for
    /// anything that could have changed that, durably or not.
    pub fn was_surely(&self, user: UserId, wish: &Wish, admin: bool) -> bool {
        let group = &self.groups[&wish.group];
        let before = group.members(wish.after).get(&user).copied();
        let now = group.members(group.seq()).get(&user).copied();
        let holds = |state: Option<bool>| state.is_some_and(|is_admin| is_admin || !admin);
        let could = |other: (&Bytes, &Wish)| match &other.1.change {
            _ if other.1.group != wish.group => false,
            Some(GroupChange::Removed { users, .. }) => users.contains(&user),
            Some(GroupChange::Role { users, .. }) => admin && users.contains(&user),
            Some(GroupChange::Left { .. }) => self.sender_of(other.0) == Some(user),
            _ => false,
        };
        holds(before) && holds(now) && !self.wishes.iter().any(could)
    }

    /// Who made a client_msg_id.
    fn sender_of(&self, client_msg_id: &[u8]) -> Option<UserId> {
        let text = std::str::from_utf8(client_msg_id).ok()?;
        text.split('.').next()?.parse().ok().and_then(UserId::new)
    }

    /// The last seq seen by anybody; 0 = none.
    pub fn head(&self, chat: ChatId) -> u64 {
        self.log.get(&chat).and_then(|log| log.last_key_value()).map_or(0, |(&seq, _)| seq)
    }

    /// A place in a log.
    pub fn place(&self, chat: ChatId, seq: u64) -> Option<&Place> {
        self.log.get(&chat)?.get(&seq)
    }

    /// Where sends are.
    pub fn places(&self) -> impl Iterator<Item = (&(ChatId, Bytes), &u64)> {
        self.places.iter()
    }

    /// Where a send is, if anybody has seen it.
    pub fn seq_of(&self, chat: ChatId, client_msg_id: &[u8]) -> Option<u64> {
        self.places.get(&(chat, Bytes::copy_from_slice(client_msg_id))).copied()
    }

    /// Somebody saw an entry, who asked for it when this much of its chat was known; 0 = it was pushed.
    pub fn see(&mut self, entry: &Entry, known: u64) {
        let id = Bytes::copy_from_slice(entry.client_msg_id());
        let (chat, seq) = (entry.chat(), entry.seq());
        let change = self.wishes.get(&id).and_then(|wish| wish.change.as_ref());
        let wanted = self.wanted.get(&id).map(|(_, wanted)| wanted);
        let (kind, plain) = (self.kind_of(&id), entry.edited_seq() == 0 && entry.deleted_ms() == 0);
        let body = change.map_or_else(|| self.body_of(&id), |change| name_of(change).to_vec());
        let mentions = wanted.map_or(&[][..], Wanted::mentions);
        let same = entry.kind() == kind
            && entry.refers_to() == wanted.and_then(Wanted::refers_to)
            && entry.forwarded() == wanted.map_or(0, Wanted::forwarded)
            && wanted.is_none_or(|wanted| wanted.is_as(entry))
            // What amendments have made of it is judged when they are all known.
            && (!plain || entry.body() == body)
            && (!plain || change.is_some() || entry.users().eq(mentions.iter().copied()));
        assert!(same, "invariant content: seq {seq} of {chat} is {:?}, and not what was sent", entry.kind());
        if change.is_some() {
            self.said.insert((chat, seq), (entry.users().collect(), entry.role()));
        }
        self.shown.note(entry, known);
        let (message, sender, device, ms) = (entry.message(), entry.sender(), entry.device(), entry.timestamp_ms());
        self.put(chat, seq, Place { message, sender, device, client_msg_id: id, ms });
        self.agrees(chat, seq);
    }

    /// What was sent under a client_msg_id.
    pub(super) fn kind_of(&self, client_msg_id: &Bytes) -> EntryKind {
        let change = self.wishes.get(client_msg_id).and_then(|wish| wish.change.as_ref());
        let wanted = || self.wanted.get(client_msg_id).map_or(EntryKind::message, |(_, wanted)| wanted.kind());
        change.map_or_else(wanted, GroupChange::kind)
    }

    /// What is said under a client_msg_id that changes no group.
    pub(super) fn body_of(&self, client_msg_id: &Bytes) -> Vec<u8> {
        self.wanted.get(client_msg_id).map_or_else(|| body_of(client_msg_id), |(_, wanted)| wanted.body(client_msg_id))
    }

    /// How much of a chat is known without a hole.
    pub fn known(&self, chat: ChatId) -> u64 {
        self.talks.get(&chat).map_or(0, Talk::seq)
    }

    /// Whether an entry may have disappeared by then, ms since 1970.
    pub fn may_be_gone(&self, chat: ChatId, seq: u64, by_ms: u64) -> bool {
        let goes_ms = self.talks.get(&chat).and_then(|talk| talk.goes_ms(seq));
        goes_ms.is_some_and(|ms| ms <= by_ms)
    }

    /// What an entry says that it changed is what it could change.
    fn agrees(&self, chat: ChatId, seq: u64) {
        let (Some(group), Some(said)) = (self.groups.get(&chat), self.said.get(&(chat, seq))) else { return };
        if let Some(effect) = group.effect(seq) {
            assert!(said == effect, "invariant membership: seq {seq} of {chat} says {said:?}, and changes {effect:?}");
        }
    }

    /// Folds what is known of a chat without a hole.
    fn fold(&mut self, chat: ChatId) {
        self.fold_group(chat);
        let Some(log) = self.log.get(&chat) else { return };
        let mut talk = self.talks.remove(&chat).unwrap_or_default();
        let account = self.accounts.get_mut(&chat);
        let pair =
            self.pairs.get(&chat).copied().or_else(|| account.as_ref().map(|account| (account.user, account.user)));
        let law = Law { group: self.groups.get(&chat), pair, rules: self.rules };
        let before = talk.seq();
        while let Some(place) = log.get(&(talk.seq() + 1)) {
            let wanted = self.wanted.get(&place.client_msg_id);
            assert!(
                wanted.is_none_or(|&(to, _)| to == chat),
                "invariant content: {place:?} was sent to another chat than {chat}"
            );
            let kind = self.kind_of(&place.client_msg_id);
            talk.fold(chat, place, kind, wanted.map(|(_, wanted)| wanted), &law);
        }
        if let Some(account) = self.accounts.get_mut(&chat) {
            for (seq, line) in talk.lines().skip(before as usize) {
                match self.wanted.get(&line.client_msg_id) {
                    Some((_, Wanted::Account(change))) => account.fold(seq, line, self.log[&chat][&seq].device, change),
                    _ => panic!("invariant content: seq {seq} of the account log {chat} is {line:?}"),
                }
            }
        }
        self.talks.insert(chat, talk);
    }

    fn fold_group(&mut self, chat: ChatId) {
        let (Some(group), Some(log)) = (self.groups.get_mut(&chat), self.log.get(&chat)) else { return };
        let before = group.seq();
        while let Some(place) = log.get(&(group.seq() + 1)) {
            let wish = self.wishes.get(&place.client_msg_id);
            let wish = wish.expect("invariant content: an entry of a group that nobody sent to it");
            assert!(wish.group == chat, "invariant content: {place:?} was sent to another group than {chat}");
            group.fold(place.sender, wish.change.as_ref());
        }
        let after = group.seq();
        (before + 1..=after).for_each(|seq| self.agrees(chat, seq));
    }

    /// A send was acknowledged.
    pub fn acked(&mut self, (sender, device): (UserId, DeviceId), id: &Bytes, at: &client::driver::Place) {
        let (message, ms) = (at.message, at.timestamp_ms);
        self.put(at.chat, at.seq, Place { message, sender, device, client_msg_id: id.clone(), ms });
    }

    fn put(&mut self, chat: ChatId, seq: u64, place: Place) {
        if !self.groups.contains_key(&chat) {
            let account = || self.accounts.get(&chat).map(|account| (account.user, account.user));
            let pair = self.pairs.get(&chat).copied().or_else(account);
            let (a, b) = pair.expect("invariant content: an entry of a chat nobody writes in");
            let sender = place.sender;
            assert!(sender == a || sender == b, "invariant content: {sender} is no member of {chat}");
        }
        let first = *self.places.entry((chat, place.client_msg_id.clone())).or_insert(seq);
        assert!(first == seq, "invariant idempotent: one send of {chat} has the seqs {first} and {seq}");
        let log = self.log.entry(chat).or_default();
        if let Some(known) = log.get(&seq) {
            assert!(*known == place, "invariant durable: seq {seq} of {chat} was {known:?} and is {place:?}");
            return;
        }
        let key = ordered_key(place.message);
        let below = log.range(..seq).next_back().is_none_or(|(_, known)| ordered_key(known.message) < key);
        let above = log.range(seq + 1..).next().is_none_or(|(_, known)| key < ordered_key(known.message));
        assert!(below && above, "invariant order: message ids of {chat} do not rise with seq at {seq}");
        log.insert(seq, place);
        self.fold(chat);
    }

    /// A user's device marked as read. `secret`: it knew that the user tells nobody.
    pub fn marked_read(&mut self, chat: ChatId, user: UserId, seq: u64, secret: bool) {
        let read = self.read.entry((chat, user)).or_default();
        *read = seq.max(*read);
        if !secret {
            let told = self.tellable.entry((chat, user)).or_default();
            *told = seq.max(*told);
        }
    }

    /// The highest seq that others may be told that a user has read.
    pub fn tellable_of(&self, chat: ChatId, user: UserId) -> u64 {
        self.tellable.get(&(chat, user)).copied().unwrap_or(0)
    }

    /// The highest seq that a user marked as read.
    pub fn read_of(&self, chat: ChatId, user: UserId) -> u64 {
        self.read.get(&(chat, user)).copied().unwrap_or(0)
    }

    /// Compares with what is in the server in the end, now, ms since 1970, read by a fresh device.
    pub fn audit(&self, user: UserId, found: &BTreeMap<ChatId, BTreeMap<u64, Bytes>>, now_ms: u64) {
        let strange = found.keys().find(|&&chat| !self.logs_of(user).any(|own| own == chat));
        assert!(strange.is_none(), "invariant spans: {user} finds entries of {strange:?}");
        for chat in self.logs_of(user) {
            let Some(log) = self.log.get(&chat) else { continue };
            let found = found.get(&chat);
            let head = self.head(chat);
            for seq in 1..=head {
                let known = log.get(&seq);
                assert!(
                    known.is_some(),
                    "invariant gapless: nobody ever saw seq {seq} of {chat}, whose head is {head}"
                );
                let id = found.and_then(|found| found.get(&seq));
                let seen = known.map(|place| &place.client_msg_id).filter(|_| self.sees(user, chat, seq));
                assert!(
                    seen == id || (id.is_none() && self.may_be_gone(chat, seq, now_ms)),
                    "invariant durable: {user} finds {id:?} at seq {seq} of {chat} (head {head}): {known:?}"
                );
            }
        }
    }
}

/// The name that a change gives; else empty.
fn name_of(change: &GroupChange) -> &[u8] {
    match change {
        GroupChange::Created { name, .. } | GroupChange::Renamed { name, .. } => name,
        _ => &[],
    }
}
