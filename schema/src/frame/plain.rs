//! A quick look at the frames that clients send most: whether they are certainly valid.
//!
//! The verifier walks any schema's tables; a send, mark or ping is one table of numbers, ids and byte vectors, whose
//! places can be checked in a fraction of its time. What must stay true: a `true` here is a `true` there, which the tests
//! try to break; on anything unusual the answer is `false`, and the verifier decides.

use flatbuffers::VOffsetT;

use super::{MIN_FRAME_BYTES, PREFIX_BYTES};
use crate::wire::{Body, Entry, EntryKind, Frame, Mark, Ping, Send};

/// What a field holds in its table.
#[derive(Clone, Copy)]
enum Shape {
    /// A number of so many bytes, aligned to them.
    Number(usize),
    /// An id's 16 bytes, anywhere.
    Id,
    /// The way to a byte vector.
    Bytes,
}

impl Shape {
    /// Size and alignment in the table.
    const fn room(self) -> (usize, usize) {
        match self {
            Self::Number(bytes) => (bytes, bytes),
            Self::Id => (16, 1),
            Self::Bytes => (4, 4),
        }
    }
}

use Shape::{Bytes, Id, Number};

/// Every field of the table, in the order of its vtable: a field that is not listed would not be checked.
type Fields = &'static [(VOffsetT, Shape)];

const SEND: Fields = &[
    (Send::VT_CLIENT_MSG_ID, Bytes),
    (Send::VT_CHAT_ID, Id),
    (Send::VT_TO, Number(8)),
    (Send::VT_KIND, Number(1)),
    (Send::VT_CONTENT_TYPE, Number(1)),
    (Send::VT_BODY, Bytes),
    (Send::VT_REFERS_TO, Id),
    (Send::VT_AFTER_SEQ, Number(8)),
    (Send::VT_RETRY, Number(1)),
];
const MARK: Fields =
    &[(Mark::VT_CHAT_ID, Id), (Mark::VT_MESSAGE_ID, Id), (Mark::VT_SEQ, Number(8)), (Mark::VT_STATUS, Number(1))];
const PING: Fields = &[(Ping::VT_NONCE, Number(8))];

/// A table whose vtable and fixed part lie inside the frame.
struct Table<'a> {
    frame: &'a [u8],
    at: usize,
    vtable: &'a [u8],
    bytes: usize,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn offset(bytes: &[u8], at: usize) -> Option<usize> {
    at.checked_add(u32::from_le_bytes(number(bytes, at)?) as usize)
}

impl<'a> Table<'a> {
    fn at(frame: &'a [u8], at: usize) -> Option<Self> {
        if !at.is_multiple_of(4) {
            return None;
        }
        let back = i32::from_le_bytes(number(frame, at)?);
        let vtable = usize::try_from(i64::try_from(at).ok()? - i64::from(back)).ok()?;
        let vtable_bytes = usize::from(u16::from_le_bytes(number(frame, vtable)?));
        let bytes = usize::from(u16::from_le_bytes(number(frame, vtable + 2)?));
        let fits = vtable.is_multiple_of(2) && vtable_bytes >= 4 && vtable_bytes.is_multiple_of(2);
        if !fits || bytes < 4 || at + bytes > frame.len() {
            return None;
        }
        Some(Self { frame, at, vtable: frame.get(vtable..vtable + vtable_bytes)?, bytes })
    }

    /// Where a field is; `Some(None)` where it is left out, `None` where it cannot be.
    fn field(&self, entry: VOffsetT, (bytes, align): (usize, usize)) -> Option<Option<usize>> {
        let entry = usize::from(entry);
        if entry + 2 > self.vtable.len() {
            return Some(None);
        }
        let from = usize::from(u16::from_le_bytes(number(self.vtable, entry)?));
        if from == 0 {
            return Some(None);
        }
        let at = self.at + from;
        (from >= 4 && from + bytes <= self.bytes && at.is_multiple_of(align)).then_some(Some(at))
    }

    fn holds(&self, fields: Fields) -> Option<()> {
        if self.vtable.len() > 4 + 2 * fields.len() {
            return None; // fields of a newer protocol
        }
        for &(entry, shape) in fields {
            let Some(at) = self.field(entry, shape.room())? else { continue };
            if let Bytes = shape {
                let vector = offset(self.frame, at)?;
                let end = offset(self.frame, vector)?.checked_add(4)?;
                if !vector.is_multiple_of(4) || end > self.frame.len() {
                    return None;
                }
            }
        }
        Some(())
    }
}

/// The kind of an entry's frame, at a glance: `None` when it is no frame of an entry. Nothing else of it is looked at.
pub fn entry_kind(frame: &[u8]) -> Option<EntryKind> {
    let root = Table::at(frame, offset(frame, PREFIX_BYTES)?)?;
    if *frame.get(root.field(Frame::VT_BODY_TYPE, (1, 1))??)? != Body::Entry.0 {
        return None;
    }
    let entry = Table::at(frame, offset(frame, root.field(Frame::VT_BODY, (4, 4))??)?)?;
    match entry.field(Entry::VT_KIND, (1, 1))? {
        Some(at) => frame.get(at).map(|&kind| EntryKind(kind)),
        None => Some(EntryKind::message),
    }
}

/// Whether a frame (of the right length and identifier) is certainly a valid send, mark, ping or pong.
pub(super) fn is_plain(frame: &[u8]) -> bool {
    debug_assert!(frame.len() >= MIN_FRAME_BYTES);
    let look = || {
        let root = Table::at(frame, offset(frame, PREFIX_BYTES)?)?;
        if root.vtable.len() > 8 {
            return None;
        }
        let kind = root.field(Frame::VT_BODY_TYPE, (1, 1))??;
        let body = root.field(Frame::VT_BODY, (4, 4))??;
        let fields = match Body(frame[kind]) {
            Body::Send => SEND,
            Body::Mark => MARK,
            Body::Ping | Body::Pong => PING,
            _ => return None,
        };
        Table::at(frame, offset(frame, body)?)?.holds(fields)
    };
    look().is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{VERIFIER, VerifiedFrame};
    use super::*;
    use crate::encode::{Encoder, SendFields, SendTarget};
    use crate::ids::{ChatId, MessageId, UserId};
    use crate::wire::{self, EntryKind, MarkStatus};

    fn send(direct: bool, refers: bool, retry: bool, body: &[u8]) -> bytes::Bytes {
        let to = UserId::new(7).unwrap();
        Encoder::new().send(&SendFields {
            client_msg_id: b"an id",
            target: if direct { SendTarget::User(to) } else { SendTarget::Chat(ChatId([3; 16])) },
            kind: EntryKind::message,
            content_type: 1,
            body,
            refers_to: refers.then_some(MessageId([9; 16])),
            after_seq: 5,
            retry,
        })
    }

    #[test]
    fn an_entrys_kind_is_read_at_a_glance_and_nothing_is_read_beyond_the_frame() {
        use crate::encode::{EntryFields, Extras};
        use crate::ids::DeviceId;
        let mut encoder = Encoder::new();
        for kind in [EntryKind::message, EntryKind::added, EntryKind::setting, EntryKind::revoked, EntryKind(200)] {
            let fields = EntryFields {
                chat: ChatId([1; 16]),
                message: MessageId([2; 16]),
                seq: 1,
                sender: UserId::new(7).unwrap(),
                device: DeviceId(1),
                kind,
                content_type: 0,
                body: b"body",
                client_msg_id: b"an id",
                refers_to: None,
                after_seq: 0,
                timestamp_ms: 5,
            };
            for frame in [encoder.entry(&fields), encoder.entry_with(&fields, &Extras::default())] {
                assert_eq!(entry_kind(&frame), Some(kind));
                for len in 0..frame.len() {
                    let _ = entry_kind(&frame[..len]);
                }
            }
        }
        assert!(frames().iter().all(|frame| entry_kind(frame).is_none()), "no other frame has one");
    }

    fn frames() -> Vec<bytes::Bytes> {
        let mut encoder = Encoder::new();
        let mut frames: Vec<_> =
            (0..8).map(|n| send(n & 1 == 0, n & 2 == 0, n & 4 == 0, &vec![n; usize::from(n) * 9])).collect();
        frames.push(encoder.mark(ChatId([1; 16]), 8, Some(MessageId([2; 16])), MarkStatus::read));
        frames.push(encoder.mark(ChatId([1; 16]), 0, None, MarkStatus::delivered));
        frames.extend([encoder.ping(7), encoder.pong(0), encoder.hello(b"token", b"agent", 1)]);
        frames
    }

    #[test]
    fn what_clients_send_is_plain_and_the_rest_is_left_to_the_verifier() {
        let frames = frames();
        let (hello, plain) = frames.split_last().unwrap();
        assert!(plain.iter().all(|frame| is_plain(frame)));
        assert!(!is_plain(hello));
    }

    /// What the vtables must list, by what the generated code knows: one entry a field, the last one last.
    #[test]
    fn every_field_is_listed() {
        for (fields, last) in [(SEND, Send::VT_RETRY), (MARK, Mark::VT_STATUS), (PING, Ping::VT_NONCE)] {
            let listed: Vec<VOffsetT> = fields.iter().map(|field| field.0).collect();
            assert_eq!(listed, (4..=last).step_by(2).collect::<Vec<_>>());
        }
        assert_eq!(Ping::VT_NONCE, wire::Pong::VT_NONCE);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_is_plain_is_valid_however_it_was_altered(
            which in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            small in any::<bool>(),
        ) {
            let all = frames();
            let mut bytes = all[which.index(all.len())].to_vec();
            for (at, byte) in changes {
                // Prefix and identifier have been looked at before. Small values are offsets that reach something.
                let at = PREFIX_BYTES + at.index(bytes.len() - 2 * PREFIX_BYTES);
                let at = if at < 8 { at } else { at + PREFIX_BYTES };
                bytes[at] = if small { byte % 64 } else { byte };
            }
            if is_plain(&bytes) {
                prop_assert!(wire::size_prefixed_root_as_frame_with_opts(&VERIFIER, &bytes).is_ok());
                let frame = VerifiedFrame::verify(bytes.into()).unwrap();
                let _ = format!("{:?}", frame.root());
            }
        }
    }
}
