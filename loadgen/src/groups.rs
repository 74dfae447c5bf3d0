//! The groups of a run: who is in which, who makes it, how its messages are told from others.
//!
//! Everything follows from the scenario and the run's number, so that each worker, wherever it runs, knows every group's id
//! and members without asking. What must stay true: members of a group are users beside each other, the first of them makes
//! it, and its log begins with [`Group::steps`] changes before any message.

use core::ops::Range;

use fabric::hash::Map;
use schema::ids::{ChatId, UserId};

use crate::scenario::Load;
use crate::worker::message::Origin;

/// In a stream's number: a group's, the rest is which.
pub const GROUP: u32 = 1 << 31;
/// With [`GROUP`]: a change that makes the group.
pub const CHANGE: u32 = 1 << 30;
/// Users in one change, at most: it fits a default server's frames in every protocol.
pub const USERS_A_CHANGE: u32 = 2_000;

/// One group.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Which of the scenario's kinds it is of.
    pub kind: usize,
    /// Place of its first member.
    pub start: u32,
    /// Members.
    pub members: u32,
    /// Its chat.
    pub chat: ChatId,
    /// Users of the run.
    users: u32,
}

impl Group {
    /// Which of its members the user at `place` is.
    pub const fn member(&self, place: u32) -> Option<u32> {
        let member = (place as u64 + self.users as u64 - self.start as u64) % self.users as u64;
        if place < self.users && member < self.members as u64 { Some(member as u32) } else { None }
    }

    /// The place of its `member`th.
    pub const fn place(&self, member: u32) -> u32 {
        ((self.start as u64 + member as u64) % self.users as u64) as u32
    }

    /// Its members among the users at `places`.
    pub fn here(&self, places: &Range<u32>) -> u32 {
        let (first, end) = (u64::from(self.start), u64::from(self.start) + u64::from(self.members));
        let within = |shift: u64| {
            let (from, to) = (u64::from(places.start) + shift, u64::from(places.end) + shift);
            end.min(to).saturating_sub(first.max(from))
        };
        (within(0) + within(u64::from(self.users))) as u32
    }

    /// Changes that its log begins with.
    pub const fn steps(&self) -> u32 {
        (self.members - 1).div_ceil(USERS_A_CHANGE)
    }

    /// The change that makes a member one, from 0.
    pub const fn step_of(&self, member: u32) -> u32 {
        if member == 0 { 0 } else { (member - 1) / USERS_A_CHANGE }
    }

    /// The members that a change makes ones, the first apart.
    pub fn joins(&self, step: u32) -> Range<u32> {
        let from = 1 + step * USERS_A_CHANGE;
        from..self.members.min(from + USERS_A_CHANGE)
    }
}

/// All groups of a run.
#[derive(Debug)]
pub struct GroupsOf {
    all: Vec<Group>,
    by_chat: Map<ChatId, u32>,
    first_user: u64,
}

impl GroupsOf {
    /// A load's, in the run of this number.
    pub fn new(load: &Load, run: u32) -> Self {
        let mut groups = Self { all: Vec::new(), by_chat: fabric::hash::map(load.seed), first_user: load.first_user };
        for (kind, of) in load.groups.iter().enumerate() {
            let mut start = of.from;
            for _ in 0..of.count {
                let at = groups.all.len() as u32;
                let made = Origin { run, stream: GROUP | CHANGE | at, number: 0 };
                let chat = ChatId::group(groups.user(start), &made.client_msg_id());
                groups.all.push(Group { kind, start, members: of.members, chat, users: load.users });
                groups.by_chat.insert(chat, at);
                start = ((u64::from(start) + u64::from(of.members)) % u64::from(load.users)) as u32;
            }
        }
        groups
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Group)> {
        (0..).zip(&self.all)
    }

    /// One of them.
    pub fn get(&self, group: u32) -> Option<&Group> {
        self.all.get(group as usize)
    }

    /// Which group a chat is, and which member of it a user.
    pub fn find(&self, chat: ChatId) -> Option<u32> {
        self.by_chat.get(&chat).copied()
    }

    /// Members of all.
    pub fn memberships(&self) -> u64 {
        self.all.iter().map(|group| u64::from(group.members)).sum()
    }

    /// The user at a place.
    pub fn user(&self, place: u32) -> UserId {
        UserId::new(self.first_user + u64::from(place)).expect("user ids begin at 1")
    }

    /// The place of a user.
    pub fn place(&self, user: UserId) -> Option<u32> {
        user.get().checked_sub(self.first_user).and_then(|place| u32::try_from(place).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn groups(users: u32, tables: &str) -> GroupsOf {
        let text =
            format!("[load]\nusers = {users}\nmode = \"open\"\nrate = 1.0\nsteady_s = 1.0\ngroups = [{tables}]\n");
        GroupsOf::new(&Scenario::parse(&text).unwrap().load, 7)
    }

    #[test]
    fn every_member_has_one_number_and_one_place() {
        let groups = groups(10, "{ members = 4, count = 3, share = 0.5 }, { members = 10, share = 0.5, from = 9 }");
        assert_eq!(groups.memberships(), 22);
        for (at, group) in groups.iter() {
            let places: Vec<u32> = (0..group.members).map(|member| group.place(member)).collect();
            assert!(places.iter().enumerate().all(|(member, place)| group.member(*place) == Some(member as u32)));
            let others = (0..12).filter(|place| !places.contains(place));
            assert!(others.clone().all(|place| group.member(place).is_none()), "{others:?}");
            assert_eq!(groups.find(group.chat), Some(at));
            for cut in 0..=10 {
                let [here, there] = [0..cut, cut..10].map(|range| group.here(&range));
                assert_eq!(here, places.iter().filter(|place| **place < cut).count() as u32);
                assert_eq!(here + there, group.members);
            }
        }
        assert_eq!(groups.get(2).map(|group| group.start), Some(8), "the third goes on after the last user");
    }

    #[test]
    fn every_member_joins_in_one_change() {
        for members in [2, 2_000, 2_001, 2_002, 10_000] {
            let groups = groups(10_000, &format!("{{ members = {members} }}"));
            let group = groups.get(0).unwrap();
            let joined: Vec<u32> = (0..group.steps()).flat_map(|step| group.joins(step)).collect();
            assert_eq!(joined, (1..members).collect::<Vec<u32>>());
            for step in 0..group.steps() {
                assert!(group.joins(step).all(|member| group.step_of(member) == step));
                assert!(!group.joins(step).is_empty() && group.joins(step).len() <= USERS_A_CHANGE as usize);
            }
        }
    }
}
