//! Frames of a link: u32 length, little-endian, of what follows; u8 kind; payload.
//!
//! What must stay true: before a peer has proved who it is, no frame may make the receiver keep more than
//! [`SMALL_BYTES_MAX`]; whatever bytes come, reading them ends in a value or an error.

use bytes::{Buf as _, BufMut as _, Bytes};
use schema::envelope::{Envelope, EnvelopeError, EnvelopeWriter};

use super::To;
use super::refusal::RefusalCode;

/// Largest frame but a parcel, bytes after the length.
pub(super) const SMALL_BYTES_MAX: usize = 1_024;
/// Largest parcel, bytes after the length.
pub(super) const PARCEL_BYTES_MAX: usize = 16 << 20;
/// Bytes of the length before every frame.
pub(super) const LENGTH_BYTES: usize = 4;
/// Longest text of a refusal, bytes.
const SAID_BYTES_MAX: usize = 512;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    /// The dialer says who it is.
    Hello = 1,
    /// The acceptor does, with its proof.
    Welcome = 2,
    /// The dialer's proof.
    Proof = 3,
    /// No link, and why.
    Refusal = 4,
    /// A sign of life: u64, bytes received so far; u8, a [`Word`], absent from who knows none; where the word says so, a list of
    /// u64 to the end. The acceptor's first one says that the link stands.
    Heartbeat = 5,
    /// u64 count, destination, envelope.
    Parcel = 6,
    /// The sender ends the link on purpose.
    Bye = 7,
}

/// What an end says with every heartbeat besides that it lives.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Word(u8);

impl Word {
    /// This node stops soon.
    const LEAVES: u8 = 1;
    /// The peer, which stops soon, is not waited for any more.
    const LETS_GO: u8 = 2;
    /// A list of those whom this node hears follows.
    const LISTS: u8 = 4;

    pub(super) const fn new(leaves: bool, lets_go: bool) -> Self {
        Self(if leaves { Self::LEAVES } else { 0 } | if lets_go { Self::LETS_GO } else { 0 })
    }

    pub(super) const fn leaves(self) -> bool {
        self.0 & Self::LEAVES != 0
    }

    pub(super) const fn lets_go(self) -> bool {
        self.0 & Self::LETS_GO != 0
    }
}

/// Why a peer's bytes are no frames of a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("a frame of {bytes} bytes exceeds the {limit} allowed here: the peer does not speak the link protocol")]
    TooLarge { bytes: usize, limit: usize },
    #[error("a frame of kind {0} does not belong here")]
    Unexpected(u8),
    #[error("a frame ends too early")]
    Short,
    #[error("the first frame does not begin like a link's: this address is for other nodes, not for clients")]
    NoLink,
    #[error("a {0} is malformed")]
    Malformed(&'static str),
    #[error("parcel {expected} was expected and {found} came: parcels are missing")]
    Hole { expected: u64, found: u64 },
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

impl Kind {
    pub(super) const fn from_byte(byte: u8) -> Result<Self, WireError> {
        Ok(match byte {
            1 => Self::Hello,
            2 => Self::Welcome,
            3 => Self::Proof,
            4 => Self::Refusal,
            5 => Self::Heartbeat,
            6 => Self::Parcel,
            7 => Self::Bye,
            other => return Err(WireError::Unexpected(other)),
        })
    }
}

/// Bytes of the frame at the beginning of `input` with its length; `None` until the length has come.
pub(super) fn frame_bytes(input: &[u8], limit: usize) -> Result<Option<usize>, WireError> {
    let Some(length) = input.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    match u32::from_le_bytes(*length) as usize {
        0 => Err(WireError::Short),
        bytes if bytes > limit => Err(WireError::TooLarge { bytes, limit }),
        bytes => Ok(Some(LENGTH_BYTES + bytes)),
    }
}

/// Appends a frame whose payload `write` appends.
pub(super) fn put_frame(out: &mut Vec<u8>, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32_le(0);
    out.put_u8(kind as u8);
    write(out);
    let bytes = (out.len() - start - LENGTH_BYTES) as u32;
    out[start..start + LENGTH_BYTES].copy_from_slice(&bytes.to_le_bytes());
}

/// Appends a parcel; `false` and nothing if it exceeds [`PARCEL_BYTES_MAX`].
pub(super) fn put_parcel(
    out: &mut Vec<u8>,
    writer: &mut EnvelopeWriter,
    count: u64,
    to: To,
    envelope: &Envelope,
) -> bool {
    let start = out.len();
    put_frame(out, Kind::Parcel, |out| {
        out.put_u64_le(count);
        match to {
            To::Owner => out.put_u8(0),
            To::Router => out.put_u8(1),
            To::Gateway { incarnation, shard } => {
                out.put_u8(2);
                out.put_u64_le(incarnation);
                out.put_u16_le(shard);
            }
            To::Gateways => out.put_u8(3),
        }
        writer.write(envelope, out);
    });
    let fits = out.len() - start - LENGTH_BYTES <= PARCEL_BYTES_MAX;
    if !fits {
        out.truncate(start);
    }
    fits
}

/// The number of a connection's first parcel: from the dialer's proof, so that each life of a link counts differently.
pub(super) fn first_count(proof: &[u8]) -> u64 {
    proof.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Reads a parcel's payload; its envelope shares `payload`.
pub(super) fn parcel(mut payload: Bytes, expected: u64) -> Result<(To, Envelope), WireError> {
    let found = payload.try_get_u64_le().map_err(|_| WireError::Short)?;
    if found != expected {
        return Err(WireError::Hole { expected, found });
    }
    let to = match payload.try_get_u8().map_err(|_| WireError::Short)? {
        0 => To::Owner,
        1 => To::Router,
        2 => To::Gateway {
            incarnation: payload.try_get_u64_le().map_err(|_| WireError::Short)?,
            shard: payload.try_get_u16_le().map_err(|_| WireError::Short)?,
        },
        3 => To::Gateways,
        _ => return Err(WireError::Malformed("destination")),
    };
    Ok((to, schema::envelope::decode(&payload)?))
}

/// `hears`: whom the sender hears, if it says so.
pub(super) fn put_heartbeat(out: &mut Vec<u8>, received: u64, word: Word, hears: Option<&[u64]>) {
    put_frame(out, Kind::Heartbeat, |out| {
        out.put_u64_le(received);
        out.put_u8(word.0 | if hears.is_some() { Word::LISTS } else { 0 });
        hears.into_iter().flatten().for_each(|one| out.put_u64_le(*one));
    });
}

/// What the sender of a heartbeat has received, and what else it says; what a later version appends is ignored.
pub(super) fn heartbeat(payload: &[u8]) -> Result<(u64, Word, Option<Vec<u64>>), WireError> {
    let (received, rest) = payload.split_first_chunk().ok_or(WireError::Short)?;
    let (word, rest) = rest.split_first().map_or((Word::default(), rest), |(word, rest)| (Word(*word), rest));
    let (list, rest) = rest.as_chunks();
    let hears = (word.0 & Word::LISTS != 0).then(|| list.iter().map(|one| u64::from_le_bytes(*one)).collect());
    match (&hears, rest) {
        (Some(_), [_, ..]) => Err(WireError::Malformed("heartbeat")),
        _ => Ok((u64::from_le_bytes(*received), word, hears)),
    }
}

pub(super) fn put_refusal(out: &mut Vec<u8>, code: RefusalCode, said: &str) {
    let said = &said[..said.floor_char_boundary(SAID_BYTES_MAX)];
    put_frame(out, Kind::Refusal, |out| {
        out.put_u8(code.code());
        out.extend_from_slice(said.as_bytes());
    });
}

/// Reads a refusal; its text comes from whoever is at the other end, so only what prints is kept.
pub(super) fn refusal(payload: &[u8]) -> Result<(RefusalCode, String), WireError> {
    let (&code, said) = payload.split_first().ok_or(WireError::Short)?;
    let said = String::from_utf8_lossy(said).chars().filter(|c| !c.is_control()).take(SAID_BYTES_MAX).collect();
    Ok((RefusalCode::from_code(code), said))
}
