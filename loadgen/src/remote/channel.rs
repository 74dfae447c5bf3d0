//! The channel between leader and remote worker: a handshake by which each proves that it knows the secret, then frames.
//!
//! The worker says a greeting and a nonce; the leader answers with its own nonce and an HMAC over both; the worker with a
//! byte (1: welcome, 0: refused) and an HMAC of its own. From secret and nonces comes a key for each direction. A frame is
//! its length (u32, little-endian), then JSON sealed by ChaCha20-Poly1305 with a nonce that counts frames. There is no
//! forward secrecy: who learns the secret later can read what was recorded.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use fabric::entropy::{Entropy as _, OsEntropy};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::secret::Secret;

/// Grows when leader and worker of two versions would misunderstand each other.
const GREETING: &[u8; 20] = b"shardwire-loadgen 1\n";
/// A side that does not speak for so long during the handshake is none.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Longest frame.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// Why a channel ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Something else answers there, or another version.
    #[error("no load generator of this version answers there")]
    Greeting,
    /// The other side does not know the secret.
    #[error("the secrets of leader and worker differ")]
    Secret,
    /// A frame is too long, was changed on its way, or says nothing known.
    #[error("a frame is damaged or of another version")]
    Frame,
}

/// Writes frames.
pub struct Sender {
    stream: TcpStream,
    key: LessSafeKey,
    frames: u64,
}

/// Reads frames.
pub struct Receiver {
    stream: TcpStream,
    key: LessSafeKey,
    frames: u64,
}

/// The leader's side of the handshake.
///
/// # Errors
/// See [`Error`].
pub fn lead(mut stream: TcpStream, secret: &Secret) -> Result<(Sender, Receiver), Error> {
    prepare(&stream)?;
    let mut greeting = [0; GREETING.len() + 32];
    stream.read_exact(&mut greeting)?;
    let (word, theirs) = greeting.split_at(GREETING.len());
    if word != GREETING {
        return Err(Error::Greeting);
    }
    let own = nonce();
    stream.write_all(&[&own[..], &secret.tag(&[b"leader", theirs, &own])].concat())?;
    let mut answer = [0; 33];
    stream.read_exact(&mut answer)?;
    if answer[0] != 1 || !secret.verify(&[b"worker", theirs, &own], &answer[1..]) {
        return Err(Error::Secret);
    }
    let (to_worker, to_leader) = keys(secret, theirs, &own);
    ends(stream, to_worker, to_leader)
}

/// The worker's side of the handshake.
///
/// # Errors
/// See [`Error`].
pub fn follow(mut stream: TcpStream, secret: &Secret) -> Result<(Sender, Receiver), Error> {
    prepare(&stream)?;
    let own = nonce();
    stream.write_all(&[&GREETING[..], &own].concat())?;
    let mut answer = [0; 64];
    stream.read_exact(&mut answer)?;
    let (theirs, tag) = answer.split_at(32);
    if !secret.verify(&[b"leader", &own, theirs], tag) {
        stream.write_all(&[0; 33])?;
        return Err(Error::Secret);
    }
    stream.write_all(&[&[1][..], &secret.tag(&[b"worker", &own, theirs])].concat())?;
    let (to_worker, to_leader) = keys(secret, &own, theirs);
    ends(stream, to_leader, to_worker)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(HANDSHAKE_WITHIN))?;
    stream.set_read_timeout(Some(HANDSHAKE_WITHIN))
}

fn nonce() -> [u8; 32] {
    let mut nonce = [0; 32];
    OsEntropy.fill(&mut nonce);
    nonce
}

fn keys(secret: &Secret, worker: &[u8], leader: &[u8]) -> (LessSafeKey, LessSafeKey) {
    let key = |direction: &[u8]| {
        let bytes = secret.tag(&[direction, worker, leader]);
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &bytes).expect("a key has 32 bytes"))
    };
    (key(b"to worker"), key(b"to leader"))
}

fn ends(stream: TcpStream, sends: LessSafeKey, receives: LessSafeKey) -> Result<(Sender, Receiver), Error> {
    let sender = Sender { stream: stream.try_clone()?, key: sends, frames: 0 };
    Ok((sender, Receiver { stream, key: receives, frames: 0 }))
}

fn next_nonce(frames: &mut u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&frames.to_le_bytes());
    *frames += 1;
    Nonce::assume_unique_for_key(bytes)
}

impl Sender {
    /// Sends one message.
    ///
    /// # Errors
    /// The connection has ended, or takes nothing for 10 s.
    pub fn send(&mut self, message: &impl Serialize) -> Result<(), Error> {
        let mut frame = serde_json::to_vec(message).map_err(|_| Error::Frame)?;
        self.key
            .seal_in_place_append_tag(next_nonce(&mut self.frames), Aad::empty(), &mut frame)
            .map_err(|_| Error::Frame)?;
        let len = u32::try_from(frame.len()).ok().filter(|len| *len as usize <= FRAME_BYTES_MAX).ok_or(Error::Frame)?;
        self.stream.write_all(&len.to_le_bytes())?;
        Ok(self.stream.write_all(&frame)?)
    }

    /// Ends both directions: a receiver that waits is told.
    pub fn end(&self) {
        // It may have ended by itself.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

impl Receiver {
    /// Waits for one message, at most for `within` at a time without a byte.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn receive<T: DeserializeOwned>(&mut self, within: Duration) -> Result<T, Error> {
        self.stream.set_read_timeout(Some(within))?;
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        let len = u32::from_le_bytes(len) as usize;
        if len > FRAME_BYTES_MAX {
            return Err(Error::Frame);
        }
        let mut frame = Vec::new();
        (&self.stream).take(len as u64).read_to_end(&mut frame)?;
        let nonce = next_nonce(&mut self.frames);
        let text = self.key.open_in_place(nonce, Aad::empty(), &mut frame).map_err(|_| Error::Frame)?;
        serde_json::from_slice(text).map_err(|_| Error::Frame)
    }
}
