//! Each node on a host of its own: a network namespace with one interface, all joined by a bridge to which this process belongs
//! too.
//!
//! Packets from one to another can be made to vanish: the sender's table of neighbours then names a hardware address that
//! nobody has. No end is told anything, as when a cable is cut. What must stay true: nothing is left behind by a test that
//! fails; names hold this process's id, so that several do not meet.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::ClusterError;

/// How many have been made by this process.
static MADE: AtomicU32 = AtomicU32::new(0);
/// A hardware address that nobody has.
const NOBODY: &str = "02:00:00:00:00:01";

/// The hosts of one cluster. Removed when dropped; whatever runs on them must have ended.
pub struct Hosts {
    bridge: String,
    /// By number: the namespace.
    spaces: Vec<String>,
    /// Third part of the addresses.
    net: u8,
}

impl Hosts {
    /// Makes so many, at most 200.
    ///
    /// # Errors
    /// This host does not let this process make namespaces: which command failed, and what it needs.
    pub fn new(count: u8) -> Result<Self, ClusterError> {
        let id = format!("{}x{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let net = (std::process::id() % 256) as u8 ^ (MADE.load(Ordering::Relaxed) as u8).rotate_left(7);
        let mut hosts = Self { bridge: format!("swb{id}"), spaces: Vec::new(), net };
        ip(&["link", "add", &hosts.bridge, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/24", hosts.address(253)), "dev", &hosts.bridge])?;
        ip(&["link", "set", &hosts.bridge, "up"])?;
        for number in 0..count {
            let (space, wire) = (format!("sw{id}-{number}"), format!("s{id}v{number}"));
            ip(&["netns", "add", &space])?;
            hosts.spaces.push(space.clone());
            ip(&["link", "add", &wire, "type", "veth", "peer", "name", "eth0", "netns", &space])?;
            ip(&["link", "set", &wire, "master", &hosts.bridge, "up"])?;
            let address = format!("{}/24", hosts.address(number));
            ip(&["-n", &space, "address", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &space, "link", "set", "eth0", "up"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
        }
        Ok(hosts)
    }

    /// Where the host of this number is; of a block that is for tests of networks (RFC 2544).
    pub fn address(&self, number: u8) -> IpAddr {
        Ipv4Addr::new(198, 18, self.net, number + 1).into()
    }

    /// What a program is started by to run there.
    pub(super) fn run_in(&self, number: u8) -> Vec<String> {
        ["ip", "netns", "exec", &self.spaces[usize::from(number)]].map(str::to_owned).into()
    }

    /// From now on every packet from one host to another vanishes.
    ///
    /// # Errors
    /// It cannot be done.
    pub fn cut(&self, from: u8, to: u8) -> Result<(), ClusterError> {
        let (space, address) = (&self.spaces[usize::from(from)], self.address(to).to_string());
        ip(&["-n", space, "neighbour", "replace", &address, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent"])
    }

    /// Ends that.
    ///
    /// # Errors
    /// It cannot be done, or was not.
    pub fn mend(&self, from: u8, to: u8) -> Result<(), ClusterError> {
        let (space, address) = (&self.spaces[usize::from(from)], self.address(to).to_string());
        ip(&["-n", space, "neighbour", "delete", &address, "dev", "eth0"])
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // A part that was never made is not there to be removed; a wire goes with its namespace.
        for space in &self.spaces {
            let _ = ip(&["netns", "delete", space]);
        }
        let _ = ip(&["link", "delete", &self.bridge]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), ClusterError> {
    let failed = |said: String| ClusterError::Hosts { command: format!("ip {}", arguments.join(" ")), said };
    let output = Command::new("ip").args(arguments).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
