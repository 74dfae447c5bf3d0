//! Who can answer: from which nodes there are links, and so which routers are reached.
//!
//! What must stay true: where partitions move, a writer is sent nothing before a link from each of its shards stands and every shard
//! here has been told of what may have been lost before.

use fabric::link::Roles;

use super::away::{Away, News};
use super::routers::Way;

impl Away {
    /// Links from other nodes came or went, to this shard or to another one.
    pub(super) fn look_who_is_heard(&mut self) -> Option<News> {
        let changes = self.view.changes();
        if changes == self.heard_at {
            return None;
        }
        self.heard_at = changes;
        // Where partitions move, a writer is asked nothing before it can answer all of it: what is asked waits.
        self.heard = self.view.heard_from(self.owners.is_some().then_some(Roles::STORAGE_WRITER));
        self.say_whom_it_hears();
        self.look_for_routers(None)
    }

    /// Routers tell each other which gateways they hear: one that none of them hears has no sessions anywhere.
    pub(super) fn say_whom_it_hears(&mut self) {
        if self.roles.has(Roles::ROUTER) {
            self.links.hears(self.view.gateways());
        }
    }

    /// Looks which routers are linked both ways: one that cannot answer, or cannot push, is as good as none. `returned`: this
    /// one's link stands again after a break.
    pub(super) fn look_for_routers(&mut self, returned: Option<u16>) -> Option<News> {
        let all = |is_up: &dyn Fn(u16) -> bool| -> Vec<bool> {
            self.reach.routers.iter().map(|router| router.is_none_or(is_up)).collect()
        };
        let mut up = all(&|peer| self.reaches(peer) && !self.leaving[usize::from(peer)]);
        // One that leaves is better than none.
        if !up.contains(&true) {
            up = all(&|peer| self.reaches(peer));
        }
        let returned =
            returned.map(Way::Peer).filter(|_| returned.is_some_and(|peer| self.reach.routers.contains(&Some(peer))));
        if up == self.reach.up && returned.is_none() {
            return None;
        }
        self.before = self.reach.clone();
        self.reach.up = up;
        self.returned = returned;
        Some(News::RoutersChanged)
    }
}
