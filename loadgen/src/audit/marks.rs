//! Receipts in a group: what each member has marked, what each sender was told of it, and the two joined.
//!
//! Marks are cumulative and only rise, so the end says it all: of each other member a sender must know a mark that covers its
//! own newest message, once that member has marked it. Servers owe no more than the protocol says: a mark goes to the senders
//! of the last [`TOLD_OF`] entries up to it that it adds, marks that come together count as one, and sessions that do not
//! stand hear of it when they come back. What is not owed is not judged, and counted. Memory: some 200 bytes a membership for
//! what it has marked, 4 bytes a member for each member that writes, [`CELLS_MAX`] of these a worker.

use std::collections::VecDeque;

use schema::limits::PAGE_MEMBERS;
use serde::{Deserialize, Serialize};

/// A mark is told to the senders of so many entries up to it.
const TOLD_OF: u64 = 64;
/// Marks within so long may come to the server's order together, ns.
const TOGETHER_NS: u64 = 5_000_000_000;
/// Marks told apart while they may be one; more are taken together, which only judges less.
const STEPS_MAX: usize = 64;
/// Ranges that nobody is owed, told apart; more become one, which only judges less.
const SKIPPED_MAX: usize = 16;
/// No time yet: said in a session that ended, and not again.
const UNSURE: u64 = u64::MAX;

/// Members followed for the senders of one worker, each status for itself, at most.
pub const CELLS_MAX: usize = 16 << 20;

/// What marks and receipts say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The device has it.
    Delivered,
    /// The user has read it, and so the device has it.
    Read,
}

/// A mark that may still be one with those after it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Step {
    ns: u64,
    after: u64,
    up_to: u64,
}

/// What a member has marked as delivered, or as read. Times are ns of one clock for all members.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Marked {
    top: u64,
    raised_ns: u64,
    steps: VecDeque<Step>,
    /// Seqs from and to, ascending: where a mark, or some together, went further than their senders are told.
    skipped: Vec<(u64, u64)>,
}

impl Marked {
    /// The member's client has said that it has everything up to `seq`.
    pub fn mark(&mut self, now: u64, seq: u64) {
        if let Some(unsure) = self.steps.back_mut().filter(|step| step.ns == UNSURE) {
            (unsure.ns, self.raised_ns) = (now, now);
        }
        self.settle(now);
        if seq <= self.top {
            return;
        }
        if self.steps.len() >= STEPS_MAX
            && let Some(first) = self.steps.pop_front()
        {
            self.steps[0].after = first.after;
        }
        self.steps.push_back(Step { ns: now, after: self.top, up_to: seq });
        (self.top, self.raised_ns) = (seq, now);
    }

    /// The member's session has ended: the server may not have had its last marks.
    pub fn session_ended(&mut self, now: u64) {
        self.settle(now);
        if let (Some(first), Some(last)) = (self.steps.front().copied(), self.steps.back().copied()) {
            self.steps.clear();
            self.steps.push_back(Step { ns: UNSURE, after: first.after, up_to: last.up_to });
        }
    }

    /// Marks that cannot be one with what comes from now on.
    fn settle(&mut self, now: u64) {
        while let Some(step) = self.steps.front().filter(|step| step.ns.saturating_add(TOGETHER_NS) <= now) {
            let (first, last) = (step.after + 1, self.not_owed(step));
            self.steps.pop_front();
            if first > last {
                continue;
            }
            let full = self.skipped.len() >= SKIPPED_MAX;
            match self.skipped.last_mut() {
                Some(range) if full || range.1 + 1 == first => range.1 = last,
                _ => self.skipped.push((first, last)),
            }
        }
    }

    /// Up to where the senders of what a step adds need not be told.
    fn not_owed(&self, step: &Step) -> u64 {
        step.up_to.min(self.top.saturating_sub(TOLD_OF))
    }

    /// Whether the server has this seq marked for sure.
    fn has(&self, seq: u64) -> bool {
        let sure = self.steps.back().filter(|step| step.ns == UNSURE).map_or(self.top, |unsure| unsure.after);
        seq <= sure
    }

    /// Whether the sender of this seq had to be told when it was marked.
    fn owes(&self, seq: u64) -> bool {
        let within = |first: u64, last: u64| (first..=last).contains(&seq);
        !self.skipped.iter().any(|&(first, last)| within(first, last))
            && !self.steps.iter().any(|step| within(step.after + 1, self.not_owed(step)))
    }
}

/// What a sender was told of the other members' marks of one status.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    /// By member, up to which seq; emptied at the end.
    #[serde(skip)]
    cells: Vec<u32>,
    /// The newest own message, of those sent since the session stands; 0: none.
    target: u64,
    /// The newest one of before.
    excused: u64,
    /// Messages with lower numbers are of before.
    excused_below: u64,
    /// Members whose marks are to come.
    due: u64,
    /// When the session began that was given what was missed before, ns; 0: none was.
    again_ns: u64,
    /// At the end: members of whom less is known than the newest message, and what.
    open: Vec<(u32, u32)>,
    /// Members of whom nothing was kept, for want of room.
    not_kept: u64,
    /// The other members.
    others: u64,
}

impl Told {
    /// Of a sender who is the `own`th of so many members.
    pub fn new(members: u32, own: u32) -> Self {
        let mut cells = vec![0; members as usize];
        cells[own as usize] = u32::MAX;
        Self { cells, others: u64::from(members - 1), ..Self::default() }
    }

    /// For a sender there is no room for.
    pub fn without_room(members: u32) -> Self {
        Self { not_kept: u64::from(members - 1), ..Self::default() }
    }

    /// Members it keeps.
    pub const fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Members whose marks are to come.
    pub const fn due(&self) -> u64 {
        self.due
    }

    /// An own message is acknowledged: all others are to mark it.
    pub fn expect(&mut self, number: u64, seq: u64) {
        if number < self.excused_below {
            self.excused = self.excused.max(seq);
        } else if seq > self.target {
            self.target = seq;
            self.due = self.cells.iter().filter(|told| u64::from(**told) < seq).count() as u64;
        }
    }

    /// A member has everything up to `seq`.
    pub fn receipt(&mut self, member: u32, seq: u64) {
        let Some(told) = self.cells.get_mut(member as usize) else { return };
        let (before, now) = (u64::from(*told), seq.min(u64::from(u32::MAX)));
        if now > before {
            *told = now as u32;
            self.due -= u64::from((before < self.target) && now >= self.target);
        }
    }

    /// The sender may have missed what was told: nothing it has sent so far (`sent` messages) is owed live.
    pub fn lapse(&mut self, sent: u64) {
        self.excused_below = self.excused_below.max(sent);
        self.excused = self.excused.max(self.target);
        (self.target, self.due) = (0, 0);
    }

    /// A session that began at `began` was given what was missed before.
    pub const fn told_again(&mut self, began: u64) {
        self.again_ns = began;
    }

    /// At the end: keeps what is open, at most `room` members, which it takes from there.
    pub fn close(&mut self, room: &mut usize) {
        let newest = self.target.max(self.excused);
        for (member, told) in (0..).zip(core::mem::take(&mut self.cells)) {
            if u64::from(told) >= newest {
                continue;
            }
            if *room == 0 {
                self.not_kept += 1;
            } else {
                *room -= 1;
                self.open.push((member, told));
            }
        }
    }

    /// Whether it is followed at all: reads are where the load reads.
    pub const fn is_followed(&self) -> bool {
        self.others > 0
    }

    /// Of so many members who are missing, how many the sender had to be told of: all; of more than [`PAGE_MEMBERS`] others
    /// so many in all, as a sender that did not read for a moment is told of the furthest alone. `by_read`: who is furthest
    /// goes by what was read, and so says nothing of this status.
    pub fn owed(&self, missing: usize, by_read: bool) -> usize {
        if self.others <= u64::from(PAGE_MEMBERS) {
            return missing;
        }
        let unknown = self.open.iter().filter(|(_, told)| u64::from(*told) < self.target).count() as u64;
        let known = self.others.saturating_sub(unknown);
        if by_read { 0 } else { missing.min(u64::from(PAGE_MEMBERS).saturating_sub(known) as usize) }
    }

    /// What the sender should have been told of the others' marks and was not: seqs and members in `missing`. Returns how
    /// many members it need not have been told of, or that cannot be judged.
    pub fn judge<'a>(&self, marked: impl Fn(u32) -> Option<&'a Marked>, mut missing: impl FnMut(u32, u64, u64)) -> u64 {
        let mut unjudged = self.not_kept;
        for &(member, told) in &self.open {
            let (Some(marked), told) = (marked(member), u64::from(told)) else { continue };
            let live = told < self.target && marked.has(self.target) && marked.owes(self.target);
            let again = told < self.excused
                && marked.has(self.excused)
                && marked.raised_ns.saturating_add(TOGETHER_NS) < self.again_ns;
            if live || again {
                missing(member, if live { self.target } else { self.excused }, told);
            } else {
                unjudged += u64::from(marked.top >= self.target.max(self.excused));
            }
        }
        unjudged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MEMBERS: u32 = 3;

    /// What is found of one sender, the first of three, when the second has marked so: (missing, unjudged).
    fn judged(told: &Told, marked: &Marked) -> (Vec<(u32, u64, u64)>, u64) {
        let (mut told, mut missing) = (told.clone(), Vec::new());
        told.close(&mut 100);
        let of = |member: u32| (member == 1).then_some(marked);
        let unjudged = told.judge(of, |member, seq, known| missing.push((member, seq, known)));
        (missing, unjudged)
    }

    fn wrote(seqs: &[u64]) -> Told {
        let mut told = Told::new(MEMBERS, 0);
        (0..).zip(seqs).for_each(|(number, seq)| told.expect(number, *seq));
        told
    }

    fn marked(marks: &[(u64, u64)]) -> Marked {
        let mut marked = Marked::default();
        marks.iter().for_each(|(ns, seq)| marked.mark(*ns, *seq));
        marked
    }

    #[test]
    fn a_mark_that_covers_the_newest_message_settles_all_and_one_that_never_came_is_found() {
        let (mut told, marked) = (wrote(&[2, 5]), marked(&[(1, 2), (2, 5)]));
        assert_eq!(told.due(), 2);
        told.receipt(1, 2);
        assert_eq!((told.due(), judged(&told, &marked)), (2, (vec![(1, 5, 2)], 0)));
        told.receipt(1, 7);
        told.receipt(1, 3);
        assert_eq!((told.due(), judged(&told, &marked)), (1, (vec![], 0)));
    }

    #[test]
    fn what_a_member_has_not_marked_is_owed_to_nobody() {
        assert_eq!(judged(&wrote(&[2, 5]), &marked(&[(1, 4)])), (vec![], 0));
        assert_eq!(judged(&Told::new(MEMBERS, 0), &marked(&[(1, 4)])), (vec![], 0));
    }

    #[test]
    fn senders_far_below_a_mark_are_not_owed_it() {
        // The 64 entries up to 100 are 37 and on.
        let at_once = marked(&[(1, 100)]);
        assert_eq!(judged(&wrote(&[36]), &at_once), (vec![], 1));
        assert_eq!(judged(&wrote(&[37]), &at_once).0, [(1, 37, 0)]);
        // Two marks together may be one, an hour later they are two.
        assert_eq!(judged(&wrote(&[20]), &marked(&[(1, 50), (2 * SECOND, 100)])), (vec![], 1));
        let apart = marked(&[(1, 50), (3_600 * SECOND, 100), (7_200 * SECOND, 101)]);
        assert_eq!(judged(&wrote(&[20]), &apart).0, [(1, 20, 0)]);
        assert_eq!(apart.skipped, []);
        assert_eq!(marked(&[(1, 100), (3_600 * SECOND, 101)]).skipped, [(1, 36)]);
    }

    #[test]
    fn marks_of_a_session_that_ended_count_once_they_are_said_again() {
        let mut marked = marked(&[(1, 10), (20 * SECOND, 50)]);
        marked.session_ended(21 * SECOND);
        assert_eq!(judged(&wrote(&[10]), &marked).0, [(1, 10, 0)], "that one the server has had for long");
        assert_eq!(judged(&wrote(&[20]), &marked), (vec![], 1));
        marked.mark(40 * SECOND, 50);
        assert_eq!(judged(&wrote(&[20]), &marked).0, [(1, 20, 0)]);
        // Said again together with more, it is one mark: 20 is too far below 90.
        marked.session_ended(41 * SECOND);
        marked.mark(60 * SECOND, 50);
        marked.mark(60 * SECOND, 90);
        assert_eq!(judged(&wrote(&[20]), &marked), (vec![], 1));
        assert_eq!(judged(&wrote(&[30]), &marked).0, [(1, 30, 0)]);
    }

    #[test]
    fn who_was_away_is_owed_what_was_marked_before_they_came_back() {
        let (mut told, marked) = (wrote(&[2]), marked(&[(SECOND, 5)]));
        told.lapse(1);
        assert_eq!((told.due(), judged(&told, &marked)), (0, (vec![], 1)), "it never came back");
        told.told_again(2 * SECOND);
        assert_eq!(judged(&told, &marked), (vec![], 1), "it may have been marked meanwhile");
        told.told_again(20 * SECOND);
        assert_eq!(judged(&told, &marked).0, [(1, 2, 0)]);
        told.receipt(1, 5);
        assert_eq!(judged(&told, &marked), (vec![], 0));
        // What is sent from now on is owed live.
        told.expect(1, 8);
        assert_eq!(told.due(), 2);
    }

    #[test]
    fn of_very_many_members_a_sender_is_owed_a_thousand() {
        let owed = |members: u32, told_of: u32| {
            let mut told = Told::new(members, 0);
            told.expect(0, 2);
            (1..=told_of).for_each(|member| told.receipt(member, 2));
            told.close(&mut 10_000);
            let missing = (members - 1 - told_of) as usize;
            (told.owed(missing, false), told.owed(missing, true))
        };
        assert_eq!((owed(1_001, 990), owed(1_001, 0)), ((10, 10), (1_000, 1_000)));
        assert_eq!((owed(5_000, 990), owed(5_000, 1_000), owed(5_000, 0)), ((10, 0), (0, 0), (1_000, 0)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut marked = Marked::default();
        for n in 0..10_000 {
            marked.mark(n * 1_000, n * 100);
        }
        assert_eq!(marked.steps.len(), STEPS_MAX);
        for n in 0..10_000u64 {
            marked.mark(n * 10 * SECOND, 1_000_000 + n * if n % 2 == 0 { 100 } else { 101 });
        }
        assert!(marked.skipped.len() <= SKIPPED_MAX, "{}", marked.skipped.len());

        let mut told = wrote(&[2]);
        told.close(&mut 1);
        assert_eq!((told.open.len(), told.not_kept, told.cells()), (1, 1, 0));
        assert_eq!(Told::without_room(100).judge(|_| None, |_, _, _| unreachable!()), 99);
    }
}
