//! Every field comes back as it went; amendments change what they name and nothing else.

use proptest::prelude::*;

use super::*;
use crate::frame::VerifiedFrame;
use crate::wire::EntryKind;

/// Chat, message, what it refers to, what it is about.
type Ids = ([u8; 16], [u8; 16], Option<[u8; 16]>, Option<[u8; 16]>);

/// An entry's fields and extras, owned.
#[derive(Clone, Debug)]
struct Given {
    ids: Ids,
    numbers: [u64; 10],
    device: (u32, u32),
    small: (u8, u8, bool, u32, u8),
    body: Vec<u8>,
    client_msg_id: Vec<u8>,
    key: Vec<u8>,
    users: Vec<UserId>,
}

impl Given {
    fn fields(&self) -> EntryFields<'_> {
        let [seq, sender, after_seq, timestamp_ms, ..] = self.numbers;
        EntryFields {
            chat: ChatId(self.ids.0),
            message: MessageId(self.ids.1),
            seq,
            sender: UserId::new(sender.max(1)).unwrap(),
            device: DeviceId(self.device.0),
            kind: EntryKind(self.small.0),
            content_type: self.small.1,
            body: &self.body,
            client_msg_id: &self.client_msg_id,
            refers_to: self.ids.2.map(MessageId),
            after_seq,
            timestamp_ms,
        }
    }

    fn extras(&self) -> Extras<'_> {
        let [.., refers_seq, replaces_seq, edited_seq, edited_ms, deleted_ms, _] = self.numbers;
        Extras {
            users: &self.users,
            role: if self.small.2 { Role::admin } else { Role::member },
            ttl_s: self.small.3,
            forwarded: self.small.4,
            subject: self.ids.3.map(ChatId),
            key: &self.key,
            device: DeviceId(self.device.1),
            refers_seq,
            replaces_seq,
            edited_seq,
            edited_ms,
            deleted_ms,
        }
    }
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..100u64, any::<u64>()]
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

fn users() -> impl Strategy<Value = Vec<UserId>> {
    prop::collection::vec((1..=u64::MAX).prop_map(|user| UserId::new(user).unwrap()), 0..5)
}

prop_compose! {
    fn given()(
        ids in any::<Ids>(),
        numbers in prop::array::uniform10(number()),
        device in any::<(u32, u32)>(),
        small in any::<(u8, u8, bool, u32, u8)>(),
        (body, client_msg_id, key, users) in (bytes(70), bytes(65), bytes(20), users()),
    ) -> Given {
        Given { ids, numbers, device, small, body, client_msg_id, key, users }
    }
}

/// All that a frame says.
fn said(frame: &[u8]) -> String {
    format!("{:?}", FrameRef::verify(frame).expect("what the encoder wrote is a frame").root())
}

fn users_of(users: Option<Vector<'_, u64>>) -> Vec<UserId> {
    users.into_iter().flatten().filter_map(UserId::new).collect()
}

/// An edit with these parts, applied.
fn edited(frame: &[u8], (by_seq, at_ms, content_type): (u64, u64, u8), body: &[u8], users: &[UserId]) -> Bytes {
    let mut encoder = Encoder::in_arena();
    // Whom it mentions comes as the vector of the edit's own entry.
    let source = Given {
        ids: ([1; 16], [2; 16], None, None),
        numbers: [1; 10],
        device: (0, 0),
        small: (1, 0, false, 0, 0),
        body: Vec::new(),
        client_msg_id: Vec::new(),
        key: Vec::new(),
        users: users.to_vec(),
    };
    let source = VerifiedFrame::verify(encoder.entry_with(&source.fields(), &source.extras())).unwrap();
    let users = source.root().body_as_entry().unwrap().users();
    encoder.amended(frame, &Amended::Edited { by_seq, at_ms, content_type, body, users }).expect("it is an entry's")
}

fn blanked(frame: &[u8], at_ms: u64) -> Bytes {
    Encoder::new().amended(frame, &Amended::Blanked { at_ms }).expect("it is an entry's")
}

proptest! {
    #[test]
    fn an_entry_says_every_field(given in given()) {
        let (fields, extras) = (given.fields(), given.extras());
        for mut encoder in [Encoder::new(), Encoder::in_arena()] {
            let (bytes, at) = encoder.entry_with_id_and(&fields, &extras);
            prop_assert_eq!(&encoder.entry_with(&fields, &extras), &bytes);
            prop_assert_eq!(&bytes[at..at + given.client_msg_id.len()], &given.client_msg_id[..]);
            let frame = VerifiedFrame::verify(bytes).unwrap();
            let entry = frame.root().body_as_entry().unwrap();
            prop_assert_eq!(format!("{:?}", entry_fields(&entry)), format!("{:?}", Some(fields)));
            prop_assert_eq!(users_of(entry.users()), given.users.clone());
            prop_assert_eq!((entry.role(), entry.ttl_s(), entry.forwarded()), (extras.role, extras.ttl_s, extras.forwarded));
            prop_assert_eq!(entry.subject().map(ChatId::from), extras.subject);
            prop_assert_eq!(entry.key().map_or(&[][..], |key| key.bytes()), extras.key);
            prop_assert_eq!((entry.device(), entry.refers_seq()), (extras.device.0, extras.refers_seq));
            prop_assert_eq!((entry.replaces_seq(), entry.edited_seq()), (extras.replaces_seq, extras.edited_seq));
            prop_assert_eq!((entry.edited_ms(), entry.deleted_ms()), (extras.edited_ms, extras.deleted_ms));
        }
    }

    #[test]
    fn a_send_says_every_field(given in given(), target in 0..3u8, retry in any::<bool>()) {
        let (e, extras) = (given.fields(), given.extras());
        let target = [None, Some(SendTarget::Chat(e.chat)), Some(SendTarget::User(e.sender))][usize::from(target)];
        let fields = SendFields {
            client_msg_id: e.client_msg_id,
            // Not what is sent to: that is the other argument.
            target: SendTarget::User(UserId::new(u64::MAX).unwrap()),
            kind: e.kind,
            content_type: e.content_type,
            body: e.body,
            refers_to: e.refers_to,
            after_seq: e.after_seq,
            retry,
        };
        let frame = VerifiedFrame::verify(Encoder::new().send_with(&fields, target, &extras)).unwrap();
        let send = frame.root().body_as_send().unwrap();
        let (chat, to) = match target {
            None => (None, 0),
            Some(SendTarget::Chat(chat)) => (Some(chat), 0),
            Some(SendTarget::User(user)) => (None, user.get()),
        };
        prop_assert_eq!((send.chat_id().map(ChatId::from), send.to()), (chat, to));
        prop_assert_eq!((send.kind(), send.content_type(), send.retry()), (e.kind, e.content_type, retry));
        prop_assert_eq!(send.body().unwrap().bytes(), e.body);
        prop_assert_eq!(send.client_msg_id().unwrap().bytes(), e.client_msg_id);
        prop_assert_eq!((send.refers_to().map(MessageId::from), send.after_seq()), (e.refers_to, e.after_seq));
        prop_assert_eq!(users_of(send.users()), given.users.clone());
        prop_assert_eq!((send.role(), send.ttl_s(), send.forwarded()), (extras.role, extras.ttl_s, extras.forwarded));
        prop_assert_eq!((send.subject().map(ChatId::from), send.device()), (extras.subject, extras.device.0));
        prop_assert_eq!(send.key().map_or(&[][..], |key| key.bytes()), extras.key);
    }

    #[test]
    fn an_edit_changes_what_it_names_and_nothing_else(
        given in given(), by in any::<(u64, u64, u8)>(), body in bytes(70), mentioned in users(),
    ) {
        let (fields, extras) = (given.fields(), given.extras());
        let before = Encoder::new().entry_with(&fields, &extras);
        let after = edited(&before, by, &body, &mentioned);
        if extras.deleted_ms != 0 || by.0 <= extras.edited_seq {
            prop_assert_eq!(after, before);
        } else {
            let fields = EntryFields { content_type: by.2, body: &body, ..fields };
            let extras = Extras { users: &mentioned, edited_seq: by.0, edited_ms: by.1, ..extras };
            prop_assert_eq!(said(&after), said(&Encoder::new().entry_with(&fields, &extras)));
        }
    }

    #[test]
    fn a_blank_takes_body_and_mentions_and_nothing_else(given in given(), at_ms in 1..=u64::MAX) {
        let (fields, extras) = (given.fields(), given.extras());
        let before = Encoder::new().entry_with(&fields, &extras);
        let after = blanked(&before, at_ms);
        if extras.deleted_ms != 0 {
            prop_assert_eq!(after, before);
        } else {
            let fields = EntryFields { body: &[], ..fields };
            let extras = Extras { users: &[], edited_seq: 0, edited_ms: 0, deleted_ms: at_ms, ..extras };
            prop_assert_eq!(said(&after), said(&Encoder::new().entry_with(&fields, &extras)));
            prop_assert_eq!(blanked(&after, at_ms.wrapping_add(1)), after, "what is blank stays as it is");
        }
    }

    #[test]
    fn edits_in_any_order_leave_the_newest(
        mut given in given(), order in Just((2..7u64).collect::<Vec<_>>()).prop_shuffle(), blank_after in 0..7usize,
    ) {
        (given.numbers[6], given.numbers[8]) = (0, 0);
        let plain = Encoder::new().entry_with(&given.fields(), &given.extras());
        let apply = |order: &[u64]| {
            order.iter().fold(plain.clone(), |frame, &seq| edited(&frame, (seq, seq, 0), &seq.to_le_bytes(), &[]))
        };
        prop_assert_eq!(said(&apply(&order)), said(&apply(&[6])));
        // Deleted at some point, later edits bring nothing back.
        let (first, rest) = order.split_at(blank_after.min(order.len()));
        let gone = blanked(&apply(first), 9);
        let still = rest.iter().fold(gone.clone(), |frame, &seq| edited(&frame, (seq, seq, 0), b"back", &[]));
        prop_assert_eq!(still, gone);
    }
}

#[test]
fn what_is_no_entry_is_not_amended() {
    let mut encoder = Encoder::new();
    let ping = encoder.ping(7);
    let nothing = encoder.amended(&ping, &Amended::Blanked { at_ms: 1 });
    assert!(matches!(nothing, Err(FrameError::Malformed(_))), "{nothing:?}");
    assert!(encoder.amended(&ping[..7], &Amended::Blanked { at_ms: 1 }).is_err());
    // An entry without ids is a frame, but no entry of a log.
    let entry = wire::Entry::create(&mut encoder.fbb, &wire::EntryArgs { seq: 1, sender_id: 7, ..Default::default() });
    let entry = encoder.finish(Body::Entry, entry.as_union_value());
    assert!(matches!(encoder.amended(&entry, &Amended::Blanked { at_ms: 1 }), Err(FrameError::Malformed(_))));
    let whole = Given {
        ids: ([1; 16], [2; 16], None, None),
        numbers: [0; 10],
        device: (0, 0),
        small: (0, 0, false, 0, 0),
        body: b"said".to_vec(),
        client_msg_id: b"m1".to_vec(),
        key: Vec::new(),
        users: Vec::new(),
    };
    let whole = encoder.entry_with(&whole.fields(), &whole.extras());
    assert!(encoder.amended(&whole, &Amended::Blanked { at_ms: 1 }).is_ok(), "the encoder goes on after a refusal");
}

#[test]
fn ticks_and_accounts_say_what_they_were_given() {
    let mut encoder = Encoder::new();
    let user = UserId::new(9).unwrap();
    let member = chats::MemberFields { user, delivered_seq: 14, read_seq: 12, role: Role::admin };
    let frame = VerifiedFrame::verify(encoder.ticks(ChatId([1; 16]), &[member])).unwrap();
    let ticks = frame.root().body_as_ticks().unwrap();
    let members = ticks.members().unwrap();
    assert_eq!((ticks.chat_id().map(ChatId::from), members.len()), (Some(ChatId([1; 16])), 1));
    let first = members.get(0);
    assert_eq!((first.user_id(), first.delivered_seq(), first.read_seq(), first.role()), (9, 14, 12, Role::admin));

    let frame = VerifiedFrame::verify(encoder.account_request(3, Some(ChatId([2; 16])))).unwrap();
    let asked = frame.root().body_as_account_request().unwrap();
    assert_eq!((asked.request_id(), asked.chat_id().map(ChatId::from)), (3, Some(ChatId([2; 16]))));

    let device = DeviceFields { device: DeviceId(2), name: b"phone", named_ms: 5, revoked_ms: 6 };
    let frame = encoder.account(4, &[(b"read_receipts", b"off")], &[device], &[MessageId([3; 16])]);
    let frame = VerifiedFrame::verify(frame).unwrap();
    let account = frame.root().body_as_account().unwrap();
    let setting = account.settings().unwrap().get(0);
    assert_eq!(
        (setting.key().unwrap().bytes(), setting.value().unwrap().bytes()),
        (&b"read_receipts"[..], &b"off"[..])
    );
    let told = account.devices().unwrap().get(0);
    assert_eq!((told.device(), told.name().unwrap().bytes()), (2, &b"phone"[..]));
    assert_eq!((told.named_ms(), told.revoked_ms(), account.request_id()), (5, 6, 4));
    assert_eq!(account.hidden().unwrap().iter().map(MessageId::from).collect::<Vec<_>>(), [MessageId([3; 16])]);

    let me = (UserId::new(7).unwrap(), DeviceId(2), 3);
    for (me, said) in [(None, (0, 0, 0)), (Some(me), (7, 2, 3))] {
        let frame = VerifiedFrame::verify(encoder.hello_again(b"t", b"a", 1, 8, me)).unwrap();
        let hello = frame.root().body_as_hello().unwrap();
        assert_eq!((hello.synced_ms(), (hello.user_id(), hello.device_id(), hello.marks())), (8, said));
    }
}
