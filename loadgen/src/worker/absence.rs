//! Carries out what the behaviours say about this worker's users, and keeps who is away on purpose.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;

use client::Input;
use fabric::hash::Map;

use super::Worker;
use super::user::Link;
use crate::behave::Act;

/// A user that was taken from its session on purpose. Times are ns of the monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Absence {
    behaviour: usize,
    /// From when it may be back.
    free: u64,
    /// It has a session again, or reads on.
    back: Option<u64>,
    /// It has also what it had missed.
    settled: Option<u64>,
    /// Its session stands, but is not read.
    stalled: bool,
}

/// What is to happen and who is away.
pub(super) struct Absences {
    /// Acts to come: when, user, behaviour.
    acts: BinaryHeap<Reverse<(u64, u32, usize)>>,
    /// Users that read on then.
    resumes: BinaryHeap<Reverse<(u64, u32)>>,
    /// The last absence of each user that had one.
    users: Map<u32, Absence>,
    /// Users who are not back yet.
    away: u64,
    /// When the ramp began.
    start: u64,
}

impl Absences {
    pub(super) fn new(seed: u64) -> Self {
        Self { acts: BinaryHeap::new(), resumes: BinaryHeap::new(), users: fabric::hash::map(seed), away: 0, start: 0 }
    }

    /// When the next thing happens.
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        let act = self.acts.peek().map(|Reverse((at, ..))| *at);
        let resume = self.resumes.peek().map(|Reverse((at, _))| *at);
        act.into_iter().chain(resume).min()
    }

    /// Until when a user stays away.
    pub(super) fn held_until(&self, user: u32) -> u64 {
        if self.away == 0 {
            return 0;
        }
        self.users.get(&user).filter(|absence| absence.back.is_none()).map_or(0, |absence| absence.free)
    }

    /// Whether a user is away on purpose, or has not yet got what it missed.
    pub(super) fn is_away(&self, user: u32) -> bool {
        self.away > 0 && self.users.get(&user).is_some_and(|absence| absence.settled.is_none())
    }

    /// Whether anybody of this worker is away on purpose.
    pub(super) fn any_away(&self) -> bool {
        self.away > 0
    }

    pub(super) fn is_stalled(&self, user: u32) -> bool {
        self.away > 0 && self.users.get(&user).is_some_and(|absence| absence.stalled)
    }
}

impl Worker {
    /// Once the start is known: what happens to whom first.
    pub(super) fn plan_acts(&mut self, start: u64) {
        self.absences.start = start;
        for index in 0..self.plan.behaviours.len() {
            for user in 0..self.users.len() as u32 {
                self.plan_act(index, user, 0);
            }
        }
    }

    fn plan_act(&mut self, index: usize, user: u32, from: u64) {
        if let Some((at, _)) = self.plan.behaviours.get(index).next(self.first + user, from) {
            self.absences.acts.push(Reverse((self.absences.start + at, user, index)));
        }
    }

    /// Does what is due. When the load is over nothing new happens, but who does not read reads on.
    pub(super) fn act_due(&mut self) {
        while let Some(Reverse((at, user))) = self.absences.resumes.peek().copied()
            && at <= self.now.mono_ns
        {
            self.absences.resumes.pop();
            self.read_on(user);
        }
        while self.sending()
            && let Some(Reverse((at, user, index))) = self.absences.acts.peek().copied()
            && at <= self.now.mono_ns
        {
            self.absences.acts.pop();
            let offset = at - self.absences.start;
            if let Some((_, act)) = self.plan.behaviours.get(index).next(self.first + user, offset) {
                self.perform(user, index, at, act);
            }
            self.plan_act(index, user, offset + 1);
        }
    }

    fn perform(&mut self, user: u32, index: usize, at: u64, act: Act) {
        let there = self.users[user as usize].authenticated && !self.absences.is_away(user);
        match act {
            Act::Login => {
                self.begin_absence(user, index, at, false);
                self.tell(user, Input::Start);
            }
            Act::Leave(until) => {
                self.begin_absence(user, index, self.absences.start + until, false);
                self.cut(user);
            }
            Act::Cut if there => {
                self.begin_absence(user, index, at, false);
                self.cut(user);
            }
            Act::Stall(until) if there => {
                let until = self.absences.start + until;
                if let Some(socket) = &mut self.users[user as usize].socket
                    && socket.read(&self.epoll, false).is_ok()
                {
                    self.begin_absence(user, index, until, true);
                    self.absences.resumes.push(Reverse((until, user)));
                }
            }
            Act::Cut | Act::Stall(_) => self.outcome.happened[index].skipped += 1,
        }
    }

    /// From now on a user is away; one that was away already is so for this reason now.
    fn begin_absence(&mut self, user: u32, behaviour: usize, free: u64, stalled: bool) {
        let absence = Absence { behaviour, free, back: None, settled: None, stalled };
        match self.absences.users.insert(user, absence) {
            Some(before) if before.settled.is_none() => self.outcome.happened[before.behaviour].acts -= 1,
            _ => self.absences.away += 1,
        }
        let happened = &mut self.outcome.happened[behaviour];
        let now = self.now.mono_ns.saturating_sub(self.absences.start);
        happened.acts += 1;
        happened.first = happened.first.min(now);
        happened.last = happened.last.max(now);
        self.shown.away.store(self.absences.away, Ordering::Release);
        self.excuse_receipts(user);
    }

    /// Ends a user's connection, however far it is.
    fn cut(&mut self, user: u32) {
        let state = &mut self.users[user as usize];
        if state.link != Link::Down {
            state.cut = true;
            self.outcome.drops += 1;
        }
        match self.users[user as usize].link {
            Link::Down => {}
            Link::Connecting => {
                self.forget(user);
                self.tell(user, Input::ConnectFailed);
            }
            Link::Up => self.ended(user),
        }
    }

    /// A user that did not read reads on.
    fn read_on(&mut self, user: u32) {
        let Some(absence) = self.absences.users.get_mut(&user).filter(|absence| absence.stalled) else { return };
        absence.stalled = false;
        let Some(socket) = &mut self.users[user as usize].socket else { return };
        if socket.read(&self.epoll, true).is_err() {
            return self.ended(user);
        }
        self.note_back(user);
        self.note_settled(user);
    }

    /// A session was lost, on purpose or not.
    pub(super) fn note_gone(&mut self, user: u32) {
        self.excuse_receipts(user);
        self.marks_unsure(user);
        if self.plan.behaviours.is_empty() {
            return;
        }
        if let Some(absence) = self.absences.users.get_mut(&user)
            && absence.settled.is_none()
        {
            absence.stalled = false;
            return;
        }
        let since = self.now.mono_ns.saturating_sub(self.absences.start);
        if self.absences.start > 0
            && let Some((index, restart)) = self.plan.behaviours.restart_at(since)
        {
            let at = self.absences.start + restart.at;
            self.begin_absence(user, index, at, false);
        }
    }

    /// A session stands.
    pub(super) fn note_back(&mut self, user: u32) {
        let now = self.now.mono_ns;
        if let Some(absence) = self.absences.users.get_mut(&user).filter(|absence| absence.back.is_none()) {
            absence.back = Some(now);
            let happened = &mut self.outcome.happened[absence.behaviour];
            happened.to_back.record_ns(now.saturating_sub(absence.free));
        }
        self.excuse_receipts(user);
    }

    /// What was missed is there.
    pub(super) fn note_settled(&mut self, user: u32) {
        let now = self.now.mono_ns;
        let Some(absence) = self.absences.users.get_mut(&user) else { return };
        if absence.back.is_none() || absence.settled.is_some() {
            return;
        }
        absence.settled = Some(now);
        let happened = &mut self.outcome.happened[absence.behaviour];
        happened.to_recovered.record_ns(now.saturating_sub(absence.free));
        happened.recovered = happened.recovered.max(now.saturating_sub(self.absences.start));
        self.absences.away -= 1;
        self.shown.away.store(self.absences.away, Ordering::Release);
    }

    /// Whether a message to a user of this worker is apart from the latencies of those who are online: its sender or its
    /// receiver was away on purpose at some time between its intended send time and now. Counts the backlog on the way.
    pub(super) fn is_apart(&mut self, sender: u32, user: u32, intended: u64, sender_away: bool) -> bool {
        if self.plan.behaviours.is_empty() {
            return false;
        }
        let (now, start) = (self.now.mono_ns, self.absences.start);
        if !sender_away
            && let Some(absence) = self.absences.users.get(&user)
            && let Some(back) = absence.back.filter(|back| intended < *back)
        {
            let happened = &mut self.outcome.happened[absence.behaviour];
            happened.backlog += 1;
            happened.drain_begin = happened.drain_begin.min(back.saturating_sub(start));
            happened.drain_end = happened.drain_end.max(now.saturating_sub(start));
        }
        let missed = |absence: &Absence| absence.settled.is_none_or(|settled| intended < settled);
        sender_away
            || self.absences.users.get(&user).is_some_and(missed)
            || self.plan.behaviours.upset(sender, intended.saturating_sub(start), now.saturating_sub(start))
    }

    /// Whether a sender was, or may have been, away on purpose at some time since `intended`.
    pub(super) fn was_away(&self, user: u32, intended: u64) -> bool {
        let (now, start) = (self.now.mono_ns, self.absences.start);
        let upset = || {
            let (from, to) = (intended.saturating_sub(start), now.saturating_sub(start));
            self.plan.behaviours.upset(self.first + user, from, to)
        };
        !self.plan.behaviours.is_empty() && (self.absences.is_away(user) || upset())
    }

    /// A user may have missed receipts: what it has sent so far is not judged by them.
    fn excuse_receipts(&mut self, user: u32) {
        if !self.plan.load.audits_receipts() {
            return;
        }
        let peers = self.plan.load.peers;
        for side in &mut self.outcome.sent[(user * peers) as usize..((user + 1) * peers) as usize] {
            let sent = side.sent;
            self.receipts_due -= side.receipts.lapse(sent) + side.reads.lapse(sent);
        }
        self.shown.receipts_due.store(self.receipts_due, Ordering::Release);
        self.excuse_group_receipts(user);
    }

    /// Counts an error; one that the scenario tolerates, always or while the server restarts, is counted apart.
    pub(super) fn error(&mut self, name: &str) {
        let since = self.now.mono_ns.saturating_sub(self.absences.start);
        let restart = self.plan.behaviours.restart_at(since).filter(|_| self.absences.start > 0);
        let load = &self.plan.load;
        if load.tolerates(name) || restart.is_some_and(|(_, restart)| restart.tolerates(name)) {
            self.outcome.tolerated.add(name);
        } else {
            self.outcome.errors.add(name);
        }
    }
}
