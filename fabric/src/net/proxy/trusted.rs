//! Whose word about a client's address counts, and what `X-Forwarded-For` then says.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// A text that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address (10.1.2.3, 2001:db8::1) nor a network (10.0.0.0/8, 2001:db8::/32)")]
pub struct NotANetwork(pub String);

/// Networks of load balancers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trusted(Vec<IpNet>);

impl Trusted {
    /// Of addresses and networks.
    ///
    /// # Errors
    /// The first that is neither.
    pub fn new<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Self, NotANetwork> {
        let net = |text: &str| match text.parse::<IpAddr>() {
            Ok(address) => Ok(IpNet::from(address.to_canonical())),
            Err(_) => text.parse::<IpNet>().map_err(|_| NotANetwork(text.to_owned())),
        };
        list.into_iter().map(net).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this address is of one of them; one of IPv4 in IPv6's clothes is of IPv4.
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// The client behind `peer`, by the values of all `X-Forwarded-For` headers in their order. Each hop names the one before
    /// it at the end of the list, so the list is read from its end: as long as whoever said it is trusted, the next is who it
    /// is. What is no address ends the reading at whoever wrote it.
    pub fn client<'a>(&self, peer: IpAddr, values: impl DoubleEndedIterator<Item = &'a [u8]>) -> IpAddr {
        let mut client = peer.to_canonical();
        let hops = values.rev().flat_map(|value| value.rsplit(|&byte| byte == b','));
        for hop in hops {
            if !self.has(client) {
                break;
            }
            let Some(address) = read(hop) else { break };
            client = address;
        }
        client
    }
}

/// One hop: an address, perhaps with a port.
fn read(hop: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(hop.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}
