//! One PROXY header at the start of a connection, read as it comes. The crate `proxy-header` takes it apart; how much of it is
//! looked at, and when it is known to be none, is decided here.

use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};

/// What version 2 begins with.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const V1: &[u8] = b"PROXY ";
/// Bytes of version 2 before the length counts.
const V2_FIXED: usize = 16;
/// Longest header of version 1, its line's end included.
const V1_BYTES: usize = 107;
/// Longest header that is taken: version 2 with two Unix addresses, or with 196 bytes beside two of IPv6.
pub const HEADER_BYTES: usize = V2_FIXED + 232;

/// A header that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Its length: what follows is the client's.
    pub taken: usize,
    /// The client; `None`: whoever is connected speaks for itself (a health check), or the client has no IP address.
    pub client: Option<SocketAddr>,
}

/// What the bytes so far are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// They may become a header: come again with all of them and more. At most [`HEADER_BYTES`] can be so.
    Incomplete,
    /// There is none: all of them are the client's.
    None,
    /// There is one.
    Header(Header),
}

/// Why a connection is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProxyFault {
    /// It begins with something else.
    #[error("it does not begin with a PROXY header, which edge.proxy_protocol requires")]
    Missing,
    /// It begins like one and is none.
    #[error("its PROXY header is malformed")]
    Malformed,
    /// It says that it is longer than is taken.
    #[error("its PROXY header is longer than 248 bytes")]
    TooLong,
    /// It ended before its header did.
    #[error("it ended within its PROXY header")]
    Cut,
    /// Its header would not be believed.
    #[error("PROXY headers are required, and its address is not in edge.trusted_proxies")]
    Untrusted,
}

impl ProxyFault {
    /// All, by their numbers.
    pub const ALL: [Self; 5] = [Self::Missing, Self::Malformed, Self::TooLong, Self::Cut, Self::Untrusted];

    /// As a metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Cut => "cut",
            Self::Untrusted => "untrusted",
        }
    }
}

/// Looks at the start of a connection.
pub(super) fn read(input: &[u8]) -> Result<Reading, ProxyFault> {
    if input.is_empty() {
        return Ok(Reading::Incomplete);
    }
    let (bound, is_v1) = match (begins(input, V1), begins(input, V2)) {
        (true, _) => (V1_BYTES, true),
        (_, true) => (HEADER_BYTES, false),
        (false, false) => return Ok(Reading::None),
    };
    let head = &input[..input.len().min(bound)];
    if is_v1 {
        // Its end is looked for first: the parts of a line that is not there yet are not judged.
        match head.iter().position(|&byte| byte == b'\n') {
            None if head.len() == V1_BYTES => return Err(ProxyFault::TooLong),
            None => return Ok(Reading::Incomplete),
            Some(end) => return parse(&head[..=end]),
        }
    }
    let Some(&[high, low]) = head.get(V2_FIXED - 2..V2_FIXED) else { return Ok(Reading::Incomplete) };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > HEADER_BYTES {
        return Err(ProxyFault::TooLong);
    }
    head.get(..length).map_or(Ok(Reading::Incomplete), parse)
}

/// Whether `input` is as much of `magic` as there is of it, or more.
fn begins(input: &[u8], magic: &[u8]) -> bool {
    input.iter().zip(magic).all(|(byte, expected)| byte == expected)
}

/// A whole header, and nothing else.
fn parse(header: &[u8]) -> Result<Reading, ProxyFault> {
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    match ProxyHeader::parse(header, config) {
        Ok((read, taken)) if taken == header.len() => {
            let address = read.proxied_address().filter(|address| address.protocol == Protocol::Stream);
            let client =
                address.map(|address| SocketAddr::new(address.source.ip().to_canonical(), address.source.port()));
            Ok(Reading::Header(Header { taken, client }))
        }
        Ok(_) | Err(Error::BufferTooShort) | Err(_) => Err(ProxyFault::Malformed),
    }
}
