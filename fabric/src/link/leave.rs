//! The orderly end of a node: it says that it leaves, others let it go, then its links end with a goodbye. And whom a node hears,
//! for those who do not.
//!
//! These are said with heartbeats, so that a link needs nothing of its own for them and each is said again until the end.
//! What must stay true: who lets a node go has nothing more on the way to it.

use super::LinkEvent;
use super::conn::{Conn, Stage};
use super::links::Links;
use super::metrics::Ending;
use super::wire::{self, Kind};
use crate::time::Now;

impl Links {
    /// Tells every peer that this node stops soon ([`LinkEvent::Leaving`] there). Links stand and carry as before.
    pub fn leave(&mut self) {
        self.leaving = true;
        self.conns.iter_mut().flatten().for_each(Conn::beat_now);
        self.due_ns = 0;
    }

    /// From now on tells every peer whom this node hears ([`LinkEvent::Hears`] there), by incarnation.
    pub fn hears(&mut self, whom: Vec<u64>) {
        if self.hears.as_ref() != Some(&whom) {
            self.hears = Some(whom);
            self.conns.iter_mut().flatten().for_each(Conn::beat_now);
            self.due_ns = 0;
        }
    }

    /// Tells a peer that leaves that nothing more is wanted of it: what was pushed to it before will have come when it hears
    /// that ([`Self::may_go`] there). It holds for the link that stands.
    ///
    /// # Panics
    /// If there is no such peer.
    pub fn let_go(&mut self, peer: u16) {
        let node = &mut self.nodes[usize::from(peer)];
        let Some(index) = node.conn.filter(|_| node.up && !node.let_go) else { return };
        node.let_go = true;
        if let Some(conn) = &mut self.conns[index as usize] {
            conn.beat_now();
            self.due_ns = 0;
        }
    }

    /// Whether it was told so over the link that stands; true also where none does.
    ///
    /// # Panics
    /// If there is no such peer.
    pub fn has_let_go(&self, peer: u16) -> bool {
        let node = &self.nodes[usize::from(peer)];
        !node.up || node.let_go
    }

    /// Whether every link that a peer for which `waited_for` holds has dialed to this shard has let this node go.
    pub fn may_go(&self, waited_for: impl Fn(u16) -> bool) -> bool {
        let holds = |conn: &Conn| match conn.stage {
            Stage::Accepted { peer, .. } => waited_for(peer) && !conn.word.lets_go(),
            _ => false,
        };
        !self.conns.iter().flatten().any(holds)
    }

    /// After [`Self::stop`]: no connection is left.
    pub fn is_closed(&self) -> bool {
        self.stopped && self.conns.iter().all(Option::is_none)
    }

    /// Ends every link, telling the peers; what is queued is lost ([`Self::is_quiet`]). Nobody is dialed or let in any more.
    pub fn stop(&mut self, now: Now) {
        self.stopped = true;
        for index in 0..self.conns.len() {
            let Some(conn) = self.conns[index].as_mut().filter(|conn| !conn.is_closing()) else { continue };
            if conn.stands() {
                wire::put_frame(&mut conn.control, Kind::Bye, |_| ());
            }
            self.end(now, index, Ending::Planned, &"this node stops");
        }
    }

    /// The node at the other end of a link says that it stops soon.
    pub(super) fn leaves(&mut self, index: usize) {
        let Some(conn) = &self.conns[index] else { return };
        if let Stage::Dialed { peer, .. } | Stage::Accepted { peer, .. } = conn.stage {
            self.events.push_back(LinkEvent::Leaving { peer });
        }
    }
}
