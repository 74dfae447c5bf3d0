//! Both roles against each other, cut anywhere; hostile bytes get the right close code.

use proptest::prelude::*;

use super::*;

const LIMIT: u32 = 64 * 1024;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An owned [`Message`], for collecting.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Data(Kind, Vec<u8>),
    Close(Option<u16>, String),
}

impl From<Message<'_>> for Owned {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Data(Kind::Text, text.as_bytes().to_vec()),
            Message::Binary(bytes) => Self::Data(Kind::Binary, bytes.to_vec()),
            Message::Ping(bytes) => Self::Data(Kind::Ping, bytes.to_vec()),
            Message::Pong(bytes) => Self::Data(Kind::Pong, bytes.to_vec()),
            Message::Close { code, reason } => Self::Close(code, reason.to_owned()),
        }
    }
}

/// Feeds `pieces` one after the other, keeping what a decoder leaves, as a connection does.
fn feed<'p>(
    role: Role,
    limit: u32,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> (Vec<Owned>, Result<usize, WebSocketError>) {
    let mut decoder = Decoder::new(role, limit);
    let (mut kept, mut scratch, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            match decoder.decode(&kept, &mut scratch) {
                Err(error) => return (messages, Err(error)),
                Ok(Decoded { taken, message }) => {
                    let done = message.is_none();
                    messages.extend(message.map(Owned::from));
                    kept.drain(..taken);
                    if done {
                        break;
                    }
                }
            }
            assert!(decoder.held_bytes() <= 2 * limit as usize);
        }
    }
    (messages, Ok(kept.len()))
}

fn server_refuses(bytes: &[u8]) -> WebSocketError {
    feed(Role::Server, 1_024, [bytes]).1.expect_err("accepted")
}

/// A masked frame byte by byte, so that it can be wrong.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).expect("short")];
    frame.extend_from_slice(&KEY);
    frame.extend_from_slice(payload);
    mask(KEY, &mut frame[6..]);
    frame
}

#[test]
fn frames_are_those_of_rfc_6455() {
    assert_eq!(&server_frame(Kind::Text, b"Hello")[..], b"\x81\x05Hello");
    let mut frame = Vec::new();
    client_frame(Kind::Text, b"Hello", KEY, &mut frame);
    assert_eq!(frame, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    assert_eq!(&server_header(Kind::Binary, 256)[..], b"\x82\x7e\x01\x00");
    assert_eq!(&server_header(Kind::Binary, 65_536)[..], b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00");
    assert_eq!(&close_frame(1_000, "bye")[..], b"\x88\x05\x03\xe8bye");
    assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn a_close_reason_is_cut_at_a_character() {
    let payload = close_payload(Some(1_002), &"é".repeat(100));
    assert_eq!(payload.len(), 2 + 122);
    assert!(str::from_utf8(&payload[2..]).is_ok());
    assert!(close_payload(None, "unsaid").is_empty());
}

#[test]
fn fragments_are_joined_around_control_frames() {
    let mut stream = raw(0x01, b"Hel");
    stream.extend(raw(0x89, b"ping"));
    stream.extend(raw(0x00, b""));
    stream.extend(raw(0x80, b"lo"));
    let (messages, left) = feed(Role::Server, LIMIT, [&stream[..]]);
    assert_eq!(messages, [Owned::Data(Kind::Ping, b"ping".to_vec()), Owned::Data(Kind::Text, b"Hello".to_vec())]);
    assert_eq!(left, Ok(0));
}

#[test]
fn a_character_may_be_split_between_fragments() {
    let mut stream = raw(0x01, b"\xc3");
    stream.extend(raw(0x80, b"\xa9"));
    assert_eq!(feed(Role::Server, LIMIT, [&stream[..]]).0, [Owned::Data(Kind::Text, "é".into())]);
}

#[test]
fn who_masks_is_enforced_on_both_sides() {
    assert_eq!(server_refuses(b"\x81\x05Hello").close_code(), 1_002);
    let (_, refused) = feed(Role::Client, LIMIT, [&raw(0x81, b"Hello")[..]]);
    assert_eq!(refused, Err(WebSocketError::Protocol("a server's frame is masked")));
}

#[test]
fn broken_rules_are_1002() {
    for (frame, what) in [
        (raw(0xc1, b"x"), "rsv1"),
        (raw(0xa1, b"x"), "rsv2"),
        (raw(0x91, b"x"), "rsv3"),
        (raw(0x83, b"x"), "opcode 3"),
        (raw(0x8f, b"x"), "opcode 15"),
        (raw(0x09, b"x"), "a fragmented ping"),
        (raw(0x80, b"x"), "a continuation of nothing"),
        (raw(0x88, b"\x03"), "half a close code"),
        (raw(0x88, b"\x03\xed"), "1005 on the wire"),
        (raw(0x88, b"\x00\x01"), "close code 1"),
        ([raw(0x01, b"x"), raw(0x81, b"y")].concat(), "a message inside a message"),
        (b"\x89\xfe\x00\x80\0\0\0\0".to_vec(), "a ping of 128 bytes"),
        (b"\x81\xfe\x00\x05\0\0\0\0hello".to_vec(), "a long form of a short length"),
        (b"\x81\xff\0\0\0\0\0\0\0\x05\0\0\0\0hello".to_vec(), "the longest form of a short length"),
    ] {
        assert_eq!(server_refuses(&frame).close_code(), 1_002, "{what}");
    }
}

#[test]
fn text_that_is_not_utf8_is_1007() {
    assert_eq!(server_refuses(&raw(0x81, b"\xff")), WebSocketError::InvalidUtf8);
    assert_eq!(server_refuses(&[raw(0x01, b"\xc3"), raw(0x80, b"x")].concat()), WebSocketError::InvalidUtf8);
    assert_eq!(server_refuses(&raw(0x88, b"\x03\xe8\xff")).close_code(), 1_007);
    assert_eq!(feed(Role::Server, LIMIT, [&raw(0x82, b"\xff")[..]]).0, [Owned::Data(Kind::Binary, vec![0xff])]);
}

#[test]
fn too_large_is_1009_before_the_payload_comes() {
    assert_eq!(server_refuses(b"\x82\xfe\x04\x01\0\0\0\0"), WebSocketError::TooLarge { limit_bytes: 1_024 });
    assert_eq!(server_refuses(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff").close_code(), 1_009);
    let mut whole = Vec::new();
    client_frame(Kind::Binary, &[7; 1_024], KEY, &mut whole);
    assert_eq!(feed(Role::Server, 1_024, [&whole[..]]).0.len(), 1);
}

#[test]
fn fragments_together_may_not_exceed_the_limit() {
    let mut stream = raw(0x02, &[1; 100]);
    for _ in 0..9 {
        stream.extend(raw(0x00, &[1; 100]));
    }
    let mut fits = stream.clone();
    fits.extend(raw(0x80, &[1; 24]));
    assert_eq!(feed(Role::Server, 1_024, [&fits[..]]).0.len(), 1);
    stream.extend(raw(0x80, &[1; 25]));
    assert_eq!(server_refuses(&stream).close_code(), 1_009);
}

#[test]
fn nothing_is_held_between_messages() {
    let mut decoder = Decoder::new(Role::Server, LIMIT);
    let mut scratch = Vec::new();
    let stream = [raw(0x01, b"a"), raw(0x80, b"b"), raw(0x81, b"c")].concat();
    let first = decoder.decode(&stream, &mut scratch).expect("valid");
    assert_eq!(first.message, Some(Message::Text("ab")));
    let taken = first.taken;
    assert_eq!(decoder.held_bytes(), 0);
    let second = decoder.decode(&stream[taken..], &mut scratch).expect("valid");
    assert_eq!(second.message, Some(Message::Text("c")));
    assert!(size_of::<Decoder>() <= 16);
}

#[test]
fn a_client_knows_its_servers_answer() {
    let request = Request {
        host: "localhost:7401",
        path: "/ws",
        subprotocol: "flatbuffers",
        token: Some("a.b.c"),
        nonce: *b"the sample nonce",
    };
    let text = String::from_utf8(request.encode()).expect("text");
    assert!(text.starts_with("GET /ws HTTP/1.1\r\nHost: localhost:7401\r\n"));
    assert!(text.contains("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
    assert!(text.ends_with("Authorization: Bearer a.b.c\r\n\r\n"));
    assert!(!format!("{request:?}").contains("a.b.c"));
    let answer = |accept: &str, subprotocol: &str| {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        )
    };
    let good = answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "flatbuffers");
    for cut in 0..good.len() {
        assert_eq!(request.check_response(&good.as_bytes()[..cut]), Ok(None));
    }
    let with_frame = [good.as_bytes(), b"\x81\x00"].concat();
    assert_eq!(request.check_response(&with_frame), Ok(Some(good.len())));
    assert_eq!(
        request.check_response(answer("AAAA", "flatbuffers").as_bytes()),
        Err(HandshakeError::Header("Sec-WebSocket-Accept"))
    );
    assert_eq!(
        request.check_response(answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "json").as_bytes()),
        Err(HandshakeError::Header("Sec-WebSocket-Protocol"))
    );
    assert_eq!(request.check_response(b"HTTP/1.1 403 Forbidden\r\n\r\n"), Err(HandshakeError::Refused(403)));
    assert_eq!(request.check_response(b"SSH-2.0-x\r\n"), Err(HandshakeError::NotHttp));
}

fn message() -> impl Strategy<Value = Owned> {
    let data = proptest::collection::vec(any::<u8>(), 0..300);
    let control = proptest::collection::vec(any::<u8>(), 0..=CONTROL_BYTES);
    prop_oneof![
        ".{0,120}".prop_map(|text: String| Owned::Data(Kind::Text, text.into_bytes())),
        data.prop_map(|bytes| Owned::Data(Kind::Binary, bytes)),
        (control, any::<bool>())
            .prop_map(|(bytes, ping)| Owned::Data(if ping { Kind::Ping } else { Kind::Pong }, bytes)),
    ]
}

fn encode(role: Role, message: &Owned, out: &mut Vec<u8>) {
    let (kind, payload) = match message {
        Owned::Data(kind, payload) => (*kind, payload.clone()),
        Owned::Close(code, reason) => (Kind::Close, close_payload(*code, reason).to_vec()),
    };
    match role {
        Role::Client => client_frame(kind, &payload, KEY, out),
        Role::Server => out.extend_from_slice(&server_frame(kind, &payload)),
    }
}

proptest! {
    #[test]
    fn messages_come_back_however_the_stream_is_cut(
        mut messages in proptest::collection::vec(message(), 0..8),
        close in proptest::option::of((proptest::option::of(3_000u16..5_000), ".{0,20}")),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        client in any::<bool>(),
    ) {
        let (from, to) = if client { (Role::Client, Role::Server) } else { (Role::Server, Role::Client) };
        messages.extend(close.map(|(code, reason)| Owned::Close(code, code.map_or(String::new(), |_| reason))));
        let mut stream = Vec::new();
        for message in &messages {
            encode(from, message, &mut stream);
        }
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        let pieces = at.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        prop_assert_eq!(feed(to, LIMIT, pieces), (messages.clone(), Ok(0)));
        prop_assert_eq!(feed(to, LIMIT, stream.chunks(1)), (messages, Ok(0)));
    }

    #[test]
    fn any_bytes_give_messages_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400), client in any::<bool>()) {
        let role = if client { Role::Client } else { Role::Server };
        let whole = feed(role, 1_024, [&bytes[..]]);
        let split = feed(role, 1_024, bytes.chunks(1));
        prop_assert_eq!(whole, split);
    }

    #[test]
    fn masking_twice_is_nothing(mut data in proptest::collection::vec(any::<u8>(), 0..64), key in any::<[u8; 4]>()) {
        let before = data.clone();
        mask(key, &mut data);
        for (index, byte) in data.iter().enumerate() {
            prop_assert_eq!(*byte, before[index] ^ key[index % 4]);
        }
        mask(key, &mut data);
        prop_assert_eq!(data, before);
    }
}
