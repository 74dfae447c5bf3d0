//! The audit of groups: what each member saw of each of its groups.
//!
//! A group's log has no holes, so a member's side needs no list of who wrote what: it keeps which seqs it has, its own
//! among them, and a sum over what they were. At the end every member must have every seq up to the group's last one, each
//! once and in order, and all sums of a group must be alike. A side takes some 300 bytes, whatever it sees, and a bit for
//! each seq above the first that is missing; receipts are [`super::marks`]'s.

use std::collections::{BTreeSet, VecDeque};

use schema::ids::MessageId;
use serde::{Deserialize, Serialize};

use super::marks::{Marked, Status, Told};
use super::{Audit, FirstReordered, Lost, MissingReceipt, NAMED_MAX, Reordered, Seen, fingerprint};
use crate::groups::{Group, GroupsOf};

/// A seq so far above what is there is none of this run: no memory is spent on it.
const AHEAD_MAX: u64 = 1 << 24;

/// How a message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When it was to be, ns.
    pub intended: u64,
    /// Its sender had no session then, on purpose.
    pub away: bool,
}

/// What a member knows of a group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MemberSide {
    /// It is a member, as far as it knows.
    pub joined: bool,
    /// Messages it has handed to its client: numbers `0..sent`.
    pub sent: u64,
    /// Receipts that came to it.
    pub receipts: u64,
    /// Receipts of somebody who is no other member.
    pub receipts_false: u64,
    /// The highest seq of a receipt.
    receipt_seq: u64,
    /// What it was told of the others' marks, as delivered and as read; of members who write where receipts are audited.
    told: Option<Box<[Told; 2]>>,
    /// What it has marked, as delivered and as read; where receipts are audited.
    marked: Option<Box<[Marked; 2]>>,
    /// Seqs it has, and those from before it joined.
    seen: Seen,
    top: u64,
    got: u64,
    last_seq: u64,
    doubled: u64,
    reordered: u64,
    /// Of `reordered`, the first.
    #[serde(default)]
    first_reordered: Option<Box<FirstReordered>>,
    /// Entries that cannot be: of another chat, or far above all others.
    strange: u64,
    acked: Seen,
    failed: Seen,
    acked_twice: u64,
    /// The acknowledged message with the highest number, and its seq.
    newest: Option<(u64, u64)>,
    sum: u64,
    own_sum: u64,
    /// Numbers that wait for their acknowledgement.
    #[serde(skip)]
    waiting: VecDeque<(u64, Asked)>,
}

impl MemberSide {
    /// Of a member that the change with this seq makes one.
    pub fn new(joins_at: u64) -> Self {
        let mut side = Self::default();
        (0..joins_at).for_each(|seq| {
            side.seen.insert(seq);
        });
        side
    }

    /// The next message's number.
    pub fn send(&mut self, asked: Asked) -> u64 {
        self.sent += 1;
        self.waiting.push_back((self.sent - 1, asked));
        self.sent - 1
    }

    /// A message is acknowledged: how it was sent; `None` when it had been acknowledged, or never was sent.
    pub fn ack(&mut self, sender: u32, n: u64, seq: u64, message: MessageId) -> Option<Asked> {
        if n >= self.sent || !self.acked.insert(n) {
            self.acked_twice += 1;
            return None;
        }
        self.insert(seq);
        self.own_sum = self.own_sum.wrapping_add(mark(sender, n, seq, message));
        // What was sent later stands later.
        if let Some((_, behind_seq)) = self.newest.filter(|&(number, at)| (n > number) != (seq > at)) {
            self.out_of_order(FirstReordered { member: sender, number: n, seq, behind_seq });
        }
        if self.newest.is_none_or(|(number, _)| n > number) {
            self.newest = Some((n, seq));
        }
        let at = self.waiting.iter().position(|(number, _)| *number == n)?;
        self.waiting.remove(at).map(|(_, asked)| asked)
    }

    /// A message was refused for good: it is not expected anywhere.
    pub fn fail(&mut self, n: u64) {
        self.failed.insert(n);
        self.waiting.retain(|(number, _)| *number != n);
    }

    /// A change of the group: an entry, or an own one's acknowledgement.
    pub fn change(&mut self, seq: u64) {
        self.insert(seq);
        self.last_seq = self.last_seq.max(seq);
    }

    /// A message of another member came; `false` when it had before.
    pub fn deliver(&mut self, sender: u32, n: u64, seq: u64, message: MessageId) -> bool {
        if !self.insert(seq) {
            return false;
        }
        if seq <= self.last_seq {
            self.out_of_order(FirstReordered { member: sender, number: n, seq, behind_seq: self.last_seq });
        }
        self.last_seq = self.last_seq.max(seq);
        self.got += 1;
        self.sum = self.sum.wrapping_add(mark(sender, n, seq, message));
        true
    }

    /// An entry that cannot be.
    pub fn strange(&mut self) {
        self.strange += 1;
    }

    /// Another member has everything up to `seq`, or has read it.
    pub fn receipt(&mut self, member: u32, seq: u64, status: Status) {
        self.receipt_seq = self.receipt_seq.max(seq);
        if let Some([delivered, read]) = self.told.as_deref_mut() {
            delivered.receipt(member, seq);
            if status == Status::Read {
                read.receipt(member, seq);
            }
        }
    }

    /// The member's client marks everything up to `seq`. `now`: ns of the clock of all members.
    pub fn mark(&mut self, now: u64, seq: u64, status: Status) {
        let [delivered, read] = &mut **self.marked.get_or_insert_default();
        delivered.mark(now, seq);
        if status == Status::Read {
            read.mark(now, seq);
        }
    }

    /// The member's session has ended.
    pub fn session_ended(&mut self, now: u64) {
        self.marked.iter_mut().flat_map(|marked| marked.iter_mut()).for_each(|marked| marked.session_ended(now));
    }

    /// The member writes, and is to be told of the others' marks.
    pub fn follow_receipts(&mut self, told: impl FnOnce() -> [Told; 2]) -> &mut [Told; 2] {
        self.told.get_or_insert_with(|| Box::new(told()))
    }

    /// What it was told; `None` of a member that has not written.
    pub fn told(&mut self) -> Option<&mut [Told; 2]> {
        self.told.as_deref_mut()
    }

    fn out_of_order(&mut self, which: FirstReordered) {
        self.reordered += 1;
        self.first_reordered.get_or_insert_with(|| Box::new(which));
    }

    fn insert(&mut self, seq: u64) -> bool {
        if seq > self.top + AHEAD_MAX {
            self.strange += 1;
            return false;
        }
        self.top = self.top.max(seq);
        let new = self.seen.insert(seq);
        self.doubled += u64::from(!new);
        new
    }

    fn unanswered(&self) -> u64 {
        self.sent.saturating_sub(self.acked.count() + self.failed.count())
    }
}

fn mark(sender: u32, n: u64, seq: u64, message: MessageId) -> u64 {
    fingerprint(n | u64::from(sender) << 32, seq, message)
}

impl Audit {
    /// Joins what all members of a group saw: by which member each is.
    pub fn add_group(&mut self, groups: &GroupsOf, group: &Group, sides: &[(u32, &MemberSide)]) {
        let sum = |of: fn(&MemberSide) -> u64| sides.iter().map(|(_, side)| of(side)).sum::<u64>();
        let head = sides.iter().map(|(_, side)| side.top).max().unwrap_or(0);
        let stored = head.saturating_sub(u64::from(group.steps()));
        let (acked, unanswered) = (sum(|side| side.acked.count()), sum(MemberSide::unanswered));
        let sent = sum(|side| side.sent);
        self.sent += sent;
        self.acked += acked;
        self.refused += sum(|side| side.failed.count());
        self.unanswered += unanswered;
        self.acked_twice += sum(|side| side.acked_twice);
        self.deliveries += sum(|side| side.got);
        // The log has no holes: what is more than was sent is there twice.
        self.doubled += sum(|side| side.doubled) + stored.saturating_sub(sent);
        self.reordered += sum(|side| side.reordered);
        self.mismatched += sum(|side| side.strange) + acked.saturating_sub(stored);
        self.receipts_false += sum(|side| side.receipts_false);
        self.receipts_false += sides.iter().filter(|(_, side)| side.receipt_seq > head).count() as u64;
        // What nobody has.
        self.lost += unanswered.saturating_sub(stored.saturating_sub(acked));
        let all = sides.iter().fold(0u64, |all, (_, side)| all.wrapping_add(side.own_sum));
        let mut incomplete = BTreeSet::new();
        for (member, side) in sides {
            // An own message that was stored and never answered has a seq that its sender does not know.
            let missing = (head + 1).saturating_sub(side.seen.count()).saturating_sub(side.unanswered());
            if missing == 0 {
                let alike = unanswered > 0 || side.sum.wrapping_add(side.own_sum) == all;
                self.mismatched += u64::from(!alike);
                continue;
            }
            self.lost += missing;
            self.acked_but_missing += missing;
            for seq in side.seen.missing(head) {
                incomplete.insert(seq);
                if self.lost_examples.len() < NAMED_MAX {
                    let (receiver, chat) = (groups.user(group.place(*member)).get(), group.chat.to_string());
                    let lost = Lost { receiver, group: Some(chat), seq: Some(seq), acked: true, ..Lost::default() };
                    self.lost_examples.push(lost);
                }
            }
        }
        self.name_reordered(groups, group, sides);
        self.add_group_receipts(groups, group, sides);
        let first = u64::from(group.steps()) + 1;
        self.delivered += stored.saturating_sub(incomplete.range(first..).count() as u64);
    }

    /// Names what members found out of order.
    fn name_reordered(&mut self, groups: &GroupsOf, group: &Group, sides: &[(u32, &MemberSide)]) {
        let user = |member: u32| groups.user(group.place(member)).get();
        let room = NAMED_MAX.saturating_sub(self.reordered_examples.len());
        let found = sides.iter().filter_map(|(member, side)| Some((*member, *side.first_reordered.as_deref()?)));
        self.reordered_examples.extend(found.take(room).map(|(member, first)| Reordered {
            sender: user(first.member),
            seen_by: user(member),
            number: first.number,
            seq: first.seq,
            behind_seq: first.behind_seq,
            group: Some(group.chat.to_string()),
        }));
    }

    /// Whether each sender was told of what the others have marked.
    fn add_group_receipts(&mut self, groups: &GroupsOf, group: &Group, sides: &[(u32, &MemberSide)]) {
        let marked = |member: u32, of: usize| {
            let at = sides.binary_search_by_key(&member, |side| side.0).ok()?;
            Some(&sides[at].1.marked.as_deref()?[of])
        };
        let user = |member: u32| groups.user(group.place(member)).get();
        for (sender, side) in sides {
            let reads = side.told.as_deref().is_some_and(|[_, read]| read.is_followed());
            for (of, told) in side.told.iter().flat_map(|told| told.iter()).enumerate() {
                let mut missing = Vec::new();
                let judged =
                    told.judge(|member| marked(member, of), |member, seq, told| missing.push((member, seq, told)));
                let owed = told.owed(missing.len(), reads && of == 0);
                self.receipts_unjudged += judged + (missing.len() - owed) as u64;
                self.receipts_missing += owed as u64;
                for (member, seq, told_seq) in missing.into_iter().take(owed) {
                    if self.receipt_examples.len() < NAMED_MAX {
                        let (chat, sender, member) = (group.chat.to_string(), user(*sender), user(member));
                        let read = of == 1;
                        self.receipt_examples.push(MissingReceipt { group: chat, sender, member, seq, told_seq, read });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    const MEMBERS: u32 = 3;
    const ASKED: Asked = Asked { intended: 1, away: false };

    fn id(seq: u64) -> MessageId {
        MessageId(u128::from(seq).to_be_bytes())
    }

    /// A group of three, made with one change, in which the first two have written two messages each.
    struct Three {
        groups: GroupsOf,
        sides: Vec<MemberSide>,
    }

    impl Three {
        fn new(skip: impl Fn(u32, u64) -> bool) -> Self {
            let text = "[load]\nusers = 4\nmode = \"open\"\nrate = 1.0\nsteady_s = 1.0\n[[load.groups]]\nmembers = 3\n";
            let groups = GroupsOf::new(&Scenario::parse(text).unwrap().load, 1);
            let mut three = Self { groups, sides: vec![MemberSide::new(1); MEMBERS as usize] };
            three.sides.iter_mut().for_each(|side| side.change(1));
            for (seq, sender) in [(2, 0), (3, 1), (4, 0), (5, 1)] {
                let asked = Asked { intended: 100 * seq, away: false };
                let n = three.sides[sender as usize].send(asked);
                for member in 0..MEMBERS {
                    let side = &mut three.sides[member as usize];
                    if member == sender {
                        assert_eq!(side.ack(sender, n, seq, id(seq)), Some(asked));
                    } else if !skip(member, seq) {
                        assert!(side.deliver(sender, n, seq, id(seq)));
                    }
                }
            }
            three
        }

        fn audit(&self) -> Audit {
            let mut audit = Audit::default();
            let sides: Vec<(u32, &MemberSide)> = (0..).zip(&self.sides).collect();
            audit.add_group(&self.groups, self.groups.get(0).unwrap(), &sides);
            audit
        }
    }

    #[test]
    fn a_group_whose_members_saw_the_same_is_clean() {
        let audit = Three::new(|_, _| false).audit();
        assert_eq!((audit.sent, audit.acked, audit.delivered, audit.deliveries), (4, 4, 4, 8));
        assert_eq!(audit.failure(), None);
    }

    #[test]
    fn what_one_member_misses_is_named_with_its_seq() {
        let three = Three::new(|member, seq| member == 2 && seq == 3);
        let audit = three.audit();
        assert_eq!((audit.lost, audit.acked_but_missing, audit.delivered, audit.deliveries), (1, 1, 3, 7));
        assert_eq!((audit.lost_examples[0].receiver, audit.lost_examples[0].seq), (3, Some(3)));
        // Also the last one, which leaves no hole below what it has.
        assert_eq!(Three::new(|member, seq| member == 2 && seq == 5).audit().lost, 1);
        assert_eq!(Three::new(|member, _| member == 2).audit().lost, 4);
    }

    #[test]
    fn doubles_wrong_orders_and_other_contents_are_seen() {
        let mut three = Three::new(|_, _| false);
        assert!(!three.sides[2].deliver(0, 0, 2, id(2)));
        assert_eq!(three.audit().failure().unwrap(), "audit: 1 doubled of 4 sent");

        let mut three = Three::new(|member, seq| member == 2 && seq == 4);
        three.sides[2].deliver(0, 1, 4, id(4));
        assert_eq!(three.audit().failure().unwrap(), "audit: 1 reordered of 4 sent");
        let [named] = &three.audit().reordered_examples[..] else { panic!("one is named") };
        assert_eq!((named.sender, named.seen_by, named.number, named.seq, named.behind_seq), (1, 3, 1, 4, 5));
        assert!(named.group.is_some());

        let mut three = Three::new(|member, seq| member == 2 && seq == 5);
        three.sides[2].deliver(1, 1, 5, id(9));
        assert_eq!(three.audit().mismatched, 1);

        let mut three = Three::new(|_, _| false);
        three.sides[2].deliver(0, 9, u64::MAX, id(9));
        three.sides[1].receipt(0, 6, Status::Delivered);
        let audit = three.audit();
        assert_eq!((audit.mismatched, audit.receipts_false), (1, 1));
    }

    #[test]
    fn a_mark_that_a_sender_was_not_told_of_is_named() {
        // The first two have written, seq 4 and 5 last; all mark all; each is told of the others, but for one.
        let audit = |skip: Option<(u32, u32)>| {
            let mut three = Three::new(|_, _| false);
            for (sender, n, seq) in [(0, 1, 4), (1, 1, 5)] {
                let told = || [Told::new(MEMBERS, sender), Told::new(MEMBERS, sender)];
                let told = three.sides[sender as usize].follow_receipts(told);
                told.iter_mut().for_each(|told| told.expect(n, seq));
            }
            for member in 0..MEMBERS {
                three.sides[member as usize].mark(1, 5, Status::Read);
                for sender in [0, 1].into_iter().filter(|sender| *sender != member && skip != Some((*sender, member))) {
                    three.sides[sender as usize].receipt(member, 5, Status::Read);
                }
            }
            for told in three.sides.iter_mut().filter_map(MemberSide::told) {
                told.iter_mut().for_each(|told| told.close(&mut 100));
            }
            three.audit()
        };
        assert_eq!((audit(None).failure(), audit(None).receipts_unjudged), (None, 0));
        let missing = audit(Some((0, 2)));
        assert_eq!(missing.failure().unwrap(), "audit: 2 without a receipt of 4 sent");
        let [delivered, read] = &missing.receipt_examples[..] else { panic!("{missing:?}") };
        assert_eq!((delivered.sender, delivered.member, delivered.seq, delivered.told_seq), (1, 3, 4, 0));
        assert_eq!((delivered.read, read.read), (false, true));
    }

    #[test]
    fn senders_order_is_the_logs() {
        let mut three = Three::new(|_, _| false);
        let (earlier, later) = (three.sides[0].send(ASKED), three.sides[0].send(ASKED));
        three.sides[0].ack(0, later, 6, id(6));
        three.sides[0].ack(0, earlier, 7, id(7));
        let audit = three.audit();
        let [named] = &audit.reordered_examples[..] else { panic!("one is named") };
        assert_eq!((audit.reordered, named.sender, named.seen_by, named.seq, named.behind_seq), (1, 1, 1, 7, 6));
    }

    #[test]
    fn what_is_never_answered_is_lost_and_what_is_refused_is_not() {
        let mut three = Three::new(|_, _| false);
        three.sides[0].send(ASKED);
        let refused = three.sides[1].send(ASKED);
        three.sides[1].fail(refused);
        let audit = three.audit();
        assert_eq!((audit.lost, audit.unanswered, audit.refused, audit.acked_but_missing), (1, 1, 1, 0));
        // What others have without an answer at its sender is not lost.
        for member in [1, 2] {
            assert!(three.sides[member].deliver(0, 2, 6, id(6)));
        }
        assert_eq!((three.audit().lost, three.audit().unanswered), (0, 1));
    }
}
