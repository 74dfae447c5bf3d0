//! The audit of every message: sent, acknowledged, delivered, each once and in order.
//!
//! A stream is what one user sends to one other: messages numbered from 0. Its sender's and its receiver's side are kept
//! where those users live and are joined at the end; groups are [`members`]'s. What is settled costs nothing: a side keeps the number below which
//! everything is there and a bitmap above it, so memory is bounded by what is out of order, one bit a message at worst.

mod examples;
mod marks;
mod members;
mod receipts;

use std::collections::VecDeque;

use schema::ids::{ChatId, MessageId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::draw::mix;

use examples::FirstReordered;
pub use examples::{Lost, MissingReceipt, Reordered};
pub use marks::{CELLS_MAX, Status, Told};
pub use members::{Asked, MemberSide};
pub use receipts::Receipts;

/// Of each kind named in the report, at most.
const NAMED_MAX: usize = 20;

/// Numbers seen: all below `base`, and a bitmap above.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    base: u64,
    bits: VecDeque<u64>,
    count: u64,
}

impl Seen {
    /// Adds a number; `false` when it was there.
    pub fn insert(&mut self, n: u64) -> bool {
        if n < self.base {
            return false;
        }
        let (word, bit) = (((n - self.base) / 64) as usize, (n - self.base) % 64);
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        if self.bits[word] & (1 << bit) != 0 {
            return false;
        }
        self.bits[word] |= 1 << bit;
        self.count += 1;
        while self.bits.front() == Some(&u64::MAX) {
            self.bits.pop_front();
            self.base += 64;
        }
        true
    }

    /// Whether a number is there.
    pub fn contains(&self, n: u64) -> bool {
        n < self.base
            || self.bits.get(((n - self.base) / 64) as usize).is_some_and(|w| w & (1 << ((n - self.base) % 64)) != 0)
    }

    /// Those up to `last` that are not.
    pub fn missing(&self, last: u64) -> impl Iterator<Item = u64> {
        (self.base..=last).filter(|n| !self.contains(*n))
    }

    /// How many are there.
    pub const fn count(&self) -> u64 {
        self.count
    }
}

/// What the sender knows of a stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SentSide {
    /// Messages handed to the client: numbers `0..sent`.
    pub sent: u64,
    /// The chat, once an acknowledgement has named it. Only its worker wants to know.
    #[serde(skip)]
    pub chat: Option<ChatId>,
    /// What the receiver's marks have come to; empty where receipts are not audited.
    pub receipts: Receipts,
    /// The same of its read marks; empty where receivers do not read.
    pub reads: Receipts,
    acked: Seen,
    failed: Seen,
    acked_twice: u64,
    sum: u64,
}

impl SentSide {
    /// The next message's number.
    pub fn send(&mut self) -> u64 {
        self.sent += 1;
        self.sent - 1
    }

    /// A message is acknowledged with its place and id; `false` when it had been, or never was sent.
    pub fn ack(&mut self, n: u64, seq: u64, message: MessageId) -> bool {
        if n < self.sent && self.acked.insert(n) {
            self.sum = self.sum.wrapping_add(fingerprint(n, seq, message));
            true
        } else {
            self.acked_twice += 1;
            false
        }
    }

    /// A message was refused for good: it is not expected anywhere.
    pub fn fail(&mut self, n: u64) {
        self.failed.insert(n);
    }
}

/// What the receiver knows of a stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct GotSide {
    got: Seen,
    next: u64,
    last_seq: u64,
    doubled: u64,
    reordered: u64,
    /// Of `reordered`, the first.
    #[serde(default)]
    first_reordered: Option<Box<FirstReordered>>,
    sum: u64,
}

impl GotSide {
    /// A message reached the application; `false` when it had before.
    pub fn deliver(&mut self, n: u64, seq: u64, message: MessageId) -> bool {
        if !self.got.insert(n) {
            self.doubled += 1;
            return false;
        }
        if n < self.next || seq <= self.last_seq {
            self.reordered += 1;
            let behind_seq = self.last_seq;
            self.first_reordered.get_or_insert_with(|| {
                Box::new(FirstReordered { number: n, seq, behind_seq, ..FirstReordered::default() })
            });
        }
        self.next = self.next.max(n + 1);
        self.last_seq = self.last_seq.max(seq);
        self.sum = self.sum.wrapping_add(fingerprint(n, seq, message));
        true
    }
}

/// Sums of these agree only if both sides saw the same place and id for every message (up to chance, 2^-64).
fn fingerprint(n: u64, seq: u64, message: MessageId) -> u64 {
    let mut x = u128::from_le_bytes(message.0) as u64 ^ n.rotate_left(32) ^ seq.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= (u128::from_le_bytes(message.0) >> 64) as u64;
    mix(x)
}

/// The audit's result, as it is reported.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
pub struct Audit {
    /// Messages the users handed to their clients.
    pub sent: u64,
    /// Of these, acknowledged as durable.
    pub acked: u64,
    /// Of these, delivered to their receiver; in groups: to every other member.
    pub delivered: u64,
    /// Deliveries: one a receiver of a message.
    #[serde(default)]
    pub deliveries: u64,
    /// Neither delivered nor refused for good by the end; in groups: for each member who should have it.
    pub lost: u64,
    /// Deliveries beyond a message's first.
    pub doubled: u64,
    /// Deliveries after one that was sent later, or whose seq did not rise.
    pub reordered: u64,
    /// Acknowledged, and never delivered.
    pub acked_but_missing: u64,
    /// Never acknowledged nor refused.
    pub unanswered: u64,
    /// Refused for good.
    pub refused: u64,
    /// Answers beyond a message's first.
    pub acked_twice: u64,
    /// Streams in which an acknowledgement named another seq or message id than the delivery; members whose group shows
    /// others something else.
    pub mismatched: u64,
    /// Delivered and marked (or read), but the sender was never told by a receipt. In groups: members whose mark covers the
    /// newest message of a sender, who was not told and had to be, each sender and member once.
    pub receipts_missing: u64,
    /// The same, not judged: the sender's own session was away or did not read meanwhile; in groups also where the protocol
    /// does not promise it, or there was no room to keep it.
    pub receipts_unjudged: u64,
    /// Streams whose sender was told of the delivery of a message that was not delivered.
    pub receipts_false: u64,
    /// Deliveries of this run's group messages to users who are not their group's members.
    #[serde(default)]
    pub misdelivered: u64,
    /// Deliveries that are of no message of this run; not judged (a target may hold older ones).
    pub foreign: u64,
    /// Some of what is lost, for the search.
    pub lost_examples: Vec<Lost>,
    /// Some of what is reordered, the first of each stream, or of each member of a group.
    #[serde(default)]
    pub reordered_examples: Vec<Reordered>,
    /// Some of the receipts that are missing in groups, for the search.
    #[serde(default)]
    pub receipt_examples: Vec<MissingReceipt>,
}

impl Audit {
    /// Joins the two sides of one stream.
    pub fn add(&mut self, sender: u64, receiver: u64, sent: &SentSide, got: Option<&GotSide>) {
        let nothing = GotSide::default();
        let got = got.unwrap_or(&nothing);
        self.sent += sent.sent;
        self.acked += sent.acked.count();
        self.refused += sent.failed.count();
        self.acked_twice += sent.acked_twice;
        self.delivered += got.got.count();
        self.deliveries += got.got.count();
        self.doubled += got.doubled;
        self.reordered += got.reordered;
        if let Some(first) = got.first_reordered.as_deref().filter(|_| self.reordered_examples.len() < NAMED_MAX) {
            let &FirstReordered { number, seq, behind_seq, .. } = first;
            self.reordered_examples.push(Reordered { sender, seen_by: receiver, number, seq, behind_seq, group: None });
        }
        let all = sent.sent;
        let undelivered = sent.acked.count().saturating_sub(got.got.count());
        for receipts in [&sent.receipts, &sent.reads] {
            let (missing, unjudged) = receipts.open();
            self.receipts_missing += missing.saturating_sub(undelivered);
            self.receipts_unjudged += unjudged;
            self.receipts_false += u64::from(receipts.covered() > got.last_seq);
        }
        if got.got.count() == all && sent.acked.count() == all {
            self.mismatched += u64::from(sent.sum != got.sum);
            return;
        }
        for n in 0..all {
            let (acked, failed, there) = (sent.acked.contains(n), sent.failed.contains(n), got.got.contains(n));
            self.unanswered += u64::from(!acked && !failed);
            if there || (failed && !acked) {
                continue;
            }
            self.lost += 1;
            self.acked_but_missing += u64::from(acked);
            if self.lost_examples.len() < NAMED_MAX {
                self.lost_examples.push(Lost { sender, receiver, number: n, acked, ..Lost::default() });
            }
        }
    }

    /// Why it fails, in one line; `None` when clean.
    pub fn failure(&self) -> Option<String> {
        let parts = [
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("reordered", self.reordered),
            ("acked but missing", self.acked_but_missing),
            ("never answered", self.unanswered),
            ("acknowledged twice", self.acked_twice),
            ("delivered to others", self.misdelivered),
            ("chats whose ack and delivery differ", self.mismatched),
            ("without a receipt", self.receipts_missing),
            ("chats with a receipt for what was not delivered", self.receipts_false),
        ];
        let said: Vec<String> = parts.iter().filter(|p| p.1 > 0).map(|p| format!("{} {}", p.1, p.0)).collect();
        (!said.is_empty()).then(|| format!("audit: {} of {} sent", said.join(", "), self.sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(n: u8) -> MessageId {
        MessageId([n; 16])
    }

    fn audit(sent: &SentSide, got: &GotSide) -> Audit {
        let mut audit = Audit::default();
        audit.add(1, 2, sent, Some(got));
        audit
    }

    fn clean(messages: u64) -> (SentSide, GotSide) {
        let (mut sent, mut got) = (SentSide::default(), GotSide::default());
        for n in 0..messages {
            assert_eq!(sent.send(), n);
            assert!(sent.ack(n, n + 1, id(n as u8)));
            assert!(got.deliver(n, n + 1, id(n as u8)));
        }
        (sent, got)
    }

    #[test]
    fn a_clean_stream_is_clean() {
        let (sent, got) = clean(1_000);
        let audit = audit(&sent, &got);
        assert_eq!((audit.sent, audit.acked, audit.delivered, audit.failure()), (1_000, 1_000, 1_000, None));
        assert!(sent.acked.bits.len() <= 1, "settled numbers cost nothing");
    }

    #[test]
    fn a_lost_message_is_named() {
        let (mut sent, got) = clean(10);
        let n = sent.send();
        sent.ack(n, 11, id(11));
        let audit = audit(&sent, &got);
        assert_eq!((audit.lost, audit.acked_but_missing), (1, 1));
        assert_eq!(audit.lost_examples, [Lost { sender: 1, receiver: 2, number: 10, acked: true, ..Lost::default() }]);
        assert_eq!(audit.failure().unwrap(), "audit: 1 lost, 1 acked but missing of 11 sent");
    }

    #[test]
    fn an_unanswered_message_is_lost_and_a_refused_one_is_not() {
        let (mut sent, got) = clean(3);
        sent.send();
        let refused = sent.send();
        sent.fail(refused);
        let audit = audit(&sent, &got);
        assert_eq!((audit.lost, audit.acked_but_missing, audit.unanswered, audit.refused), (1, 0, 1, 1));
    }

    #[test]
    fn doubles_reorders_and_wrong_places_are_seen() {
        let (sent, mut got) = clean(5);
        assert!(!got.deliver(3, 4, id(3)));
        assert_eq!(audit(&sent, &got).doubled, 1);

        let (mut sent, mut got) = (SentSide::default(), GotSide::default());
        for n in 0..3 {
            sent.send();
            sent.ack(n, n + 1, id(n as u8));
        }
        for n in [0, 2, 1] {
            got.deliver(n, n + 1, id(n as u8));
        }
        let judged = audit(&sent, &got);
        assert_eq!((judged.reordered, judged.mismatched), (1, 0));
        let named = Reordered { sender: 1, seen_by: 2, number: 1, seq: 2, behind_seq: 3, group: None };
        assert_eq!(judged.reordered_examples, [named]);

        let (mut sent, mut got) = clean(2);
        let n = sent.send();
        sent.ack(n, 3, id(9));
        got.deliver(n, 4, id(9));
        assert_eq!(audit(&sent, &got).mismatched, 1);
    }

    #[test]
    fn a_receipt_that_is_missing_or_false_is_seen() {
        let (mut sent, got) = clean(5);
        for n in 0..5 {
            sent.receipts.expect(n, n + 1);
        }
        sent.receipts.receipt(3);
        assert_eq!(audit(&sent, &got).failure().unwrap(), "audit: 2 without a receipt of 5 sent");
        sent.receipts.lapse(5);
        let judged = audit(&sent, &got);
        assert_eq!((judged.receipts_missing, judged.receipts_unjudged, judged.failure()), (0, 2, None));

        let n = sent.send();
        sent.ack(n, 6, id(5));
        sent.receipts.expect(n, 6);
        sent.receipts.receipt(6);
        let judged = audit(&sent, &got);
        assert_eq!((judged.lost, judged.receipts_missing, judged.receipts_false), (1, 0, 1));
    }

    #[test]
    fn numbers_in_any_order_are_counted_once() {
        let mut seen = Seen::default();
        for step in 0..997u64 {
            assert!(seen.insert(step * 331 % 997));
            assert!(!seen.insert(step * 331 % 997));
        }
        assert_eq!(seen.count(), 997);
        assert!(seen.contains(996) && !seen.contains(997));
    }
}
