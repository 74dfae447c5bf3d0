//! Every envelope comes back as it went; hostile bytes are errors.

use proptest::prelude::*;
use smallvec::SmallVec;

use super::*;
use crate::encode::{Encoder, SendFields, SendTarget};
use crate::envelope::{ListedChat, MoveStage, Settled};
use crate::errors::TABLE;
use crate::places::Places;
use crate::wire::EntryKind;

fn id16() -> impl Strategy<Value = [u8; 16]> {
    any::<[u8; 16]>()
}

fn a_user() -> impl Strategy<Value = UserId> {
    (1..=u64::MAX).prop_map(|id| UserId::new(id).unwrap())
}

fn an_address() -> impl Strategy<Value = Address> {
    any::<(u64, u16, u32, u32)>().prop_map(|(incarnation, shard, connection, generation)| Address {
        incarnation,
        shard,
        connection,
        generation,
    })
}

fn a_header() -> impl Strategy<Value = Header> {
    let classes = [Class::Send, Class::Ack, Class::Control, Class::Live, Class::Sync, Class::Ephemeral];
    let numbers = any::<(u64, u64, u64, u128, u8, bool)>();
    (numbers, an_address(), any::<[u64; 5]>(), 0..crate::ids::SLOT_COUNT, prop::sample::select(classes.to_vec()))
        .prop_map(
            |((slot_epoch, request_id, deadline_ns, trace_id, version, passed_on), reply, stages, slot, class)| {
                let [accepted, ordered, committed, routed, written] = stages;
                let stages = Stages { accepted, ordered, committed, routed, written };
                let slot = Slot::new(slot).unwrap();
                let trace = Trace { id: trace_id, stages };
                let trace = (trace != Trace::default()).then(|| Box::new(trace));
                Header { version, class, slot, slot_epoch, reply, request_id, deadline_ns, passed_on, trace }
            },
        )
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn recipients() -> impl Strategy<Value = Recipients> {
    let positions = prop::collection::vec(any::<(u32, u64)>(), 0..4);
    prop::collection::vec(positions, 0..5).prop_map(|users| {
        let mut all = Recipients::new();
        for (user, positions) in (1..).filter_map(UserId::new).zip(users) {
            let one = |(device, acked_seq)| Recipient { user, device: Some(DeviceId(device)), acked_seq };
            let none = positions.is_empty().then_some(Recipient { user, device: None, acked_seq: 0 });
            all.extend(positions.into_iter().map(one).chain(none));
        }
        all
    })
}

fn targets() -> impl Strategy<Value = SmallVec<[Target; 2]>> {
    let target = any::<(u32, u32, u64)>().prop_map(|(connection, generation, acked_seq)| Target {
        connection,
        generation,
        acked_seq,
    });
    prop::collection::vec(target, 0..5).prop_map(SmallVec::from)
}

fn chats() -> impl Strategy<Value = Vec<ChangedChat>> {
    let chat = (id16(), any::<[u64; 3]>()).prop_map(|(chat, [head_seq, acked_seq, last_ms])| ChangedChat {
        chat: ChatId(chat),
        head_seq,
        acked_seq,
        last_ms,
        ticked: head_seq % 2 == 0,
    });
    prop::collection::vec(chat, 0..5)
}

fn cursor() -> impl Strategy<Value = Option<SyncCursor>> {
    prop::option::of((any::<u64>(), id16()).prop_map(|(last_ms, chat)| SyncCursor { last_ms, chat: ChatId(chat) }))
}

fn a_send() -> impl Strategy<Value = Body> {
    let body = (prop::collection::vec(any::<u8>(), 1..65), prop::collection::vec(any::<u8>(), 0..300));
    (a_user(), any::<u32>(), id16(), prop::option::of(a_user()), any::<bool>(), body).prop_map(
        |(user, device, chat, to, retry, (client_msg_id, body))| {
            let frame = Encoder::new().send(&SendFields {
                client_msg_id: &client_msg_id,
                target: SendTarget::Chat(ChatId(chat)),
                kind: EntryKind::message,
                content_type: 0,
                body: &body,
                refers_to: None,
                after_seq: 3,
                retry,
            });
            let frame = VerifiedFrame::verify(frame).unwrap();
            Body::Send { frame, user, device: DeviceId(device), chat: ChatId(chat), to, retry }
        },
    )
}

fn a_body() -> impl Strategy<Value = Body> {
    let numbers = any::<(u64, u64, u64, u32, u32)>;
    prop_oneof![
        a_send(),
        id16().prop_map(|chat| Body::ForgetRefusals { chat: ChatId(chat) }),
        (id16(), a_user(), numbers(), prop::option::of(id16()), 0u8..2).prop_map(|(chat, user, n, message, status)| {
            let (chat, message) = (ChatId(chat), message.map(MessageId));
            Body::Mark {
                chat,
                user,
                device: DeviceId(n.3),
                seq: n.0,
                message,
                status: MarkStatus(status),
                secret: n.1 % 2 == 0,
            }
        }),
        (a_user(), any::<(u32, u64)>(), cursor()).prop_map(|(user, (device, since_ms), before)| Body::SyncRequest {
            user,
            device: DeviceId(device),
            before,
            since_ms
        }),
        (a_user(), any::<(u32, u64, u16)>(), cursor()).prop_map(|(user, (device, since_ms, partition), before)| {
            Body::SyncProbe { user, device: DeviceId(device), before, since_ms, partition }
        }),
        (chats(), any::<(bool, u16)>()).prop_map(|(chats, (more, partition))| Body::SyncPart {
            chats,
            more,
            partition
        }),
        (chats(), cursor(), any::<bool>(), prop::collection::vec(any::<(u32, u64)>(), 0..4)).prop_map(
            |(chats, next, read_receipts_off, revoked)| {
                let revoked = revoked.into_iter().map(|(device, at_ms)| (DeviceId(device), at_ms)).collect();
                Body::SyncPage { chats, next, account: AccountFacts { read_receipts_off, revoked } }
            }
        ),
        (id16(), a_user(), numbers()).prop_map(|(chat, user, n)| Body::PageRequest {
            chat: ChatId(chat),
            user,
            after_seq: n.0,
            before_seq: n.1,
            newest: n.2 % 2 == 0,
            limit_entries: n.3,
            limit_bytes: n.4,
            ticks: n.4 % 2 == 0,
            blind: n.3 % 2 == 0,
        }),
        (bytes(65), id16(), id16(), numbers()).prop_map(|(client_msg_id, chat, message, n)| Body::Sent {
            client_msg_id,
            chat: ChatId(chat),
            message: MessageId(message),
            seq: n.0,
            timestamp_ms: n.1
        }),
        (bytes(65), id16(), 0..TABLE.len(), any::<u32>()).prop_map(|(client_msg_id, chat, row, retry_after_ms)| {
            Body::Refused { client_msg_id, chat: ChatId(chat), code: TABLE[row].code, retry_after_ms }
        }),
        (bytes(65), id16()).prop_map(|(client_msg_id, chat)| Body::Queued { client_msg_id, chat: ChatId(chat) }),
        (bytes(65), id16(), id16(), numbers(), prop::option::of(0..TABLE.len())).prop_map(
            |(client_msg_id, chat, message, n, refused)| {
                let stored = Settled { message: MessageId(message), seq: n.0, timestamp_ms: n.1 };
                let outcome = refused.map_or(Ok(stored), |row| Err(TABLE[row].code));
                Body::Settled { client_msg_id, chat: ChatId(chat), outcome }
            }
        ),
        (id16(), numbers(), prop::collection::vec((any::<u64>(), bytes(99)), 0..5), prop::option::of(bytes(99)))
            .prop_map(|(chat, n, entries, ticks)| {
                Body::Page { chat: ChatId(chat), covers_first: n.0, covers_last: n.1, head_seq: n.2, entries, ticks }
            }),
        (id16(), any::<u64>(), bytes(300), recipients()).prop_map(|(chat, seq, frame, recipients)| Body::Push {
            chat: ChatId(chat),
            seq,
            frame,
            recipients
        }),
        (bytes(99), prop::collection::vec(a_user(), 0..5))
            .prop_map(|(frame, users)| Body::Notify { frame, users: users.into() }),
        (id16(), any::<u64>(), recipients()).prop_map(|(chat, head_seq, recipients)| Body::Nudge {
            chat: ChatId(chat),
            head_seq,
            recipients
        }),
        (a_user(), any::<(u32, u64, bool)>()).prop_map(|(user, (device, epoch, register))| match register {
            true => Body::Register { user, device: DeviceId(device), epoch },
            false => Body::Unregister { user, device: DeviceId(device), epoch },
        }),
        any::<(u64, bool)>().prop_map(|(epoch, registered)| match registered {
            true => Body::Registered { epoch },
            false => Body::Superseded { epoch },
        }),
        (id16(), any::<u64>(), bytes(99), targets()).prop_map(|(chat, seq, frame, targets)| Body::Deliver {
            chat: ChatId(chat),
            seq,
            frame,
            targets
        }),
        (bytes(99), prop::collection::vec(any::<(u32, u32)>(), 0..5))
            .prop_map(|(frame, targets)| Body::DeliverNotice { frame, targets: targets.into() }),
        (id16(), any::<u64>(), targets()).prop_map(|(chat, head_seq, targets)| Body::DeliverNudge {
            chat: ChatId(chat),
            head_seq,
            targets
        }),
        (id16(), a_user(), numbers()).prop_map(|(chat, user, n)| Body::ChatRequest {
            chat: ChatId(chat),
            user,
            client_request: n.0,
            after_user: n.1,
            limit: n.3,
            blind: n.4 % 2 == 0,
        }),
        (a_user(), any::<u64>(), prop::option::of(id16())).prop_map(|(user, client_request, chat)| {
            Body::AccountRequest { user, client_request, chat: chat.map(ChatId) }
        }),
        (id16(), a_user(), any::<u64>(), id16(), any::<bool>()).prop_map(
            |(chat, user, client_request, message, blind)| {
                Body::StatusRequest { chat: ChatId(chat), user, client_request, message: MessageId(message), blind }
            }
        ),
        (a_user(), numbers(), cursor()).prop_map(|(user, n, before)| Body::ChatsRequest {
            user,
            client_request: n.0,
            before,
            limit: n.3
        }),
        (a_user(), any::<(u32, u16, bool)>(), cursor()).prop_map(|(user, (limit, partition, blind), before)| {
            Body::ChatsProbe { user, before, limit, partition, blind }
        }),
        (prop::collection::vec((any::<u64>(), id16(), bytes(99)), 0..5), any::<(bool, u16)>()).prop_map(
            |(chats, (more, partition))| {
                let listed =
                    |(last_ms, chat, frame)| ListedChat { at: SyncCursor { last_ms, chat: ChatId(chat) }, frame };
                Body::ChatsPart { chats: chats.into_iter().map(listed).collect(), more, partition }
            }
        ),
        bytes(300).prop_map(|frame| Body::Answer { frame }),
        (
            "[a-z0-9-]{0,20}",
            1..=u16::MAX,
            prop::collection::vec(any::<(u16, u64, bool)>(), 0..5),
            (any::<u64>(), prop::collection::vec((id16(), any::<u16>()), 0..5)),
        )
            .prop_map(|(node, partitions, holdings, (version, away))| {
                let of = |(partition, epoch, held)| Holding { partition, epoch, held };
                let away = away.into_iter().map(|(chat, partition)| (ChatId(chat), partition % partitions)).collect();
                let holdings = holdings.into_iter().map(of).collect();
                Body::Owners { node, partitions, holdings, places: Places::new(version, away) }
            }),
        ("[a-z0-9-]{0,20}", any::<(u16, u64)>(), 0usize..3).prop_map(|(node, (partition, epoch), stage)| {
            let stage = [MoveStage::ReadAhead, MoveStage::Read, MoveStage::Yours][stage];
            Body::Move { node, partition, epoch, stage }
        }),
        Just(Body::Gap(GapScope::All)),
        prop::collection::vec(a_user(), 0..5).prop_map(|users| Body::Gap(GapScope::Users(users))),
        prop::collection::vec(any::<(u32, u32)>(), 0..5).prop_map(|list| Body::Gap(GapScope::Sessions(list))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn an_envelope_comes_back_as_it_went(header in a_header(), body in a_body()) {
        let envelope = Envelope { header, body };
        prop_assert_eq!(decode(&encode(&envelope)).unwrap(), envelope);
    }

    #[test]
    fn a_writer_that_has_written_others_writes_the_same(bodies in prop::collection::vec(a_body(), 1..4)) {
        let (mut writer, mut out, mut alone) = (EnvelopeWriter::default(), Vec::new(), Vec::new());
        for body in bodies {
            let envelope = Envelope::new(Class::Control, body);
            writer.write(&envelope, &mut out);
            alone.extend_from_slice(&encode(&envelope));
        }
        prop_assert_eq!(out, alone);
    }

    #[test]
    fn truncated_and_altered_envelopes_never_panic(body in a_body(), cut in any::<prop::sample::Index>(), bit in 0u8..8) {
        let whole = encode(&Envelope::new(Class::Send, body));
        let at = cut.index(whole.len());
        let _ = decode(&whole.slice(..at));
        let mut altered = whole.to_vec();
        altered[at] ^= 1 << bit;
        let _ = decode(&Bytes::from(altered));
    }

    #[test]
    fn arbitrary_bytes_are_an_error(mut noise in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(decode(&Bytes::from(noise.clone())).is_err());
        if noise.len() >= 12 {
            noise[8..12].copy_from_slice(FILE_IDENTIFIER.as_bytes());
            let _ = decode(&Bytes::from(noise));
        }
    }
}

#[test]
fn the_header_has_a_fixed_size() {
    assert_eq!(size_of::<link::Header>(), 112);
}
