//! The Entry frame, written from a fixed layout: a server encodes one a message, and a builder that lays out tables anew
//! costs several times the copying.
//!
//! The bytes are what any FlatBuffers reader takes for this schema; only the places are chosen here: every scalar is
//! written, also where it has its default. What must stay true: each number is aligned to its size from the frame's first
//! byte on.

use bytes::{Bytes, BytesMut};

use super::EntryFields;
use crate::frame::{FILE_IDENTIFIER, PREFIX_BYTES};
use crate::wire::{Body, Entry, Frame};

const FRAME_VTABLE: usize = 12;
const FRAME: usize = 20;
const FRAME_BODY: usize = 24;
const FRAME_KIND: usize = 28;
const VTABLE: usize = 32;
const VTABLE_LEN: usize = 28;
const ENTRY: usize = VTABLE + VTABLE_LEN;
const SEQ: usize = 64;
const SENDER: usize = 72;
const AFTER_SEQ: usize = 80;
const TIMESTAMP: usize = 88;
const DEVICE: usize = 96;
const BODY: usize = 100;
const CLIENT_MSG_ID: usize = 104;
const CHAT: usize = 108;
const MESSAGE: usize = 124;
const KIND: usize = 140;
const CONTENT_TYPE: usize = 141;
const REFERS_TO: usize = 142;
/// Where the vectors begin: behind all fields, with and without the last.
const PLAIN: usize = 144;
const REFERRING: usize = 160;

/// Frames share allocations of this size, bytes; one that is longer gets its own.
const PIECE: usize = 16 * 1_024;

/// What all frames without a reference begin with.
static PLAIN_HEAD: [u8; PLAIN] = head(false);
/// What all others begin with.
static REFERRING_HEAD: [u8; REFERRING] = head(true);

const fn put<const N: usize, const M: usize>(out: &mut [u8; N], at: usize, bytes: [u8; M]) {
    let mut n = 0;
    while n < M {
        out[at + n] = bytes[n];
        n += 1;
    }
}

/// Notes in a vtable where a field of its table is. `field`: the generated place in the vtable.
const fn field<const N: usize>(out: &mut [u8; N], (vtable, table): (usize, usize), field: u16, at: usize) {
    put(out, vtable + field as usize, ((at - table) as u16).to_le_bytes());
}

const fn head<const N: usize>(refers: bool) -> [u8; N] {
    let mut out = [0; N];
    let identifier = FILE_IDENTIFIER.as_bytes();
    put(&mut out, PREFIX_BYTES, ((FRAME - PREFIX_BYTES) as u32).to_le_bytes());
    put(&mut out, 8, [identifier[0], identifier[1], identifier[2], identifier[3]]);
    let frame = (FRAME_VTABLE, FRAME);
    put(&mut out, FRAME_VTABLE, 8u16.to_le_bytes());
    put(&mut out, FRAME_VTABLE + 2, ((FRAME_KIND + 1 - FRAME) as u16).to_le_bytes());
    field(&mut out, frame, Frame::VT_BODY_TYPE, FRAME_KIND);
    field(&mut out, frame, Frame::VT_BODY, FRAME_BODY);
    put(&mut out, FRAME, ((FRAME - FRAME_VTABLE) as i32).to_le_bytes());
    put(&mut out, FRAME_BODY, ((ENTRY - FRAME_BODY) as u32).to_le_bytes());
    out[FRAME_KIND] = Body::Entry.0;
    let entry = (VTABLE, ENTRY);
    let end = if refers { REFERS_TO + 16 } else { REFERS_TO };
    put(&mut out, VTABLE, (VTABLE_LEN as u16).to_le_bytes());
    put(&mut out, VTABLE + 2, ((end - ENTRY) as u16).to_le_bytes());
    put(&mut out, ENTRY, ((ENTRY - VTABLE) as i32).to_le_bytes());
    field(&mut out, entry, Entry::VT_CHAT_ID, CHAT);
    field(&mut out, entry, Entry::VT_MESSAGE_ID, MESSAGE);
    field(&mut out, entry, Entry::VT_SEQ, SEQ);
    field(&mut out, entry, Entry::VT_SENDER_ID, SENDER);
    field(&mut out, entry, Entry::VT_SENDER_DEVICE, DEVICE);
    field(&mut out, entry, Entry::VT_KIND, KIND);
    field(&mut out, entry, Entry::VT_CONTENT_TYPE, CONTENT_TYPE);
    field(&mut out, entry, Entry::VT_BODY, BODY);
    field(&mut out, entry, Entry::VT_CLIENT_MSG_ID, CLIENT_MSG_ID);
    field(&mut out, entry, Entry::VT_AFTER_SEQ, AFTER_SEQ);
    field(&mut out, entry, Entry::VT_TIMESTAMP_MS, TIMESTAMP);
    if refers {
        field(&mut out, entry, Entry::VT_REFERS_TO, REFERS_TO);
    }
    out
}

/// Fills the fixed part. `len`: of the whole frame; `body`: where its vector begins.
fn fill(head: &mut [u8], e: &EntryFields<'_>, len: usize, body: usize) {
    let vectors = head.len();
    let mut set = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    set(0, &((len - PREFIX_BYTES) as u32).to_le_bytes());
    set(SEQ, &e.seq.to_le_bytes());
    set(SENDER, &e.sender.get().to_le_bytes());
    set(AFTER_SEQ, &e.after_seq.to_le_bytes());
    set(TIMESTAMP, &e.timestamp_ms.to_le_bytes());
    set(DEVICE, &e.device.0.to_le_bytes());
    set(BODY, &((body - BODY) as u32).to_le_bytes());
    set(CLIENT_MSG_ID, &((vectors - CLIENT_MSG_ID) as u32).to_le_bytes());
    set(CHAT, &e.chat.0);
    set(MESSAGE, &e.message.0);
    set(KIND, &[e.kind.0, e.content_type]);
    if let Some(refers_to) = e.refers_to {
        set(REFERS_TO, &refers_to.0);
    }
}

/// Writes the frame. `piece`: what is left of an allocation that frames share. Its fields are shorter than 2 GiB.
pub(super) fn entry(piece: &mut BytesMut, e: &EntryFields<'_>) -> Bytes {
    let head: &[u8] = if e.refers_to.is_some() { &REFERRING_HEAD } else { &PLAIN_HEAD };
    let body = head.len() + 4 + e.client_msg_id.len().next_multiple_of(4);
    let len = body + 4 + e.body.len();
    if piece.capacity() < len {
        *piece = BytesMut::with_capacity(PIECE.max(len));
    }
    piece.extend_from_slice(head);
    fill(&mut piece[..], e, len, body);
    piece.extend_from_slice(&(e.client_msg_id.len() as u32).to_le_bytes());
    piece.extend_from_slice(e.client_msg_id);
    piece.resize(body, 0);
    piece.extend_from_slice(&(e.body.len() as u32).to_le_bytes());
    piece.extend_from_slice(e.body);
    piece.split().freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::VerifiedFrame;
    use crate::ids::{ChatId, DeviceId, MessageId, UserId};
    use crate::wire::EntryKind;

    #[derive(Clone, Debug)]
    struct Fields {
        numbers: (u64, u64, u64, u64, u32, u8),
        ids: ([u8; 16], [u8; 16], Option<[u8; 16]>),
        bytes: (Vec<u8>, Vec<u8>),
    }

    fn fields() -> impl Strategy<Value = Fields> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..70);
        let numbers = (any::<u64>(), 1..=u64::MAX, any::<u64>(), any::<u64>(), any::<u32>(), any::<u8>());
        let large = prop_oneof![9 => bytes(), 1 => prop::collection::vec(any::<u8>(), PIECE - 300..PIECE + 300)];
        (numbers, any::<([u8; 16], [u8; 16], Option<[u8; 16]>)>(), (bytes(), large))
            .prop_map(|(numbers, ids, bytes)| Fields { numbers, ids, bytes })
    }

    fn written(piece: &mut BytesMut, of: &Fields) -> Bytes {
        let (seq, sender, after_seq, timestamp_ms, device, content_type) = of.numbers;
        let fields = EntryFields {
            chat: ChatId(of.ids.0),
            message: MessageId(of.ids.1),
            seq,
            sender: UserId::new(sender).expect("not 0"),
            device: DeviceId(device),
            kind: EntryKind(content_type / 2),
            content_type,
            body: &of.bytes.1,
            client_msg_id: &of.bytes.0,
            refers_to: of.ids.2.map(MessageId),
            after_seq,
            timestamp_ms,
        };
        entry(piece, &fields)
    }

    fn read(frame: &Bytes) -> Fields {
        let frame = VerifiedFrame::verify(frame.clone()).expect("a frame that verifies");
        let root = frame.root();
        let e = root.body_as_entry().expect("an entry");
        assert_eq!(e.kind().0, e.content_type() / 2);
        Fields {
            numbers: (e.seq(), e.sender_id(), e.after_seq(), e.timestamp_ms(), e.sender_device(), e.content_type()),
            ids: (
                e.chat_id().expect("a chat").bytes().into(),
                e.message_id().expect("a message").bytes().into(),
                e.refers_to().map(|id| id.bytes().into()),
            ),
            bytes: (e.client_msg_id().expect("an id").bytes().to_vec(), e.body().expect("a body").bytes().to_vec()),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in prop::collection::vec(fields(), 1..8)) {
            let mut piece = BytesMut::new();
            let frames: Vec<_> = all.iter().map(|fields| written(&mut piece, fields)).collect();
            for (frame, wanted) in frames.iter().zip(&all) {
                let found = read(frame);
                prop_assert_eq!(found.numbers, wanted.numbers);
                prop_assert_eq!(found.ids, wanted.ids);
                prop_assert!(found.bytes == wanted.bytes);
            }
        }
    }

    #[test]
    fn a_usual_frame_is_small() {
        let fields =
            Fields { numbers: (1, 2, 3, 4, 5, 0), ids: ([1; 16], [2; 16], None), bytes: (vec![7; 24], vec![8; 128]) };
        assert_eq!(written(&mut BytesMut::new(), &fields).len(), 304);
    }
}
