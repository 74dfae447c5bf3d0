//! Which incarnation of each node is alive, as all shards of a process know it together.
//!
//! Two processes of one name must not both be listened to. The one that is linked and heard stays; another incarnation is
//! refused until the first has ended its links or has been silent. What must stay true: taken only at handshakes,
//! heartbeats and ends, never for a parcel.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
struct Living {
    incarnation: u64,
    /// Links that stand, of both directions.
    links: u32,
    /// Those of them that it dialed.
    from: u32,
    heard_ns: u64,
}

/// See the module. Shared by the process's shards; any thread.
#[derive(Debug, Default)]
pub struct Names(Mutex<BTreeMap<String, Living>>);

impl Names {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Living>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a node of this name and incarnation may link: no other one is alive.
    pub(super) fn may_link(&self, name: &str, incarnation: u64, heard_after_ns: u64) -> bool {
        let names = self.lock();
        names.get(name).is_none_or(|living| {
            living.incarnation == incarnation || living.links == 0 || living.heard_ns < heard_after_ns
        })
    }

    /// A link stands. An earlier incarnation is forgotten. `false`: another one is alive.
    pub(super) fn link(&self, name: &str, incarnation: u64, dialed_by_it: bool, now_ns: u64, silent_ns: u64) -> bool {
        if !self.may_link(name, incarnation, now_ns.saturating_sub(silent_ns)) {
            return false;
        }
        let mut names = self.lock();
        let fresh = || Living { incarnation, links: 0, from: 0, heard_ns: now_ns };
        let living = names.entry(name.to_owned()).or_insert_with(fresh);
        if living.incarnation != incarnation {
            *living = fresh();
        }
        living.links += 1;
        living.from += u32::from(dialed_by_it);
        living.heard_ns = now_ns;
        true
    }

    pub(super) fn heard(&self, name: &str, incarnation: u64, now_ns: u64) {
        if let Some(living) = self.lock().get_mut(name).filter(|living| living.incarnation == incarnation) {
            living.heard_ns = now_ns;
        }
    }

    /// A link that stood does so no more.
    pub(super) fn unlink(&self, name: &str, incarnation: u64, dialed_by_it: bool) {
        let mut names = self.lock();
        let Some(living) = names.get_mut(name).filter(|living| living.incarnation == incarnation) else { return };
        living.links = living.links.saturating_sub(1);
        living.from = living.from.saturating_sub(u32::from(dialed_by_it));
        if living.links == 0 {
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
        assert!(names.link("g1", 1, true, 100, 50));
        assert!(names.link("g1", 1, false, 110, 50), "another link of the same");
        assert!(!names.link("g1", 2, true, 120, 50), "the first is alive");
        names.heard("g1", 1, 200);
        names.heard("g1", 2, 900);
        assert!(!names.may_link("g1", 2, 200));
        assert_eq!((names.links_from("g1", 1), names.links_from("g1", 2)), (1, 0));
        assert!(names.link("g1", 2, true, 251, 50), "the first has been silent");
        names.unlink("g1", 1, true);
        assert_eq!(names.links_from("g1", 2), 1, "what the first leaves behind does not count");
        names.unlink("g1", 2, true);
        assert!(names.link("g1", 3, true, 252, 50), "the second has ended its links");
    }
}
