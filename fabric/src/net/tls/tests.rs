//! Both ends against each other, cut anywhere; hostile bytes end the connection and say nothing to the core.

mod files;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::core::Protocol;
use crate::time::{Clock as _, SystemClock};

/// As a shard's buffer.
const BUFFER: usize = 64 << 10;

/// An authority of the test's own, and the folder of its files.
pub(super) struct Authority {
    folder: TempDir,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: rcgen::Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key` of a server called `localhost`.
    pub(super) fn issue(&self, name: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        std::fs::write(self.path(&format!("{name}.pem")), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn load(&self, certificate: &str, key: &str) -> Result<Identity, IdentityError> {
        Identity::load(&self.path(certificate), &self.path(key), SystemClock.now())
    }

    fn identity(&self, name: &str) -> Identity {
        self.issue(name, |_| {});
        self.load(&format!("{name}.pem"), &format!("{name}.key")).unwrap()
    }

    fn server(&self) -> Server {
        Server::new(self.identity("server")).unwrap()
    }

    fn client(&self, resumes: bool) -> Client {
        Client::new(&Trust::File(self.path("ca.pem")), Protocol::Native, resumes).unwrap()
    }
}

/// An end of a connection with its buffer, and what it has heard.
struct End<S: Side> {
    session: Session<S>,
    heard: Vec<u8>,
    told: Heard,
    /// Sealed, on its way to the other.
    out: Vec<u8>,
}

impl<S: Side> End<S> {
    fn new(session: Session<S>, out: Vec<u8>) -> Self {
        Self { session, heard: Vec::new(), told: Heard::default(), out }
    }

    /// What a skin does with bytes that came.
    fn take(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        let mut buffer = vec![0; 2 * BUFFER];
        let kept = self.session.restore(&mut buffer);
        buffer[kept..kept + bytes.len()].copy_from_slice(bytes);
        let heard = &mut self.heard;
        let told =
            self.session.receive(&mut buffer[..kept + bytes.len()], &mut self.out, &mut |plain| heard.extend(plain))?;
        self.told = Heard { opened: self.told.opened | told.opened, ended: self.told.ended | told.ended };
        Ok(())
    }
}

type Ends = (End<UnbufferedClientConnection>, End<UnbufferedServerConnection>);

fn ends(client: &Client, server: &Server) -> Ends {
    let mut hello = Vec::new();
    let session = client.connect(Client::name("localhost").unwrap(), &mut hello).unwrap();
    (End::new(session, hello), End::new(server.accept(Protocol::Native).unwrap(), Vec::new()))
}

/// Carries what is on its way until nothing is, in pieces of these lengths in turns.
fn carry((client, server): &mut Ends, lengths: &[usize]) -> Result<(), TlsError> {
    let mut lengths = lengths.iter().copied().cycle();
    while !client.out.is_empty() || !server.out.is_empty() {
        let (there, back) = (std::mem::take(&mut client.out), std::mem::take(&mut server.out));
        let mut rest = &there[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(lengths.next().unwrap().min(rest.len()));
            server.take(piece)?;
            rest = later;
        }
        let mut rest = &back[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(lengths.next().unwrap().min(rest.len()));
            client.take(piece)?;
            rest = later;
        }
    }
    Ok(())
}

fn shaken(client: &Client, server: &Server) -> Ends {
    let mut ends = ends(client, server);
    carry(&mut ends, &[BUFFER]).unwrap();
    assert!(ends.0.told.opened && ends.1.told.opened);
    ends
}

#[test]
fn both_ends_agree_hear_each_other_and_end_cleanly() {
    let authority = Authority::new();
    let (client, server) = (authority.client(true), authority.server());
    for resumed in [false, true] {
        let mut both = shaken(&client, &server);
        assert_eq!((both.0.session.is_resumed(), both.1.session.is_resumed()), (resumed, resumed));
        assert_eq!(both.1.session.protocol(), Some(ALPN_NATIVE));
        let large = vec![7; 100_000];
        both.0.session.seal(b"hello", &mut both.0.out).unwrap();
        both.0.session.seal(&large, &mut both.0.out).unwrap();
        both.1.session.seal(b"welcome", &mut both.1.out).unwrap();
        carry(&mut both, &[BUFFER]).unwrap();
        assert_eq!(
            (&both.0.heard[..], &both.1.heard[..5], &both.1.heard[5..]),
            (&b"welcome"[..], &b"hello"[..], &large[..])
        );
        both.0.session.close(&mut both.0.out);
        assert!(matches!(both.0.session.seal(b"late", &mut both.0.out), Err(TlsError::NotOpen)));
        carry(&mut both, &[BUFFER]).unwrap();
        assert!(both.1.session.has_ended() && both.1.told.ended && !both.0.session.has_ended());
        // The other direction is still open.
        both.1.session.seal(b"one more", &mut both.1.out).unwrap();
        both.1.session.close(&mut both.1.out);
        carry(&mut both, &[BUFFER]).unwrap();
        assert!(both.0.heard.ends_with(b"one more") && both.0.session.has_ended());
    }
}

#[test]
fn an_idle_connection_keeps_nothing_of_what_it_read() {
    let authority = Authority::new();
    let (mut client, mut server) = shaken(&authority.client(false), &authority.server());
    client.session.seal(&[1; 20_000], &mut client.out).unwrap();
    let (first, rest) = client.out.split_at(19_000);
    server.take(first).unwrap();
    let mut buffer = vec![0; BUFFER];
    assert!(server.session.restore(&mut buffer) > 0, "a record has not come whole");
    server.take(rest).unwrap();
    assert_eq!(server.session.restore(&mut buffer), 0);
    assert_eq!(server.heard, [1; 20_000]);
}

#[test]
fn a_stream_that_is_cut_has_not_ended() {
    let authority = Authority::new();
    let (mut client, mut server) = shaken(&authority.client(false), &authority.server());
    client.session.seal(b"all of it", &mut client.out).unwrap();
    client.session.close(&mut client.out);
    for byte in 0..client.out.len() {
        assert!(!server.session.has_ended());
        server.take(&client.out[byte..=byte]).unwrap();
    }
    assert!(server.session.has_ended());
    assert_eq!(server.heard, b"all of it");
}

#[test]
fn nothing_is_heard_of_a_peer_that_does_not_speak_tls() {
    let server = Authority::new().server();
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], &[72, 0, 0, 0, 16], b"\x16\x00\x00\x00", b"\0"] {
        let mut end = End::new(server.accept(Protocol::Native).unwrap(), Vec::new());
        assert!(matches!(end.take(bytes), Err(TlsError::NotTls)), "{bytes:?}");
        assert!(end.heard.is_empty());
    }
}

#[test]
fn records_and_handshakes_beyond_any_honest_length_are_refused() {
    let server = Authority::new().server();
    let mut end = End::new(server.accept(Protocol::Native).unwrap(), Vec::new());
    assert!(matches!(end.take(&[22, 3, 1, 0xff, 0xff, 1]), Err(TlsError::Protocol(_))));
    assert!(!end.out.is_empty(), "an alert says why");

    // A client hello of 16 MiB, in parts that each are in order.
    let mut end = End::new(server.accept(Protocol::Native).unwrap(), Vec::new());
    let mut part = vec![22, 3, 1, 0x10, 0, 1, 0xff, 0xff, 0xff];
    part.resize(5 + 0x1000, 0);
    assert!(end.take(&part).is_err());

    // One of 60 KiB, byte by byte in records of their own.
    let mut end = End::new(server.accept(Protocol::Native).unwrap(), Vec::new());
    let mut result = end.take(&[22, 3, 1, 0, 4, 1, 0, 0xf0, 0]);
    for _ in 0..60 << 10 {
        result = result.and_then(|()| end.take(&[22, 3, 1, 0, 1, 0]));
    }
    assert!(matches!(result, Err(TlsError::TooLong)), "{result:?}");
}

#[test]
fn a_replaced_identity_is_shown_to_new_handshakes_and_leaves_old_connections_alone() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = old.server();
    let mut before = shaken(&old.client(false), &server);
    assert!(!server.replace(server.identity()), "the same");
    assert!(server.replace(new.identity("server")));
    shaken(&new.client(false), &server);
    let mut refused = ends(&old.client(false), &server);
    assert!(carry(&mut refused, &[BUFFER]).is_err());
    before.0.session.seal(b"still here", &mut before.0.out).unwrap();
    carry(&mut before, &[BUFFER]).unwrap();
    assert_eq!(before.1.heard, b"still here");
}

#[test]
fn a_client_believes_nobody_but_whom_it_trusts_under_the_name_it_asked_for() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = ours.server();
    let mut both = ends(&theirs.client(false), &server);
    let error = carry(&mut both, &[BUFFER]).unwrap_err().to_string();
    assert!(error.contains("invalid peer certificate"), "{error}");
    // The server is told, and counts a failure.
    let alert = std::mem::take(&mut both.0.out);
    assert!(matches!(both.1.take(&alert), Err(TlsError::Protocol(_))));

    let mut hello = Vec::new();
    let session = ours.client(false).connect(Client::name("example.org").unwrap(), &mut hello).unwrap();
    let mut both = (End::new(session, hello), End::new(server.accept(Protocol::Native).unwrap(), Vec::new()));
    let error = carry(&mut both, &[BUFFER]).unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
}

#[test]
fn a_client_of_another_protocol_is_refused_in_the_handshake() {
    let authority = Authority::new();
    let web = Client::new(&Trust::File(authority.path("ca.pem")), Protocol::WebSocket, false).unwrap();
    let mut both = ends(&web, &authority.server());
    assert!(carry(&mut both, &[BUFFER]).is_err(), "the listener is native");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_split_of_the_stream_gives_the_same_plaintext(
        lengths in prop::collection::vec(prop_oneof![1..40_usize, 1..2_000_usize, 1..BUFFER], 1..40),
        there in prop::collection::vec(1..30_000_usize, 0..6),
        back in prop::collection::vec(1..30_000_usize, 0..6),
        early in any::<bool>(),
    ) {
        let authority = Authority::new();
        let mut both = ends(&authority.client(false), &authority.server());
        if early {
            carry(&mut both, &lengths).unwrap();
        } else {
            carry(&mut both, &[1]).unwrap();
        }
        let text = |lengths: &[usize]| -> Vec<Vec<u8>> {
            lengths.iter().enumerate().map(|(number, &length)| vec![number as u8; length]).collect()
        };
        for message in text(&there) {
            both.0.session.seal(&message, &mut both.0.out).unwrap();
        }
        for message in text(&back) {
            both.1.session.seal(&message, &mut both.1.out).unwrap();
        }
        both.0.session.close(&mut both.0.out);
        carry(&mut both, &lengths).unwrap();
        prop_assert_eq!(&both.1.heard, &text(&there).concat());
        prop_assert_eq!(&both.0.heard, &text(&back).concat());
        prop_assert!(both.1.session.has_ended() && !both.0.session.has_ended());
    }

    #[test]
    fn a_changed_byte_is_never_heard(
        place in any::<prop::sample::Index>(),
        bit in 0..8_u32,
        handshake in any::<bool>(),
        lengths in prop::collection::vec(1..400_usize, 1..5),
    ) {
        let authority = Authority::new();
        let (client, server) = (authority.client(false), authority.server());
        let mut both = if handshake { ends(&client, &server) } else { shaken(&client, &server) };
        let text = vec![b'x'; 3_000];
        if !handshake {
            both.0.session.seal(&text, &mut both.0.out).unwrap();
        }
        let place = place.index(both.0.out.len());
        both.0.out[place] ^= 1 << bit;
        let result = carry(&mut both, &lengths);
        // A record's head has a version that nobody reads; all else is in what both sides compare at the handshake's end, or in
        // what a record's tag covers.
        let unread = matches!(place, 1 | 2);
        prop_assert!(text.starts_with(&both.1.heard) && (both.1.heard.len() < text.len() || unread));
        prop_assert!(result.is_err() || !both.1.told.opened || !handshake || unread);
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..600), lengths in prop::collection::vec(1..90_usize, 1..5)) {
        let server = Authority::new().server();
        let mut end = End::new(server.accept(Protocol::Native).unwrap(), Vec::new());
        let head = [22, 3, 1];
        let bytes: Vec<u8> = head.into_iter().chain(bytes).collect();
        let mut rest = &bytes[..];
        for length in lengths.into_iter().cycle() {
            let (piece, later) = rest.split_at(length.min(rest.len()));
            if piece.is_empty() || end.take(piece).is_err() {
                break;
            }
            rest = later;
        }
        prop_assert!(end.heard.is_empty() && !end.told.opened);
    }
}
