//! What one conversation looks like so far: lines in order, ticks, the state of the connection.
//!
//! No I/O and no clock: the two faces ([`super::screen`], [`super::lines`]) feed it and show it. What must stay true: a line
//! has one place, ticks only rise, and what has no seq yet stays below everything that has one.

use std::collections::BTreeMap;

use bytes::Bytes;
use client::Entry;
use client::core::{Cause, Event};
use jiff::tz::TimeZone;
use schema::ids::{ChatId, UserId};
use schema::wire::{EntryKind, MarkStatus};

/// Most lines kept; older ones are asked for again when they are wanted.
pub(super) const LINES_MAX: usize = 5_000;

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    pub(super) from: UserId,
    pub(super) text: String,
    /// Wall time, ms since 1970.
    pub(super) at_ms: u64,
}

/// How far an own message has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Tick {
    /// Not yet acknowledged by the server.
    Waiting,
    /// Durable.
    Sent,
    /// On a device of the other.
    Delivered,
    /// Read by the other.
    Read,
}

/// An own message without a place yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Waiting {
    pub(super) client_msg_id: Bytes,
    pub(super) text: String,
    /// Why it never will have one.
    pub(super) failed: Option<String>,
}

/// The connection, as far as people care.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Link {
    /// Trying for the first time.
    Connecting,
    /// A session stands.
    Online,
    /// None stands.
    Away {
        /// Why.
        why: String,
        /// When the next attempt comes, wall ms.
        retry_at_ms: u64,
    },
}

/// What an event changed, for the face that prints lines as they come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// The line of this seq is new.
    Line(u64),
    /// All own lines up to this seq have this tick.
    Tick(u64, Tick),
    /// A send failed for good.
    Failed(String),
    /// The connection changed.
    Link,
    /// Something worth a word.
    Note(String),
}

/// One conversation with one other user.
pub(super) struct Talk {
    pub(super) me: UserId,
    pub(super) peer: UserId,
    pub(super) chat: ChatId,
    pub(super) link: Link,
    pub(super) lines: BTreeMap<u64, Line>,
    pub(super) waiting: Vec<Waiting>,
    /// Lowest seq that a page or a session has spoken for; below it there may be more.
    pub(super) known_from: Option<u64>,
    /// Whose clock lines are shown by.
    pub(super) zone: TimeZone,
    delivered: u64,
    read: u64,
}

impl Talk {
    pub(super) fn new(me: UserId, peer: UserId) -> Self {
        Self {
            me,
            peer,
            chat: ChatId::direct(me, peer),
            link: Link::Connecting,
            lines: BTreeMap::new(),
            waiting: Vec::new(),
            known_from: None,
            zone: TimeZone::UTC,
            delivered: 0,
            read: 0,
        }
    }

    /// An own message was taken by the client.
    pub(super) fn taken(&mut self, client_msg_id: Bytes, text: String) {
        self.waiting.push(Waiting { client_msg_id, text, failed: None });
    }

    /// Takes an event in. `None`: it changes nothing that is shown (another chat's entry, for one).
    pub(super) fn event(&mut self, event: &Event, now_ms: u64) -> Option<Change> {
        match event {
            Event::Welcome(_) => {
                self.link = Link::Online;
                Some(Change::Link)
            }
            Event::Entry(entry) if entry.chat() == self.chat => self.entry(entry).then(|| Change::Line(entry.seq())),
            Event::Entry(entry) => Some(Change::Note(format!("user {} wrote to you elsewhere", entry.sender()))),
            Event::Sent { client_msg_id, seq, timestamp_ms, chat, .. } if *chat == self.chat => {
                let place = self.waiting.iter().position(|waiting| waiting.client_msg_id == *client_msg_id)?;
                let text = self.waiting.remove(place).text;
                self.put(*seq, Line { from: self.me, text, at_ms: *timestamp_ms });
                Some(Change::Line(*seq))
            }
            Event::Failed { client_msg_id, failure } => {
                let why = failure.to_string();
                let waiting = self.waiting.iter_mut().find(|waiting| waiting.client_msg_id == *client_msg_id)?;
                waiting.failed = Some(why.clone());
                Some(Change::Failed(why))
            }
            Event::Receipt { chat, user, seq, status, .. } if *chat == self.chat && *user == self.peer => {
                self.receipt(*seq, *status)
            }
            Event::Disconnected { cause, retry_in_ms } => {
                let retry_at_ms = now_ms + u64::from(*retry_in_ms);
                self.link = Link::Away { why: cause_text(cause), retry_at_ms };
                Some(Change::Link)
            }
            Event::Postponed { refusal, .. } => {
                Some(Change::Note(format!("the server is busy: {refusal}; sending again")))
            }
            Event::Complaint(refusal) => Some(Change::Note(format!("the server says: {refusal}"))),
            _ => None,
        }
    }

    /// Takes a line of the log in; `false` when it is there already or is no message.
    pub(super) fn entry(&mut self, entry: &Entry) -> bool {
        if entry.kind() != EntryKind::message || self.lines.contains_key(&entry.seq()) {
            return false;
        }
        let text = match str::from_utf8(entry.body()) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("({} bytes that are not text)", entry.body().len()),
        };
        self.put(entry.seq(), Line { from: entry.sender(), text, at_ms: entry.timestamp_ms() });
        true
    }

    fn put(&mut self, seq: u64, line: Line) {
        self.lines.insert(seq, line);
        self.known_from = Some(self.known_from.map_or(seq, |known| known.min(seq)));
        while self.lines.len() > LINES_MAX {
            self.lines.pop_first();
            self.known_from = self.lines.keys().next().copied();
        }
    }

    fn receipt(&mut self, seq: u64, status: MarkStatus) -> Option<Change> {
        let tick = if status == MarkStatus::read { Tick::Read } else { Tick::Delivered };
        let mark = if tick == Tick::Read { &mut self.read } else { &mut self.delivered };
        if seq <= *mark {
            return None;
        }
        *mark = seq;
        Some(Change::Tick(seq, tick))
    }

    /// The tick of an own line.
    pub(super) fn tick(&self, seq: u64) -> Tick {
        if seq <= self.read {
            Tick::Read
        } else if seq <= self.delivered {
            Tick::Delivered
        } else {
            Tick::Sent
        }
    }

    /// The seq after which to ask for up to `lines` older lines; `None`: there are none.
    pub(super) fn older_than_known(&self, lines: u64) -> Option<u64> {
        self.known_from.filter(|known| *known > 1).map(|known| known.saturating_sub(lines + 1))
    }

    /// A page of the log: its entries, and from where on nothing is missing any more.
    pub(super) fn page(&mut self, covers: (u64, u64), entries: &[Entry]) {
        for entry in entries {
            self.entry(entry);
        }
        if covers.0 <= covers.1 {
            self.known_from = Some(self.known_from.map_or(covers.0, |known| known.min(covers.0)));
        }
    }
}

/// Why a session ended, for people.
fn cause_text(cause: &Cause) -> String {
    match cause {
        Cause::ConnectFailed => "no connection".to_owned(),
        Cause::Lost => "the connection broke".to_owned(),
        Cause::Silent => "the server was silent".to_owned(),
        Cause::BadFrame => "the server does not speak this protocol".to_owned(),
        Cause::Server(refusal) => refusal.to_string(),
    }
}

/// `12:34`, by the clock of `zone`.
pub(super) fn clock(at_ms: u64, zone: &TimeZone) -> String {
    let time = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "--:--".to_owned(), |time| time.to_zoned(zone.clone()).strftime("%H:%M").to_string())
}

/// What people write must not move their reader's cursor or colour their screen: control characters become `�`.
pub(super) fn printable(text: &str) -> String {
    let harmless = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u64) -> UserId {
        UserId::new(id).expect("not 0")
    }

    fn sent(talk: &Talk, id: &'static [u8], seq: u64) -> Event {
        let message = schema::ids::MessageId([1; 16]);
        let client_msg_id = Bytes::from_static(id);
        Event::Sent { client_msg_id, chat: talk.chat, message, seq, timestamp_ms: 0 }
    }

    fn receipt(talk: &Talk, seq: u64, status: MarkStatus) -> Event {
        Event::Receipt { chat: talk.chat, user: talk.peer, seq, message: None, status }
    }

    #[test]
    fn a_message_waits_is_sent_and_its_ticks_only_rise() {
        let mut talk = Talk::new(user(7), user(9));
        talk.taken(Bytes::from_static(b"a"), "hello".to_owned());
        assert_eq!(talk.event(&sent(&talk, b"other", 3), 0), None);
        assert_eq!(talk.event(&sent(&talk, b"a", 3), 0), Some(Change::Line(3)));
        assert!(talk.waiting.is_empty());
        assert_eq!((talk.lines[&3].text.as_str(), talk.tick(3)), ("hello", Tick::Sent));
        let read = receipt(&talk, 3, MarkStatus::read);
        assert_eq!(talk.event(&read, 0), Some(Change::Tick(3, Tick::Read)));
        assert_eq!(talk.event(&read, 0), None);
        let _ = talk.event(&receipt(&talk, 3, MarkStatus::delivered), 0);
        assert_eq!(talk.tick(3), Tick::Read, "a late receipt lowers nothing");
        assert_eq!(talk.tick(4), Tick::Sent);
    }

    #[test]
    fn a_failed_send_keeps_its_text_and_says_why() {
        let mut talk = Talk::new(user(7), user(9));
        talk.taken(Bytes::from_static(b"a"), "hello".to_owned());
        let failure = client::core::Failure::TooLarge(65_536);
        let change = talk.event(&Event::Failed { client_msg_id: Bytes::from_static(b"a"), failure }, 0);
        assert!(matches!(change, Some(Change::Failed(_))));
        assert!(talk.waiting[0].failed.as_ref().is_some_and(|why| why.contains("65536")));
    }

    #[test]
    fn older_lines_are_asked_for_until_the_first() {
        let mut talk = Talk::new(user(7), user(9));
        assert_eq!(talk.older_than_known(50), None);
        talk.page((81, 100), &[]);
        assert_eq!(talk.older_than_known(50), Some(30));
        talk.page((31, 80), &[]);
        assert_eq!(talk.older_than_known(50), Some(0));
        talk.page((1, 30), &[]);
        assert_eq!(talk.older_than_known(50), None);
    }

    #[test]
    fn no_text_can_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\r\u{7f}é"), "a\u{fffd}[2Jb\nc\u{fffd}\u{fffd}é");
        assert_eq!(clock(13 * 3_600_000 + 5 * 60_000 + 59_999, &TimeZone::UTC), "13:05");
        assert_eq!(clock(u64::MAX, &TimeZone::UTC), "--:--");
    }
}
