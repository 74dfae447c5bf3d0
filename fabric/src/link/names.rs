//! Which incarnation of each node is alive, as all shards of a process know it together.
//!
//! Two processes of one name must not both be listened to. The one that is linked and heard stays; another incarnation is
//! refused until the first has ended its links or has been silent. What must stay true: taken only at handshakes,
//! heartbeats and ends, never for a parcel.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::mutex::lock;

#[derive(Debug)]
struct Living {
    incarnation: u64,
    /// Links that this process dialed to it.
    to: u32,
    /// Links that it dialed.
    from: u32,
    /// The newest of those, by its shard.
    newest: BTreeMap<u16, u64>,
    heard_ns: u64,
}

impl Living {
    const fn new(incarnation: u64, now_ns: u64) -> Self {
        Self { incarnation, to: 0, from: 0, newest: BTreeMap::new(), heard_ns: now_ns }
    }

    fn keeps_out(&self, incarnation: u64, heard_after_ns: u64) -> bool {
        self.incarnation != incarnation && self.to + self.from > 0 && self.heard_ns >= heard_after_ns
    }
}

/// Which end of a link another node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// This process dialed it.
    Acceptor,
    /// One of its shards dialed this process.
    Dialer(u16),
}

/// See the module. Shared by the process's shards; any thread.
#[derive(Debug, Default)]
pub struct Names {
    living: Mutex<BTreeMap<String, Living>>,
    /// Links that ever stood; numbers them.
    links: AtomicU64,
}

impl Names {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Living>> {
        lock(&self.living)
    }

    /// Whether a node of this name and incarnation may link: no other one was heard since then.
    pub(super) fn may_link(&self, name: &str, incarnation: u64, heard_after_ns: u64) -> bool {
        !self.lock().get(name).is_some_and(|living| living.keeps_out(incarnation, heard_after_ns))
    }

    /// A link stands: its number. An earlier incarnation is forgotten. `None`: another one was heard since then.
    pub(super) fn link(
        &self,
        name: &str,
        incarnation: u64,
        end: End,
        (now_ns, heard_after_ns): (u64, u64),
    ) -> Option<u64> {
        let mut names = self.lock();
        let living = names.entry(name.to_owned()).or_insert_with(|| Living::new(incarnation, now_ns));
        if living.keeps_out(incarnation, heard_after_ns) {
            return None;
        }
        if living.incarnation != incarnation {
            *living = Living::new(incarnation, now_ns);
        }
        living.heard_ns = now_ns;
        let number = self.links.fetch_add(1, Ordering::SeqCst) + 1;
        match end {
            End::Acceptor => living.to += 1,
            End::Dialer(shard) => {
                living.from += 1;
                living.newest.insert(shard, number);
            }
        }
        Some(number)
    }

    /// Changes when a link stands.
    pub(super) fn links(&self) -> u64 {
        self.links.load(Ordering::SeqCst)
    }

    /// Whether no newer link of the same shard of the same process stands, nor one of a later process of its name.
    pub(super) fn is_newest(&self, name: &str, incarnation: u64, shard: u16, number: u64) -> bool {
        let names = self.lock();
        let living = names.get(name).filter(|living| living.incarnation == incarnation);
        living.is_some_and(|living| living.newest.get(&shard) == Some(&number))
    }

    pub(super) fn heard(&self, name: &str, incarnation: u64, now_ns: u64) {
        if let Some(living) = self.lock().get_mut(name).filter(|living| living.incarnation == incarnation) {
            living.heard_ns = now_ns;
        }
    }

    /// A link that stood does so no more.
    pub(super) fn unlink(&self, name: &str, incarnation: u64, end: End) {
        let mut names = self.lock();
        let Some(living) = names.get_mut(name).filter(|living| living.incarnation == incarnation) else { return };
        let count = match end {
            End::Acceptor => &mut living.to,
            End::Dialer(_) => &mut living.from,
        };
        *count = count.saturating_sub(1);
        if living.to + living.from == 0 {
            names.remove(name);
        }
    }

    /// How many links that this incarnation of a node dialed stand, over all shards of the process.
    pub fn links_from(&self, name: &str, incarnation: u64) -> u32 {
        let names = self.lock();
        names.get(name).filter(|living| living.incarnation == incarnation).map_or(0, |living| living.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_incarnation_that_is_alive_keeps_the_name() {
        let names = Names::default();
        let link = |incarnation, end, now_ns| names.link("g1", incarnation, end, (now_ns, now_ns - 50));
        assert!(link(1, End::Dialer(0), 100).is_some());
        assert!(link(1, End::Acceptor, 110).is_some(), "another link of the same");
        assert_eq!(link(2, End::Dialer(0), 120), None, "the first is alive");
        names.heard("g1", 1, 200);
        names.heard("g1", 2, 900);
        assert!(!names.may_link("g1", 2, 200));
        assert_eq!((names.links_from("g1", 1), names.links_from("g1", 2)), (1, 0));
        assert!(link(2, End::Dialer(0), 251).is_some(), "the first has been silent");
        names.unlink("g1", 1, End::Dialer(0));
        assert_eq!(names.links_from("g1", 2), 1, "what the first leaves behind does not count");
        names.unlink("g1", 2, End::Dialer(0));
        assert!(link(3, End::Dialer(0), 252).is_some(), "the second has ended its links");
    }

    #[test]
    fn the_newest_link_of_a_shard_is_the_one_that_counts() {
        let names = Names::default();
        let link =
            |incarnation, shard, now_ns| names.link("g1", incarnation, End::Dialer(shard), (now_ns, now_ns - 50));
        let (first, other) = (link(1, 0, 100).unwrap(), link(1, 1, 100).unwrap());
        let seen = names.links();
        assert!(names.is_newest("g1", 1, 0, first) && names.is_newest("g1", 1, 1, other));
        let second = link(1, 0, 110).unwrap();
        assert_ne!(names.links(), seen);
        assert!(!names.is_newest("g1", 1, 0, first) && names.is_newest("g1", 1, 0, second));
        assert!(names.is_newest("g1", 1, 1, other), "another shard's");
        names.unlink("g1", 1, End::Dialer(0));
        assert!(names.is_newest("g1", 1, 0, second), "the first one's end");
        link(2, 0, 900).unwrap();
        assert!(!names.is_newest("g1", 1, 0, second), "its process has a successor");
    }
}
