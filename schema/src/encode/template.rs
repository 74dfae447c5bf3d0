//! The two frames that every message needs, without a builder: their fixed part is made once and patched.
//!
//! A frame of a table with byte vectors is a head (prefix, root, vtables, tables), always the same for the same fields,
//! and the vectors behind it. What must stay true: the bytes are a frame as the builder would have made it, with the same
//! fields left out; the tests compare what both say.

use bytes::BytesMut;
use flatbuffers::{FlatBufferBuilder, Table, UOffsetT, VOffsetT, WIPOffset};

use super::EntryFields;
use crate::frame::{FILE_IDENTIFIER, PREFIX_BYTES};
use crate::ids::{ChatId, MessageId};
use crate::wire::{self, Body, Entry, SendAck};

/// Bytes of an offset, and of a vector's length.
const WORD_BYTES: usize = size_of::<UOffsetT>();

/// What a frame is appended to.
pub(super) trait Sink {
    /// Appends so many zeros, and lends them.
    fn grow(&mut self, bytes: usize) -> &mut [u8];
}

impl Sink for BytesMut {
    fn grow(&mut self, bytes: usize) -> &mut [u8] {
        let from = self.len();
        self.resize(from + bytes, 0);
        &mut self[from..]
    }
}

impl Sink for Vec<u8> {
    fn grow(&mut self, bytes: usize) -> &mut [u8] {
        let from = self.len();
        self.resize(from + bytes, 0);
        &mut self[from..]
    }
}

/// A frame's head, whose vectors are still empty.
struct Head {
    bytes: Vec<u8>,
    /// Where the frame's table begins.
    table: usize,
    /// From there: where the fields are, by vtable entry.
    fields: Vec<u16>,
}

impl Head {
    /// Builds a frame whose body `make` writes with empty vectors, and takes the vectors off.
    fn new(
        kind: Body,
        vectors: usize,
        make: impl FnOnce(&mut FlatBufferBuilder<'static>) -> WIPOffset<flatbuffers::UnionWIPOffset>,
    ) -> Self {
        let mut fbb = FlatBufferBuilder::with_capacity(512);
        let body = Some(make(&mut fbb));
        let frame = wire::Frame::create(&mut fbb, &wire::FrameArgs { body_type: kind, body });
        fbb.finish_size_prefixed(frame, Some(FILE_IDENTIFIER));
        let bytes = fbb.finished_data();
        let root = wire::size_prefixed_root_as_frame(bytes).expect("a builder writes valid frames");
        let tab = match kind {
            Body::Entry => root.body_as_entry().map(|entry| entry._tab),
            _ => root.body_as_send_ack().map(|ack| ack._tab),
        };
        let tab: Table<'_> = tab.expect("the body that was just made");
        let vtable = tab.vtable();
        let fields = (0..vtable.num_fields()).map(|n| vtable.get_field(n)).collect();
        let head_bytes = bytes.len() - vectors * WORD_BYTES;
        Self { bytes: bytes[..head_bytes].to_vec(), table: tab.loc(), fields }
    }

    /// Where a field is.
    fn at(&self, field: VOffsetT) -> usize {
        self.table + usize::from(self.fields[usize::from(field) / 2 - 2])
    }

    /// Length of a frame with these vectors.
    fn frame_bytes(&self, vectors: &[(VOffsetT, &[u8])]) -> usize {
        self.bytes.len() + vectors.iter().map(|(_, bytes)| WORD_BYTES + padded(bytes.len())).sum::<usize>()
    }

    /// Fills `frame`, zeros of [`Self::frame_bytes`], but for its other fields, which are to be [`put`].
    fn write(&self, frame: &mut [u8], vectors: &[(VOffsetT, &[u8])]) {
        let len = (frame.len() - PREFIX_BYTES) as u32;
        let mut begin = self.bytes.len();
        let (head, mut rest) = frame.split_at_mut(begin);
        head.copy_from_slice(&self.bytes);
        put(head, 0, len.to_le_bytes());
        for (field, bytes) in vectors {
            let at = self.at(*field);
            put(head, at, ((begin - at) as UOffsetT).to_le_bytes());
            let (vector, behind) = rest.split_at_mut(WORD_BYTES + padded(bytes.len()));
            put(vector, 0, (bytes.len() as UOffsetT).to_le_bytes());
            vector[WORD_BYTES..WORD_BYTES + bytes.len()].copy_from_slice(bytes);
            begin += vector.len();
            rest = behind;
        }
        debug_assert!(rest.is_empty(), "a frame's length is known before it is written");
    }
}

const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(WORD_BYTES)
}

fn put<const N: usize>(frame: &mut [u8], at: usize, bytes: [u8; N]) {
    frame[at..at + N].copy_from_slice(&bytes);
}

/// Which of an entry's optional fields differ from their defaults; those that do not are left out.
fn fields_of(e: &EntryFields<'_>) -> usize {
    usize::from(e.device.0 != 0)
        | usize::from(e.kind.0 != 0) << 1
        | usize::from(e.content_type != 0) << 2
        | usize::from(e.refers_to.is_some()) << 3
        | usize::from(e.after_seq != 0) << 4
}

/// Heads of Entry frames by the fields they have.
#[derive(Default)]
pub(super) struct Entries([Option<Box<Head>>; 32]);

/// An Entry frame to be written.
pub(super) struct EntryFrame<'a> {
    head: &'a Head,
    fields: &'a EntryFields<'a>,
}

impl Entries {
    /// The frame of these fields; `None` for values that the builder would leave out although every message has them.
    pub(super) fn frame<'a>(&'a mut self, e: &'a EntryFields<'a>) -> Option<EntryFrame<'a>> {
        if e.seq == 0 || e.timestamp_ms == 0 {
            return None;
        }
        let head = self.0[fields_of(e)].get_or_insert_with(|| {
            Box::new(Head::new(Body::Entry, 2, |fbb| {
                let body = fbb.create_vector::<u8>(&[]);
                super::create_entry(fbb, &EntryFields { client_msg_id: &[], ..*e }, body, super::NO_CHANGE)
                    .as_union_value()
            }))
        });
        Some(EntryFrame { head, fields: e })
    }
}

impl EntryFrame<'_> {
    fn vectors(&self) -> [(VOffsetT, &[u8]); 2] {
        [(Entry::VT_CLIENT_MSG_ID, self.fields.client_msg_id), (Entry::VT_BODY, self.fields.body)]
    }

    /// Its length with prefix.
    pub(super) fn len(&self) -> usize {
        self.head.frame_bytes(&self.vectors())
    }

    /// Where its client_msg_id, the first of the vectors, begins.
    pub(super) fn client_msg_id_at(&self) -> usize {
        self.head.bytes.len() + WORD_BYTES
    }

    /// Appends it.
    pub(super) fn write(&self, out: &mut impl Sink) {
        let (head, e) = (self.head, self.fields);
        let frame = out.grow(self.len());
        head.write(frame, &self.vectors());
        put(frame, head.at(Entry::VT_CHAT_ID), e.chat.0);
        put(frame, head.at(Entry::VT_MESSAGE_ID), e.message.0);
        put(frame, head.at(Entry::VT_SEQ), e.seq.to_le_bytes());
        put(frame, head.at(Entry::VT_SENDER_ID), e.sender.get().to_le_bytes());
        put(frame, head.at(Entry::VT_TIMESTAMP_MS), e.timestamp_ms.to_le_bytes());
        if e.device.0 != 0 {
            put(frame, head.at(Entry::VT_SENDER_DEVICE), e.device.0.to_le_bytes());
        }
        if e.kind.0 != 0 {
            put(frame, head.at(Entry::VT_KIND), [e.kind.0]);
        }
        if e.content_type != 0 {
            put(frame, head.at(Entry::VT_CONTENT_TYPE), [e.content_type]);
        }
        if let Some(message) = e.refers_to {
            put(frame, head.at(Entry::VT_REFERS_TO), message.0);
        }
        if e.after_seq != 0 {
            put(frame, head.at(Entry::VT_AFTER_SEQ), e.after_seq.to_le_bytes());
        }
    }
}

/// The head of SendAck frames.
#[derive(Default)]
pub(super) struct Acks(Option<Box<Head>>);

/// A SendAck frame to be written.
pub(super) struct AckFrame<'a> {
    head: &'a Head,
    client_msg_id: &'a [u8],
    ids: (ChatId, MessageId),
    seq: u64,
    timestamp_ms: u64,
}

impl Acks {
    /// The frame of these fields; `None` for values that the builder would leave out although every ack has them.
    pub(super) fn frame<'a>(
        &'a mut self,
        client_msg_id: &'a [u8],
        ids: (ChatId, MessageId),
        seq: u64,
        timestamp_ms: u64,
    ) -> Option<AckFrame<'a>> {
        if seq == 0 || timestamp_ms == 0 {
            return None;
        }
        let head = self.0.get_or_insert_with(|| {
            let make = |fbb: &mut FlatBufferBuilder<'static>| {
                super::create_ack(fbb, &[], ids, seq, timestamp_ms).as_union_value()
            };
            Box::new(Head::new(Body::SendAck, 1, make))
        });
        Some(AckFrame { head, client_msg_id, ids, seq, timestamp_ms })
    }
}

impl AckFrame<'_> {
    fn vectors(&self) -> [(VOffsetT, &[u8]); 1] {
        [(SendAck::VT_CLIENT_MSG_ID, self.client_msg_id)]
    }

    /// Its length with prefix.
    pub(super) fn len(&self) -> usize {
        self.head.frame_bytes(&self.vectors())
    }

    /// Appends it.
    pub(super) fn write(&self, out: &mut impl Sink) {
        let head = self.head;
        let frame = out.grow(self.len());
        head.write(frame, &self.vectors());
        put(frame, head.at(SendAck::VT_CHAT_ID), self.ids.0.0);
        put(frame, head.at(SendAck::VT_MESSAGE_ID), self.ids.1.0);
        put(frame, head.at(SendAck::VT_SEQ), self.seq.to_le_bytes());
        put(frame, head.at(SendAck::VT_TIMESTAMP_MS), self.timestamp_ms.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Encoder, create_ack, create_entry};
    use super::*;
    use crate::frame::VerifiedFrame;
    use crate::ids::{DeviceId, UserId};
    use crate::wire::EntryKind;

    fn built(make: impl FnOnce(&mut Encoder) -> bytes::Bytes) -> VerifiedFrame {
        VerifiedFrame::verify(make(&mut Encoder::new())).expect("a builder's frame")
    }

    proptest! {
        #[test]
        fn an_entry_says_what_the_builders_says(
            (chat, message, refers_to) in any::<([u8; 16], [u8; 16], Option<[u8; 16]>)>(),
            (seq, sender, timestamp_ms) in (1..=u64::MAX, 1..=u64::MAX, 1..=u64::MAX),
            (device, after_seq) in (prop_oneof![Just(0), any::<u32>()], prop_oneof![Just(0), any::<u64>()]),
            (kind, content_type) in (0..3u8, 0..3u8),
            body in prop::collection::vec(any::<u8>(), 0..70),
            client_msg_id in prop::collection::vec(any::<u8>(), 0..65),
        ) {
            let fields = EntryFields {
                chat: ChatId(chat),
                message: MessageId(message),
                seq,
                sender: UserId::new(sender).unwrap(),
                device: DeviceId(device),
                kind: EntryKind(kind),
                content_type,
                body: &body,
                client_msg_id: &client_msg_id,
                refers_to: refers_to.map(MessageId),
                after_seq,
                timestamp_ms,
            };
            let by_builder = built(|encoder| {
                let body = encoder.fbb.create_vector(fields.body);
                let entry = create_entry(&mut encoder.fbb, &fields, body, crate::encode::NO_CHANGE);
                encoder.finish(Body::Entry, entry.as_union_value())
            });
            for mut encoder in [Encoder::new(), Encoder::in_arena()] {
                // The second is not the arena's first, nor the head's first use.
                for _ in 0..2 {
                    let frame = VerifiedFrame::verify(encoder.entry(&fields)).expect("a valid frame");
                    prop_assert_eq!(format!("{:?}", frame.root()), format!("{:?}", by_builder.root()));
                    prop_assert!(frame.bytes().len() <= by_builder.bytes().len() + 8);
                    let (again, at) = encoder.entry_with_id(&fields);
                    prop_assert_eq!(&again, frame.bytes());
                    prop_assert_eq!(&again[at..at + client_msg_id.len()], &client_msg_id[..]);
                }
            }
        }

        #[test]
        fn an_ack_says_what_the_builders_says(
            (chat, message) in any::<([u8; 16], [u8; 16])>(),
            (seq, timestamp_ms) in (1..=u64::MAX, 1..=u64::MAX),
            client_msg_id in prop::collection::vec(any::<u8>(), 0..65),
        ) {
            let ids = (ChatId(chat), MessageId(message));
            let by_builder = built(|encoder| {
                let ack = create_ack(&mut encoder.fbb, &client_msg_id, ids, seq, timestamp_ms);
                encoder.finish(Body::SendAck, ack.as_union_value())
            });
            let mut encoder = Encoder::in_arena();
            for _ in 0..2 {
                let frame = encoder.sent(&client_msg_id, ids.0, ids.1, seq, timestamp_ms);
                let frame = VerifiedFrame::verify(frame).expect("a valid frame");
                prop_assert_eq!(format!("{:?}", frame.root()), format!("{:?}", by_builder.root()));
            }
        }
    }
}
