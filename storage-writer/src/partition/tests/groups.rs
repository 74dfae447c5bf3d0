//! Groups in one owner's hands: what their changes do, who hears of what, and what a crash leaves of it.

use bytes::Bytes;
use fabric::sim::DiskFaults;
use schema::encode::{ChangeFields, Encoder, SendFields, SendTarget};
use schema::envelope::{Address, Body, SyncCursor};
use schema::errors::ErrorCode;
use schema::frame::FrameRef;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire::{EntryKind, MarkStatus, Role};

use super::world::{World, small, user};
use crate::partition::PartitionConfig;

const ASKER: Address = Address { incarnation: 9, shard: 0, connection: 99, generation: 1 };

fn users(ids: &[u64]) -> Vec<UserId> {
    ids.iter().map(|&id| user(id)).collect()
}

struct Group {
    world: World,
    chat: ChatId,
    sends: u64,
}

impl Group {
    /// User 1 makes one of these and themselves.
    fn new(config: PartitionConfig, members: &[u64]) -> Self {
        let chat = ChatId::group(user(1), b"make");
        let mut group = Self { world: World::new(7, 2, config), chat, sends: 0 };
        assert_eq!(group.make(members), Ok(1));
        group
    }

    fn make(&mut self, members: &[u64]) -> Result<u64, ErrorCode> {
        let members = users(members);
        self.say(1, |encoder| {
            encoder.change(&ChangeFields {
                client_msg_id: b"make",
                chat: None,
                kind: EntryKind::created,
                name: b"Hiking",
                users: &members,
                role: Role::member,
                retry: true,
            })
        })
    }

    fn change_as(&mut self, id: &str, by: u64, kind: EntryKind, members: &[u64]) -> Result<u64, ErrorCode> {
        let (members, chat) = (users(members), self.chat);
        let name = if kind == EntryKind::renamed { &b"Climbing"[..] } else { b"" };
        self.say(by, |encoder| {
            encoder.change(&ChangeFields {
                client_msg_id: id.as_bytes(),
                chat: Some(chat),
                kind,
                name,
                users: &members,
                role: Role::admin,
                retry: true,
            })
        })
    }

    fn change(&mut self, by: u64, kind: EntryKind, members: &[u64]) -> Result<u64, ErrorCode> {
        self.sends += 1;
        self.change_as(&format!("c{}", self.sends), by, kind, members)
    }

    fn write(&mut self, by: u64) -> Result<u64, ErrorCode> {
        self.sends += 1;
        let (id, chat) = (format!("m{}", self.sends), self.chat);
        self.say(by, |encoder| message(encoder, chat, &id))
    }

    /// Sends a frame and waits for its answer: its seq, or why not.
    fn say(&mut self, by: u64, frame: impl FnOnce(&mut Encoder) -> Bytes) -> Result<u64, ErrorCode> {
        self.world.out.gateway.clear();
        self.world.say_in(user(by), self.chat, frame);
        self.world.settle();
        let mut answers = self.world.out.gateway.drain(..).map(|(_, envelope)| envelope.body);
        let answer = answers.find_map(|body| match body {
            Body::Sent { seq, .. } => Some(Ok(seq)),
            Body::Refused { code, .. } => Some(Err(code)),
            _ => None,
        });
        answer.expect("answered")
    }

    /// The seqs that a user is shown, and the last that the page speaks for.
    fn page(&mut self, of: u64) -> Result<(Vec<u64>, u64), ErrorCode> {
        let body = Body::PageRequest {
            blind: false,
            ticks: false,
            chat: self.chat,
            user: user(of),
            after_seq: 0,
            before_seq: 0,
            newest: false,
            limit_entries: 1_000,
            limit_bytes: 1 << 20,
        };
        match self.ask(body) {
            Body::Page { covers_first, covers_last, entries, .. } => {
                assert_eq!(covers_first, 1);
                Ok((entries.into_iter().map(|entry| entry.0).collect(), covers_last))
            }
            Body::Refused { code, .. } => Err(code),
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, body: Body) -> Body {
        self.world.out.gateway.clear();
        let chat = if let Body::ChatsRequest { user, .. } = body { ChatId::account(user) } else { self.chat };
        self.world.chat(chat, ASKER, body);
        self.world.settle();
        let answers = self.world.out.gateway.drain(..);
        answers.map(|(_, envelope)| envelope.body).next_back().expect("answered")
    }

    fn answer(&mut self, body: Body) -> Bytes {
        match self.ask(body) {
            Body::Answer { frame } => frame,
            other => panic!("{other:?}"),
        }
    }

    /// Present members and who of them is admin, as a member is told; and the name.
    fn info(&mut self, of: u64) -> (Vec<(u64, bool)>, String) {
        let ask = Body::ChatRequest {
            blind: false,
            chat: self.chat,
            user: user(of),
            client_request: 5,
            after_user: 0,
            limit: 0,
        };
        let frame = self.answer(ask);
        let frame = FrameRef::verify_from_server(&frame).expect("a frame");
        let info = frame.root().body_as_chat_info().expect("an info");
        assert_eq!(info.request_id(), 5);
        let members = info.members().expect("members");
        let name = info.name().map_or(&[][..], |name| name.bytes());
        let members = members.iter().map(|member| (member.user_id(), member.role() == Role::admin)).collect();
        (members, String::from_utf8(name.to_vec()).expect("UTF-8"))
    }

    /// Users that pushes of this seq went to.
    fn pushed(&mut self, seq: u64) -> Vec<u64> {
        let mut to: Vec<u64> = Vec::new();
        for (_, envelope) in &self.world.out.router {
            if let Body::Push { seq: of, recipients, .. } = &envelope.body
                && *of == seq
            {
                to.extend(recipients.iter().map(|recipient| recipient.user.get()));
            }
        }
        to.sort_unstable();
        to
    }

    /// All chats of a user, in pages of four: when each was last written to, and which it is.
    fn chats_of(&mut self, of: u64) -> Vec<(u64, ChatId)> {
        let (mut seen, mut before): (Vec<(u64, ChatId)>, _) = (Vec::new(), None);
        loop {
            let frame = self.answer(Body::ChatsRequest { user: user(of), client_request: 3, before, limit: 4 });
            let frame = FrameRef::verify_from_server(&frame).expect("a frame");
            let page = frame.root().body_as_chats().expect("chats");
            let frames: Vec<_> = page.chats().expect("chats").iter().filter_map(|chat| chat.frame()).collect();
            assert!(frames.len() == 4 || !page.has_more());
            for chat in frames {
                let chat = FrameRef::verify_from_server(chat.bytes()).expect("a frame");
                let chat = chat.root().body_as_chat_info().expect("a chat");
                assert!(chat.last_entry().is_some() && chat.member_count() == 2);
                let id = ChatId::from(chat.chat_id().expect("an id"));
                before = Some(SyncCursor { last_ms: chat.last_ms(), chat: id });
                seen.push((chat.last_ms(), id));
            }
            if !page.has_more() {
                return seen;
            }
        }
    }

    fn crash(&mut self) {
        self.world.crash(2);
    }
}

/// A message to a chat.
pub(super) fn message(encoder: &mut Encoder, chat: ChatId, id: &str) -> Bytes {
    encoder.send(&SendFields {
        client_msg_id: id.as_bytes(),
        target: SendTarget::Chat(chat),
        kind: EntryKind::message,
        content_type: 0,
        body: b"hello",
        refers_to: None,
        after_seq: 0,
        retry: true,
    })
}

#[test]
fn a_group_is_made_once_whatever_happens_between() {
    let mut group = Group::new(small(), &[2, 3]);
    assert_eq!(group.pushed(1), [1, 2, 3]);
    assert_eq!(group.make(&[2, 3]), Ok(1), "the same answer");
    group.crash();
    assert_eq!(group.make(&[2, 3]), Ok(1), "after a crash too");
    assert_eq!(group.info(3), (vec![(1, true), (2, false), (3, false)], "Hiking".to_owned()));
    let other = ChatId::group(user(2), b"make");
    group.chat = other;
    let mine = users(&[9]);
    let stolen = group.say(9, |encoder| {
        encoder.change(&ChangeFields {
            client_msg_id: b"make",
            chat: None,
            kind: EntryKind::created,
            name: b"x",
            users: &mine,
            role: Role::member,
            retry: false,
        })
    });
    assert_eq!(stolen, Err(ErrorCode::InvalidField), "an id is its creator's");
}

#[test]
fn members_see_what_their_memberships_cover_before_and_after_a_crash_and_a_flush() {
    let mut group = Group::new(small(), &[2, 3]);
    assert_eq!(group.write(2), Ok(2));
    assert_eq!(group.change(1, EntryKind::removed, &[2]), Ok(3));
    assert_eq!(group.pushed(3), [1, 2, 3], "whoever is removed hears of it");
    assert_eq!(group.write(1), Ok(4));
    assert_eq!(group.pushed(4), [1, 3]);
    assert_eq!(group.write(2), Err(ErrorCode::NotAMember));
    assert_eq!(group.change(1, EntryKind::added, &[2, 4]), Ok(5));
    assert_eq!(group.pushed(5), [1, 2, 3, 4]);
    assert_eq!(group.change(2, EntryKind::left, &[]), Ok(6));
    assert_eq!(group.write(4), Ok(7));
    for round in 0..4 {
        assert_eq!(group.page(1), Ok(((1..=7).collect(), 7)), "round {round}");
        assert_eq!(group.page(2), Ok((vec![1, 2, 3, 5, 6], 6)), "round {round}");
        assert_eq!(group.page(4), Ok((vec![5, 6, 7], 7)), "round {round}");
        assert_eq!(group.page(5), Err(ErrorCode::NotAMember));
        match round {
            0 => group.crash(),
            1 => (0..8).for_each(|_| {
                group.world.advance(2_000);
                group.world.settle();
            }),
            _ => group.crash(),
        }
    }
    assert_eq!(group.change(3, EntryKind::renamed, &[]), Err(ErrorCode::NotAnAdmin));
    assert_eq!(group.change(1, EntryKind::role, &[3]), Ok(8));
    assert_eq!(group.change(3, EntryKind::renamed, &[]), Ok(9));
    assert_eq!(group.info(4), (vec![(1, true), (3, true), (4, false)], "Climbing".to_owned()));
    assert_eq!(group.info(2).0, [], "who has left is not told who is in it now");
}

#[test]
fn whoever_has_left_gets_the_answers_of_before() {
    let mut group = Group::new(small(), &[2]);
    let chat = group.chat;
    assert_eq!(group.say(2, |encoder| message(encoder, chat, "mine")), Ok(2));
    assert_eq!(group.change_as("bye", 2, EntryKind::left, &[]), Ok(3));
    for _ in 0..2 {
        assert_eq!(group.say(2, |encoder| message(encoder, chat, "mine")), Ok(2));
        assert_eq!(group.change_as("bye", 2, EntryKind::left, &[]), Ok(3));
        assert_eq!(group.say(2, |encoder| message(encoder, chat, "other")), Err(ErrorCode::NotAMember));
        group.crash();
    }
}

#[test]
fn changes_on_their_way_count_for_what_follows_and_a_failed_write_forgets_them() {
    let mut group = Group::new(small(), &[2]);
    let chat = group.chat;
    group.world.out.gateway.clear();
    let out = users(&[2]);
    group.world.say_in(user(1), chat, |encoder| {
        encoder.change(&ChangeFields {
            client_msg_id: b"out",
            chat: Some(chat),
            kind: EntryKind::removed,
            name: b"",
            users: &out,
            role: Role::member,
            retry: false,
        })
    });
    group.world.say_in(user(2), chat, |encoder| message(encoder, chat, "late"));
    group.world.settle();
    let refused = |(_, envelope): &(Address, schema::envelope::Envelope)| {
        matches!(envelope.body, Body::Refused { code: ErrorCode::NotAMember, .. })
    };
    assert!(group.world.out.gateway.iter().any(refused), "removed before its message was ordered");
    // In one block: a group that never became durable leaves nothing.
    let well = group.world.disk.faults();
    group.world.disk.set_faults(DiskFaults { fail_one_in: 1, ..well });
    assert_eq!(group.change(1, EntryKind::added, &[2, 5]), Err(ErrorCode::StorageUnavailable));
    group.world.disk.set_faults(well);
    group.world.advance(3_000);
    group.world.settle();
    assert_eq!(group.info(1).0, [(1, true)]);
    assert_eq!(group.change_as("c1", 1, EntryKind::added, &[2, 5]), Ok(3));
    assert_eq!(group.info(5).0, [(1, true), (2, false), (5, false)]);
}

#[test]
fn a_large_group_is_pushed_to_in_steps_each_member_once_and_in_order() {
    let config = PartitionConfig { fanout_members: 10, fanout_step: 7, ..small() };
    let members: Vec<u64> = (2..=40).collect();
    let mut group = Group::new(config, &members);
    for _ in 0..5 {
        group.write(3).expect("taken");
    }
    for seq in 1..=6 {
        assert_eq!(group.pushed(seq), (1..=40).collect::<Vec<_>>(), "seq {seq}");
    }
    let seqs: Vec<u64> = group
        .world
        .out
        .router
        .iter()
        .filter_map(|(_, envelope)| match &envelope.body {
            Body::Push { seq, .. } => Some(*seq),
            _ => None,
        })
        .collect();
    assert!(seqs.is_sorted(), "{seqs:?}");
    assert!(seqs.len() >= 6 * 6, "in steps");
}

#[test]
fn those_who_keep_up_with_a_large_group_get_its_entries_first() {
    let config = PartitionConfig { fanout_members: 10, fanout_step: 7, ..small() };
    let members: Vec<u64> = (2..=40).collect();
    let mut group = Group::new(config, &members);
    let (chat, device, status) = (group.chat, DeviceId(1), MarkStatus::delivered);
    for who in 21..=34 {
        let mark = Body::Mark { secret: false, chat, user: user(who), device, seq: 1, message: None, status };
        group.world.chat(chat, ASKER, mark);
    }
    group.world.settle();
    group.world.advance(20_000);
    group.world.out.router.clear();
    group.write(1).expect("taken");
    let mut told: Vec<Vec<u64>> = Vec::new();
    for (_, envelope) in &group.world.out.router {
        if let Body::Push { recipients, .. } = &envelope.body {
            told.push(recipients.iter().map(|recipient| recipient.user.get()).collect());
        }
    }
    let told = told.concat();
    assert_eq!(told.len(), 40);
    assert_eq!(told[..15], [&[1][..], &(21..=34).collect::<Vec<u64>>()].concat(), "the sender has it too");
    // Somebody joins while a push is on its way: those who were there get it once all the same.
    group.world.out.router.clear();
    let (id, joins) = ("later", users(&[1_000, 5_000]));
    group.world.say_in(user(1), chat, |encoder| message(encoder, chat, id));
    group.world.say_in(user(1), chat, |encoder| {
        encoder.change(&ChangeFields {
            client_msg_id: b"joins",
            chat: Some(chat),
            kind: EntryKind::added,
            name: b"",
            users: &joins,
            role: Role::member,
            retry: false,
        })
    });
    group.world.settle();
    assert_eq!(group.pushed(3), (1..=40).collect::<Vec<_>>());
    let all: Vec<u64> = (1..=40).chain([1_000, 5_000]).collect();
    assert_eq!(group.pushed(4), all);
}

#[test]
fn receipts_go_to_who_wrote_and_status_counts_the_others() {
    let mut group = Group::new(small(), &[2, 3, 4]);
    assert_eq!(group.write(2), Ok(2));
    assert_eq!(group.write(3), Ok(3));
    let message = group.world.partitions.iter_mut().find_map(|partition| {
        let index = partition.memory.chats.find(group.chat)?;
        partition.memory.message_at(index, 2)
    });
    let message: MessageId = message.expect("in memory");
    group.world.out.router.clear();
    let (delivered, read) = (MarkStatus::delivered, MarkStatus::read);
    for (who, seq, status) in [(1, 3, read), (3, 2, delivered), (4, 1, delivered), (4, 2, delivered)] {
        let (chat, device) = (group.chat, DeviceId(1));
        group.world.chat(
            chat,
            ASKER,
            Body::Mark { secret: false, chat, user: user(who), device, seq, message: None, status },
        );
        group.world.settle();
    }
    let mut told: Vec<(u64, u64)> = Vec::new();
    for (_, envelope) in &group.world.out.router {
        let Body::Notify { frame, users } = &envelope.body else { continue };
        let frame = FrameRef::verify(frame).expect("a frame");
        let receipt = frame.root().body_as_receipt().expect("a receipt");
        told.extend(users.iter().map(|user| (user.get(), receipt.user_id())));
    }
    told.sort_unstable();
    assert_eq!(
        told,
        [(1, 1), (1, 3), (1, 4), (2, 1), (2, 3), (2, 4), (3, 1)],
        "senders, the creator among them, of what a mark adds; and who has read"
    );
    let ask = Body::StatusRequest { blind: false, chat: group.chat, user: user(2), client_request: 1, message };
    let frame = group.answer(ask);
    let frame = FrameRef::verify(&frame).expect("a frame");
    let status = frame.root().body_as_message_status().expect("a status");
    assert_eq!((status.seq(), status.total(), status.delivered(), status.read()), (2, 3, 2, 1));
}

#[test]
fn a_users_chats_come_newest_first_and_a_page_at_a_time() {
    let mut group = Group::new(small(), &[2]);
    for peer in 10..20 {
        group.world.send(ASKER, user(peer), user(2), "hi", false);
        group.world.settle();
    }
    assert_eq!(group.write(1), Ok(2));
    let told = group.chats_of(2);
    assert_eq!((told.len(), told[0].1), (11, group.chat), "written to last");
    assert!(told.is_sorted_by(|one, other| one.0 > other.0));
    for _ in 0..8 {
        group.world.advance(2_000);
        group.world.settle();
    }
    group.crash();
    assert_eq!(group.chats_of(2), told, "and the same from the store");
}
