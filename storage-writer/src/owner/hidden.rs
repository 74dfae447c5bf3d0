//! What a user has hidden is no chat's last entry for them.

use bytes::Bytes;
use schema::encode::{ChatInfoFields, Encoder, MemberFields};
use schema::frame::FrameRef;
use schema::ids::{MessageId, UserId};
use schema::wire::{ChatInfo, Entry, EntryKind, Member};

/// A ChatInfo frame without its last entry, where that is one of `hidden` or amends one; `None`: it stays as it is.
pub(super) fn without_hidden(encoder: &mut Encoder, frame: &[u8], hidden: &[MessageId]) -> Option<Bytes> {
    let info = FrameRef::verify_from_server(frame).ok()?.root().body_as_chat_info()?;
    let last = FrameRef::verify(info.last_entry()?.bytes()).ok()?.root().body_as_entry()?;
    if !hides(hidden, &last) {
        return None;
    }
    blank(encoder, &info)
}

fn hides(hidden: &[MessageId], entry: &Entry<'_>) -> bool {
    let amends = matches!(entry.kind(), EntryKind::edited | EntryKind::deleted | EntryKind::reacted);
    let about = entry.refers_to().filter(|_| amends);
    let mut ids = entry.message_id().into_iter().chain(about).map(MessageId::from);
    ids.any(|id| hidden.contains(&id))
}

fn blank(encoder: &mut Encoder, info: &ChatInfo<'_>) -> Option<Bytes> {
    let member = |m: &Member| {
        let user = UserId::new(m.user_id())?;
        Some(MemberFields { user, delivered_seq: m.delivered_seq(), read_seq: m.read_seq(), role: m.role() })
    };
    let members: Vec<MemberFields> = info.members().into_iter().flatten().filter_map(member).collect();
    let fields = ChatInfoFields {
        request_id: info.request_id(),
        chat: info.chat_id()?.into(),
        kind: info.kind(),
        name: info.name().map_or(&[][..], |name| name.bytes()),
        created_by: info.created_by(),
        members: &members,
        member_count: info.member_count(),
        next_user: info.next_user(),
        head_seq: info.head_seq(),
        last_ms: info.last_ms(),
        read_seq: info.read_seq(),
        unread: info.unread(),
        present: info.present(),
        last_entry: None,
    };
    Some(encoder.chat_info(&fields))
}

#[cfg(test)]
mod tests {
    use schema::encode::EntryFields;
    use schema::ids::{ChatId, DeviceId};
    use schema::wire::{ChatKind, Role};

    use super::*;

    const ONE: MessageId = MessageId([1; 16]);
    const OTHER: MessageId = MessageId([2; 16]);

    fn entry(encoder: &mut Encoder, message: MessageId, kind: EntryKind, refers_to: Option<MessageId>) -> Bytes {
        encoder.entry(&EntryFields {
            chat: ChatId([5; 16]),
            message,
            seq: 4,
            sender: UserId::new(9).unwrap(),
            device: DeviceId(1),
            kind,
            content_type: 0,
            body: b"secret",
            client_msg_id: b"c",
            refers_to,
            after_seq: 0,
            timestamp_ms: 1,
        })
    }

    fn info(last_entry: Option<&[u8]>) -> Bytes {
        let user = UserId::new(7).unwrap();
        let members = [MemberFields { user, delivered_seq: 4, read_seq: 3, role: Role::admin }];
        Encoder::new().chat_info(&ChatInfoFields {
            request_id: 0,
            chat: ChatId([5; 16]),
            kind: ChatKind::group,
            name: b"Hiking",
            created_by: 7,
            members: &members,
            member_count: 3,
            next_user: 0,
            head_seq: 4,
            last_ms: 6,
            read_seq: 3,
            unread: 1,
            present: true,
            last_entry,
        })
    }

    #[test]
    fn only_a_hidden_last_entry_is_left_out_and_nothing_else() {
        let mut encoder = Encoder::new();
        for (message, kind, refers_to, hides) in [
            (ONE, EntryKind::message, None, true),
            (OTHER, EntryKind::message, None, false),
            (OTHER, EntryKind::message, Some(ONE), false),
            (OTHER, EntryKind::edited, Some(ONE), true),
            (OTHER, EntryKind::reacted, Some(ONE), true),
        ] {
            let last = entry(&mut encoder, message, kind, refers_to);
            let shown = without_hidden(&mut encoder, &info(Some(&last)), &[ONE]);
            assert_eq!(shown, hides.then(|| info(None)), "{kind:?} {refers_to:?}");
        }
        assert_eq!(without_hidden(&mut encoder, &info(None), &[ONE]), None);
    }
}
