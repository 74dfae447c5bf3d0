//! Kernel memory for sockets: buffers (/proc/net/sockstat) and objects (/proc/slabinfo, where it may be read).

use std::collections::BTreeMap;
use std::fs;

/// Caches whose objects belong to sockets.
const CACHES: [&str; 8] =
    ["TCP", "TCPv6", "sock_inode_cache", "filp", "dentry", "eventpoll_epi", "eventpoll_pwq", "tcp_bind2_bucket"];
/// A socket has exactly one of these; the rest of this cache is every file name the host looks up.
const ONE_A_SOCKET: &str = "dentry";
/// With fewer sockets more than so many, what else the host does is a large part of the difference.
const SOCKETS_MIN: u64 = 500;

/// One look at the kernel's memory for sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// TCP sockets of this network namespace.
    pub sockets: u64,
    /// Memory of TCP's buffers, bytes, all namespaces.
    pub buffer_bytes: u64,
    /// Objects and bytes of an object, by cache; an error says why it is unknown.
    caches: Result<BTreeMap<String, (u64, u64)>, String>,
}

/// Kernel memory a socket, bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PerSocket {
    /// Buffers.
    pub buffers: f64,
    /// Objects, by cache.
    pub objects: BTreeMap<String, f64>,
}

impl PerSocket {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.buffers + self.objects.values().sum::<f64>()
    }
}

impl Kernel {
    /// Now; `None` where /proc/net/sockstat cannot be read.
    pub fn now() -> Option<Self> {
        let (mut sockets, buffer_bytes) = sockstat(&fs::read_to_string("/proc/net/sockstat").ok()?)?;
        let six = fs::read_to_string("/proc/net/sockstat6").unwrap_or_default();
        sockets += field(&six, "TCP6:", "inuse").unwrap_or(0);
        let caches = fs::read_to_string("/proc/slabinfo")
            .map(|text| slabs(&text))
            .map_err(|e| format!("/proc/slabinfo cannot be read ({}); root may", e.kind()));
        Some(Self { sockets, buffer_bytes, caches })
    }

    /// What a socket costs, from the difference to an earlier look.
    ///
    /// # Errors
    /// Why it is unknown.
    pub fn per_socket(&self, earlier: &Self) -> Result<PerSocket, String> {
        let (now, then) = (self.caches.as_ref().map_err(Clone::clone)?, earlier.caches.as_ref().map_err(Clone::clone)?);
        let more = self.sockets.saturating_sub(earlier.sockets);
        if more < SOCKETS_MIN {
            return Err(format!(
                "{more} sockets more on this host than at the begin; under {SOCKETS_MIN} its other work would be counted as theirs"
            ));
        }
        let sockets = more as f64;
        let mut objects = BTreeMap::new();
        for (name, (count, bytes)) in now {
            let before = then.get(name).map_or(0, |cache| cache.0);
            let a_socket = if name == ONE_A_SOCKET { 1.0 } else { count.saturating_sub(before) as f64 / sockets };
            if a_socket > 0.0 {
                objects.insert(name.clone(), a_socket * *bytes as f64);
            }
        }
        Ok(PerSocket { buffers: self.buffer_bytes.saturating_sub(earlier.buffer_bytes) as f64 / sockets, objects })
    }
}

/// Memory of TCP's buffers now, bytes.
pub fn buffer_bytes() -> Option<u64> {
    sockstat(&fs::read_to_string("/proc/net/sockstat").ok()?).map(|(_, bytes)| bytes)
}

fn sockstat(text: &str) -> Option<(u64, u64)> {
    let pages = field(text, "TCP:", "mem")?;
    Some((field(text, "TCP:", "inuse")?, pages * rustix::param::page_size() as u64))
}

/// The number after a word of the line that begins with `line`.
fn field(text: &str, line: &str, word: &str) -> Option<u64> {
    let mut words = text.lines().find_map(|l| l.strip_prefix(line))?.split_whitespace();
    words.find(|w| *w == word)?;
    words.next()?.parse().ok()
}

fn slabs(text: &str) -> BTreeMap<String, (u64, u64)> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let name = fields.next().filter(|name| CACHES.contains(name))?;
        let (active, _all, bytes) = (fields.next()?.parse().ok()?, fields.next()?, fields.next()?.parse().ok()?);
        Some((name.to_owned(), (active, bytes)))
    };
    text.lines().filter_map(line).collect()
}

/// A value of /proc/meminfo or smaps_rollup, bytes.
pub fn kib(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(rest.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(sockets: u64, buffer_bytes: u64, slabinfo: &str) -> Kernel {
        Kernel { sockets, buffer_bytes, caches: Ok(slabs(slabinfo)) }
    }

    #[test]
    fn the_kernels_files_are_read() {
        let page = rustix::param::page_size() as u64;
        let text = "sockets: used 451\nTCP: inuse 406 orphan 0 tw 4013 alloc 406 mem 243\nUDP: inuse 0 mem 0\n";
        assert_eq!(sockstat(text), Some((406, 243 * page)));
        assert_eq!(sockstat("UDP: inuse 0 mem 0\n"), None);
        assert_eq!(kib("MemTotal:       24 kB\nMemTotalX: 1 kB\n", "MemTotal"), Some(24 * 1024));
        assert!(Kernel::now().is_some());
    }

    #[test]
    fn what_a_socket_costs_is_the_difference_by_the_sockets() {
        let before =
            look(100, 0, "TCP 100 481 2000 13 8 : x\nfilp 900 1000 200 1\ndentry 5000 5000 192 21 1\nother 1 1 1\n");
        let after =
            look(1_100, 512_000, "TCP 1100 1200 2000 13 8 : x\nfilp 1900 2000 200 1\ndentry 90000 90000 192 21 1\n");
        let cost = after.per_socket(&before).unwrap();
        let objects = [("TCP".to_owned(), 2_000.0), ("dentry".to_owned(), 192.0), ("filp".to_owned(), 200.0)];
        assert_eq!(cost, PerSocket { buffers: 512.0, objects: objects.into() });
        assert_eq!(cost.total(), 2_904.0);
    }

    #[test]
    fn what_cannot_be_known_is_said_with_the_reason() {
        let (few, many) = (look(100, 0, ""), look(600, 0, ""));
        assert!(look(599, 0, "").per_socket(&few).unwrap_err().contains("499 sockets"), "too few sockets");
        assert!(many.per_socket(&few).is_ok());
        let closed = Kernel { caches: Err("no".to_owned()), ..many };
        assert_eq!(closed.per_socket(&few), Err("no".to_owned()));
    }
}
