//! A group's roster: what its changes make of it, who may change it, and what each user may see.
//!
//! [`GroupState`] is the fold of the changes in the group's log, and nothing else: an owner that replays them has the same. What
//! must stay true: seats ascend by user, spans by seq; somebody is admin while anybody is in it; a change that was judged
//! names only those whom it changes.

use std::collections::VecDeque;

use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::UserId;
use schema::wire::{EntryKind, Role, Send};
use smallvec::smallvec;

use super::fanout::Order;
use crate::store::{GroupState, SeatState};

/// The last seq of whoever is still in the group.
const STILL: u64 = u64::MAX;

/// One change, as its entry says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub kind: EntryKind,
    pub by: UserId,
    /// Ascending, each once.
    pub users: Vec<UserId>,
    pub role: Role,
    pub name: Vec<u8>,
}

/// Whether entries of this kind change their group.
pub(crate) const fn is_change(kind: EntryKind) -> bool {
    kind.0 >= EntryKind::created.0 && kind.0 < EntryKind::setting.0
}

fn ascending(users: impl Iterator<Item = u64>) -> Vec<UserId> {
    let mut users: Vec<UserId> = users.filter_map(UserId::new).collect();
    users.sort_unstable();
    users.dedup();
    users
}

impl Change {
    /// What a send asks for.
    pub(crate) fn of_send(by: UserId, send: &Send<'_>) -> Self {
        Self {
            kind: send.kind(),
            by,
            users: ascending(send.users().iter().flatten()),
            role: send.role(),
            name: send.body().map_or(&[][..], |body| body.bytes()).to_vec(),
        }
    }

    /// What an entry's frame says; `None` when it is none.
    pub(crate) fn of_entry(frame: &[u8]) -> Option<Self> {
        let frame = FrameRef::verify(frame).ok()?;
        let entry = frame.root().body_as_entry()?;
        Some(Self {
            kind: entry.kind(),
            by: UserId::new(entry.sender_id())?,
            users: ascending(entry.users().iter().flatten()),
            role: entry.role(),
            name: entry.body().map_or(&[][..], |body| body.bytes()).to_vec(),
        })
    }
}

impl SeatState {
    /// The span that lasts, if the user is in the group.
    fn now(&self) -> Option<u64> {
        self.spans.last().filter(|span| span.1 == STILL).map(|span| span.0)
    }

    /// Whether the user was in the group at `seq`.
    pub(crate) fn covers(&self, seq: u64) -> bool {
        self.spans.iter().any(|&(first, last)| (first..=last).contains(&seq))
    }

    pub(crate) fn is_present(&self) -> bool {
        self.now().is_some()
    }
}

impl GroupState {
    pub(crate) fn seat(&self, user: UserId) -> Option<&SeatState> {
        self.seats.binary_search_by_key(&user, |seat| seat.user).ok().map(|at| &self.seats[at])
    }

    fn seat_mut(&mut self, user: UserId) -> Option<&mut SeatState> {
        self.seats.binary_search_by_key(&user, |seat| seat.user).ok().map(|at| &mut self.seats[at])
    }

    fn present(&self, user: UserId) -> Option<&SeatState> {
        self.seat(user).filter(|seat| seat.is_present())
    }

    pub(crate) fn is_present(&self, user: UserId) -> bool {
        self.present(user).is_some()
    }

    /// Who is in it now.
    pub(crate) fn members(&self) -> impl Iterator<Item = &SeatState> {
        self.seats.iter().filter(|seat| seat.is_present())
    }

    /// Whether `change` may be made, and what of it is one. `members_max`: members at most.
    pub(crate) fn judge(&self, mut change: Change, members_max: usize) -> Result<Change, ErrorCode> {
        if change.kind == EntryKind::created {
            if self.created_by.is_some() {
                return Err(ErrorCode::NoChange);
            }
            if let Err(at) = change.users.binary_search(&change.by) {
                change.users.insert(at, change.by);
            }
            return if change.users.len() > members_max { Err(ErrorCode::TooManyMembers) } else { Ok(change) };
        }
        let role = self.present(change.by).ok_or(ErrorCode::NotAMember)?.role;
        if change.kind == EntryKind::left {
            return Ok(change);
        }
        if role != Role::admin {
            return Err(ErrorCode::NotAnAdmin);
        }
        match change.kind {
            EntryKind::added => {
                change.users.retain(|&user| !self.is_present(user));
                if self.members().count() + change.users.len() > members_max {
                    return Err(ErrorCode::TooManyMembers);
                }
            }
            EntryKind::renamed => {
                return if change.name == self.name { Err(ErrorCode::NoChange) } else { Ok(change) };
            }
            EntryKind::removed if change.users.contains(&change.by) => return Err(ErrorCode::InvalidField),
            EntryKind::removed | EntryKind::role => {
                if !change.users.iter().all(|&user| self.is_present(user)) {
                    return Err(ErrorCode::UnknownMember);
                }
                let (kind, role) = (change.kind, change.role);
                let changes = |seat: &SeatState| kind == EntryKind::removed || seat.role != role;
                change.users.retain(|&user| self.present(user).is_some_and(changes));
            }
            _ => return Err(ErrorCode::Unsupported),
        }
        if change.users.is_empty() { Err(ErrorCode::NoChange) } else { Ok(change) }
    }

    /// Makes a judged change, whose entry has this seq. Returns whether anybody has a seat who had none.
    pub(crate) fn apply(&mut self, seq: u64, change: &Change) -> bool {
        let seats = self.seats.len();
        match change.kind {
            EntryKind::created => {
                self.created_by = Some(change.by);
                self.name.clone_from(&change.name);
                self.join(seq, &change.users);
                if let Some(seat) = self.seat_mut(change.by) {
                    seat.role = Role::admin;
                }
            }
            EntryKind::added => self.join(seq, &change.users),
            EntryKind::removed => change.users.iter().for_each(|&user| self.leave(seq, user)),
            EntryKind::left => self.leave(seq, change.by),
            EntryKind::role => {
                for &user in &change.users {
                    if let Some(seat) = self.seat_mut(user) {
                        seat.role = change.role;
                    }
                }
            }
            EntryKind::renamed => self.name.clone_from(&change.name),
            _ => {}
        }
        self.keep_an_admin();
        self.seats.len() > seats
    }

    fn join(&mut self, seq: u64, users: &[UserId]) {
        let mut new = Vec::new();
        for &user in users {
            match self.seat_mut(user) {
                Some(seat) if !seat.is_present() => {
                    seat.role = Role::member;
                    seat.spans.push((seq, STILL));
                }
                Some(_) => {}
                None => new.push(SeatState { user, role: Role::member, spans: smallvec![(seq, STILL)] }),
            }
        }
        self.seats.extend(new);
        self.seats.sort_unstable_by_key(|seat| seat.user);
    }

    fn leave(&mut self, seq: u64, user: UserId) {
        if let Some(span) = self.seat_mut(user).and_then(|seat| seat.spans.last_mut())
            && span.1 == STILL
        {
            span.1 = seq;
        }
    }

    /// Whoever has been in it longest becomes admin when there is none.
    fn keep_an_admin(&mut self) {
        if self.members().any(|seat| seat.role == Role::admin) {
            return;
        }
        let longest = self.seats.iter_mut().filter(|seat| seat.is_present()).min_by_key(|seat| (seat.now(), seat.user));
        if let Some(seat) = longest {
            seat.role = Role::admin;
        }
    }
}

/// A group: what is durable of its changes, and what is ordered behind that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// Committed.
    pub state: GroupState,
    /// As of the last change given out, while that is not durable.
    ordered: Option<Box<GroupState>>,
    pending: VecDeque<(u64, Change)>,
    /// In which order its members get what is pushed in steps.
    pub order_of_pushes: Option<Order>,
}

impl Group {
    pub(crate) fn new(state: GroupState) -> Self {
        Self { state, ..Self::default() }
    }

    /// What counts for whatever is ordered next.
    pub(crate) fn current(&self) -> &GroupState {
        self.ordered.as_deref().unwrap_or(&self.state)
    }

    /// A change was given this seq.
    pub(crate) fn order(&mut self, seq: u64, change: Change) {
        let mut ordered = self.ordered.take().unwrap_or_else(|| Box::new(self.state.clone()));
        ordered.apply(seq, &change);
        self.ordered = Some(ordered);
        self.pending.push_back((seq, change));
    }

    /// The entry of this seq is durable. Returns whether anybody has a seat who had none.
    pub(crate) fn settle(&mut self, seq: u64) -> bool {
        if self.pending.front().is_none_or(|(pending, _)| *pending != seq) {
            return false;
        }
        let Some((_, change)) = self.pending.pop_front() else { return false };
        let more = self.state.apply(seq, &change);
        if self.pending.is_empty() {
            self.ordered = None;
        }
        more
    }

    /// What was ordered but is not durable was never anywhere.
    pub(crate) fn forget(&mut self) {
        self.ordered = None;
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests;
