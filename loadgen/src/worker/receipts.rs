//! Receipts of a worker's groups: what its users mark, what they are told of others' marks, live and when they come back.

use std::sync::atomic::Ordering;

use client::core::Member;
use fabric::hash::Map;
use schema::frame::FrameRef;
use schema::ids::{ChatId, UserId};
use schema::limits::PAGE_MEMBERS;
use schema::wire::MarkStatus;

use super::Worker;
use crate::audit::{CELLS_MAX, MemberSide, Status, Told};
use crate::groups::Group;

/// What a worker keeps beside its members' sides.
pub(super) struct GroupReceipts {
    /// By user: the groups it is in.
    groups_of: Map<u32, Vec<u32>>,
    /// Members followed for all senders.
    cells: usize,
    /// Members whose marks are to come.
    due: u64,
}

impl GroupReceipts {
    pub(super) fn new(seed: u64) -> Self {
        Self { groups_of: fabric::hash::map(seed), cells: 0, due: 0 }
    }

    pub(super) fn member_of(&mut self, user: u32, group: u32) {
        self.groups_of.entry(user).or_default().push(group);
    }
}

impl Worker {
    fn audits_group_receipts(&self) -> bool {
        !self.plan.groups.is_empty() && self.plan.load.audits_receipts()
    }

    /// Now, on the clock of all workers, ns.
    fn common_ns(&self, ns: u64) -> u64 {
        ns.wrapping_add_signed(self.plan.clock_shift_ns)
    }

    /// Does something with each of a user's groups that it knows.
    fn each_side(&mut self, user: u32, mut each: impl FnMut(u32, &mut MemberSide)) {
        let place = self.first + user;
        for at in self.group_receipts.groups_of.get(&user).into_iter().flatten() {
            if let Some(side) = self.outcome.members.get_mut(&(*at, place)) {
                each(*at, side);
            }
        }
    }

    /// Does something with what a member was told, and shows how many marks are to come.
    fn told(&mut self, at: (u32, u32), change: impl Fn(&mut Told)) {
        let told = self.outcome.members.get_mut(&at).and_then(MemberSide::told);
        for told in told.into_iter().flatten() {
            self.group_receipts.due -= told.due();
            change(told);
            self.group_receipts.due += told.due();
        }
        self.shown.group_receipts_due.store(self.group_receipts.due, Ordering::Release);
    }

    /// A user's client writes a frame: a mark of a group is noted.
    pub(super) fn note_mark(&mut self, user: u32, frame: &[u8]) {
        if !self.audits_group_receipts() || self.users[user as usize].socket.is_none() {
            return;
        }
        let Ok(frame) = FrameRef::verify(frame) else { return };
        let Some(mark) = frame.root().body_as_mark() else { return };
        let Some(at) = mark.chat_id().and_then(|chat| self.plan.groups.find(chat.into())) else { return };
        let status = if mark.status() == MarkStatus::read { Status::Read } else { Status::Delivered };
        let now = self.common_ns(self.now.mono_ns);
        if let Some(side) = self.outcome.members.get_mut(&(at, self.first + user)) {
            side.mark(now, mark.seq(), status);
        }
    }

    /// A member has written to a group: from now on it is followed what it is told, where there is room.
    pub(super) fn follow_receipts(&mut self, at: u32, place: u32, group: &Group) {
        let Some(own) = group.member(place).filter(|_| self.audits_group_receipts()) else { return };
        let (reads, cells) = (self.plan.load.read.is_some(), &mut self.group_receipts.cells);
        let Some(side) = self.outcome.members.get_mut(&(at, place)) else { return };
        side.follow_receipts(|| {
            let mut told = || {
                if *cells + group.members as usize > CELLS_MAX {
                    return Told::without_room(group.members);
                }
                *cells += group.members as usize;
                Told::new(group.members, own)
            };
            [told(), if reads { told() } else { Told::default() }]
        });
    }

    /// A message to a group is durable: the others' marks are to come.
    pub(super) fn expect_group_receipts(&mut self, at: (u32, u32), number: u64, seq: u64) {
        self.told(at, |told| told.expect(number, seq));
    }

    /// Another member has everything of a group up to a seq, or has read it.
    pub(super) fn group_receipt(&mut self, user: u32, at: u32, receiver: UserId, mark: (u64, MarkStatus)) {
        if let Some(side) = self.outcome.members.get_mut(&(at, self.first + user)) {
            side.receipts += u64::from(self.plan.groups.place(receiver) != Some(self.first + user));
        }
        self.group_mark(user, at, receiver, mark);
    }

    fn group_mark(&mut self, user: u32, at: u32, receiver: UserId, (seq, status): (u64, MarkStatus)) {
        let (place, other) = (self.first + user, self.plan.groups.place(receiver));
        let Some(side) = self.outcome.members.get_mut(&(at, place)).filter(|_| other != Some(place)) else { return };
        let Some(member) = self.plan.groups.get(at).zip(other).and_then(|(group, other)| group.member(other)) else {
            side.receipts_false += 1;
            return;
        };
        let due = |side: &mut MemberSide| side.told().map_or(0, |told| told.iter().map(Told::due).sum::<u64>());
        let before = due(side);
        side.receipt(member, seq, if status == MarkStatus::read { Status::Read } else { Status::Delivered });
        self.group_receipts.due -= before - due(side);
        self.shown.group_receipts_due.store(self.group_receipts.due, Ordering::Release);
    }

    /// What others have marked while a user was away.
    pub(super) fn ticks(&mut self, user: u32, chat: ChatId, members: &[Member]) {
        let group = self.plan.groups.find(chat);
        for member in members {
            let marks = [(member.delivered_seq, MarkStatus::delivered), (member.read_seq, MarkStatus::read)];
            for (seq, status) in marks.into_iter().filter(|(seq, _)| *seq > 0) {
                match group {
                    Some(at) => self.group_mark(user, at, member.user, (seq, status)),
                    None => self.receipt(user, chat, (member.user, status), seq),
                }
            }
        }
    }

    /// A user has what it missed. Where its client could say since when, and the group fits the answer, it was told of all
    /// marks from before this session.
    pub(super) fn told_again(&mut self, user: u32) {
        let state = &mut self.users[user as usize];
        let (returned, began) = (state.returned, state.welcomed_ns);
        state.synced = true;
        // What WebSocket clients say in JSON has no time of the last sync.
        if !returned || !self.audits_group_receipts() || self.plan.speech.is_some() {
            return;
        }
        let (plan, began) = (self.plan.clone(), self.common_ns(began));
        self.each_side(user, |at, side| {
            let fits = plan.groups.get(at).is_some_and(|group| group.members - 1 <= PAGE_MEMBERS);
            for told in side.told().into_iter().flatten().filter(|_| fits) {
                told.told_again(began);
            }
        });
    }

    /// A user's session was lost: the server may not have had its last marks.
    pub(super) fn marks_unsure(&mut self, user: u32) {
        let now = self.common_ns(self.now.mono_ns);
        self.each_side(user, |_, side| side.session_ended(now));
    }

    /// A user may have missed receipts of groups: what it has sent so far is not judged by them.
    pub(super) fn excuse_group_receipts(&mut self, user: u32) {
        let mut excused = 0;
        self.each_side(user, |_, side| {
            let sent = side.sent;
            for told in side.told().into_iter().flatten() {
                excused += told.due();
                told.lapse(sent);
            }
        });
        self.group_receipts.due -= excused;
        self.shown.group_receipts_due.store(self.group_receipts.due, Ordering::Release);
    }

    /// At the end: only what is open goes home.
    pub(super) fn close_receipts(&mut self) {
        let mut room = super::OPEN_MAX;
        for told in self.outcome.members.values_mut().filter_map(MemberSide::told).flatten() {
            told.close(&mut room);
        }
    }
}
