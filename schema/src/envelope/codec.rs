//! Envelopes as bytes, for links: `fbs/envelope.fbs`.
//!
//! [`decode`] verifies: the other end is another process, perhaps of another version. A client frame inside is verified
//! again only where the body promises a [`VerifiedFrame`].

use bytes::Bytes;
use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, UnionWIPOffset, Vector, VerifierOptions, WIPOffset};
use smallvec::SmallVec;

use super::{
    AccountFacts, Address, Body, ChangedChat, Class, Envelope, GapScope, Header, Holding, Recipient, Recipients,
    Stages, SyncCursor, Target, Trace,
};
use crate::errors::ErrorCode;
use crate::frame::{FrameError, VerifiedFrame};
use crate::generated::envelope_generated::shardwire::envelope as link;
use crate::ids::{ChatId, DeviceId, MessageId, Slot, UserId};
use crate::wire::MarkStatus;

const FILE_IDENTIFIER: &str = "SWE1";
/// Recipients and page entries are tables; a push names at most a few thousand.
const VERIFIER: VerifierOptions = VerifierOptions {
    max_depth: 8,
    max_tables: 16_384,
    max_apparent_size: 1 << 28,
    ignore_missing_null_terminator: false,
};

/// Why bytes are not an envelope this build understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not an envelope, or damaged.
    #[error("an envelope is malformed: {0}")]
    Malformed(String),
    /// A field has a value that cannot be.
    #[error("an envelope's {0} is out of range")]
    OutOfRange(&'static str),
    /// A kind that a newer version says.
    #[error("an envelope's kind {0} is unknown to this version")]
    UnknownKind(u8),
    /// The client frame inside is not one.
    #[error("an envelope's frame: {0}")]
    Frame(#[from] FrameError),
}

type Builder = FlatBufferBuilder<'static>;
type Union = (link::Body, WIPOffset<UnionWIPOffset>);

/// Writes an envelope, size prefix included.
pub fn encode(envelope: &Envelope) -> Bytes {
    let mut out = Vec::new();
    EnvelopeWriter::default().write(envelope, &mut out);
    out.into()
}

/// Writes envelopes one after the other, with memory that it keeps.
pub struct EnvelopeWriter {
    fbb: Builder,
}

impl core::fmt::Debug for EnvelopeWriter {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("EnvelopeWriter").finish_non_exhaustive()
    }
}

impl Default for EnvelopeWriter {
    fn default() -> Self {
        Self { fbb: Builder::with_capacity(512) }
    }
}

impl EnvelopeWriter {
    /// Memory kept after an envelope, bytes.
    const KEEP_BYTES: usize = 1 << 20;

    /// Appends an envelope to `out`, size prefix included.
    pub fn write(&mut self, envelope: &Envelope, out: &mut Vec<u8>) {
        let fbb = &mut self.fbb;
        let (body_type, body) = encode_body(fbb, &envelope.body);
        let header = encode_header(&envelope.header);
        let passed_on = envelope.header.passed_on;
        let args = link::EnvelopeArgs { header: Some(&header), body_type, body: Some(body), passed_on };
        let root = link::Envelope::create(fbb, &args);
        fbb.finish_size_prefixed(root, Some(FILE_IDENTIFIER));
        let bytes = fbb.finished_data();
        out.extend_from_slice(bytes);
        if bytes.len() > Self::KEEP_BYTES {
            *self = Self::default();
        } else {
            fbb.reset();
        }
    }
}

/// Reads an envelope, size prefix included. The frames inside share `bytes`.
///
/// # Errors
/// [`EnvelopeError`]: hostile or newer bytes never panic.
pub fn decode(bytes: &Bytes) -> Result<Envelope, EnvelopeError> {
    if bytes.len() < 12 || &bytes[8..12] != FILE_IDENTIFIER.as_bytes() {
        return Err(EnvelopeError::Malformed("no envelope's identifier".to_owned()));
    }
    let root = link::size_prefixed_root_as_envelope_with_opts(&VERIFIER, bytes)
        .map_err(|error| EnvelopeError::Malformed(error.to_string()))?;
    let header = Header { passed_on: root.passed_on(), ..decode_header(root.header())? };
    Ok(Envelope { header, body: decode_body(bytes, &root)? })
}

fn encode_header(header: &Header) -> link::Header {
    let Trace { id, stages } = header.trace.as_deref().copied().unwrap_or_default();
    let stages = link::Stages::new(stages.accepted, stages.ordered, stages.committed, stages.routed, stages.written);
    link::Header::new(
        header.slot_epoch,
        header.request_id,
        header.deadline_ns,
        (id >> 64) as u64,
        id as u64,
        &encode_address(header.reply),
        &stages,
        header.slot.get(),
        header.version,
        header.class as u8,
    )
}

fn decode_header(header: &link::Header) -> Result<Header, EnvelopeError> {
    const CLASSES: [Class; super::CLASS_COUNT] =
        [Class::Send, Class::Ack, Class::Control, Class::Live, Class::Sync, Class::Ephemeral];
    let stages = header.stages();
    let trace = Trace {
        id: (u128::from(header.trace_high()) << 64) | u128::from(header.trace_low()),
        stages: Stages {
            accepted: stages.accepted(),
            ordered: stages.ordered(),
            committed: stages.committed(),
            routed: stages.routed(),
            written: stages.written(),
        },
    };
    Ok(Header {
        version: header.version(),
        class: *CLASSES.get(usize::from(header.class_())).ok_or(EnvelopeError::OutOfRange("class"))?,
        slot: Slot::new(header.slot()).ok_or(EnvelopeError::OutOfRange("slot"))?,
        slot_epoch: header.slot_epoch(),
        reply: decode_address(header.reply()),
        request_id: header.request_id(),
        deadline_ns: header.deadline_ns(),
        passed_on: false,
        trace: (trace != Trace::default()).then(|| Box::new(trace)),
    })
}

fn encode_address(address: Address) -> link::Address {
    link::Address::new(address.incarnation, address.connection, address.generation, address.shard)
}

fn decode_address(address: &link::Address) -> Address {
    Address {
        incarnation: address.incarnation(),
        shard: address.shard(),
        connection: address.connection(),
        generation: address.generation(),
    }
}

fn id(bytes: [u8; 16]) -> link::Id {
    link::Id(bytes)
}

fn encode_chats<'b>(fbb: &mut Builder, chats: &[ChangedChat]) -> WIPOffset<Vector<'b, link::ChangedChat>> {
    let chat = |c: &ChangedChat| link::ChangedChat::new(&id(c.chat.0), c.head_seq, c.acked_seq, c.last_ms, c.ticked);
    let chats: Vec<_> = chats.iter().map(chat).collect();
    fbb.create_vector(&chats)
}

fn decode_chats(chats: Option<Vector<'_, link::ChangedChat>>) -> Vec<ChangedChat> {
    let chat = |c: &link::ChangedChat| ChangedChat {
        chat: ChatId(c.chat().0),
        head_seq: c.head_seq(),
        acked_seq: c.acked_seq(),
        last_ms: c.last_ms(),
        ticked: c.ticked(),
    };
    chats.map(|chats| chats.iter().map(chat).collect()).unwrap_or_default()
}

fn encode_facts<'b>(fbb: &mut FlatBufferBuilder<'b>, facts: &AccountFacts) -> WIPOffset<link::AccountFacts<'b>> {
    let device = |&(device, at_ms): &(DeviceId, u64)| link::RevokedDevice::new(at_ms, device.0);
    let revoked: Vec<_> = facts.revoked.iter().map(device).collect();
    let revoked = (!revoked.is_empty()).then(|| fbb.create_vector(&revoked));
    let read_receipts_off = facts.read_receipts_off;
    link::AccountFacts::create(fbb, &link::AccountFactsArgs { read_receipts_off, revoked })
}

fn decode_facts(facts: Option<link::AccountFacts<'_>>) -> AccountFacts {
    let Some(facts) = facts else { return AccountFacts::default() };
    let device = |device: &link::RevokedDevice| (DeviceId(device.device()), device.at_ms());
    AccountFacts {
        read_receipts_off: facts.read_receipts_off(),
        revoked: facts.revoked().map(|list| list.iter().map(device).collect()).unwrap_or_default(),
    }
}

fn encode_cursor(cursor: SyncCursor) -> link::SyncCursor {
    link::SyncCursor::new(cursor.last_ms, &id(cursor.chat.0))
}

fn decode_cursor(cursor: &link::SyncCursor) -> SyncCursor {
    SyncCursor { last_ms: cursor.last_ms(), chat: ChatId(cursor.chat().0) }
}

fn encode_recipients<'b>(
    fbb: &mut Builder,
    recipients: &[Recipient],
) -> WIPOffset<Vector<'b, ForwardsUOffset<link::Recipient<'b>>>> {
    let mut offsets = Vec::with_capacity(recipients.len());
    for devices in recipients.chunk_by(|one, other| one.user == other.user) {
        let position = |r: &Recipient| r.device.map(|device| link::DevicePosition::new(r.acked_seq, device.0));
        let positions: SmallVec<[_; 4]> = devices.iter().filter_map(position).collect();
        let positions = Some(fbb.create_vector(&positions));
        offsets.push(link::Recipient::create(fbb, &link::RecipientArgs { user: devices[0].user.get(), positions }));
    }
    fbb.create_vector(&offsets)
}

type Listed<'b> = Option<Vector<'b, ForwardsUOffset<link::Recipient<'b>>>>;

fn decode_recipients(recipients: Listed<'_>) -> Result<Recipients, EnvelopeError> {
    let mut out = Recipients::new();
    for recipient in recipients.iter().flatten() {
        let user = user(recipient.user())?;
        let position =
            |p: &link::DevicePosition| Recipient { user, device: Some(DeviceId(p.device())), acked_seq: p.acked_seq() };
        let before = out.len();
        out.extend(recipient.positions().iter().flatten().map(position));
        if out.len() == before {
            out.push(Recipient { user, device: None, acked_seq: 0 });
        }
    }
    Ok(out)
}

fn encode_targets<'b>(fbb: &mut Builder, targets: &[Target]) -> WIPOffset<Vector<'b, link::Target>> {
    let target = |t: &Target| link::Target::new(t.acked_seq, t.connection, t.generation);
    let targets: SmallVec<[_; 4]> = targets.iter().map(target).collect();
    fbb.create_vector(&targets)
}

fn decode_targets(targets: Option<Vector<'_, link::Target>>) -> SmallVec<[Target; 2]> {
    let target =
        |t: &link::Target| Target { connection: t.connection(), generation: t.generation(), acked_seq: t.acked_seq() };
    targets.map(|targets| targets.iter().map(target).collect()).unwrap_or_default()
}

fn encode_sessions<'b>(fbb: &mut Builder, sessions: &[(u32, u32)]) -> WIPOffset<Vector<'b, link::Session>> {
    let sessions: Vec<_> =
        sessions.iter().map(|&(connection, generation)| link::Session::new(connection, generation)).collect();
    fbb.create_vector(&sessions)
}

fn decode_sessions<C: FromIterator<(u32, u32)> + Default>(sessions: Option<Vector<'_, link::Session>>) -> C {
    sessions.map(|list| list.iter().map(|s| (s.connection(), s.generation())).collect()).unwrap_or_default()
}

fn user(id: u64) -> Result<UserId, EnvelopeError> {
    UserId::new(id).ok_or(EnvelopeError::OutOfRange("user"))
}

fn users<C: FromIterator<UserId> + Default>(list: Option<Vector<'_, u64>>) -> Result<C, EnvelopeError> {
    list.map_or_else(|| Ok(C::default()), |list| list.iter().map(user).collect())
}

mod body;
use body::{decode_body, encode_body};

#[cfg(test)]
mod tests;
