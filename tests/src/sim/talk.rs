//! A chat's messages as its log makes them: docs/PROTOCOL.md, "Amending, answering, disappearing", folded from what was sent.
//!
//! Written from what is promised, not from the server's code. An entry that the log should not have is found out when it is
//! folded; what devices were shown is compared with the fold once every log is known.

use std::collections::BTreeMap;

use bytes::Bytes;
use client::Entry;
use client::core::{AccountChange, Amendment};
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire::EntryKind;

use super::model::{Place, body_of};
use super::roster::Roster;

/// What was sent, where it is more than a plain message.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// A message with something to it.
    Message {
        /// What it answers.
        refers_to: Option<MessageId>,
        /// Who is mentioned.
        mentions: Vec<UserId>,
        /// How often it has been passed on.
        forwarded: u8,
    },
    /// An amendment.
    Amendment(Amendment),
    /// A change of the sender's account.
    Account(AccountChange),
}

impl Wanted {
    /// The kind of its entry.
    pub const fn kind(&self) -> EntryKind {
        match self {
            Self::Message { .. } => EntryKind::message,
            Self::Amendment(amendment) => amendment.kind(),
            Self::Account(change) => change.kind(),
        }
    }

    /// Whom it mentions.
    pub fn mentions(&self) -> &[UserId] {
        match self {
            Self::Message { mentions, .. } | Self::Amendment(Amendment::Edited { mentions, .. }) => mentions,
            Self::Amendment(_) | Self::Account(_) => &[],
        }
    }

    /// What its entry refers to.
    pub fn refers_to(&self) -> Option<MessageId> {
        match self {
            Self::Message { refers_to, .. } => *refers_to,
            Self::Amendment(amendment) => amendment.message(),
            Self::Account(AccountChange::Hidden { message, .. }) => Some(*message),
            Self::Account(_) => None,
        }
    }

    /// How often its entry says that it has been passed on.
    pub const fn forwarded(&self) -> u8 {
        match self {
            Self::Message { forwarded, .. } => *forwarded,
            Self::Amendment(_) | Self::Account(_) => 0,
        }
    }

    /// Whether its entry says of an account what was wanted.
    pub fn is_as(&self, entry: &Entry) -> bool {
        let said = (entry.key(), entry.subject(), entry.concerned_device());
        let none = (&b""[..], None, DeviceId(0));
        said == match self {
            Self::Account(AccountChange::Setting { key, subject, .. }) => (&key[..], *subject, none.2),
            Self::Account(AccountChange::Hidden { chat, .. }) => (none.0, Some(*chat), none.2),
            Self::Account(AccountChange::Named { device, .. } | AccountChange::Revoked { device }) => {
                (none.0, None, *device)
            }
            _ => none,
        }
    }

    /// What its entry says: as [`body_of`] but where the kind has another body, or none.
    pub fn body(&self, client_msg_id: &[u8]) -> Vec<u8> {
        match self {
            Self::Message { .. } | Self::Amendment(Amendment::Edited { .. }) => body_of(client_msg_id),
            Self::Amendment(Amendment::Reacted { reaction, .. }) => reaction.to_vec(),
            Self::Account(AccountChange::Setting { value: body, .. } | AccountChange::Named { name: body, .. }) => {
                body.to_vec()
            }
            Self::Amendment(_) | Self::Account(_) => Vec::new(),
        }
    }
}

/// How long an own message may be amended, and who else may: the server's settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Edited, ms.
    pub edit_ms: u64,
    /// Deleted, ms.
    pub delete_ms: u64,
    /// Entries' times may be this far ahead of the clock that judged, ms: once it was set back.
    pub ahead_ms: u64,
}

/// One entry of the log.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which.
    pub message: MessageId,
    /// By whom.
    pub sender: UserId,
    /// The sender's id for it.
    pub client_msg_id: Bytes,
    /// When, ms since 1970.
    pub ms: u64,
    /// What it is.
    pub kind: EntryKind,
    /// Of a message, and of a timer: s.
    pub ttl_s: u32,
    /// What it amends; 0 = nothing.
    pub refers_seq: u64,
    /// The edit whose place it takes; 0 = none.
    pub replaces_seq: u64,
    /// Of a message: its edits, ascending.
    pub edits: Vec<u64>,
    /// Where its body went, and when: it was deleted, or another edit took its place.
    pub blanked: Option<(u64, u64)>,
    /// Of a message: the last reaction of each user.
    pub reactions: BTreeMap<UserId, Bytes>,
}

impl Line {
    /// When it disappears, ms since 1970.
    pub fn expires_ms(&self) -> Option<u64> {
        let mortal = self.kind == EntryKind::message && self.ttl_s > 0;
        mortal.then(|| self.ms + 1_000 * u64::from(self.ttl_s))
    }
}

/// See the module.
#[derive(Default)]
pub struct Talk {
    lines: Vec<Line>,
    by_id: BTreeMap<[u8; 16], u64>,
    ttl_s: u32,
}

impl Talk {
    /// Entries folded.
    pub fn seq(&self) -> u64 {
        self.lines.len() as u64
    }

    /// An entry that is folded.
    pub fn line(&self, seq: u64) -> Option<&Line> {
        self.lines.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    /// The message of this id, with its seq.
    pub fn message(&self, message: MessageId) -> Option<(u64, &Line)> {
        let seq = self.seq_of(message)?;
        self.line(seq).filter(|line| line.kind == EntryKind::message).map(|line| (seq, line))
    }

    /// The place of whatever has this id.
    pub fn seq_of(&self, message: MessageId) -> Option<u64> {
        self.by_id.get(&message.0).copied()
    }

    /// All entries, with their seqs.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &Line)> {
        (1..).zip(&self.lines)
    }

    /// When an entry is given to nobody any more, at the earliest, ms since 1970: what amends a message goes with it.
    pub fn goes_ms(&self, seq: u64) -> Option<u64> {
        let line = self.line(seq)?;
        match line.kind {
            EntryKind::edited | EntryKind::reacted => self.line(line.refers_seq)?.expires_ms(),
            _ => line.expires_ms(),
        }
    }

    /// The next entry of the log. `group`: who is in it when, if it is one; folded up to this entry.
    ///
    /// # Panics
    /// When it may not be there.
    pub fn fold(&mut self, chat: ChatId, place: &Place, kind: EntryKind, wanted: Option<&Wanted>, law: &Law<'_>) {
        let seq = self.seq() + 1;
        let mut line = Line {
            message: place.message,
            sender: place.sender,
            client_msg_id: place.client_msg_id.clone(),
            ms: place.ms,
            kind,
            ttl_s: if kind == EntryKind::message { self.ttl_s } else { 0 },
            refers_seq: 0,
            replaces_seq: 0,
            edits: Vec::new(),
            blanked: None,
            reactions: BTreeMap::new(),
        };
        let strangers = wanted.map_or(&[][..], Wanted::mentions).iter().find(|&&user| !law.is_member(seq - 1, user));
        assert!(
            strangers.is_none(),
            "invariant amendments: seq {seq} of {chat} mentions {strangers:?}, who is not in it"
        );
        match wanted {
            Some(Wanted::Amendment(Amendment::Timer { ttl_s, .. })) => {
                assert!(
                    law.is_free(seq - 1, place.sender),
                    "invariant amendments: {} set the timer of {chat} at seq {seq} without being an admin",
                    place.sender
                );
                assert!(self.ttl_s != *ttl_s, "invariant amendments: seq {seq} of {chat} sets the timer it has");
                (self.ttl_s, line.ttl_s) = (*ttl_s, *ttl_s);
            }
            Some(Wanted::Amendment(amendment)) => self.amend(chat, seq, &mut line, amendment, law),
            _ => {}
        }
        self.by_id.insert(place.message.0, seq);
        self.lines.push(line);
    }

    fn amend(&mut self, chat: ChatId, seq: u64, line: &mut Line, amendment: &Amendment, law: &Law<'_>) {
        let (kind, by) = (amendment.kind(), line.sender);
        let found = amendment.message().and_then(|message| self.message(message)).map(|(about, _)| about);
        let Some(about) = found else { panic!("invariant amendments: seq {seq} of {chat} amends no message of it") };
        let at = about as usize - 1;
        let original = &self.lines[at];
        assert!(law.sees(by, about), "invariant amendments: {by} amends seq {about} of {chat} without seeing it");
        assert!(
            original.blanked.is_none(),
            "invariant amendments: seq {seq} of {chat} amends {about}, which was deleted"
        );
        let gone = original.expires_ms().is_some_and(|ends_ms| ends_ms + law.rules.ahead_ms <= line.ms);
        assert!(!gone, "invariant amendments: seq {seq} of {chat} amends {about}, which had disappeared");
        let window_ms = match kind {
            EntryKind::edited => Some(law.rules.edit_ms),
            EntryKind::deleted => Some(law.rules.delete_ms),
            _ => None,
        };
        if let Some(window_ms) = window_ms {
            let (own, admin) = (original.sender == by, kind == EntryKind::deleted && law.is_admin(seq - 1, by));
            assert!(own || admin, "invariant amendments: {by} made seq {seq} of {chat} of another's message {about}");
            let late_ms = line.ms.saturating_sub(original.ms);
            assert!(
                admin || late_ms <= window_ms + law.rules.ahead_ms,
                "invariant amendments: seq {seq} of {chat} comes {late_ms} ms after {about}, {window_ms} are allowed"
            );
            line.replaces_seq = original.edits.last().copied().unwrap_or(0);
        }
        line.refers_seq = about;
        let gone = (seq, line.ms);
        if line.replaces_seq > 0 {
            self.lines[line.replaces_seq as usize - 1].blanked = Some(gone);
        }
        let original = &mut self.lines[at];
        match amendment {
            Amendment::Edited { .. } => original.edits.push(seq),
            Amendment::Deleted { .. } => {
                original.blanked = Some(gone);
                original.reactions.clear();
            }
            Amendment::Reacted { reaction, .. } => drop(original.reactions.insert(by, reaction.clone())),
            Amendment::Timer { .. } => {}
        }
    }
}

/// Who may do what in a chat.
pub struct Law<'a> {
    /// Of a group.
    pub group: Option<&'a Roster>,
    /// Of a direct chat.
    pub pair: Option<(UserId, UserId)>,
    /// The server's settings.
    pub rules: Rules,
}

impl Law<'_> {
    fn is_member(&self, seq: u64, user: UserId) -> bool {
        match self.group {
            Some(group) => group.members(seq).contains_key(&user),
            None => self.pair.is_some_and(|(a, b)| user == a || user == b),
        }
    }

    fn is_admin(&self, seq: u64, user: UserId) -> bool {
        self.group.is_some_and(|group| group.members(seq).get(&user).copied().unwrap_or(false))
    }

    /// Whether a user may set the timer.
    fn is_free(&self, seq: u64, user: UserId) -> bool {
        self.group.is_none() || self.is_admin(seq, user)
    }

    fn sees(&self, user: UserId, seq: u64) -> bool {
        self.group.is_none_or(|group| group.sees(user, seq))
    }
}
