//! Each node on a host of its own: a network namespace with one interface, all joined by a bridge to which this process belongs
//! too.
//!
//! Packets from one to another can be made to vanish: the sender's table of neighbours then names a hardware address that
//! nobody has. No end is told anything, as when a cable is cut. What must stay true: nothing is left behind by a test that
//! fails, and what one that was killed left goes when the next begins; names hold this process's id, so that several do not
//! meet.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use fabric::mutex::lock;

use super::ClusterError;

/// How many have been made by this process.
static MADE: AtomicU32 = AtomicU32::new(0);
/// A hardware address that nobody has.
const NOBODY: &str = "02:00:00:00:00:01";

/// Where a process runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spot {
    /// Its address.
    pub address: Ipv4Addr,
    /// What it is started by to run there, before its own words; empty on this host.
    pub by: Vec<String>,
}

impl Spot {
    /// On this host, at 127.0.0.1 for 0, 127.0.0.2 for 1 and so on.
    pub const fn loopback(number: u8) -> Self {
        Self { address: Ipv4Addr::new(127, 0, 0, number + 1), by: Vec::new() }
    }

    /// What starts a program there, which is to be added: it ends with this process's thread that started it. `guard` is the
    /// program with `become-server`.
    pub fn command(&self, guard: &Path) -> Command {
        let mut command = match self.by.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(guard);
                command
            }
            None => Command::new(guard),
        };
        command.arg("become-server").arg(std::process::id().to_string()).arg("--");
        command
    }

    /// Whether it shares its ports with everybody else on this host.
    pub const fn is_here(&self) -> bool {
        self.by.is_empty()
    }
}

/// The hosts of one cluster. Removed when dropped; whatever runs on them must have ended.
#[derive(Debug)]
pub struct Hosts {
    bridge: String,
    /// By number: the namespace.
    spaces: Vec<String>,
    /// Third part of the addresses.
    net: u8,
    /// From whom to whom nothing goes through.
    cut: Mutex<BTreeSet<(u8, u8)>>,
}

impl Hosts {
    /// Makes so many, at most 200.
    ///
    /// # Errors
    /// This host does not let this process make namespaces: which command failed, and what it needs.
    pub fn new(count: u8) -> Result<Self, ClusterError> {
        remove_left_behind();
        let id = format!("{}x{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let net = (std::process::id() % 256) as u8 ^ (MADE.load(Ordering::Relaxed) as u8).rotate_left(7);
        let mut hosts = Self { bridge: format!("swb{id}"), spaces: Vec::new(), net, cut: Mutex::default() };
        ip(&["link", "add", &hosts.bridge, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/24", hosts.own_address()), "dev", &hosts.bridge])?;
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
    pub const fn address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.net, number + 1)
    }

    /// Where those on the hosts find this process.
    pub const fn own_address(&self) -> Ipv4Addr {
        self.address(253)
    }

    /// The host of this number.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn spot(&self, number: u8) -> Spot {
        let by = ["ip", "netns", "exec", &self.spaces[usize::from(number)]].map(str::to_owned);
        Spot { address: self.address(number), by: by.into() }
    }

    /// From now on every packet from one host to another vanishes.
    ///
    /// # Errors
    /// It cannot be done.
    pub fn cut(&self, from: u8, to: u8) -> Result<(), ClusterError> {
        let (space, address) = (&self.spaces[usize::from(from)], self.address(to).to_string());
        self.all_cut().insert((from, to));
        ip(&["-n", space, "neighbour", "replace", &address, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent"])
    }

    /// Ends that; nothing where it was not begun.
    ///
    /// # Errors
    /// It cannot be done.
    pub fn mend(&self, from: u8, to: u8) -> Result<(), ClusterError> {
        if !self.all_cut().remove(&(from, to)) {
            return Ok(());
        }
        let (space, address) = (&self.spaces[usize::from(from)], self.address(to).to_string());
        ip(&["-n", space, "neighbour", "delete", &address, "dev", "eth0"])
    }

    /// Ends everything that was cut.
    ///
    /// # Errors
    /// It cannot be done.
    pub fn heal(&self) -> Result<(), ClusterError> {
        let cut = self.all_cut().clone();
        cut.into_iter().try_for_each(|(from, to)| self.mend(from, to))
    }

    fn all_cut(&self) -> std::sync::MutexGuard<'_, BTreeSet<(u8, u8)>> {
        // Whoever panicked had noted what was cut.
        lock(&self.cut)
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

/// Removes the hosts of processes that were killed: their addresses would be in the way.
fn remove_left_behind() {
    let names = |arguments: &[&str]| {
        // Who cannot list them cannot make them either, and hears it then.
        let listed = Command::new("ip").args(arguments).output();
        listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    for space in names(&["netns", "list"]).lines().filter_map(|line| line.split(' ').next()) {
        if is_left_behind(space, "sw") {
            let _ = ip(&["netns", "delete", space]);
        }
    }
    let bridges = names(&["-o", "link", "show", "type", "bridge"]);
    for bridge in bridges.lines().filter_map(|line| line.split(": ").nth(1)) {
        if is_left_behind(bridge, "swb") {
            let _ = ip(&["link", "delete", bridge]);
        }
    }
}

/// Whether a name was made here by a process that is no more.
fn is_left_behind(name: &str, prefix: &str) -> bool {
    let owner = name.strip_prefix(prefix).and_then(|rest| rest.split_once('x'));
    let owner = owner.and_then(|(pid, _)| pid.parse::<u32>().ok());
    owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_process_made_is_left_behind() {
        let mine = std::process::id();
        assert!(!is_left_behind(&format!("sw{mine}x0-3"), "sw"));
        // Above the largest id that Linux gives (kernel/pid_max).
        assert!(is_left_behind("sw99999999x0-3", "sw") && is_left_behind("swb99999999x12", "swb"));
        assert!(
            !is_left_behind("swb99999999x0", "sw") && !is_left_behind("docker0", "sw") && !is_left_behind("swan", "sw")
        );
    }
}
