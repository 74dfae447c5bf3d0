//! A raw native client: frames in, frames out, nothing by itself.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use fabric::core::Protocol;
use schema::encode::{Encoder, SendFields, SendTarget};
use schema::errors::ErrorCode;
use schema::frame::{FrameRef, frame_len};
use schema::ids::{ChatId, MessageId, UserId};
use schema::wire::{Body, EntryKind, Frame, MarkStatus};

use super::{Deadline, Tls};

/// How long an answer may take, s.
const PATIENCE_S: u64 = 30;
/// How long a send waits after the server said that it is overloaded.
const AGAIN: Duration = Duration::from_millis(100);

/// A verified frame of the server.
pub struct Got(Vec<u8>);

impl Got {
    /// Its root.
    ///
    /// # Panics
    /// Never: it was verified when it came.
    pub fn root(&self) -> Frame<'_> {
        FrameRef::verify_from_server(&self.0).expect("verified when it came").root()
    }

    /// Its kind.
    pub fn kind(&self) -> Body {
        self.root().body_type()
    }

    /// (client_msg_id, message id, seq), of an acknowledgement.
    pub fn ack(&self) -> Option<(Vec<u8>, MessageId, u64)> {
        let root = self.root();
        let ack = root.body_as_send_ack()?;
        Some((ack.client_msg_id()?.bytes().to_vec(), MessageId::from(ack.message_id()?), ack.seq()))
    }

    /// The error's code, of an error or a goodbye.
    pub fn code(&self) -> Option<u16> {
        let root = self.root();
        root.body_as_error().map(|error| error.code()).or_else(|| root.body_as_goodbye().map(|goodbye| goodbye.code()))
    }
}

/// What a connection goes through.
pub trait Wire: std::io::Read + std::io::Write {
    /// The socket below.
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

/// One connection.
pub struct Native<W: Wire = TcpStream> {
    stream: W,
    input: Vec<u8>,
    /// Writes frames.
    pub encoder: Encoder,
}

impl Native {
    /// Connects and says nothing.
    ///
    /// # Errors
    /// When the server is not there.
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Connects, says hello and waits for the welcome.
    ///
    /// # Errors
    /// When the connection breaks or the answer is no welcome.
    pub fn login(address: SocketAddr, token: &str) -> std::io::Result<Self> {
        Self::connect(address)?.hello(token)
    }
}

impl Native<Tls> {
    /// Connects through TLS, says hello and waits for the welcome.
    ///
    /// # Errors
    /// As [`Native::login`], or when the server is not trusted.
    pub fn login_tls(address: SocketAddr, authority: &Path, token: &str) -> std::io::Result<Self> {
        Self::over(Tls::connect(address, authority, Protocol::Native)?)?.hello(token)
    }

    /// Says that nothing more comes, and means it.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn close_notify(&mut self) -> std::io::Result<()> {
        self.stream.close_notify()
    }
}

impl<W: Wire> Native<W> {
    /// A connection that stands; nothing is said.
    ///
    /// # Errors
    /// When it has broken.
    pub fn over(stream: W) -> std::io::Result<Self> {
        stream.socket().set_nodelay(true)?;
        stream.socket().set_write_timeout(Some(Duration::from_secs(PATIENCE_S)))?;
        Ok(Self { stream, input: Vec::new(), encoder: Encoder::new() })
    }

    /// Says hello and waits for the welcome.
    ///
    /// # Errors
    /// When the connection breaks or the answer is no welcome.
    pub fn hello(self, token: &str) -> std::io::Result<Self> {
        let mut native = self;
        let hello = native.encoder.hello(token.as_bytes(), b"shardwire-tests", 0);
        native.write(&hello)?;
        match native.next(PATIENCE_S)? {
            Some(got) if got.kind() == Body::Welcome => Ok(native),
            Some(got) => Err(std::io::Error::other(format!("{:?} {:?} instead of a welcome", got.kind(), got.code()))),
            None => Err(std::io::Error::other("no welcome")),
        }
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more comes.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn end_writing(&self) -> std::io::Result<()> {
        self.stream.socket().shutdown(std::net::Shutdown::Write)
    }

    /// A send frame of a plain message.
    pub fn message(&mut self, client_msg_id: &str, to: UserId, body: &[u8], retry: bool) -> Vec<u8> {
        let fields = SendFields {
            client_msg_id: client_msg_id.as_bytes(),
            target: SendTarget::User(to),
            kind: EntryKind::message,
            content_type: 0,
            body,
            refers_to: None,
            after_seq: 0,
            retry,
        };
        self.encoder.send(&fields).to_vec()
    }

    /// Sends a message and waits for its acknowledgement; other frames are dropped. A server that is overloaded is asked again,
    /// as every client does.
    ///
    /// # Errors
    /// When the connection breaks, the send is refused, or nothing comes in time.
    pub fn send(&mut self, client_msg_id: &str, to: UserId, body: &[u8]) -> std::io::Result<(MessageId, u64)> {
        let deadline = Deadline::after_s(PATIENCE_S);
        let mut retry = false;
        loop {
            let frame = self.message(client_msg_id, to, body, retry);
            self.write(&frame)?;
            match self.answer(client_msg_id, &deadline)? {
                Ok(place) => return Ok(place),
                Err(code) if ErrorCode::from_code(code) == Some(ErrorCode::Overloaded) && !deadline.has_passed() => {
                    std::thread::sleep(AGAIN);
                    retry = true;
                }
                Err(code) => return Err(std::io::Error::other(format!("refused: {code}"))),
            }
        }
    }

    /// What is answered to a send: its place, or the code of an error.
    fn answer(&mut self, client_msg_id: &str, deadline: &Deadline) -> std::io::Result<Result<(MessageId, u64), u16>> {
        while !deadline.has_passed() {
            let Some(got) = self.next(PATIENCE_S)? else { break };
            match (got.ack(), got.code()) {
                (Some((id, message, seq)), _) if id == client_msg_id.as_bytes() => return Ok(Ok((message, seq))),
                (_, Some(code)) => return Ok(Err(code)),
                _ => {}
            }
        }
        Err(std::io::Error::other("no acknowledgement in time"))
    }

    /// Marks everything of a chat up to `seq`.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn mark(&mut self, chat: ChatId, seq: u64, status: MarkStatus) -> std::io::Result<()> {
        let frame = self.encoder.mark(chat, seq, None, status);
        self.write(&frame)
    }

    /// The next frame; `None` when nothing came for `seconds` or the connection ended.
    ///
    /// # Errors
    /// When the connection breaks or what came is no frame.
    pub fn next(&mut self, seconds: u64) -> std::io::Result<Option<Got>> {
        self.next_within(Duration::from_secs(seconds))
    }

    /// As [`Self::next`], to the millisecond.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn next_within(&mut self, within: Duration) -> std::io::Result<Option<Got>> {
        let invalid = |error| std::io::Error::new(ErrorKind::InvalidData, error);
        loop {
            if let Some(len) = frame_len(&self.input, 1 << 20).map_err(invalid)?.filter(|&len| len <= self.input.len())
            {
                let frame: Vec<u8> = self.input.drain(..len).collect();
                FrameRef::verify_from_server(&frame).map_err(invalid)?;
                return Ok(Some(Got(frame)));
            }
            self.stream.socket().set_read_timeout(Some(within.max(Duration::from_millis(1))))?;
            let mut chunk = [0; 64 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the server ends the connection within `seconds`; frames that come before are dropped.
    pub fn is_ended_within(&mut self, seconds: u64) -> bool {
        let deadline = Deadline::after_s(seconds);
        let mut chunk = [0; 4 << 10];
        while !deadline.has_passed() {
            let _ = self.stream.socket().set_read_timeout(Some(deadline.left().max(Duration::from_millis(1))));
            match self.stream.read(&mut chunk) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        false
    }

    /// All entries of a chat by history pages: (seq, client_msg_id, message id), as they come.
    ///
    /// # Errors
    /// When the connection breaks, the server refuses, or a page does not follow the one before.
    pub fn history(&mut self, chat: ChatId) -> std::io::Result<Vec<(u64, Vec<u8>, MessageId)>> {
        let (mut after, mut entries) = (0, Vec::new());
        loop {
            // An answer may come as several pages; this client asks on after each, under another request id.
            let request_id = after + 1;
            let request = self.encoder.history_request(request_id, chat, after, 100);
            self.write(&request)?;
            let got = loop {
                match self.next(PATIENCE_S)? {
                    Some(got) if got.code().is_some() => break got,
                    Some(got)
                        if got.root().body_as_history_page().is_some_and(|page| page.request_id() == request_id) =>
                    {
                        break got;
                    }
                    Some(_) => {}
                    None => return Err(std::io::Error::other("no history page in time")),
                }
            };
            let root = got.root();
            let page = root
                .body_as_history_page()
                .ok_or_else(|| std::io::Error::other(format!("history refused: {:?}", got.code())))?;
            for entry in page.entries().iter().flatten() {
                let bytes = entry.frame().map(|frame| frame.bytes()).unwrap_or_default();
                let frame = FrameRef::verify_from_server(bytes).map_err(std::io::Error::other)?.root();
                let entry = frame.body_as_entry().ok_or_else(|| std::io::Error::other("a page holds entries"))?;
                let id = entry.client_msg_id().map(|id| id.bytes().to_vec()).unwrap_or_default();
                let message = entry.message_id().map(MessageId::from);
                entries.push((entry.seq(), id, message.ok_or_else(|| std::io::Error::other("no message id"))?));
            }
            let covered = page.covers_last_seq();
            if covered >= page.head_seq() {
                return Ok(entries);
            }
            if covered <= after {
                return Err(std::io::Error::other(format!("a page after {after} covers up to {covered}")));
            }
            after = covered;
        }
    }
}
