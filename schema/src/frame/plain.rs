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
    vtable_at: usize,
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
        Some(Self { frame, at, vtable_at: vtable, vtable: frame.get(vtable..vtable + vtable_bytes)?, bytes })
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
                holds_vector(self.frame, at)?;
            }
        }
        Some(())
    }
}

/// Whether a byte vector that is found by the offset at `at` lies inside the frame.
fn holds_vector(frame: &[u8], at: usize) -> Option<()> {
    let vector = offset(frame, at)?;
    let end = offset(frame, vector)?.checked_add(4)?;
    (vector.is_multiple_of(4) && end <= frame.len()).then_some(())
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
    look(frame).is_some()
}

/// The root, the body and the body's fields of a plain frame.
fn look(frame: &[u8]) -> Option<(Table<'_>, Table<'_>, Fields)> {
    debug_assert!(frame.len() >= MIN_FRAME_BYTES);
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
    let body = Table::at(frame, offset(frame, body)?)?;
    body.holds(fields)?;
    Some((root, body, fields))
}

/// Longest skeleton that is kept, bytes.
const SKELETON_BYTES: usize = 120;
/// Byte vectors of a plain frame.
const VECTORS: usize = 2;
/// Skeletons kept: of sends and marks, of two clients' libraries.
const SKELETONS: usize = 4;

/// How a plain frame is laid out: all of it that [`look`] looks at, but for the byte vectors. A frame with the same bytes
/// there is plain too if its vectors are inside it.
#[derive(Clone, Copy)]
struct Skeleton {
    /// The frame's, from behind the prefix on.
    bytes: [u8; SKELETON_BYTES],
    len: usize,
    /// Where its body's table ends.
    body_end: usize,
    /// Where the ways to its byte vectors are.
    vectors: [usize; VECTORS],
    vector_count: usize,
}

impl Skeleton {
    /// Of a plain frame. `None`: it is laid out in another way than builders do, or it is no plain frame.
    fn of(frame: &[u8]) -> Option<Self> {
        let (root, body, fields) = look(frame)?;
        // The body's fields are values and ways to vectors; what is before them, prefix aside, says where they are.
        let end = body.at + 4;
        let is_before = |from: usize, bytes: usize| from >= PREFIX_BYTES && from + bytes <= end;
        let all_before = is_before(root.at, root.bytes)
            && is_before(root.vtable_at, root.vtable.len())
            && is_before(body.vtable_at, body.vtable.len());
        let looked_at = frame.get(PREFIX_BYTES..end).filter(|_| all_before)?;
        let mut skeleton = Self {
            bytes: [0; SKELETON_BYTES],
            len: looked_at.len(),
            body_end: body.at + body.bytes,
            vectors: [0; VECTORS],
            vector_count: 0,
        };
        skeleton.bytes.get_mut(..looked_at.len())?.copy_from_slice(looked_at);
        for &(entry, shape) in fields {
            if let (Bytes, Some(at)) = (shape, body.field(entry, shape.room())?) {
                *skeleton.vectors.get_mut(skeleton.vector_count)? = at;
                skeleton.vector_count += 1;
            }
        }
        Some(skeleton)
    }

    fn fits(&self, frame: &[u8]) -> bool {
        frame.len() >= self.body_end
            && frame[PREFIX_BYTES..PREFIX_BYTES + self.len] == self.bytes[..self.len]
            && self.vectors[..self.vector_count].iter().all(|&at| holds_vector(frame, at).is_some())
    }
}

/// Layouts of the plain frames that came last.
#[derive(Clone, Default)]
pub(super) struct Skeletons {
    kept: [Option<Skeleton>; SKELETONS],
    /// The oldest one.
    next: usize,
}

impl Skeletons {
    /// As [`is_plain`], for a frame like one before in a fraction of its time.
    pub(super) fn is_plain(&mut self, frame: &[u8]) -> bool {
        if self.kept.iter().flatten().any(|skeleton| skeleton.fits(frame)) {
            return true;
        }
        let plain = is_plain(frame);
        if let Some(skeleton) = Skeleton::of(frame).filter(|_| plain) {
            self.kept[self.next] = Some(skeleton);
            self.next = (self.next + 1) % SKELETONS;
        }
        plain
    }
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
    fn a_frame_like_one_before_is_known_by_its_layout() {
        let frames = frames();
        let (hello, plain) = frames.split_last().unwrap();
        assert!(Skeleton::of(hello).is_none());
        for frame in plain {
            let skeleton = Skeleton::of(frame).expect("as our builder lays it out");
            assert!(skeleton.fits(frame));
            assert!(plain.iter().filter(|other| skeleton.fits(other)).all(|other| is_plain(other)));
        }
        let (one, other) = (send(true, false, false, b"one"), send(true, false, false, &[7; 4_004]));
        assert!(Skeleton::of(&one).unwrap().fits(&other), "values and lengths do not count");
        let mut known = Skeletons::default();
        for frame in plain.iter().chain(plain) {
            assert!(known.is_plain(frame) && !known.is_plain(hello));
        }
        assert!(known.kept.iter().all(Option::is_some));
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
            // Layouts of whole frames, and what is known of this one's.
            let mut known = Skeletons::default();
            prop_assert_eq!(all.iter().rev().filter(|frame| known.is_plain(frame)).count(), all.len() - 1);
            prop_assert_eq!(known.is_plain(&bytes), is_plain(&bytes));
            prop_assert_eq!(known.is_plain(&bytes), is_plain(&bytes), "once more");
            let learnt = Skeleton::of(&all[which.index(all.len())]);
            prop_assert!(!learnt.is_some_and(|skeleton| skeleton.fits(&bytes)) || is_plain(&bytes));
            if is_plain(&bytes) {
                prop_assert!(wire::size_prefixed_root_as_frame_with_opts(&VERIFIER, &bytes).is_ok());
                let frame = VerifiedFrame::verify(bytes.into()).unwrap();
                let _ = format!("{:?}", frame.root());
            }
        }
    }
}
