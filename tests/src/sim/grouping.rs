//! What people do with groups: make them, change them, write in them; and what becomes of what was refused.

use bytes::Bytes;
use client::core::{Failure, GroupChange};
use schema::encode::SendTarget;
use schema::errors::ErrorCode;
use schema::ids::{ChatId, DeviceId, UserId};
use schema::wire::Role;

use super::model::Wish;
use super::plan::pick;
use super::roster::Roster;
use super::world::World;

impl World {
    /// A client_msg_id of its own.
    pub fn new_id(&mut self, user: UserId, device: DeviceId) -> Bytes {
        self.ids += 1;
        Bytes::from(format!("{}.{}.{}", user.get(), device.0, self.ids))
    }

    /// A device makes a group, or changes one.
    pub fn change_some(&mut self, at: usize) {
        let user = self.devices[at].user;
        let asked_for = self.model.groups.len() as u64;
        let new = asked_for < self.plan.groups && (asked_for == 0 || self.env.rng.one_in(8));
        let change = if new { Some(self.wish_for_group()) } else { self.wish_for_change(user) };
        if let Some(change) = change {
            self.change(at, change);
        }
    }

    /// Gives a change to a device's core.
    pub fn change(&mut self, at: usize, change: GroupChange) {
        let device = &self.devices[at];
        let (user, number) = (device.user, device.device);
        // What makes a group has no chat before its maker is known.
        if device.core.as_ref().is_none_or(|core| core.identity().is_none()) {
            return;
        }
        let id = self.new_id(user, number);
        let group = self.wish(user, &id, change.clone());
        self.devices[at].app.sends.push((group, id.clone()));
        self.env.note("change", [at as u64, u64::from(change.kind().0), self.ids]);
        match self.tell(at, |core, cx| core.change(cx, id, change)) {
            Some(Ok(taken)) => assert_eq!(taken, group, "a change goes to its group"),
            refused => panic!("invariant accepted: a change was not taken: {refused:?}"),
        }
        self.operations += 1;
    }

    /// Notes what is about to be sent. Returns its group.
    pub fn wish(&mut self, user: UserId, id: &Bytes, change: GroupChange) -> ChatId {
        let group = match &change {
            GroupChange::Created { .. } => {
                let group = ChatId::group(user, id);
                self.model.groups.insert(group, Roster::new(user, self.plan.partition.group_members));
                group
            }
            GroupChange::Added { group, .. }
            | GroupChange::Removed { group, .. }
            | GroupChange::Left { group }
            | GroupChange::Role { group, .. }
            | GroupChange::Renamed { group, .. } => *group,
        };
        self.wish_for(group, id, Some(change));
        group
    }

    /// Notes a send to a group.
    pub fn wish_for(&mut self, group: ChatId, id: &Bytes, change: Option<GroupChange>) {
        let after = self.model.groups[&group].seq();
        self.model.wishes.insert(id.clone(), Wish { group, change, after });
    }

    fn some_users(&mut self, most: u64) -> Vec<UserId> {
        let count = self.env.rng.between(1, most);
        let mut users = Vec::new();
        for _ in 0..count {
            let (user, _) = pick(&mut self.env.rng, &self.plan.devices);
            if !users.contains(&user) {
                users.push(user);
            }
        }
        users
    }

    fn wish_for_group(&mut self) -> GroupChange {
        let (most, name) = (self.plan.devices.len() as u64, format!("group {}", self.ids));
        GroupChange::Created { name: name.into(), users: self.some_users(most) }
    }

    /// Some change, mostly one that the user may make.
    pub fn wish_for_change(&mut self, user: UserId) -> Option<GroupChange> {
        let groups = self.model.groups.iter().filter(|(_, group)| group.seq() > 0);
        let all: Vec<ChatId> = groups.clone().map(|(&id, _)| id).collect();
        let own: Vec<ChatId> = groups.filter(|(_, group)| group.is_admin(user)).map(|(&id, _)| id).collect();
        let among = if own.is_empty() || self.env.rng.one_in(5) { all } else { own };
        if among.is_empty() {
            return None;
        }
        let group = pick(&mut self.env.rng, &among);
        let roster = &self.model.groups[&group];
        let others: Vec<UserId> = roster.members(roster.seq()).into_keys().filter(|&member| member != user).collect();
        let mut users = self.some_users(3);
        // Of members only, mostly; never oneself.
        let some_members = |world: &mut Self, mut users: Vec<UserId>| {
            if !others.is_empty() && !world.env.rng.one_in(6) {
                users = vec![pick(&mut world.env.rng, &others)];
            }
            users.retain(|&named| named != user);
            (!users.is_empty()).then_some(users)
        };
        Some(match self.env.rng.below(20) {
            0..10 => GroupChange::Added { group, users },
            10..13 => GroupChange::Removed { group, users: some_members(self, users)? },
            13 => GroupChange::Left { group },
            14..17 => {
                let role = if self.env.rng.one_in(2) { Role::admin } else { Role::member };
                if !self.env.rng.one_in(4) {
                    users = some_members(self, users)?;
                }
                GroupChange::Role { group, users, role }
            }
            _ => GroupChange::Renamed { group, name: format!("name {}", self.env.rng.below(4)).into() },
        })
    }

    /// A group to write in: mostly one where the user is a member.
    pub fn group_of(&mut self, user: UserId) -> Option<ChatId> {
        // One that is only asked for may never come about.
        let hopes = self.env.rng.one_in(4);
        let own = |group: &Roster| group.is_member(user) || (hopes && group.seq() == 0 && group.creator() == user);
        let groups = self.model.groups.iter();
        let all: Vec<ChatId> = groups.clone().map(|(&id, _)| id).collect();
        let own: Vec<ChatId> = groups.filter(|(_, group)| own(group)).map(|(&id, _)| id).collect();
        let among = if self.env.rng.one_in(30) { all } else { own };
        (!among.is_empty()).then(|| pick(&mut self.env.rng, &among))
    }

    /// Writes in a group.
    pub fn send_to_group(&mut self, at: usize, group: ChatId) -> Option<Bytes> {
        let device = &self.devices[at];
        let (user, number) = (device.user, device.device);
        device.core.as_ref()?;
        let id = self.new_id(user, number);
        self.wish_for(group, &id, None);
        self.devices[at].app.sends.push((group, id.clone()));
        let new = self.new_message(group, &id, SendTarget::Chat(group));
        self.env.note("send to group", [at as u64, super::clients::chat_number(group), self.ids]);
        match self.tell(at, |core, cx| core.send(cx, new)) {
            Some(Ok(taken)) => assert_eq!(taken, group, "a send goes to its chat"),
            refused => panic!("invariant accepted: a send was not taken: {refused:?}"),
        }
        self.operations += 1;
        Some(id)
    }

    /// A send has failed for good: only sends to groups may, and only for a reason.
    pub fn failed(&mut self, at: usize, id: &Bytes, failure: Failure) {
        let device = &mut self.devices[at];
        self.env.note("failed", [at as u64, super::clients::send_number(id), 0]);
        let again = !device.app.outcomes.insert(id.clone());
        assert!(!again || self.resent.contains(id), "invariant outcome: a send has two outcomes");
        device.app.failed.insert(id.clone());
        let user = device.user;
        if !self.model.wishes.contains_key(id) {
            return self.amendment_failed(user, id, failure);
        }
        let wish = &self.model.wishes[id];
        let place = self.model.seq_of(wish.group, id);
        // A refusal for good is not remembered: of what two processes of one device send, one may be refused and the other
        // stored later.
        let stored = place.is_some() && !self.devices[at].copied;
        assert!(!stored, "invariant idempotent: {id:?} is refused ({failure}), and has its place at {place:?}");
        let Failure::Refused(refusal) = failure else { panic!("invariant accepted: a send failed: {failure}") };
        let code = refusal.known().expect("the server's codes are known");
        let group = &self.model.groups[&wish.group];
        let fits = match (code, &wish.change) {
            (ErrorCode::UnknownChat, _) => wish.after == 0,
            (ErrorCode::NotAMember, _) => !self.model.was_surely(user, wish, false),
            (ErrorCode::NotAnAdmin, Some(change)) => {
                !matches!(change, GroupChange::Created { .. } | GroupChange::Left { .. })
                    && !self.model.was_surely(user, wish, true)
            }
            (ErrorCode::TooManyMembers, Some(GroupChange::Created { .. } | GroupChange::Added { .. })) => {
                // However many they are, they are users.
                self.plan.partition.group_members < self.plan.users()
            }
            (ErrorCode::UnknownMember, Some(GroupChange::Removed { .. } | GroupChange::Role { .. })) => true,
            (ErrorCode::NoChange, Some(change)) => !matches!(change, GroupChange::Left { .. }),
            _ => self.may_be_refused(user, id, code, Some(wish)),
        };
        let kind = self.model.kind_of(id);
        assert!(fits, "invariant membership: {user}'s {kind:?} was refused with {code} at seq {}", group.seq());
        self.env.counts.add(&format!("group_refused.{code}"), 1);
    }
}
