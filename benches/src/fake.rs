//! Neighbours that cost next to nothing: a disk and a store that keep nothing, an egress that counts and drops, and frames
//! and envelopes as a client's messages bring them.

use std::io;

use fabric::disk::Disk;
use fabric::tier::Egress;
use schema::dedupe::DedupeKey;
use schema::encode::{Encoder, EntryFields, SendFields, SendTarget};
use schema::envelope::{Address, Body, Class, Envelope};
use schema::frame::VerifiedFrame;
use schema::ids::{ChatId, DeviceId, MessageId, Slot, UserId};
use schema::wire::EntryKind;

use bytes::Bytes;
use storage_writer::journal::{JournalId, Lsn};
use storage_writer::store::{
    ChatState, DedupeHit, FlushReport, FlushRun, HistoryRange, Store, StoreError, StoreStats, StoredEntry,
};

/// Length of every client_msg_id here, bytes.
pub const CLIENT_MSG_ID_BYTES: usize = 24;

/// A folder without files: every write is durable at once and forgotten.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDisk;

impl Disk for NoDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn len(&self, _: &str) -> io::Result<u64> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn create_zeroed(&self, _: &str, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn read_at(&self, _: &str, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn write_durable(&self, _: &str, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn align_bytes(&self) -> usize {
        4_096
    }
}

/// A store that takes every run and keeps none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStore;

impl Store for NoStore {
    fn flush(&self, run: FlushRun<'_>) -> Result<FlushReport, StoreError> {
        let entries = run.entries.len() as u64;
        Ok(FlushReport { entries, ..FlushReport::default() })
    }
    fn history(&self, _: ChatId, _: HistoryRange) -> Result<Vec<StoredEntry>, StoreError> {
        Ok(Vec::new())
    }
    fn find_message(&self, _: ChatId, _: MessageId) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
    fn dedupe(&self, _: DedupeKey) -> Result<Option<DedupeHit>, StoreError> {
        Ok(None)
    }
    fn dedupe_since(&self, _: u64, _: &mut dyn FnMut(DedupeKey, DedupeHit)) -> Result<(), StoreError> {
        Ok(())
    }
    fn load_chats(&self, _: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
        Ok(())
    }
    fn applied(&self) -> Result<Vec<(JournalId, Lsn)>, StoreError> {
        Ok(Vec::new())
    }
    fn forget_journals(&self, _: &[JournalId]) -> Result<(), StoreError> {
        Ok(())
    }
    fn expire(&self, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }
}

/// Counts what goes where and drops it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    /// To owners.
    pub owner: u64,
    /// To routers.
    pub router: u64,
    /// Answers to sends: `Sent`.
    pub sent: u64,
    /// Everything else to gateways.
    pub gateway: u64,
}

impl Egress for Counted {
    fn to_owner(&mut self, _: Slot, _: Envelope) {
        self.owner += 1;
    }
    fn to_partition(&mut self, _: u16, _: Envelope) {
        self.owner += 1;
    }
    fn to_router(&mut self, _: UserId, _: Envelope) {
        self.router += 1;
    }
    fn to_gateway(&mut self, _: Address, envelope: Envelope) {
        match envelope.body {
            Body::Sent { .. } => self.sent += 1,
            _ => self.gateway += 1,
        }
    }
    fn to_all_gateways(&mut self, _: Envelope) {
        self.gateway += 1;
    }
}

/// A user. `id` is not 0.
pub fn user(id: u64) -> UserId {
    UserId::new(id).expect("users begin at 1")
}

/// The `number`th client_msg_id: all of one length, all different.
pub fn client_msg_id(number: u64) -> [u8; CLIENT_MSG_ID_BYTES] {
    let mut id = *b"bench-000000000000000000";
    let mut rest = number;
    for digit in id[6..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    id
}

/// The Send frame of message `number` to `to`.
pub fn send_frame(encoder: &mut Encoder, number: u64, to: UserId, body: &[u8]) -> Bytes {
    encoder.send(&SendFields {
        client_msg_id: &client_msg_id(number),
        target: SendTarget::User(to),
        kind: EntryKind::message,
        content_type: 0,
        body,
        refers_to: None,
        after_seq: 0,
        retry: false,
    })
}

/// The same as the gateway hands it to the owner.
pub fn send_envelope(encoder: &mut Encoder, number: u64, (from, to): (UserId, UserId), body: &[u8]) -> Envelope {
    let frame = VerifiedFrame::verify(send_frame(encoder, number, to, body)).expect("the encoder writes valid frames");
    let chat = ChatId::direct(from, to);
    let reply = Address { incarnation: 1, shard: 0, connection: number as u32 % 1_024, generation: 0 };
    let send = Body::Send { frame, user: from, device: DeviceId(1), chat, to: Some(to), retry: false };
    let mut envelope = Envelope::new(Class::Send, send).reply_to(reply);
    envelope.header.slot = chat.slot();
    envelope
}

/// The Entry frame of a chat's `seq`th message, from `sender`.
pub fn entry_frame(encoder: &mut Encoder, (chat, seq): (ChatId, u64), sender: UserId, body: &[u8]) -> Bytes {
    encoder.entry(&EntryFields {
        chat,
        message: message_id(chat, seq),
        seq,
        sender,
        device: DeviceId(1),
        kind: EntryKind::message,
        content_type: 0,
        body,
        client_msg_id: &client_msg_id(seq),
        refers_to: None,
        after_seq: 0,
        timestamp_ms: 1_700_000_000_000,
    })
}

/// An id that rises with `seq`.
pub fn message_id(chat: ChatId, seq: u64) -> MessageId {
    let mut id = chat.0;
    id[8..].copy_from_slice(&seq.to_be_bytes());
    MessageId(id)
}
