//! What an upgrade request's head says, taken out of its headers: each of them at most once.

use std::borrow::Cow;

/// The headers an upgrade looks at. `None` = absent.
#[derive(Default)]
pub(super) struct Head<'a> {
    pub host: Option<&'a str>,
    pub origin: Option<&'a str>,
    pub authorization: Option<&'a str>,
    pub key: Option<&'a str>,
    pub version: Option<&'a str>,
    pub upgrade_websocket: bool,
    pub connection_upgrade: bool,
    /// Whether any subprotocol is offered.
    pub offers: bool,
    /// The first offered one we speak.
    pub subprotocol: Option<&'static str>,
    pub has_body: bool,
}

/// The subprotocols spoken at `/ws`.
pub(super) const JSON: &str = "json";
/// See [`JSON`].
pub(super) const FLATBUFFERS: &str = "flatbuffers";

impl<'a> Head<'a> {
    /// `Err` names what is wrong: a header that may come once came twice, or is not visible ASCII.
    pub fn read(headers: &[httparse::Header<'a>]) -> Result<Self, &'static str> {
        let mut head = Self::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let value = || str::from_utf8(header.value).map(str::trim).map_err(|_| "a header is not ASCII");
            let once = |place: &mut Option<&'a str>| {
                if place.replace(value()?).is_some() { Err("a header is given twice") } else { Ok(()) }
            };
            if is("host") {
                once(&mut head.host)?;
            } else if is("origin") {
                once(&mut head.origin)?;
            } else if is("authorization") {
                once(&mut head.authorization)?;
            } else if is("sec-websocket-key") {
                once(&mut head.key)?;
            } else if is("sec-websocket-version") {
                once(&mut head.version)?;
            } else if is("upgrade") {
                head.upgrade_websocket |= list(value()?).any(|item| item.eq_ignore_ascii_case("websocket"));
            } else if is("connection") {
                head.connection_upgrade |= list(value()?).any(|item| item.eq_ignore_ascii_case("upgrade"));
            } else if is("sec-websocket-protocol") {
                head.offers = true;
                let known = |item| [JSON, FLATBUFFERS].into_iter().find(|known| *known == item);
                head.subprotocol = head.subprotocol.or_else(|| value().ok().and_then(|all| list(all).find_map(known)));
            } else if is("transfer-encoding") || (is("content-length") && value()? != "0") {
                head.has_body = true;
            }
        }
        Ok(head)
    }

    /// The token of `Authorization: Bearer`. Other schemes are none of ours.
    pub fn bearer(&self) -> Option<&'a str> {
        let (scheme, token) = self.authorization?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim)
}

/// The first `name=` of a query, percent-decoded. `None` when it is absent.
pub(super) fn query_value<'q>(query: &'q str, name: &str) -> Option<Cow<'q, [u8]>> {
    let raw = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    if !raw.contains('%') {
        return Some(Cow::Borrowed(raw.as_bytes()));
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    Some(Cow::Owned(decoded))
}
