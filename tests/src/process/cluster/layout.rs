//! Who is in a cluster, where each serves, and what the folder says about it.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use fabric::entropy::{Entropy as _, OsEntropy};

use super::ClusterError;

/// The configuration that all nodes share.
pub(super) const CONFIG_FILE: &str = "shardwire.toml";
/// What signs tokens.
pub(super) const TOKEN_KEY_FILE: &str = "token-key";
/// What nodes prove to each other.
pub(super) const SECRET_FILE: &str = "cluster-secret";
/// Below what hosts give to outgoing connections, or one of these could hold a port whose node is down.
const PORTS: core::ops::Range<u16> = 10_000..30_000;
/// Listeners of a node at most.
const PORTS_A_NODE: usize = 4;

/// How many of what.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Gateways.
    pub gateways: u16,
    /// Routers; 0: the gateways are that too.
    pub routers: u16,
    /// Writers.
    pub writers: u16,
}

impl Shape {
    /// Nodes of all roles.
    pub const fn nodes(self) -> u8 {
        (self.gateways + self.routers + self.writers) as u8
    }
}

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Holds clients' connections.
    Gateway,
    /// Does that, and knows who is where.
    GatewayRouter,
    /// Knows who is where.
    Router,
    /// Keeps messages.
    Writer,
}

impl Role {
    /// As the command line and the list of nodes say it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::GatewayRouter => "gateway,router",
            Self::Router => "router",
            Self::Writer => "storage-writer",
        }
    }

    /// Whether clients connect to it.
    pub const fn has_clients(self) -> bool {
        matches!(self, Self::Gateway | Self::GatewayRouter)
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Gateway | Self::GatewayRouter => "gw",
            Self::Router => "rt",
            Self::Writer => "sw",
        }
    }
}

/// A node's name and addresses.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Where other nodes find it.
    pub link: SocketAddr,
    /// Health and metrics; of a gateway REST too.
    pub http: SocketAddr,
    /// Where native clients connect to a gateway.
    pub native: Option<SocketAddr>,
    /// Where WebSocket clients connect to a gateway.
    pub ws: Option<SocketAddr>,
}

/// All nodes: gateways, then routers, then writers.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Each node's place.
    pub places: Vec<Place>,
}

impl Layout {
    /// Names and addresses for a shape; every port was free a moment ago.
    ///
    /// # Errors
    /// A port is taken, or there are none.
    pub fn new(shape: Shape, first_port: Option<u16>) -> Result<Self, ClusterError> {
        // Held until all are chosen, so that none is chosen twice.
        let mut held = Vec::new();
        let mut next = first_port;
        let mut places = Vec::new();
        for (name, role) in named(shape) {
            let mut port = |what| take(&mut held, &mut next, &name, what);
            let (link, http) = (port("link")?, port("http")?);
            let native = role.has_clients().then(|| port("native")).transpose()?;
            let ws = role.has_clients().then(|| port("ws")).transpose()?;
            places.push(Place { name, role, link, http, native, ws });
        }
        Ok(Self { places })
    }

    /// Names and addresses for a shape whose nodes have hosts of their own, each with the same ports.
    pub(super) fn on_hosts(shape: Shape, address: impl Fn(u8) -> Ipv4Addr) -> Self {
        let place = |(number, (name, role)): (u8, (String, Role))| {
            let at = |port| SocketAddr::from((address(number), port));
            let client = |port| role.has_clients().then(|| at(port));
            Place { name, role, link: at(7_400), http: at(8_080), native: client(7_100), ws: client(7_101) }
        };
        Self { places: (0..).zip(named(shape)).map(place).collect() }
    }

    /// Every node's name and the address of its links.
    pub(super) fn links(&self) -> Vec<(String, SocketAddr)> {
        self.places.iter().map(|place| (place.name.clone(), place.link)).collect()
    }

    /// A list of nodes; `address` says where one is, as who reads the list sees it.
    pub(super) fn list(&self, address: impl Fn(&Place) -> SocketAddr) -> String {
        let mut text = String::new();
        for place in &self.places {
            let (name, address) = (&place.name, address(place));
            let roles: Vec<&str> = place.role.word().split(',').collect();
            let _ = writeln!(text, "[[node]]\nname = \"{name}\"\nroles = {roles:?}\naddress = \"{address}\"");
            let _ = writeln!(text, "http = \"http://{}\"\n", place.http);
        }
        text
    }

    /// Makes the folder and writes what all nodes share; secrets that are there stay.
    ///
    /// # Errors
    /// Which file, and why.
    pub(super) fn write(&self, folder: &Path, config: &str) -> Result<(), ClusterError> {
        let failed = |path: &Path, source| ClusterError::Folder { path: path.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        for file in [TOKEN_KEY_FILE, SECRET_FILE] {
            let path = folder.join(file);
            if !path.exists() {
                let mut secret = [0; 32];
                OsEntropy.fill(&mut secret);
                let text = secret.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
                write_secret(&path, &text).map_err(|error| failed(&path, error))?;
            }
        }
        let path = folder.join(CONFIG_FILE);
        let key = folder.join(TOKEN_KEY_FILE);
        let text = format!("[auth]\nhs256_secret_file = {:?}\n{config}", key.display().to_string());
        std::fs::write(&path, text).map_err(|error| failed(&path, error))
    }
}

/// Every node's name and role, in order.
fn named(shape: Shape) -> impl Iterator<Item = (String, Role)> {
    let gateway = if shape.routers == 0 { Role::GatewayRouter } else { Role::Gateway };
    let roles = [(gateway, shape.gateways), (Role::Router, shape.routers), (Role::Writer, shape.writers)];
    let named =
        |(role, count): (Role, u16)| (1..=count).map(move |number| (format!("{}-{number}", role.prefix()), role));
    roles.into_iter().flat_map(named)
}

fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// The next port: the one after the last, or any that is free.
fn take(
    held: &mut Vec<TcpListener>,
    next: &mut Option<u16>,
    name: &str,
    what: &'static str,
) -> Result<SocketAddr, ClusterError> {
    if let Some(port) = next {
        let address = SocketAddr::from(([127, 0, 0, 1], *port));
        *port = port.checked_add(1).ok_or(ClusterError::NoPorts)?;
        let failed = |source| ClusterError::Port { name: name.to_owned(), what, address, source };
        held.push(TcpListener::bind(address).map_err(failed)?);
        return Ok(address);
    }
    for _ in 0..PORTS.len() / PORTS_A_NODE {
        let port = PORTS.start + (OsEntropy.next_u64() % PORTS.len() as u64) as u16;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if let Ok(listener) = TcpListener::bind(address) {
            held.push(listener);
            return Ok(address);
        }
    }
    Err(ClusterError::NoPorts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_listed_with_its_role_and_an_address_of_its_own() {
        let layout = Layout::new(Shape { gateways: 2, routers: 1, writers: 1 }, None).unwrap();
        let names: Vec<&str> = layout.places.iter().map(|place| place.name.as_str()).collect();
        assert_eq!(names, ["gw-1", "gw-2", "rt-1", "sw-1"]);
        let mut ports: Vec<u16> = layout
            .places
            .iter()
            .flat_map(|p| [Some(p.link), Some(p.http), p.native, p.ws])
            .flatten()
            .map(|address| address.port())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 2 * 4 + 2 * 2);
        let list = layout.list(|place| place.link);
        assert!(list.contains("name = \"sw-1\"\nroles = [\"storage-writer\"]"), "{list}");
        assert!(layout.places[2].native.is_none() && layout.places[1].ws.is_some());
        let both = Layout::new(Shape { gateways: 2, routers: 0, writers: 1 }, None).unwrap();
        assert!(both.list(|place| place.link).contains("name = \"gw-2\"\nroles = [\"gateway\", \"router\"]"));
        assert!(both.places[1].native.is_some());
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Layout::new(Shape { gateways: 1, routers: 1, writers: 1 }, Some(port)).unwrap_err().to_string();
        assert!(
            error.contains(&format!("127.0.0.1:{port} (link of gw-1)")) && error.contains("--first-port"),
            "{error}"
        );
    }
}
