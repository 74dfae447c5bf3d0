//! Entry and SendAck frames made by copying a template and patching its fields.

use schema::encode::{Encoder, EntryFields};
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire::{self, EntryKind};

use super::table;

/// What is patched into a frame.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    /// The chat.
    pub chat: ChatId,
    /// The message's id.
    pub message: MessageId,
    /// Its place in the chat.
    pub seq: u64,
    /// Who sent it.
    pub sender: u64,
    /// The sender's id for it.
    pub client_msg_id: &'a [u8],
    /// The payload; not part of an acknowledgement.
    pub body: &'a [u8],
    /// Wall time, ms since 1970.
    pub timestamp_ms: u64,
}

/// A whole frame and where its fields are.
struct Template {
    client_msg_id_bytes: usize,
    body_bytes: usize,
    frame: Vec<u8>,
    chat: usize,
    message: usize,
    seq: usize,
    timestamp: usize,
    client_msg_id: usize,
    /// Sender and body; an acknowledgement has neither.
    entry: Option<(usize, usize)>,
}

/// Templates by the lengths of what they carry.
#[derive(Default)]
pub struct Templates {
    entries: Vec<Template>,
    acks: Vec<Template>,
    encoder: Encoder,
}

const SAMPLE_CHAT: ChatId = ChatId([1; 16]);
const SAMPLE_MESSAGE: MessageId = MessageId([1; 16]);
/// Lengths a server remembers templates for; beyond it the oldest is made anew.
const TEMPLATES_MAX: usize = 64;

impl Templates {
    /// Appends an Entry frame to `out`.
    pub fn entry(&mut self, fields: &Fields<'_>, out: &mut Vec<u8>) {
        let at = find(&mut self.entries, fields, |f| entry_template(&mut self.encoder, f));
        at.write(fields, out);
    }

    /// Appends a SendAck frame (`sent`) to `out`. `fields.body` is ignored.
    pub fn ack(&mut self, fields: &Fields<'_>, out: &mut Vec<u8>) {
        let fields = Fields { body: &[], ..*fields };
        let at = find(&mut self.acks, &fields, |f| ack_template(&mut self.encoder, f));
        at.write(&fields, out);
    }
}

fn find<'t>(
    templates: &'t mut Vec<Template>,
    fields: &Fields<'_>,
    make: impl FnOnce(&Fields<'_>) -> Template,
) -> &'t Template {
    let fits = |t: &Template| t.client_msg_id_bytes == fields.client_msg_id.len() && t.body_bytes == fields.body.len();
    let at = templates.iter().position(fits).unwrap_or_else(|| {
        if templates.len() == TEMPLATES_MAX {
            templates.remove(0);
        }
        templates.push(make(fields));
        templates.len() - 1
    });
    &templates[at]
}

fn entry_template(encoder: &mut Encoder, fields: &Fields<'_>) -> Template {
    use wire::Entry;
    let frame = encoder.entry(&EntryFields {
        chat: SAMPLE_CHAT,
        message: SAMPLE_MESSAGE,
        seq: 1,
        sender: UserId::new(1).expect("1 is a user"),
        device: DeviceId(0),
        kind: EntryKind::message,
        content_type: 0,
        body: fields.body,
        client_msg_id: fields.client_msg_id,
        refers_to: None,
        after_seq: 0,
        timestamp_ms: 1,
    });
    let (_, body) = table::body(&frame).expect("the encoder writes whole frames");
    let at = |vt| body.field(vt).expect("the sample sets every patched field");
    Template {
        client_msg_id_bytes: fields.client_msg_id.len(),
        body_bytes: fields.body.len(),
        chat: at(Entry::VT_CHAT_ID),
        message: at(Entry::VT_MESSAGE_ID),
        seq: at(Entry::VT_SEQ),
        timestamp: at(Entry::VT_TIMESTAMP_MS),
        client_msg_id: body.bytes_range(Entry::VT_CLIENT_MSG_ID).expect("set").start,
        entry: Some((at(Entry::VT_SENDER_ID), body.bytes_range(Entry::VT_BODY).expect("set").start)),
        frame: frame.to_vec(),
    }
}

fn ack_template(encoder: &mut Encoder, fields: &Fields<'_>) -> Template {
    use wire::SendAck;
    let frame = encoder.sent(fields.client_msg_id, SAMPLE_CHAT, SAMPLE_MESSAGE, 1, 1);
    let (_, body) = table::body(&frame).expect("the encoder writes whole frames");
    let at = |vt| body.field(vt).expect("the sample sets every patched field");
    Template {
        client_msg_id_bytes: fields.client_msg_id.len(),
        body_bytes: 0,
        chat: at(SendAck::VT_CHAT_ID),
        message: at(SendAck::VT_MESSAGE_ID),
        seq: at(SendAck::VT_SEQ),
        timestamp: at(SendAck::VT_TIMESTAMP_MS),
        client_msg_id: body.bytes_range(SendAck::VT_CLIENT_MSG_ID).expect("set").start,
        entry: None,
        frame: frame.to_vec(),
    }
}

impl Template {
    fn write(&self, fields: &Fields<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        let frame = &mut out[start..];
        let mut put = |at: usize, bytes: &[u8]| frame[at..at + bytes.len()].copy_from_slice(bytes);
        put(self.chat, &fields.chat.0);
        put(self.message, &fields.message.0);
        put(self.seq, &fields.seq.to_le_bytes());
        put(self.timestamp, &fields.timestamp_ms.to_le_bytes());
        put(self.client_msg_id, fields.client_msg_id);
        if let Some((sender, body)) = self.entry {
            put(sender, &fields.sender.to_le_bytes());
            put(body, fields.body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::frame::FrameRef;

    fn fields<'a>(seq: u64, client_msg_id: &'a [u8], body: &'a [u8]) -> Fields<'a> {
        Fields {
            chat: ChatId([7; 16]),
            message: MessageId([9; 16]),
            seq,
            sender: 42,
            client_msg_id,
            body,
            timestamp_ms: 1_234,
        }
    }

    #[test]
    fn patched_frames_verify_and_carry_their_fields() {
        let mut templates = Templates::default();
        for (seq, id, body) in [(5, &b"first"[..], &b"hello"[..]), (u64::MAX, b"other", b"world"), (2, b"x", b"")] {
            let mut out = Vec::new();
            templates.entry(&fields(seq, id, body), &mut out);
            let entry_bytes = out.len();
            templates.ack(&fields(seq, id, body), &mut out);

            let frame = FrameRef::verify(&out[..entry_bytes]).unwrap().root();
            let entry = frame.body_as_entry().unwrap();
            assert_eq!((entry.seq(), entry.sender_id(), entry.timestamp_ms()), (seq, 42, 1_234));
            assert_eq!(entry.body().unwrap().bytes(), body);
            assert_eq!(entry.client_msg_id().unwrap().bytes(), id);
            assert_eq!(entry.chat_id().unwrap().0, [7; 16]);

            let frame = FrameRef::verify(&out[entry_bytes..]).unwrap().root();
            let ack = frame.body_as_send_ack().unwrap();
            assert_eq!((ack.seq(), ack.client_msg_id().unwrap().bytes()), (seq, id));
        }
    }

    #[test]
    fn a_garbled_frame_is_no_table_and_does_not_panic() {
        let whole = Encoder::new().ping(1);
        assert!(table::body(&whole).is_some());
        for cut in 0..whole.len() {
            let _ = table::body(&whole[..cut]);
        }
        let mut garbled = whole.to_vec();
        garbled[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(table::body(&garbled).is_none());
    }
}
