//! Compact bytes of what a store keeps: varints, chat states and applied positions.
//!
//! Each row starts with the version of its encoding. What must stay true: rows of every released version decode, and
//! bytes that are no row are an error that says why, never a panic and never content.

mod account;

use schema::ids::{ChatId, ChatKind, DeviceId, MessageId, UserId};
use schema::wire::Role;

use account::{account, put_account};

use super::{ChatState, DeviceState, GroupState, MemberState, SeatState};
use crate::lsn::{JournalId, Lsn};

const STATE_VERSION: u8 = 1;
/// As version 1, with a group behind it.
const GROUP_STATE_VERSION: u8 = 2;
/// As version 1, with a byte of [`parts`] behind it, and those in the order of their bits.
const PARTS_STATE_VERSION: u8 = 3;

/// What a state of version 3 may have besides.
mod parts {
    pub(super) const GROUP: u8 = 1;
    pub(super) const TTL: u8 = 2;
    pub(super) const ACCOUNT: u8 = 4;
    pub(super) const SHOWN: u8 = 8;
    pub(super) const TICKED: u8 = 16;
    pub(super) const ALL: u8 = GROUP | TTL | ACCOUNT | SHOWN | TICKED;
}
const APPLIED_VERSION: u8 = 1;
const BUCKETS_VERSION: u8 = 1;

/// Why a row cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BadRow(pub(super) &'static str);

/// Reads what this module wrote.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], BadRow> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(BadRow("a row ends early"))?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn byte(&mut self) -> Result<u8, BadRow> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BadRow> {
        let mut out = [0u8; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(super) fn varint(&mut self) -> Result<u64, BadRow> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BadRow("a number is too long"))
    }

    /// A count of things that take at least `each` bytes, so that damage cannot ask for more memory than the row has.
    pub(super) fn count(&mut self, each: usize) -> Result<usize, BadRow> {
        let count = usize::try_from(self.varint()?).map_err(|_| BadRow("a count is too large"))?;
        if count > self.remaining() / each {
            return Err(BadRow("a count is too large"));
        }
        Ok(count)
    }

    pub(super) fn version(&mut self, known: u8) -> Result<(), BadRow> {
        if self.byte()? == known { Ok(()) } else { Err(BadRow("a row's version is unknown")) }
    }

    pub(super) fn end(self) -> Result<(), BadRow> {
        if self.rest.is_empty() { Ok(()) } else { Err(BadRow("a row has bytes left over")) }
    }
}

/// Appends a number, seven bits a byte, lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The difference as a small number whichever sign it has; any pair of u64 survives.
pub(super) fn put_relative(out: &mut Vec<u8>, base: u64, value: u64) {
    let difference = base.wrapping_sub(value) as i64;
    put_varint(out, ((difference << 1) ^ (difference >> 63)) as u64);
}

pub(super) fn relative(reader: &mut Reader<'_>, base: u64) -> Result<u64, BadRow> {
    let zigzag = reader.varint()?;
    let difference = ((zigzag >> 1) as i64) ^ -((zigzag & 1) as i64);
    Ok(base.wrapping_sub(difference as u64))
}

/// A chat state without its chat, which is the row's key.
pub(super) fn put_state(out: &mut Vec<u8>, state: &ChatState) {
    let parts = parts_of(state);
    out.push(match parts {
        0 => STATE_VERSION,
        parts::GROUP => GROUP_STATE_VERSION,
        _ => PARTS_STATE_VERSION,
    });
    out.push(state.kind as u8);
    put_varint(out, state.head_seq);
    debug_assert_eq!(state.head_seq == 0, state.head_message.is_none());
    if let Some(message) = state.head_message {
        out.extend_from_slice(&message.0);
    }
    put_varint(out, state.last_ms);
    put_varint(out, state.members.len() as u64);
    for member in &state.members {
        put_varint(out, member.user.get());
        put_relative(out, state.head_seq, member.delivered);
        put_relative(out, member.delivered, member.read);
        put_varint(out, member.devices.len() as u64);
        for device in &member.devices {
            put_varint(out, u64::from(device.device.0));
            put_relative(out, state.head_seq, device.acked);
            put_varint(out, device.own.len() as u64);
            for own in &device.own {
                put_relative(out, state.head_seq, *own);
            }
        }
    }
    if parts & !parts::GROUP != 0 {
        out.push(parts);
    }
    if let Some(group) = &state.group {
        put_group(out, group);
    }
    if let Some(ttl_s) = state.ttl_s {
        put_varint(out, u64::from(ttl_s));
    }
    if let Some(account) = &state.account {
        put_account(out, account);
    }
    if !state.shown.is_empty() {
        put_varint(out, state.shown.len() as u64);
        for &(user, seq) in &state.shown {
            put_varint(out, user.get());
            put_relative(out, state.head_seq, seq);
        }
    }
    if state.ticked_ms > 0 {
        put_relative(out, state.last_ms, state.ticked_ms);
    }
}

fn parts_of(state: &ChatState) -> u8 {
    let part = |there: bool, part: u8| if there { part } else { 0 };
    part(state.group.is_some(), parts::GROUP)
        | part(state.ttl_s.is_some(), parts::TTL)
        | part(state.account.is_some(), parts::ACCOUNT)
        | part(!state.shown.is_empty(), parts::SHOWN)
        | part(state.ticked_ms > 0, parts::TICKED)
}

fn put_group(out: &mut Vec<u8>, group: &GroupState) {
    put_varint(out, group.created_by.map_or(0, UserId::get));
    put_varint(out, group.name.len() as u64);
    out.extend_from_slice(&group.name);
    put_varint(out, group.seats.len() as u64);
    for seat in &group.seats {
        put_varint(out, seat.user.get());
        out.push(seat.role.0);
        put_varint(out, seat.spans.len() as u64);
        for &(first, last) in &seat.spans {
            put_varint(out, first);
            // Ends are stored as one more, so that "still there" is 0.
            put_varint(out, last.wrapping_add(1));
        }
    }
}

fn group(reader: &mut Reader<'_>) -> Result<GroupState, BadRow> {
    let created_by = UserId::new(reader.varint()?);
    let len = reader.count(1)?;
    let name = reader.take(len)?.to_vec();
    let count = reader.count(3)?;
    let seats = (0..count).map(|_| seat(reader)).collect::<Result<_, _>>()?;
    Ok(GroupState { name, created_by, seats })
}

fn seat(reader: &mut Reader<'_>) -> Result<SeatState, BadRow> {
    let user = UserId::new(reader.varint()?).ok_or(BadRow("a seat is user 0's"))?;
    let role = Role(reader.byte()?);
    role.variant_name().ok_or(BadRow("a seat's role is unknown"))?;
    let count = reader.count(2)?;
    let span = |reader: &mut Reader<'_>| Ok((reader.varint()?, reader.varint()?.wrapping_sub(1)));
    let spans = (0..count).map(|_| span(reader)).collect::<Result<_, BadRow>>()?;
    Ok(SeatState { user, role, spans })
}

/// The state of `chat`.
pub(super) fn state(chat: ChatId, row: &[u8]) -> Result<ChatState, BadRow> {
    let mut reader = Reader::new(row);
    let version = reader.byte()?;
    if !(STATE_VERSION..=PARTS_STATE_VERSION).contains(&version) {
        return Err(BadRow("a row's version is unknown"));
    }
    let kind = match reader.byte()? {
        1 => ChatKind::Direct,
        2 => ChatKind::Account,
        3 => ChatKind::Group,
        _ => return Err(BadRow("a chat's kind is unknown")),
    };
    let head_seq = reader.varint()?;
    let head_message = if head_seq > 0 { Some(MessageId(reader.array()?)) } else { None };
    let last_ms = reader.varint()?;
    let count = reader.count(4)?;
    let members = (0..count).map(|_| member(&mut reader, head_seq)).collect::<Result<_, _>>()?;
    let mut state = ChatState { kind, head_seq, head_message, last_ms, members, ..ChatState::empty(chat) };
    let parts = match version {
        STATE_VERSION => 0,
        GROUP_STATE_VERSION => parts::GROUP,
        _ => reader.byte()?,
    };
    if parts & !parts::ALL != 0 {
        return Err(BadRow("a chat's state has parts that are unknown"));
    }
    read_parts(&mut reader, parts, &mut state)?;
    reader.end()?;
    Ok(state)
}

fn read_parts(reader: &mut Reader<'_>, parts: u8, state: &mut ChatState) -> Result<(), BadRow> {
    if parts & parts::GROUP != 0 {
        state.group = Some(Box::new(group(reader)?));
    }
    if parts & parts::TTL != 0 {
        let ttl_s = u32::try_from(reader.varint()?).map_err(|_| BadRow("a timer is too long"))?;
        state.ttl_s = Some(ttl_s);
    }
    if parts & parts::ACCOUNT != 0 {
        state.account = Some(Box::new(account(reader)?));
    }
    if parts & parts::SHOWN != 0 {
        let count = reader.count(2)?;
        for _ in 0..count {
            let user = UserId::new(reader.varint()?).ok_or(BadRow("a member is user 0"))?;
            state.shown.push((user, relative(reader, state.head_seq)?));
        }
    }
    if parts & parts::TICKED != 0 {
        state.ticked_ms = relative(reader, state.last_ms)?;
    }
    Ok(())
}

fn member(reader: &mut Reader<'_>, head_seq: u64) -> Result<MemberState, BadRow> {
    let user = UserId::new(reader.varint()?).ok_or(BadRow("a member is user 0"))?;
    let delivered = relative(reader, head_seq)?;
    let read = relative(reader, delivered)?;
    let count = reader.count(3)?;
    let devices = (0..count).map(|_| device(reader, head_seq)).collect::<Result<_, _>>()?;
    Ok(MemberState { user, delivered, read, devices })
}

fn device(reader: &mut Reader<'_>, head_seq: u64) -> Result<DeviceState, BadRow> {
    let device = u32::try_from(reader.varint()?).map_err(|_| BadRow("a device is not a u32"))?;
    let acked = relative(reader, head_seq)?;
    let count = reader.count(1)?;
    let own = (0..count).map(|_| relative(reader, head_seq)).collect::<Result<_, _>>()?;
    Ok(DeviceState { device: DeviceId(device), acked, own })
}

/// All applied positions, one row.
pub(super) fn applied_row(applied: &[(JournalId, Lsn)]) -> Vec<u8> {
    let mut out = vec![APPLIED_VERSION];
    put_varint(&mut out, applied.len() as u64);
    for (journal, lsn) in applied {
        put_varint(&mut out, u64::from(journal.0));
        put_varint(&mut out, lsn.0);
    }
    out
}

/// What [`applied_row`] wrote.
pub(super) fn applied(row: &[u8]) -> Result<Vec<(JournalId, Lsn)>, BadRow> {
    let mut reader = Reader::new(row);
    reader.version(APPLIED_VERSION)?;
    let count = reader.count(2)?;
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        let journal = u32::try_from(reader.varint()?).map_err(|_| BadRow("a journal is not a u32"))?;
        out.push((JournalId(journal), Lsn(reader.varint()?)));
    }
    reader.end()?;
    Ok(out)
}

/// The list of dedupe buckets, one row.
pub(super) fn buckets_row(buckets: &[u64]) -> Vec<u8> {
    let mut out = vec![BUCKETS_VERSION];
    put_varint(&mut out, buckets.len() as u64);
    buckets.iter().for_each(|bucket| put_varint(&mut out, *bucket));
    out
}

/// What [`buckets_row`] wrote.
pub(super) fn buckets(row: &[u8]) -> Result<Vec<u64>, BadRow> {
    let mut reader = Reader::new(row);
    reader.version(BUCKETS_VERSION)?;
    let count = reader.count(1)?;
    let out = (0..count).map(|_| reader.varint()).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schema::encode::ChatSettings;
    use smallvec::SmallVec;

    use super::*;
    use crate::store::{AccountState, OwnDevice};

    fn device_state() -> impl Strategy<Value = DeviceState> {
        (any::<u32>(), any::<u64>(), prop::collection::vec(any::<u64>(), 0..4))
            .prop_map(|(device, acked, own)| DeviceState { device: DeviceId(device), acked, own })
    }

    fn member_state() -> impl Strategy<Value = MemberState> {
        (1..=u64::MAX, any::<u64>(), any::<u64>(), prop::collection::vec(device_state(), 0..3)).prop_map(
            |(user, delivered, read, devices)| MemberState {
                user: UserId::new(user).expect("at least 1"),
                delivered,
                read,
                devices: SmallVec::from_vec(devices),
            },
        )
    }

    fn group_state() -> impl Strategy<Value = GroupState> {
        let seat =
            (1..=u64::MAX, 0u8..2, prop::collection::vec(any::<(u64, u64)>(), 0..3)).prop_map(|(user, role, spans)| {
                SeatState {
                    user: UserId::new(user).expect("at least 1"),
                    role: Role(role),
                    spans: SmallVec::from_vec(spans),
                }
            });
        (any::<u64>(), prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(seat, 0..5))
            .prop_map(|(creator, name, seats)| GroupState { name, created_by: UserId::new(creator), seats })
    }

    fn account_state() -> impl Strategy<Value = AccountState> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20);
        let set = any::<(bool, bool, u64)>();
        let set = set.prop_map(|(pinned, archived, muted_until_ms)| ChatSettings { pinned, archived, muted_until_ms });
        let device = (bytes(), any::<(u64, u64)>()).prop_map(|(name, (named_ms, revoked_ms))| OwnDevice {
            name,
            named_ms,
            revoked_ms,
        });
        let messages = prop::collection::vec(any::<[u8; 16]>().prop_map(MessageId), 0..4);
        let chat = || any::<[u8; 16]>().prop_map(ChatId);
        (
            prop::collection::btree_map(bytes(), bytes(), 0..4),
            prop::collection::btree_map(chat(), set, 0..4),
            prop::collection::btree_map(any::<u32>().prop_map(DeviceId), device, 0..4),
            prop::collection::btree_map(chat(), messages, 0..4),
        )
            .prop_map(|(settings, chats, devices, hidden)| AccountState { settings, chats, devices, hidden })
    }

    type Parts = (Option<GroupState>, Option<AccountState>, Vec<(UserId, u64)>, u64);

    fn parts() -> impl Strategy<Value = Parts> {
        let shown = (1..=u64::MAX, any::<u64>()).prop_map(|(user, seq)| (UserId::new(user).expect("at least 1"), seq));
        (
            prop::option::of(group_state()),
            prop::option::of(account_state()),
            prop::collection::vec(shown, 0..3),
            prop_oneof![Just(0), any::<u64>()],
        )
    }

    proptest! {
        #[test]
        fn a_state_survives_its_row(
            chat in any::<[u8; 16]>(), head_seq in any::<u64>(), message in any::<[u8; 16]>(), last_ms in any::<u64>(),
            members in prop::collection::vec(member_state(), 0..4), parts in parts(),
            ttl_s in prop::option::of(any::<u32>()),
            cut in any::<prop::sample::Index>(),
        ) {
            let chat = ChatId(chat);
            let head_message = (head_seq > 0).then_some(MessageId(message));
            let members = SmallVec::from_vec(members);
            let (group, account, shown, ticked_ms) = parts;
            let (kind, group, account) = (ChatKind::Group, group.map(Box::new), account.map(Box::new));
            let mut written = ChatState { kind, head_seq, head_message, last_ms, members, ..ChatState::empty(chat) };
            (written.group, written.account, written.ttl_s) = (group, account, ttl_s);
            (written.shown, written.ticked_ms) = (shown, ticked_ms);
            let mut row = Vec::new();
            put_state(&mut row, &written);
            prop_assert_eq!(state(chat, &row), Ok(written));
            row.truncate(cut.index(row.len()));
            prop_assert!(state(chat, &row).is_err());
        }

        #[test]
        fn positions_survive_their_row(positions in prop::collection::vec((any::<u32>(), any::<u64>()), 0..9)) {
            let positions: Vec<_> = positions.into_iter().map(|(journal, lsn)| (JournalId(journal), Lsn(lsn))).collect();
            prop_assert_eq!(applied(&applied_row(&positions)), Ok(positions.clone()));
            let numbers: Vec<_> = positions.into_iter().map(|(_, lsn)| lsn.0).collect();
            prop_assert_eq!(buckets(&buckets_row(&numbers)), Ok(numbers));
        }

        #[test]
        fn garbage_is_an_error_not_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = state(ChatId([0; 16]), &bytes);
            let _ = applied(&bytes);
            prop_assert!(state(ChatId([0; 16]), &[&[9], bytes.as_slice()].concat()).is_err());
        }
    }

    #[test]
    fn a_direct_chats_state_is_small() {
        let member = |user| MemberState {
            user: UserId::new(user).expect("not 0"),
            delivered: 1_000,
            read: 990,
            devices: SmallVec::from_vec(vec![DeviceState { device: DeviceId(1), acked: 1_000, own: Vec::new() }]),
        };
        let written = ChatState {
            chat: ChatId([7; 16]),
            kind: ChatKind::Direct,
            head_seq: 1_000,
            head_message: Some(MessageId([9; 16])),
            last_ms: 1_790_000_000_000,
            members: SmallVec::from_vec(vec![member(100_000), member(100_001)]),
            ticked_ms: 1_790_000_009_000,
            ..ChatState::empty(ChatId([7; 16]))
        };
        let mut row = Vec::new();
        put_state(&mut row, &written);
        assert!(row.len() <= 52, "{} bytes", row.len());
    }
}
