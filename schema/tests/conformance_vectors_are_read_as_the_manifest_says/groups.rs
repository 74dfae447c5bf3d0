//! Frames of groups that every reader takes: changes, and what is asked and answered of chats.

use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};
use schema::wire::{self, Body, EntryKind, Role};

use super::amendments;
use super::valid::{entry, frame, id};

type Builder = FlatBufferBuilder<'static>;

const LAST_MS: u64 = 1_767_225_600_123;

/// `count` members, every other one an admin; the last has the largest user id.
pub fn members(count: u64) -> Vec<wire::Member> {
    let member = |n: u64| {
        let user = if n == count { u64::MAX } else { 6 + n };
        let role = if n % 2 == 1 { Role::admin } else { Role::member };
        wire::Member::new(user, 40, 40 - n % 40, role)
    };
    (1..=count).map(member).collect()
}

/// What a group is.
pub fn chat_info(fbb: &mut Builder, member_count: u64) -> WIPOffset<UnionWIPOffset> {
    let name = Some(fbb.create_vector("Bergtour ⛰".as_bytes()));
    let members = Some(fbb.create_vector(&members(member_count)));
    let last_entry = Some(fbb.create_vector(&entry()));
    let args = wire::ChatInfoArgs {
        request_id: 6,
        chat_id: Some(&id(1)),
        kind: wire::ChatKind::group,
        name,
        created_by: 7,
        members,
        member_count: u32::try_from(member_count).unwrap(),
        next_user: u64::MAX,
        head_seq: 40,
        last_ms: LAST_MS,
        read_seq: 38,
        unread: 2,
        present: true,
        last_entry,
    };
    wire::ChatInfo::create(fbb, &args).as_union_value()
}

/// A page with `count` chats.
fn chats(fbb: &mut Builder, count: usize) -> WIPOffset<UnionWIPOffset> {
    let info = frame(Body::ChatInfo, |fbb| chat_info(fbb, 2));
    let mut tables = Vec::new();
    for _ in 0..count {
        let frame = Some(fbb.create_vector(&info));
        tables.push(wire::ChatInfoBytes::create(
            fbb,
            &wire::ChatInfoBytesArgs { archived: false, muted_until_ms: 0, pinned: false, frame },
        ));
    }
    let chats = Some(fbb.create_vector(&tables));
    wire::Chats::create(fbb, &wire::ChatsArgs { request_id: 7, chats, has_more: true }).as_union_value()
}

fn message_status(fbb: &mut Builder, member_count: u64) -> WIPOffset<UnionWIPOffset> {
    let members = Some(fbb.create_vector(&members(member_count)));
    let args = wire::MessageStatusArgs {
        request_id: 8,
        chat_id: Some(&id(1)),
        message_id: Some(&id(33)),
        seq: 12,
        total: 3,
        delivered: 1,
        read: 2,
        members,
    };
    wire::MessageStatus::create(fbb, &args).as_union_value()
}

/// The body of a kind that is about chats, with everything set.
pub fn full(fbb: &mut Builder, kind: Body) -> WIPOffset<UnionWIPOffset> {
    let (chat, message) = (id(1), id(33));
    let (chat_id, message_id) = (Some(&chat), Some(&message));
    match kind {
        Body::ChatRequest => {
            let args = wire::ChatRequestArgs { request_id: 6, chat_id, after_user: u64::MAX, limit: 1_000 };
            wire::ChatRequest::create(fbb, &args).as_union_value()
        }
        Body::ChatInfo => chat_info(fbb, 3),
        Body::ChatsRequest => {
            let args = wire::ChatsRequestArgs { request_id: 7, before_ms: LAST_MS, before_chat: chat_id, limit: 100 };
            wire::ChatsRequest::create(fbb, &args).as_union_value()
        }
        Body::Chats => chats(fbb, 2),
        Body::StatusRequest => {
            let args = wire::StatusRequestArgs { request_id: 8, chat_id, message_id };
            wire::StatusRequest::create(fbb, &args).as_union_value()
        }
        Body::MessageStatus => message_status(fbb, 3),
        _ => amendments::full(fbb, kind),
    }
}

fn role_of(kind: EntryKind) -> Role {
    if kind == EntryKind::role { Role::admin } else { Role::member }
}

/// A send that changes a group, with these users.
pub fn change(kind: EntryKind, users: &[u64]) -> Vec<u8> {
    frame(Body::Send, |fbb| {
        let (name, client_msg_id) = (fbb.create_vector(b"Bergtour"), fbb.create_vector(b"g1"));
        let users = Some(fbb.create_vector(users));
        let chat = id(1);
        let args = wire::SendArgs {
            client_msg_id: Some(client_msg_id),
            chat_id: (kind != EntryKind::created).then_some(&chat),
            kind,
            body: Some(name),
            users,
            role: role_of(kind),
            ..wire::SendArgs::default()
        };
        wire::Send::create(fbb, &args).as_union_value()
    })
}

fn changed(kind: EntryKind, users: &[u64]) -> Vec<u8> {
    frame(Body::Entry, |fbb| {
        let (body, client_msg_id) = (fbb.create_vector(b"Bergtour"), fbb.create_vector(b"g1"));
        let users = Some(fbb.create_vector(users));
        let args = wire::EntryArgs {
            chat_id: Some(&id(1)),
            message_id: Some(&id(33)),
            seq: 1,
            sender_id: 7,
            sender_device: 1,
            kind,
            body: Some(body),
            client_msg_id: Some(client_msg_id),
            timestamp_ms: LAST_MS,
            users,
            role: role_of(kind),
            ..wire::EntryArgs::default()
        };
        wire::Entry::create(fbb, &args).as_union_value()
    })
}

/// Who has a message, for hostile frames to be made of.
pub fn status_of(member_count: u64) -> Vec<u8> {
    frame(Body::MessageStatus, |fbb| message_status(fbb, member_count))
}

/// Further ones: name, whether a server sends it, bytes.
pub fn more() -> Vec<(&'static str, bool, Vec<u8>)> {
    let many: Vec<u64> = (1..=500).collect();
    vec![
        ("send_created", false, change(EntryKind::created, &[9, u64::MAX])),
        ("send_created_with_five_hundred", false, change(EntryKind::created, &many)),
        ("send_role", false, change(EntryKind::role, &[9])),
        ("send_left_with_empty_users", false, change(EntryKind::left, &[])),
        ("entry_created", true, changed(EntryKind::created, &[7, 9, u64::MAX])),
        ("entry_role", true, changed(EntryKind::role, &[9])),
        ("entry_left_with_empty_users", true, changed(EntryKind::left, &[])),
        ("chats_empty", true, frame(Body::Chats, |fbb| chats(fbb, 0))),
        ("chats_of_a_hundred", true, frame(Body::Chats, |fbb| chats(fbb, 100))),
        ("chat_info_of_a_thousand", true, frame(Body::ChatInfo, |fbb| chat_info(fbb, 1_000))),
        ("message_status_of_nobody", true, status_of(0)),
    ]
}
