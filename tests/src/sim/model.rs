//! What must be true, as far as anybody outside the server can see: every place of every log, every outcome of a send.
//!
//! Whatever is seen once must be seen the same for ever: a crash loses what is not durable, so an entry that was visible
//! too early comes back changed, or not at all, and is found out here or at the end.

use std::collections::BTreeMap;

use bytes::Bytes;
use client::Entry;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::timeuuid::ordered_key;

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
}

/// See the module.
#[derive(Default)]
pub struct Model {
    /// Members of a chat.
    members: BTreeMap<ChatId, (UserId, UserId)>,
    log: BTreeMap<ChatId, BTreeMap<u64, Place>>,
    /// Where a send is.
    places: BTreeMap<(ChatId, Bytes), u64>,
    /// The highest seq that a user marked as read.
    read: BTreeMap<(ChatId, UserId), u64>,
}

/// The body that goes with a client_msg_id: nothing has to be remembered to check it.
pub fn body_of(client_msg_id: &[u8]) -> Vec<u8> {
    let hash = hash_of(client_msg_id);
    let len = if hash.is_multiple_of(24) { 1_000 + (hash >> 8) % 2_000 } else { (hash >> 8) % 160 };
    (0..len).map(|at| (hash >> (at % 57)) as u8).collect()
}

impl Model {
    /// A chat of two users.
    pub fn add_chat(&mut self, a: UserId, b: UserId) {
        self.members.insert(ChatId::direct(a, b), (a, b));
    }

    /// Chats of a user, and who else is in them.
    pub fn chats_of(&self, user: UserId) -> impl Iterator<Item = (ChatId, UserId)> {
        self.members.iter().filter_map(move |(&chat, &(a, b))| match (a == user, b == user) {
            (true, _) => Some((chat, b)),
            (_, true) => Some((chat, a)),
            _ => None,
        })
    }

    /// The last seq seen by anybody; 0 = none.
    pub fn head(&self, chat: ChatId) -> u64 {
        self.log.get(&chat).and_then(|log| log.last_key_value()).map_or(0, |(&seq, _)| seq)
    }

    /// A place in a log.
    pub fn place(&self, chat: ChatId, seq: u64) -> Option<&Place> {
        self.log.get(&chat)?.get(&seq)
    }

    /// Where a send is, if anybody has seen it.
    pub fn seq_of(&self, chat: ChatId, client_msg_id: &[u8]) -> Option<u64> {
        self.places.get(&(chat, Bytes::copy_from_slice(client_msg_id))).copied()
    }

    /// Somebody saw an entry.
    pub fn see(&mut self, entry: &Entry) {
        let id = Bytes::copy_from_slice(entry.client_msg_id());
        assert!(entry.body() == body_of(&id), "invariant content: an entry's body is not what was sent");
        let place =
            Place { message: entry.message(), sender: entry.sender(), device: entry.device(), client_msg_id: id };
        self.put(entry.chat(), entry.seq(), place);
    }

    /// A send was acknowledged.
    pub fn acked(&mut self, from: (UserId, DeviceId), id: &Bytes, chat: ChatId, message: MessageId, seq: u64) {
        let place = Place { message, sender: from.0, device: from.1, client_msg_id: id.clone() };
        self.put(chat, seq, place);
    }

    fn put(&mut self, chat: ChatId, seq: u64, place: Place) {
        let (a, b) = self.members.get(&chat).copied().expect("invariant content: an entry of a chat nobody writes in");
        assert!(place.sender == a || place.sender == b, "invariant content: {} is no member of {chat}", place.sender);
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
    }

    /// A user's device marked as read.
    pub fn marked_read(&mut self, chat: ChatId, user: UserId, seq: u64) {
        let read = self.read.entry((chat, user)).or_default();
        *read = seq.max(*read);
    }

    /// The highest seq that a user marked as read.
    pub fn read_of(&self, chat: ChatId, user: UserId) -> u64 {
        self.read.get(&(chat, user)).copied().unwrap_or(0)
    }

    /// Compares with what is in the server in the end, read by a fresh device.
    pub fn audit(&self, user: UserId, found: &BTreeMap<ChatId, BTreeMap<u64, Bytes>>) {
        for (chat, _) in self.chats_of(user) {
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
                let same = known.map(|place| &place.client_msg_id) == id;
                assert!(same, "invariant durable: seq {seq} of {chat} (head {head}) is gone: {known:?}");
            }
        }
    }
}
