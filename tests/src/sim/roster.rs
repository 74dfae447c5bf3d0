//! A group as its log makes it: the semantics of docs/PROTOCOL.md, "Groups", folded from the entries alone.
//!
//! Written from what is promised, not from the server's code. Whatever is asked of it is asked as of a seq, since what a
//! client is told may be older or newer than what anybody else has seen.

use std::collections::{BTreeMap, BTreeSet};

use client::core::GroupChange;
use schema::ids::UserId;
use schema::wire::Role;

/// The last seq of a span that has not ended.
const STILL: u64 = u64::MAX;

/// One user's times in a group.
#[derive(Default)]
struct Seat {
    /// First and last seq of each, ascending.
    spans: Vec<(u64, u64)>,
    /// From which seq on they were admin, or not.
    admin: Vec<(u64, bool)>,
}

impl Seat {
    fn covers(&self, seq: u64) -> bool {
        self.spans.iter().any(|&(first, last)| (first..=last).contains(&seq))
    }

    /// Whether they are in the group after the entry `seq`.
    fn present(&self, seq: u64) -> bool {
        self.spans.iter().any(|&(first, last)| (first..last).contains(&seq))
    }

    fn is_admin(&self, seq: u64) -> bool {
        self.admin.iter().take_while(|&&(from, _)| from <= seq).last().is_some_and(|&(_, admin)| admin)
    }
}

/// What an entry changed: whom it names and the role it gives.
pub type Effect = (Vec<UserId>, Role);

/// See the module.
pub struct Roster {
    creator: UserId,
    most: usize,
    /// Entries folded so far.
    seq: u64,
    names: Vec<(u64, Vec<u8>)>,
    seats: BTreeMap<UserId, Seat>,
    effects: BTreeMap<u64, Effect>,
}

impl Roster {
    /// A group that `creator` has asked for, of at most `most` members.
    pub fn new(creator: UserId, most: usize) -> Self {
        Self { creator, most, seq: 0, names: Vec::new(), seats: BTreeMap::new(), effects: BTreeMap::new() }
    }

    /// Who asked for it.
    pub const fn creator(&self) -> UserId {
        self.creator
    }

    /// Entries folded so far.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// What an entry that is folded changed.
    pub fn effect(&self, seq: u64) -> Option<&Effect> {
        self.effects.get(&seq)
    }

    /// Whether a user may see an entry.
    pub fn sees(&self, user: UserId, seq: u64) -> bool {
        self.seats.get(&user).is_some_and(|seat| seat.covers(seq))
    }

    /// The last seq a user may see; 0 = none.
    pub fn last_seen_by(&self, user: UserId) -> u64 {
        self.seats.get(&user).and_then(|seat| seat.spans.last()).map_or(0, |&(_, last)| last.min(self.seq))
    }

    /// Members after the entry `seq`, and whether they are admins.
    pub fn members(&self, seq: u64) -> BTreeMap<UserId, bool> {
        let present = self.seats.iter().filter(|(_, seat)| seat.present(seq));
        present.map(|(&user, seat)| (user, seat.is_admin(seq))).collect()
    }

    /// Whether a user is a member after the last entry.
    pub fn is_member(&self, user: UserId) -> bool {
        self.seats.get(&user).is_some_and(|seat| seat.present(self.seq))
    }

    /// Whether a user is an admin after the last entry.
    pub fn is_admin(&self, user: UserId) -> bool {
        self.seats.get(&user).is_some_and(|seat| seat.present(self.seq) && seat.is_admin(self.seq))
    }

    /// Whether a user was a member from after the entry `from` up to the entry `to`, without a break.
    pub fn stayed(&self, user: UserId, from: u64, to: u64) -> bool {
        let spans = self.seats.get(&user).map_or(&[][..], |seat| &seat.spans);
        spans.iter().any(|&(first, last)| first <= from && to <= last)
    }

    /// From which entry on a user sees everything; `None` for who is no member or left once.
    pub fn sees_from(&self, user: UserId) -> Option<u64> {
        match self.seats.get(&user)?.spans[..] {
            [(first, STILL)] => Some(first),
            _ => None,
        }
    }

    /// Who may see the entry `seq`.
    pub fn audience(&self, seq: u64) -> BTreeSet<UserId> {
        self.seats.iter().filter(|(_, seat)| seat.covers(seq)).map(|(&user, _)| user).collect()
    }

    /// The name after the entry `seq`.
    pub fn name(&self, seq: u64) -> &[u8] {
        self.names.iter().take_while(|&&(from, _)| from <= seq).last().map_or(&[], |(_, name)| name)
    }

    /// Somebody was a member, was none, and is one again.
    pub fn came_back(&self) -> u64 {
        self.seats.values().filter(|seat| seat.spans.len() > 1).count() as u64
    }

    /// The next entry of the log: by whom, and what it was to change (`None`: a message).
    ///
    /// # Panics
    /// When it may not be there.
    pub fn fold(&mut self, by: UserId, change: Option<&GroupChange>) {
        let seq = self.seq + 1;
        self.may(seq, by, change);
        let effect = change.map(|change| self.effect_of(seq, by, change));
        self.seq = seq;
        let (Some(change), Some(effect)) = (change, effect) else { return };
        for &user in &effect.0 {
            match change {
                GroupChange::Created { .. } | GroupChange::Added { .. } => self.join(user),
                GroupChange::Removed { .. } => self.leave(user),
                GroupChange::Role { role, .. } => self.promote(user, *role == Role::admin),
                _ => {}
            }
        }
        match change {
            GroupChange::Created { name, .. } => {
                self.promote(by, true);
                self.names.push((seq, name.to_vec()));
            }
            GroupChange::Renamed { name, .. } => self.names.push((seq, name.to_vec())),
            GroupChange::Left { .. } => self.leave(by),
            _ => {}
        }
        self.follow_the_last_admin();
        let members = self.members(seq).len();
        assert!(members <= self.most, "invariant membership: {members} members after seq {seq}, at most {}", self.most);
        self.effects.insert(seq, effect);
    }

    /// Permission, as of the entry before.
    fn may(&self, seq: u64, by: UserId, change: Option<&GroupChange>) {
        if let Some(GroupChange::Created { .. }) = change {
            assert!(
                seq == 1 && by == self.creator,
                "invariant membership: {by} made at seq {seq} what {} makes",
                self.creator
            );
            return;
        }
        assert!(self.is_member(by), "invariant membership: {by} wrote seq {seq} without being a member");
        let free = matches!(change, None | Some(GroupChange::Left { .. }));
        assert!(
            free || self.is_admin(by),
            "invariant membership: {by} made seq {seq} ({change:?}) without being an admin"
        );
    }

    /// Whom it really changes.
    fn effect_of(&self, seq: u64, by: UserId, change: &GroupChange) -> Effect {
        let mut to = Role::member;
        let users: BTreeSet<UserId> = match change {
            GroupChange::Created { users, .. } => users.iter().copied().chain([by]).collect(),
            GroupChange::Added { users, .. } => users.iter().copied().filter(|&user| !self.is_member(user)).collect(),
            GroupChange::Removed { users, .. } => {
                let them = users.iter().all(|&user| user != by && self.is_member(user));
                assert!(them, "invariant membership: seq {seq} removes {users:?}, who are not others of its members");
                users.iter().copied().collect()
            }
            GroupChange::Role { users, role, .. } => {
                let them = users.iter().all(|&user| self.is_member(user));
                assert!(them, "invariant membership: seq {seq} is about {users:?}, who are not members");
                to = *role;
                users.iter().copied().filter(|&user| self.is_admin(user) != (*role == Role::admin)).collect()
            }
            GroupChange::Renamed { name, .. } => {
                assert!(self.name(seq) != &name[..], "invariant membership: seq {seq} gives the name it has");
                return (Vec::new(), to);
            }
            GroupChange::Left { .. } => return (Vec::new(), to),
        };
        assert!(!users.is_empty(), "invariant membership: seq {seq} changes nobody");
        (users.into_iter().collect(), to)
    }

    fn join(&mut self, user: UserId) {
        let seq = self.seq;
        let seat = self.seats.entry(user).or_default();
        seat.spans.push((seq, STILL));
        seat.admin.push((seq, false));
    }

    fn leave(&mut self, user: UserId) {
        let seq = self.seq;
        let span = self.seats.get_mut(&user).and_then(|seat| seat.spans.last_mut());
        span.expect("judged to be a member").1 = seq;
    }

    fn promote(&mut self, user: UserId, admin: bool) {
        let seq = self.seq;
        self.seats.get_mut(&user).expect("judged to be a member").admin.push((seq, admin));
    }

    /// When the last admin goes, whoever has been a member longest, of these the lowest user, becomes admin.
    fn follow_the_last_admin(&mut self) {
        let members = self.members(self.seq);
        if members.values().any(|&admin| admin) {
            return;
        }
        let since = |user: &UserId| self.seats[user].spans.last().map(|&(first, _)| first);
        if let Some(&longest) = members.keys().min_by_key(|user| (since(user), **user)) {
            self.promote(longest, true);
        }
    }
}
