//! Which Host and Origin headers are this server's: the defence against foreign pages and rebound names.

use std::net::{IpAddr, SocketAddr};

/// The names a server goes by. One a listener, shared by its connections.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    names: Vec<(String, Port)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Port {
    Any,
    Only(u16),
}

impl Hosts {
    /// The names of `listeners` (loopback's names, and the address bound unless it is unspecified; each with its port)
    /// and `allowed`: names or addresses, each with a port that must match or without one for any.
    pub fn new(listeners: &[SocketAddr], allowed: &[String]) -> Self {
        let mut names = Vec::new();
        for listener in listeners {
            let port = Port::Only(listener.port());
            names.extend(["localhost", "127.0.0.1", "::1"].map(|name| (name.to_owned(), port)));
            // Not 0.0.0.0: which of the machine's names are meant is then for `allowed` to say.
            if !listener.ip().is_unspecified() {
                names.push((canonical(&listener.ip().to_string()), port));
            }
        }
        for entry in allowed {
            if let Some((name, port)) = split(entry) {
                names.push((name, port.map_or(Port::Any, Port::Only)));
            }
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names.dedup();
        Self { names }
    }

    /// Whether a `Host` header's value is one of ours. Without a port it means 80 and fits only names of any port.
    pub fn allows_host(&self, host: &str) -> bool {
        let Some((name, port)) = split(host) else { return false };
        let port = Port::Only(port.unwrap_or(80));
        self.names.iter().any(|(own, own_port)| *own == name && (*own_port == Port::Any || *own_port == port))
    }

    /// Whether an `Origin` header's value (`scheme://host[:port]`) is of a host of ours, on any port. `null` is not.
    pub fn allows_origin(&self, origin: &str) -> bool {
        let Some((scheme, host)) = origin.split_once("://") else { return false };
        let web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let Some((name, _)) = split(host).filter(|_| web) else { return false };
        self.names.iter().any(|(own, _)| *own == name)
    }
}

/// Name and port of `name[:port]`, the name canonical. `None` when it is neither a name nor an address.
fn split(host: &str) -> Option<(String, Option<u16>)> {
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        (address, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else if host.parse::<std::net::Ipv6Addr>().is_ok() {
        (host, None)
    } else {
        host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)))
    };
    let port = match port {
        Some(port) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
        Some(_) => return None,
        None => None,
    };
    let name = canonical(name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    (!name.is_empty() && name.bytes().all(plain)).then_some((name, port))
}

/// Lower case, without the root's dot; addresses in their one short form.
fn canonical(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.parse::<IpAddr>().map_or(name, |address| address.to_string())
}
