//! Frames of the client protocol: cut from a byte stream, verified once, then read in place.
//!
//! The only unsafe code of the workspace's contract is here: an unchecked root behind types whose constructors verify.

mod plain;

pub use plain::entry_kind;

use bytes::Bytes;
use flatbuffers::{InvalidFlatbuffer, VerifierOptions};

use crate::arena::Arena;
use crate::wire::{self, Frame};

/// Bytes of the length prefix before every frame.
pub const PREFIX_BYTES: usize = 4;
/// The file identifier of client frames.
pub const FILE_IDENTIFIER: &str = "SWC1";
/// Smallest thing that can be a frame: prefix, root offset, identifier.
pub const MIN_FRAME_BYTES: usize = 12;

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length prefix exceeds the limit.
    #[error("a frame of {len_bytes} bytes exceeds the limit of {limit_bytes} bytes")]
    TooLarge {
        /// Announced length with its prefix.
        len_bytes: usize,
        /// The limit it exceeds.
        limit_bytes: usize,
    },
    /// Shorter than any frame, or shorter than its prefix says.
    #[error("a frame is truncated: {have_bytes} bytes of {need_bytes}")]
    Truncated {
        /// Bytes there.
        have_bytes: usize,
        /// Bytes needed.
        need_bytes: usize,
    },
    /// Not `SWC1`.
    #[error("a frame's file identifier is not {FILE_IDENTIFIER}")]
    WrongIdentifier,
    /// The verifier refused it: depth, table count, offsets or missing fields.
    #[error("a frame's tables are malformed: {0}")]
    Malformed(String),
}

/// Finds the first frame of `stream`: `Ok(Some(len))` with its length including the prefix (it may be longer than
/// `stream` so far), `Ok(None)` when even the prefix is incomplete.
///
/// # Errors
/// `TooLarge` above `limit_bytes` (prefix included), `Truncated` when the prefix announces less than any frame has.
pub fn frame_len(stream: &[u8], limit_bytes: usize) -> Result<Option<usize>, FrameError> {
    let Some(prefix) = stream.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let len_bytes = u32::from_le_bytes(*prefix) as usize + PREFIX_BYTES;
    if len_bytes > limit_bytes {
        return Err(FrameError::TooLarge { len_bytes, limit_bytes });
    }
    if len_bytes < MIN_FRAME_BYTES {
        return Err(FrameError::Truncated { have_bytes: len_bytes, need_bytes: MIN_FRAME_BYTES });
    }
    Ok(Some(len_bytes))
}

const VERIFIER: VerifierOptions =
    VerifierOptions { max_depth: 8, max_tables: 16, max_apparent_size: 1 << 26, ignore_missing_null_terminator: false };

/// Pages nest entries as bytes, one table each.
const PAGE_VERIFIER: VerifierOptions = VerifierOptions { max_tables: 1_100, ..VERIFIER };

/// Verifies frames of clients, and knows how the last ones were laid out: the next like them cost little. One a thread.
#[derive(Clone, Default)]
pub struct Verifier(plain::Skeletons);

impl Verifier {
    /// As [`FrameRef::verify`].
    ///
    /// # Errors
    /// Any [`FrameError`] but `TooLarge`.
    pub fn verify<'a>(&mut self, bytes: &'a [u8]) -> Result<FrameRef<'a>, FrameError> {
        verify_with(bytes, &VERIFIER, |bytes| self.0.is_plain(bytes))?;
        Ok(FrameRef(bytes))
    }
}

impl core::fmt::Debug for Verifier {
    /// Without what it has seen.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Verifier")
    }
}

fn verify(bytes: &[u8], options: &VerifierOptions) -> Result<(), FrameError> {
    verify_with(bytes, options, plain::is_plain)
}

fn verify_with(
    bytes: &[u8],
    options: &VerifierOptions,
    is_plain: impl FnOnce(&[u8]) -> bool,
) -> Result<(), FrameError> {
    let have_bytes = bytes.len();
    if have_bytes < MIN_FRAME_BYTES {
        return Err(FrameError::Truncated { have_bytes, need_bytes: MIN_FRAME_BYTES });
    }
    let need_bytes = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize + PREFIX_BYTES;
    if need_bytes != have_bytes {
        return Err(FrameError::Truncated { have_bytes, need_bytes });
    }
    if &bytes[8..12] != FILE_IDENTIFIER.as_bytes() {
        return Err(FrameError::WrongIdentifier);
    }
    if is_plain(bytes) {
        return Ok(());
    }
    wire::size_prefixed_root_as_frame_with_opts(options, bytes)
        .map(|_| ())
        .map_err(|e: InvalidFlatbuffer| FrameError::Malformed(e.to_string()))
}

/// A verified frame, borrowed from a read buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FrameRef<'a>(&'a [u8]);

/// A verified frame that owns (a share of) its bytes, size prefix included.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedFrame(Bytes);

impl<'a> FrameRef<'a> {
    /// Verifies one whole frame (size prefix included) that came from a client.
    ///
    /// # Errors
    /// Any [`FrameError`] but `TooLarge`.
    pub fn verify(bytes: &'a [u8]) -> Result<Self, FrameError> {
        verify(bytes, &VERIFIER)?;
        Ok(Self(bytes))
    }

    /// As [`Self::verify`], for what a server sends: history pages hold many tables.
    ///
    /// # Errors
    /// Any [`FrameError`] but `TooLarge`.
    pub fn verify_from_server(bytes: &'a [u8]) -> Result<Self, FrameError> {
        verify(bytes, &PAGE_VERIFIER)?;
        Ok(Self(bytes))
    }

    /// The frame's root, read in place.
    #[allow(unsafe_code)]
    pub fn root(self) -> Frame<'a> {
        // SAFETY: the constructors verified exactly these bytes, and they cannot have changed: the borrow is shared.
        unsafe { wire::size_prefixed_root_as_frame_unchecked(self.0) }
    }

    /// The bytes, size prefix included.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// A copy that outlives the read buffer.
    pub fn to_frame(self) -> VerifiedFrame {
        VerifiedFrame(Bytes::copy_from_slice(self.0))
    }

    /// As [`Self::to_frame`], for many short-lived frames.
    pub fn to_frame_in(self, arena: &mut Arena) -> VerifiedFrame {
        VerifiedFrame(arena.copy(self.0))
    }
}

impl VerifiedFrame {
    /// Verifies one whole frame (size prefix included).
    ///
    /// # Errors
    /// Any [`FrameError`] but `TooLarge`.
    pub fn verify(bytes: Bytes) -> Result<Self, FrameError> {
        verify(&bytes, &VERIFIER)?;
        Ok(Self(bytes))
    }

    /// Borrows it.
    pub fn as_ref(&self) -> FrameRef<'_> {
        FrameRef(&self.0)
    }

    /// The frame's root, read in place.
    pub fn root(&self) -> Frame<'_> {
        self.as_ref().root()
    }

    /// The bytes, size prefix included.
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Shares a part of this frame's bytes, e.g. its client_msg_id, without copying.
    ///
    /// # Panics
    /// When `part` is not inside this frame.
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.0.slice_ref(part)
    }
}

impl core::fmt::Debug for VerifiedFrame {
    /// Never prints content (invariant 11).
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "VerifiedFrame({:?}, {} bytes)", self.root().body_type(), self.0.len())
    }
}
impl core::fmt::Debug for FrameRef<'_> {
    /// Never prints content (invariant 11).
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FrameRef({:?}, {} bytes)", self.root().body_type(), self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encode::Encoder;
    use crate::ids::{ChatId, UserId};

    fn a_frame() -> Bytes {
        let chat = ChatId::direct(UserId::new(1).unwrap(), UserId::new(2).unwrap());
        Encoder::new().mark(chat, 7, None, wire::MarkStatus::read)
    }

    #[test]
    fn a_frame_is_cut_from_a_stream_by_its_prefix() {
        let frame = a_frame();
        for have in 0..PREFIX_BYTES {
            assert_eq!(frame_len(&frame[..have], 1_000), Ok(None));
        }
        assert_eq!(frame_len(&frame[..PREFIX_BYTES], 1_000), Ok(Some(frame.len())));
        let limit_bytes = frame.len() - 1;
        let too_large = FrameError::TooLarge { len_bytes: frame.len(), limit_bytes };
        assert_eq!(frame_len(&frame, limit_bytes), Err(too_large));
        assert!(matches!(frame_len(&[3, 0, 0, 0], 1_000), Err(FrameError::Truncated { .. })));
        assert!(matches!(frame_len(&[255; 4], usize::MAX >> 1), Ok(Some(_))), "no overflow");
    }

    #[test]
    fn debug_output_never_shows_content() {
        let frame = VerifiedFrame::verify(Encoder::new().hello(b"secret-token", b"agent", 0)).unwrap();
        let shown = format!("{frame:?} {:?}", frame.as_ref());
        assert!(shown.contains("Hello") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_page_of_many_entries_is_for_clients_only() {
        let chat = ChatId::direct(UserId::new(1).unwrap(), UserId::new(2).unwrap());
        let entries = vec![a_frame(); 1_000];
        let page = Encoder::new().history_page(1, chat, (1, 1_000), 1_000, entries.iter().map(|entry| &entry[..]));
        assert!(FrameRef::verify_from_server(&page).is_ok());
        assert!(matches!(FrameRef::verify(&page), Err(FrameError::Malformed(_))), "a server takes at most 16 tables");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn altered_frames_are_refused_or_read_without_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = a_frame().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(frame) = FrameRef::verify(&bytes)
                && let Some(mark) = frame.root().body_as_mark()
            {
                let _ = (mark.chat_id(), mark.message_id(), mark.seq(), mark.status());
            }
        }

        #[test]
        fn truncated_frames_are_refused(cut in any::<prop::sample::Index>()) {
            let frame = a_frame();
            prop_assert!(FrameRef::verify(&frame[..cut.index(frame.len())]).is_err());
        }
    }
}
