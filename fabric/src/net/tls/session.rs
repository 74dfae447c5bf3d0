//! One connection's records: what came in becomes plaintext, plaintext becomes what goes out.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, HandshakeKind, ProtocolVersion};

use super::ClientSession;

/// The longest record there is, with its head, bytes.
const RECORD_BYTES: usize = 5 + 16_384 + 2_048;
/// The longest handshake message rustls takes, bytes.
const HANDSHAKE_BYTES: usize = 0xffff;
/// What a record adds to its plaintext, bytes at most.
const OVERHEAD_BYTES: usize = 64;
/// Plaintext of one record, bytes at most.
const FRAGMENT_BYTES: usize = 16_384;
/// A record's first bytes while a handshake is to come: its type, and the version's upper half.
const HANDSHAKE_HEAD: [u8; 2] = [22, 3];

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The first bytes are no TLS.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// A record, or a handshake message in parts, is longer than any honest one.
    #[error("a TLS record or handshake message is too long")]
    TooLong,
    /// The peer broke the protocol, refused us, or has nothing in common with us.
    #[error("TLS: {0}")]
    Protocol(#[from] rustls::Error),
    /// Nothing can be sealed: the handshake is not over, or the connection is closing.
    #[error("the TLS connection is not open for sending")]
    NotOpen,
}

/// What [`Session::receive`] came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// The handshake ended with these bytes.
    pub opened: bool,
    /// The peer has said that nothing follows.
    pub ended: bool,
}

/// An end of a connection, as rustls has it.
pub trait Side: core::ops::Deref<Target: core::ops::Deref<Target = CommonState>> {
    /// What rustls keeps for it.
    type Data;
    /// Bytes of an unfinished record, or handshake message, that are kept at most.
    const KEPT_BYTES: usize;
    /// Whether the first byte that comes must be a handshake's.
    const HEARS_FIRST: bool;

    /// Works on records.
    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    const KEPT_BYTES: usize = RECORD_BYTES;
    const HEARS_FIRST: bool = true;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    // A server's chain of certificates may be longer than a record.
    const KEPT_BYTES: usize = HANDSHAKE_BYTES + RECORD_BYTES;
    const HEARS_FIRST: bool = false;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(records)
    }
}

/// One connection. Belongs to one thread.
pub struct Session<S: Side> {
    side: S,
    /// The begin of a record that has not come whole.
    kept: Vec<u8>,
    /// The first bytes were a handshake's.
    begun: bool,
    open: bool,
    ended: bool,
    closed: bool,
}

/// What a state of rustls asks of the loop.
enum Next {
    /// Look again, after discarding so many bytes more than the status said.
    Again(usize),
    Blocked,
    Open,
    Ended,
    Closed,
}

impl<S: Side> Session<S> {
    pub(super) const fn new(side: S) -> Self {
        Self { side, kept: Vec::new(), begun: false, open: false, ended: false, closed: false }
    }

    /// The handshake is over and nothing has ended: [`Self::seal`] works.
    pub const fn is_open(&self) -> bool {
        self.open && !self.closed
    }

    /// The peer said that nothing follows: the stream's end, when it comes, is no truncation.
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether what [`Self::receive`] gave to send at the handshake's end may wait for the first output: TLS 1.3 leaves only
    /// session tickets then, which no client waits for; in 1.2 it is what ends the handshake.
    pub fn may_wait(&self) -> bool {
        self.side.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Whether the handshake took up an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.side.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The application protocol agreed on.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.side.alpn_protocol()
    }

    /// Copies what was kept of an unfinished record to the begin of `buffer`; what is read next goes behind it, for
    /// [`Self::receive`]. So many bytes: less than 19 KiB at a server, than 84 KiB at a client.
    pub fn restore(&self, buffer: &mut [u8]) -> usize {
        buffer[..self.kept.len()].copy_from_slice(&self.kept);
        self.kept.len()
    }

    /// Takes records: `input` begins with what [`Self::restore`] gave. Plaintext goes to `heard`, what is to be sent at once
    /// is appended to `out`.
    ///
    /// # Errors
    /// The connection must end; an alert that says so is in `out`.
    pub fn receive(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(&[u8]),
    ) -> Result<Heard, TlsError> {
        debug_assert!(input.starts_with(&self.kept), "what was kept comes first");
        if S::HEARS_FIRST && !self.begun {
            if input.iter().zip(&HANDSHAKE_HEAD).any(|(came, due)| came != due) {
                return Err(TlsError::NotTls);
            }
            self.begun = input.len() >= HANDSHAKE_HEAD.len();
        }
        let mut told = Heard::default();
        let mut taken = 0;
        loop {
            let UnbufferedStatus { discard, state } = self.side.process(&mut input[taken..]);
            let next = state.map(|state| step(state, out, heard));
            taken += discard;
            match next {
                Ok(Next::Again(more)) => taken += more,
                Ok(Next::Ended) => told.ended = !core::mem::replace(&mut self.ended, true),
                Ok(Next::Blocked | Next::Closed) => break,
                Ok(Next::Open) => {
                    told.opened = !core::mem::replace(&mut self.open, true);
                    break;
                }
                Err(error) => {
                    self.alert(&mut input[taken..], out);
                    return Err(error.into());
                }
            }
        }
        let rest = &input[taken..];
        if rest.len() > S::KEPT_BYTES {
            self.closed = true;
            return Err(TlsError::TooLong);
        }
        // An exact copy, or none: an idle connection owns nothing here.
        self.kept = if self.ended { Vec::new() } else { rest.to_vec() };
        Ok(told)
    }

    /// After an error: what it made to be sent.
    fn alert(&mut self, rest: &mut [u8], out: &mut Vec<u8>) {
        self.closed = true;
        // Only as long as there is something: it comes before any look at what is left of the input.
        while self.side.wants_write() {
            let UnbufferedStatus { state, .. } = self.side.process(rest);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else { break };
            append(out, 0, |room| encoded(data.encode(room)));
        }
    }

    /// Appends `plain` to `out` as records.
    ///
    /// # Errors
    /// `NotOpen` before the handshake's end and after [`Self::close`]; `Protocol` when the keys are used up.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        let room = plain.len() + OVERHEAD_BYTES * (1 + plain.len() / FRAGMENT_BYTES);
        self.traffic(out, |traffic, out| append(out, room, |room| encrypted(traffic.encrypt(plain, room))))
    }

    /// Appends a close notify to `out`, once: nothing is sealed after it. Without effect before the handshake's end.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        let closed = self.traffic(out, |traffic, out| {
            append(out, OVERHEAD_BYTES, |room| encrypted(traffic.queue_close_notify(room)))
        });
        // Before the handshake's end there is nothing to close, and with used up keys there is nothing to say.
        drop(closed);
        self.closed = true;
    }

    fn traffic(
        &mut self,
        out: &mut Vec<u8>,
        mut act: impl FnMut(&mut WriteTraffic<'_, S::Data>, &mut Vec<u8>) -> bool,
    ) -> Result<(), TlsError> {
        if !self.is_open() {
            return Err(TlsError::NotOpen);
        }
        loop {
            // What is kept comes along: rustls knows parts of messages by their place in it.
            let UnbufferedStatus { discard, state } = self.side.process(&mut self.kept);
            let done = match state? {
                ConnectionState::WriteTraffic(mut traffic) => Some(act(&mut traffic, out)),
                state => {
                    match step(state, out, &mut |_| debug_assert!(false, "all plaintext was heard when it came")) {
                        Next::Again(_) | Next::Ended => None,
                        Next::Blocked | Next::Open | Next::Closed => Some(false),
                    }
                }
            };
            self.kept.drain(..discard);
            match done {
                Some(true) => return Ok(()),
                Some(false) => return Err(TlsError::NotOpen),
                None => {}
            }
        }
    }
}

impl ClientSession {
    /// Begins the handshake: what to send first is appended to `out`.
    ///
    /// # Errors
    /// `Protocol` when the configuration allows no handshake.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.receive(&mut [], out, &mut |_| {}).map(drop)
    }
}

fn step<D>(state: ConnectionState<'_, '_, D>, out: &mut Vec<u8>, heard: &mut dyn FnMut(&[u8])) -> Next {
    match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            let mut discard = 0;
            while let Some(Ok(record)) = traffic.next_record() {
                heard(record.payload);
                discard += record.discard;
            }
            Next::Again(discard)
        }
        ConnectionState::EncodeTlsData(mut data) => {
            append(out, 0, |room| encoded(data.encode(room)));
            Next::Again(0)
        }
        ConnectionState::TransmitTlsData(data) => {
            // It is sent behind what `out` has, in order: to rustls that is sent.
            data.done();
            Next::Again(0)
        }
        ConnectionState::PeerClosed => Next::Ended,
        ConnectionState::Closed => Next::Closed,
        ConnectionState::WriteTraffic(_) => Next::Open,
        // Early data is never offered; whatever states rustls gains wait for their bytes like a handshake.
        _ => Next::Blocked,
    }
}

/// What an attempt to write into given room came to.
enum Wrote {
    Bytes(usize),
    Needs(usize),
    Never,
}

fn encoded(result: Result<usize, EncodeError>) -> Wrote {
    match result {
        Ok(bytes) => Wrote::Bytes(bytes),
        Err(EncodeError::InsufficientSize(size)) => Wrote::Needs(size.required_size),
        Err(EncodeError::AlreadyEncoded) => Wrote::Never,
    }
}

fn encrypted(result: Result<usize, EncryptError>) -> Wrote {
    match result {
        Ok(bytes) => Wrote::Bytes(bytes),
        Err(EncryptError::InsufficientSize(size)) => Wrote::Needs(size.required_size),
        Err(EncryptError::EncryptExhausted) => Wrote::Never,
    }
}

/// Appends to `out` what `write` puts into room for it. `false`: it has nothing and will have nothing.
fn append(out: &mut Vec<u8>, room: usize, mut write: impl FnMut(&mut [u8]) -> Wrote) -> bool {
    let from = out.len();
    let mut room = room;
    loop {
        out.resize(from + room, 0);
        match write(&mut out[from..]) {
            Wrote::Bytes(bytes) => {
                out.truncate(from + bytes);
                return true;
            }
            Wrote::Needs(bytes) if bytes > room => room = bytes,
            Wrote::Needs(_) | Wrote::Never => {
                out.truncate(from);
                return false;
            }
        }
    }
}
