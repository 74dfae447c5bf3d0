//! A chat's messages as they are now, folded from its entries: edits, deletions, reactions and what has disappeared.
//!
//! Entries may come in any order, more than once, and as pages show them or as they were pushed. What must stay true: whoever
//! has applied the same entries has the same messages.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use schema::ids::{DeviceId, MessageId, UserId};
use schema::timeuuid::ordered_key;
use schema::wire::EntryKind;

use crate::core::{Amendment, Entry, NewSend};
use crate::driver::Place;

/// What does not change about a message.
#[derive(Clone, PartialEq, Eq)]
struct Base {
    seq: u64,
    sender: UserId,
    device: DeviceId,
    timestamp_ms: u64,
    after_seq: u64,
    refers_to: Option<MessageId>,
    forwarded: u8,
    /// `None`: an own message, of which the chat's timer says it.
    ttl_s: Option<u32>,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq)]
struct Text {
    /// The edit's seq; 0 = as it was sent.
    seq: u64,
    ms: u64,
    content_type: u8,
    body: Bytes,
    mentions: Vec<UserId>,
}

/// What is known of a message, perhaps only that it was amended.
#[derive(Clone, Default, PartialEq, Eq)]
struct Kept {
    base: Option<Base>,
    text: Option<Text>,
    deleted_ms: u64,
    /// The last one of each user: its seq, and what it says.
    reactions: BTreeMap<UserId, (u64, Bytes)>,
}

impl Kept {
    fn say(&mut self, text: Text) {
        let newer = self.text.as_ref().is_none_or(|known| known.seq < text.seq);
        if newer && self.deleted_ms == 0 {
            self.text = Some(text);
        }
    }

    fn delete(&mut self, at_ms: u64) {
        self.deleted_ms = at_ms;
        self.text = None;
        self.reactions = BTreeMap::new();
    }

    fn react(&mut self, user: UserId, seq: u64, reaction: Bytes) {
        let newer = self.reactions.get(&user).is_none_or(|&(known, _)| known < seq);
        if newer && self.deleted_ms == 0 {
            self.reactions.insert(user, (seq, reaction));
        }
    }
}

/// A message as it is now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Which.
    pub message: MessageId,
    /// Its place.
    pub seq: u64,
    /// Who wrote it.
    pub sender: UserId,
    /// On which device.
    pub device: DeviceId,
    /// When, wall time of the server, ms since 1970.
    pub timestamp_ms: u64,
    /// The highest seq its sender had seen.
    pub after_seq: u64,
    /// What it answers.
    pub refers_to: Option<MessageId>,
    /// How often it has been passed on.
    pub forwarded: u8,
    /// It disappears so long after it was sent, s; 0 = it stays.
    pub ttl_s: u32,
    /// The application's own.
    pub content_type: u8,
    /// What it says; empty when it is deleted.
    pub body: &'a [u8],
    /// Who is mentioned.
    pub mentions: &'a [UserId],
    /// The edit whose body this is; 0 = as it was sent.
    pub edited_seq: u64,
    /// When that was made, ms since 1970.
    pub edited_ms: u64,
    /// When it was deleted, ms since 1970; 0 = it was not.
    pub deleted_ms: u64,
    kept: &'a Kept,
}

impl<'a> Message<'a> {
    /// What users feel about it, ascending by user.
    pub fn reactions(&self) -> impl Iterator<Item = (UserId, &'a [u8])> + use<'a> {
        let reactions = self.kept.reactions.iter().map(|(&user, (_, reaction))| (user, &reaction[..]));
        reactions.filter(|(_, reaction)| !reaction.is_empty())
    }

    /// Whether it has disappeared by then, ms since 1970.
    pub const fn is_gone(&self, now_ms: u64) -> bool {
        self.ttl_s > 0 && now_ms >= self.timestamp_ms + 1_000 * self.ttl_s as u64
    }
}

impl core::fmt::Debug for Message<'_> {
    /// Never prints content.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { seq, edited_seq, deleted_ms, .. } = self;
        write!(f, "Message({seq}, {} bytes, edited {edited_seq}, deleted {deleted_ms})", self.body.len())
    }
}

/// One chat. See the module.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    /// By their ids' order, which is the log's.
    messages: BTreeMap<[u8; 16], Kept>,
    /// Timers by their places.
    timers: BTreeMap<u64, u32>,
    /// The first message that says how long it stays: whoever joined later knows of no timer before it.
    first: Option<(u64, u32)>,
}

impl Conversation {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&mut self, message: MessageId) -> &mut Kept {
        self.messages.entry(ordered_key(message)).or_default()
    }

    /// Takes an entry of the chat, however it came.
    pub fn apply(&mut self, entry: &Entry) {
        let (seq, at_ms) = (entry.seq(), entry.timestamp_ms());
        let blank = entry.deleted_ms() > 0;
        match (entry.kind(), entry.refers_to()) {
            (EntryKind::message, refers_to) => {
                let base = Base {
                    seq,
                    sender: entry.sender(),
                    device: entry.device(),
                    timestamp_ms: at_ms,
                    after_seq: entry.after_seq(),
                    refers_to,
                    forwarded: entry.forwarded(),
                    ttl_s: Some(entry.ttl_s()),
                };
                if self.first.is_none_or(|(first, _)| seq < first) {
                    self.first = Some((seq, entry.ttl_s()));
                }
                let kept = self.kept(entry.message());
                kept.base = Some(base);
                if blank {
                    kept.delete(entry.deleted_ms());
                } else {
                    kept.say(text_of(entry, entry.edited_seq(), entry.edited_ms()));
                }
            }
            (EntryKind::edited, Some(message)) if !blank => self.kept(message).say(text_of(entry, seq, at_ms)),
            (EntryKind::deleted, Some(message)) => self.kept(message).delete(at_ms),
            (EntryKind::reacted, Some(message)) => {
                self.kept(message).react(entry.sender(), seq, Bytes::copy_from_slice(entry.body()));
            }
            (EntryKind::timer, _) => drop(self.timers.insert(seq, entry.ttl_s())),
            _ => {}
        }
    }

    /// Takes an own message that has its place: it does not come as an entry.
    pub fn sent(&mut self, (sender, device): (UserId, DeviceId), place: &Place, send: &NewSend, after_seq: u64) {
        let kept = self.kept(place.message);
        let base = Base {
            seq: place.seq,
            sender,
            device,
            timestamp_ms: place.timestamp_ms,
            after_seq,
            refers_to: send.refers_to,
            forwarded: send.forwarded,
            ttl_s: None,
        };
        kept.base.get_or_insert(base);
        let (content_type, body, mentions) = (send.content_type, send.body.clone(), send.mentions.clone());
        kept.say(Text { seq: 0, ms: 0, content_type, body, mentions });
    }

    /// Takes an own amendment that has its place: it does not come as an entry.
    pub fn amended(&mut self, me: UserId, place: &Place, amendment: &Amendment) {
        let (seq, ms) = (place.seq, place.timestamp_ms);
        match amendment {
            Amendment::Edited { message, content_type, body, mentions, .. } => {
                let (content_type, body, mentions) = (*content_type, body.clone(), mentions.clone());
                self.kept(*message).say(Text { seq, ms, content_type, body, mentions });
            }
            Amendment::Deleted { message, .. } => self.kept(*message).delete(ms),
            Amendment::Reacted { message, reaction, .. } => self.kept(*message).react(me, seq, reaction.clone()),
            Amendment::Timer { ttl_s, .. } => drop(self.timers.insert(seq, *ttl_s)),
        }
    }

    /// How long messages that are ordered now stay, as far as is known, s; 0 = for good.
    pub fn ttl_s(&self) -> u32 {
        let told = || self.first.map_or(0, |(_, ttl_s)| ttl_s);
        self.timers.last_key_value().map_or_else(told, |(_, &ttl_s)| ttl_s)
    }

    /// Forgets what has disappeared by then, ms since 1970. Returns the places that are empty now.
    pub fn expire(&mut self, now_ms: u64) -> Vec<u64> {
        let all = self.messages.iter().filter_map(|(key, kept)| self.view(*key, kept).map(|message| (*key, message)));
        let gone: Vec<_> =
            all.filter(|(_, message)| message.is_gone(now_ms)).map(|(key, message)| (key, message.seq)).collect();
        gone.iter().for_each(|(key, _)| drop(self.messages.remove(key)));
        gone.into_iter().map(|(_, seq)| seq).collect()
    }

    /// A message that has not disappeared by then, ms since 1970.
    pub fn message(&self, message: MessageId, now_ms: u64) -> Option<Message<'_>> {
        let key = ordered_key(message);
        let found = self.messages.get(&key).and_then(|kept| self.view(key, kept));
        found.filter(|message| !message.is_gone(now_ms))
    }

    /// Messages that have not disappeared by then, ms since 1970, deleted ones included, in the order of the log.
    pub fn messages(&self, now_ms: u64) -> impl Iterator<Item = Message<'_>> {
        let all = self.messages.iter().filter_map(|(&key, kept)| self.view(key, kept));
        all.filter(move |message| !message.is_gone(now_ms))
    }

    fn view<'a>(&'a self, key: [u8; 16], kept: &'a Kept) -> Option<Message<'a>> {
        let base = kept.base.as_ref()?;
        let told = || self.first.filter(|&(first, _)| first < base.seq).map_or(0, |(_, ttl_s)| ttl_s);
        let timer = || self.timers.range(..base.seq).next_back().map_or_else(told, |(_, &ttl_s)| ttl_s);
        let text = kept.text.as_ref();
        Some(Message {
            message: schema::timeuuid::from_ordered_key(key),
            seq: base.seq,
            sender: base.sender,
            device: base.device,
            timestamp_ms: base.timestamp_ms,
            after_seq: base.after_seq,
            refers_to: base.refers_to,
            forwarded: base.forwarded,
            ttl_s: base.ttl_s.unwrap_or_else(timer),
            content_type: text.map_or(0, |text| text.content_type),
            body: text.map_or(&[], |text| &text.body),
            mentions: text.map_or(&[], |text| &text.mentions),
            edited_seq: text.map_or(0, |text| text.seq),
            edited_ms: text.map_or(0, |text| text.ms),
            deleted_ms: kept.deleted_ms,
            kept,
        })
    }
}

fn text_of(entry: &Entry, seq: u64, ms: u64) -> Text {
    let (content_type, mentions) = (entry.content_type(), entry.users().collect());
    Text { seq, ms, content_type, body: Bytes::copy_from_slice(entry.body()), mentions }
}
