//! Chats and their members: heads, watermarks and device positions, and who is in which chat.
//!
//! What must stay true: `head` is committed and `ordered` is at or above it; watermarks only rise and read <= delivered <=
//! head; a chat whose first entry never became durable is in nobody's list.

use core::hash::BuildHasher;

use fabric::hash::{self, Hasher};
use schema::ids::{ChatId, ChatKind, DeviceId, MessageId, UserId};
use smallvec::SmallVec;

use super::account::Account;
use super::amend::Timer;
use super::rare::Rare;
use super::roster::Group;
use super::sharded::Sharded;
use crate::memtable::{PLACES, Place};
use crate::store::{ChatState, DeviceState, MemberState};

/// A place in a chat's log; seq 0 = before the first entry, whose message means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub seq: u64,
    pub message: MessageId,
}

impl Head {
    pub(crate) const NONE: Self = Self { seq: 0, message: MessageId([0; 16]) };
}

/// One device of a member.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub id: DeviceId,
    /// Everything up to here is on the device.
    pub acked: u64,
    /// Seqs above `acked` that it sent itself, ascending, at most [`OWN_MAX`].
    #[allow(clippy::box_collection)] // 8 bytes in the common case of none
    pub own: Option<Box<Vec<u64>>>,
    /// Which batch holds a position of it, and where there.
    pub pending: (u32, u32),
}

/// Own sends remembered above a device's position.
pub(crate) const OWN_MAX: usize = 64;
/// Devices remembered a member; the one furthest behind makes room (a device not known is at 0).
pub(crate) const DEVICES_MAX: usize = 32;

/// One member of a chat.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub user: UserId,
    pub delivered: u64,
    pub read: u64,
    pub devices: SmallVec<[Device; 1]>,
}

impl Member {
    pub(crate) fn new(user: UserId) -> Self {
        Self { user, delivered: 0, read: 0, devices: SmallVec::new() }
    }

    /// How far a device is; 0 for one never heard of.
    pub(crate) fn acked(&self, device: DeviceId) -> u64 {
        self.devices.iter().find(|d| d.id == device).map_or(0, |d| d.acked)
    }

    /// The device's record, made if it has none.
    pub(crate) fn device_mut(&mut self, id: DeviceId) -> &mut Device {
        if let Some(at) = self.devices.iter().position(|d| d.id == id) {
            return &mut self.devices[at];
        }
        if self.devices.len() >= DEVICES_MAX
            && let Some(behind) = (0..self.devices.len()).min_by_key(|&at| self.devices[at].acked)
        {
            self.devices.swap_remove(behind);
        }
        self.devices.push(Device { id, acked: 0, own: None, pending: (0, 0) });
        let last = self.devices.len() - 1;
        &mut self.devices[last]
    }

    /// Raises a device's position, and with it the own sends that follow it without a hole. True if it rose.
    pub(crate) fn raise_acked(&mut self, device: DeviceId, acked: u64) -> bool {
        let device = self.device_mut(device);
        if acked <= device.acked {
            return false;
        }
        device.acked = acked;
        if let Some(own) = &mut device.own {
            for &seq in own.iter() {
                if seq == device.acked + 1 {
                    device.acked = seq;
                }
            }
            let acked = device.acked;
            own.retain(|&seq| seq > acked);
            if own.is_empty() {
                device.own = None;
            }
        }
        let acked = device.acked;
        self.delivered = self.delivered.max(acked);
        true
    }

    /// The device sent `seq` itself, so it has it. True if its position rose.
    pub(crate) fn own_sent(&mut self, device: DeviceId, seq: u64) -> bool {
        let known = self.device_mut(device);
        if seq == known.acked + 1 {
            return self.raise_acked(device, seq);
        }
        if seq > known.acked + 1 {
            let own = known.own.get_or_insert_default();
            if own.len() < OWN_MAX && own.last().is_none_or(|&last| last < seq) {
                own.push(seq);
            }
        }
        false
    }
}

/// Where a chat is on its way to being nudged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NudgeState {
    /// Nudges given for this head, plus one; 0 = none is due.
    pub stage: u8,
}

/// One chat.
#[derive(Clone, Debug)]
pub(crate) struct Chat {
    pub id: ChatId,
    pub kind: ChatKind,
    /// Committed.
    pub head: Head,
    /// Given out, perhaps not yet durable.
    pub ordered: Head,
    /// Everybody who is or was in it; a group's in the order of its seats.
    pub members: SmallVec<[Member; 2]>,
    /// Of a group.
    pub group: Option<Box<Group>>,
    /// What few chats have.
    pub rare: Option<Box<Rare>>,
    /// When a mark that others are told of last rose, ms since 1970; 0 = never.
    pub ticked_ms: u64,
    /// Of a chat where messages disappear, or did.
    pub timer: Option<Box<Timer>>,
    /// Where it is in the memory tables, by epoch modulo [`PLACES`].
    pub places: [Place; PLACES],
    pub nudge: NudgeState,
    /// When its head was committed, ns of the monotonic clock; 0 = before this start.
    pub committed_ns: u64,
    /// Wall time of its first entry if that was seen since the start, else 0; ms since 1970.
    pub first_ms: u64,
}

impl Chat {
    pub(crate) fn member(&self, user: UserId) -> Option<usize> {
        match self.group {
            Some(_) => self.members.binary_search_by_key(&user, |m| m.user).ok(),
            None => self.members.iter().position(|m| m.user == user),
        }
    }

    /// The last seq that a member may see; 0 for whoever never was one.
    pub(crate) fn visible_head(&self, user: UserId) -> u64 {
        let head = self.head.seq;
        match &self.group {
            None => head,
            Some(group) => group.state.seat(user).and_then(|seat| seat.spans.last()).map_or(0, |span| span.1.min(head)),
        }
    }

    /// Whether a member may see the entry of this seq.
    pub(crate) fn sees(&self, user: UserId, seq: u64) -> bool {
        self.group.as_ref().is_none_or(|group| group.state.seat(user).is_some_and(|seat| seat.covers(seq)))
    }

    /// Members whom the entry of this seq concerns, from a place among all members on: (place, member).
    pub(crate) fn concerned(&self, seq: u64, from: usize) -> impl Iterator<Item = (usize, &Member)> {
        let seats = self.group.as_ref().map(|group| &group.state.seats);
        debug_assert!(seats.is_none_or(|seats| seats.len() == self.members.len()), "a seat each");
        let covers = move |at: usize| seats.is_none_or(|seats| seats[at].covers(seq));
        self.members.iter().enumerate().skip(from).filter(move |&(at, _)| covers(at))
    }

    /// Whether the entry of this seq concerns the member at a place.
    pub(crate) fn is_concerned(&self, at: usize, seq: u64) -> bool {
        self.group.as_ref().is_none_or(|group| group.state.seats[at].covers(seq))
    }

    /// The entry of this seq is durable. Returns those who have a seat in the group now and had none.
    pub(crate) fn settle(&mut self, seq: u64) -> Vec<UserId> {
        if let Some(account) = self.account_mut() {
            account.settle(seq);
        }
        let Some(group) = &mut self.group else { return Vec::new() };
        if !group.settle(seq) {
            return Vec::new();
        }
        let mut new = Vec::new();
        let mut before = core::mem::take(&mut self.members).into_iter().peekable();
        for seat in &group.state.seats {
            let member = before.next_if(|member| member.user == seat.user).unwrap_or_else(|| {
                new.push(seat.user);
                Member::new(seat.user)
            });
            self.members.push(member);
        }
        debug_assert!(before.next().is_none(), "seats are kept");
        new
    }

    /// As it is stored.
    pub(crate) fn to_state(&self) -> ChatState {
        let device = |d: &Device| DeviceState {
            device: d.id,
            acked: d.acked,
            own: d.own.as_ref().map_or(Vec::new(), |own| own.as_ref().clone()),
        };
        let member = |m: &Member| MemberState {
            user: m.user,
            delivered: m.delivered,
            read: m.read,
            devices: m.devices.iter().filter(|d| d.acked > 0 || d.own.is_some()).map(device).collect(),
        };
        ChatState {
            chat: self.id,
            kind: self.kind,
            head_seq: self.head.seq,
            head_message: (self.head.seq > 0).then_some(self.head.message),
            last_ms: self.last_ms(),
            members: self.members.iter().map(member).collect(),
            group: self.group.as_ref().map(|group| Box::new(group.state.clone())),
            account: self.account().map(|account| Box::new(account.state.clone())),
            shown: self.rare.as_ref().map_or(Vec::new(), |rare| rare.shown.clone()),
            ticked_ms: self.ticked_ms,
            ttl_s: self.timer.as_ref().map(|timer| timer.ttl_s),
        }
    }

    /// Wall time of the head, ms since 1970.
    pub(crate) fn last_ms(&self) -> u64 {
        if self.head.seq == 0 { 0 } else { schema::timeuuid::unix_ms(self.head.message) }
    }
}

type Listed = (UserId, SmallVec<[u32; 4]>);

const CHUNK_BITS: u32 = 10;

/// All chats of a partition, by number; numbers are given in order and kept for the life of the process.
pub(crate) struct Chats {
    // In chunks: growing never copies what is there.
    chunks: Vec<Vec<Chat>>,
    index: Sharded<(ChatId, u32)>,
    by_user: Sharded<Listed>,
    hasher: Hasher,
}

impl Chats {
    pub(crate) fn new(seed: u64) -> Self {
        Self { chunks: Vec::new(), index: Sharded::new(), by_user: Sharded::new(), hasher: hash::hasher(seed) }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn find(&self, chat: ChatId) -> Option<u32> {
        self.index.find(self.hasher.hash_one(chat), |&(id, _)| id == chat).map(|&(_, index)| index)
    }

    pub(crate) fn get(&self, index: u32) -> &Chat {
        &self.chunks[(index >> CHUNK_BITS) as usize][(index & ((1 << CHUNK_BITS) - 1)) as usize]
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Chat {
        &mut self.chunks[(index >> CHUNK_BITS) as usize][(index & ((1 << CHUNK_BITS) - 1)) as usize]
    }

    /// Adds a chat that is not there. Nobody's list has it until [`Self::list`].
    pub(crate) fn add(&mut self, id: ChatId, kind: ChatKind, members: SmallVec<[Member; 2]>) -> u32 {
        let index = u32::try_from(self.index.len()).expect("a partition holds fewer than 2^32 chats");
        let chat = Chat {
            id,
            kind,
            head: Head::NONE,
            ordered: Head::NONE,
            members,
            group: (kind == ChatKind::Group).then(Box::default),
            rare: (kind == ChatKind::Account)
                .then(|| Box::new(Rare { account: Some(Account::default()), shown: Vec::new() })),
            ticked_ms: 0,
            timer: None,
            places: [Place::default(); PLACES],
            nudge: NudgeState::default(),
            committed_ns: 0,
            first_ms: 0,
        };
        if self.chunks.last().is_none_or(|chunk| chunk.len() == 1 << CHUNK_BITS) {
            self.chunks.push(Vec::with_capacity(1 << CHUNK_BITS));
        }
        let last = self.chunks.len() - 1;
        self.chunks[last].push(chat);
        let hasher = self.hasher.clone();
        self.index.insert(hasher.hash_one(id), (id, index), |&(id, _)| hasher.hash_one(id));
        index
    }

    /// Puts a chat into its members' lists. Once a chat: when its first entry is committed, or it is loaded.
    pub(crate) fn list(&mut self, index: u32) {
        let users: SmallVec<[UserId; 2]> = self.get(index).members.iter().map(|m| m.user).collect();
        self.list_for(index, &users);
    }

    /// Puts a chat into the lists of users who do not have it.
    pub(crate) fn list_for(&mut self, index: u32, users: &[UserId]) {
        let hasher = self.hasher.clone();
        for &user in users {
            let hash = hasher.hash_one(user);
            match self.by_user.find_mut(hash, |(u, _)| *u == user) {
                Some((_, chats)) => {
                    debug_assert!(!chats.contains(&index));
                    chats.push(index);
                }
                None => {
                    let chats = core::iter::once(index).collect();
                    self.by_user.insert(hash, (user, chats), |(u, _)| hasher.hash_one(u));
                }
            }
        }
    }

    /// The chats of a user that have a committed entry.
    pub(crate) fn of_user(&self, user: UserId) -> &[u32] {
        self.by_user.find(self.hasher.hash_one(user), |(u, _)| *u == user).map_or(&[], |(_, chats)| chats.as_slice())
    }

    /// Takes a stored chat.
    pub(crate) fn load(&mut self, state: &ChatState) -> u32 {
        let device = |d: &DeviceState| Device {
            id: d.device,
            acked: d.acked,
            own: (!d.own.is_empty()).then(|| Box::new(d.own.clone())),
            pending: (0, 0),
        };
        let member = |m: &MemberState| Member {
            user: m.user,
            delivered: m.delivered,
            read: m.read,
            devices: m.devices.iter().map(device).collect(),
        };
        let index = self.add(state.chat, state.kind, state.members.iter().map(member).collect());
        let chat = self.get_mut(index);
        if let Some(group) = &state.group {
            chat.group = Some(Box::new(Group::new(group.as_ref().clone())));
        }
        chat.ticked_ms = state.ticked_ms;
        if let (Some(known), Some(account)) = (&state.account, chat.account_mut()) {
            *account = Account::new(known.as_ref().clone());
        }
        if !state.shown.is_empty() {
            chat.rare.get_or_insert_default().shown.clone_from(&state.shown);
        }
        chat.timer = state.ttl_s.map(|ttl_s| Box::new(Timer::new(ttl_s)));
        if let Some(message) = state.head_message {
            chat.head = Head { seq: state.head_seq, message };
            chat.ordered = chat.head;
            self.list(index);
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u64) -> UserId {
        UserId::new(id).expect("not 0")
    }

    #[test]
    fn own_sends_raise_a_position_once_nothing_is_missing_below() {
        let mut member = Member::new(user(1));
        let d = DeviceId(7);
        assert!(member.own_sent(d, 1));
        assert!(!member.own_sent(d, 3), "2 is missing");
        assert!(!member.own_sent(d, 4));
        assert_eq!((member.acked(d), member.delivered), (1, 1));
        assert!(member.raise_acked(d, 2));
        assert_eq!((member.acked(d), member.delivered), (4, 4));
        assert!(!member.raise_acked(d, 3), "positions only rise");
        assert!(member.devices[0].own.is_none());
    }

    #[test]
    fn devices_and_own_sends_are_bounded() {
        let mut member = Member::new(user(1));
        for n in 0..100 {
            member.raise_acked(DeviceId(n), u64::from(n) + 1);
        }
        for n in 0..100 {
            member.own_sent(DeviceId(99), 1_000 + n);
        }
        assert_eq!(member.devices.len(), DEVICES_MAX);
        assert_eq!(member.acked(DeviceId(99)), 100);
        assert_eq!(member.acked(DeviceId(0)), 0);
        let own = member.devices.iter().find(|d| d.id == DeviceId(99)).and_then(|d| d.own.as_ref()).expect("known");
        assert_eq!(own.len(), OWN_MAX);
    }

    #[test]
    fn a_chat_survives_being_stored() {
        let mut chats = Chats::new(5);
        let id = ChatId::direct(user(1), user(2));
        let index = chats.add(id, ChatKind::Direct, [1, 2].into_iter().map(|u| Member::new(user(u))).collect());
        assert!(chats.of_user(user(1)).is_empty());
        let message = schema::timeuuid::from_parts(schema::timeuuid::UNIX_EPOCH_TICKS + 50_000, [0x80; 8]);
        let chat = chats.get_mut(index);
        chat.head = Head { seq: 9, message };
        chat.members[0].raise_acked(DeviceId(1), 4);
        chat.members[0].own_sent(DeviceId(1), 8);
        chat.members[1].read = 3;
        chat.members[1].delivered = 3;
        assert_eq!(chat.raise_read(0, 2, true), (true, false));
        chat.ticked_ms = 77;
        let state = chat.to_state();
        assert_eq!(state.last_ms, 5);
        let mut again = Chats::new(6);
        let index = again.load(&state);
        assert_eq!(again.get(index).to_state(), state);
        assert_eq!(again.find(id), Some(index));
        assert_eq!(again.of_user(user(2)), [index]);
    }
}
