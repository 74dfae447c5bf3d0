//! Whether a host can carry its part of a run: descriptors, source addresses, ports; and how many threads that takes.
//!
//! Each worker thread has a descriptor table of its own, and so has each of the server's shards: the limit on open files
//! holds for a thread, not for the process. A connection takes a port of its source address for as long as it lives.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use serde::{Deserialize, Serialize};
use tuning::generator;

use crate::fail::Failure;
use crate::scenario::{Load, Mode, Scenario};

/// Descriptors a worker has besides its users' connections.
const WORKER_FILES: u64 = 16;
/// Descriptors a shard of the server has besides its connections: ring, listeners, wakers, journal segments.
const SHARD_FILES: u64 = 200;
/// Worker threads, at most.
pub const WORKERS_MAX: u64 = 256;
/// The kernel spreads connections over shards by a hash: one may get so much more than its part.
const UNEVEN: f64 = 1.06;
/// Of a loopback source's ports so many are used: a connect that has to search for a free port is slow.
const PORTS_USED_LOOPBACK: f64 = 0.4;
/// Of an address that was named, or the host's own: ports of connections that have just ended are not free.
const PORTS_USED: f64 = 0.9;
/// Short-lived connections take turns over so many loopback sources: an ended one keeps its port for a second.
const SOURCES_OF_CONNECTS: usize = 8;

/// What counts of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Cores this process may use.
    pub cores: u16,
    /// Open files a thread with a table of its own may have.
    pub files: u64,
    /// First port the kernel gives to connections.
    pub port_first: u16,
    /// Last of them.
    pub port_last: u16,
}

impl Host {
    /// This host; raises the process's limit on open files to what it may have.
    pub fn look() -> Self {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        let mut ports = range.split_whitespace().filter_map(|port| port.parse().ok());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cores: u16::try_from(cores).unwrap_or(u16::MAX),
            files: crate::worker::raise_open_files(),
            port_first: ports.next().unwrap_or(32_768),
            port_last: ports.next().unwrap_or(60_999),
        }
    }

    /// Users one worker thread can have connected.
    pub const fn users_a_worker(&self) -> u64 {
        self.files.saturating_sub(WORKER_FILES)
    }

    /// Ports of one source address.
    fn ports(&self) -> f64 {
        f64::from(self.port_last.saturating_sub(self.port_first)) + 1.0
    }

    /// Whether this host carries the load generator's side: the doctor's rules decide, in the doctor's words. Ports are judged
    /// by [`Self::sources`], once the target is known.
    ///
    /// # Errors
    /// [`Failure::Host`]: descriptors, threads or memory are too few.
    pub fn carries(&self, load: &Load, usual: u16) -> Result<(), Failure> {
        let users = u64::from(load.users);
        let needed = users.div_ceil(self.users_a_worker().max(1)).clamp(usual.into(), WORKERS_MAX);
        let tables = if load.workers == 0 { needed } else { load.workers.into() };
        let asked = generator::Load { users, tables, sources: users };
        generator::check(&asked).map_err(|unfit| Failure::Host(unfit.to_string()))
    }

    /// Worker threads for `users` of which `asked` were asked for (0: as many as it takes, `usual` at least).
    ///
    /// # Errors
    /// [`Failure::Host`]: the limit on open files leaves no room.
    pub fn workers(&self, users: u64, asked: u16, usual: u16) -> Result<u16, Failure> {
        let each = self.users_a_worker();
        let needed = users.div_ceil(each.max(1));
        let pairs = (users / 2).max(1);
        if each == 0 || needed > WORKERS_MAX || asked > 0 && u64::from(asked) < needed {
            let workers = if asked > 0 { u64::from(asked) } else { WORKERS_MAX };
            return Err(Failure::Host(format!(
                "load.users = {users} over {workers} worker threads is more than {each} each: a thread may have {} open files (ulimit -Hn); {}",
                self.files,
                if asked > 0 && needed <= WORKERS_MAX {
                    format!("leave load.workers out, or set it to {needed}")
                } else {
                    "raise the hard limit (limits.conf, LimitNOFILE=), or take more hosts (--worker)".to_owned()
                }
            )));
        }
        let workers = if asked > 0 { u64::from(asked) } else { needed.max(u64::from(usual)) };
        Ok(workers.min(pairs) as u16)
    }

    /// Shards the throwaway server is to have: as the scenario says, else more than its own choice (`None`) when each would
    /// get more connections than a thread may have open files.
    ///
    /// # Errors
    /// [`Failure::Host`]: the scenario's are too few.
    pub fn shards(&self, scenario: &Scenario) -> Result<Option<u16>, Failure> {
        let users = f64::from(scenario.load.users);
        let each = self.files.saturating_sub(SHARD_FILES).max(1) as f64;
        let needed = (users * UNEVEN / each).ceil().max(1.0);
        match scenario.server.shards {
            Some(shards) if shards > 0 && f64::from(shards) < needed && users > each => Err(Failure::Host(format!(
                "server.shards = {shards} for load.users = {users}: each shard may have {} open files (ulimit -Hn); leave server.shards out, or set it to {needed}",
                self.files
            ))),
            Some(shards) => Ok(Some(shards)),
            None => Ok((needed > f64::from(self.cores)).then_some(needed as u16)),
        }
    }

    /// Source addresses for `users` connections to `target`; none: the host's own choice. Each of `given` is tried.
    ///
    /// # Errors
    /// [`Failure::Host`]: one cannot be used, or together they have too few ports.
    pub fn sources(&self, load: &Load, users: u64, target: SocketAddr) -> Result<Vec<IpAddr>, Failure> {
        for source in &load.sources {
            usable(*source, target)?;
        }
        let room = (self.ports() * PORTS_USED) as u64;
        if load.sources.is_empty() && target.ip().is_loopback() && target.is_ipv4() {
            let mut count = (users as f64 / (self.ports() * PORTS_USED_LOOPBACK)).ceil() as usize;
            if load.mode == Mode::Connect {
                count = count.max(SOURCES_OF_CONNECTS);
            }
            let address = |nth: usize| {
                Ipv4Addr::new(127, 1 + (nth / 62_500) as u8, (nth / 250 % 250) as u8, 1 + (nth % 250) as u8)
            };
            return Ok(if count > 1 { (0..count).map(|nth| IpAddr::V4(address(nth))).collect() } else { Vec::new() });
        }
        let have = load.sources.len().max(1) as u64;
        if users > have * room {
            return Err(Failure::Host(format!(
                "{users} connections to {} need {} source addresses of {room} ports each, there are {have}: name more with --source ADDR or load.sources, or widen the ports (sysctl -w net.ipv4.ip_local_port_range=\"10240 60999\", now \"{} {}\")",
                target.ip(),
                users.div_ceil(room.max(1)),
                self.port_first,
                self.port_last
            )));
        }
        Ok(load.sources.clone())
    }
}

/// Whether connections to `target` can come from `source`.
fn usable(source: IpAddr, target: SocketAddr) -> Result<(), Failure> {
    let refuse = |why: &str| Failure::Host(format!("source address {source}: {why}"));
    if source.is_ipv4() != target.is_ipv4() {
        return Err(refuse(&format!("{} is of the other IP version", target.ip())));
    }
    UdpSocket::bind((source, 0)).map(drop).map_err(|error| {
        refuse(&format!("{error}; it must be an address of this host (ip address add {source} dev …)"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Host = Host { cores: 2, files: 20_000, port_first: 32_768, port_last: 60_999 };

    fn scenario(keys: &str) -> Scenario {
        Scenario::parse(&format!("{keys}\nmode = \"idle\"\nsteady_s = 1.0\n")).unwrap()
    }

    #[test]
    fn threads_are_as_many_as_their_open_files_ask_for() {
        assert_eq!(HOST.workers(1_000, 0, 1).unwrap(), 1);
        assert_eq!(HOST.workers(100_000, 0, 1).unwrap(), 6);
        assert_eq!(HOST.workers(100_000, 8, 1).unwrap(), 8);
        assert_eq!(HOST.workers(2, 0, 4).unwrap(), 1);
        let text = HOST.workers(100_000, 1, 1).unwrap_err().to_string();
        assert!(text.contains("load.users = 100000") && text.contains("set it to 6"), "{text}");
        let text = Host { files: 10, ..HOST }.workers(1, 0, 1).unwrap_err().to_string();
        assert!(text.contains("raise the hard limit"), "{text}");
    }

    #[test]
    fn the_servers_shards_follow_the_users() {
        assert_eq!(HOST.shards(&scenario("[load]\nusers = 30000")).unwrap(), None);
        assert_eq!(HOST.shards(&scenario("[load]\nusers = 100000")).unwrap(), Some(6));
        assert_eq!(HOST.shards(&scenario("[server]\nshards = 9\n[load]\nusers = 100000")).unwrap(), Some(9));
        let text = HOST.shards(&scenario("[server]\nshards = 2\n[load]\nusers = 100000")).unwrap_err().to_string();
        assert!(text.contains("server.shards = 2") && text.contains("set it to 6"), "{text}");
    }

    #[test]
    fn loopback_targets_get_sources_and_others_are_told_what_to_name() {
        let loopback: SocketAddr = "127.0.0.1:7400".parse().unwrap();
        let load = |keys: &str| scenario(&format!("[load]\nusers = 100000\n{keys}")).load;
        assert!(HOST.sources(&load(""), 1_000, loopback).unwrap().is_empty());
        let nine = HOST.sources(&load(""), 100_000, loopback).unwrap();
        assert_eq!((nine.len(), nine[0].to_string(), nine[8].to_string()), (9, "127.1.0.1".into(), "127.1.0.9".into()));

        let far: SocketAddr = "192.0.2.1:7400".parse().unwrap();
        assert!(HOST.sources(&load(""), 25_000, far).unwrap().is_empty());
        let text = HOST.sources(&load(""), 100_000, far).unwrap_err().to_string();
        assert!(text.contains("need 4 source addresses") && text.contains("--source"), "{text}");
        let text = HOST.sources(&load("sources = [\"192.0.2.9\"]"), 9, far).unwrap_err().to_string();
        assert!(text.contains("source address 192.0.2.9"), "{text}");
        let text = HOST.sources(&load("sources = [\"::1\"]"), 9, far).unwrap_err().to_string();
        assert!(text.contains("other IP version"), "{text}");
        let named = load("sources = [\"127.0.0.7\"]");
        assert_eq!(HOST.sources(&named, 9, loopback).unwrap(), named.sources);
    }
}
