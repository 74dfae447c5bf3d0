//! Headers of both versions, whole and cut anywhere, and chains of hops.

use std::net::IpAddr;

use proptest::prelude::*;
use proxy_header::{ProxiedAddress, ProxyHeader, Tlv};

use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Headers and the client they name.
fn headers() -> Vec<(Vec<u8>, Option<SocketAddr>)> {
    let v4 = ProxiedAddress::stream(address("203.0.113.7:4711"), address("10.0.0.1:443"));
    let v6 = ProxiedAddress::stream(address("[2001:db8::7]:4711"), address("[2001:db8::1]:443"));
    let udp = ProxiedAddress::datagram(address("203.0.113.7:4711"), address("10.0.0.1:443"));
    let authority = || [Tlv::Authority("chat.example.com".into())];
    let v2 = |header: ProxyHeader<'_>| {
        let mut bytes = Vec::new();
        header.encode_v2(&mut bytes).unwrap();
        bytes
    };
    let mut unix = [b"\r\n\r\n\0\r\nQUIT\n\x21\x31", &216u16.to_be_bytes()[..]].concat();
    unix.resize(16 + 216, b'u');
    vec![
        (v2(ProxyHeader::with_address(v4.clone())), Some(v4.source)),
        (v2(ProxyHeader::with_tlvs(Some(v6.clone()), authority())), Some(v6.source)),
        (v2(ProxyHeader::with_tlvs(Some(v4.clone()), [Tlv::Authority("x".repeat(200).into())])), Some(v4.source)),
        (v2(ProxyHeader::with_local()), None),
        (v2(ProxyHeader::with_address(udp)), None),
        (unix, None),
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n".to_vec(), Some(v4.source)),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(), Some(v6.source)),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 4711 443\r\n".to_vec(), Some(v4.source)),
    ]
}

fn proxies(mode: HeaderMode) -> Proxies {
    Proxies::new(Trusted::new(["10.0.0.0/8", "2001:db8:ffff::/48", "192.0.2.1"]).unwrap(), mode)
}

#[test]
fn a_header_is_read_wherever_it_was_cut_and_leaves_the_rest() {
    let proxies = proxies(HeaderMode::Required);
    for (header, client) in headers() {
        for cut in 0..header.len() {
            assert_eq!(proxies.read(&header[..cut]), Ok(Reading::Incomplete), "{cut} bytes of {header:?}");
        }
        for rest in [&b""[..], b"\x16\x03\x01", b"GET / HTTP/1.1\r\n"] {
            let input = [&header, rest].concat();
            let expected = Header { taken: header.len(), client };
            assert_eq!(proxies.read(&input), Ok(Reading::Header(expected)), "{header:?}");
        }
    }
}

#[test]
fn what_is_no_header_is_known_at_its_first_byte_that_differs() {
    for first in [&b"GET"[..], b"\x16", b"PRO\0", b"PROXYS", b"\r\n\r\n\r", b"POST / HTTP/1.1\r\n", b"\0"] {
        assert_eq!(proxies(HeaderMode::Optional).read(first), Ok(Reading::None), "{first:?}");
        assert_eq!(proxies(HeaderMode::Required).read(first), Err(ProxyFault::Missing), "{first:?}");
        let without_last = &first[..first.len() - 1];
        if without_last.iter().zip(b"PROXY ").all(|(a, b)| a == b) {
            assert_eq!(proxies(HeaderMode::Required).read(without_last), Ok(Reading::Incomplete), "{first:?}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_header_is_named() {
    let v2 = |rest: &[u8]| [b"\r\n\r\n\0\r\nQUIT\n", rest].concat();
    for (bytes, fault) in [
        (v2(&[0x21, 0x11, 0, 233]), ProxyFault::TooLong),
        (v2(&[0x21, 0x11, 0xff, 0xff]), ProxyFault::TooLong),
        (v2(&[0x31, 0x11, 0, 0]), ProxyFault::Malformed),
        (v2(&[0x22, 0x11, 0, 0]), ProxyFault::Malformed),
        (v2(&[0x21, 0x41, 0, 0]), ProxyFault::Malformed),
        (v2(&[0x21, 0x11, 0, 4, 1, 2, 3, 4]), ProxyFault::Malformed),
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711\r\n".to_vec(), ProxyFault::Malformed),
        (b"PROXY TCP4 2001:db8::7 10.0.0.1 4711 443\r\n".to_vec(), ProxyFault::Malformed),
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\n".to_vec(), ProxyFault::Malformed),
        (b"PROXY UDP4 203.0.113.7 10.0.0.1 4711 443\r\n".to_vec(), ProxyFault::Malformed),
        ([&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat(), ProxyFault::TooLong),
    ] {
        assert_eq!(proxies(HeaderMode::Optional).read(&bytes), Err(fault), "{bytes:?}");
    }
}

#[test]
fn only_trusted_addresses_are_asked_for_a_header() {
    let (inside, outside) = (ip("10.9.8.7"), ip("203.0.113.1"));
    let expects = |mode, peer| proxies(mode).expects(peer);
    assert_eq!((expects(HeaderMode::Off, inside), expects(HeaderMode::Off, outside)), (Ok(false), Ok(false)));
    assert_eq!((expects(HeaderMode::Optional, inside), expects(HeaderMode::Optional, outside)), (Ok(true), Ok(false)));
    assert_eq!(expects(HeaderMode::Required, inside), Ok(true));
    assert_eq!(expects(HeaderMode::Required, ip("::ffff:10.9.8.7")), Ok(true), "IPv4 on a socket of both");
    assert_eq!(expects(HeaderMode::Required, outside), Err(ProxyFault::Untrusted));
}

#[test]
fn forwarded_for_is_read_from_its_end_as_far_as_hops_are_trusted() {
    let trusted = proxies(HeaderMode::Off).trusted().clone();
    let client = |peer: &str, values: &[&str]| trusted.client(ip(peer), values.iter().map(|value| value.as_bytes()));
    assert_eq!(client("203.0.113.9", &["198.51.100.1"]), ip("203.0.113.9"), "from no proxy of ours");
    assert_eq!(client("10.0.0.1", &[]), ip("10.0.0.1"));
    assert_eq!(client("10.0.0.1", &["198.51.100.1"]), ip("198.51.100.1"));
    assert_eq!(client("10.0.0.1", &["6.6.6.6, 198.51.100.1, 10.0.0.2"]), ip("198.51.100.1"), "the first is a lie");
    assert_eq!(client("10.0.0.1", &["6.6.6.6", "198.51.100.1,10.0.0.3", "192.0.2.1"]), ip("198.51.100.1"));
    assert_eq!(client("10.0.0.1", &["10.0.0.7, 10.0.0.2"]), ip("10.0.0.7"), "a client inside");
    assert_eq!(client("10.0.0.1", &["198.51.100.1:4711"]), ip("198.51.100.1"));
    assert_eq!(client("10.0.0.1", &["[2001:db8::5]:4711"]), ip("2001:db8::5"));
    assert_eq!(client("10.0.0.1", &["2001:db8::5, [2001:db8:ffff::1]"]), ip("2001:db8::5"));
    assert_eq!(client("::ffff:10.0.0.1", &["::ffff:198.51.100.1"]), ip("198.51.100.1"));
    for rubbish in ["unknown", "", "198.51.100.1;", "\u{1F600}", "999.1.1.1"] {
        assert_eq!(client("10.0.0.1", &["6.6.6.6", rubbish]), ip("10.0.0.1"), "{rubbish:?}");
        assert_eq!(client("10.0.0.1", &[&format!("{rubbish}, 10.0.0.2")]), ip("10.0.0.2"), "{rubbish:?}");
    }
}

#[test]
fn networks_are_read_or_named() {
    for wrong in ["10.0.0.0/33", "localhost", "", "10.0.0", "10.0.0.0/8 "] {
        assert_eq!(Trusted::new(["10.0.0.1", wrong]), Err(NotANetwork(wrong.to_owned())));
    }
    assert!(Trusted::new(["0.0.0.0/0"]).unwrap().has(ip("1.2.3.4")));
    assert!(!Trusted::new(["0.0.0.0/0"]).unwrap().has(ip("::1")));
}

fn beginnings() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(headers()).prop_map(|(header, _)| header);
    let magic = prop_oneof![Just(b"PROXY ".to_vec()), Just(b"\r\n\r\n\0\r\nQUIT\n".to_vec()), Just(Vec::new())];
    let changed = (known, any::<prop::sample::Index>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..300));
    let changed = changed.prop_map(|(mut header, place, byte, rest)| {
        let place = place.index(header.len());
        header[place] = byte;
        header.extend(rest);
        header
    });
    let random = (magic, prop::collection::vec(any::<u8>(), 0..400)).prop_map(|(magic, rest)| [magic, rest].concat());
    prop_oneof![changed, random]
}

proptest! {
    #[test]
    fn the_answer_does_not_depend_on_where_bytes_were_cut(input in beginnings(), optional in any::<bool>()) {
        let proxies = proxies(if optional { HeaderMode::Optional } else { HeaderMode::Required });
        let whole = proxies.read(&input);
        for cut in 0..input.len() {
            let part = proxies.read(&input[..cut]);
            // What was said of a part holds for the whole.
            prop_assert!(part == Ok(Reading::Incomplete) || part == whole, "{cut}: {part:?}, {whole:?}");
        }
        prop_assert!(whole != Ok(Reading::Incomplete) || input.len() < HEADER_BYTES);
        if let Ok(Reading::Header(header)) = whole {
            prop_assert!(header.taken <= input.len() && header.taken <= HEADER_BYTES);
        }
    }

    #[test]
    fn a_chain_of_hops_never_names_what_an_untrusted_one_said(values in prop::collection::vec("[0-9a-f.:, \\[\\]x]{0,40}", 0..4)) {
        let trusted = proxies(HeaderMode::Off).trusted().clone();
        let outside = ip("203.0.113.9");
        prop_assert_eq!(trusted.client(outside, values.iter().map(String::as_bytes)), outside);
        trusted.client(ip("10.0.0.1"), values.iter().map(String::as_bytes));
    }
}
