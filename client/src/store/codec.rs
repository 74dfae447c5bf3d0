//! Changes as bytes. Little endian; a kind byte, then its fields; texts and bodies with a u32 length before them.

use bytes::Bytes;
use schema::encode::SendTarget;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::wire::EntryKind;

use super::{Change, Image, StoredExtras, StoredSend};
use crate::core::is_group_change;

const IDENTITY: u8 = 1;
const QUEUED: u8 = 2;
const SENT: u8 = 3;
const DROPPED: u8 = 4;
const HANDLED: u8 = 5;
const READ: u8 = 6;
/// Only in snapshots: a range that needs no handling.
const HAD: u8 = 7;
/// A queued send that changes a group: role and users follow.
const CHANGE: u8 = 8;
/// Since format 2. A queued send with anything else: role, users and extras follow.
const EXTENDED: u8 = 9;
/// Since format 2.
const SYNCED: u8 = 10;

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_position(out: &mut Vec<u8>, kind: u8, chat: ChatId, seq: u64) {
    out.push(kind);
    out.extend_from_slice(&chat.0);
    out.extend_from_slice(&seq.to_le_bytes());
}

/// Appends a change.
pub(super) fn encode(change: &Change, out: &mut Vec<u8>) {
    match change {
        Change::Identity { user, device } => {
            out.push(IDENTITY);
            out.extend_from_slice(&user.get().to_le_bytes());
            out.extend_from_slice(&device.0.to_le_bytes());
        }
        Change::Queued(send) => encode_send(send, out),
        Change::Sent { client_msg_id, chat, seq } => {
            put_position(out, SENT, *chat, *seq);
            put_bytes(out, client_msg_id);
        }
        Change::Dropped { client_msg_id } => {
            out.push(DROPPED);
            put_bytes(out, client_msg_id);
        }
        Change::Handled { chat, seq } => put_position(out, HANDLED, *chat, *seq),
        Change::Read { chat, seq } => put_position(out, READ, *chat, *seq),
        Change::Synced { server_time_ms } => {
            out.push(SYNCED);
            out.extend_from_slice(&server_time_ms.to_le_bytes());
        }
    }
}

fn encode_send(send: &StoredSend, out: &mut Vec<u8>) {
    let record = match &send.extras {
        None if is_group_change(EntryKind(send.kind)) => CHANGE,
        None if send.users.is_empty() => QUEUED,
        _ => EXTENDED,
    };
    out.push(record);
    out.extend_from_slice(&send.chat.0);
    let to = match send.target {
        SendTarget::Chat(_) => 0,
        SendTarget::User(user) => user.get(),
    };
    out.extend_from_slice(&to.to_le_bytes());
    out.push(send.kind);
    out.push(send.content_type);
    out.extend_from_slice(&send.after_seq.to_le_bytes());
    out.extend_from_slice(&send.created_ms.to_le_bytes());
    put_bytes(out, send.refers_to.as_ref().map_or(&[][..], |id| &id.0));
    put_bytes(out, &send.client_msg_id);
    put_bytes(out, &send.body);
    if record != QUEUED {
        out.push(send.role);
        out.extend_from_slice(&(send.users.len() as u32).to_le_bytes());
        send.users.iter().for_each(|user| out.extend_from_slice(&user.get().to_le_bytes()));
    }
    if record == EXTENDED {
        encode_extras(send.extras.as_deref().unwrap_or(&StoredExtras::default()), out);
    }
}

fn encode_extras(extras: &StoredExtras, out: &mut Vec<u8>) {
    out.extend_from_slice(&extras.ttl_s.to_le_bytes());
    out.push(extras.forwarded);
    put_bytes(out, extras.subject.as_ref().map_or(&[][..], |chat| &chat.0));
    put_bytes(out, &extras.key);
    out.extend_from_slice(&extras.device.to_le_bytes());
}

/// Reads fields off the front; `None` when they are not there.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }
    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    fn chat(&mut self) -> Option<ChatId> {
        self.array().map(ChatId)
    }
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_le_bytes(self.array()?) as usize;
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn change(&mut self) -> Option<Change> {
        Some(match self.byte()? {
            IDENTITY => {
                let user = UserId::new(self.number()?)?;
                Change::Identity { user, device: DeviceId(u32::from_le_bytes(self.array()?)) }
            }
            QUEUED => Change::Queued(self.send()?),
            CHANGE => {
                let mut send = self.send()?;
                (send.role, send.users) = (self.byte()?, self.users()?);
                Change::Queued(send)
            }
            EXTENDED => {
                let mut send = self.send()?;
                (send.role, send.users) = (self.byte()?, self.users()?);
                Change::Queued(send.with(self.extras()?))
            }
            SENT => {
                let (chat, seq) = (self.chat()?, self.number()?);
                Change::Sent { chat, seq, client_msg_id: Bytes::copy_from_slice(self.bytes()?) }
            }
            DROPPED => Change::Dropped { client_msg_id: Bytes::copy_from_slice(self.bytes()?) },
            HANDLED => Change::Handled { chat: self.chat()?, seq: self.number()? },
            READ => Change::Read { chat: self.chat()?, seq: self.number()? },
            SYNCED => Change::Synced { server_time_ms: self.number()? },
            _ => return None,
        })
    }

    fn send(&mut self) -> Option<StoredSend> {
        let chat = self.chat()?;
        let target = UserId::new(self.number()?).map_or(SendTarget::Chat(chat), SendTarget::User);
        let (kind, content_type) = (self.byte()?, self.byte()?);
        let (after_seq, created_ms) = (self.number()?, self.number()?);
        let refers_to = match self.bytes()? {
            [] => None,
            id => Some(MessageId(id.try_into().ok()?)),
        };
        let client_msg_id = Bytes::copy_from_slice(self.bytes()?);
        let body = Bytes::copy_from_slice(self.bytes()?);
        Some(StoredSend {
            client_msg_id,
            chat,
            target,
            kind,
            content_type,
            body,
            refers_to,
            after_seq,
            created_ms,
            users: Box::default(),
            role: 0,
            extras: None,
        })
    }

    fn extras(&mut self) -> Option<StoredExtras> {
        let (ttl_s, forwarded) = (u32::from_le_bytes(self.array()?), self.byte()?);
        let subject = match self.bytes()? {
            [] => None,
            id => Some(ChatId(id.try_into().ok()?)),
        };
        let key = Bytes::copy_from_slice(self.bytes()?);
        let device = u32::from_le_bytes(self.array()?);
        Some(StoredExtras { ttl_s, forwarded, subject, key, device })
    }

    fn users(&mut self) -> Option<Box<[UserId]>> {
        let count = u32::from_le_bytes(self.array()?);
        (0..count).map(|_| self.number().and_then(UserId::new)).collect()
    }
}

/// Applies all changes of a record. `None` when it is not made of changes.
pub(super) fn replay(payload: &[u8], image: &mut Image) -> Option<()> {
    let mut reader = Reader(payload);
    while let Some(&kind) = reader.0.first() {
        if kind == HAD {
            reader.byte()?;
            let (chat, first, last) = (reader.chat()?, reader.number()?, reader.number()?);
            (first >= 1 && first <= last).then_some(())?;
            image.chats.entry(chat).or_default().skip(first, last);
        } else {
            image.apply(&reader.change()?);
        }
    }
    Some(())
}

/// An image as the changes that make it.
pub(super) fn encode_image(image: &Image, out: &mut Vec<u8>) {
    if let Some((user, device)) = image.identity {
        encode(&Change::Identity { user, device }, out);
    }
    if image.synced_ms > 0 {
        encode(&Change::Synced { server_time_ms: image.synced_ms }, out);
    }
    for (&chat, stored) in &image.chats {
        if let Some(seq) = stored.handled {
            put_position(out, HANDLED, chat, seq);
        }
        if stored.read > 0 {
            put_position(out, READ, chat, stored.read);
        }
        for &(first, last) in &stored.had {
            put_position(out, HAD, chat, first);
            out.extend_from_slice(&last.to_le_bytes());
        }
    }
    image.outbox.iter().for_each(|send| encode_send(send, out));
}
